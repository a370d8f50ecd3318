"""CelebA: 202,599 web pictures of 10,177 people, without expressions.

    root/Img/img_celeba/000001.jpg ...            as they were found; or
    root/Img/img_align_celeba/000001.jpg ...      aligned, 178x218; also img_align_celeba_png/000001.png
    root/Anno/identity_CelebA.txt                 000001.jpg 2880 ...

Folders and list may lie in the root itself, too, or the folder in one of its own name. Without the list, which some
copies lack, nobody is named.

Liu, Luo, Wang, Tang: "Deep Learning Face Attributes in the Wild" (ICCV 2015). Licence: non-commercial research, from
mmlab.ie.cuhk.edu.hk/projects/CelebA.html; pictures may not be passed on. Used by CycleAT (auxiliary domain, with LFW).
"""

from __future__ import annotations

import sys
from pathlib import Path

from fer_tf import trees
from fer_tf.records import Record

COUNT = 202_599
WHOLE, ALIGNED = ("img_celeba",), ("img_align_celeba", "img_align_celeba_png")
LIST = "identity_CelebA.txt"
LABELS = "none"
TREE = f"  Img/img_celeba/000001.jpg ...   or Img/img_align_celeba/000001.jpg ...\n  Anno/{LIST}"


def records(root: str | Path | None = None, *, aligned: bool = False) -> list[Record]:
    """All pictures, in the order of their names, without an expression.

    Args:
      root: the folder above, one that has it, or Img itself.
      aligned: the aligned pictures where there are both.
    Returns:
      Records whose subject is the identity's number where the owner's list has it.
    Raises:
      FileNotFoundError: no such tree.
      ValueError: a line of the list that is no name and number; the message shows it.
    """
    forms = [f"{top}{name}" for name in ((*ALIGNED, *WHOLE) if aligned else (*WHOLE, *ALIGNED)) for top in ("Img/", "")]
    if root is not None and Path(root).name in (*WHOLE, *ALIGNED) and trees.files(root):  # the pictures' own folder
        root = Path(root).absolute().parent
    place = trees.root_of(root, TREE, *forms)
    pictures = next(found for form in forms if (found := trees.child(place, form)))
    people = _people(place)
    listed = [Record(str(path), subject=people.get(f"{path.stem}.jpg"), domain="web") for path in trees.walk(pictures)]
    nameless = sum(r.subject is None for r in listed)
    if nameless:
        why = f"{LIST} does not name them" if people else f"there is no {LIST} beside them or in Anno/"
        print(f"CelebA: {nameless} of {len(listed)} pictures have no identity, since {why}.", file=sys.stderr)
    if len(listed) != COUNT:
        print(f"CelebA: this copy has {len(listed)} pictures; the owner's has {COUNT}.", file=sys.stderr)
    return listed


def _people(place: Path) -> dict[str, str]:
    """{picture: identity} of the owner's list; empty without it."""
    tops = [place, place.absolute().parent]
    found = (trees.child(top, name) for top in tops for name in (LIST, f"Anno/{LIST}", f"Anno/{LIST[:-4]}/{LIST}"))
    file = next(filter(None, found), None)
    numbers: dict[str, str] = {}
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if file else ():
        name, _, number = line.strip().partition(" ")
        if line.strip() and not number.strip().isdigit():
            raise ValueError(f"{file}: {line!r} is no picture and number.")
        numbers[name] = number.strip()
    return numbers
