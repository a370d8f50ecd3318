"""The engines by name, each imported where it is asked for: Ray and submitit are extras."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from . import share
from .schedule import Engine

NAMES = ("local", "ray", "slurm")
PACKAGES = {"ray": "ray", "slurm": "submitit"}
"""Engine -> the package that it needs, which the extra of the engine's name brings."""


def need(engine: str) -> None:
    """Raises ModuleNotFoundError, with the line that installs it, where an engine's package is missing."""
    package = PACKAGES.get(engine, "")
    if package and importlib.util.find_spec(package) is None:
        raise ModuleNotFoundError(
            f'--engine={engine} needs the package {package}: pip install "fer-tf[{engine}]" brings it.'
        )


def make(settings: Any, each: share.Share, there: share.Machine, folder: Path, first: str) -> Engine:
    """The engine that --engine names.

    Args:
      settings: engine, address, cluster, slurm.
      each: a job's share.
      there: this machine.
      folder: the work folder.
      first: place of a job, for messages.
    Raises:
      ModuleNotFoundError: its package is not installed.
      ValueError: it cannot be reached, or no job can ever be run there.
    """
    need(settings.engine)
    if settings.engine == "local":
        module = importlib.import_module(".local", __package__)
        return module.Local(each, there, first)
    if settings.engine == "ray":
        module = importlib.import_module(".on_ray", __package__)
        return module.OnRay(each, there, settings.address, first)
    module = importlib.import_module(".on_slurm", __package__)
    return module.OnSlurm(each, there, settings.cluster, settings.slurm, folder, first)
