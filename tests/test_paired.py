"""fer_tf.paired by hand, and against SciPy."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest

from fer_tf import metrics, paired

# Ann has three pictures, Bob two, Cid one; pair 0 tests Ann, pair 1 the others
PEOPLE = np.array(["ann", "ann", "ann", "bob", "bob", "cid"])
CELLS = np.array([0, 0, 0, 1, 1, 1])
LABELS = np.array([0, 0, 1, 0, 2, 2])
FIRST = np.array([0, 1, 1, 1, 2, 0])
SECOND = np.array([0, 0, 1, 0, 0, 2])
HAND = paired.Answered(PEOPLE, CELLS, LABELS, FIRST, SECOND)


def drawn(people=40, cells=6, seed=0, gain=0.1, classes=4):
    """Answers of many people, a few pictures in each of a person's cells; the second method is better by `gain`."""
    rng, rows = np.random.default_rng(seed), []
    for person in range(people):
        for cell in {person % cells, (person + 1) % cells}:
            for _ in range(rng.integers(2, 7)):
                label = int(rng.integers(classes))
                named = [label if rng.random() < p else int(rng.integers(classes)) for p in (0.5, 0.5 + gain)]
                rows.append((f"p{person}", cell, label, *named))
    return paired.Answered(*map(np.array, zip(*rows, strict=True)))


def test_the_sign_test_by_hand():
    assert paired.sign_test(5, 0) == 2 / 32 and paired.sign_test(0, 6) == 2 / 64
    assert paired.sign_test(7, 2) == 2 * (1 + 9 + 36) / 512
    assert paired.sign_test(3, 3) == paired.sign_test(0, 0) == 1.0
    with pytest.raises(ValueError, match="-1"):
        paired.sign_test(-1, 3)


@pytest.mark.parametrize("better, worse", [(1, 0), (8, 1), (2, 9), (13, 12), (150, 90)])
def test_the_sign_test_is_scipys(better, worse):
    stats = pytest.importorskip("scipy.stats")
    wanted = stats.binomtest(better, better + worse, 0.5).pvalue
    assert paired.sign_test(better, worse) == pytest.approx(wanted, rel=1e-9)


def test_the_sign_test_of_very_many_pairs_is_exact():
    exact = Fraction(2 * sum(comb(3000, i) for i in range(1401)), 2**3000)
    assert paired.sign_test(1600, 1400) == pytest.approx(float(exact), rel=1e-12)


def test_holm_by_hand():
    assert paired.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert paired.holm([0.9, 0.8]) == [1.0, 1.0] and paired.holm([0.03]) == [0.03] and paired.holm([]) == []


def test_differences_by_hand():
    """Pair 0: 3/3 - 2/3, recalls (1 + 1)/2 - (1/2 + 1)/2; pair 1: 2/3 - 1/3, (1 + 1/2)/2 - (0 + 1/2)/2."""
    found = paired.differences(HAND, 3)
    assert found["micro"] == pytest.approx([1 / 3, 1 / 3]) and found["macro"] == pytest.approx([1 / 4, 1 / 2])


def test_differences_are_those_of_the_tables():
    answers = drawn()
    for name, accuracy in (("micro", metrics.micro), ("macro", metrics.macro)):
        wanted = []
        for cell in range(6):
            own = answers.cells == cell
            pair = (metrics.confusion(answers.labels[own], n[own], 4) for n in (answers.first, answers.second))
            before, after = map(accuracy, pair)
            wanted.append(after - before)
        np.testing.assert_allclose(paired.differences(answers, 4)[name], wanted, atol=1e-12)


def test_everything_by_hand():
    found = paired.compare(HAND, 3)
    assert found["people"] == {"count": 3, "known": True, "better": 2, "worse": 0, "equal": 1, "p": 0.5}
    micro, macro = found["micro"], found["macro"]
    assert micro["difference"] == pytest.approx(5 / 6 - 3 / 6)
    assert macro["difference"] == pytest.approx((3 / 3 + 1 + 1 / 2) / 3 - (1 / 3 + 1 + 1 / 2) / 3)
    assert macro["pairs"]["mean"] == pytest.approx(3 / 8) and macro["pairs"]["std"] == pytest.approx(0.25 / 2**0.5)
    assert micro["pairs"]["std"] == pytest.approx(0, abs=1e-12) and micro["pairs"]["p"] == 0.5
    # Bob's one gain and one loss are 0: three people drawn from +1/3, 0/2, +1/1, by all 27 outcomes
    outcomes = sorted(
        sum(g for _, g in three) / sum(n for n, _ in three)
        for three in ((a, b, c) for a in POT for b in POT for c in POT)
    )
    assert micro["interval"] == pytest.approx([outcomes[0], outcomes[-1]])  # each is likelier than one in forty


POT = ((3, 1), (2, 0), (1, 1))
"""Pictures and gains of Ann, Bob and Cid."""


def test_a_person_is_drawn_with_all_pictures():
    """Ten pictures of each of four people, all gained or none: pictures drawn one by one would give +-0.16."""
    people = np.repeat(["a", "b", "c", "d"], 10)
    gained = np.repeat([1, 1, 0, 0], 10)
    answers = paired.Answered(people, np.zeros(40, int), np.zeros(40, int), np.ones(40, int), 1 - gained)
    assert paired.interval(answers, 2)["micro"] == [0, 1]  # 1/16 of the resamples are people who gain alone
    alone = answers._replace(people=np.arange(40).astype(str))
    low, high = paired.interval(alone, 2)["micro"]
    assert 0.33 < low < 0.37 and 0.63 < high < 0.67


def test_a_persons_seeds_stay_together():
    """The same answers under three seeds are no more people than under one."""
    once = drawn(people=12, cells=3)
    thrice = paired.Answered(*(np.tile(column, 3) for column in once))
    thrice = thrice._replace(cells=np.concatenate([once.cells + 3 * n for n in range(3)]))
    for name in paired.MEASURES:
        assert paired.interval(thrice, 4)[name] == pytest.approx(paired.interval(once, 4)[name])
    assert paired.compare(thrice, 4)["people"] == paired.compare(once, 4)["people"]
    assert len(paired.compare(thrice, 4)["micro"]["pairs"]["values"]) == 9


def test_the_interval_is_scipys():
    stats = pytest.importorskip("scipy.stats")
    answers = drawn(people=30)
    names = np.unique(answers.people)
    right = (answers.second == answers.labels).astype(int) - (answers.first == answers.labels)
    sizes, gains = (np.array([column[answers.people == name].sum() for name in names])
                    for column in (np.ones(len(right)), right))  # fmt: skip
    reference = stats.bootstrap(
        (gains, sizes), lambda g, n, axis: g.sum(axis) / n.sum(axis), paired=True, method="percentile",
        n_resamples=20_000, confidence_level=0.95, vectorized=True, rng=np.random.default_rng(5),
    ).confidence_interval  # fmt: skip
    assert paired.interval(answers, 4)["micro"] == pytest.approx([reference.low, reference.high], abs=0.006)


def test_the_interval_is_seeded():
    answers = drawn()
    assert paired.interval(answers, 4, samples=300) == paired.interval(answers, 4, samples=300)
    assert paired.interval(answers, 4, samples=300) != paired.interval(answers, 4, samples=300, seed=1)
    half = paired.interval(answers, 4, level=0.5)
    whole = paired.interval(answers, 4)
    for name in paired.MEASURES:
        assert whole[name][0] < half[name][0] < half[name][1] < whole[name][1]


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    """Of no gain at all, 60 times: 95 % of the intervals, but for chance, hold 0."""
    held = 0
    for seed in range(60):
        low, high = paired.interval(drawn(gain=0, seed=seed), 4, samples=400)["micro"]
        held += low <= 0 <= high
    assert 51 <= held <= 60  # fewer than 51 of 60 happen once in 3000


def test_what_is_not_paired_is_refused():
    with pytest.raises(ValueError, match="one length"):
        paired.compare(HAND._replace(first=FIRST[:3]), 3)
    with pytest.raises(ValueError, match="one length"):
        paired.compare(paired.Answered(*(column[:0] for column in HAND)), 3)


def entry(difference=0.05, interval=(0.01, 0.09), better=9, worse=0, count=40, known=True):
    """Of `compare`, as far as words need it."""
    pairs = {"better": better, "worse": worse, "equal": 0, "p": paired.sign_test(better, worse)}
    measure = {"difference": difference, "interval": list(interval), "pairs": pairs}
    return {"people": {"count": count, "known": known}, "micro": measure, "macro": measure}


@pytest.mark.parametrize(
    "given, words, why",
    [
        ({}, "gains", None),
        ({"better": 0, "worse": 9, "difference": -0.05, "interval": (-0.09, -0.01)}, "loses", None),
        ({"interval": (-0.001, 0.09)}, "cannot be told from chance", "the interval holds 0"),
        ({"better": 5}, "cannot be told from chance", "5 pairs of trainings that differ are too few, 6 are the fewest"),
        ({"better": 1}, "cannot be told from chance", "1 pair of trainings that differs is too few, 6 are the fewest"),
        ({"better": 6}, "gains", None),
        ({"better": 9, "worse": 2}, "cannot be told from chance", "the sign test over trainings has p 0.065"),
        ({"better": 0, "worse": 9}, "cannot be told from chance", "most trainings differ the other way"),
        ({"count": 9}, "cannot be told from chance", "9 people are too few, 10 are the fewest"),
        ({"known": False}, "cannot be told from chance", "nobody is named, and pictures of one person are alike"),
    ],
)
def test_words_are_earned(given, words, why):
    said = paired.judged({"ours": entry(**given)})["ours"]["micro"]
    assert (said["words"], said.get("why")) == (words, why)


def test_several_methods_are_judged_together():
    """p 0.031 is enough for one method, and not for two."""
    (alone,) = paired.judged({"a": entry(better=6)}).values()
    both = paired.judged({"a": entry(better=6), "b": entry(better=5, worse=5)})
    assert alone["micro"]["words"] == "gains" and alone["micro"]["pairs"]["p_holm"] == 2 / 64
    assert both["a"]["micro"]["pairs"]["p_holm"] == 4 / 64 and both["a"]["micro"]["words"] == paired.CHANCE
    assert both["a"]["micro"]["pairs"]["p"] == 2 / 64


def test_a_real_gain_is_found_and_none_is_not():
    real, none = (paired.compare(drawn(people=80, cells=10, gain=gain), 4) for gain in (0.25, 0.0))
    said = paired.judged({"real": real, "none": none})
    assert said["real"]["micro"]["words"] == "gains" and said["none"]["micro"]["words"] == paired.CHANCE


def simulated(rng, folds, seeds, gain, people=100):
    """Answers of two methods; people are hard or easy, and each training is better or worse than the next."""
    hard, rows = rng.normal(0, 0.6, people), []
    for cell in range(folds * seeds):
        bias = [rng.normal(0, 0.3), gain + rng.normal(0, 0.3)]
        for person in np.flatnonzero(np.arange(people) * folds // people == cell % folds):
            labels = rng.integers(0, 7, 21)
            named = [
                np.where(rng.random(21) < 1 / (1 + np.exp(-1.6 - hard[person] - b)), labels, (labels + 1) % 7)
                for b in bias
            ]
            rows.append((np.full(21, person), np.full(21, cell), labels, *named))
    return paired.Answered(*(np.concatenate(column) for column in zip(*rows, strict=True)))


@pytest.mark.parametrize("folds, seeds", [(10, 1), (10, 3)])
def test_the_words_are_seldom_wrong_where_the_interval_alone_is_often(folds, seeds):
    rng, words, apart = np.random.default_rng(1), [], 0
    for _ in range(60):
        found = paired.compare(simulated(rng, folds, seeds, 0.0), 7, samples=300)
        words.append(paired.judged({"same": found})["same"]["micro"]["words"])
        apart += not found["micro"]["interval"][0] <= 0 <= found["micro"]["interval"][1]
    assert words.count(paired.CHANCE) >= 54 and apart >= 7
    found = [paired.compare(simulated(rng, folds, seeds, 0.9), 7, samples=300) for _ in range(10)]
    assert [paired.judged({"better": f})["better"]["micro"]["words"] for f in found].count(paired.GAINS) >= 8
