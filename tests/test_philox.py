"""fer_tf.philox: TensorFlow's own numbers, seed by seed, also under XLA."""

import zlib

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import philox


def seeds(count: int) -> np.ndarray:
    """(N, 2) int64 over the whole range, small and negative ones too."""
    made = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, (count, 2))
    made[:3] = [[0, 0], [1, 2], [-1, -2]]
    return made


def salted(seed: np.ndarray, purpose: str) -> np.ndarray:
    """The seed with the purpose mixed in, by hand."""
    return np.array([seed[0] ^ (zlib.crc32(purpose.encode()) << 31), seed[1]])


@pytest.mark.parametrize("width", [1, 4, 9, 110])
def test_numbers_are_those_of_tensorflow(width):
    given = seeds(200)
    made = philox.uniform(given, 200, width, "crop").numpy()
    theirs = [tf.random.stateless_uniform((width,), salted(seed, "crop")).numpy() for seed in given]
    assert made.dtype == np.float32 and len(np.unique(made)) > 190
    np.testing.assert_array_equal(made, theirs)
    compiled = tf.function(lambda given: philox.uniform(given, 200, width, "crop"), jit_compile=True)
    np.testing.assert_array_equal(compiled(given), made)


def test_one_seed_for_all_rows_and_purposes_apart():
    made = philox.uniform((3, -4), 7, 3, "flip").numpy()
    np.testing.assert_array_equal(made, tf.random.stateless_uniform((7, 3), salted(np.array([3, -4]), "flip")))
    assert np.all(made != philox.uniform((3, -4), 7, 3, "crop").numpy())


def test_at_once_are_the_same_numbers():
    """For widths of one group of four and of several, and nothing that was not asked for."""
    given = seeds(50)
    made = philox.at_once(given, crop=2, flip=1, affine=4, views=9)
    for purpose, width in (("crop", 2), ("flip", 1), ("affine", 4), ("views", 9)):
        own = philox.uniform(made, 50, width, purpose)
        np.testing.assert_array_equal(own, philox.uniform(given, 50, width, purpose))
    with pytest.raises(KeyError):
        philox.uniform(made, 50, 1, "intensity")
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):  # TensorFlow's, in a graph and eagerly
        philox.uniform(made, 50, 3, "crop")
    assert philox.at_once(given[:0], crop=2, flip=1)["crop"].shape == (0, 2)
