"""The rows of CycleAT's Tables 4 and 8: what each target classifier starts from, follows and learns from."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import evaluation, pipeline, predictions, records, trained_on
from fer_tf.models import cycle_at

from ...run.settings import setting
from . import classifiers, domains, features, gan

ROWS = {
    "S2T": "S2T", "S2T_fine_tune": "S2T_fine-tune", "T_alone": "f_T, target alone", "S2T_attention": "S2T_attention",
    "S2T_att_gen": "S2T_att.&gen.", "CycleAT": "CycleAT", "svm": "Multi-SVM", "alexnet": "AlexNet", "vgg16": "VGG-16",
}  # fmt: skip
"""Value of --rows -> its name in the table."""
GENERATED = {"S2T_att_gen": "alone", "CycleAT": "with f_W"}
"""Row that is given generated faces -> whose."""


@dataclass(frozen=True, kw_only=True)
class Rows(gan.Gan):
    """Which target classifiers are compared, and how they learn."""

    rows: tuple[str, ...] = setting(
        ("S2T", "S2T_fine_tune", "S2T_attention", "S2T_att_gen", "CycleAT"), f"Which, out of {', '.join(ROWS)}."
    )
    imagenet: str = setting("none", "What vgg16 starts from: imagenet, a file of Keras, or none.", place="path")
    target_epochs: int = setting(50, "Of the target's faces alone, about; all rows get as many steps.", low=1)
    target_init: str = setting(
        "scratch", "What f_T starts from; source needs f_S's network.", choices=("scratch", "source")
    )
    t: int = setting(8, "Generated faces that each target face selects (SFEW: 8, EmotioNet: 3).", low=1)
    candidates: int = setting(2000, "Generated faces among which is selected.", low=1)


def selected(
    settings: Rows, source: classifiers.Source, row: str, learn: list[records.Record], seed: int, place: Path
) -> list[records.Record]:
    """The source's faces that the target's training faces select once they are redrawn (4.2); kept in selected.npy."""
    order = np.random.default_rng(seed).permutation(len(source.train))[: settings.candidates]
    some, generators = [source.train[i] for i in sorted(order)], source.gans[GENERATED[row]]
    faces = domains.pictures(settings, learn)

    def redrawn() -> np.ndarray:
        return features.redrawn(generators, domains.pictures(settings, some))

    parts = [trained_on.in_order(learn), trained_on.in_order(some)]
    parts += [trained_on.weights_digest(net) for net in (source.f_s, generators.g_sw)]
    file = place / "selected.npy"
    chosen = features.select(source.f_s, faces, redrawn, settings.t, seed, file, " ".join(parts))
    return [some[i] for i in chosen]


def followed(settings: Rows, row: str, source: classifiers.Source) -> dict[str, Any]:
    """Name -> the trained networks that a row's classifier starts from, follows, or is given faces by."""
    if row in ("alexnet", "vgg16"):
        return {}
    of = {} if row == "T_alone" and settings.target_init == "scratch" else {"f_S": source.f_s}
    if row in GENERATED:
        of["the GAN"] = source.gans[GENERATED[row]].g_sw
    if row == "CycleAT":
        of["f_W"] = source.gans["with f_W"].f_w
    return of


def generated(
    settings: Rows, source: classifiers.Source, row: str, listed: Sequence[records.Record]
) -> list[records.Record]:
    """G_SW of the faces as they are, with their labels."""
    faces = features.redrawn(source.gans[GENERATED[row]], domains.pictures(settings, listed))
    return domains.as_records(faces, [r.expression for r in listed], "generated")


def started(model: cycle_at.AttentionClassifier, f_s: cycle_at.AttentionClassifier) -> cycle_at.AttentionClassifier:
    """The model with f_S's weights; not its running means, of which a taught one has more (Keras 2 counts them)."""
    for part in ("trunk", "head"):
        getattr(model, part).set_weights(getattr(f_s, part).get_weights())
    return model


def build(settings: Rows, row: str, source: classifiers.Source, seed: int) -> cycle_at.AttentionClassifier:
    """The classifier of a row before it has seen the target: its network, start and teacher."""
    classes, f_s = source.f_s.classes, source.f_s
    if row == "S2T_fine_tune":
        return started(classifiers.build(settings, settings.source_network[0], classes, seed), f_s)
    if row in ("alexnet", "vgg16"):
        start = settings.imagenet if row == "vgg16" and settings.imagenet != "none" else None
        return classifiers.build(settings, row, classes, seed, weights=start)
    if row == "T_alone":
        teacher = None
    else:
        teacher = source.gans["with f_W"].f_w if row == "CycleAT" else f_s
    model = classifiers.build(settings, settings.target_network, classes, seed, teacher=teacher, name="f_t")
    return started(model, f_s) if settings.target_init == "source" else model


def machine(settings: Rows, learn: Sequence[records.Record], test: pipeline.Batches, seed: int) -> predictions.Answers:
    """Table 8's support vector machine: (labels, predictions) of the tested faces; it has no probabilities."""
    labels, truth = (np.array([test.classes.index(r.expression) for r in part]) for part in (learn, test.records))
    faces, tested = (domains.pictures(settings, part) for part in (learn, test.records))
    return predictions.Answers(truth, features.machine(faces, labels, tested, seed), test.records)


def one_row(
    settings: Rows,
    row: str,
    source: classifiers.Source,
    learn: list[records.Record],
    test: pipeline.Batches,
    seed: int,
    place: Path,
) -> evaluation.Outcome:
    """A row of Tables 4 and 8 on one fold: its classifier, None for the SVM, and how it names the tested faces.

    Args:
      settings: of the run.
      row: of `ROWS`.
      source: f_S, the generators, the source's records.
      learn: the target's labelled training faces.
      test: the fold's test faces as they are.
      seed: of the run.
      place: of the row's files.
    """
    if row in ("S2T", "svm"):
        net = source.f_s if row == "S2T" else None
        pair = evaluation.predict(net, test) if net is not None else machine(settings, learn, test, seed)
        return evaluation.Outcome(net, {"best": pair, "last": pair})
    faces, classes = learn, source.f_s.classes
    if row in GENERATED:
        chosen = selected(settings, source, row, learn, seed, place)
        faces = [*learn, *generated(settings, source, row, chosen)]
    shown = domains.target_batches(settings, faces, classes, seed)
    steps = settings.target_epochs * len(domains.target_batches(settings, learn, classes, seed))
    make = functools.partial(build, settings, row, source, seed)
    epochs = max(1, round(steps / len(shown)))
    return classifiers.train(settings, shown, test, place, seed, epochs, make, followed(settings, row, source))
