"""Who a picture shows, where nobody says it but its name or folder: and which names are nobody's. No TensorFlow.

`anna_1.jpg` may be Anna; `anger_0.png`, `img_001.png`, `train_00001_aligned.jpg` are nobody, however many there are.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

from fer_tf import classfolders, trees
from fer_tf.records import subject_order

NOBODY = (
    "img", "image", "images", "im", "pic", "picture", "photo", "foto", "dsc", "dscn", "dscf", "pxl", "vid", "frame",
    "face", "faces", "crop", "cropped", "aligned", "screenshot", "sample", "file", "data", "id", "person", "subject",
    "unknown", "none", "ffhq", "whatsappimage", "video", "clip", "lab", "wild", "batch", "session", "camera", "cam",
    "group", "class", "original", "augmented", "aug", "raw", "color", "colour", "gray", "grey", "male",
    "female", "man", "woman", "boy", "girl",
)  # fmt: skip
"""Words that names begin with and that are no person, without digits and in small letters."""


PEOPLE = ("id", "person", "subject", "male", "female", "man", "woman", "boy", "girl")
"""Of NOBODY, those that are somebody with a number: person1."""


def is_nobody(word: str, labels: Mapping[str, str] = {}) -> bool:
    """Whether a word is an expression, a part of a data set, or one that cameras and programs give."""
    letters = re.sub(r"[\W\d_]+", "", word).lower()
    short = classfolders.plain(letters)
    if not re.sub(r"[\W_]+", "", word) or trees.key(word) in labels or classfolders.split_of(word):
        return True
    if short in classfolders.SPLITS or (len(short) > 2 and short in {*trees.WORDS, *labels}):
        return True
    return letters in NOBODY and (letters == word.lower() or letters not in PEOPLE)


def named(found: Sequence[classfolders.Found], labels: Mapping[str, str] = {}) -> tuple[list[str | None], str]:
    """The person of each picture, and a sentence's end on the names that are nobody's; empty where there are none.

    A person is the folder above the class, else that below it, else what the file's name has before its first "_". It
    is none where the word is nobody's (`is_nobody`), the same for all, the class's own, or a number that no two
    pictures share. Anna and anna are one person, spelled as first seen.
    """
    above, below = (_varying([getattr(f, side) for f in found], labels) for side in ("above", "below"))
    words, by_name = [], []
    for f, over, under in zip(found, above, below, strict=True):
        before, mark, _ = f.path.stem.partition("_")
        word = over or under or (before if mark else None)
        by_name.append(not over and not under)
        words.append(word)
    dropped = {w for w in words if w is not None and is_nobody(w, labels)}
    people = [None if w in dropped else w for w in words]
    there = {_key(p) for p in people if p is not None}
    classes: dict[str, set[str]] = {}
    for f, over, p in zip(found, above, people, strict=True):
        if p is not None and not over:  # a folder above the classes is somebody's on purpose
            classes.setdefault(f.expression, set()).add(p)
    own = set().union(*classes.values())
    if len(classes) == len(own) > 1 and all(len(names) == 1 for names in classes.values()):
        dropped |= own
    if len(there) == 1:
        dropped |= {p for p in people if p is not None}
    numbers = [p for p, name in zip(people, by_name, strict=True) if p is not None and name]
    if len({*numbers}) == len(numbers) > 1 and all(re.search(r"\d", p) for p in numbers):
        dropped |= {*numbers}
    spelled: dict[str, str] = {}
    for name in people:
        spelled.setdefault(_key(name), name or "")
    people = [None if p is None or p in dropped else spelled[_key(p)] for p in people]
    shown = ", ".join(subject_order(dropped)[:3]) + (" ..." if len(dropped) > 3 else "")
    return people, f"names that begin with {shown} tell nobody apart" if dropped else ""


def _key(name: str | None) -> str:
    """What two spellings of a name share."""
    return unicodedata.normalize("NFC", name or "").casefold()


def _varying(listed: Sequence[Sequence[str]], labels: Mapping[str, str]) -> list[str | None]:
    """Of each path's folders the one at the first level that tells pictures apart; None where there is none."""
    for level in range(max(map(len, listed), default=0)):
        words = [folders[level] if len(folders) > level else None for folders in listed]
        if len({*words}) > 1 and not all(w is None or is_nobody(w, labels) for w in words):
            return words
    return [None] * len(listed)
