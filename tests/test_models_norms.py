"""Batch norms of every model: by moving statistics faces are named as by those of the batch."""

import importlib
import pkgutil

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import models
from fer_tf.compat import BatchNorm, keras, sublayers
from fer_tf.layers import Dropout
from fer_tf.step_views import StepViews

MODULES = [importlib.import_module(f"fer_tf.models.{m.name}") for m in pkgutil.iter_modules(models.__path__)]
every = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rsplit(".", 1)[-1])


def players_of(module):
    """(tiny model, batch) of each model of the file that is trained."""
    made = [module.tiny(), *([module.tiny_recogniser()] if hasattr(module, "tiny_recogniser") else [])]
    return [(model, batch) for model, batch in made if model.player_variables()]


def all_layers(layer):
    """Every layer of a model and of the nets in it."""
    below = sublayers(layer)
    return [*below, *(one for part in below for one in all_layers(part))]


class Norms:
    """Stands in for batch norms' `call`: notes who was called, how, and what moving statistics would have given."""

    def __init__(self, monkeypatch):
        self.seen, self.by_batch = [], False
        for kind in (BatchNorm, keras.layers.BatchNormalization):
            if "call" in vars(kind):
                monkeypatch.setattr(kind, "call", self.watched(kind.call))

    def watched(self, call):
        def watch(layer, inputs, training=None, **options):
            mean, variance = np.array(layer.moving_mean), np.array(layer.moving_variance)
            given = call(layer, inputs, training=self.by_batch or training, **options)
            scale = np.array(layer.gamma) / np.sqrt(variance + layer.epsilon)
            self.seen.append((layer, np.array(given), scale * (np.array(inputs) - mean) + np.array(layer.beta)))
            return given

        return watch


@every
def test_faces_are_named_alike_by_batch_and_by_moving_statistics(module, monkeypatch):
    """On a batch that training has seen until the moving statistics stood, with weights held still; no dropout.

    A norm through which faces pass as two batches, in training alone, fails: the moving statistics are neither's.
    """
    made = [pair for pair in players_of(module) if hasattr(pair[0], "classify")]
    norms = Norms(monkeypatch)  # once they are made: Keras 2 calls layers without values to make a net
    monkeypatch.setattr(StepViews, "show", lambda self, faces, drawn: faces)
    monkeypatch.setattr(StepViews, "mix", lambda self, faces, drawn: (faces, tf.ones(len(faces))))
    for model, batch in made:
        norms.by_batch = False
        for layer in all_layers(model):
            if isinstance(layer, Dropout):
                layer.rate = 0.0
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.1
        for _ in range(7):
            model.losses(batch)
        norms.seen.clear()
        expected = model.classify(batch["image"]).numpy()
        tested = {id(layer): layer.name for layer, *_ in norms.seen}
        norms.seen.clear()
        model.losses(batch)
        for layer, given, by_moving in norms.seen:
            if id(layer) in tested:
                gap = np.sqrt(np.mean((given - by_moving) ** 2)) / np.std(given)
                assert gap < 0.03, f"{layer.name} normalises otherwise in training: {gap:.2f} deviations"
        norms.by_batch = True
        by_batch = model.classify(batch["image"]).numpy()
        clear = np.diff(np.sort(expected)[:, -2:])[:, 0] > 0.1
        np.testing.assert_array_equal(by_batch.argmax(-1)[clear], expected.argmax(-1)[clear])
        np.testing.assert_allclose(by_batch, expected, atol=0.05)  # moving variances are the unbiased ones
