"""A command on several machines: what cannot work there is refused, then all workers join, and end together.

Each process is given the same command and a TF_CONFIG of its own. All do the same; the chief alone writes and prints.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from typing import Any

from fer_tf import clusters, devices, workers

from .settings import auto_precision, described, flag_name

OWN = ("device", "progress", "tensorboard", "wait")
"""Settings that may differ between workers, as those may that name places."""


@contextlib.contextmanager
def taking_part(settings: Any) -> Iterator[None]:
    """Within it this process is a worker, if --strategy says so.

    Raises:
      ValueError: settings that cannot work together; of `workers.join`.
      workers.Lost: TensorFlow cannot connect them, or at the end one is gone.
    """
    if settings.strategy != "multi_worker":
        yield
        return
    refuse(settings)
    devices.choose(settings.device)
    workers.join(tells(settings), settings.wait)
    with contextlib.ExitStack() as held:
        held.enter_context(workers.until_all_end())
        if not workers.writes():
            cluster = clusters.read(os.environ)
            own, chief = cluster.name(cluster.number), cluster.workers[0]
            print(f"{own} takes part; the chief, {chief}, writes and prints.", flush=True)
            nowhere = held.enter_context(open(os.devnull, "w"))
            held.enter_context(contextlib.redirect_stdout(nowhere))
        yield


def refuse(settings: Any) -> None:
    """Raises ValueError where settings cannot work on several machines."""
    together = "--strategy=multi_worker"
    if not settings.WORKERS:
        raise ValueError(
            f"{together} is for experiments.fer_net and experiments.ia_gen: this command has not been tried on several "
            "machines, leave it out."
        )
    if settings.job:
        raise ValueError(f"--job={settings.job} is one process's: leave it out, or {together}.")
    if settings.xla == "on":
        auto_precision(settings)
    if settings.feed == "device":
        raise ValueError(
            f"--feed=device keeps the faces on one GPU, where {together} cannot share them: leave one of them out."
        )


def tells(settings: Any) -> dict[str, Any]:
    """{flag: value} that have to be the same on all workers."""
    names = [f.name for f in dataclasses.fields(settings) if not described(type(settings), f.name)["place"]]
    values = {f"--{flag_name(name)}": getattr(settings, name) for name in names if name not in OWN}
    if values["--precision"] == "auto":
        values["--precision"] = auto_precision(settings)
    return values
