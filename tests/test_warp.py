"""fer_tf.warp: what compiles has the bits of TensorFlow's kernel. What the kernel gives is tested in test_augment."""

import numpy as np
import pytest
import tensorflow as tf

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
