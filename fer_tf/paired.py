"""Whether a method beats its baseline: paired differences, an interval over people, the exact sign test. NumPy alone.

    answers = paired.Answered(people, cells, labels, first, second)      # one row a tested picture of a training
    found = paired.compare(answers, num_classes=7)
    found["micro"]["difference"], found["micro"]["interval"], found["micro"]["words"]

Two things vary from one experiment to the next, and each has its own test here. *People*: others would be easier or
harder, so the interval draws people anew, each with all of his or her pictures under all seeds, and never single
pictures, which are alike within a person. *Trainings*: another seed gives another network, so the sign test counts on
how many of the pairs (a seed and a fold: one training of each method, tested on the same pictures) the method is
better. A method `gains` where both say so, and else cannot be told from chance. Neither knows of other data sets.

One alone will not do. Of 300 simulated tables of 100 people in which two methods were equal, and a training's accuracy
varied by some 4 points as trainings here do, the interval over people alone excluded zero in 32 % (10 folds, one seed),
42 % (5 folds, three seeds) and 21 % (10 folds, three seeds); both together were wrong in 3 % of each. A gain of 5
points was called one in 37, 62 and 92 % (tests/test_paired.py has the simulation).

Efron and Tibshirani: "An Introduction to the Bootstrap" (1993), 13.3 (percentiles of clusters); Holm: "A Simple
Sequentially Rejective Multiple Test Procedure" (1979).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

MEASURES = ("micro", "macro")
LEVEL = 0.95
SAMPLES, DRAWS = 10_000, 20_000_000
"""Resamples, and draws in all: with very many units there are fewer resamples, 1,000 at least."""
FEWEST = 10
"""People below whom the interval is too narrow to be believed."""
GAINS, LOSES, CHANCE = "gains", "loses", "cannot be told from chance"


class Answered(NamedTuple):
    """What two methods named the same pictures.

    Attributes:
      people: (M,) str, who is seen in each; where nobody is named, what tells pictures apart.
      cells: (M,) int, number of the pair of trainings, 0 to C - 1, that named it.
      labels: (M,) int in [0, K).
      first, second: (M,) int in [0, K), of the baseline and of the method.
    """

    people: np.ndarray
    cells: np.ndarray
    labels: np.ndarray
    first: np.ndarray
    second: np.ndarray


def sign_test(better: int, worse: int) -> float:
    """The exact two-sided sign test: how often a fair coin is at least as one-sided; 1 where nothing differs.

    Args:
      better, worse: counts of pairs; those that are equal are left out.
    Returns:
      p in (0, 1].
    Raises:
      ValueError: a negative count.
    """
    if min(better, worse) < 0:
        raise ValueError(f"the sign test counts pairs, and got {better} and {worse}")
    n, term, tail = better + worse, 1, 0
    for i in range(min(better, worse) + 1):  # whole numbers: exact however many pairs there are
        tail += term
        term = term * (n - i) // (i + 1)
    return min(1.0, 2 * tail / 2**n)


def holm(p: Sequence[float]) -> list[float]:
    """p of several tests, raised so that at 0.05 one family in twenty holds a false alarm. Holm (1979)."""
    raised, highest = [0.0] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[i]))
        raised[i] = highest
    return raised


def differences(answers: Answered, num_classes: int) -> dict[str, np.ndarray]:
    """Of each pair of trainings: the method's accuracy less the baseline's.

    Returns:
      {"micro": share of right pictures, "macro": mean recall of the classes that occur}: (C,) float64 in [-1, 1].
    """
    count, gained = _counts(answers.cells, answers, num_classes)
    return dict(zip(MEASURES, _accuracies(count, gained), strict=True))


def interval(
    answers: Answered, num_classes: int, *, samples: int = SAMPLES, seed: int = 0, level: float = LEVEL
) -> dict[str, list[float]]:
    """The percentile bootstrap of the pooled difference over people: whole people are drawn, with all their pictures.

    Args:
      answers: of both methods.
      num_classes: K.
      samples: how often as many people as there are are drawn from them.
      seed: of the draws.
      level: share of the resamples that the interval holds.
    Returns:
      {"micro", "macro": [low, high]}; the two are equal where one person alone is seen.
    """
    _, number = np.unique(answers.people, return_inverse=True)
    count, gained = _counts(number.ravel(), answers, num_classes)
    people, rng = len(count), np.random.default_rng(seed)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    step = max(1, 2_000_000 // people)
    for start in range(0, samples, step):
        drawn = rng.multinomial(people, np.full(people, 1 / people), size=min(step, samples - start))
        found.append(_accuracies(drawn @ count, drawn @ gained))
    ends = [(1 - level) / 2, (1 + level) / 2]
    return {
        name: np.quantile(np.concatenate(values), ends).tolist()
        for name, values in zip(MEASURES, zip(*found, strict=True), strict=True)
    }


def _counts(group: np.ndarray, answers: Answered, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each group and class: (pictures, right answers of the method less those of the baseline), (G, K) int64."""
    labels = np.asarray(answers.labels, np.int64)
    place, size = np.asarray(group, np.int64) * num_classes + labels, (int(np.max(group)) + 1) * num_classes
    gained = (answers.second == labels).astype(np.int64) - (answers.first == labels)
    sums = np.bincount(place, gained, size).astype(np.int64)
    return np.bincount(place, minlength=size).reshape(-1, num_classes), sums.reshape(-1, num_classes)


def _accuracies(count: np.ndarray, gained: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(micro, macro) differences of (G, K) counts; as `metrics`, macro is over the classes that occur."""
    micro = gained.sum(1) / np.maximum(count.sum(1), 1)
    occurs = count > 0
    macro = np.where(occurs, gained / np.maximum(count, 1), 0).sum(1) / np.maximum(occurs.sum(1), 1)
    return micro, macro


def _signs(values: np.ndarray) -> dict[str, Any]:
    """How many differences are above, below and at zero, and the sign test's p."""
    better, worse = int((values > 1e-12).sum()), int((values < -1e-12).sum())
    return {"better": better, "worse": worse, "equal": len(values) - better - worse, "p": sign_test(better, worse)}


def compare(
    answers: Answered, num_classes: int, *, known: bool = True, samples: int | None = None, seed: int = 0
) -> dict[str, Any]:
    """Everything that is to be said of two methods, but for the words (`judged`).

    Args:
      answers: what both named the same pictures.
      num_classes: K.
      known: whether `people` are people, rather than pictures of nobody.
      samples: resamples; `SAMPLES`, or as many as `DRAWS` allows, where it is left out.
      seed: of the resamples.
    Returns:
      {"people": {"count", "known", "better", "worse", "equal", "p"}: on how many people the method names more pictures;
      "micro", "macro": {"difference": over all pictures, "interval": [low, high], "level", "samples", "pairs":
      {"values": one a pair of trainings, "mean", "std" (ddof 1, 0 for one), "better", "worse", "equal", "p"}}}.
    Raises:
      ValueError: there is no picture, or the arrays differ in length.
    """
    sizes = {len(column) for column in answers}
    if len(sizes) != 1 or sizes == {0}:
        raise ValueError(f"paired answers must be columns of one length, got {[len(column) for column in answers]}")
    people, number = np.unique(answers.people, return_inverse=True)
    if samples is None:
        samples = max(1000, min(SAMPLES, DRAWS // len(people)))
    each = _counts(number.ravel(), answers, num_classes)[1].sum(1)
    found: dict[str, Any] = {"people": {"count": len(people), "known": known, **_signs(each)}}
    whole = differences(answers._replace(cells=np.zeros(len(answers.labels), int)), num_classes)
    pairs, ends = differences(answers, num_classes), interval(answers, num_classes, samples=samples, seed=seed)
    for name in MEASURES:
        values = pairs[name]
        std = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        found[name] = {
            "difference": float(whole[name][0]), "interval": ends[name], "level": LEVEL, "samples": samples,
            "pairs": {"values": values.tolist(), "mean": float(values.mean()), "std": std, **_signs(values)},
        }  # fmt: skip
    return found


def judged(found: Mapping[str, Mapping[str, Any]], alpha: float = 1 - LEVEL) -> dict[str, Any]:
    """Several methods' `compare` with the words that they earn.

    A method gains, or loses, where the interval over ten people or more lies on one side of zero and the sign test over
    pairs of trainings agrees at `alpha`, its p raised by `holm` over the methods that are looked at together.

    Args:
      found: method -> of `compare`.
      alpha: at most how often chance may be taken for a gain.
    Returns:
      The same, each measure with "p_holm" among its pairs, "words" and, where these are `CHANCE`, "why".
    """
    made = {method: dict(entry) for method, entry in found.items()}
    for name in MEASURES:
        raised = holm([entry[name]["pairs"]["p"] for entry in found.values()])
        for (method, entry), p in zip(found.items(), raised, strict=True):
            measure = {**entry[name], "pairs": {**entry[name]["pairs"], "p_holm": p}}
            reasons = _doubts(measure, entry["people"], alpha)
            gains = measure["difference"] > 0
            words = CHANCE if reasons else GAINS if gains else LOSES
            made[method][name] = {**measure, "words": words, **({"why": "; ".join(reasons)} if reasons else {})}
    return made


def _doubts(measure: Mapping[str, Any], people: Mapping[str, Any], alpha: float) -> list[str]:
    """Why a difference may be chance, in words; none where nothing speaks for it."""
    (low, high), pairs, said = measure["interval"], measure["pairs"], []
    if not people["known"]:
        said.append("nobody is named, and pictures of one person are alike")
    elif people["count"] < FEWEST:
        said.append(f"{people['count']} people are too few, {FEWEST} are the fewest")
    if low <= 0 <= high:
        said.append("the interval holds 0")
    apart = pairs["better"] + pairs["worse"]
    needed = math.ceil(1 - math.log2(alpha) - 1e-9)
    if apart < needed:
        some = "1 pair of trainings that differs is" if apart == 1 else f"{apart} pairs of trainings that differ are"
        said.append(f"{some} too few, {needed} are the fewest")
    elif pairs["p_holm"] > alpha:
        said.append(f"the sign test over trainings has p {pairs['p_holm']:.2g}")
    elif (pairs["better"] > pairs["worse"]) != (measure["difference"] > 0):
        said.append("most trainings differ the other way")
    return said
