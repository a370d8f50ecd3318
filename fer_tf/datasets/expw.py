"""ExpW, expression in the wild: 91,793 faces in web pictures, seven expressions.

    root/label/label.lst                  one face a line: picture, number of the face in it, top, left, right, bottom,
                                          confidence of the detector, expression
    root/image/origin/name_1.jpg ...      the pictures; origin.7z.001 ... have to be unpacked first

Both may lie in the root itself. Numbers: 0 anger, 1 disgust, 2 fear, 3 happiness, 4 sadness, 5 surprise, 6 neutral. A
picture may show several faces: each is a record with its `box`. Nobody is named, and there are no parts.

Zhang, Luo, Loy, Tang: "From Facial Expression Recognition to Interpersonal Relation Prediction" (IJCV 2018). Licence:
non-commercial research, from mmlab.ie.cuhk.edu.hk/projects/socialrelation; pictures may not be passed on. Used by none
of the five papers.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

from fer_tf import trees
from fer_tf.records import Record

NUMBERS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
COUNT = 91_793
LISTS = ("label/label.lst", "label.lst")
FOLDERS = ("image/origin", "origin", "image", ".")
LABELS = "0 anger, 1 disgust, 2 fear, 3 happiness, 4 sadness, 5 surprise, 6 neutral"
TREE = "  label/label.lst   (name.jpg face top left right bottom confidence label)\n  image/origin/name.jpg ..."


def records(root: str | Path | None = None) -> list[Record]:
    """All faces, in the list's order.

    Args:
      root: the folder above, or one that has it.
    Returns:
      Records with `box` (left, top, right, bottom), the face's number `face` and its `confidence` in info.
    Raises:
      FileNotFoundError: no such tree, or a picture of the list is missing; the message names its line.
      ValueError: a line that is not of this form; the message shows it.
    """
    place = trees.root_of(root, TREE, *LISTS)
    file = next(found for name in LISTS if (found := trees.child(place, name)))
    places = [there for name in FOLDERS if (there := trees.child(place, name))]
    listed = []
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        where, words = f"{file}, line {number}", line.rsplit(maxsplit=7)
        try:
            name, (face, top, left, right, bottom, sure, label) = words[0], map(float, words[1:])
            if not all(map(math.isfinite, (face, top, left, right, bottom, sure))) or left >= right or top >= bottom:
                raise ValueError("no box")
            expression = {float(n): shown for n, shown in enumerate(NUMBERS)}[label]
        except (ValueError, KeyError, IndexError) as error:
            raise ValueError(
                f"{where}: {line[:80]!r} is no picture, face, top, left, right, bottom, confidence and label 0 to 6."
            ) from error
        picture = next((there / name for there in places if (there / name).is_file()), None)
        if picture is None:
            raise FileNotFoundError(f"{where}: there is no picture {name} in {place} or its {FOLDERS[0]}/.")
        info = {"box": (left, top, right, bottom), "face": int(face), "confidence": sure}
        listed.append(Record(str(picture), expression, domain="web", info=info))
    if len(listed) != COUNT:
        print(f"ExpW: this copy has {len(listed)} faces; the owner's has {COUNT}.", file=sys.stderr)
    return listed
