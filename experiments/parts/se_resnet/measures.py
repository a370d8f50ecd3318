"""What a two-headed net is worth: accuracy by votes and by labels, calibration, faces under other conditions."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from fer_tf import augment, metrics, pipeline, resident
from fer_tf.datasets import fer2013
from fer_tf.faces import TEMPLATES
from fer_tf.models import se_resnet
from fer_tf.records import Record

AT_ONCE = 256
"""Faces a call of a `Reader`."""

BINS = 15
"""Of the confidence, for `calibration_error`."""

BLENDS = (0.0, 0.25, 0.5)
"""Shares of the votes in the names of FER-2013's labels that are tried on the public test."""

BALANCES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Values of the net's `balance` that are tried on the public test."""

Logits = tuple[np.ndarray, np.ndarray]
"""Of the votes (N, K) and of the labels (N, L), float32."""


class Reader:
    """Faces -> both logits, in one compiled graph that is kept; by XLA where it compiles the model's training."""

    def __init__(self, model: se_resnet.SEResNet):
        self.model = model

        def read(faces: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return model.both_logits(model.preprocess(resident.in_unit_range(faces)))

        self._read = tf.function(read, jit_compile=model.xla or None)

    def __call__(self, faces: np.ndarray) -> Logits:
        """(N, H, W, 1) uint8, framed -> logits."""
        parts = []
        for start in range(0, len(faces), AT_ONCE):
            part = faces[start : start + AT_ONCE]
            filled = part[np.arange(AT_ONCE) % len(part)]  # one size alone: XLA would compile another one anew
            parts.append([logits.numpy()[: len(part)] for logits in self._read(tf.constant(filled))])
        votes, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
        return votes, labels


class Named:
    """The pictures of one part of FER-2013, framed, and what people said of them.

    Args:
      records: with pictures in memory, and votes.
      pictures: (N, 48, 48) uint8, the records' own when left out.
      classes, label_classes: of the net.
    Attributes:
      faces: (N, 70, 70, 1) uint8.
      votes, strict: (N,) int, the majority's class by either rule of `fer2013.majority`, -1 for none.
      labels: (N,) int, FER-2013's.
    """

    def __init__(self, records: Sequence[Record], classes: Sequence[str], label_classes: Sequence[str]):
        def places(names: list[str | None], known: Sequence[str]) -> np.ndarray:
            return np.array([known.index(name) if name in known else -1 for name in names])

        votes = [record.info.get("votes", ()) for record in records]
        self.records, self.faces = records, framed(records)
        self.votes = places([fer2013.majority(row) for row in votes], classes)
        self.strict = places([fer2013.majority(row, strict=True) for row in votes], classes)
        self.labels = places([record.expression for record in records], label_classes)


def framed(records: Sequence[Record]) -> np.ndarray:
    """Faces in the frame of the net: (N, 70, 70, 1) uint8."""
    return np.stack([pipeline.face(record, TEMPLATES[se_resnet.TEMPLATE], 1) for record in records])


def accuracy(scores: np.ndarray, labels: np.ndarray, of: np.ndarray | None = None) -> float:
    """Share of the rows whose largest score is the label; rows without a label (-1), or outside `of`, are left out."""
    counted = labels >= 0 if of is None else (labels >= 0) & of
    return float(np.mean(scores.argmax(-1)[counted] == labels[counted])) if counted.any() else 0.0


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """(N, K) -> (N, K) float64."""
    scores = np.exp((logits - logits.max(-1, keepdims=True)) / np.float64(temperature))
    return scores / scores.sum(-1, keepdims=True)


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error: |confidence - accuracy| in BINS equal ranges of the confidence, weighted by count."""
    named = labels >= 0
    confidence, right = probabilities.max(-1)[named], probabilities.argmax(-1)[named] == labels[named]
    places = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs(confidence[places == b].sum() - right[places == b].sum()) for b in range(BINS)]
    return float(sum(gaps) / max(1, named.sum()))


def by_labels(model: se_resnet.SEResNet, logits: Logits) -> np.ndarray:
    """What `classify_labels` gives, of logits: (N, L)."""
    votes = softmax(logits[0], model.temperature) @ model.places.T
    votes /= votes.sum(-1, keepdims=True) + 1e-9
    return (1 - model.blend) * softmax(logits[1], model.label_temperature) + model.blend * votes


def by_votes(model: se_resnet.SEResNet, logits: Logits) -> np.ndarray:
    """What `classify` gives, of logits: (N, K)."""
    return softmax(logits[0] / model.temperature - model.offsets())


def mean_recall(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes that occur of how many of theirs have the largest score there."""
    rows = [labels == i for i in range(scores.shape[1])]
    return float(np.mean([accuracy(scores, labels, own) for own in rows if own.any()] or [0.0]))


def frequencies(records: Sequence[Record], classes: Sequence[str]) -> tuple[float, ...]:
    """Shares of the votes for each class, of all for any of them; at least a millionth."""
    counts = np.maximum(fer2013.vote_counts(records, classes).sum(0, dtype=np.float64), 1e-6)
    return tuple(float(share) for share in counts / counts.sum())


def calibrate(model: se_resnet.SEResNet, logits: Logits, public: Named, seen: tuple[float, ...]) -> None:
    """Sets both temperatures, the blend and the balance by the public test.

    The balance is the one with the highest mean of accuracy and mean recall: by accuracy alone it would be none, by
    recall alone the whole, which hardly ever says neutral.

    Args:
      model: to set.
      logits: of the public test.
      public: the public test.
      seen: `frequencies` of the training part.
    """
    for name, scores, labels in (
        ("temperature", logits[0], public.votes),
        ("label_temperature", logits[1], public.labels),
    ):
        if (labels >= 0).any():
            fitted = metrics.temperature(scores[labels >= 0], labels[labels >= 0])
            setattr(model, name, fitted["temperature"])
    found = {}
    for blend in BLENDS:
        model.blend = blend
        found[blend] = accuracy(by_labels(model, logits), public.labels)
    model.blend = max(found, key=lambda blend: (found[blend], -blend))
    model.frequencies, found = seen, {}
    for balance in BALANCES:
        model.balance = balance
        scores = by_votes(model, logits)
        found[balance] = accuracy(scores, public.votes) + mean_recall(scores, public.votes)
    model.balance = max(found, key=lambda balance: (found[balance], -balance))


def on(model: se_resnet.SEResNet, logits: Logits, named: Named, of: np.ndarray | None = None) -> dict[str, Any]:
    """Accuracy by votes (both rules; as `classify` names them) and by labels; of rows `of`, (N,) bool, where given."""
    return {
        "votes": accuracy(logits[0], named.votes, of),
        "votes_strict": accuracy(logits[0], named.strict, of),
        "votes_balanced": accuracy(by_votes(model, logits), named.votes, of),
        "labels": accuracy(by_labels(model, logits), named.labels, of),
    }


def of_classes(scores: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Class -> recall, and of how many."""
    rows = {name: labels == i for i, name in enumerate(classes)}
    return {
        name: {"recall": accuracy(scores, labels, own), "count": int(own.sum())}
        for name, own in rows.items()
        if own.any()
    }


def conditions(named: Named) -> dict[str, np.ndarray]:
    """Faces as other cameras would give them, by name: (N, 70, 70, 1) uint8 each."""
    small = {
        "jpeg_20": _jpeg,
        "24_pixels": _coarse,
        "half_light": lambda picture: (picture * 0.5 + 0.5).astype(np.uint8),
    }
    made = {}
    for degrees in (-20, 20):
        turned = augment.rotate(tf.constant(named.faces), float(degrees)).numpy()
        made[f"turned_{degrees:+d}"] = turned
    for name, change in small.items():
        made[name] = framed([replace(r, image=change(np.asarray(r.image))) for r in named.records])
    return made


def _jpeg(picture: np.ndarray) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "jpeg", quality=20)
    return np.asarray(Image.open(stream).convert("L"))


def _coarse(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape
    small = Image.fromarray(picture).resize((24, 24), Image.Resampling.BICUBIC)
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def private(reader: Reader, named: Named, training_pictures: np.ndarray) -> dict[str, Any]:
    """Everything that is said of the private test; the only place that reads it.

    Args:
      reader: of a net that `calibrate` has set.
      named: the private test.
      training_pictures: (M, 48, 48) uint8, to tell which test pictures occur in training.
    """
    model, logits = reader.model, reader(named.faces)
    new = ~fer2013.duplicates_of(np.stack([record.image for record in named.records]), training_pictures)
    mirrored = reader(np.ascontiguousarray(named.faces[:, :, ::-1]))
    both = tuple((a + b) / 2 for a, b in zip(logits, mirrored, strict=True))
    probabilities = softmax(logits[0], model.temperature), by_labels(model, logits)
    balanced = by_votes(model, logits)
    return {
        **on(model, logits, named),
        "counts": {name: int((getattr(named, name) >= 0).sum()) for name in ("votes", "strict", "labels")},
        "left_out": fer2013.left_out(named.records),
        "without_training_pictures": {**on(model, logits, named, new), "training_pictures": int((~new).sum())},
        "with_mirrored_view": on(model, both, named),
        "calibration_error": {
            "votes": calibration_error(probabilities[0], named.votes),
            "votes_balanced": calibration_error(balanced, named.votes),
            "votes_uncalibrated": calibration_error(softmax(logits[0]), named.votes),
            "labels": calibration_error(probabilities[1], named.labels),
        },
        "conditions": {name: on(model, reader(faces), named) for name, faces in conditions(named).items()},
        "mean_recall": {
            "votes": mean_recall(logits[0], named.votes),
            "votes_balanced": mean_recall(balanced, named.votes),
        },
        "votes_by_class": of_classes(logits[0], named.votes, model.classes),
        "votes_balanced_by_class": of_classes(balanced, named.votes, model.classes),
        "labels_by_class": of_classes(probabilities[1], named.labels, model.label_classes),
    }
