"""Pictures in folders named after expressions, wherever these lie: what each part of a path says. No TensorFlow.

    anger/1.jpg     anger/anna/1.jpg     anna/anger/1.jpg     train/anger/1.jpg     mydata/train/anna/anger/1.jpg

The classes are the first level at which every folder is an expression; parts such as train/ and val/ above it are
splits. Whatever is no picture, lies outside the classes, is hidden or comes along with archives is left aside and
counted.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fer_tf import trees
from fer_tf.records import EXPRESSIONS

SPLITS = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
    "dev": "validation", "test": "test", "testing": "test", "publictest": "public_test",
    "privatetest": "private_test",
}  # fmt: skip
"""Words for the parts of a data set, in the form of `plain`."""
ASIDE = ("macosx", "doc", "docs", "documentation", "eadir", "pycache", "thumbnails", "annotations", "lostfound")
"""Folders that come along and are no classes, in the form of `plain`."""
NONE = "none"
"""What a label may stand for, besides expressions: its pictures are left aside."""


@functools.cache
def plain(word: str) -> str:
    """A word without case, spaces, signs, and "set", "data" or "images" at its end: Train_Set is train."""
    short = re.sub(r"[\W_]+", "", word).lower()
    return re.sub(r"(?<=[^\W\d_])(set|data|images?|faces?)$", "", short)


def split_of(word: str) -> str | None:
    """The part of a data set that a word stands for: train, validation, test ..., set1, fold3; None for other words."""
    short = plain(word)
    return SPLITS.get(short) or (short if re.fullmatch(r"(set|part|fold|split)\d+", short) else None)


def labels_of(given: Mapping[str, str] | Iterable[str] | str | None, where: str | Path = "--labels") -> dict[str, str]:
    """{word of the data set, in the form of `key`: expression, or NONE} of a mapping, or of texts word=expression.

    Raises:
      ValueError: a text that is no such pair, a word given twice, or an unknown expression.
    """
    if isinstance(given, str):
        given = re.split(r"[,+]", given)
    pairs = given.items() if isinstance(given, Mapping) else [str(text).rpartition("=")[::2] for text in given or ()]
    labels: dict[str, str] = {}
    for word, expression in pairs:
        if not str(word).strip() or not isinstance(expression, str):
            raise ValueError(f"{where}: {word}={expression} is no pair such as 0=anger.")
        known = {**trees.WORDS, NONE: NONE}
        if trees.key(expression) not in known:
            raise ValueError(
                f"{where}: {word}={expression}: {expression!r} is no expression; there are {', '.join(EXPRESSIONS)}, "
                f"and {NONE} for pictures to be left aside."
            )
        if trees.key(str(word)) in labels:
            raise ValueError(f"{where}: {word!r} is given twice.")
        labels[trees.key(str(word))] = known[trees.key(expression)]
    return labels


def read_labels(file: Path) -> dict[str, str]:
    """`labels_of` a JSON file such as {"0": "anger"}.

    Raises:
      ValueError: it is no such file; the message names it.
    """
    try:
        given = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError) as error:
        raise ValueError(f"{file} is no JSON file in UTF-8: {error}") from error
    if not isinstance(given, dict):
        raise ValueError(f'{file} holds no object such as {{"0": "anger"}}.')
    return labels_of(given, file)


def expression(word: str, labels: Mapping[str, str]) -> str | None:
    """What a word or folder's name stands for: as `labels` say, else by itself; `0_anger` is its word, else its number.

    Returns:
      An expression, NONE, or None where it is unknown.
    """
    known = {**trees.WORDS, **labels}
    whole = known.get(trees.key(word))
    if whole:
        return whole
    for part in (re.sub(r"^\d+[\s_.\-]*|[\s_.\-]*\d+$", "", word), *re.findall(r"^\d+(?=[\s_.\-])", word)):
        if part and trees.key(part) in known:
            return known[trees.key(part)]
    return None


@dataclass(frozen=True)
class Found:
    """A picture: its expression, its split, and the folders above and below its class's, the outermost first."""

    path: Path
    expression: str
    split: str | None
    above: tuple[str, ...] = ()
    below: tuple[str, ...] = ()


@dataclass
class Read:
    """The pictures in class folders, in natural order, and how often what was left aside: {why: count}."""

    pictures: list[Found] = field(default_factory=list)
    aside: Counter[str] = field(default_factory=Counter)

    def told(self) -> str:
        """What was left aside, as a sentence's end; empty for nothing."""
        return ", ".join(f"{why} ({count})" for why, count in sorted(self.aside.items()))


def read(
    place: Path,
    labels: Mapping[str, str],
    endings: tuple[str, ...] = trees.PICTURES,
    lists: Iterable[str] = (),
    *,
    own: bool = False,
) -> Read:
    """The pictures below a folder.

    Args:
      place: the folder.
      labels: of `labels_of`.
      endings: of pictures.
      lists: files that belong to the data set and are not counted as left aside.
      own: whether the pictures are the user's, who may say what other labels mean.
    Raises:
      ValueError: a folder at the classes' level is no expression; the message names it.
    """
    told, paths = Read(), []
    for path in _everything(place):
        parts = path.relative_to(place).parts
        odd = next((part for part in parts[:-1] if plain(part) in ASIDE), None)
        if odd or parts[-1].startswith("."):
            told.aside[f"{odd}/" if odd else "hidden files"] += 1
        elif not parts[-1].lower().endswith(endings):
            if parts[-1] not in lists:
                told.aside[f"*{path.suffix.lower()}" if path.suffix else "files without an ending"] += 1
        else:
            paths.append((path, parts[:-1]))
    known = _places(place, Counter(folders for _, folders in paths), labels, own)
    for path, folders in paths:
        found = known[folders]
        if isinstance(found, str):
            told.aside[found] += 1
        else:
            told.pictures.append(dataclasses.replace(found, path=path))
    return told


def _places(
    place: Path, counts: Mapping[tuple[str, ...], int], labels: Mapping[str, str], own: bool
) -> dict[tuple[str, ...], Found | str]:
    """{folders of a path: what they say of a picture, or why it is left aside}, of {folders: how many pictures}."""
    beside: dict[tuple[str, ...], set[str | None]] = {}
    for folders in counts:
        for i, name in enumerate(folders):
            beside.setdefault(folders[:i], set()).add(split_of(name))
    within = {folders: _without_splits(folders, labels, beside) for folders in counts}
    level = _level(within, counts, labels)
    said: dict[tuple[str, ...], Found | str] = {}
    for folders, inner in within.items():
        if len(inner) <= level:
            said[folders] = "pictures outside the classes"
            continue
        shown = expression(inner[level], labels)
        if shown is None:
            where = place.joinpath(*folders[: folders.index(inner[level]) + 1])
            raise ValueError(unknown(inner[level], where, labels, own))
        split = next((s for part in folders if part not in inner[: level + 1] and (s := split_of(part))), None)
        below = tuple(part for part in inner[level + 1 :] if not split_of(part))
        found = Found(place, shown, split, tuple(inner[:level]), below)
        said[folders] = f"pictures of {inner[level]}" if shown == NONE else found
    return said


def unknown(word: str, where: str | Path, labels: Mapping[str, str] = {}, own: bool = True) -> str:
    """The sentence on a word that stands for no expression; `own` is as for `read`."""
    words = sorted(w for w in {**trees.WORDS, **labels} if len(w) > 2 or w in labels)
    said = f"{where}: {word!r} is no expression of this data set; there are {', '.join(words)}."
    advice = f" Say what its labels mean: --labels={word}=anger,... or a labels.json with each; none leaves one aside."
    return said + advice * own


def _without_splits(
    folders: tuple[str, ...], labels: Mapping[str, str], beside: Mapping[tuple[str, ...], set[str | None]]
) -> tuple[str, ...]:
    """The folders of a path without those above its first expression that are parts of the data set.

    Val may be somebody: a word counts where train or test lies beside it, or parts alone.
    """
    first = next((i for i, part in enumerate(folders) if expression(part, labels)), len(folders))

    def is_part(i: int) -> bool:
        there = beside[folders[:i]]
        return split_of(folders[i]) in there - {None} and (bool({"train", "test"} & there) or None not in there)

    return tuple(part for i, part in enumerate(folders) if i >= first or not is_part(i))


def _level(
    within: Mapping[tuple[str, ...], tuple[str, ...]], counts: Mapping[tuple[str, ...], int], labels: Mapping[str, str]
) -> int:
    """The first level at which the folders of all pictures are expressions, or else those of the most."""
    shares = [0] * max(map(len, within.values()), default=0)
    for folders, inner in within.items():
        for level, word in enumerate(inner):
            shares[level] += counts[folders] * (expression(word, labels) is not None)
    return shares.index(max(shares)) if shares else 0


def _everything(place: Path) -> Iterator[Path]:
    """Every file at and below a folder, in natural order, the hidden ones too; each folder is entered once."""
    seen: set[str] = set()

    def below(folder: Path) -> Iterator[Path]:
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back
            return
        seen.add(real)
        names = sorted(os.listdir(folder), key=lambda name: (trees.natural(name), name)) if _is(folder) else []
        yield from (folder / name for name in names if os.path.isfile(folder / name))
        for name in names:
            if os.path.isdir(folder / name):
                yield from below(folder / name)

    yield from below(place)


def _is(folder: Path) -> bool:
    """Whether a folder can be listed."""
    return os.access(folder, os.R_OK | os.X_OK)
