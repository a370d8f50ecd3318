"""GCNet against its paper: both parameter counts, each loss, step and answer by hand, the policy."""

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import training
from fer_tf.compat import keras
from fer_tf.layers import Dropout, Noise
from fer_tf.models import gcnet


def count(variables):
    return sum(int(np.prod(v.shape)) for v in variables)


@pytest.mark.parametrize(("padding", "wanted"), [("same", 2_736_365), ("valid", 1_704_173)])
def test_both_counts_of_the_text(padding, wanted):
    """The whole S1R1 net with seven classes: the "3M" of section IV-C and the "1.7 M" of section IV-E."""
    assert count(gcnet.GCNet(padding=padding).trainable_variables) == wanted


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_table_1(padding):
    encoder = gcnet.build_encoder(padding=padding)
    decoder = gcnet.build_decoder(encoder, padding=padding)
    convolutions = [layer for layer in encoder.layers if isinstance(layer, keras.layers.Conv2D)]
    back = [layer for layer in decoder.layers if isinstance(layer, keras.layers.Conv2DTranspose)]
    assert [(c.kernel_size[0], c.filters) for c in convolutions] == [(5, 32), (3, 64), (3, 96)]
    assert [(c.kernel_size[0], c.filters) for c in back] == [(3, 64), (3, 32), (5, 1)]
    side = 8 if padding == "same" else 6
    assert encoder.outputs[0].shape[1:] == (side, side, 96) and decoder.output_shape == (None, 64, 64, 1)
    assert gcnet.HIDDEN == 384


def test_decoder_unpools_where_the_encoder_pooled():
    """A code moved by the last pooling's places: other places, another face."""
    encoder = gcnet.build_encoder(width=1 / 8)
    decoder = gcnet.build_decoder(encoder, width=1 / 8)
    a, b = (tf.random.stateless_uniform((1, 64, 64, 1), (0, s)) for s in (1, 2))
    code_a, code_b = encoder(a), encoder(b)
    own = decoder(code_a)
    for place in (1, 2, 3):
        mixed = list(code_a)
        mixed[place] = code_b[place]
        assert np.abs(own - decoder(mixed)).max() > 1e-4, place


def test_equation_2_by_hand():
    rng = np.random.default_rng(0)
    e, r = rng.normal(size=(3, 5)), rng.normal(size=(3, 5))
    by_hand = [
        [abs(a / np.linalg.norm(x) - b / np.linalg.norm(y)) for a, b in zip(x, y, strict=True)]
        for x, y in zip(e, r, strict=True)
    ]
    found = gcnet.contrastive_vector(tf.constant(e, tf.float32), tf.constant(r, tf.float32))
    np.testing.assert_allclose(found, by_hand, atol=1e-6)


def test_equation_6_by_hand():
    """Two different expressions, one within the margin and one beyond it; two equal ones; and no NaN at distance 0."""
    e = tf.constant([[0.0, 0.3], [3.0, 4.0], [0.6, 0.8], [1.0, 1.0]])
    found = gcnet.contrastive_loss(e, tf.zeros((4, 2)), tf.constant([1.0, 1.0, 0.0, 0.0]), 1.0)
    np.testing.assert_allclose(found, [0.5 * 0.7**2, 0, 0.5 * 1.0, 0.5 * 2.0], rtol=1e-5)
    with tf.GradientTape() as tape:
        tape.watch(e)
        loss = tf.reduce_sum(gcnet.contrastive_loss(e, e + 0.0, tf.constant([1.0, 0.0, 1.0, 0.0]), 1.0))
    assert np.isfinite(tape.gradient(loss, e)).all()


def test_equations_5_8_9_are_means_over_pixels():
    a, b = np.zeros((2, 4, 4, 1), np.float32), np.full((2, 4, 4, 1), 0.5, np.float32)
    assert float(gcnet.mean_of_half_squares(a, b)) == pytest.approx(0.5 * 0.25)
    kept = tf.constant([True, False])
    assert float(gcnet.mean_of_half_squares(a, b, kept)) == pytest.approx(0.5 * 0.25 / 2)


CLASSES = ("anger", "neutral", "fear", "disgust", "sadness", "surprise")
BY = {"classification_loss": 1.7, "generation_loss": 3.1, "contrastive_loss": 0.23, "decay_loss": 1.0}
BY |= {"reconstruction_input_loss": 0.41, "reconstruction_reference_loss": 0.59}
WEIGHTS = {"lambda_c": 1.7, "lambda_g": 3.1, "lambda_s": 0.23, "lambda_ri": 0.41, "lambda_rr": 0.59}
KEPT = np.array([True, True, False, True, True, False])


def enlarged(model):
    """The same model with norms and biases away from their start, and kernels large enough to matter."""
    rng = np.random.default_rng(0)
    for variable in model.variables:
        value = np.array(variable)
        if value.dtype == np.float32:
            scale = 10 if value.shape and value.shape[-1] in (1, len(CLASSES)) else 3
            variable.assign(scale * value if value.ndim > 1 else value + rng.uniform(0.2, 0.8, value.shape))
    for metric in model.metrics:  # Keras 2 counts their state among the weights
        metric.reset_state()
    return model


def large(**options):
    """A small GCNet, enlarged, and a batch of six faces, two of whom have no neutral one."""
    training.setup(seed=1, precision="float32")
    model = gcnet.GCNet(**{"width": 1 / 8, "classes": CLASSES, "weight_decay": 0.013, "seed": 3, **WEIGHTS, **options})
    return enlarged(model), {**gcnet.tiny()[1], "has_reference": tf.constant(KEPT)}


def test_images_and_references_are_normalised_alike():
    """One pass, in training: every norm of Encoder2 moves once, to the statistics of both together."""
    model, batch = large(variant="S0R0")
    norm, seen = model.encoder2.get_layer("norm1"), model.encoder2.get_layer("conv1")
    norm.momentum = 0.0
    faces = np.concatenate([batch["image"], codes(model, batch)[2]])
    model.losses(batch)
    np.testing.assert_allclose(norm.moving_mean, np.mean(seen(faces), (0, 1, 2)), rtol=1e-4, atol=1e-5)
    for alone in (faces[:6], faces[6:]):
        assert np.abs(np.array(norm.moving_mean) - np.mean(seen(alone), (0, 1, 2))).max() > 0.05


def flat(code):
    """e of eq. (2), float64."""
    return np.asarray(code[0], np.float64).reshape(len(code[0]), -1)


def delta(e, e_r):
    """Eq. (2)."""
    e, e_r = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (e, e_r))
    return np.abs(e - e_r)


def hidden_of(model, vector):
    """The fully connected layer with its ReLU."""
    return np.maximum(vector @ np.array(model.hidden.kernel) + np.array(model.hidden.bias), 0)


def logits_of(model, vector):
    """Both fully connected layers."""
    return hidden_of(model, vector) @ np.array(model.head.kernel) + np.array(model.head.bias)


def softplus(logits):
    """-log(sigmoid(-logits))."""
    return np.log1p(np.exp(np.asarray(logits, np.float64)[:, 0]))


def half(given, wanted):
    """1/2 ||given - wanted||^2 over the number of pixels, one a face."""
    return 0.5 * ((np.asarray(given, np.float64) - np.asarray(wanted, np.float64)) ** 2).mean((1, 2, 3))


def codes(model, batch):
    """(what Encoder2 gives of the image, of its reference, the reference) in training; generated where it is."""
    reference = batch["reference"]
    if model.variant[0] == "S":
        generator = model.generator_net
        reference = generator.decoder(generator.encoder(batch["image"], training=True), training=True)
    if model.variant == "cnn":
        return model.encoder2(batch["image"], training=True), model.encoder2(reference, training=True), reference
    both = model.encoder2(np.concatenate([batch["image"], reference]), training=True)
    return [x[:6] for x in both], [x[6:] for x in both], reference


def by_hand(model, batch):
    """Eq. (4) to (9) in NumPy, from what the networks give: ({term: weighted value}, share right, share within m)."""
    code, code_r, reference = codes(model, batch)
    e, e_r, image, wanted, label = (
        flat(code),
        flat(code_r),
        batch["image"],
        batch["reference"],
        np.array(batch["label"]),
    )
    s, differ, terms, close = np.linalg.norm(e - e_r, axis=-1), label != CLASSES.index("neutral"), {}, None
    vector = Dropout(0.5, seed=3, name="twin")(delta(e, e_r) if model.variant[0] == "S" else e, training=True)
    logits = logits_of(model, np.array(vector, np.float64))
    top = logits.max(-1)
    surprise = np.log(np.exp(logits - top[:, None]).sum(-1)) + top - logits[np.arange(6), label]
    terms["classification_loss"] = 1.7 * surprise.mean()
    if model.variant[0] == "S":
        terms["generation_loss"] = 3.1 * (KEPT * half(reference, wanted)).mean()
    if model.variant in ("metric_cnn", "S1R0", "S1R1"):
        each = np.where(differ, 0.5 * np.maximum(0, model.margin - s) ** 2, 0.5 * s**2)
        terms["contrastive_loss"] = 0.23 * (KEPT * each if model.variant == "metric_cnn" else each).mean()
        assert each[~KEPT].any(), "those without a neutral face would count"
        close = (s < model.margin)[differ].mean()
        assert 0 < close < 1, "the margin parts them"
    if model.variant in ("S0R1", "S1R1"):
        back, back_r = model.decoder_i(code, training=True), model.decoder_r(code_r, training=True)
        terms["reconstruction_input_loss"] = 0.41 * half(back, image).mean()
        terms["reconstruction_reference_loss"] = 0.59 * (KEPT * half(back_r, wanted)).mean()
    terms["decay_loss"] = 0.013 / 2 * sum((np.array(v, np.float64) ** 2).sum() for v in model.trainable_variables)
    return terms, (logits.argmax(-1) == label).mean(), close


@pytest.mark.parametrize("variant", gcnet.VARIANTS)
def test_every_term_by_hand(variant):
    """Eq. (4) to (9) and Fig. 2, unequal weights: which face is whose target, which code meets which decoder."""
    model, batch = large(variant=variant)
    code, code_r, _ = codes(model, batch)
    model.margin = float(np.quantile(np.linalg.norm(flat(code) - flat(code_r), axis=-1), 0.85))
    wanted, right, close = by_hand(model, batch)
    terms = model.losses_of("classifier", batch)
    assert {name: float(value) for name, value in terms.items()} == pytest.approx(wanted, rel=3e-4)
    assert [name for name, _ in model.player_variables()] == ["classifier"] + ["decoder"] * (variant[0] == "S")
    model.compile(**{f"{name}_optimizer": keras.optimizers.SGD(0.0) for name, _ in model.player_variables()})
    model.code_dropout.seed_step.assign(0)
    logs = {name: float(value) for name, value in model.train_step(batch).items()}
    assert logs.pop("accuracy") == pytest.approx(right) and logs.pop("margin_share", None) == pytest.approx(close)
    assert logs.pop("classifier_loss") == pytest.approx(sum(wanted.values()), rel=3e-4)
    assert logs == pytest.approx({name: value / BY[name] for name, value in wanted.items()}, rel=3e-4)  # unweighted


PARTS = ("encoder2", "generator_net/encoder", "generator_net/decoder", "decoder_i", "decoder_r", "hidden", "head")
TRAINED = {
    "classification_loss": {"encoder2", "generator_net/encoder", "generator_net/decoder", "hidden", "head"},
    "generation_loss": {"generator_net/encoder", "generator_net/decoder"},
    "contrastive_loss": {"encoder2", "generator_net/encoder", "generator_net/decoder"},
    # through the statistics that images and references share, where eq. (8) names Encoder2 and its decoder alone
    "reconstruction_input_loss": {"encoder2", "decoder_i", "generator_net/encoder", "generator_net/decoder"},
    "reconstruction_reference_loss": {"encoder2", "generator_net/encoder", "generator_net/decoder", "decoder_r"},
    "decay_loss": {*PARTS},
}


def test_what_each_term_trains():
    """The arguments of eq. (4) to (9): (6) and (9) train the generator too, (5) trains it alone."""
    model, batch = large(margin=1e3)
    parts = {name: model for name in PARTS}
    for name in PARTS:
        for attribute in name.split("/"):
            parts[name] = getattr(parts[name], attribute)
    variables = {name: part.trainable_variables for name, part in parts.items()}
    assert sum(map(len, variables.values())) == len(model.trainable_variables)
    with tf.GradientTape(persistent=True) as tape:
        terms = model.losses_of("classifier", batch)
    for name, term in terms.items():
        gradients = {part: [g for g in tape.gradient(term, own) if g is not None] for part, own in variables.items()}
        trained = {part for part, own in gradients.items() if any(np.abs(g).max() > 1e-9 for g in own)}
        assert trained == TRAINED[name], name


@pytest.mark.parametrize("given", [{}, {"variant": "metric_cnn"}, {"variant": "S0R0", "generator": "dcgan"}])
def test_a_step_follows_the_gradient_of_the_sum(given):
    """Each player at a rate of its own, all from where they stood, and nobody down another's losses."""
    model, batch = large(dropout=0.0, **given)
    rates, players = {"classifier": 0.001, "decoder": 0.007, "discriminator": 0.003}, dict(model.player_variables())
    model.compile(**{f"{name}_optimizer": keras.optimizers.SGD(rates[name]) for name in players})
    steps, before = {}, {name: [np.array(v) for v in own] for name, own in players.items()}
    for name, own in players.items():
        with tf.GradientTape() as tape:
            total = tf.add_n(list(model.losses_of(name, batch).values()))
        steps[name] = [rates[name] * np.array(g) for g in tape.gradient(total, own)]
    model.train_step(batch)
    for name, own in players.items():
        for variable, old, step in zip(own, before[name], steps[name], strict=True):
            np.testing.assert_allclose(old - np.array(variable), step, rtol=1e-3, atol=1e-3 * np.abs(step).max())


@pytest.mark.parametrize("variant", ["cnn", "metric_cnn", "S0R0", "S1R1"])
def test_answers_by_hand(variant):
    """delta of the image and its generated reference, or e of the baselines, through moving statistics; no dropout."""
    model, batch = large(variant=variant)
    image = batch["image"]
    code = model.encoder2(image, training=False)
    vector = flat(code)
    if variant[0] == "S":
        reference = model.generator_net.decoder(model.generator_net.encoder(image, training=False), training=False)
        code_r = model.encoder2(reference, training=False)
        vector = delta(flat(code), flat(code_r))
        np.testing.assert_allclose(model.regenerate(image), np.clip(reference, 0, 1), atol=1e-5)
    if variant == "S1R1":
        faces = model.decoder_i(code, training=False), model.decoder_r(code_r, training=False)
        for face, wanted in zip(model.reconstruct(image), faces, strict=True):
            np.testing.assert_allclose(face, np.clip(wanted, 0, 1), atol=1e-5)
    np.testing.assert_allclose(model.features(image), hidden_of(model, vector), rtol=1e-3, atol=1e-4)
    model.head.kernel.assign(np.array(model.head.kernel) / logits_of(model, vector).std(0).max())
    model.head.bias.assign(np.array(model.head.bias) - logits_of(model, vector).mean(0))
    odds = np.exp(logits_of(model, vector))
    p = odds / odds.sum(-1, keepdims=True)
    assert p.std(0).max() > 0.05, "the faces get different answers"
    np.testing.assert_allclose(model.classify(image), p, atol=1e-3)
    logs = model.test_step(batch)
    assert float(logs["classification_loss"]) == pytest.approx(-np.log(np.diag(p)).mean(), rel=1e-3)
    assert float(logs["accuracy"]) == pytest.approx(np.mean(p.argmax(-1) == np.arange(6)))


def test_adversarial_terms_by_hand():
    """Fig. 7 (c): G minimises -log D(G(X)), D minimises -log D(X_r) - log(1 - D(G(X))); unsure is log 2."""
    model, batch = large(variant="S0R0", generator="dcgan")
    generator = model.generator_net
    code = (2 * np.reshape(batch["image"], (6, -1)) - 1) @ np.array(generator.projection.kernel)
    fake = generator.decoder(code, training=True)
    real, made = (generator.discriminator(x, training=True) for x in (batch["reference"], fake))
    assert np.ptp(real) > 0.5 and np.ptp(made) > 0.5 and np.std(fake) > 0.05
    terms = model.losses_of("classifier", batch)
    assert float(terms["adversarial_loss"]) == pytest.approx(3.1 * softplus(-made).mean() / 4096, rel=1e-3)
    wanted = {"real_loss": (KEPT * softplus(-real)).mean(), "fake_loss": softplus(made).mean()}
    judged = model.losses_of("discriminator", batch)
    assert {name: float(value) for name, value in judged.items()} == pytest.approx(wanted, rel=1e-3)
    with tf.GradientTape() as tape:
        fooled = model.losses_of("classifier", batch)["adversarial_loss"]
    gradients = tape.gradient(fooled, generator.decoder.trainable_variables)
    assert any(g is not None and np.any(g) for g in gradients), "it trains what makes the face"


def test_variational_terms_by_hand():
    """Fig. 7 (b): a face from mean + deviation * noise, and the divergence from N(0, 1), a pixel's share of it."""
    model, batch = large(variant="S0R0", generator="conv_vae")
    mean, log_variance = np.split(
        np.array(model.generator_net.encoder(batch["image"], training=True), np.float64), 2, -1
    )
    noise = Noise(3, name="twin")(tf.zeros((6, 100)), training=True).numpy()
    face = model.generator_net.decoder(mean + np.exp(log_variance / 2) * noise, training=True)
    kl = 0.5 * (np.exp(log_variance) + mean**2 - 1 - log_variance).sum(-1).mean() / 4096
    assert kl > 1e-3 and np.std(face) > 0.05
    terms = model.losses_of("classifier", batch)
    assert float(terms["kl_loss"]) == pytest.approx(3.1 * kl, rel=1e-3)
    wanted = 3.1 * (KEPT * half(face, batch["reference"])).mean()
    assert float(terms["generation_loss"]) == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("generator", ["conv_vae", "dcgan"])
def test_generators_of_fig_7_train_and_answer(generator):
    training.setup(seed=0, precision="float32")
    model, batch = gcnet.GCNet(width=1 / 16, generator=generator, classes=tuple("abcdef")), gcnet.tiny()[1]
    model.compile(**gcnet.optimizers(model))
    players = [name for name, _ in model.player_variables()]
    assert players == (["discriminator"] if generator == "dcgan" else []) + ["classifier", "decoder"]
    before = [np.array(v) for v in model.generator_net.trainable_variables]
    logs = model.train_step(batch)
    assert all(np.isfinite(float(v)) for v in logs.values()) and set(model.generator_net.terms) <= set(logs)
    moved = [np.any(a != np.array(v)) for a, v in zip(before, model.generator_net.trainable_variables, strict=True)]
    assert all(moved)
    face = model.regenerate(batch["image"])
    assert face.shape == (6, 64, 64, 1) and 0 <= face.numpy().min() and face.numpy().max() <= 1
    np.testing.assert_array_equal(face, model.regenerate(batch["image"]))


def test_generators_parameters_beside_the_text():
    """Section IV-E says 9.6 M with the VAE; DCGAN's layers and a code of 100 give 9.52 M (padding "valid")."""
    counts = {g: count(gcnet.GCNet(generator=g, padding="valid").trainable_variables) for g in gcnet.FIG_7}
    encoder = 16 * (64 + 64 * 128 + 128 * 256 + 256 * 512) + 2 * (128 + 256 + 512) + 16 * 512 * 200 + 200
    decoder = 16 * (100 * 512 + 512 * 256 + 256 * 128 + 128 * 64 + 64) + 2 * (512 + 256 + 128 + 64) + 1
    own = 74_912 + 74_722  # Encoder1 and its decoder of Table I
    assert counts["conv_ae"] == 1_704_173 and counts["conv_vae"] == 1_704_173 - own + encoder + decoder
    assert 9.5e6 < counts["conv_vae"] < 9.6e6 and counts["dcgan"] > counts["conv_ae"]


def test_who_has_no_neutral_is_left_out_of_the_generative_terms_alone():
    """The reference of a face without one changes nothing, whatever is in it."""
    training.setup(seed=0, precision="float32")
    batch, found = gcnet.tiny()[1], []
    kept = tf.constant([True] * 4 + [False] * 2)
    model = gcnet.GCNet(width=1 / 16, classes=tuple("abcdef"), dropout=0.0)
    for fill in (0.0, 1.0):
        reference = tf.where(kept[:, None, None, None], batch["reference"], fill)
        found.append(model.losses_of("classifier", {**batch, "reference": reference, "has_reference": kept}))
    for name in found[0]:
        assert float(found[0][name]) == pytest.approx(float(found[1][name]), rel=1e-5), name
    everyone = model.losses_of("classifier", {**batch, "reference": reference})
    assert float(everyone["generation_loss"]) > 1.2 * float(found[1]["generation_loss"])


@pytest.mark.parametrize("given", [{}, {"rate": 0.2, "multiplier": 7.0, "gamma": 0.5, "power": 0.3}])
def test_optimizers_by_hand(given):
    """Section IV-A: Nesterov, momentum 0.9, Caffe's "inv" policy, the decoders at ten times the rate."""
    model = gcnet.GCNet(width=1 / 16)
    model.compile(**gcnet.optimizers(model, **given))
    told = {"rate": 0.001, "multiplier": 10.0, "gamma": 1e-4, "power": 0.75, **given}
    decoders = {
        id(v) for part in (model.decoder_i, model.decoder_r, model.generator_net.decoder) for v in part.variables
    }
    for name, player in model.players().items():
        own = [v for v in model.trainable_variables if (id(v) in decoders) == (name == "decoder")]
        assert {id(v) for v in player.variables} == {id(v) for v in own}
        first = told["rate"] * (told["multiplier"] if name == "decoder" else 1)
        rates = [first * (1 + told["gamma"] * step) ** -told["power"] for step in (3000, 3001)]
        variables, before = list(player.variables), [np.array(v, np.float64) for v in player.variables]
        player.optimizer.iterations.assign(3000)
        for _ in rates:
            player.optimizer.apply_gradients([(tf.ones_like(tf.convert_to_tensor(v)), v) for v in variables])
        moved = (0.9 * 0.9 + 0.9 + 1) * rates[0] + (0.9 + 1) * rates[1]
        for variable, old in zip(variables, before, strict=True):
            np.testing.assert_allclose(old - np.array(variable), moved, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("bad", [{"variant": "S2R0"}, {"generator": "gan"}, {"padding": "full"}])
def test_unknown_options_are_refused(bad):
    with pytest.raises(ValueError, match=f"Unknown {next(iter(bad))}"):
        gcnet.GCNet(width=1 / 16, **bad)


def test_what_a_variant_has_not_is_refused():
    model, x = gcnet.GCNet(width=1 / 16, variant="cnn"), gcnet.tiny()[1]["image"]
    with pytest.raises(ValueError, match="generates nothing"):
        model.regenerate(x)
    with pytest.raises(ValueError, match="reconstructs nothing"):
        model.reconstruct(x)
