"""IA-gen on held-out people: eq. (8)'s answers, and how good the regenerated faces are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import evaluation, faces, figures, metrics, records
from fer_tf.models import ia_gen
from fer_tf.predictions import Answers

from ...run import data, regeneration
from . import pictures


def measure(
    settings: Any, model: ia_gen.IAGen, judge: Any, people: list[records.Record], folder: Path
) -> tuple[Answers, dict[str, Any]]:
    """What it names the held-out people, and measures of what was regenerated; draws the grid of Fig. 4.

    Args:
      settings: of the run.
      model: the recogniser.
      judge: reads the regenerated faces: a second classifier of the same people and another seed, which is neither phi
        nor Feat, and so was never played to; None reads nothing.
      people: records of the held-out people.
      folder: of the fold.
    """
    test = data.batches(settings, people, model.classes, ia_gen, settings.seed, False)
    parts = [(b, model(b["image"])) for b in test.epoch(0).rebatch(32)]  # each face is K + 1 faces to FER-Net
    images, labels, index = (np.concatenate([b[n].numpy() for b, _ in parts]) for n in ("image", "label", "index"))
    generated, distances, probabilities = (
        np.concatenate([m[n].numpy() for _, m in parts]) for n in ("generated", "distances", "probabilities")
    )
    kept = [test.records[i] for i in index]
    predictions = evaluation.named(-distances, kept)
    own, read = evaluation.compiled(model.feature_net), {"target_rate": None, "target_rate_of_real_faces": None}
    if judge is not None:
        judge = evaluation.compiled(judge)
        read["target_rate"] = regeneration.target_rate(lambda x: judge(x).numpy(), generated, model.classes)
        read["target_rate_of_real_faces"] = float(np.mean(evaluation.named(np.asarray(judge(images))) == labels))
    template = faces.TEMPLATES[ia_gen.TEMPLATE]
    measures = {
        "wrong_and_unchanged": regeneration.unchanged(lambda x: own(x).numpy(), generated, labels, predictions),
        **read,
        "identity": regeneration.identity(images, generated, kept, model.classes, template, count=60),
        "calibration": metrics.temperature(-distances, labels),
        **(regeneration.errors(images, generated, kept, model.classes) or {}),
    }
    figures.save(pictures.fig_4(images, generated, kept, model.classes), folder / "regenerated.png")
    return Answers(labels.astype(int), predictions.astype(int), kept, probabilities), measures


def table(folds: Sequence[dict[str, Any]]) -> str:
    """The measures of the regenerated faces, the mean over the folds, one line each."""

    def mean(*path: str) -> str:
        values = []
        for measures in folds:
            for key in path:
                measures = (measures or {}).get(key)
            values.append(measures)
        return f"{np.mean(values):.3f}" if all(v is not None for v in values) else "not measured"

    lines = [
        "regenerated faces of held-out people, mean over the folds",
        f"  read as the target     {mean('target_rate', 'mean')} (real faces: {mean('target_rate_of_real_faces')})",
        f"  wrong and unchanged    {mean('wrong_and_unchanged')} of the wrong answers: a face left as it was",
        f"  L1 to the real face    {mean('l1', 'generated', 'mean')} (the input itself: {mean('l1', 'input', 'mean')})",
        f"  SSIM to the real face  {mean('ssim', 'generated', 'mean')} "
        f"(the input itself: {mean('ssim', 'input', 'mean')})",
        f"  identity distance      {mean('identity', 'input_generated')} (two real faces of one person: "
        f"{mean('identity', 'real_same')}, of two people: {mean('identity', 'real_between')})",
        f"  temperature            {mean('calibration', 'temperature')} of softmax(-distance), fitted on these people: "
        f"log loss {mean('calibration', 'log_loss')}, confidence {mean('calibration', 'confidence')}",
    ]
    if folds[0].get("identity") is None:
        lines.append("  (identity needs the extra `landmarks`: pip install fer-tf[landmarks])")
    return "\n".join(lines)
