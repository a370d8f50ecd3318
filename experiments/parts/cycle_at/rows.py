"""The rows of CycleAT's Tables 4 and 8: what each target classifier starts from, follows and learns from."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import evaluation, pipeline, predictions, records, trained_on
from fer_tf.models import cycle_at

from ...run import jobs
from ...run.settings import setting
from . import classifiers, domains, features, gan
from .row import ROWS, Row

STARTS = ("source", "nothing")
T_OF = {"sfew_2fold": 8, "emotionet_5fold": 3}
"""Protocol of a target -> the printed t."""


@dataclass(frozen=True, kw_only=True)
class Rows(gan.Gan):
    """Which target classifiers are compared, and how they learn."""

    rows: tuple[str, ...] = setting(
        ("S2T", "S2T_fine_tune", "S2T_attention", "S2T_att_gen", "CycleAT"),
        f"Which, out of {', '.join(ROWS)}; controls of them: see the docstring.",
    )
    imagenet: str = setting("none", "What vgg16 starts from: imagenet, a file of Keras, or none.", place="path")
    target_epochs: int = setting(50, "Of the target's faces alone, about; all rows get as many steps.", low=1)
    f_t_start: str = setting(
        "source", "What f_T starts from: its network trained on the source first, or nothing.", choices=STARTS
    )
    t: int = setting(8, "Generated faces that each target face selects (SFEW: 8, EmotioNet: 3).", low=1)
    candidates: int = setting(2000, "Generated faces among which is selected.", low=1)

    @classmethod
    def by_protocol(cls, values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """As for the domains; t of section 4.2 is each target's own."""
        own = {"t": T_OF[values["protocol"]]} if values["protocol"] in T_OF and "t" not in given else {}
        return {**super().by_protocol(values, given), **own}


def selected(
    settings: Rows, source: classifiers.Source, row: Row, learn: list[records.Record], seed: int, place: Path
) -> list[records.Record]:
    """The source's faces that the target's training faces select once they are redrawn (4.2); kept in selected.npy.

    A control takes those of the row that it is one of, in whose folder they are.

    Args:
      settings: of the run.
      source: f_S, whose first convolution is used, the generators, the candidates.
      row: one that is given faces.
      learn: the target's training faces.
      seed: of the candidates and of t-SNE.
      place: of the row's files.
    """
    order = np.random.default_rng(seed).permutation(len(source.train))[: settings.candidates]
    some, generators = [source.train[i] for i in sorted(order)], source.gans[row.gan or ""]
    faces = domains.pictures(settings, learn)

    def redrawn() -> np.ndarray:
        return features.redrawn(generators, domains.pictures(settings, some))

    parts = [trained_on.in_order(learn), trained_on.in_order(some)]
    parts += [trained_on.weights_digest(net) for net in (source.f_s, generators.g_sw)]
    file = place.parent / row.kind / "selected.npy"
    chosen = features.select(source.f_s, faces, redrawn, settings.t, seed, file, " ".join(parts))
    return [some[i] for i in chosen]


def start_of(settings: Rows, row: Row, source: classifiers.Source) -> cycle_at.AttentionClassifier | None:
    """Whose weights a row's classifier starts with; None where it starts from nothing."""
    if row.kind == "S2T_fine_tune":
        return source.f_s
    return source.f_t if row.starts and settings.f_t_start == "source" else None


def followed(settings: Rows, row: Row, source: classifiers.Source) -> dict[str, Any]:
    """Name -> the trained networks that a row's classifier starts from, follows, or is given faces by."""
    start, of = start_of(settings, row, source), {}
    if start is source.f_s or row.gan or row.attention:
        of["f_S"] = source.f_s
    if start is not None and start is not source.f_s:
        of["f_T of the source"] = start
    if row.gan:
        of["the GAN"] = source.gans[row.gan].g_sw
    if row.kind == "CycleAT" and row.attention:
        of["f_W"] = source.gans["with f_W"].f_w
    return of


def given_faces(
    settings: Rows, source: classifiers.Source, row: Row, listed: Sequence[records.Record]
) -> list[records.Record]:
    """What a row gets of the source's faces that are selected, with their labels: G_SW of them, or they as they are."""
    if not row.translated:
        return [*listed]
    faces = features.redrawn(source.gans[row.gan or ""], domains.pictures(settings, listed))
    return domains.as_records(faces, [r.expression for r in listed], "generated")


def build(settings: Rows, row: Row, source: classifiers.Source, seed: int) -> cycle_at.AttentionClassifier:
    """The classifier of a row before it has seen the target: its network, start and teacher."""
    classes, start = source.f_s.classes, start_of(settings, row, source)
    if row.kind in ("alexnet", "vgg16"):
        weights = settings.imagenet if row.kind == "vgg16" and settings.imagenet != "none" else None
        return classifiers.build(settings, row.kind, classes, seed, weights=weights)
    if row.kind == "S2T_fine_tune":
        model = classifiers.build(settings, settings.source_network[0], classes, seed)
    else:
        more: dict[str, Any] = {"teacher": None, "name": "f_t"}
        if row.attention:
            more["teacher"] = source.gans["with f_W"].f_w if row.kind == "CycleAT" else source.f_s
        if row.at_reduction is not None:
            more |= {"at_reduction": row.at_reduction, "beta": row.beta}
        model = classifiers.build(settings, settings.target_network, classes, seed, **more)
    return model if start is None else classifiers.started(model, start)


def machine(settings: Rows, learn: Sequence[records.Record], test: pipeline.Batches, seed: int) -> predictions.Answers:
    """Table 8's support vector machine: (labels, predictions) of the tested faces; it has no probabilities."""
    labels, truth = (np.array([test.classes.index(r.expression) for r in part]) for part in (learn, test.records))
    faces, tested = (domains.pictures(settings, part) for part in (learn, test.records))
    return predictions.Answers(truth, features.machine(faces, labels, tested, seed), test.records)


def one_row(
    settings: Rows,
    row: Row,
    source: classifiers.Source,
    learn: list[records.Record],
    test: pipeline.Batches,
    seed: int,
    place: Path,
) -> evaluation.Outcome:
    """A row of Tables 4 and 8 on one fold: its classifier, None for the SVM, and how it names the tested faces.

    Faces of --test_on are read once, when it is trained, not after each epoch.

    Args:
      settings: of the run.
      row: of --rows.
      source: f_S, the generators, the source's records.
      learn: the target's labelled training faces.
      test: the fold's test faces as they are.
      seed: of the run.
      place: of the row's files.
    """
    if row.kind in ("S2T", "svm"):
        net = source.f_s if row.kind == "S2T" else None
        pair = evaluation.predict(net, test) if net is not None else machine(settings, learn, test, seed)
        return evaluation.Outcome(net, {"best": pair, "last": pair})
    faces, classes = learn, source.f_s.classes
    if row.gan:
        chosen = selected(settings, source, row, learn, seed, place)
        faces = [*learn, *given_faces(settings, source, row, chosen)]
    shown = domains.target_batches(settings, faces, classes, seed)
    steps = settings.target_epochs * len(domains.target_batches(settings, learn, classes, seed))
    make = functools.partial(build, settings, row, source, seed)
    epochs = max(1, round(steps / len(shown)))
    watched = None if settings.tested_elsewhere else test
    trained = classifiers.train(settings, shown, watched, place, seed, epochs, make, followed(settings, row, source))
    if not settings.tested_elsewhere or jobs.is_one(settings):
        return trained
    return evaluation.Outcome(trained.model, {"last": evaluation.predict(trained.model, test)})
