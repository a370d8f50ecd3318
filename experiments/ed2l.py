"""ED2L on people it never saw: the net without and with its dispelling branch (Tables 2 to 5, Figs. 3 to 5).

    python -m experiments.ed2l --preset=quick                  # one fold of the rendered faces
    python -m experiments.ed2l --preset=paper --dataset=ck_plus --data_dir=...

Up to four rows, as in the tables: --rows=baseline,ed2l,baseline_pretrained,ed2l_pretrained. The last two start from
FER-2013 (weights of `experiments/pretrain_ed2l.py`): --init and --baseline_init. Besides the table and the confusion
matrices (Fig. 3) it draws the t-SNE of every row's FC-256 features on the first fold that is run (Fig. 4) and the
heat-maps of both branches' down-sampling layers on the last (Fig. 5). A finished run that is started again draws and
tests anew from its checkpoints.

One CPU core (Xeon with AMX) beside other work, seed 0, `quick` with all four rows and --only_folds=0,1,2, 64 minutes:
baseline 83.57 +- 6.35 %, ED2L 82.78 +- 5.50 %; pre-trained 86.75 +- 5.20 and 88.49 +- 2.52 %. Not run: `paper`.
"""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from experiments import common, distilling, folds
from fer_tf import export, figures, pipeline, records, weights
from fer_tf.models import ed2l

PRESETS = {
    "paper": {"folds": 10, "epochs": 100, "batch_size": 64, "rate": 1e-4},
    "quick": {
        "only_folds": "0", "rows": "baseline_pretrained,ed2l_pretrained", "epochs": 12, "batch_size": 32, "views": 1,
        "rate": 3e-4, "decay_to": 0.0,
    },
    "smoke": {
        "folds": 2, "epochs": 1, "batch_size": 4, "views": 1, "max_steps": 2, "width": 0.0625, "take": 4,
        "classes": "anger,happiness", "rows": "baseline,ed2l",
    },
}  # fmt: skip
ROWS = {
    "baseline": "Baseline",
    "ed2l": "ED2L",
    "baseline_pretrained": "Baseline, pre-trained",
    "ed2l_pretrained": "ED2L, pre-trained",
}
"""Value of --rows -> its name in the table."""

common.define_flags(PRESETS, init="ed2l_fer2013", batch_size=64)
folds.define_flags()
flags.DEFINE_list("rows", list(ROWS), f"Which networks, out of {', '.join(ROWS)}.")
flags.DEFINE_string("baseline_init", "ed2l_baseline_fer2013", "What the baseline starts from, as --init.")
distilling.define_flags()
FLAGS = flags.FLAGS


def build(row: str, classes: tuple[str, ...], steps: int) -> ed2l.ED2L:
    """The compiled network of a row, which is to be trained for so many steps."""
    dispelling = row.startswith("ed2l")
    model = distilling.build(classes, dispelling)
    if row.endswith("_pretrained"):
        file = common.weights_file(FLAGS.init if dispelling else FLAGS.baseline_init)
        if file is None:
            raise ValueError(f"--rows={row} starts from pre-trained weights: give --init and --baseline_init.")
        common.unseen(file, "init" if dispelling else "baseline_init")
        weights.load(model, file, skip=("classifier", "dispeller") if dispelling else "classifier")
    distilling.compile(model, steps)
    return model


def one_fold(found: list[records.Record], fold: records.Fold, classes: tuple[str, ...], seed: int, place: Path) -> Any:
    """Every row on one fold: ({row: model}, {name: {last|best: (labels, predictions)}}, test batches)."""
    models, methods = {}, {}
    test = folds.batches([found[i] for i in fold.test], classes, ed2l, seed, False)
    for row in FLAGS.rows:
        strategy = folds.setup(seed)
        data = folds.batches([found[i] for i in fold.train], classes, ed2l, seed, True)
        make = functools.partial(build, row, classes, FLAGS.epochs * len(data))
        models[row], methods[ROWS[row]] = folds.train_and_test(make, data, test, place / row, strategy)
        print(f"{place}: {ROWS[row]} names {100 * np.mean(np.equal(*methods[ROWS[row]]['last'])):.1f} %", flush=True)
    return models, methods, test


def draw_features(models: dict[str, ed2l.ED2L], test: pipeline.Batches, classes: tuple[str, ...], folder: Path) -> None:
    """Fig. 4: t-SNE of f_t of held-out people, every row's network side by side."""
    batch = list(test.epoch(0))
    labels = np.concatenate([b["label"].numpy() for b in batch])
    shown = {ROWS[row]: model for row, model in models.items()}
    features = {name: np.concatenate([m.features(b["image"]).numpy() for b in batch]) for name, m in shown.items()}
    if len(labels) >= 4:
        figures.save(figures.tsne(features, labels, classes, seed=FLAGS.seed), folder / "tsne.png")


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


def main() -> None:
    """Records -> folds -> up to four networks -> table, pictures, exported model."""
    start, classes = time.time(), records.classes_of(FLAGS.classes)
    if unknown := [row for row in FLAGS.rows if row not in ROWS]:
        raise ValueError(f"--rows={','.join(FLAGS.rows)}: {unknown[0]} is none of {', '.join(ROWS)}.")
    found = folds.first_subjects(common.load_records(classes))
    folder = common.workdir("ed2l")
    parts, results = common.make_folds(found, classes, folder), []
    for run in range(FLAGS.runs):
        for number in common.chosen_folds(len(parts)):
            place = folder / f"run{run}" / f"fold{number}"
            models, methods, test = one_fold(found, parts[number], classes, FLAGS.seed + run, place)
            results.append({"run": run, "fold": number, "methods": methods})
            if len(results) == 1:
                draw_features(models, test, classes, folder)
    for row in ("ed2l", "ed2l_pretrained"):
        if row in models:
            draw_maps(row, models[row], test, classes, folder)
    folds.report(results, classes, folder, time.time() - start)
    last = results[-1]
    faces = folds.some_faces(test.records, ed2l.TEMPLATE)
    about = {
        "trained_on": common.dataset_name(),
        "run": last["run"],
        "held_out_fold": last["fold"],
        "commit": common.commit(),
    }
    export.save(models[FLAGS.rows[-1]], folder / "export", metadata={**about, "row": FLAGS.rows[-1]}, faces=faces)
    print(f"Table, pictures and metrics.json are in {folder}; {ROWS[FLAGS.rows[-1]]} is in {folder / 'export'}.")


if __name__ == "__main__":
    common.run(main, PRESETS)
