"""The benchmark at smoke size, and its counts against independent ones."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from experiments import benchmark
from experiments.parts.benchmark import feed, operations
from experiments.parts.benchmark import views as plain_loops
from fer_tf import augment
from fer_tf.compat import keras, set_policy
from fer_tf.models import fer_net

ROOT = Path(__file__).parents[2]


def test_smoke(cli, tmp_path):
    flags = ("--preset=smoke", f"--workdir={tmp_path}", "--precisions=float32,mixed_bfloat16", "--repeats=1")
    done = cli("benchmark", *flags)
    assert not done.returncode, done.stderr
    assert os.listdir(tmp_path) == ["benchmark.json"]
    result = json.loads((tmp_path / "benchmark.json").read_text())
    settings = result["settings"]
    assert (settings["model"], settings["tiny"], settings["repeats"]) == ("fer_net", True, 1)
    assert result["versions"]["tensorflow"] == tf.__version__ and result["hardware"] and result["commit"]
    assert len(result["load_before"]) == len(result["load_after"]) == 3
    assert list(result["training"]) == ["float32", "mixed_bfloat16"]
    parameters = sum(int(np.prod(v.shape)) for v in fer_net.tiny()[0].trainable_variables)
    for row in result["training"].values():
        assert row["size"] == "tiny" and row["parameters"] == parameters
        # with one repeat every ratio must follow from the figures beside it
        assert row["fed_ratio_cpu"] > 0
        assert row["fed_ratio"] == pytest.approx(row["images_per_second_fed"] / row["images_per_second"])
        speed = row["step_gflop"] * row["images_per_second"] / settings["batch_size"]
        assert row["share_of_peak"] == pytest.approx(speed / row["matmul_gflop_per_second"])
        assert 50 < row["rss_mib"] < 20_000 and row["faces_per_second_64"] > row["faces_per_second_1"] > 0
    assert result["training"]["float32"]["step_gflop"] == result["training"]["mixed_bfloat16"]["step_gflop"]
    views = result["views"]
    assert {"pipeline", "pillow"} <= set(views)
    for name in set(views) - {"pipeline"}:
        ratio = views["pipeline"]["per_cpu_second"] / views[name]["per_cpu_second"]
        assert views["pipeline"][f"of_{name}"] == pytest.approx(ratio)
    lines = done.stdout.splitlines()
    head = next(line for line in lines if line.startswith("training"))
    rows = [line for line in lines if line.startswith(("float32", "mixed_bfloat16"))]
    assert len(rows) == 2 and {len(line) for line in rows} == {len(head)}, "the columns do not line up"
    assert f"{result['training']['float32']['images_per_second']:.1f}" in rows[0].split()


def test_bad_input_is_one_sentence(cli, tmp_path):
    done = cli("benchmark", "--preset=smoke", f"--workdir={tmp_path}", "--images=1", "--batch_size=100")
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
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [])
    for auto, computed in (("float32", ["float32"]), ("mixed_bfloat16", ["float32", "mixed_bfloat16"])):
        monkeypatch.setattr(benchmark.training, "auto_precision", lambda auto=auto: auto)
        assert benchmark.precisions() == computed
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["GPU"])
    for capability, count in (((7, 5), 2), ((8, 0), 3)):
        details = {"compute_capability": capability}
        monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda _, details=details: details)
        assert benchmark.precisions() == ["float32", "mixed_float16", "mixed_bfloat16"][:count]
