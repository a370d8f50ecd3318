"""CelebA: 202,599 web pictures of 10,177 people, without expressions.

    root/img_celeba/000001.jpg ...            as they were found; or
    root/img_align_celeba/000001.jpg ...      aligned, 178x218
    root/identity_CelebA.txt                  000001.jpg 2880 ...; used where it is there (also in Anno/)

Liu, Luo, Wang, Tang: "Deep Learning Face Attributes in the Wild" (ICCV 2015). Licence: non-commercial research, from
mmlab.ie.cuhk.edu.hk/projects/CelebA.html; pictures may not be passed on. Used by CycleAT (auxiliary domain, with LFW).
"""

from __future__ import annotations

import sys
from pathlib import Path

from fer_tf import trees
from fer_tf.records import Record

COUNT = 202_599
FOLDERS = ("img_celeba", "img_align_celeba")
LABELS = "none"
TREE = "  img_celeba/000001.jpg ...   or img_align_celeba/000001.jpg ...\n  identity_CelebA.txt"


def records(root: str | Path | None = None, *, aligned: bool = False) -> list[Record]:
    """All pictures, in the order of their names, without an expression.

    Args:
      root: the folder above, or one that has it alone.
      aligned: the aligned pictures where there are both.
    Returns:
      Records whose subject is the identity's number where the owner's list is there.
    Raises:
      FileNotFoundError: no such tree.
      ValueError: a line of the list that is no name and number; the message shows it.
    """
    place = trees.root_of(root, TREE, *FOLDERS)
    there = [place / name for name in (reversed(FOLDERS) if aligned else FOLDERS) if (place / name).is_dir()]
    people = _people(place)
    listed = [
        Record(str(path), subject=people.get(f"{path.stem}.jpg"), domain="web", info={})
        for path in trees.walk(there[0])
    ]
    if len(listed) != COUNT:
        print(f"CelebA: this copy has {len(listed)} pictures; the owner's has {COUNT}.", file=sys.stderr)
    return listed


def _people(place: Path) -> dict[str, str]:
    names = ("identity_CelebA.txt", "Anno/identity_CelebA.txt")
    file = next((place / name for name in names if (place / name).is_file()), None)
    numbers: dict[str, str] = {}
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if file else ():
        name, _, number = line.strip().partition(" ")
        if line.strip() and not number.strip().isdigit():
            raise ValueError(f"{file}: {line!r} is no picture and number.")
        numbers[name] = number.strip()
    return numbers
