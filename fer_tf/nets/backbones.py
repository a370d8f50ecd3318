"""The trunks of CycleAT's Tables 2 and 8: residual networks, AlexNet and VGG, each showing its stages' maps.

He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition" (CVPR 2016), Table 1: ResNet-18, 50, 101.
Krizhevsky, Sutskever, Hinton (NIPS 2012), Fig. 2: AlexNet. Simonyan, Zisserman (ICLR 2015), Table 1, columns D and E:
VGG-16 and 19. ResNet-50, ResNet-101 and the VGGs at full width are those of keras.applications, and may start from
ImageNet.

**Readings**, where the papers are silent:

- CycleAT, Table 2, "ResNet-38": three bottlenecks a stage. ResNet-10 has one basic block a stage; no paper has it.
- He and others, Table 1: the first block of a stage halves the sides in its first convolution. A 1x1 convolution with
  a norm stands in the skip where sides or channels change.
- Norms: moving statistics have momentum 0.9, those of keras.applications 0.99.
- CycleAT, eq. (7): AlexNet and VGG show the maps before each of their poolings.

**Deviations**, where something printed is changed:

- Krizhevsky and others, 3.3 and 3.5: no response normalisation, and one device, so no convolution is cut in two.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import tensorflow as tf

from fer_tf.compat import keras
from fer_tf.layers import Dropout, conv_bn, scaled
from fer_tf.nets.vgg import MEAN

RESIDUAL = {
    "resnet10": ("basic", (1, 1, 1, 1)), "resnet18": ("basic", (2, 2, 2, 2)), "resnet38": ("bottleneck", (3, 3, 3, 3)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)), "resnet101": ("bottleneck", (3, 4, 23, 3)),
}  # fmt: skip
"""Network -> kind of block, blocks of the four stages."""

VGG = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
"""Network -> convolutions between two poolings."""

NETWORKS = (*RESIDUAL, "alexnet", *VGG)


def from_applications(network: str, width: float = 1.0, pool: bool = True) -> bool:
    """Whether keras.applications gives the trunk."""
    return network in ("resnet50", "resnet101", *VGG) and width == 1 and pool


def preprocess(images: tf.Tensor, network: str, width: float = 1.0, pool: bool = True) -> tf.Tensor:
    """What a trunk takes.

    Args:
      images: (N, H, W, 1|3) float32 in [0, 1].
      network, width, pool: of `build_trunk`.
    Returns:
      (N, H, W, 3) float32: blue, green, red in [-124, 152] for keras.applications, else RGB in [-1, 1].
    """
    images = tf.cast(images, tf.float32)
    if images.shape[-1] == 1:
        images = tf.repeat(images, 3, -1)
    if from_applications(network, width, pool):
        return 255.0 * images[..., ::-1] - tf.constant(MEAN)
    return 2.0 * images - 1.0


def build_trunk(
    network: str,
    *,
    size: int = 256,
    width: float = 1.0,
    pool: bool = True,
    weights: str | os.PathLike[str] | None = None,
    seed: int = 0,
    name: str = "trunk",
) -> Any:
    """A network without its last layer.

    Args:
      network: one of `NETWORKS`.
      size: pixels a side; only AlexNet and VGG, which have fully connected layers, are bound to it.
      width: times the printed channels.
      pool: whether a residual network pools after its first convolution; without, small faces keep their maps.
      weights: "imagenet", or the file of keras.applications without its top, for those networks that it has.
      seed: of dropout's masks (AlexNet, VGG: 0.5, as printed).
      name: of the net.
    Returns:
      A functional net, (N, H, W, 3) as `preprocess` makes it -> [first convolution's maps, each stage's maps ...,
      features (N, F) float32].
    Raises:
      ValueError: an unknown network, weights for one that has none, or weights that cannot be had.
      FileNotFoundError: there is no such file.
    """
    if network not in NETWORKS:
        raise ValueError(f"Unknown network {network!r}: use {', '.join(NETWORKS)}.")
    if from_applications(network, width, pool):
        return _application(network, size, weights, seed, name)
    if weights is not None:
        raise ValueError(
            f"There are no {weights} weights for {network} of width {width:g}{'' if pool else ' without its pooling'}: "
            "resnet50, resnet101, vgg16 and vgg19 of width 1 have some."
        )
    if network == "alexnet":
        return _alexnet(size, width, seed, name)
    if network in VGG:
        return _vgg(network, size, width, seed, name)
    inputs = keras.Input((None, None, 3), name="face")
    kind, counts = RESIDUAL[network]
    first = x = conv_bn(inputs, scaled(64, width), "first", size=7, stride=2)
    x = keras.layers.MaxPooling2D(3, 2, "same", name="first_pool")(x) if pool else x
    stages = []
    for stage, count in enumerate(counts, 1):
        for i in range(count):
            channels, stride = scaled(32 * 2**stage, width), 2 if stage > 1 and i == 0 else 1
            x = _block(x, kind, channels, stride, f"stage{stage}_{i}")
        stages.append(x)
    return keras.Model(inputs, [first, *stages, _mean(x)], name=name)


def _block(x: Any, kind: str, channels: int, stride: int, name: str) -> Any:
    """A residual block: two 3x3 convolutions, or 1x1, 3x3 and 1x1 to four times the channels."""
    out = channels * (4 if kind == "bottleneck" else 1)
    skip = x
    if stride > 1 or x.shape[-1] != out:
        skip = conv_bn(x, out, f"{name}_skip", size=1, stride=stride, relu=False)
    if kind == "basic":
        y = conv_bn(x, channels, f"{name}_a", stride=stride)
        y = conv_bn(y, out, f"{name}_b", relu=False)
    else:
        y = conv_bn(x, channels, f"{name}_a", size=1, stride=stride)
        y = conv_bn(conv_bn(y, channels, f"{name}_b"), out, f"{name}_c", size=1, relu=False)
    return keras.layers.Activation("relu", name=f"{name}_relu")(keras.layers.Add(name=f"{name}_add")([y, skip]))


def _mean(x: Any) -> Any:
    """The mean over the pixels, (N, C) float32."""
    return keras.layers.GlobalAveragePooling2D(dtype="float32", name="features")(x)


def _hidden(x: Any, units: int, seed: int) -> Any:
    """Two hidden layers with dropout after each: (N, h, w, C) -> (N, units) float32."""
    x = keras.layers.Flatten(name="flatten")(x)
    for i in (1, 2):
        options = {"dtype": "float32"} if i == 2 else {}
        x = keras.layers.Dense(units, "relu", name=f"fc{i}", **options)(x)
        x = Dropout(0.5, seed + i, name=f"fc{i}_dropout", **options)(x)
    return x


def _alexnet(size: int, width: float, seed: int, name: str) -> Any:
    """Five convolutions, two hidden layers."""
    inputs = x = keras.Input((size, size, 3), name="face")
    maps, printed = [], ((96, 11, 4), (256, 5, 1), (384, 3, 1), (384, 3, 1), (256, 3, 1))
    for i, (channels, kernel, stride) in enumerate(printed, 1):
        options = {"padding": "same", "activation": "relu", "kernel_initializer": "he_normal", "name": f"conv{i}"}
        x = keras.layers.Conv2D(scaled(channels, width), kernel, stride, **options)(x)
        if i in (1, 2, 5):
            maps.append(x)
            x = keras.layers.MaxPooling2D(3, 2, "same", name=f"pool{i}")(x)
    return keras.Model(inputs, [maps[0], *maps, _hidden(x, scaled(4096, width), seed)], name=name)


def _vgg(network: str, size: int, width: float, seed: int, name: str) -> Any:
    """VGG narrower than printed, layers named as in keras.applications."""
    inputs = x = keras.Input((size, size, 3), name="face")
    maps, first = [], None
    for block, count in enumerate(VGG[network], 1):
        channels = scaled(min(512, 32 * 2**block), width)
        for i in range(1, count + 1):
            x = keras.layers.Conv2D(channels, 3, padding="same", activation="relu", name=f"block{block}_conv{i}")(x)
            first = x if first is None else first
        maps.append(x)
        x = keras.layers.MaxPooling2D(name=f"block{block}_pool")(x)
    return keras.Model(inputs, [first, *maps, _hidden(x, scaled(4096, width), seed)], name=name)


def _application(network: str, size: int, weights: str | os.PathLike[str] | None, seed: int, name: str) -> Any:
    """One of keras.applications, without its top."""
    if weights not in (None, "imagenet") and not Path(weights).is_file():
        raise FileNotFoundError(f"There is no file {weights}: give imagenet, or Keras' {network} without its top.")
    kind = {"resnet50": "ResNet50", "resnet101": "ResNet101", "vgg16": "VGG16", "vgg19": "VGG19"}[network]
    inputs = keras.Input((size, size, 3) if network in VGG else (None, None, 3), name="face")
    try:
        file = None if weights is None else os.fspath(weights)
        base = getattr(keras.applications, kind)(include_top=False, weights=file, input_tensor=inputs)
    except Exception as error:  # Keras raises bare Exceptions, too
        reason = (str(error).splitlines() or [""])[0]
        raise ValueError(f"{weights} weights of {network} cannot be had ({reason}): give Keras' file.") from error
    if network in VGG:
        ends = [f"block{b}_conv{n}" for b, n in enumerate(VGG[network], 1)]
        last = _hidden(base.output, 4096, seed)
        first = "block1_conv1"
    else:
        ends = [f"conv{s}_block{n}_out" for s, n in enumerate(RESIDUAL[network][1], 2)]
        last, first = _mean(base.output), "conv1_relu"
    return keras.Model(inputs, [base.get_layer(n).output for n in (first, *ends)] + [last], name=name)
