"""What the people of the rendered faces look like: traits, skin, brows, hair line, and what a `Person` is made of.

Plain NumPy. Colours are painted as display values in [0, 1] and handed on linear (** 2.2).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import rendering as r

TONES = np.array([[0.96, 0.81, 0.73], [0.90, 0.71, 0.58], [0.76, 0.55, 0.41], [0.53, 0.36, 0.26], [0.34, 0.23, 0.18]])
HAIRS = np.array(
    [
        [0.07, 0.055, 0.05],
        [0.16, 0.10, 0.07],
        [0.30, 0.19, 0.12],
        [0.45, 0.26, 0.14],
        [0.70, 0.55, 0.33],
        [0.63, 0.62, 0.60],
    ]
)
IRISES = np.array([[0.20, 0.12, 0.08], [0.30, 0.18, 0.09], [0.36, 0.46, 0.56], [0.36, 0.42, 0.28], [0.42, 0.44, 0.44]])


def smooth(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Smoothstep from 0 at `low` to 1 at `high`."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def inside(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """(N,) bool: points (N, 2) within a polygon (P, 2), by crossings."""
    hit, (xj, yj) = np.zeros(len(points), bool), polygon[-1]
    for xi, yi in polygon:
        crosses = (yi > points[:, 1]) != (yj > points[:, 1])
        hit ^= crosses & (points[:, 0] < (xj - xi) * (points[:, 1] - yi) / (yj - yi + 1e-9) + xi)
        xj, yj = xi, yi
    return hit


def draw_traits(rng: np.random.Generator) -> dict:
    """The choices behind one person's looks; everything that paints reads them, so texture and mesh colours agree."""
    melanin, age, male = rng.beta(1.0, 1.5), rng.beta(1.3, 1.8), rng.uniform() < 0.5
    at = melanin * (len(TONES) - 1)
    tone = TONES[int(at)] + (at - int(at)) * (TONES[min(int(at) + 1, len(TONES) - 1)] - TONES[int(at)])
    tone = np.clip(tone * (1 + rng.normal(0, [0.03, 0.03, 0.06])), 0, 1)
    hair = HAIRS[
        rng.choice(
            len(HAIRS), p=[0.22, 0.22, 0.2, 0.13, 0.17, 0.06] if melanin < 0.4 else [0.6, 0.3, 0.07, 0, 0.01, 0.02]
        )
    ]
    grey = rng.uniform(0, 0.8) if age > 0.6 and rng.uniform() < 0.6 else 0.0
    hair = hair * (1 - grey) + np.array([0.6, 0.59, 0.57]) * grey
    return {
        "seed": int(rng.integers(2**31)), "melanin": melanin, "age": age, "male": male, "tone": tone, "hair": hair,
        "brow": np.minimum(hair * rng.uniform(0.6, 1.0), tone * 0.72), "brow_width": rng.uniform(0.26, 0.5),
        "brow_shift": rng.normal(0, 0.18), "brow_arch": rng.normal(0.0, 0.22), "brow_dense": rng.uniform(0.6, 1.0),
        "blush": rng.uniform(0, 0.22), "freckle": rng.uniform(0.1, 0.4) * (rng.uniform() < 0.22) * (melanin < 0.5),
        "blotch": rng.uniform(0.01, 0.05), "lips": rng.uniform(0.25, 0.65),
        "lipstick": rng.uniform(0.4, 0.8) * (not male and rng.uniform() < 0.45),
        "lip_colour": np.array([rng.uniform(0.45, 0.8), rng.uniform(0.1, 0.25), rng.uniform(0.15, 0.35)]),
        "beard": rng.choice([0, rng.uniform(0.12, 0.35), rng.uniform(0.6, 0.85)], p=[0.5, 0.3, 0.2]) * male,
        "moustache": rng.uniform(0.55, 0.85) * (male and rng.uniform() < 0.22),
        "shadow": rng.uniform(0, 0.3) * (rng.uniform() < 0.4),
        "makeup": rng.uniform(0.2, 0.55) * (not male and rng.uniform() < 0.5), "lash": rng.uniform(0.08, 0.3),
        "hairline": rng.uniform(2.9, 4.7) + 1.6 * (male and age > 0.6 and rng.uniform() < 0.5),
        "temple": rng.uniform(0.02, 0.07),
        "iris": IRISES[rng.integers(len(IRISES)) if melanin < 0.4 else rng.integers(2)],
        "moles": rng.integers(0, 4), "clothes": rng.uniform(0.05, 0.85, 3) ** 1.3,
    }  # fmt: skip


class Canvas:
    """Skin at points (N, 3) of the mean face, on which colours are laid.

    Attributes:
      colour: (N, 3) display values.
      xy: (N, 2), the points seen from the front.
      front: (N,) in [0, 1], 1 where the skin looks ahead.
    """

    def __init__(self, points: np.ndarray, tone: np.ndarray) -> None:
        self.points, self.xy, self.front = points, points[:, :2], smooth(points[:, 2], 3.0, 5.5)
        self.colour = np.tile(tone, (len(points), 1))

    def lay(self, mask: np.ndarray, paint: np.ndarray) -> None:
        """Covers the skin with a colour (3,) as far as the mask (N,) in [0, 1] does."""
        self.colour[:] += np.clip(mask, 0, 1)[:, None] * (paint - self.colour)

    def spot(self, x: float, y: float, wide: float, high: float) -> np.ndarray:
        """(N,): a soft spot on the front."""
        return np.exp(-(((self.xy - [x, y]) / [wide, high]) ** 2).sum(1)) * self.front


def paint_skin(kit: r.FaceKit, points: np.ndarray, who: dict) -> np.ndarray:
    """(N, 3) linear: the skin at points (N, 3) of the mean face, with brows, lips, beard, spots and make-up."""
    rng, skin = np.random.default_rng(who["seed"]), Canvas(points, who["tone"])
    _paint_tints(skin, who, rng)
    lips = _paint_lips(skin, kit.marks, who)
    strand = r.waves(points, rng, 0.28, (1.6, 0.6, 1))
    _paint_beard(skin, lips, strand, who)
    _paint_brows(skin, kit.marks, strand, who)
    if "mouth_line" in who:
        _paint_bearing(skin, kit.marks, who)
    skin.lay(0.9 * hair_mask(kit, points, who), who["hair"] * 0.8)
    skin.lay(smooth(-points[:, 1], 12.6, 12.9), who["clothes"])
    return (np.clip(skin.colour, 0.02, 0.98) ** 2.2).astype("f4")


def _paint_tints(skin: Canvas, who: dict, rng: np.random.Generator) -> None:
    """Blotches, blush, shadows, eye shadow, freckles and moles."""
    points, tone, lay, spot = skin.points, who["tone"], skin.lay, skin.spot
    skin.colour *= (
        1
        + who["blotch"] * r.waves(points, rng, 2.2)[:, None]
        + 0.6 * who["blotch"] * r.waves(points, rng, 0.7)[:, None]
    )
    red = np.array([0.85, 0.38, 0.33]) * (0.45 + 0.55 * tone.mean())
    for x, y, s in ((3.6, -0.6, 1.7), (-3.6, -0.6, 1.7), (0, 0.8, 1.1), (0, -6.5, 1.4)):
        lay(who["blush"] * spot(x, y, s, s), red)
    for side in (1, -1):
        under_eye = 0.08 + 0.3 * who["age"] * rng.uniform(0.5, 1)
        lay(under_eye * spot(side * 2.9, 2.35, 1.5, 0.55), tone * [0.7, 0.6, 0.62])
        lay(0.25 * who["shadow"] * spot(side * 5.6, -2.5, 1.3, 2.5), tone * 0.7)
        lay(who["makeup"] * spot(side * 3.2, 4.25, 1.5, 0.5), rng.uniform(0.1, 0.5, 3) * tone)
    if who["freckle"]:
        freckles = who["freckle"] * smooth(r.waves(points, rng, 0.3), 0.7, 1.4)
        lay(freckles * spot(0, 1.2, 5, 2.2), tone * [0.7, 0.55, 0.45])
    for _ in range(who["moles"]):
        lay(0.9 * spot(rng.uniform(-5, 5), rng.uniform(-5.5, 8), 0.16, 0.16) ** 2, tone * 0.35)


def _paint_lips(skin: Canvas, marks: np.ndarray, who: dict) -> np.ndarray:
    """The lips and what is put on them; gives (N,) bool, where they are."""
    lips = np.zeros(len(skin.points), bool)
    face = skin.points[:, 2] > marks[48:60, 2].min() - 1
    outline = marks[48:60, :2]
    if "lip_full" in who:  # painted fuller or thinner than they are
        middle = outline[[0, 6], 1].mean()
        outline = np.stack([outline[:, 0], middle + who["lip_full"] * (outline[:, 1] - middle)], 1)
    lips[face] = inside(skin.xy[face], outline)
    edge = np.exp(-((r.polyline_distance(skin.xy, outline[[*range(12), 0]]) / 0.12) ** 2)) * face
    skin.lay(np.maximum(lips, 0.35 * edge) * (0.4 + who["lips"]), who["tone"] * [0.82, 0.58, 0.58])
    skin.lay(np.maximum(lips, 0.2 * edge) * who["lipstick"], who["lip_colour"])
    return lips


def _paint_beard(skin: Canvas, lips: np.ndarray, strand: np.ndarray, who: dict) -> None:
    """Beard and moustache, with strands (N,) of hair."""
    xy, hair = skin.xy, who["hair"] * 0.9
    jaw = (
        smooth(-0.6 + 0.55 * np.maximum(np.abs(xy[:, 0]) - 2.2, 0) - xy[:, 1], 0.6, 2.6)
        * (xy[:, 1] > -9.5)
        * smooth(skin.points[:, 2], 1.5, 3.5)
    )
    upper = smooth(-1.3 - xy[:, 1], 0, 0.5) * (np.abs(xy[:, 0]) < 3.2) * (xy[:, 1] > -3.2) * skin.front
    grow = (1 - lips) * (0.85 + 0.3 * strand)
    skin.lay(who["beard"] * np.maximum(jaw, 0.9 * upper) * grow, hair)
    skin.lay(who["moustache"] * upper * grow, hair)


def _paint_brows(skin: Canvas, marks: np.ndarray, strand: np.ndarray, who: dict) -> None:
    """Brows, and the line of the lashes."""
    xy = skin.xy
    for first in (17, 22):
        line = marks[first : first + 5, :2] + [0, who["brow_shift"] - 0.12]
        line[2, 1] += who["brow_arch"]
        if "brow_slant" in who:
            away = np.abs(line[:, 0]) - np.abs(line[:, 0]).mean()
            line[:, 1] -= who["brow_slant"] * away / 1.7
        taper = 1 - 0.35 * smooth(np.abs(xy[:, 0]), 3.8, 6)
        close = 1 - (r.polyline_distance(xy, line.astype("f4")) / (who["brow_width"] * taper)) ** 2
        skin.lay(who["brow_dense"] * np.clip(1.6 * close, 0, 1) * (0.9 + 0.2 * strand) * skin.front, who["brow"])
    lid = np.min([r.polyline_distance(xy, marks[ids, :2]) for ids in ([36, 37, 38, 39], [42, 43, 44, 45])], 0)
    skin.lay((0.1 + 0.7 * who["makeup"]) * np.exp(-((lid / 0.1) ** 2)) * skin.front, who["tone"] * 0.25)


def _paint_bearing(skin: Canvas, marks: np.ndarray, who: dict) -> None:
    """Lines that go on from the mouth's corners, down or up; shadows on the lids and beside the nose."""
    dark = who["tone"] * [0.62, 0.5, 0.5]
    for side, corner in ((-1, marks[48, :2]), (1, marks[54, :2])):
        tip = corner + [side * 0.55, np.sign(who["mouth_line"]) * 0.8]
        gap = r.polyline_distance(skin.xy, np.array([corner - [side * 0.15, 0], corner, tip], "f4"))
        skin.lay(1.6 * abs(who["mouth_line"]) * np.exp(-((gap / 0.17) ** 2)) * skin.front, dark)
        skin.lay(who["hood"] * skin.spot(side * 3.1, 4.15, 1.5, 0.4), dark)
        skin.lay(who["sallow"] * skin.spot(side * 1.7, 0.9, 0.5, 1.1), dark)


def hair_mask(kit: r.FaceKit, points: np.ndarray, who: dict) -> np.ndarray:
    """(N,) in [0, 1]: where hair grows, from the hair line back over the scalp, round the ears, down to the neck."""
    rng = np.random.default_rng(who["seed"] + 1)
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    line = kit.marks[17:27, 1].mean() + who["hairline"] - who["temple"] * x**1.75 + 0.12 * r.waves(points, rng, 0.9)
    top = smooth(y - line, 0, 0.5) * smooth(z, 0.5, 2.0)
    back = smooth(-z, -2.2, -1.2) * smooth(y, -4.5, -3)
    side = smooth(-z, -3.6, -2.8) * smooth(y - 4.2, 0, 0.8)
    ear = (x > 7.45) & (y < 4.2) & (y > -3.5) & (z > -3.5)
    return np.maximum.reduce([top, back, side]) * ~ear


def draw_hair(kit: r.FaceKit, who: dict, rng: np.random.Generator) -> dict:
    """Shell thickness and colour per vertex, and whether there is a long curtain or a fringe."""
    style = rng.choice(
        ["bald", "buzz", "short", "medium", "big", "long"],
        p=[0.12, 0.2, 0.34, 0.18, 0.08, 0.08] if who["male"] else [0.01, 0.04, 0.15, 0.25, 0.12, 0.43],
    )
    depth = {"bald": 0.0, "buzz": 0.15, "short": 0.55, "medium": 1.0, "big": 2.3, "long": 0.8}[style] * rng.uniform(
        0.8, 1.25
    )
    points = kit.vertices
    mask = hair_mask(kit, points, who) * (np.arange(len(points)) < r.FACE)
    streak = r.waves(points, rng, 0.8, (1.5, 0.3, 1.0))
    lift = 0.6 + 0.4 * smooth(points[:, 1], 4, 12)
    parting = 1 - 0.5 * np.exp(-(((points[:, 0] - rng.uniform(-3, 3)) / 0.6) ** 2)) * (style != "big")
    thick = depth * mask * lift * parting * (1 + 0.16 * streak + 0.2 * r.waves(points, rng, 2.0))
    colour = np.clip(who["hair"] * (1 + 0.22 * streak + 0.12 * r.waves(points, rng, 0.5))[:, None], 0.01, 0.98)
    return {
        "thickness": np.maximum(thick, 0).astype("f4"), "mask": mask,
        "colour": (colour**2.2).astype("f4"), "style": style,
        "length": rng.uniform(8, 17) if style == "long" else 0.0, "seed": int(rng.integers(2**31)),
        "fringe": rng.uniform(1.5, 3.2) if style in ("long", "medium", "short") and rng.uniform() < 0.2 else 0.0,
    }  # fmt: skip


def draw_glasses(rng: np.random.Generator) -> dict:
    """Radius, height to width, thickness and colour of a pair of rims."""
    radius, squash, thick = rng.uniform(1.5, 1.9), rng.uniform(0.65, 1), rng.uniform(0.09, 0.17)
    return {"radius": radius, "squash": squash, "thick": thick, "colour": rng.uniform(0, 0.3, 3)}


def draw_person(
    kit: r.FaceKit,
    rng: np.random.Generator,
    *,
    spread: float = 1.7,
    alter: Callable[[dict, np.ndarray], dict] = lambda who, modes: who,
) -> r.Person:
    """One subject.

    Args:
      kit: the face model.
      rng: of everything.
      spread: standard deviation of the identity modes (the model's own people are at 1).
      alter: what is made of the traits before anything is painted, given them and the modes (M,).
    """
    modes = np.clip(rng.normal(0, spread, len(kit.identity)), -2.6, 2.6) * rng.uniform(0.6, 1.25, len(kit.identity))
    face = kit.vertices + np.tensordot(modes.astype("f4"), kit.identity, 1)
    face = (face - face[kit.landmarks].mean(0)) * np.exp(rng.normal(0, [0.055, 0.045, 0.05])).astype("f4")
    who = alter(draw_traits(rng), modes)
    texture = paint_skin(kit, kit.positions, who).reshape(r.TEXTURE, r.TEXTURE, 3)
    grain = np.random.default_rng(who["seed"] + 2).normal(1, 0.008 + 0.012 * who["age"], (r.TEXTURE, r.TEXTURE, 1))
    colour, tone = paint_skin(kit, kit.vertices, who), who["tone"] ** 2.2
    for start, stop, value in (
        (r.FACE, r.MOUTH, tone * 0.25 + [0.03, 0, 0]), (r.MOUTH, r.SOCKET, tone * 0.6),
        (r.SOCKET, r.GUMS, [0.28, 0.07, 0.07]),
        (r.GUMS, r.TEETH, np.array([0.78, 0.74, 0.64]) * rng.uniform(0.8, 1)),
        (r.TEETH, r.EYES, np.array([0.88, 0.86, 0.84])),
        (r.LASH, None, np.full(3, who["lash"] ** 2.2)),
    ):  # fmt: skip
        colour[start:stop] = value
    iris = rng.uniform(0.58, 0.68)
    for white, first, last in r.IRISES:
        centre = kit.vertices[first:last].mean(0)
        reach = np.linalg.norm((kit.vertices[white:last] - centre)[:, :2], axis=1)
        ahead = kit.vertices[white:last, 2] > centre[2] - 0.3
        colour[white:last][ahead & (reach < iris)] = who["iris"] ** 2.2
        colour[white:last][ahead & (reach < 0.42 * iris)] = 0.003
    crease = who["age"] * rng.uniform(0.0, 0.32, len(kit.creases) // 2)
    bespectacled = rng.uniform() < 0.14
    return r.Person(
        face=face.astype("f4"),
        texture=(texture * grain).astype("f4"),
        colour=colour.astype("f4"),
        crease=np.concatenate([crease, crease * rng.uniform(0.8, 1.2)]).astype("f4"),
        crease_gain=float(rng.uniform(0.4, 0.75)),
        hair=draw_hair(kit, who, rng),
        glasses=draw_glasses(rng) if bespectacled else None,
        skin_gloss=float(rng.uniform(0.2, 0.5)),
        clothes=who["clothes"] ** 2.2,
        wall=np.clip(rng.uniform(0.25, 0.8) * (1 + rng.normal(0, 0.08, 3)), 0, 1) ** 2.2,
        idle=r.draw_idle(kit, rng),
        style={e: r.draw_style(kit, e, rng) for e in r.EXPRESSIONS},
        spare={e: r.draw_style(kit, e, rng) for e in r.EXPRESSIONS},
        strength=float(rng.uniform(0.78, 1.0)),
    )  # fmt: skip
