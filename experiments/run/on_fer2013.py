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


CHOOSING, TESTED = ("public_test", "validation"), ("private_test", "test")
"""Parts on which the epoch may be chosen, and that may be tested."""
HELD_OUT = "held_out_of_train"


def parts(settings: PreTraining) -> dict[str, list[Record]]:
    """{part: its pictures} of --data_dir: what is trained on, what the epoch is chosen on, what is tested.

    Where the folder has fewer parts, tenths of the training pictures take their place, the same ones at each start and
    equal pictures together; a sentence on stderr says so. No picture is in two parts.

    Raises:
      ValueError: too few training pictures for that.
    """
    listed: dict[str, list[Record]] = {}
    for record in fer2013.records(settings.data_dir):
        listed.setdefault(record.split or "", []).append(record)
    names = [next((name for name in known if name in listed), None) for known in (CHOOSING, TESTED)]
    if names[1] is None:  # what there is beside the training is tested, rather than chosen on
        names = [None, names[0]]
    made = {"train": listed.get("train", [])}
    for place, name in enumerate(names):
        made[name or f"{HELD_OUT}_{place + 1}"] = listed.get(name, []) if name else []
    spare = [name for name, part in made.items() if not part and name != "train"]
    for name, drawn in zip(spare, held_out(made["train"], len(spare)), strict=True):
        made[name] = [made["train"][i] for i in drawn]
    taken = {id(record) for name in spare for record in made[name]}
    made["train"] = [record for record in made["train"] if id(record) not in taken]
    if spare:
        choosing, tested = [*made][1:]
        print(
            f"{settings.data_dir} has {' and '.join(listed)} alone: of its training pictures "
            f"{', '.join(f'{len(made[name])} are {name}' for name in spare)}. The epoch is chosen on {choosing}, "
            f"and {tested} is tested.",
            file=sys.stderr,
        )
    return made


def held_out(train: list[Record], count: int) -> list[list[int]]:
    """Places of `count` tenths of the pictures, at least one picture each, drawn by their contents.

    Raises:
      ValueError: fewer different pictures than `count` + 1.
    """
    by_content: dict[str, list[int]] = {}
    for i, digest in enumerate(content_hashes(train) if count else ()):
        by_content.setdefault(digest, []).append(i)
    drawn = sorted(by_content)
    if count and len(drawn) <= count:
        raise ValueError(f"{len(drawn)} different training pictures are too few to hold {count} parts out of them.")
    share = max(1, len(drawn) // 10) if count else 0
    return [[i for d in drawn[k * share : (k + 1) * share] for i in by_content[d]] for k in range(count)]


def grey(record: Record) -> np.ndarray:
    """The picture, (48, 48) uint8; one of another size is resized."""
    if isinstance(record.image, np.ndarray):
        return record.image
    picture = Image.fromarray(pipeline.read_image(record)).convert("L")
    return np.asarray(picture if picture.size == (48, 48) else picture.resize((48, 48), Image.Resampling.BOX))


def tests(listed: dict[str, list[Record]], module: Any) -> tuple[pipeline.Batches, pipeline.Batches]:
    """The test views of what the epoch is chosen on and of what is tested, for a model file."""
    return tuple(
        pipeline.batches(
            part,
            classes=SHOWN,
            template=module.TEMPLATE,
            views=module.views,
            batch_size=256,
            training=False,
        )
        for part in [*listed.values()][1:]
    )


def rising_and_falling(rate: float, steps: int, warmup: int) -> Any:
    """A learning rate that rises to `rate` in `warmup` steps, a quarter of all at most, then a cosine down to zero."""
    warmup = min(warmup, steps // 4)
    return keras.optimizers.schedules.CosineDecay(0.01, steps - warmup, warmup_target=rate, warmup_steps=warmup)


def nesterov(rate: Any, decay: float, **options: Any) -> keras.optimizers.Optimizer:
    """SGD with Nesterov momentum 0.9 and weight decay, but none of norms and biases.

    Args:
      rate: learning rate, or a schedule of it.
      decay: weight decay, times the learning rate at each step.
      options: more of Keras's SGD.
    """
    sgd = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=decay, **options)
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
    """Trains a compiled model for --epochs, keeps the epoch that is best on the part for that, and releases it.

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
        held_out=public,
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
    right, (choosing, tested) = np.equal(*evaluation.predict(model, private)), [*listed][1:]
    new = ~fer2013.duplicates_of(pictures[tested], pictures["train"])
    metric = {
        choosing: evaluation.accuracy(model, public),
        tested: float(right.mean()),
        f"{tested}_without_training_pictures": float(right[new].mean()) if new.any() else None,
        f"{tested}_pictures_in_training": int((~new).sum()),
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
