"""ED2L beside its paper: eq. (5)'s warm-up, and f_t that hides who is shown from a classifier of its own."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import training, weights
from fer_tf.compat import keras
from fer_tf.models import ed2l
from fer_tf.records import CLASSES

from .. import test_models as contract
from .test_ed2l import LABELS, PARTS, UNEQUAL, features_by_hand, softmax, terms_by_hand

WHO = [2, 0, 3, 1, 3, 0]
IDENTITY = {"lambda_identity": 0.7, "identities": 4}


def told(**options):
    """A small net with a classifier of four people that matters, and six coarse faces of whom it is said who they are.

    Norms are by the batch in training, so that its start will do.
    """
    training.setup(seed=0, precision="float32")
    model = ed2l.ED2L(width=1 / 16, classes=("a", "b", "c"), **{**UNEQUAL, **IDENTITY, **options})
    rng = np.random.default_rng(5)
    for v in model.identifier.trainable_variables:
        v.assign(rng.normal(0, 1.5, v.shape))
    images = np.kron(rng.uniform(0, 1, (6, 7, 6, 1)), np.ones((1, 16, 16, 1)))
    labels = {"label": tf.constant(LABELS), "subject": tf.constant(WHO)}
    return model, {"image": tf.constant(images, tf.float32), **labels}


def unit(features):
    """Rows of length one."""
    return features.astype(np.float64) / np.linalg.norm(features, axis=1, keepdims=True)


def identity_by_hand(model, batch):
    """(cross-entropy, that to the uniform distribution, share named right) of f_t at length one, in training."""
    f = unit(features_by_hand(model, batch["image"], True))
    logits = f @ np.array(model.identifier.kernel) + np.array(model.identifier.bias)
    y = softmax(logits)
    named = np.mean(logits.argmax(1) == WHO)
    return np.mean(-np.log(y[np.arange(6), WHO])), np.mean(-np.log(y).sum(1) / 4), named


@pytest.mark.parametrize("options", [{}, {"dispelling": False}, {"dispeller_steps": 2}], ids=str)
def test_the_terms_of_who_is_shown_by_hand(options):
    """The classifier's own are its cross-entropy and the decay; the net's gain eq. (5); the printed ones stay."""
    model, batch = told(**options)
    wanted, fooled, named = identity_by_hand(model, batch)
    printed, _ = terms_by_hand(model, batch, True)
    terms, measures = model.losses(batch)
    assert {*terms["identifier"]} == {"identity_loss", "decay_loss"}
    assert float(terms["identifier"]["identity_loss"]) == pytest.approx(0.7 * wanted, rel=1e-4)
    assert float(terms["classifier"]["identity_confusion_loss"]) == pytest.approx(0.7 * fooled, rel=1e-4)
    assert float(measures["identity_loss"]) == pytest.approx(wanted, rel=1e-4)
    assert float(measures["identity_confusion_loss"]) == pytest.approx(fooled, rel=1e-4)
    assert float(measures["identity_accuracy"]) == pytest.approx(named) and 0 < named < 1
    assert fooled > 1.05 * np.log(4) and abs(wanted - fooled) > 0.05
    own = {**terms["classifier"], **terms.get("adversary", {})}
    assert {*own} == {*printed, "identity_confusion_loss"}
    assert {n: float(own[n]) for n in printed} == pytest.approx(printed, rel=1e-4)
    scaled = {**batch, "subject": tf.constant([0, 2, 1, 3, 1, 2])}
    assert abs(float(model.losses(scaled)[1]["identity_loss"]) - wanted) > 0.05, "the subject is not heard"


def test_who_is_shown_moves_its_classifier_by_one_loss_and_the_net_by_the_other():
    """The cross-entropy moves the classifier alone; the confusion base and distilling branch, and no classifier."""
    model, batch = told(dispeller_steps=1)
    nets = {part: getattr(model, part).trainable_variables for part in (*PARTS, "identifier")}
    for player, term, parts in (
        ("identifier", "identity_loss", {"identifier"}),
        ("classifier", "identity_confusion_loss", {"base", "distilling_branch"}),
    ):
        with tf.GradientTape() as tape:
            loss = model.losses(batch)[0][player][term]
        found = tape.gradient(loss, nets)
        reached = {p for p, gs in found.items() if any(g is not None and np.abs(g).max() > 1e-9 for g in gs)}
        assert reached == parts, term
    players = dict(model.player_variables())
    assert list(players) == ["adversary", "identifier", "classifier"]
    assert {id(v) for v in players["identifier"]} == {id(v) for v in model.identifier.trainable_variables}
    assert not {id(v) for v in players["classifier"]} & {id(v) for v in players["identifier"]}


@pytest.mark.parametrize("steps", [1, 3])
def test_a_step_of_the_net_leaves_the_classifier_of_people_where_it_was(steps):
    """At a rate of zero it stands; at its own it goes down its own slope, so many times, from the same features."""
    model, batch = told(dispeller_steps=steps)
    start = [np.array(v) for v in model.identifier.trainable_variables]
    f = unit(features_by_hand(model, batch["image"], True))
    kernel, bias = (v.astype(np.float64) for v in start)
    for _ in range(steps):
        slope = 0.7 * (softmax(f @ kernel + bias) - np.eye(4)[WHO]) / 6
        kernel, bias = kernel - 0.5 * (f.T @ slope + 0.01 * kernel), bias - 0.5 * (slope.sum(0) + 0.01 * bias)
    before, base = model.get_weights(), [np.array(v) for v in model.base.trainable_variables]
    for rate, wanted in ((0.0, start), (0.5, [kernel, bias])):
        model.set_weights(before)
        rates = {"adversary": 0.0, "identifier": rate, "classifier": 0.02}
        model.compile(**{f"{name}_optimizer": keras.optimizers.SGD(r) for name, r in rates.items()})
        model.train_step(batch)
        for v, value in zip(model.identifier.trainable_variables, wanted, strict=True):
            np.testing.assert_allclose(np.array(v), value, atol=1e-5)
        assert all(np.any(np.array(v) != b) for v, b in zip(model.base.trainable_variables, base, strict=True))


def test_a_shorter_f_t_hides_nobody():
    """The logits are of f_t at length one."""
    model, batch = told()
    before = [float(v) for v in identity_by_hand(model, batch)[:2]]
    fc = model.distilling_branch.get_layer("fc")
    for v in (fc.kernel, fc.bias):
        v.assign(0.01 * np.array(v))
    measures = model.losses(batch)[1]
    assert [float(measures[n]) for n in ("identity_loss", "identity_confusion_loss")] == pytest.approx(before, rel=1e-3)


def test_whom_a_test_shows_is_not_asked():
    """Its subjects have numbers of their own; a training without any, or with an unknown one, says what it lacks."""
    model, batch = told()
    bare = {name: batch[name] for name in ("image", "label")}
    logs = model.test_step({**bare, "subject": tf.fill((6,), 99)})
    assert not [name for name in logs if name.startswith("identity")] and "confusion_loss" in logs
    with pytest.raises(ValueError, match="ED2L learns from 'subject', which the data lack"):
        model.weighted_losses(bare, training=True)
    for stranger in (-1, 4):
        unknown = {**bare, "subject": tf.constant([0, 1, 2, 3, stranger, 0])}
        with pytest.raises(tf.errors.InvalidArgumentError, match="wants to know who each training face shows, 0 .."):
            model.losses(unknown)
    with pytest.raises(ValueError, match="needs two people or more, not 1"):
        ed2l.ED2L(lambda_identity=1.0, identities=1)


def test_the_confusions_weights_rise_linearly_from_nothing():
    """0, 1/4 ... 1 of lambda_p and lambda_identity in training; l_a's are whole; a test counts no step."""
    model, batch = told(warm_up=4)
    shares = []
    for _ in range(6):
        terms, measures = model.losses(batch)
        fooled = terms["classifier"]
        share = float(fooled["confusion_loss"] / measures["confusion_loss"]) / 3
        assert float(fooled["identity_confusion_loss"] / measures["identity_confusion_loss"]) == pytest.approx(
            0.7 * share
        )
        assert float(fooled["dispeller_loss"] / measures["dispeller_loss"]) == pytest.approx(3)
        assert float(terms["identifier"]["identity_loss"] / measures["identity_loss"]) == pytest.approx(0.7)
        terms, measures = model.losses(batch, training=False)
        assert float(terms["classifier"]["confusion_loss"] / measures["confusion_loss"]) == pytest.approx(3)
        shares.append(share)
    assert shares == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1])


def test_a_training_step_is_one_step_of_the_warm_up():
    """With the judges' further steps, and beside metrics that look at the batch, too."""
    model, batch = told(warm_up=5, dispeller_steps=3)
    optimizers = {f"{name}_optimizer": keras.optimizers.SGD(0.0) for name, _ in model.player_variables()}
    model.compile(**optimizers, metrics=["accuracy"])
    seen = []
    for _ in range(2):
        model.reset_metrics()
        logs = {name: float(value) for name, value in model.train_step(batch).items()}
        rest, fooled = 2 * logs["distilling_loss"] + logs["decay_loss"], 3 * logs["confusion_loss"]
        seen.append((logs["classifier_loss"] - rest) / (fooled + 0.7 * logs["identity_confusion_loss"]))
    assert seen == pytest.approx([0, 0.2], abs=1e-4) and int(model.rise.seed_step) == 2


def test_weights_do_not_hold_the_warm_up(tmp_path):
    """What starts from a file warms up anew."""
    model = ed2l.ED2L(width=1 / 16, classes=("a", "b"), warm_up=2)
    model.rise.seed_step.assign(7)
    weights.save(model, tmp_path / "w.h5", provenance={})
    other = ed2l.ED2L(width=1 / 16, classes=("a", "b"), warm_up=2)
    weights.load(other, tmp_path / "w.h5")
    weights.load(ed2l.ED2L(width=1 / 16, classes=("a", "b")), tmp_path / "w.h5")
    assert int(other.rise.seed_step) == 0


def tiny():
    """All options at once; one step of each player, as the contract counts them."""
    options = {"dispeller_steps": 1, "warm_up": 3, "lambda_identity": 0.1, "identities": 3}
    batch = ed2l.tiny()[1]
    model = ed2l.ED2L(width=1 / 16, classes=CLASSES["six"], lambda_p=0.1, **options)
    return model, {**batch, "subject": tf.constant([0, 1, 2, 0, 1, 2])}


MODULE = SimpleNamespace(tiny=tiny, TEMPLATE=ed2l.TEMPLATE, views=ed2l.views)


@pytest.mark.parametrize(
    "kept",
    [
        "test_every_variable_has_a_gradient_from_its_own_loss",
        "test_one_players_step_leaves_the_others_alone",
        pytest.param("test_a_step_moves_each_player_down_the_sum_of_its_terms", marks=pytest.mark.slow),
        "test_what_is_logged",
        pytest.param("test_a_test_step_draws_nothing_and_moves_nothing", marks=pytest.mark.slow),
        "test_arguments_attributes_and_config_bear_one_name",
        pytest.param("test_compile_builds_every_optimizer_and_no_other", marks=pytest.mark.slow),
        pytest.param("test_config_round_trip", marks=pytest.mark.slow),
        pytest.param("test_no_two_kernels_start_alike", marks=pytest.mark.slow),
        pytest.param("test_mixed_float16", marks=pytest.mark.slow),
        pytest.param("test_mixed_bfloat16", marks=pytest.mark.slow),
        pytest.param("test_keras_fit", marks=pytest.mark.slow),
    ],
)
def test_the_contract_of_all_models_holds_with_the_options(kept):
    getattr(contract, kept)(MODULE)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kept", ["test_a_checkpoint_holds_every_variable", "test_resume_restores_every_optimizer", "test_two_replicas"]
)
def test_the_contract_of_files_holds_with_the_options(kept, tmp_path):
    getattr(contract, kept)(MODULE, tmp_path)
    training.setup(seed=0)
