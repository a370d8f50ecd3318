"""What a person's other pictures are worth, unlabelled, as a film or an album has them: a mean face, a centred code."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fer_tf import beside, evaluation, pipeline, records
from fer_tf.models import gcnet
from fer_tf.predictions import Answers

MEAN_FACE = "mean_face"
"""After the colon of a row of --rows: the reference is the mean face of the person's pictures."""

CENTRED = "centred"
"""After that of the CNN: it is tested once more, its code centred by person."""


def mean_faces(
    listed: Sequence[records.Record], classes: Sequence[str], seed: int, album: beside.Album = beside.WHOLE
) -> tuple[list[records.Record], dict[str, list[int]]]:
    """Each record of the classes with the mean face of its album.

    The mean is over pictures that are named themselves, whatever they show. A neutral face is among them only where
    neutral is a class.

    Args:
      listed: of the people on one side of a fold.
      classes: that are named.
      seed, album: of `beside.albums`.
    Returns:
      (`listed` and behind it the mean faces, {"image", "reference"}: indices into these). A picture that cannot be cut
      is its own reference, and is left out with it.
    """
    image = [i for i, r in enumerate(listed) if r.expression in classes]
    faces: dict[int, np.ndarray] = {}
    for i in image:
        with contextlib.suppress(ValueError):
            faces[i] = pipeline.face(listed[i], gcnet.TEMPLATE).astype(np.float64)
    kept, every = [*faces], list(listed)
    own = albums_of([listed[i] for i in kept], seed, album)
    places: dict[tuple[int, ...], int] = {}
    reference = {i: i for i in image}
    for i, rows in zip(kept, own, strict=True):
        if tuple(rows) not in places:
            places[tuple(rows)] = len(every)
            mean = np.round(np.mean([faces[kept[row]] for row in rows], 0)).astype(np.uint8)
            every.append(records.Record(mean, subject=listed[i].subject, info={"framed": True}))
        reference[i] = places[tuple(rows)]
    return every, {"image": image, "reference": [reference[i] for i in image]}


def albums_of(shown: Sequence[records.Record], seed: int, album: beside.Album) -> list[list[int]]:
    """`beside.albums` of some records."""
    return beside.albums([r.subject for r in shown], album, seed, [r.expression for r in shown])


class Responses(NamedTuple):
    """What a trained CNN's first fully connected layer says before its ReLU, where it is linear in e.

    Attributes:
      usual: (384,) float64, the mean over the training people's pictures.
      found: (N, 384) float32, of the test views of the held-out people's.
      labels, index: (N,) int; the places in `records`.
      records: the held-out people's.
    """

    usual: np.ndarray
    found: np.ndarray
    labels: np.ndarray
    index: np.ndarray
    records: Sequence[records.Record]

    @classmethod
    def of(cls, model: gcnet.GCNet, learn: pipeline.Batches, test: pipeline.Batches) -> Responses:
        """Those of a network, to the test views of both."""
        seen = tf.function(model.responses, reduce_retracing=True)

        def gathered(batches: pipeline.Batches) -> list[np.ndarray]:
            parts = [(seen(batch["image"]), batch["label"], batch["index"]) for batch in batches.epoch(0)]
            return [np.concatenate([value.numpy() for value in part]) for part in zip(*parts, strict=True)]

        found, labels, index = gathered(test)
        return cls(gathered(learn)[0].astype(np.float64).mean(0), found, labels.astype(int), index, test.records)


def centred(model: gcnet.GCNet, seen: Responses, seed: int, album: beside.Album = beside.WHOLE) -> Answers:
    """What a trained CNN names the test pictures, each code e less its album's mean, plus the training pictures'.

    The responses are moved in its place, which is the same. Nothing is trained.

    Args:
      model: trained.
      seen: its responses.
      seed, album: of `beside.albums`.
    """
    shown = [seen.records[i] for i in seen.index]
    moved = beside.centred(seen.found, albums_of(shown, seed, album)) + seen.usual
    return answered(model, moved, seen.labels, shown)


def answered(model: gcnet.GCNet, moved: np.ndarray, labels: np.ndarray, shown: Sequence[records.Record]) -> Answers:
    """What a CNN says to responses that were moved.

    Args:
      model: trained.
      moved: (N, 384), of `gcnet.GCNet.responses`.
      labels: (N,) int.
      shown: the N pictures.
    """
    probabilities = tf.nn.softmax(model.head(tf.nn.relu(moved.astype(np.float32)))).numpy()
    return Answers(labels, evaluation.named(probabilities, shown), shown, probabilities)
