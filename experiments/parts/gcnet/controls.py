"""What GCNet is measured by: real faces as references, a ceiling, a floor and a mean; the margin that a start gives."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from fer_tf import beside, pipeline, records
from fer_tf.models import gcnet
from fer_tf.predictions import Answers

from ...run import data
from . import albums

CONTROLS = {
    "neutral": "with the true neutral face",
    "stranger": "with a stranger's neutral face",
    albums.MEAN_FACE: "with the mean of the person's pictures",
}
"""What stands for a generator in --rows -> what the table calls it."""

LESS = {"neutral": "less the true neutral face", "stranger": "less a stranger's neutral face"}
"""After the colon of the CNN, which is tested once more: what is taken from its code -> what the table calls it."""


def referred(
    listed: Sequence[records.Record], classes: Sequence[str], control: str, seed: int, album: beside.Album
) -> tuple[list[records.Record], dict[str, list[int]]]:
    """(The records, and behind them the references that a control makes; their `pairs`) of one side of a fold.

    Args:
      listed, classes, control, seed: as of `pairs`, or of `albums.mean_faces`.
      album: of the mean face.
    """
    if control == albums.MEAN_FACE:
        return albums.mean_faces(listed, classes, seed, album)
    return list(listed), pairs(listed, classes, control, seed)


def pairs(listed: Sequence[records.Record], classes: Sequence[str], control: str, seed: int) -> dict[str, list[int]]:
    """Each record of the classes with a real neutral face, in training and at test alike.

    "neutral" is the person's own: the ceiling of what a generated reference can do. "stranger" is that of another
    person, drawn for each record: the floor. Of several it is the least `records.unlike` the picture. A neutral record
    is paired with another frame where there is one.

    Args:
      listed: of the people on one side of a fold, neutral faces included.
      classes: that are named.
      control: "neutral" or "stranger".
      seed: of the strangers.
    Returns:
      {"image", "reference"}: indices into `listed`.
    Raises:
      ValueError: somebody has no neutral face, or there is no other person.
    """
    found, without = records.neutral_pairs(listed, classes)
    if without:
        raise ValueError(f"--rows=...:{control} compares with real neutral faces, and {without[0]} has none.")
    neutral: dict[str, list[int]] = {}
    for i, record in enumerate(listed):
        if record.expression == "neutral":
            neutral.setdefault(str(record.subject), []).append(i)
    people, rng = sorted(neutral), np.random.default_rng(seed)
    if control == "stranger" and len(people) < 2:
        raise ValueError(f"--rows=...:{control} needs two people or more on either side of a fold.")
    reference = []
    for i, own in zip(found["image"], found["reference"], strict=True):
        among = [own]
        if control == "stranger":
            others = [p for p in people if p != listed[i].subject]
            among = neutral[others[rng.integers(len(others))]]
        elif own == i:
            among = [j for j in neutral[str(listed[i].subject)] if j != i] or [i]
        reference.append(min(among, key=lambda j: records.unlike(listed[i], listed[j])))
    return {"image": found["image"], "reference": reference}


def test_views(
    settings: Any, listed: Sequence[records.Record], asked: Sequence[str], control: str, seed: int
) -> pipeline.Batches:
    """The test views of the pictures that show one of `asked`, each with its reference; as `pairs`."""
    found = pairs(listed, asked, control, seed)
    return data.batches(settings, list(listed), settings.labels, gcnet, seed, False, pairs=found)


def less_reference(
    settings: Any,
    model: gcnet.GCNet,
    learnt: Sequence[records.Record],
    listed: Sequence[records.Record],
    asked: Sequence[str],
    control: str,
    seed: int,
) -> Answers:
    """What a trained CNN names pictures, each code e less that of its reference, plus the mean one of those learnt.

    As in `albums.centred` the responses are moved, in which that is the same. Nothing is trained: the control of
    e - e_r, which has the same pictures.

    Args:
      settings: of `data.batches`.
      model: trained.
      learnt: what it has learnt from, with neutral faces.
      listed: the records that are named, with theirs.
      asked: the classes that are named.
      control, seed: as of `pairs`.
    """
    respond = tf.function(model.responses, reduce_retracing=True)

    def gathered(some: Sequence[records.Record]) -> tuple[Any, ...]:
        batches = test_views(settings, some, asked, control, seed)
        parts = [(respond(b["image"]), respond(b["reference"]), b["label"], b["index"]) for b in batches.epoch(0)]
        found = (np.concatenate([value.numpy() for value in part]) for part in zip(*parts, strict=True))
        return *found, batches.records

    usual = gathered(learnt)[1].astype(np.float64).mean(0)
    face, reference, labels, index, kept = gathered(listed)
    shown = [kept[i] for i in index]
    return albums.answered(model, face - reference + usual, labels.astype(int), shown)


def start_margin(model: gcnet.GCNet, learn: pipeline.Batches, batches: int = 4) -> float:
    """m of eq. (6), which the paper does not give: the median of S over the first training faces, before any step.

    About half of the pairs of different expressions are nearer than that, so that the loss has something to do.

    Args:
      model: one that contrasts, at its start; its norms work as in training, and nothing of it changes.
      learn: to train on.
      batches: of the first epoch, at least; more until one has a face that counts.
    Returns:
      The median over faces that are not neutral and have a reference; the model's own margin where there are none.
    """
    before, distances = [(v, v.numpy()) for v in model.variables], []
    for number, batch in enumerate(itertools.islice(learn.epoch(0), len(learn))):
        if number >= batches and distances:
            break
        image = model.preprocess(batch["image"])
        reference = model.refer(batch, True)[0] if model.compares else model.preprocess(batch["reference"])
        (e, _), (e_r, _) = model.encode_both(image, reference, True)
        counted = model.alpha(batch["label"]).numpy() > 0
        if not model.generates and "has_reference" in batch:
            counted &= batch["has_reference"].numpy()
        distances += gcnet.distance(e, e_r).numpy()[counted].tolist()
    for variable, value in before:
        variable.assign(value)
    return float(np.median(distances)) if distances else model.margin


def noted(models: dict[Any, gcnet.GCNet]) -> dict[str, float]:
    """Row's name -> its margin, of those that have eq. (6)."""
    return {row.name: model.margin for row, model in models.items() if model.contrasts}
