"""IA-gen against its paper: counts, fields of view, each loss by hand, eq. (8) by hand."""

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import training
from fer_tf.compat import keras
from fer_tf.models import ia_gen


def count(variables):
    return sum(int(np.prod(v.shape)) for v in variables)


def test_generator_counts_of_the_paper():
    """29,232,128 kernel weights, 29,237,888 with the batch norms, of section III-A's channels."""
    net = ia_gen.build_generator()
    kernels = [v for v in net.trainable_variables if len(v.shape) == 4]
    assert count(kernels) == 29_232_128 and count(net.trainable_variables) == 29_237_888
    assert [v.shape[-1] for v in kernels[:6]] == [64, 128, 256, 512, 512, 512]
    assert [v.shape[-2] for v in kernels[6:]] == [512, 512, 256, 128, 64, 1]  # transposed: (4, 4, out, in)
    assert all(tuple(v.shape[:2]) == (4, 4) for v in kernels)
    assert all("bias" not in v.name for v in net.trainable_variables)


def test_norms_stand_where_the_readings_say():
    names = {layer.name for layer in ia_gen.build_generator(width=1 / 32).layers}
    assert {n for n in names if n.endswith("_norm")} == {f"e{i}_norm" for i in range(2, 6)} | {
        f"d{i}_norm" for i in range(1, 6)
    }
    assert {n for n in names if n.endswith("_dropout")} == {"d1_dropout", "d2_dropout"}
    names = {layer.name for layer in ia_gen.build_discriminator(width=1 / 32).layers}
    assert {n for n in names if n.endswith("_norm")} == {"c2_norm", "c3_norm", "c4_norm"}


def test_discriminator_scores_36_patches_of_70_pixels():
    """Channels and strides as printed and read; by the strides each score sees a field of 70 pixels."""
    net = ia_gen.build_discriminator()
    convolutions = [layer for layer in net.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [c.filters for c in convolutions] == [64, 128, 256, 512, 1]
    field = 1
    for layer in reversed(convolutions):
        field = field * layer.strides[0] + layer.kernel_size[0] - layer.strides[0]
    assert field == 70 and net.output_shape == (None, 6, 6, 1)


def test_every_skip_reaches_the_output_and_lines_up():
    """A decoder sees the encoder of its own size: with all else silenced, a face's left half moves the left half."""
    net = ia_gen.build_generator(width=1 / 8)
    shapes = {layer.name: layer.output.shape for layer in net.layers}
    for i in range(2, 7):
        decoder, encoder = shapes[f"d{i - 1}_conv"], shapes[f"e{7 - i}_relu"]
        assert decoder[1:3] == encoder[1:3] and shapes[f"d{i}_skip"][-1] == decoder[-1] + encoder[-1]
    net.get_layer("d5_norm").gamma.assign(tf.zeros_like(net.get_layer("d5_norm").gamma))  # only e1 feeds d6 now
    face = np.zeros((1, 64, 64, 1), np.float32)
    other = face.copy()
    other[:, :, :24] = 1
    change = np.abs(net(other).numpy() - net(face).numpy())[0, :, :, 0]
    assert change[:, :20].min() > 0 and change[:, 32:].max() == 0


def test_leaky_slope_and_dropout_are_those_of_pix2pix():
    nets = ia_gen.build_discriminator(width=1 / 32), ia_gen.build_generator(width=1 / 32)
    layers = {layer.name: layer for net in nets for layer in net.layers}
    for i in range(1, 5):
        np.testing.assert_allclose(layers[f"c{i}_relu"](tf.constant([-10.0, 3.0])), [-2, 3], rtol=1e-6)
    assert "c5_relu" not in layers
    for name in [f"{part}{i}_relu" for part, count in (("e", 6), ("d", 5)) for i in range(1, count + 1)]:
        np.testing.assert_array_equal(layers[name](tf.constant([-10.0, 3.0])), [0, 3])
    assert [layers[f"d{i}_dropout"].rate for i in (1, 2)] == [0.5, 0.5]


def enlarge(*nets, seed=0):
    """N(0, 0.02) makes outputs all but constant; here every weight matters: norms of their own, first and last layers
    that reach far."""
    rng = np.random.default_rng(seed)
    for net in nets:
        for variable in net.trainable_variables:
            value = np.array(variable)
            if value.ndim == 1:  # norms and biases
                variable.assign(rng.uniform(0.5, 1.5, value.shape) * (1 if value.mean() > 0.5 else rng.choice([-1, 1])))
            else:
                variable.assign(value + rng.normal(0, 0.1, value.shape))


def small(**options):
    training.setup(seed=1, precision="float32")
    model = ia_gen.ExpressionGAN(feature_net=ia_gen.tiny_features(), width=1 / 16, dropout=0.0, **options)
    enlarge(model.generator, model.discriminator)
    return model


@pytest.mark.parametrize("pooling, content, scale", [(2, "l1", 1.0), (4, "mse", 3.0), (3, "l1", 0.5)])
def test_every_term_by_hand(pooling, content, scale):
    """Eq. (1), (3), (4), as L1 too, (5), (6) in NumPy from what the nets give, with unequal weights."""
    given = {"alpha": 3.0, "beta": 5.0, "lambda_": 2.0, "phi_pooling": pooling, "content": content, "phi_scale": scale}
    model, (_, batch) = small(**given), ia_gen.tiny()
    image, target = (2 * batch[n].numpy() - 1 for n in ("image", "target"))
    output = model.generator(image, training=True).numpy()
    logits = [model.discriminator(np.concatenate([image, x], -1), training=True).numpy() for x in (target, output)]
    assert output.std() > 0.3 and min(x.std() for x in logits) > 0.5, "else the terms say little"
    d_real, d_fake = (1 / (1 + np.exp(-x.astype(np.float64))) for x in logits)
    phi = [model.feature_net.maps((x + 1) / 2, pooling).numpy() for x in (target, output)]
    distance = {"l1": np.abs(target - output), "mse": (target - output) ** 2}[content].mean()
    found = {k: float(v) for name in ("discriminator", "generator") for k, v in model.losses_of(name, batch).items()}
    assert found == pytest.approx(
        {
            "real_loss": -np.log(d_real).mean(),
            "fake_loss": -np.log(1 - d_fake).mean(),
            "adversarial_loss": 2 * -np.log(d_fake).mean(),
            "content_loss": 2 * 3 * distance,
            "perceptual_loss": 2 * 5 * scale**2 * ((phi[0] - phi[1]) ** 2).mean(),
        },
        rel=1e-4,
    )
    measures = {name: float(value) for name, value in model.losses(batch)[1].items()}
    unweighted = {"content": distance, "perceptual": scale**2 * ((phi[0] - phi[1]) ** 2).mean()}
    assert measures == pytest.approx({f"unweighted_{n}": value for n, value in unweighted.items()}, rel=1e-4)


def test_consistency_is_of_two_faces_of_one_person_in_one_pass():
    """||Feat(G(I)) - Feat(G(I'))||^2 by hand; D and the other terms see what G makes of the first face."""
    model, (_, batch) = small(alpha=3.0, beta=5.0, lambda_=2.0, lambda_consistency=7.0), ia_gen.tiny()
    batch["other"] = tf.random.stateless_uniform((6, 64, 64, 1), (1, 4))
    image, target, other = (2 * batch[n].numpy() - 1 for n in ("image", "target", "other"))
    both = model.generator(np.concatenate([image, other]), training=True).numpy()
    feat = model.feature_net.features((both + 1) / 2).numpy()
    wanted = ((feat[:6] - feat[6:]) ** 2).sum(-1).mean()
    assert wanted > 1e-3 and np.abs(both[:6] - model.generator(image, training=True).numpy()).max() > 1e-3
    losses, measures = model.losses(batch)
    assert float(measures["unweighted_consistency"]) == pytest.approx(wanted, rel=1e-3)
    assert float(losses["generator"]["consistency_loss"]) == pytest.approx(2 * 7 * wanted, rel=1e-3)
    assert float(measures["unweighted_content"]) == pytest.approx(np.abs(both[:6] - target).mean(), rel=1e-4)
    variables = model.generator.trainable_variables
    with tf.GradientTape() as tape:
        loss = model.losses_of("generator", batch)["consistency_loss"]
    assert all(np.abs(g).max() > 0 for g in tape.gradient(loss, variables))
    model.compile(**{f"{name}_optimizer": keras.optimizers.SGD(0.1) for name, _ in model.player_variables()})
    assert {"consistency_loss", "unweighted_consistency"} <= set(model.train_step(batch))
    again = ia_gen.ExpressionGAN(**model.get_config())
    assert (again.lambda_consistency, again.phi_scale, again.normal_norms) == (7.0, 1.0, False)


def test_faces_are_right_where_eq_8_compares():
    """By hand: the mean squared difference of Feat over the targets' own; G alone moves, by all of its weights."""
    model, (_, batch) = small(alpha=3.0, beta=5.0, lambda_=2.0, lambda_feat=7.0), ia_gen.tiny()
    image, target = (2 * batch[n].numpy() - 1 for n in ("image", "target"))
    made = model.generator(image, training=True).numpy()
    own, wanted = (model.feature_net.features((x + 1) / 2).numpy() for x in (made, target))
    share = ((own - wanted) ** 2).mean() / (wanted**2).mean()
    losses, measures = model.losses(batch)
    assert share > 1e-3 and float(measures["unweighted_feat"]) == pytest.approx(share, rel=1e-3)
    assert float(losses["generator"]["feat_loss"]) == pytest.approx(2 * 7 * share, rel=1e-3)
    assert float(model.feat_loss(tf.constant(target), tf.constant(target))) == 0
    with tf.GradientTape() as tape:
        loss = model.losses_of("generator", batch)["feat_loss"]
    assert all(np.abs(g).max() > 0 for g in tape.gradient(loss, model.generator.trainable_variables))
    assert ia_gen.ExpressionGAN(**model.get_config()).lambda_feat == 7.0
    assert "feat_loss" not in small().losses(batch)[0]["generator"]
    with pytest.raises(ValueError, match="Feat need a feature_net"):
        ia_gen.ExpressionGAN(width=1 / 32, beta=0.0, lambda_feat=1.0)


def test_norms_are_drawn_on_request():
    """N(1, 0.02) as in [14]'s code; ones by default, and all other weights as ever."""
    for drawn in (False, True):
        model = ia_gen.ExpressionGAN(beta=0.0, width=1 / 4, normal_norms=drawn)
        layers = [layer for net in (model.generator, model.discriminator) for layer in net.layers]
        scales = [np.array(layer.gamma) for layer in layers if layer.name.endswith("_norm")]
        assert len(scales) == 12 and all(abs(s.mean() - 1) < 0.01 for s in scales)
        assert all((0.01 < s.std() < 0.03) if drawn else s.std() == 0 for s in scales)
        assert not drawn or np.abs(scales[0][:16] - scales[1][:16]).max() > 0, "all norms alike"


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="'l3'"):
        small(content="l3")
    with pytest.raises(ValueError, match="beta=0"):
        ia_gen.ExpressionGAN(width=1 / 32)
    with pytest.raises(ValueError, match="consistency and Feat need a feature_net"):
        ia_gen.ExpressionGAN(width=1 / 32, beta=0.0, lambda_consistency=1.0)


def test_discriminator_is_told_which_is_input_and_which_is_output():
    """The pair is ordered: with the input's channel silenced in D, the input no longer matters."""
    model, (_, batch) = small(), ia_gen.tiny()
    image, target = batch["image"], batch["target"]
    kernel = model.discriminator.get_layer("c1_conv").kernel
    kept = np.array(kernel)
    kept[:, :, 0] = 0
    kernel.assign(kept)
    one = model.discriminator(tf.concat([image, target], -1))
    two = model.discriminator(tf.concat([tf.zeros_like(image), target], -1))
    three = model.discriminator(tf.concat([image, tf.zeros_like(target)], -1))
    np.testing.assert_allclose(one, two)
    assert np.abs(one - three).max() > 1e-4


def test_both_players_step_down_their_own_loss_from_the_same_point():
    """One SGD step of rate 1 is the gradient of each player's own terms, each of which has a share in it."""
    model, (_, batch) = small(alpha=3.0, beta=5.0, lambda_=2.0), ia_gen.tiny()
    wanted, before = {}, {}
    for name, variables in model.player_variables():
        with tf.GradientTape(persistent=True) as tape:
            terms = model.losses_of(name, batch)
        parts = {term: [g.numpy() for g in tape.gradient(loss, variables)] for term, loss in terms.items()}
        before[name] = [np.array(v) for v in variables]
        wanted[name] = [sum(gradients) for gradients in zip(*parts.values(), strict=True)]
        whole = np.sqrt(sum((g**2).sum() for g in wanted[name]))
        for term, gradients in parts.items():
            assert np.sqrt(sum((g**2).sum() for g in gradients)) > 0.02 * whole, term
    model.compile(**{f"{name}_optimizer": keras.optimizers.SGD(1.0) for name, _ in model.player_variables()})
    logs = model.train_step(batch)
    for name, variables in model.player_variables():
        for old, variable, gradient in zip(before[name], variables, wanted[name], strict=True):
            np.testing.assert_allclose(
                old - np.array(variable), gradient, rtol=2e-3, atol=2e-3 * np.abs(gradient).max()
            )
    logged = {"discriminator_loss", "generator_loss", "adversarial_loss", "content_loss", "perceptual_loss"}
    assert logged | {"unweighted_content", "unweighted_perceptual"} == set(logs)


def test_feature_net_is_neither_trained_nor_saved_with_the_gan():
    model, (_, batch) = small(), ia_gen.tiny()
    before = [np.array(v) for v in model.feature_net.weights]
    model.compile(**{f"{name}_optimizer": keras.optimizers.SGD(0.1) for name, _ in model.player_variables()})
    model.train_step(batch)
    for a, b in zip(before, model.feature_net.weights, strict=True):
        np.testing.assert_array_equal(a, np.array(b))
    own = {id(v) for v in model.weights}
    assert not own & {id(v) for v in model.feature_net.weights}
    assert count(model.weights) < count(model.generator.weights) + count(model.discriminator.weights) + 20


def test_nearest_regenerated_face_names_the_input():
    """Eq. (8) by hand, from the features of the last hidden layer; `classify` is softmax(-distance / temperature)."""
    model, batch = ia_gen.tiny_recogniser()
    model.temperature, images = 0.25, batch["image"]
    for seed, generator in enumerate(model.generators):
        enlarge(generator, seed=seed)
    feat = keras.Model(model.feature_net.trunk.inputs, model.feature_net.trunk.get_layer("hidden").output)
    found, distances = model(images), []
    assert found["generated"].shape == (6, 3, 64, 64, 1)
    for k, generator in enumerate(model.generators):
        alone = (generator(2 * images - 1, training=False) + 1) / 2
        np.testing.assert_allclose(found["generated"][:, k], alone, atol=1e-5)
        gap = (feat(model.feature_net.preprocess(x)).numpy() for x in (images, alone))
        distances.append(np.sqrt(np.square(np.subtract(*gap)).sum(-1)))
    distances = np.stack(distances, 1)
    assert np.ptp(distances, axis=1).min() > 0.05 * distances.mean(), "else nothing is nearest"
    np.testing.assert_allclose(found["distances"], distances, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(found["prediction"], distances.argmin(-1))
    odds = np.exp(-(distances - distances.min(1, keepdims=True)) / 0.25)
    np.testing.assert_allclose(model.classify(images), odds / odds.sum(1, keepdims=True), rtol=1e-2, atol=1e-4)


def test_a_generator_that_copies_its_input_wins():
    model, batch = ia_gen.tiny_recogniser()
    model.generators[1] = lambda x, training: x
    found = model(batch["image"])
    assert (found["prediction"].numpy() == 1).all()
    np.testing.assert_allclose(found["distances"][:, 1], 0, atol=1e-4)


def test_no_dropout_at_test_and_dropout_in_training():
    model, (_, batch) = ia_gen.tiny()[0], ia_gen.tiny()
    faces = ia_gen.grey(batch["image"])
    np.testing.assert_array_equal(model.generator(faces), model.generator(faces))
    a, b = model.generator(faces, training=True), model.generator(faces, training=True)
    assert np.abs(a - b).max() > 1e-4


@pytest.mark.slow
def test_a_generator_overfits_eight_pairs():
    """200 steps on eight faces and eight other ones: the L1 distance falls to less than a quarter."""
    training.setup(seed=0, precision="float32")
    model = ia_gen.ExpressionGAN(beta=0.0, width=1 / 4, dropout=0.0)
    y, x = np.mgrid[0:64, 0:64] / 64
    waves = [np.sin(2 * np.pi * (a * x + b * y + 0.1 * a)) * 0.4 + 0.5 for a in range(1, 5) for b in range(4)]
    faces = np.array(waves, np.float32)[..., None]
    batch = {"image": tf.constant(faces[:8]), "target": tf.constant(faces[8:])}
    model.compile(**{f"{n}_optimizer": keras.optimizers.Adam(1e-3, beta_1=0.5) for n, _ in model.player_variables()})
    step = tf.function(model.train_step)

    def gap():
        output = model.generator(ia_gen.grey(batch["image"]), training=True)
        return float(tf.reduce_mean(tf.abs((output + 1) / 2 - batch["target"])))

    before = gap()
    for _ in range(200):
        step(batch)
    assert gap() < before / 4, (before, gap())


def test_rate_is_constant_then_falls_to_zero():
    """Ten steps, the last four of them falling: 1 up to step 6, then 3/4, 1/2, 1/4, and zero ever after."""
    rate = ia_gen.LinearEnd(2.0, steps=10, share=0.4)
    found = [float(rate(step)) / 2 for step in range(12)]
    np.testing.assert_allclose(found, [1] * 7 + [0.75, 0.5, 0.25, 0, 0], atol=1e-6)
    assert float(ia_gen.optimizer().learning_rate) == pytest.approx(2e-4) and float(ia_gen.optimizer().beta_1) == 0.5
    told = ia_gen.optimizer(2.0, steps=10, decay=0.4).get_config()["learning_rate"]
    assert told["config"] == rate.get_config()
    assert ia_gen.LinearEnd.from_config(rate.get_config()).get_config() == rate.get_config()
