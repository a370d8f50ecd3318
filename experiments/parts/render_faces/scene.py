"""What stands around the people of the rendered faces: hair and glasses as meshes, occluders, backgrounds, the camera.

Plain NumPy, and Pillow for blur and JPEG. Meshes are in the space of the face before it is turned; colours are linear.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from . import looks
from . import rendering as r


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
            face + normal * (hair["thickness"] * looks.smooth(hair["mask"], 0.02, 0.7))[:, None] + 0.02 * normal,
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
        for _ in range(rng.integers(4, 10)):
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
        count, slope, colour = rng.integers(1, 3), rng.normal(0, 6), rng.uniform(0.02, 0.6, 3)
        return [
            (*tube(np.linspace([x - slope, 16, 18], [x + slope, -16, 18], 4), rng.uniform(0.3, 0.7), 8), colour)
            for x in rng.uniform(-9, 9, count)
        ]
    return hand_parts(marks, t, rng)


def hand_parts(marks: np.ndarray, t: np.ndarray, rng: np.random.Generator) -> list[Part]:
    """A hand that touches one of the landmarks (68, 3); t (P, 1) in [0, 1] are the places along a tube."""
    melanin = rng.uniform(0, len(looks.TONES) - 1.01)
    colour = looks.TONES[int(melanin)] ** 2.2
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
    """(size, size, 3) linear: a plain wall with a faint gradient, or (without `wall`) clutter out of focus."""
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


def denoise(rgba: np.ndarray, strength: float = 0.16) -> np.ndarray:
    """(H, W, 4) float32: a bilateral filter of 5x5 pixels on relative differences, for the few samples a pixel has."""
    grey = np.log(rgba[..., :3].mean(-1, keepdims=True) + 0.02) / strength
    layers = np.concatenate([rgba, grey], -1)
    padded = np.pad(layers, ((2, 2), (2, 2), (0, 0)), mode="edge")
    (high, wide), total, weights = rgba.shape[:2], np.zeros_like(rgba[..., :3]), np.zeros_like(grey)
    for dy in range(5):
        for dx in range(5):
            near = padded[dy : dy + high, dx : dx + wide]
            weight = np.exp(-0.5 * (near[..., 4:] - grey) ** 2 - ((dx - 2) ** 2 + (dy - 2) ** 2) / 2.4)
            total += weight * near[..., :3]
            weights += weight
    return np.concatenate([total / weights, rgba[..., 3:]], -1)


def camera(linear: np.ndarray, alpha: np.ndarray, rng: np.random.Generator, *, harsh: bool) -> np.ndarray:
    """(H, W, 3) uint8: exposed for where `alpha` (H, W) shows somebody, with the display's curve and some noise.

    `harsh` adds tint, blur, strong noise and JPEG artefacts.
    """
    level = np.percentile(linear[alpha > 0.5] if (alpha > 0.5).any() else linear, 85)
    aim = rng.uniform(0.25, 0.8) if harsh else rng.uniform(0.5, 0.62)
    picture = np.clip(linear * (aim / max(level, 1e-3)) ** (0.8 if harsh else 0.65), 0, None)
    picture = picture * (rng.uniform(0.8, 1.2, 3) if harsh else rng.uniform(0.97, 1.03, 3))
    picture = np.clip(picture / (1 + 0.15 * picture), 0, 1) ** (1 / 2.2)
    image = Image.fromarray(np.uint8(np.round(255 * picture)))
    if harsh and rng.uniform() < 0.5:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 1.5))))
    noise = rng.uniform(1, 14) if harsh and rng.uniform() < 0.6 else rng.uniform(0.3, 1.2)
    image = Image.fromarray(np.uint8(np.clip(np.asarray(image) + rng.normal(0, noise, picture.shape), 0, 255)))
    if harsh and rng.uniform() < 0.5:
        image = Image.open(io.BytesIO(jpeg(image, int(rng.integers(12, 60))))).convert("RGB")
    return np.asarray(image)


def jpeg(image: Image.Image | np.ndarray, quality: int) -> bytes:
    """The picture as baseline JPEG."""
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(
        buffer, "JPEG", quality=quality, subsampling=2, optimize=True
    )
    return buffer.getvalue()
