"""Streams of batches (tf.data) that start fast and end at once."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf


def untuned(stream: tf.data.Dataset) -> tf.data.Dataset:
    """The stream without tf.data's tuner.

    Its thread looks at the stream ever more seldom, after 10 ms, 20 ms ... 41 s, and the stream's end waits for it: an
    epoch took as long as the next sum of these, up to twice its time.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return stream.with_options(options)


def onward(stream: Callable[[tf.Tensor], tf.data.Dataset], number: int, until: int = tf.int64.max) -> tf.data.Dataset:
    """The stream of an epoch and of all that follow, one after the other.

    Each new iterator instantiates all graphs of its stream, which takes 0.1 to 0.4 s of CPU time: more than many an
    epoch. One that goes on has them.

    Args:
      stream: number of an epoch () int64 -> its batches, or plans.
      number: of the first.
      until: of the first that is not among them.
    """
    return untuned(tf.data.Dataset.range(number, until).flat_map(stream))
