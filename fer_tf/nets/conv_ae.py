"""GCNet's auto-encoder (Table I): a convolutional encoder, and a decoder that unpools where it pooled.

**Readings** (what the paper leaves open)

- Table I, padding: "same". The whole S1R1 net then has 2,736,365 weights with seven classes, the "3M" of section IV-C.
  With "valid" it has 1,704,173, the "1.7 M" of section IV-E.
- Table I, "Conv. BNorm": no convolution has a bias before its norm. Kernels start from He's normal distribution.
- Table I, "MaxUnPool": a pooling's largest value returns to where it was, as its encoder's argmax says; the rest is 0.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fer_tf.compat import BatchNorm, keras
from fer_tf.layers import MaxPoolWithArgmax, MaxUnpooling, scaled

SIZE = 64
"""Pixels a side of a view."""

ENCODER = ((5, 32), (3, 64), (3, 96))
"""Table I: (kernel, channels) of the convolutions."""

DECODER = ((3, 64), (3, 32), (5, 1))
"""Table I: of the transposed ones."""


def build_encoder(*, width: float = 1.0, padding: str = "same", name: str = "encoder") -> Any:
    """En of Table I.

    Args:
      width: times the printed channels.
      padding: "same", or "valid", which gives maps of 6x6.
    Returns:
      A net: (N, 64, 64, 1) in [0, 1] -> [code (N, 8, 8, 96) >= 0, three argmax maps int32, first pooling first].
    """
    inputs = x = keras.Input((SIZE, SIZE, 1), name="face")
    places = []
    for i, (size, channels) in enumerate(ENCODER, 1):
        options = {"use_bias": False, "kernel_initializer": "he_normal", "name": f"conv{i}"}
        x = keras.layers.Conv2D(scaled(channels, width), size, padding=padding, **options)(x)
        x = keras.layers.Activation("relu", name=f"relu{i}")(BatchNorm(name=f"norm{i}")(x))
        x, place = MaxPoolWithArgmax(name=f"pool{i}")(x)
        places.append(place)
    return keras.Model(inputs, [x, *places], name=name)


def build_decoder(encoder: Any, *, width: float = 1.0, padding: str = "same", name: str = "decoder") -> Any:
    """De of Table I; it unpools where the encoder pooled. Its last ReLU is printed, too: pixels are not negative.

    Args:
      encoder: of `build_encoder`.
      width, padding: as the encoder's.
    Returns:
      A net: what `encoder` gives -> a face (N, 64, 64, 1) float32 >= 0.
    """
    shapes = [tuple(output.shape[1:]) for output in encoder.outputs]
    inputs = [keras.Input(shapes[0], name="code")]
    inputs += [keras.Input(s, dtype="int32", name=f"place{i}") for i, s in enumerate(shapes[1:], 1)]
    x = inputs[0]
    for i, (size, printed) in enumerate(DECODER, 1):
        channels = scaled(printed, width) if i < len(DECODER) else printed
        x = MaxUnpooling(name=f"unpool{i}")([x, inputs[len(ENCODER) + 1 - i]])
        options = {"use_bias": False, "kernel_initializer": "he_normal", "name": f"conv{i}"}
        x = keras.layers.Conv2DTranspose(channels, size, padding=padding, **options)(x)
        x = keras.layers.Activation("relu", name=f"relu{i}")(BatchNorm(name=f"norm{i}")(x))
    return keras.Model(inputs, keras.layers.Activation("linear", dtype="float32", name="face")(x), name=name)


class ConvAE(keras.layers.Layer):
    """G of eq. (3) as Table I has it: Encoder1 and a decoder that unpools where it pooled."""

    terms: tuple[str, ...] = ()
    discriminator = None

    def __init__(self, *, width: float, padding: str, seed: int, **options: Any):
        super().__init__(name="generator", **options)
        self.encoder = build_encoder(width=width, padding=padding, name="encoder1")
        self.decoder = build_decoder(self.encoder, width=width, padding=padding, name="decoder")
        self.built = True

    def call(self, images: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """(N, 64, 64, 1) in [0, 1] -> the reference face (N, 64, 64, 1) >= 0, and no further losses."""
        return self.decoder(self.encoder(images, training=training), training=training), {}
