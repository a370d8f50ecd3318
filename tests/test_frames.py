"""fer_tf.frames: each rule by hand."""

import pytest

from fer_tf import frames

TEN = list(range(10))


@pytest.mark.parametrize(
    "rule, peak, wanted",
    [
        ("last3", None, [7, 8, 9]), ("last3", 2, [7, 8, 9]), ("all", 4, TEN), ("middle3", None, [4, 5, 6]),
        ("middle3", 2, [1, 2, 3]), ("middle3", 0, [0, 1, 2]), ("middle3", 9, [7, 8, 9]),
        ("around7", 5, [2, 3, 4, 5, 6, 7, 8]), ("around7", 1, [0, 1, 2, 3, 4, 5, 6]),
        ("around7", 8, [3, 4, 5, 6, 7, 8, 9]),
    ],
)  # fmt: skip
def test_rules(rule, peak, wanted):
    assert frames.chosen(TEN, rule, peak) == wanted


@pytest.mark.parametrize("rule", frames.RULES)
def test_short_sequences_give_all_they_have(rule):
    for count in range(3):
        assert frames.chosen(list(range(count)), rule) == list(range(count))


def test_an_unknown_rule_lists_the_known():
    with pytest.raises(ValueError, match="'first': use last3, middle3, around7, all"):
        frames.chosen(TEN, "first")


def test_sequences_begin_neutral():
    """The first frame stays neutral, also where the rule takes it."""
    assert frames.shown("abcdef", "fear", "last3") == [
        (0, "a", "neutral"), (3, "d", "fear"), (4, "e", "fear"), (5, "f", "fear"),
    ]  # fmt: skip
    assert frames.shown("ab", "fear", "last3") == [(0, "a", "neutral"), (1, "b", "fear")]
    assert frames.shown("", "fear", "last3") == []
    assert frames.shown("ab", "fear", "all") == [(0, "a", "fear"), (1, "b", "fear")]  # DE-GAN's 60,600 of BU-4DFE
    assert [n for n, _, _ in frames.shown("abcdef", "fear", "middle3", 1)] == [0, 1, 2]
    assert [n for n, _, _ in frames.shown("abcdef", "fear", "middle3", 4)] == [0, 3, 4, 5]
