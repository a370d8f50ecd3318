"""`run.students`: what is taken from a teacher's answers."""

from types import SimpleNamespace

import numpy as np
import pytest

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


def everything(people):
    shown = ("anger", "fear", "happiness", "neutral")
    return [Record(f"{p}{e}{i}.png", e, subject=p) for p in people for e in shown for i in range(2)]


def test_people_who_show_few_expressions():
    """Both frames of so many of each person's expressions stay, others for other people and seeds; so does neutral."""
    people = [f"p{i}" for i in range(20)]
    labelled, others = students.split(everything(people), 4, 1, 2)
    assert len(labelled) == 4 * 8, "who is labelled shows all"
    shown = {p: {r.expression for r in others if r.subject == p} for p in {r.subject for r in others}}
    assert len(shown) == 16 and all(len(own) == 3 and "neutral" in own for own in shown.values())
    assert len(others) == 16 * 6 and len({frozenset(own) for own in shown.values()}) == 3
    again = students.split(everything(people)[::-1], 4, 1, 2)[1]
    assert {r.image for r in again} == {r.image for r in others}, "whatever the order of the records"
    assert students.few_shown(everything("ab"), 0, 1) == everything("ab")
    assert students.few_shown(everything("ab"), 3, 1) == everything("ab")
    drawn = [{r.image for r in students.few_shown(everything(people), 1, seed)} for seed in range(3)]
    assert drawn[0] != drawn[1] != drawn[2]


def test_few_expressions_of_nobody_are_refused():
    given = {"shown_expressions": 2, "labelled_people": 0, "seed": 0, "runs": 1, "labels": CLASSES}
    with pytest.raises(ValueError, match="^--shown_expressions=2 is of people without labels: give --labelled_people"):
        students.refuse(SimpleNamespace(**given), [], [])
