"""fer_tf.nets.cycle_gan: CycleGAN's layers and fields by hand, and the pool of past fakes."""

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import layers
from fer_tf.compat import keras
from fer_tf.nets import cycle_gan


def count(net):
    return sum(int(np.prod(v.shape)) for v in net.trainable_variables)


def test_generator_has_cycle_gans_layers():
    """c7s1-64, d128, d256, nine blocks, u128, u64, c7s1-3: kernels by hand, the last bias."""
    net = cycle_gan.build_generator()
    kernels = 49 * 3 * 64 + 9 * 64 * 128 + 9 * 128 * 256
    wanted = 2 * kernels + 9 * 2 * 9 * 256 * 256 + 3
    assert count(net) == wanted and f"{wanted:,}" in cycle_gan.build_generator.__doc__
    assert sum(isinstance(layer, layers.InstanceNorm) for layer in net.layers) == 3 + 18 + 2
    assert sum(isinstance(layer, layers.ReflectionPadding) for layer in net.layers) == 2 + 18
    small = cycle_gan.build_generator(filters=4, blocks=1)
    assert small(tf.zeros((2, 32, 48, 3))).shape == (2, 32, 48, 3)
    assert abs(float(np.std(net.get_layer("block5a_conv").kernel)) - 0.02) < 0.001


def test_discriminators_scores_see_70_pixels():
    net = cycle_gan.build_discriminator()
    sizes = [3, 64, 128, 256, 512, 1]
    wanted = sum(16 * a * b for a, b in zip(sizes, sizes[1:], strict=False)) + 64 + 1
    assert count(net) == wanted and f"{wanted:,}" in cycle_gan.build_discriminator.__doc__
    field = 1
    for layer in reversed([layer for layer in net.layers if isinstance(layer, keras.layers.Conv2D)]):
        field = (field - 1) * layer.strides[0] + layer.kernel_size[0]
    assert field == 70
    for side, scores in ((256, 30), (64, 6)):
        assert cycle_gan.build_discriminator(filters=2)(tf.zeros((1, side, side, 3))).shape == (1, scores, scores, 1)


def weights_that_matter(net):
    """Wide enough that no ReLU, norm or tanh could be missing unseen."""
    numbers = np.random.default_rng(0)
    for v in net.trainable_variables:
        v.assign(numbers.normal(0, 2 / np.sqrt(np.prod(v.shape[:-1])), v.shape))
    return net


def normed(x):
    mean, variance = tf.nn.moments(x, (1, 2), keepdims=True)
    return (x - mean) / tf.sqrt(variance + 1e-5)


def reflected(x, size):
    return tf.pad(x, [[0, 0], [size, size], [size, size], [0, 0]], "REFLECT")


def test_a_generator_by_hand():
    """Appendix 7.2: a norm and a ReLU follow all but the last; what enters a residual block is added to its end."""
    net = weights_that_matter(cycle_gan.build_generator(filters=3, blocks=2))
    k = {layer.name.removesuffix("_conv"): layer.kernel for layer in net.layers if layer.name.endswith("_conv")}
    face = tf.random.stateless_uniform((2, 16, 24, 3), (0, 1), -1, 1)
    x = tf.nn.relu(normed(tf.nn.conv2d(reflected(face, 3), k["first"], 1, "VALID")))
    for name in ("down1", "down2"):
        x = tf.nn.relu(normed(tf.nn.conv2d(x, k[name], 2, "SAME")))
    for i in (1, 2):
        y = tf.nn.relu(normed(tf.nn.conv2d(reflected(x, 1), k[f"block{i}a"], 1, "VALID")))
        x = x + normed(tf.nn.conv2d(reflected(y, 1), k[f"block{i}b"], 1, "VALID"))
    for name, channels, size in (("up1", 6, (8, 12)), ("up2", 3, (16, 24))):
        x = tf.nn.relu(normed(tf.nn.conv2d_transpose(x, k[name], (2, *size, channels), 2, "SAME")))
    x = tf.nn.conv2d(reflected(x, 3), k["last"], 1, "VALID") + net.get_layer("last_conv").bias
    np.testing.assert_allclose(net(face), tf.tanh(x), atol=1e-3)
    assert np.std(tf.tanh(x)) > 0.2


def test_a_discriminator_by_hand():
    """Leaky ReLU 0.2 after all but the last; a norm before it in all but the first."""
    net = weights_that_matter(cycle_gan.build_discriminator(filters=3))
    x = face = tf.random.stateless_uniform((2, 48, 48, 3), (0, 1), -1, 1)
    for i, stride in enumerate((2, 2, 2, 1, 1), 1):
        layer = net.get_layer(f"c{i}_conv")
        x = tf.nn.conv2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), layer.kernel, stride, "VALID")
        x = normed(x) if i in (2, 3, 4) else x + layer.bias
        x = tf.where(x > 0, x, 0.2 * x) if i < 5 else x
    np.testing.assert_allclose(net(face), x, atol=1e-3)
    assert np.std(x) > 0.2


@pytest.mark.parametrize(("layers", "field"), [(3, 70), (2, 34), (1, 16)])
def test_a_score_depends_on_those_pixels_alone(layers, field):
    """Without the norms, whose statistics reach everywhere."""
    net = cycle_gan.build_discriminator(filters=2, layers=layers)
    kernels = [layer for layer in net.layers if isinstance(layer, keras.layers.Conv2D)]

    def scores(x):
        for layer in kernels:
            x = tf.nn.leaky_relu(layer(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])), 0.2)
        return x

    image = tf.random.stateless_normal((1, 160, 160, 3), (0, 1))
    with tf.GradientTape() as tape:
        tape.watch(image)
        score = scores(image)[0, 9, 9, 0]
    reached = np.any(tape.gradient(score, image).numpy()[0] != 0, -1)
    assert reached.any(0).sum() == reached.any(1).sum() == field


def test_fewer_layers_leave_out_the_widest_convolution():
    """34 pixels: 64, 128, 256 channels and the scores; as many norms less."""
    kernels = {3: [3, 2, 4, 8, 16, 1], 2: [3, 2, 4, 8, 1], 1: [3, 2, 4, 1]}
    for count, channels in kernels.items():
        net = cycle_gan.build_discriminator(filters=2, layers=count)
        shapes = [tuple(v.shape) for v in net.trainable_variables if len(v.shape) == 4]
        assert shapes == [(4, 4, a, b) for a, b in zip(channels[:-1], channels[1:], strict=True)]
        assert net(tf.zeros((1, 64, 64, 3))).shape[1] == {3: 6, 2: 14, 1: 30}[count]
    with pytest.raises(ValueError, match="layers=0"):
        cycle_gan.build_discriminator(layers=0)


def enlarged(net, x):
    """What the first of the layers that enlarge makes of maps, before their norm."""
    for layer in net.layers:
        if layer.name.startswith("up1") and "norm" not in layer.name and "relu" not in layer.name:
            x = layer(x)
    return x.numpy()


def test_a_resized_map_has_no_grid_and_a_transposed_one_has():
    """Of a constant: doubled pixels stay one value to the border; kernel 3 over stride 2 lays 1, 2 or 4 over a pixel,
    kernel 4 as many over each."""
    constant = tf.ones((1, 8, 8, 12)) * tf.range(1.0, 13.0)
    resized = enlarged(cycle_gan.build_generator(filters=3, blocks=1, upsampling="resized"), constant)
    assert resized.shape == (1, 16, 16, 6) and np.ptp(resized[0].reshape(-1, 6), 0).max() < 1e-4 < np.std(resized)
    printed = enlarged(cycle_gan.build_generator(filters=3, blocks=1), constant)
    assert np.std(printed[0, 2:-2, 2:-2], (0, 1)).min() > 0.01
    for kind, counts in (("transposed", {1, 2, 4}), ("kernel4", {4})):
        net = cycle_gan.build_generator(filters=3, blocks=1, upsampling=kind)
        kernel = net.get_layer("up1_conv").kernel
        kernel.assign(tf.ones_like(kernel))
        assert {*np.unique(enlarged(net, tf.ones((1, 8, 8, 12)) / 12)[0, 2:-2, 2:-2].round(4))} == counts, kind


@pytest.mark.parametrize("upsampling", cycle_gan.UPSAMPLINGS)
def test_all_ways_up_give_faces_of_their_size(upsampling):
    net = cycle_gan.build_generator(filters=2, blocks=1, upsampling=upsampling)
    assert net(tf.zeros((1, 20, 24, 3))).shape == (1, 20, 24, 3)
    sides = {"transposed": 3, "kernel4": 4, "resized": 3}
    assert net.get_layer("up2_conv").kernel.shape[:2] == 2 * (sides[upsampling],)
    with pytest.raises(ValueError, match="Unknown upsampling 'cubic'"):
        cycle_gan.build_generator(upsampling="cubic")


@pytest.mark.parametrize("compiled", [False, True])
def test_image_pool(compiled):
    """Full after two batches of three; then half of what is shown is earlier, whose place the new one takes."""
    pool = cycle_gan.ImagePool((1, 1, 1), size=6, seed=2)
    pool.build()
    step = tf.function(pool) if compiled else pool
    seen, given = [], []
    for i in range(200):
        fakes = tf.reshape(tf.range(3.0) + 3 * i, (3, 1, 1, 1))
        shown = step(fakes).numpy().ravel()
        given.append(fakes.numpy().ravel())
        seen.append(shown)
        if i < 2:
            np.testing.assert_array_equal(shown, fakes.numpy().ravel())
    old = np.concatenate([s != g for s, g in zip(seen[2:], given[2:], strict=True)])
    assert abs(old.mean() - 0.5) < 0.06
    kept = np.concatenate(seen)
    again = {value for value, times in Counter(kept).items() if times > 1}
    assert again <= set(range(6))  # what filled the pool was shown then, too
    assert set(kept) | set(pool.seed_pool.numpy().ravel()) == set(range(600))
    odd = cycle_gan.ImagePool((1, 1, 1), size=5, seed=2)  # the second batch fits in part
    odd.build()
    shown = np.concatenate([odd(tf.fill((4, 1, 1, 1), 1.0 + i)).numpy().ravel() for i in range(50)])
    assert np.all(shown >= 1) and np.all(odd.seed_pool.numpy() >= 1)
    with pytest.raises(ValueError, match="pool of 6 is smaller than the batch of 7"):
        pool(tf.zeros((7, 1, 1, 1)))
