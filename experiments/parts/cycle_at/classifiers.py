"""CycleAT's classifiers by the flags: how each is built and trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import flags

from fer_tf import pipeline
from fer_tf.compat import keras
from fer_tf.models import cycle_at

from ...run import folds

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Networks, learning rate, attention."""
    flags.DEFINE_string("source_network", "resnet50", "Of f_S and f_W; with commas also further ones for Table 2.")
    flags.DEFINE_string("target_network", "resnet18", "Of f_T, shallower.")
    flags.DEFINE_float("width", 1.0, "Times the classifiers' printed channels.", lower_bound=0.01)
    flags.DEFINE_bool("pool", True, "Whether residual networks pool after the first convolution; small faces need not.")
    flags.DEFINE_float("rate", 2e-4, "Adam's learning rate for the classifiers.")
    flags.DEFINE_float("decay_to", 1.0, "What that falls to by the last step, as a share (cosine); 1 keeps it.", 0, 1)
    flags.DEFINE_float("beta", None, "Of eq. (7) and (10); what goes with --at_reduction when left out.", 0)
    flags.DEFINE_enum("at_reduction", "norm", list(cycle_at.BETAS), "How attention maps are compared.")
    flags.DEFINE_integer("judge_epochs", 8, "Of the classifiers that judge generated faces.", lower_bound=1)


def rate(data: Any, epochs: int) -> Any:
    """--rate, falling to --decay_to of it over so many epochs."""
    return keras.optimizers.schedules.CosineDecay(FLAGS.rate, epochs * len(data), alpha=FLAGS.decay_to)


def build(network: str, classes: tuple[str, ...], seed: int, **more: Any) -> cycle_at.AttentionClassifier:
    """A classifier of the flags."""
    given = {"size": FLAGS.size, "width": FLAGS.width, "pool": FLAGS.pool, "beta": FLAGS.beta}
    given |= {"at_reduction": FLAGS.at_reduction, "seed": seed}
    return cycle_at.AttentionClassifier(classes=classes, network=network, **{**given, **more})


def train(
    learn: pipeline.Batches,
    test: pipeline.Batches | None,
    place: Path,
    seed: int,
    epochs: int,
    make: Callable[[], cycle_at.AttentionClassifier],
) -> Any:
    """Trains what `make` builds, or goes on with it: as `folds.train_and_test`."""
    strategy = folds.setup(seed)

    def compiled() -> cycle_at.AttentionClassifier:
        model = make()
        model.compile(classifier_optimizer=cycle_at.optimizer(rate(learn, epochs)))
        return model

    return folds.train_and_test(compiled, learn, test, place, strategy, steps=200, epochs=epochs)
