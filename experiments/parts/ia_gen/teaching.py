"""Students: FER-Net taught by eq. (8), with faces redrawn from a known neutral one.

With --labelled_people=30 the expressions of so many training people are known: FER-Net and the GANs learn from these.
Of the others it is known who they are and which picture is neutral. Redrawn from that, a face cannot follow what the
input shows; so eq. (8) names the person's pictures by the nearest face, and a FER-Net learns by these names, which
sees one picture. Each of --taught_by is one:

    regenerated, corrected, both        the nearest, as `neutral.py` has them
    means, shrunk                       likewise, without a redrawn face: controls
    softmax         what FER-Net itself says: self-training, which needs no neutral face

With -dispelled behind it, a person's names are as often each expression as the labelled people show it, as in
`students.moved`; with -strangers, a control, those of as many pictures of strangers. Distances become probabilities by
their own spread over the classes, a tenth of which is the temperature.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import evaluation, records
from fer_tf.models import ia_gen

from ...run import classifier, data, jobs, students
from . import neutral

TEACHERS = {
    "softmax": "taught by itself",
    "means": "taught by class means beside the neutral face",
    "shrunk": "taught by class means three quarters beside the neutral face",
    "regenerated": "taught by eq. (8) beside the neutral face",
    "corrected": "taught by eq. (8) beside the neutral face, corrected",
    "both": "taught by eq. (8) and class means beside the neutral face",
}
"""What names the pictures -> what the table calls the student."""

STUDENTS = {f"{name}{way}": f"{words}{less}" for name, words in TEACHERS.items() for way, less in students.WAYS.items()}
"""Value of --taught_by -> what the table says behind the name of the classifier."""

SHARPNESS = 10.0
"""Distances are divided by their spread over the classes, and multiplied by this."""


def stages(settings: Any, after: Sequence[str]) -> list[jobs.Stage]:
    """The students' trainings, behind those of a fold that are named."""
    epochs = students.epochs_of(settings, True)
    return [jobs.Stage(place_of(name), "students", epochs, tuple(after)) for name in settings.taught_by]


def place_of(name: str) -> str:
    """The folder of a student in its fold's."""
    return f"taught_{name}"


def refuse(settings: Any, listed: Sequence[records.Record], folds: Sequence[records.Fold]) -> None:
    """Refuses, before anything is trained, students whom nobody can teach.

    Raises:
      ValueError: students without --labelled_people; or, where one is taught beside neutral faces, without
        --inputs=neutral or with somebody of whom there is none; or as `students.refuse`.
    """
    if settings.taught_by and not settings.labelled_people:
        raise ValueError(
            f"--taught_by={','.join(settings.taught_by)} is of people without labels: give --labelled_people."
        )
    students.refuse(settings, listed, folds)
    if beside := [name for name in settings.taught_by if not name.startswith("softmax")]:
        people = {i for fold in folds for i in fold.train}
        neutral.refuse(listed, people, settings.labels, settings.inputs, f"--taught_by={beside[0]}")


def answers(
    settings: Any,
    model: ia_gen.IAGen,
    labelled: Sequence[records.Record],
    others: Sequence[records.Record],
    seed: int,
) -> tuple[neutral.Seen, dict[str, np.ndarray]]:
    """What each of `TEACHERS` that is asked says of the others' pictures.

    Args:
      settings: labels, taught_by, and those of `data.batches`.
      model: trained on the labelled.
      labelled, others: of `students.split`.
      seed: of the fold.
    Returns:
      (their pictures, {teacher: (N, C) probabilities of the classes that are `neutral.asked`}).
    """
    faces, places = (
        neutral.seen(settings, model, others, seed),
        [settings.labels.index(c) for c in neutral.asked(settings.labels)],
    )
    found, wanted = {"softmax": faces.softmax[:, places]}, {name.partition("-")[0] for name in settings.taught_by}
    if wanted - {"softmax"}:
        theirs, usual = (neutral.known(settings, model, listed, seed) for listed in (others, labelled))
        learnt = neutral.seen(settings, model, labelled, seed)
        compared = neutral.candidates(model, faces, theirs, learnt, usual, wanted)
        found |= {way: by_distance(faces.own, one) for way, one in compared.items()}
    return faces, found


def by_distance(own: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Probabilities whose largest is eq. (8)'s: (N, F) and (N, K, F) -> (N, K) float64."""
    away = np.linalg.norm(own[:, None] - candidates, axis=-1).astype(np.float64)
    spread = np.maximum(away.std(1, keepdims=True), 1e-12)
    odds = np.exp(-SHARPNESS * (away - away.min(1, keepdims=True)) / spread)
    return odds / odds.sum(1, keepdims=True)


def teach(
    settings: Any,
    model: ia_gen.IAGen,
    labelled: Sequence[records.Record],
    others: Sequence[records.Record],
    held_out: Sequence[records.Record],
    seed: int,
    place: Path,
) -> dict[str, dict[str, Any]]:
    """Trains the students of --taught_by, and tests each once: {name in the table: {"last": answers}}.

    Args:
      settings: of the run.
      model: IA-gen, trained on the labelled.
      labelled, others: of `students.split`.
      held_out: pictures to be named.
      seed: of the fold.
      place: folder of the fold.
    """
    methods: dict[str, dict[str, Any]] = {}
    wanted = [name for name in settings.taught_by if jobs.wanted(place / place_of(name))]
    if not wanted:
        return methods
    classes, own = settings.labels, neutral.asked(settings.labels)
    faces, said = answers(settings, model, labelled, others, seed)
    known = [*records.of_classes(labelled, classes), *(r for r in others if r.expression == "neutral" in classes)]
    shares = students.shares(records.of_classes(labelled, own), own)
    test = data.batches(settings, list(held_out), classes, ia_gen, seed, False)
    for name in wanted:
        folder, (teacher, dash, way) = place / place_of(name), name.partition("-")
        found = students.moved(said[teacher], faces.people, dash + way, shares, seed, settings.dispel_strength)
        names = [own[k] for k in found.argmax(-1)]
        right = 100 * np.mean([classes.index(said_so) == k for said_so, k in zip(names, faces.labels, strict=True)])
        print(f"{folder}: its teacher names {right:.1f} % of the people without labels right.", flush=True)
        shown = [*known, *students.renamed(faces.kept, names)]
        alone, epochs = records.Fold(tuple(range(len(shown))), ()), students.epochs_of(settings, True)
        more = {"epochs": epochs, "follows": {"the teacher": model}}
        net, _ = classifier.one_fold(settings, shown, alone, classes, seed, folder, **more)
        if not jobs.is_one(settings):
            label = f"{settings.classifier_name}, {STUDENTS[name]}"
            methods[label] = {"last": evaluation.predict(net, test)}
            print(f"{place}: {label} names {100 * np.mean(np.equal(*methods[label]['last'])):.1f} %", flush=True)
    return methods
