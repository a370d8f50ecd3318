"""Keras metrics of a model's probabilities, as `compile(metrics=...)` asks for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from fer_tf import feeding


class Score(NamedTuple):
    """One metric.

    Attributes:
      metric: a Keras metric.
      one_hot: whether it takes one-hot rows (N, K), else the numbers of the classes (N,).
      weighted: whether rows count by their weight.
    """

    metric: Any
    one_hot: bool
    weighted: bool


def of(model: Any, metrics: Sequence[Any], weighted: Sequence[Any], kinds: Any) -> list[Score]:
    """The metrics of a model.

    Args:
      model: has `classify`, and logs the metrics `_means`.
      metrics, weighted: names, functions of (label, probabilities), or metrics. "accuracy" is the one that the model
        logs anyway. Keras's own that are not "sparse" get labels as one-hot rows, all others as numbers.
      kinds: Keras's module of metrics.
    Raises:
      ValueError: a name that is no metric's, or that the model or another metric logs.
    """
    for name, given in (("metrics", metrics), ("weighted_metrics", weighted)):
        if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
            raise ValueError(f"{name} of {type(model).__name__} are a list: it has one output. Not {given!r}.")
    made: list[Score] = []
    for asked, counts in [*((m, False) for m in metrics), *((m, True) for m in weighted)]:
        if asked in ("accuracy", "acc") and not counts and "accuracy" in model._means:
            continue
        score = _score(asked, counts, kinds)
        taken = [*model._means, *(s.metric.name for s in made)]
        if score.metric.name in taken:
            raise ValueError(f"{type(model).__name__} logs {score.metric.name!r} already: give it another name.")
        made.append(score)
    return made


def _score(asked: Any, weighted: bool, kinds: Any) -> Score:
    if asked in ("accuracy", "acc"):
        return Score(kinds.SparseCategoricalAccuracy(name="weighted_accuracy"), False, weighted)
    found = kinds.get(asked) if isinstance(asked, str) else asked
    if isinstance(found, kinds.Metric):
        own, metric = type(found), found
    elif callable(found):
        own, metric = found, kinds.MeanMetricWrapper(found, name=found.__name__)
    else:
        raise ValueError(f"{asked!r} is no metric: give a name, a function of (label, probabilities) or a metric.")
    built_in = own.__module__.split(".")[0] == "keras"
    return Score(metric, built_in and "sparse" not in own.__name__.lower(), weighted)


def update(scores: Sequence[Score], batch: Mapping[str, tf.Tensor], probabilities: tf.Tensor) -> None:
    """Counts a batch in.

    Args:
      scores: of `of`.
      batch: has the label (N,).
      probabilities: (N, K) float32.
    """
    labels = tf.cast(batch["label"], tf.int32)
    counted = batch.get(feeding.COUNTED)
    for metric, one_hot, weighted in scores:
        weight = batch.get(feeding.WEIGHT) if weighted else None
        if counted is not None:
            weight = counted if weight is None else counted * weight
        truth = tf.one_hot(labels, probabilities.shape[-1]) if one_hot else labels
        metric.update_state(truth, probabilities, sample_weight=weight)
