"""EmotioNet, the pictures that people have labelled: the user's own list, since the owner gives out addresses alone.

    root/labels.csv          path,expression     (words such as happy or surprise; further columns are kept)
    root/images/...          the pictures, to which paths are relative; or they are relative to root

CycleAT takes 1,141 of them with one of the six basic expressions, five-fold, 913 to train on and 228 to test. Which
ones it does not print: a column `split` with the fold's number in your list makes its folds, else they are dealt
evenly.

Benitez-Quiroz, Srinivasan, Martinez: "EmotioNet: An Accurate, Real-Time Algorithm for the Automatic Annotation of a
Million Facial Expressions in the Wild" (CVPR 2016). Licence: research only, by agreement with the Ohio State University
(cbcsl.ece.ohio-state.edu); pictures may not be passed on. Used by CycleAT (target).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from fer_tf import lists, trees
from fer_tf.records import Record

COUNT, FOLDS = 1141, 5
LIST = "labels.csv"
COLUMNS = ("path", "expression", "split")
LABELS = "words in the list, such as happy or surprise"
TREE = f"  {LIST}   (path,expression)\n  images/..."


def records(root: str | Path | None = None) -> list[Record]:
    """The list's pictures, in its order; `split` is the fold, the list's own or the row's number modulo five.

    Args:
      root: the folder above, or one that has it alone.
    Raises:
      FileNotFoundError: no such tree, or a picture is missing; the message names its line.
      ValueError: the list has no columns path and expression, or an unknown word; the message names the line.
    """
    place = trees.root_of(root, TREE, LIST)
    rows = lists.rows(trees.child(place, LIST) or place / LIST, known=COLUMNS)
    if not rows or not {"path", "expression"} <= {*rows[0].values}:
        raise ValueError(f"{place / LIST} needs the columns path and expression, and a line for each picture.")
    listed = []
    for where, row in rows:
        expression = trees.label(row["expression"], trees.WORDS, where)
        name = row["path"]
        path = next((p for p in (place / name, place / "images" / name) if p.is_file()), None)
        if path is None:
            raise FileNotFoundError(f"{where}: there is no file {name or '(no path)'} in {place} or its images/.")
        more = {key: value for key, value in row.items() if key and key not in COLUMNS and value}
        trees.not_ours(more, where)
        listed.append(Record(str(path), expression, domain="web", split=row.get("split") or None, info=more))
    if not any(r.split for r in listed):
        listed = [replace(r, split=f"fold{i % FOLDS}") for i, r in enumerate(listed)]
    if len(listed) != COUNT:
        print(f"EmotioNet: this list has {len(listed)} pictures; CycleAT has {COUNT}.", file=sys.stderr)
    return listed
