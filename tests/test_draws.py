"""Random numbers are those of TensorFlow's kernels, by XLA as well."""

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import draws

SEEDS = [(0, 0), (5, 77), (2**31 - 1, 7919)]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4, 5)])
def test_numbers_of_tensorflows_kernels(shape, seed):
    seed = tf.constant(seed, tf.int32)
    for jit in (False, True):
        uniform = tf.function(draws.uniform, jit_compile=jit)(shape, seed)
        np.testing.assert_array_equal(uniform, tf.random.stateless_uniform(shape, seed))
        normal = tf.function(draws.normal, jit_compile=jit)(shape, seed)
        np.testing.assert_allclose(normal, tf.random.stateless_normal(shape, seed), atol=2e-6)
        assert uniform.shape == normal.shape == shape and uniform.dtype == normal.dtype == tf.float32


def test_the_shape_may_be_a_tensor():
    seed = tf.constant((1, 2))
    np.testing.assert_array_equal(draws.normal(tf.constant([3, 5]), seed), draws.normal((3, 5), seed))


def test_orders_hold_every_number_once_and_differ():
    orders = [draws.order(50, tf.constant((1, i))).numpy() for i in range(3)]
    for order in orders:
        assert sorted(order) == list(range(50)) and order.dtype == np.int32
    assert any(orders[0] != orders[1]) and any(orders[1] != orders[2])
    by_xla = tf.function(lambda: draws.order(50, tf.constant((1, 2))), jit_compile=True)()
    np.testing.assert_array_equal(by_xla, orders[2])


def test_every_order_is_equally_likely():
    firsts = [int(draws.order(4, tf.constant((3, i)))[0]) for i in range(400)]
    counts = np.bincount(firsts, minlength=4)
    assert (np.abs(counts - 100) < 35).all(), counts
