"""What the commands that take a user's photographs share: their settings, which files are meant, names of results."""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fer_tf import albums, faces, files, pictures, recognise

from . import settings
from .settings import setting

LONGEST = 200
"""Bytes of a picture's name that its result takes over; file systems have 255 for all."""
NO_FACE = "no face was found; --min_score=0 finds doubtful ones too, --upright those that lie on their side."


@dataclass(frozen=True, kw_only=True)
class Photographs(settings.Base):
    """Which photographs, which of their faces, and where the results go."""

    image: tuple[str, ...] = setting(
        (),
        "A picture, a folder of pictures, or a pattern such as 'holiday/**/*.jpg', all the way down.",
        repeated=True,
        place="path",
    )
    model: str = setting(
        recognise.DEFAULT,
        f"{', '.join(recognise.SHORT_NAMES)}, or another name in weights/; a .h5 file; an exported folder.",
        place="path",
    )
    out: str = setting(
        "runs/predict", "Folder for the pictures and films that are written; empty for none.", place="path"
    )
    all_faces: bool = setting(False, "Every face of a picture rather than the largest.")
    min_score: float = setting(
        faces.SURE, "Drop faces that the detector scores lower: near 0 it doubts, above 1 it is sure."
    )
    detector: str = setting(
        "dlib", "What finds the faces; mtcnn (extra) finds smaller and turned ones, and takes longer.",
        choices=faces.DETECTORS,
    )  # fmt: skip

    upright: bool = setting(False, "Try a picture in all four turns: for those that lie on their side without a mark.")

    @property
    def out_folder(self) -> Path | None:
        """The folder of --out; None when it is empty."""
        return Path(self.out) if self.out else None


def listed(
    names: Sequence[str], endings: Sequence[str] | None = None, kind: str = "pictures"
) -> tuple[list[Path], list[str]]:
    """The files that --image or --video means, each once, and a sentence for each name that means none.

    What a folder or a pattern leaves alone is said on stderr.

    Args:
      names: files, folders and patterns, as `albums.meant` reads them.
      endings: of such files; those of pictures when left out.
      kind: what the sentences call them.
    """
    found: dict[Path, None] = {}
    problems = []
    for name in names:
        if not name:
            problems.append(f"An empty name means no {kind}: give a file, a folder or a pattern.")
            continue
        album = albums.meant(name, pictures.endings() if endings is None else endings)
        left = album.left_alone()
        if album.files and left:
            print(f"{name}: {len(album.files)} {kind}; left alone: {left}.", file=sys.stderr, flush=True)
        elif not album.files:
            there = Path(name).expanduser().is_dir()
            reason = f"the folder has no {kind}" if there else "there is no such file or folder"
            problems.append(f"{name}: {reason}{f', only {left}' if left else ''}.")
        found.update(dict.fromkeys(album.files))
    return list(found), problems


def keep_apart(paths: Sequence[Path], out: Path | None) -> None:
    """Raises ValueError where --out is a folder of the pictures or films themselves, or cannot be written to."""
    if out is None:
        return
    folders = {p.parent for p in paths} | {Path(os.path.realpath(p)).parent for p in paths if p.is_symlink()}
    if out.resolve() in {folder.resolve() for folder in folders}:
        raise ValueError(f"--out={out} holds the pictures themselves, which are not overwritten: give another folder.")
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise ValueError(f"--out={out} cannot be written to ({error.strerror}): give another folder.") from None
    finally:
        for folder in made:  # those that nothing is written to are not left behind
            with suppress(OSError):
                folder.rmdir()


def unwritten(path: Path | str, error: OSError) -> str:
    """Says on stderr that a result could not be written, and gives the sentence back."""
    reason = "the disk is full" if files.is_full(error) else error.strerror or error
    return complain(path, f"{path}: its result cannot be written ({reason}).")


def complain(path: Path | str, error: Exception | str) -> str:
    """Prints the sentence on stderr, with the path in it, and gives it back."""
    sentence = str(error) if str(path) in str(error) else f"{path}: {error}"
    print(sentence, file=sys.stderr, flush=True)
    return sentence


def result_name(path: Path, what: str, taken: Counter[str]) -> str:
    """<name>_<what>, numbered where two have one name, cut where it would be too long; counted in `taken`."""
    name = path.stem.encode()[:LONGEST].decode(errors="ignore")
    stem = name.lower()
    taken[stem] += 1
    return f"{name}_{what}{f'_{taken[stem]}' if taken[stem] > 1 else ''}"
