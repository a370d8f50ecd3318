"""Faces that live on the device: whether they fit there, and batches gathered and turned inside a training step.

    if data.resident:
        step = tf.function(lambda plan: model.train_step(data.assemble(plan)), jit_compile=True)
        for plan in data.plans(epoch):
            step(plan)

A plan holds a few numbers a view: its row, and what was drawn for it. They are drawn on the host, in the order of the
fed route, and `assemble` makes of them the batch that the fed route gives, bit for bit: all of it is arithmetic that is
exact, or rounded in whole numbers (`fer_tf.warp`). The faces are kept as bytes, 4.8 MB for 981 of 70x70, not turned:
turning them anew is a few gathers of a fused kernel.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import tensorflow as tf

FEEDS = ("auto", "host", "resident")
"""Of `pipeline.Batches(device=...)`."""

SHARE = 0.25
"""Of the device's memory, what faces may take of it."""

IN_UNIT_RANGE = (np.arange(256) / np.float32(255)).astype(np.float32)
"""Byte -> float32 in [0, 1], as the fed route divides; a compiler would multiply by the reciprocal."""


@functools.cache
def memory_bytes() -> int:
    """What TensorFlow may take of the first GPU's memory; 0 without a GPU."""
    if not tf.config.list_logical_devices("GPU"):
        return 0
    from tensorflow.python.client import device_lib

    limits = [device.memory_limit for device in device_lib.list_local_devices() if device.device_type == "GPU"]
    return int(limits[0]) if limits else 0


def fits(size: int, memory: int, share: float = SHARE) -> bool:
    """Whether so many bytes of faces fit a share of a device's memory."""
    return 0 < size <= share * memory


def shows(views: Any, training: bool) -> bool:
    """Whether views can be made inside a step: to train on, what is drawn has to be apart from what is made of it."""
    return not training or (hasattr(views, "chosen") and hasattr(views, "shown"))


def in_unit_range(image: tf.Tensor) -> tf.Tensor:
    """uint8 -> float32 in [0, 1], in the bits of a division by 255 on every device."""
    return tf.gather(IN_UNIT_RANGE, tf.cast(image, tf.int32))
