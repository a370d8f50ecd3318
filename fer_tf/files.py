"""Files and folders that appear only when they are whole, full disks, and folders that one process has to itself.

What is written has another name until it is whole. No TensorFlow.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LONGEST = 255
"""Bytes of the longest name that file systems have."""
FULL = ("No space left on device", "Disk quota exceeded", "errno = 28", "errno = 122")
"""What libraries of C say of a full disk."""

_silent: dict[str, bool] = {"now": False}


def silent(now: bool) -> None:
    """Whether this process writes no results from now on, since another one does (`workers`): they go nowhere."""
    _silent["now"] = now


def make_folder(path: str | Path) -> None:
    """Makes a folder for results with those above it, if need be; a process that is `silent` makes none."""
    if not _silent["now"]:
        Path(path).mkdir(parents=True, exist_ok=True)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A name beside `path` to write to, a file or a folder; it takes `path`'s place where the block ends well.

    Its ending is that of `path`, since many libraries choose their format by it; of a long name it has the beginning.
    Two processes get two names. Whatever is left of it after an error goes, and what stood at `path` stays. A process
    that is killed leaves the other name, which begins with a dot. In a process that is `silent` all of it goes.

    Raises:
      OSError: the block wrote nothing, or a folder stands where a file is to go, or the other way round.
    """
    path = Path(path)
    if _silent["now"]:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / path.name[-100:]
        return
    tail = f".{os.getpid()}.part{path.suffix}"
    stem = f".{path.stem}"
    if len(os.fsencode(stem + tail)) > LONGEST >= len(os.fsencode(path.name)):
        stem = f".{zlib.crc32(os.fsencode(path.name)):08x}{path.stem[:40]}"
    part = path.with_name(stem + tail)
    try:
        yield part
        if part.is_dir() and path.is_dir():  # a folder is renamed onto an empty one alone
            old = path.with_name(f".{path.name}.{os.getpid()}.old")
            os.replace(path, old)
            try:
                os.replace(part, path)
            except BaseException:
                os.replace(old, path)
                raise
            shutil.rmtree(old)
        else:
            os.replace(part, path)
    finally:
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Writes plain values, indented by one."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, says that a disk is full; libraries have kinds of their own."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(word in str(error) for word in FULL):
            return True
        error = error.__cause__ or error.__context__
    return False
