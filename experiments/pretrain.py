"""Trains FER-Net on FER-2013, for weights/fer_net_fer2013.h5: what IA-gen's FER-Net is fine-tuned from (section IV-A).

    python -m experiments.pretrain --data_dir=<folder of the three .npz files> --out=weights/fer_net_fer2013.h5

The text fixes nothing of this training. Ours: SGD with Nesterov momentum 0.9, batch 128, warm-up and cosine decay,
label smoothing 0.1, weight decay; random rotation, size, crop and flip of the 70x70 face, one view an epoch, and half
of the views with a rectangle erased (--erase); most epochs on 48x48 views, FER-2013's own resolution, then on 64x64.
--init goes on from weights of ours. The epoch is chosen on the public test; the private
test is read once, and beside it without the pictures that also occur in training (`fer2013.duplicates_of`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from fer_tf import augment, pipeline, weights
from fer_tf.compat import keras
from fer_tf.models import fer_net

from .run import command_line, fitting, on_fer2013, provenance, settings, work
from .run.settings import setting

PRESETS = {
    "paper": {"epochs": 64, "small_epochs": 54},
    "quick": {"epochs": 3, "small_epochs": 2},
    "smoke": {"epochs": 2, "small_epochs": 1, "batch_size": 8, "width": 4},
}


@settings.command(PRESETS)
class Settings(on_fer2013.PreTraining):
    """FER-Net's, and those of a training on FER-2013."""

    batch_size: int = 128
    small_epochs: int = setting(54, "Epochs on 48x48 views, before those on 64x64.", low=0)
    width: int = setting(64, "Channels of FER-Net's first stage.", low=1)
    rate: float = setting(0.1, "Highest learning rate.", low=0)
    erase: float = setting(0.5, "Share of the views in which a random rectangle is covered.", low=0, high=1)
    decay: float = setting(5e-3, "Weight decay, times the learning rate at each step.", low=0)


@dataclass(frozen=True)
class Growing:
    """Batches whose views have a rectangle erased (a share of them), and are shrunk to 48x48 in the first epochs."""

    batches: pipeline.Batches
    small_epochs: int
    erase: float = 0.0

    def __len__(self) -> int:
        return len(self.batches)

    @property
    def streams(self) -> dict[str, pipeline.Batches]:
        """The one that is shown so."""
        return {"": self.batches}

    @property
    def records(self) -> list[Any]:
        """The records, to name a batch's."""
        return self.batches.records

    def epoch(self, number: int) -> tf.data.Dataset:
        """The batches of an epoch."""

        def changed(index: tf.Tensor, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            image = erased(batch["image"], self.erase, augment.view_seed(self.batches.seed, number, index))
            if number < self.small_epochs:
                image = tf.image.resize(image, (48, 48), antialias=True)
            return {**batch, "image": image}

        return self.batches.epoch(number).enumerate().map(changed, pipeline.PARALLEL)


def erased(images: tf.Tensor, share: float, seed: tf.Tensor) -> tf.Tensor:
    """Covers a rectangle of a `share` of the pictures with one grey: random erasing, against learning by heart.

    Args:
      images: (N, H, W, C) float32 in [0, 1].
      share: of the pictures.
      seed: (2,) int64.
    Returns:
      (N, H, W, C); a rectangle is 15 to 45 % as high and as wide as the picture, its centre anywhere in it.
    """
    count, height, width = (tf.shape(images)[i] for i in range(3))
    draws = tf.unstack(tf.random.stateless_uniform((count, 6), seed), axis=-1)
    covered = (draws[5] < share)[:, None, None]
    for axis, length, centre, size in ((1, height, draws[0], draws[2]), (2, width, draws[1], draws[3])):
        place = (tf.range(length, dtype=tf.float32) + 0.5) / tf.cast(length, tf.float32)
        near = tf.abs(place[None] - centre[:, None]) < (0.15 + 0.3 * size[:, None]) / 2
        covered &= tf.expand_dims(near, 3 - axis)
    return tf.where(covered[..., None], draws[4][:, None, None, None], images)


def optimizer(settings: Settings, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """SGD with Nesterov momentum, a warm-up of two epochs, then a cosine that falls to zero; no decay of norms."""
    rate = on_fer2013.rising_and_falling(settings.rate, settings.epochs * steps_per_epoch, 2 * steps_per_epoch)
    return on_fer2013.nesterov(rate, settings.decay)


@work.alone
def run(settings: Settings) -> Path:
    """Trains, picks the epoch, measures, writes the weights; gives their file."""
    folder, listed = work.folder(settings, "pretrain"), on_fer2013.parts(settings)
    strategy = fitting.setup(settings, settings.seed)
    data = pipeline.batches(
        listed["train"],
        classes=on_fer2013.SHOWN,
        template=fer_net.TEMPLATE,
        views=fer_net.random_views,
        batch_size=settings.batch_size,
        seed=settings.seed,
    )
    with strategy.scope():
        model = fer_net.FERNet(classes=on_fer2013.SHOWN, width=settings.width, label_smoothing=0.1, seed=settings.seed)
        if start := provenance.weights_file(settings.init):
            weights.load(model, start)
        model.compile(classifier_optimizer=optimizer(settings, len(data)))
    out = Path(settings.out or folder / "fer_net_fer2013.h5")
    growing = Growing(data, settings.small_epochs, settings.erase)
    on_fer2013.train(settings, model, growing, listed, strategy, folder, "pretrain", out)
    return out


if __name__ == "__main__":
    command_line.main(Settings, run)
