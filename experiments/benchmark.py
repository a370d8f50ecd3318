"""Measures how fast pipeline, training and inference are, beside PyTorch and what the machine could do.

    python -m experiments.benchmark --preset=quick --model=fer_net
    python -m experiments.benchmark --preset=quick --model=all

Two CPU cores: two minutes for `quick`, eight for IA-gen. A GPU: within ten minutes, --model=all too: what comes last
is left out then, and the table says so; `paper` repeats more. Speed varies with the machine and its load, which is
noted; the figures to compare are the ratios, each taken within one run:

    ours, ms    a training step on one cached batch as `training.fit` makes it: XLA as --xla says, so many steps a call
    compiling   seconds before the first step is over
    ours is     how many times as fast as the fastest of PyTorch: the same nets, losses and updates, run eagerly, by
                `torch.compile`, and with CUDA graphs; `.[bench]`. TF32 in both where TensorFlow's float32 is that
    of peak     its multiplications and additions a second over those of a big matmul in that precision; PyTorch's too
    fed         steps a second with the real pipeline over steps a second on the cached batch (0.9 or more is wanted);
                "resident" with faces that the device keeps; "by CPU" takes seconds of CPU time instead, which other
                programs disturb less (a CPU's training only)
    MiB         a GPU's memory at the most, with the weights; PyTorch's way that is fastest
    of OpenCV   views the pipeline makes in a second of CPU time, shuffled batches of float32, over those of a plain
                loop that warps, slices and flips, and leaves bytes

What only one model has is measured by parts/benchmark/<model>.py: IA-gen's generators together, where CycleAT's time
goes; --besides_only leaves out views, feeding and inference. Faces are random pixels, since no speed here depends on
what they show. Writes <workdir>/benchmark.json.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import os
import pkgutil
import platform
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import tensorflow as tf

from fer_tf import devices, files, models, training

from .parts.benchmark import beside_torch, steps, tables, views
from .parts.benchmark.clock import Watch
from .run import command_line, provenance, settings
from .run.settings import bound, setting

PRESETS = {
    "paper": {"images": 6400, "steps": 20, "repeats": 5, "matmul": 4096},
    "quick": {},
    "smoke": {"tiny": True, "images": 16, "batch_size": 8, "steps": 2, "repeats": 2, "matmul": 256,
              "widths": ("0.1",)},
}  # fmt: skip
MINUTES = 9.0
"""All models on a GPU, unless --minutes says otherwise: the last part that fits ends within ten."""
BESIDES = 30.0
"""Seconds that must be left for what only one model has."""


def model_names() -> list[str]:
    """Names of the modules in fer_tf/models."""
    return sorted(module.name for module in pkgutil.iter_modules(models.__path__))


@settings.command(PRESETS)
class Settings(settings.Base):
    """What is measured, and how long."""

    preset: str = setting("quick", "Values for all flags that are not given.")
    workdir: str | None = setting(
        None, "Where benchmark.json goes; runs/benchmark_<preset> when left out.", free=True, place="path"
    )
    model: str = setting(
        "fer_net", "Module of fer_tf/models; all: one after the other.", choices=(*model_names(), "all")
    )
    tiny: bool = setting(False, "Its tiny model rather than the paper's.")
    images: int = setting(2560, "Random faces in the pipeline.", low=1)
    batch_size: int = setting(
        0, "Views a training batch; 0: 4 for CycleAT, else 64, and on a GPU 128 for FER-Net, 100 for IA-gen.", low=0
    )
    steps: int = setting(4, "Training steps a repeat; more on a GPU.", low=1)
    repeats: int = setting(3, "A figure is the median of so many.", low=1)
    matmul: int = setting(
        2048, "Side of the square matrices whose product stands for the machine's peak; 4 times that on a GPU.", low=1
    )
    widths: tuple[str, ...] = setting(("1", "0.25"), "Of the generators that are compared together and apart (IA-gen).")
    precisions: tuple[str, ...] = setting((), "All that the hardware computes when empty; no float16 for all models.")
    device: str = setting("auto", "Where to compute; auto: on a GPU that TensorFlow can use.", choices=devices.DEVICES)
    xla: str = setting("auto", "Compile steps by XLA; auto: where there is a GPU.", choices=training.XLA)
    without_xla: bool = setting(False, "The step without XLA too: on a GPU a minute in which cuDNN is tried out.")
    steps_per_call: int = setting(0, "Of the training loop; 0: 20 on a GPU, 1 on a CPU.", low=0)
    torch_compile: str = setting("auto", "PyTorch's compiler, too; auto: on a GPU.", choices=("auto", "on", "off"))
    minutes: float = setting(0.0, "After which what comes last is left out; 0: 9 for all models on a GPU.", low=0)
    besides_only: bool = setting(False, "Only the step beside PyTorch, and what parts/benchmark/<model>.py measures.")
    seed: int = setting(0, "Of weights, faces and views.", low=0)


def precisions(every_model: bool = False) -> list[str]:
    """Those that this hardware computes: bfloat16 on such a CPU or GPU, float16 on a GPU, float32 everywhere.

    Args:
      every_model: leave float16 out, which takes as long and is compared with nothing.
    """
    gpus = devices.gpus()
    if not gpus:
        return list(dict.fromkeys(["float32", training.auto_precision()]))
    capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
    half = ["mixed_bfloat16"] if capability >= (8, 0) else []
    return ["float32", *([] if every_model and half else ["mixed_float16"]), *half]


def besides(model: str) -> ModuleType | None:
    """parts/benchmark/<model>.py, which measures what only this model has, or None."""
    name = f"{__package__}.parts.benchmark.{model}"
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


def table(result: dict[str, Any]) -> str:
    """The result in columns of fixed width: every model's steps, and of one model all there is."""
    lines = [*tables.head(result), *tables.steps(result["models"])]
    for name, one in result["models"].items():
        if len(result["models"]) == 1 and not result["settings"]["besides_only"]:
            lines += tables.details(name, one)
        lines += tables.views(one["views"]) if "views" in one and len(result["models"]) == 1 else []
        lines += besides(name).table(one["besides"]) if "besides" in one else []
    return "\n".join(lines)


def share_memory() -> None:
    """TensorFlow takes of a GPU's memory what it needs alone, so that PyTorch has some."""
    for gpu in devices.gpus():
        with contextlib.suppress(RuntimeError):  # in use already
            tf.config.experimental.set_memory_growth(gpu, True)


def measure(settings: Settings) -> dict[str, Any]:
    """Everything, in the shape of benchmark.json.

    Raises:
      ValueError: an unknown precision, or too few images.
      devices.Refused: a GPU is asked for that cannot be used.
    """
    begun, every = time.time(), settings.model == "all"
    known = training.PRECISIONS[1:]
    if unknown := [name for name in settings.precisions if name not in known]:
        raise ValueError(f"Unknown precisions {unknown}: use {', '.join(known)}, separated by commas.")
    share_memory()
    training.setup(seed=settings.seed, precision="float32", xla=settings.xla, device=settings.device)
    wanted, names = settings.precisions or precisions(every), model_names() if every else [settings.model]
    watch = Watch(settings.minutes or (MINUTES if every and devices.gpus() else 0.0))
    packages, load = ("tensorflow", "keras", "numpy"), os.getloadavg()
    parts = {name: _measure(name, len(names) - i, wanted, settings, watch) for i, name in enumerate(names)}
    return {
        "schema": 2,
        "settings": bound(settings),
        "hardware": provenance.hardware(),
        "versions": {
            "python": platform.python_version(),
            **{p: importlib.metadata.version(p) for p in packages},
            **beside_torch.version(),
        },
        "commit": provenance.commit(),
        "load_before": load,
        "models": parts,
        "load_after": os.getloadavg(),
        "seconds": round(time.time() - begun, 1),
    }


def _measure(name: str, left: int, wanted: Any, settings: Settings, watch: Watch) -> dict[str, Any]:
    """One model: views, training in each precision, and what it alone has.

    Args:
      left: models that are not measured yet, with this one.
    """
    result: dict[str, Any] = {}
    more = besides(name)
    if not settings.besides_only:
        watch.say(f"{name}: views")
        result["views"] = views.measure(name, settings)
    result["training"] = {}
    for i, precision in enumerate(wanted):
        watch.share(left * len(wanted) - i)
        result["training"][precision] = steps.measure(name, precision, settings, watch)
    if more and watch.room(BESIDES):
        result["besides"] = more.measure(settings, wanted, watch)
    return result


def run(settings: Settings) -> Path:
    """Measures, writes, prints; gives benchmark.json."""
    folder = Path(settings.workdir or f"runs/benchmark_{settings.preset}")
    folder.mkdir(parents=True, exist_ok=True)
    result = measure(settings)
    files.write_json(folder / "benchmark.json", result)
    print(table(result))
    return folder / "benchmark.json"


if __name__ == "__main__":
    command_line.main(Settings, run)
