"""CycleAT's generators by the settings: stages I and II of the auxiliary domain learning, and G_SW's export."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from fer_tf import export, pipeline, records
from fer_tf.compat import keras
from fer_tf.models import cycle_at
from fer_tf.nets import cycle_gan

from ...run import fitting
from ...run.settings import setting
from . import classifiers, domains, pictures


@dataclass(frozen=True, kw_only=True)
class Gan(classifiers.Classifiers):
    """Nets, losses and training of the GAN."""

    gan_rate: float = setting(2e-4, "Adam's learning rate in stages I and II.")
    gan_epochs: int = setting(1, "Of stage I, and again of stage II; after each the same faces are drawn.", low=1)
    gan_epoch_steps: int = setting(0, "Steps of such an epoch; 0 for a pass over the source.", low=0)
    gan_batch_size: int = setting(1, "Faces of either domain a step in stages I and II.", low=1)
    filters: int = setting(64, "First channels of generators and discriminators.", low=1)
    blocks: int = setting(9, "Residual blocks of a generator.", low=1)
    discriminator_filters: int | None = setting(None, "First channels of the discriminators, where others.", low=1)
    d_layers: int = setting(3, "Their convolutions of stride 2: 3 for scores of 70 pixels, 2 of 34.", low=1, high=3)
    upsampling: str = setting("transposed", "Of the generators.", choices=cycle_gan.UPSAMPLINGS)
    gan_decay_to: float = setting(
        1.0, "What --gan_rate falls to by the end of the last stage (cosine); 1 keeps it.", low=0, high=1
    )
    lambda_cycle: float = setting(1.0, "Weight of eq. (6).", low=0)
    lambda_identity: float = setting(0.0, "Weight of CycleGAN's identity loss, 5 there; 0 in the paper.", low=0)
    gan_loss: str = setting("log", "Of eq. (4) and (5).", choices=cycle_at.GAN_LOSSES)
    image_pool: int = setting(0, "Past fakes that each D is shown, 50 in CycleGAN.", low=0)


ARGUMENTS = (
    "filters", "blocks", "discriminator_filters", "size", "lambda_cycle", "beta", "at_reduction", "gan_loss",
    "upsampling", "lambda_identity",
)  # fmt: skip
"""Settings that `cycle_at.CycleAT` takes as they are."""
NETS = ("g_sw", "g_ws", "d_w", "d_s")


def build(
    settings: Gan,
    stage: int,
    seed: int,
    steps: int,
    f_s: cycle_at.AttentionClassifier | None = None,
    start: cycle_at.CycleAT | None = None,
) -> cycle_at.CycleAT:
    """The compiled model of a stage.

    Args:
      settings: of the run.
      stage: 1, or 2 with f_W.
      seed: of the pools.
      steps: of the training.
      f_s: whom f_W follows in stage II.
      start: of the stage before: its nets' weights are taken, and --gan_rate falls.
    """
    given = {name: getattr(settings, name) for name in ARGUMENTS}
    given |= {"pool": settings.image_pool, "seed": seed, "discriminator_layers": settings.d_layers}
    model = cycle_at.CycleAT(source_net=f_s if stage == 2 else None, stage=stage, **given)
    for net in NETS if start is not None else ():
        getattr(model, net).set_weights(getattr(start, net).get_weights())
    last = settings.gan_decay_to if start is not None else 1.0
    rate = keras.optimizers.schedules.CosineDecay(settings.gan_rate, steps, alpha=last)
    model.compile(**{f"{name}_optimizer": cycle_at.optimizer(rate) for name in model.players()})
    return model


def train(
    settings: Gan,
    source: classifiers.Source,
    auxiliary: Sequence[records.Record],
    stage: int,
    seed: int,
    folder: Path,
    start: cycle_at.CycleAT | None = None,
) -> cycle_at.CycleAT:
    """Stage I or II of the auxiliary domain learning, eq. (9); a later one starts from the nets of the one before."""
    strategy = fitting.setup(settings, seed)
    classes, order = source.f_s.classes, seed + 500 * (start is not None)  # later stages see other views and pairs
    both = pipeline.Unpaired(
        domains.batches(settings, source.train, classes, order, settings.gan_batch_size),
        domains.batches(settings, auxiliary, (), order + 1, settings.gan_batch_size),
        steps=settings.gan_epoch_steps or None,
    )
    with strategy.scope():
        model = build(settings, stage, seed, settings.gan_epochs * len(both), source.f_s, start)
    shown = domains.pictures(settings, pictures.one_of_each(source.held_out, classes))

    def sample(trained: cycle_at.CycleAT, epoch: int) -> None:
        pictures.keep_sample(trained, shown, folder / "samples", epoch)

    follows = {"f_S": source.f_s} if stage == 2 else {}
    follows |= {"stage I": [getattr(start, net) for net in NETS]} if start is not None else {}
    fitting.fit(
        settings, model, both, folder, strategy, epochs=settings.gan_epochs, after_epoch=sample, follows=follows
    )
    if not pictures.sample_file(folder / "samples", settings.gan_epochs).is_file():  # killed after the last checkpoint
        sample(model, settings.gan_epochs)
    return model


class Translation(tf.Module):
    """G_SW with its preprocessing: faces (N, ?, ?, 1|3) uint8 -> the same in the wild, (N, size, size, 3) uint8.

    `metadata()` gives a JSON text.
    """

    def __init__(self, gan: cycle_at.CycleAT, size: int, about: Mapping[str, Any]):
        super().__init__(name="translation")
        text = json.dumps({"model": "CycleAT", **about}, indent=1)

        @tf.function(input_signature=[tf.TensorSpec((None, None, None, None), tf.uint8, "faces")])
        def serving_default(faces: tf.Tensor) -> dict[str, tf.Tensor]:
            view = tf.cast(export.framed(faces, (size, size), 3), tf.float32) / 255.0
            return {"faces": tf.cast(tf.round(255.0 * gan.translate(view)), tf.uint8)}

        self.serving_default = serving_default
        self.metadata = tf.function(lambda: tf.constant(text), input_signature=[])
        self.used = list(serving_default.get_concrete_function().graph.variables)
