"""Moving statistics of batch norms, set anew from training views while the weights are held still.

They lag behind the weights, which matters where the learning rate is high to the end.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from fer_tf import compat


def norms(layer: Any) -> Iterator[Any]:
    """The batch norms that training moves, of a model and of all nets in it."""
    for below in compat.sublayers(layer):
        if isinstance(below, compat.keras.layers.BatchNormalization) and below.trainable:
            yield below
        yield from norms(below)


def recalibrate(model: Any, data: Any, batches: int, epoch: int = 0) -> Any:
    """Sets every moving mean and variance to its average over some training batches; nothing else moves.

    Args:
      model: a `compat.PlayersModel`, whose `losses` runs the norms as training does; on one replica.
      data: `pipeline.Batches` to train on, or any object with `epoch(number)`.
      batches: how many of an epoch, from its first; 0 leaves the model as it is.
      epoch: number of the epoch.
    Returns:
      The model.
    """
    layers = list({id(n): n for n in norms(model)}.values())
    if not layers or not batches:
        return model
    statistics = [v for layer in layers for v in (layer.moving_mean, layer.moving_variance)]
    own, momenta = {id(v) for v in statistics}, [layer.momentum for layer in layers]
    others = [(v, v.numpy()) for v in model.variables if id(v) not in own]
    totals, count = [np.zeros(v.shape, np.float64) for v in statistics], 0

    @tf.function(reduce_retracing=True)
    def see(batch: Any) -> None:  # the losses are of no use, so that they are not computed
        model.losses(batch, training=True)

    try:
        for layer in layers:
            layer.momentum = 0.0  # each batch's own statistics
        for batch in itertools.islice(data.epoch(epoch), batches):
            see(batch)
            totals, count = [t + v.numpy() for t, v in zip(totals, statistics, strict=True)], count + 1
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for variable, value in others:  # counters of dropout masks, too
            variable.assign(value)
    for variable, total in zip(statistics, totals, strict=True):
        variable.assign(total / count)
    return model
