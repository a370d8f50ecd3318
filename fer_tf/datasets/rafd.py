"""RaFD, Radboud faces database: 8,040 pictures, 681x1024, of 67 people in eight expressions.

    root/Rafd090_01_Caucasian_female_angry_frontal.jpg ...        camera's angle, person, group, sex, expression, gaze

Every person shows every expression to five cameras (000, 045, 090 frontal, 135, 180 degrees) with three gazes (left,
frontal, right). Groups: Caucasian, Kid and Moroccan. People are numbered through all of them.

Langner, Dotsch, Bijlstra, Wigboldus, Hawk, van Knippenberg: "Presentation and validation of the Radboud Faces
Database" (Cognition and Emotion 24, 2010). Licence: non-commercial research, by request at rafd.nl; pictures may not be
passed on. Used by none of the five papers.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from fer_tf import trees
from fer_tf.records import EXPRESSIONS, Record

WORDS = {
    "angry": "anger", "contemptuous": "contempt", "disgusted": "disgust", "fearful": "fear", "happy": "happiness",
    "neutral": "neutral", "sad": "sadness", "surprised": "surprise",
}  # fmt: skip
ANGLES, GAZES = (0, 45, 90, 135, 180), ("left", "frontal", "right")
COUNT = 67 * len(WORDS)
"""Pictures of each angle and gaze."""
LABELS = "words in the names: " + ", ".join(WORDS)
TREE = "  Rafd090_01_Caucasian_female_angry_frontal.jpg ..."
_NAME = re.compile(r"Rafd(\d+)_(\d+)_([a-z]+)_([a-z]+)_([a-z]+)_(left|frontal|right)", re.IGNORECASE)


def records(
    root: str | Path | None = None, *, angles: tuple[int, ...] = (90,), gazes: tuple[str, ...] = GAZES
) -> list[Record]:
    """The pictures of the given angles and gazes, in the order subject, expression, angle, gaze.

    Args:
      root: the folder above, or one above it.
      angles: of the camera, out of 0, 45, 90, 135, 180; 90 is frontal.
      gazes: out of left, frontal, right.
    Returns:
      Records whose `domain` is the angle; `info` has group, sex and gaze.
    Raises:
      FileNotFoundError: no such tree.
      ValueError: an unknown angle, gaze, or expression in a name; the message names it.
    """
    if unknown := [str(value) for value in (*angles, *gazes) if value not in (*ANGLES, *GAZES)]:
        raise ValueError(
            f"RaFD has angles {', '.join(map(str, ANGLES))} and gazes {', '.join(GAZES)}: not {unknown[0]}."
        )
    place, listed = trees.root_of(root, TREE), []
    for path in trees.walk(place):
        if not (match := _NAME.fullmatch(path.stem)):
            continue
        angle, person, group, sex, word, gaze = match.groups()
        expression = trees.label(word, WORDS, path)
        if int(angle) in angles and gaze.lower() in gazes:
            info = {"group": group, "sex": sex, "gaze": gaze.lower()}
            listed.append(Record(str(path), expression, person, f"{person}/{word}", domain=angle, info=info))
    if not listed:
        raise FileNotFoundError(f"{place} has no pictures named like RaFD's, of these angles: expected\n{TREE}")
    count = COUNT * len({*angles}) * len({*gazes})
    if len(listed) != count:
        print(f"RaFD: this copy has {len(listed)} pictures; the owner's has {count}.", file=sys.stderr)
    return sorted(
        listed,
        key=lambda r: (
            trees.natural(r.subject or ""), EXPRESSIONS.index(r.expression), r.domain, GAZES.index(r.info["gaze"]),
        ),
    )  # fmt: skip
