"""CASIA-WebFace: 494,414 web pictures of 10,575 people, without expressions.

    root/CASIA-WebFace/0000045/001.jpg ...        a folder for each person, or these directly

Yi, Lei, Liao, Li: "Learning Face Representation from Scratch" (arXiv 1411.7923, 2014). Licence: research only; the
owner no longer gives it out, copies circulate. Pictures may not be passed on. Used by GCNet (Encoder1 and Encoder2 are
pre-trained on it).
"""

from __future__ import annotations

import sys
from pathlib import Path

from fer_tf import trees
from fer_tf.records import Record

COUNT = 494_414
LABELS = "none"
TREE = "  CASIA-WebFace/0000045/001.jpg ..."


def records(root: str | Path | None = None) -> list[Record]:
    """All pictures, in the order of their names, without an expression; the subject is the person's folder.

    Args:
      root: the folder above, one that has it, or the one of the people.
    Raises:
      FileNotFoundError: no such tree.
    """
    listed = [
        Record(str(path), subject=person, domain="web")
        for person, path in trees.people(root, TREE, lambda person, _: person.isdigit())
    ]
    if len(listed) != COUNT:
        print(f"CASIA-WebFace: this copy has {len(listed)} pictures; the owner's has {COUNT}.", file=sys.stderr)
    return listed
