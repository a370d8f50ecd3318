"""Augmentation on tensors: primitives, and the view enumerations that the papers train on.

Everything here is plain TensorFlow: it runs eagerly, in `tf.function`, inside `tf.data.Dataset.map` and on a GPU alike
(for the same views on the device, call the same function on the batch there).

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

Speed: rotations gather with constant tables, the images of a batch side by side in memory. Give an enumeration 32 to 64
images at once and keep bytes until the batch: one idle Xeon core (AVX-512) makes 300,000 views/s by `ia_gen_views` and
37,000 by `de_gan_views` (which rotates 55 crops, not 11 faces), and samples 9,000 single views/s.
"""

import functools
import zlib
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

CROPS = ("centre", "top-left", "top-right", "bottom-left", "bottom-right")
FILLS = ("reflect", "constant")
WEIGHT_STEP = 2.0**-16  # of the rotation tables: byte x weight and their sums are exact in float32


def flip(images: tf.Tensor) -> tf.Tensor:
    """Mirrors left and right. images: (..., H, W, C), any dtype; the same shape comes back."""
    images = tf.convert_to_tensor(images)
    if images.shape[-1] == 1:  # on a CPU several times faster than the general case
        return tf.reverse(images[..., 0], axis=[-1])[..., None]
    return tf.reverse(images, axis=[-2])


def rotate(images: tf.Tensor, degrees: tf.Tensor | float, fill: str = "reflect") -> tf.Tensor:
    """Rotates about the centre, bilinear. images: (N, H, W, C), the same comes back; degrees: scalar or (N,)."""
    radians = tf.cast(degrees, tf.float32) * (np.pi / 180)
    linear = _turn(tf.broadcast_to(radians, (tf.shape(images)[0],)))
    return affine(images, linear, tf.zeros_like(linear[..., 0]), fill)


def affine(images: tf.Tensor, linear: tf.Tensor, shift: tf.Tensor, fill: str = "reflect") -> tf.Tensor:
    """Samples the picture, bilinear, at linear @ (p - centre) + centre + shift for every output pixel p = (x, y).

    Args:
      images: (N, H, W, C) uint8 or float32; the same comes back.
      linear: (N, 2, 2) float32, maps output offsets to input offsets, (x, y) order.
      shift: (N, 2) float32, in input pixels, (x, y) order.
      fill: one of `FILLS`, else ValueError.
    """
    if fill not in FILLS:
        raise ValueError(f"fill must be one of {FILLS}, not {fill!r}.")
    images = tf.convert_to_tensor(images)
    size = tf.shape(images)[1:3]
    centre = (tf.cast(tf.gather(size, (1, 0)), tf.float32) - 1.0) / 2.0
    offset = centre + shift - tf.linalg.matvec(linear, centre)
    rows = tf.reshape(tf.concat([linear, offset[..., None]], -1), (-1, 6))
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=tf.pad(rows, [[0, 0], [0, 2]]),
        output_shape=size,
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode=fill.upper(),
    )
    return to_dtype(tf.ensure_shape(warped, images.shape), images.dtype)


def _turn(radians: tf.Tensor) -> tf.Tensor:
    """(N,) angles -> (N, 2, 2), where an output offset (x, y) of a picture turned counter-clockwise comes from."""
    cos, sin = tf.cos(radians), tf.sin(radians)
    return tf.stack([tf.stack([cos, -sin], -1), tf.stack([sin, cos], -1)], -2)


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
    width, channels = images.shape[-2:]
    outer = tf.shape(images)[:-3]
    rows = tf.reshape(images, tf.concat([tf.shape(images)[:-2], [width * channels]], 0))
    cut = rows[..., top : top + size[0], left * channels : (left + size[1]) * channels]
    cut = tf.reshape(cut, tf.concat([outer, [*size, channels]], 0))
    return tf.ensure_shape(cut, [*images.shape[:-3], *size, channels])


def scale_intensity(images: tf.Tensor, factors: tf.Tensor | float) -> tf.Tensor:
    """Multiplies the intensity and clips to the dtype's range. factors: scalar or (N,), > 0."""
    images = tf.convert_to_tensor(images)
    factors = tf.broadcast_to(tf.cast(factors, tf.float32), (tf.shape(images)[0],))
    top = 255.0 if images.dtype == tf.uint8 else 1.0
    scaled = tf.clip_by_value(tf.cast(images, tf.float32) * factors[:, None, None, None], 0.0, top)
    return to_dtype(scaled, images.dtype)


def clahe(images: tf.Tensor, clip_limit: float = 2.0, tiles: tuple[int, int] = (8, 8)) -> tf.Tensor:
    """Contrast-limited adaptive histogram equalisation, equal to OpenCV's createCLAHE within one grey level.

    Like there, an image whose sides are not both multiples of the tile counts is first extended to the right and the
    bottom by mirroring. Channels are equalised separately; float images are quantised to 256 levels.

    Args:
      images: (N, H, W, C) uint8 or float32 in [0, 1]; the same comes back.
      clip_limit: a bin's limit as a multiple of the mean count of a bin; 0 for none.
      tiles: how many tiles (down, across).
    """
    images = tf.convert_to_tensor(images)
    (_, height, width, channels), (down, across) = images.shape, tiles
    grey = images if images.dtype == tf.uint8 else tf.round(tf.clip_by_value(images, 0.0, 1.0) * 255)
    grey = tf.reshape(tf.transpose(tf.cast(grey, tf.int32), (0, 3, 1, 2)), (-1, height, width))
    if height % down or width % across:
        grey = tf.pad(grey, [[0, 0], [0, down - height % down], [0, across - width % across]], "REFLECT")
    tile = (grey.shape[1] // down, grey.shape[2] // across)
    blocks = tf.reshape(grey, (-1, down, tile[0], across, tile[1]))
    blocks = tf.reshape(tf.transpose(blocks, (0, 1, 3, 2, 4)), (-1, tile[0] * tile[1]))
    curves = tf.reshape(_clahe_curves(blocks, clip_limit), (-1, down * across * 256))

    top, bottom, low = _tile_mix(height, tile[0], down)
    left, right, far = _tile_mix(width, tile[1], across)
    grey = grey[:, :height, :width]

    def look_up(row: np.ndarray, column: np.ndarray) -> tf.Tensor:
        start = (row[:, None] * across + column[None, :]) * 256
        index = tf.reshape(start[None] + grey, (-1, height * width))
        return tf.reshape(tf.gather(curves, index, batch_dims=1), (-1, height, width))

    upper = look_up(top, left) * (1 - far) + look_up(top, right) * far
    lower = look_up(bottom, left) * (1 - far) + look_up(bottom, right) * far
    mixed = tf.round(upper * (1 - low)[:, None] + lower * low[:, None])
    mixed = tf.transpose(tf.reshape(mixed, (-1, channels, height, width)), (0, 2, 3, 1))
    return tf.cast(mixed, tf.uint8) if images.dtype == tf.uint8 else tf.cast(mixed / 255.0, images.dtype)


def _clahe_curves(blocks: tf.Tensor, clip_limit: float) -> tf.Tensor:
    """Tone curves of tiles: (T, P) int32 pixels in 0..255 -> (T, 256) float32, whole numbers in 0..255."""
    count, area = tf.shape(blocks)[0], blocks.shape[1]
    bins = tf.reshape(blocks + tf.range(count)[:, None] * 256, (-1,))
    histogram = tf.reshape(tf.math.unsorted_segment_sum(tf.ones_like(bins), bins, count * 256), (-1, 256))
    if clip_limit > 0:  # what is cut off is spread over all bins, the rest over every step-th one
        limit = max(int(clip_limit * area / 256), 1)
        excess = tf.reduce_sum(tf.maximum(histogram - limit, 0), axis=1, keepdims=True)
        rest, place = excess % 256, tf.range(256)[None, :]
        step = 256 // tf.maximum(rest, 1)
        one_more = tf.logical_and(place % step == 0, place // step < rest)
        histogram = tf.minimum(histogram, limit) + excess // 256 + tf.cast(one_more, tf.int32)
    curve = tf.cast(tf.cumsum(histogram, axis=1), tf.float32) * np.float32(255.0 / area)
    return tf.minimum(tf.round(curve), 255.0)


def _tile_mix(length: int, tile: int, tiles: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each pixel along one axis: the tile before, the tile after, and the share of the latter."""
    position = np.arange(length, dtype=np.float32) * np.float32(1.0 / tile) - np.float32(0.5)
    before = np.floor(position)
    tile_before = before.astype(np.int32)
    return np.maximum(tile_before, 0), np.minimum(tile_before + 1, tiles - 1), position - before


def view_seed(seed: int | tf.Tensor, epoch: int | tf.Tensor, index: int | tf.Tensor) -> tf.Tensor:
    """One seed for each (seed, epoch, index), no two alike: (2,) or (N, 2) int64.

    Args:
      seed, epoch: scalars in 0 .. 2**31 - 1.
      index: scalar or (N,), the images' running numbers in the data set.
    """
    index = tf.cast(index, tf.int64)
    run = tf.cast(seed, tf.int64) * 2**32 + tf.cast(epoch, tf.int64)
    return tf.stack([tf.broadcast_to(run, tf.shape(index)), index], axis=-1)


def random_flip(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Mirrors each image with probability 1/2. (N, H, W, C) -> the same."""
    heads = _uniform(seed, tf.shape(images)[0], 1, "flip")[:, 0] < 0.5
    return tf.where(heads[:, None, None, None], flip(images), images)


def random_crop(images: tf.Tensor, size: tuple[int, int], seed: tf.Tensor) -> tf.Tensor:
    """Crops each image at its own place, every place equally likely. (N, H, W, C) -> (N, *size, C)."""
    images = tf.convert_to_tensor(images)
    _, height, width, channels = images.shape
    down, right = crop_offsets((height, width), size)[-1]
    draws = _uniform(seed, tf.shape(images)[0], 2, "crop")
    corner = tf.cast(tf.floor(draws * np.array([down + 1, right + 1], np.float32)), tf.int32)
    inside = np.arange(size[0], dtype=np.int32)[:, None] * width + np.arange(size[1], dtype=np.int32)
    index = (corner[:, 0] * width + corner[:, 1])[:, None] + inside.reshape(1, -1)
    pixels = tf.gather(tf.reshape(images, (-1, height * width, channels)), index, batch_dims=1)
    return tf.reshape(pixels, (-1, *size, channels))


def random_intensity(images: tf.Tensor, seed: tf.Tensor, low: float = 0.8, high: float = 1.2) -> tf.Tensor:
    """Multiplies each image by its own factor from [low, high), clipped to the dtype's range."""
    draws = _uniform(seed, tf.shape(images)[0], 1, "intensity")[:, 0]
    return scale_intensity(images, low + (high - low) * draws)


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
    count, size = tf.shape(images)[0], tf.shape(images)[1:3]
    draws = _uniform(seed, count, 4, "affine")
    radians = (2 * draws[:, 0] - 1) * (degrees * np.pi / 180)
    magnify = scale[0] + (scale[1] - scale[0]) * draws[:, 1]
    move = (2 * draws[:, 2:] - 1) * shift * tf.cast(tf.gather(size, (1, 0)), tf.float32)
    return affine(images, _turn(radians) / magnify[:, None, None], move, fill)


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
        return tf.math.top_k(_uniform(seed, count, len(self), "views"), views).indices

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
        indices = tf.gather(self.draw(seed, tf.shape(seed)[0], views), turn[:, None], batch_dims=1)
        return tf.nest.map_structure(lambda view: view[:, 0], self.sample(images, indices)), indices[:, 0]

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


def to_dtype(values: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Casts; to whole numbers by rounding, half to even."""
    return tf.cast(tf.round(values) if dtype.is_integer else values, dtype)


def _uniform(seed: tf.Tensor, count: int | tf.Tensor, width: int, purpose: str) -> tf.Tensor:
    """(count, width) float32 in [0, 1); the purpose is mixed in, so that functions draw independently of each other."""
    salt = np.array([zlib.crc32(purpose.encode()) << 31, 0], np.int64)
    seed = tf.bitwise.bitwise_xor(tf.cast(seed, tf.int64), salt)
    if seed.shape.rank == 1:
        return tf.random.stateless_uniform((count, width), seed)
    draw = functools.partial(tf.random.stateless_uniform, (width,))
    return tf.map_fn(draw, seed, fn_output_signature=tf.TensorSpec((width,), tf.float32))
