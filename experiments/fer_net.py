"""FER-Net fine-tuned and tested on people it never saw: IA-gen's baseline (Tables I, III, IV), section IV-A.

    python -m experiments.fer_net --preset=quick        # rendered faces, five folds by subject
    python -m experiments.fer_net --preset=paper --data_dir=<another rendered.h5>

Quick, on two CPU cores (Intel Xeon with AMX, bfloat16), seed 0, in 401 s from a fresh clone: 97.33 +- 1.34 % of the
held-out people's images in the last epoch, macro and micro alike. Paper: not yet run.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

from experiments import common
from fer_tf import export, figures, metrics, pipeline, records, training, weights
from fer_tf.compat import keras
from fer_tf.models import fer_net

PRESETS = {
    "paper": {"folds": 10, "runs": 8, "epochs": 40, "batch_size": 100, "rate": 0.001, "views": 0},
    "quick": {"folds": 5, "epochs": 6, "batch_size": 50, "rate": 0.01, "views": 1},
    "smoke": {
        "folds": 2,
        "epochs": 2,
        "batch_size": 8,
        "views": 1,
        "max_steps": 3,
        "init": "none",
        "width": 4,
        "take": 4,
    },
}
common.define_flags(PRESETS)
flags.DEFINE_float("rate", 0.001, "Learning rate at the start; times 0.8 after every --drop epochs.")
flags.DEFINE_integer("drop", 20, "Epochs between two drops of the learning rate.", lower_bound=1)
flags.DEFINE_integer("views", 0, "Random views an image and epoch; 0 for all 110 (the paper).", lower_bound=0)
flags.DEFINE_integer("width", 64, "Channels of FER-Net's first stage.", lower_bound=2)
flags.DEFINE_integer("take", 0, "Only the first so many subjects; 0 for all.", lower_bound=0)
FLAGS = flags.FLAGS


def batches(found: list[records.Record], classes: tuple[str, ...], seed: int, training_part: bool) -> pipeline.Batches:
    """The 110x views of section IV-A for training, the centre crop for testing."""
    data = pipeline.batches(
        found,
        classes=classes,
        template=fer_net.TEMPLATE,
        views=fer_net.views,
        batch_size=FLAGS.batch_size if training_part else 256,
        seed=seed,
        training=training_part,
        views_per_image=FLAGS.views or None,
        strict=FLAGS.strict,
    )
    common.tell_skipped(data)
    return data


def build(classes: tuple[str, ...], steps_per_epoch: int, seed: int) -> fer_net.FERNet:
    """FER-Net from --init, its classifier new, with the paper's optimizer."""
    model = fer_net.FERNet(classes=classes, width=FLAGS.width, seed=seed)
    if common.init_weights():
        weights.load(model, common.init_weights(), skip="logits")
    rate = fer_net.schedule(steps_per_epoch, FLAGS.rate, epochs=FLAGS.drop)
    model.compile(classifier_optimizer=keras.optimizers.SGD(rate, momentum=0.9))
    return model


def predict(model: fer_net.FERNet, data: pipeline.Batches) -> tuple[np.ndarray, np.ndarray]:
    """(labels, predictions), each (N,) int, of the test views in the order of the records."""
    classify = tf.function(model.classify, reduce_retracing=True)
    pairs = [(b["label"].numpy(), classify(b["image"]).numpy().argmax(-1)) for b in data.epoch(0)]
    labels, predictions = (np.concatenate(part).astype(int) for part in zip(*pairs, strict=True))
    return labels, predictions


def one_fold(found: list[records.Record], fold: records.Fold, classes: tuple[str, ...], seed: int, folder: Path) -> Any:
    """Trains on the fold's training people: the model, and {last|best: (labels, predictions)} of the held-out ones."""
    strategy = training.setup(
        seed=seed, precision=FLAGS.precision, strategy=FLAGS.strategy, deterministic=FLAGS.deterministic
    )
    data = batches([found[i] for i in fold.train], classes, seed, True)
    test = batches([found[i] for i in fold.test], classes, seed, False)
    with strategy.scope():
        model = build(classes, len(data), seed)
    training.fit(
        model,
        data,
        workdir=folder,
        epochs=FLAGS.epochs,
        strategy=strategy,
        validation=lambda m: {"accuracy": float(np.mean(np.equal(*predict(m, test))))},
        max_steps=FLAGS.max_steps,
        checkpoint_steps=500,
        tensorboard=FLAGS.tensorboard,
        progress=FLAGS.progress,
    )
    results = {which: predict(training.restore(model, folder, which), test) for which in ("best", "last")}
    figures.save(figures.history(folder / "history.csv"), folder / "history.png")
    return model, results


def main() -> None:
    """Records -> folds -> training -> table, pictures, exported model."""
    start, classes = time.time(), records.classes_of(FLAGS.classes)
    found = common.load_records(classes)
    if FLAGS.take:
        people = records.subject_order(r.subject for r in found)[: FLAGS.take]
        found = [r for r in found if r.subject in people]
    folder = common.workdir("fer_net")
    folds = common.make_folds(found, classes, folder)
    results, model = [], None
    for run in range(FLAGS.runs):
        for number in common.chosen_folds(len(folds)):
            place = folder / f"run{run}" / f"fold{number}" / "finetune"
            model, result = one_fold(found, folds[number], classes, FLAGS.seed + run, place)
            results.append({"run": run, "fold": number, **result})
            print(
                f"run {run} fold {number}: {100 * np.mean(np.equal(*result['last'])):.1f} % of held-out people's images"
            )
    report(results, found, classes, folder, time.time() - start)
    faces = some_faces([found[i] for i in folds[results[-1]["fold"]].test])
    about = {"trained_on": FLAGS.dataset, "run": results[-1]["run"], "held_out_fold": results[-1]["fold"]}
    export.save(model, folder / "export", metadata={**about, "commit": common.commit()}, faces=faces)
    print(f"Table, pictures and metrics.json are in {folder}; the last fold's model is in {folder / 'export'}.")


def some_faces(found: list[records.Record], count: int = 8) -> np.ndarray:
    """The first `count` faces that can be cut, (N, H, W, 1) uint8; the others have been named before."""
    faces: list[np.ndarray] = []
    for record in found:
        with contextlib.suppress(ValueError):
            faces.append(pipeline.face(record, fer_net.TEMPLATE))
        if len(faces) == count:
            break
    return np.stack(faces)


def report(results: list[Any], found: Any, classes: tuple[str, ...], folder: Path, seconds: float) -> None:
    """metrics.json, the table, the confusion matrix and the per-class bars."""
    methods = {"FER-Net": metrics.summarize([{k: r[k] for k in ("last", "best")} for r in results], classes)}
    last = methods["FER-Net"]["last"]
    metrics.write_metrics(
        folder / "metrics.json",
        {
            **common.facts(classes, seconds),
            "images": len(found),
            "folds": [{"run": r["run"], "fold": r["fold"], "test": len(r["last"][0])} for r in results],
            "methods": methods,
        },
    )
    common.write_json(folder / "confusion.json", {"classes": classes, "counts": last["confusion"]})
    title = f"FER-Net, {FLAGS.dataset}, held-out people, last epoch"
    figures.save(figures.confusion_matrix(last["confusion"], classes, title), folder / "confusion.png")
    figures.save(figures.class_bars({"FER-Net": last["per_class"]}), folder / "per_class.png")
    print(metrics.table(methods))


if __name__ == "__main__":
    common.run(main, PRESETS)
