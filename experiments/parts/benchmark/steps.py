"""Training steps, alone and fed by the pipeline, and inference: speed, work and memory of a model in one precision."""

from __future__ import annotations

import contextlib
import importlib
import resource
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from fer_tf.compat import PlayersModel, keras, set_policy
from fer_tf.records import CLASSES

from . import feed
from .clock import WARM_UP, seconds
from .operations import flops, matmul


class Memory:
    """The most memory in use since it was made, in MiB: of the process, and of the first GPU where there is one."""

    def __init__(self) -> None:
        self.gpu = bool(tf.config.list_physical_devices("GPU"))
        if self.gpu:
            tf.config.experimental.reset_memory_stats("GPU:0")
        with contextlib.suppress(OSError):  # sets the high-water mark back; else it is that since the process began
            Path("/proc/self/clear_refs").write_text("5")

    def peak(self) -> dict[str, float]:
        """rss_mib, and gpu_mib on a GPU."""
        status = Path("/proc/self/status")
        lines = status.read_text().splitlines() if status.is_file() else []
        kib = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), None)
        if kib is None:
            kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
        most = {"rss_mib": round(kib / 1024, 1)}
        if self.gpu:
            most["gpu_mib"] = round(tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20, 1)
        return most


def measure(precision: str, settings: Any) -> dict[str, Any]:
    """Training, alone and fed by the pipeline, and inference of a new model in one precision."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(settings.seed)
    set_policy(precision)
    try:
        module, memory = importlib.import_module(f"fer_tf.models.{settings.model}"), Memory()
        model, example, size = feed.build(module, settings.tiny)
        classes = getattr(model, "classes", CLASSES["seven"])
        fed_by = feed.Feed(module, example, classes, settings, resize=size == "tiny")
        cached = next(fed_by.stream(0))
        result = {
            "size": size,
            "parameters": sum(int(np.prod(v.shape)) for v in model.trainable_variables),
            **_training(model, cached, fed_by.stream, precision, settings),
        }
        names = feed.recogniser(module, model, size)
        for faces_at_once in (1, 64):
            result[f"faces_per_second_{faces_at_once}"] = _inference(names, cached["image"], faces_at_once, settings)
        return result | memory.peak()
    finally:
        set_policy("float32")


def _training(
    model: PlayersModel, cached: Any, stream: Callable[[int], Iterator[Any]], precision: str, settings: Any
) -> dict[str, float]:
    """Images a second on one cached batch and fed by a pipeline, medians, and their work beside the machine's peak."""
    step, (product, work) = tf.function(model.train_step), matmul(settings.matmul, precision)
    count = flops(step.get_concrete_function(cached).graph)
    rounds = [_round(step, cached, stream(i), product, settings.steps) for i in range(settings.repeats)]
    (alone, alone_cpu), (fed, fed_cpu), (peak, _) = np.transpose(rounds, (1, 2, 0))
    return {
        "images_per_second": settings.batch_size / float(np.median(alone)),
        "images_per_second_fed": settings.batch_size / float(np.median(fed)),
        "fed_ratio": float(np.median(alone / fed)),
        "fed_ratio_cpu": float(np.median(alone_cpu / fed_cpu)),
        "step_gflop": count / 1e9,
        "matmul_gflop_per_second": work / 1e9 / float(np.median(peak)),
        "share_of_peak": float(np.median((count / alone) / (work / peak))),
    }


def _round(step: Any, cached: Any, stream: Iterator[Any], product: Any, steps: int) -> list[np.ndarray]:
    """`seconds` of a step on the cached batch, of one fed by a pipeline that starts now, and of the product."""
    seconds(product, WARM_UP), seconds(lambda: step(cached), WARM_UP)
    peak, alone = seconds(product, 3), seconds(lambda: step(cached), steps)
    seconds(lambda: step(next(stream)), WARM_UP)
    return [alone, seconds(lambda: step(next(stream)), steps), peak]


def _inference(model: PlayersModel, images: tf.Tensor, count: int, settings: Any) -> float:
    """Faces a second that the model classifies, `count` at once."""
    batch = tf.gather(images, np.arange(count) % len(images))
    classify = tf.function(model.classify)
    seconds(lambda: classify(batch), WARM_UP)
    return count / statistics.median(
        seconds(lambda: classify(batch), settings.steps)[0] for _ in range(settings.repeats)
    )
