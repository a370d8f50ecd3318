"""Seconds a step takes, and what follows from them: rates, and figures that are compared within one run."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

WARM_UP = 2
"""Calls before each timing, in which a fresh pipeline fills its buffers."""
LEAST = 0.2
"""Seconds that a timing takes at least where a step takes milliseconds: on a GPU."""


class Watch:
    """Says how far the benchmark is, and whether there is time for more.

    Args:
      minutes: after which what comes last is left out; 0 for never.
    """

    def __init__(self, minutes: float = 0.0):
        self.begun = time.perf_counter()
        self.end = self.begun + 60 * minutes if minutes else math.inf
        self.until = self.end

    def say(self, words: str) -> None:
        """Prints a line with the seconds since the beginning."""
        print(f"[{time.perf_counter() - self.begun:5.0f} s] {words}", flush=True)

    def share(self, parts: int) -> None:
        """From now on `room` is about one of so many parts that are left."""
        now = time.perf_counter()
        self.until = now + (self.end - now) / parts
        self.begun_part = now

    def room(self, needed: float = 0.0) -> bool:
        """Whether so many seconds of the part are left."""
        return time.perf_counter() + needed < self.until


class Run(NamedTuple):
    """What is timed.

    Attributes:
      call: gives a tensor, several, or what has `steps`, the number of steps that the call made.
      start: called before each round, with what is to be warm and not timed.
    """

    call: Callable[[], Any]
    start: Callable[[], Any] = lambda: None


def wait(made: Any) -> None:
    """Waits until a call's work is done: a GPU goes on when a call comes back. Reads the smallest tensor alone."""
    if hasattr(made, "wait"):  # of another process
        made.wait()
        return
    tensors = [x for x in tf.nest.flatten(made) if hasattr(x, "shape")]
    ours = [x for x in tensors if tf.is_tensor(x)]
    if ours:
        min(ours, key=lambda x: x.shape.num_elements() or 1).numpy()
    elif any(getattr(x, "is_cuda", False) for x in tensors):
        import torch

        torch.cuda.synchronize()


def seconds(run: Callable[[], Any], times: int) -> np.ndarray:
    """(wall, CPU of this process) seconds a step takes, means over so many calls, whose end is waited for.

    Calls follow each other without waiting, as in a training: a device does them in their order.
    """
    wall, cpu, steps, made = time.perf_counter(), time.process_time(), 0, None
    for _ in range(times):
        made = run()
        steps += getattr(made, "steps", 1)
    wait(made)
    return np.array([time.perf_counter() - wall, time.process_time() - cpu]) / steps


def rate(run: Callable[[], int], repeats: int) -> dict[str, float]:
    """Medians of what `run` counts per second and per second of CPU time of this process."""
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        count = run()
        walls.append(count / (time.perf_counter() - wall))
        cpus.append(count / (time.process_time() - cpu))
    return {"per_second": statistics.median(walls), "per_cpu_second": statistics.median(cpus)}


def both_in_turns(
    runs: Mapping[str, Run], steps: int, repeats: int, warm_up: int = WARM_UP, least: float = 0.0
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """({name: wall}, {name: CPU}) seconds a step of each takes, one figure a round, after calls that are not counted.

    One round times them all, so that other programs slow them alike.

    Args:
      runs: what is timed.
      steps: of each a round.
      repeats: rounds.
      warm_up: calls of each before the first round.
      least: seconds that a timing takes at least, with more steps.
    """
    calls = {}
    for name, run in runs.items():
        run.start()
        begun = time.perf_counter()
        made = [run.call() for _ in range(warm_up)][-1]
        wait(made)
        taken, many = time.perf_counter() - begun, getattr(made, "steps", 1)
        calls[name] = max(math.ceil(steps / many), math.ceil(least * warm_up / taken))
    rounds = []
    for _ in range(repeats):
        rounds.append({})
        for name, run in runs.items():
            run.start()
            rounds[-1][name] = seconds(run.call, calls[name])
    figures = {name: np.transpose([one[name] for one in rounds]) for name in runs}
    return {name: wall for name, (wall, _) in figures.items()}, {name: cpu for name, (_, cpu) in figures.items()}


def in_turns(
    runs: Mapping[str, Callable[[], Any]], steps: int, repeats: int, warm_up: int = WARM_UP, least: float = 0.0
) -> dict[str, np.ndarray]:
    """The wall seconds of `both_in_turns`, of what needs no start."""
    return both_in_turns({name: Run(run) for name, run in runs.items()}, steps, repeats, warm_up, least)[0]


def speeds(times: Mapping[str, np.ndarray], count: int) -> dict[str, float]:
    """Pictures a second of one run or two, and then of the first over the second as `ratio`.

    Args:
      times: name -> seconds a call takes, one figure a round.
      count: pictures a call.
    """
    rates = {name: count / float(np.median(value)) for name, value in times.items()}
    if len(times) == 1:
        return rates
    first, second = times
    return rates | {"ratio": float(np.median(times[second] / times[first]))}
