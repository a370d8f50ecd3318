"""What experiments with folds by subject share: batches of a part, training and testing a classifier, the report."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

from fer_tf import figures, metrics, pipeline, records, training

from . import common

FLAGS = flags.FLAGS


def define_flags() -> None:
    """--views and --take, besides the flags of `common`."""
    flags.DEFINE_integer("views", 0, "Random views an image and epoch; 0 for all (the paper).", lower_bound=0)
    flags.DEFINE_integer("take", 0, "Only the first so many subjects; 0 for all.", lower_bound=0)


def first_subjects(found: list[records.Record]) -> list[records.Record]:
    """The records of the first --take subjects; all when it is 0."""
    if not FLAGS.take:
        return found
    people = {*records.subject_order(r.subject for r in found)[: FLAGS.take]}
    return [r for r in found if r.subject in people]


def named_after_people(found: list[records.Record]) -> list[records.Record]:
    """The records of those whose name is known, with it in the expression's place: for nets that tell people apart."""
    return [replace(r, expression=r.subject) for r in found if r.subject is not None]


def some_faces(found: list[records.Record], template: str, count: int = 8) -> np.ndarray:
    """The first `count` faces that can be cut, (N, H, W, 1) uint8; the others have been named before."""
    faces: list[np.ndarray] = []
    for record in found:
        with contextlib.suppress(ValueError):
            faces.append(pipeline.face(record, template))
        if len(faces) == count:
            break
    return np.stack(faces)


def batches(
    found: list[records.Record], classes: tuple[str, ...], module: Any, seed: int, training_part: bool, **options: Any
) -> pipeline.Batches:
    """The views of a model file for training, the one test view for testing; --batch_size, --views, --strict.

    Args:
      found: of the part.
      classes: labels to number.
      module: a model file, for its TEMPLATE and views.
      seed: of order and views.
      training_part: whether it is to be trained on.
      options: more for `pipeline.batches`.
    """
    data = pipeline.batches(
        found,
        classes=classes,
        template=module.TEMPLATE,
        views=module.views,
        batch_size=FLAGS.batch_size if training_part else 256,
        seed=seed,
        training=training_part,
        views_per_image=FLAGS.views or None,
        strict=FLAGS.strict,
        **options,
    )
    common.tell_skipped(data)
    return data


def usable(data: pipeline.Batches) -> list[records.Record]:
    """The records whose face was cut; --strict=false leaves the others out."""
    return [r for i, r in enumerate(data.records) if i not in data.skipped]


@functools.lru_cache(maxsize=4)
def compiled(model: Any) -> Any:
    """`classify` of a model as one graph, kept: a new one for each call would be traced anew after each epoch."""
    return tf.function(model.classify, reduce_retracing=True)


def predict(model: Any, data: pipeline.Batches) -> tuple[np.ndarray, np.ndarray]:
    """(labels, predictions), each (N,) int, of the test views in the order of the records."""
    classify = compiled(model)
    pairs = [(b["label"].numpy(), classify(b["image"]).numpy().argmax(-1)) for b in data.epoch(0)]
    labels, predictions = (np.concatenate(part).astype(int) for part in zip(*pairs, strict=True))
    return labels, predictions


def setup(seed: int) -> tf.distribute.Strategy:
    """Seed, dtype policy and replicas of the flags; before the model is made."""
    return training.setup(
        seed=seed, precision=FLAGS.precision, strategy=FLAGS.strategy, deterministic=FLAGS.deterministic
    )


def train_and_test(
    build: Callable[[], Any],
    data: Any,
    test: pipeline.Batches | None,
    folder: Path,
    strategy: Any,
    *,
    steps: int = 500,
    epochs: int | None = None,
) -> tuple[Any, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Trains what `build` makes, or goes on with it.

    Args:
      build: makes the compiled model; called under the strategy.
      data: to train on.
      test: held-out people's views; None where nobody is held out.
      folder: of this training.
      strategy: from `setup`.
      steps: between two checkpoints.
      epochs: --epochs when left out.
    Returns:
      The model of the last epoch, and {last|best: (labels, predictions)} of the held-out people, empty without them.
    """
    with strategy.scope():
        model = build()
    training.fit(
        model,
        data,
        workdir=folder,
        epochs=epochs or FLAGS.epochs,
        strategy=strategy,
        validation=(lambda m: {"accuracy": float(np.mean(np.equal(*predict(m, test))))}) if test else None,
        max_steps=FLAGS.max_steps,
        checkpoint_steps=steps,
        tensorboard=FLAGS.tensorboard,
        progress=FLAGS.progress,
    )
    results = {which: predict(training.restore(model, folder, which), test) for which in ("best", "last") if test}
    figures.save(figures.history(folder / "history.csv"), folder / "history.png")
    return model, results


def plain(name: str) -> str:
    """A method's name in file names."""
    return "".join(c if c.isalnum() else "_" for c in name.lower())


def report(
    results: Sequence[Mapping[str, Any]],
    classes: tuple[str, ...],
    folder: Path,
    seconds: float,
    *,
    tested_on: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """metrics.json, the table, a confusion matrix for each method (picture and JSON), and the per-class bars.

    Args:
      results: one of {"run", "fold", "methods": {name: {last|best: (labels, predictions)}}} for each fold.
      classes: names of the K classes.
      folder: of the run.
      seconds: that it took.
      tested_on: name of the data; --dataset when left out.
      more: further entries of metrics.json.
    Returns:
      `methods` of metrics.json.
    """
    names = results[0]["methods"]
    methods = {name: metrics.summarize([r["methods"][name] for r in results], classes) for name in names}
    tested = [{k: r[k] for k in ("run", "fold")} for r in results]
    for entry, r in zip(tested, results, strict=True):
        entry["test"] = len(next(iter(r["methods"].values()))["last"][0])
    metrics.write_metrics(
        folder / "metrics.json", {**common.facts(classes, seconds), "folds": tested, "methods": methods, **more}
    )
    for name, method in methods.items():
        title = f"{name}, {tested_on or common.dataset_name()}, held-out people, last epoch"
        picture = figures.confusion_matrix(method["last"]["confusion"], classes, title)
        figures.save(picture, folder / f"confusion_{plain(name)}.png")
        counts = {"method": name, "classes": list(classes), "counts": method["last"]["confusion"]}
        common.write_json(folder / f"confusion_{plain(name)}.json", counts)
    bars = {name: method["last"]["per_class"] for name, method in methods.items()}
    figures.save(figures.class_bars(bars), folder / "per_class.png")
    print(metrics.table(methods))
    return methods
