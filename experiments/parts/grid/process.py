"""One job as a process of its own: its command, its share of the machine, its log, and how it ended.

Only the standard library, since this file travels by value to the workers of a cluster.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

BUSY, UNSHARED, GONE = 75, 76, 77
"""Outcomes that are nobody's fault but the place's: another process has the job; this machine does not see the work
folder, or not this Python; the engine lost the worker."""
LINES = 5
"""Last lines of a log that are shown."""
PATIENCE = 20.0
"""Seconds between asking a job to stop and ending it."""
SEEN = 3.0
"""Seconds until a machine that does not see the work folder is taken to have another one."""
STAMP = "grid.json"
"""File of the work folder that says which grid it is."""


class Task(NamedTuple):
    """What is to be run.

    Attributes:
      place: of the job.
      words: the command line.
      log: file that its output is added to.
      here: the folder that it is run in.
      environment: what it is told besides the environment there is.
      folder: the work folder.
      token: of the grid, which `STAMP` in the work folder has, too.
    """

    place: str
    words: tuple[str, ...]
    log: str
    here: str
    environment: dict[str, str]
    folder: str
    token: str


class Outcome(NamedTuple):
    """How a task ended.

    Attributes:
      place: of the job.
      code: exit code; 0 is well.
      host: where it ran.
      seconds: that it took.
      lines: the last ones of its log.
    """

    place: str
    code: int
    host: str
    seconds: float
    lines: tuple[str, ...]


class Running(NamedTuple):
    """A process that was begun."""

    task: Task
    process: Any
    begun: float
    log_from: int

    def outcome(self) -> Outcome | None:
        """How it ended; None while it runs."""
        code = self.process.poll()
        if code is None:
            return None
        lines = tail(Path(self.task.log), self.log_from)
        return Outcome(self.task.place, code, socket.gethostname(), time.time() - self.begun, lines)

    def stop(self, kill: bool = False) -> None:
        """Asks it to stop, as Ctrl-C does, or ends it with all that it began."""
        with contextlib.suppress(OSError):  # over already
            os.killpg(self.process.pid, signal.SIGKILL if kill else signal.SIGINT)


def unshared(task: Task) -> str:
    """Why this machine cannot run a task, in a sentence: it has another work folder, or none; empty where it can."""
    host, shared, until = socket.gethostname(), False, time.time() + SEEN
    while not shared:  # a file system of a network may show a new file late
        with contextlib.suppress(OSError):
            shared = task.token in (Path(task.folder) / STAMP).read_text(encoding="utf-8")
        if shared or time.time() > until:
            break
        time.sleep(0.2)
    if not shared:
        return f"{host} does not see the grid's work folder {task.folder}: put --workdir where all machines see it."
    if not os.access(task.words[0], os.X_OK) or not Path(task.here).is_dir():
        return f"{host} has no {task.words[0]}, or no folder {task.here}: install the same environment there."
    return ""


def begin(task: Task, gpus: str | None = None) -> Running:
    """Starts a task.

    Args:
      task: whose log's folder is made.
      gpus: CUDA_VISIBLE_DEVICES; None leaves it to the engine.
    """
    log = Path(task.log)
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **task.environment}
    if gpus is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpus
    with log.open("ab") as out:
        start = out.tell()
        out.write(f"--- {' '.join(task.words)}\n--- {socket.gethostname()}, {time.strftime('%F %T')}\n".encode())
        out.flush()
        with interruptible():
            process = subprocess.Popen(
                task.words,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=task.here,
                env=environment,
                start_new_session=True,
            )
    return Running(task, process, time.time(), start)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Within it, a process that is begun hears Ctrl-C, also where this one does not (nohup, Ray's workers)."""
    blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    deaf = signal.getsignal(signal.SIGINT) == signal.SIG_IGN and threading.current_thread() is threading.main_thread()
    if deaf:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if deaf:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def execute(task: Task) -> Outcome:
    """Runs a task to its end, on a worker; what ends the worker by an exception ends the task first."""
    reason = unshared(task)
    if reason:
        return Outcome(task.place, UNSHARED, socket.gethostname(), 0.0, (reason,))
    running = begin(task)
    try:
        while running.process.poll() is None:  # Ray's interruption does not end a wait
            time.sleep(0.1)
    except BaseException:
        end([running])
        raise
    outcome = running.outcome()
    assert outcome is not None
    return outcome


def carry_out(task: tuple[Any, ...]) -> tuple[Any, ...]:
    """`execute` of a task and its outcome as plain tuples, which any version of this file reads."""
    return tuple(execute(Task(*task)))


class Submitted:
    """`carry_out` for submitit, which queues it again with the same task where it is preempted."""

    def __call__(self, task: tuple[Any, ...]) -> tuple[Any, ...]:
        """Runs the task."""
        return carry_out(task)

    def checkpoint(self, task: tuple[Any, ...]) -> Any:
        """The task again; the job's own checkpoint says where it goes on."""
        return __import__("submitit").helpers.DelayedSubmission(self, task)


def end(several: list[Running], patience: float = PATIENCE) -> None:
    """Asks processes to stop, and ends those that do not in time."""
    for running in several:
        running.stop()
    until = time.time() + patience
    for running in several:
        try:
            running.process.wait(max(until - time.time(), 0.01))
        except subprocess.TimeoutExpired:
            running.stop(kill=True)
            running.process.wait()


def tail(log: Path, start: int = 0, count: int = LINES) -> tuple[str, ...]:
    """The last lines of a log that say something, from a place on."""
    try:
        with log.open("rb") as file:
            file.seek(max(start, log.stat().st_size - 20_000))
            text = file.read().decode(errors="replace")
    except OSError:
        return ()
    lines = [line.rsplit("\r", 1)[-1].rstrip() for line in text.split("\n")]
    return tuple(line for line in lines if line and not line.startswith("--- "))[-count:]
