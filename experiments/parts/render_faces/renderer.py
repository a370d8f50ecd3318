"""Mitsuba's part: one frame of one person, lit and drawn, with the landmarks that the camera sees."""

from __future__ import annotations

import dataclasses

import numpy as np

from . import looks
from . import rendering as r
from . import scene as scenery
from .editions import EDITIONS, Edition
from .frames import Frame

DISTANCE, HALF, CENTRE, PIVOT = 60.0, 11.2, 1.4, -4.0  # camera distance, half height seen, its middle, turning axis (z)
VERTEX_COLOUR = {"type": "mesh_attribute", "name": "vertex_color"}
MIDDLE = np.array([0, CENTRE, PIVOT], "f4")


@dataclasses.dataclass(frozen=True)
class Pose:
    """How a face stands before the camera: turned (3, 3) about MIDDLE, moved (2,), grown."""

    turn: np.ndarray
    shift: np.ndarray
    grow: float

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) -> (N, 3)."""
        return (((points - MIDDLE) @ self.turn) + [self.shift[0], self.shift[1], PIVOT]) * self.grow


def draw_light(domain: str, rng: np.random.Generator) -> np.ndarray:
    """(32, 64, 3) float32 radiance of all directions (row 0 up, middle column towards +z): a sky and one key light.

    Even and soft; or (wild) coloured, hard, from any side. One map, sampled by its radiance, is far less noisy than two
    lights.
    """
    row, column = np.mgrid[0:32, 0:64]
    lift, turn = np.pi * (row + 0.5) / 32, 2 * np.pi * (column + 0.5) / 64
    way = np.stack([np.sin(turn) * np.sin(lift), np.cos(lift), -np.cos(turn) * np.sin(lift)], -1)
    if domain == "wild":
        side, up, width = rng.uniform(-1.35, 1.35), rng.uniform(-0.3, 1.0), rng.uniform(0.12, 0.45)
        key = 0.9 * rng.uniform(0.5, 1.6) * np.clip(1 + rng.normal(0, 0.22, 3), 0.35, 1.8)
        sky = rng.uniform(0.06, 0.5) * np.clip(1 + rng.normal(0, 0.2, 3), 0.4, 1.7)
    else:
        side, up, width = rng.uniform(-0.4, 0.4), rng.uniform(0.25, 0.6), 0.4
        key, sky = np.array([1.0, 0.98, 0.95]), rng.uniform(0.42, 0.55) * np.array([0.99, 1.0, 1.03])
    towards = np.array([np.sin(side) * np.cos(up), np.sin(up), np.cos(side) * np.cos(up)])
    spot = np.exp(-((np.arccos(np.clip(way @ towards, -1, 1)) / width) ** 2)) / (np.pi * width**2)
    front = looks.smooth(way[..., 2:], -0.7, 0.5)
    return (front * (0.8 + 0.4 * way[..., 1:2]) * sky * 1.2 + spot[..., None] * key).astype("f4")


class Renderer:
    """Mitsuba scenes of one face model; the topology is prepared once."""

    def __init__(self, kit: r.FaceKit, size: int, samples: int, edition: Edition = EDITIONS[1]) -> None:
        import mitsuba

        mitsuba.set_variant("scalar_rgb")
        mitsuba.set_log_level(mitsuba.LogLevel.Error)
        self.mi, self.kit, self.size, self.samples, self.edition = mitsuba, kit, size, samples, edition
        corners = np.concatenate([kit.skin.reshape(-1, 1), kit.skin_uv.reshape(-1, 2)], 1)
        unique, self.skin = np.unique(corners, axis=0, return_inverse=True)
        self.skin, self.skin_vertex = self.skin.reshape(-1, 3), unique[:, 0].astype(int)
        self.skin_uv = (unique[:, 1:] * [1, -1] + [0, 1]).astype("f4")
        self.everything = np.concatenate([kit.skin, kit.rest])

    def mesh(
        self,
        vertices: np.ndarray,
        normal: np.ndarray,
        triangles: np.ndarray,
        bsdf: dict,
        *,
        uv: np.ndarray | None = None,
        colour: np.ndarray | None = None,
    ):
        """A Mitsuba mesh with normals and either texture coordinates or colours per vertex."""
        properties = self.mi.Properties()
        properties["mesh_bsdf"] = self.mi.load_dict(bsdf)
        mesh = self.mi.Mesh(
            "part",
            len(vertices),
            len(triangles),
            has_vertex_normals=True,
            has_vertex_texcoords=uv is not None,
            props=properties,
        )
        if colour is not None:
            mesh.add_attribute("vertex_color", 3, np.ascontiguousarray(colour, "f4").ravel())
        edit = self.mi.traverse(mesh)
        edit["vertex_positions"], edit["vertex_normals"] = vertices.astype("f4").ravel(), normal.astype("f4").ravel()
        if uv is not None:
            edit["vertex_texcoords"] = uv.ravel()
        edit["faces"] = triangles.astype("u4").ravel()
        edit.update()
        return mesh

    def picture(self, shape: dict, light: np.ndarray, seed: int) -> np.ndarray:
        """(size, size, 4) float32: linear colour, premultiplied by the alpha in the last channel."""
        view = self.mi.ScalarTransform4f().look_at(origin=[0, 0, DISTANCE], target=[0, 0, 0], up=[0, 1, 0])
        scene = {
            "type": "scene",
            "integrator": {"type": "direct", "emitter_samples": 4, "bsdf_samples": 1, "hide_emitters": True},
            "light": {"type": "envmap", "bitmap": self.mi.Bitmap(light)},
            "camera": {
                "type": "perspective", "fov": float(2 * np.degrees(np.arctan(HALF / DISTANCE))),
                "to_world": view,
                "film": {
                    "type": "hdrfilm", "width": self.size, "height": self.size, "pixel_format": "rgba",
                    "rfilter": {"type": "box"},
                },
                "sampler": {"type": "multijitter", "sample_count": self.samples},
            },
            **shape,
        }  # fmt: skip
        return scenery.denoise(np.array(self.mi.render(self.mi.load_dict(scene), seed=seed), "f4"))

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) float32: where the camera sees points (N, 3)."""
        return r.project(points, distance=DISTANCE, half=HALF, size=self.size)

    @staticmethod
    def seen(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
        """(F,) bool: triangles turned to the camera; the others lie behind these, and cost half the time."""
        a, b, c = points[triangles[:, 0]], points[triangles[:, 1]], points[triangles[:, 2]]
        return (np.cross(b - a, c - a) * ([0, 0, DISTANCE] - a)).sum(1) > 0

    def __call__(
        self, person: r.Person, frame: Frame, domain: str, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """(size, size, 3) uint8 and landmarks (68, 2) float32 pixels of one frame."""
        wild = domain == "wild"
        weight = self.edition.weigh(self.kit, person, frame, rng)
        face = person.face + np.tensordot(weight, self.kit.shapes, 1)
        face[r.TEETH : r.EYES] += [0, 0, 0.02]
        normal = r.normals(face, self.everything)
        parts = self._parts(person, face, normal, domain, rng)
        pose = self._pose(face, frame, domain, rng)
        face, normal = pose(face), normal @ pose.turn
        shape = self._head(person, face, normal, weight) | self._things(parts, pose)
        light = draw_light(domain, rng)
        rgba = self.picture(shape, light, int(rng.integers(2**31)))
        behind = scenery.background(self.size, rng, None if wild else person.wall)
        linear = rgba[..., :3] + (1 - np.clip(rgba[..., 3:], 0, 1)) * behind
        return scenery.camera(linear, rgba[..., 3], rng, harsh=wild), self.pixels(face[self.kit.landmarks])

    def _parts(
        self, person: r.Person, face: np.ndarray, normal: np.ndarray, domain: str, rng: np.random.Generator
    ) -> list[scenery.Part]:
        """Hair, glasses, and (wild) now and then something in front of the face."""
        parts = scenery.hair_parts(self.kit, person, face, normal)
        if person.glasses:
            parts += scenery.glasses_parts(self.kit, face, person.glasses)
        if domain == "wild" and rng.uniform() < 0.18:
            parts += scenery.occluder_parts(self.kit, face, rng)
        return parts

    def _pose(self, face: np.ndarray, frame: Frame, domain: str, rng: np.random.Generator) -> Pose:
        """The frame's pose, shaken, with the whole face in the picture."""
        turn = r.rotation(frame.pan, frame.tilt, frame.roll).T.astype("f4")
        shift = rng.normal(0, 0.8, 2) if domain == "wild" else rng.normal(0, 0.15, 2)
        grow = rng.uniform(0.85, 1.12) if domain == "wild" else 1.0
        marks = face[self.kit.landmarks]
        if domain != "lab":  # keep a face that turns far to the side in the picture
            centre = marks.mean(0) - MIDDLE
            shift = shift + 0.8 * (centre - centre @ turn)[:2]
        pose = Pose(turn, shift, grow)
        lowest = self.pixels(pose(marks))[:, 1].max() - (self.size - 0.5)
        if domain != "wild" and lowest > 0:  # a long chin stays in the picture
            pose = Pose(turn, shift + np.array([0, (lowest + 3) * 2 * HALF / self.size]), grow)
        return pose

    def _head(self, person: r.Person, face: np.ndarray, normal: np.ndarray, weight: np.ndarray) -> dict:
        """The meshes of the skin, and of eyes, teeth and what else has a colour per vertex."""
        kit = self.kit
        gloss = {"type": "principled", "roughness": 0.62 - 0.3 * person.skin_gloss, "specular": 0.35}
        texture = {"type": "bitmap", "bitmap": self.mi.Bitmap(r.frame_texture(kit, person, weight)), "raw": True}
        marks, rest = face[kit.landmarks], kit.rest[self.seen(face, kit.rest)]
        if np.linalg.norm(marks[62] - marks[66]) < 0.12:  # a closed mouth hides its inside
            rest = rest[
                (rest[:, 0] < r.FACE) | ((rest[:, 0] >= r.MOUTH) & (rest[:, 0] < r.SOCKET)) | (rest[:, 0] >= r.TEETH)
            ]
        return {
            "skin": self.mesh(
                face[self.skin_vertex],
                normal[self.skin_vertex],
                self.skin[self.seen(face, kit.skin)],
                {**gloss, "base_color": texture},
                uv=self.skin_uv,
            ),
            "rest": self.mesh(
                face,
                normal,
                rest,
                {"type": "principled", "roughness": 0.35, "base_color": VERTEX_COLOUR},
                colour=person.colour,
            ),
        }

    def _things(self, parts: list[scenery.Part], pose: Pose) -> dict:
        """One mesh of all that stands around the face; none where there is nothing."""
        if not parts:
            return {}
        start = np.cumsum([0, *(len(p[0]) for p in parts)])
        points = pose(np.concatenate([p[0] for p in parts]))
        triangles = np.concatenate([p[1] + s for p, s in zip(parts, start, strict=False)])
        colour = np.concatenate([np.broadcast_to(p[2], p[0].shape) for p in parts])
        coat = {"type": "twosided", "bsdf": {"type": "principled", "roughness": 0.55, "base_color": VERTEX_COLOUR}}
        return {"things": self.mesh(points, r.normals(points, triangles), triangles, coat, colour=colour)}
