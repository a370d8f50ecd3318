"""DE-GAN's networks from the weights of another run: who is told apart there is nobody here."""

import numpy as np

from experiments import de_gan as script
from experiments.parts.de_gan import networks
from fer_tf import weights

THREE = ("anger", "happiness", "sadness")


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
