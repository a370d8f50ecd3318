"""DCGAN's two networks (Radford, Metz, Chintala, ICLR 2016) on grey 64x64 faces; GCNet generates with them (Fig. 7).

**Readings** (what GCNet's paper leaves open)

- Section IV-E, "the network structure in the literature of DCGANs": 4x4 kernels, stride 2, 64 to 512 channels, a
  code of 100; batch norm after each layer but either net's last and the discriminator's first. With the VAE and padding
  "valid" GCNet has 9.52 M weights, where the section says 9.6 M.
- Fig. 7 (b), the VAE's loss: KL(q || N(0, 1)) beside eq. (5), weighted by lambda_G as that is.
- Fig. 7 (c), the GAN's loss: beside eq. (5) and lambda_G, too. The discriminator sees real and generated neutral faces;
  who has no neutral face counts as zero among the real ones.
- Appendix A, "a random projection transformation": N(0, 1/64) kernels on pixels in [-1, 1].
- KL and adversarial term are divided by the 4,096 pixels, over which eq. (5) is a mean: the ratio is that of the sums.

**Deviations** (what is printed and differs here)

- Section IV-E, "the generator of DCGANs": it ends in a sigmoid, not in tanh, since pixels are in [0, 1].
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fer_tf.compat import BatchNorm, keras
from fer_tf.layers import Noise, normal, scaled
from fer_tf.losses import log_loss

SIZE = 64
"""Pixels a side."""

CHANNELS = (64, 128, 256, 512)
"""Channels of the discriminator; the generator has them in reverse."""

CODE = 100
"""Size of the generator's code."""


def build_encoder(outputs: int, *, width: float = 1.0, name: str = "encoder") -> Any:
    """DCGAN's discriminator, whose last layer has `outputs` channels and no sigmoid. 4x4, stride 2, leaky ReLU 0.2.

    Args:
      outputs: numbers that a face gives.
      width: times the published channels.
    Returns:
      A net: (N, 64, 64, 1) in [0, 1] -> (N, outputs) float32.
    """
    inputs = x = keras.Input((SIZE, SIZE, 1), name="face")
    for i, channels in enumerate(CHANNELS, 1):
        options = {"use_bias": False, "kernel_initializer": normal(), "name": f"conv{i}"}
        x = keras.layers.Conv2D(scaled(channels, width), 4, 2, "same", **options)(x)
        x = x if i == 1 else BatchNorm(name=f"norm{i}")(x)
        x = keras.layers.LeakyReLU(0.2, name=f"relu{i}")(x)
    x = keras.layers.Conv2D(outputs, 4, kernel_initializer=normal(), name="end")(x)
    x = keras.layers.Reshape((outputs,), name="flat")(x)
    return keras.Model(inputs, keras.layers.Activation("linear", dtype="float32", name="code")(x), name=name)


def build_decoder(*, width: float = 1.0, name: str = "decoder") -> Any:
    """DCGAN's generator with a sigmoid.

    Args:
      width: times the published channels.
    Returns:
      A net: a code (N, 100) -> a face (N, 64, 64, 1) float32 in [0, 1].
    """
    inputs = keras.Input((CODE,), name="code")
    x = keras.layers.Reshape((1, 1, CODE), name="map")(inputs)
    for i, channels in enumerate(reversed(CHANNELS), 1):
        options = {"use_bias": False, "kernel_initializer": normal(), "name": f"conv{i}"}
        stride, padding = (1, "valid") if i == 1 else (2, "same")
        x = keras.layers.Conv2DTranspose(scaled(channels, width), 4, stride, padding, **options)(x)
        x = keras.layers.Activation("relu", name=f"relu{i}")(BatchNorm(name=f"norm{i}")(x))
    x = keras.layers.Conv2DTranspose(1, 4, 2, "same", kernel_initializer=normal(), name="end")(x)
    return keras.Model(inputs, keras.layers.Activation("sigmoid", dtype="float32", name="face")(x), name=name)


class ConvVAE(keras.layers.Layer):
    """Fig. 7 (b): DCGAN's discriminator as encoder, twice the code at its end, and its generator as decoder."""

    terms: tuple[str, ...] = ("kl_loss",)
    discriminator = None

    def __init__(self, *, width: float, padding: str, seed: int, **options: Any):
        super().__init__(name="generator", **options)
        self.encoder = build_encoder(2 * CODE, width=width, name="encoder1")
        self.decoder = build_decoder(width=width, name="decoder")
        self.noise = Noise(seed, dtype="float32", name="noise")
        self.noise.build((None, CODE))
        self.built = True

    def call(self, images: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """(N, 64, 64, 1) in [0, 1] -> the reference face in [0, 1], and KL(q || N(0, 1)) over the code, a pixel."""
        mean, log_variance = tf.split(self.encoder(images, training=training), 2, -1)
        code = mean + tf.exp(0.5 * log_variance) * self.noise(mean, training=training)
        kl = -0.5 * tf.reduce_sum(1.0 + log_variance - tf.square(mean) - tf.exp(log_variance), -1)
        terms = {"kl_loss": tf.reduce_mean(kl) / SIZE**2}  # as eq. (5) is a mean over them
        return self.decoder(code, training=training), terms


class DCGAN(keras.layers.Layer):
    """Fig. 7 (c): a fixed random projection as encoder, DCGAN's generator, and its discriminator of neutral faces."""

    terms: tuple[str, ...] = ("adversarial_loss",)

    def __init__(self, *, width: float, padding: str, seed: int, **options: Any):
        super().__init__(name="generator", **options)
        start = keras.initializers.RandomNormal(stddev=1 / SIZE, seed=seed)
        self.projection = keras.layers.Dense(
            CODE, use_bias=False, kernel_initializer=start, trainable=False, dtype="float32", name="projection"
        )
        self.projection.build((None, SIZE * SIZE))
        self.decoder = build_decoder(width=width, name="decoder")
        self.discriminator = build_encoder(1, width=width, name="discriminator")
        self.built = True

    def call(self, images: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """(N, 64, 64, 1) in [0, 1] -> a reference face in [0, 1], and what fools the discriminator, a pixel."""
        code = self.projection(tf.reshape(2.0 * images - 1.0, (-1, SIZE * SIZE)))
        face = self.decoder(code, training=training)
        fooled = log_loss(self.discriminator(face, training=training), real=True)
        return face, {"adversarial_loss": fooled / SIZE**2}  # as above

    def discriminator_losses(
        self, real: tf.Tensor, fake: tf.Tensor, counted: tf.Tensor | None = None, training: bool = True
    ) -> dict[str, tf.Tensor]:
        """What the discriminator descends: log losses, means over the batch.

        Args:
          real, fake: (N, 64, 64, 1) float32 in [0, 1]; the fakes have no gradient from here.
          counted: (N,) bool; the other real faces count as zero.
          training: whether norms use the batch's statistics.
        """
        real_logits = self.discriminator(real, training=training)
        fake_logits = self.discriminator(tf.stop_gradient(fake), training=training)
        return {"real_loss": log_loss(real_logits, True, counted), "fake_loss": log_loss(fake_logits, False)}
