"""What CycleAT's generated faces are worth: their expression, and whether they are told from the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import evaluation, records
from fer_tf.models import cycle_at

from ...run import report
from . import classifiers, domains, features

JUDGED = 2000
"""Faces at most, of each kind and side, by which generated ones are judged."""
MEASURES = ("expression", "f_S", "domain", "own_domain")
"""Of each kind of faces."""


def measure(
    settings: classifiers.Classifiers, source: classifiers.Source, listed: domains.Domains, seed: int, place: Path
) -> dict[str, Any]:
    """What the generated faces are worth, on source people who were held out.

    expression: how often they are named as their source is labelled, by a judge that has learnt from the source's
    training people and, where they have labels, the auxiliary ones; f_S: by f_S. domain: how well a classifier that has
    learnt to tell the source's training people from auxiliary faces tells them from the target, the mean of both
    sides' shares: 0.5 where they look like the target. own_domain: how well one does that has learnt from generated
    faces themselves, which also sees the traces that a generator leaves.

    Returns:
      {"judge_has_seen_the_wild": bool, each of `MEASURES`: {kind of faces: share in [0, 1]}}.
    """
    classes = source.f_s.classes
    held_out, seen, target = (some(part, seed) for part in (source.held_out, source.train, listed.target))
    auxiliary = some(listed.auxiliary, seed)
    truth = np.array([classes.index(r.expression) for r in held_out])
    wild = [r for r in auxiliary if r.expression in classes]
    judge = train_judge(settings, [*seen, *wild], classes, seed + 1000, place / "judge")
    shown = domains.pictures(settings, seen[: len(auxiliary)]), domains.pictures(settings, held_out)
    kinds, gans = {"source": shown}, {f"generated, {which}": gan for which, gan in source.gans.items()}
    for name, gan in gans.items():
        kinds[name] = tuple(features.redrawn(gan, faces) for faces in shown)
    measures: dict[str, Any] = {"judge_has_seen_the_wild": bool(wild)} | {key: {} for key in MEASURES}
    target_faces, first = domains.pictures(settings, target), None
    for name, (learn, test) in kinds.items():
        for key, net in (("expression", judge), ("f_S", source.f_s)):
            measures[key][name] = float(np.mean(answers(net, test) == truth))
        folder = place / f"domain_{report.file_name(name)}"
        own = domain_judge(settings, learn, auxiliary, seed + 2000, folder, gans.get(name))
        first = first or own  # of the source
        for key, net in (("domain", first), ("own_domain", own)):
            measures[key][name] = told_apart(net, test, target_faces)
    return measures


def some(listed: Sequence[records.Record], seed: int) -> list[records.Record]:
    """At most `JUDGED` of them, drawn by the seed, in the drawn order."""
    return [listed[i] for i in np.random.default_rng(seed).permutation(len(listed))[:JUDGED]]


def train_judge(
    settings: classifiers.Classifiers,
    learn: Sequence[records.Record],
    classes: Sequence[str],
    seed: int,
    place: Path,
    follows: Mapping[str, Any] | None = None,
) -> cycle_at.AttentionClassifier:
    """A small classifier for --judge_epochs."""

    def make() -> cycle_at.AttentionClassifier:
        return classifiers.build(settings, "resnet10", tuple(classes), seed, width=settings.width / 2)

    shown = domains.batches(settings, learn, classes, seed, settings.batch_size)
    return classifiers.train(settings, shown, None, place, seed, settings.judge_epochs, make, follows).model


def domain_judge(
    settings: classifiers.Classifiers,
    learn: np.ndarray,
    auxiliary: Sequence[records.Record],
    seed: int,
    place: Path,
    gan: cycle_at.CycleAT | None = None,
) -> cycle_at.AttentionClassifier:
    """A classifier that tells faces (N, H, W, 3) uint8, its first class, from auxiliary ones, its second."""
    kinds = ("these faces", "the wild")
    wild = [replace(r, expression=kinds[1]) for r in auxiliary]
    made = domains.as_records(learn, [kinds[0]] * len(learn), "made")
    follows = {} if gan is None else {"the GAN": gan.g_sw}
    return train_judge(settings, [*made, *wild], kinds, seed, place, follows)


def told_apart(judge: Any, faces: np.ndarray, target: np.ndarray) -> float:
    """The mean of the shares of faces and of the target's, both (N, H, W, 3) uint8, that a `domain_judge` knows."""
    return float(np.mean([np.mean(answers(judge, part) == kind) for kind, part in enumerate((faces, target))]))


def answers(net: Any, faces: np.ndarray) -> np.ndarray:
    """What a classifier names faces (N, H, W, 3) uint8: (N,) int."""
    return evaluation.named(features.in_parts(lambda x: net.classify(x).numpy(), faces))
