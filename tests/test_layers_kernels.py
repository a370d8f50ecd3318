"""fer_tf.layers' own kernels against Keras and NumPy: convolutions as products, pooling with its places, PReLU."""

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import layers
from fer_tf.compat import keras, set_policy
from fer_tf.layers import Conv2D, Conv2DTranspose, PReLU, overlaid, patches


def results(layer, x):
    """What a layer gives, and the gradients of a loss on it to inputs and kernel, from a graph; and the graph's ops."""

    @tf.function
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.cast(layer(x), tf.float32)
            loss = tf.reduce_sum(y**2 * tf.range(1.0, y.shape[-1] + 1))
        return [y, *tape.gradient(loss, [x, *layer.trainable_variables])]

    return run(x), {op.type for op in run.get_concrete_function(x).graph.get_operations()}


@pytest.mark.parametrize("policy, close", [("float32", 1e-5), ("mixed_bfloat16", 0.02)])
@pytest.mark.parametrize("kind, sides", [(Conv2D, [(2, 2), (8, 4)]), (Conv2DTranspose, [(1, 1), (4, 2)])])
def test_convolutions_as_products_equal_keras(kind, sides, policy, close):
    set_policy(policy)
    options = {"strides": 2, "padding": "same", "use_bias": False, "activation": "tanh"}
    for height, width in sides:
        x = tf.random.stateless_uniform((3, height, width, 5), (1, 2), -1, 1)
        ours, theirs = kind(7, 4, **options), kind.__mro__[1](7, 4, **options)
        ours(x), theirs(x)
        theirs.set_weights(ours.get_weights())
        (made, ops), (expected, their_ops) = results(ours, x), results(theirs, x)
        assert "MatMul" in ops and not any(op.startswith("Conv") for op in ops) and "MatMul" not in their_ops
        for a, b in zip(made, expected, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, atol=close * np.abs(b).max())


@pytest.mark.parametrize("kind, small", [(Conv2D, 8), (Conv2DTranspose, 4)])
def test_other_convolutions_stay_with_keras(kind, small, monkeypatch):
    usual = {"filters": 7, "kernel_size": 4, "strides": 2, "padding": "same", "use_bias": False}
    cases = [("kernel_size", 3), ("strides", 1), ("padding", "valid"), ("use_bias", True), (None, None)]
    for name, value in cases:
        side = small if name else small + 2
        layer = kind(**usual | ({name: value} if name else {}))
        x = tf.random.stateless_uniform((2, side, side, 3), (1, 2))
        layer(x)
        made, ops = results(layer, x)
        assert "MatMul" not in ops and np.isfinite(made[0]).all()
    layer = kind(**usual)
    x = tf.random.stateless_uniform((2, small, small, 3), (1, 2))
    layer(x)
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind=None: ["GPU"])
    assert "MatMul" not in results(layer, x)[1]


def test_an_odd_side_stays_with_keras():
    layer = Conv2D(2, 4, 2, "same", use_bias=False)
    assert layer(tf.zeros((1, 7, 8, 3))).shape == (1, 4, 4, 2)


def test_patches_and_their_transpose():
    """By loops; and <patches(x), y> = <x, overlaid(y)>."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 6, 4, 3)).astype(np.float32)
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    expected = [padded[n, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4].ravel()
                for n in range(2) for i in range(3) for j in range(2)]  # fmt: skip
    np.testing.assert_array_equal(patches(tf.constant(x)), expected)
    y = rng.normal(size=(12, 48)).astype(np.float32)
    assert np.sum(np.array(expected) * y) == pytest.approx(float(np.sum(x * overlaid(y, 3, 2))), rel=1e-4)


@pytest.fixture
def pooled():
    """A picture with ties, its pooling and where the maxima were."""
    x = np.random.default_rng(0).integers(0, 4, (2, 6, 8, 3)).astype(np.float32)
    values, argmax = layers.MaxPoolWithArgmax()(x)
    return x, values.numpy(), argmax.numpy()


def test_pooling_says_where_the_maxima_were(pooled):
    """Against TensorFlow's own op, ties included; the values are those at the places."""
    x, values, argmax = pooled
    theirs, places = tf.nn.max_pool_with_argmax(x, 2, 2, "VALID")
    np.testing.assert_array_equal(values, theirs)
    np.testing.assert_array_equal(argmax, places)
    for n in range(2):
        np.testing.assert_array_equal(x[n].ravel()[argmax[n]], values[n])


def test_unpooling_puts_every_value_back(pooled):
    """By hand: the flattened picture is zero but at the places."""
    x, values, argmax = pooled
    by_hand = np.zeros_like(x).reshape(2, -1)
    for n in range(2):
        by_hand[n][argmax[n].ravel()] = values[n].ravel()
    unpooled = layers.MaxUnpooling()([values, argmax])
    np.testing.assert_array_equal(unpooled, by_hand.reshape(x.shape))
    again, _ = layers.MaxPoolWithArgmax()(unpooled)
    np.testing.assert_array_equal(again, values)


def test_unpooling_equals_tensorflow_addons(pooled):
    tfa = pytest.importorskip("tensorflow_addons", reason="TensorFlow Addons is on the addons stack only")
    x, values, _ = pooled
    argmax = tf.nn.max_pool_with_argmax(x, 2, 2, "VALID")[1]
    theirs = tfa.layers.MaxUnpooling2D()(values, argmax)
    np.testing.assert_array_equal(layers.MaxUnpooling()([values, tf.cast(argmax, tf.int32)]), theirs)


def test_gradients_go_through_the_places_alone(pooled):
    x, _, _ = pooled
    x = tf.constant(x + 0.01 * np.random.default_rng(1).normal(size=x.shape).astype(np.float32))  # no ties
    weight = tf.constant(np.random.default_rng(2).normal(size=x.shape).astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(x)
        values, argmax = layers.MaxPoolWithArgmax()(x)
        loss = tf.reduce_sum(layers.MaxUnpooling()([values, argmax]) * weight)
    kept = layers.MaxUnpooling()([tf.ones_like(values), argmax])
    np.testing.assert_allclose(tape.gradient(loss, x), weight * kept, atol=1e-6)


@pytest.mark.parametrize("policy, dtype, close", [("float32", "float32", 1e-5), ("mixed_bfloat16", "bfloat16", 0.02)])
def test_prelu_equals_keras(policy, dtype, close):
    """Values and both gradients, with a slope for each channel, negative and above one among them."""
    set_policy(policy)
    numbers = np.random.default_rng(0)
    x, upstream = (tf.constant(numbers.standard_normal((6, 7, 5, 4)), dtype) for _ in range(2))
    slopes, results_of = numbers.uniform(-0.5, 1.5, 4).astype(np.float32), []
    for layer in (keras.layers.PReLU(shared_axes=[1, 2]), PReLU()):
        layer.build(x.shape)
        layer.set_weights([slopes.reshape(layer.get_weights()[0].shape)])
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        own, slope = tape.gradient(y, (x, layer.trainable_variables[0]), output_gradients=upstream)
        assert y.dtype == own.dtype == x.dtype and slope.dtype == tf.float32
        results_of.append([np.array(tf.cast(v, tf.float32)).ravel() for v in (y, own, slope)])
    for keras_has, ours in zip(*results_of, strict=True):
        np.testing.assert_allclose(ours, keras_has, rtol=close, atol=close * np.abs(keras_has).max())
    assert PReLU().slope == 0.25 and PReLU.from_config(PReLU(0.1, name="p").get_config()).slope == 0.1


@pytest.mark.parametrize("shape", [(1, 5, 4, 1), (1, 4, 7, 1)])
def test_odd_sizes_are_refused(shape):
    with pytest.raises(ValueError, match="has an odd side"):
        layers.MaxPoolWithArgmax(name="pool")(tf.zeros(shape))
