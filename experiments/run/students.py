"""Students: a network that is taught what another names of people whose expressions are not known.

With --labelled_people=30 the expressions of so many training people are known. Of the others a teacher, who knows more
of them than a picture shows (who they are, or their neutral face), names the pictures; the student learns by these
names beside the labelled people's own, and sees one picture at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fer_tf import beside, records

from .settings import Base, setting

WAYS = {"": "", "-dispelled": " less identity", "-strangers": " less strangers' identity"}
"""What is taken from a teacher's answers: as --rows and the like end, and in the table; see `moved`."""


@dataclass(frozen=True, kw_only=True)
class Students(Base):
    """Who is labelled, and how long a student learns."""

    labelled_people: int = setting(
        0, "Of the training people, drawn by the seed, whose expressions are known; 0: all.", low=0
    )
    shown_expressions: int = setting(
        0, "Of each person without labels, the pictures of so many expressions, drawn by the seed; 0: of all.", low=0
    )
    taught_epochs: int = setting(0, "Of a student, which others teach; 0: --epochs.", low=0)


@dataclass(frozen=True, kw_only=True)
class Dispelled(Students):
    """And how strongly identity is taken from a teacher's answers."""

    dispel_strength: float = setting(
        1.0,
        "Of students that end in -dispelled or -strangers: 1 gives everybody's answers the same mean; less lets it "
        "differ, for people who do not show all expressions alike.",
        low=0,
        high=1,
    )


def split(
    listed: Sequence[records.Record], people: int, seed: int, shown: int = 0
) -> tuple[list[records.Record], list[records.Record]]:
    """(The records of the people whose expressions are known, the others').

    Args:
      listed: of the training people.
      people: how many are labelled, drawn by the seed; 0: all.
      seed: as said.
      shown: expressions that are left of each of the others, besides neutral, as `few_shown` draws them; 0: all.
    Raises:
      ValueError: there are no more people than that.
    """
    if not people:
        return list(listed), []
    known = records.subjects_of(listed)
    if len(known) <= people:
        raise ValueError(
            f"--labelled_people={people} leaves nobody without labels: {len(known)} people train. Give fewer."
        )
    drawn = {known[i] for i in np.random.default_rng(seed).permutation(len(known))[:people]}
    labelled = [r for r in listed if r.subject in drawn]
    return labelled, few_shown([r for r in listed if r.subject not in drawn], shown, seed)


def few_shown(listed: Sequence[records.Record], shown: int, seed: int) -> list[records.Record]:
    """The records without those of all but `shown` expressions of each person, drawn by the seed; neutral stays.

    As in CK+, whose people show three of seven, a person is then no album of everything. 0 keeps all records.
    """
    if not shown:
        return list(listed)
    rng, kept = np.random.default_rng(seed), set()
    for person in records.subjects_of(listed):
        own = sorted({r.expression for r in listed if r.subject == person} - {"neutral"})
        kept |= {(person, own[i]) for i in rng.permutation(len(own))[:shown]}
    return [r for r in listed if r.expression == "neutral" or (r.subject, r.expression) in kept]


def refuse(settings: Any, listed: Sequence[records.Record], folds: Sequence[records.Fold]) -> None:
    """Refuses, before anything is trained, what --labelled_people cannot draw in each of the folds.

    Raises:
      ValueError: as `split`, or nobody who is labelled shows one of the classes; --shown_expressions of nobody.
    """
    if settings.shown_expressions and not settings.labelled_people:
        raise ValueError(
            f"--shown_expressions={settings.shown_expressions} is of people without labels: give --labelled_people."
        )
    if not settings.labelled_people:
        return
    for fold, seed in itertools.product(folds, range(settings.seed, settings.seed + settings.runs)):
        labelled, _ = split([listed[i] for i in fold.train], settings.labelled_people, seed)
        if absent := {*settings.labels} - {r.expression for r in labelled}:
            raise ValueError(
                f"--labelled_people={settings.labelled_people}: nobody of these shows {', '.join(sorted(absent))}, "
                "which then nobody learns: give more, or another --seed."
            )


def renamed(listed: Sequence[records.Record], names: Sequence[str]) -> list[records.Record]:
    """The records, each of which shows what its name says; their own labels are gone."""
    return [replace(record, expression=name) for record, name in zip(listed, names, strict=True)]


def shares(labelled: Sequence[records.Record], classes: Sequence[str]) -> np.ndarray:
    """(K,) float64 of sum one: how often the labelled show each of the classes."""
    counts = np.array([sum(r.expression == c for r in labelled) for c in classes], np.float64)
    return counts / counts.sum()


def moved(
    given: Any, people: Sequence[str | None], way: str, shares: np.ndarray, seed: int, strength: float = 1.0
) -> np.ndarray:
    """What a teacher says of people without labels, less what tells who is seen.

    Eq. (5) of ED2L, with people for expressions, is least where nobody can be told by the answers; to a dispeller that
    sees what their mean over a person tells, that is where it is the same of everybody. `beside.independent` gives the
    nearest such answers, and no player is trained.

    Args:
      given: (N, K) in [0, 1].
      people: (N,) who is seen.
      way: of `WAYS`: nothing is taken away; or that; or, a control, the same of groups of strangers, each as large as a
        person's.
      shares: (K,) of the classes, which each person's answers get.
      seed: of the strangers.
      strength: of `beside.independent`.
    Returns:
      (N, K) float64.
    """
    given = np.asarray(given, np.float64)
    if not way:
        return given
    who = np.array([str(person) for person in people])
    who = np.random.default_rng(seed).permutation(who) if way == "-strangers" else who
    return beside.independent(given, who.tolist(), shares, strength)


def epochs_of(settings: Any, student: bool) -> int:
    """--epochs, or of a student --taught_epochs where they are given."""
    return (student and settings.taught_epochs) or settings.epochs
