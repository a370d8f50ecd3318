"""Two processes on loopback train as one with the same batches; what a worker alone cannot do is said."""

import json

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import clusters, files, training, workers

TRAIN = """
import sys
from pathlib import Path
import numpy as np
import tensorflow as tf
from fer_tf import evaluation, pipeline, training, workers
from fer_tf.compat import keras, optimizer_variables
from fer_tf.models import fer_net, ia_gen
from fer_tf.records import Record

shared, out, how = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
strategy, rng, saved, epochs = None, np.random.default_rng(0), {}, int(sys.argv[4])
listed = [
    Record(rng.integers(0, 256, (70, 70), dtype=np.uint8), ("anger", "fear")[i % 2], str(i // 2), info={"framed": True})
    for i in range(22)
]
known = {"classes": ("anger", "fear"), "template": "ia_gen", "seed": 5}


def begin():
    global strategy
    strategy = training.setup(seed=5, precision="float32", strategy=how, deterministic=True)


def train(name, model, data, **options):
    history = training.fit(
        model, data, workdir=shared / name, epochs=epochs, strategy=strategy, checkpoint_steps=2, **options
    )
    sums = {id(v) for metric in model.metrics for v in metric.variables}  # weights, to Keras 2
    learnt = [v for v in model.weights if id(v) not in sums]
    saved.update({f"{name}/{i:03d}": tf.convert_to_tensor(v).numpy() for i, v in enumerate(learnt)})
    slots = [v for own in optimizer_variables(model).values() for v in own]
    saved.update({f"{name}/slots/{i:03d}": tf.convert_to_tensor(v).numpy() for i, v in enumerate(slots)})
    saved[name] = [[v for k, v in row.items() if k != "seconds"] for row in history]
    training.restore(model, shared / name, "best" if "validation" in options else "last")
    saved[f"{name}/kept"] = tf.convert_to_tensor(model.trainable_variables[0]).numpy()


def classifier(name, **options):
    begin()
    with strategy.scope():
        model = fer_net.FERNet(classes=known["classes"], width=4, blocks=1, hidden=8, seed=5)
        model.compile(classifier_optimizer=keras.optimizers.SGD(0.05, momentum=0.9))
    data = pipeline.batches(listed, batch_size=5, views=fer_net.views, **known)  # five batches, the last of two
    test = pipeline.batches(listed, batch_size=9, views=fer_net.views, training=False, **known)
    train(name, model, data, validation=lambda m: {"accuracy": evaluation.accuracy(m, test)}, **options)
    return model


begin()
net = classifier("classifier")
begin()
with strategy.scope():
    model = ia_gen.ExpressionGAN(feature_net=net, width=1 / 32, seed=5, expression="fear")
    model.compile(**{f"{name}_optimizer": ia_gen.optimizer(rate=2e-5) for name in model.players()})
pairs = {"image": list(range(14)), "target": [i // 2 * 2 + 1 for i in range(14)]}
data = pipeline.batches(listed, batch_size=5, views=ia_gen.views, pairs=pairs, **known)
train("gan", model, data, follows={"net": net})
classifier("several", steps_per_call=2)
if workers.several():
    saved["agreed"] = workers.agreed(7.0 + 5 * (not workers.writes()))
    saved["of_all"] = workers.of_all(0.1 + workers.writes())
np.savez(out, **saved)
workers.agreed(1)
"""


def tree(folder):
    """Its files, without those whose name is by chance."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, start_workers):
    """{who: what was saved} of the chief, the other worker and one process alone; and the folder."""
    folder = tmp_path_factory.mktemp("workers")

    def words(name, place, *more):
        return ["-c", TRAIN, folder / place, folder / f"{name}.npz", *more]

    for epochs in (1, 2):  # the second call goes on
        both = [words(name, "shared", "multi_worker", epochs) for name in ("chief", "other")]
        for worker in [*start_workers(*both), *start_workers(words("alone", "alone", "none", epochs))]:
            code, _, error = worker.end()
            assert code == 0, error[-3000:]
    saved = {}
    for name in ("chief", "other", "alone"):
        with np.load(folder / f"{name}.npz") as found:
            saved[name] = dict(found)
    return saved, folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["classifier", "gan", "several"])
def test_two_processes_train_as_one(trained, name):
    """The same weights, optimizer and means on both; those of one process to 1e-4, of their size where above one.

    But for the slots of the GAN's optimizers: Adam moves a weight by its rate whatever the gradient's size, so that
    after six steps rounding is a hundredth of D's gradients. After the first step they agree to 4e-5 of their size.
    """
    saved, _ = trained
    keys = [key for key in saved["alone"] if key.partition("/")[0] == name]
    assert len(keys) > 20 and {*saved["alone"]} | {"agreed", "of_all"} == {*saved["chief"]} == {*saved["other"]}
    for key in keys:
        np.testing.assert_array_equal(saved["chief"][key], saved["other"][key], err_msg=key)
        if key.startswith("gan/slots/"):
            continue
        np.testing.assert_allclose(saved["chief"][key], saved["alone"][key], atol=1e-4, rtol=1e-4, err_msg=key)
    assert saved["alone"][name].shape[0] == 2 and np.ptp(saved["alone"][name][:, 1]) > 0


@pytest.mark.slow
def test_the_chief_decides_and_all_are_heard(trained):
    saved, _ = trained
    for who in ("chief", "other"):
        assert saved[who]["agreed"] == 7.0 and saved[who]["of_all"].tolist() == [1.1, 0.1]


@pytest.mark.slow
def test_the_chief_alone_writes(trained):
    """What is in the folder is what one process writes, and no more."""
    _, folder = trained
    assert [p for p in tree(folder / "shared") if "ckpt" not in p] == [
        p for p in tree(folder / "alone") if "ckpt" not in p
    ]
    numbers = [int(p.stem.rpartition("-")[2]) for p in (folder / "shared/gan/checkpoint").glob("*.index")]
    assert len(numbers) == 2 and json.loads((folder / "shared/gan/done.json").read_text())["steps"] == 6


def test_alone_everybody_agrees_with_himself(tmp_path):
    assert workers.writes() and not workers.several()
    assert workers.agreed(3) == 3 and workers.of_all(0.25) == [0.25]
    assert workers.together(lambda: "made") == "made"
    with pytest.raises(KeyError), workers.until_all_end():
        workers.together(lambda: {}["gone"])
    workers.refuse_apart(tmp_path)
    workers.leave(3)
    assert tree(tmp_path) == [] and not workers.sees(tmp_path / "file")


@pytest.fixture
def silent():
    files.silent(True)
    yield
    files.silent(False)


def test_one_that_is_silent_writes_nothing(tmp_path, silent):
    files.write_json(tmp_path / "a.json", {"a": 1})
    files.make_folder(tmp_path / "b" / "c")
    with files.replacing(tmp_path / "d.png") as part:
        part.write_text("picture")
        assert part.suffix == ".png" and part.is_file()
    assert tree(tmp_path) == [] and not part.exists()
    files.silent(False)
    files.write_json(tmp_path / "a.json", {"a": 1})
    assert tree(tmp_path) == ["a.json"]


class Trained:
    """A cluster of two whose other worker has the next whole number, or the same."""

    cluster, further = clusters.Cluster(("a:1", "b:1"), 0), 1.0

    @classmethod
    def total(cls, places):
        return tf.stack([places[0], places[0] + cls.further])


@pytest.mark.parametrize(
    "message, words",
    [
        ("Collective ops is aborted by: /job:worker/task:1 heartbeat timeout.", r"^Worker 1 \(b:1\) has ended"),
        ("recvmsg:Connection reset by peer from /job:worker/replica:0/task:1", r"^Worker 1 \(b:1\) has ended"),
        ("Collective ops is aborted by: Socket closed", r"^Another worker has ended"),
    ],
)
def test_a_worker_that_is_gone_is_named_in_a_sentence(monkeypatch, message, words):
    monkeypatch.setattr(workers, "_joined", [Trained])
    with pytest.raises(workers.Lost, match=words) as error, workers.lost_named():
        raise tf.errors.UnavailableError(None, None, f"{message}\nmore\nlines")
    assert "\n" not in str(error.value) and "goes on from the last checkpoint" in str(error.value)
    with pytest.raises(tf.errors.InvalidArgumentError), workers.lost_named():
        raise tf.errors.InvalidArgumentError(None, None, "shapes")


def test_those_that_have_something_else_are_named(monkeypatch):
    workers.refuse_unlike("weights", lambda: 1 / 0)  # alone nobody is asked
    monkeypatch.setattr(workers, "_joined", [Trained])
    with pytest.raises(ValueError, match=r"^Worker 1 \(b:1\) and the chief have different weights: give"):
        workers.refuse_unlike("weights", lambda: "these")
    monkeypatch.setattr(Trained, "further", 0.0)
    workers.refuse_unlike("weights", lambda: "these")


def test_alone_an_error_of_tensorflow_stays_what_it_is():
    with pytest.raises(tf.errors.UnavailableError), workers.lost_named():
        raise tf.errors.UnavailableError(None, None, "Socket closed")


def test_what_cannot_work_together_is_refused_before_anybody_waits(monkeypatch):
    monkeypatch.delenv(clusters.VARIABLE, raising=False)
    with pytest.raises(ValueError, match="--xla=on"):
        training.setup(precision="float32", strategy="multi_worker", xla="on")
    with pytest.raises(ValueError, match="needs TF_CONFIG in the environment"):
        training.setup(precision="float32", strategy="multi_worker")
    monkeypatch.setenv(clusters.VARIABLE, clusters.tf_config(["127.0.0.1"], 0))
    with pytest.raises(ValueError, match="one worker alone"):
        training.setup(precision="float32", strategy="multi_worker")
    assert training.workers_xla("auto") == "off"
