"""A folder that one process has to itself: a second one is refused, and what a killed one left is seen through.

    with locks.alone(folder):
        ...

The lock is the file folder/.lock, which says who has it: host, process, since when. On one machine the kernel keeps it
(flock), and lets go of it however the process ends. Another machine may not see that, so that the owner touches the
file as long as it lives: one that was not touched for `STALE` seconds is nobody's. No TensorFlow.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    fcntl: Any = importlib.import_module("fcntl")
except ImportError:  # Windows
    fcntl = None

NAME = ".lock"
BEAT, STALE = 60.0, 900.0
"""Seconds between two touches, and after which an owner on another machine is taken for dead."""


class InUse(ValueError):
    """Another process has a folder or a file."""


@contextlib.contextmanager
def alone(place: Path, flag: str = "--workdir") -> Iterator[None]:
    """Within it, no other process, and no other block of this one, can have a folder, or a file that is to be written.

    Args:
      place: the folder, or the file, whose folder is there and has the lock.
      flag: that gave it, for the message.
    Raises:
      InUse: another has it; the message names its host and process.
    """
    file = _file(place)
    try:
        handle = _opened(file, f"{place} is in use by", f"or give another {flag} ({file} says so).")
    except PermissionError:  # a folder to read from alone; whoever writes there will say so
        yield
        return
    ended = threading.Event()
    beat = threading.Thread(target=_beat, args=(file, ended), daemon=True)
    try:
        beat.start()
        yield
    finally:
        ended.set()
        beat.join()
        with contextlib.suppress(OSError):
            file.unlink()
        os.close(handle)


def owner(place: Path) -> str:
    """Who has a folder or a file, in words, without asking for it; empty where nobody does.

    Of a process on this machine its number tells, so that one which has taken a dead one's within `STALE` seconds is
    held for it: `alone` asks the kernel.
    """
    try:
        with _file(place).open("rb") as file:
            had, touched = _owner(file.fileno()), os.fstat(file.fileno()).st_mtime
    except OSError:
        return ""
    return _who(had) if had and _lives(had, touched, False) else ""


def refuse_taken(place: Path, asked: Path, flag: str = "--workdir") -> None:
    """Raises InUse where another process has a place within a folder that is asked for."""
    who = owner(place)
    if who:
        raise InUse(f"{asked} is in use by {who}: wait for its end, or give another {flag} ({_file(place)} says so).")


def _file(place: Path) -> Path:
    """The lock of a folder, or of a file."""
    return place / NAME if place.is_dir() else place.with_name(f".{place.name}{NAME}")


def _opened(file: Path, begin: str, end: str) -> int:
    """The lock's open file, which is ours.

    Raises:
      InUse: it is another's.
    """
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            kept = _kept_by_another(handle)
            owner = _owner(handle)
            if kept or (owner and _lives(owner, os.fstat(handle).st_mtime, kept is not None)):
                raise InUse(f"{begin} {_who(owner)}: wait for its end, {end}")
            if not _same(handle, file):  # its owner has just removed it
                os.close(handle)
                continue
            here = {"host": socket.gethostname(), "process": os.getpid(), "since": time.strftime("%F %T")}
            os.ftruncate(handle, 0)
            os.lseek(handle, 0, os.SEEK_SET)
            os.write(handle, json.dumps(here).encode())
            return handle
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(handle)
            raise


def _kept_by_another(handle: int) -> bool | None:
    """Whether the kernel keeps the lock for somebody else; None where it cannot say."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return None
    return False


def _owner(handle: int) -> dict[str, Any]:
    """What the file says; nothing where that is damaged."""
    try:
        os.lseek(handle, 0, os.SEEK_SET)
        owner = json.loads(os.read(handle, 4096))
        return owner if {"host", "process", "since"} <= {*owner} else {}
    except (ValueError, TypeError):
        return {}


def _lives(owner: dict[str, Any], touched: float, kernel: bool) -> bool:
    """Whether an owner for whom the kernel keeps nothing may still be there.

    Args:
      owner: what the file says.
      touched: when it was touched last.
      kernel: whether the kernel would know of one on this machine.
    """
    fresh = time.time() - touched < STALE
    if owner["host"] != socket.gethostname():
        return fresh
    return not kernel and fresh and _runs(owner["process"])


def _runs(process: int) -> bool:
    """Whether there is such a process here; True where that cannot be asked."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        pass
    return True


def _same(handle: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(file))
    except FileNotFoundError:
        return False


def _who(owner: dict[str, Any]) -> str:
    return f"process {owner['process']} on {owner['host']} since {owner['since']}" if owner else "another process"


def _beat(file: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with contextlib.suppress(OSError):
            os.utime(file)
