"""CycleAT's pictures (Figs. 4 and 5, attention maps), what generated faces are worth, the generator's export."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

from fer_tf import export, figures, metrics, records
from fer_tf.models import cycle_at

from ...run import folds
from . import classifiers, domains, features

FLAGS = flags.FLAGS
JUDGED = 2000
"""Faces at most, of each kind and side, by which generated ones are judged."""
STAGE = 2
"""Whose attention is drawn, counted from 0: the third of four."""


def one_of_each(found: Sequence[records.Record], classes: Sequence[str]) -> list[records.Record]:
    """The last record of each expression, each of another person where that is possible."""
    people = records.subject_order({r.subject for r in found if r.subject is not None})
    chosen = []
    for n, expression in enumerate(classes):
        shown = [r for r in found if r.expression == expression]
        own = [r for r in shown if people and r.subject == people[n % len(people)]]
        chosen += (own or shown)[-1:]
    return chosen


def keep_sample(gan: cycle_at.CycleAT, images: np.ndarray, folder: Path, epoch: int) -> None:
    """G_SW of the same faces after each epoch, for Fig. 5 (a): a picture, and the numbers to put them together."""
    made = features.redrawn(gan, images)
    figures.save(
        figures.grid([images, made], row_titles=["source", f"epoch {epoch}"]), folder / f"epoch{epoch:03d}.png"
    )
    part = folder / f"epoch{epoch:03d}.part.npy"
    np.save(part, np.stack([images, made]))
    os.replace(part, folder / f"epoch{epoch:03d}.npy")


def draw_generated(source: Any, found: domains.Domains, place: Path) -> None:
    """Fig. 5, as soon as there are generators: source beside generated faces, and those after each epoch."""
    if not source.gans:
        return
    shown = one_of_each(source.held_out, source.f_s.classes)
    images, names = domains.pictures(shown), {"alone": "without f_W", "with f_W": "with f_W"}
    rows = {"source": images} | {names[n]: features.redrawn(gan, images) for n, gan in source.gans.items()}
    wild = domains.pictures(found.target[:: max(1, len(found.target) // len(images))][: len(images)])
    titles = [*rows, "the target"]
    picture = figures.grid([*rows.values(), wild], row_titles=titles, col_titles=[r.expression for r in shown])
    figures.save(picture, place / "generated.png")
    draw_iterations(place)


def draw(source: Any, found: domains.Domains, models: Mapping[str, Any], test: Any, place: Path) -> None:
    """The pictures that need the target's classifiers, or all domains: attention maps, Fig. 4."""
    draw_attention(source, models, test, place)
    draw_domains(source, found, place)


def draw_iterations(place: Path) -> None:
    """Fig. 5 (a): the same faces after each epoch of stage I, then of stage II."""
    files = [(stage, f) for stage in ("gan1", "gan2") for f in sorted((place / stage / "samples").glob("epoch???.npy"))]
    if not files:
        return
    loaded = [np.load(file) for _, file in files]
    titles = [f"stage {'I' * (1 + (stage == 'gan2'))}, epoch {int(file.stem[5:])}" for stage, file in files]
    figures.save(figures.grid([loaded[0][0], *(m[1] for m in loaded)], ["source", *titles]), place / "iterations.png")


def draw_attention(source: Any, models: Mapping[str, Any], test: Any, place: Path) -> None:
    """Eq. (1) of f_S, f_W and f_T over held-out faces of the target, one of each expression."""
    nets = {"f_S": source.f_s}
    if "with f_W" in source.gans:
        nets["f_W"] = source.gans["with f_W"].f_w
    nets |= {f"f_T, {row}": m for row, m in models.items() if row in ("S2T_attention", "CycleAT") and m is not None}
    images = domains.pictures(one_of_each(test.records, source.f_s.classes))
    seen = images.astype(np.float32) / 255.0
    maps = {name: np.abs(np.asarray(net.look(seen)[0][STAGE], np.float32)) for name, net in nets.items()}
    titles = [r.expression for r in one_of_each(test.records, source.f_s.classes)]
    figures.save(figures.heatmaps(images, maps, titles), place / "attention.png")


def draw_domains(source: Any, found: domains.Domains, place: Path, count: int = 250) -> None:
    """Fig. 4: source, target, auxiliary and generated faces in first-convolution features, three t-SNE dimensions."""
    numbers = np.random.default_rng(0)

    def drawn(part: Sequence[records.Record]) -> np.ndarray:
        return domains.pictures([part[i] for i in sorted(numbers.permutation(len(part))[:count])])

    parts = {"source": drawn(source.held_out), "target": drawn(found.target), "auxiliary": drawn(found.auxiliary)}
    if source.gans:
        parts["generated from the source"] = features.redrawn(list(source.gans.values())[-1], parts["source"])
    points = features.embedded(
        np.concatenate([features.first_features(source.f_s, part) for part in parts.values()]), FLAGS.seed
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


def measure(source: Any, found: domains.Domains, seed: int, place: Path) -> dict[str, Any]:
    """What the generated faces are worth, on source people who were held out.

    expression: how often they are named as their source is labelled, by a judge that has learnt from the source's
    training people and, where they have labels, the auxiliary ones; f_S: by f_S. domain: how well a classifier that has
    learnt to tell the source's training people from auxiliary faces tells them from the target, the mean of both
    sides' shares: 0.5 where they look like the target. own_domain: how well one does that has learnt from generated
    faces themselves, which also sees the traces that a generator leaves.
    """
    classes = source.f_s.classes
    held_out, seen, target = (some(part, seed) for part in (source.held_out, source.train, found.target))
    found = found._replace(auxiliary=some(found.auxiliary, seed), target=target)
    truth = np.array([classes.index(r.expression) for r in held_out])
    wild = [r for r in found.auxiliary if r.expression in classes]
    judge = train_judge([*seen, *wild], classes, seed + 1000, place / "judge")
    kinds = {"source": (domains.pictures(seen[: len(found.auxiliary)]), domains.pictures(held_out))}
    for which, gan in source.gans.items():
        kinds[f"generated, {which}"] = tuple(features.redrawn(gan, faces) for faces in kinds["source"])
    told: dict[str, Any] = {"judge_has_seen_the_wild": bool(wild)}
    told |= {key: {} for key in ("expression", "f_S", "domain", "own_domain")}
    target_faces, first = domains.pictures(found.target), None
    for name, (learn, test) in kinds.items():
        for key, net in (("expression", judge), ("f_S", source.f_s)):
            told[key][name] = float(np.mean(answers(net, test) == truth))
        own = domain_judge(learn, found.auxiliary, seed + 2000, place / f"domain_{folds.plain(name)}")
        first = first or own  # of the source
        told["domain"][name], told["own_domain"][name] = (told_apart(j, test, target_faces) for j in (first, own))
    return told


def some(found: Sequence[records.Record], seed: int) -> list[records.Record]:
    """At most `JUDGED` of them, drawn by the seed, in the drawn order."""
    return [found[i] for i in np.random.default_rng(seed).permutation(len(found))[:JUDGED]]


def train_judge(learn: Sequence[records.Record], classes: Sequence[str], seed: int, place: Path) -> Any:
    """A small classifier for --judge_epochs."""

    def make() -> cycle_at.AttentionClassifier:
        return classifiers.build("resnet10", tuple(classes), seed, width=FLAGS.width / 2)

    data = domains.batches(learn, classes, seed, FLAGS.batch_size)
    return classifiers.train(data, None, place, seed, FLAGS.judge_epochs, make)[0]


def domain_judge(learn: np.ndarray, auxiliary: Sequence[records.Record], seed: int, place: Path) -> Any:
    """A classifier that tells faces (N, H, W, 3) uint8, its first class, from auxiliary ones, its second."""
    sides = ("these faces", "the wild")
    wild = [replace(r, expression=sides[1]) for r in auxiliary]
    return train_judge([*domains.as_records(learn, [sides[0]] * len(learn), "made"), *wild], sides, seed, place)


def told_apart(judge: Any, faces: np.ndarray, target: np.ndarray) -> float:
    """The mean of the shares of faces and of the target's, both (N, H, W, 3) uint8, that a `domain_judge` knows."""
    return float(np.mean([np.mean(answers(judge, part) == side) for side, part in enumerate((faces, target))]))


def answers(net: Any, faces: np.ndarray) -> np.ndarray:
    """What a classifier names faces (N, H, W, 3) uint8: (N,) int."""
    return features.in_parts(lambda x: net.classify(x).numpy(), faces).argmax(-1)


def text(generation: Sequence[Mapping[str, Any]]) -> str:
    """The measures as a table, means over the runs."""
    head = "judge" if generation[0]["judge_has_seen_the_wild"] else "judge of source"
    keys = {"expression": head, "f_S": "f_S", "domain": "told from target", "own_domain": "by own judge"}
    lines = [f"{'source people held out':28}" + "".join(f"{title:>18}" for title in keys.values())]
    for name in generation[0]["domain"]:
        values = (np.mean([g[key][name] for g in generation]) for key in keys)
        lines.append(f"{name:28}" + "".join(f"{value:>18.3f}" for value in values))
    return "\n".join(lines)


def by_expression(methods: Mapping[str, Any], classes: Sequence[str]) -> str:
    """Tables 2 and 5 to 8: the share of each expression's faces that is named right in percent, pooled; their mean.

    An expression without a face that was tested gets "-" and has no part in the mean.
    """
    lines = [f"{'last epoch, %':24}" + "".join(f"{c[:10]:>11}" for c in classes) + f"{'Ave.':>8}"]
    for name, method in methods.items():
        last = method["last"]
        shares = (last["per_class"][c] for c in classes)
        cells = "".join(f"{100 * s['recall']:>11.2f}" if s["support"] else f"{'-':>11}" for s in shares)
        lines.append(f"{name:24}{cells}{100 * metrics.macro(np.array(last['confusion'])):>8.2f}")
    return "\n".join(lines)


class Translation(tf.Module):
    """G_SW with its preprocessing: faces (N, ?, ?, 1|3) uint8 -> the same in the wild, (N, size, size, 3) uint8.

    `metadata()` gives a JSON text.
    """

    def __init__(self, gan: cycle_at.CycleAT, size: int, about: Mapping[str, Any]):
        super().__init__(name="translation")
        text = json.dumps({"model": "CycleAT", **about}, indent=1)

        @tf.function(input_signature=[tf.TensorSpec((None, None, None, None), tf.uint8, "faces")])
        def serving_default(faces: tf.Tensor) -> dict[str, tf.Tensor]:
            view = tf.cast(export.framed(faces, (size, size), 3), tf.float32) / 255.0
            return {"faces": tf.cast(tf.round(255.0 * gan.translate(view)), tf.uint8)}

        self.serving_default = serving_default
        self.metadata = tf.function(lambda: tf.constant(text), input_signature=[])
        self.used = list(serving_default.get_concrete_function().graph.variables)
