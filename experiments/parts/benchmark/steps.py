"""Training steps, alone, fed and beside PyTorch, and inference: speed, work and memory of a model in one precision."""

from __future__ import annotations

import contextlib
import importlib
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from fer_tf import devices
from fer_tf.compat import PlayersModel, keras, set_policy, xla
from fer_tf.records import CLASSES
from fer_tf.steps import Steps
from fer_tf.training import STEPS_PER_CALL

from . import beside_torch, feed
from .clock import LEAST, WARM_UP, Run, Watch, both_in_turns, seconds, wait
from .operations import flops, matmul

SIDE_ON_GPU = 4
"""Times --matmul: a GPU's peak shows with larger matrices."""


class Memory:
    """The most memory in use since it was made, in MiB: of the process, and of the first GPU where there is one."""

    def __init__(self) -> None:
        self.gpu = bool(devices.gpus())
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


def measure(name: str, precision: str, settings: Any, watch: Watch) -> dict[str, Any]:
    """Training, alone, fed by the pipeline and beside PyTorch, and inference of a new model in one precision."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(settings.seed)
    set_policy(precision)
    try:
        watch.say(f"{name} {precision}: the model and its faces")
        module, memory = importlib.import_module(f"fer_tf.models.{name}"), Memory()
        model, example, size = feed.build(module, settings.tiny)
        parts = (name, module, example, getattr(model, "classes", CLASSES["seven"]), settings, size == "tiny")
        feeds, left_out = {"host": feed.Feed(*parts)}, {}
        result = {
            "size": size,
            "batch_size": feeds["host"].batch_size,
            "parameters": sum(int(np.prod(v.shape)) for v in model.trainable_variables),
        }
        cached = feed.Cached(feeds["host"])
        if feed.can_be_resident() and (devices.gpus() or settings.tiny):  # a CPU keeps its faces at hand anyway
            try:
                feeds["resident"] = feed.Feed(*parts, device="resident")
            except ValueError as error:
                left_out["resident"] = str(error)
        result |= training(name, model, cached, feeds, precision, settings, watch)
        result["left_out"] |= left_out
        if not settings.besides_only and watch.room():
            watch.say(f"{name} {precision}: inference")
            names = feed.recogniser(module, model, size)
            for faces in (1, 64):
                result[f"faces_per_second_{faces}"] = _inference(names, cached.batch["image"], faces, settings)
        return result | memory.peak()
    finally:
        set_policy("float32")


class Fed:
    """Calls of the training loop on some data, epoch after epoch.

    Args:
      model: compiled.
      data: for `Steps`.
      per_call: steps a call.
      like: of the same signature, whose compiled step serves for both.
    """

    def __init__(self, model: PlayersModel, data: Any, per_call: int, like: Fed | None = None):
        kind = feed.OnOneBatch if isinstance(data, feed.Cached) else Steps
        self.steps, self.per_call, self.number = kind(model, data, tf.distribute.get_strategy(), per_call), per_call, 0
        if like is not None and not self.steps.resident:
            self.steps.compiled = like.steps.compiled
        self.calls: Any = iter(())

    def start(self) -> None:
        """Begins an epoch, with a pipeline that has filled no buffers beforehand, and warms up."""
        self.calls = self.steps.epoch(self.number, 0, lambda step: step + self.per_call)
        self.number += 1
        for _ in range(WARM_UP):
            self()

    def __call__(self) -> Any:
        """The next call of the epoch, or of a new one."""
        call = next(self.calls, None)
        if call is None:
            self.start()
            call = next(self.calls)
        return call


def training(
    name: str, model: PlayersModel, cached: Any, feeds: dict[str, Any], precision: str, settings: Any, watch: Watch
) -> dict[str, Any]:
    """The step as trained on one cached batch, fed, without XLA, and in PyTorch, each beside the machine's peak."""
    on_gpu = bool(devices.gpus())
    per_call = settings.steps_per_call or (STEPS_PER_CALL if on_gpu else 1)
    watch.say(f"{name} {precision}: the step as trained" + ", compiled by XLA" * model.xla)
    result: dict[str, Any] = {"steps_per_call": per_call, "left_out": {}}
    plain = tf.function(model.train_step)
    count = flops(plain.get_concrete_function(cached.batch).graph)
    result |= {"step_gflop": count / 1e9, "xla": bool(model.xla)}
    alone = compiled(model, cached, per_call, result)
    runs = {"alone": Run(alone)}
    if on_gpu:
        result["step_gpu_mib"] = tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20
    product, work = matmul(settings.matmul * (SIDE_ON_GPU if on_gpu else 1), precision)
    runs["peak"] = Run(product)
    for kind, data in feeds.items() if not settings.besides_only else ():
        fed = Fed(model, data, per_call, alone)
        runs[kind] = Run(fed, fed.start)
    beside, facts = beside_torch.contestants(name, model, cached.batch, precision, settings, watch)
    runs |= {f"torch {kind}": Run(call) for kind, call in beside.items()}
    if model.xla and settings.without_xla and watch.room():
        watch.say(f"{name} {precision}: the step without XLA")
        runs["plain"] = Run(lambda: plain(cached.batch))
    watch.say(f"{name} {precision}: {settings.repeats} rounds of {', '.join(runs)}")
    walls, cpus = both_in_turns(runs, settings.steps, settings.repeats, least=LEAST if on_gpu else 0.0)
    ours, peak = walls["alone"], work / walls["peak"]
    result |= _rates(walls, cpus, cached.batch_size)
    result["matmul_gflop_per_second"] = float(np.median(peak)) / 1e9
    result["share_of_peak"] = float(np.median((count / ours) / peak))
    if beside:
        times = {kind: walls[f"torch {kind}"] for kind in beside}
        facts = beside_torch.summary(times, facts, ours)
        facts["share_of_peak"] = float(np.median((count / times[facts["best"]]) / peak))
    return result | {"torch": facts}


def _rates(walls: dict[str, np.ndarray], cpus: dict[str, np.ndarray], batch_size: int) -> dict[str, float]:
    """What follows from seconds a step: milliseconds, images a second, and the ratios of what is fed."""
    alone = walls["alone"]
    rates = {"ms": 1e3 * float(np.median(alone)), "images_per_second": batch_size / float(np.median(alone))}
    if "plain" in walls:
        rates["ms_without_xla"] = 1e3 * float(np.median(walls["plain"]))
    for kind, ending in (("host", ""), ("resident", "_resident")):
        if kind in walls:
            rates[f"images_per_second_fed{ending}"] = batch_size / float(np.median(walls[kind]))
            rates[f"fed_ratio{ending}"] = float(np.median(alone / walls[kind]))
            rates[f"fed_ratio_cpu{ending}"] = float(np.median(cpus["alone"] / cpus[kind]))
    return rates


def compiled(model: PlayersModel, cached: Any, per_call: int, result: dict[str, Any]) -> Fed:
    """The training loop on the cached batch, warm; without XLA where that fails, which `result` then says."""
    for _ in range(2):
        fed = Fed(model, cached, per_call)
        try:
            begun = time.perf_counter()
            fed.start()
            result["compiling_s"] = time.perf_counter() - begun
            return fed
        except tf.errors.OpError as error:
            if not model.xla:
                raise
            result["left_out"]["XLA"] = error.message.strip().splitlines()[0][:200]
            model.xla = result["xla"] = False
    raise RuntimeError("The step fails with XLA and without.")


def _inference(model: PlayersModel, images: tf.Tensor, count: int, settings: Any) -> float:
    """Faces a second that the model classifies, `count` at once; each answer is waited for."""
    batch = tf.gather(images, np.arange(count) % len(images))
    classify = tf.function(model.classify, jit_compile=xla() or None)

    def answer() -> None:
        wait(classify(batch))

    seconds(answer, WARM_UP)
    return count / statistics.median(seconds(answer, settings.steps)[0] for _ in range(settings.repeats))
