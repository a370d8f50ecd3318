"""FER-Net or VGG-16 fine-tuned on a fold's training people: IA-gen's baseline, and the Feat of its method.

Section IV-A: FER-Net, "the VGG [2] model" for Oulu-CASIA.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_tf import evaluation, records, weights
from fer_tf.compat import keras
from fer_tf.models import fer_net, vgg
from fer_tf.softmax import SoftmaxClassifier

from . import data, fitting, jobs, provenance
from .settings import Folds, Init, Views, setting

CLASSIFIERS = {"fer_net": "FER-Net", "vgg16": "VGG-16"}
"""Value of --classifier -> its name in tables."""


@dataclass(frozen=True, kw_only=True)
class Classifier(Views, Init, Folds):
    """What the fine-tuning may be told, besides what every run has."""

    classifier: str = setting("fer_net", "FER-Net, or VGG-16 as the paper has for Oulu-CASIA.", choices=CLASSIFIERS)
    rate: float = setting(0.001, "Its learning rate at the start; times 0.8 after every --drop epochs.")
    drop: int = setting(20, "Epochs between two drops of that rate.", low=1)
    width: int = setting(64, "Channels of its first stage.", low=2)

    @property
    def classifier_name(self) -> str:
        """What tables and pictures call the classifier."""
        return CLASSIFIERS[self.classifier]


def stage(settings: Classifier) -> jobs.Stage:
    """The fine-tuning, as a job of each fold."""
    return jobs.Stage("finetune", settings.classifier_name, settings.epochs)


def start(settings: Classifier) -> tuple[Path | None, str | Path | None]:
    """What --init means: (a weights file of ours or None, what `vgg.load_convolutions` takes or None).

    Raises:
      FileNotFoundError: there are no such weights.
      ValueError: weights of FER-Net for VGG-16.
    """
    if settings.classifier == "fer_net":
        return provenance.weights_file(settings.init), None
    if settings.init == "imagenet":
        return None, settings.init
    if Path(settings.init).stem == "fer_net_fer2013":  # the default
        raise ValueError(
            f"--init={settings.init} is FER-Net, which --classifier=vgg16 cannot start from: give --init=imagenet, "
            "the .h5 file of Keras' VGG-16 without its top, weights of a VGGNet, or none."
        )
    file = provenance.weights_file(settings.init)
    return (file, None) if file is None or weights.is_ours(file) else (None, file)


def build(
    settings: Classifier,
    classes: tuple[str, ...],
    steps_per_epoch: int,
    seed: int,
    own: Path | None,
    others: str | Path | None,
) -> SoftmaxClassifier:
    """The classifier from what `start` gave, its last layer new, with the paper's optimizer."""
    if settings.classifier == "vgg16":  # its first stage has 64 channels too; all the others follow
        wide = {"width": settings.width / 64, "hidden": 64 * settings.width}
        model = vgg.VGGNet(classes=classes, weights=others, seed=seed, **wide)
    else:
        model = fer_net.FERNet(classes=classes, width=settings.width, seed=seed)
    if own:
        weights.load(model, own, skip="logits")
    rate = fer_net.schedule(steps_per_epoch, settings.rate, epochs=settings.drop)
    model.compile(classifier_optimizer=keras.optimizers.SGD(rate, momentum=0.9))
    return model


def one_fold(
    settings: Classifier,
    listed: list[records.Record],
    fold: records.Fold,
    classes: tuple[str, ...],
    seed: int,
    folder: Path,
    **more: Any,
) -> evaluation.Outcome:
    """Trains on the fold's training people and tests the held-out ones; where nobody is held out, nothing is tested.

    Args:
      settings: of the run.
      listed: all records.
      fold: of these.
      classes: to be named.
      seed: of the training.
      folder: of the training.
      more: for `fitting.fit_and_test`.
    """
    strategy, weights_from = fitting.setup(settings, seed), start(settings)
    learn = data.batches(settings, [listed[i] for i in fold.train], classes, fer_net, seed, True)
    held_out = [listed[i] for i in fold.test]
    test = data.batches(settings, held_out, classes, fer_net, seed, False) if held_out else None
    make = functools.partial(build, settings, classes, len(learn), seed, *weights_from)
    return fitting.fit_and_test(settings, make, learn, test, folder, strategy, **more)
