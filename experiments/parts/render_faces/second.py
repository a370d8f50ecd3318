"""The second edition's people: what makes an expression hard to read is who shows it, and nothing is drawn by chance.

A person has a *bearing*: traits of the resting face (height and slant of the brows, lids, mouth corners, lips, nose,
chin), drawn together with the shape of the face, age and skin. It is in the face's form, in neutral and under every
expression, and once more in what is painted on the skin: lines, shadows, brows, lips. A person has a *range* and a
*style* for each expression: how far it goes, by which action units, how lopsided. They are the same in every picture.
No expression is mixed with another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from . import looks
from . import rendering as r
from .frames import PANS, PARTS_OF_A_SEQUENCE, TILTS, Frame

RANGE = (0.35, 1.0)
"""How far a person's expressions go, of the whole that the styles describe."""

JITTER, FLICKER = 0.03, 0.01
"""Of a frame: relative change of each shape, and what moves by itself."""

STRENGTH, PAINT = 0.7, 0.75
"""Of the resting face: of its form, and of what is painted on."""

TRAITS = ("brow", "slant", "lids", "corners", "lips", "nose", "chin", "width")
# Trait -> shapes at one standard deviation above the mean, and below it.
REST: dict[str, tuple[Mapping[str, float], Mapping[str, float]]] = {
    "brow": ({"browInnerUp": 0.42, "browOuterUp": 0.42}, {"browDown": 0.5}),
    "slant": ({"browOblique": 0.5, "browInnerUp": 0.2}, {"browTogether": 0.55, "browDown": 0.35}),
    "lids": ({"eyeWide": 0.5}, {"eyeSquint": 0.4, "eyeBlink": 0.12}),
    "corners": ({"mouthSmile": 0.26, "mouthDimple": 0.16}, {"mouthFrown": 0.5}),
    "lips": ({"mouthFunnel": 0.14, "mouthShrugUpper": 0.1}, {"mouthPress": 0.4, "mouthRollUpper": 0.25,
                                                             "mouthRollLower": 0.25}),
    "nose": ({"noseSneer": 0.38, "mouthUpperUp": 0.07, "cheekSquint": 0.25}, {}),
    "chin": ({"mouthShrugLower": 0.42}, {"jawOpen": 0.025, "mouthLowerDown": 0.12}),
    "width": ({"mouthStretch": 0.42}, {"lipsNarrow": 0.5}),
}  # fmt: skip
# Trait -> how it goes with age, with being male, with melanin, each of about unit variance.
GOES_WITH: dict[str, tuple[float, float, float]] = {
    "brow": (-0.25, -0.35, 0.0),
    "slant": (0.15, -0.3, 0.0),
    "lids": (-0.45, -0.1, 0.1),
    "corners": (-0.45, 0.0, 0.0),
    "lips": (-0.35, -0.2, 0.4),
    "nose": (0.2, 0.1, 0.1),
    "chin": (0.3, 0.2, 0.0),
    "width": (0.1, 0.1, 0.2),
}
SHAPE = 0.5
"""Part of a trait that the identity modes say."""

# Crease -> traits that have left it in the skin, with their signs.
LINES: dict[str, Mapping[str, float]] = {
    "nasolabial": {"nose": 0.26, "corners": 0.2},
    "frown": {"slant": -0.3, "brow": -0.16},
    "forehead0": {"brow": 0.3},
    "forehead1": {"brow": 0.3},
    "forehead2": {"brow": 0.24, "slant": 0.1},
    "crow0": {"corners": 0.12},
    "crow1": {"corners": 0.12},
    "crow2": {"corners": 0.12},
    "nose0": {"nose": 0.24},
    "nose1": {"nose": 0.24},
    "corner": {"corners": -0.36},
    "chin": {"chin": 0.26},
    "bag": {"lids": -0.22},
}
# Expression -> alternatives, as `rendering.STYLES`. Those that are not here are taken from there.
STYLES: dict[str, tuple[dict[int, tuple[float, float]], ...]] = r.STYLES | {
    "contempt": (
        {12: (0.6, 0.9), 14: (0.9, 1.3)},
        {14: (1.2, 1.6), 12: (0.3, 0.5), 24: (0.2, 0.5)},
        {12: (0.5, 0.8), 14: (0.8, 1.2), 10: (0.4, 0.7), 2: (0.3, 0.7)},
    ),
    "anger": (
        {4: (1.6, 1.9), 5: (0.5, 0.9), 7: (0.5, 0.9), 23: (0.6, 1.0), 24: (0.7, 1.2), 17: (0.3, 0.7)},
        {4: (1.6, 1.9), 5: (0.6, 1.0), 7: (0.4, 0.8), 10: (0.5, 0.9), 16: (0.8, 1.2), 22: (0.4, 0.7), 26: (0.6, 1.0)},
        {4: (1.6, 1.9), 5: (0.4, 0.8), 7: (0.6, 1.0), 9: (0.2, 0.5), 10: (0.5, 0.9), 16: (0.8, 1.2), 25: (0.8, 1.3)},
    ),
    "fear": (
        {1: (1.3, 1.7), 2: (0.3, 0.7), 4: (0.8, 1.2), 5: (1.3, 1.7), 20: (1.3, 1.8), 16: (0.6, 1.0), 25: (1.0, 1.5)},
        {1: (1.3, 1.7), 2: (0.5, 0.9), 4: (0.8, 1.2), 5: (1.3, 1.7), 20: (1.3, 1.8), 26: (0.5, 0.9)},
        {1: (1.2, 1.6), 4: (0.9, 1.3), 5: (1.3, 1.7), 20: (1.4, 1.9), 16: (0.4, 0.8)},
    ),
}  # fmt: skip
REGIONS = {
    "brow": "upper",
    "eye": "upper",
    "nose": "middle",
    "chee": "middle",
    "mout": "lower",
    "jaw": "lower",
    "lips": "lower",
}
KEPT = 0.85
"""Chance of an action unit that is not the first two of its expression to be in a person's style."""


@dataclasses.dataclass(frozen=True)
class Person(r.Person):
    """A subject of the second edition; `idle` is the resting face, which does not fade."""

    ranges: dict[str, float] = dataclasses.field(default_factory=dict)  # expression -> intensity at the apex


def _sides(kit: r.FaceKit, shape: str) -> list[int]:
    """Places of a shape's two sides, or of the one that has none."""
    return [i for i, name in enumerate(kit.shape_names) if name in (shape, f"{shape}_L", f"{shape}_R")]


def draw_bearing(modes: np.ndarray, who: Mapping, rng: np.random.Generator) -> dict[str, float]:
    """{trait: value} of about unit variance, in part told by the modes (M,) and by age, sex and skin."""
    known = np.array([(who["age"] - 0.42) / 0.24, 1.0 if who["male"] else -1.0, (who["melanin"] - 0.4) / 0.26])
    out = {}
    for k, trait in enumerate(TRAITS):
        way = np.random.default_rng([2026, k]).normal(0, 1, len(modes))
        shape = float(modes @ (way / np.linalg.norm(way))) / 1.5
        skin = float(known @ GOES_WITH[trait])
        own = np.sqrt(max(0.1, 1 - SHAPE**2 - np.square(GOES_WITH[trait]).sum())) * rng.normal()
        out[trait] = float(np.clip(SHAPE * shape + skin + own, -2.0, 2.0))
    return out


def rest_of(kit: r.FaceKit, bearing: Mapping[str, float], rng: np.random.Generator) -> np.ndarray:
    """(E,) float32: the resting face's weights, a little lopsided."""
    weight = np.zeros(len(kit.shape_names), "f4")
    for trait, value in bearing.items():
        tilt = np.clip(rng.normal(0, 0.15), -0.35, 0.35)
        for shape, gain in REST[trait][value < 0].items():
            places = _sides(kit, shape)
            for i, sign in zip(places, (1, -1) if len(places) == 2 else (0,), strict=True):
                weight[i] += STRENGTH * abs(value) * gain * (1 + sign * tilt)
    return np.clip(weight, 0, 1.2)


def painted(bearing: Mapping[str, float], who: Mapping, rng: np.random.Generator) -> dict[str, float]:
    """What the bearing adds to the traits that are painted; half of each is of the skin's own."""
    skin = {trait: 0.7 * value + 0.7 * rng.normal() for trait, value in bearing.items()}
    return {
        "brow_slant": PAINT * 0.2 * skin["slant"],
        "brow_shift": 0.6 * who["brow_shift"] + PAINT * 0.14 * skin["brow"],
        "lip_full": float(np.exp(PAINT * 0.2 * skin["lips"])),
        "mouth_line": PAINT * 0.3 * np.clip(skin["corners"], -1.6, 1.6),
        "hood": PAINT * 0.22 * max(0.0, 0.5 - skin["lids"]),
        "sallow": PAINT * 0.12 * max(0.0, skin["nose"]),
    }


def lines_of(kit: r.FaceKit, bearing: Mapping[str, float], age: float, rng: np.random.Generator) -> np.ndarray:
    """(2 C,) float32: depth of each crease at rest, left then right, by age and by what the face is used to."""
    depth = []
    for name in r.CREASES:
        used = sum(gain * bearing[trait] for trait, gain in LINES[name].items())
        depth.append(PAINT * max(0.0, (0.4 + age) * (used + rng.normal(0, 0.1))) + age * rng.uniform(0.05, 0.4))
    both = np.array(depth)
    return np.clip(np.concatenate([both, both * rng.uniform(0.7, 1.3, len(both))]), 0, 0.7).astype("f4")


def draw_style(kit: r.FaceKit, expression: str, reach: Mapping[str, float], rng: np.random.Generator) -> np.ndarray:
    """(E,) float32: a person's weights of `expression` at range 1: a variant, of which some units are left out."""
    variants = STYLES[expression]
    units = variants[rng.integers(len(variants))]
    kept = {u: bounds for i, (u, bounds) in enumerate(units.items()) if rng.uniform() < KEPT or i < 2}
    weight = r.weights_of(kit, kept, expression, rng, spread=0.16)
    gain = np.array([reach.get(REGIONS.get(name[:4], REGIONS.get(name[:3], "")), 1.0) for name in kit.shape_names])
    return np.clip(weight * gain, 0, 1.9).astype("f4")


def draw_manner(kit: r.FaceKit, rng: np.random.Generator) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """How a person shows the expressions: {expression: range}, {expression: style}."""
    reach = {name: float(np.exp(np.clip(rng.normal(0, 0.2), -0.4, 0.3))) for name in ("upper", "middle", "lower")}
    middle = rng.uniform(*RANGE)
    ranges = {e: float(np.clip(middle + rng.normal(0, 0.1), *RANGE)) for e in r.EXPRESSIONS}
    style = {e: draw_style(kit, e, reach, rng) for e in r.EXPRESSIONS}
    return ranges | {"neutral": 0.0}, style


def draw_person(kit: r.FaceKit, key: list[int]) -> Person:
    """The subject of a key; what another edition's person would be with the same draws, and a bearing."""
    rng, traits = np.random.default_rng([*key, 4]), {}

    def more(who: dict, modes: np.ndarray) -> dict:
        traits.update(who, bearing=draw_bearing(modes, who, rng))
        return {**who, **painted(traits["bearing"], who, rng)}

    base = looks.draw_person(kit, np.random.default_rng(key), alter=more)
    ranges, style = draw_manner(kit, rng)
    fields = {f.name: getattr(base, f.name) for f in dataclasses.fields(base)}
    fields |= {
        "crease": lines_of(kit, traits["bearing"], traits["age"], rng),
        "idle": rest_of(kit, traits["bearing"], rng),
        "style": style, "spare": style, "ranges": ranges,
    }  # fmt: skip
    return Person(**fields)


def plan(domain: str, person: Person, rng: np.random.Generator) -> list[Frame]:
    """The frames of one subject: lab sequences from onset to apex, poses or single pictures; a judge's: both."""
    if domain == "judge":
        lab, wild = plan("lab", person, rng), plan("wild", person, rng)
        later = len(r.EXPRESSIONS)
        return [dataclasses.replace(f, setting="lab") for f in lab] + [
            dataclasses.replace(f, setting="wild", sequence=f.sequence + later) for f in wild
        ]
    out = []
    for sequence, expression in enumerate(r.EXPRESSIONS if domain != "wild" else r.EXPRESSIONS * 2):
        apex = person.ranges[expression]
        if domain == "lab":
            pan, tilt = rng.uniform(-4, 4, 2)
            for frame, part in enumerate(PARTS_OF_A_SEQUENCE):
                turn = np.clip([pan, tilt] + rng.normal(0, 0.7, 2), -5, 5)
                out.append(Frame(expression, apex * part, *turn, sequence, frame, rng.normal(0, 1.2)))
        elif domain == "posed":
            out += [
                Frame(expression, apex, pan, tilt, sequence, i)
                for i, (tilt, pan) in enumerate((t, p) for t in TILTS for p in PANS)
            ]
        else:
            pan, tilt, roll = rng.triangular(-35, 0, 35), rng.triangular(-22, 0, 22), rng.normal(0, 5)
            out.append(Frame(expression, apex * rng.uniform(0.8, 1.0), pan, tilt, sequence, 0, roll))
    return out


def frame_weights(kit: r.FaceKit, person: r.Person, frame: Frame, rng: np.random.Generator) -> np.ndarray:
    """(E,) float32: the resting face, the style as far as the frame's intensity, hardly jittered, and a gaze."""
    weight = person.idle + person.style[frame.expression] * frame.intensity * rng.normal(1, JITTER, len(person.idle))
    weight = weight + np.abs(rng.normal(0, FLICKER, len(weight)))
    return np.clip(r.with_gaze(kit, weight, rng), 0, 2.2).astype("f4")
