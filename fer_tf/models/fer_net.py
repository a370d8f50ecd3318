"""FER-Net, the expression classifier that IA-gen starts from and is compared with.

Yang, Zhang, Yin: "Identity-Adaptive Facial Expression Recognition Through Expression Regeneration Using Conditional
Generative Adversarial Networks" (IA-gen, FG 2018), sections III-B and IV-A: Feat of eq. (8), and the CNN
baseline of Tables I, III and IV. Section IV-A prints batch size 100, momentum 0.9, dropout 0.5 and rate 0.001.

**Readings**, where the paper is silent:

- III-B, "a regular convolutional neural network": the layers are ours. Three stages of residual blocks have max-pooling
  between them. Global average pooling leads into one hidden fully connected layer. Batch norm's momentum is 0.9.
- Eq. (8), "the last fully connected layer": Feat is that hidden layer after its ReLU.
- IV-A, "momentum": SGD's.
- IV-A, "dropout is set to 0.5 during training, and 1.0 during testing": it acts on the hidden layer. The numbers are
  shares that are kept; nothing is dropped at test.
- IV-A, "decreased by 0.8 for 20 epochs": times 0.8 after every 20 epochs (`schedule`).
- IV-A, pictures: grey and standardised one by one. The centre crop is tested.

**Deviations**, where something printed is changed:

- IV-A: faces are found by dlib, not by TSM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from fer_tf import augment
from fer_tf.compat import keras
from fer_tf.layers import conv_bn, grey, residual_block
from fer_tf.records import CLASSES
from fer_tf.softmax import SoftmaxClassifier

TEMPLATE = "ia_gen"
"""The frame of a face for `faces.align`: 70x70, cut like a picture of FER-2013."""

views = augment.ia_gen_views
"""The 110 views of IA-gen, section IV-A: 11 rotations x 5 crops of 64x64 x flip; the centre crop at test."""


@dataclass(frozen=True)
class RandomViews(augment.Drawn):
    """Continuous random views of a face, for pre-training where the 110 discrete ones are too few.

    Attributes:
      size: (h, w) of a view.
      degrees, scale, shift: see `augment.random_affine`.
    """

    size: tuple[int, int] = (64, 64)
    degrees: float = 12.0
    scale: tuple[float, float] = (0.9, 1.1)
    shift: float = 0.02

    def drawn(self, seed: tf.Tensor, count: tf.Tensor, source: tuple[int, int]) -> dict[str, tf.Tensor]:
        """See `augment.Drawn`; here and below: rotation, magnification, crop and flip."""
        seed = augment.at_once(seed, affine=4, crop=2, flip=1)
        return {
            "affine": augment.affine_rows(source, seed, count, self.degrees, self.scale, self.shift),
            "corner": augment.corners(source, self.size, seed, count),
            "mirrored": augment.heads(seed, count),
        }

    def one(self, picture: tf.Tensor, drawn: dict[str, tf.Tensor], compiled: bool) -> tf.Tensor:
        """(N, H, W, C) -> (N, h, w, C)."""
        picture = augment.warp(picture, drawn["affine"], "reflect", compiled)
        return augment.flip_where(augment.crop_at(picture, self.size, drawn["corner"]), drawn["mirrored"])

    def test_view(self, images: tf.Tensor) -> tf.Tensor:
        """The centre crop."""
        return augment.centre_crop(images, self.size)


random_views = RandomViews()


def preprocess(images: tf.Tensor) -> tf.Tensor:
    """Grey, each face at mean 0 and standard deviation 1.

    Args:
      images: (N, H, W, 1|3) float32 in [0, 1].
    Returns:
      (N, H, W, 1) float32; a flat picture gives zeros.
    """
    images = grey(images)
    mean, variance = tf.nn.moments(images, [1, 2, 3], keepdims=True)
    return (images - mean) * tf.math.rsqrt(variance + 1e-4)


def schedule(steps_per_epoch: int, rate: float = 0.001, factor: float = 0.8, epochs: int = 20) -> Any:
    """The paper's learning rate: 0.001, "decreased by 0.8 for 20 epochs", read as x0.8 after every 20 epochs."""
    return keras.optimizers.schedules.ExponentialDecay(rate, steps_per_epoch * epochs, factor, staircase=True)


def build_trunk(*, width: int = 64, blocks: int = 2, hidden: int = 256) -> keras.Model:
    """The convolutions and the hidden fully connected layer.

    Args:
      width: channels of the first stage; the second has twice, the third four times as many.
      blocks: residual blocks a stage.
      hidden: units of the fully connected layer, the size F of a feature.
    Returns:
      A functional net, (N, H, W, 1) float32 as `preprocess` makes it -> maps (N, H/2, W/2, width), the last convolution
      before the second pooling, and features (N, hidden) float32 >= 0. H and W are free: the last pooling is global.
    """
    inputs = keras.Input((None, None, 1), name="face")
    x = keras.layers.MaxPooling2D(name="pool1")(conv_bn(inputs, width // 2, "stem"))
    for i in range(blocks):
        x = maps = residual_block(x, width, f"stage1_{i}")
    x = keras.layers.MaxPooling2D(name="pool2")(x)
    for i in range(blocks):
        x = residual_block(x, 2 * width, f"stage2_{i}")
    x = keras.layers.MaxPooling2D(name="pool3")(x)
    for i in range(blocks):
        x = residual_block(x, 4 * width, f"stage3_{i}")
    x = keras.layers.GlobalAveragePooling2D(dtype="float32", name="pool4")(x)
    x = keras.layers.Dense(hidden, "relu", kernel_initializer="he_normal", dtype="float32", name="hidden")(x)
    return keras.Model(inputs, [maps, x], name="trunk")


@keras.utils.register_keras_serializable("fer_tf")
class FERNet(SoftmaxClassifier):
    """FER-Net: Feat of eq. (8), and the softmax that the paper compares IA-gen with.

    Args:
      classes: names of the K classes, in the order of the outputs.
      width, blocks, hidden: see `build_trunk`.
      dropout: rate on the hidden layer (the paper: 0.5).
      label_smoothing: share of the target spread evenly over the classes (the paper: none).
      seed: of the dropout masks.
    """

    def __init__(
        self,
        *,
        classes: Sequence[str] = CLASSES["seven"],
        width: int = 64,
        blocks: int = 2,
        hidden: int = 256,
        dropout: float = 0.5,
        label_smoothing: float = 0.0,
        seed: int = 0,
        name: str = "fer_net",
        **options: Any,
    ):
        super().__init__(
            classes=classes,
            trunk=build_trunk(width=width, blocks=blocks, hidden=hidden),
            dropout=dropout,
            label_smoothing=label_smoothing,
            seed=seed,
            name=name,
            **options,
        )
        self.width, self.blocks, self.hidden = width, blocks, hidden

    def preprocess(self, images: tf.Tensor) -> tf.Tensor:
        """Grey, each face at mean 0 and standard deviation 1: see the function of this name."""
        return preprocess(images)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), **{n: getattr(self, n) for n in ("width", "blocks", "hidden")}}


def tiny() -> tuple[FERNet, dict[str, tf.Tensor]]:
    """A small model and a batch for the contract tests."""
    model = FERNet(classes=CLASSES["six"], width=4, blocks=1, hidden=8)
    image = tf.random.stateless_uniform((6, 64, 64, 1), (1, 2))
    return model, {"image": image, "label": tf.range(6), "index": tf.range(6)}
