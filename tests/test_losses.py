"""fer_tf.losses: each term against NumPy on unequal values; eager equals tf.function."""

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import losses

RNG = np.random.default_rng(0)
LOGITS, LABELS = RNG.normal(0, 3, (5, 4)).astype(np.float32), np.array([3, 0, 0, 2, 1], np.int32)
SCORES = RNG.normal(0, 2, (5, 3, 2, 1)).astype(np.float32)
COUNTED = np.array([True, False, True, True, False])
OUTPUT, TARGET = (RNG.normal(0, 2, (2, 4, 3, 1)).astype(np.float32) for _ in range(2))
LOG_P = LOGITS - np.log(np.exp(LOGITS).sum(-1, keepdims=True))
D = 1 / (1 + np.exp(-SCORES.astype(np.float64)))
SPREAD = np.full((5, 4), 0.2 / 4) + 0.8 * np.eye(4)[LABELS]

CASES = {
    "cross_entropy": (losses.cross_entropy, (LOGITS, LABELS), -LOG_P[np.arange(5), LABELS].mean()),
    "smoothed": (losses.smoothed_cross_entropy, (LOGITS, LABELS, 0.2), -(SPREAD * LOG_P).sum(-1).mean()),
    "not smoothed": (losses.smoothed_cross_entropy, (LOGITS, LABELS, 0.0), -LOG_P[np.arange(5), LABELS].mean()),
    "confusion_loss": (losses.confusion_loss, (LOGITS,), -LOG_P.mean()),
    "log_loss of real": (losses.log_loss, (SCORES, True), -np.log(D).mean()),
    "log_loss of fake": (losses.log_loss, (SCORES, False), -np.log(1 - D).mean()),
    "log_loss of some": (losses.log_loss, (SCORES, True, COUNTED), -np.log(D)[[0, 2, 3]].sum() / D.size),
    "log_loss of some, a score a face": (
        losses.log_loss,
        (SCORES[:, 0, 0], False, COUNTED),
        -np.log(1 - D[[0, 2, 3], 0, 0]).sum() / 5,
    ),
    "l1_loss": (losses.l1_loss, (OUTPUT, TARGET), np.abs(OUTPUT - TARGET).mean()),
    "l2_loss": (losses.l2_loss, (OUTPUT, TARGET), ((OUTPUT - TARGET) ** 2).mean()),
    "l2_loss to a number": (losses.l2_loss, (SCORES, 1.0), ((SCORES - 1) ** 2).mean()),
}


@pytest.mark.parametrize("case", CASES)
def test_term_is_numpys(case):
    term, given, expected = CASES[case]
    tensors = [tf.constant(x) if isinstance(x, np.ndarray) else x for x in given]
    eager, compiled = term(*tensors), tf.function(lambda: term(*tensors))()
    assert eager.shape == () and eager.dtype == tf.float32 and expected > 0.1
    assert float(eager) == pytest.approx(float(expected), rel=1e-5)
    assert float(compiled) == pytest.approx(float(eager), rel=1e-6)


def test_no_two_cases_expect_the_same():
    """So that a term in another's place is seen; without smoothing the two cross-entropies are one."""
    values = [float(expected) for name, (_, _, expected) in CASES.items() if name != "not smoothed"]
    assert len({round(v, 3) for v in values}) == len(values)


def test_the_confusion_loss_is_least_where_all_classes_are_equal():
    assert float(losses.confusion_loss(tf.fill((3, 5), 7.0))) == pytest.approx(np.log(5), rel=1e-6)
    assert -LOG_P.mean() > np.log(4)


def test_log_losses_stay_finite_where_d_is_sure_of_the_contrary():
    """-log of a sigmoid that rounds to zero: the logit itself."""
    sure = tf.constant([[-200.0], [-300.0]])
    assert float(losses.log_loss(sure, True)) == pytest.approx(250)
    assert float(losses.log_loss(-sure, False)) == pytest.approx(250)


def test_decay_is_half_the_squares_and_its_gradient_the_weights():
    variables = [tf.Variable(OUTPUT), tf.Variable(LOGITS)]
    expected = 0.03 / 2 * sum(float((np.array(v) ** 2).sum()) for v in variables)
    with tf.GradientTape() as tape:
        loss = losses.decay_loss(variables, 0.03)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(tf.function(lambda: losses.decay_loss(variables, 0.03))()) == pytest.approx(expected, rel=1e-5)
    for gradient, variable in zip(tape.gradient(loss, variables), variables, strict=True):
        np.testing.assert_allclose(gradient, 0.03 * np.array(variable), rtol=1e-5)
