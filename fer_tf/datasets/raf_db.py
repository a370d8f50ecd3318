"""RAF-DB, its basic part: 15,339 web faces in seven expressions, labelled by about forty people each.

    root/EmoLabel/list_patition_label.txt              train_00001.jpg 5
    root/Image/aligned/train_00001_aligned.jpg ...     100x100; or
    root/Image/original/train_00001.jpg ...            as they were found

or as Kaggle packs the aligned ones, in folders of numbers or of words:

    root/DATASET/train/1/train_00001_aligned.jpg ...   and test/1/test_0001_aligned.jpg ...
    root/train_labels.csv, test_labels.csv             image,label; where they are there, they have to agree

(`patition` is the owner's spelling.) A folder basic/ around them is accepted. Numbers: 1 surprise, 2 fear, 3 disgust, 4
happiness, 5 sadness, 6 anger, 7 neutral. No identities; parts train (12,271) and test (3,068).

Li, Deng, Du: "Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression Recognition in the Wild"
(CVPR 2017). Licence: non-commercial research, by agreement (whdeng.cn/RAF); pictures may not be passed on. Used by
GCNet (Table VI: tested after training on other data sets).
"""

from __future__ import annotations

import sys
from pathlib import Path

from fer_tf import classfolders, lists, trees
from fer_tf.records import Record

NUMBERS = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
COUNTS = {"train": 12_271, "test": 3_068}
LIST = "EmoLabel/list_patition_label.txt"
FOLDERS = ("DATASET", "train", "test")
LABELS = "1 surprise, 2 fear, 3 disgust, 4 happiness, 5 sadness, 6 anger, 7 neutral"
TREE = f"""  {LIST}   (train_00001.jpg 5 ...)
  Image/aligned/train_00001_aligned.jpg ...   or Image/original/train_00001.jpg ...
or
  DATASET/train/1/train_00001_aligned.jpg ...   and DATASET/test/1/..."""


def records(root: str | Path | None = None, *, aligned: bool = True) -> list[Record]:
    """All pictures of the list, in its order.

    Args:
      root: the folder above, or one that has it.
      aligned: the owner's aligned faces, which are `framed`; the original pictures else, or where there are no others.
    Raises:
      FileNotFoundError: no such tree, or a picture of the list is not there; the message names it.
      ValueError: a line that is no name and number from 1 to 7; the message shows it.
    """
    place = trees.root_of(root, TREE, LIST, *FOLDERS)
    list_file = trees.child(place, LIST)
    if list_file is None:
        return _told(_folders(place))
    form = next(
        (
            f
            for f in (("aligned", "original") if aligned else ("original", "aligned"))
            if (place / "Image" / f).is_dir()
        ),
        None,
    )
    if form is None:
        raise FileNotFoundError(f"{place}/Image has neither aligned/ nor original/: expected\n{TREE}")
    there = {path.name: path for path in trees.walk(place / "Image" / form)}
    listed: list[Record] = []
    for number, line in enumerate(list_file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        name, _, label = line.strip().partition(" ")
        if not line.strip():
            continue
        if not label.isascii() or not label.isdigit() or not 1 <= int(label) <= len(NUMBERS):
            raise ValueError(f"{place / LIST}, line {number}: {line!r} is no name and number from 1 to {len(NUMBERS)}.")
        stem, dot, ending = name.rpartition(".")
        file = there.get(f"{stem}_aligned{dot}{ending}") or there.get(name)
        if file is None:
            raise FileNotFoundError(f"{place / 'Image' / form} has no picture of {name}, which is in {LIST}.")
        split = name.partition("_")[0]
        info = {"framed": True} if form == "aligned" else {}
        expression = NUMBERS[int(label) - 1]
        listed.append(Record(str(file), expression, sequence=split, domain="web", split=split, info=info))
    return _told(listed)


def _told(listed: list[Record]) -> list[Record]:
    counts = {split: sum(r.split == split for r in listed) for split in COUNTS}
    if counts != COUNTS:
        print(f"RAF-DB: this copy has {counts}; the owner's has {COUNTS}.", file=sys.stderr)
    return listed


def _folders(place: Path) -> list[Record]:
    """Kaggle's form: class folders below train and test, and lists that have to say the same."""
    numbers = {str(number): name for number, name in enumerate(NUMBERS, 1)}
    read = classfolders.read(place, numbers)
    if not read.pictures:
        raise FileNotFoundError(f"{place} has no pictures of RAF-DB: expected\n{TREE}")
    shown = {found.path.name: found.expression for found in read.pictures}
    for split in COUNTS:
        file = trees.child(place, f"{split}_labels.csv") or trees.child(place, f"DATASET/{split}_labels.csv")
        for where, row in lists.rows(file, ("image", "label")) if file else ():
            said = classfolders.expression(row["label"], numbers)
            if row["image"] not in shown or said != shown[row["image"]]:
                raise ValueError(f"{where}: {row['image']}, {row['label']} is not so in the folders, which have it as "
                                 f"{shown.get(row['image'], 'no picture')}.")  # fmt: skip
    return [
        Record(str(f.path), f.expression, sequence=f.split, domain="web", split=f.split, info={"framed": True})
        for f in read.pictures
    ]
