"""A generator of GCNet's Fig. 7 alone: what Encoder1 starts from (section IV-A), and appendix A (Figs. 9 and 10)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf

from fer_tf.compat import Batch, PlayersModel, Terms, keras
from fer_tf.losses import mean_of_half_squares
from fer_tf.nets import dcgan
from fer_tf.nets.conv_ae import ConvAE
from fer_tf.nets.unet import UNet

FIG_7: dict[str, Callable[..., Any]] = {"conv_ae": ConvAE, "conv_vae": dcgan.ConvVAE, "dcgan": dcgan.DCGAN}
"""The paper's. The auto-encoder is Table I's."""

GENERATORS = {**FIG_7, "unet": UNet}
"""These, and one that is not the paper's."""


def refuse_unknown(what: str, value: str, known: Iterable[str]) -> None:
    """Raises ValueError, which names all that are known, where an argument's value is none of them."""
    if value not in known:
        raise ValueError(f"Unknown {what} {value!r}: use {', '.join(known)}.")


@keras.utils.register_keras_serializable("fer_tf")
class Autoencoder(PlayersModel):
    """A generator of Fig. 7 alone: it gives a face back (section IV-A and Fig. 9), or its neutral reference (Fig. 10).

    Args:
      generator, width, padding, seed: see `GCNet`; "conv_ae" that gives back is what Encoder1 starts from.
      target: "image", or "reference", a batch's neutral face.
    Raises:
      ValueError: an unknown generator or target.
    """

    def __init__(
        self,
        *,
        generator: str = "conv_ae",
        target: str = "image",
        width: float = 1.0,
        padding: str = "same",
        seed: int = 0,
        name: str = "autoencoder",
        **options: Any,
    ):
        super().__init__(name=name, **options)
        refuse_unknown("generator", generator, GENERATORS)
        refuse_unknown("target", target, ("image", "reference"))
        self.generator, self.target, self.width, self.padding, self.seed = generator, target, width, padding, seed
        self.generator_net = GENERATORS[generator](width=width, padding=padding, seed=seed)
        self.built = True
        self.track(*(f"{n}_loss" for n, _ in self.player_variables()), "reconstruction_loss", *self.generator_net.terms)

    def player_variables(self) -> list[tuple[str, list[tf.Variable]]]:
        """The DCGAN's discriminator if there is one; all the rest."""
        discriminator = self.generator_net.discriminator
        own = [] if discriminator is None else discriminator.trainable_variables
        rest = [v for v in self.trainable_variables if not any(v is w for w in own)]
        return [("discriminator", own), ("autoencoder", rest)] if own else [("autoencoder", rest)]

    def infer(self, images: tf.Tensor) -> tf.Tensor:
        """(N, 64, 64, 1) float32 in [0, 1] -> the face that is made of it, (N, 64, 64, 1) >= 0."""
        return self.generator_net(images)[0]

    def losses_of(self, name: str, batch: Batch, training: bool = True) -> Terms:
        """Half squares between the made face and the target, as in eq. (5) and (8), with what the generator adds."""
        target, counted = batch[self.target], batch.get("has_reference") if self.target == "reference" else None
        face, more = self.generator_net(batch["image"], training=training)
        if name == "discriminator":
            return self.generator_net.discriminator_losses(target, face, counted, training)
        return {"reconstruction_loss": mean_of_half_squares(face, target, counted), **more}

    def losses(self, batch: Batch, training: bool = True) -> tuple[dict[str, Terms], Terms]:
        """Each player's terms, from a forward pass of its own."""
        return {name: self.losses_of(name, batch, training) for name, _ in self.player_variables()}, {}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {n: getattr(self, n) for n in ("name", "generator", "target", "width", "padding", "seed")}
