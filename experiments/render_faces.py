"""Renders the expression data set that ships with the package: people who do not exist, with Mitsuba 3.

  pip install mitsuba
  python -m experiments.render_faces --facekit=ict_facekit.npz --out=fer_tf/datasets/rendered.h5
  python -m experiments.render_faces --edition=2 --facekit=ict_facekit.npz --out=rendered2.h5
  python -m experiments.render_faces --edition=2 --domains=judge --facekit=ict_facekit.npz --out=rendered2_judge.h5

`--facekit` is the packed ICT-FaceKit model or its FaceXModel folder of .obj files. A frame depends on (edition, seed,
domain, subject, frame) alone, whatever the number of processes. One shard per subject goes into `--work` (temporary
name, then renamed), so the same command goes on where it was stopped (another --edition, --seed, --size, --samples,
--quality, --facekit or Mitsuba is refused; more --subjects are welcome); then the shards become one HDF5 file.

One frame takes 0.27 seconds of a CPU core: 6,080 frames of the first edition, 21,600 of the second (`rendered.py` and
`rendered2.py` in fer_tf/datasets say whose), 5,600 of the second's judge. What ships of the second is

  python -m experiments.render_faces --edition=2 --facekit=ict_facekit.npz --out=fer_tf/datasets/rendered2.h5 \\
      --domains=lab,wild --subjects=50,25 --work=rendered2.h5.work
"""

from __future__ import annotations

import hashlib
import os
import pathlib
from importlib.metadata import PackageNotFoundError, version

from .parts.render_faces import shards
from .parts.render_faces.editions import EDITIONS, JUDGE
from .run import command_line, settings
from .run.settings import setting

QUALITY = {1: 82, 2: 72}
"""JPEG quality of each edition."""


@settings.command()
class Settings(settings.Base):
    """Who is rendered, and how finely."""

    facekit: str | None = setting(None, "ict_facekit.npz or the FaceXModel folder; needed.", place="path")
    out: str | None = setting(None, "HDF5 file to write; needed.", place="path")
    edition: int = setting(1, "1, or 2: people in whom identity matters.", low=1, high=max(EDITIONS))
    seed: int = setting(7, "Seed of everything.", low=0)
    domains: tuple[str, ...] = setting((), "Parts to render (default: lab,posed,wild).")
    subjects: tuple[str, ...] = setting((), "Subjects of each part in --domains (default: all that the edition has).")
    size: int = setting(128, "Pixels a side.", low=1)
    samples: int = setting(4, "Samples a pixel.", low=1)
    quality: int | None = setting(None, "JPEG quality; 82 of the first edition, 72 of the second.", low=1, high=100)
    jobs: int = setting(os.cpu_count() or 1, "Processes, one thread each.", low=1)
    work: str | None = setting(None, "Folder of the shards; <out>.work when left out.", place="path")


def people_of(settings: Settings) -> list[tuple[str, int]]:
    """(domain, number) of each subject.

    Raises:
      ValueError: an unknown domain, the judge's people beside others, or other than one number of subjects for each.
    """
    known, subjects = EDITIONS[settings.edition].subjects, settings.subjects
    domains = settings.domains or tuple(d for d in known if d != JUDGE)
    fits = not subjects or (len(subjects) == len(domains) and all(n.strip().isdigit() for n in subjects))
    if not fits or not set(domains) <= set(known):
        raise ValueError(
            f"--domains={','.join(domains)} must be among {', '.join(known)}; --subjects={','.join(subjects)} gives "
            "one number for each of them."
        )
    if JUDGE in domains and len(domains) > 1:
        raise ValueError(f"--domains={','.join(domains)}: {JUDGE} is rendered into a file of its own.")
    counts = [int(n) for n in subjects] or [known[d] for d in domains]
    return [(d, i) for d, n in zip(domains, counts, strict=True) for i in range(n)]


def fixed(settings: Settings, source: pathlib.Path) -> dict[str, int | str]:
    """{name: value} of what every shard of a work folder is made with; of the face model its hash.

    Mitsuba is not imported here: beside TensorFlow it aborts its process as that ends. Processes of its own render.

    Raises:
      ModuleNotFoundError: Mitsuba is not installed.
    """
    try:
        mitsuba = version("mitsuba")
    except PackageNotFoundError:
        raise ModuleNotFoundError('Mitsuba renders the faces: pip install "fer-tf[render]" brings it.') from None
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    numbers = {name: getattr(settings, name) for name in ("seed", "size", "samples")}
    numbers["quality"] = settings.quality or QUALITY[settings.edition]
    later = {"edition": settings.edition} if settings.edition > 1 else {}
    return {**numbers, **later, "facekit": digest, "mitsuba": mitsuba}


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
    wanted, edition = fixed(settings, source), EDITIONS[settings.edition]
    work = pathlib.Path(settings.work) if settings.work else out.with_name(out.name + ".work")
    shards.check_flags(work, wanted)
    for done, subject in shards.render_all(work, people, model, settings, int(wanted["quality"])):
        print(f"\r{done}/{len(people)} subjects ({subject})", end="", flush=True)
    made = [name for name in ("edition", "seed", "size", "samples", "quality") if name in wanted]
    command = "python -m experiments.render_faces " + " ".join(f"--{name}={wanted[name]}" for name in made)
    licence = "made with ICT-FaceKit (MIT); see rendered.LICENSE"
    frames = shards.assemble(out, work, people, {**wanted, "command": command, "licence": licence}, edition)
    print(f"\n{out}: {frames} frames, {out.stat().st_size / 1e6:.1f} MB")
    return out


if __name__ == "__main__":
    command_line.main(Settings, run)
