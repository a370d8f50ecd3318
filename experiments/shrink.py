"""Stores weights anew with their kernels in half precision, or as whole numbers of eight bits: smaller files.

    python -m experiments.shrink --weights=weights/fer_net_fer2013.h5                   # in its place, float16
    python -m experiments.shrink --weights=weights/ed2l_fer2013.h5 --dtype=int8
    python -m experiments.shrink --weights=first.h5 --out=second.h5

The provenance is kept; its entry `stored` has the dtype and the SHA-256 of the file that was there. Prints a line of
JSON: file, size, SHA-256, as weights/README.md has them. What the smaller file names is to be measured anew, such as by
`python -m experiments.export --measure=<file> --data_dir=<FER-2013>`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fer_tf import weights as files

from .run import command_line, provenance, settings
from .run.settings import setting


@settings.command()
class Settings(settings.Base):
    """Which file, and how."""

    weights: str | None = setting(None, "A weights file of ours.", place="path")
    dtype: str = setting("float16", "Of its kernels; vectors stay float32.", choices=files.DTYPES)
    out: str | None = setting(None, "The new file; in the old one's place when left out.", place="path")


def run(settings: Settings) -> dict[str, Any]:
    """Writes the file and says how large it was and is.

    Raises:
      ValueError: --weights is left out, or no such file.
    """
    if not settings.weights:
        raise ValueError("Which weights? Give --weights=<file>.")
    path, before = Path(settings.out or settings.weights), Path(settings.weights)
    size = before.stat().st_size if before.is_file() else 0
    files.store_anew(before, path, dtype=settings.dtype, command=provenance.command(settings, "shrink"))
    line = {"out": str(path), "bytes_before": size, "bytes": path.stat().st_size, "sha256": files.sha256(path)}
    print(json.dumps(line))
    return line


if __name__ == "__main__":
    command_line.main(Settings, run)
