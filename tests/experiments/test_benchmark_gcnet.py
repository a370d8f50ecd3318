"""GCNet's twin in PyTorch, which the benchmark times beside it: the same nets, losses and updates."""

import numpy as np
import pytest
import tensorflow as tf

from fer_tf.compat import keras, set_policy
from fer_tf.layers import MaxPoolWithArgmax, MaxUnpooling
from fer_tf.models import gcnet
from fer_tf.records import CLASSES

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `pip install .[bench]` adds it.")

from experiments.parts.benchmark import torch_gcnet, torch_weights  # noqa: E402

PRINTED = {"rate": 0.001, "multiplier": 10.0, "gamma": 1e-4, "power": 0.75}
SEEN = {"rate": 0.005, "multiplier": 3.0, "gamma": 0.7, "power": 1.5}
"""The paper's policy, and one that three steps show."""

WEIGHTS = {"lambda_c": 0.9, "lambda_g": 1.3, "lambda_s": 0.7, "lambda_ri": 0.35, "lambda_rr": 0.6}


def scatter(model):
    """Gives every norm values of its own, so that none of the four can stand for another."""
    numbers = np.random.default_rng(0)
    nets = (model.encoder2, model.decoder_i, model.decoder_r, model.generator_net.encoder, model.generator_net.decoder)
    for layer in (layer for net in nets for layer in net.layers if layer.name.startswith("norm")):
        gamma, beta, mean, variance = (numbers.uniform(0.5, 1.5, w.shape) for w in layer.get_weights())
        layer.set_weights([gamma, beta - 1, mean - 1, variance])


def build(policy=SEEN, **changes):
    """`tiny()` without dropout and with those changes, compiled; its batch, and PyTorch's."""
    set_policy("float32")
    keras.utils.set_random_seed(0)
    tiny, batch = gcnet.tiny()
    model = gcnet.GCNet(**{**tiny.get_config(), "dropout": 0.0, **changes})
    scatter(model)
    model.compile(**gcnet.optimizers(model, **policy))
    return model, batch, torch_weights.tensors(batch)


def values(terms):
    """{player: {term: float}}."""
    number = lambda x: float(x.detach() if isinstance(x, torch.Tensor) else x)  # noqa: E731
    return {name: {term: number(value) for term, value in own.items()} for name, own in terms.items()}


def assert_alike(twin, model, before, close=5e-3):
    """The twin has the Keras model's weights and statistics: within 1e-4 of a tensor's largest, `close` of its move."""
    wanted, given = torch_weights.state(torch_gcnet.twin(model, "float32")), torch_weights.state(twin)
    assert list(given) == list(wanted) == list(before) and len({name.split()[0] for name in given}) == 6
    for name, expected in wanted.items():
        gap, move = (np.abs(expected - x[name]).max() for x in (given, before))
        assert move > 0 and gap < min(1e-4 * np.abs(expected).max(), close * move), f"{name}: {gap:.2g} of {move:.2g}"


OTHERS = [name for name in CLASSES["six"] if name != "fear"]
CASES = {
    "tiny": ({}, PRINTED),
    "all terms seen": ({**WEIGHTS, "weight_decay": 0.3, "margin": 30.0, "lambda_s": 0.05}, SEEN),
    "neutral, valid": (
        {**WEIGHTS, "margin": 30.0, "lambda_s": 0.05, "classes": ("fear", "neutral", *OTHERS), "padding": "valid"},
        SEEN,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_weights_are_the_same_after_three_steps(case):
    changes, policy = CASES[case]
    model, batch, theirs = build(policy, **changes)
    twin = torch_gcnet.twin(model, "float32")
    before = torch_weights.state(twin)
    assert twin.parameters() == sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    step = tf.function(model.train_step)
    for _ in range(3):
        expected, _ = model.losses(batch, training=False)
        for net in twin.nets.values():
            net.eval()
        given = twin.losses(theirs)
        assert values(given) == {name: pytest.approx(own, rel=1e-4) for name, own in values(expected).items()}
        for net in twin.nets.values():
            net.train()
        logs = twin.train_step(theirs)
        model.reset_metrics()
        wanted = step(batch)
        assert case == "tiny" or float(wanted["contrastive_loss"]) > 0.01
        assert float(logs["classifier_loss"]) == pytest.approx(float(wanted["classifier_loss"]), rel=1e-4)
    assert_alike(twin, model, before)


def test_losses_term_by_term():
    """While training, with a margin between the distances and faces without a neutral one."""
    model, batch, _ = build()
    images, references = batch["image"], model.generator_net(batch["image"], training=True)[0]
    codes = [code for code, _ in model.encode_both(images, references, True)]
    model, batch, theirs = build(**WEIGHTS, weight_decay=0.3, margin=float(np.median(gcnet.distance(*codes))))
    twin = torch_gcnet.twin(model, "float32")
    before = torch_weights.state(twin)
    counted = [True, False, True, True, False, True]
    expected, measures = model.losses({**batch, "has_reference": tf.constant(counted)})
    given = values(twin.losses({**theirs, "has_reference": torch.tensor(counted)}))
    assert given == {name: pytest.approx(own, rel=1e-5) for name, own in values(expected).items()}
    assert list(given) == ["classifier", "decoder"] and len(given["decoder"]) == 6
    assert len(set(given["classifier"].values())) == 6 and float(measures["margin_share"]) == 0.5
    after = torch_weights.state(torch_gcnet.twin(model, "float32"))
    running = {name: value for name, value in after.items() if "running" in name}
    assert len(running) == 2 * 3 * 5
    for name, value in running.items():
        np.testing.assert_allclose(torch_weights.state(twin)[name], value, rtol=1e-5, err_msg=name)
        assert np.abs(value - before[name]).max() > 0.001


def test_places_of_equal_maxima():
    """Of four equal values the first counts in both, as where a ReLU has left four zeros."""
    x = np.random.default_rng(0).integers(0, 3, (2, 8, 8, 3)).astype(np.float32)
    code, places = MaxPoolWithArgmax()(x)
    expected = MaxUnpooling()([code + 1, places])
    code, places = torch.nn.functional.max_pool2d(torch_weights.tensor(x), 2, return_indices=True)
    given = torch.nn.functional.max_unpool2d(code + 1, places, 2)
    np.testing.assert_array_equal(given.permute(0, 2, 3, 1), expected)


def test_dropout_is_the_model_s():
    model, _, theirs = build(dropout=0.25)
    twin, seen = torch_gcnet.twin(model, "float32"), []
    twin.nets["classifier"].parts["hidden"].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    twin.losses(theirs)
    twin.nets["classifier"].eval()
    twin.losses(theirs)
    dropped, whole = seen
    kept = dropped != 0
    assert float(kept.float().mean()) == pytest.approx(0.75 * float((whole != 0).float().mean()), abs=0.02)
    torch.testing.assert_close(dropped[kept], whole[kept] / 0.75, rtol=1e-4, atol=1e-6)


def test_bfloat16_is_near():
    model, batch, theirs = build()
    expected = values(model.losses(batch)[0])["classifier"]
    twin = torch_gcnet.twin(model, "bfloat16")
    given = twin.losses(theirs)["classifier"]
    assert {v.dtype for v in given.values()} == {torch.float32}
    given = {term: float(value) for term, value in given.items()}
    assert given == pytest.approx(expected, rel=0.05)
    assert abs(given["generation_loss"] / expected["generation_loss"] - 1) > 1e-6  # nor is it float32
    assert float(twin.train_step(theirs)["classifier_loss"]) == pytest.approx(sum(expected.values()), rel=0.05)


def test_another_variant_or_size_is_an_error(monkeypatch):
    with pytest.raises(ValueError, match="of S1R1 with conv_ae, not of S1R0 with conv_ae"):
        torch_gcnet.twin(gcnet.GCNet(variant="S1R0", width=1 / 16), "float32")
    model = build()[0]
    monkeypatch.setattr(model, "width", 1 / 8)
    with pytest.raises(ValueError, match="conv1 of encoder1"):
        torch_gcnet.twin(model, "float32")
