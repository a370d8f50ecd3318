"""fer_tf.randaugment: KerasCV's operations, where it is installed."""

import importlib.util

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from fer_tf import randaugment


def pictures(count: int, height: int, width: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """(N, H, W, C) uint8: blobs with fine noise on top, so that no two views look alike."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.random((count, height, width, channels)), (0, 5, 5, 0))
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return (200 * smooth + 55 * rng.random(smooth.shape)).astype(np.uint8)


@pytest.mark.skipif(importlib.util.find_spec("keras_cv") is not None, reason="KerasCV is installed here")
def test_randaugment_names_the_extra():
    with pytest.raises(ImportError, match=r"pip install 'fer-tf\[addons\]'"):
        randaugment.randaugment(np.zeros((1, 32, 32, 3), np.float32))


@pytest.mark.parametrize(("dtype", "channels"), [(np.uint8, 1), (np.float32, 3)])
def test_randaugment_changes_pictures_within_their_range(dtype, channels):
    pytest.importorskip("keras_cv", reason="KerasCV is on the addons stack only")
    images = pictures(8, 48, 48, channels).astype(dtype)
    images = images / dtype(255) if dtype is np.float32 else images
    changed = randaugment.randaugment(images, seed=1).numpy()
    assert changed.shape == images.shape and changed.dtype == dtype
    assert (changed != images).any((1, 2, 3)).sum() >= 4
    top = 255 if dtype is np.uint8 else 1
    assert changed.min() >= 0 and 0.5 * top < changed.max() <= top
    (mapped,) = tf.data.Dataset.from_tensors(images).map(lambda batch: randaugment.randaugment(batch, seed=1))
    assert mapped.shape == images.shape and mapped.dtype == dtype
