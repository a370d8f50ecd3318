"""What the commands that take a user's photographs share: their settings, which files are meant, names of results."""

from __future__ import annotations

import glob
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_tf import faces, recognise

from . import settings
from .settings import setting

NO_FACE = "no face was found; --min_score=0 finds doubtful ones too."


@dataclass(frozen=True, kw_only=True)
class Photographs(settings.Base):
    """Which photographs, which of their faces, and where the results go."""

    image: tuple[str, ...] = setting(
        (), "A picture, a folder of pictures, or a pattern such as 'holiday/*.jpg'.", repeated=True, place="path"
    )
    model: str = setting(
        "fer_net", "fer_net, ia_gen, ed2l, or another name in weights/; a .h5 file; an exported folder.", place="path"
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

    @property
    def out_folder(self) -> Path | None:
        """The folder of --out; None when it is empty."""
        return Path(self.out) if self.out else None


def listed(
    names: Sequence[str], endings: Sequence[str] = recognise.ENDINGS, kind: str = "pictures"
) -> tuple[list[Path], list[str]]:
    """The files that --image or --video means, each once, and a sentence for each name that means none."""
    files: dict[Path, None] = {}
    problems = []
    for name in names:
        path = Path(name)
        if path.is_file():
            meant = [path]
        elif path.is_dir():
            meant = recognise.files_in(path, endings)
        else:
            meant = sorted(p for p in map(Path, glob.glob(name)) if p.is_file())
        if not meant:
            reason = f"the folder has no {kind}" if path.is_dir() else "there is no such file or folder"
            problems.append(f"{name}: {reason}.")
        files.update(dict.fromkeys(meant))
    return list(files), problems


def keep_apart(paths: Sequence[Path], out: Path | None) -> None:
    """Raises ValueError where --out is a folder of the pictures or films themselves."""
    if out is not None and any(out.resolve() in (p.parent.resolve(), p.resolve().parent) for p in paths):
        raise ValueError(f"--out={out} holds the pictures themselves, which are not overwritten: give another folder.")


def complain(path: Path, error: Exception | str) -> str:
    """Prints the sentence on stderr, with the path in it, and gives it back."""
    sentence = str(error) if str(path) in str(error) else f"{path}: {error}"
    print(sentence, file=sys.stderr, flush=True)
    return sentence


def result_name(path: Path, what: str, taken: Counter[str]) -> str:
    """<name>_<what>, numbered where two have one name; counted in `taken`."""
    stem = path.stem.lower()
    taken[stem] += 1
    return f"{path.stem}_{what}{f'_{taken[stem]}' if taken[stem] > 1 else ''}"
