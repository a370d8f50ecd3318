"""CAER-S: frames of television shows in seven expressions, the scene around the face with it.

    root/CAER-S/train/Anger/0001.png ...        and test/Anger/..., in some copies validation/

Whole frames, in which the largest face is searched for. Nobody is named, and actors recur in train and test: folds are
the owner's parts, and no result speaks of people who were never seen.

Lee, Kim, Kim, Park, Sohn: "Context-Aware Emotion Recognition Networks" (ICCV 2019). Licence: non-commercial research,
from caer-dataset.github.io; pictures may not be passed on. Used by none of the five papers.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fer_tf import classfolders, trees
from fer_tf.records import Record

PARTS = ("train", "validation", "test")
LABELS = "folders Anger, Disgust, Fear, Happy, Neutral, Sad, Surprise"
TREE = "  CAER-S/train/Anger/0001.png ...   and test/Anger/..."


def records(root: str | Path | None = None) -> list[Record]:
    """All pictures, in the order part, expression, name; `split` is train, validation or test.

    Args:
      root: the folder above, or one above it.
    Raises:
      FileNotFoundError: no such tree.
      ValueError: an unknown folder of an expression; the message names it.
    """
    place = trees.root_of(root, TREE, "train", "test")
    read = classfolders.read(place, {})
    found = [f for f in read.pictures if f.split]
    if not found:
        raise FileNotFoundError(f"{place} has no pictures below train and test: expected\n{TREE}")
    if read.aside:
        print(f"CAER-S: left aside: {read.told()}.", file=sys.stderr)
    found.sort(key=lambda f: PARTS.index(f.split or ""))
    return [Record(str(f.path), f.expression, domain="film", split=f.split) for f in found]
