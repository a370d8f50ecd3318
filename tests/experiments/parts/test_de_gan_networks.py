"""DE-GAN's networks from the weights of another run: who is told apart there is nobody here."""

import numpy as np
import pytest

from experiments import de_gan as script
from experiments.parts.de_gan import networks
from fer_tf import weights
from fer_tf.models import de_gan

THREE = ("anger", "happiness", "sadness")


@pytest.mark.slow
def test_the_classifier_of_people_is_new_whatever_the_start_has(tmp_path):
    """With --lambda_identity or without, from a GAN that had it or not."""
    settings = script.Settings(preset="smoke", precision="float32", noise=4)
    hides = settings.replace(lambda_identity=0.5)
    for had, of in (("plain", settings), ("hides", hides)):
        before = networks.build_gan(of, THREE, ("a", "b", "c"), 0)
        for v in before.encoder.weights:
            v.assign(np.full(v.shape, 0.25))
        about = {"classes": THREE, "config": before.get_config()}
        weights.save(before, tmp_path / f"{had}.h5", provenance=about)
        for now in (settings, hides):
            start = str(tmp_path / f"{had}.h5")
            gan = networks.build_gan(now.replace(gan_init=start), THREE, tuple("defgh"), 0)
            assert all(np.all(np.array(v) == 0.25) for v in gan.encoder.weights)
            assert hasattr(gan, "identifier") == (now is hides)
            if now is hides:
                assert gan.identifier.kernel.shape[-1] == 5


def test_d_starts_from_its_teacher(tmp_path):
    """Every convolution and norm; the expressions' columns where they are the same; fake and people stay D's own."""
    settings = script.Settings(preset="smoke", precision="float32", noise=4)
    cnn = de_gan.EncoderCNN(classes=THREE, width=1 / 32, code=8)
    for number, v in enumerate(cnn.weights):
        if v.dtype in ("float32", np.float32):
            v.assign(np.full(v.shape, 1 + number))
    weights.save(cnn, tmp_path / "cnn.h5", provenance={"classes": THREE})
    taught = settings.replace(teacher=str(tmp_path / "cnn.h5"))
    for classes, same in ((THREE, True), ((*THREE, "fear"), False)):
        d = networks.build_gan(taught, classes, ("a", "b", "c"), 0).discriminator
        for layer in cnn.trunk.layers:
            for a, b in zip(layer.get_weights(), d.get_layer(layer.name).get_weights(), strict=True):
                np.testing.assert_array_equal(a, b)
        kernel, bias = d.get_layer("expression").get_weights()
        assert kernel.shape[-1] == len(classes) + 1 and np.abs(kernel[:, -1]).max() < 0.2 and bias[-1] == 0
        assert np.all(kernel[:, :3] == np.array(cnn.head.kernel)) == same == np.all(bias[:3] == np.array(cnn.head.bias))
        assert np.abs(d.get_layer("identity").get_weights()[0]).max() < 0.2
