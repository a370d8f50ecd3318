"""DE-GAN's twins in PyTorch, which the benchmark times beside both stages: the same nets, losses and updates."""

import numpy as np
import pytest
import tensorflow as tf

from fer_tf.compat import Adam, keras, set_policy
from fer_tf.layers import Noise
from fer_tf.models import de_gan

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `pip install .[bench]` adds it.")

from experiments.parts.benchmark import torch_de_gan, torch_weights  # noqa: E402

PRINTED = {"rate": 1e-4, "epsilon": 1e-7}
SEEN = {"rate": 1e-3, "epsilon": 1e-3}
"""The paper's Adam, and one whose epsilon matters: Keras and PyTorch add it at different places."""


def scatter(layers):
    """Gives norms and biases values of their own, so that none can stand for another; makes linear layers steep.

    So gradients are large beside their rounding, which Adam would blow up to full steps.
    """
    numbers = np.random.default_rng(0)
    for layer in layers:
        if "norm" in layer.name:
            gamma, beta, mean, variance = (numbers.uniform(0.5, 1.5, w.shape) for w in layer.get_weights())
            layer.set_weights([gamma, beta - 1, mean - 1, variance])
        elif getattr(layer, "use_bias", False):
            kernel, *bias = layer.get_weights()
            steep = 10 if kernel.ndim == 2 else 1
            layer.set_weights([steep * kernel, *(numbers.uniform(0.1, 0.3, w.shape) for w in bias)])


def build(make=de_gan.tiny, adam=SEEN, **changes):
    """A tiny model with those changes, compiled; its batch; its twin and the latter's, which draws what Keras draws."""
    set_policy("float32")
    keras.utils.set_random_seed(0)
    tiny, batch = make()
    coarse = tf.random.stateless_uniform((6, 12, 12, 1), (1, 2))  # where all places are alike, gradients cancel out
    batch["image"] = tf.clip_by_value(tf.image.resize(coarse, (96, 96)) * 0.8 + 0.2 * batch["image"], 0, 1)
    model = type(tiny)(**{**tiny.get_config(), **changes})
    nets = [model.encoder, *getattr(model, "locals", [])]
    nets += [model.decoder, model.discriminator] if make is de_gan.tiny else []
    scatter([*(layer for net in nets for layer in net.layers), *getattr(model, "heads", [])])
    options = {"learning_rate": adam["rate"], "epsilon": adam["epsilon"], "beta_1": 0.5}
    model.compile(**{f"{name}_optimizer": Adam(**options) for name, _ in model.player_variables()})
    twin = torch_de_gan.twin(model, "float32")
    if make is de_gan.tiny:
        twin.draw = drawn(model)
    return model, batch, twin, torch_weights.tensors(batch)


def drawn(model):
    """What `StageOne.draw` would be if it drew what the Keras model draws from its first step on."""
    identities = de_gan.OtherIdentity(len(model.subjects), model.own_share, model.seed)
    z = Noise(model.seed + de_gan.NOISE_SEED, dtype="float32")
    for layer in (identities, z):
        layer.build(())

    def draw(own):
        drawn = identities(tf.constant(own.numpy(), tf.int32)), z(tf.zeros((len(own), model.noise)), training=True)
        return torch.tensor(np.array(drawn[0])).long(), torch.tensor(np.array(drawn[1]))

    return draw


def values(terms):
    """{player: {term: float}}."""
    number = lambda x: float(x.detach() if isinstance(x, torch.Tensor) else x)  # noqa: E731
    return {name: {term: number(value) for term, value in own.items()} for name, own in terms.items()}


def assert_alike(twin, model, before, adam, still=()):
    """The twin has the Keras model's weights and statistics, and those that move have moved by as much.

    Within 1e-4 of a tensor's largest (or of 0.01) and 0.5 % of its largest move. Further where rounding decides: the
    printed Adam takes a gradient of mere rounding for a full step; the pools of stage two's local CNNs send it to
    another pixel (a Keras model whose images change by 1e-7 ends up as far from itself).
    """
    wanted, given = torch_weights.state(torch_de_gan.twin(model, "float32")), torch_weights.state(twin)
    assert list(given) == list(wanted) == list(before)
    for name, expected in wanted.items():
        gap, move = (np.abs(expected - x[name]).max() for x in (given, before))
        if name.split()[0] in still:
            assert gap == move == 0, name
        else:
            of_all, of_move = (1e-3, 0.05) if adam is PRINTED else (1e-4, 5e-3)
            of_all, of_move = (3e-3, 0.3) if name.startswith("local") else (of_all, of_move)
            largest = max(np.abs(expected).max(), 0.01)
            assert move > 0 and gap < min(of_all * largest, of_move * move), (
                f"{name}: {gap:.2g}, {move:.2g}, {largest:.2g}"
            )


STEPS = {
    "tiny": ({}, PRINTED, [1, 1, 1]),
    "epsilon": ({}, SEEN, [1, 1, 1]),
    "pace by ratio": ({"near": -1.0, "ratio": 2}, SEEN, [0, 1, 0]),
    "pace by skill": ({"near": 0.02, "ratio": 3}, SEEN, None),
    "own faces": ({"seed": 4, "own_share": 0.5, "lambda_own": 2.0}, SEEN, [1, 1, 1]),
}
"""What changes, the Adam, and when D moves where that does not follow from its accuracy."""


@pytest.mark.parametrize("case", STEPS)
def test_weights_are_the_same_after_three_steps(case):
    changes, adam, moves = STEPS[case]
    model, batch, twin, theirs = build(adam=adam, **changes)
    before, step, shares = torch_weights.state(twin), tf.function(model.train_step), []
    assert twin.parameters() == sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    for _ in range(3):
        logs, since = twin.train_step(theirs), twin.pace.since
        model.reset_metrics()
        wanted = {name: float(value) for name, value in step(batch).items()}
        shares.append(wanted["discriminator_share"])
        assert (since == 0) == bool(shares[-1])
        assert list(logs) == ["discriminator_loss", "generator_loss"]
        assert {name: float(v) for name, v in logs.items()} == pytest.approx({n: wanted[n] for n in logs}, rel=1e-4)
    assert shares == moves if moves else 0 < sum(shares) < 3
    assert twin.pace.skill == pytest.approx(float(model.pace.skill), abs=1e-6) and twin.pace.skill > 0
    assert_alike(twin, model, before, adam)


def test_losses_term_by_term():
    model, batch, twin, theirs = build(own_share=0.5, lambda_own=2.0, seed=4)
    kept = drawn(model)(theirs["subject"])[0] == theirs["subject"]
    assert kept.sum() == 4  # of 6: some show others
    before = torch_weights.state(twin)
    (expected, measures), given = model.losses(batch), values(twin.losses(theirs))
    assert given == {name: pytest.approx(own, rel=1e-5) for name, own in values(expected).items()}
    assert {name: len(own) for name, own in given.items()} == {"discriminator": 3, "generator": 3}
    assert len({value for own in given.values() for value in own.values()}) == 6
    assert min(given["generator"].values()) > 0.01
    assert float(twin.accuracy) == pytest.approx(min(float(value) for value in measures.values()))
    after, running = (
        torch_weights.state(torch_de_gan.twin(model, "float32")),
        [name for name in before if "running" in name],
    )
    for name in running:  # D's saw two batches
        np.testing.assert_allclose(torch_weights.state(twin)[name], after[name], rtol=1e-5, atol=1e-7, err_msg=name)
        assert np.abs(after[name] - before[name]).max() > 0.005
    assert len(running) == 2 * 3 * 14


def test_what_is_drawn_at_random():
    """Others evenly, or one's own by its share; z from N(0, 1)."""
    for share in (0.0, 0.25):
        model = build(subjects=tuple("abcde"), own_share=share)[0]
        twin, own = torch_de_gan.twin(model, "float32"), torch.arange(20_000) % 5
        torch.manual_seed(0)
        identity, z = twin.draw(own)
        shares = torch.bincount((identity - own) % 5, minlength=5) / len(own)
        assert shares.tolist() == pytest.approx([share, *[(1 - share) / 4] * 4], abs=0.012)
        assert z.shape == (20_000, 4) and z.dtype == torch.float32
        assert float(z.mean()) == pytest.approx(0, abs=0.02) and float(z.std()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("uses, adam", [("both", PRINTED), ("both", SEEN), ("residues", SEEN), ("code", SEEN)])
def test_stage_two_is_the_same_after_three_steps(uses, adam):
    model, batch, twin, theirs = build(
        de_gan.tiny_recogniser, adam, width=1 / 8, uses=uses, lambdas=(0.7, 0.6, 1.4, 0.3, 0.9)
    )
    before, step = torch_weights.state(twin), tf.function(model.train_step)
    assert twin.parameters() == sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    for _ in range(3):
        logs = twin.train_step(theirs)
        model.reset_metrics()
        assert float(logs["classifier_loss"]) == pytest.approx(float(step(batch)["classifier_loss"]), rel=1e-4)
    assert_alike(twin, model, before, adam, still=("encoder",))
    expected, given = values(model.losses(batch)[0]), values(twin.losses(theirs))
    assert given == {"classifier": pytest.approx(expected["classifier"], rel=1e-4)}
    assert len(set(given["classifier"].values())) == (1 if uses == "code" else 5)


@pytest.mark.parametrize("make", [de_gan.tiny, de_gan.tiny_recogniser])
def test_bfloat16_is_near(make):
    model, batch, twin, theirs = build(make)
    expected, twin.half = values(model.losses(batch)[0]), True
    given = twin.losses(theirs)
    assert {value.dtype for own in given.values() for value in own.values()} == {torch.float32}
    for name, own in values(given).items():
        assert own == pytest.approx(expected[name], rel=0.05) and own != pytest.approx(expected[name], rel=1e-6)
        assert float(twin.train_step(theirs)[f"{name}_loss"]) == pytest.approx(sum(expected[name].values()), rel=0.1)


def test_another_size_is_an_error(monkeypatch):
    model = build()[0]
    monkeypatch.setattr(model, "width", 1 / 8)
    with pytest.raises(ValueError, match="conv11_conv of discriminator"):
        torch_de_gan.twin(model, "float32")
