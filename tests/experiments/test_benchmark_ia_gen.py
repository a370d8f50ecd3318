"""What the benchmark measures of IA-gen alone: the same nets in PyTorch, the same pictures from stacked generators."""

import json

import numpy as np
import pytest
import tensorflow as tf

from experiments import benchmark
from experiments.parts.benchmark import clock, feed
from experiments.parts.benchmark import ia_gen as benchmark_ia_gen
from fer_tf.compat import keras, optimizer_variables, set_policy
from fer_tf.models import ia_gen


def scatter(*nets):
    """Gives every norm values of its own, so that none of the four can stand for another."""
    numbers = np.random.default_rng(0)
    for net in nets:
        for layer in net.layers:
            if layer.name.endswith("_norm"):
                layer.set_weights([numbers.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])


SETTINGS = benchmark.Settings(preset="smoke", model="ia_gen", repeats=1, precisions=("float32",))


@pytest.mark.slow
def test_smoke():
    measures = json.loads(json.dumps(benchmark_ia_gen.measure(SETTINGS, ["float32", "mixed_float16"], clock.Watch())))
    assert list(measures["generators"]) == ["float32"]
    widths = measures["generators"]["float32"]
    assert list(widths) == ["0.1"] and widths["0.1"]["generators"] == 7
    for count in ("1", "64"):
        row = widths["0.1"][count]
        assert row["ratio"] == pytest.approx(row["together"] / row["apart"])  # with one repeat
    head, *shown = benchmark_ia_gen.table(measures)
    assert head.startswith("generators") and len(shown) == 2 and {len(line) for line in shown} == {len(head)}


def test_the_paper_model_and_what_trains_it():
    model, batch, size = feed.build(ia_gen, tiny=False)
    counts = {name: sum(int(np.prod(v.shape)) for v in variables) for name, variables in model.player_variables()}
    assert size == "paper" and counts == {"discriminator": 2_764_609, "generator": 29_237_888}
    assert set(batch) >= {"image", "target"} and model.feature_net.width == 64
    for player in model.players().values():
        config = player.optimizer.get_config()
        assert (config["beta_1"], config["beta_2"]) == (0.5, 0.999)
        assert config["learning_rate"] == pytest.approx(2e-4) and isinstance(player.optimizer, keras.optimizers.Adam)
    assert all(len(slots) >= 2 for slots in optimizer_variables(model).values())
    assert feed.recogniser(ia_gen, model, "tiny").classify(batch["image"]).shape == (6, 3)


@pytest.mark.parametrize("policy, close", [("float32", 2e-5), ("mixed_bfloat16", 0.03)])
@pytest.mark.parametrize("small", [0, 4, 32])
def test_stacked_generators_give_the_same_pictures(policy, close, small):
    """With no layer as a product, those below 8x8, and all of them."""
    set_policy(policy)
    generators = [ia_gen.build_generator(width=1 / 16, name=f"g{i}") for i in range(3)]
    scatter(*generators)
    faces = tf.random.stateless_uniform((2, 64, 64, 1), (1, 2), -1, 1)
    wanted = np.stack([g(faces, training=False) for g in generators], 1)
    assert np.abs(wanted[:, 0] - wanted[:, 1]).max() > 0.01
    together = tf.function(benchmark_ia_gen.StackedGenerators(generators, small=small).__call__)
    given = together(faces)
    assert given.shape == (2, 3, 64, 64, 1) and given.dtype == tf.float32
    np.testing.assert_allclose(given, wanted, atol=close)


def test_stacked_generators_that_differ_are_an_error(monkeypatch):
    class Wrong(benchmark_ia_gen.StackedGenerators):
        def __call__(self, faces):
            return super().__call__(faces)[:, ::-1]

    monkeypatch.setattr(benchmark_ia_gen, "StackedGenerators", Wrong)
    with pytest.raises(RuntimeError, match="differ by .* in float32"):
        benchmark_ia_gen.measure_generators("float32", 0.1, SETTINGS)


def twins():
    """A small GAN without dropout, its twin in PyTorch, and a batch for each."""
    pytest.importorskip("torch")
    from experiments.parts.benchmark import torch_ia_gen, torch_weights

    set_policy("float32")
    model = ia_gen.ExpressionGAN(feature_net=ia_gen.tiny_features(), width=1 / 16, dropout=0.0)
    scatter(model.generator, model.discriminator, model.feature_net.trunk)
    model.compile(**{f"{name}_optimizer": ia_gen.optimizer() for name, _ in model.player_variables()})
    batch = ia_gen.tiny()[1]
    return model, torch_ia_gen.twin(model, "float32"), batch, torch_weights.tensors(batch)


def test_the_nets_in_torch_give_the_same():
    torch = pytest.importorskip("torch")
    model, twin, batch, theirs = twins()
    image, target = theirs["image"], theirs["target"]
    generator, discriminator, phi = (twin.nets[name].eval() for name in ("generator", "discriminator", "phi"))
    both = tf.concat([ia_gen.grey(batch[name]) for name in ("image", "target")], -1)
    for net, given, expected in (
        (generator, 2 * image - 1, model.generator(both[..., :1], training=False)),
        (discriminator, 2 * torch.cat([image, target], 1) - 1, model.discriminator(both, training=False)),
        (phi, image, model.feature_net.maps(batch["image"])),
    ):
        assert np.std(expected) > 1e-3
        theirs = net(given).detach().permute(0, 2, 3, 1)
        np.testing.assert_allclose(theirs, expected, atol=1e-4)


def test_losses_statistics_and_gradients_in_torch_are_the_same():
    model, twin, batch, images = twins()
    with tf.GradientTape(persistent=True) as tape:
        losses, _ = model.losses(batch)
        totals = {name: tf.add_n(list(terms.values())) for name, terms in losses.items()}
    for name, terms in twin.losses(images).items():
        expected = {term: float(value) for term, value in losses[name].items()}
        assert {term: float(value.detach()) for term, value in terms.items()} == pytest.approx(expected, abs=1e-4)
        for layer, part in ((getattr(model, name).get_layer(n), p) for n, p in twin.nets[name].parts.items()):
            if layer.name.endswith("_norm"):
                np.testing.assert_allclose(part.running_mean, layer.moving_mean, atol=1e-4, err_msg=layer.name)
                np.testing.assert_allclose(part.running_var, layer.moving_variance, atol=1e-4, err_msg=layer.name)
    logs = twin.train_step(images)
    for name, player in model.players().items():
        assert float(logs[f"{name}_loss"]) == pytest.approx(float(totals[name]), abs=1e-4)
        assert len(player.variables) == len(twin.weights[name])
        for part_name, part in twin.nets[name].parts.items():
            gradient = tape.gradient(totals[name], getattr(model, name).get_layer(part_name).trainable_variables[0])
            gradient = gradient.numpy() if part_name.endswith("_norm") else gradient.numpy().transpose(3, 2, 0, 1)
            scale = np.abs(gradient).max()
            np.testing.assert_allclose(part.weight.grad / scale, gradient / scale, atol=1e-3, err_msg=part_name)


def test_a_twin_of_another_size_is_an_error(monkeypatch):
    twins()
    from experiments.parts.benchmark import torch_ia_gen

    model = feed.build(ia_gen, tiny=True)[0]
    monkeypatch.setattr(model, "width", 1 / 8)
    with pytest.raises(ValueError, match="e1_conv of generator|c1_conv of discriminator"):
        torch_ia_gen.twin(model, "float32")


def test_bfloat16_in_torch_is_near():
    model, twin, batch, images = twins()
    expected = {name: sum(map(float, terms.values())) for name, terms in model.losses(batch)[0].items()}
    twin.half = True
    for name, total in twin.train_step(images).items():
        assert float(total) == pytest.approx(expected[name.removesuffix("_loss")], rel=0.05)
