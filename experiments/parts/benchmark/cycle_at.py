"""What `experiments.benchmark --model=cycle_at` measures besides: its step of stage I beside the same one in PyTorch.

    python -m experiments.benchmark --model=cycle_at --besides_only

With the paper's networks: batches of 1 and 8 at 128x128 pixels, on a GPU of 4 at 256x256; how much longer a step of
stage II takes, which also has f_S and f_W (ResNet-50); and where the time of stage I goes, by its parts, each a graph
of its own that does what the step does of it. Figures that are compared are taken in turns, round by round, so that
other programs slow both; a ratio is the median over the rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from fer_tf import devices
from fer_tf.compat import keras, set_policy
from fer_tf.layers import InstanceNorm
from fer_tf.models import cycle_at

from . import beside_torch
from .clock import LEAST, in_turns
from .tables import KINDS

SIDE, BATCHES = 128, (1, 8)
"""Pixels a side, and faces of either domain a step."""
ON_GPU = {4: 256}
"""Faces -> pixels a side."""
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
    return {name: tf.function(run, autograph=False, jit_compile=model.xla or None) for name, run in made.items()}


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


def measure_batch(precision: str, batch_size: int, side: int, settings: Any, watch: Any) -> dict[str, Any]:
    """Faces of either domain a second that a step of stage I learns from, in PyTorch too where it is installed.

    Also how much longer a step of stage II takes, and the shares of the parts of stage I's.
    """
    set_policy(precision)
    keras.utils.set_random_seed(settings.seed)
    watch.say(f"cycle_at {precision}: stages of {batch_size} faces")
    images = [tf.random.stateless_uniform((batch_size, side, side, 3), (settings.seed, i)) for i in range(2)]
    batch = {"image": images[0], "auxiliary": images[1], "label": tf.zeros(batch_size, tf.int32)}
    models = {f"stage {stage}": build(stage, settings.tiny) for stage in (1, 2)}
    steps = {name: tf.function(model.train_step, jit_compile=model.xla or None) for name, model in models.items()}
    runs = {"tensorflow": lambda: steps["stage 1"](batch), "stage 2": lambda: steps["stage 2"](batch)}
    runs |= parts(models["stage 1"], *map(cycle_at.scaled, images))
    beside, facts = beside_torch.contestants("cycle_at", models["stage 1"], batch, precision, settings, watch)
    least = LEAST if devices.gpus() else 0.0
    times = in_turns({**runs, **beside}, 1 if batch_size > 1 else settings.steps, settings.repeats, least=least)
    if beside:
        facts = beside_torch.summary({kind: times[kind] for kind in beside}, facts, times["tensorflow"])
    later = float(np.median(times["stage 2"] / times["tensorflow"]))
    measures = {"ms": 1e3 * float(np.median(times["tensorflow"])), "batch_size": batch_size, "side": side}
    return measures | {"torch": facts, "stage_2_takes": later, "shares": shares(times)}


def measure(settings: Any, precisions: Sequence[str], watch: Any) -> dict[str, Any]:
    """{"steps": {precision: {"1": ..., "8": ...}}}: `measure_batch` of each number of faces."""
    wanted = [p for p in precisions if p in ("float32", "mixed_bfloat16")]
    sizes = ON_GPU if devices.gpus() else {n: SIDE for n in BATCHES}
    sizes = {n: 32 if settings.tiny else side for n, side in sizes.items()}
    try:
        rows = {p: {str(n): measure_batch(p, n, side, settings, watch) for n, side in sizes.items()} for p in wanted}
    finally:
        set_policy("float32")
    return {"steps": rows}


def table(measures: dict[str, Any]) -> list[str]:
    """The lines to print."""
    rows = [(p, n, row) for p, batches in measures["steps"].items() for n, row in batches.items()]
    if not rows:
        return []
    kinds = {kind: title for kind, title in KINDS.items() if any(kind in r["torch"].get("ms", {}) for *_, r in rows)}
    titles = ["batch", "pixels", "ours, ms", *kinds.values(), "ours is", "stage II takes"]
    lines = [f"{'step of stage I':<28}" + "".join(f"{title:>15}" for title in titles)]
    for precision, batch, row in rows:
        theirs = [row["torch"].get("ms", {}).get(kind) for kind in kinds]
        cells = [batch, str(row["side"]), f"{row['ms']:.2f}", *("-" if x is None else f"{x:.2f}" for x in theirs)]
        cells += [f"{row['torch']['ratio']:.2f}x" if theirs and "ratio" in row["torch"] else "-"]
        cells += [f"{row['stage_2_takes']:.2f}x"]
        lines.append(f"{precision:<28}" + "".join(f"{cell:>15}" for cell in cells))
    titles = list(rows[0][2]["shares"])
    lines.append(f"{'its parts, %':<28}{'batch':>15}" + "".join(f"{title:>13}" for title in titles))
    for precision, batch, row in rows:
        cells = [f"{100 * row['shares'][title]:.1f}" for title in titles]
        lines.append(f"{precision:<28}{batch:>15}" + "".join(f"{cell:>13}" for cell in cells))
    return lines + sorted({row["torch"]["skipped"] for *_, row in rows if "skipped" in row["torch"]})
