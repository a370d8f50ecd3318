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

import hashlib
import os
import pathlib

from .parts.render_faces import shards
from .parts.render_faces.frames import DOMAINS
from .run import command_line, settings
from .run.settings import setting

COUNTS = {"lab": 100, "posed": 20, "wild": 80}
"""Subjects of each part."""


@settings.command()
class Settings(settings.Base):
    """Who is rendered, and how finely."""

    facekit: str | None = setting(None, "ict_facekit.npz or the FaceXModel folder; needed.", place="path")
    out: str | None = setting(None, "HDF5 file to write; needed.", place="path")
    seed: int = setting(7, "Seed of everything.", low=0)
    domains: tuple[str, ...] = setting(DOMAINS, "Parts to render.")
    subjects: tuple[str, ...] = setting((), "Subjects of each part in --domains (default: 100 lab, 20 posed, 80 wild).")
    size: int = setting(128, "Pixels a side.", low=1)
    samples: int = setting(4, "Samples a pixel.", low=1)
    quality: int = setting(82, "JPEG quality.", low=1, high=100)
    jobs: int = setting(os.cpu_count() or 1, "Processes, one thread each.", low=1)


def people_of(settings: Settings) -> list[tuple[str, int]]:
    """(domain, number) of each subject.

    Raises:
      ValueError: an unknown domain, or other than one number of subjects for each.
    """
    domains, subjects = settings.domains, settings.subjects
    fits = not subjects or (len(subjects) == len(domains) and all(n.strip().isdigit() for n in subjects))
    if not fits or not set(domains) <= set(DOMAINS):
        raise ValueError(
            f"--domains={','.join(domains)} must be among {', '.join(DOMAINS)}; --subjects={','.join(subjects)} gives "
            "one number for each of them."
        )
    counts = [int(n) for n in subjects] or [COUNTS[d] for d in domains]
    return [(d, i) for d, n in zip(domains, counts, strict=True) for i in range(n)]


def fixed(settings: Settings, source: pathlib.Path) -> dict[str, int | str]:
    """{name: value} of what every shard of a work folder is made with; of the face model its hash."""
    import mitsuba

    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    numbers = {name: getattr(settings, name) for name in ("seed", "size", "samples", "quality")}
    return {**numbers, "facekit": digest, "mitsuba": mitsuba.__version__}


def run(settings: Settings) -> pathlib.Path:
    """Renders what is missing, puts the file together, and gives it."""
    if not settings.facekit or not settings.out:
        raise ValueError("Give --facekit=<ict_facekit.npz or the FaceXModel folder> and --out=<HDF5 file>.")
    people, out, model = people_of(settings), pathlib.Path(settings.out), pathlib.Path(settings.facekit)
    source = model / "generic_neutral_mesh.obj" if model.is_dir() else model
    if not source.exists():
        raise FileNotFoundError(
            f"--facekit: {source} is missing; pass ict_facekit.npz or ICT-FaceKit's FaceXModel folder"
        )
    wanted, work = fixed(settings, source), out.with_name(out.name + ".work")
    shards.check_flags(work, wanted)
    for done, subject in shards.render_all(work, people, model, settings):
        print(f"\r{done}/{len(people)} subjects ({subject})", end="", flush=True)
    command = "python -m experiments.render_faces " + " ".join(
        f"--{name}={getattr(settings, name)}" for name in ("seed", "size", "samples", "quality")
    )
    licence = "made with ICT-FaceKit (MIT); see rendered.LICENSE"
    frames = shards.assemble(out, work, people, {**wanted, "command": command, "licence": licence})
    print(f"\n{out}: {frames} frames, {out.stat().st_size / 1e6:.1f} MB")
    return out


if __name__ == "__main__":
    command_line.main(Settings, run)
