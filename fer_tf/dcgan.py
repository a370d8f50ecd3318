"""DCGAN's two networks (Radford, Metz, Chintala, ICLR 2016) on grey faces of 64x64, which GCNet's Fig. 7 builds on."""

from __future__ import annotations

from typing import Any

from fer_tf.compat import BatchNorm, keras

SIZE = 64
"""Pixels a side."""

CHANNELS = (64, 128, 256, 512)
"""Channels of the discriminator; the generator has them in reverse."""

CODE = 100
"""Size of the generator's code."""


def scaled(channels: int, width: float) -> int:
    """The published channels times `width`, at least one."""
    return max(1, round(channels * width))


def build_encoder(outputs: int, *, width: float = 1.0, name: str = "encoder") -> Any:
    """DCGAN's discriminator without its end: (N, 64, 64, 1) -> (N, outputs) float32. 4x4, stride 2, leaky ReLU 0.2."""
    inputs = x = keras.Input((SIZE, SIZE, 1), name="face")
    normal = keras.initializers.RandomNormal(stddev=0.02)
    for i, channels in enumerate(CHANNELS, 1):
        options = {"use_bias": False, "kernel_initializer": normal, "name": f"conv{i}"}
        x = keras.layers.Conv2D(scaled(channels, width), 4, 2, "same", **options)(x)
        x = x if i == 1 else BatchNorm(name=f"norm{i}")(x)
        x = keras.layers.LeakyReLU(0.2, name=f"relu{i}")(x)
    x = keras.layers.Conv2D(outputs, 4, kernel_initializer=normal, name="end")(x)
    x = keras.layers.Reshape((outputs,), name="flat")(x)
    return keras.Model(inputs, keras.layers.Activation("linear", dtype="float32", name="code")(x), name=name)


def build_decoder(*, width: float = 1.0, name: str = "decoder") -> Any:
    """DCGAN's generator with a sigmoid: a code (N, 100) -> a face (N, 64, 64, 1) float32 in [0, 1]."""
    inputs = keras.Input((CODE,), name="code")
    normal = keras.initializers.RandomNormal(stddev=0.02)
    x = keras.layers.Reshape((1, 1, CODE), name="map")(inputs)
    for i, channels in enumerate(reversed(CHANNELS), 1):
        options = {"use_bias": False, "kernel_initializer": normal, "name": f"conv{i}"}
        stride, padding = (1, "valid") if i == 1 else (2, "same")
        x = keras.layers.Conv2DTranspose(scaled(channels, width), 4, stride, padding, **options)(x)
        x = keras.layers.Activation("relu", name=f"relu{i}")(BatchNorm(name=f"norm{i}")(x))
    x = keras.layers.Conv2DTranspose(1, 4, 2, "same", kernel_initializer=normal, name="end")(x)
    return keras.Model(inputs, keras.layers.Activation("sigmoid", dtype="float32", name="face")(x), name=name)
