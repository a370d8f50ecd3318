"""Random numbers that follow from a seed, the same ones by TensorFlow's kernels and by XLA.

`tf.random.stateless_uniform` makes floats of its bits in one way on a device and in another under XLA, and
`stateless_normal` takes another formula there; the whole numbers are the same ones. So floats are made of them here,
equal to TensorFlow's kernels: a step that is compiled draws the masks and the noise of one that is not.

A `seed` is (2,) int32, >= 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


def uniform(shape: Any, seed: tf.Tensor) -> tf.Tensor:
    """Float32 in [0, 1) of a shape: bit for bit what `tf.random.stateless_uniform` draws outside XLA."""
    bits = tf.random.stateless_uniform(shape, seed, None, None, tf.uint32)
    return tf.cast(tf.bitwise.bitwise_and(bits, tf.constant(2**23 - 1, tf.uint32)), tf.float32) * 2.0**-23


def normal(shape: Any, seed: tf.Tensor) -> tf.Tensor:
    """N(0, 1), float32: what `tf.random.stateless_normal` draws outside XLA, to 1e-6 (the Box-Muller transform)."""
    count = tf.reduce_prod(shape)
    pairs = uniform([(count + 1) // 2, 2], seed)
    length = tf.sqrt(-2.0 * tf.math.log(tf.maximum(pairs[:, 0], 1e-7)))
    angle = np.float32(2 * np.pi) * pairs[:, 1]
    drawn = tf.stack([tf.sin(angle) * length, tf.cos(angle) * length], axis=-1)
    return tf.reshape(tf.reshape(drawn, (-1,))[:count], shape)


def order(count: int, seed: tf.Tensor) -> tf.Tensor:
    """The numbers 0 .. count - 1 shuffled: (count,) int32."""
    return tf.argsort(uniform((count,), seed), stable=True)
