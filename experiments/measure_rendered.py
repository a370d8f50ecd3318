"""Measures the rendered faces: are they found, told apart as people, and neither trivial nor hopeless as expressions.

  python -m experiments.measure_rendered [--dataset=rendered2] [--file=rendered.h5] [--every=1]
  python -m experiments.measure_rendered --dataset=rendered2 --file=rendered2.h5 --only=witnesses
  python -m experiments.measure_rendered --sheet=docs/rendered_contact_sheet.jpg

Prints one line a measurement, and JSON at the end. Needs dlib; the identity figures need the extra `landmarks`.

The *witnesses* are small networks (`parts/measure_rendered/witnesses.py`), the same for both editions, that name the
seven expressions of the last `--tested` people of lab: `alone_<n>_people` trained on the faces of the first n,
`with_own_neutral` (the oracle) seeing each person's neutral face beside the other, `with_strangers_neutral` (its
control) the next person's. What the oracle gains is what a person's own face has to tell about its expressions.
A linear discriminant of the landmarks, over five folds of people, says the same in a second (`--only=landmarks`).
`--only=acquaintance` reads lab and wild by the released `--weights`, which nobody of them has trained, as they come
and beside what it says of the same person's other pictures (`fer_tf/beside.py`), or, the control, of everybody's.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import dlib
import h5py
import numpy as np
from PIL import Image

from fer_tf import beside, export, files, pipeline, records
from fer_tf.datasets import rendered, rendered2
from fer_tf.records import EXPRESSIONS, Record

from .parts.measure_rendered import witnesses
from .run import command_line, settings
from .run.settings import setting

Reader: TypeAlias = Callable[..., list[Record]]
READERS: dict[str, Reader] = {"rendered": rendered.records, "rendered2": rendered2.records}


@settings.command()
class Settings(settings.Base):
    """What is measured, or drawn."""

    dataset: str = setting("rendered", "Which edition.", choices=("rendered", "rendered2"))
    file: str | None = setting(None, "HDF5 file; the shipped one by default.", place="path")
    only: str = setting(
        "all", "What is measured.", choices=("all", "pictures", "landmarks", "witnesses", "acquaintance")
    )
    tested: int = setting(50, "People of lab on whom the witnesses are tested, the last ones.", low=1)
    people: tuple[str, ...] = setting(("10", "30", "100", "250"), "Numbers of people on whom they are trained.")
    every: int = setting(1, "Use every n-th record.", low=1)
    weights: str = setting("fer_net_fer2013", "Released recogniser that reads lab; empty for none.")
    sheet: str | None = setting(None, "Write a contact sheet to this JPEG instead of measuring.", place="path")


def decode(listed: list[Record]) -> list[np.ndarray]:
    """(H, W, 3) uint8 for each record, all of one HDF5 file."""
    with h5py.File(listed[0].image[0], "r") as file:
        rows = [file["image"][r.image[1]].tobytes() for r in listed]
    return [np.asarray(Image.open(io.BytesIO(row)).convert("RGB")) for row in rows]


def detected(pictures: list[np.ndarray]) -> float:
    """Share of pictures in which dlib's frontal detector, upsampled once, sees a face."""
    detector = dlib.get_frontal_face_detector()
    return float(np.mean([len(detector(p, 1)) > 0 for p in pictures]))


def embeddings(listed: list[Record], pictures: list[np.ndarray]) -> np.ndarray | None:
    """(N, 128) float64: dlib's face embedding at the rendered landmarks, or None without the extra `landmarks`."""
    try:
        shipped = importlib.metadata.files("face-recognition-models") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    path = next(f.locate() for f in shipped if f.name.startswith("dlib_face_recognition_resnet"))
    network, rows = dlib.face_recognition_model_v1(str(path)), []
    for record, picture in zip(listed, pictures, strict=True):
        points = [dlib.point(int(x), int(y)) for x, y in np.round(record.info["landmarks"])]
        low, high = record.info["landmarks"].min(0), record.info["landmarks"].max(0)
        box = dlib.rectangle(*(int(v) for v in (*low, *high)))
        shape = dlib.full_object_detection(box, points)
        rows.append(network.compute_face_descriptor(picture, shape))
    return np.array(rows)


def distances(rows: np.ndarray, subjects: np.ndarray) -> tuple[float, float]:
    """Mean Euclidean distance of pairs of rows (N, D) within a subject, and between subjects."""
    square = (rows**2).sum(1)
    gap = np.sqrt(np.maximum(square[:, None] + square[None] - 2 * rows @ rows.T, 0))
    same = subjects[:, None] == subjects[None]
    return float(gap[same & ~np.eye(len(rows), dtype=bool)].mean()), float(gap[~same].mean())


def crop(record: Record, picture: np.ndarray) -> np.ndarray:
    """(4096,) float32: a 64x64 grey face, eyes level at a fixed place and distance."""
    marks = record.info["landmarks"]
    eyes, mouth = marks[36:48].mean(0), marks[48:68].mean(0)
    down = mouth - eyes
    scale = np.linalg.norm(down) / 26
    down = down / np.linalg.norm(down)
    right = np.array([down[1], -down[0]])
    corner = eyes - scale * (32 * right + 22 * down)
    grey = Image.fromarray(picture).convert("L")
    steps = [*(right * scale), *(down * scale)]
    affine = (steps[0], steps[2], corner[0], steps[1], steps[3], corner[1])
    return np.asarray(grey.transform((64, 64), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR), "f4").ravel()


def nearest_neighbour(rows: np.ndarray, labels: np.ndarray, subjects: np.ndarray, folds: int = 5) -> float:
    """Accuracy of 1-nearest-neighbour on standardised pixels, people split into contiguous folds."""
    rows = rows - rows.mean(1, keepdims=True)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    hits = 0
    for part in np.array_split(np.unique(subjects), folds):
        test = np.isin(subjects, part)
        nearest = (rows[test] @ rows[~test].T).argmax(1)
        hits += int((labels[~test][nearest] == labels[test]).sum())
    return hits / len(rows)


def placed(marks: np.ndarray) -> np.ndarray:
    """(N, 136): landmarks (N, 68, 2) from the middle of the eyes, whose distance to the mouth's middle is 1."""
    marks = marks - marks[:, 36:48].mean(1, keepdims=True)
    return (marks / np.linalg.norm(marks[:, 48:68].mean(1), axis=1)[:, None, None]).reshape(len(marks), -1)


def discriminated(train: np.ndarray, labels: np.ndarray, test: np.ndarray, shrink: float = 0.02) -> np.ndarray:
    """(M,): labels that a linear discriminant of rows (N, D) and labels (N,) gives the rows of `test` (M, D)."""
    kinds = np.unique(labels)
    means = np.array([train[labels == k].mean(0) for k in kinds])
    apart = train - means[np.searchsorted(kinds, labels)]
    spread = apart.T @ apart / len(train)
    spread = (1 - shrink) * spread + shrink * np.trace(spread) / len(spread) * np.eye(len(spread))
    way = np.linalg.solve(spread, means.T)
    return kinds[(test @ way - 0.5 * (means.T * way).sum(0)).argmax(1)]


def read_by_landmarks(listed: list[Record], folds: int = 5) -> dict[str, float]:
    """{measure: share} of the seven expressions of lab that a linear discriminant of the landmarks names.

    People are split into contiguous folds. It sees a face's landmarks alone, or also how they differ from those of the
    person's own neutral face, or of the next person's.
    """
    names = sorted({r.subject for r in listed})
    rows = placed(np.array([r.info["landmarks"] for r in listed]))
    neutral = rows[[max(i for i, r in enumerate(listed) if (r.subject, r.expression) == (n, "neutral")) for n in names]]
    shown = [i for i, r in enumerate(listed) if r.expression != "neutral"]
    labels = np.array([EXPRESSIONS.index(listed[i].expression) for i in shown])
    who, rows = np.array([names.index(listed[i].subject) for i in shown]), rows[shown]
    seen = {
        "landmarks_alone": rows,
        "landmarks_with_own_neutral": np.hstack([rows, rows - neutral[who]]),
        "landmarks_with_strangers": np.hstack([rows, rows - neutral[(who + 1) % len(names)]]),
    }
    hits = dict.fromkeys(seen, 0)
    for part in np.array_split(np.arange(len(names)), folds):
        test = np.isin(who, part)
        for name, columns in seen.items():
            hits[name] += int((discriminated(columns[~test], labels[~test], columns[test]) == labels[test]).sum())
    return {name: count / len(labels) for name, count in hits.items()}


def read_by_released(listed: list[Record], weights: str) -> tuple[np.ndarray, Sequence[str]]:
    """((N, K) probabilities by a released recogniser, its K classes)."""
    model = export.released(weights)
    opened: dict[str, h5py.File] = {}
    rows = [pipeline.face(record, "ia_gen", files=opened) for record in listed]
    return np.concatenate([model(np.stack(rows[i : i + 64])) for i in range(0, len(rows), 64)]), model.classes


def read_by_fer_net(listed: list[Record], weights: str) -> tuple[float, float]:
    """Share of the six basic expressions that a FER-Net trained on FER-2013 alone names, of six and of all outputs."""
    six = records.CLASSES["six"]
    shown = records.of_classes(listed, six)
    p, classes = read_by_released(shown, weights)
    truth = np.array([classes.index(record.expression) for record in shown])
    columns = np.array([classes.index(name) for name in six])
    return float(np.mean(columns[p[:, columns].argmax(1)] == truth)), float(np.mean(p.argmax(1) == truth))


def read_by_acquaintance(listed: list[Record], weights: str, others: Sequence[int] = (3, 6, 12)) -> dict[str, float]:
    """{measure: share} of the six basic expressions and neutral that a released recogniser names, beside albums.

    Args:
      listed: records whose people are known.
      weights: a released recogniser.
      others: numbers of other pictures in an album; left out where somebody has fewer.
    """
    names = records.CLASSES["six_neutral"]
    shown = records.of_classes(listed, names)
    p, classes = read_by_released(shown, weights)
    p, labels = p[:, [classes.index(name) for name in names]], [names.index(r.expression) for r in shown]
    people = [r.subject for r in shown]
    fewest = min(people.count(person) for person in people)
    albums = {
        "beside_everybody": beside.albums(["everybody"] * len(shown)),
        "beside_the_person": beside.albums(people),
        **{f"beside_{n}_others": beside.albums(people, beside.Album(n)) for n in others if n < fewest},
    }
    seen = {"as_is": p, **{name: beside.probabilities(p, own) for name, own in albums.items()}}
    return {name: float(np.mean(rows.argmax(1) == labels)) for name, rows in seen.items()}


def contact_sheet(
    file: str | None, path: str | Path, people: int = 8, height: int = 104, read: Reader = rendered.records
) -> None:
    """A JPEG of lab subjects by expression (peak frames), then posed and wild pictures."""
    lab = read(file)
    lab = [r for r in lab if r.frame == max(other.frame or 0 for other in lab)]
    names = sorted({r.subject for r in lab})[:: max(1, len({r.subject for r in lab}) // people)][:people]
    chosen = [r for name in names for r in lab if r.subject == name]
    for part, count, step in (("posed", 16, 127), ("wild", 24, 59)):
        with contextlib.suppress(ValueError):  # a file of fewer parts
            others = read(file, part=part)
            chosen += [others[i * step % len(others)] for i in range(count)]
    pictures = [
        np.asarray(Image.fromarray(p).resize((height, height), Image.Resampling.LANCZOS)) for p in decode(chosen)
    ]
    rows = [np.hstack(pictures[i : i + 8]) for i in range(0, len(pictures), 8)]
    with files.replacing(path) as part:
        Image.fromarray(np.vstack(rows)).save(part, "JPEG", quality=82)


def read_by_witnesses(settings: Settings, read: Reader) -> dict[str, float]:
    """{measure: share} of what the witnesses name on lab.

    Raises:
      ValueError: --people that are no numbers, or no more people than --tested.
    """
    listed = read(settings.file)
    names = sorted({r.subject for r in listed})
    if not all(n.isdigit() and int(n) > 0 for n in settings.people) or settings.tested >= len(names):
        raise ValueError(
            f"--people={','.join(settings.people)} must be numbers, and --tested={settings.tested} fewer than the "
            f"{len(names)} people of lab."
        )
    side = witnesses.SIDE
    crops = [Image.fromarray(crop(r, p).reshape(64, 64)) for r, p in zip(listed, decode(listed), strict=True)]
    small = [np.asarray(c.resize((side, side), Image.Resampling.BOX)) for c in crops]
    faces, neutral = (
        witnesses.standardised(np.array(small)),
        {r.subject: i for i, r in enumerate(listed) if r.expression == "neutral"},
    )
    shown = [i for i, r in enumerate(listed) if r.expression != "neutral"]
    return witnesses.measured(
        faces[shown],
        np.array([EXPRESSIONS.index(listed[i].expression) for i in shown], np.int32),
        np.array([names.index(listed[i].subject) for i in shown]),
        faces[[neutral[name] for name in names]],
        tested=settings.tested,
        people=[int(n) for n in settings.people],
    )


def measure_part(listed: list[Record], part: str) -> dict[str, float]:
    """{measure: value} of the records of one part; of lab, where subjects are known, people and expressions too."""
    pictures = decode(listed)
    measures: dict[str, float] = {f"{part}_frames": len(listed), f"{part}_found": detected(pictures)}
    if part != "lab":
        return measures
    subjects = np.array([r.subject for r in listed])
    rows = embeddings(listed, pictures)
    if rows is not None:
        measures["within"], measures["between"] = distances(rows, subjects)
    seven = [i for i, r in enumerate(listed) if r.expression != "neutral"]
    rows = np.array([crop(listed[i], pictures[i]) for i in seven])
    labels = np.array([EXPRESSIONS.index(listed[i].expression) for i in seven])
    return {**measures, "nearest_neighbour": nearest_neighbour(rows, labels, subjects[seven])}


def run(settings: Settings) -> dict[str, float]:
    """Measures both parts and prints what it measured; or draws the contact sheet, and measures nothing."""
    read = READERS[settings.dataset]
    if settings.sheet:
        contact_sheet(settings.file, settings.sheet, read=read)
        return {}
    measures: dict[str, float] = {}
    if settings.only in ("all", "pictures"):
        for part in ("lab", "wild"):
            listed = read(settings.file, part=part)[:: settings.every]
            if listed:
                measures |= measure_part(listed, part)
        if settings.weights:
            lab = read(settings.file)[:: settings.every]
            measures["six_of_six"], measures["six_of_all"] = read_by_fer_net(lab, settings.weights)
    if settings.only in ("all", "landmarks"):
        measures |= read_by_landmarks(read(settings.file))
    if settings.only in ("all", "witnesses"):
        measures |= read_by_witnesses(settings, read)
    if settings.only in ("all", "acquaintance") and settings.weights:
        for part in ("lab", "wild"):
            found = read_by_acquaintance(read(settings.file, part=part), settings.weights)
            measures |= {f"{part}_{name}": share for name, share in found.items()}
    for name, value in measures.items():
        print(f"{name:>26} {value:.4f}")
    print(json.dumps(measures))
    return measures


if __name__ == "__main__":
    command_line.main(Settings, run)
