"""Keras metrics beside what a model logs."""

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import training
from fer_tf.compat import keras
from fer_tf.models import de_gan, fer_net

CLASSES = ("anger", "fear", "happiness")


def net(**options):
    """A compiled small net of three classes, its pictures, labels and probabilities."""
    training.setup(seed=2, precision="float32")
    model = fer_net.FERNet(classes=CLASSES, width=4, blocks=1, hidden=8, dropout=0.0)
    images = tf.random.stateless_uniform((9, 64, 64, 1), (1, 2)).numpy()
    probabilities = model.classify(images).numpy()
    labels = np.argsort(probabilities, 1)[np.arange(9), [2, 1, 0, 1, 2, 0, 0, 1, 0]].astype(np.int32)
    model.compile(classifier_optimizer=keras.optimizers.SGD(0.0), run_eagerly=True, **options)
    return model, images, labels, probabilities


def gap(labels, probabilities):
    """How much the label lacks to one, a function of the user's."""
    return 1.0 - tf.gather(probabilities, tf.cast(labels, tf.int32), batch_dims=1)


def test_metrics_are_those_of_all_rows_in_training_and_test():
    """Of Keras, by name, by class, with one-hot labels, and a function; "accuracy" is the model's own."""
    given = ["accuracy", "sparse_categorical_crossentropy", keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")]
    given += [keras.metrics.CategoricalAccuracy(name="by_one_hot"), keras.metrics.AUC(name="auc"), gap]
    model, images, labels, probabilities = net(metrics=given)
    own = probabilities[np.arange(9), labels]
    expected = {"accuracy": 2 / 9, "top2": 5 / 9, "by_one_hot": 2 / 9, "gap": np.mean(1 - own)}
    expected["sparse_categorical_crossentropy"] = -np.log(own).mean()
    auc = keras.metrics.AUC()
    auc.update_state(np.eye(3)[labels], probabilities)
    expected["auc"] = float(auc.result())
    found = model.evaluate(images, labels, batch_size=8, verbose=0, return_dict=True)
    assert set(found) == {*expected, "classifier_loss"}
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    history = model.fit(images, labels, batch_size=9, verbose=0).history  # all at once: before the norms learn
    assert {name: history[name][0] for name in expected} == pytest.approx(expected, rel=1e-4)


def test_weighted_metrics_count_by_class_weight():
    model, images, labels, probabilities = net(metrics=[gap], weighted_metrics=["accuracy"])
    history = model.fit(images, labels, batch_size=9, class_weight={0: 3.0}, verbose=0).history
    weights = np.where(labels == 0, 3.0, 1.0)
    right = probabilities.argmax(1) == labels
    assert history["accuracy"] == pytest.approx([2 / 9])
    assert history["weighted_accuracy"] == pytest.approx([(weights * right).sum() / weights.sum()])
    assert history["gap"] == pytest.approx([np.mean(1 - probabilities[np.arange(9), labels])], rel=1e-4)


def test_metrics_come_back_with_a_keras_file(tmp_path):
    model, images, labels, _ = net(metrics=[keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")])
    model.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    found = [m.evaluate(images, labels, verbose=0, return_dict=True) for m in (model, again)]
    assert found[0]["top2"] == pytest.approx(5 / 9) and found[0] == pytest.approx(found[1])


def test_metrics_on_two_replicas():
    """A replica without a row counts none."""
    mirrored = training.setup(precision="float32", strategy="mirrored")
    with mirrored.scope():
        model, images, labels, _ = net(metrics=[keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")])
    found = model.evaluate(images, labels, batch_size=4, verbose=0, return_dict=True)
    assert found["top2"] == pytest.approx(5 / 9) and found["accuracy"] == pytest.approx(2 / 9)


def test_metrics_without_a_meaning_are_refused():
    gan, _ = de_gan.tiny()
    with pytest.raises(ValueError, match="DEGAN names no expression, so metrics have no meaning here"):
        gan.compile(metrics=["accuracy"], discriminator_optimizer="sgd", generator_optimizer="sgd")
    for metrics, said in (
        (["classifier_loss_"], "classifier_loss_"),
        ([3], "3 is no metric"),
        ([keras.metrics.SparseCategoricalAccuracy(name="accuracy")], "FERNet logs 'accuracy' already"),
        ("accuracy", "metrics of FERNet are a list"),
        ({"logits": "accuracy"}, "metrics of FERNet are a list"),
    ):
        with pytest.raises(ValueError, match=said):
            net(metrics=metrics)
