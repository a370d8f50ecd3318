"""What `experiments.benchmark --model=ia_gen` measures besides: its step beside PyTorch's, and K generators at once.

Figures that are compared are taken in turns, round by round, so that other programs slow both; a ratio is the median
over the rounds. On the CPU only. The networks are random: no speed here depends on what they learned.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from fer_tf import layers
from fer_tf.compat import keras, set_policy
from fer_tf.models import ia_gen
from fer_tf.records import CLASSES

from .clock import in_turns, speeds

WARM_UP = 4
"""Calls before the first round: the first three of PyTorch are slower."""
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
    apart = tf.function(lambda faces: tf.stack([g(faces, training=False) for g in generators], axis=1))
    together = tf.function(stacked.__call__)
    measures: dict[str, Any] = {"generators": len(classes)}
    for count in COUNTS:
        faces = tf.random.stateless_uniform((count, ia_gen.SIZE, ia_gen.SIZE, 1), (settings.seed, count), -1.0, 1.0)
        wanted, given = apart(faces).numpy(), together(faces).numpy()
        gap = float(np.abs(given - wanted).max() / np.abs(wanted).max())
        if not gap < CLOSE[precision]:
            raise RuntimeError(f"The stacked generators differ by {gap:.2g} of the largest pixel in {precision}.")
        runs = {"together": lambda f=faces: together(f), "apart": lambda f=faces: apart(f)}
        times = in_turns(runs, settings.steps, settings.repeats, WARM_UP)
        measures[str(count)] = {**speeds(times, count), "difference": gap}
    return measures


def measure_beside_torch(precision: str, settings: Any) -> dict[str, Any]:
    """Images a second that `ExpressionGAN.train_step` and its twin in PyTorch learn from, with the same weights.

    Raises:
      RuntimeError: the nets have unequal numbers of parameters.
    """
    import torch

    from . import torch_ia_gen, torch_weights

    set_policy(precision)
    keras.utils.set_random_seed(settings.seed)
    model = ia_gen.tiny()[0] if settings.tiny else ia_gen.full()
    model.compile(**{f"{name}_optimizer": ia_gen.optimizer() for name, _ in model.player_variables()})
    threads = tf.config.threading.get_intra_op_parallelism_threads() or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    twin = torch_ia_gen.twin(model, precision.removeprefix("mixed_"))
    images = [tf.random.stateless_uniform((settings.batch_size, 64, 64, 1), (settings.seed, i)) for i in range(2)]
    batch = dict(zip(("image", "target"), images, strict=True))
    theirs = torch_weights.tensors(batch)
    step = tf.function(model.train_step)
    runs = {"tensorflow": lambda: step(batch), "torch": lambda: twin.train_step(theirs)}
    times = in_turns(runs, settings.steps, settings.repeats, WARM_UP)
    return {**speeds(times, settings.batch_size), "threads": threads, "parameters": twin.parameters()}


def measure(settings: Any, precisions: Sequence[str]) -> dict[str, Any]:
    """Both comparisons in every precision that a CPU has; or a sentence that says why one is left out."""
    wanted = [precision for precision in precisions if precision in CLOSE]
    widths = [float(width) for width in settings.widths]
    measures: dict[str, Any] = {"generators": {}, "beside_torch": {}}
    if tf.config.list_physical_devices("GPU"):
        return {"skipped": "The comparisons are the CPU's: run with CUDA_VISIBLE_DEVICES=-1 for them."}
    try:
        for precision in wanted:
            measures["generators"][precision] = {
                f"{width:g}": measure_generators(precision, width, settings) for width in widths
            }
        if importlib.util.find_spec("torch") is None:
            measures["beside_torch"] = {"skipped": "PyTorch is not installed: `pip install .[bench]` adds it."}
        else:
            measures["torch"] = importlib.metadata.version("torch")
            for precision in wanted:
                measures["beside_torch"][precision] = measure_beside_torch(precision, settings)
    finally:
        set_policy("float32")
    return measures


def table(measures: dict[str, Any]) -> list[str]:
    """The lines to print."""
    if "skipped" in measures:
        return [measures["skipped"]]
    lines = [
        f"{'generators':<16}{'width':>13}{'faces at once':>15}{'together/s':>13}{'apart/s':>13}{'together is':>13}"
    ]
    for precision, widths in measures["generators"].items():
        for width, rows in widths.items():
            for count in COUNTS:
                row = rows[str(count)]
                lines.append(
                    f"{precision:<16}{width:>13}{count:>15}{row['together']:>13.1f}{row['apart']:>13.1f}"
                    f"{row['ratio']:>12.2f}x"
                )
    beside = measures["beside_torch"]
    if "skipped" in beside:
        return [*lines, beside["skipped"]]
    lines.append(f"{'step':<16}{'images/s':>13}{'PyTorch':>15}{'ratio':>13}{'threads':>13}")
    for precision, row in beside.items():
        lines.append(
            f"{precision:<16}{row['tensorflow']:>13.1f}{row['torch']:>15.1f}{row['ratio']:>12.2f}x{row['threads']:>13}"
        )
    return lines
