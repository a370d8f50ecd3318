"""Walking a data set's folders: in natural order, without loops, and with messages that show what was expected."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".ppm", ".pgm")
"""Endings of picture files, in lower case."""


def natural(name: str) -> list[tuple[int, int | str]]:
    """A sorting key in which runs of digits count as numbers: S9 before S10."""
    return [
        (0, int(part)) if part.isascii() and part.isdigit() else (1, part)
        for part in re.split(r"([0-9]+)", name)
        if part
    ]


def child(place: Path, relative: str) -> Path | None:
    """The file or folder at a relative path below a folder, whatever the case of its letters; None where it is not."""
    if os.path.exists(place / relative):
        return place / relative
    for part in Path(relative).parts:
        names = sorted(e.name for e in _entries(place) if e.name.lower() == part.lower())
        there = [place / name for name in names if os.path.exists(place / name)]  # a link to itself is not
        if not there:
            return None
        place = there[0]
    return place


def _entries(path: str | Path) -> list[os.DirEntry]:
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except OSError:
        return []


def near(given: str | Path | None, depth: int = 2) -> Iterator[Path]:
    """A folder and those up to `depth` levels below it, the nearest first: archives nest what they hold."""
    level = [] if given is None else [Path(given).expanduser()]
    for _ in range(depth + 1):
        yield from level
        level = [inner for place in level for inner in folders(place)]


def root_of(given: str | Path | None, tree: str, *marks: str) -> Path:
    """The folder of a data set: `given`, or the nearest folder up to two levels below it, that has one of the marks.

    Args:
      given: --data_dir.
      tree: what is expected, for the message.
      marks: relative paths, of which one has to exist, in capital letters or small ones; none for any folder.
    Raises:
      FileNotFoundError: there is none; the message shows the tree.
    """
    for place in near(given):
        if place.is_dir() and (not marks or any(child(place, mark) for mark in marks)):
            return place
    raise FileNotFoundError(f"{given or '--data_dir'} is not this data set: expected a folder with\n{tree}")


def folders(path: str | Path) -> list[Path]:
    """The folders directly in one, in natural order; none where it is no folder. Hidden ones are left out."""
    return _inside(path, lambda entry: entry.is_dir())


def files(path: str | Path, endings: Iterable[str] = PICTURES) -> list[Path]:
    """The files directly in a folder that end so (whatever their case), in natural order; hidden ones are left out."""
    endings = tuple(endings)
    return _inside(path, lambda entry: entry.name.lower().endswith(endings) and entry.is_file())


def _inside(path: str | Path, wanted: Callable[[os.DirEntry], bool]) -> list[Path]:
    """What a folder has of a kind; nothing where it cannot be read. A link that leads nowhere is of no kind."""

    def fits(entry: os.DirEntry) -> bool:
        try:
            return not entry.name.startswith(".") and wanted(entry)
        except OSError:  # a link to itself
            return False

    names = [entry.name for entry in _entries(path) if fits(entry)]
    return [Path(path) / name for name in sorted(names, key=lambda name: (natural(name), name))]


def walk(path: str | Path, endings: Iterable[str] = PICTURES) -> Iterator[Path]:
    """The files at and below a folder that end so, in natural order; a folder that is reached twice is entered once."""
    seen: set[str] = set()

    def below(folder: Path) -> Iterator[Path]:
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back
            return
        seen.add(real)
        yield from files(folder, endings)
        for child in folders(folder):
            yield from below(child)

    yield from below(Path(path))


def people(root: str | Path | None, tree: str, picture: Callable[[str, str], bool]) -> Iterator[tuple[str, Path]]:
    """(person, picture) of a data set with a folder for each person, at `root` or up to three levels below.

    Args:
      root: --data_dir.
      tree: what is expected, for the message.
      picture: of (folder's name, file's name), whether it is one of the data set.
    Raises:
      FileNotFoundError: there is none; the message shows the tree.
    """
    for place in near(root, 3):
        nobody = True
        for folder in folders(place):
            for path in files(folder):
                if picture(folder.name, path.name):
                    nobody = False
                    yield folder.name, path
        if not nobody:
            return
    raise FileNotFoundError(f"{root or '--data_dir'} is not this data set: expected a folder with\n{tree}")


OURS = ("framed", "landmarks", "turn", "template", "dataset", "picture", "sha256", "box", "cut_from", "made")
"""Keys of a record's info that mean something to the pipeline: no column of a list may be called so."""


def not_ours(names: Iterable[str | None], where: str | Path) -> None:
    """Raises ValueError where a list has a column of `OURS`; the message names it."""
    if taken := [name for name in names if name in OURS]:
        raise ValueError(f"{where}: a column may not be called {taken[0]}, which means something here: rename it.")


def key(word: str) -> str:
    """A word as data sets' words are looked up: in small letters, without spaces, - and _."""
    return re.sub(r"[\s_-]+", "", unicodedata.normalize("NFC", word)).lower()


def label(text: str, names: Mapping[str, str], where: str | Path) -> str:
    """The expression that a data set's own word stands for; case, spaces, - and _ do not matter.

    Raises:
      ValueError: an unknown word; the message names the file and the words there are.
    """
    word = key(text)
    if word not in names:
        raise ValueError(f"{where}: {text!r} is no expression of this data set; there are {', '.join(sorted(names))}.")
    return names[word]


WORDS = {
    "anger": "anger", "angry": "anger", "an": "anger", "contempt": "contempt", "disgust": "disgust",
    "disgusted": "disgust", "di": "disgust", "fear": "fear", "fearful": "fear", "afraid": "fear", "fe": "fear",
    "happiness": "happiness", "happy": "happiness", "happyness": "happiness", "joy": "happiness", "ha": "happiness",
    "sadness": "sadness", "sad": "sadness", "sa": "sadness", "surprise": "surprise", "surprised": "surprise",
    "su": "surprise", "neutral": "neutral", "ne": "neutral",
}  # fmt: skip
"""The words for expressions that data sets use, in the form that `label` looks up."""
