"""Affine maps of pictures: TensorFlow's kernel, and the same bits in operations that XLA compiles.

The kernel is the faster on a CPU; it does not exist under XLA, and a GPU's multiplies and adds in one rounding. What a
training step makes on the device is therefore computed by `warp(..., compiled=True)`: the kernel's float32 arithmetic,
each of its roundings in whole numbers, which no compiler reorders.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

FILLS = ("reflect", "constant")


def to_dtype(values: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Casts; to whole numbers by rounding, half to even."""
    return tf.cast(tf.round(values) if dtype.is_integer else values, dtype)


def rotate(images: tf.Tensor, degrees: tf.Tensor | float, fill: str = "reflect") -> tf.Tensor:
    """Rotates about the centre, bilinear. images: (N, H, W, C), the same comes back; degrees: scalar or (N,)."""
    radians = tf.cast(degrees, tf.float32) * (np.pi / 180)
    linear = turn(tf.broadcast_to(radians, (tf.shape(images)[0],)))
    return affine(images, linear, tf.zeros_like(linear[..., 0]), fill)


def affine(images: tf.Tensor, linear: tf.Tensor, shift: tf.Tensor, fill: str = "reflect") -> tf.Tensor:
    """Samples the picture, bilinear, at linear @ (p - centre) + centre + shift for every output pixel p = (x, y).

    Args:
      images: (N, H, W, C) uint8 or float32; the same comes back.
      linear: (N, 2, 2) float32, maps output offsets to input offsets, (x, y) order.
      shift: (N, 2) float32, in input pixels, (x, y) order.
      fill: one of `FILLS`, else ValueError.
    """
    images = tf.convert_to_tensor(images)
    return warp(images, warp_rows(linear, shift, tf.shape(images)[1:3]), fill)


def turn(radians: tf.Tensor) -> tf.Tensor:
    """(N,) angles -> (N, 2, 2), where an output offset (x, y) of a picture turned counter-clockwise comes from."""
    cos, sin = tf.cos(radians), tf.sin(radians)
    return tf.stack([tf.stack([cos, -sin], -1), tf.stack([sin, cos], -1)], -2)


def warp_rows(linear: tf.Tensor, shift: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """The map of `affine` from pixel to pixel, centre and shift put in.

    Args:
      linear, shift: of `affine`.
      size: (2,) int, (H, W) of the picture.
    Returns:
      (N, 6) float32, rows (x from x, x from y, x at the origin, y from x, y from y, y at the origin).
    """
    centre = (tf.cast(tf.gather(size, (1, 0)), tf.float32) - 1.0) / 2.0
    offset = centre + shift - tf.linalg.matvec(linear, centre)
    return tf.reshape(tf.concat([linear, offset[..., None]], -1), (-1, 6))


def warp(images: tf.Tensor, rows: tf.Tensor, fill: str = "reflect", compiled: bool = False) -> tf.Tensor:
    """Samples pictures, bilinear, where `rows` says.

    Args:
      images: (N, H, W, C) uint8 or float32; the same comes back.
      rows: (N, 6) float32, of `warp_rows`.
      fill: one of `FILLS`, else ValueError.
      compiled: whether in operations that XLA compiles, of the same bits (as the kernel's of x86) on every device.
    """
    if fill not in FILLS:
        raise ValueError(f"fill must be one of {FILLS}, not {fill!r}.")
    images = tf.convert_to_tensor(images)
    if compiled:
        return to_dtype(_compiled(tf.cast(images, tf.float64), rows, fill), images.dtype)
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=tf.pad(rows, [[0, 0], [0, 2]]),
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode=fill.upper(),
    )
    return to_dtype(tf.ensure_shape(warped, images.shape), images.dtype)


def resizing(source: int, length: int) -> np.ndarray:
    """How much each pixel of a line counts for each pixel of the resized line: (length, source) float32, rows sum to 1.

    Keys' cubic with a = -0.5, widened where the line shrinks: Pillow's bicubic, without its rounding to bytes.
    """
    scale = source / length
    place = np.arange(source) + 0.5 - ((np.arange(length) + 0.5) * scale)[:, None]
    x = np.abs(place) / max(scale, 1.0)
    near, far = (1.5 * x - 2.5) * x * x + 1.0, (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
    weights = np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32)


def _compiled(images: tf.Tensor, rows: tf.Tensor, fill: str) -> tf.Tensor:
    """`warp` of float64 images by float64: every product is exact, and `_single` rounds where the kernel does."""
    _, height, width, channels = images.shape
    row = tf.cast(rows, tf.float64)[:, :, None, None]
    across, down = np.arange(width, dtype=np.float64)[None, None], np.arange(height, dtype=np.float64)[None, :, None]
    at = []
    for first, length in ((0, width), (3, height)):
        place = _single(_single(row[:, first] * across) + _single(row[:, first + 1] * down))
        place = _single(place + row[:, first + 2])
        at.append(_reflected(place, length) if fill == "reflect" else place)
    (x, y), (left, top) = at, (tf.floor(place) for place in at)
    flat = tf.reshape(images, (-1, height * width, channels))

    def pixel(y: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        y, x = (tf.cast(tf.clip_by_value(v, 0.0, n - 1.0), tf.int32) for v, n in ((y, height), (x, width)))
        found = tf.gather(flat, tf.reshape(y * width + x, (-1, height * width)), batch_dims=1)
        found = tf.reshape(found, (-1, height, width, channels))
        return tf.where(inside[..., None], found, tf.zeros_like(found))

    def mix(place: tf.Tensor, low: tf.Tensor, first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
        before, after = _single(low + 1 - place)[..., None], (place - low)[..., None]
        return _single(_single(before * first) + _single(after * second))

    upper = mix(x, left, pixel(top, left), pixel(top, left + 1))
    lower = mix(x, left, pixel(top + 1, left), pixel(top + 1, left + 1))
    return mix(y, top, upper, lower)


def _reflected(place: tf.Tensor, length: int) -> tf.Tensor:
    """The kernel's fold of a coordinate into the picture: d c b a | a b c d | d c b a."""
    period = 2.0 * length
    turns = tf.floor(_single(tf.abs(place) / period)) * period
    below, above = _single(place + turns), _single(place - turns)
    below = tf.where(below < -length, _single(below + period), _single(-below - 1))
    above = tf.where(above >= length, _single(_single(period - above) - 1), above)
    folded = tf.where(place < 0, below, tf.where(place > length - 1, above, place))
    return tf.clip_by_value(folded, 0.0, length - 1.0)


def _single(value: tf.Tensor) -> tf.Tensor:
    """float64 rounded to the nearest float32, half to even, still as float64; in whole numbers, see above."""
    bits = tf.bitcast(value, tf.int64)
    even = tf.bitwise.bitwise_and(tf.bitwise.right_shift(bits, np.int64(29)), np.int64(1))
    return tf.bitcast(tf.bitwise.bitwise_and(bits + even + np.int64(2**28 - 1), np.int64(-(2**29))), tf.float64)
