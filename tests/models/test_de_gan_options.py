"""DE-GAN beside its paper: f(x) that hides who is seen, by a classifier of people that is a player of its own."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import training
from fer_tf.compat import keras
from fer_tf.models import de_gan
from fer_tf.records import CLASSES

from .. import test_models as contract
from .test_de_gan_by_hand import pick, softmax, varied

WHO = [0, 1, 2, 0, 1, 2]


def tiny():
    """The tiny GAN with the option."""
    batch = de_gan.tiny()[1]
    options = {"width": 1 / 32, "code": 8, "noise": 4, "classes": CLASSES["six"], "lambda_identity": 0.6}
    return de_gan.DEGAN(subjects=("a", "b", "c"), **options), batch


def by_hand(model, batch):
    """(f(x) at length one in training, the classifier's probabilities)."""
    f = model.encoder(2 * batch["image"] - 1, training=True)[-1].numpy().astype(np.float64)
    f = f / np.linalg.norm(f, axis=1, keepdims=True)
    return f, softmax(f @ np.array(model.identifier.kernel) + np.array(model.identifier.bias))


def strong():
    training.setup(seed=0, precision="float32")
    model, batch = varied(tiny)
    model.identifier.kernel.assign(4 * np.array(model.identifier.kernel))
    return model, batch


def test_the_terms_of_who_is_seen_by_hand():
    """Its classifier's cross-entropy; G's gain ED2L's eq. (5), which is logged without its weight."""
    model, batch = strong()
    y = by_hand(model, batch)[1]
    terms, measures = model.losses(batch)
    wanted, fooled = pick(y, WHO), np.mean(-np.log(y).sum(1) / 3)
    assert {n: float(v) for n, v in terms["identifier"].items()} == {
        "code_identity_loss": pytest.approx(wanted, rel=1e-4)
    }
    assert float(terms["generator"]["confusion_loss"]) == pytest.approx(0.6 * fooled, rel=1e-4)
    assert float(measures["confusion_loss"]) == pytest.approx(fooled, rel=1e-4)
    assert float(measures["code_identity_accuracy"]) == pytest.approx(np.mean(y.argmax(1) == WHO))
    assert abs(wanted - fooled) > 0.05 and fooled > 1.05 * np.log(3)
    others = {**batch, "subject": (batch["subject"] + 1) % 3}
    assert abs(float(model.losses(others)[0]["identifier"]["code_identity_loss"]) - wanted) > 0.05
    assert {*de_gan.tiny()[0].losses(batch)[0]} == {"discriminator", "generator"}, "no option, no player"


def test_the_classifier_moves_by_its_loss_and_the_encoder_by_the_other():
    """The confusion reaches the encoder alone, and no step of G the classifier."""
    model, batch = strong()
    nets = {n: getattr(model, n).trainable_variables for n in ("encoder", "decoder", "discriminator", "identifier")}
    for player, term, part in (
        ("identifier", "code_identity_loss", "identifier"),
        ("generator", "confusion_loss", "encoder"),
    ):
        with tf.GradientTape() as tape:
            loss = model.losses(batch)[0][player][term]
        gradients = tape.gradient(loss, nets)
        assert [n for n, gs in gradients.items() if any(g is not None and np.abs(g).max() > 1e-9 for g in gs)] == [part]
    assert [name for name, _ in model.player_variables()] == ["discriminator", "identifier", "generator"]
    f, y = by_hand(model, batch)
    start = [np.array(v, np.float64) for v in (model.identifier.kernel, model.identifier.bias)]
    slope = (y - np.eye(3)[WHO]) / 6
    rates = {"discriminator": 0.05, "identifier": 0.5, "generator": 0.05}
    model.compile(**{f"{name}_optimizer": keras.optimizers.SGD(rate) for name, rate in rates.items()})
    model.train_step(batch)
    np.testing.assert_allclose(model.identifier.kernel, start[0] - 0.5 * f.T @ slope, atol=1e-5)
    np.testing.assert_allclose(model.identifier.bias, start[1] - 0.5 * slope.sum(0), atol=1e-5)


MODULE = SimpleNamespace(tiny=tiny, TEMPLATE=de_gan.TEMPLATE, views=de_gan.views)


@pytest.mark.parametrize(
    "kept",
    [
        "test_every_variable_has_a_gradient_from_its_own_loss",
        "test_one_players_step_leaves_the_others_alone",
        "test_what_is_logged",
        pytest.param("test_arguments_attributes_and_config_bear_one_name", marks=pytest.mark.slow),
        pytest.param("test_a_step_moves_each_player_down_the_sum_of_its_terms", marks=pytest.mark.slow),
        pytest.param("test_a_test_step_draws_nothing_and_moves_nothing", marks=pytest.mark.slow),
        pytest.param("test_compile_builds_every_optimizer_and_no_other", marks=pytest.mark.slow),
        pytest.param("test_config_round_trip", marks=pytest.mark.slow),
        pytest.param("test_mixed_float16", marks=pytest.mark.slow),
        pytest.param("test_mixed_bfloat16", marks=pytest.mark.slow),
    ],
)
def test_the_contract_of_all_models_holds_with_the_option(kept):
    named = {"tiny_recogniser": de_gan.tiny_recogniser} if "mixed" in kept else {}
    getattr(contract, kept)(SimpleNamespace(**vars(MODULE), **named))


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["test_a_checkpoint_holds_every_variable", "test_resume_restores_every_optimizer"])
def test_the_contract_of_files_holds_with_the_option(kept, tmp_path):
    getattr(contract, kept)(MODULE, tmp_path)
