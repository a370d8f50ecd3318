"""FER-Net against NumPy and against what IA-gen's section IV-A fixes."""

import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from fer_tf.compat import keras
from fer_tf.losses import cross_entropy
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
    assert fer_net.FERNet(width=4).hidden_dropout.rate == 0.5


def test_preprocess_standardises_each_face():
    images = np.random.default_rng(0).uniform(0, 1, (3, 16, 16, 3)).astype(np.float32)
    grey = images @ np.array([0.2989, 0.587, 0.114], np.float32)
    centred = grey - grey.mean((1, 2), keepdims=True)
    expected = centred / np.sqrt((centred**2).mean((1, 2), keepdims=True) + 1e-4)
    np.testing.assert_allclose(fer_net.preprocess(images)[..., 0], expected, atol=1e-4)
    assert np.all(fer_net.preprocess(tf.ones((1, 8, 8, 1))).numpy() == 0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_classification_loss_by_hand(smoothing):
    model, batch = fer_net.FERNet(width=4, blocks=1, hidden=8, label_smoothing=smoothing), fer_net.tiny()[1]
    model.head.kernel.assign(4.0 * model.head.kernel)
    logits, target = model.logits(batch["image"]).numpy(), np.eye(7)[:6] * (1 - smoothing) + smoothing / 7
    log_p = scipy.special.log_softmax(logits, -1)
    assert np.abs(log_p + np.log(7)).max() > 0.3
    terms, measures = model.losses(batch, training=False)
    by_hand = -(target * log_p).sum(-1).mean()
    assert float(terms["classifier"]["classification_loss"]) == pytest.approx(by_hand, rel=1e-4)
    assert float(measures["accuracy"]) == pytest.approx(np.mean(logits.argmax(-1) == np.arange(6)))


def test_features_feed_the_logits(net):
    """Feat of eq. (8) is the hidden layer after its ReLU; classify = softmax(Feat @ kernel + bias)."""
    model, images = net
    hidden, (kernel, bias) = model.trunk.get_layer("hidden"), (np.array(v) for v in model.head.weights)
    bias = np.linspace(-1, 1, 7)
    model.head.bias.assign(bias)
    hidden.bias.assign(np.linspace(-20, 20, 8))  # whatever the weights are, some of Feat are zero
    below = keras.Model(model.trunk.inputs, hidden.input)(fer_net.preprocess(images)).numpy()
    wanted = np.maximum(below @ np.array(hidden.kernel) + np.array(hidden.bias), 0)
    features = model.features(images).numpy()
    assert features.shape == (8, 8) and 0 < (features == 0).mean() < 1
    np.testing.assert_allclose(features, wanted, rtol=1e-4, atol=1e-4)
    logits = wanted @ kernel + bias
    np.testing.assert_allclose(model.logits(images), logits, atol=1e-4)
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    np.testing.assert_allclose(model.classify(images), odds / odds.sum(-1, keepdims=True), atol=1e-5)


def test_dropout_acts_on_the_features_in_training_alone():
    """With the identity as last layer the logits are the features: each zero or twice itself, at test as it is."""
    model = fer_net.FERNet(classes=[f"unit{i}" for i in range(32)], width=4, blocks=1, hidden=32)
    model.head.set_weights([np.eye(32), np.zeros(32)])
    images = tf.random.stateless_uniform((8, 64, 64, 1), (3, 4))
    alive = (features := model.features(images, training=True).numpy()) > 1e-3
    share = model.logits(images, training=True).numpy()[alive] / features[alive]
    np.testing.assert_allclose(np.minimum(np.abs(share), np.abs(share - 2)), 0, atol=1e-5)
    assert 0.3 < share.mean() / 2 < 0.7
    np.testing.assert_allclose(model.logits(images), model.features(images), rtol=1e-6)


def step(dropout):
    """A net, what one SGD step of rate 1 took from each of its variables, and the gradients without dropout."""
    keras.utils.set_random_seed(0)
    model = fer_net.FERNet(classes=CLASSES["six"], width=4, blocks=1, hidden=64, dropout=dropout)
    batch = {"image": tf.random.stateless_uniform((1, 64, 64, 1), (3, 4)), "label": tf.constant([2])}
    with tf.GradientTape() as tape:
        loss = cross_entropy(model.head(model.features(batch["image"], True)), batch["label"])
    gradients = tape.gradient(loss, model.trainable_variables)
    before = [np.array(v) for v in model.trainable_variables]
    model.compile(classifier_optimizer=keras.optimizers.SGD(1.0))
    model.train_step(batch)
    return model, [b - np.array(v) for b, v in zip(before, model.trainable_variables, strict=True)], gradients


def test_a_step_is_the_gradient_of_the_loss():
    for moved, gradient in zip(*step(dropout=0.0)[1:], strict=True):
        np.testing.assert_allclose(moved, gradient, rtol=1e-3, atol=1e-3 * np.abs(gradient).max() + 1e-7)


def test_a_step_drops_half_of_the_hidden_units():
    """A dropped unit's row in the last kernel stays; without dropout that of each unit that fires moves."""
    model, moved, gradients = step(dropout=0.5)
    (place,) = (i for i, v in enumerate(model.trainable_variables) if v.shape == (64, 6))
    fires = np.abs(gradients[place]).max(1) > 0
    dropped = np.abs(moved[place]).max(1) == 0
    assert fires.sum() > 20 and dropped[~fires].all() and 0.25 < dropped[fires].mean() < 0.75


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
