"""Every model as Keras users use one: `evaluate` counts rows, and a `.keras` file goes on with its optimizers."""

import importlib
import pkgutil

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import models, training
from fer_tf.compat import keras, optimizer_variables

MODULES = [importlib.import_module(f"fer_tf.models.{m.name}") for m in pkgutil.iter_modules(models.__path__)]
MADE = [
    pytest.param(getattr(module, name), id=f"{module.__name__.rsplit('.', 1)[-1]}-{name}", marks=marks)
    for module in MODULES
    for name, marks in (("tiny", ()), ("tiny_recogniser", pytest.mark.slow))
    if hasattr(module, name) and name + module.__name__ != "tiny_recogniserfer_tf.models.ia_gen"  # has no player
]
LARGE = ("cycle_at-tiny", "de_gan-tiny", "gcnet-tiny")
every = pytest.mark.parametrize("make", MADE)
every_small = pytest.mark.parametrize(
    "make", [pytest.param(*p.values, id=p.id, marks=pytest.mark.slow if p.id in LARGE else p.marks) for p in MADE]
)


def compiled(make, rate=1e-3):
    """The model, with an optimizer that has slots for each player, each its own rate, and its batch."""
    training.setup(seed=3, precision="float32")
    model, batch = make()
    names = [name for name, _ in model.player_variables()]
    optimizers = {f"{n}_optimizer": keras.optimizers.Adam(rate * (i + 1), 0.5) for i, n in enumerate(names)}
    model.compile(run_eagerly=True, **optimizers)  # tracing would take most of the time
    return model, batch


def batches(batch, *sizes):
    """The rows of a batch in batches of these sizes."""
    ends = np.cumsum(sizes)
    parts = [tf.nest.map_structure(lambda v, a=a, b=b: v[a:b], batch) for a, b in zip([0, *ends], ends, strict=False)]
    first, *others = (tf.data.Dataset.from_tensors(part) for part in parts)
    for other in others:
        first = first.concatenate(other)
    return first


@every
def test_evaluate_does_not_depend_on_how_rows_are_batched(make):
    """All rows at once, or the last ones alone."""
    model, batch = compiled(make, rate=0.0)
    expected = model.evaluate(batches(batch, 6), verbose=0, return_dict=True)
    assert len(expected) > 1 and len(set(expected.values())) > 1
    for sizes in ((5, 1), (2, 3, 1)):
        found = model.evaluate(batches(batch, *sizes), verbose=0, return_dict=True)
        if "votes_loss" in found:  # SE-ResNet's terms are means over different weights, and so is no sum of them
            assert found["classifier_loss"] == pytest.approx(expected["classifier_loss"], rel=1e-3)
            found["classifier_loss"] = expected["classifier_loss"]
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-6), sizes


@every_small
def test_a_keras_file_goes_on_with_its_optimizers(make, tmp_path):
    """What was loaded has the optimizers' rates and slots, and its next steps are those of the model that was saved."""
    model, batch = compiled(make)
    data = batches(batch, 4, 2)
    model.fit(data, epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again) is type(model) and again.players().keys() == model.players().keys()
    for number, player in enumerate(again.players().values()):
        assert float(player.optimizer.learning_rate) == pytest.approx(1e-3 * (number + 1))
    for name, variables in optimizer_variables(model).items():
        slots = optimizer_variables(again)[name]
        assert len(slots) == len(variables) > 2 and any(np.any(np.array(v)) for v in variables if len(v.shape) > 1)
        for a, b in zip(variables, slots, strict=True):
            np.testing.assert_array_equal(np.array(a), np.array(b), err_msg=f"{name} {a.name}")
    before = [np.array(v) for v in model.trainable_variables]
    histories = [m.fit(data, epochs=1, verbose=0).history for m in (model, again)]
    assert {n: v[0] for n, v in histories[0].items()} == pytest.approx(
        {n: v[0] for n, v in histories[1].items()}, rel=1e-5
    )
    assert any(np.any(a != np.array(b)) for a, b in zip(before, model.trainable_variables, strict=True))
    for a, b in zip(model.weights, again.weights, strict=True):
        np.testing.assert_allclose(np.array(a), np.array(b), atol=1e-6, err_msg=a.name)
