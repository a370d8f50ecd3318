"""Students: a network that is taught what another names of people whose expressions are not known.

With --labelled_people=30 the expressions of so many training people are known. Of the others a teacher, who knows more
of them than a picture shows (who they are, or their neutral face), names the pictures; the student learns by these
names beside the labelled people's own, and sees one picture at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fer_tf import records

from .settings import Base, setting


@dataclass(frozen=True, kw_only=True)
class Students(Base):
    """Who is labelled, and how long a student learns."""

    labelled_people: int = setting(
        0, "Of the training people, drawn by the seed, whose expressions are known; 0: all.", low=0
    )
    taught_epochs: int = setting(0, "Of a student, which others teach; 0: --epochs.", low=0)


def split(
    listed: Sequence[records.Record], people: int, seed: int
) -> tuple[list[records.Record], list[records.Record]]:
    """(The records of the people whose expressions are known, the others').

    Args:
      listed: of the training people.
      people: how many are labelled, drawn by the seed; 0: all.
      seed: as said.
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
    return labelled, [r for r in listed if r.subject not in drawn]


def refuse(settings: Any, listed: Sequence[records.Record], folds: Sequence[records.Fold]) -> None:
    """Raises ValueError where `split` would in one of the folds: before anything is trained."""
    for fold in folds:
        split([listed[i] for i in fold.train], settings.labelled_people, settings.seed)


def renamed(listed: Sequence[records.Record], names: Sequence[str]) -> list[records.Record]:
    """The records, each of which shows what its name says; their own labels are gone."""
    return [replace(record, expression=name) for record, name in zip(listed, names, strict=True)]


def epochs_of(settings: Any, student: bool) -> int:
    """--epochs, or of a student --taught_epochs where they are given."""
    return (student and settings.taught_epochs) or settings.epochs
