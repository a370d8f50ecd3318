"""fer_tf.equalise against the definition, OpenCV and scikit-image; the same bits under XLA."""

import cv2
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from fer_tf import augment, equalise


def pictures(count: int, height: int, width: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """(N, H, W, C) uint8: blobs with fine noise on top."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.random((count, height, width, channels)), (0, 5, 5, 0))
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return (200 * smooth + 55 * rng.random(smooth.shape)).astype(np.uint8)


def clahe_by_hand(image: np.ndarray, clip: float, tiles: int) -> np.ndarray:
    """(H, W) uint8, sides divisible by the tiles; pixel by pixel from the definition, the end not rounded."""
    high, wide = image.shape[0] // tiles, image.shape[1] // tiles
    curves = np.zeros((tiles, tiles, 256))
    for i, j in np.ndindex(tiles, tiles):
        counts = np.bincount(image[i * high : (i + 1) * high, j * wide : (j + 1) * wide].ravel(), minlength=256)
        limit = max(int(clip * high * wide / 256), 1)
        over = int(np.maximum(counts - limit, 0).sum())
        counts = np.minimum(counts, limit) + over // 256
        for place in range(over % 256):
            counts[place * max(256 // (over % 256), 1)] += 1
        curves[i, j] = np.round(np.cumsum(counts) * 255 / (high * wide))
    out = np.zeros(image.shape)
    for y, x in np.ndindex(*image.shape):
        at_y, at_x = (y - high / 2) / high, (x - wide / 2) / wide  # in tiles, from the middle of the first tile
        for i in (int(np.floor(at_y)), int(np.floor(at_y)) + 1):
            for j in (int(np.floor(at_x)), int(np.floor(at_x)) + 1):
                share = (1 - abs(at_y - i)) * (1 - abs(at_x - j))
                out[y, x] += share * curves[np.clip(i, 0, tiles - 1), np.clip(j, 0, tiles - 1), image[y, x]]
    return out


def test_clahe_equals_the_definition():
    images = pictures(1, 64, 48, channels=2)
    ours = augment.clahe(images).numpy().astype(float)
    for channel in range(2):
        assert np.abs(ours[0, :, :, channel] - clahe_by_hand(images[0, :, :, channel], 2.0, 8)).max() <= 0.501
    as_float = augment.clahe(images / np.float32(255)).numpy()
    np.testing.assert_allclose(as_float * 255, ours, atol=1e-3)
    assert np.abs(ours - images).max() > 20


@pytest.mark.parametrize("size", [(64, 64), (66, 66), (64, 66), (110, 90)])
@pytest.mark.parametrize(("clip", "tiles"), [(2.0, (8, 8)), (40.0, (4, 8))])
def test_clahe_equals_opencv(size, clip, tiles):
    images = pictures(3, *size)
    images[2] = images[2] // 8 + 100  # little contrast
    reference = cv2.createCLAHE(clip, tiles[::-1])
    theirs = np.stack([reference.apply(image[:, :, 0]) for image in images])[..., None]
    off = np.abs(augment.clahe(images, clip, tiles).numpy().astype(int) - theirs).max()
    assert off == 0 if size == (64, 64) else off <= 1


@pytest.mark.parametrize(
    ("size", "tiles", "agrees"),
    [((64, 64), (8, 8), True), ((60, 124), (4, 8), True), ((66, 66), (8, 8), False), ((64, 66), (8, 8), False)],
)
def test_on_the_host_by_opencv_where_that_is_the_same_bits(size, tiles, agrees, monkeypatch):
    """Tiles of 8x8 and, filled up by mirroring, 16x16 pixels; of 9x9 and 9x8 OpenCV's mix is rounded on its way."""
    asked, opencv = [], equalise._opencv
    monkeypatch.setattr(equalise, "_opencv", lambda *words: (asked.append(words), opencv(*words))[1])
    images = pictures(6, *size, channels=2, seed=1)
    images[3:] = images[3:] // 8 + np.array([0, 100, 224], np.uint8)[:, None, None, None]  # little contrast
    for given in (images, (images + np.float32(0.499)) / np.float32(255), (images - np.float32(0.499)) / 255):
        shape = tf.TensorSpec((None, *size, 2), given.dtype)

        @tf.function(input_signature=[shape])
        def both(x):
            ways = [(clip, on_host) for clip in (0, 2.0, 40.0) for on_host in (False, True)]
            return [augment.clahe(x, clip, tiles, on_host) for clip, on_host in ways]

        made = [value.numpy() for value in both(given)]
        for device, host in zip(made[::2], made[1::2], strict=True):
            assert host.dtype == given.dtype and host.shape == given.shape and len(np.unique(host)) > 99
            np.testing.assert_array_equal(host, device)
        assert np.any(made[1] != made[3]) and np.any(made[3] != made[5])
    assert len(asked) == (9 if agrees else 0)
    assert not agrees or augment.clahe(images[:0], tiles=tiles, on_host=True).shape == (0, *size, 2)


@pytest.mark.parametrize(("clip", "mean_difference"), [(0, 0.5), (8, 2.0)])
def test_clahe_agrees_with_scikit_image(clip, mean_difference):
    """In grey levels. It spreads the clipped counts until none is above the limit, OpenCV once: alike if high."""
    exposure = pytest.importorskip("skimage.exposure", reason="scikit-image is a development dependency")
    image = pictures(1, 128, 128)[0] // 2 + 40
    image[0, 0], image[0, 1] = 0, 255  # scikit-image stretches to the full range first
    limit = clip / 256 if clip else 1.0
    theirs = 255 * exposure.equalize_adapthist(image[:, :, 0], kernel_size=16, clip_limit=limit, nbins=256)
    ours = augment.clahe(image[None], clip).numpy()[0, :, :, 0]
    assert np.abs(ours - theirs).mean() < mean_difference
    assert np.abs(image[:, :, 0] - theirs).mean() > 10


@pytest.mark.parametrize("size", [(64, 64), (50, 66)])
def test_clahe_compiles_to_the_same_bits(size):
    images = pictures(3, *size)
    compiled = tf.function(augment.clahe, jit_compile=True)
    np.testing.assert_array_equal(compiled(images), augment.clahe(images))


def test_a_tile_of_many_pixels_is_summed_exactly():
    """Without a limit, and with more pixels of one grey than half a precision counts."""
    image = np.full((1, 240, 240, 1), 7, np.uint8)
    image[0, :2] = 90
    shares = np.array([np.mean(image <= value) for value in (7, 90)]) * 255
    made = augment.clahe(image, 0, (1, 1)).numpy()
    assert made[0, 9, 9, 0] == np.round(shares[0]) and made[0, 0, 0, 0] == np.round(shares[1]) == 255
