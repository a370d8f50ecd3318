"""What `experiments.benchmark --model=cycle_at` measures besides: its step of stage I beside the same one in PyTorch.

At 128x128 pixels with the paper's networks, batches of 1 and 8; and how much longer a step of stage II takes, which
also has f_S and f_W (ResNet-50). Figures that are compared are taken in turns, round by round, so that other programs
slow both; a ratio is the median over the rounds. On the CPU only.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from experiments.benchmark_ia_gen import in_turns, speeds
from fer_tf.compat import keras, set_policy
from fer_tf.models import cycle_at

WARM_UP = 2
SIDE, BATCHES = 128, (1, 8)
"""Pixels a side, and faces of either domain a step."""


def build(stage: int, tiny: bool) -> cycle_at.CycleAT:
    """The compiled model of a stage, the paper's or the tiny one's nets."""
    model = cycle_at.tiny()[0] if tiny else cycle_at.full()
    if stage == 1:
        model = cycle_at.CycleAT(**{**model.get_config(), "source_net": None, "stage": 1})
    model.compile(**{f"{name}_optimizer": cycle_at.optimizer() for name, _ in model.sides()})
    return model


def measure_batch(precision: str, batch_size: int, settings: Any, seconds: Callable) -> dict[str, Any]:
    """Faces of either domain a second that a step learns from: TensorFlow's in both stages, PyTorch's in stage I."""
    import torch

    from experiments import benchmark_torch, benchmark_torch_cycle_at

    set_policy(precision)
    keras.utils.set_random_seed(settings.seed)
    side = 32 if settings.tiny else SIDE
    images = [tf.random.stateless_uniform((batch_size, side, side, 3), (settings.seed, i)) for i in range(2)]
    batch = {"image": images[0], "auxiliary": images[1], "label": tf.zeros(batch_size, tf.int32)}
    models = {f"stage {stage}": build(stage, settings.tiny) for stage in (1, 2)}
    threads = tf.config.threading.get_intra_op_parallelism_threads() or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    twin = benchmark_torch_cycle_at.twin(models["stage 1"], precision.removeprefix("mixed_"))
    x_s, x_w = map(benchmark_torch.tensor, images)
    steps = {name: tf.function(model.train_step) for name, model in models.items()}
    runs = {"tensorflow": lambda: steps["stage 1"](batch), "torch": lambda: twin.train_step(x_s, x_w)}
    runs["stage 2"] = lambda: steps["stage 2"](batch)
    times = in_turns(runs, seconds, 1 if batch_size > 1 else settings.steps, settings.repeats, WARM_UP)
    later = times.pop("stage 2")
    longer = float(sorted(later / times["tensorflow"])[len(later) // 2])
    found = {**speeds(times, batch_size), "threads": threads, "parameters": twin.parameters()}
    return found | {"stage_2_takes": longer}


def measure(settings: Any, precisions: Sequence[str], seconds: Callable) -> dict[str, Any]:
    """{precision: {"1": ..., "8": ...}}, or a sentence that says why there is none."""
    if tf.config.list_physical_devices("GPU"):
        return {"skipped": "The comparison is the CPU's: run with CUDA_VISIBLE_DEVICES=-1 for it."}
    if importlib.util.find_spec("torch") is None:
        return {"skipped": "PyTorch is not installed: `pip install .[bench]` adds it."}
    wanted = [p for p in precisions if p in ("float32", "mixed_bfloat16")]
    try:
        rows = {p: {str(n): measure_batch(p, n, settings, seconds) for n in BATCHES} for p in wanted}
    finally:
        set_policy("float32")
    return {"torch": importlib.metadata.version("torch"), "beside_torch": rows}


def table(found: dict[str, Any]) -> list[str]:
    """The lines to print."""
    if "skipped" in found:
        return [found["skipped"]]
    lines = [f"{'step of stage I':<16}{'batch':>13}{'faces/s':>13}{'PyTorch':>13}{'ratio':>13}{'stage II takes':>16}"]
    for precision, rows in found["beside_torch"].items():
        for batch, row in rows.items():
            lines.append(
                f"{precision:<16}{batch:>13}{row['tensorflow']:>13.2f}{row['torch']:>13.2f}{row['ratio']:>12.2f}x"
                f"{row['stage_2_takes']:>15.2f}x"
            )
    return lines
