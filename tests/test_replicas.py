"""Replicas that have parts of one batch make the step of one process with the whole batch.

Two devices of this process stand for two machines; `tests/test_workers.py` has two processes.
"""

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import layers, replicas, training
from fer_tf.compat import keras, optimizer_variables
from fer_tf.models import fer_net, ia_gen


@pytest.fixture
def machines(monkeypatch):
    """Two replicas, which `Steps` takes for those of two machines."""
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", tf.distribute.MirroredStrategy)
    return training.setup(precision="float32", strategy="mirrored")


def on_each(strategy, step, batch):
    """What `step` of its rows gives on each replica."""

    def own(batch):
        with replicas.part_of(batch, 2) as rows:
            return step(rows)

    given = tf.function(lambda b: strategy.run(own, (b,)))(batch)
    split = [strategy.experimental_local_results(part) for part in tf.nest.flatten(given)]
    return [[np.array(part[i]) for part in split] for i in range(2)]


@pytest.mark.parametrize("count", [4, 5, 1])
def test_rows_go_round_and_shares_come_to_one(machines, count):
    def seen(rows):
        own = replicas.part()
        return rows, own.rows, own.real, own.share

    first, second = on_each(machines, seen, tf.range(count) * 10)
    assert first[0].tolist() == [10 * i for i in range(0, count, 2)] and first[2] == 1
    assert second[0].tolist() == ([10, 30][: count // 2] or [0]) and second[2] == (count > 1)
    assert first[3] == pytest.approx((count + 1) // 2 / count) and first[3] + second[3] == pytest.approx(1)
    assert replicas.part() is None


def test_a_mask_is_that_of_the_whole_batch(machines):
    with machines.scope():
        dropout, whole = layers.Dropout(0.5, 3), layers.Dropout(0.5, 3)
        for layer in (dropout, whole):
            layer.build((None, 6))
    ones = tf.ones((5, 6))
    expected = whole(ones, training=True).numpy()
    first, second = on_each(machines, lambda rows: dropout(rows, training=True), ones)
    np.testing.assert_array_equal(first[0], expected[::2])
    np.testing.assert_array_equal(second[0], expected[1::2])
    assert not np.array_equal(expected[0], expected[1])


@pytest.mark.parametrize("count", [5, 1])
def test_batch_norm_takes_the_moments_of_all_rows(machines, count):
    x = tf.random.stateless_normal((count, 3, 2, 2), (1, 2), 1.0, 3.0)
    target = tf.random.stateless_normal((count, 3, 2, 2), (3, 4))
    with machines.scope():
        shared, alone = layers.BatchNorm(), layers.BatchNorm()
        for layer in (shared, alone):
            layer.build((None, 3, 2, 2))
    with tf.GradientTape() as tape:
        tape.watch(x)
        expected = alone(x, training=True)
        loss = tf.reduce_mean((expected - target) ** 3)
    wanted = tape.gradient(loss, x)

    def step(batch):
        with tf.GradientTape() as tape:
            tape.watch(batch["x"])
            y = shared(batch["x"], training=True)
            loss = replicas.share_of(tf.reduce_mean((y - batch["target"]) ** 3))
        return y, tape.gradient(loss, batch["x"])

    parts = on_each(machines, step, {"x": x, "target": target})
    for place, (y, gradient) in enumerate(parts[: 2 if count > 1 else 1]):
        np.testing.assert_allclose(y, expected[place::2], atol=1e-5)
        np.testing.assert_allclose(gradient, wanted[place::2], atol=1e-5)
    for ours, other in ((shared.moving_mean, alone.moving_mean), (shared.moving_variance, alone.moving_variance)):
        np.testing.assert_allclose(np.array(ours), np.array(other), rtol=1e-5)
        assert abs(np.array(other)).max() > 0.01


class Three:
    """Three batches, the last one of one row."""

    def __init__(self, batch):
        self.batch = batch

    def __len__(self):
        return 3

    def epoch(self, number):
        sizes = tf.data.Dataset.from_tensor_slices([6, 5, 1])
        return sizes.map(lambda n: {name: value[:n] for name, value in self.batch.items()})


def classifier():
    model = fer_net.FERNet(classes=("anger", "fear"), width=4, blocks=1, hidden=8, seed=5)
    model.compile(classifier_optimizer=keras.optimizers.SGD(0.05, momentum=0.9))
    return model, {**fer_net.tiny()[1], "label": tf.constant([0, 1, 1, 0, 1, 0])}


def gan():
    model, batch = ia_gen.tiny()
    model.compile(**{f"{name}_optimizer": ia_gen.optimizer(rate=2e-5) for name in model.players()})
    return model, batch


@pytest.mark.slow
@pytest.mark.parametrize("made", [classifier, gan])
def test_a_training_is_that_of_one_process(machines, tmp_path, made):
    found = {}
    for name, strategy in (("one", tf.distribute.get_strategy()), ("two", machines)):
        training.setup(seed=4, precision="float32")
        with strategy.scope():
            model, batch = made()
        start = [np.random.default_rng(i).normal(0, 0.1, w.shape) for i, w in enumerate(model.trainable_variables)]
        for weight, value in zip(model.trainable_variables, start, strict=True):
            weight.assign(value)
        history = training.fit(
            model, Three(batch), workdir=tmp_path / name, epochs=2, strategy=strategy, progress=False
        )
        logs = [v for row in history for k, v in row.items() if k != "seconds"]
        states = [v for own in optimizer_variables(model).values() for v in own]
        found[name] = [np.array(v, float) for v in (logs, *model.weights, *states)]
        moved = [np.abs(np.array(w) - v).max() for w, v in zip(model.trainable_variables, start, strict=True)]
        assert max(moved) > 1e-5
    for one, two in zip(found["one"], found["two"], strict=True):
        np.testing.assert_allclose(two, one, atol=1e-4, rtol=1e-4)
