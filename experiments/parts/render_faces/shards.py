"""One shard a subject: rendered in processes, written whole, put together to the HDF5 file."""

from __future__ import annotations

import atexit
import concurrent.futures
import json
import multiprocessing
import os
import pathlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import h5py
import numpy as np

from fer_tf import files

from . import rendering as r
from . import scene as scenery
from .editions import EDITIONS, Edition
from .frames import DOMAINS
from .renderer import Renderer


def render_subject(
    render: Callable,
    kit: r.FaceKit,
    domain: str,
    number: int,
    *,
    seed: int,
    quality: int,
    edition: Edition = EDITIONS[1],
) -> dict[str, np.ndarray]:
    """One shard: the arrays of every frame of a subject. `render` is a Renderer, or anything called like one."""
    key = edition.key(seed, domain, number)
    person = edition.draw(kit, domain, key)
    frames = edition.plan(domain, person, np.random.default_rng([*key, 1]))
    pictures, marks = [], []
    for i, frame in enumerate(frames):
        picture, mark = render(person, frame, frame.setting or domain, np.random.default_rng([*key, 2, i]))
        pictures.append(np.frombuffer(scenery.jpeg(picture, quality), np.uint8))
        marks.append(mark)
    out = {name: np.array([getattr(f, name) for f in frames], "f4") for name in ("intensity", "pan", "tilt")}
    out |= {name: np.array([getattr(f, name) for f in frames], "i4") for name in ("sequence", "frame")}
    out["setting"] = np.array([DOMAINS.index(f.setting or domain) for f in frames], "u1")
    out["expression"] = np.array([r.EXPRESSIONS.index(f.expression) for f in frames], "u1")
    out["landmarks"] = np.array(marks, "f4")
    out["length"], out["bytes"] = np.array([len(p) for p in pictures], "i8"), np.concatenate(pictures)
    return out


def shard_path(work: pathlib.Path, domain: str, number: int) -> pathlib.Path:
    """Where a finished subject lies."""
    return work / f"{domain}{number:03d}.npz"


def write_shard(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes a shard; one that exists is whole."""
    with files.replacing(path) as part:
        np.savez(part, **arrays)


def check_flags(work: pathlib.Path, wanted: dict) -> None:
    """Remembers the flags of a work folder, or refuses those that differ from the shards already there.

    Raises:
      ValueError: naming the flag, both values and the way out.
    """
    work.mkdir(parents=True, exist_ok=True)
    file = work / "flags.json"
    if not file.exists():
        files.write_json(file, wanted)
    first = {"edition": 1}  # where nobody says
    earlier = first | json.loads(file.read_text())
    for name, value in (first | wanted).items():
        if earlier.get(name) != value:
            raise ValueError(
                f"--{name}={value} differs from {earlier.get(name)} of the shards in {work}; "
                "use that value, another --out, or delete the folder"
            )


def assemble(
    out: pathlib.Path,
    work: pathlib.Path,
    people: list[tuple[str, int]],
    attributes: Mapping[str, Any],
    edition: Edition = EDITIONS[1],
) -> int:
    """Shards -> one HDF5 file; subjects are numbered through. Gives the number of frames."""
    shards = [dict(np.load(shard_path(work, *who))) for who in people]
    columns = {
        n: np.concatenate([s[n] for s in shards])
        for n in ("expression", "intensity", "pan", "tilt", "frame", "sequence", "landmarks")
    }
    frames = [len(s["frame"]) for s in shards]
    columns["subject"] = np.repeat(np.arange(len(shards), dtype="i4"), frames)
    columns["domain"] = np.repeat(np.array([edition.domains.index(d) for d, _ in people], "u1"), frames)
    if edition is not EDITIONS[1]:
        columns["number"] = np.repeat(np.array([number for _, number in people], "i4"), frames)
        columns["setting"] = np.concatenate([s["setting"] for s in shards])
        columns["landmarks"] = np.round(columns["landmarks"] * 64) / 64  # what is left packs to half
    pictures = [p for s in shards for p in np.split(s["bytes"], np.cumsum(s["length"])[:-1])]
    with files.replacing(out) as part, h5py.File(part, "w") as file:
        rows = file.create_dataset("image", (len(pictures),), dtype=h5py.vlen_dtype(np.uint8))
        for i, picture in enumerate(pictures):
            rows[i] = picture
        for name, column in columns.items():
            file.create_dataset(name, data=column, compression="gzip", shuffle=True)
        file.attrs.update(attributes, expressions=list(r.EXPRESSIONS), domains=list(edition.domains))
    return len(pictures)


_worker: dict[str, Any] = {}
"""Of a process that `start_worker` prepared: the face model and what draws it."""


def start_worker(facekit: str, size: int, samples: int, edition: int, threads: int) -> None:
    """Loads the model and Mitsuba once in a process, which ends when the one that started it is killed."""
    import drjit

    atexit.register(os._exit, 0)  # its work is written; at Python's own end Mitsuba and TensorFlow abort each other
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()

    drjit.set_thread_count(threads)
    kit = r.load_facekit(facekit)
    _worker.update(kit=kit, render=Renderer(kit, size, samples, EDITIONS[edition]))


def run_worker(work: str, domain: str, number: int, seed: int, quality: int) -> str:
    """Renders a subject in a process that `start_worker` prepared."""
    render = _worker["render"]
    arrays = render_subject(render, _worker["kit"], domain, number, seed=seed, quality=quality, edition=render.edition)
    write_shard(shard_path(pathlib.Path(work), domain, number), arrays)
    return f"{domain}{number:03d}"


def missing(work: pathlib.Path, people: list[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """The subjects that have no shard yet."""
    return (who for who in people if not shard_path(work, *who).exists())


def render_all(
    work: pathlib.Path, people: list[tuple[str, int]], facekit: pathlib.Path, settings: Any, quality: int
) -> Iterator[tuple[int, str]]:
    """Renders the missing shards in `settings.jobs` processes; (subjects that are done, the one that is new)."""
    todo, threads = list(missing(work, people)), max(1, (os.cpu_count() or 1) // settings.jobs)
    arguments = (str(facekit), settings.size, settings.samples, settings.edition, threads)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for the processes started now
    with concurrent.futures.ProcessPoolExecutor(
        settings.jobs, multiprocessing.get_context("spawn"), start_worker, arguments
    ) as pool:
        jobs = [pool.submit(run_worker, str(work), *who, settings.seed, quality) for who in todo]
        for done, job in enumerate(concurrent.futures.as_completed(jobs), len(people) - len(todo) + 1):
            yield done, job.result()
