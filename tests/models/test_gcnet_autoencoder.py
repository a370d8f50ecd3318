"""GCNet's generators alone: Encoder1's start, and Figs. 9 and 10."""

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import training
from fer_tf.compat import keras
from fer_tf.models import gcnet


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
    net.generator_net.set_weights(model.generator_net.get_weights())
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
            made = model.generator_net(batch["image"], training=True)[0].numpy()
            own = 0.5 * ((made - batch[target].numpy()) ** 2).mean((1, 2, 3))
            by_hand = (own * kept.numpy() if target == "reference" else own).mean()
            assert losses[target] == pytest.approx(by_hand, rel=1e-3)
    assert losses["reference"] < losses["image"]
    model.compile(**gcnet.optimizers(model, 0.1))
    before = [np.array(v) for v in model.trainable_variables]
    logs = model.train_step(given)
    assert all(np.isfinite(float(v)) for v in logs.values()) and set(model.generator_net.terms) <= set(logs)
    assert all(np.any(a != np.array(v)) for a, v in zip(before, model.trainable_variables, strict=True))
    with pytest.raises(ValueError, match="Unknown target"):
        gcnet.Autoencoder(target="neutral")
