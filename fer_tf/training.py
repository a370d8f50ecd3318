"""One `fit` for every paper: seeds, precision, replicas, checkpoints, resume, history.

    strategy = training.setup(seed=0, precision="auto", strategy="none", deterministic=True)
    with strategy.scope():
        model = FERNet(...)
        model.compile(classifier_optimizer=...)
    training.fit(model, batches, workdir="runs/a/run0/fold0/finetune", epochs=20, strategy=strategy)

The same call goes on from the last checkpoint; with `deterministic` and float32 on a CPU the weights at the end equal
those of an uninterrupted run bit for bit, wherever it was killed.

    workdir/checkpoint/   model, optimizers, loss scale, epoch and step: everything (tf.train.Checkpoint)
    workdir/best/         the model of the best epoch, where there is a validation
    workdir/history.csv   one row an epoch
    workdir/done.json     written at the end
"""

from __future__ import annotations

import csv
import functools
import json
import random
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from fer_tf import files
from fer_tf.compat import keras, set_policy

PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")
STRATEGIES = ("none", "mirrored")
NAN_CHECK = 20
"""On a GPU the losses are looked at every 20 steps, since each look waits for the device; on a CPU at every step."""


def auto_precision() -> str:
    """mixed_float16 on a GPU, mixed_bfloat16 on a CPU that computes it (AVX512-BF16 or AMX), else float32."""
    if tf.config.list_physical_devices("GPU"):
        return "mixed_float16"
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text() if cpuinfo.is_file() else ""
    return "mixed_bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


def setup(
    *, seed: int = 0, precision: str = "auto", strategy: str = "none", deterministic: bool = False
) -> tf.distribute.Strategy:
    """Seeds, dtype policy and replicas, to be set before the model is built.

    Args:
      seed: of Python, NumPy and TensorFlow: initial weights.
      precision: float32, mixed_float16, mixed_bfloat16, or auto (see `auto_precision`).
      strategy: none, or mirrored (one replica a GPU, or a logical CPU where there are several).
      deterministic: only operations that give the same bits each time; slower on a GPU.
    Returns:
      The strategy in whose scope the model is built and compiled.
    Raises:
      ValueError: an unknown precision or strategy.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"Unknown precision {precision!r}: use {', '.join(PRECISIONS)}.")
    if strategy not in STRATEGIES:
        raise ValueError(f"Unknown strategy {strategy!r}: use {', '.join(STRATEGIES)}.")
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - Keras draws initial weights from the global generators
    keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    set_policy(auto_precision() if precision == "auto" else precision)
    if strategy == "none":
        return tf.distribute.get_strategy()
    devices = [d.name for d in tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")]
    return mirrored(tuple(devices))


@functools.cache
def mirrored(devices: tuple[str, ...]) -> tf.distribute.MirroredStrategy:
    """The one strategy over these devices: a second one's sums would be taken for the first one's, and refused."""
    return tf.distribute.MirroredStrategy(devices)


def fit(
    model: keras.Model,
    data: Any,
    *,
    workdir: str | Path,
    epochs: int,
    strategy: tf.distribute.Strategy | None = None,
    checkpoint_steps: int | None = None,
    validation: Callable[[keras.Model], Mapping[str, float]] | None = None,
    monitor: str = "accuracy",
    after_epoch: Callable[[keras.Model, int], None] | None = None,
    max_steps: int | None = None,
    tensorboard: bool = False,
    progress: bool = True,
) -> list[dict[str, float]]:
    """Trains a compiled model, or goes on with a training that was interrupted.

    Args:
      model: built and compiled, with a `train_step`.
      data: `pipeline.Batches`, or any object with `epoch(number) -> tf.data.Dataset` and a length.
      workdir: the stage's own folder.
      epochs: passes over the data in all.
      strategy: the one that `setup` gave.
      checkpoint_steps: write a checkpoint every so many steps, besides the one after each epoch.
      validation: called after each epoch; its numbers go into the history, and the model of the epoch with the highest
        `monitor` is kept in workdir/best.
      monitor: name of one of the numbers of `validation`.
      after_epoch: called with (model, epoch) after each epoch, to draw sample images and the like.
      max_steps: stop for good after so many steps in all.
      tensorboard: also write event files to workdir/tensorboard.
      progress: print a line an epoch, and a running one on a terminal.
    Returns:
      The history: one dict an epoch, as in history.csv.
    Raises:
      FloatingPointError: a loss is no longer finite; the message names the step and the records of the batch.
    """
    run = _Run(model, data, Path(workdir), strategy or tf.distribute.get_strategy(), progress, tensorboard)
    run.resume()
    done = run.workdir / "done.json"
    if done.is_file() and json.loads(done.read_text())["epochs"] >= epochs:
        run.say(f"{run.workdir} is done: {json.loads(done.read_text())['epochs']} epochs.")
        return run.history
    while run.epoch < epochs and (max_steps is None or run.total < max_steps):
        row = run.one_epoch(epochs, checkpoint_steps, max_steps)
        if validation is not None:
            row.update({f"val_{name}": float(value) for name, value in validation(model).items()})
            run.keep_best(row, f"val_{monitor}")
        run.finish_epoch(row)
        if after_epoch is not None:
            after_epoch(model, int(run.epoch))
    finished = {"epochs": int(run.epoch), "steps": int(run.total), "finished": time.strftime("%F %T")}
    files.write_json(done, finished)
    return run.history


def restore(model: keras.Model, workdir: str | Path, which: str = "last") -> keras.Model:
    """Loads the model of the last or the best epoch of a training into a model built alike.

    Raises:
      FileNotFoundError: nothing was trained there.
    """
    workdir = Path(workdir)
    path = (
        tf.train.latest_checkpoint(str(workdir / "checkpoint")) if which == "last" else str(workdir / "best" / "model")
    )
    if path is None or not Path(f"{path}.index").is_file():
        raise FileNotFoundError(f"There is no {which} checkpoint in {workdir}: train first, or give another --workdir.")
    tf.train.Checkpoint(model=model).restore(path).expect_partial()
    return model


class _Run:
    """The state of a training and what is on disk of it."""

    def __init__(self, model: Any, data: Any, workdir: Path, strategy: Any, progress: bool, tensorboard: bool):
        self.model, self.data, self.workdir, self.strategy, self.progress = model, data, workdir, strategy, progress
        workdir.mkdir(parents=True, exist_ok=True)
        self.epoch = tf.Variable(0, dtype=tf.int64, trainable=False, name="epoch")
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self.total = tf.Variable(0, dtype=tf.int64, trainable=False, name="total")
        means = [v if isinstance(v, tf.Variable) else v.value for m in model.metrics for v in m.variables]
        self.checkpoint = tf.train.Checkpoint(
            model=model, epoch=self.epoch, step=self.step, total=self.total, means=means
        )
        self.manager = tf.train.CheckpointManager(self.checkpoint, str(workdir / "checkpoint"), max_to_keep=2)
        self.history: list[dict[str, float]] = []
        self.train = self._step()
        self.events = tf.summary.create_file_writer(str(workdir / "tensorboard")) if tensorboard else None
        gpu = bool(tf.config.list_physical_devices("GPU"))
        self.check_every = NAN_CHECK if gpu else 1

    def resume(self) -> None:
        """Restores the latest checkpoint, and the rows of history.csv up to it; what a kill left half written goes."""
        for left in self.workdir.glob(".best.*"):
            shutil.rmtree(left, ignore_errors=True)
        latest = self.manager.latest_checkpoint
        if latest is None:
            return
        self.checkpoint.restore(latest).assert_existing_objects_matched()
        path = self.workdir / "history.csv"
        if path.is_file():
            with path.open(newline="") as file:
                rows = [{k: float(v) for k, v in row.items() if v != ""} for row in csv.DictReader(file)]
            self.history = [{**row, "epoch": int(row["epoch"])} for row in rows if row["epoch"] <= int(self.epoch)]
        self.say(f"Going on in {self.workdir} at epoch {int(self.epoch) + 1}, step {int(self.step)}.")

    def one_epoch(self, epochs: int, checkpoint_steps: int | None, max_steps: int | None) -> dict[str, float]:
        """Trains to the end of the current epoch, from whichever step it stands at."""
        number, start, first = int(self.epoch), time.time(), int(self.step)
        if not first:
            for metric in self.model.metrics:
                metric.reset_state()
        steps, shown, pending, logs = len(self.data), start, [], {}
        stream = self.data.epoch(number).skip(first)
        if self.strategy.num_replicas_in_sync > 1:
            stream = map(self._dealt, stream)
        every, end = (0.5, "\r") if sys.stdout.isatty() else (60.0, "\n")
        for batch in stream:
            logs = self.train(batch)
            self.step.assign_add(1)
            self.total.assign_add(1)
            pending.append(batch)
            if len(pending) >= self.check_every:
                self._check(logs, pending)
                pending = []
            if checkpoint_steps and int(self.step) % checkpoint_steps == 0:
                self.manager.save()
            if self.progress and time.time() - shown > every:
                shown = time.time()
                self.say(f"epoch {number + 1}/{epochs} step {int(self.step)}/{steps} {_short(logs)}", end=end)
            if max_steps is not None and int(self.total) >= max_steps:
                break
        self._check(logs, pending)
        if not logs:  # taken up again after the last step: the means are in the checkpoint
            logs = {metric.name: metric.result() for metric in self.model.metrics}
        row = {"epoch": number + 1, **{k: float(v) for k, v in logs.items()}, "seconds": round(time.time() - start, 1)}
        return row

    def finish_epoch(self, row: dict[str, float]) -> None:
        """Writes the row and the checkpoint, and turns to the next epoch."""
        self.history.append(row)
        names = list(dict.fromkeys(name for entry in self.history for name in entry))
        lines = [",".join(names)] + [",".join(str(entry.get(n, "")) for n in names) for entry in self.history]
        files.write_text(self.workdir / "history.csv", "\n".join(lines) + "\n")
        self.epoch.assign_add(1)
        self.step.assign(0)
        self.manager.save()
        if self.events is not None:
            with self.events.as_default(step=int(self.epoch)):
                for name, value in row.items():
                    tf.summary.scalar(name, value)
            self.events.flush()
        self.say(_short(row))

    def keep_best(self, row: dict[str, float], monitor: str) -> None:
        """Keeps the model if this epoch's number is the highest so far, or none is kept."""
        if monitor not in row:
            raise KeyError(f"The validation gives no {monitor!r}: it gave {sorted(row)}.")
        before = max((entry[monitor] for entry in self.history if monitor in entry), default=-np.inf)
        if row[monitor] > before or not (self.workdir / "best" / "model.index").is_file():
            with files.replacing(self.workdir / "best") as part:
                tf.train.Checkpoint(model=self.model).write(str(part / "model"))

    def say(self, line: str, end: str = "\n") -> None:
        """Prints a line, if progress is wanted."""
        if self.progress:
            print(line, end=end, flush=True)

    def _step(self) -> Callable[[Any], dict[str, tf.Tensor]]:
        """The model's `train_step` on every replica, compiled; logs are means over the replicas."""

        @tf.function(reduce_retracing=True, jit_compile=self.model.xla or None)
        def train(batch: Any) -> dict[str, tf.Tensor]:
            logs = self.strategy.run(self.model.train_step, args=(batch,))
            return {name: self.strategy.reduce("MEAN", value, axis=None) for name, value in logs.items()}

        return train

    def _dealt(self, batch: Any) -> Any:
        """The batch dealt to the replicas, as many rows to each: where it does not come out even, its first rows go
        round again, since a replica without rows has no loss (TensorFlow's own splitting leaves some without)."""
        replicas = self.strategy.num_replicas_in_sync
        count = len(tf.nest.flatten(batch)[0])
        rows = np.arange(-(-count // replicas) * replicas) % count

        def part(context: Any) -> Any:
            mine = rows[context.replica_id_in_sync_group :: replicas]
            return tf.nest.map_structure(lambda value: tf.gather(value, mine), batch)

        return self.strategy.experimental_distribute_values_from_function(part)

    def _rows(self, batch: Any) -> list[int]:
        """Numbers of the records in a batch, of all replicas; empty where the data does not say."""
        if not isinstance(batch, Mapping) or "index" not in batch:
            return []
        return [int(i) for part in self.strategy.experimental_local_results(batch["index"]) for i in part.numpy()]

    def _check(self, logs: Mapping[str, Any], pending: list[Any]) -> None:
        bad = [name for name, value in logs.items() if not np.isfinite(float(value))]
        if bad:
            places = [i for batch in pending for i in self._rows(batch)]
            known = getattr(self.data, "records", None)
            names = [known[i].name for i in dict.fromkeys(places)] if known else places
            raise FloatingPointError(
                f"{', '.join(bad)} is no longer finite in epoch {int(self.epoch) + 1}, step {int(self.step)}; the "
                f"batch: {', '.join(map(str, names[:8]))}{' ...' if len(names) > 8 else ''}. Lower the learning rate, "
                "or train in float32; the last checkpoint is from before."
            )


def _short(values: Mapping[str, Any]) -> str:
    return " ".join(f"{k} {float(v):.0f}" if k == "epoch" else f"{k} {float(v):.4g}" for k, v in values.items())
