"""The model that is measured, and batches of random faces that feed it, from the host and from the device."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from fer_tf import devices, faces, pipeline, steps
from fer_tf.compat import PlayersModel, keras
from fer_tf.records import Record

from .clock import WARM_UP

BATCHES, ON_GPU = {"cycle_at": 4}, {"fer_net": 128, "ia_gen": 100}
"""Views of a training batch, anywhere and on a GPU; 64 for all others."""


def batch_size(name: str, settings: Any) -> int:
    """--batch_size, or what the model is measured with."""
    known = {**BATCHES, **(ON_GPU if devices.gpus() else {})}
    return settings.batch_size or known.get(name, 64)


def build(module: ModuleType, tiny: bool) -> tuple[PlayersModel, dict[str, tf.Tensor], str]:
    """A compiled model, its tiny batch, and "paper" or "tiny": the latter also where a model needs arguments.

    A module's `full()`, and its `optimizer()` or `optimizers(model)`, make the paper's model and what trains it, where
    its class alone does not.
    """
    model, batch = module.tiny()
    own = next(c for c in type(model).__mro__ if c.__module__ == module.__name__)
    needs = [p for p in inspect.signature(own).parameters.values() if p.default is p.empty and p.kind != p.VAR_KEYWORD]
    make = getattr(module, "full", None if needs else own)
    size = "tiny" if tiny or make is None else "paper"
    if size == "paper":
        model = make()
    if hasattr(module, "optimizers"):
        model.compile(**module.optimizers(model))
        return model, batch, size
    optimizer = getattr(module, "optimizer", lambda: keras.optimizers.SGD(1e-3, momentum=0.9))
    model.compile(**{f"{name}_optimizer": optimizer() for name, _ in model.player_variables()})
    return model, batch, size


def recogniser(module: ModuleType, model: PlayersModel, size: str) -> PlayersModel:
    """What names a face: the model itself, or the one that is put together from several of its kind."""
    if hasattr(model, "classify"):
        return model
    return module.full_recogniser() if size == "paper" else module.tiny_recogniser()[0]


class Feed:
    """Batches of random faces from the real pipeline, completed to what a model's step takes; data for `steps.Steps`.

    Args:
      name, module: of the model: its TEMPLATE and views.
      example: the model's tiny batch: which pictures it takes, and the values of what no pipeline gives.
      classes: labels; none where the model takes none.
      settings: images, batch_size, steps, seed of the benchmark's.
      resize: shrink the views to the size of the tiny batch's.
      device: "host", or "resident" for batches that are made on the device.
    Raises:
      ValueError: too few images for the steps, or faces that the device does not keep.
    """

    def __init__(
        self,
        name: str,
        module: ModuleType,
        example: dict[str, tf.Tensor],
        classes: Any,
        settings: Any,
        resize: bool,
        device: str = "host",
    ):
        self.batch_size = batch_size(name, settings)
        numbers = np.random.default_rng(settings.seed)
        height, width = faces.TEMPLATES[module.TEMPLATE].size
        pictures = [name for name, value in example.items() if value.shape.rank == 4]
        pixels = numbers.integers(0, 256, (settings.images, height, width, 3), dtype=np.uint8)
        records = [
            Record(face, classes[i % len(classes)] if classes else None, subject=f"S{i % 10}", info={"framed": True})
            for i, face in enumerate(pixels)
        ]
        self.views, self.faces = module.views, pixels[..., 0]
        needed = (WARM_UP + settings.steps) * self.batch_size
        numbered = hasattr(self.views, "__len__")
        self.data = pipeline.batches(
            records,
            classes=classes,
            template=module.TEMPLATE,
            views=self.views,
            batch_size=self.batch_size,
            seed=settings.seed,
            views_per_image=None if numbered else -(-needed // settings.images),
            channels=example["image"].shape[-1],
            pairs={name: numbers.permutation(settings.images) for name in pictures},
            **kept_where(device),
        )
        if self.data.views_per_epoch < needed:
            least = -(-needed // len(self.views))
            raise ValueError(
                f"--images={settings.images} is too few for {settings.steps} steps: give --images={least}."
            )
        self.resident = device == "resident"
        self.given = [*pictures, *(name for name in ("label", "index") if name in example)]
        places = np.arange(self.batch_size) % len(example["image"])
        self.constant = {name: tf.gather(v, places) for name, v in example.items() if name not in self.given}
        self.sizes = {name: example[name].shape[1:3] for name in pictures} if resize else {}

    def __len__(self) -> int:
        """Batches an epoch, all of them whole."""
        return self.data.views_per_epoch // self.batch_size

    even = goes_on = True

    def short(self, step: int) -> bool:
        """No batch is."""
        return False

    def epoch(self, epoch: int | tf.Tensor) -> tf.data.Dataset:
        """Batches of an epoch, as the model takes them."""
        return self.data.epoch(epoch).take(len(self)).map(self._completed, 2)

    def plans(self, epoch: int | tf.Tensor) -> tf.data.Dataset:
        """Where the faces are on the device: what `assemble` makes each batch from."""
        return self.data.plans(epoch).take(len(self))

    def assemble(self, plan: Any) -> dict[str, tf.Tensor]:
        """A batch, as the model takes it, on the device."""
        return self._completed(self.data.assemble(plan))

    def _completed(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        resized = {name: tf.image.resize(batch[name], size) for name, size in self.sizes.items()}
        return {**self.constant, **{name: resized.get(name, batch[name]) for name in self.given}}


class Cached:
    """One batch, on the device, again and again: data for `OnOneBatch`.

    Args:
      feed: whose first batch it is.
    """

    even, resident = True, False

    def __init__(self, feed: Feed):
        first = feed.epoch(0)
        self.spec, self.batch, self.batch_size = first.element_spec, next(iter(first)), feed.batch_size

    def __len__(self) -> int:
        """As good as endless."""
        return 10**9

    def short(self, step: int) -> bool:
        """It is not."""
        return False

    def epoch(self, epoch: int) -> tf.data.Dataset:
        """Numbers, which nobody needs."""
        return tf.data.Dataset.range(len(self))


class OnOneBatch(steps.Steps):
    """Steps on `Cached`, whose batch has the signature of the fed ones: XLA compiles one step for both."""

    def next_of(self, batches: Any) -> Any:
        """The batch."""
        alike = tf.compat.v1.placeholder_with_default
        if tf.executing_eagerly():
            return self.data.batch
        return tf.nest.map_structure(lambda value, spec: alike(value, spec.shape), self.data.batch, self.data.spec)


def can_be_resident() -> bool:
    """Whether the pipeline makes batches on the device."""
    return hasattr(pipeline.Batches, "assemble")


def kept_where(device: str) -> dict[str, str]:
    """The pipeline's argument for where the faces are, if it has one."""
    return {"device": device} if can_be_resident() else {}
