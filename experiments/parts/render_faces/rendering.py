"""People, expressions and cameras for the rendered faces, in plain NumPy: what `render_faces.py` hands to Mitsuba.

A face is the linear model of ICT-FaceKit (Li et al. 2020, MIT licence): mean + identity modes + expression shapes. On
top of it come a skin painted as a function of the point on the mean face, creases that follow the expression, hair as a
shell over the scalp, and a *style*: the action units by which this person shows each of the eight expressions, drawn
from the alternatives that EMFACS lists for it. Everything depends on the generators passed in, and on nothing else.
Lengths are the model's units (about centimetres), +x to the picture's right, +y up, +z towards the viewer.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping

import numpy as np

EXPRESSIONS = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
HIDDEN = ("M_LacrimalFluid", "M_EyeBlend", "M_EyeOcclusion")
FACE, MOUTH, SOCKET, GUMS, TEETH, EYES, LASH = 11248, 13294, 14062, 17039, 21451, 24591, 25351  # ends of vertex ranges
IRISES = ((21451, 22221, 23021), (23021, 23791, 24591))  # sclera start, iris start, end
TEXTURE = 288

# Action unit -> ARKit-style shapes (both sides) and the two shapes added in `extra_shapes`.
AU: dict[int, dict[str, float]] = {
    1: {"browInnerUp": 1.0},
    2: {"browOuterUp": 1.0},
    4: {"browDown": 1.0, "browTogether": 1.0},
    5: {"eyeWide": 1.0},
    6: {"cheekSquint": 1.0, "eyeSquint": 0.3},
    7: {"eyeSquint": 0.9},
    9: {"noseSneer": 1.0},
    10: {"mouthUpperUp": 0.9},
    11: {"noseSneer": 0.3, "mouthUpperUp": 0.25},
    12: {"mouthSmile": 1.0},
    14: {"mouthDimple": 1.0, "mouthPress": 0.35},
    15: {"mouthFrown": 1.2},
    16: {"mouthLowerDown": 0.9},
    17: {"mouthShrugLower": 0.8},
    20: {"mouthStretch": 1.0},
    22: {"mouthFunnel": 0.8},
    23: {"mouthPress": 0.4, "lipsNarrow": 1.0},
    24: {"mouthPress": 0.6, "mouthRollUpper": 0.5, "mouthRollLower": 0.5},
    25: {"jawOpen": 0.12, "mouthLowerDown": 0.25, "mouthUpperUp": 0.1},
    26: {"jawOpen": 0.4},
    27: {"jawOpen": 0.8},
    29: {"jawForward": 1.0},
    43: {"eyeBlink": 0.6},
    64: {"eyeLookDown": 0.8},
}
# Expression -> alternatives; each gives an action unit its range at full intensity (EMFACS and its variants).
STYLES: dict[str, tuple[dict[int, tuple[float, float]], ...]] = {
    "anger": (
        {4: (1.6, 1.9), 5: (0.2, 0.5), 7: (0.6, 1.0), 9: (0.6, 1.0), 24: (0.7, 1.2), 15: (0.6, 1.0), 17: (0.5, 0.9)},
        {4: (1.5, 1.9), 7: (0.3, 0.6), 9: (0.5, 0.9), 10: (0.6, 1.0), 16: (0.8, 1.2), 22: (0.4, 0.7), 26: (0.8, 1.3)},
        {4: (1.5, 1.9), 5: (0.2, 0.6), 7: (0.5, 0.9), 9: (0.5, 0.9), 10: (0.7, 1.1), 16: (0.7, 1.1), 25: (0.8, 1.3)},
    ),
    "contempt": (
        {12: (0.5, 0.8), 14: (0.7, 1.1)},
        {14: (1.0, 1.4), 24: (0.2, 0.5), 12: (0.2, 0.4)},
        {12: (0.4, 0.7), 14: (0.5, 0.9), 10: (0.3, 0.6), 2: (0.2, 0.6)},
    ),
    "disgust": (
        {9: (0.7, 1.1), 10: (1.0, 1.4), 6: (0.7, 1.1), 7: (0.6, 1.0), 15: (1.0, 1.4), 17: (0.7, 1.1)},
        {
            9: (0.7, 1.0),
            10: (1.0, 1.4),
            6: (0.7, 1.1),
            7: (0.4, 0.8),
            43: (0.1, 0.5),
            15: (0.9, 1.3),
            16: (0.5, 0.9),
            25: (0.6, 1.0),
        },
        {9: (1.0, 1.4), 10: (0.8, 1.2), 6: (0.6, 1.0), 7: (0.6, 1.0), 15: (0.8, 1.2), 26: (0.4, 0.8), 16: (0.3, 0.6)},
    ),
    "fear": (
        {1: (1.2, 1.6), 4: (0.8, 1.2), 5: (1.2, 1.6), 20: (1.3, 1.8), 16: (0.8, 1.2), 25: (1.0, 1.5)},
        {1: (1.1, 1.5), 2: (0.0, 0.3), 4: (0.9, 1.3), 5: (1.1, 1.5), 20: (1.3, 1.8), 16: (0.8, 1.2), 26: (0.2, 0.5)},
        {1: (1.2, 1.6), 4: (0.9, 1.3), 5: (1.1, 1.6), 20: (1.1, 1.6), 16: (0.8, 1.3), 10: (0.2, 0.5), 25: (0.8, 1.3)},
    ),
    "happiness": (
        {12: (0.8, 1.05), 6: (0.6, 1.0), 25: (0.6, 1.2), 10: (0.1, 0.4)},
        {12: (0.85, 1.15), 6: (0.6, 1.0)},
        {12: (0.8, 1.05), 6: (0.7, 1.0), 26: (0.4, 0.8), 10: (0.2, 0.5)},
    ),
    "sadness": (
        {1: (1.2, 1.6), 4: (0.8, 1.2), 15: (1.2, 1.7), 17: (0.7, 1.1), 43: (0.1, 0.4), 64: (0.0, 0.5)},
        {1: (1.2, 1.6), 4: (0.6, 1.0), 15: (1.1, 1.6), 43: (0.4, 0.8), 64: (0.6, 1.1), 17: (0.4, 0.8)},
        {
            1: (1.2, 1.6),
            4: (0.9, 1.3),
            11: (0.6, 1.1),
            15: (1.2, 1.7),
            17: (0.8, 1.2),
            6: (0.3, 0.6),
            43: (0.1, 0.4),
            25: (0.0, 0.8),
        },
    ),
    "surprise": (
        {1: (0.9, 1.2), 2: (0.9, 1.2), 5: (0.9, 1.3), 26: (1.1, 1.6)},
        {1: (0.9, 1.2), 2: (0.9, 1.2), 5: (0.9, 1.3), 27: (0.8, 1.1)},
        {1: (0.8, 1.1), 2: (0.8, 1.1), 5: (0.8, 1.2), 26: (0.8, 1.3), 22: (0.3, 0.6)},
    ),
    "neutral": ({},),
}
# Expression -> those that it is commonly taken for, and mixed with (`mix_styles`).
TAKEN_FOR = {
    "anger": ("disgust", "sadness"),
    "contempt": ("happiness", "disgust"),
    "disgust": ("anger", "sadness"),
    "fear": ("surprise", "sadness"),
    "happiness": ("contempt", "surprise"),
    "sadness": ("anger", "fear"),
    "surprise": ("fear", "happiness"),
}
MIXED, MIX = 0.3, (0.3, 0.52)  # share of (person, expression); part of the weights that is the other's
IDLE = {"mouthFrown": 0.12, "mouthSmile": 0.08, "browInnerUp": 0.12, "browDown": 0.13, "eyeSquint": 0.12,
        "eyeWide": 0.08, "mouthPress": 0.1, "mouthShrugLower": 0.1, "jawOpen": 0.015, "mouthFunnel": 0.06}  # fmt: skip
# Crease -> (polyline on the right half of the mean face, shapes that deepen it, strength).
CREASES: dict[str, tuple[tuple[tuple[float, float], ...], Mapping[str, float]]] = {
    "nasolabial": (((1.7, 0.5), (2.8, -1.0), (3.4, -3.0)),
                   {"mouthSmile": 0.8, "noseSneer": 0.7, "mouthUpperUp": 0.6, "mouthStretch": 0.3,
                    "mouthDimple": 0.35}),
    "frown": (((0.5, 4.3), (0.62, 5.3), (0.5, 6.4)), {"browDown": 0.5, "browTogether": 0.4}),
    "forehead0": (((0.0, 7.3), (2.0, 7.5), (4.3, 7.1)), {"browInnerUp": 0.4, "browOuterUp": 0.5}),
    "forehead1": (((0.0, 8.3), (2.0, 8.5), (4.0, 8.1)), {"browInnerUp": 0.5, "browOuterUp": 0.4}),
    "forehead2": (((0.0, 9.2), (1.8, 9.4), (3.2, 9.1)), {"browInnerUp": 0.4, "browOuterUp": 0.3}),
    "crow0": (((4.9, 3.6), (6.1, 4.3)), {"cheekSquint": 0.6, "eyeSquint": 0.2}),
    "crow1": (((5.0, 3.3), (6.2, 3.3)), {"cheekSquint": 0.6, "eyeSquint": 0.2}),
    "crow2": (((4.9, 3.0), (6.0, 2.4)), {"cheekSquint": 0.5, "eyeSquint": 0.2}),
    "nose0": (((0.0, 3.6), (0.9, 3.3)), {"noseSneer": 0.7, "browDown": 0.15}),
    "nose1": (((0.3, 2.9), (1.2, 2.3)), {"noseSneer": 0.7}),
    "corner": (((2.75, -3.6), (3.2, -4.3), (3.3, -5.1)), {"mouthFrown": 0.6, "mouthStretch": 0.2}),
    "chin": (((0.0, -5.2), (1.0, -5.4)), {"mouthShrugLower": 0.6, "mouthFrown": 0.15}),
    "bag": (((1.9, 2.7), (3.1, 2.1), (4.3, 2.5)), {"eyeSquint": 0.35, "cheekSquint": 0.3}),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class FaceKit:
    """The face model and what is derived from it once: extra shapes, the position map, crease masks."""

    vertices: np.ndarray  # (V, 3) float32 mean face
    identity: np.ndarray  # (M, V, 3) float32
    shapes: np.ndarray  # (E, V, 3) float32, two extra shapes at the end
    shape_names: tuple[str, ...]
    landmarks: np.ndarray  # (68,) vertex index
    skin: np.ndarray  # (F, 3) triangles with the face texture
    skin_uv: np.ndarray  # (F, 3, 2) their texture coordinates
    rest: np.ndarray  # (R, 3) triangles with a colour per vertex
    head: np.ndarray  # (H, 3) triangles of face and back of the head, on which hair grows
    positions: np.ndarray  # (TEXTURE * TEXTURE, 3) point of the mean face under each texel
    creases: np.ndarray  # (2 C, TEXTURE * TEXTURE) masks in [0, 1], left then right

    @property
    def marks(self) -> np.ndarray:
        """(68, 3): the landmarks of the mean face."""
        return self.vertices[self.landmarks]


def load_facekit(path: str | pathlib.Path) -> FaceKit:
    """Reads the packed .npz, or the folder of .obj files as ICT-FaceKit ships it (FaceXModel).

    Raises:
      FileNotFoundError: if there is nothing at `path`, or the folder lacks a file; the message says which.
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"face model {path} does not exist; pass --facekit=<ict_facekit.npz or the FaceXModel folder>"
        )
    pack = read_obj_folder(path) if path.is_dir() else np.load(path)
    names = tuple(str(n) for n in pack["expression_names"])
    vertices, material = pack["vertices"].astype("f4"), pack["material"]
    materials = [str(n) for n in pack["material_names"]]
    extra, extra_names = extra_shapes(vertices, pack["landmarks68"])
    face = material == materials.index("M_Face")
    grown = face | (material == materials.index("M_BackHead"))
    shown = ~np.isin(material, [i for i, n in enumerate(materials) if n in HIDDEN])
    skin, skin_uv = pack["triangles"][face], pack["uv"][pack["uv_triangles"][face]].astype("f4")
    positions = position_map(vertices, skin, skin_uv)
    return FaceKit(
        vertices=vertices,
        identity=pack["identity"].astype("f4"),
        shapes=np.concatenate([pack["expression"].astype("f4"), extra]),
        shape_names=names + extra_names,
        landmarks=pack["landmarks68"],
        skin=skin,
        skin_uv=skin_uv,
        rest=pack["triangles"][shown & ~face],
        head=pack["triangles"][grown],
        positions=positions,
        creases=crease_masks(positions),
    )


def read_obj_folder(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """generic_neutral_mesh.obj, identity*.obj, expressions, vertex_indices.json -> the arrays of the .npz."""
    for name in ("generic_neutral_mesh.obj", "vertex_indices.json"):
        if not (folder / name).exists():
            raise FileNotFoundError(f"{folder} has no {name}; expected ICT-FaceKit's FaceXModel folder")

    def rows(file: pathlib.Path, tag: str) -> np.ndarray:
        return np.array(
            [line.split()[1:] for line in file.read_text().splitlines() if line.startswith(tag + " ")], "f4"
        )

    neutral = folder / "generic_neutral_mesh.obj"
    triangles, uv_triangles, material, materials = [], [], [], []
    for line in neutral.read_text().splitlines():
        if line.startswith("usemtl "):
            name = line.split()[1]
            materials += [] if name in materials else [name]
            current = materials.index(name)
        elif line.startswith("f "):
            corner = [[int(i) - 1 for i in word.split("/")[:2]] for word in line.split()[1:]]
            for k in range(1, len(corner) - 1):
                fan = (corner[0], corner[k], corner[k + 1])
                triangles.append([c[0] for c in fan])
                uv_triangles.append([c[1] for c in fan])
                material.append(current)
    vertices = rows(neutral, "v")[:, :3]
    modes = sorted(folder.glob("identity*.obj"))
    taken = {neutral.name, *(m.name for m in modes)}
    shapes = [s for s in sorted(folder.glob("*.obj")) if s.name not in taken]
    landmarks = json.loads((folder / "vertex_indices.json").read_text())["idx_to_landmark_verts"]
    return {
        "vertices": vertices,
        "identity": np.stack([rows(m, "v")[:, :3] - vertices for m in modes]),
        "expression": np.stack([rows(s, "v")[:, :3] - vertices for s in shapes]),
        "expression_names": np.array([s.stem for s in shapes]),
        "triangles": np.array(triangles, "i4"),
        "material": np.array(material),
        "material_names": np.array(materials),
        "uv": rows(neutral, "vt")[:, :2],
        "uv_triangles": np.array(uv_triangles, "i4"),
        "landmarks68": np.array(landmarks, "i4"),
    }


def extra_shapes(vertices: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Shapes that the model lacks, as smooth bumps around landmarks.

    browTogether draws the inner brows in and down (AU4); browOblique lifts the inner end and lowers the outer one
    (AU1+4); lipsNarrow thins and narrows the lips (AU23).
    """
    marks, skin = vertices[landmarks], (np.arange(len(vertices)) < FACE).astype("f4")
    out = np.zeros((5, *vertices.shape), "f4")

    def bump(x: float, y: float, wide: float, high: float) -> np.ndarray:
        return (skin * np.exp(-(((vertices[:, :2] - [x, y]) / [wide, high]) ** 2).sum(1)))[:, None]

    for i, (inner, outer, lid, sign) in enumerate(((22, 26, 43, 1), (21, 17, 38, -1))):
        out[i] = bump(marks[inner, 0] + 0.5 * sign, marks[inner, 1], 1.5, 1.2) * np.array([-0.32 * sign, -0.4, 0.12])
        lift = bump(marks[inner, 0] + 0.3 * sign, marks[inner, 1], 1.4, 1.5) - bump(*marks[outer, :2], 2.2, 1.3)
        fold = bump(marks[lid, 0], marks[lid, 1] + 0.9, 1.0, 0.5)
        out[2 + i] = lift * np.array([0, 0.5, 0.0]) + fold * np.array([0, 0.15, 0])
    centre = marks[[62, 66]].mean(0)
    near = bump(*centre[:2], 3.0, 1.3)[:, 0] * (vertices[:, 2] > 8)
    out[4] = near[:, None] * (centre - vertices) * np.array([0.16, 0.3, 0.1])
    return out, ("browTogether_L", "browTogether_R", "browOblique_L", "browOblique_R", "lipsNarrow")


def position_map(vertices: np.ndarray, triangles: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """(TEXTURE * TEXTURE, 3): the point of the mean face under each texel (row 0 at v = 1), far off where none."""
    out = np.full((TEXTURE, TEXTURE, 3), -99.0, "f4")
    pixel = uv * [TEXTURE, -TEXTURE] + [-0.5, TEXTURE - 0.5]
    low, high = np.floor(pixel.min(1)).astype(int).clip(0), np.ceil(pixel.max(1)).astype(int) + 1
    for corner, p, (x0, y0), (x1, y1) in zip(vertices[triangles], pixel, low, high, strict=True):
        x, y = np.meshgrid(np.arange(x0, min(x1, TEXTURE)), np.arange(y0, min(y1, TEXTURE)))
        (ax, ay), (bx, by), (cx, cy) = p
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay) or 1e-9
        s = ((x - ax) * (cy - ay) - (cx - ax) * (y - ay)) / area
        t = ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) / area
        hit = (s >= -0.15) & (t >= -0.15) & (s + t <= 1.15)
        out[y[hit], x[hit]] = (
            corner[0] + s[hit, None] * (corner[1] - corner[0]) + t[hit, None] * (corner[2] - corner[0])
        )
    return out.reshape(-1, 3)


def polyline_distance(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    """(N,): distance of points (N, 2) to a polyline (P, 2)."""
    best = np.full(len(points), np.inf, "f4")
    for a, b in zip(line[:-1], line[1:], strict=True):
        t = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
        best = np.minimum(best, np.linalg.norm(points - (a + t[:, None] * (b - a)), axis=1))
    return best


def crease_masks(positions: np.ndarray) -> np.ndarray:
    """(2 C, N): a soft line for every crease of the left (+x), then of the right half."""
    front, masks = positions[:, 2] > 4, []
    for sign in (1, -1):
        for line, _ in CREASES.values():
            distance = polyline_distance(positions[:, :2], np.array(line, "f4") * [sign, 1])
            masks.append(front * (0.75 * np.exp(-((distance / 0.17) ** 2)) + 0.25 * np.exp(-((distance / 0.5) ** 2))))
    return np.array(masks, "f4")


def waves(
    points: np.ndarray, rng: np.random.Generator, length: float, squash: tuple[float, ...] = (1, 1, 1)
) -> np.ndarray:
    """(N,): smooth noise of about unit variance with features of `length` units; `squash` scales each axis."""
    k = rng.normal(0, 1, (points.shape[1], 14)) * (2.2 / length) * np.array(squash[: points.shape[1]])[:, None]
    return np.sin(points @ k.astype("f4") + rng.uniform(0, 6.3, 14).astype("f4")).sum(1) / np.sqrt(7)


@dataclasses.dataclass(frozen=True)
class Person:
    """One subject: face, colours, hair, glasses, and the style of each expression."""

    face: np.ndarray  # (V, 3) neutral vertices
    texture: np.ndarray  # (TEXTURE, TEXTURE, 3) linear colour at rest
    colour: np.ndarray  # (V, 3) linear colour per vertex
    crease: np.ndarray  # (2 C,) depth of each crease at rest, and
    crease_gain: float
    hair: dict  # thickness (V,), colour (V, 3), long, fringe
    glasses: dict | None
    skin_gloss: float
    clothes: np.ndarray
    wall: np.ndarray
    idle: np.ndarray  # (E,) resting weights
    style: dict[str, np.ndarray]  # expression -> (E,) weights at full intensity
    spare: dict[str, np.ndarray]  # a second way of showing it, mixed in by frame
    strength: float


def draw_style(kit: FaceKit, expression: str, rng: np.random.Generator) -> np.ndarray:
    """(E,) float32: one person's weights of `expression` at full intensity: a variant, its ranges, an asymmetry."""
    variants = STYLES[expression]
    return weights_of(kit, variants[rng.integers(len(variants))], expression, rng)


def weights_of(
    kit: FaceKit, units: Mapping[int, tuple[float, float]], expression: str, rng: np.random.Generator, spread=0.12
) -> np.ndarray:
    """(E,) float32 weights of action units drawn from their ranges, lopsided by `spread` (contempt: one-sided)."""
    index = {name: i for i, name in enumerate(kit.shape_names)}
    weight, side = np.zeros(len(kit.shape_names), "f4"), "LR"[rng.integers(2)]
    for unit, (low, high) in units.items():
        amount, tilt = rng.uniform(low, high), np.clip(rng.normal(0, spread), -0.3, 0.3)
        for shape, gain in AU[unit].items():
            if unit == 4 and 1 in units:  # against the frontalis the corrugator draws the brow in and oblique
                shape, gain = {"browDown": ("browOblique", 0.9), "browTogether": ("browTogether", 0.5)}[shape]
            if shape in index:
                weight[index[shape]] += amount * gain
                continue
            for letter, sign in (("L", 1), ("R", -1)):
                both = 1 + sign * tilt
                one = (1.0 if letter == side else rng.uniform(0, 0.15)) if expression == "contempt" else both
                weight[index[f"{shape}_{letter}"]] += amount * gain * one
    return np.clip(weight, 0, 1.9)


def mix_styles(person: Person, rng: np.random.Generator, share: float = MIXED) -> Person:
    """The person with a `share` of the expressions mixed with one that they are commonly taken for.

    Asked for an expression, people seldom show it alone: anger comes with disgust, fear with surprise. How much of the
    other one (`MIX` of the weights) belongs to the person, as the style does, and is in every picture of it.
    """
    style, spare = dict(person.style), dict(person.spare)
    for expression, others in TAKEN_FOR.items():
        other, part = others[rng.integers(len(others))], rng.uniform(*MIX)
        if rng.uniform() < share:
            for new, old in ((style, person.style), (spare, person.spare)):
                new[expression] = (1 - part) * old[expression] + part * old[other]
    return dataclasses.replace(person, style=style, spare=spare)


def draw_idle(kit: FaceKit, rng: np.random.Generator) -> np.ndarray:
    """(E,): how this person's face rests."""
    weight = np.zeros(len(kit.shape_names), "f4")
    for shape, spread in IDLE.items():
        amount = max(0.0, rng.normal(0, spread))
        for i, name in enumerate(kit.shape_names):
            if name in (shape, shape + "_L", shape + "_R"):
                weight[i] = amount * rng.uniform(0.8, 1.2)
    return weight


def frame_weights(
    kit: FaceKit, person: Person, expression: str, intensity: float, rng: np.random.Generator
) -> np.ndarray:
    """(E,): weights of one frame: style by intensity, jittered, on top of a fading resting face, and a gaze."""
    mix = rng.uniform(0, 0.35)
    peak = (1 - mix) * person.style[expression] + mix * person.spare[expression]
    weight = peak * intensity * rng.normal(1, 0.08, len(peak)) + person.idle * (1 - 0.6 * intensity * bool(peak.any()))
    weight = weight + np.abs(rng.normal(0, 0.015, len(peak)))
    return np.clip(with_gaze(kit, weight, rng), 0, 1.9).astype("f4")


def with_gaze(kit: FaceKit, weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(E,): the weights, into which a gaze is written."""
    index = {name: i for i, name in enumerate(kit.shape_names)}
    for name in ("eyeLookUp", "eyeLookDown"):
        weight[[index[name + "_L"], index[name + "_R"]]] += max(0.0, rng.normal(-0.03, 0.1))
    turn = rng.normal(0, 0.12)
    weight[
        [index["eyeLookOut_L" if turn > 0 else "eyeLookIn_L"], index["eyeLookIn_R" if turn > 0 else "eyeLookOut_R"]]
    ] += abs(turn)
    return weight


def frame_texture(kit: FaceKit, person: Person, weight: np.ndarray) -> np.ndarray:
    """(TEXTURE, TEXTURE, 3) linear: the skin with creases as deep as the expression makes them."""
    value = dict(zip(kit.shape_names, weight, strict=True))
    depth = []
    for letter in "LR":
        for _, cause in CREASES.values():
            depth.append(
                sum(
                    gain * value[f"{name}_{letter}" if f"{name}_{letter}" in value else name]
                    for name, gain in cause.items()
                )
            )
    depth = person.crease + person.crease_gain * np.clip(np.array(depth, "f4"), 0, 1.2)
    shade = np.clip(depth @ kit.creases, 0, 0.75).reshape(TEXTURE, TEXTURE, 1)
    return (person.texture * (1 - shade * np.array([0.75, 0.9, 0.95]))).astype("f4")


def normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(V, 3): area-weighted vertex normals."""
    a, b, c = vertices[triangles[:, 0]], vertices[triangles[:, 1]], vertices[triangles[:, 2]]
    flat = np.cross(b - a, c - a)
    total = np.stack(
        [sum(np.bincount(triangles[:, k], flat[:, axis], len(vertices)) for k in range(3)) for axis in range(3)], 1
    )
    return (total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9)).astype("f4")


def rotation(pan: float, tilt: float, roll: float = 0.0) -> np.ndarray:
    """(3, 3): degrees; pan > 0 turns the face to the picture's right, tilt > 0 lifts it, roll > 0 tips it clockwise."""
    p, t, r = np.radians([pan, -tilt, -roll])
    about_y = np.array([[np.cos(p), 0, np.sin(p)], [0, 1, 0], [-np.sin(p), 0, np.cos(p)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(t), -np.sin(t)], [0, np.sin(t), np.cos(t)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


def project(points: np.ndarray, *, distance: float, half: float, size: int) -> np.ndarray:
    """(N, 2) pixels: of points (N, 3) for a camera at z = `distance` that sees `half` units up at the origin."""
    scale = distance / (distance - points[:, 2]) * size / 2 / half
    return np.stack([size / 2 + points[:, 0] * scale, size / 2 - points[:, 1] * scale], 1).astype("f4")
