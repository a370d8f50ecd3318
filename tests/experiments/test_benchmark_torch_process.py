"""Twins in a process of their own make the steps that they make here, bit for bit."""

import importlib

import numpy as np
import pytest

from experiments import benchmark
from experiments.parts.benchmark import beside_torch, clock, feed
from fer_tf.compat import keras, set_policy

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `pip install .[bench]` adds it.")

from experiments.parts.benchmark import torch_process, torch_weights  # noqa: E402

MODELS = ("cycle_at", "ed2l", "fer_net", "gcnet", "ia_gen")
"""DE-GAN's twin draws people and z in each step, so that two processes differ."""


def made(name):
    """A function that makes a tiny model's twin, and its batch; nothing random within."""
    set_policy("float32")
    keras.utils.set_random_seed(1)
    module = importlib.import_module(f"fer_tf.models.{name}")
    model, batch, _ = feed.build(module, tiny=True)
    quiet = {k: 0.0 for k in ("dropout", "noise_stddev") if k in model.get_config()}
    if name == "cycle_at":
        quiet = {"source_net": None, "stage": 1}
    if quiet:
        model = type(model)(**{**model.get_config(), **quiet})
        model.compile(**{f"{player}_optimizer": keras.optimizers.SGD(0.01) for player, _ in model.player_variables()})
    twin = importlib.import_module(f"experiments.parts.benchmark.torch_{name}").twin
    return lambda: twin(model, "float32"), torch_weights.tensors(batch)


@pytest.fixture(scope="module")
def process():
    own = torch_process.Process("cpu", 1, False)
    yield own
    own.end()


@pytest.mark.parametrize("name", MODELS)
def test_the_same_steps(process, name):
    threads = torch.get_num_threads()
    try:
        make, batch = made(name)
        here = torch_process.Steps("cpu", 1, False)
        for own in (here, process):
            assert own.warm(name, make(), batch, None) is None
        before = here.state(name)
        for _ in range(2):
            here.step(name)
            pending = process.step(name)
        pending.wait()
        wanted, given = here.state(name), process.state(name)
        assert any(np.any(wanted[key] != value) for key, value in before.items())
        for key, value in wanted.items():
            np.testing.assert_array_equal(given[key], value, key)
    finally:
        torch.set_num_threads(threads)


def test_a_twin_that_draws_moves_there_too(process):
    make, batch = made("de_gan")
    assert process.warm("de_gan", make(), batch, None) is None
    before = process.state("de_gan")
    process.step("de_gan").wait()
    after = process.state("de_gan")
    assert all(np.isfinite(value).all() for value in after.values())
    assert any(np.any(after[key] != value) for key, value in before.items())


def test_what_fails_there_is_a_sentence_here(process):
    make, batch = made("fer_net")
    with pytest.raises(torch_process.Failed, match=r"^KeyError: 'label'$"):
        process.warm("bad", make(), {"image": batch["image"]}, None)
    with pytest.raises(torch_process.Failed, match=r"sees no GPU.*--device=cpu"):
        torch_process.Process("cuda", 1, False)


def test_a_process_that_ends_takes_pytorch_out_of_the_table(monkeypatch):
    """As on a GPU where PyTorch's libraries and TensorFlow's clash: the other figures stay."""
    monkeypatch.setattr(beside_torch, "own_process", lambda: True)
    model, batch, _ = feed.build(importlib.import_module("fer_tf.models.fer_net"), tiny=True)
    settings, watch = benchmark.Settings(preset="smoke"), clock.Watch()
    runs, facts = beside_torch.contestants("fer_net", model, batch, "float32", settings, watch)
    assert list(runs) == ["eager"] and set(facts["left_out"]) == {"compiled", "graphs"}
    walls, _ = clock.both_in_turns({"torch": clock.Run(runs["eager"])}, 3, 2)
    assert walls["torch"].shape == (2,) and (walls["torch"] > 0).all()
    warm = torch_process.Process.warm

    def dies(self, *words):
        self.own.kill()
        return warm(self, *words)

    monkeypatch.setattr(torch_process.Process, "warm", dies)
    runs, facts = beside_torch.contestants("fer_net", model, batch, "float32", settings, watch)
    assert runs == {} and facts == {"skipped": "PyTorch's process has ended with code -9."}
