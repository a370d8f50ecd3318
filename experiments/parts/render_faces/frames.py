"""What the pictures of one subject show, before they are drawn: expressions, intensities, poses."""

from __future__ import annotations

import dataclasses

import numpy as np

from . import rendering as r

DOMAINS = ("lab", "posed", "wild")
PANS, TILTS = (-45, -25, 0, 25, 45), (-25, 0, 25)
PARTS_OF_A_SEQUENCE = (0.25, 0.6, 0.92, 0.97, 1.0)
"""Of the apex, in the second edition: from onset on, the last three near it."""


@dataclasses.dataclass(frozen=True)
class Frame:
    """What one picture shows, before it is drawn."""

    expression: str
    intensity: float
    pan: float
    tilt: float
    sequence: int  # within the subject
    frame: int  # within the sequence
    roll: float = 0.0
    setting: str = ""  # lab, posed or wild, where it is not the subject's part


def plan(domain: str, strength: float, rng: np.random.Generator) -> list[Frame]:
    """The frames of one subject of `domain`, whose expressions reach `strength` in [0, 1]."""

    def full(low: float, high: float) -> float:
        return float(np.clip(strength * rng.uniform(low, high), 0.3, 1.0))

    out = []
    for sequence, expression in enumerate(r.EXPRESSIONS if domain != "wild" else r.EXPRESSIONS * 2):
        if domain == "lab":
            peak = full(0.88, 1.05)
            pan, tilt = rng.uniform(-4, 4, 2)
            for frame, part in enumerate((0.84, 0.93, 1.0)):
                turn = np.clip([pan, tilt] + rng.normal(0, 0.7, 2), -5, 5)
                out.append(Frame(expression, peak * part, *turn, sequence, frame, rng.normal(0, 1.2)))
        elif domain == "posed":
            out += [
                Frame(expression, full(0.9, 1.05), pan, tilt, sequence, i)
                for i, (tilt, pan) in enumerate((t, p) for t in TILTS for p in PANS)
            ]
        else:
            pan, tilt, roll = rng.triangular(-35, 0, 35), rng.triangular(-22, 0, 22), rng.normal(0, 5)
            out.append(Frame(expression, full(0.55, 1.1), pan, tilt, sequence, 0, roll))
    return [dataclasses.replace(f, intensity=0.0) if f.expression == "neutral" else f for f in out]
