"""A training that ended goes on when more is asked for, as if it had been asked at once; what must not be kept."""

import csv
import json

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import devices, evaluation, files, training
from fer_tf.compat import optimizer_variables

from .test_evaluation import Scripted, faces
from .test_training import Steps, model, noise

STEPS = 3
"""Of an epoch."""


def train(folder, **options):
    """(everything that the model learnt, history) of a tiny FER-Net, its start always the same."""
    training.setup(seed=5, precision="float32")
    net = model()
    for i, weight in enumerate(net.trainable_variables):
        weight.assign(np.random.default_rng(i).normal(0, 0.1, weight.shape))
    history = training.fit(net, Steps(noise, STEPS), workdir=folder, progress=False, **options)
    parts = [*net.weights, *optimizer_variables(net)["classifier"]]
    return [np.array(v) for v in parts], [{k: v for k, v in row.items() if k != "seconds"} for row in history]


def rows(folder):
    """history.csv without the seconds."""
    with (folder / "history.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    "parts, whole",
    [
        ([{"epochs": 1}, {"epochs": 3}], {"epochs": 3}),
        ([{"epochs": 3, "max_steps": 2}, {"epochs": 3, "max_steps": 4}, {"epochs": 3}], {"epochs": 3}),
        pytest.param(
            [{"epochs": 1, "max_steps": 1}, {"epochs": 2, "max_steps": 5}],
            {"epochs": 2, "max_steps": 5},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            [{"epochs": 2, "max_steps": STEPS}, {"epochs": 2, "max_steps": 4}],
            {"epochs": 2, "max_steps": 4},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_asked_for_more_it_is_as_if_it_had_been_asked_at_once(tmp_path, parts, whole):
    """Bit for bit, weights and optimizer, also out of the middle of an epoch, whose row is written anew."""
    for options in parts:
        found, history = train(tmp_path / "parts", **options)
        again, same = train(tmp_path / "parts", **options)  # the same command again trains nothing
        assert same == history and all(map(np.array_equal, found, again))
    expected, wanted = train(tmp_path / "whole", **whole)
    assert history == wanted and rows(tmp_path / "parts") == rows(tmp_path / "whole")
    assert all(map(np.array_equal, found, expected)) and len(found) == len(expected) > 10
    done, other = (json.loads((tmp_path / name / "done.json").read_text()) for name in ("parts", "whole"))
    assert (done["epochs"], done["steps"]) == (other["epochs"], other["steps"]) and "before" not in other
    assert len(done["before"]) == len(parts) - 1 and done["before"][0]["steps"] == parts[0].get("max_steps", STEPS)


def test_stop_is_asked_before_each_epoch(tmp_path):
    """With the number of epochs so far; without it the training goes on as if it had never been asked."""
    asked = []

    def stop(epoch):
        asked.append(epoch)
        return epoch == 2

    for _ in range(2):
        found, history = train(tmp_path / "parts", epochs=3, stop=stop)
        assert [row["epoch"] for row in history] == [1, 2]
    assert asked == [0, 1, 2, 2]
    assert json.loads((tmp_path / "parts/done.json").read_text())["steps"] == 2 * STEPS
    found, history = train(tmp_path / "parts", epochs=3)
    expected, wanted = train(tmp_path / "whole", epochs=3, stop=lambda epoch: False)
    assert history == wanted and all(map(np.array_equal, found, expected))


def test_a_kill_before_the_last_row_loses_no_row(tmp_path):
    """The checkpoint of the last step is there; the validation had not ended."""

    def power_cut(net):
        raise KeyboardInterrupt

    options = {"epochs": 2, "max_steps": 2, "checkpoint_steps": 1}
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", validation=power_cut, **options)
    assert not (tmp_path / "parts/done.json").exists()
    for name in ("parts", "whole"):
        found, history = train(tmp_path / name, validation=lambda net: {"accuracy": 0.5}, **options)
        assert [row["val_accuracy"] for row in history] == [0.5] and "classifier_loss" in history[0]
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


def test_the_best_epoch_stays_the_best_when_a_training_goes_on(tmp_path):
    """Within an epoch 0.9 was reached; its whole comes to 0.4, and the next one to 0.6."""
    kept = []

    def fit(score, **options):
        kept.append(train(tmp_path, validation=lambda net: {"accuracy": score.pop(0)}, **options)[0])

    fit([0.9], epochs=1, max_steps=2)
    fit([0.4, 0.6], epochs=2)
    assert json.loads((tmp_path / "best/best.json").read_text()) == {"value": 0.9, "epoch": 1, "steps": 2}
    best = training.restore(model(), tmp_path, "best")
    assert all(np.array_equal(a, b) for a, b in zip(best.get_weights(), kept[0], strict=False))
    assert [row["val_accuracy"] for row in rows(tmp_path)] == ["0.4", "0.6"]


class Explodes(Scripted):
    """Its weight is no number from the given step on, while its loss is."""

    def __init__(self, step, value=np.nan):
        super().__init__([0, 0, 0])
        self.bad, self.value = step, value

    def train_step(self, batch):
        logs = super().train_step(batch)
        self.shift.assign(tf.where(tf.convert_to_tensor(self.count) >= self.bad, self.value, 0.0))
        return logs


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_not_kept(tmp_path, value):
    """The last checkpoint is from before, as the sentence says."""
    net, calls = Explodes(2, value), []
    with pytest.raises(FloatingPointError, match="weights are no longer finite in epoch 2, step 1. Lower the learning"):
        training.fit(net, faces(True, 7), workdir=tmp_path, epochs=3, checkpoint_steps=1, progress=False)
    with pytest.raises(FloatingPointError, match="weights are no longer finite in epoch 1"):
        training.fit(Explodes(1, value), faces(True, 7), workdir=tmp_path / "b", epochs=1, validation=calls.append)
    assert not calls and not (tmp_path / "b/best").exists()
    kept = tf.train.load_checkpoint(str(tmp_path / "checkpoint"))
    assert int(kept.get_tensor("total/.ATTRIBUTES/VARIABLE_VALUE")) == 1 and not (tmp_path / "done.json").exists()


def test_predictions_that_are_no_numbers_end_a_run():
    """They would all be the first class: a seventh right."""

    class Blank(Scripted):
        def classify(self, images):
            return super().classify(images) * tf.where(images[:, 0, 0] > 0.15, np.nan, 1.0)

    with pytest.raises(FloatingPointError) as error:
        evaluation.predict(Blank([0]), faces(False))
    assert str(error.value) == (
        "The predictions of 3 of 7 pictures are no longer finite, such as array of subject 4. Lower the learning rate, "
        "or train in float32; the last checkpoint is from before."
    )
    with pytest.raises(FloatingPointError, match="of 1 of 2 pictures are no longer finite. Lower"):
        evaluation.named(np.array([[0.5, 0.5], [np.inf, 0]]))
    assert evaluation.named(np.array([[0.5, 0.25], [0, 1]])).tolist() == [0, 1]


def test_a_full_disk_leaves_the_checkpoint_before_whole(tmp_path, monkeypatch):
    """What was half written is removed, and the same call goes on from there."""
    save, room = tf.train.CheckpointManager.save, [2]

    def full(manager, *args, **options):
        if not room[0]:
            for name in ("ckpt-3.data-00000-of-00001.tempstate12", "ckpt-3.index", "ckpt-3.data-00000-of-00001"):
                (tmp_path / "checkpoint" / name).write_bytes(b"half")
            raise tf.errors.ResourceExhaustedError(None, None, "ckpt-3; No space left on device [Op:SaveV2]")
        room[0] -= 1
        return save(manager, *args, **options)

    monkeypatch.setattr(tf.train.CheckpointManager, "save", full)
    with pytest.raises(Exception, match="No space left") as error:
        train(tmp_path, epochs=2, checkpoint_steps=1)
    assert files.is_full(error.value) and not isinstance(error.value, devices.OutOfMemory)
    left = {path.name.partition(".")[0] for path in (tmp_path / "checkpoint").iterdir()}
    assert left == {"checkpoint", "ckpt-1", "ckpt-2"}
    monkeypatch.setattr(tf.train.CheckpointManager, "save", save)
    found, history = train(tmp_path, epochs=2, checkpoint_steps=1)
    expected, wanted = train(tmp_path / "whole", epochs=2, checkpoint_steps=1)
    assert history == wanted and all(map(np.array_equal, found, expected))


def test_pipelines_say_what_they_hold(tmp_path):
    """`training.fit` refuses other data by itself; the data that are tested count, too."""

    def fit(learn, test):
        net = Scripted([0])
        training.fit(net, learn, workdir=tmp_path, epochs=1, held_out=test, progress=False)

    fit(faces(True, 7), faces(False))
    fewer = faces(True, 7)
    fewer.records = fewer.records[:-1]
    with pytest.raises(ValueError, match="on other data: people who are no longer among them: 6. Give"):
        fit(fewer, faces(False))
    with pytest.raises(ValueError, match="on other data: of what is tested, they are no longer there. Give"):
        fit(faces(True, 7), None)
    fit(faces(True, 7), faces(False))
