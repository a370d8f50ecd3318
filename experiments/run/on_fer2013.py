"""Training on FER-2013 and what it is worth: the data, the measures, and the weights with their provenance."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from fer_tf import evaluation, files, pipeline, training, weights
from fer_tf.compat import keras
from fer_tf.datasets import fer2013
from fer_tf.records import CLASSES, Record, content_hashes

from . import fitting, provenance
from .settings import Init, Training, setting

SHOWN = CLASSES["six_neutral"]
"""What FER-2013 shows."""


@dataclass(frozen=True, kw_only=True)
class PreTraining(Init, Training):
    """Those of every training on FER-2013."""

    preset: str = "paper"
    init: str = "none"
    out: str | None = setting(None, "File for the weights; in --workdir when left out.", place="path")


def parts(settings: PreTraining) -> dict[str, list[Record]]:
    """Split -> its pictures, of --data_dir; a sentence on stderr where both tests are one."""
    listed = {split: fer2013.records(settings.data_dir, splits=(split,)) for split in fer2013.SPLITS}
    if [r.key() for r in listed["public_test"]] == [r.key() for r in listed["private_test"]]:
        print(
            f"{settings.data_dir} has one test: the epoch is chosen on the very pictures that are tested.",
            file=sys.stderr,
        )
    return listed


def grey(record: Record) -> np.ndarray:
    """The picture, (48, 48) uint8."""
    if isinstance(record.image, np.ndarray):
        return record.image
    return np.asarray(Image.fromarray(pipeline.read_image(record)).convert("L"))


def tests(listed: dict[str, list[Record]], module: Any) -> tuple[pipeline.Batches, pipeline.Batches]:
    """The test views of the public and the private test, for a model file."""
    return tuple(
        pipeline.batches(
            listed[split],
            classes=SHOWN,
            template=module.TEMPLATE,
            views=module.views,
            batch_size=256,
            training=False,
        )
        for split in ("public_test", "private_test")
    )


def nesterov(rate: float, steps: int, warmup: int, decay: float, **options: Any) -> keras.optimizers.Optimizer:
    """SGD with Nesterov momentum 0.9, a warm-up, then a cosine that falls to zero; no decay of norms and biases.

    Args:
      rate: the highest learning rate.
      steps: of the whole training.
      warmup: steps until `rate` is reached, at most a quarter of all.
      decay: weight decay, times the learning rate at each step.
      options: more of Keras's SGD.
    """
    warmup = min(warmup, steps // 4)
    falling = keras.optimizers.schedules.CosineDecay(0.01, steps - warmup, warmup_target=rate, warmup_steps=warmup)
    sgd = keras.optimizers.SGD(falling, momentum=0.9, nesterov=True, weight_decay=decay, **options)
    sgd.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return sgd


def train(
    settings: PreTraining,
    model: Any,
    data: Any,
    listed: dict[str, list[Record]],
    strategy: tf.distribute.Strategy,
    folder: Path,
    experiment: str,
    out: Path,
    dtype: str = "float32",
) -> None:
    """Trains a compiled model for --epochs, keeps the epoch that names most of the public test, and releases it.

    Args:
      settings: of the run.
      model: made under `strategy`.
      data: to train on.
      listed: of `parts`.
      strategy: of `fitting.setup`.
      folder: of the run; the training goes into pretrain/.
      experiment: that trains, such as "pretrain".
      out: file for the weights.
      dtype: of `weights.save`.
    """
    public, _ = tests(listed, sys.modules[type(model).__module__])
    fitting.fit(
        settings,
        model,
        data,
        folder / "pretrain",
        strategy,
        epochs=settings.epochs,
        checkpoint_steps=100,
        validation=lambda m: {"accuracy": evaluation.accuracy(m, public)},
    )
    training.restore(model, folder / "pretrain", "best")
    release(settings, model, listed, experiment, folder, out, dtype)


def release(
    settings: PreTraining,
    model: Any,
    listed: dict[str, list[Record]],
    experiment: str,
    folder: Path,
    out: Path,
    dtype: str = "float32",
) -> None:
    """Measures the model on both tests; writes its weights with their provenance, and metrics.json.

    Args:
      model: trained on the training pictures.
      settings, listed, experiment, folder, out, dtype: as in `train`.
    """
    public, private = tests(listed, sys.modules[type(model).__module__])
    pictures = {split: np.stack([grey(record) for record in part]) for split, part in listed.items()}
    right = np.equal(*evaluation.predict(model, private))
    new = ~fer2013.duplicates_of(pictures["private_test"], pictures["train"])
    metric = {
        "public_test": evaluation.accuracy(model, public),
        "private_test": float(right.mean()),
        "private_test_without_training_pictures": float(right[new].mean()),
        "private_test_pictures_in_training": int((~new).sum()),
    }
    digest = hashlib.sha256("".join(content_hashes(listed["train"])).encode()).hexdigest()
    start = provenance.weights_file(settings.init)
    more = {"init": weights.provenance(start)} if start else {}
    about = provenance.of_weights(
        settings,
        experiment,
        data=f"FER-2013 train, sha256 {digest}",
        datasets=["fer2013"],
        model=model,
        metric=metric,
        **more,
    )
    weights.save(model, out, provenance=about, dtype=dtype)
    files.write_json(folder / "metrics.json", metric)
    print(f"{out}: " + ", ".join(f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in metric.items()))
