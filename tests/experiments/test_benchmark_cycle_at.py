"""What the benchmark measures of CycleAT alone: the same nets, losses and updates in PyTorch."""

import json

import numpy as np
import pytest
import tensorflow as tf

from experiments import benchmark, benchmark_cycle_at
from fer_tf import training

SETTINGS = benchmark.Settings(
    **{**benchmark.PRESETS["smoke"], "model": "cycle_at", "repeats": 1, "steps": 1, "precisions": "float32"}
)


def test_smoke():
    """Needs the extra `bench`; the next test is of where it is missing."""
    pytest.importorskip("torch")
    found = json.loads(json.dumps(benchmark_cycle_at.measure(SETTINGS, ["float32"], benchmark.seconds)))
    lines, rows = benchmark_cycle_at.table(found), found["beside_torch"]["float32"]
    assert list(rows) == ["1", "8"] and len(lines) == 3 and len({len(line) for line in lines}) == 1
    for row in rows.values():
        assert row["ratio"] == pytest.approx(row["tensorflow"] / row["torch"]) and row["stage_2_takes"] > 0


def test_one_sentence_where_there_is_no_torch(monkeypatch):
    monkeypatch.setattr(benchmark_cycle_at.importlib.util, "find_spec", lambda name: None)
    found = benchmark_cycle_at.measure(SETTINGS, ["float32"], benchmark.seconds)
    assert benchmark_cycle_at.table(found) == ["PyTorch is not installed: `pip install .[bench]` adds it."]


def test_twin_takes_the_same_steps():
    """Losses of three steps from the same weights, on noise, agree."""
    pytest.importorskip("torch")
    from experiments import benchmark_torch, benchmark_torch_cycle_at

    training.setup(seed=0, precision="float32")
    model = benchmark_cycle_at.build(1, tiny=True)
    twin = benchmark_torch_cycle_at.twin(model, "float32")
    images = [tf.random.stateless_uniform((2, 32, 32, 3), (0, i)) for i in range(2)]
    batch = {"image": images[0], "auxiliary": images[1], "label": tf.zeros(2, tf.int32)}
    for net in ("g_sw", "d_w"):
        theirs = twin.nets[net](benchmark_torch.tensor(2 * images[0] - 1)).detach().numpy().transpose(0, 2, 3, 1)
        np.testing.assert_allclose(getattr(model, net)(2 * images[0] - 1), theirs, atol=2e-5)
    for _ in range(3):
        for metric in model.metrics:
            metric.reset_state()
        ours = model.train_step(batch)
        theirs = twin.train_step(*map(benchmark_torch.tensor, images))
        for side in ("discriminators_loss", "generators_loss"):
            assert float(ours[side]) == pytest.approx(float(theirs[side]), rel=2e-3)
