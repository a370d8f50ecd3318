"""Trainings as the settings say: what reaches `training.setup` and `training.fit`."""

import pytest
import tensorflow as tf

from experiments.run import fitting, settings
from fer_tf import devices, evaluation, figures, training


@settings.command({"quick": {}})
class Toy(settings.Folds):
    """None of its own."""


@pytest.fixture
def calls(monkeypatch):
    """What each call was given."""
    made = []
    for module, name in ((training, "setup"), (training, "fit"), (evaluation, "fit_and_test")):
        monkeypatch.setattr(module, name, lambda *args, name=name, **given: made.append((name, args, given)) or name)
    monkeypatch.setattr(figures, "history", lambda path: ("history of", path))
    monkeypatch.setattr(figures, "save", lambda picture, path: made.append(("save", picture, path)))
    return made


GIVEN = {"precision": "float32", "strategy": "mirrored", "deterministic": True, "epochs": 7, "max_steps": 3}
GIVEN |= {"xla": "off", "device": "cpu", "steps_per_call": 6}
SHOWN = {"max_steps": 3, "tensorboard": True, "progress": False, "steps_per_call": 6}


def test_setup(calls):
    assert fitting.setup(Toy(**GIVEN, seed=5), 11) == "setup"
    wanted = {"seed": 11, "precision": "float32", "strategy": "mirrored", "deterministic": True}
    assert calls == [("setup", (), {**wanted, "xla": "off", "device": "cpu"})]


def test_a_training_without_a_test(calls, tmp_path):
    made = Toy(**GIVEN, tensorboard=True, progress=False)
    fitting.fit(made, "model", "data", tmp_path, "strategy", epochs=2)
    fitting.fit(made, "model", "data", tmp_path, "strategy", epochs=2, checkpoint_steps=9, max_steps=4, after_epoch=len)
    (name, args, given), saved, (_, _, more), _ = calls
    same = {"workdir": tmp_path, "epochs": 2, "strategy": "strategy"}
    assert (name, args) == ("fit", ("model", "data")) and given == {**same, **SHOWN, "checkpoint_steps": 200}
    assert saved == ("save", ("history of", tmp_path / "history.csv"), tmp_path / "history.png")
    assert more == {**same, **SHOWN, "checkpoint_steps": 9, "max_steps": 4, "after_epoch": len}


def test_a_training_that_is_tested(calls, tmp_path):
    made = Toy(**GIVEN, tensorboard=True, progress=False, recalibration=8)
    assert fitting.fit_and_test(made, len, "data", "test", tmp_path, "strategy") == "fit_and_test"
    more = {"checkpoint_steps": 9, "follows": {"a": "net"}}
    fitting.fit_and_test(made, len, "data", None, tmp_path, "strategy", epochs=2, **more)
    same = {"workdir": tmp_path, "strategy": "strategy", **SHOWN, "recalibration": 8}
    assert calls == [
        ("fit_and_test", (len, "data", "test"), {**same, "epochs": 7, "checkpoint_steps": 500, "follows": None}),
        ("fit_and_test", (len, "data", None), {**same, "epochs": 2, **more}),
    ]


def test_one_replica_is_the_default():
    assert isinstance(fitting.setup(Toy(precision="float32"), 0), type(tf.distribute.get_strategy()))


@settings.command({"quick": {}})
class Gan(settings.Folds):
    """Two batch sizes."""

    gan_batch_size: int = settings.setting(16, "Pairs.", low=1)


def test_a_full_memory_names_the_flag_to_lower(monkeypatch, tmp_path):
    made = Gan(batch_size=64, gan_batch_size=100)
    for size, flags in ((64, "--batch_size=64,"), (100, "--gan_batch_size=100,"), (0, "=64, --gan_batch_size=100,")):

        def fit(*args, size=size, **given):
            raise devices.OutOfMemory("full", size)

        monkeypatch.setattr(training, "fit", fit)
        monkeypatch.setattr(evaluation, "fit_and_test", fit)
        for run in (
            lambda: fitting.fit(made, "model", "data", tmp_path, "strategy", epochs=1),
            lambda: fitting.fit_and_test(made, len, "data", None, tmp_path, "strategy"),
        ):
            with pytest.raises(devices.OutOfMemory, match=f"less than .*{flags} with another --workdir") as caught:
                run()
            assert caught.value.batch_size == size
