"""Faces of any data set, found, aligned and written to one HDF5 file by `python -m experiments.prepare`.

    ck_plus_ed2l.h5       --dataset=prepared --data_dir=ck_plus_ed2l.h5

The file: "image" (N, H, W, 1|3) uint8, faces in the frame of one template; strings expression, subject, sequence,
domain, split ("" where there is none), picture (its path), sha256 (of its bytes), info (JSON); frame (N,)
int32, -1 where there is none. Attributes: schema 1; dataset, template, options (JSON), frames, by which it was made;
records, how many pictures there were, found or not.

Licence and citation are those of the data set that the faces come from: the file may be passed on no more than that.
Used by every paper's script, whose --dataset it stands for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fer_tf.records import EXPRESSIONS, Record

SCHEMA = 1
TEXTS = ("expression", "subject", "sequence", "domain", "split", "picture", "sha256", "info")
MADE = ("schema", "dataset", "template", "options", "frames", "records")
LABELS = "those of the data set it was made from"
TREE = "  faces.h5   (of python -m experiments.prepare --dataset=... --data_dir=... --align=... --out=faces.h5)"


def records(root: str | Path | None = None) -> list[Record]:
    """The faces, in the order of the data set they come from.

    Args:
      root: the HDF5 file, or a folder with one alone.
    Returns:
      Records whose image is (file, index); `info` has framed, template, dataset, picture, sha256, and what was known.
    Raises:
      FileNotFoundError: there is no such file, or more than one.
      ValueError: a file that `prepare` did not write whole, or an unknown expression; the message names it.
    """
    path = file_of(root)
    with opened(path) as file:
        made = facts(file)
        columns = {name: file[name].asstr()[:] for name in TEXTS}
        numbers = file["frame"][:]
    known = {*EXPRESSIONS, ""}
    if strangers := sorted({*columns["expression"]} - known):
        raise ValueError(f"{path} shows {', '.join(strangers[:3])}: its expressions are {', '.join(EXPRESSIONS)}.")
    same = {"framed": True, "template": made["template"], "dataset": made["dataset"]}
    listed = []
    for i, (expression, subject, sequence, domain, split, picture, digest, info) in enumerate(
        zip(*(columns[name] for name in TEXTS), strict=True)
    ):
        listed.append(
            Record(
                (str(path), i),
                expression or None,
                subject=subject or None,
                sequence=sequence or None,
                frame=int(numbers[i]) if numbers[i] >= 0 else None,
                domain=domain or None,
                split=split or None,
                info={**(json.loads(info) if info else {}), **same, "picture": picture, "sha256": digest},
            )
        )
    return listed


def file_of(root: str | Path | None) -> Path:
    """The HDF5 file that --data_dir means.

    Raises:
      FileNotFoundError: there is none, or more than one.
    """
    path = Path(root).expanduser() if root is not None else None
    inside = sorted(path.glob("*.h5")) if path is not None and path.is_dir() else [path]
    if len(inside) == 1 and inside[0] is not None and inside[0].is_file():
        return inside[0]
    what = f"has {len(inside)} .h5 files: name one of them" if len(inside) > 1 else "is no prepared file"
    raise FileNotFoundError(f"{root or '--data_dir'} {what}. Expected\n{TREE}")


def opened(path: Path) -> h5py.File:
    """The file, checked to be one of `prepare`'s.

    Raises:
      ValueError: it is not, or is not whole; the message says what is missing.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} is no HDF5 file, or is damaged ({error}): prepare it again.") from error
    try:
        missing = [name for name in ("image", "frame", *TEXTS) if name not in file]
        missing += [name for name in MADE if name not in file.attrs]
        lengths = {len(file[name]) for name in ("image", "frame", *TEXTS) if name in file}
        if missing or len(lengths) != 1 or file["image"].ndim != 4:
            what = f"it lacks {', '.join(missing)}" if missing else "its columns differ in length"
            raise ValueError(f"{path} is no whole file of experiments.prepare: {what}.")
        if file.attrs["schema"] != SCHEMA:
            raise ValueError(f"{path} has schema {file.attrs['schema']}, and {SCHEMA} is read here: prepare it again.")
    except Exception:
        file.close()
        raise
    return file


def facts(file: h5py.File) -> dict[str, Any]:
    """What `prepare` says of a file: dataset, template, options, frames, records."""
    made = {name: file.attrs[name] for name in MADE if name != "schema"}
    return {**made, "options": json.loads(made["options"]), "records": int(made["records"])}


def about(root: str | Path | None) -> dict[str, Any]:
    """`facts` of the file that --data_dir means."""
    with opened(file_of(root)) as file:
        return facts(file)


def write(path: str | Path, parts: Iterable[Mapping[str, np.ndarray]], made: Mapping[str, Any]) -> None:
    """Writes such a file part by part, to a name that the caller renames.

    Args:
      path: the file, overwritten.
      parts: each {"image": (n, H, W, C) uint8, "frame": (n,) int32, name of TEXTS: n strings}.
      made: the attributes of MADE but the schema; `options` as a mapping.
    """
    with h5py.File(path, "w") as file:
        for part in parts:
            count = len(part["image"])
            if "image" not in file:
                shape = part["image"].shape[1:]
                file.create_dataset("image", (0, *shape), np.uint8, maxshape=(None, *shape), chunks=(1, *shape),
                                    compression="lzf")  # fmt: skip
                file.create_dataset("frame", (0,), np.int32, maxshape=(None,), chunks=(4096,))
                for name in TEXTS:
                    file.create_dataset(name, (0,), h5py.string_dtype(), maxshape=(None,), chunks=(1024,))
            for name in ("image", "frame", *TEXTS):
                file[name].resize(file[name].shape[0] + count, axis=0)
                if count:
                    file[name][-count:] = part[name]
        file.attrs.update({**made, "options": json.dumps(made["options"], sort_keys=True), "schema": SCHEMA})
