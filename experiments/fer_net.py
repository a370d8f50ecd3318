"""FER-Net fine-tuned and tested on people it never saw: IA-gen's baseline (Tables I, III, IV), section IV-A.

    python -m experiments.fer_net --preset=quick        # rendered faces, five folds by subject
    python -m experiments.fer_net --preset=paper --data_dir=<another rendered.h5>

Quick, on two CPU cores (Intel Xeon with AMX, bfloat16), seed 0, in 491 s beside other work: 89.38 +- 2.65 % of the
held-out people's images in the last epoch, macro and micro alike. Paper: not yet run.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from experiments import classifier, common
from fer_tf import export, figures, metrics, records

PRESETS = {
    "paper": {"folds": 10, "runs": 8, "epochs": 40, "batch_size": 100, "rate": 0.001, "views": 0},
    "quick": {"folds": 5, "epochs": 6, "batch_size": 50, "rate": 0.01, "views": 1},
    "smoke": {
        "folds": 2,
        "epochs": 2,
        "batch_size": 8,
        "views": 1,
        "max_steps": 3,
        "init": "none",
        "width": 4,
        "take": 4,
    },
}
common.define_flags(PRESETS)
classifier.define_flags()
FLAGS = flags.FLAGS


def main() -> None:
    """Records -> folds -> training -> table, pictures, exported model."""
    start, classes = time.time(), records.classes_of(FLAGS.classes)
    found = classifier.first_subjects(common.load_records(classes))
    folder = common.workdir("fer_net")
    folds = common.make_folds(found, classes, folder)
    results, model = [], None
    for run in range(FLAGS.runs):
        for number in common.chosen_folds(len(folds)):
            place = folder / f"run{run}" / f"fold{number}" / "finetune"
            model, result = classifier.one_fold(found, folds[number], classes, FLAGS.seed + run, place)
            results.append({"run": run, "fold": number, **result})
            print(
                f"run {run} fold {number}: {100 * np.mean(np.equal(*result['last'])):.1f} % of held-out people's images"
            )
    report(results, found, classes, folder, time.time() - start)
    faces = classifier.some_faces([found[i] for i in folds[results[-1]["fold"]].test])
    about = {"trained_on": FLAGS.dataset, "run": results[-1]["run"], "held_out_fold": results[-1]["fold"]}
    export.save(model, folder / "export", metadata={**about, "commit": common.commit()}, faces=faces)
    print(f"Table, pictures and metrics.json are in {folder}; the last fold's model is in {folder / 'export'}.")


def report(results: list[Any], found: Any, classes: tuple[str, ...], folder: Path, seconds: float) -> None:
    """metrics.json, the table, the confusion matrix and the per-class bars."""
    name = classifier.name()
    methods = {name: metrics.summarize([{k: r[k] for k in ("last", "best")} for r in results], classes)}
    last = methods[name]["last"]
    metrics.write_metrics(
        folder / "metrics.json",
        {
            **common.facts(classes, seconds),
            "images": len(found),
            "folds": [{"run": r["run"], "fold": r["fold"], "test": len(r["last"][0])} for r in results],
            "methods": methods,
        },
    )
    common.write_json(folder / "confusion.json", {"classes": classes, "counts": last["confusion"]})
    title = f"{name}, {FLAGS.dataset}, held-out people, last epoch"
    figures.save(figures.confusion_matrix(last["confusion"], classes, title), folder / "confusion.png")
    figures.save(figures.class_bars({name: last["per_class"]}), folder / "per_class.png")
    print(metrics.table(methods))


if __name__ == "__main__":
    common.run(main, PRESETS)
