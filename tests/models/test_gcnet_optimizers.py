"""Who is trained by what, beside the players of section IV-A."""

import numpy as np
import pytest

from fer_tf.compat import keras
from fer_tf.models import gcnet


def test_the_optimizer_of_a_dcgans_discriminator():
    """Adam with DCGAN's rate 2e-4 and beta_1 0.5, whatever the rate of the others is."""
    model = gcnet.GCNet(width=1 / 16, generator="dcgan")
    adam = gcnet.optimizers(model, 0.3)["discriminator_optimizer"]
    assert isinstance(adam, keras.optimizers.Adam)
    assert (float(np.array(adam.learning_rate)), adam.beta_1, adam.beta_2) == (pytest.approx(2e-4), 0.5, 0.999)
