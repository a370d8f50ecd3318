"""A framed face on its way into a network, as operations of a graph: decoding, resizing, grey.

The steps on bytes are Pillow's, in whole numbers and bit for bit: bicubic resizing (with antialiasing), first of the
width, then of the height; ITU-R BT.601 grey; transparency on white.
"""

from __future__ import annotations

import tensorflow as tf

from fer_tf import pictures

ONE = 2**22  # what the whole-number weights of a resized pixel add up to


def framed(faces: tf.Tensor, size: tuple[int, int], channels: int = 1, exact: bool = True) -> tf.Tensor:
    """A framed face in the size of its template, as Pillow makes it, bit for bit.

    Args:
      faces: (N, H, W, 1|3) uint8; no dimension has to be known while the graph is built.
      size: (height, width).
      channels: 1 grey (BT.601), 3 RGB (grey faces get three equal channels).
      exact: off, the resizing is computed in float32, by constants that half precision holds too, and now and then a
        value is off by one.
    Returns:
      (N, height, width, channels) uint8.
    Raises:
      tf.errors.InvalidArgumentError: other than 1 or 3 channels.
    """
    own = tf.shape(faces)[-1]
    with tf.control_dependencies([tf.debugging.Assert((own == 1) | (own == 3), ["faces need 1 or 3 channels:", own])]):
        values = tf.cast(faces, tf.float64 if exact else tf.float32)
    one = ONE if exact else 1
    for axis, length, equation in ((2, size[1], "nhwc,kw->nhkc"), (1, size[0], "nhwc,kh->nkwc")):
        weights = _bicubic(tf.shape(faces)[axis], length, values.dtype)
        weights = _rounded(weights * one) if exact else weights
        values = tf.floor((tf.einsum(equation, values, weights) + one / 2) / one)
        values = tf.clip_by_value(values, 0.0, 255.0)
    rgb = tf.broadcast_to(tf.cast(values, tf.int32), (tf.shape(faces)[0], *size, 3))
    if channels == 1:
        rgb = (tf.reduce_sum(rgb * (19595, 38470, 7471), -1, keepdims=True) + 2**15) // 2**16
    return tf.ensure_shape(tf.cast(rgb, tf.uint8), (None, *size, channels))


def _bicubic(source: tf.Tensor, length: int, dtype: tf.DType = tf.float64) -> tf.Tensor:
    """How much each pixel of a line counts for each pixel of the resized line: (length, source), each row adding up to
    one. Keys' cubic with a = -0.5, widened where the line shrinks."""
    if dtype == tf.float64:
        scale = tf.cast(source, dtype) / length
        centres = (tf.range(length, dtype=dtype) + 0.5) * scale
        pixels = tf.cast(tf.range(source), dtype) + 0.5
        x = tf.abs(pixels[None] - centres[:, None]) * (1.0 / tf.maximum(scale, 1.0))
    else:  # the same in whole numbers, times 2 length: LiteRT keeps constants in half precision, 1 / length too
        pixels = (2 * tf.range(source) + 1)[None] * length
        centres = (2 * tf.range(length) + 1)[:, None] * source
        x = tf.cast(tf.abs(pixels - centres), dtype) / tf.cast(2 * tf.maximum(source, length), dtype)
    near, far = (1.5 * x - 2.5) * x * x + 1.0, (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
    weights = tf.where(x < 1.0, near, tf.where(x < 2.0, far, tf.zeros_like(x)))
    total = tf.reduce_sum(weights, -1, keepdims=True)
    if dtype == tf.float64:
        return weights * (1.0 / total)
    return weights / total  # LiteRT's XNNPACK takes 1 / sum for the mean, where the size is not known before


def _rounded(values: tf.Tensor) -> tf.Tensor:
    """The nearest whole numbers, halves away from zero."""
    return tf.sign(values) * tf.floor(tf.abs(values) + 0.5)


def decoded(data: tf.Tensor) -> tf.Tensor:
    """A JPEG or PNG file as Pillow decodes it, transparency on white: string scalar -> (H, W, 3) uint8."""

    def jpeg() -> tf.Tensor:
        return tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")

    return tf.cond(tf.io.is_jpeg(data), jpeg, lambda: _png(data))


def _png(data: tf.Tensor) -> tf.Tensor:
    """A PNG file of any depth: string scalar -> (H, W, 3) uint8."""
    pixels = tf.cast(tf.io.decode_png(data, channels=4), tf.int32)
    head = tf.io.decode_raw(tf.strings.substr(data, 24, 2), tf.uint8)
    depth, colour = tf.cast(head[0], tf.int32), head[1]
    alpha = pixels[..., 3:]
    filler = (
        tf.bitwise.left_shift(1, tf.minimum(depth, 8)) - 1
    )  # of files without transparency, short of 255 below 8 bit
    alpha = tf.where(tf.reduce_all(alpha == filler), 255, alpha)
    blend = 128 * (pixels[..., :3] * alpha + 255 * (255 - alpha) + 128)
    rgb = tf.cast((blend // 256 + blend) // 2**15, tf.uint8)
    return tf.cond((depth == 16) & (colour == 0), lambda: _sixteen(data), lambda: rgb)


def _sixteen(data: tf.Tensor) -> tf.Tensor:
    """A 16-bit grey PNG, by the range that `pictures.RANGES` gives its values."""
    values = tf.cast(tf.io.decode_png(data, channels=1, dtype=tf.uint16), tf.int32)
    ranges = tf.constant(pictures.RANGES, tf.int32)
    top = tf.reduce_min(tf.where(ranges >= tf.reduce_max(values), ranges, ranges[-1]))
    return tf.cast(tf.repeat((510 * values + top) // (2 * top), 3, -1), tf.uint8)
