"""IA-gen on people it never saw: FER-Net's softmax beside the nearest regenerated face (Tables I to IV, Figs. 4 to 9).

    python -m experiments.ia_gen --preset=quick                     # one fold of the rendered faces, width 1/4
    python -m experiments.ia_gen --preset=paper --dataset=ck_plus --data_dir=... --gan_init=<a --all_subjects run>
    python -m experiments.ia_gen --preset=quick --all_subjects      # weights to release, or to start from

Per fold: FER-Net is fine-tuned on the training people, K conditional GANs are trained on the same people, and both are
tested on the others. Each stage resumes by itself; `--expressions` picks some of the GANs. The paper pre-trains the
GANs on BU-4DFE: run that with --all_subjects, then give its folder as --gan_init.

Two CPU cores (Xeon with AMX), seed 0: the first command 14 min 48 s, FER-Net 91.9 %, IA-gen 86.9 %. With --gan_epochs=4
--only_folds=0,1,2: FER-Net 89.84 +- 2.34 %, IA-gen 87.30 +- 4.10 %; README says what falls short. Not run: `paper`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from fer_tf import export, faces, figures, metrics, pipeline, records, training, weights
from fer_tf.models import ia_gen

from .run import classifier, common, folds, regeneration

PRESETS = {
    "paper": {"folds": 10, "runs": 8, "epochs": 40, "gan_epochs": 20},
    "quick": {
        "only_folds": "0", "epochs": 6, "batch_size": 50, "rate": 0.01, "views": 1, "gan_epochs": 3, "gan_views": 1,
        "gan_width": 0.25, "gan_batch_size": 16, "gan_rate": 1e-3, "gan_decay": 0.5, "phi_pooling": 4,
    },
    "smoke": {
        "folds": 2, "epochs": 1, "batch_size": 8, "views": 1, "max_steps": 2, "init": "none", "width": 4, "take": 4,
        "gan_epochs": 1, "gan_views": 1, "gan_width": 0.03125, "gan_batch_size": 4, "classes": "anger,happiness",
    },
}  # fmt: skip
common.define_flags(PRESETS)
classifier.define_flags()
flags.DEFINE_float("gan_width", 1.0, "Times the printed channels of generator and discriminator.", lower_bound=0.01)
flags.DEFINE_integer("gan_epochs", 20, "Passes over the pairs; the paper does not say.", lower_bound=1)
flags.DEFINE_integer("gan_views", 0, "Random views a pair and epoch; 0 for all 110.", lower_bound=0)
flags.DEFINE_integer("gan_batch_size", 100, "Pairs a batch.", lower_bound=1)
flags.DEFINE_float("gan_rate", 2e-4, "Learning rate of Adam (beta1 0.5) for both players.")
flags.DEFINE_float("gan_decay", 0.0, "Share of the steps, the last ones, in which it falls to zero.", 0, 1)
flags.DEFINE_float("alpha", 100.0, "Weight of the content loss, eq. (6).")
flags.DEFINE_float("beta", 10.0, "Weight of the perceptual loss, eq. (6).")
flags.DEFINE_float("lambda", 1.0, "Weight of the generator's loss, eq. (7); Adam hardly feels it.")
flags.DEFINE_enum("content", "l1", ["l1", "mse"], "Content loss.")
flags.DEFINE_integer("phi_pooling", 2, "phi of eq. (5): the convolution before this pooling of the classifier.")
flags.DEFINE_float("temperature", 1.0, "Divides the distances in the recogniser's softmax.", lower_bound=1e-3)
flags.DEFINE_list("inputs", [], "Expressions that serve as inputs besides --classes, such as neutral.")
flags.DEFINE_list("expressions", [], "Train the GANs of these expressions only; all of --classes when empty.")
flags.DEFINE_string("gan_init", None, "Folder with gan_<expression>.h5 of an --all_subjects run to start from.")
flags.DEFINE_bool("all_subjects", False, "Train on everybody, test nobody: weights to release or to start from.")
FLAGS = flags.FLAGS


def cut_faces(found: list[records.Record]) -> list[records.Record]:
    """The records with their faces cut, once for all GANs; --strict=false names and leaves out those without one."""
    if FLAGS.strict:
        return pipeline.with_faces(found, ia_gen.TEMPLATE)
    kept = []
    for record in found:
        try:
            kept += pipeline.with_faces([record], ia_gen.TEMPLATE)
        except ValueError as error:
            print(f"left out: {error}", file=sys.stderr)
    return kept


def train_gan(expression: str, people: list[records.Record], net: Any, seed: int, folder: Path) -> Any:
    """The conditional GAN of one expression on these people's pairs; `folder` is its own."""
    strategy = training.setup(
        seed=seed, precision=FLAGS.precision, strategy=FLAGS.strategy, deterministic=FLAGS.deterministic
    )
    pairs, left_out = records.expression_pairs(people, expression)
    if left_out:
        print(f"{expression}: {len(left_out)} people without it are left out: {', '.join(left_out)}", file=sys.stderr)
    data = pipeline.batches(
        people,
        classes=records.EXPRESSIONS,
        template=ia_gen.TEMPLATE,
        views=ia_gen.views,
        batch_size=FLAGS.gan_batch_size,
        seed=seed,
        views_per_image=FLAGS.gan_views or None,
        pairs=pairs,
    )
    with strategy.scope():
        model = ia_gen.ExpressionGAN(
            expression=expression,
            feature_net=net,
            width=FLAGS.gan_width,
            alpha=FLAGS.alpha,
            beta=FLAGS.beta,
            lambda_=FLAGS["lambda"].value,
            content=FLAGS.content,
            phi_pooling=FLAGS.phi_pooling,
            seed=seed,
        )
        if file := gan_file(expression):
            weights.load(model, file)
        steps, decay = min(FLAGS.gan_epochs * len(data), FLAGS.max_steps or sys.maxsize), FLAGS.gan_decay
        model.compile(
            **{
                f"{name}_optimizer": ia_gen.optimizer(FLAGS.gan_rate, steps=steps, decay=decay)
                for name, _ in model.player_variables()
            }
        )
    shown = next(iter(data.epoch(0)))
    training.fit(
        model,
        data,
        workdir=folder,
        epochs=FLAGS.gan_epochs,
        strategy=strategy,
        after_epoch=lambda m, epoch: draw_samples(m, shown, folder / "samples" / f"epoch{epoch:03d}.png"),
        max_steps=FLAGS.max_steps,
        checkpoint_steps=200,
        tensorboard=FLAGS.tensorboard,
        progress=FLAGS.progress,
    )
    return model


def gan_file(expression: str) -> Path | None:
    """The weights of --gan_init for one expression; None where it has none, as BU-4DFE's has none for contempt."""
    path = Path(FLAGS.gan_init or "") / f"gan_{expression}.h5"
    return path if FLAGS.gan_init and path.is_file() else None


def check_init(classes: Sequence[str]) -> list[str]:
    """The data sets behind --gan_init and --init, before anything is trained; says which GANs start from nothing.

    Raises:
      FileNotFoundError: --gan_init has no weights of any of the expressions.
      ValueError: some have seen the data set that is to be tested on, or do not say what they have seen.
    """
    known = {c: gan_file(c) for c in classes} if FLAGS.gan_init else {}
    files = [f for f in known.values() if f]
    if known and not files:
        raise FileNotFoundError(f"--gan_init={FLAGS.gan_init} has no gan_{classes[0]}.h5: make it with --all_subjects.")
    for file in files:
        if not weights.provenance(file).get("datasets"):
            raise ValueError(f"{file} does not say what it was trained on: make it with --all_subjects.")
    if absent := [c for c, f in known.items() if not f]:
        print(f"--gan_init has nothing for {', '.join(absent)}: these GANs start from nothing.", file=sys.stderr)
    given = [(file, "gan_init") for file in files] + [(file, "init") for file in classifier.init() if file]
    return sorted({name for file, flag in given for name in common.unseen(file, flag, not FLAGS.all_subjects)})


def check_people(found: Sequence[records.Record], fold: records.Fold, classes: Sequence[str], number: int) -> None:
    """Raises ValueError where nobody of a fold's training people shows one of the classes."""
    shown = {found[i].expression for i in fold.train}
    if absent := [c for c in classes if c not in shown]:
        raise ValueError(
            f"--classes={FLAGS.classes}: nobody to train on in fold {number} shows {', '.join(absent)}, so there is no "
            "target to regenerate: leave it out, as in --classes=six."
        )


def draw_samples(model: Any, batch: dict[str, Any], path: Path, count: int = 8) -> None:
    """Input, regenerated and target faces of the first pairs of a batch, one row each."""
    image, target = batch["image"][:count], batch["target"][:count]
    rows = [x.numpy() for x in (image, model.regenerate(image), target)]
    figures.save(figures.grid(rows, row_titles=("input", "regenerated", "target")), path)


def assemble(gans: dict[str, Any], net: Any, classes: tuple[str, ...]) -> ia_gen.IAGen:
    """FER-Net and the K generators in one model."""
    model = ia_gen.IAGen(feature_net=net, classes=classes, width=FLAGS.gan_width, temperature=FLAGS.temperature)
    for generator, expression in zip(model.generators, classes, strict=True):
        generator.set_weights(gans[expression].generator.get_weights())
    return model


def evaluate(model: ia_gen.IAGen, judge: Any, people: list[records.Record], folder: Path) -> tuple[Any, dict[str, Any]]:
    """(labels, predictions) of the held-out people, and measures of what was regenerated; draws the grid of Fig. 4.

    `judge` reads the regenerated faces: a second classifier of the same people and another seed, which is neither phi
    nor Feat, and so was never played to.
    """
    data = folds.batches(people, model.classes, ia_gen, FLAGS.seed, False)
    parts = [(b, model(b["image"])) for b in data.epoch(0).rebatch(32)]  # each face is K + 1 faces to FER-Net
    images, labels, index = (np.concatenate([b[n].numpy() for b, _ in parts]) for n in ("image", "label", "index"))
    generated, distances, predictions = (
        np.concatenate([m[n].numpy() for _, m in parts]) for n in ("generated", "distances", "prediction")
    )
    kept = [data.records[i] for i in index]
    judge, own = folds.compiled(judge), folds.compiled(model.feature_net)
    features = np.concatenate(
        [model.feature_net.features(part) for part in np.array_split(images, len(images) // 64 + 1)]
    )
    measures = {
        "with_real_faces": regeneration.with_real_faces(features, kept, model.classes),
        "wrong_and_unchanged": regeneration.unchanged(lambda x: own(x).numpy(), generated, labels, predictions),
        "target_rate": regeneration.target_rate(lambda x: judge(x).numpy(), generated, model.classes),
        "target_rate_of_real_faces": float(np.mean(np.argmax(judge(images), -1) == labels)),
        "identity": regeneration.identity(
            images, generated, kept, model.classes, faces.TEMPLATES[ia_gen.TEMPLATE], count=60
        ),
        "calibration": metrics.temperature(-distances, labels),
        **(regeneration.errors(images, generated, kept, model.classes) or {}),
    }
    figures.save(fig_4(images, generated, kept, model.classes), folder / "regenerated.png")
    return (labels.astype(int), predictions.astype(int)), measures


def fig_4(images: np.ndarray, generated: np.ndarray, kept: Sequence[records.Record], classes: Sequence[str]) -> Any:
    """Input, the K regenerated faces, and under each the real face of that expression: four people (Fig. 4)."""
    people = records.subject_order(r.subject for r in kept)
    rows, titles = [], []
    real = {c: regeneration.real_faces(kept, c) for c in classes}
    for n, person in enumerate(people[:: max(1, len(people) // 4)][:4]):
        own = [i for i, r in enumerate(kept) if r.subject == person]
        i = next((i for i in own if kept[i].expression == classes[2 * n % len(classes)]), own[0])
        rows += [
            [images[i], *generated[i]],
            [None, *(images[real[c][i]] if real[c][i] >= 0 else None for c in classes)],
        ]
        titles += [f"{person}, {kept[i].expression}", "real"]
    return figures.grid(rows, row_titles=titles, col_titles=("input", *classes))


def one_fold(found: list[records.Record], fold: records.Fold, classes: tuple[str, ...], seed: int, place: Path) -> Any:
    """FER-Net, the GANs, and their test: (recogniser or None, {method: {last|best: ...}}, measures)."""
    labelled = records.Fold(*(tuple(i for i in part if found[i].expression in classes) for part in fold))
    net, baseline = classifier.one_fold(found, labelled, classes, seed, place / "finetune")
    if baseline:
        rate = 100 * np.mean(np.equal(*baseline["last"]))
        print(f"{place}: {classifier.name()} names {rate:.1f} % of held-out people's images")
    people = cut_faces([found[i] for i in fold.train])
    gans = {}
    for expression in FLAGS.expressions or classes:
        print(f"{place}: the GAN of {expression}", flush=True)
        gans[expression] = train_gan(expression, people, net, seed, place / f"gan_{expression}")
    if not fold.test:
        release(gans, net, classes, place)
        return None, {}, {}
    if set(gans) != {*classes}:
        print(f"{place}: only {', '.join(gans)} trained; the same command without --expressions goes on to the test.")
        return None, {}, {}
    model = assemble(gans, net, classes)
    judge, _ = classifier.one_fold(found, labelled, classes, seed + 1000, place / "judge")
    pair, measures = evaluate(model, judge, [found[i] for i in labelled.test], place)
    print(f"{place}: IA-gen names {100 * np.mean(np.equal(*pair)):.1f} %")
    return model, {classifier.name(): baseline, "IA-gen": {"last": pair}}, measures


def release(gans: dict[str, Any], net: Any, classes: tuple[str, ...], folder: Path) -> None:
    """Writes each GAN's weights and, once all are there, the recogniser's (half precision), with their provenance."""
    told = {
        "command": common.command("experiments.ia_gen"),
        "commit": common.commit(), "data": f"{common.dataset_name()}, all subjects",
        "datasets": sorted({common.dataset_name(), *check_init(classes)}),
        "hardware": common.hardware(), "seed": FLAGS.seed, "metric": None,
    }  # fmt: skip
    for expression, gan in gans.items():
        weights.save(gan, folder / f"gan_{expression}.h5", provenance={**told, "expression": expression})
    if set(gans) != {*classes}:
        print(f"gan_*.h5 of {', '.join(gans)} are in {folder}; ia_gen.h5 waits for the others.")
        return
    model = assemble(gans, net, classes)
    config = {k: v for k, v in model.get_config().items() if k != "name"}
    about = {**told, "model": "ia_gen.IAGen", "config": config, "classes": model.classes}
    weights.save(model, folder / "ia_gen.h5", provenance=about, dtype="float16")
    print(f"Weights of all parts are in {folder}: ia_gen.h5 for the recogniser, gan_*.h5 for --gan_init.")


def main() -> None:
    """Records -> folds -> FER-Net and K GANs each -> table, pictures, exported recogniser."""
    start, classes = time.time(), records.classes_of(FLAGS.classes)
    if unknown := {*FLAGS.expressions} - {*classes}:
        raise ValueError(f"--expressions={','.join(FLAGS.expressions)}: {', '.join(unknown)} is not in --classes.")
    shown = records.classes_of(",".join([*classes, *FLAGS.inputs]))
    found = common.load_records(shown)
    labelled = {r.subject for r in found if r.expression in classes}  # --inputs must not change the folds
    found = folds.first_subjects([r for r in found if r.subject in labelled])
    check_init(classes)
    folder = common.workdir("ia_gen")
    if FLAGS.all_subjects:
        everybody = records.Fold(tuple(range(len(found))), ())
        check_people(found, everybody, classes, 0)
        one_fold(found, everybody, classes, FLAGS.seed, folder / "all")
        return
    parts, results = common.make_folds(found, shown, folder), []
    for number in common.chosen_folds(len(parts)):
        check_people(found, parts[number], classes, number)
    for run in range(FLAGS.runs):
        for number in common.chosen_folds(len(parts)):
            place = folder / f"run{run}" / f"fold{number}"
            model, methods, measures = one_fold(found, parts[number], classes, FLAGS.seed + run, place)
            if methods:
                results.append({"run": run, "fold": number, "methods": methods, "generation": measures})
    if not results:
        return
    generation = [r["generation"] for r in results]
    folds.report(results, classes, folder, time.time() - start, generation=generation)
    print(generation_table(generation))
    last = results[-1]
    held_out = records.of_classes([found[i] for i in parts[last["fold"]].test], classes)
    about = {
        "trained_on": common.dataset_name(),
        "run": last["run"],
        "held_out_fold": last["fold"],
        "commit": common.commit(),
    }
    export.save(model, folder / "export", metadata=about, faces=folds.some_faces(held_out, ia_gen.TEMPLATE))
    print(f"Table, pictures and metrics.json are in {folder}; the last fold's model is in {folder / 'export'}.")


def generation_table(generation: list[dict[str, Any]]) -> str:
    """The measures of the regenerated faces, the mean over the folds, one line each."""

    def mean(*path: str) -> str:
        values = []
        for measures in generation:
            for key in path:
                measures = (measures or {}).get(key)
            values.append(measures)
        return f"{np.mean(values):.3f}" if all(v is not None for v in values) else "not measured"

    lines = [
        "regenerated faces of held-out people, mean over the folds",
        f"  read as the target     {mean('target_rate', 'mean')} (real faces: {mean('target_rate_of_real_faces')})",
        f"  real faces instead     eq. (8) names {mean('with_real_faces')} with the person's own real faces",
        f"  wrong and unchanged    {mean('wrong_and_unchanged')} of the wrong answers: a face left as it was",
        f"  L1 to the real face    {mean('l1', 'generated', 'mean')} (the input itself: {mean('l1', 'input', 'mean')})",
        f"  SSIM to the real face  {mean('ssim', 'generated', 'mean')} "
        f"(the input itself: {mean('ssim', 'input', 'mean')})",
        f"  identity distance      {mean('identity', 'input_generated')} (two real faces of one person: "
        f"{mean('identity', 'real_same')}, of two people: {mean('identity', 'real_between')})",
        f"  temperature            {mean('calibration', 'temperature')} of softmax(-distance), fitted on these people: "
        f"log loss {mean('calibration', 'log_loss')}, confidence {mean('calibration', 'confidence')}",
    ]
    if generation[0].get("identity") is None:
        lines.append("  (identity needs the extra `landmarks`: pip install fer-tf[landmarks])")
    return "\n".join(lines)


if __name__ == "__main__":
    common.run(main, PRESETS, paper="ia_gen")
