"""CASIA-WebFace: 494,414 web pictures of 10,575 people, without expressions.

    root/CASIA-WebFace/0000045/001.jpg ...        a folder for each person, or these directly; or
    root/train.rec, train.idx                     aligned faces of 112x112 (`framed`) as InsightFace packs them: 490,623
                                                  of 10,572 people; the subject is the label's number

Yi, Lei, Liao, Li: "Learning Face Representation from Scratch" (arXiv 1411.7923, 2014). Licence: research only; the
owner no longer gives it out, copies circulate. Pictures may not be passed on. Used by GCNet (Encoder1 and Encoder2 are
pre-trained on it).
"""

from __future__ import annotations

import sys
from pathlib import Path

from fer_tf import recordio, trees
from fer_tf.records import Record

COUNT = 494_414
LABELS = "none"
PACKED, PACKED_COUNT = "train.rec", 490_623
TREE = f"  CASIA-WebFace/0000045/001.jpg ...\nor\n  {PACKED} and train.idx"


def records(root: str | Path | None = None) -> list[Record]:
    """All pictures, in the order of their names, without an expression; the subject is the person's folder.

    Args:
      root: the folder above, one that has it, or the one of the people.
    Raises:
      FileNotFoundError: no such tree.
      ValueError: train.rec or train.idx is damaged; the message names it.
    """
    packed = next((file for place in trees.near(root) if (file := trees.child(place, PACKED))), None)
    listed = _packed(packed) if packed else _folders(root)
    count = PACKED_COUNT if packed else COUNT
    if len(listed) != count:
        print(f"CASIA-WebFace: this copy has {len(listed)} pictures; the owner's has {count}.", file=sys.stderr)
    return listed


def _folders(root: str | Path | None) -> list[Record]:
    return [
        Record(str(path), subject=person, domain="web")
        for person, path in trees.people(root, TREE, lambda person, _: person.isdigit())
    ]


def _packed(file: Path) -> list[Record]:
    """The pictures of a RecordIO file: InsightFace's first record says where they end and the people's begin."""
    rows = list(recordio.listed(file))
    end = next((labels[0] for key, _, labels in rows if key == 0 and len(labels) == 2), None)
    if end is not None:
        rows = [row for row in rows if 0 < row[0] < end]
    return [
        Record((str(file), place), subject=f"{labels[0]:.0f}", domain="web", info={"framed": True})
        for _, place, labels in rows
    ]
