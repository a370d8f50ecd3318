"""Renders the expression data set that ships with the package: people who do not exist, with Mitsuba 3.

  pip install mitsuba
  python -m experiments.render_faces --facekit=ict_facekit.npz --out=fer_tf/datasets/rendered.h5

`--facekit` is the packed ICT-FaceKit model or its FaceXModel folder of .obj files. A frame depends on (seed, domain,
subject, frame) alone, whatever the number of processes. One shard per subject goes into `<out>.work/` (temporary name,
then renamed), so the same command goes on where it was stopped (another --seed, --size, --samples, --quality, --facekit
or Mitsuba is refused; more --subjects are welcome); then the shards become one HDF5 file. Two CPU cores: about 5 frames
a second at 0.27 core-seconds each, 6,080 frames in some 20 minutes.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import json
import multiprocessing
import os
import pathlib
import sys
import threading
from collections.abc import Callable, Iterator

import h5py
import numpy as np
from absl import app, flags

from .parts.render_faces import looks
from .parts.render_faces import rendering as r
from .parts.render_faces import scene as scenery

DOMAINS = ("lab", "posed", "wild")
COUNTS = {"lab": 100, "posed": 20, "wild": 80}
PANS, TILTS = (-45, -25, 0, 25, 45), (-25, 0, 25)
DISTANCE, HALF, CENTRE, PIVOT = 60.0, 11.2, 1.4, -4.0  # camera distance, half height seen, its middle, turning axis (z)


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

    def __init__(self, kit: r.FaceKit, size: int, samples: int) -> None:
        import mitsuba

        mitsuba.set_variant("scalar_rgb")
        mitsuba.set_log_level(mitsuba.LogLevel.Error)
        self.mi, self.kit, self.size, self.samples = mitsuba, kit, size, samples
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
        kit = self.kit
        weight = r.frame_weights(kit, person, frame.expression, frame.intensity, rng)
        face = person.face + np.tensordot(weight, kit.shapes, 1)
        face[r.TEETH : r.EYES] += [0, 0, 0.02]
        normal = r.normals(face, self.everything)
        parts = scenery.hair_parts(kit, person, face, normal)
        if person.glasses:
            parts += scenery.glasses_parts(kit, face, person.glasses)
        if domain == "wild" and rng.uniform() < 0.18:
            parts += scenery.occluder_parts(kit, face, rng)
        turn = r.rotation(frame.pan, frame.tilt, frame.roll).T.astype("f4")
        shift = rng.normal(0, 0.8, 2) if domain == "wild" else rng.normal(0, 0.15, 2)
        grow = rng.uniform(0.85, 1.12) if domain == "wild" else 1.0

        middle = np.array([0, CENTRE, PIVOT], "f4")
        if domain != "lab":  # keep a face that turns far to the side in the picture
            centre = face[kit.landmarks].mean(0) - middle
            shift = shift + 0.8 * (centre - centre @ turn)[:2]

        def place(points: np.ndarray) -> np.ndarray:
            return (((points - middle) @ turn) + [shift[0], shift[1], PIVOT]) * grow

        lowest = self.pixels(place(face[kit.landmarks]))[:, 1].max() - (self.size - 0.5)
        if domain != "wild" and lowest > 0:  # a long chin stays in the picture
            shift = shift + np.array([0, (lowest + 3) * 2 * HALF / self.size])
        face, normal = place(face), normal @ turn
        gloss = {"type": "principled", "roughness": 0.62 - 0.3 * person.skin_gloss, "specular": 0.35}
        texture = {"type": "bitmap", "bitmap": self.mi.Bitmap(r.frame_texture(kit, person, weight)), "raw": True}
        vertex = {"type": "mesh_attribute", "name": "vertex_color"}
        marks = face[kit.landmarks]
        rest = kit.rest[self.seen(face, kit.rest)]
        if np.linalg.norm(marks[62] - marks[66]) < 0.12:  # a closed mouth hides its inside
            rest = rest[
                (rest[:, 0] < r.FACE) | ((rest[:, 0] >= r.MOUTH) & (rest[:, 0] < r.SOCKET)) | (rest[:, 0] >= r.TEETH)
            ]
        shape = {
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
                {"type": "principled", "roughness": 0.35, "base_color": vertex},
                colour=person.colour,
            ),
        }
        if parts:
            start = np.cumsum([0, *(len(p[0]) for p in parts)])
            points = place(np.concatenate([p[0] for p in parts]))
            triangles = np.concatenate([p[1] + s for p, s in zip(parts, start, strict=False)])
            colour = np.concatenate([np.broadcast_to(p[2], p[0].shape) for p in parts])
            coat = {"type": "twosided", "bsdf": {"type": "principled", "roughness": 0.55, "base_color": vertex}}
            shape["things"] = self.mesh(points, r.normals(points, triangles), triangles, coat, colour=colour)
        light = draw_light(domain, rng)
        rgba = self.picture(shape, light, int(rng.integers(2**31)))
        behind = scenery.background(self.size, rng, None if domain == "wild" else person.wall)
        linear = rgba[..., :3] + (1 - np.clip(rgba[..., 3:], 0, 1)) * behind
        return scenery.camera(linear, rgba[..., 3], rng, harsh=domain == "wild"), self.pixels(marks)


def render_subject(
    render: Callable, kit: r.FaceKit, domain: str, number: int, *, seed: int, quality: int
) -> dict[str, np.ndarray]:
    """One shard: the arrays of every frame of a subject. `render` is a Renderer, or anything called like one."""
    key = [seed, DOMAINS.index(domain), number]
    person = looks.draw_person(kit, np.random.default_rng(key))
    if domain == "lab":
        person = r.mix_styles(person, np.random.default_rng([*key, 3]))
    frames = plan(domain, person.strength, np.random.default_rng([*key, 1]))
    pictures, marks = [], []
    for i, frame in enumerate(frames):
        picture, mark = render(person, frame, domain, np.random.default_rng([*key, 2, i]))
        pictures.append(np.frombuffer(scenery.jpeg(picture, quality), np.uint8))
        marks.append(mark)
    out = {name: np.array([getattr(f, name) for f in frames], "f4") for name in ("intensity", "pan", "tilt")}
    out |= {name: np.array([getattr(f, name) for f in frames], "i4") for name in ("sequence", "frame")}
    out["expression"] = np.array([r.EXPRESSIONS.index(f.expression) for f in frames], "u1")
    out["landmarks"] = np.array(marks, "f4")
    out["length"], out["bytes"] = np.array([len(p) for p in pictures], "i8"), np.concatenate(pictures)
    return out


def shard_path(work: pathlib.Path, domain: str, number: int) -> pathlib.Path:
    """Where a finished subject lies."""
    return work / f"{domain}{number:03d}.npz"


def write_shard(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    """Written beside `path`, then renamed: a shard that exists is whole."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        np.savez(file, **arrays)
    os.replace(temporary, path)


def check_flags(work: pathlib.Path, wanted: dict) -> None:
    """Remembers the flags of a work folder, or refuses those that differ from the shards already there.

    Raises:
      ValueError: naming the flag, both values and the way out.
    """
    work.mkdir(parents=True, exist_ok=True)
    file = work / "flags.json"
    if not file.exists():
        temporary = file.with_suffix(".tmp")
        temporary.write_text(json.dumps(wanted, indent=1))
        os.replace(temporary, file)
    earlier = json.loads(file.read_text())
    for name, value in wanted.items():
        if earlier.get(name) != value:
            raise ValueError(
                f"--{name}={value} differs from {earlier.get(name)} of the shards in {work}; "
                "use that value, another --out, or delete the folder"
            )


def assemble(out: pathlib.Path, work: pathlib.Path, people: list[tuple[str, int]], attributes: dict) -> int:
    """Shards -> one HDF5 file (temporary name, then renamed); subjects are numbered through. Returns the frames."""
    shards = [dict(np.load(shard_path(work, *who))) for who in people]
    columns = {
        n: np.concatenate([s[n] for s in shards])
        for n in ("expression", "intensity", "pan", "tilt", "frame", "sequence", "landmarks")
    }
    columns["subject"] = np.repeat(np.arange(len(shards), dtype="i4"), [len(s["frame"]) for s in shards])
    columns["domain"] = np.repeat(
        np.array([DOMAINS.index(d) for d, _ in people], "u1"), [len(s["frame"]) for s in shards]
    )
    pictures = [p for s in shards for p in np.split(s["bytes"], np.cumsum(s["length"])[:-1])]
    temporary = out.with_name(out.name + ".tmp")
    with h5py.File(temporary, "w") as file:
        rows = file.create_dataset("image", (len(pictures),), dtype=h5py.vlen_dtype(np.uint8))
        for i, picture in enumerate(pictures):
            rows[i] = picture
        for name, column in columns.items():
            file.create_dataset(name, data=column, compression="gzip", shuffle=True)
        file.attrs.update(attributes, expressions=list(r.EXPRESSIONS), domains=list(DOMAINS))
    os.replace(temporary, out)
    return len(pictures)


_worker: dict = {}


def start_worker(facekit: str, size: int, samples: int, threads: int) -> None:
    """Loads the model and Mitsuba once in a process, which ends when the one that started it is killed."""
    import drjit

    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()

    drjit.set_thread_count(threads)
    kit = r.load_facekit(facekit)
    _worker.update(kit=kit, render=Renderer(kit, size, samples))


def run_worker(work: str, domain: str, number: int, seed: int, quality: int) -> str:
    """Renders a subject in a process that `start_worker` prepared."""
    arrays = render_subject(_worker["render"], _worker["kit"], domain, number, seed=seed, quality=quality)
    write_shard(shard_path(pathlib.Path(work), domain, number), arrays)
    return f"{domain}{number:03d}"


def missing(work: pathlib.Path, people: list[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """The subjects that have no shard yet."""
    return (who for who in people if not shard_path(work, *who).exists())


FLAGS = flags.FLAGS


def define_flags() -> None:
    """The flags of this tool."""
    flags.DEFINE_string("facekit", None, "ict_facekit.npz or the FaceXModel folder", required=True)
    flags.DEFINE_string("out", None, "HDF5 file to write", required=True)
    flags.DEFINE_integer("seed", 7, "seed of everything")
    flags.DEFINE_list("domains", list(DOMAINS), "parts to render")
    flags.DEFINE_list("subjects", [], "subjects of each part in --domains (default: 100 lab, 20 posed, 80 wild)")
    flags.DEFINE_integer("size", 128, "pixels a side")
    flags.DEFINE_integer("samples", 4, "samples a pixel")
    flags.DEFINE_integer("quality", 82, "JPEG quality")
    flags.DEFINE_integer("jobs", os.cpu_count() or 1, "processes, one thread each")


def main(_: list[str]) -> None:
    unknown = [d for d in FLAGS.domains if d not in DOMAINS]
    if unknown or FLAGS.subjects and len(FLAGS.subjects) != len(FLAGS.domains):
        raise app.UsageError(
            f"--domains={FLAGS.domains} must be among {', '.join(DOMAINS)}; "
            f"--subjects={FLAGS.subjects} gives one number for each of them"
        )
    counts = [int(n) for n in FLAGS.subjects] or [COUNTS[d] for d in FLAGS.domains]
    people = [(d, i) for d, n in zip(FLAGS.domains, counts, strict=True) for i in range(n)]
    out, model = pathlib.Path(FLAGS.out), pathlib.Path(FLAGS.facekit)
    work = out.with_name(out.name + ".work")
    source = model / "generic_neutral_mesh.obj" if model.is_dir() else model
    if not source.exists():
        raise app.UsageError(f"--facekit: {source} is missing; pass ict_facekit.npz or ICT-FaceKit's FaceXModel folder")
    import mitsuba

    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    wanted = {
        "seed": FLAGS.seed,
        "size": FLAGS.size,
        "samples": FLAGS.samples,
        "quality": FLAGS.quality,
        "facekit": digest,
        "mitsuba": mitsuba.__version__,
    }
    try:
        check_flags(work, wanted)
    except ValueError as error:
        sys.exit(str(error))
    todo, threads = list(missing(work, people)), max(1, (os.cpu_count() or 1) // FLAGS.jobs)
    arguments = (str(model), FLAGS.size, FLAGS.samples, threads)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for the processes started now
    with concurrent.futures.ProcessPoolExecutor(
        FLAGS.jobs, multiprocessing.get_context("spawn"), start_worker, arguments
    ) as pool:
        jobs = [pool.submit(run_worker, str(work), *who, FLAGS.seed, FLAGS.quality) for who in todo]
        for done, job in enumerate(concurrent.futures.as_completed(jobs), len(people) - len(todo) + 1):
            print(f"\r{done}/{len(people)} subjects ({job.result()})", end="", flush=True)
    command = "python -m experiments.render_faces " + " ".join(
        f"--{n}={getattr(FLAGS, n)}" for n in ("seed", "size", "samples", "quality")
    )
    licence = "made with ICT-FaceKit (MIT); see rendered.LICENSE"
    frames = assemble(out, work, people, {**wanted, "command": command, "licence": licence})
    print(f"\n{out}: {frames} frames, {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    define_flags()
    app.run(main)
