"""The files of experiments.render_faces: what both editions of the rendered data set read alike."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import h5py
import numpy as np

from fer_tf.records import EXPRESSIONS, Record

LABELS = "the eight expressions by name"
COLUMNS = ("expression", "subject", "intensity", "pan", "tilt", "domain", "sequence", "frame", "landmarks")


def record_of(path: Path, i: int, column: dict[str, np.ndarray], expression: str, **who: str | None) -> Record:
    """The record of the i-th row of a file; `who` is its subject, sequence, domain and split."""
    info = {name: float(column[name][i]) for name in ("intensity", "pan", "tilt")}
    marks = np.asarray(column["landmarks"][i], np.float32)
    frame = int(column["frame"][i])
    return Record((str(path), i), expression, frame=frame, info={**info, "landmarks": marks}, **who)


def read_columns(
    path: Path, columns: Collection[str], classes: Collection[str] | None, render: str
) -> tuple[dict[str, np.ndarray], list[str], list[str]]:
    """The arrays of a file of experiments.render_faces, its expressions and its parts, in the order of their numbers.

    Args:
      path: the HDF5 file.
      columns: arrays that are wanted.
      classes: expressions that are asked for, or None.
      render: the command that makes the file.
    Raises:
      FileNotFoundError: there is no such file; the message shows the command.
      ValueError: an unknown class, or a file that lacks an array; the message names it.
    """
    unknown = sorted(set(classes or ()) - set(EXPRESSIONS))
    if unknown:
        raise ValueError(
            f"The rendered faces have no class {', '.join(unknown)}: their expressions are {', '.join(EXPRESSIONS)}."
        )
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: take it from the package, or render it with\n  {render}")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} is no HDF5 file, or is damaged ({error}): take it from the package again.") from error
    with file:
        missing = [name for name in ("image", *columns) if name not in file]
        if missing:
            raise ValueError(f"{path} lacks {', '.join(missing)}: it is not a file of experiments.render_faces.")
        column = {name: file[name][:] for name in columns}
        return column, [str(n) for n in file.attrs["expressions"]], [str(n) for n in file.attrs["domains"]]
