"""fer_tf.layers against NumPy: dropout, batch norm through the fused kernel, the convolution blocks."""

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import layers
from fer_tf.compat import keras, set_policy
from fer_tf.layers import BatchNorm, Dropout, conv_bn, residual_block

INPUTS = {"float32": "float32", "mixed_bfloat16": "bfloat16", "mixed_float16": "float16"}
each_policy = pytest.mark.parametrize("policy", INPUTS)


def masks(layer, steps: int, shape=(20, 30)) -> list[np.ndarray]:
    """Which inputs the layer keeps, in so many training steps."""
    return [layer(tf.ones(shape), training=True).numpy() > 0 for _ in range(steps)]


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_dropout_drops_its_rate_and_scales_the_rest(rate):
    x = np.random.default_rng(0).uniform(1, 2, (400, 500)).astype(np.float32)
    y = Dropout(rate, seed=3)(x, training=True).numpy()
    kept = y != 0
    assert abs(kept.mean() - (1 - rate)) < 5 * np.sqrt(rate * (1 - rate) / x.size)
    np.testing.assert_allclose(y[kept], x[kept] / (1 - rate), rtol=1e-6)
    along = [np.abs(kept.mean(axis) - (1 - rate)).max() for axis in (0, 1)]  # neither rows nor columns at once
    assert max(along) < 6 * np.sqrt(rate * (1 - rate) / 400)


def test_dropout_draws_anew_in_each_step_and_the_same_again_from_the_same_seed():
    first, again, other = masks(Dropout(0.5, seed=1), 5), masks(Dropout(0.5, seed=1), 5), masks(Dropout(0.5, seed=2), 5)
    np.testing.assert_array_equal(first, again)
    for step in range(5):
        alike = [np.mean(first[step] == mask) for mask in (*first[:step], *first[step + 1 :], *other)]
        assert min(alike) > 0.4 and max(alike) < 0.6


def test_dropout_goes_on_where_its_step_counter_stands():
    layer, resumed = Dropout(0.5, seed=1), Dropout(0.5, seed=1)
    expected = masks(layer, 5)
    assert int(np.array(layer.seed_step)) == 5
    resumed.build((None, 30))
    resumed.seed_step.assign(3)
    np.testing.assert_array_equal(masks(resumed, 2), expected[3:])
    assert not layer.trainable_weights and len(layer.weights) == 1


def test_dropout_is_the_identity_outside_training_and_counts_no_step():
    layer, x = Dropout(0.5), tf.random.stateless_uniform((3, 4), (1, 2))
    for training in (False, None):
        np.testing.assert_array_equal(layer(x, training=training), x)
    assert int(np.array(layer.seed_step)) == 0
    np.testing.assert_array_equal(Dropout(0.0)(x, training=True), x)


def test_dropout_is_the_same_in_a_graph_and_its_gradient_is_its_mask():
    layer, graph = Dropout(0.5, seed=1), Dropout(0.5, seed=1)
    graph.build((None, 30))

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = graph(x, training=True)
        return y, tape.gradient(y, x)

    for mask in masks(layer, 3):
        y, gradient = step(tf.ones((20, 30)))
        np.testing.assert_array_equal(y, mask * 2.0)
        np.testing.assert_array_equal(gradient, mask * 2.0)


def test_dropout_of_half_precision_stays_so():
    y = Dropout(0.5, dtype="mixed_bfloat16")(tf.ones((20, 30)), training=True)
    assert y.dtype == tf.bfloat16 and set(np.unique(tf.cast(y, tf.float32))) == {0.0, 2.0}


def test_dropout_draws_a_mask_for_each_replica():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        layer = Dropout(0.5, seed=1)
        layer.build((None, 30))

    @tf.function
    def step():
        return strategy.run(lambda: layer(tf.ones((20, 30)), training=True))

    steps = [[part.numpy() > 0 for part in strategy.experimental_local_results(step())] for _ in range(2)]
    drawn = [mask for parts in steps for mask in parts]
    assert [len(parts) for parts in steps] == [2, 2]
    assert all(0.4 < np.mean(a == b) < 0.6 for i, a in enumerate(drawn) for b in drawn[:i])
    np.testing.assert_array_equal([parts[0] for parts in steps], masks(Dropout(0.5, seed=1), 2))
    assert int(np.array(layer.seed_step)) == 2


def test_dropout_checks_its_rate_and_keeps_its_config():
    for rate in (-0.1, 1.0):
        with pytest.raises(ValueError, match=f"in \\[0, 1\\): it was {rate}"):
            Dropout(rate)
    layer = Dropout(0.3, 7, name="drop")
    copy = Dropout.from_config(layer.get_config())
    assert (copy.rate, copy.seed, copy.name) == (0.3, 7, "drop")
    np.testing.assert_array_equal(masks(copy, 2), masks(layer, 2))


def norm(policy: str, channels: int, **options) -> tuple[BatchNorm, dict[str, np.ndarray]]:
    """A built layer whose four variables hold random values, and those values."""
    rng = np.random.default_rng(1)
    layer = BatchNorm(dtype=keras.mixed_precision.Policy(policy) if policy != "float32" else policy, **options)
    layer.build((None, None, None, channels))
    values = {
        "gamma": rng.uniform(0.5, 2, channels).astype(np.float32),
        "beta": rng.normal(size=channels).astype(np.float32),
        "moving_mean": rng.normal(size=channels).astype(np.float32),
        "moving_variance": rng.uniform(0.5, 2, channels).astype(np.float32),
    }
    for name, value in values.items():
        getattr(layer, name).assign(value)
    return layer, values


def activations(dtype: str, shape=(5, 6, 7, 3)) -> tuple[tf.Tensor, np.ndarray]:
    """Random activations of a dtype with another mean in each channel, and their exact values in float64."""
    x = np.random.default_rng(2).normal(size=shape) * 2 + np.arange(shape[-1])
    x = tf.cast(tf.constant(x, tf.float32), dtype)
    return x, tf.cast(x, tf.float64).numpy()


def tolerance(dtype: str) -> dict[str, float]:
    """Of one rounding of the result to the dtype."""
    return {"rtol": {"float32": 1e-5, "bfloat16": 2**-8, "float16": 2**-10}[dtype], "atol": 2e-5}


@each_policy
@pytest.mark.parametrize("channels", [3, 16])
def test_batch_norm_in_training_and_its_moving_statistics(policy, channels):
    dtype = INPUTS[policy]
    layer, values = norm(policy, channels)
    x, exact = activations(dtype, (5, 6, 7, channels))
    y = layer(x, training=True)
    mean, variance, count = exact.mean((0, 1, 2)), exact.var((0, 1, 2)), exact[..., 0].size
    expected = values["gamma"] * (exact - mean) / np.sqrt(variance + 1e-3) + values["beta"]
    assert y.dtype == dtype
    np.testing.assert_allclose(tf.cast(y, tf.float64), expected, **tolerance(dtype))
    np.testing.assert_allclose(layer.moving_mean, 0.9 * values["moving_mean"] + 0.1 * mean, rtol=1e-4, atol=1e-5)
    unbiased = variance * count / (count - 1)
    np.testing.assert_allclose(layer.moving_variance, 0.9 * values["moving_variance"] + 0.1 * unbiased, rtol=1e-4)
    assert layer.moving_mean.dtype == layer.moving_variance.dtype == layer.gamma.dtype == "float32"


@each_policy
@pytest.mark.parametrize("frozen", [False, True], ids=["inference", "frozen"])
def test_batch_norm_by_its_moving_statistics_leaves_them_alone(policy, frozen):
    dtype = INPUTS[policy]
    layer, values = norm(policy, 3, trainable=not frozen)
    x, exact = activations(dtype)
    y = layer(x, training=frozen)
    expected = (exact - values["moving_mean"]) / np.sqrt(values["moving_variance"] + 1e-3)
    np.testing.assert_allclose(tf.cast(y, tf.float64), values["gamma"] * expected + values["beta"], **tolerance(dtype))
    for name, value in values.items():
        np.testing.assert_array_equal(getattr(layer, name), value)


@each_policy
@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize("channels", [3, 16])
def test_batch_norm_gradients(policy, training, channels):
    dtype = INPUTS[policy]
    layer, values = norm(policy, channels)
    x, exact = activations(dtype, (5, 6, 7, channels))
    dy, exact_dy = activations(dtype, (5, 6, 7, channels))
    dy, exact_dy = dy[::-1], exact_dy[::-1]
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=training)
    dx, *rest = tape.gradient(y, [x, *layer.trainable_variables], output_gradients=dy)
    mean, variance = (exact.mean((0, 1, 2)), exact.var((0, 1, 2))) if training else (
        values["moving_mean"].astype(np.float64), values["moving_variance"].astype(np.float64))  # fmt: skip
    root = np.sqrt(variance + 1e-3)
    unit = (exact - mean) / root
    direct = exact_dy
    if training:  # mean and variance depend on x too
        direct = exact_dy - exact_dy.mean((0, 1, 2)) - unit * (exact_dy * unit).mean((0, 1, 2))
    assert dx.dtype == dtype
    np.testing.assert_allclose(
        tf.cast(dx, tf.float64), values["gamma"] / root * direct, rtol=tolerance(dtype)["rtol"], atol=1e-4
    )
    by_name = dict(zip(("gamma", "beta"), rest, strict=True))
    np.testing.assert_allclose(by_name["gamma"], (exact_dy * unit).sum((0, 1, 2)), rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(by_name["beta"], exact_dy.sum((0, 1, 2)), rtol=1e-3, atol=1e-2)


def test_batch_norm_after_many_steps_in_a_graph_holds_the_mean_of_what_it_saw():
    layer, _ = norm("float32", 3)
    step = tf.function(lambda x: layer(x, training=True))
    x, exact = activations("float32")
    for _ in range(120):
        step(x)
    count = exact[..., 0].size
    np.testing.assert_allclose(layer.moving_mean, exact.mean((0, 1, 2)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(layer.moving_variance, exact.var((0, 1, 2)) * count / (count - 1), rtol=1e-3)


def test_batch_norm_of_vectors_goes_to_keras():
    layer = BatchNorm()
    x, exact = activations("float32", (40, 3))
    y = layer(x, training=True)
    np.testing.assert_allclose(y, (exact - exact.mean(0)) / np.sqrt(exact.var(0) + 1e-3), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.moving_mean, 0.1 * exact.mean(0), rtol=1e-4, atol=1e-5)


def test_batch_norm_keeps_its_defaults_and_config():
    layer = BatchNorm.from_config(BatchNorm(momentum=0.7, name="n").get_config())
    assert (layer.momentum, layer.epsilon, layer.name) == (0.7, 1e-3, "n")
    assert BatchNorm().momentum == 0.9


def convolved(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """A convolution with zero padding to the same size, stride 1: (N, H, W, C) and (k, k, C, D) -> (N, H, W, D)."""
    size = kernel.shape[0]
    padded = np.pad(x, [(0, 0), (size // 2, size // 2), (size // 2, size // 2), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (1, 2))
    return np.einsum("nyxcij,ijcd->nyxd", windows, kernel)


def block_by_hand(net: keras.Model, x: np.ndarray, shortcut: bool) -> np.ndarray:
    """ReLU(x + norm(conv(relu(norm(conv(x)))))) from the net's own weights, in inference."""

    def convolution_and_norm(x: np.ndarray, name: str) -> np.ndarray:
        kernel, = net.get_layer(f"{name}_conv").get_weights()  # fmt: skip
        gamma, beta, mean, variance = net.get_layer(f"{name}_norm").get_weights()
        return gamma * (convolved(x, kernel) - mean) / np.sqrt(variance + 1e-3) + beta

    inner = np.maximum(convolution_and_norm(x, "b_a"), 0)
    return np.maximum((convolution_and_norm(x, "b_skip") if shortcut else x) + convolution_and_norm(inner, "b_b"), 0)


@pytest.mark.parametrize("channels", [2, 5])
def test_residual_block(channels):
    inputs = keras.Input((6, 7, 2))
    net = keras.Model(inputs, residual_block(inputs, channels, "b"))
    rng = np.random.default_rng(0)
    net.set_weights([rng.uniform(0.2, 1, w.shape) * rng.choice([-1, 1] if w.ndim > 1 else [1], w.shape)
                     for w in net.get_weights()])  # fmt: skip
    x = rng.normal(size=(3, 6, 7, 2)).astype(np.float32)
    expected = block_by_hand(net, x.astype(np.float64), channels != 2)
    assert (expected == 0).any() and (expected > 0).any()
    np.testing.assert_allclose(net(x, training=False), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("relu", [True, False])
def test_conv_bn_has_stride_and_no_bias(relu):
    set_policy("float32")
    inputs = keras.Input((8, 8, 2))
    net = keras.Model(inputs, conv_bn(inputs, 3, "c", size=1, stride=2, relu=relu))
    kernel, gamma, beta, mean, variance = net.get_weights()
    assert kernel.shape == (1, 1, 2, 3)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 2)).astype(np.float32)
    y = (x[:, ::2, ::2] @ kernel[0, 0] - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    np.testing.assert_allclose(net(x, training=False), np.maximum(y, 0) if relu else y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [(4, 8), (12, 8), (8, 16)])
def test_gradient_of_a_strided_pointwise_conv_bn(channels):
    """By hand; with these channels oneDNN's own strided gradient breaks the heap."""
    inputs = keras.Input((16, 16, channels[0]))
    net = keras.Model(inputs, conv_bn(inputs, channels[1], "c", size=1, stride=2, relu=False))
    rng = np.random.default_rng(0)
    x, upstream = rng.normal(size=(3, 16, 16, channels[0])), rng.normal(size=(3, 8, 8, channels[1]))

    @tf.function
    def gradient(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(net(x, training=False) * tf.constant(upstream, tf.float32))
        return tape.gradient(loss, net.trainable_variables[0])

    by_hand = np.einsum("nhwc,nhwd->cd", x[:, ::2, ::2], upstream) / np.sqrt(1 + 1e-3)  # the norm's start: 0 and 1
    for _ in range(20):
        weights = gradient(tf.constant(x, tf.float32))
    np.testing.assert_allclose(weights[0, 0], by_hand, rtol=1e-4, atol=1e-4)


def test_noise_follows_from_the_step():
    """Zero at inference; N(0, 1) in training, another one at each step, the same ones under the same seed."""
    first, second = layers.Noise(3), layers.Noise(3)
    x = tf.zeros((64, 64))
    np.testing.assert_array_equal(first(x), 0)
    a, b = first(x, training=True).numpy(), first(x, training=True).numpy()
    np.testing.assert_array_equal(a, second(x, training=True))
    assert abs(a.mean()) < 0.05 and abs(a.std() - 1) < 0.05 and np.abs(a - b).max() > 1


def test_instance_norm_against_numpy():
    """Each channel of each picture by itself, with its gradient, eager and in a graph of unknown batch size."""
    x = np.random.default_rng(0).normal(3, 2, (3, 5, 7, 4)).astype(np.float32)
    wanted = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
    layer = layers.InstanceNorm()
    np.testing.assert_allclose(layer(x), wanted, atol=1e-4)
    compiled = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, 4))])
    np.testing.assert_allclose(compiled(x), wanted, atol=1e-4)
    np.testing.assert_allclose(layer(x[1:2]), wanted[1:2], atol=1e-4)
    upstream = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)

    def plain(v):
        variance = tf.math.reduce_variance(v, (1, 2), keepdims=True)
        return (v - tf.reduce_mean(v, (1, 2), keepdims=True)) * tf.math.rsqrt(variance + 1e-5)

    gradients = []
    for norm in (layer, plain):
        with tf.GradientTape() as tape:
            tape.watch(given := tf.constant(x))
            loss = tf.reduce_sum(upstream * norm(given))
        gradients.append(tape.gradient(loss, given).numpy())
    np.testing.assert_allclose(*gradients, atol=1e-4)


@pytest.mark.parametrize("channels", [4, 16])
def test_instance_norm_in_half_precision_takes_its_statistics_in_float32(channels):
    x = 100 + np.random.default_rng(0).normal(size=(2, 16, 16, channels)).astype(np.float32)
    half = tf.cast(x, tf.bfloat16)
    seen = tf.cast(half, tf.float32).numpy()
    wanted = (seen - seen.mean((1, 2), keepdims=True)) / np.sqrt(seen.var((1, 2), keepdims=True) + 1e-5)
    made = layers.InstanceNorm(dtype="mixed_bfloat16")(half)
    assert made.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(made, tf.float32), wanted, atol=0.03)


def test_instance_norm_equals_addons():
    tfa = pytest.importorskip("tensorflow_addons", exc_type=ImportError)
    x = tf.random.stateless_normal((3, 6, 5, 8), (0, 1))
    theirs = tfa.layers.InstanceNormalization(center=False, scale=False, epsilon=1e-5)
    np.testing.assert_allclose(layers.InstanceNorm()(x), theirs(x), atol=1e-5)


def test_reflection_padding_against_numpy():
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 3)).astype(np.float32)
    layer = layers.ReflectionPadding(3)
    np.testing.assert_array_equal(layer(x), np.pad(x, [(0, 0), (3, 3), (3, 3), (0, 0)], "reflect"))
    assert layer.compute_output_shape((None, 5, None, 3)) == (None, 11, None, 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_grey_weighs_the_colours(dtype):
    """By ITU-R BT.601; grey faces stay, [-1, 1] is twice that less one, and all of it is float32."""
    colours = np.random.default_rng(0).uniform(0, 1, (2, 3, 4, 3)).astype(dtype)
    expected = colours @ np.array([[0.2989], [0.587], [0.114]])
    for images, wanted in ((colours, expected), (colours[..., :1], colours[..., :1])):
        made = layers.grey(tf.constant(images))
        assert made.dtype == tf.float32
        np.testing.assert_allclose(made, wanted, atol=1e-6)
        np.testing.assert_allclose(layers.signed_grey(tf.constant(images)), 2 * wanted - 1, atol=1e-6)


def test_widths_and_the_start_of_a_gan():
    assert [layers.scaled(64, width) for width in (1.0, 1 / 2, 1 / 40, 0.0)] == [64, 32, 2, 1]
    first, second = (np.array(layers.normal()((50, 400))) for _ in range(2))
    assert abs(first.mean()) < 5e-4 and first.std() == pytest.approx(0.02, rel=0.03) and np.any(first != second)


def test_logits_of_a_frozen_layer_move_its_features_alone():
    layer = keras.layers.Dense(3, bias_initializer="ones")
    layer.build((None, 4))
    f = tf.constant(np.random.default_rng(0).normal(size=(5, 4)), tf.float32)
    for frozen in (False, True):
        with tf.GradientTape() as tape:
            tape.watch(f)
            logits = layers.logits_of(layer, f, frozen=frozen)
        np.testing.assert_allclose(logits, layer(f), atol=1e-6)
        to_f, *to_layer = tape.gradient(logits, [f, *layer.trainable_variables])
        assert np.abs(to_f).max() > 0 and [g is None for g in to_layer] == [frozen] * 2
