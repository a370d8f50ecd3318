"""The settings and figures of a run for TensorBoard's HParams and for MLflow: the same numbers by one function.

    tracking.publish("runs/ed2l_quick", tensorboard=True, mlflow=True)

TensorBoard's go to <run>/tensorboard, one session a run, so that `tensorboard --logdir=runs` shows all runs of a folder
side by side. MLflow's go where MLFLOW_TRACKING_URI says, to the experiment of MLFLOW_EXPERIMENT_NAME or the command's
name, with the training curves, metrics.json and report.html.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fer_tf import files

from .page import build, charts, runs


class Numbers(NamedTuple):
    """What is told of a run.

    Attributes:
      settings: flag -> bool, number or text.
      figures: name -> number: accuracies and deviations in [0, 1], differences with their intervals.
      curves: "<training>/<column>" -> [(epoch, value), ...].
    """

    settings: dict[str, Any]
    figures: dict[str, float]
    curves: dict[str, list[tuple[float, float]]]


def numbers(folder: str | Path) -> Numbers:
    """Those of a run's folder.

    Raises:
      FileNotFoundError: there is no run in it.
    """
    run = runs.read(folder)
    plain = {k: v if isinstance(v, (bool, int, float, str)) else _text(v) for k, v in run.flags.items()}
    for name in ("dataset", "commit", "hardware", "command"):
        if name in run.metrics:
            plain.setdefault(name, str(run.metrics[name]))
    curves = {}
    for job in run.jobs:
        for column, points in charts.read_history(run.folder / job.name / "history.csv").items():
            curves[f"{job.name}/{column}"] = points
    return Numbers(plain, dict(figures(run)), curves)


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else "none" if value is None else str(value)


def figures(run: runs.Run) -> Iterator[tuple[str, float]]:
    """Name and value of each figure: accuracy/<method>/<measure>/..., difference/<method>/<measure>/..."""
    for method, epochs in run.methods.items():
        for epoch, one in epochs.items():
            for measure in ("macro", "micro"):
                place = f"accuracy/{method}/{measure}{'_best_picked_on_test' * (epoch == 'best')}"
                yield place, float(one[measure]["fold_mean"])
                yield f"{place}/deviation", float(one[measure]["fold_std"])
                yield f"{place}/pooled", float(one[measure]["pooled"])
    for method, entry in build.usable(run.metrics.get("paired", {})).items():
        for measure in ("macro", "micro"):
            one, place = entry[measure], f"difference/{method}/{measure}"
            yield place, float(one["difference"])
            yield f"{place}/low", float(one["interval"][0])
            yield f"{place}/high", float(one["interval"][1])
            yield f"{place}/p_of_the_sign_test", float(one["pairs"]["p_holm"])
    if "seconds" in run.metrics:
        yield "seconds", float(run.metrics["seconds"])


def publish(folder: str | Path, *, tensorboard: bool = False, mlflow: bool = False) -> None:
    """Gives the numbers of a run to TensorBoard, to MLflow, or to both.

    Raises:
      ImportError: one of them is asked for and not installed; the message has the line that installs it.
    """
    if tensorboard:
        to_tensorboard(folder)
    if mlflow:
        to_mlflow(folder)


def after(folder: Path, *, tensorboard: bool, mlflow: bool) -> None:
    """`publish` at the end of a run; what goes wrong with it is said in a line, and the run has ended well."""
    if not (folder / "metrics.json").is_file():
        return
    try:
        publish(folder, tensorboard=tensorboard, mlflow=mlflow)
    except Exception as error:  # noqa: BLE001 - whatever it is, the results are whole
        print(f"The run's figures are not told to all that were asked for: {error}", file=sys.stderr)


def to_tensorboard(folder: str | Path) -> None:
    """Writes settings and figures as a session of TensorBoard's HParams, instead of the one that was there."""
    from fer_tf import training  # which reads TensorFlow, as the page does not

    training.need_tensorboard()
    import tensorflow as tf
    from tensorboard.plugins.hparams import api

    told, place = numbers(folder), Path(folder) / "tensorboard" / "hparams"
    for file in place.glob("events.out.tfevents.*"):
        file.unlink()
    writer = tf.summary.create_file_writer(str(place))
    with writer.as_default():
        api.hparams(told.settings, trial_id=str(Path(folder).resolve().name))
        for name, value in told.figures.items():
            tf.summary.scalar(name, value, step=0)
    writer.close()


def need_mlflow() -> Any:
    """MLflow's module.

    Raises:
      ImportError: it is not installed.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise ImportError(
            "--mlflow needs the package mlflow: `pip install mlflow-skinny sqlalchemy alembic`, or this package "
            'with its extra, `pip install ".[mlflow]"`.'
        )
    import mlflow

    return mlflow


def to_mlflow(folder: str | Path) -> str:
    """Writes settings, figures, curves and files as a run of MLflow, instead of the one that this folder had there.

    Returns:
      Its id, which <run>/mlflow.json keeps.
    Raises:
      ImportError: MLflow is not installed.
      ValueError: it refuses, or is not there; the message says where it was looked for.
    """
    mlflow = need_mlflow()
    try:
        return _to_mlflow(mlflow, folder)
    except mlflow.exceptions.MlflowException as error:
        said = " ".join(str(error).split())
        raise ValueError(f"MLflow at {mlflow.get_tracking_uri()} does not take the run: {said[:300]}") from error


def _to_mlflow(mlflow: Any, folder: str | Path) -> str:
    told, kept = numbers(folder), Path(folder) / "mlflow.json"
    script = re.search(r"experiments\.(\w+)", str(told.settings.get("command", "")))
    mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME") or f"fer_tf {script[1] if script else 'run'}")
    if kept.is_file():
        before = json.loads(kept.read_text(encoding="utf-8"))
        if before.get("uri") == mlflow.get_tracking_uri():
            mlflow.delete_run(before["run"])
    with mlflow.start_run(run_name=Path(folder).resolve().name) as active:
        mlflow.log_params({name: str(value)[:500] for name, value in told.settings.items()})
        for name, value in told.figures.items():
            mlflow.log_metric(allowed(name), value)
        for name, points in told.curves.items():
            for epoch, value in points:
                mlflow.log_metric(allowed(name), value, step=int(epoch))
        for name in ("metrics.json", "folds.json", "report.html"):
            if (Path(folder) / name).is_file():
                mlflow.log_artifact(str(Path(folder) / name))
        files.write_json(kept, {"run": active.info.run_id, "uri": mlflow.get_tracking_uri()})
        return str(active.info.run_id)


def allowed(name: str) -> str:
    """A name as MLflow takes it: letters, digits and _-. /"""
    return re.sub(r"[^\w\-. /]", "_", name)
