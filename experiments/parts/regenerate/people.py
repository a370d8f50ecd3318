"""Some people of a data set, redrawn: one picture, as the papers show theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fer_tf import figures, pipeline
from fer_tf.records import Record, subject_order

from .kinds import Generators, Made

FEW = 3
"""Faces that are made of one, up to which people stand side by side; else each has a row."""
ROWS, COLUMNS = 4, 8
"""How many people are drawn so."""
NEUTRAL = "neutral"


def sheet(model: Generators, listed: Sequence[Record]) -> Any:
    """People of the first record's domain, evenly taken, each in another expression: input, what is made, real faces.

    Args:
      model: the generators.
      listed: records of people.
    Returns:
      The picture. Real faces are those that IA-gen and GCNet draw: the person's own, of the last frame there is.
    Raises:
      ValueError: they do not say who is seen, or a face cannot be cut.
    """
    own = [r for r in listed if r.domain == listed[0].domain]
    people = subject_order({r.subject for r in own if r.subject})
    if not people:
        raise ValueError("The pictures do not say who is seen: give a data set of people.")
    made, faces, reals = [], [], []
    for n, person in enumerate(spaced(people, COLUMNS)):
        shown = {r.expression: r for r in own if r.subject == person}  # of each the last
        record = shown[turn(sorted(c for c in shown if c), n)]
        view = model.view(rgb(record, model.template))
        made.append(model.make(view))
        faces.append((record, view[0].numpy()))
        reals.append({c: model.view(rgb(r, model.template))[0].numpy() for c, r in shown.items()})
    if len(made[0].titles) <= FEW:
        return side_by_side(model, made, faces, reals)
    kept = spaced(range(len(made)), ROWS)
    return in_rows([made[i] for i in kept], [faces[i] for i in kept], [reals[i] for i in kept])


def spaced(items: Sequence[Any], count: int) -> list[Any]:
    """`count` of them, evenly; all where there are fewer."""
    return [items[i] for i in np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)]


def turn(expressions: Sequence[str], number: int) -> str:
    """An expression that is not neutral, another one for each number; neutral where there is no other."""
    kept = [c for c in expressions if c != NEUTRAL] or list(expressions)
    return kept[number * 2 % len(kept)]


def rgb(record: Record, template: str) -> np.ndarray:
    """A record's face in the frame, (H, W, 3) uint8."""
    face = pipeline.face(record, template, 3)
    return np.repeat(face, 3, -1) if face.shape[-1] == 1 else face


def side_by_side(
    model: Generators, made: Sequence[Made], faces: Sequence[tuple[Record, np.ndarray]], reals: Sequence[dict]
) -> Any:
    """A column for each person."""
    rows = [[face for _, face in faces], *([one.generated[i] for one in made] for i in range(len(made[0].titles)))]
    titles = ["input", *(title.replace("\n", " ") for title in made[0].titles)]
    if model.kind == "GCNet":
        rows, titles = [*rows, [own.get(NEUTRAL) for own in reals]], [*titles, "real neutral"]
    return figures.grid(rows, row_titles=titles, col_titles=[record.expression or "" for record, _ in faces])


def in_rows(made: Sequence[Made], faces: Sequence[tuple[Record, np.ndarray]], reals: Sequence[dict]) -> Any:
    """A row for each person, of IA-gen with the real faces of the expressions below."""
    rows: list[list[Any]] = []
    titles = []
    for one, (record, face), own in zip(made, faces, reals, strict=True):
        rows.append([face, *one.generated])
        titles.append(f"{record.subject}, {record.expression}")
        if one.distances:
            rows.append([None, *(own.get(c) for c in one.distances)])
            titles.append("real")
    names = [*made[0].distances] or list(made[0].titles)
    return figures.grid(rows, row_titles=titles, col_titles=["input", *names])
