"""Students: the baseline taught by ED2L, from whose answers identity is dispelled in closed form.

With --labelled_people=30 the expressions of so many training people are known, and of the others who they are. A
dispeller of people at its optimum reads from answers what their mean over a person tells, and eq. (5) is least where
that is the same of everybody. `beside.independent` gives the nearest answers of which that is so, without a player:

    baseline:taught-ed2l-dispelled       learns what ED2L says of the others, identity dispelled
    baseline:taught-ed2l-strangers       a control: dispelled from groups of strangers, as large as the people
    baseline:taught-ed2l                 what ED2L says
    baseline:taught-baseline             what the baseline itself says: self-training; with either ending, too

All are the baseline's network, see one picture, and learn from the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fer_tf import evaluation, pipeline, records
from fer_tf.models import ed2l

from ...run import data, students

TAUGHT = ":taught-"
"""Between the row whose network a student has, and its teacher."""


class Student(NamedTuple):
    """A row whose network another teaches.

    Attributes:
      start: row of the baseline whose network, start and settings it has.
      teacher: row of the network that names pictures.
      way: of `students.WAYS`.
      words: what the table says behind the name of `start`.
    """

    start: str
    teacher: str
    way: str
    words: str


def made(starts: Sequence[str]) -> dict[str, Student]:
    """Every student by its value of --rows.

    Args:
      starts: rows of baselines, "baseline" and whatever follows, as "_pretrained".
    """
    found = {}
    for start in starts:
        for name, words in (("baseline", "itself"), ("ed2l", "ED2L")):
            for way, less in students.WAYS.items():
                teacher = start.replace("baseline", name)
                found[f"{start}{TAUGHT}{name}{way}"] = Student(start, teacher, way, f"taught by {words}{less}")
    return found


def named(
    settings: Any,
    student: Student,
    teacher: ed2l.ED2L,
    labelled: Sequence[records.Record],
    others: Sequence[records.Record],
    seed: int,
) -> tuple[pipeline.Batches, float]:
    """(What a student learns from, the share of the others' names that are right, which no training sees).

    Args:
      settings: labels, and those of `data.batches`.
      student: whom the names are for.
      teacher: its network, trained on the labelled.
      labelled, others: of `students.split`.
      seed: of the fold.
    """
    classes = settings.labels
    answers = evaluation.predict(teacher, data.batches(settings, list(others), classes, ed2l, seed, False))
    people = [r.subject for r in answers.records]
    shares = students.shares(labelled, classes)
    found = students.moved(answers.probabilities, people, student.way, shares, seed, settings.dispel_strength).argmax(
        -1
    )
    shown = [*labelled, *students.renamed(answers.records, [classes[k] for k in found])]
    right = float(np.mean(np.equal(answers[0], found)))
    return data.batches(settings, shown, classes, ed2l, seed, True), right
