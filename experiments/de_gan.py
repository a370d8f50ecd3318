"""DE-GAN on people it never saw, beside the CNN of its encoder's shape (Tables 1 to 3), and what its code holds.

    python -m experiments.de_gan --preset=quick                     # one fold of the rendered faces, width 1/4
    python -m experiments.de_gan --preset=paper --protocol=ck_plus_7_10fold --data_dir=... --gan_init=<of the fifth>
    python -m experiments.de_gan --preset=paper --protocol=mmi_10fold --data_dir=... --gan_init=...
    python -m experiments.de_gan --preset=paper --protocol=oulu_strong_10fold --data_dir=... --gan_init=...
    python -m experiments.de_gan --preset=paper --all_subjects --dataset=bu4dfe --data_dir=... --classes=six \
        --options=frames=all                                                                           # pre-training
    python -m experiments.de_gan --preset=quick --all_subjects --part=wild --gan_init=none --baseline_init=none \
        --own_share=0.5 --lambda_own=100 --gan_epochs=60                                     # likewise, rendered people
    python -m experiments.de_gan --preset=quick --test_on=rendered/posed --weights_out=de_gan.h5   # another data set

Per fold: the GAN learns to carry expressions between the training people (stage one); its encoder, frozen, feeds the
classifiers (stage two), once for each of --uses: f(x) and the residues, f(x) alone, the residues alone; code:converged
is a control, f(x) with a softmax that is fitted by itself until its loss stands still. --baselines are CNNs of the
encoder's shape, trained as long as both stages together: "printed" from nothing at a constant rate, "strong" from
--baseline_init (in `quick` 80 epochs on 80 other people) with a rate that falls to 0. Each stage resumes by itself.
--gan_init starts from another set's GAN: its identity code and head are new, the rest is kept. Beside the paper,
--lambda_identity takes who is seen from f(x), and --teacher has D start from a trained CNN. Pictures: held-out
people's expressions on training people (transfer.png), and between two f(x) (interpolation.png). Measured on held-out
people: what independent classifiers read in the made faces, and what a linear probe reads from f(x), from the residues
and from the baselines' features.

Two CPU cores (Xeon with AMX), seed 0, `quick` with the strong baseline alone: one fold in 19 minutes.
--only_folds=0,1,2: CNN 89.37 +- 2.34 %, DE-GAN 86.67 +- 1.19 %, f(x) alone 78.89 +- 5.03 %, residues alone 86.35 +-
2.44 %. RESULTS.md has the probes and the controls. `paper` is not yet run.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fer_tf import catalogue, evaluation, export, figures, records
from fer_tf.models import de_gan

from .parts.de_gan import expression_transfer, head, measures, networks, pictures
from .run import command_line, cross, data, jobs, provenance, releasing, report, settings, work
from .run.settings import setting

PRESETS = {
    "paper": {"folds": 10, "gan_epochs": 300, "epochs": 50},
    "quick": {
        "only_folds": "0", "width": 0.25, "gan_epochs": 20, "epochs": 20, "batch_size": 32, "views": 1,
        "gan_rate": 4e-4, "rate": 1e-3, "decay_to": 0.0,
        "gan_init": "de_gan_rendered", "baseline_init": "de_gan_baseline_rendered",
    },
    "smoke": {
        "folds": 2, "epochs": 1, "gan_epochs": 1, "batch_size": 4, "views": 1, "max_steps": 2, "width": 0.03125,
        "code": 8, "max_subjects": 4, "classes": "anger,happiness", "uses": ("both", "code", "code:converged"),
    },
}  # fmt: skip


@settings.command(PRESETS)
class Settings(networks.Networks):
    """DE-GAN's, and what every run has."""

    GROWS = ("epochs", "runs")

    uses: tuple[str, ...] = setting(
        tuple(networks.NAMES),
        "What the fifth classifier sees: both, code, residues; code:converged: f(x), and its softmax is fitted.",
    )
    all_subjects: bool = setting(False, "Train on everybody, test nobody: weights to release or to start from.")
    judges: bool = setting(True, "Train who judges the made faces, and measure these and the features.", free=True)
    part: str = setting(
        "lab", "With --all_subjects: part of the rendered faces.", choices=("lab", "posed", "wild", "all")
    )


class Fold(NamedTuple):
    """All networks of a fold: baselines by --baselines, stage two by --uses; {last|best: answers} by a name."""

    gan: de_gan.DEGAN
    baselines: dict[str, Any]
    classifiers: dict[str, de_gan.DEGANClassifier]
    methods: dict[str, Any]
    measures: dict[str, Any]


def load(settings: Settings, classes: tuple[str, ...]) -> list[records.Record]:
    """The records of --dataset, of --part with --all_subjects, that say who is seen: eq. (1) asks for it.

    Raises:
      ValueError: --part without --all_subjects, or no record has a subject.
    """
    if settings.part != "lab" and not settings.all_subjects:
        raise ValueError(f"--part={settings.part} is for pre-training: give --all_subjects, too; folds are of lab.")
    part = {"part": settings.part} if settings.dataset in catalogue.RENDERED else {}
    listed = data.load(settings, classes, **part)
    kept = [r for r in listed if r.subject is not None]
    if not kept:
        raise ValueError(f"--dataset={settings.dataset} names nobody: DE-GAN carries expressions between known people.")
    if len(kept) < len(listed):
        print(f"left out {len(listed) - len(kept)} of {len(listed)} records: they have no subject", file=sys.stderr)
    return kept


def baselines_of(settings: Settings) -> list[str]:
    """Those of --baselines that are trained; of everybody the strong one alone, which others start from."""
    return [which for which in settings.baselines if which == "strong" or not settings.all_subjects]


def stages(settings: Settings) -> list[jobs.Stage]:
    """What is trained of a fold: the GAN, what uses it and the baseline, and where people are held out the judges."""
    gan = jobs.Stage("gan", "GANs", settings.gan_epochs)
    made = [gan]
    for which in baselines_of(settings):
        made.append(jobs.Stage(f"baseline_{which}", "classifiers", networks.baseline_epochs(settings), ("gan",)))
    trained = (uses for uses in settings.uses if uses != networks.CONVERGED)  # which is fitted at once
    made += [jobs.Stage(uses, "classifiers", settings.epochs, ("gan",)) for uses in trained]
    for name in () if settings.all_subjects or not settings.judges else measures.JUDGES:
        made.append(jobs.Stage(name, "judges", settings.epochs, tuple(stage.name for stage in made)))
    return made


def one_fold(
    settings: Settings,
    listed: list[records.Record],
    fold: records.Fold,
    classes: tuple[str, ...],
    seed: int,
    place: Path,
) -> Fold:
    """Trains all networks on the fold's training people; tests and measures them where anybody is held out.

    People of --test_on are read once, when all is trained, not after each epoch.
    """
    learn = data.batches(settings, [listed[i] for i in fold.train], classes, de_gan, seed, True)
    held_out = [listed[i] for i in fold.test]
    test = data.batches(settings, held_out, classes, de_gan, seed, False) if held_out else None
    watched = None if settings.tested_elsewhere else test
    gan = networks.train_gan(settings, learn, classes, seed, place / "gan")
    baselines, classifiers, methods = {}, {}, {}
    for which in baselines_of(settings):
        if jobs.wanted(folder := place / f"baseline_{which}"):
            baselines[which], methods[networks.BASELINES[which]] = networks.train_baseline(
                settings, which, classes, seed, learn, watched, folder
            )
    for uses in settings.uses:
        name = networks.NAMES[uses]
        if uses == networks.CONVERGED:
            if test is not None and not jobs.is_one(settings):
                classifiers[uses], methods[name] = head.converged(settings, gan, learn, test, seed, place)
        elif jobs.wanted(place / uses):
            classifiers[uses], methods[name] = networks.train_classifier(
                settings, gan, uses, seed, learn, watched, place / uses
            )
    if test is None:
        return Fold(gan, baselines, classifiers, {}, {})
    if settings.tested_elsewhere and not jobs.is_one(settings):
        nets = {networks.BASELINES[which]: net for which, net in baselines.items()}
        nets |= {networks.NAMES[uses]: net for uses, net in classifiers.items()}
        methods = {name: {"last": evaluation.predict(nets[name], test)} for name in methods}
    for name, pairs in methods.items():
        print(f"{place}: {name} names {100 * np.mean(np.equal(*pairs['last'])):.1f} %", flush=True)
    people, tested = data.usable(learn), data.usable(test)
    figures.save(pictures.draw_transfer(gan, tested, people), place / "transfer.png")
    figures.save(pictures.draw_interpolation(gan, tested), place / "interpolation.png")
    measured = {}
    if settings.judges:
        measured = measures.measure(settings, gan, baselines, classifiers, people, tested, seed, place)
    return Fold(gan, baselines, classifiers, methods, measured)


def release(settings: Settings, trained: Fold, folder: Path, behind: list[str]) -> None:
    """Writes GAN and baseline, to start from, and the recogniser, in half precision, with their provenance.

    Args:
      settings: of the run.
      trained: on everybody.
      folder: of the run.
      behind: data sets that the start of the training was trained on.
    """
    other = settings.dataset in catalogue.RENDERED and settings.part in ("posed", "wild")  # nobody of lab is in these
    name = f"{settings.dataset}/{settings.part}" if other else settings.data_name
    names = [name, *settings.learnt_from[1:]]
    who = f"{', '.join(names)}, {len(trained.gan.subjects)} people, all of them"
    nets = {
        "de_gan": trained.gan,
        "de_gan_baseline": trained.baselines.get("strong"),
        "de_gan_recogniser": trained.classifiers.get("both"),
    }
    for file, model in nets.items():
        if model is not None:
            releasing.write(settings, model, folder / f"{file}.h5", data=who, datasets=[*names, *behind])
            print(f"{folder / file}.h5 is written.")


def train_on_everybody(
    settings: Settings, listed: list[records.Record], classes: tuple[str, ...], folder: Path, behind: list[str]
) -> report.Results:
    """What --all_subjects asks for: trains on all records, tests nobody, writes weights."""
    everybody = records.Fold(tuple(range(len(listed))), ())
    place = jobs.once(settings, folder, stages(settings), "all")
    trained = one_fold(settings, listed, everybody, classes, settings.seed, place)
    release(settings, trained, folder, behind)
    return report.Results(folder, models=models_of(trained))


def models_of(trained: Fold) -> dict[str, Any]:
    """gan, the baselines, and stage two by what it uses."""
    baselines = {f"baseline_{which}": net for which, net in trained.baselines.items()}
    return {"gan": trained.gan, **baselines, **trained.classifiers}


def refuse_unknown(settings: Settings) -> None:
    """Raises ValueError where --uses or --baselines names what there is not; says what `paper` lacks."""
    for flag, known in (("uses", networks.NAMES), ("baselines", networks.BASELINES)):
        values = getattr(settings, flag)
        if unknown := [value for value in values if value not in known]:
            raise ValueError(f"--{flag}={','.join(values)}: {unknown[0]!r} is none of {', '.join(known)}.")
    if not settings.uses:
        raise ValueError(f"--uses is empty: give one or more of {', '.join(networks.NAMES)}.")
    if settings.preset == "paper" and settings.gan_init == "none" and not settings.all_subjects:
        print("--preset=paper WITHOUT THE PAPER'S PRE-TRAINING (section 4.1, on BU-4DFE): run the command with "
              "--all_subjects on that data set, and give its de_gan.h5 as --gan_init.", file=sys.stderr)  # fmt: skip
    if settings.preset == "paper" and settings.baseline_init == "none" and "strong" in settings.baselines:
        print("--preset=paper: the STRONG BASELINE IS NOT PRE-TRAINED; --baseline_init has it start from that run's "
              "de_gan_baseline.h5.", file=sys.stderr)  # fmt: skip


@work.alone
def run(settings: Settings) -> report.Results:
    """Records -> folds -> GAN, baseline, classifiers -> table, pictures, measures, exported models."""
    start, classes = time.time(), settings.labels
    refuse_unknown(settings)
    cross.refuse_either(settings, settings.all_subjects)
    releasing.refuse(settings)
    behind, nobody = [], settings.all_subjects
    for flag in ("gan_init", "baseline_init", "teacher"):
        file = provenance.weights_file(getattr(settings, flag))
        behind += provenance.refuse_tested_people(file, flag, None if nobody else settings.tested_name)
    listed = data.first_subjects(load(settings, classes), settings.max_subjects)
    if not (nobody or settings.test_on):
        data.refuse_undealt(settings, listed, classes)
    folder, tested = work.folder(settings, "de_gan"), []
    if nobody:
        return train_on_everybody(settings, [*listed, *cross.added(settings, classes)], classes, folder, behind)
    listed, folds = cross.dealt(settings, listed, classes, folder)
    numbers = data.chosen_folds(settings, len(folds))
    for number_of_run, number in jobs.pairs(settings, folder, numbers, stages(settings)):
        place, seed = folder / f"run{number_of_run}" / f"fold{number}", settings.seed + number_of_run
        fold = one_fold(settings, listed, folds[number], classes, seed, place)
        about = {"run": number_of_run, "fold": number}
        tested.append({**about, "methods": fold.methods, "generation": fold.measures})
    measured = [t["generation"] for t in tested]
    more = {"generation": measured, "baselines": held_against([*tested[-1]["methods"]])}
    methods = report.write(settings, tested, classes, folder, time.time() - start, **more)
    if settings.judges:
        print(measures.text(measured))
    held_out, learn = ([listed[i] for i in part] for part in reversed(folds[tested[-1]["fold"]]))
    save(settings, fold, tested[-1], held_out, folder)
    uses, test = exported(fold), data.batches(settings, held_out, classes, de_gan, seed, False)
    beside = {"baseline": more["baselines"].get(networks.NAMES[uses]), "behind": behind}
    releasing.release(settings, fold.classifiers[uses], networks.NAMES[uses], learn, test, tested[-1], **beside)
    return report.Results(folder, methods, models_of(fold), folder / "export", measured)


def held_against(methods: list[str]) -> dict[str, str]:
    """Name of each method -> that of the first, a baseline; of the control -> that of f(x) as it is trained."""
    code, fitted = networks.NAMES["code"], networks.NAMES[networks.CONVERGED]
    beside = dict.fromkeys(methods[1:], methods[0])
    return beside | ({fitted: code} if {code, fitted} <= {*methods} else {})


def exported(fold: Fold) -> str:
    """Which stage two is exported: that of f(x) and the residues, or else the last of --uses."""
    return "both" if "both" in fold.classifiers else [*fold.classifiers][-1]


def save(settings: Settings, fold: Fold, last: dict[str, Any], held_out: list[records.Record], folder: Path) -> None:
    """Exports the recogniser and the generator of the last fold that was run."""
    uses = exported(fold)
    faces, about = data.some_faces(held_out, de_gan.TEMPLATE), provenance.of_export(settings, last)
    export.save(fold.classifiers[uses], folder / "export", metadata={**about, "uses": uses}, faces=faces)
    expression_transfer.save_transfer(fold.gan, folder / "transfer", about)
    print(f"Table, pictures and metrics.json are in {folder}, the recogniser in export/, the generator in transfer/.")


if __name__ == "__main__":
    command_line.main(Settings, run)
