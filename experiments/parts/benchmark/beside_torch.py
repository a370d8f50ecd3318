"""The same step in PyTorch, as those who are timed beside TensorFlow's: eager, and compiled where that works.

For every model with a `torch_<model>.py`; `torch_players` says what such a file has.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from fer_tf import devices

NO_TORCH = "PyTorch is not installed: `pip install .[bench]` adds it."
MODES = {"compiled": "default", "graphs": "reduce-overhead"}
"""Name -> mode of `torch.compile`. The second replays CUDA graphs, and is for a GPU alone."""
NEEDED = {"compiled": 60.0, "graphs": 60.0}
"""Seconds that compiling takes at most, for a paper's model."""


def missing() -> str:
    """Why nothing can be compared on this machine, in a sentence; empty where it can."""
    return NO_TORCH if importlib.util.find_spec("torch") is None else ""


def version() -> dict[str, str]:
    """{"torch": its version} where it is installed."""
    return {} if importlib.util.find_spec("torch") is None else {"torch": importlib.metadata.version("torch")}


def own_process() -> bool:
    """Whether PyTorch computes in a process of its own: on a GPU; see `torch_process`."""
    return bool(devices.gpus())


def threads() -> int:
    """Those that TensorFlow has."""
    return tf.config.threading.get_intra_op_parallelism_threads() or len(os.sched_getaffinity(0))


def contestants(
    name: str, model: Any, batch: Mapping[str, Any], precision: str, settings: Any, watch: Any
) -> tuple[dict[str, Callable[[], Any]], dict[str, Any]]:
    """Training steps of the model's twin, warm: {"eager", "compiled", "graphs": a call}; and what there is to say.

    Args:
      name: of the module in fer_tf/models.
      model: compiled.
      batch: what both learn from.
      precision: a dtype policy.
      settings: of the benchmark.
      watch: whose `room` decides whether there is time to compile.
    Returns:
      The second has `skipped`, a sentence, where nothing is compared; else parameters, threads, device, memory
      {name: MiB} on a GPU, and left_out {name: a sentence} for what is missing.
    """
    if importlib.util.find_spec(f"{__package__}.torch_{name}") is None:
        return {}, {"skipped": f"{name} has no twin in PyTorch."}
    if sentence := missing():
        return {}, {"skipped": sentence}
    if precision == "mixed_float16":
        return {}, {"skipped": "float16 is not compared with PyTorch."}
    device, make = "cuda" if devices.gpus() else "cpu", importlib.import_module(f"{__package__}.torch_{name}").twin
    from . import torch_process, torch_weights

    theirs, dtype = torch_weights.tensors(batch), precision.removeprefix("mixed_")
    try:
        twin = make(model, dtype)
    except ValueError as error:
        return {}, {"skipped": str(error)}
    facts = {"parameters": twin.parameters(), "threads": threads(), "device": device, "left_out": {}}
    facts, runs = {**facts, "memory": {}}, {}
    given = (device, facts["threads"], tf.config.experimental.tensor_float_32_execution_enabled())
    try:
        there = (torch_process.Process if own_process() else torch_process.Steps)(*given)
    except torch_process.Failed as error:
        return {}, {"skipped": str(error)}
    for kind in ("eager", *MODES):
        if sentence := _left_out(kind, device, settings, watch):
            facts["left_out"][kind] = sentence
            continue
        watch.say(f"{name} {precision}: PyTorch, {kind}")
        try:
            memory = there.warm(kind, make(model, dtype), theirs, MODES.get(kind))
        except torch_process.Ended as error:
            return {}, {"skipped": str(error)}
        except torch_process.Failed as error:
            facts["left_out"][kind] = str(error)
            continue
        runs[kind] = functools.partial(there.step, kind)
        if memory is not None:
            facts["memory"][kind] = memory
    return runs, facts


def _left_out(kind: str, device: str, settings: Any, watch: Any) -> str:
    """Why a way to run the step is left out, in a sentence; empty where it is not."""
    if kind == "eager":
        return ""
    if kind == "graphs" and device == "cpu":
        return "CUDA graphs are a GPU's."
    if settings.torch_compile == "off" or (settings.torch_compile == "auto" and device == "cpu"):
        return "Not compiled: --torch_compile=on asks for it."
    return "" if watch.room(NEEDED[kind]) else "There was no time to compile: --minutes gives more."


def summary(times: Mapping[str, Any], facts: dict[str, Any], ours: Any) -> dict[str, Any]:
    """Milliseconds of a step in PyTorch, and how many times as fast ours is as its fastest: the median of the rounds.

    Args:
      times: {"eager", ...: seconds a step, one figure a round}.
      facts: of `contestants`.
      ours: seconds, one a round.
    """
    import numpy as np

    medians = {kind: float(np.median(value)) for kind, value in times.items()}
    best = min(medians, key=medians.get)
    ratio = float(np.median(times[best] / ours))
    return {**facts, "ms": {kind: 1e3 * value for kind, value in medians.items()}, "best": best, "ratio": ratio}
