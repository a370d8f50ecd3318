"""What XLA makes of every model's step: it compiles, and gives what TensorFlow's own kernels give."""

import importlib
import pkgutil

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import compat, models, training
from fer_tf.compat import keras, optimizer_variables

MODULES = [importlib.import_module(f"fer_tf.models.{m.name}") for m in pkgutil.iter_modules(models.__path__)]
MADE = [
    pytest.param(getattr(module, name), id=f"{module.__name__.rsplit('.', 1)[-1]}-{name}", marks=marks)
    for module in MODULES
    for name, marks in (("tiny", ()), ("tiny_recogniser", pytest.mark.slow))
    if hasattr(module, name)
]
LONG = ("de_gan-tiny", "cycle_at-tiny")
"""Whose compilation takes ten seconds and more."""
STEPS = [pytest.param(*p.values, id=p.id, marks=[*p.marks, *[pytest.mark.slow] * (p.id in LONG)]) for p in MADE]


def compiled(make, xla, optimizer=lambda: keras.optimizers.SGD(1e-3, momentum=0.9)):
    """The model, compiled with an optimizer for each player, and its batch."""
    training.setup(seed=3, precision="float32", xla="on" if xla else "off")
    model, batch = make()
    model.compile(**{f"{name}_optimizer": optimizer() for name, _ in model.player_variables()})
    assert model.xla is xla
    return model, batch


@pytest.fixture(autouse=True)
def xla_as_it_was():
    yield
    compat.set_xla(None)


@pytest.mark.parametrize("make", STEPS)
def test_two_steps_are_those_of_tensorflows_kernels(make):
    """Losses, measures, counters and weights; the second step draws other masks than the first."""
    made = {}
    for xla in (False, True):
        model, batch = compiled(make, xla)
        if not model.player_variables():
            pytest.skip("nothing of it is trained")
        step, logs = tf.function(model.train_step, jit_compile=xla), []
        for _ in range(2):
            for metric in model.metrics:
                metric.reset_state()
            logs.append({name: float(value) for name, value in step(batch).items()})
        made[xla] = logs, [np.array(v) for v in model.weights]
        names = [v.name for v in model.weights]
    for plain, by_xla in zip(made[False][0], made[True][0], strict=True):
        assert by_xla == pytest.approx(plain, rel=2e-3, abs=1e-5)
    assert made[False][0][0] != made[False][0][1]
    for name, plain, by_xla in zip(names, made[False][1], made[True][1], strict=True):
        scale = max(1.0, float(np.abs(plain).max()))
        np.testing.assert_allclose(by_xla / scale, plain / scale, atol=2e-4, err_msg=name)


@pytest.mark.parametrize("make", MADE)
def test_no_variable_is_int32(make):
    """TensorFlow keeps int32 variables in the host's memory, and XLA refuses a step on a GPU that touches one."""
    for optimizer in (lambda: keras.optimizers.SGD(0.1, momentum=0.9), compat.Adam):
        model, _ = compiled(make, False, optimizer)
        held = [*model.variables, *(v for m in model.metrics for v in m.variables)]
        held += [v for variables in optimizer_variables(model).values() for v in variables]
        kinds = {str(getattr(v.dtype, "name", v.dtype)) for v in held}
        assert kinds <= {"float32", "int64", "bool"}, [v.name for v in held if "int32" in str(v.dtype)]


@pytest.mark.parametrize("policy", ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)])
def test_half_precision_compiles(policy):
    """A loss scale and its halving are part of the compiled step."""
    from fer_tf.models import ia_gen

    training.setup(seed=3, precision=policy, xla="on")
    model, batch = ia_gen.tiny()
    model.compile(**{f"{name}_optimizer": ia_gen.optimizer() for name, _ in model.player_variables()})
    before = [np.array(v) for v in model.trainable_variables]
    step = tf.function(model.train_step, jit_compile=True)
    for _ in range(3):
        logs = step(batch)
    assert all(np.isfinite(float(v)) for v in logs.values())
    assert any(np.any(a != np.array(v)) for a, v in zip(before, model.trainable_variables, strict=True))


def test_keras_fit_is_compiled_too():
    """`fit` in a notebook compiles by XLA where `set_xla` or the arguments of `compile` say so."""
    from fer_tf.models import fer_net

    histories = []
    for xla in (False, True):
        training.setup(seed=3, precision="float32")
        model, batch = fer_net.tiny()
        model.compile(classifier_optimizer=keras.optimizers.SGD(0.01), jit_compile=xla)
        assert model.jit_compile is xla
        data = tf.data.Dataset.from_tensors(batch).repeat(2)
        histories.append(model.fit(data, epochs=2, verbose=0).history["classifier_loss"])
    assert histories[1] == pytest.approx(histories[0], rel=1e-3) and histories[0][0] != histories[0][1]
