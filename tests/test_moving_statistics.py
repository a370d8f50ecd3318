"""Moving statistics set anew: to the averages over training batches, and nothing else moves."""

import numpy as np
import pytest
import tensorflow as tf

from experiments.parts.gcnet import controls
from fer_tf import evaluation, moving_statistics, training
from fer_tf.compat import BatchNorm, keras
from fer_tf.models import gcnet


class Batches:
    """Three batches of unlike brightness."""

    batch_size = 6

    def __init__(self):
        batch = gcnet.tiny()[1]
        self.batches = [{**batch, "image": share * batch["image"]} for share in (0.2, 0.5, 1.0)]

    def __len__(self):
        return 3

    def epoch(self, number):
        order = self.batches if number == 0 else self.batches[::-1]
        return iter(order)


def values(variables):
    """NumPy copies."""
    return [np.array(v) for v in variables]


@pytest.fixture
def model():
    training.setup(seed=0, precision="float32")
    return gcnet.GCNet(width=1 / 16, classes=tuple("abcdef"))


def test_statistics_are_the_averages_over_the_batches(model):
    """Of the first two batches alone; every other variable, the count of dropout masks too, is as it was."""
    norm, first = model.generator_net.encoder.get_layer("norm1"), model.generator_net.encoder.get_layer("conv1")
    found = list(moving_statistics.norms(model))
    assert len(found) == 5 * 3 and norm in found and model.generator_net.decoder.get_layer("norm3") in found
    statistics = [v for n in found for v in (n.moving_mean, n.moving_variance)]
    others = [v for v in model.variables if not any(v is s for s in statistics)]
    before, counters = values(others), [v for v in others if "seed_step" in v.name]
    assert len(counters) == 1
    data = Batches()
    assert moving_statistics.recalibrate(model, data, 2) is model
    maps = [first(batch["image"]).numpy() for batch in data.batches]
    mean, variance = (np.mean([f(x, (0, 1, 2)) for x in maps[:2]], 0) for f in (np.mean, np.var))
    np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(norm.moving_variance, variance, rtol=2e-3)
    assert np.abs(mean - np.mean(maps, (0, 1, 2, 3))).max() > 0.01
    for old, new in zip(before, values(others), strict=True):
        np.testing.assert_array_equal(old, new)
    assert all(n.momentum == 0.9 for n in found)


def test_no_batches_and_no_norms_change_nothing(model):
    held = list(model.variables)  # Keras 2 lists those of a frozen model in another order
    before = values(held)
    moving_statistics.recalibrate(model, Batches(), 0)
    model.trainable = False
    moving_statistics.recalibrate(model, Batches(), 3)
    for old, new in zip(before, values(held), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_fold_is_tested_by_them(model, tmp_path, monkeypatch):
    """Last and best epoch, each restored first; the model that is given back keeps them."""
    told = []
    monkeypatch.setattr(training, "fit", lambda *_, **__: None)
    monkeypatch.setattr(training, "restore", lambda model, _, which: told.append(which))
    monkeypatch.setattr(
        evaluation, "predict", lambda model, test: told.append((test, np.array(norm.moving_mean).tolist()))
    )
    monkeypatch.setattr(evaluation.figures, "save", lambda *_: None)
    monkeypatch.setattr(evaluation.figures, "history", lambda *_: None)
    norm, data = model.encoder2.get_layer("norm1"), Batches()
    start = np.array(norm.moving_mean).tolist()
    for batches in (0, 3):
        options = {"workdir": tmp_path, "strategy": tf.distribute.get_strategy(), "epochs": 1}
        evaluation.fit_and_test(lambda: model, data, "held out", recalibration=batches, **options)
        assert [told[i] for i in (0, 2)] == ["best", "last"] and told[1] == told[3]
        assert (told[1] == ("held out", start)) is (batches == 0)
        told.clear()


def test_a_norm_in_a_list_is_found():
    """And one that is not trained is left out."""
    net = keras.Sequential([BatchNorm(name="a"), BatchNorm(name="b", trainable=False)])
    net.build((None, 4, 4, 3))
    assert [n.name for n in moving_statistics.norms(net)] == ["a"]


@pytest.mark.slow
def test_of_a_model_of_two_replicas(model):
    """The same statistics as on one; and the margin of a start, which runs the norms alike."""
    single, data = model, Batches()
    strategy = training.setup(seed=0, precision="float32", strategy="mirrored")
    with strategy.scope():
        shared = gcnet.GCNet(width=1 / 16, classes=tuple("abcdef"))
        margin = controls.start_margin(shared, data)
    single.set_weights(shared.get_weights())
    for one in (single, shared):
        moving_statistics.recalibrate(one, data, 3)
    assert margin == pytest.approx(controls.start_margin(single, data), rel=1e-4)
    for a, b in zip(moving_statistics.norms(single), moving_statistics.norms(shared), strict=True):
        np.testing.assert_allclose(np.array(a.moving_mean), np.array(b.moving_mean), rtol=1e-4, atol=1e-6)
