"""VGG-16 as an expression classifier: it takes FER-Net's place where IA-gen is tested on Oulu-CASIA.

Simonyan, Zisserman: "Very Deep Convolutional Networks for Large-Scale Image Recognition" (ICLR 2015), configuration D
of Table 1. Yang, Zhang, Yin: "Identity-Adaptive Facial Expression Recognition Through Expression Regeneration Using
Conditional Generative Adversarial Networks" (IA-gen, FG 2018), section IV-A: "the VGG [2] model is used as baseline in
Oulu-CASIA". It gives phi of IA-gen's eq. (5), which is relu2_2, and Feat of its eq. (8).

**Readings**, where IA-gen is silent:

- Eq. (5): phi is divided by 12.75, as in the paper's [19]. Its range is then about that of pixels in [-1, 1].
- Eq. (8), "the last fully connected layer": Feat is the second hidden layer after its ReLU.
- IV-A, "the VGG [2] model": configuration D, VGG-16. The thirteen convolutions are pre-trained. The fully connected
  layers are new, since 64x64 faces leave them 2x2 places where VGG's pictures left 7x7.
- IV-A, "dropout is set to 0.5": it follows both hidden layers, as in VGG's section 3.1.
- IV-A, pictures: grey, repeated to three channels, so that a face and its regenerated ones are seen alike. They are
  scaled as the pre-trained weights expect, and not one by one. The centre crop is tested.
- VGG's section 3.1: what is not pre-trained starts from Glorot's distribution, as a note there suggests. Each layer
  then damps its input, which has the range of pixels. He's distribution would keep it, up to logits of several hundred,
  and training diverges at IA-gen's rate.

**Deviations**, where something printed is changed:

- IV-A, "VGG [2]": the convolutions are pre-trained on ImageNet, whose weights Keras has. The paper's are more likely
  VGG-Face: its section I calls [2] "the VGG face dataset" beside ImageNet [3], and names it with FaceNet among what
  networks are pre-trained on; the baseline is to be like that of [5], which starts from a face recognition net.
- IV-A: faces are found by dlib, not by TSM.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from fer_tf import augment
from fer_tf.compat import keras
from fer_tf.layers import Dropout
from fer_tf.records import CLASSES
from fer_tf.softmax import SoftmaxClassifier

TEMPLATE = "ia_gen"
"""The frame of a face for `faces.align`: 70x70."""

SIZE = 64
"""Pixels a side of a view."""

BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""(channels, convolutions) between two poolings: configuration D of VGG's Table 1."""

MEAN = (103.939, 116.779, 123.68)
"""Mean blue, green and red of ImageNet, in [0, 255], which the ImageNet weights expect to be taken away."""

RESCALE = 12.75
"""What phi is divided by: on pixels of [0, 255] eq. (5) would drown the other terms of eq. (6)."""

views = augment.ia_gen_views
"""The 110 views of IA-gen, section IV-A: 11 rotations x 5 crops of 64x64 x flip; the centre crop at test."""


def preprocess(images: tf.Tensor) -> tf.Tensor:
    """Grey, in three channels, with ImageNet's mean colour taken away.

    Args:
      images: (N, H, W, 1|3) float32 in [0, 1].
    Returns:
      (N, H, W, 3) float32 in [-124, 152]: blue, green, red.
    """
    images = tf.cast(images, tf.float32)
    if images.shape[-1] == 3:
        images = tf.image.rgb_to_grayscale(images)
    return 255.0 * tf.image.grayscale_to_rgb(images) - tf.constant(MEAN)


def build_trunk(*, hidden: int = 4096, dropout: float = 0.5, width: float = 1.0, seed: int = 0) -> keras.Model:
    """Thirteen convolutions and two hidden fully connected layers.

    Args:
      hidden: units of each fully connected layer, the size F of a feature.
      dropout: rate between the two.
      width: times the channels of `BLOCKS`; 1.0 has 14,714,688 weights in the convolutions.
      seed: of the dropout masks.
    Returns:
      A functional net, (N, 64, 64, 3) float32 as `preprocess` makes it -> maps (N, 32, 32, 128 width), relu2_2, and
      features (N, hidden) float32 >= 0. The convolutions have the names that keras.applications gives them.
    """
    inputs = x = keras.Input((SIZE, SIZE, 3), name="face")
    maps = None
    for block, (printed, convolutions) in enumerate(BLOCKS, 1):
        channels = max(1, round(printed * width))
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


@keras.utils.register_keras_serializable("fer_tf")
class VGGNet(SoftmaxClassifier):
    """VGG-16 with a softmax over expressions, in FER-Net's place: phi of IA-gen's eq. (5) and Feat of its eq. (8).

    Args:
      classes: names of the K classes, in the order of the outputs.
      hidden, width: see `build_trunk`.
      dropout: rate after each of the two hidden layers (VGG, section 3.1: 0.5).
      label_smoothing: share of the target spread evenly over the classes (the papers: none).
      weights: what the convolutions start from, see `load_convolutions`; drawn at random when None. It is no part of
        the config: a model that is built again gets all its weights afterwards and needs no file.
      seed: of the dropout masks.
    Raises:
      FileNotFoundError, ValueError: of `load_convolutions`.
    """

    POOLING = "block{}_pool"

    def __init__(
        self,
        *,
        classes: Sequence[str] = CLASSES["six"],
        hidden: int = 4096,
        dropout: float = 0.5,
        label_smoothing: float = 0.0,
        weights: str | os.PathLike[str] | None = None,
        seed: int = 0,
        width: float = 1.0,
        name: str = "vgg_net",
        **options: Any,
    ):
        super().__init__(
            classes=classes,
            trunk=build_trunk(hidden=hidden, dropout=dropout, width=width, seed=seed),
            options={"hidden": hidden, "width": width, "weights": None},
            dropout=dropout,
            label_smoothing=label_smoothing,
            seed=seed,
            name=name,
            **options,
        )
        if weights is not None:
            load_convolutions(self.trunk, weights)

    def preprocess(self, images: tf.Tensor) -> tf.Tensor:
        """Grey, in three channels, ImageNet's mean colour taken away: see the function of this name."""
        return preprocess(images)

    def maps(self, images: tf.Tensor, pooling: int = 2) -> tf.Tensor:
        """phi of IA-gen's eq. (5): (N, 64, 64, 1|3) float32 in [0, 1] -> relu2_2 / 12.75, (N, 32, 32, 128)."""
        return super().maps(images, pooling) / RESCALE


def tiny() -> tuple[VGGNet, dict[str, tf.Tensor]]:
    """A small model and a batch for the contract tests: faint noise, as no norm tames their high rate."""
    model = VGGNet(width=1 / 16, hidden=16)
    image = tf.random.stateless_uniform((6, SIZE, SIZE, 1), (1, 2), 0.4, 0.5)
    return model, {"image": image, "label": tf.range(6), "index": tf.range(6)}
