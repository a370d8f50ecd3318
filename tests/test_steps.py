"""Several steps in a call, compiled or not, give the bits of one after the other; a short batch is not compiled."""

import json

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import compat, devices, pipeline, steps, training
from fer_tf.compat import keras, optimizer_variables
from fer_tf.models import fer_net
from fer_tf.records import Record


def data(count=22, batch_size=4):
    """Six batches of random faces, the last one of two."""
    rng = np.random.default_rng(0)
    records = [
        Record(rng.integers(0, 256, (48, 48), dtype=np.uint8), ("anger", "fear")[i % 2], info={"framed": True})
        for i in range(count)
    ]
    options = {"classes": ("anger", "fear"), "template": "ia_gen", "views": fer_net.views, "seed": 5}
    return pipeline.batches(records, batch_size=batch_size, **options)


def net(xla=False, rate=0.05):
    training.setup(seed=5, precision="float32", xla="on" if xla else "off")
    model = fer_net.FERNet(classes=("anger", "fear"), width=4, blocks=1, hidden=8, seed=5)
    model.compile(classifier_optimizer=keras.optimizers.SGD(rate, momentum=0.9))
    assert model.xla is xla
    return model


@pytest.fixture(autouse=True)
def xla_as_it_was():
    yield
    compat.set_xla(None)


def variables(model):
    return [*model.weights, *optimizer_variables(model)["classifier"]]


def everything(model):
    return [np.array(v) for v in variables(model)]


def test_several_steps_a_call_are_the_same_bits(tmp_path):
    """Whatever comes between: a checkpoint after each fourth step, the end of an epoch, the last step of all."""
    options = {"epochs": 3, "checkpoint_steps": 4, "max_steps": 15, "progress": False}
    weights, histories = [], []
    for per_call in (1, 3, 50):
        model, folder = net(), tmp_path / str(per_call)
        histories.append(training.fit(model, data(), workdir=folder, steps_per_call=per_call, **options))
        weights.append(everything(model))
        assert json.loads((folder / "done.json").read_text())["steps"] == 15
    for other in (1, 2):
        for a, b in zip(weights[0], weights[other], strict=True):
            np.testing.assert_array_equal(a, b)
        for a, b in zip(histories[0], histories[other], strict=True):
            assert {**a, "seconds": 0} == {**b, "seconds": 0}
    assert len(histories[0]) == 3


def test_calls_end_where_something_is_due():
    model = net()
    made = steps.Steps(model, data(), tf.distribute.get_strategy(), 4)
    calls = list(made.epoch(0, 0, lambda step: 3 if step < 3 else 6))
    assert [call.steps for call in calls] == [3, 2, 1]  # 3 to the checkpoint, 2 of full size, the short one
    seen = [call.places() for call in calls]
    assert [len(places) for places in seen] == [12, 8, 2] and sorted(sum(seen, [])) == list(range(22))
    order = [int(i) for batch in data().epoch(0) for i in batch["index"]]
    assert sum(seen, []) == order
    assert [call.steps for call in made.epoch(0, 4, lambda step: 6)] == [1, 1]


class Numbered:
    """Six batches an epoch of places in an order of its own, the last one of two."""

    even, goes_on, batch_size = True, True, 4

    def __init__(self):
        self.begun = 0

    def __len__(self):
        return 6

    def short(self, step):
        return step == 5

    def epoch(self, number):
        self.begun += 1
        order = tf.random.experimental.stateless_shuffle(tf.range(22), tf.stack([5, tf.cast(number, tf.int32)]))
        return tf.data.Dataset.from_tensor_slices({"index": order}).batch(4)


class Counting:
    """A model that learns nothing."""

    def train_step(self, batch):
        return {"loss": tf.cast(batch["index"][0], tf.float32)}


def test_one_stream_goes_on_through_the_epochs():
    """As long as each follows the last, from its first step; else there is a new one."""
    source = Numbered()
    orders = [np.concatenate([b["index"] for b in source.epoch(number)]).tolist() for number in range(7)]
    assert len({tuple(order) for order in orders}) == 7
    made, source.begun = steps.Steps(Counting(), source, tf.distribute.get_strategy(), 4), 0

    def places(number, first=0):
        return sum((call.places() for call in made.epoch(number, first, lambda step: 6)), [])

    assert [places(number) for number in range(3)] == orders[:3] and source.begun == 1
    assert places(3, first=2) == orders[3][8:] and source.begun == 2
    assert places(4) == orders[4] and source.begun == 2
    assert next(made.epoch(5, 0, lambda step: 6)).places() == orders[5][:16] and source.begun == 2  # left there
    assert places(5) == orders[5] and places(6) == orders[6] and source.begun == 3
    assert places(6) == orders[6] and source.begun == 4
    source.goes_on = False
    made = steps.Steps(Counting(), source, tf.distribute.get_strategy(), 4)
    assert [places(number) for number in range(2)] == orders[:2] and source.begun == 6


def test_a_resumed_run_may_call_other_numbers_of_steps(tmp_path):
    whole = net()
    training.fit(whole, data(), workdir=tmp_path / "whole", epochs=2, progress=False)
    first = net()
    training.fit(first, data(), workdir=tmp_path / "parts", epochs=1, steps_per_call=2, progress=False)
    last = net()
    training.fit(last, data(), workdir=tmp_path / "parts", epochs=2, steps_per_call=5, progress=False)
    for a, b in zip(everything(whole), everything(last), strict=True):
        np.testing.assert_array_equal(a, b)


def test_nan_within_a_call_is_found_and_its_records_named(tmp_path):
    class Sick(fer_net.FERNet):
        """Its loss is no number where record 7 is in the batch."""

        def train_step(self, batch):
            logs = super().train_step(batch)
            ill = tf.reduce_any(batch["index"] == 7)
            return {**logs, "classifier_loss": tf.where(ill, np.nan, logs["classifier_loss"])}

    training.setup(seed=5, precision="float32")
    model = Sick(classes=("anger", "fear"), width=4, blocks=1, hidden=8, seed=5)
    model.compile(classifier_optimizer="sgd")
    listed = [i for batch in data().epoch(0) for i in batch["index"].numpy()]
    place = listed.index(7) // 4 + 1
    per_call = place  # the sick batch is the last of the first call: a running mean alone would forget it later
    with pytest.raises(FloatingPointError, match=rf"classifier_loss.*epoch 1, step {place}"):
        training.fit(model, data(), workdir=tmp_path, epochs=1, steps_per_call=per_call, progress=False)


def test_xla_compiles_full_batches_alone():
    """The two images at an epoch's end take the step that is not compiled; the weights are those of no XLA at all.

    Several compiled steps in a call are the bits of one a call.
    """
    weights = []
    for xla in (False, True):
        model = net(xla, 1e-3)  # on two threads TensorFlow's own gradients differ in the third digit from those on one
        made = steps.Steps(model, data(), tf.distribute.get_strategy(), 3)
        plain, sizes, start = made.plain, [], everything(model)
        made.plain = lambda batch, plain=plain, sizes=sizes: (sizes.append(len(batch["label"])), plain(batch))[1]
        calls = list(made.epoch(0, 0, lambda step: 6))
        assert [call.steps for call in calls] == [3, 2, 1]
        assert sizes == [2]
        weights.append(everything(model))
        if xla:  # one by one, the same compiled step
            for variable, value in zip(variables(model), start, strict=True):
                variable.assign(value)
            made.per_call = 1
            assert [call.steps for call in made.epoch(0, 0, lambda step: 6)] == [1] * 6
            for a, b in zip(weights[-1], everything(model), strict=True):
                np.testing.assert_array_equal(a, b)
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4)


class Resident:
    """Batches that are made in the step from a plan: places of records."""

    resident, even = True, True

    def __init__(self, source):
        self.source, self.batch_size, self.records = source, source.batch_size, source.records
        kept = list(source.epoch(0))
        self.table = {k: tf.concat([b[k] for b in kept], 0) for k in kept[0]}
        self.assembled = 0

    def __len__(self):
        return len(self.source)

    def short(self, step):
        return self.source.short(step)

    def epoch(self, number):
        raise AssertionError("the host fed what the device has")

    def plans(self, number):
        rows = len(self.table["label"])
        return tf.data.Dataset.range(rows, output_type=tf.int32).batch(self.batch_size)

    def assemble(self, plan):
        self.assembled += 1
        return {k: tf.gather(v, plan) for k, v in self.table.items()}


@pytest.mark.parametrize("per_call", [1, 4])
def test_what_lives_on_the_device_is_not_fed(tmp_path, per_call):
    fed, own = net(), net()
    source = data()
    resident = Resident(source)
    training.fit(fed, source, workdir=tmp_path / "fed", epochs=1, progress=False)
    training.fit(own, resident, workdir=tmp_path / "own", epochs=1, steps_per_call=per_call, progress=False)
    assert resident.assembled
    for a, b in zip(everything(fed), everything(own), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_two_replicas_compile_and_step_as_one(tmp_path):
    """Forward and backward pass by XLA on each of two devices, the optimizer's step of both outside of it."""
    made = {}
    for name, strategy in (("one", "none"), ("two", "mirrored")):
        strategy = training.setup(seed=4, precision="float32", strategy=strategy, xla="on")
        with strategy.scope():
            model = fer_net.FERNet(classes=("anger", "fear"), width=4, blocks=1, hidden=8, dropout=0.0)
            model.compile(classifier_optimizer=keras.optimizers.SGD(0.05, momentum=0.9))
        assert model.xla
        faces = tf.random.stateless_uniform((4, 64, 64, 1), (1, 2))
        batch = {"image": faces, "label": tf.constant([0, 1, 0, 1]), "index": tf.range(4)}
        if name == "two":  # both replicas get the same faces
            batch = {k: tf.repeat(v, 2, axis=0) for k, v in batch.items()}
        run = steps.Steps(model, Fixed(batch), strategy, 1)
        calls = list(run.epoch(0, 0, lambda step: 2))
        assert [call.steps for call in calls] == [1, 1]
        made[name] = calls[-1].logs["classifier_loss"], [np.array(v) for v in model.trainable_variables]
    assert made["one"][0] == pytest.approx(made["two"][0], rel=1e-5)
    for a, b in zip(made["one"][1], made["two"][1], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


class Fixed:
    """The same batch twice an epoch."""

    def __init__(self, batch):
        self.batch = batch

    def __len__(self):
        return 2

    def epoch(self, number):
        return tf.data.Dataset.from_tensors(self.batch).repeat(2)


@pytest.mark.slow
def test_several_steps_a_call_on_two_replicas(tmp_path):
    weights = []
    for per_call in (1, 4):
        strategy = training.setup(seed=4, precision="float32", strategy="mirrored")
        with strategy.scope():
            model = fer_net.FERNet(classes=("anger", "fear"), width=4, blocks=1, hidden=8)
            model.compile(classifier_optimizer=keras.optimizers.SGD(0.05, momentum=0.9))
        options = {"strategy": strategy, "epochs": 1, "steps_per_call": per_call, "progress": False}
        training.fit(model, data(), workdir=tmp_path / str(per_call), **options)
        weights.append([np.array(v) for v in model.trainable_variables])
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_full_memory_leaves_the_last_checkpoint(tmp_path):
    """And says so, with the batch size."""

    class Greedy(fer_net.FERNet):
        """No memory suffices for its fourth step."""

        def train_step(self, batch):
            def refuse(step):
                if step > 3:
                    raise MemoryError("OOM when allocating tensor")  # TensorFlow makes a ResourceExhaustedError of it
                return step

            logs = super().train_step(batch)
            step = tf.numpy_function(refuse, [self.classifier_optimizer.iterations], tf.int64)
            with tf.control_dependencies([step]):
                return {name: tf.identity(value) for name, value in logs.items()}

    training.setup(seed=5, precision="float32")
    model = Greedy(classes=("anger", "fear"), width=4, blocks=1, hidden=8, seed=5)
    model.compile(classifier_optimizer="sgd")
    with pytest.raises(devices.OutOfMemory, match="a step of 4 images.*last checkpoint is whole"):
        training.fit(model, data(), workdir=tmp_path, epochs=1, checkpoint_steps=2, progress=False)
    latest = tf.train.latest_checkpoint(str(tmp_path / "checkpoint"))
    assert tf.train.load_variable(latest, "step/.ATTRIBUTES/VARIABLE_VALUE") == 2
