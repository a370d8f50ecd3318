"""Students: the CNN taught by what another network names, of people of whom a neutral face is known.

With --labelled_people=30 the expressions of so many training people are known. Of the others the networks of --rows
learn nothing, but for the students: cnn:taught-neutral learns by what e - e_r beside the true neutral face says,
cnn:taught-centred, a control with the same pictures, by the CNN's code less that of the neutral face, and
cnn:taught-cnn by what the CNN itself says, which is self-training. All three are the CNN, see one picture, and take as
many steps. With -dispelled behind it, another control, a person's answers get the same mean as everybody's, and with
-strangers those of strangers (`students.moved`): cnn:taught-cnn-dispelled needs no neutral face.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fer_tf import evaluation, records
from fer_tf.models import gcnet

from ...run import data, students
from . import albums, controls

TAUGHT = "taught"
"""After the colon of the CNN, before a minus and one of `TEACHERS`."""

CENTRED = albums.CENTRED

TEACHERS = {"cnn": "cnn", CENTRED: "cnn", "neutral": "S0R0+plain:neutral"}
"""What teaches -> the network of --rows that it needs."""

WORDS = {
    "cnn": "taught by itself",
    CENTRED: "taught by its centred code",
    "neutral": "taught by e - e_r",
}
"""What teaches -> what the table calls the student."""


def refuse(listed: Sequence[records.Record], teachers: Sequence[str], classes: Sequence[str]) -> None:
    """Raises ValueError where somebody has no neutral face, and one of these teachers compares with it.

    Args:
      listed: of the training people.
      teachers: of `TEACHERS`.
      classes: that are named.
    """
    without = records.neutral_pairs(listed, classes)[1]
    if without and {*teachers} - {"cnn"}:
        raise ValueError(
            f"--rows: cnn:{TAUGHT}-neutral and cnn:{TAUGHT}-{CENTRED} compare with real neutral faces, and "
            f"{without[0]} has none: leave them out, or give cnn:{TAUGHT}-cnn."
        )


def named(
    settings: Any,
    teacher: str,
    model: gcnet.GCNet,
    labelled: Sequence[records.Record],
    others: Sequence[records.Record],
    seed: int,
    way: str = "",
) -> tuple[list[records.Record], float]:
    """(The others' pictures of --classes, each with the expression that the teacher names; the share that is right).

    What is neutral is known to be, and counts in neither. The share is for the reader: no training sees it.

    Args:
      settings: labels, dispel_strength, and those of `data.batches`.
      teacher: one of `TEACHERS`.
      model: its network, trained on the labelled.
      labelled, others: of `students.split`.
      seed: of the fold.
      way: of `students.WAYS`.
    Raises:
      ValueError: somebody of the others has no neutral face, and the teacher compares with it.
    """
    classes = settings.labels
    asked = [c for c in classes if c != "neutral"]
    if teacher == "cnn":
        own = records.of_classes(others, asked)
        answers = evaluation.predict(model, data.batches(settings, own, classes, gcnet, seed, False))
    elif teacher == "neutral":
        answers = evaluation.predict(model, controls.test_views(settings, others, asked, "neutral", seed))
    else:
        answers = controls.less_reference(settings, model, labelled, others, asked, "neutral", seed)
    labels, predictions = answers
    if way:
        places, people = [classes.index(c) for c in asked], [r.subject for r in answers.records]
        shares = students.shares(records.of_classes(labelled, asked), asked)
        given = answers.probabilities[:, places]
        found = students.moved(given, people, way, shares, seed, settings.dispel_strength)
        predictions = np.array(places)[found.argmax(-1)]
    shown = students.renamed(answers.records, [classes[k] for k in predictions])
    shown += [r for r in others if r.expression == "neutral"] if "neutral" in classes else []
    return shown, float(np.mean(np.equal(labels, predictions)))
