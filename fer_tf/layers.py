"""Layers that two or more papers share."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fer_tf import draws, replicas
from fer_tf.compat import BatchNorm, keras

__all__ = [
    "BatchNorm",
    "Conv2D",
    "Conv2DTranspose",
    "Dropout",
    "InstanceNorm",
    "MaxPoolWithArgmax",
    "MaxUnpooling",
    "Noise",
    "PReLU",
    "ReflectionPadding",
    "conv_bn",
    "grey",
    "logits_of",
    "normal",
    "residual_block",
    "scaled",
    "signed_grey",
]

SMALL = 4
"""Pixels a side up to which the convolutions below are matrix products; of the smaller of input and output."""


def grey(images: tf.Tensor) -> tf.Tensor:
    """(N, H, W, 1|3) in [0, 1] -> (N, H, W, 1) float32 in [0, 1]: ITU-R BT.601's grey of colours."""
    images = tf.cast(images, tf.float32)
    return tf.image.rgb_to_grayscale(images) if images.shape[-1] == 3 else images


def signed_grey(images: tf.Tensor) -> tf.Tensor:
    """(N, H, W, 1|3) in [0, 1] -> (N, H, W, 1) float32 in [-1, 1]."""
    return 2.0 * grey(images) - 1.0


def scaled(channels: int, width: float) -> int:
    """The printed channels or units times `width`, at least one."""
    return max(1, round(channels * width))


def normal() -> Any:
    """N(0, 0.02), from which a GAN's kernels start: an instance for each, since one gives all the same numbers."""
    return keras.initializers.RandomNormal(stddev=0.02)


def logits_of(layer: Any, features: tf.Tensor, *, frozen: bool = False) -> tf.Tensor:
    """W f + b of a Dense layer: (N, F) -> (N, K) float32; `frozen` keeps gradients from W and b."""
    weights, bias = (tf.convert_to_tensor(v) for v in (layer.kernel, layer.bias))
    if frozen:
        weights, bias = tf.stop_gradient(weights), tf.stop_gradient(bias)
    return tf.matmul(features, weights) + bias


@keras.utils.register_keras_serializable("fer_tf")
class Dropout(keras.layers.Layer):
    """Dropout whose mask follows from (seed, number of training steps), so that a resumed run draws the same masks.

    The step count is a variable of the layer: checkpoints hold it, `weights.save` leaves it out. Replicas of one
    machine draw masks of their own, those of several machines have their rows of one mask (`fer_tf.replicas`).

    Args:
      rate: share of the inputs set to zero while training; the others are divided by 1 - rate.
      seed: of the masks.
    """

    def __init__(self, rate: float, seed: int = 0, **options: Any):
        super().__init__(**options)
        if not 0 <= rate < 1:
            raise ValueError(f"Dropout's rate must be in [0, 1): it was {rate}.")
        self.rate, self.seed = rate, seed

    def build(self, input_shape: Any) -> None:
        """Makes the step counter."""
        self.seed_step = self.add_weight(
            name="seed_step", shape=(), dtype="int64", initializer="zeros", trainable=False
        )
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """(N, ...) -> (N, ...); the identity unless training."""
        if not training or not self.rate:
            return inputs
        keep = replicas.drawn(draws.uniform, tf.shape(inputs), step_seed(self)) >= self.rate
        return tf.where(keep, inputs / (1.0 - self.rate), tf.zeros_like(inputs))

    def get_config(self) -> dict[str, Any]:
        """rate and seed."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@keras.utils.register_keras_serializable("fer_tf")
class Noise(keras.layers.Layer):
    """N(0, 1) of the input's shape while training, zero otherwise; it follows from (seed, number of training steps).

    Args:
      seed: of the noise.
    """

    def __init__(self, seed: int = 0, **options: Any):
        super().__init__(**options)
        self.seed = seed

    def build(self, input_shape: Any) -> None:
        """Makes the step counter, which checkpoints hold and `weights.save` leaves out."""
        self.seed_step = self.add_weight(
            name="seed_step", shape=(), dtype="int64", initializer="zeros", trainable=False
        )
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """(N, ...) -> noise (N, ...), the same dtype."""
        if not training:
            return tf.zeros_like(inputs)
        return tf.cast(replicas.drawn(draws.normal, tf.shape(inputs), step_seed(self)), inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """The seed."""
        return {**super().get_config(), "seed": self.seed}


def step_seed(layer: Any) -> tf.Tensor:
    """Counts a layer's `seed_step` up; the stateless seed (2,) int32 of this step, and of this replica of a machine."""
    context = tf.distribute.get_replica_context()
    replica = context.replica_id_in_sync_group if context and replicas.part() is None else 0
    step = tf.convert_to_tensor(layer.seed_step) + 1
    layer.seed_step.assign(step)
    return tf.stack([tf.cast(step, tf.int32), layer.seed + 7919 * tf.cast(replica, tf.int32)])


@keras.utils.register_keras_serializable("fer_tf")
class InstanceNorm(keras.layers.Layer):
    """Each channel of each picture at mean 0 and variance 1 over its pixels, statistics in float32; no scale, no shift.

    It is batch norm on a batch of one, through TensorFlow's fused kernel: a batch of several pictures becomes one
    picture with the channels of all.

    Args:
      epsilon: added to the variance.
    """

    def __init__(self, epsilon: float = 1e-5, **options: Any):
        super().__init__(**options)
        self.epsilon = epsilon

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """(N, H, W, C) -> the same, the same dtype."""
        size, channels = tf.shape(inputs), inputs.shape[-1]
        count, height, width = (side or size[i] for i, side in enumerate(inputs.shape[:3]))
        odd = inputs.dtype == tf.bfloat16 and channels % 16 != 0  # CPUs have no vector code for it
        x = tf.transpose(tf.cast(inputs, tf.float32) if odd else inputs, (1, 2, 0, 3))
        outputs, *_ = tf.raw_ops.FusedBatchNormV3(
            x=tf.reshape(x, (1, height, width, count * channels)),
            scale=tf.ones(count * channels),
            offset=tf.zeros(count * channels),
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
            is_training=True,
        )
        x = tf.transpose(tf.reshape(outputs, (height, width, count, channels)), (2, 0, 1, 3))
        return tf.ensure_shape(tf.cast(x, inputs.dtype), inputs.shape)

    def compute_output_shape(self, shape: Any) -> Any:
        """That of the input."""
        return shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.utils.register_keras_serializable("fer_tf")
class ReflectionPadding(keras.layers.Layer):
    """Pixels mirrored at the border, which itself is not repeated: (N, H, W, C) -> (N, H + 2 size, W + 2 size, C).

    Args:
      size: pixels on each side.
    """

    def __init__(self, size: int = 1, **options: Any):
        super().__init__(**options)
        self.size = size

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Pads height and width."""
        return tf.pad(inputs, [[0, 0], [self.size] * 2, [self.size] * 2, [0, 0]], "REFLECT")

    def compute_output_shape(self, shape: Any) -> Any:
        """Larger by twice `size`."""
        return (shape[0], *(None if s is None else s + 2 * self.size for s in shape[1:3]), shape[3])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "size": self.size}


@tf.custom_gradient
def prelu(x: tf.Tensor, alpha: tf.Tensor) -> Any:
    """x where it is positive, else alpha x, in two passes over x; both gradients in one more look at its sign.

    Args:
      x: (..., C) of any float dtype.
      alpha: (C,) of the same, one slope a channel.
    Returns:
      Like x. The gradient of alpha is summed in float32.
    """

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        positive = x > 0
        own = tf.where(positive, tf.zeros_like(upstream), upstream * x)
        own = tf.reduce_sum(tf.cast(own, tf.float32), list(range(len(x.shape) - 1)))
        return tf.where(positive, upstream, alpha * upstream), tf.cast(own, alpha.dtype)

    return tf.where(x > 0, x, alpha * x), gradient


@keras.utils.register_keras_serializable("fer_tf")
class PReLU(keras.layers.Layer):
    """Keras's PReLU with one slope a channel, at under half its time on a CPU.

    Args:
      slope: of every channel at first.
    """

    def __init__(self, slope: float = 0.25, **options: Any):
        super().__init__(**options)
        self.slope = slope

    def build(self, shape: Any) -> None:
        """Makes the slopes (C,)."""
        start = keras.initializers.Constant(self.slope)
        self.alpha = self.add_weight(name="alpha", shape=(shape[-1],), initializer=start)
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """(..., C) -> (..., C)."""
        return prelu(x, tf.cast(self.alpha, x.dtype))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "slope": self.slope}


@keras.utils.register_keras_serializable("fer_tf")
class MaxPoolWithArgmax(keras.layers.Layer):
    """2x2 max-pooling that also says where each maximum was: [pooled, argmax], both (N, h, w, C), argmax int32.

    argmax is the maximum's index in the flattened picture, (y * W + x) * C + c, as `tf.nn.max_pool_with_argmax` has it;
    of equal values the first counts, and it alone has the gradient.

    Raises:
      ValueError: an odd height or width, which could not be unpooled.
    """

    def call(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(N, 2h, 2w, C) -> [(N, h, w, C), (N, h, w, C) int32]."""
        _, height, width, channels = even(inputs.shape, self.name)
        pooled = tf.nn.max_pool2d(inputs, 2, 2, "VALID")
        places, maxima = corners(height // 2, width // 2, channels), tf.stop_gradient(pooled)
        argmax = places[3] + tf.zeros_like(maxima, tf.int32)
        for quarter, place in reversed(list(zip(quarters(tf.stop_gradient(inputs)), places, strict=True))[:3]):
            argmax = tf.where(quarter == maxima, place, argmax)
        return pooled, argmax

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Half as high and wide, twice."""
        batch, height, width, channels = even(input_shape, self.name)
        return [(batch, height // 2, width // 2, channels)] * 2

    def compute_output_spec(self, inputs: Any) -> Any:
        """What Keras 3 asks for: the second output is int32."""
        shape = self.compute_output_shape(inputs.shape)[0]
        return keras.KerasTensor(shape, inputs.dtype), keras.KerasTensor(shape, "int32")


@keras.utils.register_keras_serializable("fer_tf")
class MaxUnpooling(keras.layers.Layer):
    """The inverse of `MaxPoolWithArgmax`: every value goes back to where the maximum was, the rest is zero."""

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """[(N, h, w, C), argmax (N, h, w, C) int32] -> (N, 2h, 2w, C)."""
        values, argmax = inputs
        _, height, width, channels = values.shape
        zero = tf.zeros_like(values)
        first, second, third, fourth = (
            tf.where(argmax == place, values, zero) for place in corners(height, width, channels)
        )
        rows = [tf.concat([first, second], -1), tf.concat([third, fourth], -1)]  # (N, h, w, 2C) is (N, h, 2w, C)
        rows = [tf.reshape(row, (-1, height, 2 * width * channels)) for row in rows]
        return tf.reshape(tf.concat(rows, -1), (-1, 2 * height, 2 * width, channels))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Twice as high and wide."""
        batch, height, width, channels = input_shape[0]
        return batch, 2 * height, 2 * width, channels


def corners(height: int, width: int, channels: int) -> list[tf.Tensor]:
    """Indices of the four pixels of each 2x2 block in a flattened picture (2h, 2w, C): four (h, w, C) int32."""
    y, x = 2 * tf.range(height)[:, None, None], 2 * tf.range(width)[None, :, None]
    own = tf.range(channels)
    return [((y + i) * 2 * width + x + j) * channels + own for i in (0, 1) for j in (0, 1)]


def quarters(pictures: tf.Tensor) -> list[tf.Tensor]:
    """The four pixels of each 2x2 block: (N, 2h, 2w, C) -> four (N, h, w, C), in the order of `corners`."""
    _, height, width, channels = pictures.shape
    rows = tf.split(tf.reshape(pictures, (-1, height // 2, 2 * width * channels)), 2, -1)
    rows = [tf.reshape(row, (-1, height // 2, width // 2, 2 * channels)) for row in rows]
    return [quarter for row in rows for quarter in tf.split(row, 2, -1)]


def even(shape: Any, name: str) -> tuple[int, int, int, int]:
    """(N, H, W, C), or a ValueError where H or W is odd."""
    batch, height, width, channels = shape
    if height % 2 or width % 2:
        raise ValueError(f"{name} pools 2x2 and is to be unpooled: {height}x{width} has an odd side, give an even one.")
    return batch, height, width, channels


def conv_bn(x: Any, channels: int, name: str, *, size: int = 3, stride: int = 1, relu: bool = True) -> Any:
    """Convolution without a bias, batch norm, ReLU: (N, H, W, C) -> (N, H/stride, W/stride, channels).

    A 1x1 convolution picks its pixels first: with a stride and few channels, oneDNN's gradient writes beyond its memory
    and ends the process (TensorFlow 2.15 and 2.21 on a CPU; 4 to 8 channels, 16x16 pixels, for one).
    """
    if size == 1 and stride > 1:
        x, stride = keras.layers.AveragePooling2D(1, stride, name=f"{name}_pick")(x), 1
    x = keras.layers.Conv2D(
        channels, size, stride, "same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv"
    )(x)
    x = BatchNorm(name=f"{name}_norm")(x)
    return keras.layers.Activation("relu", name=f"{name}_relu")(x) if relu else x


def residual_block(x: Any, channels: int, name: str) -> Any:
    """ReLU(x + norm(conv(relu(norm(conv(x)))))), with a 1x1 convolution on x where the channels change."""
    shortcut = x if x.shape[-1] == channels else conv_bn(x, channels, f"{name}_skip", size=1, relu=False)
    y = conv_bn(conv_bn(x, channels, f"{name}_a"), channels, f"{name}_b", relu=False)
    return keras.layers.Activation("relu", name=f"{name}_relu")(keras.layers.Add(name=f"{name}_add")([y, shortcut]))


def patches(x: tf.Tensor) -> tf.Tensor:
    """What a 4x4 convolution of stride 2 with padding "same" sees: (N, 2h, 2w, C) -> (N h w, 16 C)."""
    seen = tf.image.extract_patches(x, [1, 4, 4, 1], [1, 2, 2, 1], [1, 1, 1, 1], "SAME")
    return tf.reshape(seen, (-1, 16 * x.shape[-1]))


def overlaid(rows: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """The transpose of `patches`, which adds them up where they overlap: (N h w, 16 C) -> (N, 2h, 2w, C)."""
    channels = rows.shape[-1] // 16
    x = tf.reshape(rows, (-1, height, width, 4, 4 * channels))
    x = tf.reshape(_interleaved(x, 1), (-1, 2 * height, width, 4, channels))
    return tf.reshape(_interleaved(x, 2), (-1, 2 * height, 2 * width, channels))


def _interleaved(x: tf.Tensor, axis: int) -> tf.Tensor:
    """(..., n, ..., 4, C): tap t of patch i lies at 2 i + t - 1 of 2 n places -> pairs of places, after the axis."""
    before, after = ([[0, 0]] * axis + [pad] + [[0, 0]] * (3 - axis) for pad in ([1, 0], [0, 1]))
    whole = (slice(None),) * axis
    first, second, third, fourth = tf.unstack(x, axis=3)
    even = second + tf.pad(fourth[(*whole, slice(None, -1))], before)
    odd = third + tf.pad(first[(*whole, slice(1, None))], after)
    return tf.stack([even, odd], axis + 1)


@tf.custom_gradient
def halved(x: tf.Tensor, kernel: tf.Tensor) -> Any:
    """conv2d of 4x4, stride 2, padding "same", as a product: (N, 2h, 2w, C), (4, 4, C, D) -> (N, h, w, D)."""
    height, width, channels = x.shape[1] // 2, x.shape[2] // 2, kernel.shape[-1]
    seen, matrix = patches(x), tf.reshape(kernel, (-1, channels))

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        upstream = tf.reshape(upstream, (-1, channels))
        to_x = overlaid(tf.matmul(upstream, matrix, transpose_b=True), height, width)
        return to_x, tf.reshape(tf.matmul(seen, upstream, transpose_a=True), kernel.shape)

    return tf.reshape(tf.matmul(seen, matrix), (-1, height, width, channels)), gradient


@tf.custom_gradient
def doubled(x: tf.Tensor, kernel: tf.Tensor) -> Any:
    """Its transpose likewise: (N, h, w, C), (4, 4, D, C) -> (N, 2h, 2w, D)."""
    height, width, channels = x.shape[1:]
    flat, matrix = tf.reshape(x, (-1, channels)), tf.reshape(kernel, (-1, channels))

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        seen = patches(upstream)
        to_x = tf.reshape(tf.matmul(seen, matrix), (-1, height, width, channels))
        return to_x, tf.reshape(tf.matmul(seen, flat, transpose_a=True), kernel.shape)

    return overlaid(tf.matmul(flat, matrix, transpose_b=True), height, width), gradient


def as_product(layer: Any, inputs: tf.Tensor, small: int) -> bool:
    """Whether a convolution is one that a CPU does faster as a matrix product."""
    options = [tuple(layer.kernel_size), tuple(layer.strides), tuple(layer.dilation_rate), layer.padding]
    options += [getattr(layer, "groups", 1), getattr(layer, "output_padding", None), layer.use_bias]
    plain = options == [(4, 4), (2, 2), (1, 1), "same", 1, None, False]
    sides = inputs.shape[1:3]
    return plain and all(s and s <= small for s in sides) and not tf.config.get_visible_devices("GPU")


@keras.utils.register_keras_serializable("fer_tf")
class Conv2D(keras.layers.Conv2D):
    """Keras's Conv2D: the same numbers and weights, as one matrix product where that is faster on a CPU.

    Which is so for 4x4, stride 2 without a bias on few pixels: with many channels oneDNN's convolution spends its time
    on re-laying the kernel. From 8x8 pixels and 512 channels downwards a product takes 1/8 to 9/10 of the time.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """(N, H, W, C) -> (N, h, w, filters)."""
        if not as_product(self, inputs, 2 * SMALL) or any(side % 2 for side in inputs.shape[1:3]):
            return super().call(inputs)
        return self.activation(halved(inputs, tf.cast(tf.convert_to_tensor(self.kernel), inputs.dtype)))


@keras.utils.register_keras_serializable("fer_tf")
class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """Keras's Conv2DTranspose: the same numbers and weights, as a product where `Conv2D` would be one."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """(N, H, W, C) -> (N, h, w, filters)."""
        if not as_product(self, inputs, SMALL):
            return super().call(inputs)
        return self.activation(doubled(inputs, tf.cast(tf.convert_to_tensor(self.kernel), inputs.dtype)))
