"""DR-GAN's networks for 96x96 faces (Tran, Yin, Liu, CVPR 2017), as DE-GAN has them: grey, two heads, a code of 350.

The encoder is fourteen 3x3 convolutions in five stages, each followed by batch norm and ELU; stride 2 enters stages 2
to 5. f(x) is the mean over the last 6x6 maps, of which there are 350. That makes 2,904,668 weights. The decoder mirrors
it: a linear layer on [f(x), identity, z], five stages of which 2 to 5 are entered by a transposed convolution, and a
convolution to one channel with a tanh. D has the encoder's convolutions, with weights of its own, and two linear heads.

Beside them stands DE-GAN's own local CNN, which stage two has on the encoder's maps.
"""

from __future__ import annotations

from typing import Any

from fer_tf.compat import BatchNorm, keras
from fer_tf.layers import normal, scaled

SIZE = 96
"""Pixels a side of a view, and of a generated face."""

STAGES = ((32, 64), (64, 64, 128), (128, 96, 192), (192, 128, 256), (256, 160))
"""Channels of the encoder's and D's convolutions; the last stage ends in one more, of `CODE` channels."""

DECODER = ((160, 256), (256, 128, 192), (192, 96, 128), (128, 64, 64), (64, 32))
"""Channels of the decoder's, which ends in one more, of one channel; stride 2 enters all stages but the first."""

CODE = 350
"""Length of f(x), section 4.1."""

NOISE = 50
"""N^z."""


def conv(x: Any, channels: int, name: str, *, stride: int = 1, up: bool = False) -> Any:
    """3x3 convolution without a bias (transposed where it goes `up`), batch norm, ELU."""
    kind = keras.layers.Conv2DTranspose if up else keras.layers.Conv2D
    options = {"use_bias": False, "kernel_initializer": normal(), "name": f"{name}_conv"}
    x = BatchNorm(epsilon=1e-5, name=f"{name}_norm")(kind(channels, 3, stride, "same", **options)(x))
    return keras.layers.Activation("elu", name=f"{name}_elu")(x)


def trunk(x: Any, width: float, code: int) -> list[Any]:
    """DR-GAN's convolutions: (N, 96, 96, 1) -> [the ends of stages 1 to 4, the mean of the last maps (N, code)]."""
    ends = []
    for s, stage in enumerate(STAGES, 1):
        channels = [scaled(c, width) for c in stage] + [code] * (s == len(STAGES))
        for i, c in enumerate(channels, 1):
            x = conv(x, c, f"conv{s}{i}", stride=2 if i == 1 < s else 1)
        ends.append(x)
    return [*ends[:-1], keras.layers.GlobalAveragePooling2D(dtype="float32", name="mean")(x)]


def build_encoder(*, width: float = 1.0, code: int = CODE, name: str = "encoder") -> Any:
    """G_en: (N, 96, 96, 1) in [-1, 1] -> [maps of stages 1 to 4, 96 to 12 pixels a side, f(x) (N, code) float32]."""
    inputs = keras.Input((SIZE, SIZE, 1), name="face")
    return keras.Model(inputs, trunk(inputs, width, code), name=name)


def build_decoder(
    identities: int, *, width: float = 1.0, code: int = CODE, noise: int = NOISE, name: str = "decoder"
) -> Any:
    """G_de: [f(x) (N, code), I (N, identities) one-hot, z (N, noise)] -> a face (N, 96, 96, 1) float32 in [-1, 1]."""
    sizes = {"code": code, "identity": identities, "noise": noise}
    inputs = [keras.Input((size,), name=f"{n}_in") for n, size in sizes.items()]
    side, channels = SIZE // 2 ** (len(DECODER) - 1), scaled(CODE, width)
    parts = [
        keras.layers.Dense(side**2 * channels, use_bias=False, kernel_initializer=normal(), name=n)(x)
        for n, x in zip(sizes, inputs, strict=True)
    ]
    x = keras.layers.Reshape((side, side, channels), name="maps")(keras.layers.Add(name="sum")(parts))
    x = keras.layers.Activation("elu", name="elu")(BatchNorm(epsilon=1e-5, name="norm")(x))
    for s, stage in enumerate(DECODER, 1):
        for i, c in enumerate(stage, 1):
            up = i == 1 < s
            x = conv(x, scaled(c, width), f"conv{s}{i}", stride=2 if up else 1, up=up)
    x = keras.layers.Conv2D(1, 3, padding="same", kernel_initializer=normal(), name="end")(x)
    return keras.Model(inputs, keras.layers.Activation("tanh", dtype="float32", name="face")(x), name=name)


def build_discriminator(
    expressions: int, identities: int, *, width: float = 1.0, code: int = CODE, name: str = "discriminator"
) -> Any:
    """D: (N, 96, 96, 1) in [-1, 1] -> logits of [D^e (N, expressions + 1), the last is fake; D^i (N, identities)]."""
    inputs = keras.Input((SIZE, SIZE, 1), name="face")
    x = trunk(inputs, width, code)[-1]
    heads = [
        keras.layers.Dense(count, kernel_initializer=normal(), dtype="float32", name=head)(x)
        for head, count in (("expression", expressions + 1), ("identity", identities))
    ]
    return keras.Model(inputs, heads, name=name)


def build_local(maps: Any, *, width: float = 1.0, name: str = "local") -> Any:
    """A local CNN of Fig. 3 on one stage's maps: (N, s, s, C) -> its last fully connected layer (N, 128) float32."""
    inputs = x = keras.Input(tuple(maps.shape[1:]), name="residue")
    for i in (1, 2):
        options = {"use_bias": False, "kernel_initializer": normal(), "name": f"conv{i}"}
        x = keras.layers.Conv2D(scaled(64, width), 3, padding="same", **options)(x)
        x = keras.layers.Activation("relu", name=f"relu{i}")(BatchNorm(epsilon=1e-5, name=f"norm{i}")(x))
        x = keras.layers.MaxPooling2D(name=f"pool{i}")(x)
    x = keras.layers.AveragePooling2D(x.shape[1] // 3, name="mean")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    options = {"kernel_initializer": normal(), "dtype": "float32"}
    return keras.Model(inputs, keras.layers.Dense(scaled(128, width), "relu", name="fc", **options)(x), name=name)
