"""Random numbers by seed, alike on every device: TensorFlow's Philox, all seeds at once.

`tf.random.stateless_uniform` takes one seed, and under XLA it draws by another algorithm than the CPU's kernel does.
What is here is that kernel in whole numbers (J. Salmon et al.: "Parallel random numbers: as easy as 1, 2, 3", 2011; the
seed is scrambled as TensorFlow does), hence the same bits eagerly, in a graph, under XLA and on a GPU.
"""

from __future__ import annotations

import zlib

import numpy as np
import tensorflow as tf

ROUNDS = 10
MULTIPLIERS = np.array([0xD2511F53, 0xCD9E8D57], np.uint64)[:, None, None]
WEYL = np.array([0x9E3779B9, 0xBB67AE85], np.uint64)[:, None]
SCRAMBLER = np.array([0x3EC8F720, 0x02461E29], np.uint64)[:, None]
"""The key by which TensorFlow turns a seed into key and counter."""

LOW = np.uint64(0xFFFFFFFF)


def uniform(seed: tf.Tensor, count: int | tf.Tensor, width: int, purpose: str) -> tf.Tensor:
    """Uniform numbers in [0, 1), whole multiples of 2**-23.

    Args:
      seed: (2,) int for all rows, or (count, 2) with a seed per row.
      count: rows.
      width: numbers a row.
      purpose: mixed in, so that functions draw independently of each other.
    Returns:
      (count, width) float32.
    """
    salt = np.array([zlib.crc32(purpose.encode()) << 31, 0], np.int64)
    seed = tf.bitwise.bitwise_xor(tf.cast(seed, tf.int64), salt)
    if seed.shape.rank == 1:
        return tf.reshape(_numbers(seed[None], count * width), (count, width))
    return _numbers(seed, width)


def _numbers(seeds: tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
    """What `tf.random.stateless_uniform((width,), s)` gives for each s of (N, 2) int64: (N, width) float32."""
    groups = (width + 3) // 4
    words = tf.cast(tf.transpose(seeds)[:, :, None], tf.uint64)  # (2, N, 1)
    mixed, more = _philox(_low(words), _high(words), tf.constant(SCRAMBLER))
    key, (third, fourth) = tf.stack([mixed[0, :, 0], more[0, :, 0]]), (mixed[1], more[1])
    group = tf.cast(tf.range(groups), tf.uint64)[None] + tf.zeros_like(third)
    even, odd = _philox(tf.stack([group, third + tf.zeros_like(group)]),
                        tf.stack([tf.zeros_like(group), fourth + tf.zeros_like(group)]), key)  # fmt: skip
    words = tf.stack([even[0], odd[0], even[1], odd[1]], axis=-1)
    mantissa = tf.cast(tf.bitwise.bitwise_and(words, np.uint64(2**23 - 1)), tf.int32)
    return tf.reshape(tf.cast(mantissa, tf.float32) * np.float32(2.0**-23), (-1, 4 * groups))[:, :width]


def _philox(even: tf.Tensor, odd: tf.Tensor, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Philox4x32-10 of many counters. Words are uint64 below 2**32.

    Args:
      even: (2, N, G), the counters' words 0 and 2; odd: words 1 and 3.
      key: (2, N or 1).
    Returns:
      Words 0 and 2, and words 1 and 3.
    """
    steps = np.arange(ROUNDS, dtype=np.uint64)[:, None, None] * WEYL
    for step in tf.unstack(_low(key[None] + steps)[..., None]):
        product = tf.reverse(even * MULTIPLIERS, [0])
        even, odd = tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(_high(product), odd), step), _low(product)
    return even, odd


def _low(words: tf.Tensor) -> tf.Tensor:
    return tf.bitwise.bitwise_and(words, LOW)


def _high(words: tf.Tensor) -> tf.Tensor:
    return tf.bitwise.right_shift(words, np.uint64(32))
