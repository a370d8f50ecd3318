"""Settings and figures for TensorBoard and MLflow: the numbers of metrics.json, under names that both take."""

import importlib.util
import json

import pytest

from experiments.run import tracking

from .conftest import a_run


@pytest.fixture
def run(tmp_path):
    return a_run(tmp_path / "toy", flags={"rows": ["a", "b"], "init": None, "deterministic": True})


def test_the_numbers_are_those_of_metrics_json(run):
    told, methods = tracking.numbers(run), json.loads((run / "metrics.json").read_text())["methods"]
    assert told.settings == {
        "dataset": "rendered", "runs": 2, "rate": 0.1, "options": "", "data_dir": "none", "rows": "a,b", "init": "none",
        "deterministic": True, "commit": "abc123", "hardware": "a toaster",
        "command": "python -m experiments.toy --rate=0.1",
    }  # fmt: skip
    assert told.figures["accuracy/Ours/micro"] == methods["Ours"]["last"]["micro"]["fold_mean"]
    assert told.figures["accuracy/Base/macro/deviation"] == methods["Base"]["last"]["macro"]["fold_std"]
    assert told.figures["accuracy/Base/macro/pooled"] == methods["Base"]["last"]["macro"]["pooled"]
    beside = json.loads((run / "metrics.json").read_text())["paired"]["Ours"]["micro"]
    found = [told.figures[f"difference/Ours/micro{name}"] for name in ("", "/low", "/high", "/p_of_the_sign_test")]
    assert found == [beside["difference"], *beside["interval"], beside["pairs"]["p_holm"]]
    assert told.curves["run1/fold0/ours/val_accuracy"] == [(1, 0.2), (2, 0.4), (3, 0.6)]
    assert told.figures["seconds"] == 71 and len(told.curves) == 16


def test_names_are_allowed():
    assert tracking.allowed("accuracy/DE-GAN, f(x) alone/micro") == "accuracy/DE-GAN_ f_x_ alone/micro"


def test_what_is_not_installed_gets_its_line(run, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install mlflow-skinny sqlalchemy alembic"):
        tracking.publish(run, mlflow=True)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        tracking.publish(run, tensorboard=True)
    tracking.publish(run)  # neither is asked for


def test_a_run_does_not_fail_for_it(run, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    tracking.after(run, tensorboard=False, mlflow=True)
    assert "not told to all that were asked for: --mlflow needs the package" in capsys.readouterr().err
    tracking.after(run.parent, tensorboard=False, mlflow=True)  # where nothing was tested, nothing is told
    assert capsys.readouterr().err == ""


def test_tensorboard_reads_them(run):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2
    from tensorboard.util import tensor_util

    for _ in range(2):  # the second one instead of the first
        tracking.publish(run, tensorboard=True)
    (file,) = (run / "tensorboard" / "hparams").iterdir()
    events = EventAccumulator(str(file))
    events.Reload()
    told = tracking.numbers(run)
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    kinds = {k: getattr(v, v.WhichOneof("kind")) for k, v in start.hparams.items()}
    assert kinds == told.settings and start.group_name == "toy"
    read = {n: float(tensor_util.make_ndarray(events.Tensors(n)[-1].tensor_proto)) for n in told.figures}
    assert read == pytest.approx(told.figures)


@pytest.mark.slow
def test_mlflow_reads_them(run, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    monkeypatch.chdir(tmp_path)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    try:
        first, second = tracking.to_mlflow(run), tracking.to_mlflow(run)
        told, client = tracking.numbers(run), mlflow.MlflowClient()
        one = client.get_run(second)
        assert one.data.params == {k: str(v) for k, v in told.settings.items()} and one.info.run_name == "toy"
        wanted = {tracking.allowed(k): v for k, v in told.figures.items()}
        assert {k: v for k, v in one.data.metrics.items() if k in wanted} == pytest.approx(wanted)
        curve = client.get_metric_history(second, "run1/fold0/ours/val_accuracy")
        assert [(point.step, point.value) for point in curve] == [(1, 0.2), (2, 0.4), (3, 0.6)]
        assert {f.path for f in client.list_artifacts(second)} == {"metrics.json", "folds.json"}
        assert client.get_run(first).info.lifecycle_stage == "deleted" and first != second
        mlflow.set_tracking_uri("gibberish://nowhere")
        with pytest.raises(ValueError, match="MLflow at gibberish://nowhere does not take the run"):
            tracking.to_mlflow(run)
    finally:
        mlflow.set_tracking_uri(before)
