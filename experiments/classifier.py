"""FER-Net or VGG-16 fine-tuned on a fold's training people: IA-gen's baseline, and the Feat of its method.

Section IV-A: FER-Net, "the VGG [2] model" for Oulu-CASIA.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl import flags

from experiments import common, folds
from fer_tf import records, weights
from fer_tf.compat import keras
from fer_tf.models import fer_net, vgg
from fer_tf.softmax import SoftmaxClassifier

CLASSIFIERS = {"fer_net": "FER-Net", "vgg16": "VGG-16"}
"""Value of --classifier -> its name in tables."""

FLAGS = flags.FLAGS


def define_flags() -> None:
    """The flags of the fine-tuning, besides those of `common`."""
    folds.define_flags()
    flags.DEFINE_enum("classifier", "fer_net", list(CLASSIFIERS), "FER-Net, or VGG-16 as the paper has for Oulu-CASIA.")
    flags.DEFINE_float("rate", 0.001, "Its learning rate at the start; times 0.8 after every --drop epochs.")
    flags.DEFINE_integer("drop", 20, "Epochs between two drops of that rate.", lower_bound=1)
    flags.DEFINE_integer("width", 64, "Channels of its first stage.", lower_bound=2)


def name() -> str:
    """What tables and pictures call the classifier."""
    return CLASSIFIERS[FLAGS.classifier]


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


def one_fold(found: list[records.Record], fold: records.Fold, classes: tuple[str, ...], seed: int, folder: Path) -> Any:
    """Trains on the fold's training people: the model, and {last|best: (labels, predictions)} of the held-out ones.

    Where nobody is held out, the results are empty.
    """
    strategy, start = folds.setup(seed), init()
    data = folds.batches([found[i] for i in fold.train], classes, fer_net, seed, True)
    test = folds.batches([found[i] for i in fold.test], classes, fer_net, seed, False) if fold.test else None
    return folds.train_and_test(lambda: build(classes, len(data), seed, *start), data, test, folder, strategy)
