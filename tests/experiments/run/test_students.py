"""`run.students`: what is taken from a teacher's answers."""

import numpy as np

from experiments.run import students
from fer_tf import beside
from fer_tf.records import Record

CLASSES = ("anger", "happiness")


def test_identity_is_dispelled_from_each_persons_answers():
    """Everybody's mean answer is the labelled people's shares; of strangers, other answers."""
    rng = np.random.default_rng(1)
    given, people = rng.dirichlet([1, 1], 40), ["a"] * 20 + ["b"] * 20
    given[:20] = given[:20] * [1, 4]
    given /= given.sum(1, keepdims=True)
    shares = students.shares([Record("x.png", "anger")] * 3 + [Record("y.png", "happiness")], CLASSES)
    assert shares.tolist() == [0.75, 0.25]
    own = students.moved(given, people, "-dispelled", shares, 0)
    for half in (own[:20], own[20:]):
        np.testing.assert_allclose(half.mean(0), [0.75, 0.25], atol=1e-4)
    np.testing.assert_allclose(own, beside.independent(given, people, shares))
    np.testing.assert_allclose(students.moved(given, people, "", shares, 0), given)
    strangers = students.moved(given, people, "-strangers", shares, 0)
    np.testing.assert_allclose(strangers.mean(0), [0.75, 0.25], atol=1e-4)
    assert abs(strangers[:20, 0].mean() - 0.75) > 0.02 and np.abs(strangers - own).max() > 0.05
    assert np.abs(strangers - students.moved(given, people, "-strangers", shares, 1)).max() > 0.01
