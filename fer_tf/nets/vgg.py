"""VGG-16's thirteen convolutions and two hidden layers, for 64x64 faces, under the names that keras.applications gives.

Simonyan, Zisserman: "Very Deep Convolutional Networks for Large-Scale Image Recognition" (ICLR 2015), configuration D
of Table 1. IA-gen's model `vgg` stands on it; the VGGs of CycleAT's Table 8 are in `backbones`.
"""

from __future__ import annotations

import os
from pathlib import Path

from fer_tf.compat import keras
from fer_tf.layers import Dropout, scaled

SIZE = 64
"""Pixels a side of a view."""

BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""(channels, convolutions) between two poolings: configuration D of VGG's Table 1."""

MEAN = (103.939, 116.779, 123.68)
"""Mean blue, green and red of ImageNet, in [0, 255], which the ImageNet weights expect to be taken away."""


def build_trunk(*, hidden: int = 4096, dropout: float = 0.5, width: float = 1.0, seed: int = 0) -> keras.Model:
    """Thirteen convolutions and two hidden fully connected layers.

    Args:
      hidden: units of each fully connected layer, the size F of a feature.
      dropout: rate between the two.
      width: times the channels of `BLOCKS`; 1.0 has 14,714,688 weights in the convolutions.
      seed: of the dropout masks.
    Returns:
      A functional net, (N, 64, 64, 3) float32, blue, green, red in [0, 255] less `MEAN` -> relu2_2, maps
      (N, 32, 32, 128 width), and features (N, hidden) float32 >= 0. The convolutions have the names that
      keras.applications gives them.
    """
    inputs = x = keras.Input((SIZE, SIZE, 3), name="face")
    maps = None
    for block, (printed, convolutions) in enumerate(BLOCKS, 1):
        channels = scaled(printed, width)
        for i in range(1, convolutions + 1):
            x = keras.layers.Conv2D(channels, 3, padding="same", activation="relu", name=f"block{block}_conv{i}")(x)
        maps = x if block == 2 else maps
        x = keras.layers.MaxPooling2D(name=f"block{block}_pool")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(hidden, "relu", name="fc1")(x)
    x = Dropout(dropout, seed + 1, name="fc1_dropout")(x)
    x = keras.layers.Dense(hidden, "relu", dtype="float32", name="fc2")(x)
    return keras.Model(inputs, [maps, x], name="trunk")


def load_convolutions(trunk: keras.Model, weights: str | os.PathLike[str]) -> None:
    """Copies the thirteen convolutions of keras.applications.VGG16 into a trunk of width 1, by their names.

    Args:
      trunk: of `build_trunk`; its fully connected layers stay as they are.
      weights: "imagenet", which Keras fetches once (59 MB), or the file of Keras' VGG-16 without its top.
    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the trunk is narrower, "imagenet" cannot be fetched, or the file holds another net.
    """
    if trunk.get_layer("block1_conv1").filters != BLOCKS[0][0]:
        raise ValueError(f"weights={str(weights)!r} are of the full VGG-16: they need width=1.")
    if weights != "imagenet" and not Path(weights).is_file():
        raise FileNotFoundError(f"There is no file {weights}: give Keras' VGG-16 without its top, or imagenet.")
    try:
        source = keras.applications.VGG16(include_top=False, weights=os.fspath(weights))
    except Exception as error:  # Keras raises bare Exceptions, too
        reason = (str(error).splitlines() or [""])[0]
        if weights == "imagenet":
            text = f"The ImageNet weights cannot be fetched ({reason}): give the file of Keras' VGG-16 without its top."
        else:
            text = f"{weights} is not the file of Keras' VGG-16 without its top ({reason})."
        raise ValueError(text) from error
    for layer in source.layers:
        if layer.get_weights():
            trunk.get_layer(layer.name).set_weights(layer.get_weights())
