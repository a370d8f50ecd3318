"""The model that is measured, and batches of random faces that feed it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from fer_tf import faces, pipeline
from fer_tf.compat import PlayersModel, keras
from fer_tf.records import Record

from .clock import WARM_UP


def build(module: ModuleType, tiny: bool) -> tuple[PlayersModel, dict[str, tf.Tensor], str]:
    """A compiled model, its tiny batch, and "paper" or "tiny": the latter also where a model needs arguments.

    A module's `full()` and `optimizer()` make the paper's model and what trains it, where its class alone does not.
    """
    model, batch = module.tiny()
    own = next(c for c in type(model).__mro__ if c.__module__ == module.__name__)
    needs = [p for p in inspect.signature(own).parameters.values() if p.default is p.empty and p.kind != p.VAR_KEYWORD]
    make = getattr(module, "full", None if needs else own)
    size = "tiny" if tiny or make is None else "paper"
    if size == "paper":
        model = make()
    optimizer = getattr(module, "optimizer", lambda: keras.optimizers.SGD(1e-3, momentum=0.9))
    model.compile(**{f"{name}_optimizer": optimizer() for name, _ in model.player_variables()})
    return model, batch, size


def recogniser(module: ModuleType, model: PlayersModel, size: str) -> PlayersModel:
    """What names a face: the model itself, or the one that is put together from several of its kind."""
    if hasattr(model, "classify"):
        return model
    return module.full_recogniser() if size == "paper" else module.tiny_recogniser()[0]


class Feed:
    """Batches of random faces from the real pipeline, completed to what a model's step takes.

    Args:
      module: of the model: its TEMPLATE and views.
      example: the model's tiny batch: which pictures it takes, and the values of what no pipeline gives.
      classes: labels; none where the model takes none.
      settings: images, batch_size, steps, seed of the benchmark's.
      resize: shrink the views to the size of the tiny batch's.
    Raises:
      ValueError: too few images for the steps.
    """

    def __init__(self, module: ModuleType, example: dict[str, tf.Tensor], classes: Any, settings: Any, resize: bool):
        numbers = np.random.default_rng(settings.seed)
        height, width = faces.TEMPLATES[module.TEMPLATE].size
        pictures = [name for name, value in example.items() if value.shape.rank == 4]
        pixels = numbers.integers(0, 256, (settings.images, height, width, 3), dtype=np.uint8)
        records = [
            Record(face, classes[i % len(classes)] if classes else None, subject=f"S{i % 10}", info={"framed": True})
            for i, face in enumerate(pixels)
        ]
        self.views, self.faces = module.views, pixels[..., 0]
        needed = (WARM_UP + settings.steps) * settings.batch_size
        numbered = hasattr(self.views, "__len__")
        self.data = pipeline.batches(
            records,
            classes=classes,
            template=module.TEMPLATE,
            views=self.views,
            batch_size=settings.batch_size,
            seed=settings.seed,
            views_per_image=None if numbered else -(-needed // settings.images),
            channels=example["image"].shape[-1],
            pairs={name: numbers.permutation(settings.images) for name in pictures},
        )
        if self.data.views_per_epoch < needed:
            least = -(-needed // len(self.views))
            raise ValueError(
                f"--images={settings.images} is too few for {settings.steps} steps: give --images={least}."
            )
        self.given = [*pictures, *(name for name in ("label", "index") if name in example)]
        places = np.arange(settings.batch_size) % len(example["image"])
        self.constant = {name: tf.gather(v, places) for name, v in example.items() if name not in self.given}
        self.sizes = {name: example[name].shape[1:3] for name in pictures} if resize else {}

    def stream(self, epoch: int) -> Iterator[dict[str, tf.Tensor]]:
        """Batches of an epoch, as the model takes them."""
        stream = self.data.epoch(epoch)
        if self.sizes:
            stream = stream.map(
                lambda b: {**b, **{name: tf.image.resize(b[name], size) for name, size in self.sizes.items()}}, 2
            )
        for batch in stream:
            yield {**self.constant, **{name: batch[name] for name in self.given}}
