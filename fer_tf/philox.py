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

LOW, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


class AtOnce(dict[str, tf.Tensor]):
    """Seeds whose numbers are drawn already: purpose -> (count, width) float32. Made by `at_once`."""


def at_once(seed: tf.Tensor, **widths: int) -> AtOnce:
    """Draws for several purposes in one pass: `uniform` gives the same numbers of it as of the seeds themselves.

    A pass is 240 nodes of a graph, however many numbers it draws, and each new iterator instantiates them.

    Args:
      seed: (N, 2) int.
      **widths: purpose -> numbers a row.
    """
    seeds = tf.bitwise.bitwise_xor(tf.cast(seed, tf.int64), np.stack([_salt(purpose) for purpose in widths])[:, None])
    numbers = _numbers(tf.reshape(seeds, (-1, 2)), max(widths.values()))
    numbers = tf.unstack(tf.reshape(numbers, (len(widths), -1, max(widths.values()))))
    return AtOnce({name: drawn[:, :width] for (name, width), drawn in zip(widths.items(), numbers, strict=True)})


def uniform(seed: tf.Tensor | AtOnce, count: int | tf.Tensor, width: int, purpose: str) -> tf.Tensor:
    """Uniform numbers in [0, 1), whole multiples of 2**-23.

    Args:
      seed: (2,) int for all rows, or (count, 2) with a seed per row, or what `at_once` made of these.
      count: rows.
      width: numbers a row.
      purpose: mixed in, so that functions draw independently of each other.
    Returns:
      (count, width) float32.
    """
    if isinstance(seed, AtOnce):
        return tf.ensure_shape(seed[purpose], (None, width))
    seed = tf.bitwise.bitwise_xor(tf.cast(seed, tf.int64), _salt(purpose))
    if seed.shape.rank == 1:
        return tf.reshape(_numbers(seed[None], count * width), (count, width))
    return _numbers(seed, width)


def _salt(purpose: str) -> np.ndarray:
    return np.array([zlib.crc32(purpose.encode()) << 31, 0], np.int64)


def _numbers(seeds: tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
    """What `tf.random.stateless_uniform((width,), s)` gives for each s of (N, 2) int64: (N, width) float32."""
    groups = (width + 3) // 4
    words = tf.cast(tf.transpose(seeds)[:, :, None], tf.uint64)  # (2, N, 1)
    low, high = tf.bitwise.bitwise_and(words, LOW), tf.bitwise.right_shift(words, HALF)
    mixed, more = _philox(low, high, tf.constant(SCRAMBLER))
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
    low, half, multipliers, axis = (tf.constant(v) for v in (LOW, HALF, MULTIPLIERS, [0]))  # once, not in each round
    xor = tf.bitwise.bitwise_xor
    for step in tf.unstack(tf.bitwise.bitwise_and(key[None] + steps, low)[..., None]):
        product = tf.reverse(even * multipliers, axis)
        even = xor(xor(tf.bitwise.right_shift(product, half), odd), step)
        odd = tf.bitwise.bitwise_and(product, low)
    return even, odd
