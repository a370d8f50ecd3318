"""Keras's own ways of training, on models of several players: data, weights, metrics, callbacks, replicas."""

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import feeding, training
from fer_tf.compat import PlayersModel, keras, optimizer_variables
from fer_tf.losses import cross_entropy
from fer_tf.models import de_gan, ed2l, fer_net, gcnet, ia_gen, se_resnet
from fer_tf.softmax import accuracy

CLASSES = ("anger", "fear", "happiness")
KERNEL = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)


class Pair(PlayersModel):
    """Two players, a softmax each on the four pixels of a picture; the first one names the class."""

    def __init__(self, **options):
        super().__init__(**options)
        self.classes = CLASSES
        self.first, self.second = (keras.layers.Dense(3, use_bias=False, name=n) for n in ("first", "second"))
        for layer, factor in ((self.first, 1.0), (self.second, -0.5)):
            layer.build((None, 4))
            layer.kernel.assign(factor * KERNEL)
        self.built = True
        self.track("first_loss", "second_loss", "naming_loss", "accuracy")

    def player_variables(self):
        return [(name, getattr(self, name).trainable_variables) for name in ("first", "second")]

    def logits(self, images, name="first"):
        return getattr(self, name)(tf.reshape(images, (-1, 4)))

    def classify(self, images):
        return tf.nn.softmax(self.logits(images))

    def losses(self, batch, training=True):
        def of(name, weight):
            return cross_entropy(self.logits(batch["image"], name), batch["label"], weight)

        terms = {
            "first": {"naming_loss": of("first", batch.get("weight"))},
            "second": {"other_loss": of("second", None)},
        }
        return terms, {"accuracy": accuracy(self.logits(batch["image"]), batch["label"])}


def rows(count=9):
    """(pictures (N, 2, 2, 1), labels (N,)); the first kernel names the last one alone right."""
    images = np.random.default_rng(0).uniform(0, 1, (count, 2, 2, 1)).astype(np.float32)
    best = (images.reshape(-1, 4) @ KERNEL).argmax(1)
    labels = (best + 1 + np.arange(count) % 2) % 3
    labels[-1] = best[-1]
    return images, labels.astype(np.int32)


def row_losses(images, labels):
    """-log softmax of the label at the first weights: (N,)."""
    logits = images.reshape(-1, 4) @ KERNEL
    return np.log(np.exp(logits).sum(1)) - logits[np.arange(len(labels)), labels]


def pair(first=0.0, second=0.0, **options):
    """Compiled with plain SGD of these rates."""
    model = Pair()
    optimizers = {"first_optimizer": keras.optimizers.SGD(first), "second_optimizer": keras.optimizers.SGD(second)}
    model.compile(**optimizers, **options)
    return model


def kernels(model):
    return [np.array(v) for _, own in model.player_variables() for v in own]


def as_columns(images, labels, **more):
    return tf.data.Dataset.from_tensor_slices({"image": images, "label": labels, **more})


def test_a_short_last_batch_counts_as_the_rows_that_it_has():
    """One of nine is right: 0.111, where the mean of the batches' means is 0.5."""
    images, labels = rows()
    model, data = pair(), as_columns(images, labels).batch(8)
    expected = {"accuracy": 1 / 9, "naming_loss": row_losses(images, labels).mean()}
    found = model.evaluate(data, verbose=0, return_dict=True)
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-5)
    history = model.fit(data, validation_data=data, verbose=0).history
    for name, value in expected.items():
        assert history[name] == history[f"val_{name}"] == pytest.approx([value], rel=1e-5)


def test_gcnets_share_within_the_margin_is_one_of_faces_that_are_not_neutral():
    """Four of seven faces are neutral, and a batch of their own: it says nothing of the other three."""
    model = gcnet.GCNet(width=1 / 16, margin=1e4, classes=("anger", "fear", "happiness", "neutral"))
    image, reference = (tf.random.stateless_uniform((7, 64, 64, 1), (1, s)) for s in (2, 3))
    neutral = model.classes.index("neutral")
    labels = tf.constant([neutral] * 4 + [0, 1, 2])
    model.compile(**gcnet.optimizers(model), run_eagerly=True)
    data = tf.data.Dataset.from_tensor_slices({"image": image, "reference": reference, "label": labels})
    found = [model.evaluate(data.batch(size), verbose=0, return_dict=True)["margin_share"] for size in (4, 7)]
    assert found == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize("form", ["arrays", "column", "one_hot", "bytes", "dataset", "columns_and_y"])
def test_x_and_y(form):
    """Every form gives the step that a batch gives."""
    images, labels = rows()
    whole = (images * 255).round().astype(np.uint8)
    images = whole.astype(np.float32) / 255
    given = {
        "arrays": ((images, labels), {"batch_size": 9}),
        "column": ((images, labels[:, None]), {"batch_size": 9}),
        "one_hot": ((images, np.eye(3, dtype=np.float32)[labels]), {"batch_size": 9}),
        "bytes": ((whole, labels), {"batch_size": 9}),
        "dataset": ((tf.data.Dataset.from_tensor_slices((images, labels)).batch(9),), {}),
        "columns_and_y": (({"image": images}, labels), {"batch_size": 9}),
    }[form]
    model, expected = pair(0.5, 0.25), pair(0.5, 0.25)
    expected.fit(as_columns(images, labels).batch(9), verbose=0)
    history = model.fit(*given[0], **given[1], verbose=0).history
    assert history["naming_loss"] == pytest.approx([row_losses(images, labels).mean()], rel=1e-4)
    for a, b in zip(kernels(model), kernels(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert not np.allclose(kernels(model)[0], KERNEL, atol=1e-3)


def test_y_of_a_gan_is_the_picture_that_it_is_to_draw():
    model, batch = ia_gen.tiny()
    model.compile(discriminator_optimizer="sgd", generator_optimizer="sgd", run_eagerly=True)
    by_name = model.evaluate(tf.data.Dataset.from_tensors(batch), verbose=0, return_dict=True)
    pair_of = model.evaluate(batch["image"].numpy(), batch["target"].numpy(), verbose=0, return_dict=True)
    assert pair_of == pytest.approx(by_name, rel=1e-4)


def test_what_the_data_lack_is_named():
    model, batch = ia_gen.tiny()
    model.compile(discriminator_optimizer="sgd", generator_optimizer="sgd", run_eagerly=True)
    with pytest.raises(ValueError, match=r"ExpressionGAN learns from 'target', which the data lack.*'image'"):
        model.fit(batch["image"].numpy(), verbose=0)


WEIGHTS = np.array([2.0, 0.5, 1.0], np.float32)


@pytest.mark.parametrize("form", ["numbers", "names", "arrays", "rows", "third", "column"])
def test_class_weight_and_sample_weight(form):
    """The mean of weight times loss, and its gradient; the other player's loss does not change."""
    images, labels = rows()
    by_class = {0: 2.0, 1: 0.5}
    data, own = as_columns(images, labels).batch(9), WEIGHTS[labels]
    given = {
        "numbers": ((data,), {"class_weight": by_class}),
        "names": ((data,), {"class_weight": {"anger": 2.0, "fear": 0.5}}),
        "arrays": ((images, labels), {"class_weight": by_class, "batch_size": 9}),
        "rows": ((images, labels), {"sample_weight": own, "batch_size": 9}),
        "third": ((tf.data.Dataset.from_tensor_slices((images, labels, own)).batch(9),), {}),
        "column": ((as_columns(images, labels, weight=own).batch(9),), {}),
    }[form]
    model, plain = pair(0.5), pair(0.5)
    history, without = (m.fit(*a, **o, verbose=0).history for m, (a, o) in ((model, given), (plain, ((data,), {}))))
    losses = row_losses(images, labels)
    assert history["naming_loss"] == pytest.approx([(own * losses).mean()], rel=1e-5)
    assert (own * losses).mean() != pytest.approx(losses.mean(), rel=0.05)
    assert (
        history["second_loss"] == pytest.approx(without["second_loss"]) and history["accuracy"] == without["accuracy"]
    )
    flat = images.reshape(-1, 4)
    probabilities = np.exp(flat @ KERNEL) / np.exp(flat @ KERNEL).sum(1, keepdims=True)
    gradient = flat.T @ (own[:, None] * (probabilities - np.eye(3)[labels])) / 9
    np.testing.assert_allclose(kernels(model)[0], KERNEL - 0.5 * gradient, atol=1e-5)


def test_se_resnet_counts_weighted_rows_in_its_means():
    """Its losses are over the sum of weights: alike weights change nothing, a row of weight zero is not there."""
    model, batch = se_resnet.tiny()
    terms = {}
    for name, weight in (("plain", None), ("twice", [2.0] * 6), ("without", [1.0] * 5 + [0.0])):
        more = {} if weight is None else {"weight": tf.constant(weight)}
        terms[name] = model.losses({**batch, **more}, training=False)[0]["classifier"]
    five = model.losses({name: value[:5] for name, value in batch.items()}, training=False)[0]["classifier"]
    for name, value in terms["plain"].items():
        assert float(terms["twice"][name]) == pytest.approx(float(value), rel=1e-5)
        assert float(terms["without"][name]) == pytest.approx(float(five[name]), rel=1e-4) != float(value)


@pytest.mark.parametrize("module", [fer_net, ed2l, gcnet], ids=lambda m: m.__name__.rsplit(".", 1)[-1])
def test_models_weigh_what_their_faces_classification_adds(module):
    """With weight two everywhere the losses to the label are twice as large, the others what they were."""
    model, batch = module.tiny()
    plain, twice = (
        model.losses({**batch, **w}, training=False)[0]["classifier"] for w in ({}, {"weight": tf.fill([6], 2.0)})
    )
    weighed = {"classification_loss", "distilling_loss", "dispeller_loss"} & plain.keys()
    assert weighed
    for name, value in plain.items():
        assert float(twice[name]) == pytest.approx((2 if name in weighed else 1) * float(value), rel=1e-5), name


def test_weights_without_a_meaning_are_refused():
    images, labels = rows()
    with pytest.raises(ValueError, match=r"class_weight names \['sorrow', 7\]: the classes are \{0: 'anger'"):
        pair().fit(as_columns(images, labels).batch(9), class_weight={"sorrow": 2.0, 7: 1.0}, verbose=0)
    gan, batch = de_gan.tiny()
    gan.compile(discriminator_optimizer="sgd", generator_optimizer="sgd", run_eagerly=True)
    data = tf.data.Dataset.from_tensors(batch)
    with pytest.raises(ValueError, match="DEGAN names no expression, so class_weight has no meaning"):
        gan.fit(data, class_weight={0: 2.0}, verbose=0)
    with pytest.raises(ValueError, match="DEGAN names no expression, so sample_weight"):
        gan.fit(tf.data.Dataset.from_tensors({**batch, "weight": tf.ones(6)}), verbose=0)


def test_loss_weights_weigh_terms():
    """What is logged, and what is descended: a weight of three is a rate of three."""
    images, labels = rows()
    data = as_columns(images, labels).batch(9)
    model, plain = pair(0.1, 0.1, loss_weights={"naming_loss": 3.0}), pair(0.3, 0.1)
    history, without = (m.fit(data, verbose=0).history for m in (model, plain))
    assert history["naming_loss"] == history["first_loss"] == pytest.approx([3 * without["naming_loss"][0]], rel=1e-5)
    assert history["second_loss"] == pytest.approx(without["second_loss"])
    for a, b in zip(kernels(model), kernels(plain), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    with pytest.raises(
        ValueError, match=r"loss_weights of Pair are for its terms \['naming_loss', 'other_loss'\], not"
    ):
        pair(loss_weights={"loss": 3.0}).fit(data, verbose=0)
    with pytest.raises(ValueError, match="loss_weights of Pair name its terms"):
        pair(loss_weights=[1.0, 2.0])
    with pytest.raises(ValueError, match="Pair descends its paper's losses"):
        pair(loss="mse")


def still(callback, epochs, first=0.4, second=0.1):
    """(rates of both players after each epoch, history) of a training in which nothing moves: black pictures."""
    model, seen, black = pair(first, second), [], as_columns(np.zeros((3, 2, 2, 1), np.float32), [0, 1, 2]).batch(3)

    def note(epoch, logs):
        seen.append([float(player.optimizer.learning_rate) for player in model.players().values()])

    callbacks = [callback, keras.callbacks.LambdaCallback(on_epoch_end=note)]
    history = model.fit(black, validation_data=black, epochs=epochs, callbacks=callbacks, verbose=0).history
    assert len(set(history["val_accuracy"])) == 1
    return [pytest.approx(rates) for rates in seen], history


def test_reduce_lr_on_plateau_reduces_every_players_rate():
    """Each to its own least rate; the log tells them apart. The callback is the user's own again afterwards."""
    callback = keras.callbacks.ReduceLROnPlateau(monitor="val_accuracy", factor=0.5, patience=2, min_lr=0.04)
    rates, history = still(callback, 5)
    assert rates == [[0.4, 0.1], [0.4, 0.1], [0.2, 0.05], [0.2, 0.05], [0.1, 0.04]]
    names = sorted(name for name in history if name.startswith(("lr", "learning_rate")))
    assert [name.removeprefix("learning_rate").removeprefix("lr") for name in names] == ["_first", "_second"]
    assert history[names[1]] == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.05])
    assert not {"set_model", "on_epoch_end"} & {*vars(callback)}


def test_learning_rate_scheduler_of_all_players_or_of_one():
    halved = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    assert still(halved, 3)[0] == [[0.2, 0.05], [0.1, 0.025], [0.05, 0.0125]]
    number = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.3 + epoch)
    assert still(number, 2)[0] == [[0.3, 0.3], [1.3, 1.3]]
    assert still(feeding.only_for("second", number), 2)[0] == [[0.4, 0.3], [0.4, 1.3]]


def test_rates_that_no_callback_can_set_are_refused():
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    with pytest.raises(ValueError, match="LearningRateScheduler cannot set the learning rate of second, which follows"):
        still(scheduler, 1, second=schedule)
    with pytest.raises(ValueError, match="LearningRateScheduler is for 'third': the players are first, second"):
        still(feeding.only_for("third", scheduler), 1)


def test_early_stopping_on_accuracy_looks_for_the_largest():
    """Right and wrong by turns: the best epoch is the second, two more do not reach it."""
    images, labels = rows()
    model, data = pair(), as_columns(images, labels).batch(4)
    kernels_of_epochs = [KERNEL, -KERNEL, KERNEL, KERNEL, -KERNEL]
    right = [(images.reshape(-1, 4) @ k).argmax(1) == labels for k in kernels_of_epochs]
    assert right[0].mean() == pytest.approx(1 / 9) and right[1].mean() > 0.3

    def begin(epoch, logs):
        model.first.kernel.assign(kernels_of_epochs[epoch])

    stop = keras.callbacks.EarlyStopping(monitor="val_accuracy", patience=2, restore_best_weights=True)
    callbacks = [keras.callbacks.LambdaCallback(on_epoch_begin=begin), stop]
    history = model.fit(data, validation_data=data, epochs=5, callbacks=callbacks, verbose=0).history
    assert history["val_accuracy"] == pytest.approx([r.mean() for r in right[:4]])
    np.testing.assert_array_equal(kernels(model)[0], -KERNEL)


def test_a_loss_that_is_not_logged_cannot_be_looked_at():
    said = "EarlyStopping looks at val_loss, which Pair does not log.*monitor one of first_loss, second_loss"
    with pytest.raises(ValueError, match=said):
        still(keras.callbacks.EarlyStopping(), 1)


class Epochs:
    """Batches for `training.fit`."""

    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data)

    def epoch(self, number):
        return self.data


@pytest.mark.parametrize("form", ["batches", "arrays"])
def test_keras_fit_on_two_replicas(form, tmp_path):
    """Batches of five and four: `training.fit` comes to the same weights, and the means are those of all rows."""
    images, labels = rows()
    mirrored = training.setup(precision="float32", strategy="mirrored")
    data = as_columns(images, labels).batch(5)
    with mirrored.scope():
        model, expected = pair(0.5, 0.25), pair(0.5, 0.25)
    training.fit(expected, Epochs(data), workdir=tmp_path, epochs=2, strategy=mirrored, progress=False)
    given = {"x": data} if form == "batches" else {"x": images, "y": labels, "batch_size": 5, "shuffle": False}
    held_out = data if form == "batches" else (images, labels)
    history = model.fit(**given, epochs=2, validation_data=held_out, verbose=0).history
    assert not np.allclose(kernels(model)[0], KERNEL, atol=1e-2)
    for a, b in zip(kernels(model), kernels(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    right = (images.reshape(-1, 4) @ kernels(model)[0]).argmax(1) == labels
    assert history["val_accuracy"][-1] == pytest.approx(right.mean()) and np.isfinite(history["first_loss"]).all()
    model.first.kernel.assign(KERNEL)
    found = model.evaluate(**{k: v for k, v in given.items() if k != "shuffle"}, verbose=0, return_dict=True)
    expected = {"accuracy": 1 / 9, "naming_loss": row_losses(images, labels).mean()}
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_a_net_with_norms_on_two_replicas_takes_a_batch_of_one_row(tmp_path):
    """Batches of five and one: each replica has its rows of `training.fit`; class weights are dealt, too."""
    mirrored, made = training.setup(precision="float32", strategy="mirrored"), []
    for _ in range(2):
        training.setup(seed=5, precision="float32")
        with mirrored.scope():
            made.append(fer_net.FERNet(width=4, blocks=1, hidden=8, dropout=0.0))
            made[-1].compile(classifier_optimizer=keras.optimizers.SGD(0.01))
    (model, expected), batch = made, fer_net.tiny()[1]
    data = tf.data.Dataset.from_tensor_slices(batch).batch(5)
    training.fit(expected, Epochs(data), workdir=tmp_path, epochs=1, strategy=mirrored, progress=False)
    model.fit(data, verbose=0)
    assert int(np.array(optimizer_variables(model)["classifier"][0])) == 2
    for a, b in zip(model.trunk.get_weights(), expected.trunk.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    history = model.fit(data, validation_data=data, class_weight={"anger": 3.0}, verbose=0).history
    assert all(np.isfinite(value).all() for value in (*history.values(), *model.get_weights()))
