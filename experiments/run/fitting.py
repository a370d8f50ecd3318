"""Training as a run's settings say: the one place where commands call `training.fit` and `evaluation.fit_and_test`."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from fer_tf import devices, evaluation, figures, training

from . import jobs
from .settings import Folds, Training


def setup(settings: Training, seed: int) -> tf.distribute.Strategy:
    """Device, seed, dtype policy, XLA and replicas; before the model is made."""
    names = ("precision", "strategy", "deterministic", "xla", "device")
    return training.setup(seed=seed, **{name: getattr(settings, name) for name in names})


def options(settings: Training) -> dict[str, Any]:
    """What every training of a run gives to `training.fit`."""
    names = ("max_steps", "tensorboard", "progress", "steps_per_call")
    return {name: getattr(settings, name) for name in names}


def fit(
    settings: Training,
    model: Any,
    data: Any,
    folder: Path,
    strategy: tf.distribute.Strategy,
    *,
    epochs: int,
    checkpoint_steps: int | None = 200,
    **more: Any,
) -> None:
    """Trains a compiled model that is not tested after each epoch, such as a GAN; draws its history.

    Args:
      settings: of the run.
      model, data, strategy, epochs, checkpoint_steps: as in `training.fit`.
      folder: of this training.
      more: for `training.fit`.
    """
    given = {**options(settings), "checkpoint_steps": checkpoint_steps, **more}
    with jobs.training(settings, folder):
        with flags_named(settings):
            training.fit(model, data, workdir=folder, epochs=epochs, strategy=strategy, **given)
        figures.save(figures.history(folder / "history.csv"), folder / "history.png")


def fit_and_test(
    settings: Folds,
    build: Callable[[], Any],
    data: Any,
    test: Any | None,
    folder: Path,
    strategy: tf.distribute.Strategy,
    *,
    epochs: int | None = None,
    checkpoint_steps: int = 500,
    follows: Mapping[str, Any] | None = None,
) -> evaluation.Outcome:
    """`evaluation.fit_and_test` with a run's settings; --epochs when `epochs` is left out."""
    with jobs.training(settings, folder), flags_named(settings):
        return evaluation.fit_and_test(
            build,
            data,
            test,
            workdir=folder,
            strategy=strategy,
            epochs=settings.epochs if epochs is None else epochs,
            checkpoint_steps=checkpoint_steps,
            follows=follows,
            recalibration=settings.recalibration,
            **options(settings),
        )


@contextlib.contextmanager
def flags_named(settings: Training) -> Iterator[None]:
    """Within it, an `OutOfMemory` names the flags that give the batch size."""
    try:
        yield
    except devices.OutOfMemory as error:
        sizes = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings) if "batch_size" in f.name}
        alike = {name: size for name, size in sizes.items() if size == error.batch_size} or sizes
        given = ", ".join(f"--{name}={size}" for name, size in alike.items())
        raise devices.OutOfMemory(
            f"The device's memory does not hold a step of {error.batch_size or 'so many'} images: give less than "
            f"{given}, with another --workdir. The last checkpoint in this one is whole.",
            error.batch_size,
        ) from error
