"""FER-Net or VGG-16 fine-tuned on a fold's training people: IA-gen's baseline, and the Feat of its method.

Section IV-A: FER-Net, "the VGG [2] model" for Oulu-CASIA.
"""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

from experiments import common
from fer_tf import figures, pipeline, records, training, weights
from fer_tf.compat import keras
from fer_tf.models import fer_net, vgg
from fer_tf.softmax import SoftmaxClassifier

CLASSIFIERS = {"fer_net": "FER-Net", "vgg16": "VGG-16"}
"""Value of --classifier -> its name in tables."""

FLAGS = flags.FLAGS


def define_flags() -> None:
    """The flags of the fine-tuning, besides those of `common`."""
    flags.DEFINE_enum("classifier", "fer_net", list(CLASSIFIERS), "FER-Net, or VGG-16 as the paper has for Oulu-CASIA.")
    flags.DEFINE_float("rate", 0.001, "Its learning rate at the start; times 0.8 after every --drop epochs.")
    flags.DEFINE_integer("drop", 20, "Epochs between two drops of that rate.", lower_bound=1)
    flags.DEFINE_integer("views", 0, "Random views an image and epoch; 0 for all 110 (the paper).", lower_bound=0)
    flags.DEFINE_integer("width", 64, "Channels of its first stage.", lower_bound=2)
    flags.DEFINE_integer("take", 0, "Only the first so many subjects; 0 for all.", lower_bound=0)


def name() -> str:
    """What tables and pictures call the classifier."""
    return CLASSIFIERS[FLAGS.classifier]


def first_subjects(found: list[records.Record]) -> list[records.Record]:
    """The records of the first --take subjects; all when it is 0."""
    people = records.subject_order(r.subject for r in found)[: FLAGS.take or None]
    return [r for r in found if r.subject in people]


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


def init() -> tuple[Path | None, str | Path | None]:
    """What --init means: (a weights file of ours or None, what `vgg.load_convolutions` takes or None).

    Raises:
      FileNotFoundError: there are no such weights.
      ValueError: weights of FER-Net for VGG-16.
    """
    if FLAGS.classifier == "fer_net":
        return common.init_weights(), None
    if FLAGS.init == "imagenet":
        return None, FLAGS.init
    if Path(FLAGS.init).stem == "fer_net_fer2013":  # the default
        raise ValueError(
            f"--init={FLAGS.init} is FER-Net, which --classifier=vgg16 cannot start from: give --init=imagenet, "
            "the .h5 file of Keras' VGG-16 without its top, weights of a VGGNet, or none."
        )
    file = common.init_weights()
    return (file, None) if file is None or weights.is_ours(file) else (None, file)


def build(
    classes: tuple[str, ...], steps_per_epoch: int, seed: int, own: Path | None, others: str | Path | None
) -> SoftmaxClassifier:
    """The classifier from what `init` found, its last layer new, with the paper's optimizer."""
    if FLAGS.classifier == "vgg16":  # its first stage has 64 channels too; all the others follow
        wide = {"width": FLAGS.width / 64, "hidden": 64 * FLAGS.width}
        model = vgg.VGGNet(classes=classes, weights=others, seed=seed, **wide)
    else:
        model = fer_net.FERNet(classes=classes, width=FLAGS.width, seed=seed)
    if own:
        weights.load(model, own, skip="logits")
    rate = fer_net.schedule(steps_per_epoch, FLAGS.rate, epochs=FLAGS.drop)
    model.compile(classifier_optimizer=keras.optimizers.SGD(rate, momentum=0.9))
    return model


@functools.lru_cache(maxsize=4)
def compiled(model: Any) -> Any:
    """`classify` of a model as one graph, kept: a new one for each call would be traced anew after each epoch."""
    return tf.function(model.classify, reduce_retracing=True)


def predict(model: SoftmaxClassifier, data: pipeline.Batches) -> tuple[np.ndarray, np.ndarray]:
    """(labels, predictions), each (N,) int, of the test views in the order of the records."""
    classify = compiled(model)
    pairs = [(b["label"].numpy(), classify(b["image"]).numpy().argmax(-1)) for b in data.epoch(0)]
    labels, predictions = (np.concatenate(part).astype(int) for part in zip(*pairs, strict=True))
    return labels, predictions


def one_fold(found: list[records.Record], fold: records.Fold, classes: tuple[str, ...], seed: int, folder: Path) -> Any:
    """Trains on the fold's training people: the model, and {last|best: (labels, predictions)} of the held-out ones.

    Where nobody is held out, the results are empty.
    """
    strategy = training.setup(
        seed=seed, precision=FLAGS.precision, strategy=FLAGS.strategy, deterministic=FLAGS.deterministic
    )
    start = init()
    data = batches([found[i] for i in fold.train], classes, seed, True)
    test = batches([found[i] for i in fold.test], classes, seed, False) if fold.test else None
    with strategy.scope():
        model = build(classes, len(data), seed, *start)
    training.fit(
        model,
        data,
        workdir=folder,
        epochs=FLAGS.epochs,
        strategy=strategy,
        validation=(lambda m: {"accuracy": float(np.mean(np.equal(*predict(m, test))))}) if test else None,
        max_steps=FLAGS.max_steps,
        checkpoint_steps=500,
        tensorboard=FLAGS.tensorboard,
        progress=FLAGS.progress,
    )
    results = {which: predict(training.restore(model, folder, which), test) for which in ("best", "last") if test}
    figures.save(figures.history(folder / "history.csv"), folder / "history.png")
    return model, results


def some_faces(found: list[records.Record], count: int = 8) -> np.ndarray:
    """The first `count` faces that can be cut, (N, H, W, 1) uint8; the others have been named before."""
    faces: list[np.ndarray] = []
    for record in found:
        with contextlib.suppress(ValueError):
            faces.append(pipeline.face(record, fer_net.TEMPLATE))
        if len(faces) == count:
            break
    return np.stack(faces)
