"""Jobs on this machine, as many at once as its cores and GPUs allow. No dependency."""

from __future__ import annotations

import math
from collections.abc import Sequence

from . import process, share
from .process import Outcome, Running, Task


class Local:
    """An engine: it begins tasks, says how they ended, and stops.

    Args:
      each: a job's share.
      there: the machine.
      first: place of a job, for messages.
    Raises:
      ValueError: no job can ever be run.
    """

    queues = False
    """Whether tasks wait inside the engine for their turn."""

    def __init__(self, each: share.Share, there: share.Machine, first: str):
        share.refuse_too_much(each, there, first, "this machine")
        self.each, self.there = each, there
        by_gpu = math.inf
        if each.gpu:
            by_gpu = len(there.gpus) // each.gpu if each.gpu >= 1 else len(there.gpus) * math.floor(1 / each.gpu + 1e-9)
        self.at_once = int(min(math.floor(there.cpu / each.cpu + 1e-9), by_gpu))
        self.running: dict[str, tuple[Running, tuple[str, ...]]] = {}

    def room(self, elsewhere: int) -> int:
        """How many tasks more may be begun.

        Args:
          elsewhere: jobs of an earlier grid that still run here.
        """
        return max(0, self.at_once - len(self.running) - elsewhere)

    def start(self, tasks: Sequence[Task]) -> None:
        """Begins tasks."""
        for task in tasks:
            gpus = self._gpus()
            self.running[task.place] = process.begin(task, ",".join(gpus) if self.there.gpus else None), gpus

    def _gpus(self) -> tuple[str, ...]:
        """The GPUs of the next task: those that the fewest jobs have; -1, which is none, where none is asked for."""
        if not self.each.gpu:
            return ("-1",)
        held = [gpu for _, gpus in self.running.values() for gpu in gpus]
        return tuple(sorted(self.there.gpus, key=held.count)[: max(1, int(self.each.gpu))])

    def poll(self) -> list[Outcome]:
        """How those ended that have ended since it was asked last."""
        ended = [outcome for running, _ in self.running.values() if (outcome := running.outcome())]
        for outcome in ended:
            del self.running[outcome.place]
        return ended

    def stop(self) -> None:
        """Stops all tasks; their last checkpoints stay."""
        process.end([running for running, _ in self.running.values()])
        self.running.clear()
