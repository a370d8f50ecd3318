"""IA-gen's controls on planted features: who is redrawn, what each names, the leak ratio, all by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from experiments.parts.ia_gen import controls
from fer_tf import pipeline
from fer_tf.models import ia_gen
from fer_tf.records import Record

CLASSES = ("anger", "happiness")
LEVEL = {"anger": -2, "happiness": 2}


def people(numbers, frames=lambda person, expression: 1):
    """Flat faces: the grey value is 20 + 12 times the person, two less for anger and two more for happiness."""
    return [
        Record(np.full((48, 48, 3), 20 + 12 * p + LEVEL[e], np.uint8), e, f"P{p}", f"{p}-{e}", f, info={"framed": True})
        for p in numbers
        for e in CLASSES
        for f in range(frames(p, CLASSES.index(e)))
    ]


def embedded(listed, own, made):
    """`Embedded` of records, from (person, expression) -> Feat(I) and (person, expression, k) -> Feat(G_k(I))."""
    who = [(int(r.subject[1:]), CLASSES.index(r.expression)) for r in listed]
    features = np.array([own(*one) for one in who], np.float32)
    redrawn = np.array([[made(*one, k) for k in (0, 1)] for one in who], np.float32)
    return controls.Embedded(
        listed, np.array([e for _, e in who]), features, redrawn, np.eye(2)[np.zeros(len(who), int)]
    )


SHIFT = {0: 0.0, 1: 5.0}


def identity(person, expression):
    """A Feat in which everybody's expressions lie apart by 1, elsewhere for each person."""
    return [SHIFT[person] + expression]


def test_a_stranger_is_of_no_use_where_identity_matters():
    """G_k shows k on the person: right from any own face, while P0 is below and P1 above all that a stranger gives."""
    faces = embedded(people([0, 1]), identity, lambda p, e, k: [SHIFT[p] + k])
    found, kept_own = controls.named(faces, np.array([[0.4], [5.7]]), seed=0)
    assert faces.labels.tolist() == [0, 1, 0, 1]
    assert {name: one.tolist() for name, one in found.items()} == {
        "class_means": [0, 0, 1, 1],  # 0, 1, 5 and 6 against 0.4 and 5.7
        "stranger": [0, 0, 1, 1],
        "other": [0, 1, 0, 1],
        "stranger_other": [0, 0, 1, 1],
        "average": [0, 1, 0, 1],
    }
    assert kept_own == {"stranger": 0, "other": 0, "stranger_other": 0}


def test_another_expression_is_what_a_leak_shows_in():
    """G_k puts 3 times the input's expression on top of k, whoever it is: happiness comes out as 3 and 4."""
    listed = people([0, 1], lambda person, expression: 1 + 2 * person * expression)  # P1: anger, happiness three times
    faces = embedded(listed, lambda p, e: [e], lambda p, e, k: [k + 3.0 * e])
    found, _ = controls.named(faces, np.array([[0.0], [1.0]]), seed=0)
    assert faces.labels.tolist() == [0, 1, 0, 1, 1, 1]
    assert {name: one.tolist() for name, one in found.items()} == {
        "class_means": [0, 1, 0, 1, 1, 1],
        "stranger": [0, 0, 0, 0, 0, 0],  # happiness from happiness: 1 is nearest to 3, which is anger redrawn
        "other": [0, 1, 0, 1, 1, 1],
        "stranger_other": [0, 1, 0, 1, 1, 1],
        "average": [0, 0, 0, 0, 0, 0],
    }
    # P0's average is 1.5 and 2.5, P1's 3 (0 + 3 x 3) / 4 = 2.25 and 3.25
    assert np.ravel(controls.averages(faces)).tolist() == [1.5, 2.5] * 2 + [2.25, 3.25] * 4


def test_who_is_redrawn_fits_and_is_drawn_anew_by_seed():
    listed = people(range(4), lambda person, expression: 1 + (person + expression) % 3)
    seen = {name: set() for name in ("stranger", "other", "stranger_other")}
    for seed in range(60):
        found = controls.sources(listed, seed)
        assert {*found} == {*seen}
        for name, places in found.items():
            for i, j in enumerate(places):
                a, b = listed[i], listed[j]
                assert (a.subject == b.subject) is (name == "other"), name
                assert (a.expression == b.expression) is (name == "stranger"), name
                assert a.sequence != b.sequence
                seen[name].add((i, int(j)))
    same = lambda i, j, name: getattr(listed[i], name) == getattr(listed[j], name)  # noqa: E731
    pairs = [(i, j) for i in range(len(listed)) for j in range(len(listed))]
    assert seen["other"] == {p for p in pairs if same(*p, "subject") and not same(*p, "expression")}
    assert len(seen["stranger"]) > 3 * len(listed) / 2, "always the same one"
    again = controls.sources(listed, 7)
    assert all(np.array_equal(again[name], places) for name, places in controls.sources(listed, 7).items())


def test_who_shows_one_expression_keeps_the_own_face_and_is_counted():
    listed = [*people([0]), *people([1])[:1]]  # P1 is angry alone
    faces = embedded(listed, identity, lambda p, e, k: [SHIFT[p] + k])
    found, kept_own = controls.named(faces, np.zeros((2, 1)), seed=0)
    assert controls.sources(listed, 0)["other"].tolist() == [1, 0, -1]
    assert kept_own == {"stranger": 1, "other": 1, "stranger_other": 1}  # P0's happiness, P1, P0's anger
    assert found["other"].tolist() == [0, 1, 0]


def test_the_leak_ratio_by_hand():
    """Two generators on two features, persons apart by 4 and 6, expressions by 2 and 1; P1 has one happy face more."""
    listed = people([0, 1], lambda person, expression: 1 + person * expression)
    faces = embedded(
        listed,
        lambda p, e: [7.0 * p * (1 + e), 100.0 * e],
        lambda p, e, k: [(4.0, 6.0)[k] * p + 50.0 * k, (2.0, 1.0)[k] * e],
    )
    found = controls.leak(faces)
    # over inputs: P0's two lie at -1/2 and 1/2 of 2 and 1; P1's at -2/3, 1/3, 1/3: 2/9 of the squares of 2 and 1
    over_inputs = np.mean([np.mean([s**2 / 4, s**2 * 2 / 9]) for s in (2, 1)])
    # over people: (d / 2)^2 for people, and for the mean of the expression, which is 1/2 in P0 and 2/3 in P1
    over_people = np.mean([d**2 / 4 + (s / 6) ** 2 / 4 for d, s in ((4, 2), (6, 1))])
    real = np.mean([7.0**2 / 4, 14.0**2 / 4])
    expected = {"over_inputs": over_inputs, "over_people": over_people, "real_over_people": real}
    assert found == pytest.approx({**expected, "ratio": over_inputs / over_people}, rel=1e-6)


class Reads:
    """A recogniser that knows planted faces by their pixels; Feat is (20 if P2 or more, expression), G_k shows k."""

    def __init__(self):
        self.feature_net = SimpleNamespace(classify=self.classify)

    @staticmethod
    def read(images):
        """(person, expression): (N,) each."""
        levels = np.median(images.numpy().reshape(len(images), -1), 1) * 255 - 20
        person = np.round(levels / 12)
        return person, (levels > 12 * person).astype(int)

    def embed(self, images):
        person, expression = self.read(images)
        far = 20.0 * (person >= 2)
        own = np.stack([far + expression, 0 * far], 1)
        made = np.stack([np.stack([far + k, 0.5 * expression], 1) for k in (0, 1)], 1)
        return tf.constant(own, tf.float32), tf.constant(made, tf.float32)

    def classify(self, images):
        """Anger, whoever it is."""
        return tf.constant([[0.75, 0.25]] * len(images))


@pytest.fixture(scope="module")
def measured():
    """The controls of a recogniser that has learnt from P2 to P4 and is tested on P0 and P1."""
    learn, test = people([2, 3, 4], lambda p, e: 1 + p % 2), people([0, 1], lambda p, e: 1 + p * e)
    views = {"classes": CLASSES, "template": "ia_gen", "views": ia_gen.views, "batch_size": 3, "seed": 0}
    parts = [pipeline.batches(part, training=False, **views) for part in (learn, test)]
    return test, *controls.measure(*(controls.embed(Reads(), part) for part in parts), seed=0)


def test_class_means_are_those_of_training_people_and_answers_of_held_out_ones(measured):
    test, answers, found = measured
    assert {*answers} == {*controls.NAMES.values()}
    for answer in answers.values():
        assert [r.key() for r in answer.records] == [r.key() for r in test]
        assert answer[0].tolist() == [0, 1, 0, 1, 1]
    # the means of P2 to P4 are at 20 and 21, so that whoever is at 0 or 1 is nearest to anger
    assert answers[controls.NAMES["class_means"]][1].tolist() == [0] * 5
    assert found["held_out"]["class_means"] == pytest.approx(2 / 5) and found["training"]["class_means"] == 1
    assert found["held_out"]["softmax"] == pytest.approx(2 / 5) and found["training"]["softmax"] == pytest.approx(1 / 2)
    for name in ("eq8", "other", "stranger", "average"):
        assert found["held_out"][name] == found["training"][name] == 1, name


def test_each_part_has_its_own_leak(measured):
    """0.5 e over inputs; nothing tells P2, P3 and P4 apart, nor P0 and P1 but for one face more."""
    leak = {part: measured[2][part]["leak"] for part in ("held_out", "training")}
    assert leak["training"]["over_inputs"] == pytest.approx(1 / 16) and leak["training"]["over_people"] == 0
    assert leak["training"]["ratio"] is None, "which metrics.json can hold"
    assert leak["held_out"]["over_inputs"] == pytest.approx((1 / 16 + 1 / 18) / 2)
    assert leak["held_out"]["over_people"] == pytest.approx((1 / 24) ** 2)


def test_the_table_names_every_control_and_both_kinds_of_people(measured):
    found = measured[2]
    other = {
        part: {**found[part], "stranger": 0.5, "kept_own": {**found[part]["kept_own"], "other": 3}} for part in found
    }
    lines = controls.table([found, other], "VGG-16").splitlines()
    rows = {line[:48].strip(): line[48:].split() for line in lines}
    assert rows["VGG-16's softmax"] == ["40.0", "50.0"] and rows[controls.NAMES["stranger"]] == ["75.0", "75.0"]
    assert {*controls.NAMES.values()} <= {*rows} and rows["leak ratio, the first over the second"][1] == "-"
    assert lines[-1] == f"held-out inputs without such a face keep their own: 3 in '{controls.NAMES['other']}'"
