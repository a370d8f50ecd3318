"""GCNet on people it never saw: the four variants and the two baselines (Tables II to V, Figs. 4 to 6, 8 and 11).

    python -m experiments.gcnet --preset=quick                  # one fold of the rendered faces: CNN and S1R1
    python -m experiments.gcnet --preset=paper --dataset=ck_plus --data_dir=... --encoder1=... --encoder2=...
    python -m experiments.gcnet --preset=quick --test_on=rendered/posed                 # another data set, Table VI
    python -m experiments.gcnet --preset=quick --rows=S1R1@0.001,S1R1@0.01,S1R1@0.1     # draws Fig. 11, too

--rows names the networks: cnn, metric_cnn, S0R0, S1R0, S0R1, S1R1 (Fig. 2); with another generator of Fig. 7 as in
S1R1:conv_vae, with another weight of eq. (6) as in S1R1@0.1 (Fig. 11). Training pairs a face with a neutral one of the
same person; who has none is counted and left out of the generative terms alone. --encoder1 and --encoder2 are weights
of `experiments/pretrain_gcnet.py`; where a row names its generator, none are used (section IV-E). A finished run that
is started again draws and tests anew from its checkpoints.

One CPU core (Xeon with AMX), seed 0, `quick` with all six rows and --only_folds=0,1,2, 95 minutes beside other work:
CNN 88.02 +- 1.53 %, metric-learning CNN 84.92 +- 2.76 %, S0R0 78.33 +- 2.03 %, S1R0 80.48 +- 3.92 %, S0R1
82.78 +- 2.15 %, S1R1 82.38 +- 1.56 %; README says what falls short. `quick` with eight classes took ten minutes on one
core. README also has Fig. 11, Table VI and eight classes, one fold each. Not run: `paper`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from fer_tf import export, records, weights
from fer_tf.models import gcnet

from .parts.gcnet import pictures as gcnet_pictures
from .run import common, cross, folds

PRESETS = {
    "paper": {"folds": 10, "epochs": 20_000, "max_steps": 300_000, "views": 100},
    "quick": {
        "only_folds": "0", "rows": "cnn,S1R1", "epochs": 20, "batch_size": 32, "views": 1, "rate": 0.1, "gamma": 0.01,
        "multiplier": 1.0, "lambda_g": 10.0, "lambda_ri": 10.0, "lambda_rr": 10.0, "lambda_s": 0.01, "margin": 20.0,
        "encoder1": "gcnet_encoder1_rendered", "encoder2": "gcnet_encoder2_rendered",
    },
    "smoke": {
        "folds": 2, "epochs": 1, "batch_size": 4, "views": 1, "max_steps": 2, "width": 0.0625, "take": 4,
        "classes": "anger,happiness", "rows": "cnn,S1R1",
    },
}  # fmt: skip
NAMES = {"cnn": "CNN", "metric_cnn": "Metric-learning CNN"}
"""Variant -> its name in the table; the others are GCNet with the variant."""

common.define_flags(PRESETS, init=None, batch_size=64, protocol="strided")
folds.define_flags()
cross.define_flags()
flags.DEFINE_list("rows", ["cnn", "metric_cnn", "S0R0", "S1R0", "S0R1", "S1R1"], "Which networks; see the docstring.")
flags.DEFINE_string("encoder1", "none", "Weights of an Autoencoder, whose encoder Encoder1 takes over, or none.")
flags.DEFINE_string("encoder2", "none", "Weights of a CNN that identifies people for Encoder2, or none.")
flags.DEFINE_enum("padding", "same", ["same", "valid"], "Of the convolutions.")
flags.DEFINE_float("rate", 0.001, "Base learning rate.")
flags.DEFINE_float("gamma", 1e-4, "Of the inverse policy.")
flags.DEFINE_float("power", 0.75, "Of the inverse policy.")
flags.DEFINE_float("multiplier", 10.0, "Of the decoders' rate.")
flags.DEFINE_float("margin", 1.0, "m of eq. (6).")
flags.DEFINE_float("lambda_c", 1.0, "Weight of the classification in eq. (4); 0 with --rows=S0R1 is Fig. 8 (d).")
flags.DEFINE_float("lambda_g", 1.0, "Weight of eq. (5).")
flags.DEFINE_float("lambda_s", 1.0, "Weight of eq. (6).")
flags.DEFINE_float("lambda_ri", 0.25, "Weight of eq. (8).")
flags.DEFINE_float("lambda_rr", 0.25, "Weight of eq. (9).")
flags.DEFINE_float("weight_decay", 1e-4, "L2 in the gradient.")
flags.DEFINE_float("width", 1.0, "Times the printed channels and units.", lower_bound=0.01)
FLAGS = flags.FLAGS


class Row(NamedTuple):
    """One network of the table."""

    variant: str
    generator: str
    lambda_s: float
    name: str

    @classmethod
    def read(cls, text: str) -> Row:
        """variant[:generator][@lambda_s].

        Raises:
          ValueError: it is none.
        """
        rest, _, weight = text.partition("@")
        variant, _, generator = rest.partition(":")
        try:
            number = float(weight) if weight else FLAGS.lambda_s
        except ValueError:
            number = -1.0
        if variant not in gcnet.VARIANTS or (generator or "conv_ae") not in gcnet.GENERATORS or number < 0:
            raise ValueError(
                f"--rows: {text!r} is no network: give {', '.join(gcnet.VARIANTS)}, with one of "
                f"{', '.join(gcnet.GENERATORS)} after a colon and a weight of eq. (6) after @, as in S1R1:conv_vae@0.1."
            )
        name = NAMES.get(variant, f"GCNet {variant}") + (f", {generator}" if generator else "")
        return cls(variant, generator or "conv_ae", number, name + (f", lambda_s {weight}" if weight else ""))


def build(row: Row, classes: tuple[str, ...], seed: int) -> gcnet.GCNet:
    """The compiled network of a row."""
    given = ("padding", "margin", "lambda_c", "lambda_g", "lambda_ri", "lambda_rr", "weight_decay", "width")
    model = gcnet.GCNet(
        classes=classes,
        variant=row.variant,
        generator=row.generator,
        lambda_s=row.lambda_s,
        seed=seed,
        **{n: getattr(FLAGS, n) for n in given},
    )
    for flag, part in (("encoder1", "generator/encoder1"), ("encoder2", "encoder2")):
        file = common.weights_file(FLAGS[flag].value)
        if file and pretrained() and (flag == "encoder2" or model.compares):
            common.unseen(file, flag)
            weights.load(model, file, only=part)
    policy = {"multiplier": FLAGS.multiplier, "gamma": FLAGS.gamma, "power": FLAGS.power}
    model.compile(**gcnet.optimizers(model, FLAGS.rate, **policy))
    return model


def pretrained() -> bool:
    """Whether --encoder1 and --encoder2 count: where a row names its generator, none is pre-trained (section IV-E)."""
    return not any(":" in text for text in FLAGS.rows)


def one_fold(
    found: list[records.Record], fold: records.Fold, rows: list[Row], classes: tuple[str, ...], seed: int, place: Path
) -> Any:
    """Every row on one fold: ({row: model}, {name: {last|best: (labels, predictions)}}, test batches)."""
    models, methods, learn = {}, {}, [found[i] for i in fold.train]
    pairs, without = records.neutral_pairs(learn, classes)
    if without:
        print(f"{place}: {len(without)} people have no neutral face: {', '.join(without)}", file=sys.stderr)
    test = folds.batches(records.of_classes([found[i] for i in fold.test], classes), classes, gcnet, seed, False)
    for text, row in zip(FLAGS.rows, rows, strict=True):
        strategy = folds.setup(seed)
        own = {"image": pairs["image"]} if row.variant == "cnn" else pairs
        data = folds.batches(learn, classes, gcnet, seed, True, pairs=own)
        models[row], methods[row.name] = folds.train_and_test(
            lambda row=row: build(row, classes, seed), data, test, place / text.replace(":", "_"), strategy
        )
        print(f"{place}: {row.name} names {100 * np.mean(np.equal(*methods[row.name]['last'])):.1f} %", flush=True)
    return models, methods, test


def main() -> None:
    """Records -> folds -> the networks of --rows -> table, pictures, exported model."""
    start, classes = time.time(), records.classes_of(FLAGS.classes)
    rows = [Row.read(text) for text in FLAGS.rows]
    if not FLAGS.views:
        raise ValueError("GCNet's views are drawn at random: give --views=1 or more.")
    if not pretrained():
        print("A row names its generator, so no row starts from --encoder1 or --encoder2.", file=sys.stderr)
    if FLAGS.train_on and not FLAGS.test_on:
        raise ValueError("--train_on adds to what --test_on is tested with: give --test_on, too.")
    found = common.load_records(tuple(dict.fromkeys([*classes, "neutral"])))
    labelled = {r.subject for r in found if r.expression in classes}
    found = folds.first_subjects([r for r in found if r.subject in labelled])
    folder = common.workdir("gcnet")
    if FLAGS.test_on:
        found, parts = cross.fold(found, tuple(dict.fromkeys([*classes, "neutral"])), folder)
    else:
        parts = common.make_folds(found, classes, folder)
    results: list[dict[str, Any]] = []
    for run in range(FLAGS.runs):
        for number in common.chosen_folds(len(parts)):
            place = folder / f"run{run}" / f"fold{number}"
            models, methods, test = one_fold(found, parts[number], rows, classes, FLAGS.seed + run, place)
            held_out = [found[i] for i in parts[number].test]
            generation = gcnet_pictures.report_generation(models, test, held_out)
            results.append({"run": run, "fold": number, "methods": methods, "generation": generation})
            if len(results) == 1:
                gcnet_pictures.draw_features(models, test, folder)
                gcnet_pictures.draw_sequences(models, held_out, classes, folder)
                gcnet_pictures.draw_faces(models, test, held_out, folder)
    sizes = {row.name: sum(int(np.prod(v.shape)) for v in m.trainable_variables) for row, m in models.items()}
    more = {"generation": [r["generation"] for r in results], "parameters": sizes}
    methods = folds.report(results, classes, folder, time.time() - start, **more)
    print("weights that are trained: " + ", ".join(f"{name} {size:,}" for name, size in sizes.items()))
    gcnet_pictures.draw_weights(methods, rows, folder)
    last = results[-1]
    about = {
        "trained_on": common.dataset_name(),
        "run": last["run"],
        "held_out_fold": last["fold"],
        "commit": common.commit(),
    }
    faces = folds.some_faces(test.records, gcnet.TEMPLATE)
    export.save(models[rows[-1]], folder / "export", metadata={**about, "row": rows[-1].name}, faces=faces)
    print(f"Table, pictures and metrics.json are in {folder}; {rows[-1].name} is in {folder / 'export'}.")


if __name__ == "__main__":
    common.run(main, PRESETS)
