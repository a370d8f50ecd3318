"""A U-Net that predicts by how much a face differs from its neutral one; no paper's, an option of GCNet's eq. (3).

GCNet's Encoder1 passes a code and places on, in which detail is lost. Here every scale is passed on (Ronneberger,
Fischer, Brox, MICCAI 2015), and what is predicted is added to the face itself, so that an untrained net gives the face
back. It enlarges by repeating pixels, which leaves no dots.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fer_tf.compat import BatchNorm, keras
from fer_tf.layers import scaled

SIZE = 64
"""Pixels a side."""

CHANNELS = (16, 32, 64, 64)
"""Channels on the way down, each at half the side of the one before; the way up has the same."""


def build_difference(*, width: float = 1.0, name: str = "unet") -> Any:
    """A net: (N, 64, 64, 1) in [0, 1] -> (N, 64, 64, 1) float32, zero before any step.

    Args:
      width: times the channels.
      name: of the net.
    """
    inputs = x = keras.Input((SIZE, SIZE, 1), name="face")
    options, skips = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal"}, []
    for i, channels in enumerate(CHANNELS, 1):
        skips.append(x)
        x = keras.layers.Conv2D(scaled(channels, width), 3, 2, name=f"down{i}_conv", **options)(x)
        x = keras.layers.Activation("relu", name=f"down{i}_relu")(BatchNorm(name=f"down{i}_norm")(x))
    for i, channels in reversed([*enumerate(CHANNELS, 1)]):
        x = keras.layers.UpSampling2D(2, name=f"up{i}_larger")(x)
        x = keras.layers.Concatenate(name=f"up{i}_skip")([x, skips.pop()])
        x = keras.layers.Conv2D(scaled(channels, width), 3, name=f"up{i}_conv", **options)(x)
        x = keras.layers.Activation("relu", name=f"up{i}_relu")(BatchNorm(name=f"up{i}_norm")(x))
    end = keras.layers.Conv2D(1, 3, padding="same", kernel_initializer="zeros", name="end")(x)
    return keras.Model(inputs, keras.layers.Activation("linear", dtype="float32", name="difference")(end), name=name)


class UNet(keras.layers.Layer):
    """A generator of GCNet that has no code: the face, and what the net adds to it."""

    terms: tuple[str, ...] = ()
    discriminator = None

    def __init__(self, *, width: float, padding: str, seed: int, **options: Any):
        super().__init__(name="generator", dtype="float32", **options)  # a face is added in all bits
        self.net = build_difference(width=width)
        self.built = True

    @property
    def decoder(self) -> Any:
        """All of it: it learns at the decoders' rate."""
        return self.net

    def call(self, images: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """(N, 64, 64, 1) in [0, 1] -> the reference face (N, 64, 64, 1) float32, and no further losses."""
        return images + self.net(images, training=training), {}
