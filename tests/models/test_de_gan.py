"""fer_tf.models.de_gan: the layers' sizes, who is drawn, whose turn it is, what stays frozen, and resuming."""

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import training, weights
from fer_tf.compat import KERAS_3, keras, minimize, optimizer_variables
from fer_tf.models import de_gan
from fer_tf.nets import dr_gan
from fer_tf.records import CLASSES

SIX = CLASSES["six"]


def trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def test_encoder_has_dr_gans_layers():
    """Fourteen convolutions: 9 in out + 2 out of the norm each; 2.9 M, as the docstring says."""
    net = de_gan.build_encoder()
    channels = [1, *(c for stage in de_gan.STAGES for c in stage), de_gan.CODE]
    assert len(channels) == 15
    wanted = sum(9 * a * b + 2 * b for a, b in zip(channels, channels[1:], strict=False))
    assert trainable(net) == wanted and f"{wanted:,}" in dr_gan.__doc__
    shapes = [tuple(x.shape[1:]) for x in net.outputs]
    assert shapes == [(96, 96, 64), (48, 48, 128), (24, 24, 192), (12, 12, 256), (350,)]
    assert [tuple(x.shape[1:]) for x in de_gan.build_encoder(width=0.25).outputs][3:] == [(12, 12, 64), (350,)]


def test_decoder_and_discriminator():
    decoder = de_gan.build_decoder(7, width=1 / 16)
    assert [tuple(x.shape[1:]) for x in decoder.inputs] == [(350,), (7,), (50,)]
    assert tuple(decoder.outputs[0].shape[1:]) == (96, 96, 1)
    judge = de_gan.build_discriminator(7, 5, width=1 / 16)
    assert [tuple(x.shape[1:]) for x in judge.outputs] == [(8,), (5,)]
    whole = de_gan.DEGAN(subjects=tuple("abcde"), width=1 / 32, code=8, noise=4)
    assert [tuple(x.shape[1:]) for x in whole.decoder.inputs] == [(8,), (5,), (4,)]
    assert [tuple(x.shape[1:]) for x in whole.discriminator.outputs] == [(8,), (5,)]
    kernels = [w for w in (*decoder.weights, *judge.weights) if len(w.shape) > 1 and np.prod(w.shape) > 2000]
    assert kernels and all(abs(float(np.std(w)) - 0.02) < 0.002 for w in kernels)


def test_first_decoder_layer_is_one_product_of_the_joined_vector():
    net = de_gan.build_decoder(3, width=1 / 32, code=5, noise=2)
    parts = [np.random.default_rng(i).normal(size=(4, n)).astype(np.float32) for i, n in enumerate((5, 3, 2))]
    seen = keras.Model(net.inputs, net.get_layer("sum").output)(parts)
    kernel = np.concatenate([np.array(net.get_layer(n).kernel) for n in ("code", "identity", "noise")])
    np.testing.assert_allclose(seen, np.concatenate(parts, -1) @ kernel, atol=1e-5)


def test_identities_are_others_and_all_of_them():
    own = tf.constant(np.random.default_rng(0).integers(0, 5, 2000), tf.int32)
    layer = de_gan.OtherIdentity(5, seed=3)
    drawn, again = layer(own).numpy(), layer(own).numpy()
    assert not np.any(drawn == own.numpy()) and np.any(drawn != again)
    assert np.all(np.abs(np.bincount((drawn - own.numpy()) % 5, minlength=5)[1:] - 500) < 100)
    keeps = de_gan.OtherIdentity(5, own_share=0.25, seed=3)(own).numpy()
    assert abs(np.mean(keeps == own.numpy()) - 0.25) < 0.04
    np.testing.assert_array_equal(de_gan.OtherIdentity(5, seed=3)(own), drawn)


@pytest.mark.parametrize("compiled", [False, True])
def test_d_moves_at_every_step_and_near_its_optimum_at_every_fourth(compiled):
    pace = de_gan.Pace(ratio=4, near=0.9, momentum=0.5)
    pace.build(())
    step = tf.function(pace) if compiled else pace
    moved = [bool(step(tf.constant(a))) for a in [0.5] * 4 + [1.0] * 12]
    # the running mean is 0.47 after the first four, then 0.73, 0.87, 0.93: near from the seventh step on
    assert moved == [True] * 6 + [False, False, False, True] * 2 + [False, False]


@pytest.mark.parametrize("compiled", [False, True])
def test_a_players_step_can_be_left_out(compiled):
    """Under `when`, a step is whole or not at all, slots and step count included; also beside a second player."""
    training.setup(seed=0, precision="float32")
    model, batch = de_gan.tiny()
    model.compile(discriminator_optimizer=de_gan.optimizer(1e-2), generator_optimizer=de_gan.optimizer(1e-2))
    model.pace.near = -1.0  # near its optimum at once
    step = tf.function(model.train_step) if compiled else model.train_step
    seen = {name: [] for name in ("discriminator", "generator")}
    for _ in range(5):
        before = {n: np.array(p.variables[0]) for n, p in model.players().items()}
        counts = {n: int(p.optimizer.iterations) for n, p in model.players().items()}
        step(batch)
        for n, p in model.players().items():
            moved = bool(np.any(before[n] != np.array(p.variables[0])))
            assert moved == (int(p.optimizer.iterations) - counts[n] == 1)
            seen[n].append(moved)
    assert seen == {"discriminator": [False, False, False, True, False], "generator": [True] * 5}


def scale_of(optimizer):
    """The loss scale and its count of good steps, where there is one."""
    if not isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer):
        return []
    return [optimizer.dynamic_scale, optimizer.step_counter] if KERAS_3 else [*optimizer._loss_scale._weights.values()]


@pytest.mark.parametrize("precision", ["float32", pytest.param("mixed_float16", marks=pytest.mark.slow)])
def test_a_step_taken_back_on_two_replicas(precision):
    """Where replicas cannot meet inside a condition, the step's traces are removed; the loss scale's, too."""
    strategy = training.setup(seed=0, precision=precision, strategy="mirrored")
    with strategy.scope():
        model, batch = de_gan.tiny()
        model.compile(discriminator_optimizer=de_gan.optimizer(1e-2), generator_optimizer=de_gan.optimizer(1e-2))
    player = model.players()["discriminator"]

    @tf.function
    def step(when, times):
        def one():
            with tf.GradientTape() as tape:
                loss = times * tf.add_n(list(model.losses_of("discriminator", batch).values()))
            minimize(player, loss, tape, when=when)

        strategy.run(one)

    kept = [*player.variables, player.optimizer.iterations, *scale_of(player.optimizer)]
    assert len(kept) == len(player.variables) + 1 + 2 * (precision == "mixed_float16")
    for when, times in ((False, 1.0), (True, 1.0), (False, 1.0), (False, np.inf), (True, np.inf), (False, np.inf)):
        if np.isfinite(times) or precision == "mixed_float16":  # an overflow would be the end of float32's weights
            before = [np.array(v) for v in kept]
            step(tf.constant(when), tf.constant(times, tf.float32))
            after = [np.array(v) for v in kept]
            assert any(np.any(a != b) for a, b in zip(before, after, strict=True)) == when, (when, times)


def test_other_people_change_the_code_and_the_head_alone(tmp_path):
    """Fine-tuning with another set's identities: the rest comes from the pre-trained file."""
    first = de_gan.DEGAN(width=1 / 32, code=8, noise=4, classes=SIX, subjects=("a", "b", "c"), seed=1)
    weights.save(first, tmp_path / "w.h5", provenance={})
    second = de_gan.DEGAN(width=1 / 32, code=8, noise=4, classes=SIX, subjects=tuple("defgh"), seed=2)
    with pytest.raises(ValueError, match=r"decoder/identity/kernel is \(3, .*discriminator/identity"):
        weights.load(second, tmp_path / "w.h5")
    for v in first.weights:  # what no fresh net has, moving statistics included
        v.assign(np.full(v.shape, 0.25 if v.dtype in (tf.float32, "float32") else 7))
    weights.save(first, tmp_path / "w.h5", provenance={})
    weights.load(second, tmp_path / "w.h5", skip=("decoder/identity", "discriminator/identity"))
    heads = [second.decoder.get_layer("identity"), second.discriminator.get_layer("identity")]
    own = {id(v) for layer in heads for v in layer.weights}
    assert len(own) == 3  # the code's product, the head's kernel and bias
    nets = (second.encoder, second.decoder, second.discriminator)
    loaded = [np.all(np.array(v) == 0.25) != (id(v) in own) for net in nets for v in net.weights]
    assert len(loaded) > 150 and all(loaded)


@pytest.mark.parametrize("uses", de_gan.USES)
def test_no_gradient_reaches_the_encoder(uses):
    """It is frozen, its moving statistics too; all that is trained has a gradient."""
    training.setup(seed=0, precision="float32")
    model, batch = de_gan.DEGANClassifier(width=1 / 32, code=8, classes=SIX, uses=uses), de_gan.tiny()[1]
    own = {id(v) for v in model.encoder.weights}
    assert not model.encoder.trainable and not own & {id(v) for v in model.players()["classifier"].variables}
    model.encoder.trainable = True  # even then
    before = [np.array(v) for v in model.encoder.weights]
    with tf.GradientTape() as tape:
        loss = tf.add_n(list(model.losses_of("classifier", batch).values()))
    gradients = dict(
        zip((id(v) for v in model.trainable_variables), tape.gradient(loss, model.trainable_variables), strict=True)
    )
    inside = {id(v) for v in model.encoder.trainable_variables}
    assert inside and all((g is None) == (key in inside) for key, g in gradients.items())
    assert all(np.array_equal(a, np.array(v)) for a, v in zip(before, model.encoder.weights, strict=True))
    model.encoder.trainable = False
    model.compile(classifier_optimizer=de_gan.optimizer(1e-2))
    model.train_step(batch)
    assert all(np.array_equal(a, np.array(v)) for a, v in zip(before, model.encoder.weights, strict=True))
    assert model.numbers == ((5,) if uses == "code" else (1, 2, 3, 4, 5))
    sizes = {"code": 8, "residues": 4 * 4, "both": 8 + 4 * 4}
    assert model.heads[-1].kernel.shape[0] == sizes[uses]


class Interrupted:
    """Batches that differ, five an epoch; at `broken` (epoch, number) comes an error instead."""

    def __init__(self, batch, broken=None):
        self.batch, self.broken = batch, broken

    def __len__(self):
        return 5

    def epoch(self, number):
        """The batches, each rolled on by one face more; labels stay."""

        def one(i):
            tf.debugging.assert_equal(tf.reduce_all(tf.equal((number, i), self.broken or (-1, -1))), False)
            return {**self.batch, "image": tf.roll(self.batch["image"], tf.cast(5 * number + i, tf.int32), 0)}

        return tf.data.Dataset.range(5, output_type=tf.int32).map(one)


@pytest.mark.parametrize("stage", [pytest.param("one", marks=pytest.mark.slow), "two"])
def test_a_stage_goes_on_in_the_middle_of_an_epoch(stage, tmp_path):
    """As if nothing had broken off: weights, optimizers, D's pace near its optimum, the draws, and the history."""

    def build(seed, skill=0.0):
        training.setup(seed=seed, precision="float32")
        model, batch = de_gan.tiny() if stage == "one" else de_gan.tiny_recogniser()
        if stage == "one":
            model = de_gan.DEGAN(**{**model.get_config(), "near": 0.25, "ratio": 3})
            model.pace.skill.assign(skill)
        model.compile(**{f"{name}_optimizer": de_gan.optimizer(1e-3) for name in model.players()})
        return model, batch

    def fit(model, data, name):
        found = training.fit(model, data, workdir=tmp_path / name, epochs=2, checkpoint_steps=2, progress=False)
        return [{k: v for k, v in row.items() if k != "seconds"} for row in found]

    whole, batch = build(3, skill=0.5)
    history = fit(whole, Interrupted(batch), "whole")
    first, _ = build(3, skill=0.5)
    with pytest.raises(tf.errors.InvalidArgumentError):
        fit(first, Interrupted(batch, (1, 3)), "parts")
    resumed, _ = build(4)  # other weights to begin with: all comes from the checkpoint
    again = fit(resumed, Interrupted(batch), "parts")
    assert again[1] == history[1] and [row["epoch"] for row in again] == [1, 2]
    if stage == "one":  # D, taken for skilled through all ten steps, moves at 3, 6 and 9
        assert [row["discriminator_share"] for row in history] == pytest.approx([0.2, 0.4])
        state = [[float(m.pace.skill), int(m.pace.since)] for m in (whole, resumed)]
        assert state[0] == state[1] and state[0][0] > 0.25 and state[0][1] == 1
    for a, b in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(np.array(a), np.array(b), err_msg=a.name)
    for name, variables in optimizer_variables(whole).items():
        for a, b in zip(variables, optimizer_variables(resumed)[name], strict=True):
            np.testing.assert_array_equal(np.array(a), np.array(b), err_msg=f"{name}: {a.name}")


def test_adam_and_lambdas_as_printed():
    """Section 4.1: a learning rate of 0.0001, a momentum of 0.5; eq. (3)'s weights."""
    adam = de_gan.optimizer()
    assert isinstance(adam, keras.optimizers.Adam)
    assert (float(adam.learning_rate), adam.beta_1) == (pytest.approx(1e-4), 0.5)
    assert float(de_gan.optimizer(0.25).learning_rate) == 0.25
    assert de_gan.DEGANClassifier(width=1 / 32, code=8).lambdas == (0.7, 0.6, 0.4, 0.3, 1.0)


def test_norms_are_those_of_the_docstring():
    found = [de_gan.tiny()[0].encoder, de_gan.tiny()[0].decoder, *de_gan.tiny_recogniser()[0].locals]
    norms = [layer for net in found for layer in net.layers if "norm" in layer.name]
    assert len(norms) == 14 + 14 + 4 * 2 and {(n.momentum, n.epsilon) for n in norms} == {(0.9, 1e-5)}
    assert "momentum of 0.9 and an epsilon of 1e-5" in de_gan.__doc__


def test_the_encoder_of_the_gan_is_the_one_that_names():
    gan, batch = de_gan.tiny()
    model = de_gan.tiny_recogniser()[0]
    model.encoder.set_weights(gan.encoder.get_weights())
    np.testing.assert_allclose(model.features(batch["image"])[-1][:, :8], gan.features(batch["image"]), atol=1e-6)


def test_the_baseline_is_the_encoders_shape():
    model = de_gan.EncoderCNN(width=1 / 32, code=8, classes=SIX)
    extra = 8 * 6 + 6
    assert trainable(model) == trainable(de_gan.build_encoder(width=1 / 32, code=8)) + extra
    image = de_gan.tiny()[1]["image"]
    p = model.classify(image).numpy()
    assert p.shape == (6, 6) and model.features(image).shape == (6, 8)
    twin = de_gan.EncoderCNN.from_config(model.get_config())
    twin.set_weights(model.get_weights())
    np.testing.assert_allclose(twin(image), p, atol=1e-6)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="two or more, not 1"):
        de_gan.DEGAN(subjects=("a",))
    with pytest.raises(ValueError, match="Unknown uses 'all'"):
        de_gan.DEGANClassifier(uses="all")
    with pytest.raises(ValueError, match="5 lambdas: 2"):
        de_gan.DEGANClassifier(lambdas=(1, 2))
