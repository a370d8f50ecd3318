"""GCNet on people it never saw: the four variants and the two baselines (Tables II to V, Figs. 4 to 6, 8 and 11).

    python -m experiments.gcnet --preset=quick                  # one fold of the rendered faces: CNN and S1R1
    python -m experiments.gcnet --preset=paper --dataset=ck_plus --data_dir=... --encoder1=... --encoder2=...
    python -m experiments.gcnet --preset=quick --test_on=rendered/posed                 # another data set, Table VI
    python -m experiments.gcnet --preset=quick --test_on=rendered/posed --weights_out=gcnet.h5      # and its weights
    python -m experiments.gcnet --preset=quick --rows=S1R1@0.001,S1R1@0.01,S1R1@0.1 --folds=10 --together=0,1  # Fig. 11
    python -m experiments.gcnet --preset=quick --rows=cnn,S0R0,S0R0:neutral,S0R0:stranger                  # controls

--rows names the networks: cnn, metric_cnn, S0R0, S1R0, S0R1, S1R1 (Fig. 2); with another generator of Fig. 7 as in
S1R1:conv_vae, with another weight of eq. (6) as in S1R1@0.1 (Fig. 11). Training pairs a face with a neutral one of the
same person; who has none is counted and left out of the generative terms alone. --encoder1 and --encoder2 are weights
of `experiments/pretrain_gcnet.py`; a row that names a generator of Fig. 7 starts from nothing (section IV-E), for which
`quick`'s rate of 0.1 is too high: give --rate=0.01.

Not the paper's are these (`fer_tf/models/gcnet.py`, Deviations). S0R0+plain compares by e - e_r, S0R0+signed by eq. (2)
without its absolute value, S0R0+both by e beside e - e_r; S0R0:unet generates by a U-Net. --generator_epochs lets a
generator learn first, and --frozen keeps it.

--labelled_people=30 is for data of which little is labelled: the expressions of so many training people are known, of
the others who they are and a neutral face. cnn:taught-neutral is the CNN, taught by what S0R0+plain:neutral names of
these; its controls cnn:taught-cnn, cnn:taught-cnn-dispelled and cnn:taught-centred have the same pictures and steps
(`parts/gcnet/teaching.py`). --shown_expressions=3 leaves of each of the others three, as people of CK+ show.

Controls: S0R0:neutral and S0R0:stranger are trained and tested with real neutral faces in place of generated ones, the
person's own, which is the ceiling of what a generator can do, or somebody else's, the floor. Two more use the person's
other tested pictures, without their labels, as a film or an album has them: the reference of S0R0:mean_face is their
mean face, and cnn:centred tests the network of cnn once more, each code less its person's mean and plus that of the
training pictures. These are held against each other: a network that sees one picture knows less. S0R0:mean_face-4 and
cnn:centred-4 take four others, drawn for each picture; cnn:centred-2kinds those of two expressions. What stands beside
S0R0+plain:neutral and :stranger is cnn:neutral and cnn:stranger: the network of cnn, each code less that of the same
neutral face, plus the mean one of the training people. Nothing is trained for them either. What is exported is the last
of --rows that a user can ask: one that needs nothing but a face, or a :neutral one, whose SavedModel takes both.

A finished run that is started again draws and tests anew from its checkpoints.

One CPU core (Xeon with AMX), seed 0, `quick` with all six rows and --only_folds=0,1,2 takes 95 minutes beside other
work; the CNN names 88.02 +- 1.53 %. RESULTS.md has what was run of the other rows since images and references pass
Encoder2 as one batch. Not run: `paper`.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fer_tf import evaluation, export, pipeline, predictions, records, weights
from fer_tf.models import gcnet

from .parts.gcnet import albums, controls, net, pictures, reference, teaching
from .parts.gcnet.row import NAMES, Row, stage_name, stages_of
from .run import command_line, cross, data, fitting, jobs, provenance, releasing, report, settings, students, work
from .run.settings import setting

PRESETS = {
    "paper": {"folds": 10, "detector": "auto", "epochs": 20_000, "max_steps": 300_000, "views": 100},
    "quick": {
        "only_folds": "0", "rows": ("cnn", "S1R1"), "epochs": 20, "batch_size": 32, "views": 1, "rate": 0.1,
        "gamma": 0.01, "multiplier": 1.0, "lambda_g": 10.0, "lambda_ri": 10.0, "lambda_rr": 10.0, "lambda_s": 0.01,
        "encoder1": "gcnet_encoder1_rendered", "encoder2": "gcnet_encoder2_rendered",
    },
    "smoke": {
        "folds": 2, "epochs": 1, "batch_size": 4, "views": 1, "max_steps": 2, "width": 0.0625, "max_subjects": 4,
        "classes": "anger,happiness", "rows": ("cnn", "S1R1"),
    },
}  # fmt: skip
ARGUMENTS = ("padding", "lambda_c", "lambda_g", "lambda_ri", "lambda_rr", "weight_decay", "width")
"""Settings that `gcnet.GCNet` takes as they are."""


@settings.command(PRESETS)
class Settings(net.Net, students.Dispelled, settings.Views, cross.Cross):
    """GCNet's, and what every run has."""

    batch_size: int = 64
    fold_order: str = "strided"
    rows: tuple[str, ...] = setting(
        ("cnn", "metric_cnn", "S0R0", "S1R0", "S0R1", "S1R1"), "Which networks; see the docstring."
    )
    encoder1: str = setting(
        "none", "Weights of an Autoencoder, whose encoder Encoder1 takes over, or none.", place="path"
    )
    encoder2: str = setting("none", "Weights of a CNN that identifies people for Encoder2, or none.", place="path")
    gamma: float = setting(1e-4, "Of the inverse policy.")
    power: float = setting(0.75, "Of the inverse policy.")
    multiplier: float = setting(10.0, "Of the decoders' rate.")
    margin: float = setting(
        0.0, "m of eq. (6); 0 takes the median distance of training faces from their references at the start.", low=0
    )
    together: str = setting(
        "", "Folds that are tested as one, all others train: 0,1 of ten is Fig. 11's; each by itself when empty."
    )
    generator_epochs: int = setting(
        0, "Epochs in which a generator learns eq. (5) alone, before the rest; 0: all learn together.", low=0
    )
    generator_rate: float = setting(1e-3, "Of Adam in these.")
    frozen: bool = setting(False, "The generator stays as these leave it, and Encoder2 learns beside it.")
    lambda_c: float = setting(1.0, "Weight of the classification in eq. (4); 0 with --rows=S0R1 is Fig. 8 (d).")
    lambda_g: float = setting(1.0, "Weight of eq. (5).")
    lambda_s: float = setting(1.0, "Weight of eq. (6).")
    lambda_ri: float = setting(0.25, "Weight of eq. (8).")
    lambda_rr: float = setting(0.25, "Weight of eq. (9).")
    weight_decay: float = setting(1e-4, "L2 in the gradient.")


class Fold(NamedTuple):
    """Every row on one fold: its network, {last|best: (labels, predictions)} by its name, and the tested batches."""

    models: dict[Row, gcnet.GCNet]
    methods: dict[str, Any]
    test: pipeline.Batches


def build(
    settings: Settings,
    row: Row,
    classes: tuple[str, ...],
    seed: int,
    learn: pipeline.Batches | None = None,
    trained: gcnet.Autoencoder | None = None,
) -> gcnet.GCNet:
    """The compiled network of a row, its encoders from --encoder1 and --encoder2, its margin of `learn`.

    Of stage one's generator, `trained`, it takes all weights over.
    """
    model = gcnet.GCNet(
        classes=classes,
        variant=row.variant,
        generator=gcnet.GIVEN if row.control else row.generator,
        frozen=settings.frozen and trained is not None,
        delta=row.delta,
        lambda_s=row.lambda_s,
        seed=seed,
        **{name: getattr(settings, name) for name in ARGUMENTS},
    )
    for flag, name, part in (
        ("encoder1", settings.encoder1, "generator/encoder1"),
        ("encoder2", settings.encoder2, "encoder2"),
    ):
        file = provenance.weights_file(name)
        if file and row.pretrained and (flag == "encoder2" or (model.generates and row.has_encoder1)):
            provenance.refuse_tested_people(file, flag, settings.tested_name)
            weights.load(model, file, only=part)
    if trained is not None:
        if model.frozen:
            trained.generator_net.trainable = False  # Keras 2 lists what is trained first
        model.generator_net.set_weights(trained.generator_net.get_weights())
    if settings.margin:
        model.margin = settings.margin
    elif learn is not None and model.contrasts:
        model.margin = controls.start_margin(model, learn)
    policy = {"multiplier": settings.multiplier, "gamma": settings.gamma, "power": settings.power}
    model.compile(**gcnet.optimizers(model, settings.rate, **policy))
    return model


def one_fold(
    settings: Settings,
    listed: Sequence[records.Record],
    fold: records.Fold,
    rows: Sequence[Row],
    classes: tuple[str, ...],
    seed: int,
    place: Path,
) -> Fold:
    """Trains and tests every row; people of --test_on once, when it is trained, not after each epoch."""
    models, methods = {}, {}
    learn, nameless = students.split(
        [listed[i] for i in fold.train], settings.labelled_people, seed, settings.shown_expressions
    )
    pairs, without = records.neutral_pairs(learn, classes)
    if without:
        print(f"{place}: {len(without)} people have no neutral face: {', '.join(without)}", file=sys.stderr)
    everybody = [listed[i] for i in fold.test]
    test = data.batches(settings, records.of_classes(everybody, classes), classes, gcnet, seed, False)

    @functools.cache
    def responses(cnn: gcnet.GCNet) -> albums.Responses:
        faces = data.batches(settings, records.of_classes(learn, classes), classes, gcnet, seed, False)
        return albums.Responses.of(cnn, faces, test)

    for text, row in zip(settings.rows, rows, strict=True):
        if row.again:
            if cnn := next((model for own, model in models.items() if own.name == NAMES["cnn"]), None):
                methods[row.name] = {"last": again(settings, row, cnn, (learn, everybody), seed, responses)}
                tell(place, row, methods)
            continue
        folder = place / stage_name(text)
        if not jobs.wanted(folder) and not jobs.wanted(reference.place_of(folder)):
            continue
        strategy, shown, own, tested = fitting.setup(settings, seed), learn, pairs, test
        if row.control:
            shown, own, tested = controlled(settings, row, learn, everybody, seed)
        elif row.variant == "cnn":
            own = {"image": pairs["image"]}
        teacher = models[teacher_of(row, models)] if row.teacher else None
        if teacher is not None:
            shown, own = taught(settings, row, teacher, learn, nameless, seed, folder)
        train = data.batches(settings, shown, classes, gcnet, seed, True, pairs=own)
        first = None
        if settings.generator_epochs and row.generates:
            start = settings.encoder1 if row.pretrained else "none"
            first = reference.train(settings, row.generator, train, seed, reference.place_of(folder), start)
        make = functools.partial(build, settings, row, classes, seed, train, first)
        behind = {"the generator": first} if first else {"the teacher": teacher} if teacher else None
        epochs = students.epochs_of(settings, bool(row.teacher))
        watched = None if settings.tested_elsewhere else tested
        models[row], methods[row.name] = fitting.fit_and_test(
            settings, make, train, watched, folder, strategy, follows=behind, epochs=epochs
        )
        if settings.tested_elsewhere and not jobs.is_one(settings):
            methods[row.name] = {"last": evaluation.predict(models[row], tested)}
        if methods[row.name]:
            tell(place, row, methods)
    return Fold(models, methods, test)


def again(
    settings: Settings,
    row: Row,
    cnn: gcnet.GCNet,
    parts: tuple[list[records.Record], list[records.Record]],
    seed: int,
    responses: Callable[[gcnet.GCNet], albums.Responses],
) -> predictions.Answers:
    """What the trained CNN names with more pictures of the person: all, or neutral faces. Nothing is trained.

    Args:
      settings, row, seed: of the fold.
      cnn: its CNN.
      parts: what that has learnt from, and the held-out people's records.
      responses: of that CNN to both.
    """
    if row.generator in controls.LESS:
        return controls.less_reference(settings, cnn, *parts, settings.labels, row.generator, seed)
    return albums.centred(cnn, responses(cnn), seed, row.album)


def tell(place: Path, row: Row, methods: dict[str, Any]) -> None:
    """Prints what a row names of a fold."""
    print(f"{place}: {row.name} names {100 * np.mean(np.equal(*methods[row.name]['last'])):.1f} %", flush=True)


def teacher_of(row: Row, rows: Iterable[Row]) -> Row | None:
    """The network among some rows that teaches a student; None where it is not there."""
    needed = Row.read(teaching.TEACHERS[row.teacher], row.lambda_s)
    return next((other for other in rows if other.name == needed.name), None)


def taught(
    settings: Settings,
    row: Row,
    teacher: gcnet.GCNet,
    learn: list[records.Record],
    nameless: list[records.Record],
    seed: int,
    folder: Path,
) -> tuple[list[records.Record], dict[str, list[int]]]:
    """A student's (records to train on: the labelled ones and those that the teacher names, their `pairs`)."""
    students, right = teaching.named(settings, row.teacher, teacher, learn, nameless, seed, row.way)
    print(f"{folder}: its teacher names {100 * right:.1f} % of the people without labels right.", flush=True)
    shown = [*records.of_classes(learn, settings.labels), *students]
    return shown, {"image": [*range(len(shown))]}


def controlled(
    settings: Settings, row: Row, learn: list[records.Record], everybody: list[records.Record], seed: int
) -> tuple[list[records.Record], dict[str, list[int]], pipeline.Batches]:
    """A control's (records to train on with its references, their `pairs`, tested batches)."""
    (seen, own), (unseen, theirs) = (
        controls.referred(part, settings.labels, row.generator, seed, row.album) for part in (learn, everybody)
    )
    return seen, own, data.batches(settings, unseen, settings.labels, gcnet, seed, False, pairs=theirs)


def load(settings: Settings) -> list[records.Record]:
    """The records of --classes, with the neutral ones of whom they show; --max_subjects of these people.

    Raises:
      ValueError: no such records, as `data.load`.
    """
    listed = data.load(settings, with_neutral(settings.labels))
    data.refuse_nameless(listed, "GCNet compares faces with the neutral one of the same person")
    labelled = {r.subject for r in listed if r.expression in settings.labels}
    return data.first_subjects([r for r in listed if r.subject in labelled], settings.max_subjects)


def with_neutral(classes: Sequence[str]) -> tuple[str, ...]:
    """The classes, and neutral, which every reference shows."""
    return tuple(dict.fromkeys([*classes, "neutral"]))


def rows_of(settings: Settings) -> list[Row]:
    """The networks of --rows, and a word on stderr where they leave --encoder1 and --encoder2 aside.

    Raises:
      ValueError: one of them is none, or the settings do not fit together.
    """
    rows = [Row.read(text, settings.lambda_s) for text in settings.rows]
    net.refuse_all_views(settings.views)
    if bare := [row.name for row in rows if not row.pretrained]:
        print(f"From nothing, without --encoder1 and --encoder2: {'; '.join(bare)}.", file=sys.stderr)
    if settings.preset == "paper" and "none" in (settings.encoder1, settings.encoder2):
        print("--preset=paper WITHOUT THE PAPER'S PRE-TRAINING (section IV-A, on CASIA-WebFace): make weights with "
              "experiments.pretrain_gcnet and give --encoder1 and --encoder2.", file=sys.stderr)  # fmt: skip
    names = [row.name for row in rows]
    for i, (text, row) in enumerate(zip(settings.rows, rows, strict=True)):
        if row.again and NAMES["cnn"] not in names[:i]:
            raise ValueError(f"--rows: {text} tests the network of cnn once more: give cnn before it.")
    for i, row in enumerate(rows):
        if row.teacher and (not settings.labelled_people or teacher_of(row, rows[:i]) is None):
            raise ValueError(
                f"--rows: cnn:{teaching.TAUGHT}-{row.teacher}{row.way} learns by what {teaching.TEACHERS[row.teacher]} "
                "names of people without labels: give that before it, and --labelled_people."
            )
    if settings.frozen and not settings.generator_epochs:
        raise ValueError("--frozen keeps a generator as --generator_epochs has trained it: give these.")
    if settings.together and settings.test_on:
        raise ValueError("--together is of folds, which --test_on has not: leave one of them out.")
    if settings.together and settings.validation:
        raise ValueError("--validation is of single folds: with --together it would test who is held out.")
    cross.refuse(settings)
    releasing.refuse(settings)
    return rows


def run_folds(
    settings: Settings,
    listed: Sequence[records.Record],
    folds: Sequence[records.Fold],
    rows: Sequence[Row],
    folder: Path,
) -> tuple[list[dict[str, Any]], Fold]:
    """Every chosen fold of every run, with what its generators are worth; pictures of the first.

    Returns:
      ([{"run", "fold", "methods", "generation"}], the last fold).
    """
    tested: list[dict[str, Any]] = []
    stages = stages_of(settings, rows)
    for number_of_run, number in jobs.pairs(settings, folder, data.chosen_folds(settings, len(folds)), stages):
        place, seed = folder / f"run{number_of_run}" / f"fold{number}", settings.seed + number_of_run
        fold = one_fold(settings, listed, folds[number], rows, settings.labels, seed, place)
        held_out = [listed[i] for i in folds[number].test]
        made = {row: model for row, model in fold.models.items() if not row.control}
        generation = pictures.measure_references(made, fold.test, held_out)
        tested.append({"run": number_of_run, "fold": number, "methods": fold.methods, "generation": generation})
        if len(tested) == 1:
            pictures.draw_features(made, fold.test, settings.seed, folder)
            pictures.draw_sequences(settings, made, pictures.whole(settings, held_out), folder)
            pictures.draw_faces(made, fold.test, held_out, folder)
    return tested, fold


@work.alone
def run(settings: Settings) -> report.Results:
    """Records -> folds -> the networks of --rows -> table, pictures, exported model."""
    start, classes, rows = time.time(), settings.labels, rows_of(settings)
    listed = load(settings)
    if not settings.test_on:
        data.refuse_undealt(settings, listed, classes)
    folder = work.folder(settings, "gcnet")
    if settings.test_on:
        listed, folds = cross.fold(settings, listed, with_neutral(classes), folder)
    else:
        folds = data.joined(settings.together, data.make_folds(settings, listed, classes, folder))
    teachers = [row.teacher for row in rows if row.teacher]
    students.refuse(settings, listed, folds)
    for dealt in folds:
        teaching.refuse([listed[i] for i in dealt.train], teachers, classes)
    tested, fold = run_folds(settings, listed, folds, rows, folder)
    sizes = {row.name: sum(int(np.prod(v.shape)) for v in m.trainable_variables) for row, m in fold.models.items()}
    generation = [entry["generation"] for entry in tested]
    more = {"generation": generation, "parameters": sizes, "margins": controls.noted(fold.models)}
    methods = report.write(settings, tested, classes, folder, time.time() - start, **more)
    print("weights that are trained: " + ", ".join(f"{name} {size:,}" for name, size in sizes.items()))
    pictures.draw_weights(methods, rows, folder)
    learn, everybody = ([listed[i] for i in part] for part in folds[-1][:2])
    exported = export_last(settings, tested, fold, folder, learn, everybody)
    print(f"Table, pictures and metrics.json are in {folder}.")
    models = {row.name: model for row, model in fold.models.items()}
    return report.Results(folder, methods, models, exported, generation)


def export_last(
    settings: Settings,
    tested: Sequence[dict[str, Any]],
    fold: Fold,
    folder: Path,
    learn: Sequence[records.Record],
    everybody: Sequence[records.Record],
) -> Path | None:
    """Exports, and with --weights_out releases, the last network of --rows.

    Of those that are given real faces it may be one beside the person's own neutral face, which a user may have; the
    other controls are for measuring.

    Args:
      settings, tested, fold, folder: of the run.
      learn, everybody: what the fold has learnt from, and the records of the people who are held out.
    Returns:
      The export's folder, if there is one.
    """
    of_use = [row for row in fold.models if not row.control or row.generator == "neutral"]
    if not of_use:
        return None
    row, model = of_use[-1], fold.models[of_use[-1]]
    about = provenance.of_export(settings, tested[-1], row=row.name)
    faces = data.some_faces(fold.test.records, gcnet.TEMPLATE)
    export.save(model, folder / "export", metadata=about, faces=faces)
    print(f"{row.name} is in {folder / 'export'}.")
    first, test = next(iter(fold.methods)), fold.test
    if row.control and settings.weights_out:
        seed = settings.seed + tested[-1]["run"]
        test = controls.test_views(settings, everybody, settings.labels, row.generator, seed)
    starts = [provenance.weights_file(settings.encoder1), provenance.weights_file(settings.encoder2)]
    beside = {"baseline": first if first != row.name else None}
    beside["behind"] = provenance.behind(*starts) if row.pretrained else []
    releasing.release(settings, model, row.name, learn, test, tested[-1], **beside)
    return folder / "export"


if __name__ == "__main__":
    command_line.main(Settings, run)
