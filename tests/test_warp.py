"""fer_tf.warp: what compiles has the bits of the kernel (what that gives: test_augment); lines resized by Pillow."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fer_tf import augment, warp


@pytest.mark.parametrize("fill", warp.FILLS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("size", [(64, 64), (50, 46)])
def test_the_compiled_warp_has_the_bits_of_the_kernel(size, dtype, fill):
    """Far outside the picture, too."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (5, *size, 2)).astype(dtype) / dtype(1 if dtype is np.uint8 else 255)
    images = images.astype(dtype)
    seeds = augment.view_seed(3, 4, np.arange(5))
    rows = augment.affine_rows(size, seeds, 5, degrees=40.0, scale=(0.4, 1.5), shift=0.9)
    kernel = warp.warp(images, rows, fill).numpy()
    assert kernel.std() > (25 if dtype is np.uint8 else 0.1)
    np.testing.assert_array_equal(warp.warp(images, rows, fill, compiled=True), kernel)
    compiled = tf.function(lambda images, rows: warp.warp(images, rows, fill, compiled=True), jit_compile=True)
    np.testing.assert_array_equal(compiled(images, rows), kernel)


@pytest.mark.parametrize("source, length", [(70, 48), (48, 14), (14, 48), (33, 47), (9, 9)])
def test_resizing_is_pillows_bicubic(source, length):
    """Of float pictures, line by line; rows sum to one, and a line of its own length stays as it is."""
    picture = np.random.default_rng(0).normal(size=(source, 20)).astype(np.float32)
    wanted = np.asarray(Image.fromarray(picture, "F").resize((20, length), Image.Resampling.BICUBIC))
    found = warp.resizing(source, length)
    assert found.dtype == np.float32 and found.shape == (length, source)
    np.testing.assert_allclose(found @ picture, wanted, atol=2e-5)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    if source == length:
        np.testing.assert_allclose(found, np.eye(length), atol=1e-7)


def test_resizing_by_hand():
    """Twice as long: a quarter and three quarters of a pixel away, Keys' cubic has 111, 29, -9 and -3 of 128."""
    np.testing.assert_allclose(warp.resizing(8, 16)[6] * 128, [0, -3, 29, 111, -9, 0, 0, 0], atol=1e-4)
