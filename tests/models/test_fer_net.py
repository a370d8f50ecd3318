"""FER-Net against NumPy and against what IA-gen's section IV-A fixes."""

import numpy as np
import pytest
import tensorflow as tf

from fer_tf.compat import keras
from fer_tf.models import fer_net
from fer_tf.records import CLASSES


@pytest.fixture(scope="module")
def net():
    """A small FER-Net and eight noise faces."""
    model = fer_net.FERNet(classes=CLASSES["seven"], width=4, blocks=1, hidden=8)
    return model, tf.random.stateless_uniform((8, 64, 64, 1), (3, 4))


def test_at_most_five_million_parameters():
    """The issue's bound, and the count by hand: convolutions and dense kernels, two norm vectors a convolution."""
    model = fer_net.FERNet(classes=CLASSES["seven"])
    w = [32, 64, 128, 256]
    convolutions = 9 * 1 * w[0] + sum(9 * a * b + 3 * 9 * b * b + a * b for a, b in zip(w, w[1:], strict=False))
    norms = 2 * (w[0] + sum(5 * b for b in w[1:]))
    dense = 256 * 256 + 256 + 256 * 7 + 7
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert trainable == convolutions + norms + dense < 5_000_000


def test_views_are_the_110_of_the_paper():
    assert len(fer_net.views) == 11 * 5 * 2
    assert fer_net.views.source == (70, 70) and fer_net.views.size == (64, 64)
    assert fer_net.views.angles == tuple(range(-15, 16, 3))


def test_schedule_is_the_papers():
    """0.001, times 0.8 after each 20 epochs; checked on both sides of the drops, 7 steps an epoch."""
    rate = fer_net.schedule(7)
    for step, drops in ((0, 0), (139, 0), (140, 1), (279, 1), (280, 2), (7 * 60, 3)):
        assert float(rate(step)) == pytest.approx(0.001 * 0.8**drops, rel=1e-5)


def test_dropout_is_the_papers():
    assert fer_net.FERNet(width=4).dropout.rate == 0.5


def test_preprocess_standardises_each_face():
    images = np.random.default_rng(0).uniform(0, 1, (3, 16, 16, 3)).astype(np.float32)
    grey = images @ np.array([0.2989, 0.587, 0.114], np.float32)
    centred = grey - grey.mean((1, 2), keepdims=True)
    expected = centred / np.sqrt((centred**2).mean((1, 2), keepdims=True) + 1e-4)
    np.testing.assert_allclose(fer_net.preprocess(images)[..., 0], expected, atol=1e-4)
    assert np.all(fer_net.preprocess(tf.ones((1, 8, 8, 1))).numpy() == 0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_classification_loss_by_hand(smoothing):
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(0, 2, (5, 7)), rng.integers(0, 7, 5)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    target = np.eye(7)[labels] * (1 - smoothing) + smoothing / 7
    model = fer_net.FERNet(width=4, blocks=1, hidden=8, label_smoothing=smoothing)
    found = model.classification_loss(tf.constant(logits, tf.float32), tf.constant(labels))
    assert float(found) == pytest.approx(-(target * log_p).sum(-1).mean(), rel=1e-5)


def test_features_feed_the_logits(net):
    """Feat of eq. (8) is the input of the last layer: logits = Feat @ kernel + bias."""
    model, images = net
    features = model.features(images).numpy()
    kernel, bias = (np.array(v) for v in model.head.weights)
    assert features.shape == (8, 8) and features.min() >= 0 and features.max() > 0
    np.testing.assert_allclose(model.logits(images), features @ kernel + bias, atol=1e-4)


def test_maps_are_what_the_second_pooling_sees(net):
    model, images = net
    maps = model.maps(images)
    assert maps.shape == (8, 32, 32, 4)
    inner = keras.Model(model.trunk.get_layer("pool2").output, model.trunk.outputs[1])
    np.testing.assert_allclose(inner(tf.nn.max_pool2d(maps, 2, 2, "VALID")), model.features(images), atol=1e-5)


def test_random_views_differ_by_turn_and_repeat_by_seed():
    images = tf.random.stateless_uniform((4, 70, 70, 1), (5, 6))
    seed = tf.stack([tf.fill([4], 9), tf.range(4)], -1)
    first, _ = fer_net.random_views.random(images, seed, tf.zeros(4, tf.int32), 2)
    again, _ = fer_net.random_views.random(images, seed, tf.zeros(4, tf.int32), 2)
    other, _ = fer_net.random_views.random(images, seed, tf.ones(4, tf.int32), 2)
    assert first.shape == (4, 64, 64, 1)
    np.testing.assert_array_equal(first, again)
    assert all(np.abs(first[i] - other[i]).max() > 0.05 for i in range(4))


def test_random_views_treat_a_pair_alike():
    images = tf.random.stateless_uniform((4, 70, 70, 1), (5, 6))
    seed = tf.stack([tf.fill([4], 9), tf.range(4)], -1)
    pair, _ = fer_net.random_views.random({"image": images, "target": 1 - images}, seed, tf.zeros(4, tf.int32), 1)
    np.testing.assert_allclose(pair["image"] + pair["target"], tf.ones((4, 64, 64, 1)), atol=1e-5)


@pytest.mark.parametrize("pooling", [1, 3])
def test_maps_before_any_pooling(net, pooling):
    """What the trunk computes up to that pooling; one that it has not is refused."""
    model, images = net
    inner = keras.Model(model.trunk.inputs, model.trunk.get_layer(f"pool{pooling}").input)
    wanted = inner(fer_net.preprocess(images))
    assert wanted.shape[1] == 64 // 2 ** (pooling - 1)
    np.testing.assert_allclose(model.maps(images, pooling), wanted, atol=1e-6)
    with pytest.raises(ValueError, match="no pooling number 9"):
        model.maps(images, 9)
