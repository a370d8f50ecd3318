"""A job's share of a machine: --resources, what the machine has, and what a process is told of its share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Share(NamedTuple):
    """What a job is given: CPU cores, and GPUs or a part of one."""

    cpu: float
    gpu: float

    @property
    def threads(self) -> int:
        """Whole cores, one at least."""
        return max(1, int(self.cpu))

    def __str__(self) -> str:
        return f"cpu={self.cpu:g}" + (f",gpu={self.gpu:g}" if self.gpu else "")


class Machine(NamedTuple):
    """What there is: cores that this process may use, and GPUs as CUDA_VISIBLE_DEVICES calls them."""

    cpu: int
    gpus: tuple[str, ...]


NOWHERE = Machine(1, ())
"""A machine of a cluster, of which nothing is known."""


def machine() -> Machine:
    """This one; a GPU that CUDA_VISIBLE_DEVICES hides is none."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is not None:
        names = [name.strip() for name in shown.split(",")]
        return Machine(cores, tuple(name for name in names if name and name != "-1"))
    devices = [path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*")]
    return Machine(cores, tuple(sorted(devices, key=int)))


def read(texts: Sequence[str], there: Machine) -> Share:
    """The share that --resources asks for; left out, a GPU where there is one and its part of the cores, or one core.

    Args:
      texts: name=number each, the names cpu and gpu.
      there: of which what is left out is taken.
    Raises:
      ValueError: a text that is none, or a number that cannot be shared out.
    """
    given: dict[str, float] = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            given[name] = float(number)
        except ValueError:
            given[name] = -1.0
        if name not in ("cpu", "gpu") or not 0 <= given[name] < 1e6 or (name == "cpu" and not given[name]):
            raise ValueError(f"--resources={','.join(texts)}: {text!r} is none: give it as in gpu=0.25,cpu=2.")
    gpu = given.get("gpu", 1.0 if there.gpus and "cpu" not in given else 0.0)
    if gpu > 1 and gpu != int(gpu):
        raise ValueError(f"--resources=gpu={gpu:g}: give a part of one GPU, or whole ones.")
    each = there.cpu * min(gpu, len(there.gpus)) / len(there.gpus) if gpu and there.gpus else 1.0
    return Share(given.get("cpu", max(1.0, float(int(each)))), gpu)


def refuse_too_much(share: Share, there: Machine, first: str, where: str) -> None:
    """Raises ValueError where no job can ever be run.

    Args:
      share: of a job.
      there: the most that one machine has.
      first: place of the first job, for the message.
      where: whose machine, in words.
    """
    if share.gpu and not there.gpus:
        raise ValueError(f"{first} can never run: --resources=gpu={share.gpu:g} asks for a GPU, and {where} has none.")
    for name, asked, has in (("cpu", share.cpu, there.cpu), ("gpu", share.gpu, len(there.gpus))):
        if asked > has:
            raise ValueError(f"{first} can never run: --resources={name}={asked:g}, and {where} has {has}.")


def environment(threads: int, packages: Path) -> dict[str, str]:
    """What a job's process is told: its threads, to take a GPU's memory as it needs it, and where this package is.

    Args:
      threads: how many; their number changes the last bits of sums.
      packages: the folder that has the package.
    """
    paths = [str(packages), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    return {
        **dict.fromkeys(names, str(threads)),
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
    }
