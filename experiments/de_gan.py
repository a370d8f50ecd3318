"""DE-GAN on people it never saw, beside the CNN of its encoder's shape (Tables 1 to 3), and what its code holds.

    python -m experiments.de_gan --preset=quick                     # one fold of the rendered faces, width 1/4
    python -m experiments.de_gan --preset=paper --protocol=ck_plus_7_10fold --data_dir=... --gan_init=<of the fifth>
    python -m experiments.de_gan --preset=paper --protocol=mmi_10fold --data_dir=... --gan_init=...
    python -m experiments.de_gan --preset=paper --protocol=oulu_strong_10fold --data_dir=... --gan_init=...
    python -m experiments.de_gan --preset=paper --all_subjects --dataset=bu4dfe --data_dir=... --classes=six \
        --options=frames=all                                                                           # pre-training
    python -m experiments.de_gan --preset=quick --all_subjects --part=wild --gan_init=none --baseline_init=none \
        --own_share=0.5 --lambda_own=100 --gan_epochs=60                                     # likewise, rendered people

Per fold: the GAN learns to carry expressions between the training people (stage one); its encoder, frozen, feeds the
classifiers (stage two), once for each of --uses: f(x) and the residues, f(x) alone, the residues alone. The baseline
is a CNN of the encoder's shape. Each stage resumes by itself. --gan_init starts from another set's GAN: its identity
code and head are new, the rest is kept. Pictures: held-out people's expressions on training people (transfer.png),
and between two f(x) (interpolation.png). Measured on held-out people: what independent classifiers read in the made
faces, and what a linear probe reads from f(x), from the residues and from the baseline's features.

Two CPU cores (Xeon with AMX), seed 0, `quick`: one fold in 19 minutes. --only_folds=0,1,2: CNN 89.37 +- 2.34 %, DE-GAN
86.67 +- 1.19 %, f(x) alone 78.89 +- 5.03 %, residues alone 86.35 +- 2.44 %; README has the probes. Not run: `paper`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from fer_tf import export, figures, pipeline, records, training, weights
from fer_tf.compat import keras
from fer_tf.models import de_gan

from .parts.de_gan import expression_transfer
from .run import common, folds

PRESETS = {
    "paper": {"folds": 10, "gan_epochs": 300, "epochs": 50},
    "quick": {
        "only_folds": "0", "width": 0.25, "gan_epochs": 20, "epochs": 20, "batch_size": 32, "views": 1,
        "gan_rate": 4e-4, "rate": 1e-3, "decay_to": 0.0,
        "gan_init": "de_gan_rendered", "baseline_init": "de_gan_baseline_rendered",
    },
    "smoke": {
        "folds": 2, "epochs": 1, "gan_epochs": 1, "batch_size": 4, "views": 1, "max_steps": 2, "width": 0.03125,
        "code": 8, "take": 4, "classes": "anger,happiness", "uses": "both,code",
    },
}  # fmt: skip
NAMES = {"both": "DE-GAN", "code": "DE-GAN, f(x) alone", "residues": "DE-GAN, residues alone"}
"""Value of --uses -> its name in the table."""
BASELINE = "CNN (baseline)"

common.define_flags(PRESETS, init=None, batch_size=150, protocol="strided")
folds.define_flags()
flags.DEFINE_list("uses", list(NAMES), "What the fifth classifier sees: both, code, residues; one network each.")
flags.DEFINE_integer("gan_epochs", 300, "Epochs of stage one; --epochs are those of stage two and the baseline.", 1)
flags.DEFINE_float("gan_rate", 1e-4, "Learning rate of Adam (beta1 0.5) in stage one.")
flags.DEFINE_float("rate", 1e-4, "In stage two, and of the baseline.")
flags.DEFINE_float("decay_to", 1.0, "What that falls to by the last step, as a share (cosine); 1 keeps it.", 0, 1)
flags.DEFINE_float("width", 1.0, "Times the read channels.", lower_bound=0.01)
flags.DEFINE_integer("code", de_gan.CODE, "Length of f(x).", lower_bound=1)
flags.DEFINE_integer("noise", de_gan.NOISE, "Length of z.", lower_bound=1)
flags.DEFINE_float("own_share", 0.0, "Share of fakes that keep their own identity.", 0, 1)
flags.DEFINE_float("lambda_own", 0.0, "Weight of those fakes' L1 distance to their source; 0 in the paper.", 0)
flags.DEFINE_integer("ratio", 4, "Steps of G for one of D, once D is near its optimum.", lower_bound=1)
flags.DEFINE_float("near", 0.9, "D's accuracy on real faces, on both heads, from which it is.", 0, 1)
flags.DEFINE_integer("baseline_epochs", None, "Of the baseline; --gan_epochs + --epochs when left out.", 1)
flags.DEFINE_string("baseline_init", "none", "A de_gan_baseline.h5 of an --all_subjects run for the baseline, or none.")
flags.DEFINE_string("gan_init", "none", "A de_gan.h5 of an --all_subjects run to start stage one from, or none.")
flags.DEFINE_bool("all_subjects", False, "Train on everybody, test nobody: weights to release or to start from.")
flags.DEFINE_enum("part", "lab", ["lab", "posed", "wild", "all"], "With --all_subjects: part of the rendered faces.")
FLAGS = flags.FLAGS


def train_gan(data: pipeline.Batches, classes: tuple[str, ...], seed: int, folder: Path) -> de_gan.DEGAN:
    """Stage one on these people's views."""
    strategy, people = folds.setup(seed), folds.usable(data)
    with strategy.scope():
        given = {n: getattr(FLAGS, n) for n in ("width", "code", "noise", "own_share", "lambda_own", "ratio", "near")}
        model = de_gan.DEGAN(classes=classes, subjects=data.subjects, seed=seed, **given)
        if file := common.weights_file(FLAGS.gan_init):
            skip = ["decoder/identity", "discriminator/identity", "pace_of_d"]
            same = tuple(weights.provenance(file).get("classes") or ()) == classes
            weights.load(model, file, skip=skip if same else [*skip, "discriminator/expression"])
        model.compile(**{f"{name}_optimizer": de_gan.optimizer(FLAGS.gan_rate) for name, _ in model.player_variables()})

    def sample(m: de_gan.DEGAN, epoch: int) -> None:
        figures.save(expression_transfer.draw_transfer(m, people, people), folder / "samples" / f"epoch{epoch:03d}.png")

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
    figures.save(figures.history(folder / "history.csv"), folder / "history.png")
    return model


def optimizer(data: pipeline.Batches, epochs: int) -> Any:
    """Adam at --rate, which falls to --decay_to of it over so many epochs."""
    steps = min(epochs * len(data), FLAGS.max_steps or sys.maxsize)
    return de_gan.optimizer(keras.optimizers.schedules.CosineDecay(FLAGS.rate, steps, alpha=FLAGS.decay_to))


def build_classifier(gan: de_gan.DEGAN, uses: str, data: pipeline.Batches) -> de_gan.DEGANClassifier:
    """Stage two on a trained GAN's encoder, to be trained on these views."""
    model = de_gan.DEGANClassifier(classes=gan.classes, uses=uses, width=FLAGS.width, code=FLAGS.code)
    model.encoder.set_weights(gan.encoder.get_weights())
    model.compile(classifier_optimizer=optimizer(data, FLAGS.epochs))
    return model


def build_cnn(
    classes: tuple[str, ...], seed: int, data: pipeline.Batches, epochs: int, init: str = "none"
) -> de_gan.EncoderCNN:
    """The baseline, or a judge, to be trained on these views for so many epochs."""
    model = de_gan.EncoderCNN(classes=classes, width=FLAGS.width, code=FLAGS.code, seed=seed)
    if file := common.weights_file(init):
        weights.load(model, file, skip="logits" if weights.provenance(file).get("classes") != list(classes) else ())
    model.compile(classifier_optimizer=optimizer(data, epochs))
    return model


def one_fold(found: list[records.Record], fold: records.Fold, classes: tuple[str, ...], seed: int, place: Path) -> Any:
    """All networks of one fold: (gan, baseline, {uses: classifier}, {method: {last|best: ...}}, measures)."""
    data = folds.batches([found[i] for i in fold.train], classes, de_gan, seed, True)
    test = folds.batches([found[i] for i in fold.test], classes, de_gan, seed, False) if fold.test else None
    gan, people = train_gan(data, classes, seed, place / "gan"), folds.usable(data)
    methods, models, strategy = {}, {}, folds.setup(seed)
    epochs = FLAGS.baseline_epochs or FLAGS.gan_epochs + FLAGS.epochs
    net, methods[BASELINE] = folds.train_and_test(
        lambda: build_cnn(classes, seed, data, epochs, FLAGS.baseline_init),
        data,
        test,
        place / "baseline",
        strategy,
        epochs=epochs,
    )
    for uses in FLAGS.uses:
        strategy = folds.setup(seed)
        models[uses], methods[NAMES[uses]] = folds.train_and_test(
            lambda uses=uses: build_classifier(gan, uses, data), data, test, place / uses, strategy
        )
    if test is None:
        return gan, net, models, {}, {}
    for name, pairs in methods.items():
        print(f"{place}: {name} names {100 * np.mean(np.equal(*pairs['last'])):.1f} %", flush=True)
    held_out = folds.usable(test)
    figures.save(expression_transfer.draw_transfer(gan, held_out, people), place / "transfer.png")
    figures.save(expression_transfer.draw_interpolation(gan, held_out), place / "interpolation.png")
    return gan, net, models, methods, measure(gan, net, models, people, held_out, seed, place)


def train_judge(found: list[records.Record], classes: tuple[str, ...], seed: int, place: Path) -> de_gan.EncoderCNN:
    """A CNN of the encoder's shape, with weights of its own, that says what made faces show."""
    strategy = folds.setup(seed)
    data = folds.batches(found, classes, de_gan, seed, True)
    return folds.train_and_test(lambda: build_cnn(classes, seed, data, FLAGS.epochs), data, None, place, strategy)[0]


def measure(
    gan: de_gan.DEGAN,
    net: de_gan.EncoderCNN,
    models: dict[str, de_gan.DEGANClassifier],
    people: list[records.Record],
    held_out: list[records.Record],
    seed: int,
    place: Path,
) -> dict[str, Any]:
    """What the made faces show and what the features hold, on held-out people; the judges are trained here."""
    known = folds.named_after_people(people)
    back = known[2::5]  # the judge of identity has not seen these faces
    judge = train_judge(people, gan.classes, seed + 1000, place / "judge_of_expression")
    seen = [r for i, r in enumerate(known) if i % 5 != 2]
    knows = train_judge(seen, gan.subjects, seed + 2000, place / "judge_of_identity")
    fresh = de_gan.build_encoder(width=FLAGS.width, code=FLAGS.code)

    def stages(images: np.ndarray) -> np.ndarray:
        maps = gan.encoder(de_gan.grey(images), training=False)[:-1]
        return np.concatenate([np.mean(np.asarray(m, np.float32), (1, 2)) for m in maps], -1)

    features = {
        "f(x)": lambda x: gan.features(x).numpy(),
        "residues, each map's mean": stages,
        BASELINE: lambda x: net.features(x).numpy(),
        "f(x), untrained": lambda x: fresh(de_gan.grey(x), training=False)[-1].numpy(),
    }
    if own := models.get("residues", models.get("both")):
        features["last FC of the local CNNs"] = lambda x: np.concatenate([f.numpy() for f in own.features(x)[:4]], -1)
    images = expression_transfer.test_views(held_out)
    labels = np.array([gan.classes.index(r.expression) for r in held_out])
    local = {}
    for uses, model in models.items():
        named = [np.stack(model.logits(part)) for part in np.array_split(images, len(images) // 64 + 1)]
        rates = np.mean(np.argmax(np.concatenate(named, 1), -1) == labels, 1)
        local[uses] = {f"L{n}": float(rate) for n, rate in zip(model.numbers, rates, strict=True)}
    return {
        "reached": expression_transfer.reached(gan, held_out, back, judge, knows, seed),
        "probes": expression_transfer.probes(features, people, held_out, gan.classes),
        "classifiers": local,
    }


def load(classes: tuple[str, ...]) -> list[records.Record]:
    """The records of --dataset, of --part with --all_subjects, that say who is seen: eq. (1) asks for it.

    Raises:
      ValueError: --part without --all_subjects, or nobody is named.
    """
    if FLAGS.part != "lab" and not FLAGS.all_subjects:
        raise ValueError(f"--part={FLAGS.part} is for pre-training: give --all_subjects, too; folds are of lab.")
    found = common.load_records(classes, **({"part": FLAGS.part} if FLAGS.dataset == "rendered" else {}))
    named = [r for r in found if r.subject is not None]
    if not named:
        raise ValueError(f"--dataset={FLAGS.dataset} names nobody: DE-GAN carries expressions between known people.")
    if len(named) < len(found):
        print(f"left out {len(found) - len(named)} of {len(found)} records: they have no subject", file=sys.stderr)
    return named


def release(
    gan: de_gan.DEGAN,
    net: de_gan.EncoderCNN,
    models: dict[str, de_gan.DEGANClassifier],
    folder: Path,
    seen: list[str],
) -> None:
    """Writes GAN and baseline, to start from, and the recogniser, in half precision, with their provenance."""
    other = FLAGS.dataset == "rendered" and FLAGS.part in ("posed", "wild")  # nobody of lab is in these
    name = f"rendered/{FLAGS.part}" if other else common.dataset_name()
    told = {
        "command": common.command("experiments.de_gan"),
        "commit": common.commit(), "data": f"{name}, {len(gan.subjects)} people, all of them",
        "datasets": sorted({name, *seen}),
        "hardware": common.hardware(), "seed": FLAGS.seed, "classes": gan.classes, "metric": None,
    }  # fmt: skip
    nets = {"de_gan": gan, "de_gan_baseline": net, "de_gan_recogniser": models.get("both")}
    for file, model in nets.items():
        if model is not None:
            config = {k: v for k, v in model.get_config().items() if k != "name"}
            about = {**told, "model": f"de_gan.{type(model).__name__}", "config": config}
            weights.save(model, folder / f"{file}.h5", provenance=about, dtype="float16")
            print(f"{folder / file}.h5 is written.")


def main() -> None:
    """Records -> folds -> GAN, baseline, classifiers -> table, pictures, measures, exported models."""
    start, classes = time.time(), records.classes_of(FLAGS.classes)
    if unknown := [uses for uses in FLAGS.uses if uses not in NAMES]:
        raise ValueError(f"--uses={','.join(FLAGS.uses)}: {unknown[0]!r} is none of {', '.join(NAMES)}.")
    if not FLAGS.uses:
        raise ValueError(f"--uses is empty: give one or more of {', '.join(NAMES)}.")
    seen = []
    for flag in ("gan_init", "baseline_init"):
        seen += common.unseen(common.weights_file(FLAGS[flag].value), flag, not FLAGS.all_subjects)
    found = folds.first_subjects(load(classes))
    folder = common.workdir("de_gan")
    if FLAGS.all_subjects:
        everybody = records.Fold(tuple(range(len(found))), ())
        gan, net, models, _, _ = one_fold(found, everybody, classes, FLAGS.seed, folder / "all")
        release(gan, net, models, folder, seen)
        return
    parts, results = common.make_folds(found, classes, folder), []
    for run in range(FLAGS.runs):
        for number in common.chosen_folds(len(parts)):
            place = folder / f"run{run}" / f"fold{number}"
            gan, _, models, methods, measures = one_fold(found, parts[number], classes, FLAGS.seed + run, place)
            results.append({"run": run, "fold": number, "methods": methods, "generation": measures})
    generation = [r["generation"] for r in results]
    folds.report(results, classes, folder, time.time() - start, generation=generation)
    print(text(generation))
    last = results[-1]
    about = {
        "trained_on": common.dataset_name(),
        "run": last["run"],
        "held_out_fold": last["fold"],
        "commit": common.commit(),
    }
    held_out = [found[i] for i in parts[last["fold"]].test]
    uses = "both" if "both" in models else FLAGS.uses[-1]
    faces = folds.some_faces(held_out, de_gan.TEMPLATE)
    export.save(models[uses], folder / "export", metadata={**about, "uses": uses}, faces=faces)
    expression_transfer.save_transfer(gan, folder / "transfer", about)
    print(f"Table, pictures and metrics.json are in {folder}, the recogniser in export/, the generator in transfer/.")


def text(generation: list[dict[str, Any]]) -> str:
    """The measures, the mean over the folds."""

    def mean(*path: str) -> str:
        values: list[Any] = list(generation)
        for key in path:
            values = [v[key] for v in values]
        told = [v for v in values if v is not None]
        return f"{np.mean(told):.3f}" if told else "-"

    lines = ["held-out people, mean over the folds", f"{'linear probe on':28}{'expression':>12}{'identity':>12}"]
    for name in generation[0]["probes"]:
        lines.append(f"{name:28}{mean('probes', name, 'expression'):>12}{mean('probes', name, 'identity'):>12}")
    lines.append(
        f"made faces: the expression is read in {mean('reached', 'expression')} of them (real sources: "
        f"{mean('reached', 'expression_of_real')}), the person in {mean('reached', 'identity')} (real faces: "
        f"{mean('reached', 'identity_of_real')}, chance: {mean('reached', 'identity_by_chance')})"
    )
    for uses in generation[0]["classifiers"]:
        rates = ", ".join(f"{n} {mean('classifiers', uses, n)}" for n in generation[0]["classifiers"][uses])
        lines.append(f"{NAMES[uses]}: {rates}")
    return "\n".join(lines)


if __name__ == "__main__":
    common.run(main, PRESETS)
