"""What the benchmark measured, in columns of fixed width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KINDS = {"eager": "PyTorch", "compiled": "compiled", "graphs": "CUDA graphs"}
"""Of PyTorch's steps -> its column."""


def head(result: Mapping[str, Any]) -> list[str]:
    """Hardware, commit, load and versions."""
    return [
        f"{result['hardware']}, commit {result['commit']}, load {result['load_before'][0]:.1f} to "
        f"{result['load_after'][0]:.1f}, {result['seconds']:.0f} s",
        ", ".join(f"{name} {version}" for name, version in result["versions"].items()),
    ]


def steps(models: Mapping[str, Any]) -> list[str]:
    """Milliseconds of a training step: ours as trained and without XLA, PyTorch's, and how they compare."""
    rows = [(name, p, row) for name, one in models.items() for p, row in one.get("training", {}).items()]
    if not rows:
        return []
    numbers = {
        "batch": lambda row: row["batch_size"],
        "ours, ms": lambda row: row["ms"],
        "compiling": lambda row: row.get("compiling_s"),
        "without XLA": lambda row: row.get("ms_without_xla"),
        **{title: lambda row, kind=kind: row["torch"].get("ms", {}).get(kind) for kind, title in KINDS.items()},
        "ours is": lambda row: row["torch"].get("ratio"),
        "of peak": lambda row: row["share_of_peak"],
        "PyTorch's": lambda row: row["torch"].get("share_of_peak"),
        "fed": lambda row: row.get("fed_ratio"),
        "resident": lambda row: row.get("fed_ratio_resident"),
        "MiB": lambda row: row.get("step_gpu_mib"),
        "PyTorch MiB": lambda row: row["torch"].get("memory", {}).get(row["torch"].get("best")),
    }
    shown = {title: value for title, value in numbers.items() if any(value(row) is not None for *_, row in rows)}
    lines = [f"{'training step':<28}" + "".join(f"{title:>13}" for title in shown)]
    for name, precision, row in rows:
        cells = "".join(f"{_cell(title, value(row)):>13}" for title, value in shown.items())
        lines.append(f"{name + ', ' + precision:<28}{cells}")
    return lines + _remarks(rows)


def _cell(title: str, value: float | None) -> str:
    """A number as its column shows it, or a dash."""
    if value is None:
        return "-"
    form = {"batch": ".0f", "ours is": ".2f", "MiB": ".0f", "compiling": ".0f", "PyTorch MiB": ".0f"}.get(title, ".3f")
    form = ".2f" if title in ("ours, ms", "without XLA", *KINDS.values()) else form
    return format(value, form) + "x" * (title == "ours is")


def _remarks(rows: list[tuple[str, str, Any]]) -> list[str]:
    """Why there is no figure where there is none; each sentence once, with what it is about."""
    about: dict[str, list[str]] = {}
    for name, precision, row in rows:
        left = {f"PyTorch, {kind}": words for kind, words in row["torch"].get("left_out", {}).items()}
        left |= {"PyTorch": row["torch"]["skipped"]} if "skipped" in row["torch"] else {}
        for what, words in {**row.get("left_out", {}), **left}.items():
            about.setdefault(f"{what}: {words}", []).append(f"{name} in {precision}")
    everything = len(rows)
    return [words if len(whom) == everything else f"{words} ({', '.join(whom)})" for words, whom in about.items()]


def details(model: str, one: Mapping[str, Any]) -> list[str]:
    """Speeds of one model that the table of all leaves out."""
    columns = (
        ("images/s", "images_per_second", ".1f"),
        ("fed, by CPU", "fed_ratio_cpu", ".3f"),
        ("GFLOP/s", "matmul_gflop_per_second", ".0f"),
        ("faces/s @1", "faces_per_second_1", ".1f"),
        ("faces/s @64", "faces_per_second_64", ".1f"),
        ("RSS MiB", "rss_mib", ".0f"),
        ("GPU MiB", "gpu_mib", ".0f"),
    )
    rows = one["training"]
    shown = [c for c in columns if any(c[1] in row for row in rows.values())]
    first = next(iter(rows.values()))
    lines = [
        f"{model} ({first['size']}, {first['parameters'] / 1e6:.2f} M parameters, "
        f"{first['step_gflop']:.3g} GFLOP a step of {first['batch_size']}, {first['steps_per_call']} steps a call)",
        f"{'training':<28}" + "".join(f"{title:>13}" for title, _, _ in shown),
    ]
    for precision, row in rows.items():
        cells = (format(row[key], form) if key in row else "-" for _, key, form in shown)
        lines.append(f"{precision:<28}" + "".join(f"{cell:>13}" for cell in cells))
    return lines


def views(rates: Mapping[str, Any]) -> list[str]:
    """Views a second, the pipeline's and plain loops'."""
    lines = [f"{'views':<28}{'per s':>13}{'per CPU-s':>13}{'pipeline is':>13}"]
    for name, row in rates.items():
        ratio = rates["pipeline"].get(f"of_{name}")
        lines.append(
            f"{name:<28}{row['per_second']:>13.0f}{row['per_cpu_second']:>13.0f}"
            + (f"{ratio:>12.2f}x" if ratio else "")
        )
    return lines
