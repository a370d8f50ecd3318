"""Predictions in the records' order, and which epoch's model is given back and which are tested."""

import csv

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import evaluation, pipeline, training
from fer_tf.compat import PlayersModel
from fer_tf.models import fer_net
from fer_tf.records import Record

CLASSES = ("anger", "fear", "sadness")
LABELS = (1, 2, 0, 1, 1, 1, 2)
"""Of faces 0 to 6, whose grey value is ten times their number."""


class Scripted(PlayersModel):
    """Names face n as class (n + shift) % 3; each step of training takes the next shift."""

    def __init__(self, shifts):
        super().__init__()
        self.shifts, self.traced = tf.constant(shifts), []
        self.shift = self.add_weight(name="shift", shape=(), initializer="zeros", trainable=False)
        self.count = self.add_weight(name="count", shape=(), initializer="zeros", trainable=False)
        self.built = True
        self.track("loss")

    def classify(self, images):
        self.traced.append(images.shape)
        number = tf.round(tf.reduce_mean(images, (1, 2, 3)) * 25.5) + tf.convert_to_tensor(self.shift)
        return tf.one_hot(tf.cast(number, tf.int32) % 3, 3) * 0.5 + 1 / 6

    def train_step(self, batch):
        step = tf.cast(tf.convert_to_tensor(self.count), tf.int32)
        self.shift.assign(tf.cast(self.shifts[step], tf.float32))
        self.count.assign_add(1.0)
        return self.log(loss=tf.reduce_mean(batch["image"]))


def faces(training_, batch_size=3):
    """The seven faces."""
    listed = [
        Record(np.full((48, 48), 10 * n, np.uint8), CLASSES[label], subject=str(n), info={"framed": True})
        for n, label in enumerate(LABELS)
    ]
    options = {"classes": CLASSES, "template": "ia_gen", "views": fer_net.views}
    return pipeline.batches(listed, batch_size=batch_size, training=training_, **options)


def answers(shift):
    """What it names the seven faces."""
    return [(n + shift) % 3 for n in range(7)]


def right(shift):
    """How many of the labels these are."""
    return sum(a == b for a, b in zip(answers(shift), LABELS, strict=True))


def test_the_shifts_differ():
    assert sorted(right(s) for s in range(3)) == [1, 2, 4] and right(1) == 4


@pytest.mark.parametrize("batch_size", [3, 7, 256])
def test_predictions_are_in_the_records_order(batch_size):
    model, test = Scripted([0]), faces(False, batch_size)
    for shift in range(3):
        model.shift.assign(float(shift))
        labels, predictions = evaluation.predict(model, test)
        assert labels.tolist() == list(LABELS) and predictions.tolist() == answers(shift)
        assert labels.dtype == predictions.dtype == int
        told = evaluation.predict(model, test)
        assert [r.subject for r in told.records] == list("0123456") and told.probabilities.dtype == np.float32
        np.testing.assert_allclose(told.probabilities, np.eye(3)[answers(shift)] * 0.5 + 1 / 6, atol=1e-6)
        assert evaluation.accuracy(model, test) == pytest.approx(right(shift) / 7)


def test_a_model_is_compiled_once():
    """A new graph for each epoch's test would be traced anew."""
    model = Scripted([0])
    for _ in range(3):
        evaluation.predict(model, faces(False, 7))
    assert len(model.traced) == 1 and evaluation.compiled(model) is evaluation.compiled(model)
    other = Scripted([0])
    other.shift.assign(1.0)
    assert evaluation.predict(other, faces(False, 7))[1].tolist() == answers(1)


def run(shifts, test, folder, epochs=None, **options):
    """One step an epoch."""
    made = []

    def build():
        made.append(Scripted(shifts))
        return made[-1]

    outcome = evaluation.fit_and_test(
        build, faces(True, 7), test, workdir=folder, strategy=training.setup(precision="float32"),
        epochs=epochs or len(shifts), progress=False, **options,
    )  # fmt: skip
    assert made == [outcome.model]
    return outcome


@pytest.mark.parametrize(
    "shifts, best", [((0, 1, 2), 1), ((1, 0, 2), 1), ((2, 0, 1), 1), ((2, 2, 0), 2), ((0, 0, 2), 2)]
)
def test_the_model_is_of_the_last_epoch_and_the_best_is_tested_beside_it(tmp_path, shifts, best):
    outcome = run(shifts, faces(False), tmp_path)
    tested = {which: pair[1].tolist() for which, pair in outcome.tested.items()}
    assert tested == {"best": answers(best), "last": answers(shifts[-1])}
    assert all(pair[0].tolist() == list(LABELS) for pair in outcome.tested.values())
    assert float(tf.convert_to_tensor(outcome.model.shift)) == shifts[-1]
    rows = [*csv.DictReader((tmp_path / "history.csv").open())]
    assert [float(row["val_accuracy"]) for row in rows] == pytest.approx([right(s) / 7 for s in shifts])
    assert (tmp_path / "history.png").stat().st_size > 0


def test_a_finished_training_is_tested_again_from_its_files(tmp_path):
    run((0, 1, 2), faces(False), tmp_path)
    again = run((0, 0, 0), faces(False), tmp_path)  # would give other answers if it were trained anew
    assert again.tested["best"][1].tolist() == answers(1) and again.tested["last"][1].tolist() == answers(2)


def test_nobody_is_held_out(tmp_path):
    outcome = run((0, 1, 2), None, tmp_path)
    assert outcome.tested == {} and not (tmp_path / "best").exists()
    assert float(tf.convert_to_tensor(outcome.model.shift)) == 2


def test_options_are_those_of_fit(tmp_path):
    outcome = run((0, 1, 2), faces(False), tmp_path, max_steps=2)
    assert outcome.tested["last"][1].tolist() == answers(1)


def test_a_short_batch_is_filled_up_for_xla(monkeypatch):
    """Seven faces in batches of three: XLA sees batches of three alone, and the answers are the same."""
    sizes = []
    monkeypatch.setattr(
        evaluation, "compiled", lambda model: lambda images: (sizes.append(len(images)), model.classify(images))[1]
    )
    for xla, wanted in ((False, [3, 3, 1]), (True, [3, 3, 3])):
        model = Scripted([0])
        model.shift.assign(2.0)
        model.xla = xla
        assert evaluation.predict(model, faces(False, 3))[1].tolist() == answers(2)
        assert sizes == wanted
        sizes.clear()


def test_a_model_that_xla_trains_is_tested_by_xla():
    model = Scripted([0])
    model.xla = True
    graph = evaluation.compiled(model)
    assert evaluation.predict(model, faces(False, 3))[1].tolist() == answers(0)
    assert graph.function_spec is not None and graph._jit_compile is True
    assert len(model.traced) == 1
