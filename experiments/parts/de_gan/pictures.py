"""Pictures of what DE-GAN's decoder makes: expressions on other people, and on the way from one to another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fer_tf import figures, pipeline
from fer_tf.models import de_gan
from fer_tf.records import Record, subject_order


def centre_views(records: Sequence[Record]) -> np.ndarray:
    """The centre views of the records' faces: (N, 96, 96, 1) float32 in [0, 1]."""
    cut = np.stack([pipeline.face(record, de_gan.TEMPLATE) for record in records])
    return np.asarray(de_gan.views.test_view(cut), np.float32) / 255.0


def draw_transfer(gan: de_gan.DEGAN, sources: Sequence[Record], people: Sequence[Record], columns: int = 6) -> Any:
    """Rows of expressions, columns of people: sources, and targets from training under their real faces.

    Args:
      gan: trained on `people`.
      sources: of held-out people, or of training to see how it goes; one of each expression is taken, each of another
        person where that is possible.
      people: of training.
      columns: number of targets.
    """
    who = subject_order({r.subject for r in sources})
    rows = []
    for n, expression in enumerate(gan.classes):
        shown = [r for r in sources if r.expression == expression]
        own = [r for r in shown if r.subject == who[n % len(who)]]
        rows += (own or shown)[-1:]
    names = gan.subjects[:: max(1, len(gan.subjects) // columns)][:columns]
    real = [next(r for r in people if r.subject == name) for name in names]
    images = centre_views(rows)
    made = [gan.transfer(images, np.full(len(images), gan.subjects.index(n), np.int32)).numpy() for n in names]
    grid = [[None, *centre_views(real)]] + [[images[i], *(m[i] for m in made)] for i in range(len(rows))]
    titles = ["real face"] + [f"{r.expression}" for r in rows]
    return figures.grid(grid, row_titles=titles, col_titles=["source", *(str(n) for n in names)])


def draw_interpolation(gan: de_gan.DEGAN, sources: Sequence[Record], steps: int = 7) -> Any:
    """Between two f(x) on one person, from a source's expression to another's; three pairs of expressions."""
    shown = {c: [r for r in sources if r.expression == c] for c in gan.classes}
    there = [c for c in gan.classes if shown[c]]
    pairs = [(there[i % len(there)], there[(i + max(1, len(there) // 2)) % len(there)]) for i in range(3)]
    rows, titles = [], []
    for n, (a, b) in enumerate(pairs):
        ends = centre_views([shown[a][0], shown[b][-1]])
        codes = gan.features(ends).numpy()
        mixed = np.stack([(1 - t) * codes[0] + t * codes[1] for t in np.linspace(0, 1, steps)])
        identity = np.full(steps, n * len(gan.subjects) // len(pairs), np.int32)
        rows.append([ends[0], *gan.decode(mixed, identity).numpy(), ends[1]])
        titles.append(f"{a} to {b}")
    return figures.grid(rows, row_titles=titles, col_titles=["source", *[""] * steps, "source"])
