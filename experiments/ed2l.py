"""ED2L on people it never saw: the net without and with its dispelling branch (Tables 2 to 5, Figs. 3 to 5).

    python -m experiments.ed2l --preset=quick                  # one fold of the rendered faces
    python -m experiments.ed2l --preset=paper --dataset=ck_plus --data_dir=...
    python -m experiments.ed2l --preset=quick --test_on=rendered/posed --weights_out=ed2l.h5    # another data set

    python -m experiments.ed2l --preset=quick --dispeller_steps=5                       # its dispeller is a player
    python -m experiments.ed2l --preset=quick --dispeller_steps=5 --warm_up=4           # and learns before it is fooled
    python -m experiments.ed2l --preset=quick --lambda_identity=1                       # f_t hides who is shown, too
    python -m experiments.ed2l --preset=quick --labelled_people=20 \
        --rows=baseline,ed2l,baseline:taught-baseline,baseline:taught-ed2l-dispelled          # a student, and a control

Up to four rows, as in the tables: --rows=baseline,ed2l,baseline_pretrained,ed2l_pretrained. The last two start from
FER-2013 (weights of `experiments/pretrain_ed2l.py`): --init and --baseline_init. The paper trained both starts alike,
and so are those in weights/; of any two that are not, the command says it. They are no `paper`'s, which has none: make
your own. Fresh linear probes on f_t and f_p say what either holds of the expression and of the person. Besides the
table and the confusion matrices (Fig. 3) it draws the t-SNE of every row's FC-256 features on the first fold that is
run (Fig. 4) and the heat-maps of both branches' down-sampling layers on the last (Fig. 5). A finished run that is
started again draws and tests anew from its checkpoints. Students, rows that another network teaches, are not in the
paper (`parts/ed2l/teaching.py`); --shown_expressions=3 leaves of whom they learn three expressions each.

One CPU core (Xeon with AMX) beside other work, seed 0, `quick` with four rows and --only_folds=0,1,2, 64 minutes:
baseline 83.57 +- 6.35 %, ED2L 82.78 +- 5.50 %. RESULTS.md has the pre-trained. Not run: `paper`.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fer_tf import evaluation, export, figures, pipeline, records, weights
from fer_tf.models import ed2l

from .parts.ed2l import measures, net, teaching
from .run import (
    command_line,
    cross,
    data,
    fitting,
    jobs,
    probes,
    provenance,
    releasing,
    report,
    settings,
    students,
    work,
)
from .run.settings import setting

PRESETS = {
    "paper": {
        "folds": 10, "detector": "auto", "epochs": 100, "batch_size": 64, "rate": 1e-4, "init": "none",
        "baseline_init": "none",
    },
    "quick": {
        "only_folds": "0", "rows": ("baseline_pretrained", "ed2l_pretrained"), "epochs": 12, "batch_size": 32,
        "views": 1, "rate": 3e-4, "decay_to": 0.0,
    },
    "smoke": {
        "folds": 2, "epochs": 1, "batch_size": 4, "views": 1, "max_steps": 2, "width": 0.0625, "max_subjects": 4,
        "classes": "anger,happiness", "rows": ("baseline", "ed2l"),
    },
}  # fmt: skip
ROWS = {
    "baseline": "Baseline",
    "ed2l": "ED2L",
    "baseline_pretrained": "Baseline, pre-trained",
    "ed2l_pretrained": "ED2L, pre-trained",
}
"""Value of --rows -> its name in the table: the paper's."""
STUDENTS = teaching.made(["baseline", "baseline_pretrained"])
"""Value of --rows -> who teaches whom."""
NAMES = {**ROWS, **{row: f"{ROWS[student.start]}, {student.words}" for row, student in STUDENTS.items()}}
"""Value of --rows -> its name in the table: all."""


@settings.command(PRESETS)
class Settings(net.Net, students.Dispelled, settings.Views, settings.Init, cross.Cross):
    """ED2L's, and what every run has."""

    init: str = "ed2l_fer2013"
    batch_size: int = 64
    rows: tuple[str, ...] = setting(tuple(ROWS), "Which networks.", low=1, choices=NAMES)
    lambda_identity: float = setting(
        0.0, "Weight of dispelling who is shown from f_t, in the rows of ED2L; 0, as printed: none.", low=0
    )
    baseline_init: str = setting("ed2l_baseline_fer2013", "What the baseline starts from, as --init.", place="path")


def baselines(rows: Sequence[str]) -> dict[str, str]:
    """Name of each ED2L and student among the rows -> that of the baseline with the same start."""
    beside = {row: row.replace("ed2l", "baseline") for row in rows if row.startswith("ed2l")}
    beside |= {row: STUDENTS[row].start for row in rows if row in STUDENTS}
    return {NAMES[row]: NAMES[baseline] for row, baseline in beside.items() if baseline in rows}


def place_of(row: str) -> str:
    """The folder of a row in its fold's."""
    return row.replace(":", "_")


def start_of(row: str) -> str:
    """The row, or of a student the one whose network and start it has."""
    return STUDENTS[row].start if row in STUDENTS else row


def refuse_students(settings: Settings) -> None:
    """Raises ValueError where a student of --rows has no teacher before it, or nobody is without labels."""
    for number, row in enumerate(settings.rows):
        if row in STUDENTS and not (settings.labelled_people and STUDENTS[row].teacher in settings.rows[:number]):
            raise ValueError(
                f"--rows: {row} learns by what {STUDENTS[row].teacher} names of people without labels: give that "
                "before it, and --labelled_people."
            )


class Fold(NamedTuple):
    """Every row on one fold: its network, {last|best: (labels, predictions)} by its name, what is tested, probes."""

    models: dict[str, ed2l.ED2L]
    methods: dict[str, Any]
    test: pipeline.Batches
    probes: dict[str, dict[str, float | None]]


def starts(settings: Settings) -> dict[str, Path]:
    """Row -> the weights of FER-2013 that it starts from, for the pre-trained ones.

    Raises:
      FileNotFoundError: there are no such weights.
      ValueError: none are given, or they have seen the people to be tested.
    """
    files = {}
    for row in settings.rows:
        if start_of(row).endswith("_pretrained"):
            flag = "init" if row.startswith("ed2l") else "baseline_init"
            file = provenance.weights_file(getattr(settings, flag))
            if file is None:
                raise ValueError(
                    f"--rows={row} starts from pre-trained weights: give --{flag}. experiments.pretrain_ed2l makes "
                    "them, the baseline's with --nodispelling; the paper trained both alike."
                )
            provenance.refuse_tested_people(file, flag, settings.tested_name)
            files[row] = file
    return files


def tell_unequal(files: Mapping[str, Path]) -> str:
    """What is to be said, and is on stderr, where ED2L and its baseline start from unlike trainings; else empty."""
    how = {row: [*provenance.how_trained(file)] for row, file in files.items() if row in ROWS}
    if len(how) < 2 or how["ed2l_pretrained"] == how["baseline_pretrained"]:
        return ""
    said = "; ".join(
        f"{row}: {', then '.join(' '.join(words) or 'as by default' for words in how[row])}" for row in how
    )
    said = f"The starts were not trained alike, so that the rows' difference is no measure of the method ({said})."
    print(said, file=sys.stderr)
    return said


def build(
    settings: Settings, row: str, classes: tuple[str, ...], steps: int, start: Path | None, people: int = 0
) -> ed2l.ED2L:
    """The compiled network of a row, to be trained for so many steps; from `start` all but what names expressions.

    Args:
      settings, row, classes, steps: as said; a student's row is built as the baseline it starts as.
      start: weights, or None.
      people: in training, of whom --lambda_identity has a classifier; none where nothing is trained.
    """
    dispelling, identity = row.startswith("ed2l"), {}
    if dispelling and people and settings.lambda_identity:
        identity = {"lambda_identity": settings.lambda_identity, "identities": people}
    epoch = steps // students.epochs_of(settings, row in STUDENTS)
    model = net.build(settings, classes, dispelling, epoch, **identity)
    if start:
        weights.load(model, start, skip=["classifier", *["dispeller"] * dispelling, *["identifier"] * bool(identity)])
    net.compile(settings, model, steps)
    return model


def one_fold(
    settings: Settings,
    listed: list[records.Record],
    fold: records.Fold,
    classes: tuple[str, ...],
    seed: int,
    place: Path,
) -> Fold:
    """Trains and tests every row. People of --test_on are read once, when all is trained, not after each epoch."""
    models, methods, start = {}, {}, starts(settings)
    known, nameless = students.split(
        [listed[i] for i in fold.train], settings.labelled_people, seed, settings.shown_expressions
    )
    learn, test = (
        data.batches(settings, part, classes, ed2l, seed, for_training)
        for part, for_training in ((known, True), ([listed[i] for i in fold.test], False))
    )
    watched = None if settings.tested_elsewhere else test
    for row in settings.rows:
        if not jobs.wanted(folder := place / place_of(row)):
            continue
        strategy, own, student = fitting.setup(settings, seed), learn, STUDENTS.get(row)
        teacher = models[student.teacher] if student else None
        if student and teacher:
            own, right = teaching.named(settings, student, teacher, known, nameless, seed)
            print(f"{folder}: its teacher names {100 * right:.1f} % of the people without labels right.", flush=True)
        epochs, people = students.epochs_of(settings, bool(student)), len(own.subjects)
        make = functools.partial(build, settings, row, classes, epochs * len(own), start.get(row), people)
        follows = {"the teacher": teacher} if teacher else None
        models[row], methods[NAMES[row]] = fitting.fit_and_test(
            settings, make, own, watched, folder, strategy, epochs=epochs, follows=follows
        )
    if settings.tested_elsewhere and not jobs.is_one(settings):
        methods = {NAMES[row]: {"last": evaluation.predict(model, test)} for row, model in models.items()}
    for name, pairs in methods.items():
        if pairs:
            print(f"{place}: {name} names {100 * np.mean(np.equal(*pairs['last'])):.1f} %", flush=True)
    seen = data.batches(settings, known, classes, ed2l, seed, False)
    untrained = net.build(settings, classes, True)
    named = {NAMES[row]: model for row, model in models.items()}
    return Fold(models, methods, test, measures.measure(named, seen, test, untrained))


def draw_features(
    models: dict[str, ed2l.ED2L], test: pipeline.Batches, classes: tuple[str, ...], seed: int, folder: Path
) -> None:
    """Fig. 4: t-SNE of f_t of held-out people, every row's network side by side."""
    batches = list(test.epoch(0))
    labels = np.concatenate([b["label"].numpy() for b in batches])
    shown = {NAMES[row]: model for row, model in models.items()}
    features = {name: np.concatenate([m.features(b["image"]).numpy() for b in batches]) for name, m in shown.items()}
    if len(labels) >= 4:
        figures.save(figures.tsne(features, labels, classes, seed=seed), folder / "tsne.png")


def draw_maps(row: str, model: ed2l.ED2L, test: pipeline.Batches, classes: tuple[str, ...], folder: Path) -> None:
    """Fig. 5: where both branches of a row's network look, two held-out people in every expression."""
    batch = next(iter(test.epoch(0)))
    labels, index = batch["label"].numpy(), batch["index"].numpy()
    people = [test.records[i].subject for i in index]
    for number, person in enumerate(dict.fromkeys(people)):
        if number == 2:
            break
        own = [i for i, p in enumerate(people) if p == person]
        rows = [[i for i in own if labels[i] == k][-1] for k in range(len(classes)) if any(labels[own] == k)]
        images = batch["image"].numpy()[rows]
        maps = {f"ED2L-{n}": m.numpy() for n, m in model.maps(images).items()}
        picture = figures.heatmaps(images, maps, [classes[labels[i]] for i in rows])
        figures.save(picture, folder / f"heatmaps_{row}_{number}.png")


def stage(settings: Settings, row: str) -> jobs.Stage:
    """The training of a row; a student's is behind its teacher's."""
    after = (place_of(STUDENTS[row].teacher),) if row in STUDENTS else ()
    return jobs.Stage(place_of(row), "networks", students.epochs_of(settings, row in STUDENTS), after)


@work.alone
def run(settings: Settings) -> report.Results:
    """Records -> folds -> up to four networks -> table, pictures, exported model."""
    start, classes = time.time(), settings.labels
    cross.refuse(settings)
    releasing.refuse(settings)
    refuse_students(settings)
    files, tested = starts(settings), []
    unequal = tell_unequal(files)  # refuses before anything is trained
    listed = data.first_subjects(data.load(settings, classes), settings.max_subjects)
    if not settings.test_on:
        data.refuse_undealt(settings, listed, classes)
    folder = work.folder(settings, "ed2l")
    listed, folds = cross.dealt(settings, listed, classes, folder)
    for fold in folds:
        learn = [listed[i] for i in fold.train]
        if settings.lambda_identity:
            data.refuse_nameless(learn, "--lambda_identity dispels who is shown")
        if settings.labelled_people:
            data.refuse_nameless(learn, "--labelled_people draws people")
    students.refuse(settings, listed, folds)
    stages = [stage(settings, row) for row in settings.rows]
    for number_of_run, number in jobs.pairs(settings, folder, data.chosen_folds(settings, len(folds)), stages):
        place, seed = folder / f"run{number_of_run}" / f"fold{number}", settings.seed + number_of_run
        fold = one_fold(settings, listed, folds[number], classes, seed, place)
        tested.append({"run": number_of_run, "fold": number, "methods": fold.methods, "probes": fold.probes})
        if len(tested) == 1:
            draw_features(fold.models, fold.test, classes, settings.seed, folder)
    for row in ("ed2l", "ed2l_pretrained"):
        if row in fold.models:
            draw_maps(row, fold.models[row], fold.test, classes, folder)
    seconds, row, probed = time.time() - start, settings.rows[-1], [entry["probes"] for entry in tested]
    more = {"probes": probed, **({"starts": unequal} if unequal else {})}
    methods = report.write(settings, tested, classes, folder, seconds, baselines=baselines(settings.rows), **more)
    print(probes.text(probed))
    faces = data.some_faces(fold.test.records, ed2l.TEMPLATE)
    about = provenance.of_export(settings, tested[-1], row=row, **report.noted(folder))
    export.save(fold.models[row], folder / "export", metadata=about, faces=faces)
    print(f"Table, pictures and metrics.json are in {folder}; {NAMES[row]} is in {folder / 'export'}.")
    learn, behind = [listed[i] for i in folds[-1].train], provenance.behind(files.get(row))
    beside = {"baseline": baselines(settings.rows).get(NAMES[row]), "behind": behind}
    releasing.release(settings, fold.models[row], NAMES[row], learn, fold.test, tested[-1], **beside)
    return report.Results(folder, methods, {NAMES[r]: m for r, m in fold.models.items()}, folder / "export", probed)


if __name__ == "__main__":
    command_line.main(Settings, run)
