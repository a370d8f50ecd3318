"""FER-Net fine-tuned and tested on people it never saw: IA-gen's baseline (Tables I, III, IV), section IV-A.

    python -m experiments.fer_net --preset=quick        # rendered faces, five folds by subject
    python -m experiments.fer_net --preset=paper --data_dir=<another rendered.h5>

Quick, on two CPU cores (Intel Xeon with AMX, bfloat16), seed 0, in 4 min 31 s: 89.38 +- 2.65 % of the
held-out people's images in the last epoch, macro and micro alike. Paper: not yet run.
"""

from __future__ import annotations

import time

import numpy as np

from fer_tf import export
from fer_tf.models import fer_net

from .run import classifier, command_line, data, jobs, provenance, report, settings, work

PRESETS = {
    "paper": {"folds": 10, "runs": 8, "epochs": 40, "batch_size": 100, "rate": 0.001, "views": 0},
    "quick": {"folds": 5, "epochs": 6, "batch_size": 50, "rate": 0.01, "views": 1},
    "smoke": {
        "folds": 2, "epochs": 2, "batch_size": 8, "views": 1, "max_steps": 3, "init": "none", "width": 4,
        "max_subjects": 4,
    },
}  # fmt: skip


@settings.command(PRESETS, paper="ia_gen")
class Settings(classifier.Classifier):
    """FER-Net's, and what every run has."""

    WORKERS = True


@work.alone
def run(settings: Settings) -> report.Results:
    """Records -> folds -> training -> table, pictures, exported model."""
    start, classes = time.time(), settings.labels
    listed = data.first_subjects(data.load(settings, classes), settings.max_subjects)
    data.refuse_undealt(settings, listed, classes)
    folder = work.folder(settings, "fer_net")
    folds, tested = data.make_folds(settings, listed, classes, folder), []
    stages = [classifier.stage(settings)]
    for number_of_run, number in jobs.pairs(settings, folder, data.chosen_folds(settings, len(folds)), stages):
        place = folder / f"run{number_of_run}" / f"fold{number}" / "finetune"
        seed = settings.seed + number_of_run
        model, pairs = classifier.one_fold(settings, listed, folds[number], classes, seed, place)
        tested.append({"run": number_of_run, "fold": number, "methods": {settings.classifier_name: pairs}})
        accuracy = 100 * np.mean(np.equal(*pairs["last"]))
        print(f"run {number_of_run} fold {number}: {accuracy:.1f} % of the held-out images")
    methods = report.write(settings, tested, classes, folder, time.time() - start, images=len(listed))
    faces = data.some_faces([listed[i] for i in folds[tested[-1]["fold"]].test], fer_net.TEMPLATE)
    about = provenance.of_export(settings, tested[-1], **report.noted(folder))
    export.save(model, folder / "export", metadata=about, faces=faces)
    print(f"Table, pictures and metrics.json are in {folder}; the last fold's model is in {folder / 'export'}.")
    return report.Results(folder, methods, {settings.classifier_name: model}, folder / "export")


if __name__ == "__main__":
    command_line.main(Settings, run)
