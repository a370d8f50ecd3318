"""Augmentation on tensors: primitives, and the view enumerations that the papers train on.

Everything here is plain TensorFlow, but for `clahe(on_host=True)`: it runs eagerly, in `tf.function`, inside
`tf.data.Dataset.map` and on a GPU alike (for the same views on the device, call the same function on the batch there).

Conventions
  Images are (N, H, W, C), uint8 in 0..255 or float32 in [0, 1]; the dtype that goes in comes out. A uint8 result is the
  rounded (half to even) float result.
  Angles are degrees, positive = counter-clockwise as seen on the screen (like `scipy.ndimage.rotate`, `np.rot90`
  and `tfa.image.rotate`), about the centre ((W - 1) / 2, (H - 1) / 2).
  Fill "reflect" is SciPy's mode "reflect" (d c b a | a b c d | d c b a: the edge pixel is repeated); fill "constant"
  is SciPy's "grid-constant" with zeros (a pixel beside the edge still mixes with the zeros).
  A `seed` is a (2,) int tensor that draws for the whole batch, or an (N, 2) one with a seed per image, so that an
  image's view does not depend on its neighbours in the batch (see `view_seed`). Nothing keeps a state: the same seed is
  the same view, so an (input, target) pair gets one view. Different functions draw independently from one seed.

View enumerations (index: the last factor runs fastest; crops in the order of `CROPS`)
  ia_gen_views   70x70 -> 110 of 64x64, rotate, crop, flip:  index = (rotation * 5 + crop) * 2 + flip
  de_gan_views  110x110 -> 110 of 96x96, crop, rotate, flip:  index = (crop * 11 + rotation) * 2 + flip
  ed2l_patches  128x110 -> 10 of 112x96, crop, flip:          index = crop * 2 + flip
with rotation 0..10 for -15, -12, ..., 0, ..., 15 degrees and flip 1 for the mirrored view.

What is drawn and what is made of it are apart: `heads`, `corners`, `factors`, `affine_rows` draw by seed, or by seeds
`at_once` (flip=1, crop=2, intensity=1, affine=4); `flip_where`, `crop_at`, `scale_intensity`, `warp` change the
pictures, under XLA too, in the same bits on every device.

Speed: rotations gather with constant tables, the images of a batch side by side in memory. Give an enumeration 32 to 64
images at once and keep bytes until the batch: one core of an AMD EPYC makes 640,000 views/s by `ia_gen_views`.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from fer_tf.equalise import clahe
from fer_tf.philox import at_once, uniform
from fer_tf.warp import FILLS, affine, rotate, to_dtype, turn, warp, warp_rows

__all__ = [
    "CROPS",
    "Drawn",
    "FILLS",
    "Views",
    "affine",
    "affine_rows",
    "at_once",
    "centre_crop",
    "clahe",
    "corners",
    "crop_at",
    "crop_offsets",
    "de_gan_views",
    "ed2l_patches",
    "factors",
    "five_crops",
    "flip",
    "flip_where",
    "heads",
    "ia_gen_views",
    "random_affine",
    "random_crop",
    "random_flip",
    "random_intensity",
    "rotate",
    "scale_intensity",
    "to_dtype",
    "view_seed",
    "warp",
]

CROPS = ("centre", "top-left", "top-right", "bottom-left", "bottom-right")
FEW = 8  # places across, up to which a crop is cut at all of them rather than pixel by pixel
WEIGHT_STEP = 2.0**-16  # of the rotation tables: byte x weight and their sums are exact in float32


def flip(images: tf.Tensor) -> tf.Tensor:
    """Mirrors left and right. images: (..., H, W, C), any dtype; the same shape comes back."""
    images = tf.convert_to_tensor(images)
    if images.shape[-1] == 1:  # on a CPU several times faster than the general case
        return tf.reverse(images[..., 0], axis=[-1])[..., None]
    return tf.reverse(images, axis=[-2])


def crop_offsets(source: tuple[int, int], size: tuple[int, int]) -> list[tuple[int, int]]:
    """The (top, left) pixels of the five crops, in the order of `CROPS`; ValueError if a crop does not fit."""
    if None in source or source[0] < size[0] or source[1] < size[1]:
        raise ValueError(f"A crop of {tuple(size)} does not fit into an image of {tuple(source)} (height, width).")
    down, right = source[0] - size[0], source[1] - size[1]
    return [(down // 2, right // 2), (0, 0), (0, right), (down, 0), (down, right)]


def centre_crop(images: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """The centre crop (an odd margin is larger at the bottom and right). (..., H, W, C) -> (..., *size, C)."""
    return _crop(images, *crop_offsets(images.shape[-3:-1], size)[0], size)


def five_crops(images: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Centre, top-left, top-right, bottom-left, bottom-right. (..., H, W, C) -> (..., 5, *size, C), the same dtype."""
    return tf.stack([_crop(images, *corner, size) for corner in crop_offsets(images.shape[-3:-1], size)], axis=-4)


def _crop(images: tf.Tensor, top: int, left: int, size: tuple[int, int]) -> tf.Tensor:
    """(..., H, W, C) -> (..., *size, C). Columns and channels are cut as one axis, which copies whole rows."""
    channels = images.shape[-1]
    cut = _columns(images, left, size[1])[..., top : top + size[0], :]
    cut = tf.reshape(cut, tf.concat([tf.shape(images)[:-3], [*size, channels]], 0))
    return tf.ensure_shape(cut, [*images.shape[:-3], *size, channels])


def _columns(images: tf.Tensor, left: int, count: int) -> tf.Tensor:
    """(..., H, W, C) -> (..., H, count * C), some of the columns."""
    width, channels = images.shape[-2:]
    rows = tf.reshape(images, tf.concat([tf.shape(images)[:-2], [width * channels]], 0))
    return rows[..., left * channels : (left + count) * channels]


def scale_intensity(images: tf.Tensor, factors: tf.Tensor | float) -> tf.Tensor:
    """Multiplies the intensity and clips to the dtype's range. factors: scalar or (N,), > 0."""
    images = tf.convert_to_tensor(images)
    factors = tf.broadcast_to(tf.cast(factors, tf.float32), (tf.shape(images)[0],))
    top = 255.0 if images.dtype == tf.uint8 else 1.0
    scaled = tf.clip_by_value(tf.cast(images, tf.float32) * factors[:, None, None, None], 0.0, top)
    return to_dtype(scaled, images.dtype)


def view_seed(seed: int | tf.Tensor, epoch: int | tf.Tensor, index: int | tf.Tensor) -> tf.Tensor:
    """One seed for each (seed, epoch, index), no two alike: (2,) or (N, 2) int64.

    Args:
      seed, epoch: scalars in 0 .. 2**31 - 1.
      index: scalar or (N,), the images' running numbers in the data set.
    """
    index = tf.cast(index, tf.int64)
    run = tf.cast(seed, tf.int64) * 2**32 + tf.cast(epoch, tf.int64)
    return tf.stack([tf.broadcast_to(run, tf.shape(index)), index], axis=-1)


def heads(seed: tf.Tensor, count: int | tf.Tensor) -> tf.Tensor:
    """Which of `count` images `random_flip` mirrors: (count,) bool."""
    return uniform(seed, count, 1, "flip")[:, 0] < 0.5


def flip_where(images: tf.Tensor, mirrored: tf.Tensor) -> tf.Tensor:
    """Mirrors the images that are named. (N, H, W, C), (N,) bool -> (N, H, W, C)."""
    images = tf.convert_to_tensor(images)
    count = tf.size(mirrored)
    which = tf.range(count) + count * tf.cast(mirrored, tf.int32)  # copies whole images: faster than a choice by pixel
    return tf.gather(tf.concat([images, flip(images)], 0), which)


def random_flip(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Mirrors each image with probability 1/2. (N, H, W, C) -> the same."""
    return flip_where(images, heads(seed, tf.shape(images)[0]))


def corners(source: tuple[int, int], size: tuple[int, int], seed: tf.Tensor, count: int | tf.Tensor) -> tf.Tensor:
    """The (top, left) pixels of `random_crop`: (count, 2) int32."""
    down, right = crop_offsets(source, size)[-1]
    draws = uniform(seed, count, 2, "crop")
    return tf.cast(tf.floor(draws * np.array([down + 1, right + 1], np.float32)), tf.int32)


def crop_at(images: tf.Tensor, size: tuple[int, int], corner: tf.Tensor) -> tf.Tensor:
    """Crops each image at its own place. (N, H, W, C), (N, 2) int32 (top, left) -> (N, *size, C)."""
    images = tf.convert_to_tensor(images)
    _, height, width, channels = images.shape
    right, number = width - size[1], tf.range(tf.shape(images)[0])
    if right < FEW:
        cuts = tf.stack([_columns(images, left, size[1]) for left in range(right + 1)], axis=1)
        start = (number * (right + 1) + corner[:, 1]) * height + corner[:, 0]
        rows = tf.gather(
            tf.reshape(cuts, (-1, size[1] * channels)), start[:, None] + np.arange(size[0], dtype=np.int32)
        )
        return tf.reshape(rows, (-1, *size, channels))
    inside = np.arange(size[0], dtype=np.int32)[:, None] * width + np.arange(size[1], dtype=np.int32)
    start = (number * height + corner[:, 0]) * width + corner[:, 1]
    pixels = tf.gather(tf.reshape(images, (-1, channels)), start[:, None] + inside.reshape(1, -1))
    return tf.reshape(pixels, (-1, *size, channels))


def random_crop(images: tf.Tensor, size: tuple[int, int], seed: tf.Tensor) -> tf.Tensor:
    """Crops each image at its own place, every place equally likely. (N, H, W, C) -> (N, *size, C)."""
    images = tf.convert_to_tensor(images)
    return crop_at(images, size, corners(tuple(images.shape[1:3]), size, seed, tf.shape(images)[0]))


def factors(seed: tf.Tensor, count: int | tf.Tensor, low: float = 0.8, high: float = 1.2) -> tf.Tensor:
    """The factors of `random_intensity`: (count,) float32 in [low, high)."""
    return low + (high - low) * uniform(seed, count, 1, "intensity")[:, 0]


def random_intensity(images: tf.Tensor, seed: tf.Tensor, low: float = 0.8, high: float = 1.2) -> tf.Tensor:
    """Multiplies each image by its own factor from [low, high), clipped to the dtype's range."""
    return scale_intensity(images, factors(seed, tf.shape(images)[0], low, high))


def affine_rows(
    size: tuple[int, int] | tf.Tensor,
    seed: tf.Tensor,
    count: int | tf.Tensor,
    degrees: float = 10.0,
    scale: tuple[float, float] = (0.9, 1.1),
    shift: float = 0.05,
) -> tf.Tensor:
    """What `warp` needs to move pictures of `size` as `random_affine` does: (count, 6) float32."""
    size = tf.convert_to_tensor(size)
    draws = uniform(seed, count, 4, "affine")
    radians = (2 * draws[:, 0] - 1) * (degrees * np.pi / 180)
    magnify = scale[0] + (scale[1] - scale[0]) * draws[:, 1]
    move = (2 * draws[:, 2:] - 1) * shift * tf.cast(tf.gather(size, (1, 0)), tf.float32)
    return warp_rows(turn(radians) / magnify[:, None, None], move, size)


def random_affine(
    images: tf.Tensor,
    seed: tf.Tensor,
    degrees: float = 10.0,
    scale: tuple[float, float] = (0.9, 1.1),
    shift: float = 0.05,
    fill: str = "reflect",
) -> tf.Tensor:
    """Rotates, magnifies and moves each image by its own random amount.

    Args:
      images: (N, H, W, C) uint8 or float32; the same comes back.
      degrees: the angle is uniform in +-degrees.
      scale: the magnification is uniform in this range (> 1: the face grows).
      shift: the move is uniform in +-shift of the height and width.
    """
    size, count = tf.shape(images)[1:3], tf.shape(images)[0]
    return warp(images, affine_rows(size, seed, count, degrees, scale, shift), fill)


class Drawn:
    """Views drawn at random, without numbers; what is drawn is apart from what is made of it.

    A subclass has `drawn` and `one`.
    """

    def drawn(self, seed: tf.Tensor, count: tf.Tensor, source: tuple[int, int]) -> dict[str, tf.Tensor]:
        """What `count` views of faces of `source` (H, W) take of their seeds, (N, 2) int64; made on the host."""
        raise TypeError(f"{type(self).__name__} has to define drawn(), what views take of their seeds.")

    def one(self, picture: tf.Tensor, drawn: dict[str, tf.Tensor], compiled: bool) -> tf.Tensor:
        """Views (N, h, w, C) of (N, H, W, C); `compiled`: by what XLA compiles, else on the host: the same bits."""
        raise TypeError(f"{type(self).__name__} has to define one(), the views of faces.")

    def random(self, images: Any, seed: tf.Tensor, turn: tf.Tensor, views: int) -> tuple[Any, tf.Tensor]:
        """The `turn`-th of `views` random views: of (N, H, W, C) or a structure of such, alike; and `turn` as int32."""
        chosen = self.chosen(seed, turn, views, tuple(tf.nest.flatten(images)[0].shape[1:3]))
        return self.shown(images, chosen), chosen["view"]

    def chosen(self, seed: tf.Tensor, turn: tf.Tensor, views: int, source: tuple[int, int]) -> dict[str, tf.Tensor]:
        """What `random` draws for faces of `source` (H, W): a few numbers a view, and its `turn` as "view"."""
        seed = tf.stack([seed[:, 0], seed[:, 1] * views + tf.cast(turn, seed.dtype)], axis=-1)
        return {"view": tf.cast(turn, tf.int32), **self.drawn(seed, tf.shape(seed)[0], source)}

    def shown(self, images: Any, chosen: dict[str, tf.Tensor], compiled: bool = False) -> Any:
        """What `random` makes of what was `chosen`."""
        return tf.nest.map_structure(lambda picture: self.one(picture, chosen, compiled), images)


@dataclass(frozen=True)
class Views:
    """A numbered set of views of an aligned face: rotations x five crops x flip.

    Calling it makes all views; `sample` makes chosen ones, `draw` chooses at random, `test_view` is the one for tests.

    Attributes:
      source: (H, W) of the face.
      size: (h, w) of a view.
      angles: degrees, in the order of the index.
      crop_first: True crops, then rotates the crop (reflecting at the crop's border; index (crop, rotation, flip));
        False rotates the whole face, then crops (index (rotation, crop, flip)).
    """

    source: tuple[int, int]
    size: tuple[int, int]
    angles: tuple[int, ...] = (0,)
    crop_first: bool = False

    def __len__(self) -> int:
        return len(self.angles) * len(CROPS) * 2

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """All views, in the order of the index. (N, H, W, C) -> (N, V, h, w, C), the same dtype."""
        images = self._checked(images)
        corners = crop_offsets(self.source, self.size)
        if self.crop_first:
            views = tf.stack([self._rotate_all(_crop(images, *corner, self.size)) for corner in corners], axis=1)
            views = tf.stack([views, flip(views)], axis=3)
        else:
            turned, margin = self._rotate_all(images), self.source[1] - self.size[1]
            faces = (turned, flip(turned))
            places = [(mirror, t, margin - x if mirror else x) for t, x in corners for mirror in (0, 1)]
            views = tf.stack([_crop(faces[mirror], top, left, self.size) for mirror, top, left in places], axis=2)
        return tf.reshape(views, (-1, len(self), *self.size, images.shape[-1]))

    def sample(self, images, indices: tf.Tensor):
        """Only the views asked for, the same ones for every picture of a pair; equal to those among all views.

        Args:
          images: (N, H, W, C), or a tuple, list or dict of such (an input and its target).
          indices: (N, v) int in 0 .. len(self) - 1.
        Returns:
          (N, v, h, w, C) of the same dtype, or a structure of such.
        """
        rotation, crop, mirror = self.factors(tf.reshape(tf.cast(indices, tf.int32), (-1,)))
        repeats = tf.shape(indices)[1]

        def choose(picture: tf.Tensor) -> tf.Tensor:
            picture = self._checked(picture)
            views = tf.repeat(picture, repeats, axis=0)
            views = views if self.crop_first else self._rotate_each(views, rotation)
            views = tf.gather(five_crops(views, self.size), crop, batch_dims=1)
            views = self._rotate_each(views, rotation) if self.crop_first else views
            views = tf.where(mirror[:, None, None, None] == 1, flip(views), views)
            return tf.reshape(views, (-1, repeats, *self.size, picture.shape[-1]))

        return tf.nest.map_structure(choose, images)

    def draw(self, seed: tf.Tensor, count: int | tf.Tensor, views: int) -> tf.Tensor:
        """Random indices for `sample`: (count, views) int32, different ones within an image."""
        draws = tf.cast(uniform(seed, count, len(self), "views") * 2**23, tf.int32 if len(self) <= 256 else tf.int64)
        later = np.arange(len(self))[::-1]  # of equal draws the first view wins, on every device
        return tf.math.top_k(draws * len(later) + tf.cast(later, draws.dtype), views).indices

    def random(self, images, seed: tf.Tensor, turn: tf.Tensor, views: int) -> tuple[tf.Tensor, tf.Tensor]:
        """One of the `views` different random views that a seed stands for.

        Args:
          images: (N, H, W, C), or a structure of such that gets the same view.
          seed: (N, 2) int.
          turn: (N,) int in 0 .. views - 1, which of them.
          views: how many an epoch takes of an image.
        Returns:
          (N, h, w, C) or a structure of such, and the views' indices (N,) int32.
        """
        chosen = self.chosen(seed, turn, views, self.source)
        return self.shown(images, chosen), chosen["view"]

    def chosen(self, seed: tf.Tensor, turn: tf.Tensor, views: int, source: tuple[int, int]) -> dict[str, tf.Tensor]:
        """What `random` draws for faces of `source` (H, W): {"view": (N,) int32}, the views' indices."""
        drawn = self.draw(seed, tf.shape(seed)[0], views)
        return {"view": tf.gather(drawn, tf.cast(turn, tf.int32)[:, None], batch_dims=1)[:, 0]}

    def shown(self, images, chosen: dict[str, tf.Tensor], compiled: bool = False):
        """What `random` makes of what was `chosen`: (N, h, w, C) or a structure of such, alike under XLA."""
        return tf.nest.map_structure(lambda view: view[:, 0], self.sample(images, chosen["view"][:, None]))

    def test_view(self, images: tf.Tensor) -> tf.Tensor:
        """The centre crop, unrotated and unflipped. (N, H, W, C) -> (N, h, w, C)."""
        return centre_crop(self._checked(images), self.size)

    def factors(self, indices):
        """(rotation, crop, flip) of an index, each of its shape: positions in `angles` and `CROPS`, and 0 or 1."""
        if self.crop_first:
            return indices // 2 % len(self.angles), indices // 2 // len(self.angles), indices % 2
        return indices // 2 // len(CROPS), indices // 2 % len(CROPS), indices % 2

    def _checked(self, images: tf.Tensor) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        if images.shape.rank != 4 or tuple(images.shape[1:3]) != self.source or images.shape[3] is None:
            height, width = self.source
            raise ValueError(f"These views need images of shape (N, {height}, {width}, C), not {images.shape}.")
        return images

    def _rotate_all(self, images: tf.Tensor) -> tf.Tensor:
        """(M, a, b, C) -> (M, A, a, b, C) at all angles. One pixel of all images is a row, and gathers copy rows."""
        if self.angles == (0,):
            return images[:, None]
        height, width, channels = images.shape[1:]
        pixels = tf.transpose(tf.reshape(images, (-1, height * width, channels)), (1, 0, 2))
        columns = tf.reshape(tf.cast(pixels, tf.float32), (height * width, -1))
        turned = []
        for corner, weights in zip(*_rotation_tables((height, width), self.angles), strict=True):
            taps = enumerate((0, 1, width, width + 1))
            mixed = tf.add_n([tf.gather(columns, corner + tap) * weights[k][:, None] for k, tap in taps])
            mixed = tf.reshape(to_dtype(mixed, images.dtype), (height * width, -1, channels))
            turned.append(tf.transpose(mixed, (1, 0, 2)))
        return tf.reshape(tf.stack(turned, axis=1), (-1, len(self.angles), height, width, channels))

    def _rotate_each(self, images: tf.Tensor, rotation: tf.Tensor) -> tf.Tensor:
        """(M, a, b, C) -> the same, image m turned by angles[rotation[m]]; equal to `_rotate_all`."""
        if self.angles == (0,):
            return images
        height, width, channels = images.shape[1:]
        corner, weights = _rotation_tables((height, width), self.angles)
        pixels = tf.reshape(images, (-1, channels))
        start = tf.range(tf.size(rotation)) * (height * width)
        index = tf.gather(corner, rotation) + start[:, None]
        taps = [tf.cast(tf.gather(pixels, index + tap), tf.float32) for tap in (0, 1, width, width + 1)]
        mixed = tf.add_n([tap * tf.gather(weights[:, k, :, None], rotation) for k, tap in enumerate(taps)])
        return tf.reshape(to_dtype(mixed, images.dtype), (-1, height, width, channels))


_ANGLES = tuple(range(-15, 16, 3))
ia_gen_views = Views(source=(70, 70), size=(64, 64), angles=_ANGLES)
de_gan_views = Views(source=(110, 110), size=(96, 96), angles=_ANGLES, crop_first=True)
ed2l_patches = Views(source=(128, 110), size=(112, 96))


@functools.cache
def _rotation_tables(size: tuple[int, int], angles: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The four pixels that each pixel of a rotated image mixes, and their weights; filled by reflection.

    Weights are rounded to multiples of 2**-16 that add up to 1: at most 3e-5 of the range off, and in exchange the mix
    of bytes is exact in float32, hence the same on every device, in every order of summation, for every batch size.

    Returns:
      corner (A, H*W) int32, the upper left of the four, an index into the flattened image; weights (A, 4, H*W) float32.
    """
    height, width = size
    y, x = np.mgrid[:height, :width].astype(np.float64)
    y, x = y.ravel() - (height - 1) / 2, x.ravel() - (width - 1) / 2
    corners, weights = [], []
    for angle in np.deg2rad(angles):
        left, right_share = _reflect(np.cos(angle) * x - np.sin(angle) * y + (width - 1) / 2, width)
        top, low_share = _reflect(np.sin(angle) * x + np.cos(angle) * y + (height - 1) / 2, height)
        corners.append(top * width + left)
        across, down = np.stack([1 - right_share, right_share]), np.stack([1 - low_share, low_share])
        weight = np.round((down[:, None] * across[None, :]).reshape(4, -1) / WEIGHT_STEP)
        weight[weight.argmax(0), np.arange(height * width)] += 1 / WEIGHT_STEP - weight.sum(0)
        weights.append(weight * WEIGHT_STEP)
    return np.stack(corners).astype(np.int32), np.stack(weights).astype(np.float32)


def _reflect(position: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Folds positions into the image as SciPy's "reflect": the lower neighbour and the share of the upper one."""
    folded = np.mod(position + 0.5, 2 * length)
    folded = np.minimum(folded, 2 * length - folded) - 0.5
    folded = np.clip(folded, 0, length - 1)
    lower = np.minimum(np.floor(folded), length - 2)
    return lower.astype(np.int64), folded - lower
