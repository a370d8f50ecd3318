"""One's own pictures: a folder for each expression, or a list.

    root/anger/anna_1.jpg ...                   class folders: also anger/anna/1.jpg and anna/anger/1.jpg,
                                                with train/, val/ and test/ above them; or
    root/labels.csv                             path,expression,subject,split  (further columns are kept)
         anna/1.jpg,anger,anna,train ...        paths are relative to root, or absolute
    root/labels.json                            {"0": "anger", "Freude": "happiness"}, where labels are other words

Words such as angry, happy or sad are understood, and 0_anger. Others, and numbers, need labels.json or --labels.

A picture's subject is the folder between root and class or class and picture, else what its name has before the first
"_", unless that tells nobody apart: an expression, a word such as train or img, the same for all, a number for each
picture. Pictures without one have none: folds are then the data set's own parts, or --split=random asks for others.

A picture is whatever Pillow opens; faces are found by dlib. What else lies there is left aside and counted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from fer_tf import classfolders, lists, people, pictures, trees
from fer_tf.records import Record

LIST, NAMES = "labels.csv", "labels.json"
SHOWN = "asked"
"""Whether they may be shown is the user's to say: see `catalogue.may_be_shown`."""
NEEDED = ("path", "expression")
COLUMNS = (*NEEDED, "subject", "sequence", "frame", "split", "domain")
LABELS = (
    "folders or words in the list: anger or angry, contempt, disgust, fear, happiness or happy, sad, surprise, neutral"
)
TREE = "  anger/anna_1.jpg ...   or anna/anger/1.jpg, below train/ and test/, too\nor\n"
TREE += f"  {LIST}   (path,expression,subject)"


def records(
    root: str | Path | None = None, *, labels: Mapping[str, str] | Iterable[str] | str | None = None
) -> list[Record]:
    """All pictures, in the list's order or that of their paths.

    Args:
      root: the folder; or a CSV file.
      labels: what the data set's own words or numbers mean, {"0": "anger"} or ["0=anger"]; before labels.json.
    Raises:
      FileNotFoundError: there is no picture, or one of the list is missing; the message names it.
      ValueError: an unknown expression, a list without the columns path and expression, or a line with more fields
        than columns; the message names the line.
    """
    known = classfolders.labels_of(labels)
    if root is not None and Path(root).expanduser().is_file():
        return _listed(Path(root).expanduser(), known)
    place = trees.root_of(root, TREE)
    if not known and (place / NAMES).is_file():
        known = classfolders.read_labels(place / NAMES)
    if (place / LIST).is_file():
        return _listed(place / LIST, known)
    read = classfolders.read(place, known, pictures.endings(), (NAMES,), own=True)
    if not read.pictures:
        aside = f" (left aside: {read.told()})" if read.aside else ""
        raise FileNotFoundError(f"{place} has no pictures{aside}: expected\n{TREE}")
    if read.aside:
        print(f"folder: left aside: {read.told()}.", file=sys.stderr)
    who, why = people.named(read.pictures, known)
    if why:
        print(f"folder: {who.count(None)} of {len(who)} pictures have no subject: {why}.", file=sys.stderr)
    return [
        Record(str(f.path), f.expression, subject=p, sequence=f"{p}/{f.expression}" if p else None, split=f.split)
        for f, p in zip(read.pictures, who, strict=True)
    ]


def _listed(file: Path, labels: Mapping[str, str]) -> list[Record]:
    rows = lists.rows(file, NEEDED, COLUMNS)
    trees.not_ours(rows[0].values if rows else (), file)
    listed = [record for row in rows if (record := _row(file, row, labels))]
    if not listed:
        raise FileNotFoundError(f"{file} lists no picture.")
    if left := len(rows) - len(listed):
        print(f"folder: left aside: {left} lines of {file}, as --labels or {NAMES} has it.", file=sys.stderr)
    return listed


def _row(file: Path, row: lists.Row, labels: Mapping[str, str]) -> Record | None:
    """One line of the list; None where its label is to be left aside."""
    given = {name: value or None for name, value in row.values.items()}
    if given["path"] is None:
        raise ValueError(f"{row.where}: there is no path.")
    path = file.parent / Path(given["path"]).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{row.where}: there is no file {path}.")
    word, number = given["expression"], given.get("frame")
    if number is not None and not (number.isascii() and number.isdigit()):
        raise ValueError(f"{row.where}: frame {number!r} is no number.")
    shown = None if word is None else classfolders.expression(word, labels)
    if word is not None and shown is None:
        raise ValueError(classfolders.unknown(word, row.where, labels))
    if shown == classfolders.NONE:
        return None
    split = given.get("split")
    return Record(
        str(path),
        shown,
        subject=given.get("subject"),
        sequence=given.get("sequence"),
        frame=None if number is None else int(number),
        domain=given.get("domain"),
        split=split and (classfolders.split_of(split) or split),
        info={name: value for name, value in given.items() if name not in COLUMNS and value is not None},
    )
