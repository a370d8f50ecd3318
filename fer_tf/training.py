"""One `fit` for every paper: seeds, precision, replicas, checkpoints, resume, history.

    strategy = training.setup(seed=0, precision="auto", strategy="none", deterministic=True)
    with strategy.scope():
        model = FERNet(...)
        model.compile(classifier_optimizer=...)
    training.fit(model, batches, workdir="runs/a/run0/fold0/finetune", epochs=20, strategy=strategy)

The same call goes on from the last checkpoint; with `deterministic` and float32 on a CPU the weights at the end equal
those of an uninterrupted run bit for bit, wherever it was killed.

    workdir/checkpoint/      model, optimizers, loss scale, epoch and step: everything (tf.train.Checkpoint)
    workdir/trained_on.json  what it learns from; a checkpoint that learnt from anything else is refused
    workdir/best/            the model of the best epoch, where there is a validation
    workdir/history.csv      one row an epoch
    workdir/done.json        written at the end

More `epochs` or `max_steps` go on from there. Workers of several machines all call this; the chief alone writes.
"""

from __future__ import annotations

import csv
import functools
import importlib.util
import json
import math
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from fer_tf import checkpoints, devices, files, trained_on, workers
from fer_tf.compat import keras, set_policy, set_xla
from fer_tf.steps import Steps

PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")
STRATEGIES = ("none", "mirrored", "multi_worker")
XLA = ("auto", "on", "off")
LOWER = "Lower the learning rate, or train in float32; the last checkpoint is from before."
"""What to do about numbers that are no longer finite."""
PAYS = 5_000
"""Steps from which XLA is worth its compilation: on an H200, 44 to 70 s for 5 to 14 ms less a step (ED2L, GCNet)."""
STEPS_PER_CALL = 20
"""Steps that a GPU makes between two looks at the losses, each of which waits for it; a CPU makes one."""


def auto_precision(xla: str = "auto", device: str = "auto") -> str:
    """The dtype policy that `auto` stands for, by what was measured.

    On a GPU that computes bfloat16 (compute capability 8.0 or more) mixed_bfloat16 where XLA compiles, else float32: on
    an H200 XLA's step of IA-gen took 4.9 ms in bfloat16 and 6.5 in float32; without XLA mixed_float16 learnt from 12
    to 16 % fewer images a second than float32 (FER-Net, ED2L, GCNet). On a CPU mixed_bfloat16 where it has AVX512-BF16
    or AMX, else float32.
    """
    if device != "cpu" and (gpus := devices.gpus()):
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
        return "mixed_bfloat16" if xla != "off" and capability >= (8, 0) else "float32"
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text() if cpuinfo.is_file() else ""
    return "mixed_bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


def setup(
    *,
    seed: int = 0,
    precision: str = "auto",
    strategy: str = "none",
    deterministic: bool = False,
    xla: str = "auto",
    device: str = "auto",
) -> tf.distribute.Strategy:
    """Device, seeds, dtype policy, XLA and replicas, to be set before the model is built.

    Args:
      seed: of Python, NumPy and TensorFlow: initial weights.
      precision: float32, mixed_float16, mixed_bfloat16, or auto (see `auto_precision`).
      strategy: none, mirrored (one replica a GPU, or a logical CPU where there are several), or multi_worker (those of
        all machines that TF_CONFIG names; before TensorFlow's first operation, see `workers.join`).
      deterministic: only operations that give the same bits each time; slower on a GPU.
      xla: on, off, or auto: where there is a GPU, and in `fit` at least `PAYS` steps are to be made: compiling takes
        about a minute. On a CPU it is several times slower, which is printed.
      device: cpu, gpu, or auto: the GPU where TensorFlow can use one (see `devices.choose`).
    Returns:
      The strategy in whose scope the model is built and compiled.
    Raises:
      ValueError: an unknown precision, strategy, xla or device, or XLA on several machines.
      devices.Refused: a GPU is asked for and cannot be used; the message says why.
    """
    if xla not in XLA:
        raise ValueError(f"Unknown xla {xla!r}: use {', '.join(XLA)}.")
    if precision not in PRECISIONS:
        raise ValueError(f"Unknown precision {precision!r}: use {', '.join(PRECISIONS)}.")
    if strategy not in STRATEGIES:
        raise ValueError(f"Unknown strategy {strategy!r}: use {', '.join(STRATEGIES)}.")
    devices.choose(device)
    if strategy == "multi_worker":
        xla = workers_xla(xla)
        workers.join({"seed": seed, "precision": auto_precision(xla) if precision == "auto" else precision})
    set_xla({"auto": None, "on": True, "off": False}[xla])
    if xla == "on" and not devices.gpus():
        print("--xla=on without a GPU: XLA's code for a CPU is several times slower than TensorFlow's own.", flush=True)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - Keras draws initial weights from the global generators
    keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    set_policy(auto_precision(xla) if precision == "auto" else precision)
    if strategy == "multi_worker":
        return workers.join()
    if strategy == "none":
        return tf.distribute.get_strategy()
    names = [d.name for d in tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")]
    return mirrored(tuple(names))


def workers_xla(xla: str) -> str:
    """What --xla comes to on several machines: off.

    Raises:
      ValueError: it is on.
    """
    if xla == "on":
        raise ValueError(
            "--xla=on compiles a step as a whole, in the middle of which the workers of --strategy=multi_worker meet: "
            "leave one of them out."
        )
    return "off"


@functools.cache
def mirrored(names: tuple[str, ...]) -> tf.distribute.MirroredStrategy:
    """The one strategy over these devices: a second one's sums would be taken for the first one's, and refused."""
    return tf.distribute.MirroredStrategy(names)


@workers.lost_named()
def fit(
    model: keras.Model,
    data: Any,
    *,
    workdir: str | Path,
    epochs: int,
    strategy: tf.distribute.Strategy | None = None,
    validation: Callable[[keras.Model], Mapping[str, float]] | None = None,
    monitor: str = "accuracy",
    after_epoch: Callable[[keras.Model, int], None] | None = None,
    stop: Callable[[int], bool] | None = None,
    held_out: Any = None,
    follows: Mapping[str, Any] | None = None,
    max_steps: int | None = None,
    checkpoint_steps: int | None = None,
    **options: Any,
) -> list[dict[str, float]]:
    """Trains a compiled model, or goes on with a training that was interrupted, or is to be longer than it was.

    Args:
      model: built and compiled, with a `train_step`.
      data: `pipeline.Batches`, or any object with `epoch(number) -> tf.data.Dataset` and a length.
      workdir: the stage's own folder.
      epochs: passes over the data in all.
      strategy: the one that `setup` gave.
      validation: called after each epoch; its numbers go into the history, and the model of the epoch with the highest
        `monitor` is kept in workdir/best.
      monitor: name of one of the numbers of `validation`.
      after_epoch: called with (model, epoch) after each epoch, to draw sample images and the like.
      stop: called with the number of epochs so far before each further one; True ends the training.
      held_out, follows: what `validation` tests, and name -> networks on which this training depends: with `data`
        they bind the checkpoint (`trained_on.describe`).
      max_steps: stop after so many steps in all.
      checkpoint_steps: write a checkpoint every so many steps, besides the one after each epoch.
      options: of `Run`.
    Returns:
      The history: one dict an epoch, as in history.csv.
    Raises:
      FloatingPointError: a loss or a weight is no longer finite; the message names the step and the batch's records.
      ValueError: the checkpoint in workdir learnt from other data; the message names what changed.
      devices.OutOfMemory, workers.Lost: a step does not fit the memory; a worker is gone. The checkpoint is whole.
    """
    strategy, workdir = strategy or tf.distribute.get_strategy(), Path(workdir)
    _bind(workdir, trained_on.describe(data, held_out, follows))
    planned = min(epochs * len(data), math.inf if max_steps is None else max_steps)
    if getattr(model, "xla_is_auto", False) and planned < PAYS:
        model.xla = False
    run = Run(model, data, workdir, strategy, **options)
    run.resume(epochs, max_steps)
    while run.epoch < epochs and not run.ended and not (stop is not None and workers.agreed(stop(run.epoch))):
        row = run.one_epoch(epochs, checkpoint_steps, max_steps)
        run.check_weights()  # a network may give finite answers by weights that are none
        if validation is not None:
            row.update({f"val_{name}": float(value) for name, value in validation(model).items()})
            run.keep_best(row, f"val_{monitor}")
        run.finish_epoch(row)
        if after_epoch is not None:
            after_epoch(model, int(row["epoch"]))
    run.finish()
    return run.history


def _bind(workdir: Path, described: Mapping[str, Any]) -> None:
    """Binds a training to what it learns from, and refuses to go on with another one, or with workers of another."""
    workers.refuse_unlike("data to learn from", lambda: json.dumps(described))
    trained_on.bind(workdir, described)


def need_tensorboard() -> None:
    """Refuses event files where they cannot be written.

    Raises:
      ImportError: TensorBoard is not installed, which TensorFlow 2.21 no longer brings.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise ImportError(
            "--tensorboard needs the package tensorboard, which this TensorFlow does not bring: `pip install "
            'tensorboard`, or install this package with its extra, `pip install ".[tensorboard]"`.'
        )


def restore(model: keras.Model, workdir: str | Path, which: str = "last") -> keras.Model:
    """Loads the model of the last or the best epoch of a training into a model built alike.

    Raises:
      FileNotFoundError: nothing was trained there.
    """
    workdir = Path(workdir)
    path = (
        tf.train.latest_checkpoint(str(workdir / "checkpoint")) if which == "last" else str(workdir / "best" / "model")
    )
    if path is None or not workers.sees(Path(f"{path}.index")):
        raise FileNotFoundError(f"There is no {which} checkpoint in {workdir}: train first, or give another --workdir.")
    checkpoints.restore(tf.train.Checkpoint(model=model), path).expect_partial()
    return model


class Run:
    """The state of a training and what is on disk of it.

    Args:
      model, data, workdir, strategy: as of `fit`.
      progress: print a line an epoch, and a running one on a terminal.
      tensorboard: also write event files to workdir/tensorboard; see `need_tensorboard`.
      steps_per_call: steps that TensorFlow makes before Python looks at the losses; 0 for `STEPS_PER_CALL` on a GPU and
        one on a CPU. Fewer where a checkpoint or the epoch's end comes first; the same bits whatever it is.
    """

    def __init__(
        self,
        model: Any,
        data: Any,
        workdir: Path,
        strategy: Any,
        *,
        progress: bool = True,
        tensorboard: bool = False,
        steps_per_call: int = 0,
    ):
        self.model, self.data, self.workdir, self.progress = model, data, workdir, progress and workers.writes()
        if tensorboard:
            need_tensorboard()
        files.make_folder(workdir)
        self.epoch = self.step = self.total = 0
        self.ended, self.best = False, -math.inf
        self.before: list[dict[str, int]] = []
        with tf.device("CPU:0"):
            self.counts = {n: tf.Variable(0, dtype=tf.int64, name=n) for n in ("epoch", "step", "total")}
        means = [v if isinstance(v, tf.Variable) else v.value for m in model.metrics for v in m.variables]
        self.checkpoint = tf.train.Checkpoint(model=model, means=means, **self.counts)
        self.folder = str(workdir / "checkpoint")
        self.apart = None if workers.writes() else tempfile.TemporaryDirectory()  # to save, all workers have to
        kept = self.folder if self.apart is None else self.apart.name
        self.manager = tf.train.CheckpointManager(self.checkpoint, kept, max_to_keep=2)
        self.finite = tf.function(lambda: checkpoints.all_finite(model))
        self.history: list[dict[str, float]] = []
        self.steps = Steps(model, data, strategy, steps_per_call or (STEPS_PER_CALL if devices.gpus() else 1))
        events = tensorboard and workers.writes()
        self.events = tf.summary.create_file_writer(str(workdir / "tensorboard")) if events else None

    def resume(self, epochs: int, max_steps: int | None) -> None:
        """Restores the latest checkpoint, and the rows of history.csv up to it; what a kill left half written goes.

        A training that has reached `epochs` or `max_steps` is `ended`. Of one that stopped within an epoch and is to go
        on, that epoch's row is written anew.

        Raises:
          ValueError: another worker sees another checkpoint, or starts from other weights.
        """
        if workers.writes():
            for left in self.workdir.glob(".best.*"):
                shutil.rmtree(left, ignore_errors=True)
            checkpoints.tidy(self.manager)
        latest = self.manager.latest_checkpoint if workers.writes() else tf.train.latest_checkpoint(self.folder)
        workers.refuse_unlike(f"checkpoints in {self.folder}", lambda: Path(latest or "").name)
        if latest is None:
            workers.refuse_unlike("weights to start from", lambda: trained_on.weights_digest(self.model))
            return
        checkpoints.restore(self.checkpoint, latest).assert_existing_objects_matched()
        self.epoch, self.step, self.total = (int(self.counts[n]) for n in ("epoch", "step", "total"))
        done = self._read("done.json")
        here = done.get("steps") == self.total  # else a kill came before the end of a longer one
        if done:
            self.before = [*done.get("before", []), {k: done[k] for k in ("epochs", "steps")}]
        enough = max_steps is not None and self.total >= max_steps
        self.ended = bool(workers.agreed(here and (enough or self.epoch >= epochs)))
        path = self.workdir / "history.csv"
        if path.is_file():
            with path.open(newline="") as file:
                rows = [{k: float(v) for k, v in row.items() if v != ""} for row in csv.DictReader(file)]
            last = self.epoch + (self.ended and self.step > 0)
            self.history = [{**row, "epoch": int(row["epoch"])} for row in rows if row["epoch"] <= last]
        kept = self._read("best/best.json")
        if kept and kept["steps"] <= self.total:
            self.best = kept["value"]
        self.say(
            f"{self.workdir} is done: {self.epoch} epochs, {self.total} steps."
            if self.ended
            else f"Going on in {self.workdir} at epoch {self.epoch + 1}, step {self.step}."
        )

    def _read(self, name: str) -> dict[str, Any]:
        file = self.workdir / name
        return json.loads(file.read_text()) if file.is_file() else {}

    def check_weights(self) -> None:
        """Raises FloatingPointError where a weight is no longer finite."""
        if not bool(self.finite()):
            raise FloatingPointError(
                f"The weights are no longer finite in epoch {self.epoch + 1}, step {self.step}. {LOWER}"
            )

    def save(self) -> None:
        """Writes a checkpoint of where the training stands."""
        for name, count in self.counts.items():
            count.assign(getattr(self, name))
        checkpoints.save(self.manager)

    def one_epoch(self, epochs: int, checkpoint_steps: int | None, max_steps: int | None) -> dict[str, float]:
        """Trains to the end of the current epoch, or of all steps, from whichever step it stands at."""
        if not self.step:
            for metric in self.model.metrics:
                metric.reset_state()
        start = shown = time.time()
        logs: Mapping[str, Any] = {}
        every, end = (0.5, "\r") if sys.stdout.isatty() else (60.0, "\n")
        enough = max_steps is not None and self.total >= max_steps  # killed before the last row was written
        until = self._until(checkpoint_steps, max_steps)
        for call in () if enough else self.steps.epoch(self.epoch, self.step, until):
            logs = call.logs
            self.step += call.steps
            self.total += call.steps
            self._check(call)
            if checkpoint_steps and self.step % checkpoint_steps == 0:
                self.check_weights()
                self.save()
            if self.progress and time.time() - shown > every:
                shown = time.time()
                self.say(f"epoch {self.epoch + 1}/{epochs} step {self.step}/{len(self.data)} {_short(logs)}", end=end)
            if max_steps is not None and self.total >= max_steps:
                enough = True
                break
        self.ended = enough
        if not logs:  # taken up again after the last step: the means are in the checkpoint
            logs = {metric.name: float(metric.result()) for metric in self.model.metrics}
        return {"epoch": self.epoch + 1, **logs, "seconds": round(time.time() - start, 1)}

    def _until(self, checkpoint_steps: int | None, max_steps: int | None) -> Callable[[int], int]:
        """Step of this epoch -> the step at which its call has to end for a checkpoint or the last step of all."""
        last = np.inf if max_steps is None else self.step + max_steps - self.total

        def until(step: int) -> int:
            due = np.inf if not checkpoint_steps else (step // checkpoint_steps + 1) * checkpoint_steps
            return int(min(due, last, len(self.data)))

        return until

    def finish_epoch(self, row: dict[str, float]) -> None:
        """Writes the row and the checkpoint; after a whole epoch, turns to the next."""
        self.history.append(row)
        names = list(dict.fromkeys(name for entry in self.history for name in entry))
        lines = [",".join(names)] + [",".join(str(entry.get(n, "")) for n in names) for entry in self.history]
        files.write_text(self.workdir / "history.csv", "\n".join(lines) + "\n")
        if not self.ended or self.step >= len(self.data):
            self.epoch += 1
            self.step = 0
        self.save()
        if self.events is not None:
            with self.events.as_default(step=row["epoch"]):
                for name, value in row.items():
                    tf.summary.scalar(name, value)
            self.events.flush()
        self.say(_short(row))

    def keep_best(self, row: dict[str, float], monitor: str) -> None:
        """Keeps the model if this epoch's number is the highest so far, or none is kept."""
        if monitor not in row:
            raise KeyError(f"The validation gives no {monitor!r}: it gave {sorted(row)}.")
        before = max([self.best, *(entry[monitor] for entry in self.history if monitor in entry)])
        if workers.agreed(row[monitor] > before or not (self.workdir / "best" / "model.index").is_file()):
            self.best = row[monitor]
            with files.replacing(self.workdir / "best") as part:
                tf.train.Checkpoint(model=self.model).write(str(part / "model"))
                files.write_json(part / "best.json", {"value": self.best, "epoch": row["epoch"], "steps": self.total})

    def finish(self) -> None:
        """Writes done.json: how far the training is, and how far it was when it was done before."""
        if workers.agreed(bool(self.before) and self.before[-1]["steps"] == self.total):
            return
        done = {"epochs": self.epoch + (self.step > 0), "steps": self.total, "finished": time.strftime("%F %T")}
        files.write_json(self.workdir / "done.json", {**done, **({"before": self.before} if self.before else {})})
        workers.agreed(1)  # all of the training is on disk before another worker reads it

    def say(self, line: str, end: str = "\n") -> None:
        """Prints a line, if progress is wanted."""
        if self.progress:
            print(line, end=end, flush=True)

    def _check(self, call: Any) -> None:
        bad = [name for name, value in call.logs.items() if not np.isfinite(value)]
        if bad:
            known = getattr(self.data, "records", None)
            places = list(dict.fromkeys(call.places()))
            names = [known[i].name for i in places] if known else places
            raise FloatingPointError(
                f"{', '.join(bad)} is no longer finite in epoch {self.epoch + 1}, step {self.step}; the "
                f"batch: {', '.join(map(str, names[:8]))}{' ...' if len(names) > 8 else ''}. {LOWER}"
            )


def _short(values: Mapping[str, Any]) -> str:
    return " ".join(f"{k} {float(v):.0f}" if k == "epoch" else f"{k} {float(v):.4g}" for k, v in values.items())
