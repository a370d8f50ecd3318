"""The two editions: who their people are, what is asked of them, and how a frame's weights follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from . import frames, looks, second
from . import rendering as r
from .frames import Frame


class Edition(NamedTuple):
    """One edition of the rendered people.

    Attributes:
      subjects: part -> how many people it has.
      key: (seed, part, number) -> what everything about that person is drawn from.
      draw: (face model, part, key) -> person.
      plan: (part, person, generator) -> frames.
      weigh: (face model, person, frame, generator) -> (E,) weights of the face's shapes.
    """

    subjects: dict[str, int]
    key: Callable[[int, str, int], list[int]]
    draw: Callable[[r.FaceKit, str, list[int]], r.Person]
    plan: Callable[[str, r.Person, np.random.Generator], list[Frame]]
    weigh: Callable[[r.FaceKit, r.Person, Frame, np.random.Generator], np.ndarray]

    @property
    def domains(self) -> tuple[str, ...]:
        """The parts, in the order of their numbers."""
        return tuple(self.subjects)


def first_person(kit: r.FaceKit, domain: str, key: list[int]) -> r.Person:
    """Of the first edition: on lab, three in ten expressions are mixed."""
    person = looks.draw_person(kit, np.random.default_rng(key))
    return r.mix_styles(person, np.random.default_rng([*key, 3])) if domain == "lab" else person


FIRST, SECOND = {"lab": 100, "posed": 20, "wild": 80}, {"lab": 300, "posed": 40, "wild": 300, "judge": 100}
JUDGE = "judge"
"""The part of the second edition that is in a file of its own, on which nothing may be chosen."""

EDITIONS = {
    1: Edition(
        subjects=FIRST,
        key=lambda seed, domain, number: [seed, list(FIRST).index(domain), number],
        draw=first_person,
        plan=lambda domain, person, rng: frames.plan(domain, person.strength, rng),
        weigh=lambda kit, person, frame, rng: r.frame_weights(kit, person, frame.expression, frame.intensity, rng),
    ),
    2: Edition(
        subjects=SECOND,
        key=lambda seed, domain, number: [seed, 20 + list(SECOND).index(domain), number],
        draw=lambda kit, domain, key: second.draw_person(kit, key),
        plan=second.plan,
        weigh=second.frame_weights,
    ),
}
