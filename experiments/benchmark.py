"""Measures how fast the pipeline, a model's training and its inference are, beside what the machine could do.

    python -m experiments.benchmark --preset=quick --model=fer_net

Two CPU cores: two minutes for `quick`, eight for IA-gen; `paper` repeats more. Speed varies with the machine
and its load, which is noted; the figures to compare are the ratios, each taken within one run:

    fed       steps a second with the real pipeline over steps a second on one cached batch (0.9 or more is wanted);
              "by CPU" takes seconds of CPU time instead, which other programs disturb less (a CPU's training only)
    of peak   the training step's multiplications and additions a second over those of a big matmul in that precision
    of OpenCV views the pipeline makes in a second of CPU time, shuffled batches of float32, over those of a plain loop
              that warps, slices and flips, and leaves bytes

What only one model has is measured by benchmark_<model>.py: the steps of IA-gen and CycleAT beside PyTorch's, IA-gen's
generators together, where CycleAT's time goes; --besides_only leaves out the rest.
Faces are random pixels, since no speed here depends on what they show. Writes <workdir>/benchmark.json.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import math
import os
import pkgutil
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags
from PIL import Image

from fer_tf import augment, faces, models, pipeline, training
from fer_tf.compat import PlayersModel, keras, set_policy
from fer_tf.records import CLASSES, Record

from .run import common

WARM_UP = 2
"""Steps before each timing, in which a fresh pipeline fills its buffers."""


def _flag(default: Any, words: str) -> Any:
    return field(default=default, metadata={"help": words})


@dataclass(frozen=True)
class Settings:
    """What is measured, and how long; each field is a flag."""

    model: str = _flag("fer_net", "Module of fer_tf/models.")
    tiny: bool = _flag(False, "Its tiny model rather than the paper's.")
    images: int = _flag(2560, "Random faces in the pipeline.")
    batch_size: int = _flag(100, "Views a training batch.")
    steps: int = _flag(4, "Training steps a repeat.")
    repeats: int = _flag(3, "A figure is the median of so many.")
    matmul: int = _flag(2048, "Side of the square matrices whose product stands for the machine's peak.")
    widths: str = _flag("1,0.25", "Of the generators that are compared together and apart (IA-gen).")
    precisions: str = _flag("", "Separated by commas; all that the hardware computes when empty.")
    besides_only: bool = _flag(False, "Only what benchmark_<model>.py measures, such as the comparison with PyTorch.")
    seed: int = _flag(0, "Of weights, faces and views.")


PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"images": 6400, "steps": 20, "repeats": 5, "matmul": 4096},
    "quick": {},
    "smoke": {"tiny": True, "images": 16, "batch_size": 8, "steps": 2, "repeats": 2, "matmul": 256, "widths": "0.1"},
}


def model_names() -> list[str]:
    """Names of the modules in fer_tf/models."""
    return sorted(module.name for module in pkgutil.iter_modules(models.__path__))


def precisions() -> list[str]:
    """Those that this hardware computes: bfloat16 on such a CPU or GPU, float16 on a GPU, float32 everywhere."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return list(dict.fromkeys(["float32", training.auto_precision()]))
    capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
    return ["float32", "mixed_float16", *(["mixed_bfloat16"] if capability >= (8, 0) else [])]


def build(module: ModuleType, tiny: bool) -> tuple[PlayersModel, dict[str, tf.Tensor], str]:
    """A compiled model, its tiny batch, and "paper" or "tiny": the latter also where a model needs arguments.

    A module's `full()` and `optimizer()` make the paper's model and what trains it, where its class alone does not.
    """
    model, batch = module.tiny()
    own = next(c for c in type(model).__mro__ if c.__module__ == module.__name__)
    needs = [p for p in inspect.signature(own).parameters.values() if p.default is p.empty and p.kind != p.VAR_KEYWORD]
    make = getattr(module, "full", None if needs else own)
    size = "tiny" if tiny or make is None else "paper"
    if size == "paper":
        model = make()
    optimizer = getattr(module, "optimizer", lambda: keras.optimizers.SGD(1e-3, momentum=0.9))
    model.compile(**{f"{name}_optimizer": optimizer() for name, _ in model.player_variables()})
    return model, batch, size


def recogniser(module: ModuleType, model: PlayersModel, size: str) -> PlayersModel:
    """What names a face: the model itself, or the one that is put together from several of its kind."""
    if hasattr(model, "classify"):
        return model
    return module.full_recogniser() if size == "paper" else module.tiny_recogniser()[0]


def besides(model: str) -> ModuleType | None:
    """experiments/benchmark_<model>.py, which measures what only this model has, or None."""
    name = f"experiments.benchmark_{model}"
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


class Feed:
    """Batches of random faces from the real pipeline, completed to what a model's step takes.

    Args:
      module: of the model: its TEMPLATE and views.
      example: the model's tiny batch: which pictures it takes, and the values of what no pipeline gives.
      classes: labels; none where the model takes none.
      settings: see there.
      resize: shrink the views to the size of the tiny batch's.
    Raises:
      ValueError: too few images for the steps.
    """

    def __init__(
        self, module: ModuleType, example: dict[str, tf.Tensor], classes: Any, settings: Settings, resize: bool
    ):
        numbers = np.random.default_rng(settings.seed)
        height, width = faces.TEMPLATES[module.TEMPLATE].size
        pictures = [name for name, value in example.items() if value.shape.rank == 4]
        channels = example["image"].shape[-1]
        pixels = numbers.integers(0, 256, (settings.images, height, width, 3), dtype=np.uint8)
        records = [
            Record(face, classes[i % len(classes)] if classes else None, subject=f"S{i % 10}", info={"framed": True})
            for i, face in enumerate(pixels)
        ]
        self.views, self.faces = module.views, pixels[..., 0]
        needed = (WARM_UP + settings.steps) * settings.batch_size
        numbered = hasattr(self.views, "__len__")
        self.data = pipeline.batches(
            records,
            classes=classes,
            template=module.TEMPLATE,
            views=self.views,
            batch_size=settings.batch_size,
            seed=settings.seed,
            views_per_image=None if numbered else -(-needed // settings.images),
            channels=channels,
            pairs={name: numbers.permutation(settings.images) for name in pictures},
        )
        if self.data.views_per_epoch < needed:
            least = -(-needed // len(self.views))
            raise ValueError(
                f"--images={settings.images} is too few for {settings.steps} steps: give --images={least}."
            )
        self.given = [*pictures, *(name for name in ("label", "index") if name in example)]
        places = np.arange(settings.batch_size) % len(example["image"])
        self.constant = {name: tf.gather(v, places) for name, v in example.items() if name not in self.given}
        self.sizes = {name: example[name].shape[1:3] for name in pictures} if resize else {}

    def stream(self, epoch: int) -> Iterator[dict[str, tf.Tensor]]:
        """Batches of an epoch, as the model takes them."""
        stream = self.data.epoch(epoch)
        if self.sizes:
            stream = stream.map(
                lambda b: {**b, **{name: tf.image.resize(b[name], size) for name, size in self.sizes.items()}}, 2
            )
        for batch in stream:
            yield {**self.constant, **{name: batch[name] for name in self.given}}


def seconds(run: Callable[[], Any], times: int) -> np.ndarray:
    """(wall, CPU of this process) seconds a call takes, means; `run` gives a tensor or a dict of such, waited for."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        tf.nest.map_structure(lambda tensor: tensor.numpy(), run())
    return np.array([time.perf_counter() - wall, time.process_time() - cpu]) / times


def flops(graph: tf.Graph) -> int:
    """Multiplications and additions of the convolutions and matrix products that a function's results depend on.

    Counted from static shapes, 2 for each multiply-add, so forward and backward passes of every player as they are.

    Raises:
      ValueError: a shape is not static; the message names the operation.
    """
    waiting = [tensor.op for tensor in graph.outputs] + list(graph.control_outputs)
    seen, total = set(), 0
    while waiting:
        op = waiting.pop()
        if op in seen:
            continue
        seen.add(op)
        waiting += [*(tensor.op for tensor in op.inputs), *op.control_inputs]
        if op.type in ("MatMul", "BatchMatMulV2"):
            transposed = op.get_attr("transpose_a" if op.type == "MatMul" else "adj_x")
            result, inner = op.outputs[0].shape, op.inputs[0].shape[-2 if transposed else -1]
            work = [*result, inner]
        elif op.type in ("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter"):
            kernel = op.outputs[0] if op.type == "Conv2DBackpropFilter" else op.inputs[1]
            result = op.outputs[0] if op.type == "Conv2D" else op.inputs[2]
            work = [*result.shape, *kernel.shape[:3]]
        else:
            continue
        if None in work:
            raise ValueError(f"The work of {op.name} ({op.type}) cannot be counted: its shapes are not static.")
        total += 2 * math.prod(work)
    return total


def matmul(side: int, precision: str) -> tuple[Callable[[], tf.Tensor], int]:
    """(a product of two square matrices in a precision's compute type, its multiplications and additions)."""
    dtype = tf.as_dtype(precision.removeprefix("mixed_"))
    left, right = (tf.cast(tf.random.stateless_normal((side, side), (side, i)), dtype) for i in range(2))
    product = tf.function(lambda a, b: tf.matmul(a, b)[0, 0])
    return lambda: product(left, right), 2 * side**3


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
        found = {"rss_mib": round(kib / 1024, 1)}
        if self.gpu:
            found["gpu_mib"] = round(tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20, 1)
        return found


def measure_training(precision: str, settings: Settings) -> dict[str, Any]:
    """Training, alone and fed by the pipeline, and inference of a new model in one precision."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(settings.seed)
    set_policy(precision)
    try:
        module, memory = importlib.import_module(f"fer_tf.models.{settings.model}"), Memory()
        model, example, size = build(module, settings.tiny)
        feed = Feed(module, example, getattr(model, "classes", CLASSES["seven"]), settings, resize=size == "tiny")
        cached = next(feed.stream(0))
        step, (product, work) = tf.function(model.train_step), matmul(settings.matmul, precision)
        count = flops(step.get_concrete_function(cached).graph)
        rounds = [_round(step, cached, feed.stream(i), product, settings.steps) for i in range(settings.repeats)]
        (alone, alone_cpu), (fed, fed_cpu), (peak, _) = np.transpose(rounds, (1, 2, 0))
        result = {
            "size": size,
            "parameters": sum(int(np.prod(v.shape)) for v in model.trainable_variables),
            "images_per_second": settings.batch_size / float(np.median(alone)),
            "images_per_second_fed": settings.batch_size / float(np.median(fed)),
            "fed_ratio": float(np.median(alone / fed)),
            "fed_ratio_cpu": float(np.median(alone_cpu / fed_cpu)),
            "step_gflop": count / 1e9,
            "matmul_gflop_per_second": work / 1e9 / float(np.median(peak)),
            "share_of_peak": float(np.median((count / alone) / (work / peak))),
        }
        names = recogniser(module, model, size)
        for faces_at_once in (1, 64):
            result[f"faces_per_second_{faces_at_once}"] = _inference(names, cached["image"], faces_at_once, settings)
        return result | memory.peak()
    finally:
        set_policy("float32")


def _round(step: Any, cached: Any, stream: Iterator[Any], product: Any, steps: int) -> list[np.ndarray]:
    """`seconds` of a step on the cached batch, of one fed by a pipeline that starts now, and of the product."""
    seconds(product, WARM_UP), seconds(lambda: step(cached), WARM_UP)
    peak, alone = seconds(product, 3), seconds(lambda: step(cached), steps)
    seconds(lambda: step(next(stream)), WARM_UP)
    return [alone, seconds(lambda: step(next(stream)), steps), peak]


def _inference(model: PlayersModel, images: tf.Tensor, count: int, settings: Settings) -> float:
    """Faces a second that the model classifies, `count` at once."""
    batch = tf.gather(images, np.arange(count) % len(images))
    classify = tf.function(model.classify)
    seconds(lambda: classify(batch), WARM_UP)
    return count / statistics.median(
        seconds(lambda: classify(batch), settings.steps)[0] for _ in range(settings.repeats)
    )


def measure_views(settings: Settings) -> dict[str, dict[str, float]]:
    """Views a second of wall and of CPU time: the pipeline alone, through to batches, and the plain loops."""
    module = importlib.import_module(f"fer_tf.models.{settings.model}")
    feed = Feed(module, {"image": tf.zeros((1, 1, 1, 1))}, CLASSES["seven"], settings, resize=False)
    epochs = iter(range(settings.repeats + 1))

    def epoch() -> int:
        return sum(len(batch["image"]) for batch in feed.data.epoch(next(epochs)))

    epoch()
    found = {"pipeline": _rate(epoch, settings.repeats)}
    if isinstance(feed.views, augment.Views):
        some = feed.faces[: min(64, len(feed.faces))]
        for name, turn in plain_turns().items():
            plain = lambda turn=turn: sum(len(plain_views(face, feed.views, turn)) for face in some)  # noqa: E731
            found[name] = _rate(plain, settings.repeats)
            found["pipeline"][f"of_{name}"] = found["pipeline"]["per_cpu_second"] / found[name]["per_cpu_second"]
    return found


def _rate(run: Callable[[], int], repeats: int) -> dict[str, float]:
    """Medians of what `run` counts per second and per second of CPU time of this process."""
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        count = run()
        walls.append(count / (time.perf_counter() - wall))
        cpus.append(count / (time.process_time() - cpu))
    return {"per_second": statistics.median(walls), "per_cpu_second": statistics.median(cpus)}


def plain_turns() -> dict[str, Callable[[np.ndarray, float], np.ndarray]]:
    """Library name -> rotation of a (H, W) uint8 face by degrees counter-clockwise: Pillow, and OpenCV if installed."""
    turns = {"pillow": lambda face, angle: np.asarray(Image.fromarray(face).rotate(angle, Image.Resampling.BILINEAR))}
    try:
        import cv2
    except ImportError:
        return turns
    cv2.setNumThreads(1)

    def turn(face: np.ndarray, angle: float) -> np.ndarray:
        height, width = face.shape
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
        return cv2.warpAffine(face, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)

    return {"opencv": turn, **turns}


def plain_views(
    face: np.ndarray, views: augment.Views, turn: Callable[[np.ndarray, float], np.ndarray]
) -> list[np.ndarray]:
    """All views of one (H, W) uint8 face in the order of the index, as a straightforward loop makes them."""
    (height, width), found = views.size, []
    corners = augment.crop_offsets(views.source, views.size)
    if views.crop_first:
        crops = [face[top : top + height, left : left + width] for top, left in corners]
        plain = [turn(crop, angle) for crop in crops for angle in views.angles]
    else:
        turned = [turn(face, angle) for angle in views.angles]
        plain = [whole[top : top + height, left : left + width] for whole in turned for top, left in corners]
    for view in plain:
        found += [view.copy(), view[:, ::-1].copy()]
    return found


def table(result: dict[str, Any]) -> str:
    """The result in columns of fixed width."""
    lines = [
        f"{result['hardware']}, commit {result['commit']}, load {result['load_before'][0]:.1f} to "
        f"{result['load_after'][0]:.1f}",
        ", ".join(f"{name} {version}" for name, version in result["versions"].items()),
    ]
    if "training" in result:
        lines += _speeds(result)
    if "besides" in result:
        lines += besides(result["settings"]["model"]).table(result["besides"])
    return "\n".join(lines)


def _speeds(result: dict[str, Any]) -> list[str]:
    """The table's lines of what every model has."""
    columns = (
        ("images/s", "images_per_second", ".1f"),
        ("fed", "fed_ratio", ".3f"),
        ("fed, by CPU", "fed_ratio_cpu", ".3f"),
        ("of peak", "share_of_peak", ".3f"),
        ("GFLOP/s", "matmul_gflop_per_second", ".0f"),
        ("faces/s @1", "faces_per_second_1", ".1f"),
        ("faces/s @64", "faces_per_second_64", ".1f"),
        ("RSS MiB", "rss_mib", ".0f"),
        ("GPU MiB", "gpu_mib", ".0f"),
    )
    shown = [c for c in columns if any(c[1] in row for row in result["training"].values())]
    first = next(iter(result["training"].values()))
    lines = [
        f"{result['settings']['model']} ({first['size']}, {first['parameters'] / 1e6:.2f} M parameters, "
        f"{first['step_gflop']:.3g} GFLOP a step of {result['settings']['batch_size']})",
        f"{'training':<16}" + "".join(f"{title:>13}" for title, _, _ in shown),
    ]
    for precision, row in result["training"].items():
        lines.append(f"{precision:<16}" + "".join(f"{format(row[key], form):>13}" for _, key, form in shown))
    lines.append(f"{'views':<16}{'per s':>13}{'per CPU-s':>13}{'pipeline is':>13}")
    for name, row in result["views"].items():
        ratio = result["views"]["pipeline"].get(f"of_{name}")
        lines.append(
            f"{name:<16}{row['per_second']:>13.0f}{row['per_cpu_second']:>13.0f}"
            + (f"{ratio:>12.2f}x" if ratio else "")
        )
    return lines


def measure(settings: Settings) -> dict[str, Any]:
    """Everything, or with --besides_only what only this model has; in the shape of benchmark.json.

    Raises:
      ValueError: an unknown model or precision, too few images, or nothing that only this model has.
    """
    if settings.model not in model_names():
        raise ValueError(f"Unknown model {settings.model!r}: use one of {', '.join(model_names())}.")
    wanted = [name.strip() for name in settings.precisions.split(",") if name.strip()] or precisions()
    unknown = [name for name in wanted if name not in training.PRECISIONS[1:]]
    if unknown:
        raise ValueError(
            f"Unknown precisions {unknown}: use {', '.join(training.PRECISIONS[1:])}, separated by commas."
        )
    packages, more, usual = ("tensorflow", "keras", "numpy"), besides(settings.model), not settings.besides_only
    if not usual and more is None:
        raise ValueError(f"--besides_only: nothing is measured of {settings.model} alone, so leave that flag out.")
    return {
        "schema": 1,
        "settings": asdict(settings),
        "hardware": common.hardware(),
        "versions": {"python": platform.python_version(), **{p: importlib.metadata.version(p) for p in packages}},
        "commit": common.commit(),
        "load_before": os.getloadavg(),
        **({"views": measure_views(settings)} if usual else {}),
        **({"training": {p: measure_training(p, settings) for p in wanted}} if usual else {}),
        **({"besides": more.measure(settings, wanted, seconds)} if more else {}),
        "load_after": os.getloadavg(),
    }


def define_flags() -> None:
    """One flag for each field of Settings, --preset and --workdir."""
    flags.DEFINE_enum("preset", "quick", list(PRESETS), "Values for all flags that are not given.")
    flags.DEFINE_string("workdir", None, "Where benchmark.json goes; runs/benchmark_<preset> when left out.")
    define = {"bool": flags.DEFINE_bool, "int": flags.DEFINE_integer, "str": flags.DEFINE_string}
    for f in fields(Settings):
        bound = {"lower_bound": 0 if f.name == "seed" else 1} if f.type == "int" else {}
        define[f.type](f.name, f.default, f.metadata["help"], **bound)


def main() -> None:
    """Measures, writes, prints."""
    folder = Path(flags.FLAGS.workdir or f"runs/benchmark_{flags.FLAGS.preset}")
    folder.mkdir(parents=True, exist_ok=True)
    result = measure(Settings(**{field.name: flags.FLAGS[field.name].value for field in fields(Settings)}))
    common.write_json(folder / "benchmark.json", result)
    print(table(result))


if __name__ == "__main__":
    define_flags()
    common.run(main, PRESETS)
