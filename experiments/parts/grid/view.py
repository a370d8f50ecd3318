"""What a grid shows while it runs: a line for each wave, with what is done, running and failed, and the time left."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from . import process
from .schedule import DONE, ELSEWHERE, FAILED, LEFT, RUNNING

EVERY = 10.0
"""Seconds between two looks where the output is no terminal."""


def lines(said: Mapping[str, Any]) -> list[str]:
    """One line a wave.

    Args:
      said: of `Schedule.said`.
    """
    waves: dict[str, list[Mapping[str, Any]]] = {}
    for job in said["jobs"]:
        waves.setdefault(job["wave"], []).append(job)
    wide = max(map(len, waves))
    return [f"{name:<{wide}}  {_wave(own)}" for name, own in waves.items()]


def _wave(own: list[Mapping[str, Any]]) -> str:
    count = {state: sum(job["state"] == state for job in own) for state in (DONE, FAILED, LEFT)}
    running = sum(job["state"] in (RUNNING, ELSEWHERE) for job in own)
    text = f"{count[DONE]:>4} of {len(own)} done, {running} running, {count[FAILED]} failed"
    text += f", {count[LEFT]} not to be begun" if count[LEFT] else ""
    open_ = len(own) - count[DONE] - count[FAILED] - count[LEFT]
    taken = [job["seconds"] for job in own if job["state"] == DONE and job["seconds"]]
    if not open_:
        return text
    if not taken:
        return text + ", time left not known yet"
    return text + f", about {duration(sum(taken) / len(taken) * open_ / max(running, 1))} left"


def duration(seconds: float) -> str:
    """Seconds in words, of two units at most."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds // 3600:.0f} h {seconds % 3600 / 60:.0f} min"


class Screen:
    """Shows the lines: over each other on a terminal, else when they have changed, every `EVERY` seconds at most."""

    def __init__(self, out: TextIO | None = None):
        self.out = out or sys.stdout
        self.shown: list[str] = []
        self.time = 0.0

    def show(self, said: Mapping[str, Any], at_once: bool = False) -> None:
        """Shows them.

        Args:
          said: of `Schedule.said`.
          at_once: whether it is not to wait for its turn.
        """
        now, terminal = lines(said), self.out.isatty()
        if now == self.shown or not (at_once or terminal or time.time() - self.time >= EVERY):
            return
        up = f"\x1b[{len(self.shown)}F\x1b[J" if terminal and self.shown else ""
        print(up + "\n".join(now), file=self.out, flush=True)
        self.shown, self.time = now, time.time()


def read(folder: Path) -> dict[str, Any] | None:
    """What the grid of a work folder has said last; None where there was none."""
    try:
        said = json.loads((folder / process.STAMP).read_text(encoding="utf-8"))
        return said if isinstance(said, dict) and isinstance(said.get("jobs"), list) else None
    except (OSError, ValueError):
        return None


def told_by_table(log: Path, start: int) -> list[str]:
    """What the experiment has printed from a place of its log on, without a line for each training that is done."""
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode(errors="replace").splitlines()
    return [
        line for line in lines if not (line.startswith("--- ") or (" is done: " in line and line.endswith("steps.")))
    ]
