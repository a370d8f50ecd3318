"""LFW, labelled faces in the wild: 13,233 web pictures, 250x250, of 5,749 people, without expressions.

    root/lfw/Aaron_Eckhart/Aaron_Eckhart_0001.jpg ...        also lfw_funneled/ ..., or the people directly,
                                                             or a folder in one of its own name, as Kaggle packs it

Huang, Ramesh, Berg, Learned-Miller: "Labeled Faces in the Wild" (University of Massachusetts 2007). Licence: research;
the owner's site has closed, copies are at scikit-learn's mirror (figshare.com/articles/dataset/lfw/5976018) and
elsewhere; do not pass pictures on with your results. Used by CycleAT (auxiliary domain, with CelebA).
"""

from __future__ import annotations

import sys
from pathlib import Path

from fer_tf import trees
from fer_tf.records import Record

COUNT = 13_233
LABELS = "none"
TREE = "  lfw/Aaron_Eckhart/Aaron_Eckhart_0001.jpg ..."


def records(root: str | Path | None = None) -> list[Record]:
    """All pictures, in the order of their names, without an expression; the subject is the person's folder.

    Args:
      root: the folder above, one that has it, or the one of the people.
    Raises:
      FileNotFoundError: no such tree.
    """
    listed = [
        Record(str(path), subject=person, domain="web")
        for person, path in trees.people(root, TREE, lambda person, name: name.startswith(f"{person}_"))
    ]
    if len(listed) != COUNT:
        print(f"LFW: this copy has {len(listed)} pictures; the owner's has {COUNT}.", file=sys.stderr)
    return listed
