"""Measures how fast the pipeline, a model's training and its inference are, beside what the machine could do.

    python -m experiments.benchmark --preset=quick --model=fer_net

Two CPU cores: two minutes for `quick`, eight for IA-gen; `paper` repeats more. Speed varies with the machine
and its load, which is noted; the figures to compare are the ratios, each taken within one run:

    fed       steps a second with the real pipeline over steps a second on one cached batch (0.9 or more is wanted);
              "by CPU" takes seconds of CPU time instead, which other programs disturb less (a CPU's training only)
    of peak   the training step's multiplications and additions a second over those of a big matmul in that precision
    of OpenCV views the pipeline makes in a second of CPU time, shuffled batches of float32, over those of a plain loop
              that warps, slices and flips, and leaves bytes

What only one model has is measured by parts/benchmark/<model>.py: the steps of IA-gen and CycleAT beside PyTorch's,
IA-gen's generators together, where CycleAT's time goes; --besides_only leaves out the rest.
Faces are random pixels, since no speed here depends on what they show. Writes <workdir>/benchmark.json.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import pkgutil
import platform
from pathlib import Path
from types import ModuleType
from typing import Any

import tensorflow as tf

from fer_tf import files, models, training

from .parts.benchmark import steps, views
from .run import command_line, provenance, settings
from .run.settings import bound, setting

PRESETS = {
    "paper": {"images": 6400, "steps": 20, "repeats": 5, "matmul": 4096},
    "quick": {},
    "smoke": {"tiny": True, "images": 16, "batch_size": 8, "steps": 2, "repeats": 2, "matmul": 256,
              "widths": ("0.1",)},
}  # fmt: skip


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
    model: str = setting("fer_net", "Module of fer_tf/models.", choices=model_names())
    tiny: bool = setting(False, "Its tiny model rather than the paper's.")
    images: int = setting(2560, "Random faces in the pipeline.", low=1)
    batch_size: int = setting(100, "Views a training batch.", low=1)
    steps: int = setting(4, "Training steps a repeat.", low=1)
    repeats: int = setting(3, "A figure is the median of so many.", low=1)
    matmul: int = setting(2048, "Side of the square matrices whose product stands for the machine's peak.", low=1)
    widths: tuple[str, ...] = setting(("1", "0.25"), "Of the generators that are compared together and apart (IA-gen).")
    precisions: tuple[str, ...] = setting((), "All that the hardware computes when empty.")
    besides_only: bool = setting(False, "Only what parts/benchmark/<model>.py measures, such as PyTorch beside.")
    seed: int = setting(0, "Of weights, faces and views.", low=0)


def precisions() -> list[str]:
    """Those that this hardware computes: bfloat16 on such a CPU or GPU, float16 on a GPU, float32 everywhere."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return list(dict.fromkeys(["float32", training.auto_precision()]))
    capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
    return ["float32", "mixed_float16", *(["mixed_bfloat16"] if capability >= (8, 0) else [])]


def besides(model: str) -> ModuleType | None:
    """parts/benchmark/<model>.py, which measures what only this model has, or None."""
    name = f"{__package__}.parts.benchmark.{model}"
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


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
      ValueError: an unknown precision, too few images, or nothing that only this model has.
    """
    known, wanted = training.PRECISIONS[1:], settings.precisions or precisions()
    if unknown := [name for name in wanted if name not in known]:
        raise ValueError(f"Unknown precisions {unknown}: use {', '.join(known)}, separated by commas.")
    packages, more, usual = ("tensorflow", "keras", "numpy"), besides(settings.model), not settings.besides_only
    if not usual and more is None:
        raise ValueError(f"--besides_only: nothing is measured of {settings.model} alone, so leave that flag out.")
    return {
        "schema": 1,
        "settings": bound(settings),
        "hardware": provenance.hardware(),
        "versions": {"python": platform.python_version(), **{p: importlib.metadata.version(p) for p in packages}},
        "commit": provenance.commit(),
        "load_before": os.getloadavg(),
        **({"views": views.measure(settings)} if usual else {}),
        **({"training": {p: steps.measure(p, settings) for p in wanted}} if usual else {}),
        **({"besides": more.measure(settings, wanted)} if more else {}),
        "load_after": os.getloadavg(),
    }


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
