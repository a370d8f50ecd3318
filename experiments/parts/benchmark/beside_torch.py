"""The same step in PyTorch, as those who are timed beside TensorFlow's: eager, and compiled where that works.

For every model with a `torch_<model>.py`; `torch_players` says what such a file has.
"""

from __future__ import annotations

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
    if importlib.util.find_spec("torch") is None:
        return NO_TORCH
    import torch

    if devices.gpus() and not torch.cuda.is_available():
        return f"PyTorch {torch.__version__} sees no GPU, so it is not compared; --device=cpu compares on the CPU."
    return ""


def version() -> dict[str, str]:
    """{"torch": its version} where it is installed."""
    return {} if importlib.util.find_spec("torch") is None else {"torch": importlib.metadata.version("torch")}


def prepare() -> str:
    """Gives PyTorch the threads and the arithmetic that TensorFlow has; the device of both: "cpu" or "cuda"."""
    import torch

    torch.set_num_threads(tf.config.threading.get_intra_op_parallelism_threads() or len(os.sched_getaffinity(0)))
    tensor_floats = tf.config.experimental.tensor_float_32_execution_enabled()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tensor_floats
    torch.backends.cudnn.benchmark = True
    return "cuda" if devices.gpus() else "cpu"


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
    import torch

    device, make = prepare(), importlib.import_module(f"{__package__}.torch_{name}").twin
    from . import torch_weights

    theirs, dtype = torch_weights.tensors(batch, device), precision.removeprefix("mixed_")
    try:
        twin = make(model, dtype, device)
    except ValueError as error:
        return {}, {"skipped": str(error)}
    facts = {"parameters": twin.parameters(), "threads": torch.get_num_threads(), "device": device, "left_out": {}}
    facts, runs = {**facts, "memory": {}}, {}
    for kind in ("eager", *MODES):
        if sentence := _left_out(kind, device, settings, watch):
            facts["left_out"][kind] = sentence
            continue
        watch.say(f"{name} {precision}: PyTorch, {kind}")
        try:
            runs[kind], memory = warm(make(model, dtype, device), theirs, MODES.get(kind), device)
        except Exception as error:  # whatever a compiler fails at, and a GPU's memory
            words = str(error).strip().splitlines() or [""]
            facts["left_out"][kind] = f"{type(error).__name__}: {words[0]}"
            continue
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


def warm(twin: Any, batch: Mapping[str, Any], mode: str | None, device: str) -> tuple[Callable[[], Any], float | None]:
    """(a step of the twin, which has been called three times; its most memory in MiB, on a GPU).

    Args:
      twin: whose `losses` are compiled in this mode; None leaves it as it is.
    """
    import torch

    step = twin.train_step
    if mode is not None:
        torch._functorch.config.donated_buffer = False  # each player takes its gradients of the same pass
        twin.losses = torch.compile(twin.losses, mode=mode)

        def step(batch: Mapping[str, Any]) -> Any:
            torch.compiler.cudagraph_mark_step_begin()
            return twin.train_step(batch)

    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for _ in range(3):
        step(batch)
    memory = None
    if device == "cuda":
        torch.cuda.synchronize()
        memory = torch.cuda.max_memory_allocated() / 2**20
    return lambda: step(batch), memory


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
