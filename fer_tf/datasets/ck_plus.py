"""CK+, the extended Cohn-Kanade data set: 593 sequences of 123 people from neutral to a peak, 327 with an expression.

    root/cohn-kanade-images/S005/001/S005_001_00000001.png ...        frames, 640x490 or 640x480
    root/Emotion/S005/001/S005_001_00000011_emotion.txt               one number; empty folders where there is none
    root/Landmarks/S005/001/S005_001_00000001_landmarks.txt           68 lines "x y", used where they are there

The consortium's zip files unpack to these folders; extended-cohn-kanade-images/ and Emotion_labels/ around them are
accepted. So is the form that is common on the web, 981 faces of 48x48 in folders named after expressions:

    root/anger/S010_004_00000017.png ...

and 920 of them as a list, which names nobody: 327 peaks and 593 neutral faces in the parts train, public_test and
private_test, dealt by pictures, so that one person is on both sides.

    root/ckextended.csv           emotion,pixels,Usage; 0 anger, 1 disgust, 2 fear, 3 happy, 4 sadness, 5 surprise,
                                  6 neutral, 7 contempt

All of these names may be in capital letters.

Emotion's numbers: 0 neutral, 1 anger, 2 contempt, 3 disgust, 4 fear, 5 happy, 6 sadness, 7 surprise. A sequence's
frames bear its expression; its first frame is neutral.

Lucey, Cohn, Kanade, Saragih, Ambadar, Matthews: "The Extended Cohn-Kanade Dataset (CK+)" (CVPR Workshops 2010).
Licence: research only, by agreement with the Affect Analysis Group of the University of Pittsburgh (jeffcohn.net); its
pictures may not be passed on. Used by IA-gen, DE-GAN, ED2L (last three frames of 327 sequences, 118 people: 981 faces,
ten folds by subject) and by GCNet (with the neutral frame as eighth class, too).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np

from fer_tf import frames as rules
from fer_tf import lists, trees
from fer_tf.records import EXPRESSIONS, Record

NUMBERS = ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
_NAME = re.compile(r"(S[0-9]+)_([0-9]+)_([0-9]+)", re.IGNORECASE)
FRAMES = "last3"
COUNTS = {"last3": 981}
"""Faces with an expression that the papers have by a frame rule."""
LABELS = "0 neutral, 1 anger, 2 contempt, 3 disgust, 4 fear, 5 happiness, 6 sadness, 7 surprise; or folders"
TREE = """  cohn-kanade-images/S005/001/S005_001_00000001.png ...
  Emotion/S005/001/S005_001_00000011_emotion.txt
or a folder for each expression with
  anger/S010_004_00000017.png ...
or
  ckextended.csv   (emotion,pixels,Usage)"""
LIST = "ckextended.csv"
LISTED = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral", "contempt")
"""The list's numbers."""


def records(root: str | Path | None = None, *, frames: str = FRAMES) -> list[Record]:
    """The labelled sequences' frames by a rule, and their first frame as neutral.

    Args:
      root: the folder above, one that has it, or ckextended.csv.
      frames: a rule of `fer_tf.frames`, which the 48x48 form has been through already.
    Returns:
      Records in the order subject, sequence, frame; `info` has landmarks (68, 2) float32 where there are some, and
      `framed` for the 48x48 form, which has no neutral faces.
    Raises:
      FileNotFoundError: no such tree.
      ValueError: an Emotion file that holds no number from 0 to 7, or an unknown folder or name; the message names it.
    """
    words = tuple(w for w in trees.WORDS if len(w) > 2)
    if root is not None and Path(root).is_file():
        return _listed(Path(root))
    place = trees.root_of(root, TREE, "cohn-kanade-images", "extended-cohn-kanade-images", *words, LIST)
    file = trees.child(place, LIST)
    if file and not _one_of(place, "cohn-kanade-images", "extended-cohn-kanade-images", *words):
        return _listed(file)
    images = _one_of(place, "cohn-kanade-images", "extended-cohn-kanade-images/cohn-kanade-images")
    listed = _small(place) if images is None else _sequences(place, images, frames)
    count = sum(r.expression != "neutral" for r in listed)
    if images is None or frames in COUNTS:
        wanted = COUNTS["last3"] if images is None else COUNTS[frames]
        if count != wanted:
            print(f"CK+: this copy has {count} faces with an expression; the papers have {wanted}.", file=sys.stderr)
    return listed


def _one_of(place: Path, *names: str) -> Path | None:
    return next((found for name in names if (found := trees.child(place, name)) and found.is_dir()), None)


def _listed(file: Path) -> list[Record]:
    """The list, whose pictures are nobody's."""
    listed = [
        Record(pixels, LISTED[number], sequence=part, domain="lab", split=part, info={"framed": True})
        for pixels, number, part in lists.pictures(file, len(LISTED))
    ]
    print(f"CK+: {file.name} names nobody: its {len(listed)} pictures have no subject, and its parts share people.",
          file=sys.stderr)  # fmt: skip
    return listed


def _sequences(place: Path, images: Path, rule: str) -> list[Record]:
    emotions = _one_of(place, "Emotion", "Emotion_labels/Emotion", "Emotion_labels")
    if emotions is None:
        raise FileNotFoundError(f"{place} has pictures and no Emotion folder: expected a folder with\n{TREE}")
    landmarks, listed = _one_of(place, "Landmarks", "Landmarks/Landmarks"), []
    for person in trees.folders(images):
        for sequence in trees.folders(person):
            told = trees.child(emotions, f"{person.name}/{sequence.name}")
            emotion = trees.files(told, (".txt",)) if told else []
            pictures = trees.files(sequence)
            if not emotion or not pictures:
                continue
            for number, path, expression in rules.shown(pictures, _expression(emotion[0]), rule):
                listed.append(
                    Record(
                        str(path),
                        expression,
                        subject=person.name.upper(),
                        sequence=f"{person.name.upper()}/{sequence.name}",
                        frame=number,
                        domain="lab",
                        info=_landmarks(landmarks, path),
                    )
                )
    return listed


def _expression(file: Path) -> str:
    try:
        number = float(file.read_text().split()[0])
        if number not in range(len(NUMBERS)):
            raise ValueError(f"{number:g}")
        return NUMBERS[int(number)]
    except (ValueError, IndexError, OSError) as error:
        raise ValueError(f"{file} holds no number from 0 to {len(NUMBERS) - 1}: {error}") from error


def _landmarks(folder: Path | None, picture: Path) -> dict[str, np.ndarray]:
    """{"landmarks": (68, 2)} of a frame, empty where there is no file or it is not whole."""
    if folder is None:
        return {}
    name = f"{picture.parent.parent.name}/{picture.parent.name}/{picture.stem}_landmarks.txt"
    file = trees.child(folder, name) or folder / name
    try:
        points = np.array(file.read_text().split(), np.float32).reshape(-1, 2)
    except (OSError, ValueError):
        return {}
    return {"landmarks": points} if len(points) == 68 and np.isfinite(points).all() else {}


def _small(place: Path) -> list[Record]:
    """The 48x48 form: names carry subject, sequence and frame."""
    listed = []
    for folder in trees.folders(place):
        expression = trees.label(folder.name, trees.WORDS, folder)
        for path in trees.files(folder):
            match = _NAME.fullmatch(path.stem)
            if not match:
                raise ValueError(f"{path} does not say who it shows: names are like S010_004_00000017.png.")
            subject, sequence, frame = match.groups()
            subject = subject.upper()
            listed.append(
                Record(
                    str(path), expression, subject=subject, sequence=f"{subject}/{sequence}", frame=int(frame),
                    domain="lab", info={"framed": True},
                )
            )  # fmt: skip
    return sorted(
        listed, key=lambda r: (trees.natural(r.sequence or ""), r.frame or 0, EXPRESSIONS.index(r.expression))
    )
