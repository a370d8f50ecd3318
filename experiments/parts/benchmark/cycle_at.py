"""What `experiments.benchmark --model=cycle_at` measures besides: its step of stage I beside the same one in PyTorch.

    python -m experiments.benchmark --model=cycle_at --besides_only

At 128x128 pixels with the paper's networks, batches of 1 and 8; how much longer a step of stage II takes, which also
has f_S and f_W (ResNet-50); and where the time of stage I goes, by its parts, each a graph of its own that does what
the step does of it. Figures that are compared are taken in turns, round by round, so that other programs slow both; a
ratio is the median over the rounds. On the CPU only.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from fer_tf.compat import keras, set_policy
from fer_tf.layers import InstanceNorm
from fer_tf.models import cycle_at

from .clock import in_turns, speeds

SIDE, BATCHES = 128, (1, 8)
"""Pixels a side, and faces of either domain a step."""
PASSES = 4
"""Of the two generators in a step, and of the two discriminators."""


def build(stage: int, tiny: bool) -> cycle_at.CycleAT:
    """The compiled model of a stage, the paper's or the tiny one's nets."""
    model = cycle_at.tiny()[0] if tiny else cycle_at.full()
    if stage == 1:
        model = cycle_at.CycleAT(**{**model.get_config(), "source_net": None, "stage": 1})
    model.compile(**{f"{name}_optimizer": cycle_at.optimizer() for name, _ in model.player_variables()})
    return model


def parts(model: cycle_at.CycleAT, x_s: tf.Tensor, x_w: tf.Tensor) -> dict[str, Any]:
    """What a step of stage I consists of, each as a graph of its own, to be timed.

    generators: all four passes and their gradients; forward: the passes alone. discriminators: on two real and two fake
    batches, with the gradients of both players. adam: the updates. blocks, norms: a generator's residual blocks, and
    the instance norms of a generator and of a discriminator, once there and back; the step does so `PASSES` times.

    Args:
      model: of stage I, compiled.
      x_s, x_w: (N, H, W, 3) float32 in [-1, 1].
    """
    discriminators, generators = (player.variables for player in model.players().values())
    fakes = [tf.reverse(x, [2]) for x in (x_w, x_s)]
    gradients = [[1e-3 * tf.random.stateless_normal(v.shape, (0, 1)) for v in p] for p in (discriminators, generators)]
    norms = {net: [x for x in net.layers if isinstance(x, InstanceNorm)] for net in (model.g_sw, model.d_w)}
    seen = [x for net, group in norms.items() for x in keras.Model(net.inputs, [y.input for y in group])(x_s)]
    entry, end = (model.g_sw.get_layer(name).output for name in ("down2_relu", f"block{model.blocks}_add"))
    middle, given = keras.Model(entry, end), keras.Model(model.g_sw.inputs, entry)(x_s)

    def forward() -> list[tf.Tensor]:
        to_w, to_s = model.g_sw(x_s, training=True), model.g_ws(x_w, training=True)
        return [to_w, to_s, model.g_ws(to_w, training=True), model.g_sw(to_s, training=True)]

    def both_ways() -> tf.Tensor:
        with tf.GradientTape() as tape:
            total = tf.add_n([tf.reduce_mean(tf.abs(made)) for made in forward()])
        return _one_of_each(tape.gradient(total, generators))

    def judged() -> tf.Tensor:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(fakes)
            logits = [[net(x, training=True) for x in pair] for net, pair in pairs]
            loss = model.adversarial_loss
            own = tf.add_n([loss(real, True) + loss(fake, False) for real, fake in logits])
            fooled = tf.add_n([loss(fake, True) for _, fake in logits])
        return _one_of_each([*tape.gradient(own, discriminators), *tape.gradient(fooled, fakes)])

    def moved() -> tf.Tensor:
        for player, changes in zip(model.players().values(), gradients, strict=True):
            player.optimizer.apply_gradients(zip(changes, player.variables, strict=True))
        return tf.zeros(())

    pairs = ((model.d_w, (x_w, fakes[0])), (model.d_s, (x_s, fakes[1])))
    layers = [layer for group in norms.values() for layer in group]
    normed = lambda: [layer(x) for layer, x in zip(layers, seen, strict=True)]  # noqa: E731
    made = {"generators": both_ways, "forward": lambda: _one_of_each(forward()), "discriminators": judged}
    made |= {"adam": moved, "norms": lambda: _there_and_back(normed, [], seen)}
    made["blocks"] = lambda: _there_and_back(
        lambda: [middle(given, training=True)], middle.trainable_variables, [given]
    )
    return {name: tf.function(run, autograph=False) for name, run in made.items()}


def _there_and_back(run: Callable[[], list[tf.Tensor]], sources: list, watched: list[tf.Tensor]) -> tf.Tensor:
    """`_one_of_each` of what `run` makes of tensors of its size, and of its gradients for these and its weights."""
    with tf.GradientTape() as tape:
        tape.watch(watched)
        made = run()
    pulls = [tf.reverse(x, [1]) for x in watched]  # of the size of what was made
    return _one_of_each([*made, *tape.gradient(made, [*sources, *watched], output_gradients=pulls)])


def _one_of_each(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """A number that all of them are needed for, and that takes no time itself."""
    return tf.add_n([tf.cast(tf.reshape(x, [-1])[0], tf.float32) for x in tensors])


def shares(times: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Seconds of `parts` a round, and of the step as "tensorflow" -> shares of the step, medians over the rounds.

    Those in brackets are in the others, too.
    """
    forward, generators = times["forward"], times["generators"]
    parts = {"G forward": forward, "G backward": generators - forward, "D": times["discriminators"]}
    parts["Adam"] = times["adam"]
    parts["rest"] = times["tensorflow"] - sum(parts.values())
    parts |= {"(G's blocks)": PASSES * times["blocks"], "(norms)": PASSES * times["norms"]}
    return {name: float(np.median(value / times["tensorflow"])) for name, value in parts.items()}


def measure_batch(precision: str, batch_size: int, settings: Any) -> dict[str, Any]:
    """Faces of either domain a second that a step of stage I learns from, in PyTorch too where it is installed.

    Also how much longer a step of stage II takes, and the shares of the parts of stage I's.
    """
    set_policy(precision)
    keras.utils.set_random_seed(settings.seed)
    side = 32 if settings.tiny else SIDE
    images = [tf.random.stateless_uniform((batch_size, side, side, 3), (settings.seed, i)) for i in range(2)]
    batch = {"image": images[0], "auxiliary": images[1], "label": tf.zeros(batch_size, tf.int32)}
    models = {f"stage {stage}": build(stage, settings.tiny) for stage in (1, 2)}
    threads = tf.config.threading.get_intra_op_parallelism_threads() or len(os.sched_getaffinity(0))
    steps = {name: tf.function(model.train_step) for name, model in models.items()}
    runs = {"tensorflow": lambda: steps["stage 1"](batch), "stage 2": lambda: steps["stage 2"](batch)}
    runs |= parts(models["stage 1"], *map(cycle_at.scaled, images))
    measures = {"threads": threads}
    if importlib.util.find_spec("torch") is not None:
        import torch

        from . import torch_cycle_at, torch_weights

        torch.set_num_threads(threads)
        twin = torch_cycle_at.twin(models["stage 1"], precision.removeprefix("mixed_"))
        theirs = torch_weights.tensors(batch)
        runs["torch"] = lambda: twin.train_step(theirs)
        measures["parameters"] = twin.parameters()
    times = in_turns(runs, 1 if batch_size > 1 else settings.steps, settings.repeats)
    measures |= speeds({name: times[name] for name in ("tensorflow", "torch") if name in times}, batch_size)
    later = float(np.median(times["stage 2"] / times["tensorflow"]))
    return measures | {"stage_2_takes": later, "shares": shares(times)}


def measure(settings: Any, precisions: Sequence[str]) -> dict[str, Any]:
    """{"steps": {precision: {"1": ..., "8": ...}}}, or a sentence that says why there is none; likewise for PyTorch."""
    if tf.config.list_physical_devices("GPU"):
        return {"skipped": "The comparison is the CPU's: run with CUDA_VISIBLE_DEVICES=-1 for it."}
    wanted = [p for p in precisions if p in ("float32", "mixed_bfloat16")]
    try:
        rows = {p: {str(n): measure_batch(p, n, settings) for n in BATCHES} for p in wanted}
    finally:
        set_policy("float32")
    if importlib.util.find_spec("torch") is None:
        return {"steps": rows, "skipped": "PyTorch is not installed: `pip install .[bench]` adds it."}
    return {"steps": rows, "torch": importlib.metadata.version("torch")}


def table(measures: dict[str, Any]) -> list[str]:
    """The lines to print."""
    rows = [(p, n, row) for p, batches in measures.get("steps", {}).items() for n, row in batches.items()]
    lines = [measures["skipped"]] if "skipped" in measures else []
    if not rows:
        return lines
    lines.append(
        f"{'step of stage I':<16}{'batch':>13}{'faces/s':>13}{'PyTorch':>13}{'ratio':>13}{'stage II takes':>16}"
    )
    for precision, batch, row in rows:
        beside = f"{row['torch']:>13.2f}{row['ratio']:>12.2f}x" if "torch" in row else f"{'-':>13}{'-':>13}"
        lines.append(f"{precision:<16}{batch:>13}{row['tensorflow']:>13.2f}{beside}{row['stage_2_takes']:>15.2f}x")
    titles = list(rows[0][2]["shares"])
    lines.append(f"{'its parts, %':<16}{'batch':>13}" + "".join(f"{title:>13}" for title in titles))
    for precision, batch, row in rows:
        cells = "".join(f"{100 * row['shares'][title]:>13.1f}" for title in titles)
        lines.append(f"{precision:<16}{batch:>13}{cells}")
    return lines
