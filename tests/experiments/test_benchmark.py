"""The benchmark at smoke size, and its counts against independent ones."""

import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from experiments import benchmark
from experiments.parts.benchmark import beside_torch, clock, feed, operations, steps
from experiments.parts.benchmark import views as plain_loops
from fer_tf import augment, pipeline
from fer_tf.compat import keras, set_policy
from fer_tf.models import fer_net

ROOT = Path(__file__).parents[2]


def test_smoke(here, tmp_path):
    flags = ("--preset=smoke", f"--workdir={tmp_path}", "--precisions=float32,mixed_bfloat16", "--repeats=1")
    done = here("benchmark", *flags)
    assert not done.returncode, done.stderr
    assert os.listdir(tmp_path) == ["benchmark.json"]
    result = json.loads((tmp_path / "benchmark.json").read_text())
    settings = result["settings"]
    assert (settings["model"], settings["tiny"], settings["repeats"]) == ("fer_net", True, 1)
    assert result["versions"]["tensorflow"] == tf.__version__ and result["hardware"] and result["commit"]
    assert len(result["load_before"]) == len(result["load_after"]) == 3
    one = result["models"]["fer_net"]
    assert list(one["training"]) == ["float32", "mixed_bfloat16"] and list(result["models"]) == ["fer_net"]
    parameters = sum(int(np.prod(v.shape)) for v in fer_net.tiny()[0].trainable_variables)
    for row in one["training"].values():
        assert (row["size"], row["parameters"], row["batch_size"]) == ("tiny", parameters, settings["batch_size"])
        assert (row["steps_per_call"], row["xla"], row["left_out"]) == (1, False, {}) and "ms_without_xla" not in row
        # with one repeat every ratio must follow from the figures beside it
        assert row["fed_ratio_cpu"] > 0
        assert row["fed_ratio"] == pytest.approx(row["images_per_second_fed"] / row["images_per_second"])
        speed = row["step_gflop"] * row["images_per_second"] / row["batch_size"]
        assert row["share_of_peak"] == pytest.approx(speed / row["matmul_gflop_per_second"])
        assert 1e3 / row["ms"] == pytest.approx(row["images_per_second"] / row["batch_size"])
        assert 50 < row["rss_mib"] < 20_000 and row["faces_per_second_64"] > row["faces_per_second_1"] > 0
    assert one["training"]["float32"]["step_gflop"] == one["training"]["mixed_bfloat16"]["step_gflop"]
    views = one["views"]
    assert {"pipeline", "pillow"} <= set(views)
    for name in set(views) - {"pipeline"}:
        ratio = views["pipeline"]["per_cpu_second"] / views[name]["per_cpu_second"]
        assert views["pipeline"][f"of_{name}"] == pytest.approx(ratio)
    lines = done.stdout.splitlines()
    assert_lines(lines, "training step", ["fer_net, float32", "fer_net, mixed_bfloat16"])
    rows = assert_lines(lines, "training  ", ["float32", "mixed_bfloat16"])
    assert f"{one['training']['float32']['images_per_second']:.1f}" in rows[0].split()
    said = [line for line in lines if line.startswith("[")]
    assert any(line.endswith("s] fer_net mixed_bfloat16: inference") for line in said)


def assert_lines(lines, head, names):
    """The rows of these names below the table's head, as wide as it is."""
    start = next(i for i, line in enumerate(lines) if line.startswith(head))
    rows = lines[start + 1 : start + 1 + len(names)]
    assert [row[:28].rstrip() for row in rows] == names
    assert {len(row) for row in rows} == {len(lines[start])}, "the columns do not line up"
    return rows


def test_beside_torch():
    """The step with --xla=on is beside the one without, and beside PyTorch's where that is installed."""
    settings = benchmark.Settings(preset="smoke", repeats=1, precisions=("float32",), besides_only=True, xla="on")
    result = json.loads(json.dumps(benchmark.measure(settings.replace(steps_per_call=2, without_xla=True))))
    row, lines = result["models"]["fer_net"]["training"]["float32"], benchmark.table(result).splitlines()
    assert row["xla"] and row["ms_without_xla"] > 0 and row["compiling_s"] > 0.1 and row["steps_per_call"] == 2
    assert "fed_ratio" not in row and "views" not in result["models"]["fer_net"]
    assert_lines(lines, "training step", ["fer_net, float32"])
    if "skipped" in row["torch"]:
        assert lines[-1] == "PyTorch: PyTorch is not installed: `pip install .[bench]` adds it."
    else:
        beside = row["torch"]
        assert beside["ratio"] == pytest.approx(beside["ms"]["eager"] / row["ms"]) and beside["best"] == "eager"
        assert beside["share_of_peak"] == pytest.approx(row["share_of_peak"] / beside["ratio"])
        assert set(beside["left_out"]) == {"compiled", "graphs"} and beside["parameters"] == row["parameters"]
        assert lines[-2] == "PyTorch, compiled: Not compiled: --torch_compile=on asks for it."


@pytest.mark.slow
def test_one_step_is_compiled_for_the_cached_batch_and_the_fed_ones():
    """Whatever the calls of several steps see of their shapes."""
    settings = benchmark.Settings(preset="smoke", steps_per_call=2)
    model, example, _ = feed.build(fer_net, tiny=True)
    host = feed.Feed("fer_net", fer_net, example, model.classes, settings, True)
    alone = steps.Fed(model, feed.Cached(host), 2)
    alone.start()
    fed = steps.Fed(model, host, 2, alone)
    fed.start()
    assert fed.steps.compiled.experimental_get_tracing_count() == 1 and not isinstance(fed.steps, feed.OnOneBatch)
    first, again = (alone().logs["classifier_loss"] for _ in range(2))
    assert first != again  # the means of an epoch go on
    whole = next(iter(host.epoch(0)))
    for name, value in alone.steps.next_of(None).items():
        np.testing.assert_array_equal(value, whole[name])


@pytest.mark.slow
@pytest.mark.parametrize("fits", [True, False])
def test_resident_faces_are_fed_too(monkeypatch, fits):
    """By the pipeline's `plans` and `assemble`; a sentence where the device does not keep the faces."""

    def kept(device):
        if device == "resident" and not fits:
            raise ValueError("These faces cannot live on the device.")
        return {}

    assembled = []
    monkeypatch.setattr(feed, "can_be_resident", lambda: True)
    monkeypatch.setattr(feed, "kept_where", kept)
    monkeypatch.setattr(pipeline.Batches, "plans", pipeline.Batches.epoch, raising=False)
    monkeypatch.setattr(pipeline.Batches, "assemble", lambda _, plan: assembled.append(1) or plan, raising=False)
    monkeypatch.setattr(beside_torch, "missing", lambda: "not now")
    settings = benchmark.Settings(preset="smoke", repeats=1, precisions=("float32",))
    row = steps.measure("fer_net", "float32", settings, clock.Watch())
    assert bool(assembled) == fits == ("fed_ratio_resident" in row)
    if fits:
        assert row["fed_ratio_resident"] == pytest.approx(
            row["images_per_second_fed_resident"] / row["images_per_second"]
        )
    else:
        assert row["left_out"] == {"resident": "These faces cannot live on the device."}


def test_no_torch_no_twin_and_no_compiler_are_a_sentence(monkeypatch):
    settings, watch = benchmark.Settings(preset="smoke", torch_compile="on"), clock.Watch()
    model, batch, _ = feed.build(fer_net, tiny=True)

    def said(name="fer_net", precision="float32"):
        return beside_torch.contestants(name, model, batch, precision, settings, watch)

    assert said("vgg") == ({}, {"skipped": "vgg has no twin in PyTorch."})
    if importlib.util.find_spec("torch"):
        assert said(precision="mixed_float16")[1]["skipped"].startswith("float16")

        def fails(*_, **__):
            raise OSError("Failed to find C compiler.\nA second line.")

        monkeypatch.setattr("torch.compile", fails)
        runs, facts = said()
        assert list(runs) == ["eager"] and facts["left_out"]["compiled"] == "OSError: Failed to find C compiler."
        late = clock.Watch(minutes=1e-9)
        left = beside_torch.contestants("fer_net", model, batch, "float32", settings, late)[1]["left_out"]
        assert left["compiled"] == "There was no time to compile: --minutes gives more."
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))
    assert said()[1] == {"skipped": beside_torch.NO_TORCH}


def test_all_models_in_one_table(monkeypatch):
    """Each gets its share of the time that is left; what comes last is left out."""
    shares = []

    def row(name, precision, settings, watch):
        shares.append(round((watch.until - watch.begun) / 60))
        model = {"batch_size": 4, "ms": 2.0, "share_of_peak": 0.5, "left_out": {}}
        return {**model, "torch": {"skipped": "none"} if name == "vgg" else {"ratio": 1.5, "ms": {"eager": 3.0}}}

    monkeypatch.setattr(benchmark.steps, "measure", row)
    monkeypatch.setattr(benchmark.views, "measure", lambda name, settings: {})
    monkeypatch.setattr(benchmark, "BESIDES", 1e9)
    names = benchmark.model_names()
    minutes = 100.0 * len(names) * 2
    given = benchmark.Settings(preset="smoke", model="all", minutes=minutes, precisions=("float32", "mixed_bfloat16"))
    result = benchmark.measure(given)
    assert list(result["models"]) == names and "all" not in names and len(names) == 8
    assert shares[0] == 100 and shares[-1] == minutes  # none takes any time here, so that the last has all of it
    assert not any("besides" in one for one in result["models"].values())
    lines = benchmark.table(result).splitlines()
    wanted = [f"{name}, {precision}" for name in names for precision in ("float32", "mixed_bfloat16")]
    rows = assert_lines(lines, "training step", wanted)
    assert rows[0].split()[2:] == ["4", "2.00", "3.00", "1.50x", "0.500"] and rows[-1].split()[-2] == "-"
    assert lines[-1] == "PyTorch: none (vgg in float32, vgg in mixed_bfloat16)"


def test_timings_by_hand(monkeypatch):
    """Seconds a step, where a call makes several; at least so long; what starts before a round is not timed."""
    now = [0.0]
    monkeypatch.setattr(clock.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(clock.time, "process_time", lambda: now[0] / 2)

    class Call:
        steps = 4

    def takes(seconds, made=None):
        def call():
            now[0] += seconds
            return made

        return call

    runs = {"single": clock.Run(takes(0.5)), "several": clock.Run(takes(1.0, Call()), takes(7.0))}
    walls, cpus = clock.both_in_turns(runs, steps=5, repeats=3)
    assert walls["single"].tolist() == [0.5] * 3 and walls["several"].tolist() == [0.25] * 3
    assert cpus["several"].tolist() == [0.125] * 3
    assert now[0] == 2 * 0.5 + 7 + 2 + 3 * (5 * 0.5 + 7 + 2 * 1.0)
    begun = now[0]
    clock.in_turns({"one": takes(0.5)}, steps=1, repeats=1, least=10.0)
    assert now[0] - begun == 2 * 0.5 + 20 * 0.5


def test_bad_input_is_one_sentence(here, tmp_path):
    done = here("benchmark", "--preset=smoke", f"--workdir={tmp_path}", "--images=1", "--batch_size=100")
    assert done.returncode == 1 and not list(tmp_path.iterdir())
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert errors == ["error: --images=1 is too few for 2 steps: give --images=4."]  # 4 x 100 views needed, 110 a face
    with pytest.raises(ValueError, match=r"Unknown precisions .'float8'.: use float32, mixed_float16"):
        benchmark.measure(benchmark.Settings(precisions=("float32", "float8")))
    with pytest.raises(ValueError, match=r"--model=x is none of .*fer_net"):
        benchmark.Settings(model="x")


def test_work_of_products_by_hand():
    def work(function, *shapes):
        return operations.flops(tf.function(function).get_concrete_function(*map(tf.zeros, shapes)).graph)

    assert work(tf.matmul, (5, 7), (7, 11)) == 2 * 5 * 7 * 11
    assert work(lambda a, b: tf.matmul(a, b, transpose_a=True), (7, 5), (7, 11)) == 2 * 5 * 7 * 11
    assert work(lambda a, b: tf.matmul(a, b, transpose_b=True), (5, 7), (11, 7)) == 2 * 5 * 7 * 11
    assert work(tf.matmul, (3, 5, 7), (3, 7, 11)) == 2 * 3 * 5 * 7 * 11
    assert work(lambda x, k: tf.nn.conv2d(x, k, 2, "SAME"), (2, 8, 8, 3), (3, 3, 3, 5)) == 2 * (2 * 4 * 4 * 5) * 27

    def unused(a, b):
        tf.matmul(b, a)  # nothing depends on it
        return tf.matmul(a, b)

    assert work(unused, (5, 7), (7, 5)) == 2 * 5 * 7 * 5

    def gradients(x, k):
        with tf.GradientTape() as tape:
            tape.watch((x, k))
            y = tf.reduce_sum(tf.nn.conv2d(x, k, 2, "SAME") ** 2)
        return tape.gradient(y, (x, k))

    assert work(gradients, (2, 8, 8, 3), (3, 3, 3, 5)) == 3 * 2 * (2 * 4 * 4 * 5) * 27
    unknown = tf.function(tf.matmul, input_signature=[tf.TensorSpec((None, 7)), tf.TensorSpec((7, 5))])
    with pytest.raises(ValueError, match=r"\(MatMul\) cannot be counted: its shapes are not static"):
        operations.flops(unknown.get_concrete_function().graph)


def test_work_of_a_training_step_from_the_layers():
    set_policy("float32")
    model, batch, size = feed.build(fer_net, tiny=True)
    assert size == "tiny"
    count, height, width, _ = batch["image"].shape
    forward, stem, side = 0, 0, {"stem": 1, "stage1": 2, "stage2": 4, "stage3": 8}
    for layer in model.trunk.layers:
        if isinstance(layer, keras.layers.Conv2D):
            shrunk = side[layer.name.split("_")[0]]  # a pooling by 2 before each stage
            work = 2 * count * (height // shrunk) * (width // shrunk) * int(np.prod(layer.kernel.shape))
            forward, stem = forward + work, work if "stem" in layer.name else stem
    for layer in (model.trunk.get_layer("hidden"), model.head):
        forward += 2 * count * int(np.prod(layer.kernel.shape))
    assert stem
    step = tf.function(model.train_step).get_concrete_function(batch)
    # forward, and backward to the kernels and to the inputs, except for the picture itself
    assert operations.flops(step.graph) == 3 * forward - stem


def test_the_paper_model_is_built_where_it_needs_no_argument():
    model, batch, size = feed.build(fer_net, tiny=False)
    assert size == "paper" and model.width == 64 and batch["image"].shape[0] == 6
    assert model.players()["classifier"].optimizer is not None


@pytest.mark.parametrize("views", [augment.ia_gen_views, augment.de_gan_views, augment.ed2l_patches])
def test_the_plain_loop_makes_the_same_views(views):
    y, x = np.mgrid[: views.source[0], : views.source[1]]
    smooth = (128 + 60 * np.sin(x / 9) + 50 * np.cos(y / 7 + x / 23)).astype(np.uint8)
    ours = views(smooth[None, ..., None])[0, ..., 0].numpy().astype(int)
    for name, turn in plain_loops.plain_turns().items():
        plain = np.stack(plain_loops.plain_views(smooth, views, turn)).astype(int)
        assert plain.shape == ours.shape
        inside = np.s_[:, 28:-28, 28:-28]  # Pillow leaves the corners black
        assert np.abs(plain - ours)[inside].max() <= 3, name
        if name == "opencv":
            assert np.mean(np.abs(plain - ours)) < 0.5


def test_precisions_are_what_the_hardware_computes(monkeypatch):
    monkeypatch.setattr(benchmark.devices, "gpus", lambda: [])
    for auto, computed in (("float32", ["float32"]), ("mixed_bfloat16", ["float32", "mixed_bfloat16"])):
        monkeypatch.setattr(benchmark.training, "auto_precision", lambda auto=auto: auto)
        assert benchmark.precisions() == computed
    monkeypatch.setattr(benchmark.devices, "gpus", lambda: ["GPU"])
    for capability, count in (((7, 5), 2), ((8, 0), 3)):
        details = {"compute_capability": capability}
        monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda _, details=details: details)
        assert benchmark.precisions() == ["float32", "mixed_float16", "mixed_bfloat16"][:count]
        assert benchmark.precisions(every_model=True) == ["float32", ["mixed_float16", "mixed_bfloat16"][count - 2]]
