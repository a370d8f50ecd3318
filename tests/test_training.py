"""Resume after a kill, NaN, best epoch, history: the trainer that every paper shares."""

import csv
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import compat, devices, training
from fer_tf.compat import keras, optimizer_variables
from fer_tf.models import fer_net
from fer_tf.records import Record

SCRIPT = textwrap.dedent(
    """
    import os, signal, sys
    import numpy as np
    import tensorflow as tf
    from fer_tf import pipeline, training
    from fer_tf.compat import keras, optimizer_variables
    from fer_tf.models import fer_net
    from fer_tf.records import Record

    workdir, out, kill_at = sys.argv[1], sys.argv[2], int(sys.argv[3])
    training.setup(seed=5, precision="float32", deterministic=True)
    rng = np.random.default_rng(0)
    records = [
        Record(rng.integers(0, 256, (48, 48), dtype=np.uint8), ("anger", "fear")[i % 2], info={"framed": True})
        for i in range(24)
    ]
    options = {"classes": ("anger", "fear"), "template": "ia_gen", "views": fer_net.views, "batch_size": 4}
    data = pipeline.batches(records, views_per_image=2, seed=5, **options)
    model = fer_net.FERNet(classes=("anger", "fear"), width=4, blocks=1, hidden=8, seed=5)
    rate = keras.optimizers.schedules.CosineDecay(0.05, 24)
    model.compile(classifier_optimizer=keras.optimizers.SGD(rate, momentum=0.9))
    if kill_at:
        class Deadly:
            # the same batches; asking for batch number `kill_at` is the end
            records, streams = data.records, {"": data}

            def __len__(self):
                return len(data)

            def epoch(self, number):
                def die(index):
                    if index + 12 * number >= kill_at:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return index

                def look(index, batch):
                    with tf.control_dependencies([tf.numpy_function(die, [index], tf.int64)]):
                        return {k: tf.identity(v) for k, v in batch.items()}

                return data.epoch(number).enumerate().map(look)
        source = Deadly()
    else:
        source = data
    training.fit(model, source, workdir=workdir, epochs=2, checkpoint_steps=3)
    everything = list(model.weights) + [v for vs in optimizer_variables(model).values() for v in vs]
    np.savez(out, *[np.array(v) for v in everything])
    """
)


def run(tmp_path, workdir, out, kill_at=0):
    """Trains in a process of its own; its exit code."""
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    environment = {**os.environ, "PYTHONPATH": root}
    command = [sys.executable, str(script), str(tmp_path / workdir), str(tmp_path / out), str(kill_at)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("kills", [(19,), pytest.param((8, 19), marks=pytest.mark.slow)])
def test_kill_9_and_the_same_command_give_the_same_bits(tmp_path, kills):
    """Killed in the second epoch, or in the first and again in the second, it ends in the weights of one left alone."""
    whole = run(tmp_path, "whole", "whole.npz")
    assert whole.returncode == 0, whole.stderr[-2000:]
    for place in kills:
        assert run(tmp_path, "parts", "parts.npz", place).returncode == -signal.SIGKILL
        assert not (tmp_path / "parts.npz").exists()
    last = run(tmp_path, "parts", "parts.npz")
    assert last.returncode == 0, last.stderr[-2000:]
    assert "Going on" in last.stdout
    with np.load(tmp_path / "whole.npz") as a, np.load(tmp_path / "parts.npz") as b:
        assert a.files == b.files and len(a.files) > 20
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name])
    rows = {}
    for part in ("whole", "parts"):
        with (tmp_path / part / "history.csv").open() as file:
            rows[part] = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
    assert rows["whole"] == rows["parts"] and len(rows["whole"]) == 2


class Steps:
    """Batches made by a function of (epoch, step)."""

    def __init__(self, make, steps=3):
        self.make, self.steps = make, steps

    def __len__(self):
        return self.steps

    def epoch(self, number):
        parts = [self.make(number, step) for step in range(self.steps)]
        return tf.data.Dataset.from_tensor_slices({k: tf.stack([p[k] for p in parts]) for k in parts[0]})


def noise(epoch, step):
    """A batch of four labelled noise faces."""
    image = tf.random.stateless_uniform((4, 64, 64, 1), (epoch, step))
    return {"image": image, "label": tf.constant([0, 1, 0, 1]), "index": tf.range(4) + 4 * step}


def model():
    """A compiled tiny FER-Net of two classes."""
    made = fer_net.FERNet(classes=("anger", "fear"), width=4, blocks=1, hidden=8)
    made.compile(classifier_optimizer=keras.optimizers.SGD(0.01, momentum=0.9))
    return made


def test_nan_stops_the_run_and_names_the_records(tmp_path):
    class Sick(fer_net.FERNet):
        """Its loss is NaN on the third batch of the second epoch."""

        def train_step(self, batch):
            return {"classifier_loss": tf.reduce_mean(batch["ill"])}

    def batch(epoch, step):
        return {**noise(epoch, step), "ill": tf.fill([4], np.nan if (epoch, step) == (1, 2) else 1.0)}

    class Named(Steps):
        records = tuple(Record(f"face{i}.png") for i in range(12))

    with pytest.raises(FloatingPointError, match=r"epoch 2, step 3.*face8\.png, face9\.png"):
        training.fit(Sick(width=4, blocks=1, hidden=8), Named(batch), workdir=tmp_path, epochs=2, progress=False)
    assert not (tmp_path / "done.json").exists()


def test_history_best_and_last(tmp_path):
    """The best epoch's model differs from the last one's and is the one that the validation saw."""
    scores, seen, net = iter([0.2, 0.9, 0.5]), [], model()
    for left in (".best.1.part", ".best.1.old"):  # of a run that was killed while it wrote
        (tmp_path / left).mkdir()
        (tmp_path / left / "model.index").touch()

    def validation(m):
        seen.append([np.array(v) for v in m.weights])
        return {"accuracy": next(scores)}

    history = training.fit(net, Steps(noise), workdir=tmp_path, epochs=3, validation=validation, progress=False)
    assert [row["val_accuracy"] for row in history] == [0.2, 0.9, 0.5] and [row["epoch"] for row in history] == [
        1,
        2,
        3,
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best", "checkpoint", "done.json", "history.csv"]
    for which, number in (("best", 1), ("last", 2)):
        restored = training.restore(model(), tmp_path, which)
        for a, b in zip(restored.weights, seen[number], strict=True):
            np.testing.assert_array_equal(np.array(a), b)
    assert json.loads((tmp_path / "done.json").read_text())["epochs"] == 3
    with (tmp_path / "history.csv").open() as file:
        assert [float(row["val_accuracy"]) for row in csv.DictReader(file)] == [0.2, 0.9, 0.5]


def test_a_finished_run_is_not_repeated_and_can_be_prolonged(tmp_path):
    training.fit(model(), Steps(noise), workdir=tmp_path, epochs=1, progress=False)

    class Untouchable(Steps):
        def epoch(self, number):
            assert number == 1, "the first epoch was trained again"
            return super().epoch(number)

    assert len(training.fit(model(), Untouchable(noise), workdir=tmp_path, epochs=1, progress=False)) == 1
    assert len(training.fit(model(), Untouchable(noise), workdir=tmp_path, epochs=2, progress=False)) == 2


def test_a_run_that_ends_between_the_last_step_and_the_epochs_end_keeps_its_losses(tmp_path):
    """The checkpoint of the last step is there, the row of the epoch not yet."""

    def power_cut(m):
        raise KeyboardInterrupt

    options = {"epochs": 1, "checkpoint_steps": 3, "progress": False}
    training.setup(seed=6, precision="float32")
    (whole,) = training.fit(model(), Steps(noise), workdir=tmp_path / "whole", **options)
    training.setup(seed=6, precision="float32")
    with pytest.raises(KeyboardInterrupt):
        training.fit(model(), Steps(noise), workdir=tmp_path / "parts", validation=power_cut, **options)
    (row,) = training.fit(model(), Steps(noise), workdir=tmp_path / "parts", **options)
    assert {**row, "seconds": 0} == {**whole, "seconds": 0} and "classifier_loss" in row


def test_tensorboard_gets_the_history(tmp_path):
    pytest.importorskip("tensorboard")
    history = training.fit(model(), Steps(noise), workdir=tmp_path, epochs=2, tensorboard=True, progress=False)
    (path,) = (tmp_path / "tensorboard").glob("events*")
    events = [event for event in tf.compat.v1.train.summary_iterator(str(path)) if event.summary.value]
    found = [(e.step, float(tf.make_ndarray(v.tensor))) for e in events for v in e.summary.value if v.tag == "accuracy"]
    assert found == [(row["epoch"], pytest.approx(row["accuracy"])) for row in history]


def test_tensorboard_that_is_not_there_is_asked_for_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        training.fit(model(), Steps(noise), workdir=tmp_path / "run", epochs=1, tensorboard=True, progress=False)
    assert not (tmp_path / "run").exists()


def test_max_steps_and_step_checkpoints(tmp_path):
    net = model()
    training.fit(net, Steps(noise), workdir=tmp_path, epochs=5, max_steps=4, checkpoint_steps=2, progress=False)
    assert int(optimizer_variables(net)["classifier"][0]) == 4
    assert tf.train.latest_checkpoint(str(tmp_path / "checkpoint"))


def steady(strategy):
    """A compiled tiny FER-Net without dropout, whose masks differ between replicas."""
    training.setup(seed=4, precision="float32")
    with strategy.scope():
        made = fer_net.FERNet(classes=("anger", "fear"), width=4, blocks=1, hidden=8, dropout=0.0)
        made.compile(classifier_optimizer=keras.optimizers.SGD(0.05, momentum=0.9))
    return made


def test_two_replicas_take_the_step_of_one(tmp_path):
    """Both get the same faces, so means over the replicas are those of one that has these faces alone."""
    twice = Steps(lambda e, s: {name: tf.repeat(value, 2, axis=0) for name, value in noise(e, s).items()})
    mirrored = training.setup(precision="float32", strategy="mirrored")
    found = {}
    for name, strategy, data in (("one", tf.distribute.get_strategy(), Steps(noise)), ("two", mirrored, twice)):
        net = steady(strategy)
        history = training.fit(net, data, workdir=tmp_path / name, epochs=1, strategy=strategy, progress=False)
        found[name] = [history[0]["classifier_loss"], *(np.array(v) for v in net.trainable_variables)]
    for a, b in zip(found["one"], found["two"], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("size", [1, 5])
def test_replicas_share_a_batch_that_does_not_come_out_even(tmp_path, size):
    mirrored = training.setup(precision="float32", strategy="mirrored")
    seen = []

    class Watched(fer_net.FERNet):
        """Notes which rows each replica gets."""

        def train_step(self, batch):
            tf.py_function(lambda rows: seen.append(rows.numpy().tolist()), [batch["index"]], [])
            return super().train_step(batch)

    with mirrored.scope():
        net = Watched(classes=("anger", "fear"), width=4, blocks=1, hidden=8, name="fer_net")
        net.compile(classifier_optimizer="sgd")
    data = Steps(
        lambda e, s: {
            name: tf.tile(value, [2] + [1] * (len(value.shape) - 1))[:size] for name, value in noise(e, s).items()
        },
        1,
    )

    def validation(m):
        return {"accuracy": float(np.mean(m.classify(noise(0, 0)["image"]).numpy().argmax(-1) == [0, 1, 0, 1]))}

    options = {"strategy": mirrored, "validation": validation, "progress": False}
    history = training.fit(net, data, workdir=tmp_path, epochs=1, **options)
    assert len(seen) == 2 and len(seen[0]) == len(seen[1]) == -(-size // 2)
    assert set(sum(seen, [])) == set(range(min(size, 4)))
    assert np.isfinite(history[0]["classifier_loss"])
    assert all(np.isfinite(value).all() for value in net.get_weights())


def test_restore_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="no best checkpoint"):
        training.restore(model(), tmp_path, "best")


def test_setup_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="float16"):
        training.setup(precision="float8")
    with pytest.raises(ValueError, match="mirrored"):
        training.setup(strategy="twins")
    with pytest.raises(ValueError, match="auto, on, off"):
        training.setup(xla="fast")
    with pytest.raises(ValueError, match="auto, cpu, gpu"):
        training.setup(device="tpu")


def test_xla_on_a_cpu_is_obeyed_and_said_to_be_slower(capsys):
    try:
        training.setup(precision="float32", xla="on")
        assert "several times slower" in capsys.readouterr().out and compat.xla()
        for word in ("auto", "off"):  # auto: where there is a GPU
            training.setup(precision="float32", xla=word)
            assert capsys.readouterr().out == "" and compat.xla() is (word == "auto" and bool(devices.gpus()))
    finally:
        compat.set_xla(None)


@pytest.mark.parametrize(
    ("wanted", "epochs", "max_steps", "compiled"),
    [(None, 2, None, False), (None, 5, None, True), (None, 5, 9, False), ("on", 2, None, True), ("jit", 2, None, True)],
)
def test_a_short_training_is_not_compiled_unless_asked(monkeypatch, tmp_path, wanted, epochs, max_steps, compiled):
    """By all steps that are planned: 2 an epoch, and XLA pays from 10 on."""

    class Seen(Exception):
        pass

    def steps(model, *_):
        assert model.xla is compiled
        raise Seen

    monkeypatch.setattr(compat.tf.config, "get_visible_devices", lambda kind: ["a GPU"])
    compat.set_xla(True if wanted == "on" else None)
    try:
        model, _ = fer_net.tiny()
        model.compile(classifier_optimizer="sgd", jit_compile=True if wanted == "jit" else None)
        monkeypatch.undo()
        monkeypatch.setattr(training, "PAYS", 10)
        monkeypatch.setattr(training, "Steps", steps)
        monkeypatch.setattr(training.trained_on, "describe", lambda *_: {})
        with pytest.raises(Seen):
            training.fit(model, [1, 2], workdir=tmp_path, epochs=epochs, max_steps=max_steps)
    finally:
        compat.set_xla(None)


@pytest.mark.parametrize(
    ("capability", "xla", "policy"),
    [
        ((9, 0), "auto", "mixed_bfloat16"),
        ((8, 0), "on", "mixed_bfloat16"),
        ((8, 0), "off", "float32"),
        ((7, 5), "auto", "float32"),
    ],
)
def test_the_precision_of_a_gpu(monkeypatch, capability, xla, policy):
    monkeypatch.setattr(devices, "gpus", lambda: ["GPU"])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"compute_capability": capability})
    assert training.auto_precision(xla) == policy
    on_a_cpu = training.auto_precision(xla, "cpu")
    monkeypatch.setattr(devices, "gpus", lambda: [])
    assert training.auto_precision(xla) == on_a_cpu in ("float32", "mixed_bfloat16")


def test_setup_makes_initial_weights_repeat():
    def first(seed):
        training.setup(seed=seed, precision="float32")
        return np.array(fer_net.tiny()[0].weights[0])

    np.testing.assert_array_equal(first(1), first(1))
    assert np.any(first(1) != first(2))


def test_monitor_must_be_among_the_numbers(tmp_path):
    with pytest.raises(KeyError, match="val_accuracy"):
        training.fit(
            model(), Steps(noise), workdir=tmp_path, epochs=1, validation=lambda m: {"f1": 1.0}, progress=False
        )


@pytest.mark.slow
def test_fer_net_overfits_eight_faces(tmp_path):
    """Loss falls by a factor of 50 on eight noise faces; without dropout all are named right."""
    start = time.time()
    net = fer_net.FERNet(width=8, blocks=1, hidden=32, dropout=0.0)
    net.compile(classifier_optimizer=keras.optimizers.Adam(2e-3))
    batch = {
        "image": tf.random.stateless_uniform((8, 64, 64, 1), (1, 1)),
        "label": tf.range(8) % 7,
        "index": tf.range(8),
    }
    step = tf.function(net.train_step)
    first = float(step(batch)["classifier_loss"])
    for _ in range(150):
        step(batch)
    for metric in net.metrics:
        metric.reset_state()
    logs = step(batch)
    assert float(logs["classifier_loss"]) < first / 50, time.time() - start
    assert np.array_equal(net.classify(batch["image"]).numpy().argmax(-1), batch["label"])
