"""Which job is begun when: those before it are done, it is nobody else's, the engine has room; and what became of it.

A job's own files say whether it is done (`jobs.Job.done`). What is kept here is for the eye: `grid.json` in the work
folder, which `view` shows.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from fer_tf import files, locks

from ...run import jobs
from . import process
from .process import Outcome, Task

PAUSE, AGAIN = 0.2, 2.0
"""Seconds between two looks at the engine, and at a job that another process has."""
WAITING, QUEUED, RUNNING, ELSEWHERE, DONE, FAILED, LEFT = (
    "waiting", "queued", "running", "elsewhere", "done", "failed", "left",
)  # fmt: skip
"""States of a job: not begun; with an engine that has not begun it; run by it; run by somebody else; at its end; given
up; not to be begun, since one before it was given up."""
WELL = "came to its end"
"""How a grid ended whose jobs are all done."""
FULL = "is full: make room"
"""In what a command says of a full disk."""


class Engine(Protocol):
    """What runs tasks: `local.Local` says more."""

    queues: bool

    def room(self, elsewhere: int) -> int:
        """How many tasks more may be begun."""

    def start(self, tasks: Sequence[Task]) -> None:
        """Begins tasks."""

    def poll(self) -> list[Outcome]:
        """How those ended that have ended since."""

    def stop(self) -> None:
        """Stops all tasks."""


@dataclasses.dataclass
class Entry:
    """What is known of a job."""

    job: jobs.Job
    state: str = WAITING
    tries: int = 0
    seconds: float = 0.0
    lines: tuple[str, ...] = ()
    look: float = 0.0

    def said(self) -> dict[str, Any]:
        """For grid.json."""
        about = {"place": self.job.place, "wave": self.job.wave, "state": self.state, "tries": self.tries}
        return {**about, "seconds": round(self.seconds, 1), "lines": list(self.lines)}


class Schedule:
    """The jobs of a grid and how far they are.

    Args:
      listing: all of them, with the table last.
      engine: runs them.
      task: makes a job's task.
      about: for grid.json: what grid this is.
      retries: how often a job that failed is run again.
    """

    def __init__(
        self,
        listing: jobs.Listing,
        engine: Engine,
        task: Callable[[jobs.Job], Task],
        about: dict[str, Any],
        retries: int = 2,
    ):
        self.folder, self.engine, self.task, self.about, self.retries = listing.folder, engine, task, about, retries
        self.entries = {job.place: Entry(job) for job in listing.jobs}
        self.written, self.table_from = "", 0
        for entry in self.entries.values():
            if entry.job.done(self.folder):
                entry.state = DONE

    def in_state(self, *states: str) -> list[Entry]:
        """The jobs in one of these states."""
        return [entry for entry in self.entries.values() if entry.state in states]

    def said(self, end: str = "") -> dict[str, Any]:
        """What grid.json has; `end` says how the grid ended."""
        return {**self.about, "end": end, "jobs": [entry.said() for entry in self.entries.values()]}

    def write(self, end: str = "") -> dict[str, Any]:
        """Writes grid.json, if anything has changed."""
        said = self.said(end)
        if str(said) != self.written:
            files.write_json(self.folder / process.STAMP, said)
            self.written = str(said)
        return said

    def run(self, show: Callable[[dict[str, Any]], None]) -> None:
        """Runs all that is to be run.

        Args:
          show: is given what `said` gives, again and again.
        Raises:
          ValueError: the grid cannot go on: a full disk, a machine that does not see the work folder.
        """
        while True:
            for outcome in self.engine.poll():
                self.ended(outcome)
            self.give_up()
            self.begin()
            self.look()
            show(self.write())
            if not self.in_state(WAITING, QUEUED, RUNNING, ELSEWHERE):
                return
            time.sleep(PAUSE)

    def look(self) -> None:
        """Which jobs the engine has begun: their processes have taken them."""
        now = time.time()
        for entry in self.in_state(QUEUED):
            if entry.look <= now:
                entry.state, entry.look = RUNNING if self._taken(entry) else QUEUED, now + AGAIN

    def begin(self) -> None:
        """Begins what can be begun."""
        now = time.time()
        begun: list[Task] = []
        for entry in self.in_state(ELSEWHERE):
            if entry.look <= now and not self._taken(entry):
                entry.state = DONE if entry.job.done(self.folder) else WAITING
        elsewhere = len(self.in_state(ELSEWHERE))
        for entry in self.in_state(WAITING):
            if len(begun) >= self.engine.room(elsewhere):
                break
            if entry.look > now or any(self.entries[place].state != DONE for place in entry.job.after):
                continue
            if self._taken(entry):  # of a grid that was killed
                entry.state, entry.look, elsewhere = ELSEWHERE, now + AGAIN, elsewhere + 1
                continue
            entry.state = QUEUED if self.engine.queues else RUNNING
            begun.append(self.task(entry.job))
            if entry.job.place == jobs.TABLE:
                log = Path(begun[-1].log)
                self.table_from = log.stat().st_size if log.is_file() else 0
        if begun:
            self.write()  # before a task looks for it
            self.engine.start(begun)

    def _taken(self, entry: Entry) -> bool:
        """Whether a process is at a job."""
        return bool(locks.owner(self.folder / (entry.job.place if entry.job.place != jobs.TABLE else "")))

    def ended(self, outcome: Outcome) -> None:
        """Takes note of how a task ended.

        Raises:
          ValueError: as `run`.
        """
        entry = self.entries[outcome.place]
        if outcome.code == process.UNSHARED:
            raise ValueError(outcome.lines[0])
        for line in outcome.lines if outcome.code else ():
            if FULL in line:
                raise ValueError(line.removeprefix("error: "))
        entry.seconds = outcome.seconds
        if outcome.code == process.BUSY:
            entry.state, entry.look = ELSEWHERE, time.time() + AGAIN
        elif outcome.code == 0 and (entry.job.place == jobs.TABLE or entry.job.done(self.folder)):
            entry.state = DONE
        else:
            entry.tries += 1
            entry.lines = outcome.lines or (f"It ended by {outcome.code} without a word.",)
            entry.state = WAITING if entry.tries <= self.retries else FAILED

    def tell_stopped(self) -> None:
        """What was begun and is not done is to be begun again."""
        for entry in self.in_state(QUEUED, RUNNING, ELSEWHERE):
            entry.state = DONE if entry.job.done(self.folder) else WAITING

    def give_up(self) -> None:
        """What comes after a job that failed is not begun."""
        bad = {entry.job.place for entry in self.in_state(FAILED)}
        for entry in self.in_state(WAITING):
            if bad & {*entry.job.after}:
                entry.state = LEFT

    def failures(self) -> list[str]:
        """Each job that failed with the last lines of its log, and how many were not begun for it."""
        said = []
        for entry in self.in_state(FAILED):
            log = self.task(entry.job).log
            said.append(f"{entry.job.place} failed {entry.tries} times; {log} ends with")
            said += [f"    {line}" for line in entry.lines]
            behind = [e.job.place for e in self.in_state(LEFT) if entry.job.place in e.job.after]
            if behind:
                said.append(f"    not begun, since it comes before them: {_few(behind)}")
        return said


def _few(places: Sequence[str]) -> str:
    return ", ".join(places[:4]) + (f" and {len(places) - 4} more" if len(places) > 4 else "")


def in_folder(folder: Path) -> str:
    """Who runs a grid in a work folder, in words; empty where nobody does."""
    return locks.owner(folder / jobs.GRID)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Within it, Ctrl-C is not heard: jobs are being stopped."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
