"""MXNet's RecordIO files (.rec, .idx), read without MXNet: where the pictures are, and each one's label and bytes.

A record: the number MAGIC, a number whose upper three bits say whether it is whole (0) or the first, a middle or the
last of several pieces (1, 2, 3), and whose others are its length; its bytes; zeros up to a multiple of four. Between
two pieces stood MAGIC itself. The bytes of a picture's record: flag, label (float32), id and id2, with a flag above 0
so many float32 labels more; then the picture's file. All numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

ENDING = ".rec"
MAGIC = 0xCED7230A
_HEAD, _LABEL = struct.Struct("<II"), struct.Struct("<IfQQ")
LARGEST = 2**28
"""Bytes of the largest record that is read."""


class Packed(NamedTuple):
    """A record: its labels, and the picture's file; empty where it is none."""

    labels: tuple[float, ...]
    data: bytes


def read(path: str, position: int) -> bytes:
    """The picture's file of the record at a position.

    Raises:
      ValueError: there is none, or the file is damaged; the message names it.
    """
    try:
        with open(path, "rb") as file:
            return unpacked(path, position, _bytes(file, path, position)[0]).data
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def unpacked(path: str, position: int, data: bytes) -> Packed:
    """The labels and the picture in a record's bytes.

    Raises:
      ValueError: it is too short.
    """
    if len(data) < _LABEL.size:
        raise ValueError(f"{path}[{position}] is no record of a picture: it has {len(data)} bytes.")
    flag, label, _, _ = _LABEL.unpack_from(data)
    end = _LABEL.size + 4 * flag
    if flag > 1024 or end > len(data):
        raise ValueError(f"{path}[{position}] is no record of a picture: it says that it has {flag} labels.")
    labels = struct.unpack_from(f"<{flag}f", data, _LABEL.size) if flag else (label,)
    return Packed(labels, data[end:])


def listed(path: Path) -> Iterator[tuple[int, int, tuple[float, ...]]]:
    """(key, position, labels) of each record, in the order of the .idx file beside it, or of the file without one.

    Raises:
      ValueError: the files are damaged, or do not belong together; the message names them.
    """
    index = path.with_suffix(".idx")
    try:
        with path.open("rb") as file:
            for key, position in _indexed(index) if index.is_file() else _found(file, str(path)):
                data, _ = _bytes(file, str(path), position, most=_LABEL.size + 4 * 64)
                yield key, position, unpacked(str(path), position, data).labels
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _indexed(index: Path) -> Iterator[tuple[int, int]]:
    """(key, position) of an .idx file's lines."""
    for number, line in enumerate(index.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        words = line.split()
        if len(words) != 2 or not all(word.isascii() and word.isdigit() for word in words):
            raise ValueError(f"{index}, line {number}: {line[:80]!r} is no key and position.")
        yield int(words[0]), int(words[1])


def _found(file: BinaryIO, path: str) -> Iterator[tuple[int, int]]:
    """(number, position) of the records of a file, one after the other."""
    number = position = 0
    size = Path(path).stat().st_size
    while position < size:
        yield number, position
        _, position = _bytes(file, path, position, most=0)
        number += 1


def _bytes(file: BinaryIO, path: str, position: int, most: int = LARGEST) -> tuple[bytes, int]:
    """(up to `most` bytes of the record at a position, the position behind it)."""
    pieces: list[bytes] = []
    while True:
        file.seek(position)
        head = file.read(_HEAD.size)
        magic, word = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, 0)
        part, length = word >> 29, word & (2**29 - 1)
        if magic != MAGIC or length > LARGEST or (part in (0, 1)) == bool(pieces):
            raise ValueError(f"{path}[{position}] is damaged: there is no RecordIO record.")
        data = file.read(min(length, most))
        if len(data) < min(length, most):
            raise ValueError(f"{path}[{position}] is damaged: the file ends within it.")
        pieces.append(data)
        position += _HEAD.size + length + -length % 4
        if part in (0, 3):
            return struct.pack("<I", MAGIC).join(pieces), position
