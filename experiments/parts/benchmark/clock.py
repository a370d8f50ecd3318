"""Seconds a call takes, and what follows from them: rates, and figures that are compared within one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

WARM_UP = 2
"""Calls before each timing, in which a fresh pipeline fills its buffers."""


def seconds(run: Callable[[], Any], times: int) -> np.ndarray:
    """(wall, CPU of this process) seconds a call takes, means; `run` gives a tensor or a dict of such, waited for."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        tf.nest.map_structure(lambda tensor: tensor.numpy(), run())
    return np.array([time.perf_counter() - wall, time.process_time() - cpu]) / times


def rate(run: Callable[[], int], repeats: int) -> dict[str, float]:
    """Medians of what `run` counts per second and per second of CPU time of this process."""
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        count = run()
        walls.append(count / (time.perf_counter() - wall))
        cpus.append(count / (time.process_time() - cpu))
    return {"per_second": statistics.median(walls), "per_cpu_second": statistics.median(cpus)}


def in_turns(
    runs: Mapping[str, Callable[[], Any]], steps: int, repeats: int, warm_up: int = WARM_UP
) -> dict[str, np.ndarray]:
    """Wall seconds a call of each takes, one figure a round, after so many calls that are not counted.

    One round times them all, so that other programs slow them alike.
    """
    for run in runs.values():
        seconds(run, warm_up)
    rounds = [{name: seconds(run, steps)[0] for name, run in runs.items()} for _ in range(repeats)]
    return {name: np.array([one[name] for one in rounds]) for name in runs}


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
