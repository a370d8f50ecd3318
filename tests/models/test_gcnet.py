"""GCNet against its paper: both parameter counts, each loss by hand, what each variant has, the policy."""

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import training
from fer_tf.compat import keras
from fer_tf.models import gcnet
from fer_tf.nets import dcgan


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


TERMS = {
    "cnn": set(),
    "metric_cnn": {"contrastive_loss"},
    "S0R0": {"generation_loss"},
    "S1R0": {"generation_loss", "contrastive_loss"},
    "S0R1": {"generation_loss", "reconstruction_input_loss", "reconstruction_reference_loss"},
    "S1R1": {"generation_loss", "contrastive_loss", "reconstruction_input_loss", "reconstruction_reference_loss"},
}


@pytest.mark.parametrize("variant", gcnet.VARIANTS)
def test_terms_of_each_variant(variant):
    """Fig. 2: S adds eq. (6), R adds eq. (8) and (9); every term is the loss it names, weighted."""
    training.setup(seed=0, precision="float32")
    model, batch = gcnet.GCNet(width=1 / 16, variant=variant, classes=tuple("abcdef")), gcnet.tiny()[1]
    terms = model.losses_of("classifier", batch)
    assert set(terms) == TERMS[variant] | {"classification_loss", "decay_loss"}
    assert [name for name, _ in model.player_variables()] == ["classifier"] + ["decoder"] * (variant[0] == "S")
    heavier = gcnet.GCNet(
        width=1 / 16, variant=variant, classes=tuple("abcdef"), lambda_g=3, lambda_s=5, lambda_ri=0.5, lambda_rr=1
    )
    heavier.set_weights(model.get_weights())
    weight = {"generation_loss": 3, "contrastive_loss": 5, "reconstruction_input_loss": 2}
    weight["reconstruction_reference_loss"] = 4
    for name, value in heavier.losses_of("classifier", batch).items():
        if name != "classification_loss":  # its dropout has moved on
            assert float(value) == pytest.approx(weight.get(name, 1) * float(terms[name]), rel=1e-3), name
    model.compile(**gcnet.optimizers(model))
    assert all(np.isfinite(float(v)) for v in model.train_step(batch).values())


@pytest.mark.parametrize("generator", ["conv_vae", "dcgan"])
def test_generators_of_fig_7_train_and_answer(generator):
    training.setup(seed=0, precision="float32")
    model, batch = gcnet.GCNet(width=1 / 16, generator=generator, classes=tuple("abcdef")), gcnet.tiny()[1]
    model.compile(**gcnet.optimizers(model))
    players = [name for name, _ in model.player_variables()]
    assert players == (["discriminator"] if generator == "dcgan" else []) + ["classifier", "decoder"]
    before = [np.array(v) for v in model.generator.trainable_variables]
    logs = model.train_step(batch)
    assert all(np.isfinite(float(v)) for v in logs.values()) and set(model.generator.logs) <= set(logs)
    moved = [np.any(a != np.array(v)) for a, v in zip(before, model.generator.trainable_variables, strict=True)]
    assert all(moved)
    face = model.regenerate(batch["image"])
    assert face.shape == (6, 64, 64, 1) and 0 <= face.numpy().min() and face.numpy().max() <= 1
    np.testing.assert_array_equal(face, model.regenerate(batch["image"]))


def test_generators_parameters_beside_the_text():
    """Section IV-E says 9.6 M with the VAE; DCGAN's layers and a code of 100 give 9.52 M (padding "valid")."""
    counts = {g: count(gcnet.GCNet(generator=g, padding="valid").trainable_variables) for g in gcnet.GENERATORS}
    encoder = 16 * (64 + 64 * 128 + 128 * 256 + 256 * 512) + 2 * (128 + 256 + 512) + 16 * 512 * 200 + 200
    decoder = 16 * (100 * 512 + 512 * 256 + 256 * 128 + 128 * 64 + 64) + 2 * (512 + 256 + 128 + 64) + 1
    own = 74_912 + 74_722  # Encoder1 and its decoder of Table I
    assert counts["conv_ae"] == 1_704_173 and counts["conv_vae"] == 1_704_173 - own + encoder + decoder
    assert 9.5e6 < counts["conv_vae"] < 9.6e6 and counts["dcgan"] > counts["conv_ae"]


def test_kl_by_hand():
    model = dcgan.ConvVAE(width=1 / 16, padding="same", seed=0)
    x = 1e3 * tf.random.stateless_normal((3, 64, 64, 1), (1, 2))
    mean, log_variance = np.split(model.encoder(x, training=False).numpy(), 2, -1)
    by_hand = 0.5 * (np.exp(log_variance) + mean**2 - 1 - log_variance).sum(1).mean() / 4096
    assert float(model(x, training=False)[1]["kl_loss"]) == pytest.approx(by_hand, rel=1e-4)


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


def test_neutral_inputs_are_pulled_to_their_reference():
    """alpha of eq. (6) follows from the labels: 0 for neutral inputs, 1 for the others."""
    training.setup(seed=0, precision="float32")
    model = gcnet.GCNet(width=1 / 16, classes=("neutral", "fear"), margin=1e3)
    batch = {**gcnet.tiny()[1], "label": tf.zeros(6, tf.int32)}
    neutral = float(model.losses_of("classifier", batch)["contrastive_loss"])
    other = float(model.losses_of("classifier", {**batch, "label": tf.ones(6, tf.int32)})["contrastive_loss"])
    assert other > 0.4e6 > neutral > 0


def test_decoders_learn_ten_times_as_fast():
    """Section IV-A: base rate 0.001 by Caffe's "inv", the decoders' times ten, Nesterov, momentum 0.9."""
    model = gcnet.tiny()[0]
    made = gcnet.optimizers(model)
    for step in (0, 1000, 300_000):
        rate = 0.001 * (1 + 1e-4 * step) ** -0.75
        for name, times in (("classifier", 1), ("decoder", 10)):
            schedule = gcnet.InverseDecay(0.001 * times)
            assert float(schedule(step)) == pytest.approx(times * rate, rel=1e-5)
            assert made[f"{name}_optimizer"].nesterov and made[f"{name}_optimizer"].momentum == 0.9
    owned = {id(v) for v in dict(model.player_variables())["decoder"]}
    for part in (model.decoder_i, model.decoder_r, model.generator.decoder):
        assert all(id(v) in owned for v in part.trainable_variables)
    assert not any(
        id(v) in owned for part in (model.encoder2, model.generator.encoder) for v in part.trainable_variables
    )


def test_views_share_a_crop_between_image_and_reference_and_equalise():
    images = np.random.default_rng(0).integers(0, 256, (4, 66, 66, 1), dtype=np.uint8)
    seed = tf.constant([[0, i] for i in range(4)], tf.int64)
    pair, _ = gcnet.views.random({"image": images, "reference": images}, seed, tf.zeros(4, tf.int32), 1)
    assert pair["image"].shape == (4, 64, 64, 1)
    np.testing.assert_array_equal(pair["image"], pair["reference"])
    other, _ = gcnet.views.random({"image": images}, seed, tf.ones(4, tf.int32), 2)
    assert np.any(other["image"].numpy() != pair["image"].numpy())
    dull = np.full((1, 66, 66, 1), 100, np.uint8)
    dull[:, ::2] = 104
    assert np.ptp(gcnet.views.test_view(dull)) > np.ptp(dull)


def test_autoencoder_gives_encoder_1_its_start():
    """Its layers carry the names of GCNet's generator, and SGD lowers its loss."""
    training.setup(seed=0, precision="float32")
    model = gcnet.Autoencoder(width=1 / 8)
    model.compile(autoencoder_optimizer=keras.optimizers.SGD(1e-2, momentum=0.9))
    batch = {"image": gcnet.tiny()[1]["image"]}
    first = float(model.train_step(batch)["autoencoder_loss"])
    for _ in range(20):
        model.reset_metrics()
        last = float(model.train_step(batch)["autoencoder_loss"])
    assert last < first
    net = gcnet.GCNet(width=1 / 8)
    net.generator.set_weights(model.generator.get_weights())
    np.testing.assert_allclose(net.regenerate(batch["image"]), np.clip(model(batch), 0, 1), atol=1e-6)


@pytest.mark.parametrize("generator", ["conv_vae", "dcgan"])
def test_a_generator_alone_makes_the_reference_of_those_who_have_one(generator):
    """Figs. 9 and 10: the target is the image, or the neutral face; who has none counts as zero."""
    training.setup(seed=0, precision="float32")
    batch, losses = gcnet.tiny()[1], {}
    kept = tf.constant([True, True, False, True, False, True])
    given = {**batch, "has_reference": kept}
    for target in ("image", "reference"):
        model = gcnet.Autoencoder(generator=generator, target=target, width=1 / 16, seed=1)
        losses[target] = float(model.losses_of("autoencoder", given)["reconstruction_loss"])
        if generator == "dcgan":  # its encoder draws nothing
            made = model.generator(batch["image"], training=True)[0].numpy()
            own = 0.5 * ((made - batch[target].numpy()) ** 2).mean((1, 2, 3))
            by_hand = (own * kept.numpy() if target == "reference" else own).mean()
            assert losses[target] == pytest.approx(by_hand, rel=1e-3)
    assert losses["reference"] < losses["image"]
    model.compile(**gcnet.optimizers(model, 0.1))
    before = [np.array(v) for v in model.trainable_variables]
    logs = model.train_step(given)
    assert all(np.isfinite(float(v)) for v in logs.values()) and set(model.generator.logs) <= set(logs)
    assert all(np.any(a != np.array(v)) for a, v in zip(before, model.trainable_variables, strict=True))
    with pytest.raises(ValueError, match="Unknown target"):
        gcnet.Autoencoder(target="neutral")


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
