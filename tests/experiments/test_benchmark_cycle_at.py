"""What the benchmark measures of CycleAT alone: the same nets, losses and updates in PyTorch."""

import json
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from experiments import benchmark
from experiments.parts.benchmark import clock, feed, operations
from experiments.parts.benchmark import cycle_at as benchmark_cycle_at
from fer_tf import layers
from fer_tf.models import cycle_at
from fer_tf.records import CLASSES

SETTINGS = benchmark.Settings(preset="smoke", model="cycle_at", repeats=1, steps=1, precisions=("float32",))


def checked(measures):
    """The tables' lines up to the parts', which add up; and the rows."""
    lines, rows = benchmark_cycle_at.table(measures), measures["steps"]["float32"]
    assert list(rows) == [str(n) for n in benchmark_cycle_at.BATCHES]
    start = next(i for i, line in enumerate(lines) if line.startswith("its parts, %"))
    assert len({len(line) for line in lines[start:][: 1 + len(rows)]}) == 1
    for line, row in zip(lines[start + 1 :][: len(rows)], rows.values(), strict=True):
        shares = row["shares"]
        *whole, blocks, norms = shares.values()
        assert sum(whole) == pytest.approx(1) and blocks > 0 and norms > 0 and shares["G forward"] > 0
        assert [float(cell) for cell in line.split()[2:]] == pytest.approx([100 * v for v in shares.values()], abs=0.06)
        assert row["stage_2_takes"] > 0
    return lines[:start], rows


def test_smoke():
    """Beside PyTorch, which needs the extra `bench`; the next test is of where it is missing."""
    pytest.importorskip("torch")
    measures = json.loads(json.dumps(benchmark_cycle_at.measure(SETTINGS, ["float32"], clock.Watch())))
    lines, rows = checked(measures)
    assert len(lines) == 3 and len({len(line) for line in lines}) == 1
    for row in rows.values():
        assert row["torch"]["ratio"] == pytest.approx(row["torch"]["ms"]["eager"] / row["ms"])


@pytest.mark.slow
def test_one_sentence_where_there_is_no_torch(monkeypatch):
    """And all that needs none."""
    monkeypatch.setattr(benchmark_cycle_at, "BATCHES", (2,))
    monkeypatch.setattr(benchmark_cycle_at.beside_torch, "missing", lambda: "No torch.")
    measures = json.loads(json.dumps(benchmark_cycle_at.measure(SETTINGS, ["float32"], clock.Watch())))
    lines, rows = checked(measures)
    assert len(lines) == 2 and lines[1].split()[4:5] == ["-"] and rows["2"]["side"] == 32
    assert benchmark_cycle_at.table(measures)[-1] == "No torch."


@pytest.mark.slow
@pytest.mark.parametrize("only", [False, True])
def test_through_the_benchmark(monkeypatch, only):
    """What every model has, fed by the pipeline with f_S's six classes, and what CycleAT alone has; or less."""
    monkeypatch.setattr(benchmark_cycle_at, "measure", lambda *_: {"steps": {}})
    result = json.loads(json.dumps(benchmark.measure(SETTINGS.replace(besides_only=only))))
    one = result["models"]["cycle_at"]
    row = one["training"]["float32"]
    assert one["besides"] == {"steps": {}} and ("views" in one) == ("faces_per_second_1" in row) == (not only)
    assert row["size"] == "tiny" and row["batch_size"] == 8 and ("images_per_second_fed" in row) == (not only)
    assert "stage 1" in row["torch"]["skipped"] or "not installed" in row["torch"]["skipped"]


def test_the_feed_has_the_models_labels():
    """f_S's classes; none, and labels of -1, without f_W."""
    model, example, _ = feed.build(cycle_at, tiny=True)
    alone = benchmark_cycle_at.build(1, tiny=True)
    assert model.classes == CLASSES["six"] and alone.classes == ()
    for classes, labels in ((model.classes, set(range(6))), (alone.classes, {-1})):
        batch = next(iter(feed.Feed("cycle_at", cycle_at, example, classes, SETTINGS, resize=True).epoch(0)))
        assert set(batch["label"].numpy()) <= labels
        assert batch["image"].shape == batch["auxiliary"].shape == (8, 32, 32, 1)


def test_the_parts_do_the_work_of_the_step():
    """Multiplications: generators and discriminators make up the whole step; forward is what it is; blocks by hand."""
    model = benchmark_cycle_at.build(1, tiny=True)
    images = [tf.random.stateless_uniform((2, 32, 32, 3), (0, i)) for i in range(2)]
    batch = {"image": images[0], "auxiliary": images[1], "label": tf.zeros(2, tf.int32)}
    parts = benchmark_cycle_at.parts(model, *map(cycle_at.scaled, images))
    work = {name: operations.flops(run.get_concrete_function().graph) for name, run in parts.items()}
    step = operations.flops(tf.function(model.train_step).get_concrete_function(batch).graph)
    assert work["generators"] + work["discriminators"] == step
    assert work["blocks"] == 3 * 2 * 2 * (2 * 8 * 8 * 16 * 9 * 16)  # 3 products, 2 convolutions, 16 channels
    assert work["generators"] / 3.1 < work["forward"] < work["generators"] / 2.5 and not work["norms"] + work["adam"]
    norms = sum(isinstance(x, layers.InstanceNorm) for net in (model.g_sw, model.d_w) for x in net.layers)
    kinds = Counter(op.type for op in parts["norms"].get_concrete_function().graph.get_operations())
    assert kinds["FusedBatchNormV3"] == kinds["FusedBatchNormGradV3"] == norms == 5 + 2 + 3
    before = [np.array(v) for v in model.trainable_variables]
    parts["adam"]()
    assert all(np.any(a != np.array(v)) for a, v in zip(before, model.trainable_variables, strict=True))


def test_shares_by_hand():
    times = {"tensorflow": [10, 20, 40], "forward": [2, 4, 8], "generators": [6, 14, 24], "discriminators": [2, 4, 4]}
    times |= {"adam": [1, 1, 2], "blocks": [1, 2, 4], "norms": [0.5, 1, 2]}
    given = benchmark_cycle_at.shares({name: np.array(value, float) for name, value in times.items()})
    wanted = {"G forward": 0.2, "G backward": 0.4, "D": 0.2, "Adam": 0.05, "rest": 0.1}
    assert given == pytest.approx(wanted | {"(G's blocks)": 0.4, "(norms)": 0.2})
