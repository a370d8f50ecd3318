"""Testing a classifier on people it never saw: predictions over a pipeline, and one fold trained and tested.

outcome = evaluation.fit_and_test(build, train, test, workdir=folder, strategy=strategy, epochs=20)
outcome.model                # of the last epoch
outcome.tested["best"]       # (labels, predictions) of the epoch that names most of `test`
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from fer_tf import devices, figures, moving_statistics, training
from fer_tf.predictions import Answers

Pair = tuple[np.ndarray, np.ndarray]
"""(labels, predictions), each (N,) int, in the order of the records."""


class Outcome(NamedTuple):
    """What a training gave.

    Attributes:
      model: with the weights of the last epoch.
      tested: {"best", "last": `predictions.Answers`} of the held-out people; empty where nobody is held out. "best" is
        the epoch that names most of those very people, which flatters.
    """

    model: Any
    tested: dict[str, Answers]


@functools.lru_cache(maxsize=4)
def compiled(model: Any) -> Any:
    """`classify` of a model as one graph, kept: a new one for each call would be traced anew after each epoch.

    XLA compiles it where it compiles the model's training.
    """
    return tf.function(model.classify, reduce_retracing=True, jit_compile=getattr(model, "xla", False) or None)


def predict(model: Any, data: Any) -> Answers:
    """(labels, predictions) of the test views of a pipeline, with their records and probabilities.

    Args:
      model: has `classify`: (N, H, W, C) float32 in [0, 1] -> (N, K) probabilities.
      data: `pipeline.Batches` that are not for training.
    Raises:
      FloatingPointError: a probability is not finite; the message names the record.
    """
    classify, size = compiled(model), data.batch_size if getattr(model, "xla", False) else 0
    with devices.memory_named(data.batch_size):
        parts = [
            (b["label"], classify(filled(asked(model, b), size))[: len(b["label"])], b["index"]) for b in data.epoch(0)
        ]
        labels, probabilities, index = (np.concatenate([p.numpy() for p in part]) for part in zip(*parts, strict=True))
    own = [data.records[i] for i in index]
    return Answers(labels.astype(int), named(probabilities, own), own, probabilities.astype(np.float32))


def named(probabilities: np.ndarray, records: Sequence[Any] = ()) -> np.ndarray:
    """The class of the largest probability: (N, K) -> (N,) int.

    Raises:
      FloatingPointError: one is not finite, of which the largest would be the first class; the message says of how many
        pictures, and names the first.
    """
    bad = np.flatnonzero(~np.isfinite(probabilities).all(-1))
    if len(bad):
        such = f", such as {records[bad[0]].name}" if len(records) == len(probabilities) else ""
        raise FloatingPointError(
            f"The predictions of {len(bad)} of {len(probabilities)} pictures are no longer finite{such}. "
            f"{training.LOWER}"
        )
    return probabilities.argmax(-1)


def asked(model: Any, batch: Mapping[str, tf.Tensor]) -> Any:
    """What `classify` takes of a batch: its image, or more where the model says so."""
    return model.asked(batch) if hasattr(model, "asked") else batch["image"]


def filled(faces: Any, size: int) -> Any:
    """A last, shorter batch with its images again, up to `size` of them: XLA would compile another shape anew."""
    count = len(tf.nest.flatten(faces)[0])
    if count >= size:
        return faces
    return tf.nest.map_structure(lambda images: tf.gather(images, np.arange(size) % count), faces)


def accuracy(model: Any, data: Any) -> float:
    """Share of the test views that are named right, in [0, 1]."""
    return float(np.mean(np.equal(*predict(model, data))))


def fit_and_test(
    build: Callable[[], Any],
    data: Any,
    test: Any | None,
    *,
    workdir: str | Path,
    strategy: tf.distribute.Strategy,
    epochs: int,
    checkpoint_steps: int = 500,
    follows: Mapping[str, Any] | None = None,
    recalibration: int = 0,
    **options: Any,
) -> Outcome:
    """Trains what `build` makes, or goes on with it, and tests its best and its last epoch; draws history.png.

    Args:
      build: makes the compiled model; called in the strategy's scope.
      data: to train on.
      test: held-out people's views; None where nobody is held out.
      workdir: of this training.
      strategy: from `training.setup`.
      epochs: passes over the data.
      checkpoint_steps: between two checkpoints.
      follows: trained networks by name, on which this training depends.
      recalibration: training batches that give either epoch's model its moving statistics before it is tested
        (`moving_statistics.recalibrate`); 0 keeps those that training left.
      options: more for `training.fit`.
    Returns:
      The model of the last epoch, and how both epochs name the held-out people.
    """
    with strategy.scope():
        model = build()
    training.fit(
        model,
        data,
        workdir=workdir,
        epochs=epochs,
        strategy=strategy,
        validation=None if test is None else lambda m: {"accuracy": accuracy(m, test)},
        checkpoint_steps=checkpoint_steps,
        held_out=test,
        follows=follows,
        **options,
    )
    epochs_tested = () if test is None else ("best", "last")  # last comes last: its weights stay in the model
    tested = {}
    if test is None:
        moving_statistics.recalibrate(model, data, recalibration)
    for which in epochs_tested:
        training.restore(model, workdir, which)
        tested[which] = predict(moving_statistics.recalibrate(model, data, recalibration), test)
    figures.save(figures.history(Path(workdir) / "history.csv"), Path(workdir) / "history.png")
    return Outcome(model, tested)
