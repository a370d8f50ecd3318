"""AffectNet, its part that people labelled: web faces in eight expressions.

    root/Manually_Annotated_Images/1/0a1b.jpg ...     the release of 2017, with lists
    root/training.csv, validation.csv                 subDirectory_filePath,face_x,...,facial_landmarks,expression,...;
                                                      also in Manually_Annotated_file_lists/; or
    root/train_set/images/0.jpg ...                   the later one, faces of 224x224, with train_set/annotations/
                                                      0_exp.npy; likewise val_set/; or, as it is often repacked,
    root/train/000/....jpg ...                        folders 000 to 007, 0 to 7 or words, below train/, val/, test/

Numbers: 0 neutral, 1 happy, 2 sad, 3 surprise, 4 fear, 5 disgust, 6 anger, 7 contempt; 8 none, 9 uncertain and 10 no
face are left out and counted. Nobody is named.

Mollahosseini, Hasani, Mahoor: "AffectNet: A Database for Facial Expression, Valence, and Arousal Computing in the Wild"
(IEEE Transactions on Affective Computing 2019). Licence: research only, by agreement (mohammadmahoor.com/affectnet);
pictures may not be passed on. Used by none of the five papers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import classfolders, lists, trees
from fer_tf.records import Record

NUMBERS = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
OTHERS = 3
"""Numbers behind those, which are no expressions."""
COUNTS = {"train": 287_651, "validation": 4_000}
LISTS = {"train": "training.csv", "validation": "validation.csv"}
NEEDED = ("subDirectory_filePath", "expression")
HEAD = ("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks", "expression",
        "valence", "arousal")  # fmt: skip
"""Columns of a list that has no head, as some copies' validation.csv."""
SETS = {"train": "train_set", "validation": "val_set"}
FOLDERS = ("train", "val", "validation", "test", "000", "007")
LABELS = "0 neutral, 1 happiness, 2 sadness, 3 surprise, 4 fear, 5 disgust, 6 anger, 7 contempt; or folders"
TREE = """  Manually_Annotated_Images/1/....jpg ...   and training.csv, validation.csv
or
  train_set/images/0.jpg ...   and train_set/annotations/0_exp.npy ..., val_set/...
or
  train/000/....jpg ...   and val/000/..."""


def records(root: str | Path | None = None, *, cropped: bool = True) -> list[Record]:
    """The pictures with one of the eight expressions, in the order of their lists, numbers or folders.

    Args:
      root: the folder above, or one that has it.
      cropped: whether pictures without a list are faces already (`framed`), as the later release's are.
    Returns:
      Records whose `split` is train, validation or test; of the lists with `landmarks` (68, 2).
    Raises:
      FileNotFoundError: no such tree, or a picture of a list is missing; the message names its line.
      ValueError: a line, annotation or folder that is none of AffectNet's; the message names it.
    """
    tops = [f"Manually_Annotated_file_lists/{name}" for name in LISTS.values()]
    place = trees.root_of(root, TREE, *LISTS.values(), *tops, *SETS.values(), *FOLDERS)
    files = {s: file for s, n in LISTS.items() for top in ("", "Manually_Annotated_file_lists/")
             if (file := trees.child(place, top + n))}  # fmt: skip
    if files:
        found = [pair for split, name in files.items() for pair in _of_list(place, name, split)]
    elif any(trees.child(place, name) for name in SETS.values()):
        found = [pair for split in SETS for pair in _of_set(place, split, cropped)]
    else:
        found = list(_of_folders(place, cropped))
    if not found:
        raise FileNotFoundError(f"{place} has no pictures of AffectNet: expected\n{TREE}")
    listed = [record for _, record in found if record]
    left = len(found) - len(listed)
    if left:
        print(f"AffectNet: {left} pictures are none, uncertain or no face, and left out.", file=sys.stderr)
    counts = {split: sum(r.split == split for r in listed) for split in COUNTS}
    if counts != COUNTS:
        print(f"AffectNet: this copy has {counts}; the owner's has {COUNTS}.", file=sys.stderr)
    return listed


def _of_list(place: Path, file: Path, split: str) -> Iterator[tuple[str, Record | None]]:
    """(where, record or None) of a list's lines."""
    names = ("Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images", ".")
    tops = [top for name in names if (top := trees.child(place, name))]
    for where, row in lists.rows(file, NEEDED, head=HEAD):
        path = next((top / row[NEEDED[0]] for top in tops if (top / row[NEEDED[0]]).is_file()), None)
        shown = _expression(row["expression"], where)
        if path is None and shown:
            raise FileNotFoundError(f"{where}: there is no picture {row[NEEDED[0]]} in {place} or its {names[0]}/.")
        info: dict[str, Any] = {}
        points = row.get("facial_landmarks", "").replace(",", ";").split(";")
        if len(points) == 136:
            try:
                info["landmarks"] = np.array(points, np.float32).reshape(68, 2)
            except ValueError as error:
                raise ValueError(f"{where}: its facial_landmarks are no numbers.") from error
        yield where, Record(str(path), shown, domain="web", split=split, info=info) if shown else None


def _of_set(place: Path, split: str, cropped: bool) -> Iterator[tuple[str, Record | None]]:
    """The same of train_set or val_set; a picture without an annotation is refused."""
    top = trees.child(place, SETS[split])
    for path in trees.files(top / "images") if top else ():
        file = path.parent.parent / "annotations" / f"{path.stem}_exp.npy"
        try:
            word = str(np.load(file, allow_pickle=False).item())
        except Exception as error:  # a damaged file raises nearly everything
            raise ValueError(f"{file}, the expression of {path.name}, cannot be read: {error}") from error
        shown = _expression(word, file)
        info = {"framed": True} if cropped else {}
        yield str(file), Record(str(path), shown, domain="web", split=split, info=info) if shown else None


def _of_folders(place: Path, cropped: bool) -> Iterator[tuple[str, Record | None]]:
    """The same of class folders; those of 8 to 10 are counted as the others."""
    labels = {f"{number:0{width}}": name for number, name in enumerate(NUMBERS) for width in (1, 2, 3)}
    labels |= {f"{n:0{width}}": classfolders.NONE for n in range(8, 8 + OTHERS) for width in (1, 2, 3)}
    read = classfolders.read(place, labels)
    info = {"framed": True} if cropped else {}
    for f in read.pictures:
        yield str(f.path), Record(str(f.path), f.expression, domain="web", split=f.split, info=info)
    for why, count in read.aside.items():
        yield from [(why, None)] * (count if why.startswith("pictures of") else 0)


def _expression(word: str, where: str | Path) -> str | None:
    """The expression of a number; None for 8 to 10."""
    if not (word.isascii() and word.isdigit() and int(word[:9]) < len(NUMBERS) + OTHERS):
        raise ValueError(f"{where}: {word!r} is no number from 0 to {len(NUMBERS) + OTHERS - 1}.")
    return NUMBERS[int(word)] if int(word) < len(NUMBERS) else None
