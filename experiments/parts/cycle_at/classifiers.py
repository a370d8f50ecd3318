"""CycleAT's classifiers by the settings: how each is built and trained; f_S, the source's."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fer_tf import evaluation, pipeline, records
from fer_tf.compat import keras
from fer_tf.models import cycle_at

from ...run import fitting, jobs
from ...run.settings import setting
from . import domains, shared


@dataclass(frozen=True, kw_only=True)
class Classifiers(domains.Wild):
    """Networks, learning rate, attention."""

    source_network: tuple[str, ...] = setting(
        ("resnet50",), "Of f_S and f_W; with commas also further ones for Table 2."
    )
    target_network: str = setting("resnet18", "Of f_T, shallower.")
    width: float = setting(1.0, "Times the classifiers' printed channels.", low=0.01)
    pool: bool = setting(True, "Whether residual networks pool after the first convolution; small faces need not.")
    rate: float = setting(2e-4, "Adam's learning rate for the classifiers.")
    decay_to: float = setting(
        1.0, "What that falls to by the last step, as a share (cosine); 1 keeps it.", low=0, high=1
    )
    beta: float | None = setting(None, "Of eq. (7) and (10); what goes with --at_reduction when left out.", low=0)
    at_reduction: str = setting("norm", "How attention maps are compared.", choices=cycle_at.BETAS)
    judge_epochs: int = setting(8, "Of the classifiers that judge generated faces.", low=1)


class Source(NamedTuple):
    """What the stages before the target give.

    Attributes:
      f_s: the source classifier.
      tested: network of --source_network -> {last|best: (labels, predictions)} of the source people held out.
      gans: which -> generators, "alone" or "with f_W".
      train, held_out: the source's records.
      f_t: --target_network, trained as f_S was; None where no row starts with it.
    """

    f_s: cycle_at.AttentionClassifier
    tested: dict[str, Any]
    gans: dict[str, cycle_at.CycleAT]
    train: list[records.Record]
    held_out: list[records.Record]
    f_t: cycle_at.AttentionClassifier | None = None


def build(
    settings: Classifiers, network: str, classes: tuple[str, ...], seed: int, **more: Any
) -> cycle_at.AttentionClassifier:
    """A classifier of the settings; `more` are further arguments, or others than theirs."""
    names = ("size", "width", "pool", "beta", "at_reduction")
    given = {name: getattr(settings, name) for name in names} | {"seed": seed}
    return cycle_at.AttentionClassifier(classes=classes, network=network, **{**given, **more})


def alone(model: cycle_at.AttentionClassifier) -> cycle_at.AttentionClassifier:
    """The classifier without its teacher, which names faces alike: to be released."""
    config = {**model.get_config(), "teacher": None}
    return started(cycle_at.AttentionClassifier(**config), model)


def started(model: cycle_at.AttentionClassifier, of: cycle_at.AttentionClassifier) -> cycle_at.AttentionClassifier:
    """The model with another's weights; not its running means, of which a taught one has more (Keras 2 counts them)."""
    for part in ("trunk", "head"):
        getattr(model, part).set_weights(getattr(of, part).get_weights())
    return model


def optimizer(settings: Classifiers, steps: int) -> Any:
    """Adam at --rate, which falls to --decay_to of it over so many steps."""
    return cycle_at.optimizer(keras.optimizers.schedules.CosineDecay(settings.rate, steps, alpha=settings.decay_to))


def train(
    settings: Classifiers,
    learn: pipeline.Batches,
    test: pipeline.Batches | None,
    place: Path,
    seed: int,
    epochs: int,
    make: Callable[[], cycle_at.AttentionClassifier],
    follows: Mapping[str, Any] | None = None,
) -> evaluation.Outcome:
    """Trains what `make` builds, or goes on with it, and tests it, as `evaluation.fit_and_test`."""
    strategy = fitting.setup(settings, seed)

    def compiled() -> cycle_at.AttentionClassifier:
        model = make()
        model.compile(classifier_optimizer=optimizer(settings, epochs * len(learn)))
        return model

    options = {"epochs": epochs, "checkpoint_steps": 200, "follows": follows}
    return fitting.fit_and_test(settings, compiled, learn, test, place, strategy, **options)


def train_source(
    settings: Classifiers,
    listed: domains.Domains,
    classes: tuple[str, ...],
    seed: int,
    place: Path,
    networks: Sequence[str] = (),
) -> Source:
    """Source domain learning, eq. (3): f_S and what f_T starts from, all alike.

    Args:
      settings: of the run.
      listed: the domains.
      classes: of the source.
      seed: of the people who are held out, and of the weights.
      place: of the run's files.
      networks: which; the first is f_S, f_T's start is the one that is --target_network. --source_network when empty.
    """
    train_part, held_out = domains.split_source(settings, listed.source, seed)
    learn = domains.batches(settings, train_part, classes, seed, settings.batch_size)
    test, tested, models = domains.batches(settings, held_out, classes, seed), {}, {}
    networks = networks or settings.source_network
    for network in networks:
        folder = shared.home(settings, place) / "source" / network
        if not jobs.wanted(folder):
            continue
        shared.refuse_undone(settings, folder)
        make = functools.partial(build, settings, network, classes, seed)
        models[network], tested[network] = train(settings, learn, test, folder, seed, settings.epochs, make)
    return Source(models[networks[0]], tested, {}, train_part, held_out, models.get(settings.target_network))
