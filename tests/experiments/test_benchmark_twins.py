"""Twins in PyTorch: after three steps from the same weights on the same batch they have the Keras model's weights."""

import importlib

import numpy as np
import pytest
import tensorflow as tf

from fer_tf.compat import Adam, keras, set_policy
from fer_tf.models import cycle_at, ed2l, fer_net, ia_gen
from fer_tf.schedules import InverseDecay

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `pip install .[bench]` adds it.")

from experiments.parts.benchmark import torch_players, torch_weights  # noqa: E402

CLOSE, HALF = 1e-3, 1e-3
"""How far a tensor may be from Keras's, as a share of how far it moved, in float32; and half of all tensors."""
CLOSER_LOOK = {"ed2l": 0.05}
"""Its first layers have 2 channels here: where a PReLU's input is next to 0, float32 decides which slope counts. Both
are 0.3 to 3 % from what float64 gives there, in opposite directions."""

SGD, Decay = keras.optimizers.SGD, keras.optimizers.schedules.ExponentialDecay
CASES = {
    "fer_net": (fer_net, {"dropout": 0.0}, lambda: SGD(0.02, momentum=0.9)),
    "fer_net, nesterov, smoothed": (
        fer_net,
        {"dropout": 0.0, "label_smoothing": 0.3, "blocks": 2},
        lambda: SGD(Decay(0.02, 2, 0.5, staircase=True), momentum=0.8, nesterov=True),
    ),
    "ed2l": (ed2l, {"lambda_p": 10.0}, ed2l.optimizer),
    "ed2l, all different": (
        ed2l,
        {"lambda_p": 0.7, "lambda_t": 1.3, "margin": 0.2, "scale": 9.0, "weight_decay": 0.05}
        | {"confusion_updates_dispeller": False},
        lambda: SGD(InverseDecay(0.001, 0.5), momentum=0.9),
    ),
    "ed2l, baseline": (ed2l, {"dispelling": False}, lambda: ed2l.optimizer(1e-3)),
    "ia_gen": (ia_gen, {"dropout": 0.0, "alpha": 80.0, "beta": 7.0, "lambda_": 0.6}, ia_gen.optimizer),
    "cycle_at": (
        cycle_at,
        {"source_net": None, "stage": 1, "lambda_cycle": 3.0, "discriminator_filters": 6},
        lambda: Adam(2e-4, beta_1=0.5, epsilon=1e-3),  # else weights move as far whose gradient is noise
    ),
}


def built(case):
    """The compiled model of a case, its batch, its twin and the batch of that."""
    module, changes, optimizer = CASES[case]
    set_policy("float32")
    keras.utils.set_random_seed(0)
    tiny, batch = module.tiny()
    model = type(tiny)(**{**tiny.get_config(), **changes})
    numbers = np.random.default_rng(0)
    for net in (model, *([model.feature_net] if module is ia_gen else [])):
        for v in net.variables:  # each norm and slope values of its own, so that none can stand for another
            if len(v.shape) == 1:
                v.assign(np.array(v) + numbers.uniform(-0.2, 0.2, v.shape))
    model.compile(**{f"{name}_optimizer": optimizer() for name, _ in model.player_variables()})
    twin = importlib.import_module(f"experiments.parts.benchmark.torch_{case.split(',')[0]}").twin
    return model, batch, twin(model, "float32"), torch_weights.tensors(batch), twin


def alike(gaps, case, times=1.0):
    """Whether all tensors are as close as they have to be, or so many times as far."""
    close = CLOSER_LOOK.get(case.split(",")[0], CLOSE)
    return max(gaps.values()) < times * close and np.median(list(gaps.values())) < times * HALF


def three_steps(model, batch, ours, theirs, twin):
    """Both make three steps: `torch_weights.gaps` between their weights."""
    before, step = torch_weights.state(ours), tf.function(model.train_step)
    for _ in range(3):
        step(batch)
        ours.train_step(theirs)
    return torch_weights.gaps(torch_weights.state(twin(model, "float32")), torch_weights.state(ours), before)


@pytest.mark.parametrize("case", CASES)
def test_weights_are_the_same_after_three_steps(case):
    """And every loss term in each of them."""
    model, batch, ours, theirs, twin = built(case)
    moved = sum(int(np.prod(v.shape)) for _, variables in model.player_variables() for v in variables)
    assert ours.parameters() == moved
    before, step = torch_weights.state(ours), tf.function(model.train_step)
    statistics = [v for v in model.non_trainable_variables if "moving" in v.name]
    for _ in range(3):
        kept = [np.array(v) for v in statistics]
        expected, _ = model.losses(batch)
        for variable, value in zip(statistics, kept, strict=True):
            variable.assign(value)  # looking at the losses moved them
        kept = {name: net.state_dict() for name, net in ours.nets.items()}
        kept = {name: {k: v.clone() for k, v in own.items()} for name, own in kept.items()}
        given = {n: {t: float(v.detach()) for t, v in own.items()} for n, own in ours.losses(theirs).items()}
        for name, own in kept.items():
            ours.nets[name].load_state_dict(own)
        assert given == {
            n: pytest.approx({t: float(v) for t, v in own.items()}, rel=2e-4) for n, own in expected.items()
        }
        model.reset_metrics()
        logs, own = step(batch), ours.train_step(theirs)
        assert {name: float(value) for name, value in own.items()} == pytest.approx(
            {name: float(logs[name]) for name in own}, rel=1e-4
        )
    wanted = torch_weights.state(twin(model, "float32"))
    gaps = torch_weights.gaps(wanted, torch_weights.state(ours), before)
    still = [name for name in wanted if np.array_equal(wanted[name], before[name])]
    assert all(name.startswith("phi") for name in still), still
    assert alike(gaps, case), sorted(gaps.items(), key=lambda item: -item[1])[:5]


def change(name, value):
    """Sets an attribute of the twin."""
    return lambda twin: setattr(twin, name, value)


def groups(**values):
    """Sets options of every optimizer."""

    def apply(twin):
        for optimizer in twin.optimizers.values():
            for group in optimizer.own.param_groups:
                group.update(values)

    return apply


def norms(**values):
    """Sets attributes of every batch norm."""

    def apply(twin):
        for net in twin.nets.values():
            for part in net.parts.values():
                if isinstance(part, torch.nn.BatchNorm2d):
                    vars(part).update(values)

    return apply


FAULTS = {
    "a momentum": ("fer_net", groups(momentum=0.85)),
    "no Nesterov": ("fer_net, nesterov, smoothed", groups(nesterov=False)),
    "a label smoothing": ("fer_net, nesterov, smoothed", change("label_smoothing", 0.25)),
    "a schedule": ("fer_net, nesterov, smoothed", lambda twin: vars(twin.optimizers["classifier"]).update(rate=0.02)),
    "a norm's momentum": ("fer_net", norms(momentum=0.01)),
    "a norm's epsilon": ("ed2l", norms(eps=1e-5)),
    "a decay": ("ed2l, all different", lambda twin: setattr(twin.optimizers["classifier"], "l2", 0.04)),
    "lambda_t": ("ed2l, all different", change("lambda_t", 1.2)),
    "lambda_p": ("ed2l, all different", change("lambda_p", 0.4)),
    "a margin": ("ed2l, all different", change("margin", 0.25)),
    "a scale": ("ed2l, all different", change("scale", 10.0)),
    "whom l_p moves": ("ed2l, all different", change("confusion_updates_dispeller", True)),
    "beta 1": ("ed2l", groups(betas=(0.5, 0.999))),
    "beta": ("ia_gen", change("beta", 6.0)),
    "lambda_cycle": ("cycle_at", change("lambda_cycle", 2.5)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_twin_shows(fault):
    case, plant = FAULTS[fault]
    made = built(case)
    plant(made[2])
    assert not alike(three_steps(*made), case, times=3)


def test_gaps_are_shares_of_the_move():
    before, wanted = {"a": np.zeros(3), "b": np.ones(2)}, {"a": np.array([0, 2e-4, -4e-4]), "b": np.ones(2)}
    given = {"a": np.array([1e-4, 2e-4, -4e-4]), "b": np.ones(2)}
    assert torch_weights.gaps(wanted, given, before) == {"a": pytest.approx(1 / 20**0.5), "b": 0}
    assert torch_weights.gaps(wanted, {**given, "b": np.zeros(2)}, before)["b"] == np.inf
    with pytest.raises(ValueError, match="twins of the same nets"):
        torch_weights.gaps(wanted, {"a": given["a"]}, before)


OPTIMIZERS = {
    "Adam": lambda: Adam(1e-3, beta_1=0.5),
    "Adam, epsilon": lambda: Adam(1e-3, epsilon=1e-5),
    "AdamW": lambda: Adam(1e-2, weight_decay=0.5),
    "Adam, schedule": lambda: Adam(InverseDecay(1e-3, 0.5)),
    "SGD": lambda: SGD(0.1),
    "momentum": lambda: SGD(0.1, momentum=0.9),
    "nesterov, schedule": lambda: SGD(Decay(0.1, 1.5, 0.5), momentum=0.9, nesterov=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_move_alike(name):
    """Also where a gradient is about as small as Adam's epsilon, which Keras and PyTorch put in other places."""
    theirs = OPTIMIZERS[name]()
    numbers = np.random.default_rng(0)
    start = numbers.normal(size=8).astype(np.float32)
    variable, weight = tf.Variable(start), torch.nn.Parameter(torch.from_numpy(start.copy()))
    theirs.build([variable])
    own = torch_players.Optimizer(theirs, [weight])
    for _ in range(4):
        gradient = (numbers.normal(size=8) * 10.0 ** -np.arange(8)).astype(np.float32)
        theirs.apply_gradients([(tf.constant(gradient), variable)])
        own.step([torch.from_numpy(gradient)])
        np.testing.assert_allclose(weight.detach() - start, variable - start, rtol=2e-3, atol=2e-7)


def test_other_optimizers_are_refused():
    weight = torch.nn.Parameter(torch.zeros(1))
    for theirs, words in (
        (SGD(0.1, weight_decay=0.1), "no SGD with this weight decay"),
        (SGD(0.1, clipnorm=1.0), r"no SGD with \['clipnorm'\]"),
        (keras.optimizers.RMSprop(), "no RMSprop"),
        (SGD(keras.optimizers.schedules.CosineDecay(0.1, 9)), "no learning rate of the kind CosineDecay"),
    ):
        with pytest.raises(ValueError, match=words):
            torch_players.Optimizer(theirs, [weight])


def test_a_twin_of_what_it_cannot_be():
    for case, changes, words in (
        ("ia_gen", {"content": "mse"}, "content l1"),
        ("cycle_at", {"gan_loss": "least_squares"}, "gan_loss log"),
    ):
        model, *_, twin = built(case)
        vars(model).update(changes)
        with pytest.raises(ValueError, match=words):
            twin(model, "float32")
