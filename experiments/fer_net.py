"""FER-Net fine-tuned and tested on people it never saw: IA-gen's baseline (Tables I, III, IV), section IV-A.

    python -m experiments.fer_net --preset=quick        # rendered faces, five folds by subject
    python -m experiments.fer_net --preset=paper --data_dir=<another rendered.h5>

Quick, on two CPU cores (Intel Xeon with AMX, bfloat16), seed 0, in 4 min 31 s: 89.38 +- 2.65 % of the
held-out people's images in the last epoch, macro and micro alike. Paper: not yet run.
"""

from __future__ import annotations

import time

import numpy as np
from absl import flags

from experiments import classifier, common, folds
from fer_tf import export, records
from fer_tf.models import fer_net

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
    found = folds.first_subjects(common.load_records(classes))
    folder = common.workdir("fer_net")
    parts, results, model = common.make_folds(found, classes, folder), [], None
    for run in range(FLAGS.runs):
        for number in common.chosen_folds(len(parts)):
            place = folder / f"run{run}" / f"fold{number}" / "finetune"
            model, result = classifier.one_fold(found, parts[number], classes, FLAGS.seed + run, place)
            results.append({"run": run, "fold": number, "methods": {classifier.name(): result}})
            rate = 100 * np.mean(np.equal(*result["last"]))
            print(f"run {run} fold {number}: {rate:.1f} % of held-out people's images")
    folds.report(results, classes, folder, time.time() - start, images=len(found))
    last = results[-1]
    faces = folds.some_faces([found[i] for i in parts[last["fold"]].test], fer_net.TEMPLATE)
    about = {
        "trained_on": common.dataset_name(),
        "run": last["run"],
        "held_out_fold": last["fold"],
        "commit": common.commit(),
    }
    export.save(model, folder / "export", metadata=about, faces=faces)
    print(f"Table, pictures and metrics.json are in {folder}; the last fold's model is in {folder / 'export'}.")


if __name__ == "__main__":
    common.run(main, PRESETS, paper="ia_gen")
