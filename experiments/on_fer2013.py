"""Training on FER-2013 and what it is worth: the data, the measures, and the weights with their provenance."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

from experiments import common, folds
from fer_tf import pipeline, training, weights
from fer_tf.datasets import fer2013
from fer_tf.records import CLASSES, Record, content_hashes

SHOWN = CLASSES["six_neutral"]
"""What FER-2013 shows."""

FLAGS = flags.FLAGS


def parts() -> dict[str, list[Record]]:
    """Split -> its pictures, of --data_dir."""
    return {split: fer2013.records(FLAGS.data_dir, splits=(split,)) for split in fer2013.SPLITS}


def tests(found: dict[str, list[Record]], module: Any) -> tuple[pipeline.Batches, pipeline.Batches]:
    """The test views of the public and the private test, for a model file."""
    return tuple(
        pipeline.batches(
            found[split],
            classes=SHOWN,
            template=module.TEMPLATE,
            views=module.views,
            batch_size=256,
            training=False,
        )
        for split in ("public_test", "private_test")
    )


def accuracy(model: Any, data: pipeline.Batches) -> dict[str, float]:
    """Share of the test views that are named right."""
    return {"accuracy": float(np.mean(np.equal(*folds.predict(model, data))))}


def train(
    model: Any,
    data: Any,
    found: dict[str, list[Record]],
    strategy: tf.distribute.Strategy,
    folder: Path,
    script: str,
    out: Path,
    dtype: str = "float32",
) -> None:
    """Trains a compiled model for --epochs, keeps the epoch that names most of the public test, and releases it.

    Args:
      model: made under `strategy`.
      data: to train on.
      found: of `parts`.
      strategy: of `folds.setup`.
      folder: of the run; the training goes into pretrain/.
      script: that trains, such as "experiments.pretrain".
      out: file for the weights.
      dtype: of `weights.save`.
    """
    public, _ = tests(found, sys.modules[type(model).__module__])
    training.fit(
        model,
        data,
        workdir=folder / "pretrain",
        epochs=FLAGS.epochs,
        strategy=strategy,
        validation=lambda m: accuracy(m, public),
        checkpoint_steps=100,
        max_steps=FLAGS.max_steps,
        tensorboard=FLAGS.tensorboard,
        progress=FLAGS.progress,
    )
    training.restore(model, folder / "pretrain", "best")
    release(model, found, script, folder, out, dtype)


def release(
    model: Any, found: dict[str, list[Record]], script: str, folder: Path, out: Path, dtype: str = "float32"
) -> None:
    """Measures the model on both tests; writes its weights with their provenance, and metrics.json.

    Args:
      model: trained on the training pictures.
      found: of `parts`.
      script: that trained it, such as "experiments.pretrain".
      folder: of the run, for metrics.json.
      out: file for the weights.
      dtype: of `weights.save`.
    """
    public, private = tests(found, sys.modules[type(model).__module__])
    pictures = {split: np.stack([record.image for record in part]) for split, part in found.items()}
    right = np.equal(*folds.predict(model, private))
    unseen = ~fer2013.duplicates_of(pictures["private_test"], pictures["train"])
    metric = {
        "public_test": accuracy(model, public)["accuracy"],
        "private_test": float(right.mean()),
        "private_test_without_training_pictures": float(right[unseen].mean()),
        "private_test_pictures_in_training": int((~unseen).sum()),
    }
    digest = hashlib.sha256("".join(content_hashes(found["train"])).encode()).hexdigest()
    provenance = {
        "command": common.command(script),
        "commit": common.commit(),
        "data": f"FER-2013 train, sha256 {digest}",
        "datasets": ["fer2013"],
        "metric": metric,
        "hardware": common.hardware(),
        "classes": model.classes,
        "config": {k: v for k, v in model.get_config().items() if k != "name"},
        "model": f"{type(model).__module__.rsplit('.', 1)[-1]}.{type(model).__name__}",
        "seed": FLAGS.seed,
    }
    if start := common.init_weights():
        provenance["init"] = weights.provenance(start)
    weights.save(model, out, provenance=provenance, dtype=dtype)
    common.write_json(folder / "metrics.json", metric)
    print(f"{out}: " + ", ".join(f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in metric.items()))
