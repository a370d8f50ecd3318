"""What `experiments.benchmark --model=ia_gen` measures besides: K generators at once.

Figures that are compared are taken in turns, round by round, so that other programs slow both; a ratio is the median
over the rounds. The networks are random: no speed here depends on what they learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from fer_tf import devices, layers
from fer_tf.compat import keras, set_policy, xla
from fer_tf.models import ia_gen
from fer_tf.records import CLASSES

from .clock import LEAST, in_turns, speeds

WARM_UP = 4
"""Calls before the first round."""
COUNTS = (1, 64)
"""Faces that are regenerated at once."""
CLOSE = {"float32": 1e-4, "mixed_bfloat16": 0.05}
"""How far, of the largest pixel value, the generators together may be from each alone."""

Faces = list[tf.Tensor] | tf.Tensor
"""K tensors (N, h, w, C), as a list or as one with K before N."""


class StackedGenerators(tf.Module):
    """K generators as one computation, without dropout: their kernels stacked once, the norms folded into them.

    Where pictures are small, all K convolutions of a layer are one batched product of patches and kernels; elsewhere
    they stay K convolutions (a CPU's grouped convolution is up to 4 times slower than those, a product 10 times). The
    first convolution, of the one face that all get, has the channels of all K.

    Args:
      generators: nets of `ia_gen.build_generator`, of one width.
      small: pixels a side, of the smaller picture of input and output, up to which a layer is a product.
    """

    def __init__(self, generators: Sequence[Any], small: int = 4):
        super().__init__()
        self.count = len(generators)
        dtype, sides = generators[0].get_layer("e2_conv").compute_dtype, {}
        sides |= {f"e{i}": ia_gen.SIZE >> i for i in range(1, len(ia_gen.ENCODERS) + 1)}
        sides |= {f"d{i}": 1 << (i - 1) for i in range(1, len(ia_gen.DECODERS) + 1)}
        self.kernels, self.shifts = {}, {}
        for name, side in sides.items():
            kernels, shifts = zip(*(_folded(g, name) for g in generators), strict=True)
            kernels, shifts = ([tf.constant(v, dtype) for v in values] for values in (kernels, shifts))
            together = side <= small and name != "e1"
            self.kernels[name] = tf.stack(kernels) if together else kernels
            self.shifts[name] = tf.stack(shifts) if together else shifts

    def __call__(self, faces: tf.Tensor) -> tf.Tensor:
        """(N, 64, 64, 1) in [-1, 1] -> (N, K, 64, 64, 1) float32 in [-1, 1]."""
        kernel, shift, skips = tf.concat(self.kernels["e1"], -1), tf.concat(self.shifts["e1"], -1), []
        x = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(tf.cast(faces, kernel.dtype), kernel, 2, "SAME"), shift))
        x = tf.split(x, self.count, -1)
        skips.append(x)
        for i in range(2, len(ia_gen.ENCODERS) + 1):
            x = self._down(x, f"e{i}")
            skips.append(x)
        for i in range(1, len(ia_gen.DECODERS) + 1):
            skip = skips.pop()
            x = self._up(skip if i == 1 else _joined(x, skip), f"d{i}")
            x = tf.nest.map_structure(tf.nn.relu, x) if i < len(ia_gen.DECODERS) else tf.stack(_apart(x), 1)
        return tf.tanh(tf.cast(x, tf.float32))

    def _down(self, x: Faces, name: str) -> Faces:
        """A convolution, its shift and ReLU: K of (N, 2h, 2w, C) -> K of (N, h, w, D)."""
        kernel, shift, (_, height, width, channels) = self.kernels[name], self.shifts[name], x[0].shape
        if isinstance(kernel, list):
            parts = zip(_apart(x), kernel, shift, strict=True)
            return [tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(one, k, 2, "SAME"), s)) for one, k, s in parts]
        seen = layers.patches(tf.reshape(_together(x), (-1, height, width, channels)))
        seen = tf.reshape(seen, (self.count, -1, 16 * channels))
        made = tf.matmul(seen, tf.reshape(kernel, (self.count, -1, kernel.shape[-1])))
        made = tf.nn.relu(made + shift[:, None])
        return tf.reshape(made, (self.count, -1, height // 2, width // 2, kernel.shape[-1]))

    def _up(self, x: Faces, name: str) -> Faces:
        """A transposed convolution and its shift: K of (N, h, w, C) -> K of (N, 2h, 2w, D)."""
        kernel, shift, (_, height, width, channels) = self.kernels[name], self.shifts[name], x[0].shape
        shape = (2 * height, 2 * width, kernel[0].shape[-2])
        if isinstance(kernel, list):
            shape, parts = (tf.shape(x[0])[0], *shape), zip(_apart(x), kernel, shift, strict=True)
            return [tf.nn.bias_add(tf.nn.conv2d_transpose(one, k, shape, 2), s) for one, k, s in parts]
        rows = tf.reshape(_together(x), (self.count, -1, channels))
        rows = tf.matmul(rows, tf.reshape(kernel, (self.count, -1, channels)), transpose_b=True)
        made = layers.overlaid(tf.reshape(rows, (-1, rows.shape[-1])), height, width)
        return tf.reshape(made, (self.count, -1, *shape)) + shift[:, None, None, None]


def _apart(x: Faces) -> list[tf.Tensor]:
    """As a list."""
    return x if isinstance(x, list) else tf.unstack(x)


def _together(x: Faces) -> tf.Tensor:
    """As one tensor."""
    return tf.stack(x) if isinstance(x, list) else x


def _joined(x: Faces, skip: Faces) -> Faces:
    """The channels of both, for each generator."""
    if isinstance(x, list) or isinstance(skip, list):
        return [tf.concat(pair, -1) for pair in zip(_apart(x), _apart(skip), strict=True)]
    return tf.concat([x, skip], -1)


def _folded(generator: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(kernel, shift (D,)) that do what a layer's convolution and its norm by moving statistics do, if it has one."""
    transposed = name.startswith("d")
    kernel = np.array(generator.get_layer(f"{name}_conv").kernel)
    channels = kernel.shape[-2 if transposed else -1]
    names = {layer.name for layer in generator.layers}
    if f"{name}_norm" not in names:
        return kernel, np.zeros(channels, np.float32)
    norm = generator.get_layer(f"{name}_norm")
    gamma, beta, mean, variance = map(np.array, (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance))
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return kernel * (scale[:, None] if transposed else scale), beta - mean * scale


def measure_generators(precision: str, width: float, settings: Any) -> dict[str, Any]:
    """K generators of a width together and one by one in one graph: {"1": speeds, "64": speeds, ...}.

    Raises:
      RuntimeError: they do not give the same pictures.
    """
    set_policy(precision)
    keras.utils.set_random_seed(settings.seed)
    classes = CLASSES["seven"]
    generators = [ia_gen.build_generator(width=width, name=f"generator_{c}") for c in classes]
    stacked = StackedGenerators(generators)
    options = {"jit_compile": xla() or None}
    apart = tf.function(lambda faces: tf.stack([g(faces, training=False) for g in generators], axis=1), **options)
    together = tf.function(stacked.__call__, **options)
    measures: dict[str, Any] = {"generators": len(classes)}
    for count in COUNTS:
        faces = tf.random.stateless_uniform((count, ia_gen.SIZE, ia_gen.SIZE, 1), (settings.seed, count), -1.0, 1.0)
        wanted, given = apart(faces).numpy(), together(faces).numpy()
        gap = float(np.abs(given - wanted).max() / np.abs(wanted).max())
        if not gap < CLOSE[precision]:
            raise RuntimeError(f"The stacked generators differ by {gap:.2g} of the largest pixel in {precision}.")
        runs = {"together": lambda f=faces: together(f), "apart": lambda f=faces: apart(f)}
        least = LEAST if devices.gpus() else 0.0
        times = in_turns(runs, settings.steps, settings.repeats, WARM_UP, least)
        measures[str(count)] = {**speeds(times, count), "difference": gap}
    return measures


def measure(settings: Any, precisions: Sequence[str], watch: Any) -> dict[str, Any]:
    """{"generators": {precision: {width: ...}}} of `measure_generators`."""
    wanted, widths = [precision for precision in precisions if precision in CLOSE], map(float, settings.widths)
    pairs = [(precision, width) for width in widths for precision in wanted]
    measures: dict[str, Any] = {"generators": {precision: {} for precision in wanted}}
    try:
        for precision, width in pairs:
            watch.say(f"ia_gen {precision}: generators of width {width:g}")
            measures["generators"][precision][f"{width:g}"] = measure_generators(precision, width, settings)
    finally:
        set_policy("float32")
    return measures


def table(measures: dict[str, Any]) -> list[str]:
    """The lines to print."""
    lines = [
        f"{'generators':<28}{'width':>13}{'faces at once':>15}{'together/s':>13}{'apart/s':>13}{'together is':>13}"
    ]
    for precision, widths in measures["generators"].items():
        for width, rows in widths.items():
            for count in COUNTS:
                row = rows[str(count)]
                lines.append(
                    f"{precision:<28}{width:>13}{count:>15}{row['together']:>13.1f}{row['apart']:>13.1f}"
                    f"{row['ratio']:>12.2f}x"
                )
    return lines
