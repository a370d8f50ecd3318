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
from typing import Any

import tensorflow as tf

from fer_tf import augment
from fer_tf.compat import keras
from fer_tf.layers import grey
from fer_tf.nets.vgg import MEAN, SIZE, build_trunk, load_convolutions
from fer_tf.records import CLASSES
from fer_tf.softmax import SoftmaxClassifier

TEMPLATE = "ia_gen"
"""The frame of a face for `faces.align`: 70x70."""

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
    return 255.0 * tf.image.grayscale_to_rgb(grey(images)) - tf.constant(MEAN)


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
            dropout=dropout,
            label_smoothing=label_smoothing,
            seed=seed,
            name=name,
            **options,
        )
        self.hidden, self.width = hidden, width
        if weights is not None:
            load_convolutions(self.trunk, weights)

    def preprocess(self, images: tf.Tensor) -> tf.Tensor:
        """Grey, in three channels, ImageNet's mean colour taken away: see the function of this name."""
        return preprocess(images)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; `weights` is None."""
        return {**super().get_config(), "hidden": self.hidden, "width": self.width, "weights": None}

    def maps(self, images: tf.Tensor, pooling: int = 2) -> tf.Tensor:
        """phi of IA-gen's eq. (5): (N, 64, 64, 1|3) float32 in [0, 1] -> relu2_2 / 12.75, (N, 32, 32, 128)."""
        return super().maps(images, pooling) / RESCALE


def tiny() -> tuple[VGGNet, dict[str, tf.Tensor]]:
    """A small model and a batch for the contract tests: faint noise, as no norm tames their high rate."""
    model = VGGNet(width=1 / 16, hidden=16)
    image = tf.random.stateless_uniform((6, SIZE, SIZE, 1), (1, 2), 0.4, 0.5)
    return model, {"image": image, "label": tf.range(6), "index": tf.range(6)}
