"""fer_tf.models.de_gan by hand: each net, eq. (1) to (3), the baseline, and a step of each player, in NumPy.

N(0, 0.02) makes every output of these nets all but constant, so that no fault shows: `enlarged` gives them weights that
matter, and each test says how far a fault would be off.
"""

import zlib

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import training
from fer_tf.compat import keras, own_variables, sublayers
from fer_tf.models import de_gan
from fer_tf.records import CLASSES

SIX = CLASSES["six"]


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def pick(probabilities, labels):
    """-log of the named entries, the mean over the rows."""
    return -np.mean(np.log(probabilities[np.arange(len(labels)), labels]))


def kind(variable):
    """kernel, bias, gamma, beta, moving_mean, moving_variance or another name, on both stacks."""
    return variable.name.split("/")[-1].split(":")[0]


def enlarge(v, drawn):
    """Gives a variable weights that matter, made of N(0, 1); counters stay."""
    if kind(v) == "kernel":
        v.assign(drawn * 1.6 / np.sqrt(np.prod(v.shape[:-1])))
    elif kind(v) in ("gamma", "moving_variance"):
        v.assign(np.exp(drawn / 3))
    elif kind(v) in ("beta", "bias", "moving_mean"):
        v.assign(drawn / 3 + (kind(v) == "bias"))


def enlarged(layer, path=""):
    """The model with weights, biases and norms that matter, drawn by name: the same ones on both stacks."""
    for v in own_variables(layer):
        enlarge(v, np.random.default_rng(zlib.crc32(f"{path}/{kind(v)}".encode())).normal(size=v.shape))
    for below in sublayers(layer):
        enlarged(below, f"{path}/{below.name}")
    return layer


def enlarged_in_order(model):
    """Likewise, drawn in the order of the weights: other ones, by which D's and the baseline's outputs vary more."""
    random = np.random.default_rng(0)
    for v in model.weights:
        enlarge(v, random.normal(size=v.shape))
    return model


def varied(tiny):
    """The tiny model with weights that matter, and its batch with smooth pictures from dark to bright."""
    model, batch = tiny()
    drawn = np.random.default_rng(1).random((6, 5, 5, 1)).astype(np.float32)
    level = np.linspace(0, 1, 6, dtype=np.float32)[:, None, None, None]
    return enlarged(model), {**batch, "image": tf.image.resize(0.5 * drawn + 0.5 * level, (96, 96), "bilinear")}


def arrays(layer):
    """{kind: value} of a layer's weights."""
    return {kind(v): np.array(v) for v in layer.weights}


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def normed(x, layer, training=False):
    """Batch norm, with the moving statistics or with those of the batch."""
    given = arrays(layer)
    mean, variance = given["moving_mean"], given["moving_variance"]
    if training:
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return given["gamma"] * (x - mean) / np.sqrt(variance + 1e-5) + given["beta"]


def convolved(x, kernel, stride=1):
    """3x3, padded with zeros as TensorFlow's SAME: at an even size and stride 2 at the bottom and right alone."""
    x = np.pad(x, ((0, 0), (2 - stride, 1), (2 - stride, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))[:, ::stride, ::stride]
    return np.einsum("nhwcij,ijco->nhwo", windows, kernel, optimize=True)


def transposed(x, kernel):
    """Stride 2: each pixel adds its 3x3 stamp; the last row and column that stick out are cut."""
    n, h, w, _ = x.shape
    made = np.zeros((n, 2 * h + 1, 2 * w + 1, kernel.shape[2]))
    for i in range(3):
        for j in range(3):
            made[:, i : i + 2 * h : 2, j : j + 2 * w : 2] += x @ kernel[i, j].T
    return made[:, : 2 * h, : 2 * w]


STRIDES = {f"conv{s}{i}": 2 if i == 1 < s else 1 for s, n in enumerate((2, 3, 3, 3, 3), 1) for i in range(1, n + 1)}
"""Convolution of DR-GAN's encoder -> its stride."""


def trunk_by_hand(net, x, training=False):
    """(N, 96, 96, 1) in [-1, 1] -> [the ends of stages 1 to 4, the mean of the last maps]."""
    ends = {}
    for name, stride in STRIDES.items():
        x = convolved(x, arrays(net.get_layer(f"{name}_conv"))["kernel"], stride)
        ends[name[4]] = x = elu(normed(x, net.get_layer(f"{name}_norm"), training))
    return [*list(ends.values())[:4], x.mean((1, 2))]


def decoder_by_hand(net, code, identity, noise):
    """Joined, multiplied, then up to 96x96 pixels."""
    joined = np.concatenate([code, identity, noise], -1)
    kernel = np.concatenate([arrays(net.get_layer(n))["kernel"] for n in ("code", "identity", "noise")])
    x = elu(normed((joined @ kernel).reshape(len(code), 6, 6, -1), net.get_layer("norm")))
    for stage, count in enumerate((2, 3, 3, 3, 2), 1):
        for i in range(1, count + 1):
            kernel = arrays(net.get_layer(f"conv{stage}{i}_conv"))["kernel"]
            x = transposed(x, kernel) if i == 1 < stage else convolved(x, kernel)
            x = elu(normed(x, net.get_layer(f"conv{stage}{i}_norm")))
    end = arrays(net.get_layer("end"))
    return np.tanh(convolved(x, end["kernel"]) + end["bias"])


def local_by_hand(net, x, training=False):
    """A local CNN of Fig. 3: its fully connected layer."""
    for i in (1, 2):
        x = np.maximum(
            normed(convolved(x, arrays(net.get_layer(f"conv{i}"))["kernel"]), net.get_layer(f"norm{i}"), training), 0
        )
        n, h, w, c = x.shape
        x = x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))
    n, h, w, c = x.shape
    x = x.reshape(n, 3, h // 3, 3, w // 3, c).mean((2, 4)).reshape(n, -1)
    fc = arrays(net.get_layer("fc"))
    return np.maximum(x @ fc["kernel"] + fc["bias"], 0)


def dense(layer, x):
    given = arrays(layer)
    return x @ given["kernel"] + given["bias"]


def test_each_net_by_hand():
    """Encoder, D and decoder: strides, norms, ELU, the mean, linear heads, tanh."""
    training.setup(seed=0, precision="float32")
    model, batch = varied(de_gan.tiny)
    enlarged_in_order(model)
    x = 2 * batch["image"].numpy()[:3] - 1
    wanted = trunk_by_hand(model.encoder, x)
    for maps, value in zip(model.encoder(x, training=False), wanted, strict=True):
        assert np.std(value) > 0.1
        np.testing.assert_allclose(maps, value, rtol=2e-4, atol=2e-4)
    mean = trunk_by_hand(model.discriminator, x)[-1]
    for head, logits in zip(("expression", "identity"), model.discriminator(x, training=False), strict=True):
        value = dense(model.discriminator.get_layer(head), mean)
        assert np.std(value, 0).min() > 0.01
        np.testing.assert_allclose(logits, value, rtol=2e-4, atol=2e-4)
    joined = [np.random.default_rng(i).normal(size=(3, n)).astype(np.float32) for i, n in enumerate((8, 3, 4))]
    face = decoder_by_hand(model.decoder, *joined)
    assert np.std(face) > 0.1 and np.std(face, 0).max() > 0.1
    np.testing.assert_allclose(model.decoder(joined, training=False), face, rtol=2e-4, atol=2e-4)
    with_zero = decoder_by_hand(model.decoder, joined[0], np.eye(3)[[2, 0, 1]], np.zeros((3, 4)))
    made = model.decode(joined[0], tf.constant([2, 0, 1])).numpy()
    np.testing.assert_allclose(made, (with_zero + 1) / 2, rtol=2e-4, atol=2e-4)
    carried = decoder_by_hand(model.decoder, wanted[-1], np.eye(3)[[1, 1, 0]], np.zeros((3, 4)))
    found = model.transfer(batch["image"][:3], tf.constant([1, 1, 0])).numpy()
    np.testing.assert_allclose(found, (carried + 1) / 2, rtol=2e-4, atol=2e-4)


def test_equations_1_and_2_by_hand():
    """Each term of both players, with norms on the batch; other identities, codes, noise and labels are far off."""
    training.setup(seed=0, precision="float32")
    model, batch = varied(de_gan.tiny)
    twin = varied(de_gan.tiny)[0]  # draws the same identities and the same z
    terms, right = model.losses(batch)
    labels, own = batch["label"].numpy(), batch["subject"].numpy()
    x, wanted = 2 * batch["image"].numpy() - 1, twin.identities(batch["subject"]).numpy()
    z = twin.z(tf.zeros((6, 4)), training=True).numpy()
    assert np.all(wanted != own) and 0.6 < np.std(z) < 1.5 and np.all(np.std(z, 0) > 0.1)
    f = twin.encoder(x, training=True)[-1].numpy()

    def judged(face):
        """Probabilities of D^e and D^i."""
        return [softmax(logits.numpy()) for logits in twin.discriminator(face, training=True)]

    def generated(identity, noise):
        """The generator's two terms for these identity codes."""
        expression, person = judged(twin.decoder([f, identity.astype(np.float32), noise], training=True))
        return [pick(expression, labels), pick(person, wanted), pick(expression, np.full(6, len(SIX)))]

    (expression, person), (of_expression, of_identity, fake) = judged(x), generated(np.eye(3)[wanted], z)
    given = {
        "discriminator": {
            "real_expression_loss": pick(expression, labels),
            "real_identity_loss": pick(person, own),
            "fake_loss": fake,
        },
        "generator": {"expression_loss": of_expression, "identity_loss": of_identity},
    }
    assert {name: {*values} for name, values in terms.items()} == {name: {*values} for name, values in given.items()}
    for name, values in given.items():
        for term, value in values.items():
            assert float(terms[name][term]) == pytest.approx(value, rel=1e-4), term
    assert float(right["accuracy"]) == pytest.approx(np.mean(expression.argmax(-1) == labels))
    assert float(right["identity_accuracy"]) == pytest.approx(np.mean(person.argmax(-1) == own))
    for identity, noise in ((np.eye(3)[own], z), (np.zeros((6, 3)), z), (np.eye(3)[wanted], 0 * z)):
        assert np.max(np.abs(np.subtract(generated(identity, noise), [of_expression, of_identity, fake]))) > 2e-2
    assert abs(pick(expression, np.roll(labels, 1)) - pick(expression, labels)) > 1e-2


def test_own_term_is_the_distance_of_those_who_keep_their_identity():
    """L1 over the fakes of the own person alone; without a weight there is no such term, without such fakes it is 0."""
    training.setup(seed=0, precision="float32")
    plain, batch = varied(de_gan.tiny)
    assert "own_loss" not in plain.losses_of("generator", batch) and plain.lambda_own == 0
    given = {**plain.get_config(), "own_share": 0.5, "lambda_own": 3.0}
    model = enlarged(de_gan.DEGAN(**given))
    model.identities = lambda own: tf.where(tf.range(6) < 2, own, (own + 1) % 3)
    made = {}
    decoder = model.decoder
    model.decoder = lambda inputs, training: made.setdefault("fake", decoder(inputs, training=training))
    found = float(model.losses_of("generator", batch)["own_loss"])
    image = 2 * batch["image"].numpy() - 1
    assert np.std(made["fake"]) > 0.1
    assert found == pytest.approx(3 * np.abs(made["fake"].numpy() - image)[:2].mean(), rel=1e-4)
    model.identities = lambda own: (own + 1) % 3
    assert float(model.losses_of("generator", batch)["own_loss"]) == 0


def log_of(logits, labels):
    """Cross-entropy of logits."""
    return pick(softmax(logits), labels)


@pytest.mark.parametrize("uses", de_gan.USES)
def test_equation_3_by_hand(uses):
    """The five classifiers, each on its own stage, the fifth on what it uses; lambdas that all differ."""
    training.setup(seed=0, precision="float32")
    lambdas, batch = (0.2, 0.3, 0.5, 0.7, 1.1), varied(de_gan.tiny)[1]
    options = {"width": 1 / 32, "code": 8, "classes": SIX, "uses": uses, "lambdas": lambdas}
    model = enlarged(de_gan.DEGANClassifier(**options))
    labels, x = batch["label"].numpy(), 2 * batch["image"].numpy() - 1
    *maps, f = trunk_by_hand(model.encoder, x)  # frozen: its moving statistics, also while the rest is trained

    def logits_by_hand(training):
        seen = [local_by_hand(n, m, training) for n, m in zip(model.locals, maps, strict=False)]
        fifth = {"both": [f, *seen], "code": [f], "residues": seen}[uses]
        return [dense(head, s) for head, s in zip(model.heads, [*seen, np.concatenate(fifth, -1)], strict=True)]

    numbers = (5,) if uses == "code" else (1, 2, 3, 4, 5)
    assert model.numbers == numbers and [h.name for h in model.heads] == [f"logits{n}" for n in numbers]
    wanted = logits_by_hand(training=False)
    assert all(np.std(value, 0).max() > 0.05 for value in wanted)
    for logits, value in zip(model.logits(batch["image"]), wanted, strict=True):
        np.testing.assert_allclose(logits, value, atol=1e-3)
    np.testing.assert_allclose(model.classify(batch["image"]), softmax(wanted[-1]), atol=1e-4)
    tested = {name: float(value) for name, value in model.test_step(batch).items()}
    assert tested.pop("accuracy") == pytest.approx(np.mean(wanted[-1].argmax(-1) == labels))
    given = {f"l{n}_loss": lambdas[n - 1] * log_of(v, labels) for n, v in zip(numbers, wanted, strict=True)}
    assert tested == pytest.approx({**given, "classifier_loss": sum(given.values())}, rel=1e-3)
    trained = logits_by_hand(training=True)
    given = {f"l{n}_loss": lambdas[n - 1] * log_of(v, labels) for n, v in zip(numbers, trained, strict=True)}
    terms = {name: float(value) for name, value in model.losses_of("classifier", batch).items()}
    assert terms == {name: pytest.approx(value, rel=1e-3) for name, value in given.items()}
    if uses != "code":
        assert np.ptp([log_of(v, labels) for v in trained]) > 0.1
        assert abs(log_of(trained[-1], labels) - log_of(wanted[-1], labels)) > 1e-2  # it is training


def test_the_baseline_by_hand():
    """A softmax on the mean of the last maps; dropout and label smoothing while it is trained, and not after."""
    training.setup(seed=0, precision="float32")
    batch, smoothing = varied(de_gan.tiny)[1], 0.2
    options = {"width": 1 / 32, "code": 8, "classes": SIX, "label_smoothing": smoothing, "seed": 3}
    model, twin = (enlarged_in_order(de_gan.EncoderCNN(dropout=0.5, **options)) for _ in range(2))
    labels, x = batch["label"].numpy(), 2 * batch["image"].numpy() - 1
    p = softmax(dense(model.head, trunk_by_hand(model.trunk, x)[-1]))
    assert np.std(p, 0).max() > 0.01
    np.testing.assert_allclose(model.classify(batch["image"]), p, atol=1e-4)
    np.testing.assert_allclose(model(batch), p, atol=1e-4)
    features = trunk_by_hand(model.trunk, x, training=True)[-1]
    kept = twin.hidden_dropout(tf.ones((6, 8)), training=True).numpy()
    assert {*kept.ravel()} == {0.0, 2.0}
    target = np.eye(6)[labels] * (1 - smoothing) + smoothing / 6
    wanted, whole = (
        -np.mean(np.sum(target * np.log(softmax(dense(model.head, features * mask))), -1)) for mask in (kept, 1)
    )
    (term,) = model.losses_of("classifier", batch).values()
    assert float(term) == pytest.approx(wanted, rel=1e-3) and abs(whole - wanted) > 1e-2


def tiny_baseline():
    """With dropout, whose masks follow from its seed."""
    return de_gan.EncoderCNN(width=1 / 32, code=8, classes=SIX, dropout=0.25), de_gan.tiny()[1]


@pytest.mark.parametrize("tiny", [de_gan.tiny, de_gan.tiny_recogniser, tiny_baseline])
def test_a_step_goes_down_each_players_loss(tiny):
    """With plain SGD, minus the rate times the gradient of its own terms, for both players at the same weights."""
    training.setup(seed=0, precision="float32")
    model, batch = varied(tiny)
    rate = 0.05
    model.compile(**{f"{name}_optimizer": keras.optimizers.SGD(rate) for name in model.players()})
    moved = {}
    for name in model.players():
        twin = varied(tiny)[0]  # draws the same identities, the same z and the same masks
        variables = list(twin.players()[name].variables)
        with tf.GradientTape() as tape:
            loss = tf.add_n(list(twin.losses_of(name, batch).values()))
        gradients = [g.numpy() for g in tape.gradient(loss, variables)]
        assert max(np.max(np.abs(g)) for g in gradients) > 0.1
        moved[name] = [(np.array(v), rate * g) for v, g in zip(variables, gradients, strict=True)]
    model.train_step(batch)
    for name, player in model.players().items():
        largest = max(np.max(np.abs(step)) for _, step in moved[name])
        for v, (before, step) in zip(player.variables, moved[name], strict=True):
            np.testing.assert_allclose(
                before - np.array(v), step, rtol=0, atol=1e-4 * largest, err_msg=f"{name}: {v.name}"
            )


@pytest.mark.parametrize("better", ["expression", "identity"])
def test_d_is_near_its_optimum_by_its_worse_head(better):
    """One head names every real face, the other every sixth: D is far from its optimum, and moves at each step."""
    training.setup(seed=0, precision="float32")
    model, batch = de_gan.tiny()
    model.compile(**{f"{name}_optimizer": keras.optimizers.SGD(0.0) for name in model.players()})
    batch = {**batch, "label": tf.zeros(6, tf.int32), "subject": tf.zeros(6, tf.int32)}
    batch["subject" if better == "expression" else "label"] = tf.constant([0, 1, 1, 1, 1, 1])
    for head in ("expression", "identity"):
        layer = model.discriminator.get_layer(head)
        layer.bias.assign(np.eye(layer.bias.shape[0])[0] * 9)  # always the first
    model.pace.momentum = 0.0
    logs = [{k: float(v) for k, v in model.train_step(batch).items()} for _ in range(3)]
    rates = {"expression": logs[-1]["accuracy"], "identity": logs[-1]["identity_accuracy"]}
    assert rates == {n: pytest.approx(1 if n == better else 1 / 6) for n in rates}
    assert float(model.pace.skill) == pytest.approx(1 / 6) and logs[-1]["discriminator_share"] == 1
