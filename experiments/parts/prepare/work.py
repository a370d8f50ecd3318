"""The work of `prepare`: cutting the faces of a data set in parts, and writing them to one file."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fer_tf import faces, files, pipeline, records
from fer_tf.datasets import prepared

PART = 128
"""Pictures between two checkpoints."""
FOUND, NO_FACE, UNREADABLE = "found", "no face", "unreadable"


class Missed(NamedTuple):
    """A picture that gave no face: its name, record, status (NO_FACE or UNREADABLE), and why."""

    name: str
    record: records.Record
    status: str
    reason: str


def name_of(record: records.Record, root: Path) -> str:
    """The record's picture relative to the data set's folder, with its number in a film or HDF5 file, or the face's."""
    path, number = record.image if isinstance(record.image, tuple) else (record.image, None)
    if not isinstance(path, str):
        return record.key()
    inside = Path(path).is_relative_to(root)
    name = escaped(Path(path).relative_to(root).as_posix() if inside else path)
    if "face" in record.info:  # one of several in the picture
        name = f"{name}#{record.info['face']}"
    return name if number is None else f"{name}[{number}]"


def read_boxes(file: str | None, names: Sequence[str]) -> dict[str, faces.Box]:
    """{picture's name: box} of --boxes; a path may be the name, or the end of one alone.

    Raises:
      ValueError: no such list, a line that is no path and box, or a path that names none or several pictures.
    """
    if file is None:
        return {}
    known, boxes = {*names}, {}
    by_end: dict[str, list[str]] = {}
    for name in names:
        by_end.setdefault(name.rpartition("/")[2], []).append(name)
    try:
        with open(file, newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"--boxes={file} cannot be read: {error}") from error
    for line, row in enumerate(rows, 2):
        if None in row:
            raise ValueError(
                f"--boxes={file}, line {line}: more fields than columns: put a path that has a comma in quotes."
            )
        path = (row.get("path") or "").strip()
        try:
            box = tuple(float(row[side]) for side in ("left", "top", "right", "bottom"))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"--boxes={file}, line {line}: path,left,top,right,bottom are needed: {error!r}"
            ) from error
        if not (np.isfinite(box).all() and box[0] < box[2] and box[1] < box[3]):
            raise ValueError(f"--boxes={file}, line {line}: {box} is no box (left, top, right, bottom).")
        like = [path] if path in known else by_end.get(path, [])
        if len(like) != 1:
            raise ValueError(f"--boxes={file}, line {line}: {path!r} names {len(like)} pictures of the data set.")
        boxes[like[0]] = box
    return boxes


def cut(
    record: records.Record, box: faces.Box | None, template: str, channels: int
) -> tuple[str, str, np.ndarray | None]:
    """(FOUND, sha256 of the picture, its face) or (NO_FACE or UNREADABLE, why, None)."""
    try:
        digest = records.content_hash(record)
        if box is not None:
            picture = faces.align(pipeline.read_image(record), template, box=box)
            record = replace(record, image=picture, info={"framed": True})
        return FOUND, digest, pipeline.face(record, template, channels)
    except (ValueError, OSError, MemoryError) as error:
        missed = isinstance(error, faces.FaceNotFound) or isinstance(error.__cause__, faces.FaceNotFound)
        return NO_FACE if missed else UNREADABLE, str(error).replace("\n", " "), None


class Work:
    """The pictures of one data set and how far they are.

    Args:
      listed: its records.
      names: one for each.
      made: attributes of the file; its options say how many channels.
      out: the file to write.
      boxes: of pictures that are cut by hand.
    Raises:
      ValueError: the file, or an unfinished one, was made from other pictures or with other flags.
    """

    def __init__(self, listed: list[records.Record], names: list[str], made: dict, out: Path, boxes: dict):
        self.records, self.names, self.out, self.boxes = listed, names, out, boxes
        self.made = made = json.loads(json.dumps(made))  # as it comes out of a file
        rows = [(n, r.expression, r.subject, r.sequence, r.frame, r.split) for n, r in zip(names, listed, strict=True)]
        self.what = {**made, "pictures": hashlib.sha256(json.dumps(rows).encode()).hexdigest()}
        self.parts = out.with_name(f"{out.name}.parts")
        self.template, self.channels = made["template"], made["options"]["channels"]
        self.before: dict[str, tuple[int, str, Any]] = {}
        self._file: Any = None

    def start(self) -> None:
        """Makes the folder of parts, or goes on with it; reads which faces an earlier run has cut."""
        file = self.parts / "what.json"
        what = json.loads(json.dumps({**self.what, "boxes": self.boxes}))
        if self.out.is_file():
            before = prepared.about(self.out)
            changed = [k for k in before if k not in ("records",) and before[k] != self.made[k]]
            if changed:
                k = changed[0]
                raise ValueError(
                    f"{self.out} was prepared with {k} {before[k]}, not {self.made[k]}: give another --out."
                )
            self._file = prepared.opened(self.out)
            columns = zip(*(self._file[n].asstr()[:] for n in ("picture", "sha256", "info")), strict=True)
            for i, (name, digest, info) in enumerate(columns):
                self.before[name] = i, digest, json.loads(info).get("box")
        if file.is_file():
            if json.loads(file.read_text()) != what:
                raise ValueError(
                    f"{self.parts} holds a preparation of other pictures or flags: remove it, or give another --out."
                )
            return
        shutil.rmtree(self.parts, ignore_errors=True)
        self.parts.mkdir(parents=True)
        files.write_json(file, what)

    def one(self, i: int) -> tuple[str, str, np.ndarray | None]:
        """`cut` of a picture, or what an earlier run has cut of the same bytes."""
        name, record = self.names[i], self.records[i]
        box = self.boxes.get(name)
        place, digest, used = self.before.get(name, (None, "", None))
        if place is not None and used == (list(box) if box else None):
            try:
                if records.content_hash(record) == digest:
                    return FOUND, digest, self._file["image"][place]
            except (ValueError, OSError) as error:
                return UNREADABLE, f"{name}: {error}", None
        return cut(record, box, self.template, self.channels)

    def run(self, workers: int = 0) -> None:
        """Cuts all pictures that no part has yet, `workers` at a time (0: one a core), and prints how far it is."""
        done, shown, began = 0, 0.0, time.time()
        left = [k for k in range(self._count()) if not self._part(k).is_file()]
        total = sum(len(self._places(k)) for k in left)
        if total < len(self.records):
            print(f"Going on: {len(self.records) - total} of {len(self.records)} pictures are done.", flush=True)
        height, width = faces.TEMPLATES[self.template].size
        with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
            for k in left:
                status, notes, cuts = zip(*pool.map(self.one, self._places(k)), strict=True)
                images = [face for face in cuts if face is not None]
                stacked = np.stack(images) if images else np.zeros((0, height, width, self.channels), np.uint8)
                with files.replacing(self._part(k)) as path:
                    np.savez(path, image=stacked, status=np.array(status), said=np.array(notes))
                done += len(status)
                if time.time() - shown > 5 or done == total:
                    shown = time.time()
                    print(f"{done} of {total} pictures, {done / (shown - began):.0f} a second", flush=True)

    def finish(self) -> list[Missed]:
        """Writes the file from its parts, and removes them; no file where there is no face at all.

        Returns:
          The pictures that are not in the file.
        """
        missed = self._missed()
        if len(missed) < len(self.records):
            with files.replacing(self.out) as part:
                prepared.write(part, self._columns(), self.made)
                if self._file is not None:
                    self._file.close()
        shutil.rmtree(self.parts)
        return missed

    def _missed(self) -> list[Missed]:
        missed = []
        for k in range(self._count()):
            with np.load(self._part(k)) as part:
                status, notes = part["status"], part["said"]
            for i, one, note in zip(self._places(k), status, notes, strict=True):
                if one != FOUND:
                    missed.append(Missed(self.names[i], self.records[i], str(one), str(note)))
        return missed

    def _columns(self) -> Iterator[dict[str, np.ndarray]]:
        """The columns of the file, part by part."""
        for k in range(self._count()):
            with np.load(self._part(k)) as part:
                image, status, notes = part["image"], part["status"], part["said"]
            places = [i for i, one in zip(self._places(k), status, strict=True) if one == FOUND]
            kept = [self.records[i] for i in places]
            columns: dict[str, Any] = {n: [getattr(r, n) or "" for r in kept] for n in prepared.TEXTS[:5]}
            columns["picture"] = [self.names[i] for i in places]
            columns["sha256"] = notes[status == FOUND].tolist()
            columns["info"] = [plain(self.records[i].info, self.boxes.get(self.names[i])) for i in places]
            columns = {name: np.array([*map(escaped, values)], object) for name, values in columns.items()}
            frame = np.array([-1 if r.frame is None else r.frame for r in kept], np.int32)
            yield {"image": image, "frame": frame, **columns}

    def _count(self) -> int:
        return -(-len(self.records) // PART)

    def _places(self, k: int) -> range:
        return range(k * PART, min(len(self.records), (k + 1) * PART))

    def _part(self, k: int) -> Path:
        return self.parts / f"{k:06d}.npz"


def plain(info: Mapping[str, Any], box: faces.Box | None) -> str:
    """A record's info as JSON, as far as that can hold it, and the box; landmarks and `turn` have done their work."""
    kept = {k: v for k, v in info.items() if isinstance(v, (str, int, float, bool)) and k not in ("turn", "framed")}
    return json.dumps({**kept, **({"box": list(box)} if box else {})})


def escaped(text: str) -> str:
    """The text in UTF-8: bytes of a file name that are none become backslashes and numbers."""
    return text.encode("utf-8", "backslashreplace").decode()
