"""Trains SE-ResNet on FER-2013 and FER+, for weights/se_resnet_ferplus.h5: the recogniser of eight expressions.

    python -m experiments.pretrain_se_resnet --data_dir=<folder> --out=weights/se_resnet_ferplus.h5

The folder holds FER-2013 and FER+'s votes in either form of `datasets/fer2013.py`. One trunk learns both: the votes of
ten people over eight classes, and FER-2013's own labels. SGD with Nesterov momentum 0.9, batch 128, a warm-up and a
cosine that falls to zero, weight decay; views, mixup and CutMix are drawn inside the step. A running average of the
weights is what is tested and kept. The epoch, two temperatures, the blend of both heads and the balance, by which rare
expressions are named more readily than FER+'s people do (`measures.calibrate`), are chosen on the public test; the
private test is read once, at the end, by the weights as they are stored, in half precision. --minutes ends the training
by the clock, which the cosine then follows: for a machine that is lent for minutes.

`--preset=paper` wants a GPU. `--preset=quick`, a quarter of its channels for 16 epochs, is for two cores: some 18
core-minutes in bfloat16, 26 in float32, by steps of 128 faces that took one core of an AMD EPYC (AVX512-BF16) 0.29 and
0.41 s.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import export, files, pipeline, training, weights
from fer_tf.models import se_resnet
from fer_tf.records import CLASSES, Record, content_hashes

from .parts.se_resnet import measures
from .parts.se_resnet.clock import Clock
from .parts.se_resnet.voted import Voted
from .run import command_line, fitting, on_fer2013, provenance, settings, work
from .run.settings import FEEDS, setting

PRESETS = {
    "paper": {"epochs": 120},
    "quick": {"epochs": 16, "width": 16},
    "smoke": {"epochs": 2, "batch_size": 8, "width": 4, "blocks": 1, "size": 16},
}

PASSED = ("width", "blocks", "size", "dropout", "label_smoothing", "label_share", "average", *se_resnet.VIEWS)
"""Settings that the net takes."""


@settings.command(PRESETS)
class Settings(on_fer2013.PreTraining):
    """SE-ResNet's, and those of a training on FER-2013."""

    batch_size: int = 128
    width: int = setting(64, "Channels of the first stage.", low=1)
    blocks: int = setting(2, "Residual blocks a stage.", low=1)
    size: int = setting(48, "Pixels a side that a face is reduced to.", low=8)
    minutes: float = setting(
        0.0, "End after so long if --epochs take longer; the rate follows the clock. 0: no limit.", low=0
    )
    rate: float = setting(0.1, "Highest learning rate.", low=0)
    warmup: int = setting(3, "Epochs until it is reached.", low=0)
    decay: float = setting(5e-3, "Weight decay, times the learning rate at each step.", low=0)
    clip: float = setting(5.0, "Largest norm of a step's gradient.", low=1e-3)
    dropout: float = setting(0.3, "Share of the features that is dropped.", low=0, high=0.99)
    label_smoothing: float = setting(0.1, "Share of FER-2013's label spread over all.", low=0, high=0.99)
    label_share: float = setting(0.5, "Weight of FER-2013's labels; the votes have the rest.", low=0, high=1)
    average: float = setting(0.999, "Momentum of the weights' running average; 0: none.", low=0, high=0.999999)
    degrees: float = setting(25.0, "Largest turn of a view.", low=0)
    zoom: float = setting(0.2, "Largest change of a view's size.", low=0)
    shift: float = setting(0.1, "Largest move of a view, as a share of its side.", low=0, high=0.5)
    light: float = setting(0.7, "Strength of other light.", low=0, high=1.5)
    coarse: float = setting(0.15, "Share of the views that lose resolution.", low=0, high=1)
    noise: float = setting(0.03, "Largest grain of a view.", low=0)
    erase: float = setting(0.5, "Share of the views in which a rectangle is covered.", low=0, high=1)
    mixup: float = setting(0.4, "Share of the views mixed with another one.", low=0, high=1)
    cutmix: float = setting(0.1, "Share of the views with a rectangle of another one.", low=0, high=1)
    alpha: float = setting(0.4, "Of mixup's Beta distribution.", low=1e-3)


def build(settings: Settings, steps_per_epoch: int) -> se_resnet.SEResNet:
    """The net, compiled; from --init where that is given."""
    model = se_resnet.SEResNet(seed=settings.seed, **{name: getattr(settings, name) for name in PASSED})
    if start := provenance.weights_file(settings.init):
        weights.load(model, start)
    rate: Any = settings.rate / (settings.warmup + 1)  # at first; the clock sets it anew after each epoch
    if not settings.minutes:
        steps, warmup = settings.epochs * steps_per_epoch, settings.warmup * steps_per_epoch
        rate = on_fer2013.rising_and_falling(settings.rate, steps, warmup)
    model.compile(classifier_optimizer=on_fer2013.nesterov(rate, settings.decay, global_clipnorm=settings.clip))
    return model


def clocked(settings: Settings, model: se_resnet.SEResNet, folder: Path) -> dict[str, Any]:
    """What `training.fit` is given where --minutes says how long it may take."""
    if not settings.minutes:
        return {}
    own = Clock(folder / "clock.json", 60 * settings.minutes, settings.epochs, settings.rate, settings.warmup)
    return {"after_epoch": own.after_epoch, "stop": own.stop}


def stored(model: se_resnet.SEResNet, out: Path) -> se_resnet.SEResNet:
    """The net as a reader of its weights file has it: in float32, from kernels in half precision."""
    twin = export.in_float32(model)
    weights.save(twin, out, provenance={}, dtype="float16")
    weights.load(twin, out)
    return twin


def release(
    settings: Settings, model: se_resnet.SEResNet, listed: dict[str, list[Record]], folder: Path, out: Path
) -> dict[str, Any]:
    """Calibrates and measures the net as it will be stored; writes it with its provenance, and metrics.json."""
    twin = stored(model, out)
    reader = measures.Reader(twin)
    named = {
        split: measures.Named(listed[split], twin.classes, twin.label_classes)
        for split in ("public_test", "private_test")
    }
    logits = reader(named["public_test"].faces)
    seen = measures.frequencies(listed["train"], twin.classes)
    measures.calibrate(twin, logits, named["public_test"], seen)
    pictures = np.stack([on_fer2013.grey(record) for record in listed["train"]])
    metric = {
        "public_test": measures.on(twin, logits, named["public_test"]),
        "private_test": measures.private(reader, named["private_test"], pictures),
        "temperature": twin.temperature,
        "label_temperature": twin.label_temperature,
        "blend": twin.blend,
        "balance": twin.balance,
    }
    digest = hashlib.sha256("".join(content_hashes(listed["train"])).encode()).hexdigest()
    start = provenance.weights_file(settings.init)
    about = provenance.of_weights(
        settings,
        "pretrain_se_resnet",
        data=f"FER-2013 train with the votes of FER+, sha256 of the pictures {digest}",
        datasets=["fer2013"],
        model=twin,
        metric=metric,
        **({"init": weights.provenance(start)} if start else {}),
    )
    weights.save(twin, out, provenance=about, dtype="float16")
    files.write_json(folder / "metrics.json", metric)
    return metric


@work.alone
def run(settings: Settings) -> Path:
    """Trains, picks the epoch, measures, writes the weights; gives their file."""
    folder, listed = work.folder(settings, "pretrain_se_resnet"), on_fer2013.parts(settings)
    if not any("votes" in record.info for record in listed["train"]):
        raise ValueError(
            f"{settings.data_dir} has no votes of FER+: put fer2013new.csv beside fer2013.csv, or ferplus.npz "
            "beside the .npz files."
        )
    if missing := [name for name in ("public_test", "private_test") if name not in listed]:
        raise ValueError(f"{settings.data_dir} has no {missing[0]}, by which the epoch is chosen or that is tested.")
    strategy = fitting.setup(settings, settings.seed)
    batches = pipeline.batches(
        listed["train"],
        classes=on_fer2013.SHOWN,
        template=se_resnet.TEMPLATE,
        views=se_resnet.views,
        batch_size=settings.batch_size,
        seed=settings.seed,
        device=FEEDS[settings.feed],
    )
    data = Voted(batches, CLASSES["eight"])
    with strategy.scope():
        model = build(settings, len(data))
    public = measures.Named(listed["public_test"], model.classes, model.label_classes)
    reader = measures.Reader(model)

    def validation(model: se_resnet.SEResNet) -> dict[str, float]:
        with model.averaged():
            votes, labels = reader(public.faces)
        found = {"votes": measures.accuracy(votes, public.votes), "labels": measures.accuracy(labels, public.labels)}
        return {"accuracy": (found["votes"] + found["labels"]) / 2, **found}

    fitting.fit(
        settings,
        model,
        data,
        folder / "pretrain",
        strategy,
        epochs=settings.epochs,
        checkpoint_steps=None,
        validation=validation,
        held_out=listed["public_test"],
        **clocked(settings, model, folder),
    )
    training.restore(model, folder / "pretrain", "best")
    if model.averages is not None:
        model.averages.take()
    out = Path(settings.out or folder / "se_resnet_ferplus.h5")
    metric = release(settings, model, listed, folder, out)
    found = metric["private_test"]
    print(f"{out}: FER+ {found['votes']:.4f}, FER-2013 {found['labels']:.4f} on the private test", flush=True)
    return out


if __name__ == "__main__":
    command_line.main(Settings, run)
