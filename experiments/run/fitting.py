"""Training as a run's settings say: the one place where commands call `training.fit` and `evaluation.fit_and_test`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from fer_tf import evaluation, figures, training

from .settings import Training


def setup(settings: Training, seed: int) -> tf.distribute.Strategy:
    """Seed, dtype policy and replicas; before the model is made."""
    return training.setup(
        seed=seed, precision=settings.precision, strategy=settings.strategy, deterministic=settings.deterministic
    )


def options(settings: Training) -> dict[str, Any]:
    """What every training of a run gives to `training.fit`."""
    return {"max_steps": settings.max_steps, "tensorboard": settings.tensorboard, "progress": settings.progress}


def fit(
    settings: Training,
    model: Any,
    data: Any,
    folder: Path,
    strategy: tf.distribute.Strategy,
    *,
    epochs: int,
    checkpoint_steps: int = 200,
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
    training.fit(model, data, workdir=folder, epochs=epochs, strategy=strategy, **given)
    figures.save(figures.history(folder / "history.csv"), folder / "history.png")


def fit_and_test(
    settings: Training,
    build: Callable[[], Any],
    data: Any,
    test: Any | None,
    folder: Path,
    strategy: tf.distribute.Strategy,
    *,
    epochs: int | None = None,
    checkpoint_steps: int = 500,
) -> evaluation.Outcome:
    """`evaluation.fit_and_test` with a run's settings; --epochs when `epochs` is left out."""
    return evaluation.fit_and_test(
        build,
        data,
        test,
        workdir=folder,
        strategy=strategy,
        epochs=settings.epochs if epochs is None else epochs,
        checkpoint_steps=checkpoint_steps,
        **options(settings),
    )
