"""IA-gen on people it never saw: FER-Net's softmax beside the nearest regenerated face (Tables I to IV, Figs. 4 to 9).

    python -m experiments.ia_gen --preset=quick                     # one fold of the rendered faces, width 1/4
    python -m experiments.ia_gen --preset=paper --dataset=ck_plus --data_dir=... --gan_init=<a --all_subjects run>
    python -m experiments.ia_gen --preset=quick --all_subjects      # weights to release, or to start from
    python -m experiments.ia_gen --preset=quick --all_subjects --options=part=wild --workdir=runs/wild  # other people
    python -m experiments.ia_gen --preset=quick --gan_init=runs/wild/all        # and GANs of lab that start from them
    python -m experiments.ia_gen --preset=quick --test_on=rendered/posed --weights_out=ia_gen.h5   # another data set

Per fold: FER-Net is fine-tuned on the training people, K conditional GANs are trained on the same people, and both are
tested on the others. So are controls, without training: class means in Feat, and eq. (8) with faces redrawn from a
stranger, from the person's other expressions, and averaged; the leak ratio says how much of G_k follows the input's
expression (`parts/ia_gen/controls.py`). Each stage resumes by itself; `--expressions` picks some of the GANs. The paper
pre-trains the GANs on BU-4DFE: run that with --all_subjects, then give its folder as --gan_init. A protocol of
Oulu-CASIA takes VGG-16 in FER-Net's place, as the paper does. --phi_scale, --lambda_consistency, --lambda_feat and
--normal_norms are not in the paper (Deviations of `models/ia_gen.py`); `experiments.choose` picks values on people of
training. Nor are the ways to name of --named_by (`parts/ia_gen/namings.py`), which train no GAN: a finished run that
is started again with them tests anew. --kept_back keeps people from all nets for them to be fitted to. --taught_by
trains students, whom eq. (8) teaches of people without labels (`parts/ia_gen/teaching.py`). --beside_neutral names
people whose neutral face is known by what is redrawn from that (`parts/ia_gen/neutral.py`).

Two CPU cores (Xeon with AMX), seed 0: the first command 14 min 48 s, FER-Net 91.9 %, IA-gen 86.9 %. With --gan_epochs=4
--only_folds=0,1,2: FER-Net 89.84 +- 2.34 %, IA-gen 87.30 +- 4.10 %. One core of an AMD EPYC beside other work, with
--gan_epochs=1: 90.2 and 87.4 %, leak ratio 1.57; see experiments/RESULTS.md. Not run: `paper`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fer_tf import evaluation, export, protocols, records
from fer_tf.models import ia_gen
from fer_tf.predictions import Answers

from .parts.ia_gen import controls, gans, measures, namings, neutral, teaching
from .run import classifier, command_line, cross, data, jobs, provenance, releasing, report, settings, students, work
from .run.settings import setting

PRESETS = {
    "paper": {"folds": 10, "runs": 8, "epochs": 40, "gan_epochs": 20},
    "quick": {
        "only_folds": "0", "epochs": 6, "batch_size": 50, "rate": 0.01, "views": 1, "gan_epochs": 3, "gan_views": 1,
        "gan_width": 0.25, "gan_batch_size": 16, "gan_rate": 1e-3, "gan_decay": 0.5, "phi_pooling": 4,
    },
    "smoke": {
        "folds": 2, "epochs": 1, "batch_size": 8, "views": 1, "max_steps": 2, "init": "none", "width": 4,
        "max_subjects": 4, "gan_epochs": 1, "gan_views": 1, "gan_width": 0.03125, "gan_batch_size": 4,
        "classes": "anger,happiness",
    },
}  # fmt: skip


@settings.command(PRESETS, paper="ia_gen")
class Settings(students.Dispelled, gans.GANs):
    """IA-gen's and FER-Net's, and what every run has."""

    WORKERS = True
    GROWS = ("gan_epochs", "runs")

    judges: bool = setting(True, "Train who judges the regenerated faces, another FER-Net.", free=True)
    named_by: tuple[str, ...] = setting(
        (),
        "Further ways to name a face, which are not in the paper: rows of the table.",
        choices=namings.NAMES,
        free=True,
    )
    beside_neutral: bool = setting(
        False, "Name held-out people beside their known neutral face, too; and controls.", free=True
    )
    taught_by: tuple[str, ...] = setting(
        (),
        "Students: who names the pictures of people without labels, by which a classifier learns.",
        choices=teaching.STUDENTS,
        free=True,
    )
    kept_back: float = setting(
        0.0,
        "Share of a fold's training people kept from all nets, to fit --named_by to; 0: fitted to those who train.",
        low=0,
        high=0.9,
    )

    @classmethod
    def by_protocol(cls, values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """As for folds; on Oulu-CASIA the baseline and Feat are VGG-16 of ImageNet, unless something else is given."""
        fixed = super().by_protocol(values, given)
        name = values["protocol"]
        if not name or protocols.PROTOCOLS[name].dataset != "oulu_casia" or "classifier" in given:
            return fixed
        start = {} if "init" in given or values["init"] == "none" else {"init": "imagenet"}
        return {**fixed, "classifier": "vgg16", **start}

    @property
    def loaded(self) -> tuple[str, ...]:
        """The expressions of --classes and --inputs."""
        return records.classes_of(",".join([*self.labels, *self.inputs]))


class Trained(NamedTuple):
    """What was trained on one fold's people.

    Attributes:
      net: FER-Net.
      tested: {last|best: (labels, predictions)} of its softmax on the held-out people; empty before --test_on's are
        read, once, when everything is trained.
      gans: by expression; some may be missing.
    """

    net: Any
    tested: dict[str, evaluation.Pair]
    gans: dict[str, ia_gen.ExpressionGAN]


def load(settings: Settings) -> list[records.Record]:
    """The records of --classes and --inputs, of people who show one of --classes: --inputs must not change the folds.

    Raises:
      ValueError: --expressions has one that is not in --classes, or the data has none of them.
    """
    if unknown := {*settings.expressions} - {*settings.labels}:
        raise ValueError(f"--expressions={','.join(settings.expressions)}: {', '.join(unknown)} is not in --classes.")
    listed = data.load(settings, settings.loaded)
    data.refuse_nameless(listed, "IA-gen learns from two pictures of one person")
    people = {r.subject for r in listed if r.expression in settings.labels}
    return data.first_subjects([r for r in listed if r.subject in people], settings.max_subjects)


def tell_bare(settings: Settings) -> None:
    """Says on stderr what pre-training of section IV-A a run of `paper` lacks."""
    lacks = ["the GANs' on BU-4DFE (--gan_init)"] * (not settings.gan_init and not settings.all_subjects)
    lacks += [f"{settings.classifier_name}'s (--init)"] * (settings.init == "none")
    if settings.preset == "paper" and lacks:
        print(f"--preset=paper WITHOUT THE PAPER'S PRE-TRAINING, section IV-A: {' and '.join(lacks)}.", file=sys.stderr)


def refuse(settings: Settings) -> None:
    """Raises ValueError where --all_subjects, --train_on, --test_on, --gans_of, --weights_out do not fit together."""
    cross.refuse_either(settings, settings.all_subjects)
    if settings.gans_of == "own" and not settings.train_on:
        raise ValueError("--gans_of=own leaves --train_on's people to FER-Net alone: give --train_on, too.")
    if settings.all_subjects and (settings.labelled_people or settings.taught_by):
        raise ValueError("--all_subjects learns everybody's labels: leave --labelled_people and --taught_by out.")
    if settings.beside_neutral and "neutral" in settings.labels:
        raise ValueError(
            "--beside_neutral has neutral faces known, so that none is to be named: leave it out of --classes."
        )
    releasing.refuse(settings)


def check_people(settings: Settings, listed: Sequence[records.Record], fold: records.Fold, number: int) -> None:
    """Raises ValueError where nobody of a fold's training people shows one of the classes."""
    shown = {listed[i].expression for i in fold.train}
    if absent := [c for c in settings.labels if c not in shown]:
        raise ValueError(
            f"--classes={settings.classes}: nobody to train on in fold {number} shows {', '.join(absent)}, so there is "
            "no target to regenerate: leave it out, as in --classes=six."
        )


def labelled(listed: Sequence[records.Record], fold: records.Fold, classes: Sequence[str]) -> records.Fold:
    """The fold without the records that serve as inputs alone."""
    return records.Fold(*(tuple(i for i in part if listed[i].expression in classes) for part in fold))


def trained_on(settings: Settings, fold: records.Fold) -> records.Fold:
    """The fold as trainings see it: with nobody to test after each epoch where another data set is tested, at the end.

    So the trainings of --all_subjects are those of --test_on, and who judges is read once.
    """
    return records.Fold(fold.train, ()) if settings.tested_elsewhere else fold


def parted(settings: Settings, listed: Sequence[records.Record], fold: records.Fold) -> tuple[records.Fold, list[int]]:
    """(the fold without those of --kept_back, whom --named_by is fitted to: these, or else all who train).

    Raises:
      ValueError: --kept_back without --named_by, or fewer than two people to fit to, of whom none could be left out.
    """
    people = {str(listed[i].subject) for i in fold.train}
    if settings.kept_back and not settings.named_by:
        raise ValueError(f"--kept_back={settings.kept_back:g} keeps people for --named_by, which is left out.")
    out = protocols.held_out([*people], settings.kept_back, settings.seed) if settings.kept_back else people
    if settings.named_by and len(out) < 2:
        raise ValueError(
            f"--named_by is fitted to {len(out)} of {len(people)} training people, and leaves some out of the fit to "
            "choose: two or more are needed, by another --kept_back."
        )
    learn, kept = ([i for i in fold.train if (listed[i].subject in out) == held] for held in (False, True))
    return records.Fold(tuple(learn) if settings.kept_back else fold.train, fold.test), kept


def stages(settings: Settings) -> list[jobs.Stage]:
    """What is trained of a fold: FER-Net, the GANs after it, and where all of these are the judge of their faces."""
    net = classifier.stage(settings)
    chosen, of_gans = settings.expressions or settings.labels, {"epochs": settings.gan_epochs, "after": (net.name,)}
    made = [net, *(jobs.Stage(f"gan_{expression}", "GANs", **of_gans) for expression in chosen)]
    if settings.all_subjects or {*chosen} != {*settings.labels}:
        return made
    taught = teaching.stages(settings, [stage.name for stage in made])
    if not settings.judges:
        return [*made, *taught]
    return [*made, *taught, jobs.Stage("judge", "test", settings.epochs, tuple(stage.name for stage in made))]


def train(settings: Settings, listed: list[records.Record], fold: records.Fold, seed: int, place: Path) -> Trained:
    """FER-Net and the GANs on a fold's training people; FER-Net's softmax on the held-out ones, where there are any."""
    own, classes = trained_on(settings, labelled(listed, fold, settings.labels)), settings.labels
    net, tested = classifier.one_fold(settings, listed, own, classes, seed, place / "finetune")
    if tested:
        accuracy = 100 * np.mean(np.equal(*tested["last"]))
        print(f"{place}: {settings.classifier_name} names {accuracy:.1f} % of held-out people's images")
    learn = [listed[i] for i in fold.train]
    people, trained = (
        gans.cut_faces(cross.own(settings, learn) if settings.gans_of == "own" else learn, settings.strict),
        {},
    )
    for expression in settings.expressions or classes:
        if not jobs.wanted(place / f"gan_{expression}"):
            continue
        print(f"{place}: the GAN of {expression}", flush=True)
        trained[expression] = gans.train(settings, expression, people, net, seed, place / f"gan_{expression}")
    return Trained(net, tested, trained)


def split(
    settings: Settings, listed: list[records.Record], fold: records.Fold, seed: int
) -> tuple[records.Fold, list[records.Record]]:
    """(The fold with those of its training people alone whose expressions are known, the others' records)."""
    learn = [listed[i] for i in fold.train]
    known, others = students.split(learn, settings.labelled_people, seed, settings.shown_expressions)
    kept = {r.subject for r in known}
    return records.Fold(tuple(i for i in fold.train if listed[i].subject in kept), fold.test), others


def teach(
    settings: Settings,
    trained: Trained,
    listed: list[records.Record],
    fold: records.Fold,
    others: list[records.Record],
    seed: int,
    place: Path,
) -> dict[str, Any]:
    """What the students of --taught_by name the held-out people; before any judge, of whom no student has need."""
    if not settings.taught_by:
        return {}
    learn, shown = ([listed[i] for i in part] for part in (fold.train, labelled(listed, fold, settings.labels).test))
    teacher = gans.assemble(settings, trained.gans, trained.net, settings.labels)
    return teaching.teach(settings, teacher, learn, others, shown, seed, place)


class Tested(NamedTuple):
    """The recogniser of one fold on the held-out people.

    Attributes:
      model: the recogniser.
      methods: name in the table -> {"last": answers}, IA-gen and its controls.
      generation: measures of what it regenerates.
      controls: as of `controls.measure`.
      named_by: as of `namings.measure`; None where nothing is asked for.
    """

    model: ia_gen.IAGen
    methods: dict[str, dict[str, evaluation.Pair]]
    generation: dict[str, Any]
    controls: dict[str, Any]
    named_by: dict[str, Any] | None


def test(
    settings: Settings,
    trained: Trained,
    listed: list[records.Record],
    fold: records.Fold,
    fitting: Sequence[int],
    seed: int,
    place: Path,
) -> Tested:
    """Puts the recogniser together and tests it, its controls, and --named_by, on the held-out people.

    Args:
      settings: of the run.
      trained: on `fold`.
      listed: all records.
      fold: of `parted`.
      fitting: places of those whom --named_by is fitted to.
      seed: of the run.
      place: folder of the fold.
    """
    own, classes = labelled(listed, fold, settings.labels), settings.labels
    model = gans.assemble(settings, trained.gans, trained.net, classes)
    judge, judged = None, trained_on(settings, own)
    if settings.judges:
        judge, _ = classifier.one_fold(settings, listed, judged, classes, seed + 1000, place / "judge")
    learn, held_out = ([listed[i] for i in part] for part in own)
    pair, measured = measures.measure(settings, model, judge, held_out, place)
    print(f"{place}: IA-gen names {100 * np.mean(np.equal(*pair)):.1f} %")
    if settings.tested_elsewhere:
        learn = some_people(learn)
    seen = [embed(settings, model, part, seed) for part in (learn, held_out)]
    answers, controlled = controls.measure(*seen, seed)
    named_by = None
    if settings.named_by:
        kept = [listed[i] for i in fitting if listed[i].expression in classes]
        fitted = embed(settings, model, kept, seed) if settings.kept_back else seen[0]
        more, named_by = namings.measure(settings.named_by, seen[0], fitted, seen[1])
        answers = {**answers, **more}
    if settings.beside_neutral:
        both = ([listed[i] for i in part] for part in fold)
        answers = {**answers, **neutral.measure(settings, model, *both, seed, place)}
    methods = {name: {"last": answer} for name, answer in {"IA-gen": pair, **answers}.items()}
    if settings.tested_elsewhere:
        methods = {settings.classifier_name: {"last": softmax(seen[1])}, **methods}
    return Tested(model, methods, measured, controlled, named_by)


def some_people(listed: Sequence[records.Record], count: int = 60) -> list[records.Record]:
    """The records of `count` people, evenly taken: each face is K + 1 faces to FER-Net, and all train --test_on's."""
    people = records.subject_order({r.subject for r in listed})
    kept = {people[i] for i in np.linspace(0, len(people) - 1, min(count, len(people))).round().astype(int)}
    return [r for r in listed if r.subject in kept]


def embed(settings: Settings, model: ia_gen.IAGen, people: list[records.Record], seed: int) -> controls.Embedded:
    """One test view of each face in Feat, and what is redrawn from it."""
    return controls.embed(model, data.batches(settings, people, model.classes, ia_gen, seed, False))


def softmax(faces: controls.Embedded) -> Answers:
    """What the network of Feat itself names some people's faces."""
    return Answers(faces.labels, faces.softmax.argmax(-1), faces.kept, faces.softmax)


def baselines(settings: Settings) -> dict[str, str]:
    """Each row -> what the report holds it against: eq. (8) on other faces against eq. (8), the rest the softmax."""
    beside = {name: "IA-gen" for name in controls.NAMES.values()}
    beside |= {"IA-gen": settings.classifier_name, controls.NAMES["class_means"]: settings.classifier_name}
    net = settings.classifier_name
    beside |= {f"{net}, {teaching.STUDENTS[name]}": net for name in settings.taught_by}
    if settings.beside_neutral:
        beside |= dict.fromkeys(neutral.NAMES.values(), net)
        beside |= {neutral.NAMES[way]: neutral.NAMES[other] for way, other in neutral.CONTROLS.items()}
    return {**beside, **namings.baselines(settings.named_by, net)}


def release(settings: Settings, listed: list[records.Record], behind: Sequence[str], folder: Path) -> report.Results:
    """Trains on everybody, and writes the weights to release or to start from."""
    everybody = records.Fold(tuple(range(len(listed))), ())
    check_people(settings, listed, everybody, 0)
    place = jobs.once(settings, folder, stages(settings), "all")
    trained = train(settings, listed, everybody, settings.seed, place)
    model = gans.release(settings, trained.gans, trained.net, settings.labels, behind, place)
    models = {settings.classifier_name: trained.net, **({"IA-gen": model} if model else {})}
    return report.Results(place, models=models)


@work.alone
def run(settings: Settings) -> report.Results:
    """Records -> folds -> FER-Net and K GANs each -> table, pictures, exported recogniser."""
    start, classes, listed = time.time(), settings.labels, load(settings)
    tell_bare(settings)
    refuse(settings)
    behind, tested = gans.data_behind(settings, classes), []
    if not (settings.all_subjects or settings.test_on):
        data.refuse_undealt(settings, listed, settings.loaded)
    folder = work.folder(settings, "ia_gen")
    if settings.all_subjects:
        return release(settings, [*listed, *cross.added(settings, settings.loaded)], behind, folder)
    listed, folds = cross.dealt(settings, listed, settings.loaded, folder)
    numbers = data.chosen_folds(settings, len(folds))
    teaching.refuse(settings, listed, [folds[number] for number in numbers])
    for number in numbers if settings.beside_neutral else ():
        everybody = [*folds[number].train, *folds[number].test]
        neutral.refuse(listed, everybody, classes, settings.inputs, "--beside_neutral")
    for number in numbers:
        check_people(settings, listed, parted(settings, listed, folds[number])[0], number)
    for number_of_run, number in jobs.pairs(settings, folder, numbers, stages(settings)):
        place, seed = folder / f"run{number_of_run}" / f"fold{number}", settings.seed + number_of_run
        fold, others = split(settings, listed, folds[number], seed)
        fold, fitting = parted(settings, listed, fold)
        trained = train(settings, listed, fold, seed, place)
        if set(trained.gans) != {*classes}:
            print(f"{place}: only {', '.join(trained.gans)} trained; the same command without --expressions goes "
                  "on to the test.")  # fmt: skip
            continue
        taught = teach(settings, trained, listed, fold, others, seed, place)
        last = test(settings, trained, listed, fold, fitting, seed, place)
        own = {settings.classifier_name: trained.tested} if trained.tested else {}
        methods = {**own, **last.methods, **taught}
        more = {"generation": last.generation, "controls": last.controls, "named_by": last.named_by}
        tested.append({"run": number_of_run, "fold": number, "methods": methods, **more})
    if not tested:
        return report.Results(folder, models={settings.classifier_name: trained.net})
    kinds = ("generation", "controls", *(["named_by"] if settings.named_by else []))
    more = {name: [entry[name] for entry in tested] for name in kinds}
    seconds = time.time() - start
    methods = report.write(settings, tested, classes, folder, seconds, baselines=baselines(settings), **more)
    print(measures.table(more["generation"]))
    print(controls.table(more["controls"], settings.classifier_name))
    if settings.named_by:
        print(namings.table(more["named_by"], settings.named_by, settings.classifier_name))
    held_out = labelled(listed, folds[tested[-1]["fold"]], classes).test
    faces = data.some_faces([listed[i] for i in held_out], ia_gen.TEMPLATE)
    export.save(last.model, folder / "export", metadata=provenance.of_export(settings, tested[-1]), faces=faces)
    print(f"Table, pictures and metrics.json are in {folder}; the last fold's model is in {folder / 'export'}.")
    beside = {"baseline": settings.classifier_name, "behind": behind}
    few = data.batches(settings, [listed[i] for i in held_out], classes, ia_gen, seed, False, batch_size=32)
    learn = [listed[i] for i in folds[-1].train]
    releasing.release(settings, last.model, "IA-gen", learn, few, tested[-1], **beside)
    models = {settings.classifier_name: trained.net, "IA-gen": last.model}
    return report.Results(folder, methods, models, folder / "export", more["generation"])


if __name__ == "__main__":
    command_line.main(Settings, run)
