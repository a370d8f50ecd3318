"""Which files of a folder, or of a pattern, are meant, and which are left alone. No TensorFlow.

A Mac's `._*` files are ignored without a word, as are other hidden ones.
"""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from fer_tf import pictures


class Album(NamedTuple):
    """Files that are meant, and what lies beside them.

    Attributes:
      files: by name.
      left: what is left alone -> how many; such as ".txt", "broken link".
    """

    files: list[Path]
    left: Counter[str]

    def left_alone(self) -> str:
        """What is left alone, most of it first, in half a sentence; empty where there is nothing."""
        known = pictures.endings()
        parts = []
        for what, count in sorted(self.left.items(), key=lambda item: (-item[1], item[0])):
            plural = "s" if count > 1 and not what.startswith(".") else ""
            more = f" ({pictures.HEIF_HINT})" if what in pictures.HEIF and what not in known else ""
            parts.append(f"{count} {what}{plural}{more}")
        return ", ".join(parts)


def sort(paths: Iterable[Path], endings: Sequence[str] | None) -> Album:
    """Parts paths by their endings, in lower or upper case; None takes every file."""
    meant, left = [], Counter[str]()
    for path in paths:
        if path.name.startswith("."):
            continue
        if path.is_dir():
            left["folder"] += 1
        elif not path.is_file():
            left["broken link" if path.is_symlink() else "special file"] += 1
        elif endings is None or path.suffix.lower() in endings:
            meant.append(path)
        else:
            left[path.suffix.lower() or "file without an ending"] += 1
    return Album(sorted(meant), left)


def folder(path: str | os.PathLike[str], endings: Sequence[str] | None = None) -> Album:
    """The files that lie in a folder; `endings` are those of pictures when left out."""
    return sort(Path(path).iterdir(), pictures.endings() if endings is None else endings)


def meant(name: str, endings: Sequence[str]) -> Album:
    """What a name on the command line means.

    Args:
      name: of a file; of a folder; or a pattern, of which "**" goes all the way down. "~" is the home. The folders that
        it begins with are no pattern where they exist, whatever they are called.
      endings: those that count in a folder, and of a pattern that names none itself.
    """
    path = Path(os.path.expanduser(name))
    if path.is_file():
        return Album([path], Counter())
    if path.is_dir():
        return folder(path, endings)
    there, rest = Path(), list(path.parts)
    while rest and (there / rest[0]).exists():
        there /= rest.pop(0)
    if not rest:
        return Album([], Counter())
    found = glob.glob(os.path.join(glob.escape(str(there)) if str(there) != "." else "", *rest), recursive=True)
    album = sort(map(Path, found), None if Path(rest[-1]).suffix.strip(".*") else endings)
    del album.left["folder"]
    return album
