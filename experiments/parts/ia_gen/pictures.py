"""IA-gen's pictures: a GAN's samples while it is trained, and Fig. 4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import figures, records

from ...run import regeneration


def draw_samples(model: Any, batch: Mapping[str, Any], path: Path, count: int = 8) -> None:
    """Input, regenerated and target faces of the first pairs of a batch, one row each."""
    image, target = batch["image"][:count], batch["target"][:count]
    rows = [x.numpy() for x in (image, model.regenerate(image), target)]
    figures.save(figures.grid(rows, row_titles=("input", "regenerated", "target")), path)


def some_people(kept: Sequence[records.Record]) -> list[Any]:
    """Four people of the records, or as many as there are."""
    people = records.subject_order(r.subject for r in kept)
    return people[:: max(1, len(people) // 4)][:4]


def fig_4(
    images: np.ndarray,
    generated: np.ndarray,
    kept: Sequence[records.Record],
    classes: Sequence[str],
    shown: str | None = None,
) -> Any:
    """Input, the K regenerated faces, and under each the real face of that expression: four people (Fig. 4).

    Args:
      images: (N, H, W, 1) float32 in [0, 1], of the records.
      generated: (N, K, H, W, 1) float32 in [0, 1].
      kept, classes: N records, and K names.
      shown: what each input shows; None: another expression of each person.
    """
    rows, titles = [], []
    real = {c: regeneration.real_faces(kept, c) for c in classes}
    for n, person in enumerate(some_people(kept)):
        own = [i for i, r in enumerate(kept) if r.subject == person]
        wanted = shown or classes[2 * n % len(classes)]
        i = next((i for i in own if kept[i].expression == wanted), own[0])
        rows += [
            [images[i], *generated[i]],
            [None, *(images[real[c][i]] if real[c][i] >= 0 else None for c in classes)],
        ]
        titles += [f"{person}, {kept[i].expression}", "real"]
    return figures.grid(rows, row_titles=titles, col_titles=("input", *classes))
