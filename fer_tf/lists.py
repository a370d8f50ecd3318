"""Lists of pictures as CSV files: read whole, with a place to name for each line. No TensorFlow."""

from __future__ import annotations

import csv
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Row(NamedTuple):
    """A line: where it stands, for messages, and what it has in each column, stripped."""

    where: str
    values: dict[str, str]


def rows(
    file: Path, needed: Iterable[str] = (), known: Iterable[str] = (), head: Sequence[str] | None = None
) -> list[Row]:
    """The lines of a CSV file.

    Fields are parted by commas, or by semicolons or tabs where the head has these and no comma. Empty lines are passed
    by; a line may lack its last fields, which are then empty.

    Args:
      file: in UTF-8.
      needed: columns that it has to have, whatever the case of their letters.
      known: further columns that are found in capital letters, too.
      head: the columns' names, where the file's first line has none of those that are needed.
    Raises:
      ValueError: it is no such file, lacks a needed column, or a line has more fields than the head has columns.
    """
    with _reader(file) as reader:
        spelled = {name.lower(): name for name in (*needed, *known)}
        first: list[str] = next(reader, [])
        names = [spelled.get(name.strip().lower(), name.strip()) for name in first]
        kept = []
        if head is not None and not {*needed} & {*names}:
            names, kept = [*head], [first]
        if missing := [name for name in needed if name not in names]:
            raise ValueError(
                f"{file} has the columns {', '.join(names) or '(none)'}: it needs {' and '.join(needed)}, "
                f"and lacks {', '.join(missing)}."
            )
        listed = []
        for fields in itertools.chain(kept, reader):
            where = f"{file}, line {reader.line_num}"
            if any(field.strip() for field in fields[len(names) :]):
                raise ValueError(
                    f"{where}: {len(fields)} fields for the {len(names)} columns {', '.join(names)}: put a text that "
                    f"has a comma, such as {fields[-2].strip()}, {fields[-1].strip()}, in quotes."
                )
            if fields:
                padded = [*fields, *[""] * len(names)]
                listed.append(Row(where, {n: v.strip() for n, v in zip(names, padded, strict=False) if n}))
    return listed


PARTS = {"Training": "train", "PublicTest": "public_test", "PrivateTest": "private_test"}
"""What Kaggle's lists call their parts."""


def pictures(file: Path, numbers: int, size: int = 48) -> list[tuple[np.ndarray, int, str]]:
    """(picture, number of its emotion, part) of each line of a list emotion,pixels,Usage.

    Args:
      file: the list.
      numbers: how many emotions there are.
      size: of a picture's sides.
    Returns:
      Each picture (size, size) uint8.
    Raises:
      ValueError: as `rows`, or a line that is none of these; the message names it.
    """
    found = []
    for where, row in rows(file, ("emotion", "pixels", "Usage")):
        emotion, usage = row["emotion"], row["Usage"]
        if not (emotion.isascii() and emotion.isdigit() and int(emotion[:9]) < numbers) or usage not in PARTS:
            raise ValueError(f"{where}: emotion {emotion!r}, Usage {usage!r}: 0 to {numbers - 1} and {', '.join(PARTS)}"
                             " are there.")  # fmt: skip
        try:
            values = np.array(row["pixels"].split(), np.int64).reshape(size, size)
            if values.min() < 0 or values.max() > 255:  # NumPy 1 would wrap them
                raise ValueError(f"{values.min()} to {values.max()}")
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{where}: its pixels are not {size}x{size} numbers from 0 to 255: {error}") from error
        found.append((values.astype(np.uint8), int(emotion), PARTS[usage]))
    return found


@contextmanager
def _reader(file: Path) -> Iterator[Any]:
    """A reader of the file's lines; damage is one ValueError."""
    csv.field_size_limit(sys.maxsize)
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            head = stream.readline()
            stream.seek(0)
            parted = next((mark for mark in ",;\t" if mark in head), ",")
            yield csv.reader(stream, delimiter=parted, skipinitialspace=True)
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise ValueError(f"{file} is no CSV file in UTF-8: {error}") from error
