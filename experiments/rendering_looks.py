"""What the people of the rendered faces look like: skin, hair, glasses, occluders, backgrounds and the camera's faults.

Plain NumPy (and Pillow for blur and JPEG). Colours are painted as display values in [0, 1] and handed on linear (** 2.2).
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from experiments import rendering as r

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
        "moustache": rng.uniform(0.55, 0.85) * (male and rng.uniform() < 0.22), "shadow": rng.uniform(0, 0.3) * (rng.uniform() < 0.4),
        "makeup": rng.uniform(0.2, 0.55) * (not male and rng.uniform() < 0.5), "lash": rng.uniform(0.08, 0.3),
        "hairline": rng.uniform(2.9, 4.7) + 1.6 * (male and age > 0.6 and rng.uniform() < 0.5),
        "temple": rng.uniform(0.02, 0.07), "iris": IRISES[rng.integers(len(IRISES)) if melanin < 0.4 else rng.integers(2)],
        "moles": rng.integers(0, 4), "clothes": rng.uniform(0.05, 0.85, 3) ** 1.3,
    }  # fmt: skip


def paint_skin(kit: r.FaceKit, points: np.ndarray, who: dict) -> np.ndarray:
    """(N, 3) linear: the skin at points (N, 3) of the mean face, with brows, lips, beard, spots and make-up."""
    rng = np.random.default_rng(who["seed"])
    marks, xy, front = kit.marks, points[:, :2], smooth(points[:, 2], 3.0, 5.5)[:, None]
    colour = np.tile(who["tone"], (len(points), 1))

    def lay(mask: np.ndarray, paint: np.ndarray) -> None:
        colour[:] += np.clip(mask, 0, 1)[:, None] * (paint - colour)

    def spot(x: float, y: float, sx: float, sy: float) -> np.ndarray:
        return np.exp(-(((xy - [x, y]) / [sx, sy]) ** 2).sum(1)) * front[:, 0]

    colour *= (
        1
        + who["blotch"] * r.waves(points, rng, 2.2)[:, None]
        + 0.6 * who["blotch"] * r.waves(points, rng, 0.7)[:, None]
    )
    red = np.array([0.85, 0.38, 0.33]) * (0.45 + 0.55 * who["tone"].mean())
    for x, y, s in ((3.6, -0.6, 1.7), (-3.6, -0.6, 1.7), (0, 0.8, 1.1), (0, -6.5, 1.4)):
        lay(who["blush"] * spot(x, y, s, s), red)
    for side in (1, -1):
        lay(
            (0.08 + 0.3 * who["age"] * rng.uniform(0.5, 1)) * spot(side * 2.9, 2.35, 1.5, 0.55),
            who["tone"] * [0.7, 0.6, 0.62],
        )
        lay(0.25 * who["shadow"] * spot(side * 5.6, -2.5, 1.3, 2.5), who["tone"] * 0.7)
        lay(who["makeup"] * spot(side * 3.2, 4.25, 1.5, 0.5), rng.uniform(0.1, 0.5, 3) * who["tone"])
    if who["freckle"]:
        lay(
            who["freckle"] * smooth(r.waves(points, rng, 0.3), 0.7, 1.4) * (spot(0, 1.2, 5, 2.2)),
            who["tone"] * [0.7, 0.55, 0.45],
        )
    for _ in range(who["moles"]):
        lay(0.9 * spot(rng.uniform(-5, 5), rng.uniform(-5.5, 8), 0.16, 0.16) ** 2, who["tone"] * 0.35)
    lips = np.zeros(len(points), bool)
    face = points[:, 2] > marks[48:60, 2].min() - 1
    lips[face] = inside(xy[face], marks[48:60, :2])
    edge = np.exp(-((r.polyline_distance(xy, marks[[*range(48, 60), 48], :2]) / 0.12) ** 2)) * face
    natural = who["tone"] * [0.82, 0.58, 0.58]
    lay(np.maximum(lips, 0.35 * edge) * (0.4 + who["lips"]), natural)
    lay(np.maximum(lips, 0.2 * edge) * who["lipstick"], who["lip_colour"])
    strand = r.waves(points, rng, 0.28, (1.6, 0.6, 1))
    hair = who["hair"] * 0.9
    jaw = (
        smooth(-0.6 + 0.55 * np.maximum(np.abs(xy[:, 0]) - 2.2, 0) - xy[:, 1], 0.6, 2.6)
        * (xy[:, 1] > -9.5)
        * smooth(points[:, 2], 1.5, 3.5)
    )
    upper = smooth(-1.3 - xy[:, 1], 0, 0.5) * (np.abs(xy[:, 0]) < 3.2) * (xy[:, 1] > -3.2) * front[:, 0]
    grow = (1 - lips) * (0.85 + 0.3 * strand)
    lay(who["beard"] * np.maximum(jaw, 0.9 * upper) * grow, hair)
    lay(who["moustache"] * upper * grow, hair)
    for side, ids in ((-1, (17, 18, 19, 20, 21)), (1, (22, 23, 24, 25, 26))):
        line = marks[list(ids), :2] + [0, who["brow_shift"] - 0.12]
        line[2, 1] += who["brow_arch"]
        taper = 1 - 0.35 * smooth(np.abs(xy[:, 0]), 3.8, 6)
        close = 1 - (r.polyline_distance(xy, line.astype("f4")) / (who["brow_width"] * taper)) ** 2
        lay(who["brow_dense"] * np.clip(1.6 * close, 0, 1) * (0.9 + 0.2 * strand) * front[:, 0], who["brow"])
    lid = np.min([r.polyline_distance(xy, marks[ids, :2]) for ids in ([36, 37, 38, 39], [42, 43, 44, 45])], 0)
    lay((0.1 + 0.7 * who["makeup"]) * np.exp(-((lid / 0.1) ** 2)) * front[:, 0], who["tone"] * 0.25)
    scalp = hair_mask(kit, points, who)
    lay(0.9 * scalp, who["hair"] * 0.8)
    lay(smooth(-points[:, 1], 12.6, 12.9), who["clothes"])
    return (np.clip(colour, 0.02, 0.98) ** 2.2).astype("f4")


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
        "thickness": np.maximum(thick, 0).astype("f4"), "mask": mask, "colour": (colour**2.2).astype("f4"), "style": style,
        "length": rng.uniform(8, 17) if style == "long" else 0.0, "seed": int(rng.integers(2**31)),
        "fringe": rng.uniform(1.5, 3.2) if style in ("long", "medium", "short") and rng.uniform() < 0.2 else 0.0,
    }  # fmt: skip


def draw_person(kit: r.FaceKit, rng: np.random.Generator, *, spread: float = 1.5) -> r.Person:
    """One subject; `spread` is the standard deviation of the identity modes (the model's own people are at 1)."""
    modes = np.clip(rng.normal(0, spread, len(kit.identity)), -2.6, 2.6) * rng.uniform(0.6, 1.25, len(kit.identity))
    face = kit.vertices + np.tensordot(modes.astype("f4"), kit.identity, 1)
    face = (face - face[kit.landmarks].mean(0)) * np.exp(rng.normal(0, [0.055, 0.045, 0.05])).astype("f4")
    who = draw_traits(rng)
    texture = paint_skin(kit, kit.positions, who).reshape(r.TEXTURE, r.TEXTURE, 3)
    grain = np.random.default_rng(who["seed"] + 2).normal(1, 0.008 + 0.012 * who["age"], (r.TEXTURE, r.TEXTURE, 1))
    colour, tone = paint_skin(kit, kit.vertices, who), who["tone"] ** 2.2
    for start, stop, value in (
        (r.FACE, r.MOUTH, tone * 0.25 + [0.03, 0, 0]), (r.MOUTH, r.SOCKET, tone * 0.6), (r.SOCKET, r.GUMS, [0.28, 0.07, 0.07]),
        (r.GUMS, r.TEETH, np.array([0.78, 0.74, 0.64]) * rng.uniform(0.8, 1)), (r.TEETH, r.EYES, np.array([0.88, 0.86, 0.84])),
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
        glasses={"radius": rng.uniform(1.5, 1.9), "squash": rng.uniform(0.65, 1), "thick": rng.uniform(0.09, 0.17), "colour": rng.uniform(0, 0.3, 3)} if bespectacled else None,
        skin_gloss=float(rng.uniform(0.2, 0.5)),
        clothes=who["clothes"] ** 2.2,
        wall=np.clip(rng.uniform(0.25, 0.8) * (1 + rng.normal(0, 0.08, 3)), 0, 1) ** 2.2,
        idle=r.draw_idle(kit, rng),
        style={e: r.draw_style(kit, e, rng) for e in r.EXPRESSIONS},
        spare={e: r.draw_style(kit, e, rng) for e in r.EXPRESSIONS},
        strength=float(rng.uniform(0.78, 1.0)),
    )  # fmt: skip


def tube(
    path: np.ndarray, radius: float | np.ndarray, sides: int = 8, closed: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """A round tube along path (P, 3) -> vertices (P sides, 3), triangles."""
    ahead = (np.roll(path, -1, 0) - np.roll(path, 1, 0)) if closed else np.gradient(path, axis=0)
    ahead = ahead / np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-9)
    helper = np.where(np.abs(ahead[:, 2:]) < 0.9, [[0, 0, 1.0]], [[1.0, 0, 0]])
    u = np.cross(ahead, helper)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    v, turn = np.cross(ahead, u), np.arange(sides) * 2 * np.pi / sides
    ring = np.cos(turn)[None, :, None] * u[:, None] + np.sin(turn)[None, :, None] * v[:, None]
    points = path[:, None] + np.broadcast_to(radius, (len(path),))[:, None, None] * ring
    rows = np.arange(len(path) if closed else len(path) - 1)[:, None]
    k, n = np.arange(sides)[None], len(path)
    a, b = rows * sides + k, rows * sides + (k + 1) % sides
    c, d = (rows + 1) % n * sides + k, (rows + 1) % n * sides + (k + 1) % sides
    triangles = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])
    return points.reshape(-1, 3).astype("f4"), triangles


Part = tuple[np.ndarray, np.ndarray, np.ndarray]  # vertices (V, 3), triangles (F, 3), linear colour (3,) or (V, 3)


def hair_parts(kit: r.FaceKit, person: r.Person, face: np.ndarray, normal: np.ndarray) -> list[Part]:
    """The shell over the scalp (its triangles already offset), the long curtain behind the ears, the fringe."""
    hair, parts = person.hair, []
    if hair["thickness"].max() < 0.05:
        return parts
    grown = (hair["mask"][kit.head] > 0.02).all(1)
    parts.append(
        (
            face + normal * (hair["thickness"] * smooth(hair["mask"], 0.02, 0.7))[:, None] + 0.02 * normal,
            kit.head[grown],
            hair["colour"],
        )
    )
    rng = np.random.default_rng(hair["seed"])
    if hair["length"]:
        crown = face[kit.head[grown]].reshape(-1, 3)
        wide, middle = np.abs(crown[:, 0]).max() - 0.1, crown[:, 2].min() * 0.4
        turn, drop = np.meshgrid(np.linspace(np.radians(-112), np.radians(112), 60), np.linspace(0, 1, 26))
        swell = (
            0.93
            + 0.14 * np.sin(2.2 * drop)
            + 0.025 * np.sin(9 * turn + 5 * drop + rng.uniform(0, 6))
            + 0.012 * np.sin(31 * turn)
        )
        x = wide * np.sin(turn) * swell
        z = middle + 1.0 - 5.5 * np.cos(turn) * swell + 1.2 * drop * (np.cos(turn) < 0)
        y = face[:, 1][hair["mask"] > 0.5].max() - 4.5 - drop * (hair["length"] + 3 + 0.6 * np.sin(13 * turn))
        at = np.arange(25)[:, None] * 60 + np.arange(59)[None]
        triangles = np.concatenate(
            [
                np.stack([at, at + 1, at + 60], -1).reshape(-1, 3),
                np.stack([at + 1, at + 61, at + 60], -1).reshape(-1, 3),
            ]
        )
        shade = (1 + 0.25 * np.sin(31 * turn + 2 * drop) + 0.12 * np.sin(77 * turn)).reshape(-1, 1)
        base = hair["colour"][hair["mask"] > 0.5].mean(0)
        parts.append((np.stack([x, y, z], -1).reshape(-1, 3).astype("f4"), triangles, np.clip(base * shade, 0, 1)))
    if hair["fringe"]:
        line = (hair["mask"] > 0.3) & (hair["mask"] < 0.97) & (kit.vertices[:, 2] > 5)
        roots = np.flatnonzero(line)
        base = hair["colour"][hair["mask"] > 0.5].mean(0)
        for i in rng.choice(roots, min(len(roots), 34), replace=False):
            t, sweep = np.linspace(0, 1, 6)[:, None], rng.normal(0, 0.5)
            start = face[i] + normal[i] * 0.5
            path = start + t * np.array([sweep, -hair["fringe"], 0.9]) - t**2 * np.array([0, 0, 0.5])
            parts.append((*tube(path, 0.22 * (1 - 0.8 * t[:, 0] ** 2), 5), base * rng.uniform(0.8, 1.2)))
    return parts


def glasses_parts(kit: r.FaceKit, face: np.ndarray, look: dict, dark: bool = False) -> list[Part]:
    """Two rims, a bridge, two temples, in front of the eyes of `face`; dark lenses for sunglasses."""
    marks, parts = face[kit.landmarks], []
    turn = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    front = marks[36:48, 2].max() + 0.9
    colour, centres = np.asarray(look["colour"]) ** 2.2, []
    for ids, sign in ((slice(36, 42), -1), (slice(42, 48), 1)):
        centre = marks[ids].mean(0)
        centre = np.array([centre[0] + 0.1 * sign, centre[1] - 0.25, front])
        centres.append(centre)
        wave = np.stack(
            [
                np.cos(turn) * look["radius"],
                np.sin(turn) * look["radius"] * look["squash"],
                -0.35 * sign * np.cos(turn),
            ],
            1,
        )
        parts.append((*tube(centre + wave, look["thick"], 6, closed=True), colour))
        outer = centre + [sign * look["radius"], 0.2, -0.35]
        parts.append(
            (
                *tube(
                    np.linspace(outer, [0.97 * marks[16 if sign > 0 else 0, 0], centre[1] + 0.4, marks[0, 2]], 6),
                    look["thick"],
                    6,
                ),
                colour,
            )
        )
        if dark:
            disc = np.concatenate([[centre], centre + wave])
            parts.append(
                (disc.astype("f4"), np.array([[0, 1 + k, 1 + (k + 1) % 28] for k in range(28)]), np.full(3, 0.01))
            )
    inner = [centres[0] + [look["radius"], 0.2, 0.3], centres[1] + [-look["radius"], 0.2, 0.3]]
    parts.append((*tube(np.linspace(*inner, 4), look["thick"], 6), colour))
    return parts


def occluder_parts(kit: r.FaceKit, face: np.ndarray, rng: np.random.Generator) -> list[Part]:
    """One thing in front of a posed face: a hand, glasses, strands of hair, a scarf or bars."""
    marks, kind = face[kit.landmarks], rng.choice(["hand", "glasses", "dark", "strands", "scarf", "bars"])
    t = np.linspace(0, 1, 9)[:, None]
    if kind in ("glasses", "dark"):
        look = {
            "radius": rng.uniform(1.4, 1.9),
            "squash": rng.uniform(0.65, 1),
            "thick": rng.uniform(0.06, 0.16),
            "colour": rng.uniform(0, 0.5, 3),
        }
        return glasses_parts(kit, face, look, dark=kind == "dark")
    if kind == "strands":
        colour, out = rng.uniform(0.02, 0.3, 3), []
        for _ in range(rng.integers(5, 14)):
            x = rng.uniform(-6, 6)
            path = (
                np.array([x, 12.0, 9.5])
                + t * np.array([rng.normal(0, 2), -rng.uniform(6, 15), 3.0])
                + np.sin(3 * t) * np.array([1.0, 0, 0])
            )
            out.append((*tube(path, rng.uniform(0.06, 0.22), 5), colour * rng.uniform(0.7, 1.3)))
        return out
    if kind == "scarf":
        turn, low = np.linspace(0, 2 * np.pi, 30, endpoint=False), marks[8, 1] + rng.uniform(-2.2, 1.6)
        path = np.stack([8.3 * np.sin(turn), low - 0.8 * np.cos(turn), 2 + (marks[8, 2] - 1.5) * np.cos(turn)], 1)
        return [(*tube(path, rng.uniform(1.6, 2.4), 10, closed=True), rng.uniform(0.02, 0.7, 3))]
    if kind == "bars":
        count, slope, colour = rng.integers(1, 4), rng.normal(0, 6), rng.uniform(0.02, 0.6, 3)
        return [
            (*tube(np.linspace([x - slope, 16, 18], [x + slope, -16, 18], 4), rng.uniform(0.3, 0.7), 8), colour)
            for x in rng.uniform(-9, 9, count)
        ]
    melanin = rng.uniform(0, len(TONES) - 1.01)
    colour = TONES[int(melanin)] ** 2.2
    target = marks[rng.choice([8, 4, 12, 48, 54, 2, 14, 19, 24])] + [0, 0, 1.2]
    away = np.array(
        [
            np.sign(target[0]) * rng.uniform(0.2, 1) + rng.normal(0, 0.2),
            -1 if target[1] < 4 else rng.choice([-1, 1]),
            0.25,
        ]
    )
    along, out = away / np.linalg.norm(away), []
    across = np.cross(along, [0, 0, 1.0])
    palm = target + along * 5
    out.append((*tube(palm + along * 12 * t, 2.1 + 0 * t[:, 0], 10), colour * 0.95))
    for k in range(4):
        finger = palm + across * (k - 1.5) * 1.15 - along * (5.2 - 0.4 * abs(k - 1.5)) * t + [0, 0, 0.5] * np.sin(3 * t)
        out.append((*tube(finger, 0.72 * (1 - 0.75 * t[:, 0] ** 6), 8), colour))
    return out


def background(size: int, rng: np.random.Generator, wall: np.ndarray | None = None) -> np.ndarray:
    """(size, size, 3) linear: a plain wall with a faint gradient, or (without `wall`) procedural clutter out of focus."""
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    if wall is not None:
        slope = rng.normal(0, 0.15, 2)
        return (wall * (1 + slope[0] * x + slope[1] * y)[..., None]).astype("f4")
    first, second = rng.uniform(0, 1, (2, 3))
    blend = (0.5 + x * rng.normal(0, 0.7) + y * rng.normal(0, 0.7)).clip(0, 1)[..., None]
    canvas = Image.fromarray(np.uint8(255 * (first * blend + second * (1 - blend))))
    draw = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(8, 40)):
        ink = tuple(int(v) for v in rng.integers(0, 256, 3))
        x0, y0 = rng.uniform(-0.2, 1.0, 2) * size
        w, h = rng.uniform(0.03, 0.6, 2) * size
        kind = rng.integers(4)
        if kind == 0:
            draw.rectangle([x0, y0, x0 + w, y0 + h], fill=ink)
        elif kind == 1:
            draw.ellipse([x0, y0, x0 + w, y0 + w], fill=ink)
        elif kind == 2:
            draw.line(
                [x0, y0, x0 + rng.normal(0, size), y0 + rng.normal(0, size)], fill=ink, width=int(rng.integers(1, 7))
            )
        else:
            draw.polygon([tuple(p) for p in np.array([x0, y0]) + rng.normal(0, 0.25 * size, (3, 2))], fill=ink)
    canvas = canvas.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 4))))
    return ((np.asarray(canvas) / 255.0) ** 2.2 * rng.uniform(0.4, 1.0)).astype("f4")


def denoise(rgba: np.ndarray, albedo: np.ndarray, normal: np.ndarray, depth: np.ndarray, reach: int = 3) -> np.ndarray:
    """(H, W, 4) float32: the light on each surface, averaged with neighbours that face the same way at the same depth.

    Args:
      rgba: (H, W, 4) linear, noisy, premultiplied.
      albedo, normal: (H, W, 3), depth: (H, W), all free of noise; the colours come back through the albedo.
    """
    floor = 0.015
    guide = np.concatenate([normal / 0.28, depth[..., None] / 0.7], -1)
    layers = np.concatenate([rgba[..., :3] / (albedo + floor), guide, rgba[..., 3:]], -1)
    padded = np.pad(layers, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    high, wide = depth.shape
    total, weights = np.zeros_like(albedo), np.full(depth.shape, 1e-6, "f4")
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            near = padded[reach + dy : reach + dy + high, reach + dx : reach + dx + wide]
            apart = ((near[..., 3:7] - guide) ** 2).sum(-1)
            weight = np.exp(-0.5 * apart - (dx * dx + dy * dy) / 6.0) * (near[..., 7] + 1e-3)
            total += weight[..., None] * np.minimum(near[..., :3], 12.0)
            weights += weight
    return np.concatenate([total / weights[..., None] * (albedo + floor), rgba[..., 3:]], -1).astype("f4")


def camera(linear: np.ndarray, rng: np.random.Generator, *, harsh: bool) -> np.ndarray:
    """(H, W, 3) uint8: exposure, display curve and sensor noise; `harsh` adds tint, blur, strong noise and JPEG artefacts."""
    level = np.percentile(linear, 90)
    aim = rng.uniform(0.35, 0.95) if harsh else rng.uniform(0.55, 0.72)
    picture = np.clip(linear * (aim / max(level, 1e-3)) ** (1.0 if harsh else 0.7), 0, None)
    picture = picture * (rng.uniform(0.8, 1.2, 3) if harsh else rng.uniform(0.97, 1.03, 3))
    picture = np.clip(picture / (1 + 0.15 * picture), 0, 1) ** (1 / 2.2)
    image = Image.fromarray(np.uint8(np.round(255 * picture)))
    if harsh and rng.uniform() < 0.5:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 1.5))))
    noise = rng.uniform(1, 14) if harsh and rng.uniform() < 0.6 else rng.uniform(0.5, 2.0)
    image = Image.fromarray(np.uint8(np.clip(np.asarray(image) + rng.normal(0, noise, picture.shape), 0, 255)))
    if harsh and rng.uniform() < 0.5:
        image = Image.open(io.BytesIO(jpeg(image, int(rng.integers(12, 60))))).convert("RGB")
    return np.asarray(image)


def jpeg(image: Image.Image | np.ndarray, quality: int) -> bytes:
    """The picture as baseline JPEG."""
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(
        buffer, "JPEG", quality=quality, subsampling=0 if quality > 80 else 2
    )
    return buffer.getvalue()
