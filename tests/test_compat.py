"""fer_tf.compat: Adam through the fused kernel against Keras's own."""

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import training
from fer_tf.compat import Adam, PlayersModel, keras, optimizer_variables, set_policy


class Line(PlayersModel):
    """One layer, and the square of what it gives as the loss."""

    def __init__(self, **options):
        super().__init__(**options)
        self.layer = keras.layers.Dense(3, dtype="float32")
        self.layer.build((None, 4))
        self.built = True
        self.track("line_loss")

    def player_variables(self):
        return [("line", self.layer.trainable_variables)]

    def losses(self, batch, training=True):
        return {"line": {"square_loss": tf.reduce_mean((self.layer(batch) - 1.0) ** 2)}}, {}


def trained(optimizer, strategy=None, steps=5):
    """Weights and optimizer variables of a line after a few steps in a graph."""
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        model = Line()
        model.layer.kernel.assign(np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3))
        model.compile(line_optimizer=optimizer())
    step = tf.function(lambda batch: strategy.run(model.train_step, (batch,)))
    for i in range(steps):
        step(tf.random.stateless_normal((8, 4), (1, i)))
    slots = [v for v in optimizer_variables(model)["line"] if len(v.shape)]
    return [np.array(v) for v in (*model.layer.trainable_variables, *slots)]


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("options", [{"beta_1": 0.5}, {"weight_decay": 0.01}, {"amsgrad": True}, {"clipnorm": 0.1}])
def test_adam_equals_keras(policy, options):
    set_policy(policy)
    ours = trained(lambda: Adam(0.01, **options))
    expected = trained(lambda: keras.optimizers.Adam(0.01, **options))
    assert len(ours) == len(expected) >= 6
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-7)


def test_adam_on_two_replicas():
    """As one replica with the same batch: the mean of equal gradients."""
    strategy = training.setup(precision="float32", strategy="mirrored")
    for a, b in zip(trained(lambda: Adam(0.01), strategy), trained(lambda: Adam(0.01)), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-7)


def test_adam_follows_a_schedule_and_comes_back_from_its_config():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.01, 2, 0.5)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(Adam(schedule, beta_1=0.5)))
    assert isinstance(again, Adam) and again.beta_1 == 0.5
    for a, b in zip(trained(lambda: Adam(schedule)), trained(lambda: keras.optimizers.Adam(schedule)), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-7)
