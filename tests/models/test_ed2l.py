"""ED2L against its paper: Table 1's parameters, each loss by hand, and which part each loss moves."""

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import training
from fer_tf.compat import keras
from fer_tf.losses import cross_entropy
from fer_tf.models import ed2l

PARTS = ("base", "distilling_branch", "classifier", "dispelling_branch", "dispeller")


def count(variables):
    return sum(int(np.prod(v.shape)) for v in variables)


def expected(channels_in, channels, units):
    """A stage by hand: kernels of 3x3, and norm scale, norm shift and slope a channel."""
    kernels = 9 * channels_in * channels + units * 2 * 9 * channels**2
    return kernels + 3 * channels * (1 + 2 * units)


def test_parameters_are_table_1s():
    """Every part by hand; 9.91 M in all with seven classes."""
    model = ed2l.ED2L()
    base = expected(1, 32, 1) + expected(32, 64, 2) + expected(64, 128, 4)
    branch = expected(128, 256, 1) + 7 * 6 * 256 * 256 + 256
    by_hand = {
        "base": base,
        "distilling_branch": branch,
        "classifier": 256 * 7,
        "dispelling_branch": branch,
        "dispeller": 256 * 7 + 7,
    }
    assert {part: count(getattr(model, part).trainable_variables) for part in PARTS} == by_hand
    assert count(model.trainable_variables) == sum(by_hand.values()) == 9_905_543
    baseline = ed2l.ED2L(dispelling=False)
    assert count(baseline.trainable_variables) == base + branch + 256 * 7


def test_layers_are_table_1s():
    """Channels, strides and order: a stride of 2 enters every stage; a norm and a PReLU follow every convolution."""
    nets = (ed2l.build_base(), ed2l.build_branch())
    convolutions = [layer for net in nets for layer in net.layers if isinstance(layer, keras.layers.Conv2D)]
    channels = [32] * 3 + [64] * 5 + [128] * 9 + [256] * 3
    assert [c.filters for c in convolutions] == channels
    assert [c.strides[0] for c in convolutions] == [2, 1, 1] + [2, 1, 1, 1, 1] + [2] + [1] * 8 + [2, 1, 1]
    assert nets[0].output_shape == (None, 14, 12, 128)
    assert [tuple(o.shape) for o in nets[1].outputs] == [(None, 7, 6, 256), (None, 256)]
    for net in nets:
        names = [layer.name for layer in net.layers]
        for name in (n.removesuffix("_conv") for n in names if n.endswith("_conv")):
            assert {f"{name}_norm", f"{name}_prelu"} <= {*names}
            slope = net.get_layer(f"{name}_prelu").weights[0]
            assert len(slope.shape) == 1 and np.all(np.array(slope) == 0.25)


def test_residual_unit_adds_what_enters_it():
    """With all norms' scales at zero the units add PReLU(shift) = 0: the stage gives what its first layer gave."""
    inputs = keras.Input((8, 6, 3))
    down, out = ed2l.stage(inputs, 4, 2, "s")
    net = keras.Model(inputs, [down, out])
    for layer in net.layers:
        if "unit" in layer.name and layer.name.endswith("b_norm"):
            layer.gamma.assign(tf.zeros_like(layer.gamma))
    down, out = net(np.random.default_rng(0).normal(size=(2, 8, 6, 3)).astype(np.float32))
    assert down.shape == (2, 4, 3, 4) and np.abs(down).max() > 0
    np.testing.assert_allclose(out, down, atol=1e-6)


@pytest.mark.parametrize("margin", [0.0, 0.35])
def test_equations_2_and_3_by_hand(margin):
    """y_t of eq. (2) term by term, then -log of the true one."""
    rng = np.random.default_rng(0)
    f, w, labels, s = rng.normal(size=(5, 8)), rng.normal(size=(8, 4)), np.array([0, 3, 1, 2, 2]), 30.0
    cosine = (f / np.linalg.norm(f, axis=1, keepdims=True)) @ (w / np.linalg.norm(w, axis=0))
    losses = []
    for row, true in zip(cosine, labels, strict=True):
        others = sum(np.exp(s * c) for j, c in enumerate(row) if j != true)
        y = np.exp(s * (row[true] - margin)) / (np.exp(s * (row[true] - margin)) + others)
        losses.append(-np.log(y))
    logits = ed2l.am_softmax_logits(tf.constant(cosine, tf.float32), tf.constant(labels), margin, s)
    assert float(cross_entropy(logits, tf.constant(labels))) == pytest.approx(np.mean(losses), rel=1e-4)
    plain = ed2l.am_softmax_logits(tf.constant(cosine, tf.float32), None, margin, s)
    np.testing.assert_allclose(plain, s * cosine, rtol=1e-4)


def test_equation_5_by_hand_and_its_minimum():
    logits = np.random.default_rng(1).normal(size=(6, 5))
    y = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    by_hand = np.mean([-sum(np.log(p) for p in row) / 5 for row in y])
    assert float(ed2l.confusion_loss(tf.constant(logits, tf.float32))) == pytest.approx(by_hand, rel=1e-5)
    assert float(ed2l.confusion_loss(tf.fill((3, 5), 7.0))) == pytest.approx(np.log(5), rel=1e-6)
    assert by_hand > np.log(5)


def test_probabilities_are_of_the_cosines():
    """classify: features and weights of length one, s = 30, no margin."""
    model, batch = ed2l.tiny()
    f, w = model.features(batch["image"]).numpy(), np.array(model.classifier.kernel)
    cosine = (f / np.linalg.norm(f, axis=1, keepdims=True)) @ (w / np.linalg.norm(w, axis=0))
    expected = np.exp(30 * cosine) / np.exp(30 * cosine).sum(1, keepdims=True)
    np.testing.assert_allclose(model.classify(batch["image"]), expected, atol=1e-4)


def moved(model, batch, term):
    """The parts that a term's gradient reaches."""
    with tf.GradientTape() as tape:
        loss = model.losses_of("classifier", batch)[term]
    variables = {part: getattr(model, part).trainable_variables for part in PARTS}
    gradients = tape.gradient(loss, variables)
    return {p for p, gs in gradients.items() if any(g is not None and np.abs(g).max() > 1e-9 for g in gs)}


@pytest.mark.parametrize("updates", [True, False])
def test_which_part_each_loss_moves(updates):
    """Sections 2.2 and 2.3: l_t its branch and the base; l_a the dispeller alone; l_p branch, base, and as asked."""
    training.setup(seed=0, precision="float32")
    model = ed2l.ED2L(width=1 / 16, classes=("a", "b", "c"), confusion_updates_dispeller=updates)
    batch = {**ed2l.tiny()[1], "label": tf.constant([0, 1, 2, 0, 1, 2])}
    assert moved(model, batch, "distilling_loss") == {"base", "distilling_branch", "classifier"}
    assert moved(model, batch, "dispeller_loss") == {"dispeller"}
    fooling = {"base", "dispelling_branch"} | ({"dispeller"} if updates else set())
    assert moved(model, batch, "confusion_loss") == fooling


def test_equation_6_weighs_the_terms():
    """Ten times lambda_t or lambda_p is ten times the term, and nothing else."""
    batch, found = ed2l.tiny()[1], []
    for weights in ({}, {"lambda_t": 10.0}, {"lambda_p": 100.0}):
        training.setup(seed=0, precision="float32")
        model = ed2l.ED2L(width=1 / 16, classes=tuple("abcdef"), **weights)
        found.append({k: float(v) for k, v in model.losses_of("classifier", batch).items()})
    plain, distilling, dispelling = found
    factor = {"distilling_loss": (10, 1), "dispeller_loss": (1, 10), "confusion_loss": (1, 10), "decay_loss": (1, 1)}
    for term, (by_t, by_p) in factor.items():
        assert distilling[term] == pytest.approx(by_t * plain[term], rel=1e-3)
        assert dispelling[term] == pytest.approx(by_p * plain[term], rel=1e-3)
    assert model.lambda_t == 1 and ed2l.ED2L(width=1 / 16).lambda_p == 10


def test_decay_is_l2_in_the_gradient():
    """The decay's gradient is 5e-4 times each variable; the other kind is the optimizer's."""
    model, batch = ed2l.tiny()
    with tf.GradientTape() as tape:
        loss = model.losses_of("classifier", batch)["decay_loss"]
    gradients = tape.gradient(loss, model.trainable_variables)
    for gradient, variable in zip(gradients, model.trainable_variables, strict=True):
        np.testing.assert_allclose(gradient, 5e-4 * np.array(variable), atol=1e-7)
    assert ed2l.optimizer(decoupled=0.01).weight_decay == 0.01
    plain = ed2l.optimizer()
    assert [float(x) for x in (plain.learning_rate, plain.beta_1, plain.beta_2, plain.epsilon)] == pytest.approx(
        [1e-4, 0.9, 0.999, 1e-8]
    )


def test_views_are_the_ten_patches():
    assert len(ed2l.views) == 10 and ed2l.views.source == (128, 110) and ed2l.views.size == (112, 96)
    assert ed2l.views.angles == (0,)


def test_maps_of_both_branches():
    model, batch = ed2l.tiny()
    maps = model.maps(batch["image"])
    assert {n: tuple(m.shape) for n, m in maps.items()} == {"t": (6, 7, 6, 16), "p": (6, 7, 6, 16)}
    assert not np.allclose(maps["t"], maps["p"])
    assert set(ed2l.ED2L(width=1 / 16, dispelling=False).maps(batch["image"])) == {"t"}


@pytest.mark.slow
def test_overfits_eight_faces_and_dispels():
    """300 steps on eight noise faces: all named right, while the dispeller stays near chance."""
    training.setup(seed=0, precision="float32")
    model = ed2l.ED2L(width=1 / 8, classes=("a", "b"), weight_decay=0.0)
    model.compile(classifier_optimizer=ed2l.optimizer(1e-3))
    batch = {"image": tf.random.stateless_uniform((8, *ed2l.SIZE, 1), (5, 6)), "label": tf.constant([0, 1] * 4)}
    step = tf.function(model.train_step)
    first = {k: float(v) for k, v in step(batch).items()}
    for _ in range(300):
        model.reset_metrics()
        last = {k: float(v) for k, v in step(batch).items()}
    assert last["accuracy"] == 1 and last["distilling_loss"] < first["distilling_loss"] / 20
    assert last["confusion_loss"] / 10 < np.log(2) + 0.05
