"""CycleAT's pictures: what the generators make (Fig. 5), where classifiers attend, the domains' features (Fig. 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import figures, files, pipeline, records
from fer_tf.models import cycle_at

from . import classifiers, domains, features

STAGE = 2
"""Whose attention is drawn, counted from 0: the third of four."""


def one_of_each(listed: Sequence[records.Record], classes: Sequence[str]) -> list[records.Record]:
    """The last record of each expression, each of another person where that is possible."""
    people = records.subject_order({r.subject for r in listed if r.subject is not None})
    chosen = []
    for n, expression in enumerate(classes):
        shown = [r for r in listed if r.expression == expression]
        own = [r for r in shown if people and r.subject == people[n % len(people)]]
        chosen += (own or shown)[-1:]
    return chosen


def sample_file(folder: Path, epoch: int) -> Path:
    """Where `keep_sample` keeps the numbers of an epoch."""
    return folder / f"epoch{epoch:03d}.npy"


def keep_sample(gan: cycle_at.CycleAT, images: np.ndarray, folder: Path, epoch: int) -> None:
    """G_SW of the same faces after each epoch, for Fig. 5 (a): a picture, and the numbers to put them together."""
    made, file = features.redrawn(gan, images), sample_file(folder, epoch)
    folder.mkdir(parents=True, exist_ok=True)
    figures.save(figures.grid([images, made], row_titles=["source", f"epoch {epoch}"]), file.with_suffix(".png"))
    with files.replacing(file) as part:
        np.save(part, np.stack([images, made]))


def draw_generated(
    settings: domains.Wild, source: classifiers.Source, target: Sequence[records.Record], place: Path
) -> None:
    """Fig. 5, as soon as there are generators: source beside generated faces, and those after each epoch."""
    if not source.gans:
        return
    shown = one_of_each(source.held_out, source.f_s.classes)
    images, names = domains.pictures(settings, shown), {"alone": "without f_W", "with f_W": "with f_W"}
    rows = {"source": images} | {names[n]: features.redrawn(gan, images) for n, gan in source.gans.items()}
    rows["the target"] = domains.pictures(settings, target[:: max(1, len(target) // len(images))][: len(images)])
    picture = figures.grid([*rows.values()], row_titles=[*rows], col_titles=[r.expression for r in shown])
    figures.save(picture, place / "generated.png")
    draw_iterations(place)


def draw_iterations(place: Path) -> None:
    """Fig. 5 (a): the same faces after each epoch of stage I, then of stage II."""
    samples = [
        (stage, f) for stage in ("gan1", "gan2") for f in sorted((place / stage / "samples").glob("epoch???.npy"))
    ]
    if not samples:
        return
    loaded = [np.load(file) for _, file in samples]
    titles = [f"stage {'I' * (1 + (stage == 'gan2'))}, epoch {int(file.stem[5:])}" for stage, file in samples]
    figures.save(figures.grid([loaded[0][0], *(m[1] for m in loaded)], ["source", *titles]), place / "iterations.png")


def draw_attention(
    settings: domains.Wild,
    source: classifiers.Source,
    models: Mapping[str, Any],
    test: pipeline.Batches,
    place: Path,
) -> None:
    """Eq. (1) of f_S, f_W and f_T over held-out faces of the target, one of each expression."""
    nets = {"f_S": source.f_s}
    if "with f_W" in source.gans:
        nets["f_W"] = source.gans["with f_W"].f_w
    nets |= {f"f_T, {row}": m for row, m in models.items() if row in ("S2T_attention", "CycleAT") and m is not None}
    shown = one_of_each(test.records, source.f_s.classes)
    images = domains.pictures(settings, shown)
    seen = images.astype(np.float32) / 255.0
    maps = {name: np.abs(np.asarray(net.maps_and_logits(seen)[0][STAGE], np.float32)) for name, net in nets.items()}
    figures.save(figures.heatmaps(images, maps, [r.expression for r in shown]), place / "attention.png")


def draw_domains(
    settings: domains.Wild, source: classifiers.Source, listed: domains.Domains, place: Path, count: int = 250
) -> None:
    """Fig. 4: source, target, auxiliary and generated faces in first-convolution features, three t-SNE dimensions."""
    numbers = np.random.default_rng(0)

    def drawn(part: Sequence[records.Record]) -> np.ndarray:
        return domains.pictures(settings, [part[i] for i in sorted(numbers.permutation(len(part))[:count])])

    parts = {"source": drawn(source.held_out), "target": drawn(listed.target), "auxiliary": drawn(listed.auxiliary)}
    if source.gans:
        parts["generated from the source"] = features.redrawn(list(source.gans.values())[-1], parts["source"])
    points = features.embedded(
        np.concatenate([features.first_features(source.f_s, part) for part in parts.values()]), settings.seed
    )
    fig = figures.Figure(figsize=(7.5, 6), layout="constrained")
    axes, start = fig.add_subplot(projection="3d"), 0
    for n, (name, part) in enumerate(parts.items()):
        own = points[start : start + len(part)]
        start += len(part)
        style = {"color": figures.COLOURS[n], "marker": figures.MARKERS[n], "edgecolors": "#333333", "linewidths": 0.3}
        axes.scatter(*own.T, s=18, label=f"{name} ({len(part)})", **style)
    axes.set(xlabel="t-SNE 1", ylabel="t-SNE 2", zlabel="t-SNE 3")
    axes.legend(loc="upper left", frameon=False)
    figures.save(fig, place / "domains.png")
