"""What stands for eq. (2), and a generator that is frozen: GCNet's options that are not the paper's."""

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import training
from fer_tf.models import gcnet
from fer_tf.nets import contrast, unet


def small(variant="S0R0", **options):
    training.setup(seed=0, precision="float32")
    model = gcnet.GCNet(width=1 / 16, classes=gcnet.CLASSES["six"], variant=variant, dropout=0.0, **options)
    return model, gcnet.tiny()[1]


def values(variables):
    return [np.array(v) for v in variables]


def test_the_deltas_by_hand():
    e, r = np.array([[3.0, 4.0, 0.0], [0.0, 1.0, 0.0]]), np.array([[0.0, 0.0, 2.0], [0.6, 0.0, 0.8]])
    unit = np.array([[0.6, 0.8, -1.0], [-0.6, 1.0, -0.8]])
    wanted = {"absolute": np.abs(unit), "signed": unit, "plain": e - r, "both": np.concatenate([e, e - r], -1)}
    assert {*wanted} == {*contrast.DELTAS}
    for delta, value in wanted.items():
        found = gcnet.contrastive_vector(tf.constant(e, tf.float32), tf.constant(r, tf.float32), delta)
        np.testing.assert_allclose(found, value, atol=1e-6, err_msg=delta)
    with pytest.raises(ValueError, match="Unknown delta 'square': use absolute, signed, plain, both"):
        gcnet.GCNet(delta="square")


@pytest.mark.parametrize("delta", ["plain", "both"])
def test_what_is_classified_is_the_delta(delta):
    """In training and at test; `responses` are linear in it, and `features` their ReLU."""
    model, batch = small(generator=gcnet.GIVEN, delta=delta)
    e, e_r = (np.reshape(model.encoder2(batch[n], training=False)[0], (6, -1)) for n in ("image", "reference"))
    vector = np.concatenate([e, e - e_r], -1) if delta == "both" else e - e_r
    asked = model.asked(batch)
    np.testing.assert_allclose(model.vector(asked), vector, atol=1e-5)
    model.hidden.bias.assign(np.linspace(-0.1, 0.1, model.hidden.units))
    linear = vector @ np.array(model.hidden.kernel) + np.array(model.hidden.bias)
    np.testing.assert_allclose(model.responses(asked), linear, atol=1e-5)
    np.testing.assert_allclose(model.features(asked), np.maximum(linear, 0), atol=1e-5)
    assert (linear < 0).any()
    both = model.encoder2(np.concatenate([batch["image"], batch["reference"]]), training=True)[0]
    e, e_r = np.split(np.reshape(both, (12, -1)), 2)
    vector = np.concatenate([e, e - e_r], -1) if delta == "both" else e - e_r
    loss = float(model.losses(batch)[0]["classifier"]["classification_loss"])
    logits = model.head(model.hidden(tf.constant(vector))).numpy()
    by_hand = np.log(np.exp(logits).sum(-1)) - logits[np.arange(6), np.arange(6)]
    assert loss == pytest.approx(by_hand.mean(), rel=1e-4)
    assert gcnet.GCNet.from_config(model.get_config()).delta == delta


@pytest.mark.parametrize("generator", ["conv_ae", "unet", "dcgan"])
def test_a_frozen_generator_stays(generator):
    """Neither weights nor moving statistics move, no gradient reaches it, eq. (5) is no term; else all of it does."""
    for frozen in (True, False):
        model, batch = small(generator=generator, frozen=frozen)
        own = values(model.generator_net.variables)
        model.compile(**gcnet.optimizers(model, 0.1))
        with tf.GradientTape() as tape:
            made, _ = model.refer(batch, True)
        moved = [v for v in model.generator_net.variables if "projection" not in v.name]
        gradients = tape.gradient(made, list(moved), unconnected_gradients="none")
        assert all(g is None for g in gradients) is frozen
        logs = model.train_step(batch)
        same = all(np.array_equal(a, b) for a, b in zip(own, values(model.generator_net.variables), strict=True))
        assert same is frozen and ("generation_loss" in logs) is not frozen
        assert ("decoder" in dict(model.player_variables())) is not frozen
        assert gcnet.GCNet.from_config(model.get_config()).frozen is frozen
        if generator == "dcgan":
            assert model.generator_net.projection.trainable is False, "a random projection is never trained"
        mine = {id(v) for v in model.generator_net.trainable_variables}
        players = {id(v) for _, variables in model.player_variables() for v in variables}
        assert (not mine) is frozen and mine <= players


def test_a_frozen_generator_is_used_as_at_test():
    """By moving statistics in training, too: the reference that Encoder2 learns beside is the one that it meets."""
    model, batch = small(generator="unet", frozen=True)
    model.generator_net.net.get_layer("end").kernel.assign(
        tf.random.stateless_normal(model.generator_net.net.get_layer("end").kernel.shape, (0, 1))
    )
    trained, tested = (model.refer(batch, t)[0].numpy() for t in (True, False))
    np.testing.assert_array_equal(trained, tested)
    assert np.abs(tested - batch["image"]).max() > 0.1


def test_a_face_is_added_in_all_bits():
    training.setup(seed=0, precision="mixed_bfloat16")
    try:
        net, faces = unet.UNet(width=0.25, padding="same", seed=0), gcnet.tiny()[1]["image"]
        np.testing.assert_array_equal(net(faces, training=True)[0], faces)
        assert net.net.get_layer("down1_conv").compute_dtype == "bfloat16"
    finally:
        training.setup(seed=0, precision="float32")


def test_the_unet_gives_the_face_back_before_any_step_and_sees_every_scale():
    training.setup(seed=0, precision="float32")
    net = unet.UNet(width=0.5, padding="same", seed=0)
    faces = gcnet.tiny()[1]["image"]
    np.testing.assert_array_equal(net(faces)[0], faces)
    assert net.decoder is net.net and net.terms == () and net.discriminator is None
    shapes = [net.net.get_layer(f"down{i}_conv").output.shape[1:] for i in range(1, 5)]
    assert [tuple(s) for s in shapes] == [(32, 32, 8), (16, 16, 16), (8, 8, 32), (4, 4, 32)]
    inputs = [net.net.get_layer(f"up{i}_skip").output.shape[-1] for i in range(1, 5)]
    assert inputs == [16 + 1, 32 + 8, 32 + 16, 32 + 32], "each scale's channels beside those from below"
    model = gcnet.Autoencoder(generator="unet", target="reference", width=0.5)
    assert [name for name, _ in model.player_variables()] == ["autoencoder"]
