"""From records to batches: decode and align once, cache, then augment anew in every epoch.

    options = dict(classes=CLASSES["seven"], template="ia_gen", views=fer_net.views)
    batches = pipeline.batches(records, batch_size=100, **options)
    model.fit(batches.dataset(), epochs=10)

A batch is a dict: image float32 (N, h, w, C) in [0, 1]; label int32 (N,), the index into `classes` (-1 for one outside
them, which only a test may have); index int32 (N,), the record's place in `batches.records`; subject int32 (N,), the
index into `batches.subjects` (-1 where unknown); view int32 (N,), the number of the view where views are numbered.
`pairs` adds more images (target, reference) that get the same view as image.

An epoch follows from (seed, epoch) alone: the same stream in every process, at any number of threads. `resident` says
whether a training makes the same batches on the device, of `plans` (see `fer_tf.resident`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from fer_tf import augment, faces, resident
from fer_tf.records import Record, subjects_of
from fer_tf.store import Store, face, read_image, with_faces
from fer_tf.streams import untuned

__all__ = [
    "PARALLEL",
    "Batches",
    "Unpaired",
    "Views",
    "batches",
    "face",
    "read_image",
    "with_faces",
]

BLOCK = 64
"""Images whose views are shuffled among each other when all views are asked for."""

PARALLEL = min(16, os.cpu_count() or 1)
"""Calls of one stage that run at once. TensorFlow would tune it, at the price that `streams.untuned` names."""


class Views(Protocol):
    """What the pipeline asks of a model file's `views`; `augment.Views` has it, and numbers its views besides."""

    def random(self, images: Any, seed: tf.Tensor, turn: tf.Tensor, views: int) -> tuple[Any, tf.Tensor]:
        """The `turn`-th of `views` random views of each image, by its seed: images (N, h, w, C), numbers (N,)."""

    def test_view(self, images: tf.Tensor) -> tf.Tensor:
        """The view that is tested: (N, H, W, C) -> (N, h, w, C)."""


def batches(records: Sequence[Record], **options: Any) -> Batches:
    """Records -> batches of dicts; see `Batches` for the arguments."""
    return Batches(records, **options)


class Batches:
    """The batches of some records: `epoch(e)` for exactly one epoch, `dataset()` for `model.fit`.

    Args:
      records: what to load.
      classes: labels to number; none, (), for pictures whose labels are not wanted: they are all -1.
      template: frame of the face, a name or a `faces.Template`.
      views: the paper's views.
      batch_size: views a batch.
      seed: of the order and of the views.
      training: False gives the test view of each record, in order.
      views_per_image: None for all views (they must be numbered), shuffled within blocks of 64 images; or how many
        seeded random ones an epoch takes of each image, shuffled over all.
      channels: 1 grey, 3 RGB.
      pairs: columns of indices into `records`, all of one length: {"image": [...], "target": [...]}. An epoch goes
        through the rows; labels and subjects are those of image. A column other than image may have -1 where there is
        none: any picture comes then, and "has_<column>" (N,) bool says so.
      cache: keep the decoded faces in memory, bytes of template size; "auto" does so up to `cache_limit`. Without it
        each epoch decodes afresh and memory stays bounded however many records there are.
      cache_limit: bytes.
      strict: True makes a record that does not decode an error; False leaves it out, names and counts it (`skipped`).
      device: "host" feeds batches from the host; "resident" keeps the faces where the training is; "auto" does so where
        there is a GPU and the faces, kept, fit `resident.SHARE` of its memory. Views are the same bits.
    Raises:
      ValueError: no records, unreadable ones (named), expressions outside `classes` in training, views without numbers
        where all are asked for, more views than there are, or "resident" for faces that are not kept or such views.
    """

    goes_on = True  # see `steps.Steps`

    def __init__(
        self,
        records: Sequence[Record],
        *,
        classes: Sequence[str],
        template: str | faces.Template,
        views: Any,
        batch_size: int,
        seed: int = 0,
        training: bool = True,
        views_per_image: int | None = 1,
        channels: int = 1,
        pairs: Mapping[str, Sequence[int]] | None = None,
        cache: bool | str = "auto",
        cache_limit: int = 2**31,
        strict: bool = True,
        device: str = "auto",
    ):
        if not records:
            raise ValueError("There are no records to make batches of: check --data_dir, --classes and the folds.")
        if training and views_per_image is None and not hasattr(views, "__len__"):
            raise ValueError("All views are asked for, but these views are drawn at random: give views_per_image.")
        if training and hasattr(views, "__len__") and (views_per_image or 0) > len(views):
            raise ValueError(f"{views_per_image} views an image are asked for, and there are {len(views)}: give fewer.")
        self.records, self.classes, self.views, self.batch_size = list(records), tuple(classes), views, batch_size
        self.template = faces.TEMPLATES[template] if isinstance(template, str) else template
        self.seed, self.training, self.views_per_image, self.channels = seed, training, views_per_image, channels
        columns = {"image": np.arange(len(self.records))} if pairs is None else pairs
        self.pairs = {name: np.asarray(column, np.int32) for name, column in columns.items()}
        self._partial = [name for name, column in self.pairs.items() if name != "image" and (column < 0).any()]
        self.store = Store(self.records, self.template, channels, strict)
        if cache is True or (cache == "auto" and self.store.size <= cache_limit):
            self.store.keep()
            self._leave_out_skipped()
        self.subjects = subjects_of(self.records)
        self._labels = self._numbers([r.expression for r in self.records], self.classes)
        shown = {self.records[i].expression for i in set(self.pairs["image"].tolist())}
        if training and self.classes and (strangers := shown - {*self.classes}):
            raise ValueError(
                f"Records to train on show {', '.join(sorted(map(str, strangers)))}, which is none of the classes "
                f"{', '.join(self.classes)}: pick them with records.of_classes first."
            )
        self._subjects = self._numbers([r.subject for r in self.records], self.subjects)
        self.device = device
        if device not in resident.FEEDS:
            raise ValueError(f"device={device!r} is none of {', '.join(resident.FEEDS)}.")
        if device == "resident" and not (self.store.kept and resident.shows(views, training)):
            raise ValueError(
                f"These {len(self.records)} faces cannot live on the device, since they are not kept or their views "
                "have no `chosen`: give --feed=host."
            )
        # traced once, not in each epoch; and graph rewriting passes map's own graphs by: 1.25 times the views
        self._block, self._sampled = tf.function(self._all_views), tf.function(self._sample)
        self._planned, self._finished = tf.function(self._drawn), tf.function(self._finish)

    def __len__(self) -> int:
        """Batches an epoch (an upper bound where streaming leaves unreadable records out)."""
        return -(-self.views_per_epoch // self.batch_size)

    @property
    def strict(self) -> bool:
        """Whether a record that does not decode is an error."""
        return self.store.strict

    @property
    def skipped(self) -> Mapping[int, str]:
        """{index: why} of the records that are left out; where they are not cached, of those read so far."""
        return self.store.skipped

    @property
    def resident(self) -> bool:
        """Whether to train by `plans` and `assemble` rather than by `epoch`."""
        if self.device != "auto":
            return self.device == "resident"
        able = self.store.kept and resident.shows(self.views, self.training)
        return able and resident.fits(self.store.size, resident.memory_bytes())

    @property
    def rows(self) -> int:
        """Rows of `pairs`: the records, where there are no pairs."""
        return len(self.pairs["image"])

    @property
    def views_per_epoch(self) -> int:
        """Views that one epoch shows."""
        if not self.training:
            return self.rows
        return self.rows * (len(self.views) if self.views_per_image is None else self.views_per_image)

    @property
    def even(self) -> bool:
        """Whether `len` is exact and `short` right: no record is left out on the way."""
        return self.store.kept or self.strict

    def short(self, step: int) -> bool:
        """Whether a batch of an epoch has fewer rows than `batch_size`: the last one may."""
        return step == len(self) - 1 and self.views_per_epoch % self.batch_size > 0

    def dataset(self) -> tf.data.Dataset:
        """One pass a time it is iterated, each with new views: for `model.fit` and `model.evaluate`."""
        if not self.training:
            return self.epoch(0)
        epochs = tf.data.Dataset.random(seed=self.seed, rerandomize_each_iteration=True).take(1)
        stream = epochs.flat_map(lambda number: self._stream(number % 2**31))
        if self.store.kept:
            stream = stream.apply(tf.data.experimental.assert_cardinality(len(self)))
        return untuned(stream)

    def epoch(self, epoch: int | tf.Tensor) -> tf.data.Dataset:
        """Exactly this epoch's batches, the same ones at every call."""
        return untuned(self._stream(tf.cast(epoch, tf.int64)))

    def plans(self, epoch: int | tf.Tensor) -> tf.data.Dataset:
        """What `epoch` shows, as a few numbers a view for `assemble`: batch by batch the same, in the same order."""
        return untuned(self._plans(tf.cast(epoch, tf.int64)))

    def assemble(self, plan: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The batch of a plan, bit for bit that of `epoch`; a graph that XLA compiles, of faces on the device."""
        columns = {name: tf.gather(column, plan["row"]) for name, column in self.pairs.items()}
        images = {name: tf.gather(self.store.on_device, tf.maximum(v, 0)) for name, v in columns.items()}
        batch = {f"has_{name}": columns[name] >= 0 for name in self._partial}
        index = columns["image"]
        batch |= {"label": tf.gather(self._labels, index), "index": index, "subject": tf.gather(self._subjects, index)}
        if self.training:
            batch["view"] = plan["view"]
            images = self.views.shown(images, {k: v for k, v in plan.items() if k != "row"}, compiled=True)
        else:
            images = {name: self.views.test_view(image) for name, image in images.items()}
        return {**{name: resident.in_unit_range(image) for name, image in images.items()}, **batch}

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """The batches of `dataset()` as NumPy arrays."""
        return self.dataset().as_numpy_iterator()

    def _stream(self, epoch: tf.Tensor) -> tf.data.Dataset:
        if not self.training:
            rows = tf.data.Dataset.range(self.rows, output_type=tf.int32).batch(self.batch_size)
            stream = rows.map(lambda r: self._finish(self._test(r)), PARALLEL, deterministic=True)
            return self._not_empty(stream).prefetch(2)
        if self.views_per_image is None:
            stream = self._blocks(epoch).map(lambda i, r: self._block(r, epoch, i), 2, deterministic=True)
            stream = stream.rebatch(self.batch_size)
        else:
            stream = self._items(epoch).map(lambda items: self._sampled(items, epoch), PARALLEL, deterministic=True)
            stream = self._not_empty(stream)
        return stream.map(lambda batch: self._finished(batch), PARALLEL, deterministic=True).prefetch(4)

    def _plans(self, epoch: tf.Tensor) -> tf.data.Dataset:
        """`_stream`, without the faces."""
        if not self.training:
            stream = tf.data.Dataset.range(self.rows, output_type=tf.int32).batch(self.batch_size)
            return stream.map(lambda rows: {"row": rows})
        if self.views_per_image is None:
            stream = self._blocks(epoch).map(lambda i, rows: self._shuffled(rows, epoch, i))
            return stream.rebatch(self.batch_size).prefetch(4)
        return (
            self._items(epoch).map(lambda items: self._planned(items, epoch), PARALLEL, deterministic=True).prefetch(16)
        )

    def _blocks(self, epoch: tf.Tensor) -> tf.data.Dataset:
        """(number, rows) of the blocks of an epoch; alike in size: a last one of one image would not be shuffled."""
        order = tf.random.experimental.stateless_shuffle(tf.range(self.rows), augment.view_seed(self.seed, epoch, -1))
        count = -(-self.rows // BLOCK)
        blocks = tf.data.Dataset.range(count)
        return blocks.map(lambda i: order[i * self.rows // count : (i + 1) * self.rows // count]).enumerate()

    def _items(self, epoch: tf.Tensor) -> tf.data.Dataset:
        """Items of an epoch's batches: row * views_per_image + turn."""
        total = self.rows * (self.views_per_image or 1)
        order = tf.random.experimental.stateless_shuffle(tf.range(total), augment.view_seed(self.seed, epoch, -1))
        return tf.data.Dataset.from_tensor_slices(order).batch(self.batch_size)

    def _places(self, count: tf.Tensor, epoch: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        """The order of all views of a block's `count` images: image * views + view."""
        seed = augment.view_seed(self.seed, epoch, -2 - number)
        return tf.random.experimental.stateless_shuffle(tf.range(count * len(self.views)), seed)

    def _shuffled(self, rows: tf.Tensor, epoch: tf.Tensor, number: tf.Tensor) -> dict[str, tf.Tensor]:
        """The plan of a block."""
        order = self._places(tf.size(rows), epoch, number)
        return {"row": tf.gather(rows, order // len(self.views)), "view": order % len(self.views)}

    def _drawn(self, items: tf.Tensor, epoch: tf.Tensor) -> dict[str, tf.Tensor]:
        """The plan of a batch of items."""
        views = self.views_per_image or 1
        rows, turn = items // views, items % views
        seeds = augment.view_seed(self.seed, epoch, rows)
        return {"row": rows, **self.views.chosen(seeds, turn, views, self.template.size)}

    def _not_empty(self, stream: tf.data.Dataset) -> tf.data.Dataset:
        """Without batches of which nothing could be read: their loss would be no number."""
        if self.strict or self.store.kept:
            return stream
        return stream.filter(lambda batch: tf.size(batch["label"]) > 0)

    def _sample(self, items: tf.Tensor, epoch: tf.Tensor) -> dict[str, tf.Tensor]:
        """One random view of each item; item = row * views_per_image + turn."""
        rows, turn = items // self.views_per_image, items % self.views_per_image
        batch, images, kept = self._load(rows)
        rows, turn = tf.boolean_mask(rows, kept), tf.boolean_mask(turn, kept)
        seeds = augment.view_seed(self.seed, epoch, rows)
        images, view = self.views.random(images, seeds, turn, self.views_per_image)
        return {**images, **batch, "view": view}

    def _all_views(self, rows: tf.Tensor, epoch: tf.Tensor, number: tf.Tensor) -> dict[str, tf.Tensor]:
        """All views of the rows, shuffled: bytes, about 29 MB for 64 grey faces."""
        batch, images, _ = self._load(rows)
        count, views = tf.shape(batch["label"])[0], len(self.views)
        order = self._places(count, epoch, number)
        shuffled = {}
        for name, image in images.items():
            flat = tf.reshape(self.views(image), (-1, *self.views.size, self.channels))
            shuffled[name] = tf.gather(flat, order)
        return {**shuffled, **{k: tf.gather(v, order // views) for k, v in batch.items()}, "view": order % views}

    def _test(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        batch, images, _ = self._load(rows)
        return {**{name: self.views.test_view(image) for name, image in images.items()}, **batch}

    def _load(self, rows: tf.Tensor) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor], tf.Tensor]:
        """(labels and numbers, faces by name as uint8, which of the rows have them all)."""
        columns = {name: tf.gather(column, rows) for name, column in self.pairs.items()}
        there = {f"has_{name}": columns[name] >= 0 for name in self._partial}
        columns = {name: tf.maximum(column, 0) for name, column in columns.items()}
        kept, images = tf.ones_like(rows, tf.bool), {}
        for name, column in columns.items():
            images[name], good = self.store.load(column)
            kept &= good
        if not self.store.kept:
            images = {name: tf.boolean_mask(image, kept) for name, image in images.items()}
        index = tf.boolean_mask(columns["image"], kept)
        batch = {"label": tf.gather(self._labels, index), "index": index, "subject": tf.gather(self._subjects, index)}
        batch |= {name: tf.boolean_mask(flags, kept) for name, flags in there.items()}
        return batch, images, kept

    def _finish(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Bytes -> float32 in [0, 1], the last thing that happens."""
        return {k: tf.cast(v, tf.float32) / 255.0 if v.dtype == tf.uint8 else v for k, v in batch.items()}

    def _leave_out_skipped(self) -> None:
        """Drops the rows whose records could not be read; their faces stay in the store, unused."""
        if not self.skipped:
            return
        good = np.ones(self.rows, bool)
        for column in self.pairs.values():
            good &= ~np.isin(column, list(self.skipped))
        self.pairs = {name: column[good] for name, column in self.pairs.items()}
        if not self.rows:
            reason = next(iter(self.skipped.values()))
            raise ValueError(f"None of the {len(self.records)} records can be used: {reason}")

    @staticmethod
    def _numbers(values: Sequence[str | None], names: Sequence[str]) -> np.ndarray:
        number: dict[str | None, int] = {name: i for i, name in enumerate(names)}
        return np.array([number.get(value, -1) for value in values], np.int32)


class Unpaired:
    """Two streams side by side: each batch of `first` also gets as many images of `second`; nothing pairs them.

    An epoch is one pass through `first`, or `steps` batches; either goes round as often as that takes, in a new order
    each time.

    Args:
      first, second: `Batches` to train on.
      name: of the images of `second`.
      steps: batches of an epoch, fewer or more than a pass through `first`, which it is when left out.
    """

    goes_on = True

    def __init__(self, first: Batches, second: Batches, name: str = "auxiliary", steps: int | None = None):
        self.first, self.second, self.name, self.records = first, second, name, first.records
        self.steps = steps or len(first)

    def __len__(self) -> int:
        """Batches an epoch."""
        return self.steps

    @property
    def streams(self) -> dict[str, Batches]:
        """Both by name."""
        return {"image": self.first, self.name: self.second}

    @property
    def batch_size(self) -> int:
        """Images of each stream in a batch."""
        return self.first.batch_size

    @property
    def even(self) -> bool:
        """Whether `len` is exact and `short` right, in either stream."""
        return self.first.even and self.second.even

    def short(self, step: int) -> bool:
        """Whether a batch of an epoch has fewer rows than `batch_size`: the last of a pass through `first` may."""
        return self.first.short(step % len(self.first))

    def epoch(self, epoch: int | tf.Tensor) -> tf.data.Dataset:
        """Exactly this epoch's batches, the same ones at every call."""
        first = _rounds(self.first, epoch, -(-self.steps // len(self.first)))
        others = -(-self.steps * self.first.batch_size // self.second.views_per_epoch)
        second = _rounds(self.second, epoch, others).repeat()  # where unreadable ones are left out, they end early
        return untuned(self._beside(first.take(self.steps), second))

    @property
    def resident(self) -> bool:
        """Whether to train by `plans` and `assemble` rather than by `epoch`: both streams are, and fit together."""
        if not (self.first.resident and self.second.resident):
            return False
        size = self.first.store.size + self.second.store.size
        forced = self.first.device == "resident" == self.second.device
        return forced or resident.fits(size, resident.memory_bytes())

    def plans(self, epoch: int | tf.Tensor) -> tf.data.Dataset:
        """What `epoch` shows, as `Batches.plans`."""
        first = _rounds(self.first, epoch, -(-self.steps // len(self.first)), plans=True)
        others = -(-self.steps * self.first.batch_size // self.second.views_per_epoch)
        second = _rounds(self.second, epoch, others, plans=True).repeat().rebatch(self.first.batch_size)
        both = tf.data.Dataset.zip((first.take(self.steps), second))

        def cut(plan: dict[str, tf.Tensor], other: dict[str, tf.Tensor]) -> dict[str, dict[str, tf.Tensor]]:
            count = tf.size(plan["row"])
            return {"first": plan, "second": {name: value[:count] for name, value in other.items()}}

        return untuned(both.map(cut))

    def assemble(self, plan: Mapping[str, Mapping[str, tf.Tensor]]) -> dict[str, tf.Tensor]:
        """The batch of a plan, as `Batches.assemble`."""
        return {**self.first.assemble(plan["first"]), self.name: self.second.assemble(plan["second"])["image"]}

    def dataset(self) -> tf.data.Dataset:
        """One epoch a time it is iterated, each with new views: for `model.fit`."""
        first = self.first.dataset().repeat(-(-self.steps // len(self.first)))
        return untuned(self._beside(first.take(self.steps), self.second.dataset().repeat()))

    def _beside(self, first: tf.data.Dataset, second: tf.data.Dataset) -> tf.data.Dataset:
        images = second.map(lambda batch: batch["image"]).rebatch(self.first.batch_size)
        pairs = tf.data.Dataset.zip((first, images))
        return pairs.map(lambda batch, other: {**batch, self.name: other[: tf.shape(batch["label"])[0]]})


def _rounds(data: Batches, epoch: int | tf.Tensor, count: int, plans: bool = False) -> tf.data.Dataset:
    """Epoch `epoch` of a stream (or its plans) whose epochs are `count` passes through `data`, one after the other."""
    passes = tf.data.Dataset.range(epoch * count, (epoch + 1) * count)
    return passes.flat_map(data._plans if plans else data._stream)
