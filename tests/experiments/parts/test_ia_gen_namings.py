"""IA-gen's further ways to name, on planted features: what each learns, from whom, and what its control lacks."""

import numpy as np
import pytest

from experiments.parts.ia_gen import controls, namings
from fer_tf.records import Record

CLASSES = ("anger", "happiness", "fear")
SHIFT = (0.0, 7.0, -13.0, 4.0, 11.0, -6.0)
"""Where each person's faces lie."""


def embedded(people, own, made, softmax=lambda p, e: [1 / 3] * 3, shown=(0, 1, 2)):
    """`Embedded` of one face of each person and expression.

    Args:
      people: numbers.
      own: (person, expression) -> Feat(I).
      made: (person, expression, k) -> Feat(G_k(I)).
      softmax: (person, expression) -> K probabilities.
      shown: numbers of the expressions.
    """
    who = [(p, e) for p in people for e in shown]
    kept = [Record(b"", CLASSES[e], f"P{p}") for p, e in who]
    features = (own(p, e) for p, e in who), ([made(p, e, k) for k in range(3)] for p, e in who)
    arrays = [np.array([*each], np.float32) for each in (*features, (softmax(p, e) for p, e in who))]
    return controls.Embedded(kept, np.array([e for _, e in who]), *arrays)


def sure_of(k, much=0.8):
    """A softmax that is sure of class k."""
    return [much if i == k else (1 - much) / 2 for i in range(3)]


def right(answers):
    """Share of the answers that are right."""
    return float(np.mean(np.equal(*answers)))


def personal(p, e):
    """A Feat in which everybody's expressions lie apart by 1, elsewhere for each person."""
    return [SHIFT[p] + e, 0.5 * SHIFT[p]]


def regenerated(p, e, k):
    """A generator that shows expression k on the person."""
    return personal(p, k)


def test_combined_scores_by_hand():
    """Distances 1, 2 and 5, log p of 0.5, 0.25 and 0.25, weighted 0.4 at a temperature of 2."""
    faces = embedded([0], lambda p, e: [0.0], lambda p, e, k: [(1, -2, 5)[k]], lambda p, e: [0.5, 0.25, 0.25], (1,))
    found = namings.scores("combined", (0.4, 2.0), None, namings.seen(faces, "combined"))
    expected = [(0.6 * np.log(p) - 0.4 * d) / 2 for p, d in ((0.5, 1), (0.25, 2), (0.25, 5))]
    np.testing.assert_allclose(found, [expected], rtol=1e-6)


def test_the_weight_is_what_serves_who_is_fitted_to_and_not_who_is_tested():
    """P0 and P1 are named by the softmax alone, P2 and P3 by the distances alone: either fit fails the others."""
    softly = embedded([0, 1], personal, lambda p, e, k: personal(p, (k + 1) % 3), lambda p, e: sure_of(e))
    nearly = embedded([2, 3], personal, regenerated, lambda p, e: sure_of((e + 1) % 3))
    for fitting, test, weight, other in ((softly, nearly, 0.0, 0.0), (nearly, softly, 1.0, 0.0)):
        answers, told = namings.measure(["combined"], fitting, fitting, test)
        assert told["combined"]["weight"] == weight and told["combined"]["left_out"] == 1
        assert right(answers[namings.NAMES["combined"][0]]) == other
        assert told["people"] == sorted({str(r.subject) for r in fitting.kept})
    assert told["softmax"] == 0 and told["eq8"] == 1
    probabilities = answers[namings.NAMES["combined"][0]].probabilities
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-6)
    assert np.array_equal(probabilities.argmax(1), answers[namings.NAMES["combined"][0]][1])


def noisy(p, e):
    """The expression in the first feature, in steps of 1; the second is 3 times some noise, which tells nothing."""
    return [e + 0.01 * p, 3 * np.sin(7 * p + 3 * e)]


def test_learnt_distances_turn_from_what_varies_for_no_reason():
    """Eq. (8) is led by the second feature, in which all faces vary; learnt distances, at the least shrinkage, not."""
    made = lambda p, e, k: [k, 3 * np.sin(5 * p + 2 * k)]  # noqa: E731
    fitting, test = (embedded(people, noisy, made) for people in ((0, 1, 2, 3), (4, 5)))
    answers, told = namings.measure(["learnt"], fitting, fitting, test)
    assert told["eq8"] < 0.7 and right((test.labels, controls.nearest(test.own, test.made))) < 0.7
    assert right(answers[namings.NAMES["learnt"][0]]) == 1 and told["learnt"]["left_out"] == 1
    assert told["learnt"]["shrinkage"] == 0.05


def test_learnt_distances_by_hand():
    """Apart by (3, 0) and (0, 1) from the right candidates: scatter 4.5 and 0.5, of mean 2.5; shrunk by half."""
    own = lambda p, e: [3.0 * (p == 0), 1.0 * (p == 1)]  # noqa: E731
    faces = embedded([0, 1], own, lambda p, e, k: [4.0 * k, 2.0 * k], shown=(0,))
    learn = namings.seen(faces, "learnt")
    found = namings.scores("learnt", (0.5, 4.0), namings.fitted("learnt", learn), learn)
    scale = np.array([0.5 * 4.5 / 2.5 + 0.5, 0.5 * 0.5 / 2.5 + 0.5])
    expected = [[-np.sqrt(np.sum((x - np.array([4 * k, 2 * k])) ** 2 / scale)) / 4 for k in range(3)]
                for x in ([3, 0], [0, 1])]  # fmt: skip
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    euclid = namings.scores("learnt", (1.0, 1.0), namings.fitted("learnt", learn), learn)
    np.testing.assert_allclose(euclid, -np.linalg.norm(faces.own[:, None] - faces.made, axis=-1), rtol=1e-5)


def test_differences_name_people_whom_feat_alone_cannot():
    """The person is in both faces, so that it goes from their difference; Feat alone has the shift on top."""
    fitting, test = (embedded(people, personal, regenerated) for people in ((0, 1, 2, 3), (4, 5)))
    answers, told = namings.measure(["differences"], fitting, fitting, test)
    differences, alone = (right(answers[name]) for name in namings.NAMES["differences"])
    assert differences == 1 and told["differences"]["left_out"] == 1
    assert alone < 0.7 and told["differences"]["control"]["left_out"] < 0.7


def test_differences_are_to_the_persons_own_generated_faces():
    """With those of the next person in their place, the same classifier is lost."""
    fitting = embedded((0, 1, 2, 3), personal, regenerated)
    strangers = embedded((4, 5), personal, lambda p, e, k: personal(9 - p, k))
    answers, _ = namings.measure(["differences"], fitting, fitting, strangers)
    assert right(answers[namings.NAMES["differences"][0]]) < 0.5


@pytest.mark.parametrize("way", ["differences", "learnt"])
def test_nothing_is_fitted_to_who_is_tested(way):
    """What the fitting people teach is wrong for the tested: the other way round, or another feature varies."""
    fitting = embedded((0, 1, 2, 3), personal, regenerated)
    test = embedded((4, 5), lambda p, e: personal(p, -e), lambda p, e, k: personal(p, -k))
    if way == "learnt":
        turned = lambda faces: faces._replace(own=faces.own[:, ::-1], made=faces.made[:, :, ::-1])  # noqa: E731
        made = lambda p, e, k: [k, 3 * np.sin(5 * p + 2 * k)]  # noqa: E731
        fitting, test = embedded((0, 1, 2, 3), noisy, made), turned(embedded((4, 5), noisy, made))
    answers, told = namings.measure([way], fitting, fitting, test)
    assert told[way]["left_out"] == 1 and right(answers[namings.NAMES[way][0]]) < 0.7


def test_who_is_left_out_is_not_in_the_fit():
    """Everybody shows expressions by a code of their own, which is known to a fit that has the person alone."""
    code = lambda p, e: np.eye(12)[3 * p + (e + p) % 3]  # noqa: E731
    faces = embedded((0, 1, 2, 3), code, lambda p, e, k: np.zeros(12))
    learn = namings.seen(faces, "differences")
    known = namings.scores("differences", (0.1,), learn, learn)
    assert right((faces.labels, known.argmax(-1))) == 1
    _, told = namings.chosen("differences", learn, namings.subjects(faces))
    assert told["left_out"] < 0.5 and told["log_loss"] > 0.9 * np.log(3)


def test_nobody_shows_a_class():
    """Of three classes the fitting people show two: the third has the lowest score, and that is a number."""
    faces = embedded((0, 1, 2), personal, regenerated, shown=(0, 2))
    learn = namings.seen(faces, "differences")
    found = namings.scores("differences", (0.1,), learn, learn)
    assert np.isfinite(found).all() and (found[:, 1] == namings.FLOOR).all()
    one = namings.classified(0.1, learn.rows(learn.labels == 2), learn.own[:, None] - learn.candidates, 3)
    assert one[0].tolist() == [namings.FLOOR, namings.FLOOR, 0.0]


def test_averages_and_centres_by_hand():
    """G_k leaks 3 times the input's expression, which an average has not; Feat centred on P4 or P5 is e alone."""
    learnt = embedded((0,), lambda p, e: [2.0 * e], lambda p, e, k: [0.0])
    test = embedded((4, 5), lambda p, e: [SHIFT[p] + e], lambda p, e, k: [SHIFT[p] + k + 3 * (e - 1)])
    averaged, centred = (namings.seen(test, "averaged", means) for means in (None, controls.class_means(learnt)))
    assert averaged.candidates[:, :, 0].tolist() == [[11, 12, 13]] * 3 + [[-6, -5, -4]] * 3
    np.testing.assert_allclose(centred.own[:, 0], [1, 2, 3] * 2, rtol=1e-5)  # the means' own mean is 2
    assert centred.candidates[0, :, 0].tolist() == [0, 2, 4]
    answers, told = namings.measure(["averaged"], learnt, test, test)
    assert [right(answers[name]) for name in namings.NAMES["averaged"]] == [1, pytest.approx(2 / 3)]
    assert told["averaged"] == {"left_out": 1, "control": {"left_out": pytest.approx(2 / 3)}}
    assert told["eq8"] == pytest.approx(1 / 3)


def test_class_means_are_those_of_who_is_learnt_from():
    """P0's faces give the means, which name nobody else; those of the tested people would name them all."""
    means = embedded((0,), lambda p, e: [-50.0 - e], lambda p, e, k: [0.0])
    test = embedded((4, 5), lambda p, e: [float(e)], lambda p, e, k: [0.0])
    answers, _ = namings.measure(["learnt"], means, test, test)
    assert right(answers[namings.NAMES["learnt"][1]]) == pytest.approx(1 / 3)


def test_rows_stand_beside_what_they_have_to_beat_and_the_table_says_what_was_chosen():
    ways = ("combined", "averaged")
    (a, a_control), (b, b_control) = (namings.NAMES[way] for way in ways)
    assert namings.baselines(ways, "VGG-16") == {a: "VGG-16", a_control: a, b: "VGG-16", b_control: b}
    faces = embedded((0, 1), personal, regenerated, lambda p, e: sure_of(0))
    _, told = namings.measure(ways, faces, faces, faces)
    lines = namings.table([told, {**told, "eq8": 0.5}], ways, "VGG-16").splitlines()
    rows = {line[:48].strip(): line[48:].split() for line in lines}
    assert rows["VGG-16's softmax"] == ["33.3"] and rows["IA-gen: eq. (8)"] == ["75.0"] and rows[b] == ["100.0"]
    assert " ".join(rows[a]) == "100.0 weight 1 temperature 0.25; weight 1 temperature 0.25"
    assert {a_control, b_control} <= {*rows}
