r"""CycleAT: from the laboratory to the wild, all rows of Table 4 on people who were never seen (Tables 2 to 8).

    python -m experiments.cycle_at --preset=quick                        # rendered faces, one fold of the target
    python -m experiments.cycle_at --preset=paper --dataset=bu3dfe --data_dir=... --auxiliary=celeba=...,lfw=... \
        --target=sfew=...                                                # 1,300 frontal faces
    python -m experiments.cycle_at --preset=paper --dataset=folder --data_dir=renderings --auxiliary=... --target=...

The paper's source is 185,900 faces, BU-3DFE's scans in 143 poses: the last command takes one's own renderings
(anger/F0001_p+15_t-05.png ..., or a list: `fer_tf/datasets/folder.py`).

With --test_on=name[/part][=folder] all of the target's people are trained on, and those of that set are tested who are
of the target's domains; --weights_out then releases CycleAT's f_T.

--rows names what is compared: S2T, S2T_fine_tune, S2T_attention, S2T_att_gen, CycleAT (Table 4); T_fine_tune, f_T
without attention and generated faces, and T_alone, f_T on the target's labels alone, from nothing; svm, alexnet, vgg16
(Table 8). Controls follow a colon: S2T_att_gen:untranslated and CycleAT:untranslated get the very faces that these rows
select, as the source has them, in place of the generator's; with :no_attention no teacher is followed. In
S2T_attention@mean_square and S2T_attention@norm=1, f_T's eq. (10) has another norm and beta; --validation=0.3 tests
people held out of the training part, to choose by. f_T has learnt from the source first, as long as f_S, in all rows
but T_alone (--f_t_start); all rows that train on the target do so for as many steps.

Stages, each in its folder and resumed by itself: source/ (f_S, and the network that f_T starts from), gan1/ (stage I),
gan_alone/ (stage I goes on, for S2T_att_gen, as long as stage II takes), gan2/ (stage II, with f_W), fold<k>/<row>/
(which generated faces are selected, selected.npy; f_T). --stages=source, generation, selection or target is the last
that is run; what is on disk of those before is taken from there. In parts/cycle_at/, `domains.py` says what the domains
are, `gan.py` what the stages train, `row.py` and `rows.py` what a row is, `features.py` how generated faces are
selected, `judges.py` measures what they are worth, and `shared.py` takes f_S and generators from another run.

RESULTS.md has what was run, and what its controls say. Runs before f_T learnt from the source (`quick` with
--gan_epochs=4, seeds 0 to 2, two folds; now --f_t_start=nothing) took 38 to 54 minutes a seed on one CPU core (Xeon
with AMX) beside other work. Not run: `paper`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fer_tf import catalogue, export, metrics, pipeline, protocols, records
from fer_tf.nets.backbones import NETWORKS, RESIDUAL

from .parts.cycle_at import classifiers, domains, gan, judges, pictures, shared, tables
from .parts.cycle_at.classifiers import Source
from .parts.cycle_at.row import Row, rows_of
from .parts.cycle_at.rows import Rows, one_row, selected
from .run import command_line, data, jobs, provenance, releasing, report, settings, work
from .run.settings import setting

PRESETS = {
    "paper": {
        "source_network": ("resnet50",), "target_network": "resnet18", "epochs": 20, "gan_epochs": 15,
        "target_epochs": 50, "gan_epoch_steps": 10_000, "gan_batch_size": 1, "candidates": 20_000, "epoch_views": 3150,
        "imagenet": "imagenet",
    },
    "quick": {
        "only_folds": "0", "size": 64, "filters": 16, "blocks": 6, "width": 0.5, "pool": False, "rate": 1e-3,
        "decay_to": 0.0, "source_network": ("resnet18",), "target_network": "resnet10", "epochs": 6, "gan_epochs": 2,
        "gan_batch_size": 4, "gan_rate": 3e-4, "gan_decay_to": 0.0, "lambda_cycle": 10.0, "epoch_views": 1200,
        "target_epochs": 12,
    },
    "smoke": {
        "size": 32, "filters": 4, "blocks": 1, "width": 0.0625, "pool": False, "max_subjects": 4, "epochs": 1,
        "gan_epochs": 1, "target_epochs": 1, "max_steps": 2, "batch_size": 4, "gan_batch_size": 2,
        "classes": "anger,happiness", "source_network": ("resnet10",), "target_network": "resnet10", "candidates": 8,
        "judge_epochs": 1,
    },
}  # fmt: skip
STAGES = ("source", "generation", "selection", "target")
GANS = {"alone": "gan_alone", "with f_W": "gan2"}
"""Whose generated faces -> where they are trained, after stage I."""


@settings.command(PRESETS, paper="cycle_at")
class Settings(Rows):
    """CycleAT's, and what every run has."""

    GROWS = ("target_epochs", "judge_epochs", "runs")

    stages: str = setting("target", "The last stage that is run.", choices=STAGES, free=True)


class Fold(NamedTuple):
    """Every row on one fold: its classifier, {last|best: (labels, predictions)} by its name, and the tested batches."""

    models: dict[str, Any]
    methods: dict[str, Any]
    test: pipeline.Batches


def checked(settings: Settings) -> Settings:
    """The settings; refuses those that do not go together.

    Raises:
      ValueError: an unknown row or network, or what would end the run only hours later.
    """
    rows = rows_of(settings.rows)
    releasing.refuse(settings)
    for flag, networks in (("source", settings.source_network), ("target", (settings.target_network,))):
        for network in networks or ("",):
            if network not in NETWORKS:
                raise ValueError(f"--{flag}_network: {network!r} is none of {', '.join(NETWORKS)}.")
    first, target = settings.source_network[0], settings.target_network
    taught = [row.text for row in rows if row.attention]
    for network in {first, target} - {*RESIDUAL} if taught else ():
        raise ValueError(
            f"Attention is compared between residual stages, which {network} lacks: leave out {taught[0]}."
        )
    if settings.size % 4 or settings.size < 24:
        raise ValueError(f"--size={settings.size}: the generators need a multiple of 4, the discriminators 24 or more.")
    if settings.image_pool and (settings.image_pool < settings.gan_batch_size or settings.strategy != "none"):
        raise ValueError("--image_pool has to hold a batch of --gan_batch_size, and works without --strategy alone.")
    if "vgg16" in settings.rows and settings.imagenet != "none" and settings.width != 1:
        raise ValueError(
            f"--imagenet={settings.imagenet} is of the full VGG-16: it needs --width=1, or --imagenet=none."
        )
    return settings


def source_networks(settings: Settings) -> list[str]:
    """What is trained on the source, f_S first; f_T's network too where a row starts with it."""
    starts = settings.f_t_start == "source" and any(row.starts for row in rows_of(settings.rows))
    return [*dict.fromkeys([*settings.source_network, *[settings.target_network] * starts])]


def stages(settings: Settings) -> tuple[list[jobs.Stage], list[jobs.Stage]]:
    """What is trained up to --stages: (of each fold, of each run before that); the judges are left to the table."""
    upto, networks, rows = STAGES.index(settings.stages), source_networks(settings), rows_of(settings.rows)
    of_run = [jobs.Stage(f"source/{network}", "source", settings.epochs) for network in networks]
    if settings.source_run:
        return [jobs.Stage(row.folder, "target") for row in rows if row.kind not in ("S2T", "svm")], []
    first, own = (f"source/{network}" for network in (networks[0], settings.target_network))
    gans = [which for which in GANS if any(row.gan == which for row in rows)]
    if gans and upto >= STAGES.index("generation"):
        of_run.append(jobs.Stage("gan1", "GANs", settings.gan_epochs, (first,)))
        of_run += [jobs.Stage(GANS[which], "GANs", settings.gan_epochs, ("gan1",)) for which in gans]
    if upto < STAGES.index("target"):
        return [], of_run
    made = []
    for row in rows:
        if row.kind not in ("S2T", "svm"):  # these learn nothing of the target, or at once
            start = [own] * (row.starts and own in {stage.name for stage in of_run} and own != first)
            made.append(jobs.Stage(row.folder, "target", None, (GANS[row.gan] if row.gan else first, *start)))
    return made, of_run


def train_gans(settings: Settings, source: Source, auxiliary: Sequence[records.Record], seed: int, place: Path) -> None:
    """The generators that --rows ask for, into `source.gans`: "alone" without f_W, "with f_W"."""
    asked = {row.gan for row in rows_of(settings.rows)} - {None}
    home = shared.home(settings, place)
    if not asked or not jobs.wanted(home / "gan1"):
        return
    shared.refuse_undone(settings, home / "gan1")
    first = gan.train(settings, source, auxiliary, 1, seed, home / "gan1")
    for which, folder in GANS.items():
        if which in asked and jobs.wanted(home / folder):
            shared.refuse_undone(settings, home / folder)
            stage = 2 if which == "with f_W" else 1
            source.gans[which] = gan.train(settings, source, auxiliary, stage, seed, home / folder, first)


def learnt(settings: Settings, listed: domains.Domains, number: int, seed: int) -> list[records.Record]:
    """The target's faces that a fold trains on."""
    return domains.labelled(settings, [listed.target[i] for i in listed.folds[number].train], seed)


def select(settings: Settings, source: Source, learn: list[records.Record], seed: int, place: Path) -> None:
    """Which generated faces each row of a fold is given, into its folder."""
    for row in rows_of(settings.rows):
        if row.gan and jobs.wanted(place / row.folder):
            count = len(selected(settings, source, row, learn, seed, place / row.folder))
            of = min(settings.candidates, len(source.train))
            print(f"{place / row.folder}: {len(learn)} target faces select {count} of {of} generated ones", flush=True)


def one_fold(
    settings: Settings,
    source: Source,
    learn: list[records.Record],
    held_out: list[records.Record],
    seed: int,
    place: Path,
) -> Fold:
    """Trains every row on a fold's training faces, and tests it on the held-out ones."""
    models, methods, classes = {}, {}, source.f_s.classes
    test = domains.batches(settings, held_out, classes, seed)
    for row in rows_of(settings.rows):
        if not jobs.wanted(place / row.folder):
            continue
        models[row.text], methods[row.name] = one_row(settings, row, source, learn, test, seed, place / row.folder)
        if last := methods[row.name].get("last"):
            share = 100 * metrics.macro(metrics.confusion(*last, len(classes)))
            print(f"{place}: {row.name} names {share:.1f} % (mean over expressions)", flush=True)
    return Fold(models, methods, test)


@work.alone
def run(settings: Settings) -> report.Results:
    """Three domains -> f_S -> GANs -> target classifiers -> tables, pictures, measures, exported models."""
    start, classes = time.time(), shared.classes(checked(settings))
    folder = work.folder(settings, "cycle_at")
    listed = domains.load(settings, classes, folder)
    pairs = jobs.pairs(settings, folder, data.chosen_folds(settings, len(listed.folds)), *stages(settings))
    tested, networks, generation = [], [], []
    for number_of_run in dict.fromkeys(run for run, _ in pairs):
        chosen = [number for run, number in pairs if run == number_of_run]
        seed, place = settings.seed + number_of_run, folder / f"run{number_of_run}"
        source = classifiers.train_source(settings, listed, classes, seed, place, source_networks(settings))
        networks.append(source.tested)
        if settings.stages == "source":
            continue
        train_gans(settings, source, listed.auxiliary, seed, place)
        if not jobs.is_one(settings):
            pictures.draw_generated(settings, source, listed.target, place)
        if source.gans and not jobs.is_one(settings):
            generation.append(judges.measure(settings, source, listed, seed, place))
        if settings.stages == "generation":
            continue
        learn = {number: learnt(settings, listed, number, seed) for number in chosen}
        for number in chosen:
            select(settings, source, learn[number], seed, place / f"fold{number}")
        if settings.stages == "selection":
            continue
        for number in chosen:
            fold = one_fold(settings, source, learn[number], listed.held_out(number), seed, place / f"fold{number}")
            tested.append({"run": number_of_run, "fold": number, "methods": fold.methods})
        pictures.draw_attention(settings, source, fold.models, fold.test, place)
        pictures.draw_domains(settings, source, listed, place)
    of_source = {n: metrics.summarize([t[n] for t in networks], classes) for n in networks[0]}
    print("source people who were held out (Table 2)\n" + tables.by_expression(of_source, classes))
    if generation:
        print(tables.generated_faces(generation))
    if not tested:
        print(f"Stopped after --stages={settings.stages}: the same command without it goes on in {folder}.")
        return report.Results(folder, models={"f_S": source.f_s, **source.gans}, measures=generation)
    more = {"source": of_source, "generation": generation, "domains": about(settings, listed)}
    methods = write(settings, tested, classes, folder, time.time() - start, more)
    exported = finish(settings, source, fold, folder, tested[-1])
    release(settings, source, listed, fold, tested[-1])
    models = {"f_S": source.f_s, **source.gans, **fold.models}
    return report.Results(folder, methods, models, exported, generation)


def write(
    settings: Settings,
    tested: Sequence[Any],
    classes: tuple[str, ...],
    folder: Path,
    seconds: float,
    more: dict[str, Any],
) -> dict[str, Any]:
    """metrics.json with `more`, pictures of the confusions, and the tables by expression."""
    rule = more["domains"]["target"]["folds"]
    where = {"tested_on": settings.tested_name, "protocol": rule, "baselines": baselines(settings.rows)}
    methods = report.write(settings, tested, classes, folder, seconds, **where, **more)
    if "S2T" in methods:
        shift = {"source to source": next(iter(more["source"].values())), "source to target": methods["S2T"]}
        print("domain shift (Table 3)\n" + tables.by_expression(shift, classes))
    print("held-out people of the target (Tables 5 to 8)\n" + tables.by_expression(methods, classes))
    return methods


def baselines(texts: Sequence[str]) -> dict[str, str]:
    """Name of each row -> that of the fine-tuned source network, of a control -> that of the row without its last one.

    Where there is no such row, the first stands for it.
    """
    rows = rows_of(tuple(texts))
    first, named = next((row for row in rows if row.kind == "S2T_fine_tune"), rows[0]), {row.text: row for row in rows}
    beside = {row.name: named.get(row.text.rpartition(":")[0], first).name for row in rows}
    return {name: other for name, other in beside.items() if name not in (first.name, other)}


def names(settings: Settings) -> dict[str, str]:
    """Domain -> its data sets."""
    auxiliary = ",".join(map(catalogue.place_of, settings.auxiliary))
    return {
        "source": settings.data_name,
        "auxiliary": auxiliary,
        "target": catalogue.place_of(settings.target),
    }


def about(settings: Settings, listed: domains.Domains) -> dict[str, Any]:
    """What metrics.json says of the domains."""
    entries = {name: {"data": text, "faces": len(getattr(listed, name))} for name, text in names(settings).items()}
    people = all(r.subject is not None for r in listed.target)
    rule = f"{settings.folds} folds by subject, {settings.fold_order}"
    if settings.split == "random":
        rule = f"{settings.folds} folds, {protocols.RANDOM}"
    elif settings.split == "own" or not people:
        rule = domains.OWN_PARTS
    if settings.target_protocol is not None:
        rule = settings.protocol
    if settings.test_on:
        rule = domains.elsewhere_rule(settings)
    entries["target"]["folds"] = Path(settings.manifest).name if settings.manifest else rule
    if settings.validation:
        entries["target"]["folds"] += f"; {settings.validation_people}"
    return entries


def exported_row(settings: Settings, fold: Fold) -> str | None:
    """CycleAT, or the last row that trains a classifier; None where none does."""
    return next((r for r in ("CycleAT", *reversed(settings.rows)) if fold.models.get(r) is not None), None)


def release(settings: Settings, source: Source, listed: domains.Domains, fold: Fold, last: dict[str, Any]) -> None:
    """With --weights_out writes the exported classifier, without the teacher, of whom it needs nothing any more."""
    row = exported_row(settings, fold)
    if row is None or not settings.weights_out:
        return
    name, model = Row.read(row).name, classifiers.alone(fold.models[row])
    learn = [*source.train, *listed.auxiliary, *listed.target]
    baseline = baselines(settings.rows).get(name)
    releasing.release(settings, model, name, learn, fold.test, last, baseline=baseline)


def finish(settings: Settings, source: Source, fold: Fold, folder: Path, last: dict[str, Any]) -> Path | None:
    """Exports the generators, and the classifier of CycleAT or of the last row that trains one: its folder."""
    places = dict.fromkeys(",".join(names(settings).values()).split(","))
    origin = provenance.of_export(settings, last, trained_on=", ".join(places), **report.noted(folder))
    row = exported_row(settings, fold)
    for which, generators in source.gans.items():
        name = "generator" if which == "with f_W" else "generator_alone"
        metadata = {**origin, "generator": which}
        work.save_module(gan.Translation(export.in_float32(generators), settings.size, metadata), folder / name)
    if row is None:
        print(f"Table, pictures and metrics.json are in {folder}.")
        return None
    faces = domains.pictures(settings, fold.test.records[:8])
    options = {"channels": 3, "template": settings.template, "faces": faces}
    export.save(fold.models[row], folder / "export", metadata={**origin, "row": Row.read(row).name}, **options)
    print(f"Table, pictures and metrics.json are in {folder}, {Row.read(row).name} in export/.")
    return folder / "export"


if __name__ == "__main__":
    command_line.main(Settings, run)
