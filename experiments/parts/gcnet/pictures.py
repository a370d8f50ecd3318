"""GCNet's pictures and measures of generation (Figs. 4 to 6, 8 and 11), from trained networks and held-out people."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import catalogue, figures, pipeline, records
from fer_tf.models import gcnet

from ...run import data, regeneration, report
from ...run.settings import Folds


def draw_faces(
    models: Mapping[Any, gcnet.GCNet], test: pipeline.Batches, held_out: Sequence[records.Record], folder: Path
) -> None:
    """Figs. 4 and 8: input, generated reference, both reconstructions and the real neutral of held-out people."""
    batch = next(iter(test.epoch(0)))
    people = [test.records[i].subject or str(i) for i in batch["index"].numpy()]
    first = [people.index(p) for p in dict.fromkeys(people)][:8]
    images = batch["image"].numpy()[[i + 3 * n % people.count(people[i]) for n, i in enumerate(first)]]
    neutral = neutral_faces(held_out)
    real = [neutral.get(people[i]) for i in first]
    for row, model in models.items():
        if not model.generates:
            continue
        rows, titles = [images, model.regenerate(images).numpy()], ["input", "generated reference"]
        if model.reconstructs:
            back, back_r = (x.numpy() for x in model.reconstruct(images))
            rows, titles = [*rows, back_r, back], [*titles, "reconstructed reference", "reconstructed input"]
        picture = figures.grid([*rows, real], row_titles=[*titles, "real neutral"])
        figures.save(picture, folder / f"faces_{report.file_name(row.name)}.png")


def draw_features(models: Mapping[Any, gcnet.GCNet], test: pipeline.Batches, seed: int, folder: Path) -> None:
    """Fig. 5: t-SNE of pixels and of each network's 384 features."""
    batches = list(test.epoch(0))
    labels = np.concatenate([b["label"].numpy() for b in batches])
    if len(labels) >= 4:
        picture = figures.tsne(features_of(models, batches), labels, test.classes, seed=seed)
        figures.save(picture, folder / "tsne.png")


def features_of(models: Mapping[Any, gcnet.GCNet], batches: Sequence[Any]) -> dict[str, np.ndarray]:
    """{"pixels", row's name: (N, F) float32} of some batches."""
    pixels = np.concatenate([b["image"].numpy().reshape(len(b["image"]), -1) for b in batches])
    return {"pixels": pixels} | {
        row.name: np.concatenate([m.features(b["image"]).numpy() for b in batches]) for row, m in models.items()
    }


def draw_sequences(
    settings: Folds, models: Mapping[Any, gcnet.GCNet], held_out: Sequence[records.Record], folder: Path
) -> None:
    """Fig. 6: t-SNE of whole sequences, from neutral to the expression; the weaker, the paler; below, the faces."""
    # the neutral faces have not been cut before, since no class shows them
    listed = [r for r in held_out if r.expression != "neutral" or has_face(r)]
    labels, strength = whole_sequences(listed)
    kept = [i for i, label in enumerate(labels) if label in (*settings.labels, "neutral")]
    shown = tuple(dict.fromkeys([*settings.labels, *(labels[i] for i in kept)]))
    part = [replace(listed[i], expression=labels[i]) for i in kept]
    if len(part) < 4:
        return
    test = data.batches(settings, part, shown, gcnet, settings.seed, False)
    batches = list(test.epoch(0))
    index = np.concatenate([b["index"].numpy() for b in batches])
    numbers = np.array([shown.index(test.records[i].expression) for i in index])
    values = np.array([strength[kept[i]] for i in index])
    options = {"intensity": values, "faces": np.concatenate([b["image"].numpy()[..., 0] for b in batches])}
    picture = figures.tsne(features_of(models, batches), numbers, shown, seed=settings.seed, **options)
    figures.save(picture, folder / "tsne_intensity.png")


def whole(settings: Folds, held_out: Sequence[records.Record]) -> list[records.Record]:
    """Whole sequences of these people for Fig. 6, which no network has been trained on.

    Of a data set that takes some frames of a sequence (its argument `frames`), all of them; else the records held out.
    """
    if settings.tested_elsewhere or "frames" not in catalogue.parameters(settings.dataset):
        return list(held_out)
    chosen = settings.data_protocol
    options = {**(chosen.options if chosen else {}), **catalogue.options(settings.dataset, settings.options)}
    listed = catalogue.load(settings.dataset, settings.data_dir, {**options, "frames": "all"})
    people = {r.subject for r in held_out}
    return data.searched([r for r in listed if r.subject in people], data.place(settings), settings.detector)


def whole_sequences(listed: Sequence[records.Record]) -> tuple[list[str | None], np.ndarray]:
    """What each record's sequence ends in, and how strong it is there: ([expression], (N,) float in [0, 1]).

    A neutral frame belongs to its sequence's expression, and is neutral where its sequence shows no other. The strength
    is `info["intensity"]` over the largest, where every record has it, else the frame's place in its sequence.
    """
    ends: dict[Any, str] = {}
    frames: dict[Any, list[int]] = {}
    for r in listed:
        frames.setdefault((r.subject, r.sequence), []).append(r.frame or 0)
        if r.expression not in (None, "neutral"):
            ends[r.subject, r.sequence] = r.expression
    labels = [ends.get((r.subject, r.sequence), r.expression) for r in listed]
    given = [r.info.get("intensity") for r in listed]
    if all(value is not None for value in given):
        return labels, np.array(given, float) / max(max(given), 1e-6)
    places = [sorted(frames[r.subject, r.sequence]).index(r.frame or 0) + 1 for r in listed]
    of = [len(frames[r.subject, r.sequence]) for r in listed]
    neutral = np.array([r.expression == "neutral" for r in listed])
    return labels, np.where(neutral, 0.0, np.array(places) / np.array(of))


def draw_weights(methods: Mapping[str, Any], rows: Sequence[Any], folder: Path) -> None:
    """Fig. 11: accuracy over the weight of eq. (6), one line for each variant that has more than one weight."""
    lines: dict[str, list[tuple[float, float, float]]] = {}
    for row in rows:
        macro = methods[row.name]["last"]["macro"]
        point = (row.lambda_s, macro["fold_mean"], macro["fold_std"])
        compared = f"+{row.delta}" * (row.delta != "absolute")
        lines.setdefault(f"{row.variant}{compared}, {row.generator}", []).append(point)
    lines = {name: sorted(points) for name, points in lines.items() if len({p[0] for p in points}) > 1}
    if lines:
        figures.save(figures.sweep(lines, "weight of eq. (6)"), folder / "weights.png")


def has_face(record: records.Record) -> bool:
    """Whether a face can be cut out of it."""
    with contextlib.suppress(ValueError):
        pipeline.face(record, gcnet.TEMPLATE)
        return True
    return False


def neutral_faces(listed: Sequence[records.Record]) -> dict[str, np.ndarray]:
    """{person: the test view of the first neutral face that can be cut, (64, 64, 1) float32 in [0, 1]}."""
    faces: dict[str, np.ndarray] = {}
    for record in listed:
        if record.expression == "neutral" and record.subject is not None and record.subject not in faces:
            with contextlib.suppress(ValueError):
                cut = pipeline.face(record, gcnet.TEMPLATE)
                faces[record.subject] = gcnet.views.test_view(cut[None]).numpy()[0] / np.float32(255)
    return faces


def measure_references(
    models: Mapping[Any, gcnet.GCNet], test: pipeline.Batches, held_out: Sequence[records.Record]
) -> dict[str, Any]:
    """How far each generated reference is from the real neutral, beside the input itself.

    Returns:
      {name: {"l1", "ssim": {"generated", "input": mean over the expressive faces of who has a neutral one}}}, empty
      where nobody has.
    """
    neutral, count = neutral_faces(held_out), 0
    sums: dict[str, dict[str, dict[str, float]]] = {}
    for batch in test.epoch(0):
        people = [test.records[i].subject for i in batch["index"].numpy()]
        rows = [i for i, p in enumerate(people) if p in neutral and test.classes[batch["label"][i]] != "neutral"]
        if not rows:
            continue
        images, wanted = batch["image"].numpy()[rows], np.stack([neutral[people[i]] for i in rows])
        count += len(rows)
        for row, model in models.items():
            if model.generates:
                measured = sums.setdefault(row.name, {m: {"generated": 0.0, "input": 0.0} for m in ("l1", "ssim")})
                for which, given in (("generated", model.regenerate(images).numpy()), ("input", images)):
                    measured["l1"][which] += len(rows) * float(np.abs(given - wanted).mean())
                    measured["ssim"][which] += len(rows) * regeneration.ssim(given, wanted)
    return {name: {m: {k: v / count for k, v in part.items()} for m, part in own.items()} for name, own in sums.items()}
