"""CycleGAN's two nets, of which CycleAT has two each, and its pool of past fakes.

Zhu, Park, Isola, Efros: "Unpaired Image-to-Image Translation Using Cycle-Consistent Adversarial Networks" (ICCV 2017),
appendix 7.2: in its shorthand c7s1-64, d128, d256, R256 x 9, u128, u64, c7s1-3, and C64-C128-C256-C512.

**Readings**, where the appendix is silent:

- Instance norm: it has no scale or shift. No convolution before one has a bias, which the norm would take away.
- R256: a norm follows both convolutions, a ReLU the first alone.
- Reflection padding: before the first, the last and the residual convolutions; the others pad with zeros.
- "A convolution to produce a 1-dimensional output": 4x4, of stride 1.

**Deviations**, where something printed is changed:

- c7s1-3: a bias and a tanh follow, where the shorthand means a norm and a ReLU. A ReLU would not reach [-1, 0].
- C512: its stride is 1, where the shorthand means 2. With 2 a score would see more than the printed 70x70 pixels.
- u128, u64, against a grid of dots, off by default: `upsampling="kernel4"` has transposed convolutions of 4x4, each of
  whose outputs sees as many inputs; "resized" doubles every pixel, and a 3x3 convolution of stride 1 follows.
- C64-C128-C256-C512, off by default: `layers=2` leaves C512 out, for faces that a field of 70 pixels covers whole.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fer_tf import draws
from fer_tf.compat import keras
from fer_tf.layers import InstanceNorm, ReflectionPadding, normal, step_seed

UPSAMPLINGS = ("transposed", "kernel4", "resized")
"""How a generator's last maps become larger."""


def build_generator(
    *, filters: int = 64, blocks: int = 9, channels: int = 3, upsampling: str = "transposed", name: str = "generator"
) -> Any:
    """Two convolutions of stride 2, residual blocks, two transposed ones.

    Args:
      filters: channels of the first and the last convolution; 4 times as many in the blocks.
      blocks: residual blocks; 9 for faces of 256 pixels.
      channels: of the faces.
      upsampling: of `UPSAMPLINGS`; "transposed" as printed.
      name: of the net.
    Returns:
      A functional net, (N, H, W, channels) in [-1, 1] -> the same, float32; H and W are multiples of 4. With the
      default arguments it has 11,372,931 weights.
    Raises:
      ValueError: an unknown upsampling.
    """
    if upsampling not in UPSAMPLINGS:
        raise ValueError(f"Unknown upsampling {upsampling!r}: use {', '.join(UPSAMPLINGS)}.")
    inputs = keras.Input((None, None, channels), name="face")

    def convolution(kind: Any, size: int, kernel: int, name: str, **more: Any) -> Any:
        # each its own initializer: one instance gives every layer the same numbers
        return kind(size, kernel, use_bias=False, kernel_initializer=normal(), name=f"{name}_conv", **more)

    def normed(x: Any, name: str, relu: bool = True) -> Any:
        x = InstanceNorm(name=f"{name}_norm")(x)
        return keras.layers.Activation("relu", name=f"{name}_relu")(x) if relu else x

    x = ReflectionPadding(3, name="first_pad")(inputs)
    x = normed(convolution(keras.layers.Conv2D, filters, 7, "first")(x), "first")
    for i in (1, 2):
        x = convolution(keras.layers.Conv2D, filters * 2**i, 3, f"down{i}", strides=2, padding="same")(x)
        x = normed(x, f"down{i}")
    for i in range(1, blocks + 1):
        y = x
        for part, relu in (("a", True), ("b", False)):
            y = ReflectionPadding(1, name=f"block{i}{part}_pad")(y)
            y = convolution(keras.layers.Conv2D, 4 * filters, 3, f"block{i}{part}")(y)
            y = normed(y, f"block{i}{part}", relu)
        x = keras.layers.Add(name=f"block{i}_add")([x, y])
    for i in (1, 2):
        size = 4 * filters // 2**i
        if upsampling == "resized":
            x = keras.layers.UpSampling2D(2, interpolation="nearest", name=f"up{i}_resized")(x)
            x = ReflectionPadding(1, name=f"up{i}_pad")(x)
            x = convolution(keras.layers.Conv2D, size, 3, f"up{i}")(x)
        else:
            kernel = 3 if upsampling == "transposed" else 4
            x = convolution(keras.layers.Conv2DTranspose, size, kernel, f"up{i}", strides=2, padding="same")(x)
        x = normed(x, f"up{i}")
    x = ReflectionPadding(3, name="last_pad")(x)
    x = keras.layers.Conv2D(channels, 7, kernel_initializer=normal(), name="last_conv")(x)
    return keras.Model(inputs, keras.layers.Activation("tanh", dtype="float32", name="last_tanh")(x), name=name)


def build_discriminator(
    *, filters: int = 64, channels: int = 3, slope: float = 0.2, layers: int = 3, name: str = "d"
) -> Any:
    """The PatchGAN whose every score sees 70x70 pixels: five 4x4 convolutions, strides 2, 2, 2, 1, 1, padded by one.

    Args:
      layers: convolutions of stride 2, which two of stride 1 follow; with 2 a score sees 34x34 pixels, with 1 16x16.
      filters: channels of the first convolution, 2, 4 and 8 times as many follow.
      channels: of the faces.
      slope: of the leaky ReLU below zero.
      name: of the net.
    Returns:
      A functional net, (N, H, W, channels) in [-1, 1] -> logits (N, h, w, 1) float32; D is their sigmoid. 256 pixels
      give 30 scores a side, 64 give 6. With the default arguments it has 2,763,841 weights.
    Raises:
      ValueError: no such number of layers.
    """
    if not 1 <= layers <= 5:
        raise ValueError(f"layers={layers}: a discriminator has one to five convolutions of stride 2.")
    inputs = x = keras.Input((None, None, channels), name="face")
    sizes = [*(filters * min(2**i, 8) for i in range(layers + 1)), 1]
    for i, (size, stride) in enumerate(zip(sizes, (*[2] * layers, 1, 1), strict=True), 1):
        plain = i in (1, len(sizes))  # no norm on the first and the last
        x = keras.layers.ZeroPadding2D(1, name=f"c{i}_pad")(x)
        options = {"use_bias": plain, "kernel_initializer": normal(), "name": f"c{i}_conv"}
        x = keras.layers.Conv2D(size, 4, stride, **options)(x)
        if not plain:
            x = InstanceNorm(name=f"c{i}_norm")(x)
        if i < len(sizes):
            x = keras.layers.LeakyReLU(slope, name=f"c{i}_relu")(x)
    return keras.Model(inputs, keras.layers.Activation("linear", dtype="float32", name="logits")(x), name=name)


@keras.utils.register_keras_serializable("fer_tf")
class ImagePool(keras.layers.Layer):
    """What D sees of the fakes: with chance 1/2 one of the last `size` in place of the new one, which it replaces.

    Until the pool is full, new ones go in and come back. What is drawn follows from (seed, number of training steps);
    the pool is a checkpoint's business and left out by `weights.save`. For one replica.

    Args:
      shape: (H, W, C) of a fake.
      size: of the pool, 50 in CycleGAN; larger than a batch.
      seed: of the draws.
    """

    def __init__(self, shape: tuple[int, int, int], size: int = 50, seed: int = 0, **options: Any):
        super().__init__(**options)
        self.shape, self.size, self.seed = tuple(shape), size, seed

    def build(self, input_shape: Any = None) -> None:
        """Makes the pool, the count of what is in it, and the step counter."""
        options = {"initializer": "zeros", "trainable": False}
        self.seed_step = self.add_weight(name="seed_step", shape=(), dtype="int64", **options)
        self.seed_count = self.add_weight(name="seed_count", shape=(), dtype="int64", **options)
        pool = (self.size, *self.shape)
        self.seed_pool = self.add_weight(name="seed_pool", shape=pool, dtype="float32", **options)
        self.built = True

    def call(self, fakes: tf.Tensor) -> tf.Tensor:
        """(N, H, W, C) float32 -> (N, H, W, C), new ones and earlier ones.

        Raises:
          ValueError: several replicas, or a batch larger than the pool.
        """
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            raise ValueError("The image pool is for one replica: give pool=0, or --strategy=none.")
        fakes, seed = tf.stop_gradient(tf.cast(fakes, tf.float32)), step_seed(self)
        number, count = tf.shape(fakes)[0], tf.cast(tf.convert_to_tensor(self.seed_count), tf.int32)
        if (fakes.shape[0] or 0) > self.size:
            raise ValueError(f"The image pool of {self.size} is smaller than the batch of {fakes.shape[0]}.")
        places = draws.order(self.size, seed)[:number]
        heads = draws.uniform((number,), seed) < 0.5
        new = count + tf.range(number) < self.size  # still room for them
        place = tf.where(new, tf.minimum(count + tf.range(number), self.size - 1), places)
        pool = tf.convert_to_tensor(self.seed_pool)
        earlier = ~new & heads & (places < count)  # where a batch fits in part, not what has just gone in
        shown = tf.where(earlier[:, None, None, None], tf.gather(pool, place), fakes)
        into = tf.where(new | earlier, place, self.size)[:, None]  # one place more, for those that do not go in
        row = tf.tensor_scatter_nd_update(tf.fill([self.size + 1], -1), into, tf.range(number))[: self.size, None]
        kept = tf.gather(fakes, tf.maximum(row[:, 0], 0))
        self.seed_pool.assign(tf.where(row[..., None, None] >= 0, kept, pool))
        self.seed_count.assign(tf.cast(tf.minimum(count + number, self.size), tf.int64))
        return shown

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "shape": self.shape, "size": self.size, "seed": self.seed}
