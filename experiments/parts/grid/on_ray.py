"""Jobs as tasks of Ray core: on a cluster that runs already, or on one that is started here. The extra `ray`.

A task begins the job's process and waits for it; Ray's own TensorflowTrainer would train in Ray's worker, with Keras 2.
"""

from __future__ import annotations

import importlib
import math
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from . import process, share
from .process import Outcome, Task

REACHED, HEALTHY = 10.0, 40.0
"""Seconds after which an address where nobody answers, and one where nobody answers as Ray does, are given up."""
OBJECTS = 100 * 2**20
"""Bytes of the object store of a Ray that is started here: nothing but a task's few words goes through it."""


class OnRay:
    """An engine, as `local.Local`.

    Args:
      each: a job's share.
      there: this machine.
      address: of a cluster that runs; None starts one.
      first: place of a job, for messages.
    Raises:
      ValueError: no cluster answers there, or no job can ever be run.
    """

    queues = True

    def __init__(self, each: share.Share, there: share.Machine, address: str | None, first: str):
        self.ray: Any = importlib.import_module("ray")
        self.tasks: dict[Any, str] = {}
        if address is None:
            share.refuse_too_much(each, there, first, "this machine")
        connect(self.ray, address, there)
        try:
            refuse_too_much(self.ray.nodes(), each, first)
        except ValueError:
            self.ray.shutdown()
            raise
        self.ray.cloudpickle.register_pickle_by_value(process)  # workers need not have this package's path
        options = {"num_cpus": each.cpu, "num_gpus": each.gpu, "max_retries": 2}
        self.remote = self.ray.remote(**options)(process.carry_out)

    def room(self, elsewhere: int) -> int:
        """No end: Ray keeps what it cannot begin."""
        return 10**9

    def start(self, tasks: Sequence[Task]) -> None:
        """Hands tasks over."""
        for task in tasks:
            self.tasks[self.remote.remote(tuple(task))] = task.place

    def poll(self) -> list[Outcome]:
        """How those ended that have ended since it was asked last."""
        if not self.tasks:
            return []
        ended, _ = self.ray.wait(list(self.tasks), num_returns=len(self.tasks), timeout=0)
        return [self._outcome(ref) for ref in ended]

    def _outcome(self, ref: Any) -> Outcome:
        place = self.tasks.pop(ref)
        try:
            return Outcome(*self.ray.get(ref))
        except self.ray.exceptions.RayError as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            return Outcome(place, process.GONE, "", 0.0, tuple(lines[:1] + lines[1:][-process.LINES + 1 :]))

    def stop(self) -> None:
        """Stops all tasks, and the Ray that was started here."""
        for ref in self.tasks:
            self.ray.cancel(ref)
        if self.tasks:
            self.ray.wait(list(self.tasks), num_returns=len(self.tasks), timeout=process.PATIENCE + 5)
        self.tasks.clear()
        self.ray.shutdown()


def connect(ray: Any, address: str | None, there: share.Machine) -> None:
    """Joins a cluster or starts one.

    Raises:
      ValueError: none answers there; the message says after how long.
    """
    begun = time.time()
    try:
        if address is None:
            gpus = {"num_gpus": len(there.gpus)}
            options = {"num_cpus": there.cpu, **gpus, "object_store_memory": OBJECTS, "include_dashboard": False}
            ray.init(address="local", log_to_driver=False, logging_level="WARNING", **options)
            return
        answers(address)
        ray.init(address=address, log_to_driver=False, logging_level="WARNING")
    except (OSError, RuntimeError, ValueError) as error:
        where = f"--address={address}: no Ray cluster answers there" if address else "Ray cannot be started here"
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        hint = " One that wants a token is joined with RAY_AUTH_MODE=token in the environment." if address else ""
        raise ValueError(f"{where}, after {time.time() - begun:.0f} s ({line}).{hint}") from error


def answers(address: str) -> None:
    """Raises OSError where nothing listens at host:port, or not Ray: Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and port.isdecimal()):
        return
    socket.create_connection((host.strip("[]"), int(port)), REACHED).close()
    if address.startswith("ray://"):
        return
    words = [sys.executable, "-c", "import ray, sys; ray.init(address=sys.argv[1])", address]  # tries for minutes
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=HEALTHY)
    except subprocess.TimeoutExpired as error:
        raise OSError("what listens there does not answer as Ray does") from error
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()
        raise OSError(said[-1] if said else "it cannot be joined")


def refuse_too_much(nodes: Sequence[dict[str, Any]], each: share.Share, first: str) -> None:
    """Raises ValueError where no machine of a cluster can ever run a job.

    Args:
      nodes: of `ray.nodes()`.
      each: a job's share.
      first: place of a job, for the message.
    """
    has = [node["Resources"] for node in nodes if node.get("Alive", True)]
    cpus, gpus = ([one.get(name, 0) for one in has] for name in ("CPU", "GPU"))
    if any(cpu >= each.cpu and gpu >= each.gpu for cpu, gpu in zip(cpus, gpus, strict=True)):
        return
    most = share.Machine(math.floor(max(cpus, default=0)), ("",) * math.floor(max(gpus, default=0)))
    share.refuse_too_much(each, most, first, "the largest machine of the Ray cluster")
    raise ValueError(f"{first} can never run: no machine of the Ray cluster has {each} at once.")
