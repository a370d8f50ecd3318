"""What a person's other pictures tell of one, without their labels: a film has them, or an album. No TensorFlow.

    own = beside.albums(people)                       # of each picture: the rows of its person
    beside.probabilities(softmax, own)                # what a network says, less what it says of that person on average
    beside.independent(softmax, people, shares)       # the nearest answers whose mean is the same of every person

A network takes a person's resting face for part of an expression, in all pictures alike: the mean over them has that
part, and what is left is what changes. So an album has to show several expressions. Of one that is all of a kind
nothing is left, and `Album(kinds=1)` is the control that says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Album(NamedTuple):
    """Which pictures of its person stand beside each.

    Attributes:
      others: how many of the person's other pictures are drawn for each; 0 takes all, the picture itself too.
      kinds: a control: of how many expressions they are, that of the picture among them; 0 as they come.
    """

    others: int = 0
    kinds: int = 0

    @classmethod
    def read(cls, text: str) -> Album:
        """Of "" or "all", "4" (others) or "2kinds".

        Raises:
          ValueError: it is none of these.
        """
        number = text.removesuffix("kinds")
        if text in ("", "all"):
            return cls()
        if not number.isdecimal() or not int(number):
            raise ValueError(f"{text!r} is no album: give all, how many others, as 4, or of how many kinds, as 2kinds.")
        return cls(kinds=int(number)) if text.endswith("kinds") else cls(others=int(number))

    def __str__(self) -> str:
        if self.kinds:
            return f"album of {self.kinds} expression{'s' * (self.kinds > 1)}"
        return f"album of {self.others} other{'s' * (self.others > 1)}" if self.others else ""


WHOLE = Album()


def albums(
    people: Sequence[str | None], album: Album = WHOLE, seed: int = 0, shown: Sequence[object] = ()
) -> list[list[int]]:
    """The album of each picture: rows, ascending.

    No label is read, but for the control `kinds`.

    Args:
      people: (N,) who is seen.
      album: which pictures these are.
      seed: of the draws.
      shown: (N,) their expressions, for `kinds` alone.
    Raises:
      ValueError: other pictures are asked for, and somebody has one alone.
    """
    own: dict[str | None, list[int]] = {}
    for i, person in enumerate(people):
        own.setdefault(person, []).append(i)
    rng, found = np.random.default_rng(seed), []
    for i, person in enumerate(people):
        chosen = own[person]
        if album.kinds:
            others = sorted({str(shown[j]) for j in chosen} - {str(shown[i])})
            few = {str(shown[i]), *rng.permutation(others)[: album.kinds - 1].tolist()}
            chosen = [j for j in chosen if str(shown[j]) in few]
        if album.others:
            rest = [j for j in chosen if j != i]
            if not rest:
                raise ValueError(f"An {album}: {person} has one picture alone.")
            chosen = sorted(rng.permutation(rest)[: album.others].tolist())
        found.append(chosen)
    return found


def centred(values: np.ndarray, own: Sequence[Sequence[int]]) -> np.ndarray:
    """Each row less the mean over its album: (N, F) -> (N, F) float64."""
    values = np.asarray(values, np.float64)
    return values - np.stack([values[list(rows)].mean(0) for rows in own])


def probabilities(given: np.ndarray, own: Sequence[Sequence[int]]) -> np.ndarray:
    """The softmax of log p less its mean over the album.

    Args:
      given: (N, K) in [0, 1], what a network says; 1e-7 is the least that counts.
      own: of `albums`.
    Returns:
      (N, K) float64, whose rows sum to one.
    """
    moved = centred(np.log(np.maximum(np.asarray(given, np.float64), 1e-7)), own)
    moved = np.exp(moved - moved.max(-1, keepdims=True))
    return moved / moved.sum(-1, keepdims=True)


def independent(
    given: np.ndarray, people: Sequence[object], shares: np.ndarray, strength: float = 1.0, rounds: int = 200
) -> np.ndarray:
    """The answers nearest to a network's from which nobody can tell who is seen: each person's mean is the same.

    Nearest in relative entropy: each row times a factor of each class and person, found by scaling rows and means by
    turns. It supposes that people show the expressions as often as `shares` says; nobody's labels are read.

    Args:
      given: (N, K) in [0, 1], what a network says; 1e-30 is the least that counts.
      people: (N,) who is seen.
      shares: (K,) positive, of sum one: the mean that each person's answers are to have.
      strength: 1: they have it. Less: the relative entropy of a person's mean to it counts rho = strength / (1 -
        strength) times as much as that of the answers to those given, for people who do not show all expressions alike.
      rounds: of the scaling.
    Returns:
      (N, K) float64, whose rows sum to one.
    Raises:
      ValueError: a share is not positive, or strength is not in [0, 1].
    """
    shares = np.asarray(shares, np.float64)
    if not (shares > 0).all():
        raise ValueError(f"Shares of classes are positive, and were {shares.tolist()}.")
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is in [0, 1], and was {strength}.")
    answers = np.maximum(np.asarray(given, np.float64), 1e-30)  # where a network is sure, the rest still has an order
    place = np.unique(np.array([str(person) for person in people]), return_inverse=True)[1]
    wanted = np.bincount(place)[:, None] * shares
    factors = np.ones_like(wanted)
    for _ in range(rounds):
        rows = answers / (answers * factors[place]).sum(1, keepdims=True)
        factors = (wanted / np.stack([np.bincount(place, column) for column in rows.T], 1)) ** strength
    answers = answers * factors[place]
    return answers / answers.sum(1, keepdims=True)
