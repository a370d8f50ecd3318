"""CycleAT: from the laboratory to the wild, all rows of Table 4 on people who were never seen (Tables 2 to 8).

    python -m experiments.cycle_at --preset=quick                        # rendered faces, one fold of the target
    python -m experiments.cycle_at --preset=paper --dataset=bu3dfe --data_dir=... --auxiliary=celeba=...,lfw=... \
        --target=sfew=...                                                # 1,300 frontal faces
    python -m experiments.cycle_at --preset=paper --dataset=folder --data_dir=renderings --auxiliary=... --target=...

The paper's source is 185,900 faces, BU-3DFE's scans in 143 poses: the last command takes one's own renderings
(anger/F0001_p+15_t-05.png ..., or a list: `fer_tf/datasets/folder.py`).

--rows names what is compared: S2T, S2T_fine_tune, S2T_attention, S2T_att_gen, CycleAT (Table 4); T_alone, the target
network on the target's labels alone; svm, alexnet, vgg16 (Table 8). Stages, each in its folder and resumed by itself:
source/ (f_S), gan1/ (stage I), gan_alone/ (stage I goes on, for S2T_att_gen, as long as stage II takes), gan2/ (stage
II, with f_W), fold<k>/<row>/ (which generated faces are selected, selected.npy; f_T). --stages=source, generation,
selection or target is the last that is run; what is on disk of those before is taken from there. `cycle_at_domains.py`
says what the domains are, `cycle_at_rows.py` what a row is, `cycle_at_features.py` how generated faces are selected,
`cycle_at_pictures.py` draws and measures.

One CPU core (Xeon with AMX) beside other work, seeds 0 to 2, `quick` with --gan_epochs=4 and two folds, 38 to 54
minutes a seed: S2T 72.74 +- 2.60 %, S2T_fine-tune 80.00 +- 1.78 %, S2T_attention 56.31 +- 4.19 %, S2T_att.&gen.
69.17 +- 3.20 %, CycleAT 71.31 +- 2.07 %; README says what that means. `quick` alone takes 21 minutes there: 69.3, 78.9,
58.2, 60.7, 65.4 %. Not run: `paper`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from fer_tf import export, figures, metrics, pipeline, records, training
from fer_tf.compat import keras
from fer_tf.models import cycle_at
from fer_tf.nets.backbones import NETWORKS, RESIDUAL

from .parts.cycle_at import classifiers, domains
from .parts.cycle_at import pictures as cycle_at_pictures
from .parts.cycle_at.rows import GENERATED, ROWS, Source, one_row, selected
from .run import common, cross, folds

PRESETS = {
    "paper": {
        "source_network": "resnet50", "target_network": "resnet18", "epochs": 20, "gan_epochs": 15, "target_epochs": 50,
        "gan_epoch_steps": 10_000, "gan_batch_size": 1, "candidates": 20_000, "epoch_views": 3150,
        "imagenet": "imagenet",
    },
    "quick": {
        "only_folds": "0", "size": 64, "filters": 16, "blocks": 6, "width": 0.5, "pool": False, "rate": 1e-3,
        "decay_to": 0.0, "source_network": "resnet18", "target_network": "resnet10", "epochs": 6, "gan_epochs": 2,
        "gan_batch_size": 4, "gan_rate": 3e-4, "gan_decay_to": 0.0, "lambda_cycle": 10.0, "epoch_views": 1200,
        "target_epochs": 12,
    },
    "smoke": {
        "size": 32, "filters": 4, "blocks": 1, "width": 0.0625, "pool": False, "take": 4, "epochs": 1, "gan_epochs": 1,
        "target_epochs": 1, "max_steps": 2, "batch_size": 4, "gan_batch_size": 2, "classes": "anger,happiness",
        "source_network": "resnet10", "target_network": "resnet10", "candidates": 8, "judge_epochs": 1,
    },
}  # fmt: skip
STAGES = ("source", "generation", "selection", "target")

common.define_flags(PRESETS, init=None, batch_size=32, classes="six_neutral", folds=2)
domains.define_flags()
classifiers.define_flags()
flags.DEFINE_list("rows", ["S2T", "S2T_fine_tune", "S2T_attention", "S2T_att_gen", "CycleAT"], "See the docstring.")
flags.DEFINE_enum("stages", "target", STAGES, "The last stage that is run.")
flags.DEFINE_string("imagenet", "none", "What vgg16 starts from: imagenet, a file of Keras, or none.")
flags.DEFINE_float("gan_rate", 2e-4, "Adam's learning rate in stages I and II.")
flags.DEFINE_integer("gan_epochs", 1, "Of stage I, and again of stage II; after each the same faces are drawn.", 1)
flags.DEFINE_integer("gan_epoch_steps", 0, "Steps of such an epoch; 0 for a pass over the source.", lower_bound=0)
flags.DEFINE_integer("gan_batch_size", 1, "Faces of either domain a step in stages I and II.", lower_bound=1)
flags.DEFINE_integer("target_epochs", 50, "Of the target's faces alone, about; all rows get as many steps.", 1)
flags.DEFINE_enum("target_init", "scratch", ["scratch", "source"], "What f_T starts from; source needs f_S's network.")
flags.DEFINE_integer("filters", 64, "First channels of generators and discriminators.", lower_bound=1)
flags.DEFINE_integer("blocks", 9, "Residual blocks of a generator.", lower_bound=1)
flags.DEFINE_integer("discriminator_filters", None, "First channels of the discriminators, where others.", 1)
flags.DEFINE_float(
    "gan_decay_to", 1.0, "What --gan_rate falls to by the end of the last stage (cosine); 1 keeps it.", 0, 1
)
flags.DEFINE_float("lambda_cycle", 1.0, "Weight of eq. (6).", 0)
flags.DEFINE_enum("gan_loss", "log", cycle_at.GAN_LOSSES, "Of eq. (4) and (5).")
flags.DEFINE_integer("image_pool", 0, "Past fakes that each D is shown, 50 in CycleGAN.", lower_bound=0)
flags.DEFINE_integer("t", 8, "Generated faces that each target face selects (SFEW: 8, EmotioNet: 3).", lower_bound=1)
flags.DEFINE_integer("candidates", 2000, "Generated faces among which is selected.", lower_bound=1)
FLAGS = flags.FLAGS


def train_source(found: domains.Domains, classes: tuple[str, ...], seed: int, place: Path) -> Source:
    """Source domain learning, eq. (3): f_S, the first of --source_network; the others are for Table 2."""
    train, held_out = domains.split_source(found.source, seed)
    learn = domains.batches(train, classes, seed, FLAGS.batch_size)
    test, tested, models = domains.batches(held_out, classes, seed), {}, []
    for network in FLAGS.source_network.split(","):
        make = lambda network=network: classifiers.build(network, classes, seed)  # noqa: E731
        model, tested[network] = classifiers.train(learn, test, place / "source" / network, seed, FLAGS.epochs, make)
        models.append(model)
    return Source(models[0], tested, {}, train, held_out)


def train_gan(
    source: Source, auxiliary: Sequence[records.Record], stage: int, seed: int, place: Path, start: Any = None
) -> cycle_at.CycleAT:
    """Stage I or II of the auxiliary domain learning; a later one starts from the nets of the one before."""
    strategy, folder = folds.setup(seed), place
    classes, order = source.f_s.classes, seed + 500 * (start is not None)  # later stages see other views and pairs
    data = pipeline.Unpaired(
        domains.batches(source.train, classes, order, FLAGS.gan_batch_size),
        domains.batches(auxiliary, (), order + 1, FLAGS.gan_batch_size),
        steps=FLAGS.gan_epoch_steps or None,
    )
    names = ("filters", "blocks", "discriminator_filters", "size", "lambda_cycle", "beta", "at_reduction", "gan_loss")
    with strategy.scope():
        given = {n: getattr(FLAGS, n) for n in names} | {"pool": FLAGS.image_pool, "seed": seed}
        model = cycle_at.CycleAT(source_net=source.f_s if stage == 2 else None, stage=stage, **given)
        for net in ("g_sw", "g_ws", "d_w", "d_s") if start is not None else ():
            getattr(model, net).set_weights(getattr(start, net).get_weights())
        falls = FLAGS.gan_decay_to if start is not None else 1.0
        fall = keras.optimizers.schedules.CosineDecay(FLAGS.gan_rate, FLAGS.gan_epochs * len(data), alpha=falls)
        model.compile(**{f"{name}_optimizer": cycle_at.optimizer(fall) for name, _ in model.player_variables()})
    shown = domains.pictures(cycle_at_pictures.one_of_each(source.held_out, classes))

    def sample(m: cycle_at.CycleAT, epoch: int) -> None:
        cycle_at_pictures.keep_sample(m, shown, folder / "samples", epoch)

    training.fit(
        model,
        data,
        workdir=folder,
        epochs=FLAGS.gan_epochs,
        strategy=strategy,
        after_epoch=sample,
        max_steps=FLAGS.max_steps,
        checkpoint_steps=200,
        tensorboard=FLAGS.tensorboard,
        progress=FLAGS.progress,
    )
    if not (folder / "samples" / f"epoch{FLAGS.gan_epochs:03d}.npy").is_file():  # killed after the last checkpoint
        sample(model, FLAGS.gan_epochs)
    figures.save(figures.history(folder / "history.csv"), folder / "history.png")
    return model


def train_gans(source: Source, auxiliary: Sequence[records.Record], seed: int, place: Path) -> None:
    """The generators that --rows ask for, into `source.gans`: "alone" without f_W, "with f_W"."""
    if not {*GENERATED} & {*FLAGS.rows}:
        return
    first = train_gan(source, auxiliary, 1, seed, place / "gan1")
    if "S2T_att_gen" in FLAGS.rows:
        source.gans["alone"] = train_gan(source, auxiliary, 1, seed, place / "gan_alone", first)
    if "CycleAT" in FLAGS.rows:
        source.gans["with f_W"] = train_gan(source, auxiliary, 2, seed, place / "gan2", first)


def learnt(found: domains.Domains, number: int, seed: int) -> list[records.Record]:
    """The target's faces that a fold trains on."""
    return domains.labelled([found.target[i] for i in found.folds[number].train], seed)


def select(source: Source, found: domains.Domains, number: int, seed: int, place: Path) -> None:
    """Which generated faces each row of a fold is given, into its folder."""
    learn = learnt(found, number, seed)
    for row in FLAGS.rows:
        if row in GENERATED:
            count = len(selected(source, row, learn, seed, place / row))
            of = min(FLAGS.candidates, len(source.train))
            print(f"{place / row}: {len(learn)} target faces select {count} of {of} generated ones", flush=True)


def one_fold(source: Source, found: domains.Domains, number: int, seed: int, place: Path) -> Any:
    """All rows on one fold of the target: ({row: classifier}, {name: {last|best: ...}}, test batches)."""
    fold, models, methods = found.folds[number], {}, {}
    learn = learnt(found, number, seed)
    test = domains.batches([found.target[i] for i in fold.test], source.f_s.classes, seed)
    for row in FLAGS.rows:
        models[row], methods[ROWS[row]] = one_row(row, source, learn, test, seed, place / row)
        right = 100 * metrics.macro(metrics.confusion(*methods[ROWS[row]]["last"], len(source.f_s.classes)))
        print(f"{place}: {ROWS[row]} names {right:.1f} % (mean over expressions)", flush=True)
    return models, methods, test


def checked() -> tuple[str, ...]:
    """The classes; refuses flags that do not go together.

    Raises:
      ValueError: an unknown row or network, or what would end the run only hours later.
    """
    if unknown := [row for row in FLAGS.rows if row not in ROWS]:
        raise ValueError(f"--rows={','.join(FLAGS.rows)}: {unknown[0]!r} is none of {', '.join(ROWS)}.")
    if not FLAGS.rows:
        raise ValueError(f"--rows is empty: give one or more of {', '.join(ROWS)}.")
    for flag in ("source_network", "target_network"):
        for network in FLAGS[flag].value.split(","):
            if network not in NETWORKS:
                raise ValueError(f"--{flag}: {network!r} is none of {', '.join(NETWORKS)}.")
    first, taught = FLAGS.source_network.split(",")[0], {"S2T_attention", *GENERATED} & {*FLAGS.rows}
    for network in {first, FLAGS.target_network} - {*RESIDUAL} if taught else ():
        raise ValueError(
            f"Attention is compared between residual stages, which {network} lacks: leave out {taught.pop()}."
        )
    if FLAGS.target_init == "source" and first != FLAGS.target_network:
        raise ValueError(f"--target_init=source: f_T is {FLAGS.target_network}, f_S is {first}; give both the same.")
    if FLAGS.size % 4 or FLAGS.size < 24:
        raise ValueError(f"--size={FLAGS.size}: the generators need a multiple of 4, the discriminators 24 or more.")
    if FLAGS.image_pool and (FLAGS.image_pool < FLAGS.gan_batch_size or FLAGS.strategy != "none"):
        raise ValueError("--image_pool has to hold a batch of --gan_batch_size, and works without --strategy alone.")
    if "vgg16" in FLAGS.rows and FLAGS.imagenet != "none" and FLAGS.width != 1:
        raise ValueError(f"--imagenet={FLAGS.imagenet} is of the full VGG-16: it needs --width=1, or --imagenet=none.")
    return records.classes_of(FLAGS.classes)


def main() -> None:
    """Three domains -> f_S -> GANs -> target classifiers -> tables, pictures, measures, exported models."""
    start, classes = time.time(), checked()
    folder = common.workdir("cycle_at")
    found = domains.load(classes, folder)
    chosen = common.chosen_folds(len(found.folds))
    results, tested, generation = [], [], []
    for run in range(FLAGS.runs):
        seed, place = FLAGS.seed + run, folder / f"run{run}"
        source = train_source(found, classes, seed, place)
        tested.append(source.tested)
        if FLAGS.stages == "source":
            continue
        train_gans(source, found.auxiliary, seed, place)
        cycle_at_pictures.draw_generated(source, found, place)
        if source.gans:
            generation.append(cycle_at_pictures.measure(source, found, seed, place))
        if FLAGS.stages == "generation":
            continue
        for number in chosen:
            select(source, found, number, seed, place / f"fold{number}")
        if FLAGS.stages == "selection":
            continue
        for number in chosen:
            models, methods, test = one_fold(source, found, number, seed, place / f"fold{number}")
            results.append({"run": run, "fold": number, "methods": methods})
        cycle_at_pictures.draw(source, found, models, test, place)
    networks = {n: metrics.summarize([t[n] for t in tested], classes) for n in tested[0]}
    print("source people who were held out (Table 2)\n" + cycle_at_pictures.by_expression(networks, classes))
    if generation:
        print(cycle_at_pictures.text(generation))
    if not results:
        print(f"Stopped after --stages={FLAGS.stages}: the same command without it goes on in {folder}.")
        return
    about, tested_on = told(found), cross.named(FLAGS.target)
    more = {"source": networks, "generation": generation, "domains": about, "protocol": about["target"]["folds"]}
    methods = folds.report(results, classes, folder, time.time() - start, tested_on=tested_on, **more)
    if "S2T" in methods:
        shift = {"source to source": next(iter(networks.values())), "source to target": methods["S2T"]}
        print("domain shift (Table 3)\n" + cycle_at_pictures.by_expression(shift, classes))
    print("held-out people of the target (Tables 5 to 8)\n" + cycle_at_pictures.by_expression(methods, classes))
    finish(source, models, test, folder, results[-1])


def told(found: domains.Domains) -> dict[str, Any]:
    """What metrics.json says of the domains."""
    named = {"source": common.dataset_name(), "auxiliary": ",".join(map(cross.named, FLAGS.auxiliary))}
    named["target"] = cross.named(FLAGS.target)
    about = {name: {"data": named[name], "faces": len(getattr(found, name))} for name in named}
    by_subject = f"{FLAGS.folds} folds by subject, {common.order()}"
    people = all(r.subject is not None for r in found.target)
    chosen = common.protocol()
    by_subject = by_subject if people else "the data set's own parts"
    rule = FLAGS.protocol if chosen is not None and common.of_the_target(chosen) else by_subject
    about["target"]["folds"] = FLAGS.manifest or rule
    return about


def finish(source: Source, models: dict[str, Any], test: pipeline.Batches, folder: Path, last: Any) -> None:
    """Exports the last trained row's classifier, and the generators."""
    places = [common.dataset_name(), *map(cross.named, FLAGS.auxiliary), cross.named(FLAGS.target)]
    about = {"run": last["run"], "held_out_fold": last["fold"], "commit": common.commit()}
    about["trained_on"] = ", ".join(dict.fromkeys(places))
    row = next((r for r in ("CycleAT", *reversed(FLAGS.rows)) if models.get(r) is not None), None)
    faces = domains.pictures(test.records[:8])
    for which, gan in source.gans.items():
        name = "generator" if which == "with f_W" else "generator_alone"
        module = cycle_at_pictures.Translation(export.in_float32(gan), FLAGS.size, {**about, "generator": which})
        common.save_module(module, folder / name)
    if row is None:
        print(f"Table, pictures and metrics.json are in {folder}.")
        return
    options = {"channels": 3, "template": domains.template(), "faces": faces}
    export.save(models[row], folder / "export", metadata={**about, "row": ROWS[row]}, **options)
    print(f"Table, pictures and metrics.json are in {folder}, {ROWS[row]} in export/.")


if __name__ == "__main__":
    common.run(main, PRESETS)
