"""Layers that two or more papers share."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fer_tf.compat import BatchNorm, keras

__all__ = ["BatchNorm", "Dropout", "conv_bn", "residual_block"]


@keras.utils.register_keras_serializable("fer_tf")
class Dropout(keras.layers.Layer):
    """Dropout whose mask follows from (seed, number of training steps), so that a resumed run draws the same masks.

    The step count is a variable of the layer: checkpoints hold it, `weights.save` leaves it out. Under
    `tf.distribute` each replica draws its own mask.

    Args:
      rate: share of the inputs set to zero while training; the others are divided by 1 - rate.
      seed: of the masks.
    """

    def __init__(self, rate: float, seed: int = 0, **options: Any):
        super().__init__(**options)
        if not 0 <= rate < 1:
            raise ValueError(f"Dropout's rate must be in [0, 1): it was {rate}.")
        self.rate, self.seed = rate, seed

    def build(self, input_shape: Any) -> None:
        """Makes the step counter."""
        self.seed_step = self.add_weight(
            name="seed_step", shape=(), dtype="int32", initializer="zeros", trainable=False
        )
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """(N, ...) -> (N, ...); the identity unless training."""
        if not training or not self.rate:
            return inputs
        context = tf.distribute.get_replica_context()
        replica = context.replica_id_in_sync_group if context else 0
        step = tf.convert_to_tensor(self.seed_step) + 1
        self.seed_step.assign(step)
        seed = tf.stack([tf.cast(step, tf.int32), self.seed + 7919 * tf.cast(replica, tf.int32)])
        keep = tf.random.stateless_uniform(tf.shape(inputs), seed) >= self.rate
        return tf.where(keep, inputs / (1.0 - self.rate), tf.zeros_like(inputs))

    def get_config(self) -> dict[str, Any]:
        """rate and seed."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


def conv_bn(x: Any, channels: int, name: str, *, size: int = 3, stride: int = 1, relu: bool = True) -> Any:
    """Convolution without a bias, batch norm, ReLU: (N, H, W, C) -> (N, H/stride, W/stride, channels)."""
    x = keras.layers.Conv2D(
        channels, size, stride, "same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv"
    )(x)
    x = BatchNorm(name=f"{name}_norm")(x)
    return keras.layers.Activation("relu", name=f"{name}_relu")(x) if relu else x


def residual_block(x: Any, channels: int, name: str) -> Any:
    """ReLU(x + norm(conv(relu(norm(conv(x)))))), with a 1x1 convolution on x where the channels change."""
    shortcut = x if x.shape[-1] == channels else conv_bn(x, channels, f"{name}_skip", size=1, relu=False)
    y = conv_bn(conv_bn(x, channels, f"{name}_a"), channels, f"{name}_b", relu=False)
    return keras.layers.Activation("relu", name=f"{name}_relu")(keras.layers.Add(name=f"{name}_add")([y, shortcut]))
