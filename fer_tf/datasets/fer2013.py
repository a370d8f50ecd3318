"""FER-2013: 35,887 grey web faces of 48x48, found by words for emotions and labelled by people.

    root/fer2013.csv                emotion,pixels,Usage: the owner's form (also icml_face_data.csv; train.csv, which
                                    has the training pictures alone and no Usage); or
    root/fer2013_train.npz          28,709 pictures: image (N, 48, 48) uint8, label (N,) uint8
    root/fer2013_public_test.npz     3,589 pictures
    root/fer2013_private_test.npz    3,589 pictures; or
    root/train/angry/....jpg        class folders, words or 0 to 6, as Kaggle has them; beside them validation/, test/

Names such as PublicTest_10131363.jpg say which test a picture is of. Where they do not, test/ holds both tests, the
split is "test", and there is no public test beside it.

The CSV file's emotions are 0 angry, 1 disgust, 2 fear, 3 happy, 4 sad, 5 surprise, 6 neutral, its usages Training,
PublicTest, PrivateTest. In the .npz files `label` counts in the order anger, contempt, disgust, fear, happiness,
sadness, surprise, neutral; contempt does not occur. No identities.

FER+, ten people's votes on each picture, is read where it lies beside them:

    root/fer2013new.csv             beside fer2013.csv, rows in its order: Usage, Image name, then ten columns of votes
    root/ferplus.npz                beside the .npz files: train, public_test, private_test (N, 10); columns names them

A record then has `info["votes"]`, ten whole numbers in the owner's order: neutral, happiness, surprise, sadness, anger,
disgust, fear, contempt, unknown, not_a_face (`VOTES`). Its expression stays FER-2013's label; `majority` gives FER+'s.

Barsoum et al.: "Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label Distribution" (ICMI
2016) for the votes (github.com/microsoft/FERPlus, MIT).

Goodfellow et al.: "Challenges in Representation Learning: A Report on Three Machine Learning Contests" (ICONIP 2013).
Licence: research, from kaggle.com/competitions/challenges-in-representation-learning-facial-expression-recognition-
challenge; pictures are not shared on; FER+'s votes are MIT. Used by IA-gen and ED2L (pre-training), by GCNet (Table
VI), here as a target of CycleAT, and with FER+ for SE-ResNet, the recogniser of eight expressions.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import classfolders, trees
from fer_tf.records import EXPRESSIONS, Record

SPLITS = ("train", "public_test", "private_test")
LABELS = "0 anger, 1 disgust, 2 fear, 3 happiness, 4 sadness, 5 surprise, 6 neutral; or folders"
LABELS += "; FER+: ten votes a picture, contempt among them"
TREE = "\n".join(f"  fer2013_{split}.npz   (image (N, 48, 48) uint8, label (N,) uint8)" for split in SPLITS)
TREE += "\n  ferplus.npz   (where FER+'s votes are wanted)"
TREE += "\nor\n  fer2013.csv   (emotion,pixels,Usage)\n  fer2013new.csv   (where FER+'s votes are wanted)"
TREE += "\nor\n  train/angry/....jpg ... and test/..."
OWNERS = ("fer2013.csv", "icml_face_data.csv")
LISTS = (*OWNERS, "fer2013/fer2013.csv", "train.csv")
NUMBERS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
STAND_INS = {"train": "train", "public_test": "validation", "private_test": "test"}
"""What folders may be called instead."""
USAGES = {"Training": "train", "PublicTest": "public_test", "PrivateTest": "private_test"}
"""The CSV file's emotions and usages."""

VOTES = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "not_a_face"
)  # fmt: skip
"""What a picture's ten voters chose from, in the owner's order."""

LISTED_VOTES, PACKED_VOTES = "fer2013new.csv", "ferplus.npz"
"""Files of FER+'s votes; the list calls not_a_face NF."""


def records(root: str | Path | None = None, *, splits: tuple[str, ...] = SPLITS) -> list[Record]:
    """The pictures of the given splits.

    Args:
      root: folder of one of the three forms, or the CSV file.
      splits: out of train, public_test, private_test; all that there are when left out. Where folders are called so,
        public_test means validation, and private_test the one test that there is.
    Returns:
      Records with a 48x48 uint8 image, an expression and a split, no subject; `info["framed"]` is True, and
      `info["votes"]` is there where FER+ is.
    Raises:
      FileNotFoundError: a file is missing; the message shows the expected tree.
      ValueError: an unknown split, or arrays or labels other than these; the message names the file.
    """
    listed: list[Record] = []
    if unknown := [split for split in splits if split not in SPLITS]:
        raise ValueError(f"FER-2013 has no split {unknown[0]!r}: use {', '.join(SPLITS)}.")
    place = Path(root or ".").expanduser()
    if root is not None and place.suffix.lower() == ".csv" and place.is_file():
        return _with_listed_votes(_listed(place, splits), place.with_name(LISTED_VOTES), splits)
    if root is not None and not any((place / f"fer2013_{split}.npz").is_file() for split in SPLITS):
        if file := next(filter(None, (trees.child(place, name) for name in LISTS)), None):
            return _with_listed_votes(_listed(file, splits), file.with_name(LISTED_VOTES), splits)
        if any(classfolders.split_of(folder.name) for folder in trees.near(place) if folder != place):
            return _folders(place, splits)
    for split in splits:
        path = place / f"fer2013_{split}.npz"
        if root is None or not path.is_file():
            raise FileNotFoundError(f"{path} is missing: --data_dir has to be a folder with\n{TREE}")
        try:
            with np.load(path) as pack:
                arrays = {name: pack[name] for name in pack.files}
        except Exception as error:  # a damaged file raises nearly everything
            raise ValueError(f"{path} is damaged, or no .npz file: {error}") from error
        if not {"image", "label"} <= set(arrays):
            raise ValueError(f"{path} holds {', '.join(arrays)}: expected the arrays image and label.")
        images, labels = arrays["image"], arrays["label"]
        whole = images.dtype == np.uint8 and np.issubdtype(labels.dtype, np.integer) and labels.ndim == 1
        within = whole and labels.min(initial=0) >= 0 and labels.max(initial=0) < len(EXPRESSIONS)
        if not within or images.shape[1:] != (48, 48) or len(images) != len(labels):
            raise ValueError(
                f"{path}: image {images.dtype} {images.shape} and {len(labels)} labels {labels.dtype} from "
                f"{labels.min(initial=0)} to {labels.max(initial=0)} are not "
                f"FER-2013's: expected uint8 (N, 48, 48) and labels 0 to 7 in the order {', '.join(EXPRESSIONS)}."
            )
        listed += [
            Record(image, EXPRESSIONS[label], sequence=split, frame=i, domain="web", split=split, info={"framed": True})
            for i, (image, label) in enumerate(zip(images, labels, strict=True))
        ]
    return _with_packed_votes(listed, place / PACKED_VOTES, splits)


def _listed(file: Path, splits: tuple[str, ...]) -> list[Record]:
    """The owner's CSV file."""
    csv.field_size_limit(sys.maxsize)
    parts: dict[str, list[Record]] = {split: [] for split in SPLITS}
    with file.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        reader = csv.DictReader(stream, skipinitialspace=True)
        whole = file.name.lower() in OWNERS or "Usage" in (reader.fieldnames or [])
        if not {"emotion", "pixels", *["Usage"] * whole} <= set(reader.fieldnames or []):
            raise ValueError(f"{file} has the columns {reader.fieldnames}: expected emotion, pixels, Usage.")
        if not whole and splits not in (SPLITS, ("train",)):
            raise ValueError(f"{file} has the training pictures alone: there is no {' or '.join(splits)}.")
        for row in reader:
            where = f"{file}, line {reader.line_num}"
            usage, number = (row.get("Usage", "Training") or "").strip(), (row["emotion"] or "").strip()
            split = USAGES.get(usage)
            if split is None or not (number.isascii() and number.isdigit()) or int(number) >= len(NUMBERS):
                raise ValueError(f"{where}: emotion {number!r}, Usage {usage!r} is none of FER-2013's.")
            try:
                values = np.array((row["pixels"] or "").split(), np.int64).reshape(48, 48)
                if values.min() < 0 or values.max() > 255:  # NumPy 1 would wrap them
                    raise ValueError(f"{values.min()} to {values.max()}")
                pixels = values.astype(np.uint8)
            except (ValueError, OverflowError) as error:
                raise ValueError(f"{where}: its pixels are not 48x48 numbers from 0 to 255: {error}") from error
            options: dict[str, Any] = {"sequence": split, "frame": len(parts[split]), "domain": "web", "split": split}
            parts[split].append(Record(pixels, NUMBERS[int(number)], info={"framed": True}, **options))
    return [record for split in splits for record in parts[split]]


def _folders(place: Path, splits: tuple[str, ...]) -> list[Record]:
    """Class folders below parts of the data set; the names of a test's pictures may say which test it is."""
    read = classfolders.read(place, {str(number): name for number, name in enumerate(NUMBERS)})
    parts: dict[str, list[classfolders.Found]] = {}
    for found in read.pictures:
        if found.split:
            parts.setdefault(found.split, []).append(found)
    if not parts:
        raise FileNotFoundError(
            f"{place} has no pictures below train, test and the like: expected a folder with\n{TREE}"
        )
    named = {f.path: classfolders.split_of(f.path.stem.partition("_")[0]) for f in parts.get("test", ())}
    if {*named.values()} == {"public_test", "private_test"}:
        for found in parts.pop("test"):
            parts.setdefault(named[found.path] or "test", []).append(found)
    wanted = {split: split if split in parts else STAND_INS[split] for split in splits}
    if splits == SPLITS:
        wanted = {split: split for split in sorted(parts, key=[*STAND_INS.values(), *SPLITS].index)}
    if missing := [split for split, name in wanted.items() if name not in parts]:
        raise ValueError(f"{place} has no part that could be {missing[0]}: it has {', '.join(sorted(parts))}.")
    return [
        Record(str(f.path), f.expression, sequence=split, domain="web", split=split, info={"framed": True})
        for split in wanted.values()
        for f in parts[split]
    ]


def _with_packed_votes(listed: list[Record], file: Path, splits: tuple[str, ...]) -> list[Record]:
    """The records with the votes of ferplus.npz, or as they are where there is none."""
    if not file.is_file():
        return listed
    try:
        with np.load(file) as pack:
            arrays = {name: pack[name] for name in (*splits, "columns")}
    except Exception as error:  # a damaged file raises nearly everything
        raise ValueError(f"{file} is damaged, or lacks columns, {', '.join(splits)}: {error}") from error
    columns = [str(name) for name in arrays["columns"]]
    if sorted(columns) != sorted(VOTES):
        raise ValueError(f"{file} has the columns {', '.join(columns)}: expected {', '.join(VOTES)}.")
    order = [columns.index(name) for name in VOTES]
    for split in splits:
        count = sum(record.split == split for record in listed)
        if arrays[split].shape != (count, len(VOTES)) or not np.issubdtype(arrays[split].dtype, np.integer):
            raise ValueError(
                f"{file}: {split} is {arrays[split].dtype} {arrays[split].shape}, and there are {count} pictures: "
                f"expected whole numbers ({count}, {len(VOTES)})."
            )
    rows = [row for split in splits for row in arrays[split][:, order].tolist()]
    return [_voted(record, row) for record, row in zip(listed, rows, strict=True)]


def _with_listed_votes(listed: list[Record], file: Path, splits: tuple[str, ...]) -> list[Record]:
    """The records with the votes of fer2013new.csv, or as they are where there is none."""
    if not file.is_file():
        return listed
    parts: dict[str, list[list[int]]] = {split: [] for split in SPLITS}
    names = [*VOTES[:-1], "NF"]
    with file.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        reader = csv.DictReader(stream, skipinitialspace=True)
        if missing := [name for name in ("Usage", *names) if name not in (reader.fieldnames or [])]:
            raise ValueError(f"{file} has the columns {reader.fieldnames}: it lacks {', '.join(missing)}.")
        for row in reader:
            values, split = [(row[name] or "").strip() for name in names], USAGES.get((row["Usage"] or "").strip())
            if split is None or not all(value.isdecimal() for value in values):
                raise ValueError(
                    f"{file}, line {reader.line_num}: Usage {row['Usage']!r}, votes {values} are not FER+'s."
                )
            parts[split].append([int(value) for value in values])
    for split in splits:
        count = sum(record.split == split for record in listed)
        if len(parts[split]) != count:
            raise ValueError(f"{file} has {len(parts[split])} rows of {split}, and there are {count} pictures.")
    rows = [row for split in splits for row in parts[split]]
    return [_voted(record, row) for record, row in zip(listed, rows, strict=True)]


def _voted(record: Record, votes: list[int]) -> Record:
    return replace(record, info={**record.info, "votes": votes})


def majority(votes: Sequence[int], *, strict: bool = False) -> str | None:
    """The expression that most voters chose; None where that is unknown, not_a_face or nothing.

    Of equal counts the first in the order of `VOTES` counts, as the largest of a row is found in FER+'s own code: an
    expression before unknown and not_a_face, neutral before all. By this rule 28,388 / 3,553 / 3,546 pictures of the
    three parts have an expression, which are the counts that most papers print.

    Args:
      votes: ten counts, in the order of `VOTES`.
      strict: the rule of FER+'s code in its mode "majority": a choice of one single voter is dropped, and more than
        half of the votes that are left have to agree. 25,058 / 3,199 / 3,153 pictures have an expression then.
    """
    counts = [count if count > 1 or not strict else 0 for count in votes]
    most = max(counts, default=0)
    chosen = VOTES[counts.index(most)] if most else None
    if chosen not in EXPRESSIONS or (strict and 2 * most <= sum(counts)):
        return None
    return chosen


def left_out(records: Iterable[Record]) -> dict[str, int]:
    """How many records `majority` gives no expression, by why: unknown, not_a_face, no_votes."""
    why = Counter({"unknown": 0, "not_a_face": 0, "no_votes": 0})
    for record in records:
        votes = record.info.get("votes", ())
        if majority(votes) is None:
            why["no_votes" if not any(votes) else VOTES[list(votes).index(max(votes))]] += 1
    return dict(why)


def vote_counts(records: Sequence[Record], classes: Sequence[str] = EXPRESSIONS) -> np.ndarray:
    """(N, K) float32: how many voters chose each of `classes`; zeros where there are no votes."""
    places = [VOTES.index(name) for name in classes]
    rows = [record.info.get("votes", [0] * len(VOTES)) for record in records]
    return np.array(rows, np.float32).reshape(-1, len(VOTES))[:, places]


def duplicates_of(images: np.ndarray, training_images: np.ndarray, tolerance: float = 2.0) -> np.ndarray:
    """Which pictures also occur among the training pictures, when one of the two went through a resized copy.

    Hashes miss such copies. Pictures are compared as 16x16 thumbnails (means of 3x3 pixels), which a resize and back
    leaves nearly alone: each with its nearest training picture (Euclidean), by their mean absolute difference.

    Measured, both tests (7,178 pictures) against the training part, pictures by that difference in grey levels:
    below 0.75, 576; 0.75 to 1, 7; 1 to 2, 14; 2 to 3, 11; 3 to 4, 26; 4 to 5, 43; from 10 on, 6,173. The default lies
    in the trough between copies and other crops of a photograph; it finds 292 of the public, 305 of the private test.
    Up to 4 the pairs looked at were still one photograph, cropped or compressed differently, and there is no border to
    those: a count of copies, not of every picture that resembles a training picture. Mirrored copies are not sought.

    Args:
      images: (N, H, W) uint8 grey, sides divisible by 3; N may be 0.
      training_images: (M, H, W) uint8, M >= 1.
      tolerance: largest mean absolute difference of a copy, in grey levels of 0..255.
    Returns:
      (N,) bool.
    Raises:
      ValueError: the shapes do not fit; the message shows them.
    """
    shape = np.shape(training_images)
    if len(shape) != 3 or np.shape(images)[1:] != shape[1:] or not shape[0] or shape[1] % 3 or shape[2] % 3:
        raise ValueError(
            f"Pictures {np.shape(images)} cannot be compared with training pictures {shape}: both have to be "
            "(N, H, W) of one size, sides divisible by 3, and at least one for training."
        )
    known = _thumbnails(training_images)
    half_squares = (known * known).sum(1) / 2
    copies = np.zeros(len(images), bool)
    for start in range(0, len(images), 256):  # 256 x M products at a time: 29 MB for FER-2013
        part = _thumbnails(images[start : start + 256])
        nearest = known[(part @ known.T - half_squares).argmax(1)]
        copies[start : start + 256] = np.abs(part - nearest).mean(1) <= tolerance
    return copies


def _thumbnails(images: np.ndarray) -> np.ndarray:
    """(N, H, W) uint8 -> (N, H/3 * W/3) float32 means of 3x3 pixels."""
    _, height, width = np.shape(images)
    blocks = np.reshape(images, (-1, height // 3, 3, width // 3, 3))
    return blocks.mean((2, 4), dtype=np.float32).reshape(len(images), -1)
