"""Random views made inside a training step, on the device, of standardised grey faces and of pairs of them.

    views = StepViews(seed=0)                      # a layer: checkpoints hold the count of its steps
    drawn = views.draw(count)                      # a few numbers a face
    faces = views.show(faces, drawn)               # turned, sized, moved, mirrored, blurred, lit, covered
    inputs, share = views.mix(inputs, drawn)       # with the face at the same place from the end of the batch

All of it are dense operations that XLA compiles, at a few multiplications a pixel; no gradient goes through them.

Mixup: Zhang et al. (ICLR 2018). CutMix: Yun et al. (ICCV 2019). Random erasing: Zhong et al. (AAAI 2020).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from fer_tf import draws
from fer_tf.compat import keras
from fer_tf.layers import step_seed
from fer_tf.warp import resizing, turn, warp_rows

NUMBERS = 24
"""Drawn for each face."""

SIDES = (14, 18, 22, 26, 30, 34)
"""Pixels a side that a coarse view is reduced to, and enlarged from."""

SHARES = 4096
"""Equally likely shares of the first face in mixup, in the table that is drawn from."""


@keras.utils.register_keras_serializable("fer_tf")
class StepViews(keras.layers.Layer):
    """Random views of grey faces (N, S, S, 1) float32 in [0, 1]; what a layer of seed and step count draws.

    Args:
      degrees: largest turn; small ones are likelier.
      zoom: largest change of size, as a share, likewise; height and width also differ by up to four fifths of it.
      shift: largest move, as a share of the side; likewise.
      light: 1 for contrast by +-30 %, brightness by +-0.15, gamma by a factor of 0.7 to 1.4 and a ramp of light of +-35
        % across the face; 0 for none.
      coarse: share of the faces that lose resolution.
      noise: largest standard deviation of a grain.
      erase: share of the faces in which a rectangle is covered.
      mixup: share of the faces that are mixed with another one.
      cutmix: share of the faces into which a rectangle of another one is put; at most 1 with `mixup`.
      alpha: of mixup's Beta distribution.
      seed: of all of it.
    """

    def __init__(
        self,
        *,
        degrees: float = 25.0,
        zoom: float = 0.2,
        shift: float = 0.1,
        light: float = 0.7,
        coarse: float = 0.15,
        noise: float = 0.03,
        erase: float = 0.5,
        mixup: float = 0.4,
        cutmix: float = 0.1,
        alpha: float = 0.4,
        seed: int = 0,
        **options: Any,
    ):
        super().__init__(**options)
        if not 0 <= mixup + cutmix <= 1:
            raise ValueError(f"Shares of mixup {mixup} and cutmix {cutmix} have to add up to at most 1.")
        self.degrees, self.zoom, self.shift, self.light, self.noise = degrees, zoom, shift, light, noise
        self.coarse, self.erase, self.mixup, self.cutmix, self.alpha = coarse, erase, mixup, cutmix, alpha
        self.seed = seed
        first = np.random.default_rng(0).beta(max(alpha, 1e-3), max(alpha, 1e-3), SHARES)
        self._shares = np.sort(np.maximum(first, 1 - first)).astype(np.float32)

    def build(self, input_shape: Any) -> None:
        """Makes the step counter, which checkpoints hold and `weights.save` leaves out."""
        self.seed_step = self.add_weight(
            name="seed_step", shape=(), dtype="int64", initializer="zeros", trainable=False
        )
        self.built = True

    def draw(self, count: int | tf.Tensor) -> dict[str, tf.Tensor]:
        """What a step draws: {"numbers": (count, NUMBERS) float32 in [0, 1), "seed": (2,) int32 of the grain}."""
        seed = step_seed(self)
        return {"numbers": draws.uniform((count, NUMBERS), seed), "seed": seed + np.array([0, 104729], np.int32)}

    def show(self, faces: tf.Tensor, drawn: dict[str, tf.Tensor]) -> tf.Tensor:
        """(N, S, S, 1) float32 in [0, 1] -> views of the same form."""
        u = drawn["numbers"]
        faces = sampled(faces, self.rows(u[:, :7], int(faces.shape[1]), int(faces.shape[2])))
        faces = self.reduced(faces, u[:, 7], u[:, 8])
        faces = lit(faces, self.light, u[:, 9:14])
        grain = (draws.uniform(tf.shape(faces), drawn["seed"]) - 0.5) * np.float32(12**0.5)
        faces = faces + grain * (self.noise * tf.square(u[:, 14]))[:, None, None, None]
        covered = rectangle(faces, u[:, 15], u[:, 16], 0.15 + 0.3 * u[:, 17], 0.15 + 0.3 * u[:, 18])
        covered &= (u[:, 6] < self.erase)[:, None, None, None]
        return tf.where(covered, u[:, 19, None, None, None], faces)

    def rows(self, u: tf.Tensor, height: int, width: int) -> tf.Tensor:
        """The affine map of each view, for `sampled`: (N, 6) float32, from numbers (N, 7) in [0, 1)."""
        v = 2.0 * u - 1.0
        v = v * tf.sqrt(tf.abs(v))  # small changes are likelier
        zoom = np.log1p(self.zoom).astype(np.float32)
        magnify, aspect = tf.exp(zoom * v[:, 1]), tf.exp(0.4 * zoom * v[:, 2])
        mirror = tf.where(u[:, 5] < 0.5, -1.0, 1.0)
        linear = turn(v[:, 0] * np.float32(self.degrees * np.pi / 180))
        sizes = tf.stack([mirror / (magnify * aspect), aspect / magnify], -1)
        move = self.shift * v[:, 3:5] * np.array([width, height], np.float32)
        return warp_rows(linear * sizes[:, None, :], move, tf.constant([height, width]))

    def reduced(self, faces: tf.Tensor, chosen: tf.Tensor, which: tf.Tensor) -> tf.Tensor:
        """A share `coarse` of the faces, where `chosen` (N,) is small, as if taken at one of `SIDES` pixels a side."""
        side = int(faces.shape[1])
        sides = [s for s in SIDES if s < side] or [side]
        there_and_back = [resizing(s, side) @ resizing(side, s) for s in sides]
        table = np.stack([np.eye(side, dtype=np.float32), *there_and_back])
        place = 1 + tf.cast(which * len(sides), tf.int32)
        lines = tf.gather(table, tf.where(chosen < self.coarse, place, tf.zeros_like(place)))
        flat = tf.matmul(tf.matmul(lines, faces[..., 0]), lines, transpose_b=True)
        return flat[..., None]

    def mix(self, inputs: tf.Tensor, drawn: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Some of (N, S, S, 1) mixed with the one at the same place from the end, and the share (N,) that they keep."""
        u = drawn["numbers"]
        other = tf.reverse(inputs, [0])
        share = tf.gather(self._shares, tf.cast(u[:, 21] * SHARES, tf.int32))
        blend, cut = u[:, 20] < self.mixup, (u[:, 20] >= self.mixup) & (u[:, 20] < self.mixup + self.cutmix)
        share = tf.where(blend, share, tf.ones_like(share))
        inputs = share[:, None, None, None] * inputs + (1.0 - share)[:, None, None, None] * other
        side = tf.sqrt(0.1 + 0.35 * u[:, 21])
        inside = rectangle(inputs, u[:, 22], u[:, 23], side, side) & cut[:, None, None, None]
        area = tf.reduce_mean(tf.cast(inside, tf.float32), [1, 2, 3])
        return tf.where(inside, other, inputs), share - area

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = ("degrees", "zoom", "shift", "light", "coarse", "noise", "erase", "mixup", "cutmix", "alpha", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


def mixed(targets: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Targets (N, K) mixed as `StepViews.mix` mixed the faces: share (N,) of the own one."""
    return share[:, None] * targets + (1.0 - share)[:, None] * tf.reverse(targets, [0])


def sampled(faces: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """`warp.warp` by float32, mirrored at the edges (d c b a | a b c d | d c b a), for faces with one channel.

    The last bits differ between devices: for what is drawn at random anyway.

    Args:
      faces: (N, H, W, 1) float32.
      rows: (N, 6) float32, of `warp.warp_rows`; sources lie at most one picture beside the picture.
    Returns:
      (N, H, W, 1) float32.
    """
    _, height, width, _ = faces.shape
    row = rows[:, :, None, None]
    across, down = np.arange(width, dtype=np.float32)[None, None], np.arange(height, dtype=np.float32)[None, :, None]
    x = folded(row[:, 0] * across + row[:, 1] * down + row[:, 2], width)
    y = folded(row[:, 3] * across + row[:, 4] * down + row[:, 5], height)
    left = tf.minimum(tf.floor(x), width - 2.0)
    top = tf.minimum(tf.floor(y), height - 2.0)
    x, y = x - left, y - top
    flat = tf.reshape(faces, (-1, height * width))
    corner = tf.reshape(tf.cast(top * width + left, tf.int32), (-1, height * width))
    taps = [tf.gather(flat, corner + tap, batch_dims=1) for tap in (0, 1, width, width + 1)]
    a, b, c, d = (tf.reshape(tap, (-1, height, width)) for tap in taps)
    upper, lower = a + (b - a) * x, c + (d - c) * x
    return (upper + (lower - upper) * y)[..., None]


def folded(place: tf.Tensor, length: int) -> tf.Tensor:
    """A coordinate folded into 0 .. length - 1 as a mirror at the edge does, from at most one length beside it."""
    inside = length - tf.abs(length - tf.abs(place + 0.5)) - 0.5
    return tf.clip_by_value(inside, 0.0, length - 1.0)


def lit(faces: tf.Tensor, strength: float, u: tf.Tensor) -> tf.Tensor:
    """Other light on faces (N, H, W, 1) in [0, 1], by numbers (N, 5) in [0, 1): contrast, brightness, gamma, a ramp."""
    _, height, width, _ = faces.shape
    v = [strength * (2.0 * n - 1.0)[:, None, None, None] for n in tf.unstack(u, axis=-1)]
    faces = (faces - 0.5) * (1.0 + 0.3 * v[0]) + 0.5 + 0.15 * v[1]
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, None, :, None]
    down = np.linspace(-1, 1, height, dtype=np.float32)[None, :, None, None]
    faces = faces * (1.0 + 0.35 * v[3] * across + 0.35 * v[4] * down)
    return tf.pow(tf.clip_by_value(faces, 1e-4, 1.0), tf.exp(0.35 * v[2]))


def rectangle(faces: tf.Tensor, x: tf.Tensor, y: tf.Tensor, across: tf.Tensor, down: tf.Tensor) -> tf.Tensor:
    """The pixels of a rectangle in each of some faces.

    Args:
      faces: (N, H, W, C).
      x, y: (N,) centres, as shares of width and height.
      across, down: (N,) width and height, as such shares.
    Returns:
      (N, H, W, 1) bool.
    """
    _, height, width, _ = faces.shape
    columns = ((np.arange(width) + 0.5) / width).astype(np.float32)[None]
    lines = ((np.arange(height) + 0.5) / height).astype(np.float32)[None]
    near = tf.abs(columns - x[:, None]) < across[:, None] / 2
    level = tf.abs(lines - y[:, None]) < down[:, None] / 2
    return (level[:, :, None] & near[:, None, :])[..., None]
