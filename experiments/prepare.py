"""Finds and aligns every face of a data set once, into one HDF5 file that all experiments read.

    python -m experiments.prepare --list          # the data sets, their licences, the papers that use them
    python -m experiments.prepare --dataset=ck_plus --data_dir=CK+ --align=ed2l --out=ck_plus_ed2l.h5
    python -m experiments.ed2l --dataset=prepared --data_dir=ck_plus_ed2l.h5 --protocol=ck_plus_7_10fold

Beside the file it writes its name with .html: a report with counts, sample crops, mean faces, duplicates, the folds of
the data set's protocols, and the pictures in which no face was found; those are listed in ..._undetected.csv as well.
Give their boxes (--boxes=boxes.csv with path,left,top,right,bottom; pixels of the upright picture) and the same command
again: what was found before is not searched for again. ..._<protocol>_<order>.json are fold manifests (--manifest).

A killed run goes on where it stood. A picture that cannot be read is named and left out, and the exit code is 1.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from fer_tf import archives, cascade, catalogue, faces, locks
from fer_tf.records import Record

from .parts.prepare import report, work
from .run import command_line, settings
from .run.settings import setting


@settings.command()
class Settings(settings.Base):
    """Which data set is prepared, and how."""

    list_: bool = setting(False, "Print the data sets as a table, and nothing else.")
    dataset: str | None = setting(None, "Which data set.", choices=[n for n in catalogue.names() if n != "prepared"])
    data_dir: str | None = setting(None, "Its folder, as its owner ships it.", place="path")
    options: tuple[str, ...] = setting((), settings.OPTIONS)
    labels_: tuple[str, ...] = setting((), settings.LABELS)
    align: str | None = setting(None, "The paper whose frame the faces get.", choices=faces.TEMPLATES)
    out: str | None = setting(None, "The HDF5 file; runs/prepared/<dataset>_<align>.h5 when left out.", place="path")
    channels: str = setting("auto", "1 grey, 3 RGB; auto: as the paper has it.", choices=("auto", "1", "3"))
    detector: str = setting("dlib", "What finds the faces; mtcnn is an extra.", choices=faces.DETECTORS)
    boxes: str | None = setting(
        None, "CSV file path,left,top,right,bottom: faces that are cut by these boxes.", place="path"
    )
    unpack: str | None = setting(
        None, "Unpack the archives in --data_dir into this folder first, and read that.", place="path"
    )
    workers: int = setting(0, "Threads; 0: one a core.", low=0)


class Listed(NamedTuple):
    """The records of the data set, the folder that they were read from, and the options by which."""

    records: list[Record]
    root: Path
    options: dict[str, Any]


def read(settings: Settings) -> Listed:
    """The data set, unpacked where --unpack says so.

    Raises:
      ValueError: no data set or frame is named, it has no pictures, or it lies in archives.
      FileNotFoundError: it is not there; the message shows what is expected.
      ModuleNotFoundError: --detector=mtcnn, which is not installed.
    """
    if not settings.dataset or not settings.align:
        raise ValueError("Give --dataset=, --data_dir= and --align=; --list shows the data sets.")
    options, place = catalogue.options(settings.dataset, settings.options), settings.data_dir
    if settings.unpack:
        place = str(archives.unpack_all(Path(settings.data_dir or "."), Path(settings.unpack)))
    listed = catalogue.load(settings.dataset, place, options, settings.labels_)
    if not listed:
        raise ValueError(f"--dataset={settings.dataset} --data_dir={place} has no pictures.")
    named: dict[str, Any] = {"labels": list(settings.labels_)} if settings.labels_ else {}
    if settings.detector == "mtcnn":
        cascade.need()
        named["detector"] = settings.detector
        listed = [replace(r, info={**r.info, "detector": settings.detector}) for r in listed]
    return Listed(listed, Path(place or "."), {**options, **named})


def metadata(settings: Settings, listed: Listed) -> dict[str, Any]:
    """What the file says of itself: data set, template, options, frame rule, number of pictures."""
    channels = (3 if settings.align == "cycle_at" else 1) if settings.channels == "auto" else int(settings.channels)
    return {
        "dataset": settings.dataset,
        "template": settings.align,
        "options": {**listed.options, "channels": channels},
        "frames": catalogue.frame_rule(settings.dataset, settings.data_dir, listed.options),
        "records": len(listed.records),
    }


def tell(missed: Sequence[work.Missed], undetected: Path) -> int:
    """Counts, on stderr, the pictures without a face; gives the exit code, 1 where one could not be read."""
    if missed:
        print(f"{len(missed)} pictures gave no face; they are listed in {undetected}.", file=sys.stderr)
    damaged = [m.reason for m in missed if m.status == work.UNREADABLE]
    if damaged:
        print(f"error: {len(damaged)} pictures cannot be read, such as: {damaged[0]}", file=sys.stderr)
    return 1 if damaged else 0


def run(settings: Settings) -> int:
    """Reads, cuts, writes, reports; gives the exit code."""
    if settings.list_:
        print(catalogue.table())
        return 0
    listed = read(settings)
    out = Path(settings.out or f"runs/prepared/{settings.dataset}_{settings.align}.h5")
    out.parent.mkdir(parents=True, exist_ok=True)
    names = [work.name_of(record, listed.root) for record in listed.records]
    boxes = work.read_boxes(settings.boxes, names)
    with locks.alone(out, "--out"):
        job = work.Work(listed.records, names, metadata(settings, listed), out, boxes)
        job.start()
        job.run(settings.workers)
        missed = job.finish()
    undetected = out.with_name(f"{out.stem}_undetected.csv")
    report.write_missed(undetected, missed)
    if len(missed) == len(names):
        raise ValueError(f"None of {len(missed)} pictures gave a face, see {undetected}; the first: {missed[0].reason}")
    page = report.write(out, missed)
    print(f"{out}: {len(names) - len(missed)} faces of {len(names)} pictures; {page} shows them.")
    return tell(missed, undetected)


if __name__ == "__main__":
    command_line.main(Settings, run)
