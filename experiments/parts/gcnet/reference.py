"""A generator that learns before the rest of GCNet does: eq. (5) alone, on the fold's training people."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from fer_tf import pipeline, weights
from fer_tf.compat import Adam, keras
from fer_tf.models import gcnet

from ...run import fitting, provenance


def place_of(folder: Path) -> Path:
    """Where the generator of a network is trained: beside it."""
    return folder.with_name(f"{folder.name}_generator")


def build(settings: Any, generator: str, seed: int, steps: int, encoder1: str = "none") -> gcnet.Autoencoder:
    """The compiled generator: Adam, --generator_rate that falls to zero (cosine); its encoder from --encoder1."""
    size = {"width": settings.width, "padding": settings.padding, "seed": seed}
    model = gcnet.Autoencoder(generator=generator, target="reference", **size)
    if (file := provenance.weights_file(encoder1)) and hasattr(model.generator_net, "encoder"):
        provenance.refuse_tested_people(file, "encoder1", settings.tested_name)
        weights.load(model, file, only="generator/encoder1")
    rate = keras.optimizers.schedules.CosineDecay(settings.generator_rate, max(1, steps))
    model.compile(**{f"{name}_optimizer": Adam(rate) for name, _ in model.player_variables()})
    return model


def train(
    settings: Any, generator: str, learn: pipeline.Batches, seed: int, folder: Path, encoder1: str = "none"
) -> gcnet.Autoencoder:
    """Stage one of a network.

    Args:
      settings: generator_epochs, generator_rate, width, padding, and those of a training.
      generator: of `gcnet.GENERATORS`.
      learn: training people's faces, each with a neutral one of the same person.
      seed: of the weights.
      folder: of this training.
      encoder1: as --encoder1.
    """
    strategy = fitting.setup(settings, seed)
    steps = min(settings.generator_epochs * len(learn), settings.max_steps or sys.maxsize)
    with strategy.scope():
        model = build(settings, generator, seed, steps, encoder1)
    fitting.fit(settings, model, learn, folder, strategy, epochs=settings.generator_epochs)
    return model
