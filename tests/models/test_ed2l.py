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


LABELS = [0, 2, 1, 1, 1, 0]
UNEQUAL = {"margin": 0.2, "scale": 5.0, "lambda_t": 2.0, "lambda_p": 3.0, "weight_decay": 0.01}


def strong(**options):
    """A small net all of whose weights matter, with moving statistics that are no batch's, and a batch of six faces."""
    training.setup(seed=0, precision="float32")
    model = ed2l.ED2L(width=1 / 16, classes=("a", "b", "c"), **{**UNEQUAL, **options})
    rng = np.random.default_rng(1)
    nets = [getattr(model, part) for part in PARTS if hasattr(model, part)]
    layers = [layer for net in nets for layer in getattr(net, "layers", [net])]
    for layer in layers:
        if "norm" in layer.name:
            shape = layer.gamma.shape
            layer.gamma.assign(rng.uniform(0.5, 1.5, shape))
            layer.beta.assign(rng.normal(0, 0.3, shape))
        elif layer.name in ("fc", "classifier", "dispeller"):
            layer.kernel.assign(rng.normal(0, 0.1 if layer.name == "fc" else 1.0, layer.kernel.shape))
            if layer.bias is not None:
                layer.bias.assign(rng.normal(0, 0.5, layer.bias.shape))
    images = np.kron(rng.uniform(0, 1, (6, 7, 6, 1)), np.ones((1, 16, 16, 1))).astype(np.float32)  # coarse, so unlike
    for branch in [part for part in PARTS if part.endswith("branch") and hasattr(model, part)] * 15:
        f_p = features_by_hand(model, images, True, branch)
    for layer in layers:  # near the batch's, so that faces stay unlike, and clearly not the batch's
        if "norm" in layer.name:
            variance = np.array(layer.moving_variance)
            layer.moving_mean.assign(np.array(layer.moving_mean) + rng.normal(0, 0.2, variance.shape) * variance**0.5)
            layer.moving_variance.assign(variance * rng.uniform(0.7, 1.6, variance.shape))
    if model.dispelling:  # logits of about 1
        model.dispeller.kernel.assign(np.array(model.dispeller.kernel) / (4 * f_p.std()))
    return model, {"image": tf.constant(images), "label": tf.constant(LABELS)}


def features_by_hand(model, images, training_, branch="distilling_branch"):
    """f_t or f_p of eq. (1) and (4), from pixels in [-1, 1]."""
    return getattr(model, branch)(model.base(2 * images - 1, training=training_), training=training_)[1].numpy()


def softmax(logits):
    """(N, K) -> probabilities."""
    parts = np.exp(np.float64(logits) - logits.max(1, keepdims=True))
    return parts / parts.sum(1, keepdims=True)


def cosine_by_hand(f, model):
    """Of eq. (2): features and columns of length one."""
    w = np.array(model.classifier.kernel)
    return (f / np.linalg.norm(f, axis=1, keepdims=True)) @ (w / np.linalg.norm(w, axis=0))


def terms_by_hand(model, batch, training_):
    """Eq. (6) and the decay, in NumPy, from the features of a step of training or testing; and the two accuracies."""
    rows, labels, margin = np.arange(6), np.array(LABELS), model.margin if training_ else 0
    cosine = cosine_by_hand(features_by_hand(model, batch["image"], training_), model)
    logits = model.scale * (cosine - margin * (labels[:, None] == np.arange(3)))
    terms = {"distilling_loss": model.lambda_t * np.mean(-np.log(softmax(logits)[rows, labels]))}
    shares = {"accuracy": np.mean(cosine.argmax(1) == labels)}
    if model.dispelling:
        f_p = features_by_hand(model, batch["image"], training_, "dispelling_branch")
        logits_p = f_p @ np.array(model.dispeller.kernel) + np.array(model.dispeller.bias)
        y_p = softmax(logits_p)
        terms["dispeller_loss"] = model.lambda_p * np.mean(-np.log(y_p[rows, labels]))
        terms["confusion_loss"] = model.lambda_p * np.mean(-np.log(y_p).sum(1) / 3)
        shares["dispeller_accuracy"] = np.mean(logits_p.argmax(1) == labels)
    squares = sum(np.sum(np.array(v, np.float64) ** 2) for v in model.trainable_variables)
    terms["decay_loss"] = model.weight_decay / 2 * squares
    return terms, shares


def unweighted(model, terms):
    """The terms as they are logged: l_t, l_a and l_p themselves."""
    by = {"distilling_loss": model.lambda_t, "dispeller_loss": model.lambda_p, "confusion_loss": model.lambda_p}
    return {name: value / by.get(name, 1) for name, value in terms.items()}


@pytest.mark.parametrize("dispelling", [True, False])
def test_equation_6_term_by_term(dispelling):
    model, batch = strong(dispelling=dispelling)
    expected, shares = terms_by_hand(model, batch, True)
    losses = model.losses_of("classifier", batch)
    assert {*losses} == {*expected} and len({*expected}) == (4 if dispelling else 2)
    for name, value in expected.items():
        assert float(losses[name]) == pytest.approx(value, rel=1e-4), name
    # the margin, the batch's own statistics and the range of pixels are seen in these numbers
    moving = cosine_by_hand(features_by_hand(model, batch["image"], False), model)
    batchs = cosine_by_hand(features_by_hand(model, batch["image"], True), model)
    bare = cosine_by_hand(features_by_hand(model, (batch["image"] + 1) / 2, True), model)
    assert np.abs(moving - batchs).max() > 0.1 and np.abs(bare - batchs).max() > 0.01
    model.compile(classifier_optimizer=ed2l.optimizer())
    logs = {name: float(value) for name, value in model.train_step(batch).items()}
    assert logs["classifier_loss"] == pytest.approx(sum(expected.values()), rel=1e-4)
    for name, value in {**unweighted(model, expected), **shares}.items():
        assert logs[name] == pytest.approx(value, rel=1e-4), name
    assert len({*shares.values()}) == len(shares), "two accuracies that differ"


@pytest.mark.parametrize("options", [{}, {"confusion_updates_dispeller": False}, {"dispelling": False}], ids=str)
def test_a_step_is_the_gradient_of_the_terms_sum(options):
    """Plain descent of length one moves every variable by minus that gradient; without any one term, elsewhere."""
    model, batch = strong(**options)
    variables = model.trainable_variables
    with tf.GradientTape(persistent=True) as tape:
        terms = model.losses_of("classifier", batch)
        total = sum(terms.values())
    gradient = [np.array(g) for g in tape.gradient(total, variables)]
    without = {
        name: [0 if g is None else np.array(g) for g in tape.gradient(term, variables)] for name, term in terms.items()
    }
    assert all(max(np.abs(g).max() for g in parts) > 1e-2 for parts in without.values())
    before = [np.array(v) for v in variables]
    model.compile(classifier_optimizer=keras.optimizers.SGD(1.0))
    model.train_step(batch)
    for v, old, g in zip(variables, before, gradient, strict=True):
        np.testing.assert_allclose(old - np.array(v), g, atol=1e-4 * (1 + np.abs(g).max()))


def test_probabilities_are_of_the_cosines():
    """classify: the moving statistics, features and weights of length one, s, no margin; grey of RGB; a batch, too."""
    model, batch = strong()
    expected = softmax(5 * cosine_by_hand(features_by_hand(model, batch["image"], False), model))
    np.testing.assert_allclose(model.classify(batch["image"]), expected, atol=1e-5)
    np.testing.assert_allclose(model(batch), expected, atol=1e-5)
    np.testing.assert_allclose(model(batch["image"], training=True), expected, atol=1e-5)
    assert expected.std(0).min() > 0.01 and expected.max() > 0.6
    rgb = np.random.default_rng(2).uniform(0, 1, (2, *ed2l.SIZE, 3)).astype(np.float32)
    grey = rgb @ np.array([[0.2989], [0.5870], [0.1140]], np.float32)
    np.testing.assert_allclose(model.classify(rgb), model.classify(grey), atol=1e-4)
    np.testing.assert_allclose(model.features(batch["image"]), features_by_hand(model, batch["image"], False), 1e-4)


def test_a_test_step_has_no_margin():
    """The same terms by the moving statistics, and nothing moves."""
    model, batch = strong()
    means = [id(v) for metric in model.metrics for v in metric.variables]  # Keras 2 counts them among the weights
    weights = [v for v in model.weights if id(v) not in means]
    before = [v.numpy() for v in weights]
    expected, shares = terms_by_hand(model, batch, False)
    logs = {name: float(value) for name, value in model.test_step(batch).items()}
    for name, value in {**unweighted(model, expected), **shares}.items():
        assert logs[name] == pytest.approx(value, rel=1e-4), name
    assert weights and all(np.array_equal(a, v.numpy()) for a, v in zip(before, weights, strict=True))


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
    model, batch = strong(confusion_updates_dispeller=updates)
    assert moved(model, batch, "distilling_loss") == {"base", "distilling_branch", "classifier"}
    assert moved(model, batch, "dispeller_loss") == {"dispeller"}
    fooling = {"base", "dispelling_branch"} | ({"dispeller"} if updates else set())
    assert moved(model, batch, "confusion_loss") == fooling


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
    assert not plain.weight_decay
    assert [float(x) for x in (plain.learning_rate, plain.beta_1, plain.beta_2, plain.epsilon)] == pytest.approx(
        [1e-4, 0.9, 0.999, 1e-8]
    )


def test_views_are_the_ten_patches():
    assert len(ed2l.views) == 10 and ed2l.views.source == (128, 110) and ed2l.views.size == (112, 96)
    assert ed2l.views.angles == (0,)


def test_maps_of_both_branches():
    """Fig. 5: the PReLU after each branch's own down-sampling convolution, at test."""
    model, batch = strong()
    shared, expected = model.base(2 * batch["image"] - 1, training=False), {}
    for name, branch in (("t", model.distilling_branch), ("p", model.dispelling_branch)):
        x = shared
        for part in ("conv", "norm", "prelu"):
            layer = branch.get_layer(f"branch_down_{part}")
            x = layer(x, training=False) if part == "norm" else layer(x)
        expected[name] = x.numpy()
    maps = model.maps(batch["image"])
    assert {n: tuple(m.shape) for n, m in maps.items()} == {"t": (6, 7, 6, 16), "p": (6, 7, 6, 16)}
    for name, value in expected.items():
        np.testing.assert_allclose(maps[name], value, atol=1e-4)
    assert np.abs(expected["t"] - expected["p"]).max() > 0.1
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
    assert last["confusion_loss"] < np.log(2) + 0.05


def test_a_dispeller_that_plays_has_its_own_loss_and_steps():
    """k = 3: l_p leaves it alone; it goes down l_a three times on the same f_p, at its own rate; the others once."""
    model, batch = strong(dispeller_steps=3)
    players = dict(model.player_variables())
    assert {id(v) for v in players["adversary"]} == {id(v) for v in model.dispeller.trainable_variables}
    assert sum(map(len, players.values())) == len(model.trainable_variables)
    terms, once = model.losses(batch)[0], terms_by_hand(model, batch, True)[0]
    assert {*terms["adversary"]} == {"dispeller_loss", "decay_loss"}
    assert {*terms["classifier"]} == {"distilling_loss", "confusion_loss", "decay_loss"}
    for own in terms.values():
        assert {n: float(v) for n, v in own.items()} == pytest.approx({n: once[n] for n in own}, rel=1e-4)
    with tf.GradientTape() as tape:
        fooled = model.losses(batch)[0]["classifier"]["confusion_loss"]
    assert tape.gradient(fooled, players["adversary"]) == [None, None]
    f_p = features_by_hand(model, batch["image"], True, "dispelling_branch").astype(np.float64)
    kernel, bias = (np.array(v, np.float64) for v in (model.dispeller.kernel, model.dispeller.bias))
    start = [np.array(v) for v in players["classifier"]]
    for _ in range(3):
        slope = 3.0 * (softmax(f_p @ kernel + bias) - np.eye(3)[LABELS]) / 6
        kernel, bias = kernel - 0.1 * (f_p.T @ slope + 0.01 * kernel), bias - 0.1 * (slope.sum(0) + 0.01 * bias)
    rates = {"adversary": 0.1, "classifier": 0.02}
    model.compile(**{f"{name}_optimizer": keras.optimizers.SGD(rate) for name, rate in rates.items()})
    logs = model.train_step(batch)
    assert float(logs["dispeller_loss"]) == pytest.approx(once["dispeller_loss"] / 3, rel=1e-4)
    np.testing.assert_allclose(model.dispeller.kernel, kernel, atol=1e-4)
    np.testing.assert_allclose(model.dispeller.bias, bias, atol=1e-4)
    assert any(np.any(a != np.array(v)) for a, v in zip(start, players["classifier"], strict=True))


def test_a_baseline_has_no_dispeller_to_play():
    model, batch = strong(dispeller_steps=2, dispelling=False)
    assert [name for name, _ in model.player_variables()] == ["classifier"]
    model.compile(classifier_optimizer=keras.optimizers.SGD(0.1))
    assert np.isfinite(float(model.train_step(batch)["classifier_loss"]))


@pytest.mark.slow
def test_a_dispeller_that_plays_is_compiled_and_dealt(tmp_path):
    """By XLA, and to two replicas, which agree."""
    model, batch = strong(dispeller_steps=3)
    model.compile(adversary_optimizer=keras.optimizers.SGD(0.1), classifier_optimizer=keras.optimizers.SGD(0.02))
    start = model.get_weights()
    plain = {name: float(value) for name, value in model.train_step(batch).items()}
    moved = np.array(model.dispeller.kernel)
    model.set_weights(start)
    model.reset_metrics()
    by_xla = tf.function(model.train_step, jit_compile=True)(batch)
    assert {name: float(value) for name, value in by_xla.items()} == pytest.approx(plain, rel=1e-3)
    np.testing.assert_allclose(model.dispeller.kernel, moved, atol=1e-4)
    strategy = training.setup(precision="float32", strategy="mirrored")
    with strategy.scope():
        model, batch = ed2l.ED2L(width=1 / 16, classes=("a", "b", "c"), dispeller_steps=3), batch
        model.compile(adversary_optimizer=keras.optimizers.SGD(0.1), classifier_optimizer=keras.optimizers.SGD(0.02))
    before = np.array(model.dispeller.kernel)

    class Once:
        def __len__(self):
            return 1

        def epoch(self, number):
            return tf.data.Dataset.from_tensors(batch)

    training.fit(model, Once(), workdir=tmp_path, epochs=1, strategy=strategy, progress=False)
    assert np.abs(np.array(model.dispeller.kernel) - before).max() > 1e-4
