"""Unpacks the archives that data sets come in, into one folder and nowhere else. No TensorFlow.

zip, tar, tar.gz, tar.bz2, tar.xz; 7z and rar are named with the command that unpacks them. An archive is refused, and
nothing of it is left, where a name leads out of the folder (absolute, `..`, a link), is no file or folder, or where it
unpacks to more than it may.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import shlex
import shutil
import stat
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
FOREIGN = {
    r".+\.(7z|zip)\.\d+|.+\.7z|.+\.z\d\d": "7z x -o{into} {archive}",
    r".+\.part\d+\.rar|.+\.rar|.+\.r\d\d": "unrar x {archive} {into}/",
}
"""Names of archives that are not unpacked here, in small letters, and what unpacks them."""
LIMIT = 2**39
"""Bytes that an archive may unpack to."""
PIECE = 2**20
"""Bytes that are read at once."""
RATIO = 200
"""Times its own size that an archive may unpack to, where that is more than 100 MB: pictures are packed already."""


def inside(path: Path) -> list[Path]:
    """The archives directly in a folder, or the one that the path is itself."""
    if path.is_file():
        return [path] if path.name.lower().endswith(ENDINGS) else []
    if not path.is_dir():
        return []
    return sorted(p for p in path.iterdir() if p.is_file() and p.name.lower().endswith(ENDINGS))


def foreign(path: Path, into: str | Path = "<folder>") -> list[str]:
    """The commands that unpack the archives in a folder, or the one that the path is, which are not unpacked here.

    Of an archive in several pieces the first one's name is given, since that finds the others.
    """
    names = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
    commands: dict[str, str] = {}
    for file in names:
        for form, command in FOREIGN.items():
            if file.is_file() and re.fullmatch(form, file.name.lower()):
                whole = re.sub(r"\.(\d+|z\d\d|r\d\d)$|\.part\d+\.rar$", "", file.name.lower())
                commands.setdefault(whole, command.format(archive=shlex.quote(str(file)), into=into))
    return list(commands.values())


def hint(path: Path) -> str:
    """A sentence on the archives that lie where a data set was looked for; empty where there are none."""
    packed, commands = [p.name for p in inside(path)], foreign(path)
    said = (
        f"There are archives ({', '.join(packed[:3])}): add --unpack=<folder> to experiments.prepare. "
        if packed
        else ""
    )
    return said + (f"There are archives to be unpacked by hand: {'; '.join(commands[:3])}. " if commands else "")


def unpack_all(path: Path, into: Path) -> Path:
    """Unpacks the archives of `inside(path)`, each once, into one folder, as a person would; returns it.

    Raises:
      FileNotFoundError: there are no archives.
      ValueError: a refused or damaged archive; the message names it.
    """
    packed, others = inside(path), foreign(path, shlex.quote(str(into)))
    if not packed and others:
        raise ValueError(f"{path} has archives that are not unpacked here: {'; '.join(others[:3])} does it.")
    if not packed:
        raise FileNotFoundError(f"{path} has no archives ({', '.join(ENDINGS)}) to unpack.")
    if others:
        print(f"left packed, since they are not unpacked here: {'; '.join(others[:3])} does it.", file=sys.stderr)
    into.mkdir(parents=True, exist_ok=True)
    for archive in packed:
        mark, status = into / f".{archive.name}.unpacked", archive.stat()
        version = f"{status.st_size} {status.st_mtime_ns}\n"  # another archive of that name is unpacked again
        if not mark.is_file() or mark.read_text() != version:
            unpack(archive, into)
            mark.write_text(version)
    return into


def unpack(archive: str | Path, into: str | Path) -> None:
    """Unpacks one archive below a folder: first whole beside it, then moved in. Files that are there are replaced.

    Raises:
      ValueError: a name that leads out of the folder, a link, a device, too many bytes, or damage; nothing is left.
    """
    archive, into = Path(archive), Path(into)
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacking.", dir=into) as folder:
        room = min(LIMIT, max(100 * 2**20, RATIO * archive.stat().st_size))
        try:
            for name, stream in _members(archive):
                target = Path(folder) / _safe(archive, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as out:
                    while piece := stream.read(PIECE):
                        room -= len(piece)  # what comes out, not what the archive says
                        if room < 0:
                            raise ValueError(f"{archive} unpacks to far more than its size: it is refused.")
                        out.write(piece)
        except Exception as error:  # these libraries raise nearly everything on damage
            if isinstance(error, ValueError) and str(archive) in str(error):
                raise
            raise ValueError(f"{archive} cannot be unpacked: {error}") from error
        for part in sorted(Path(folder).rglob("*")):
            if part.is_file():
                target = into / part.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(part, target)
        shutil.rmtree(folder, ignore_errors=True)
        Path(folder).mkdir()  # for the context manager to remove


def _members(archive: Path) -> Iterator[tuple[str, Any]]:
    """(name, stream) of each file."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as file:
            for member in file.infolist():
                kind = stat.S_IFMT(member.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise ValueError(f"{archive}: {member.filename[:99]!r} is a link or no file: it is refused.")
                if not member.is_dir():
                    with file.open(member) as stream:
                        yield member.filename, stream
        return
    with _decompressed(archive) as whole:
        bounded: Any = _Bounded(archive, whole)  # has what reading needs, where tarfile's type asks for `write` too
        with tarfile.open(fileobj=bounded, mode="r:") as tar:
            for entry in tar:
                if not (entry.isreg() or entry.isdir()):
                    raise ValueError(f"{archive}: {entry.name[:99]!r} is a link or no file: the archive is refused.")
                if entry.isreg() and (part := tar.extractfile(entry)) is not None:
                    with part:
                        yield entry.name, part


def _decompressed(archive: Path) -> Any:
    """The tar file inside, as a stream."""
    ending = archive.name.lower().rpartition(".")[2]
    openers: dict[str, Callable[..., Any]] = {"gz": gzip.open, "tgz": gzip.open, "bz2": bz2.open, "xz": lzma.open}
    return openers.get(ending, open)(archive, "rb")


class _Bounded:
    """A stream of which nobody gets more than PIECE at once: no header of a tar file may fill the memory."""

    def __init__(self, archive: Path, stream: Any):
        self.archive, self.stream = archive, stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= PIECE:
            raise ValueError(f"{self.archive}: a header of {size} bytes: the archive is refused.")
        return self.stream.read(size)


def _safe(archive: Path, name: str) -> PurePosixPath:
    """The name as a relative path that stays inside."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or ":" in path.parts[0] or "\0" in name:
        raise ValueError(f"{archive}: the name {name[:99]!r} leads out of its folder: the archive is refused.")
    return path
