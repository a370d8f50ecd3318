"""The rows of CycleAT's Tables 4 and 8: what each target classifier starts from, follows and learns from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from fer_tf import pipeline, records
from fer_tf.models import cycle_at

from ...run import folds
from . import classifiers, domains, features

FLAGS = flags.FLAGS
ROWS = {
    "S2T": "S2T", "S2T_fine_tune": "S2T_fine-tune", "T_alone": "f_T, target alone", "S2T_attention": "S2T_attention",
    "S2T_att_gen": "S2T_att.&gen.", "CycleAT": "CycleAT", "svm": "Multi-SVM", "alexnet": "AlexNet", "vgg16": "VGG-16",
}  # fmt: skip
"""Value of --rows -> its name in the table."""
GENERATED = {"S2T_att_gen": "alone", "CycleAT": "with f_W"}
"""Row that is given generated faces -> whose."""


class Source(NamedTuple):
    """What the stages before the target give."""

    f_s: cycle_at.AttentionClassifier
    tested: dict[str, Any]
    gans: dict[str, cycle_at.CycleAT]
    train: list[records.Record]
    held_out: list[records.Record]


def selected(source: Source, row: str, learn: list[records.Record], seed: int, place: Path) -> list[records.Record]:
    """The source's faces that the target's training faces select once they are redrawn (4.2); kept in selected.npy."""
    order = np.random.default_rng(seed).permutation(len(source.train))[: FLAGS.candidates]
    some, gan = [source.train[i] for i in sorted(order)], source.gans[GENERATED[row]]
    made, faces = (lambda: features.redrawn(gan, domains.pictures(some))), domains.pictures(learn)
    chosen = features.select(source.f_s, faces, made, FLAGS.t, seed, place / "selected.npy")
    return [some[i] for i in chosen]


def generated(source: Source, row: str, found: Sequence[records.Record]) -> list[records.Record]:
    """G_SW of the faces as they are, with their labels."""
    faces = features.redrawn(source.gans[GENERATED[row]], domains.pictures(found))
    return domains.as_records(faces, [r.expression for r in found], "generated")


def started(model: cycle_at.AttentionClassifier, f_s: cycle_at.AttentionClassifier) -> cycle_at.AttentionClassifier:
    """The model with f_S's weights; not its running means, of which a taught one has more (Keras 2 counts them)."""
    for part in ("trunk", "head"):
        getattr(model, part).set_weights(getattr(f_s, part).get_weights())
    return model


def one_row(
    row: str, source: Source, learn: list[records.Record], test: pipeline.Batches, seed: int, place: Path
) -> tuple[Any, dict[str, Any]]:
    """A row of Tables 4 and 8 on one fold: (its classifier or None, {last|best: (labels, predictions)})."""
    classes, f_s = source.f_s.classes, source.f_s
    if row == "S2T":
        named = folds.predict(f_s, test)
        return f_s, {"best": named, "last": named}
    if row == "svm":
        labels = np.array([classes.index(r.expression) for r in learn])
        truth = np.array([classes.index(r.expression) for r in test.records])
        pair = truth, features.machine(domains.pictures(learn), labels, domains.pictures(test.records), seed)
        return None, {"best": pair, "last": pair}

    def make() -> cycle_at.AttentionClassifier:
        if row == "S2T_fine_tune":
            return started(classifiers.build(FLAGS.source_network.split(",")[0], classes, seed), f_s)
        if row in ("alexnet", "vgg16"):
            start = FLAGS.imagenet if row == "vgg16" and FLAGS.imagenet != "none" else None
            return classifiers.build(row, classes, seed, weights=start)
        teacher = {"T_alone": None, "CycleAT": source.gans["with f_W"].f_w if row == "CycleAT" else None}.get(row, f_s)
        model = classifiers.build(FLAGS.target_network, classes, seed, teacher=teacher, name="f_t")
        return started(model, f_s) if FLAGS.target_init == "source" else model

    faces = learn
    if row in GENERATED:
        faces = [*learn, *generated(source, row, selected(source, row, learn, seed, place))]
    data = domains.target_batches(faces, classes, seed)
    steps = FLAGS.target_epochs * len(domains.target_batches(learn, classes, seed))
    return classifiers.train(data, test, place, seed, max(1, round(steps / len(data))), make)
