"""Faces that an export is calibrated, compared and measured on."""

from __future__ import annotations

import sys
import time
from typing import Any

import h5py
import numpy as np

from fer_tf import albums, export, pictures, pipeline
from fer_tf.datasets import fer2013, rendered
from fer_tf.records import Record

from ...run import on_fer2013

AT_ONCE = 128
"""Faces in one call of a file that is measured."""
ONE_BY_ONE = 100
"""Faces whose time is taken."""


def rendered_faces(template: Any, count: int) -> list[np.ndarray]:
    """`count` of the rendered faces, as many poses, lights and people as there are among so many: (H, W, 3) uint8."""
    wild, opened = rendered.records(part="wild"), dict[str, h5py.File]()
    chosen = [wild[i] for i in np.linspace(0, len(wild) - 1, min(count, len(wild))).round().astype(int)]
    return [pipeline.face(record, template, 3, opened) for record in chosen]


def own_faces(name: str, template: Any, count: int) -> list[np.ndarray]:
    """The faces of the first `count` of one's own pictures, found and framed: (H, W, 3) uint8.

    Raises:
      ValueError: there are none, or none of them shows a face; a sentence on stderr says how many do not.
    """
    paths = albums.meant(name, pictures.endings()).files[:count]
    if not paths:
        raise ValueError(f"--calibrate={name}: there are no such pictures.")
    faces, without = [], 0
    for path in paths:
        try:
            faces.append(pipeline.face(Record(path), template, 3))
        except ValueError:
            without += 1
    if not faces:
        raise ValueError(f"--calibrate={name}: no face was found in {len(paths)} pictures.")
    if without:
        print(f"{name}: no face was found in {without} of {len(paths)} pictures.", file=sys.stderr)
    return faces


def training_faces(data_dir: str, template: Any, count: int) -> list[np.ndarray]:
    """`count` of FER-2013's training pictures, from all over their list: (H, W, 3) uint8."""
    listed = fer2013.records(data_dir, splits=("train",))
    chosen = [listed[i] for i in np.linspace(0, len(listed) - 1, min(count, len(listed))).round().astype(int)]
    return [pipeline.face(record, template, 3) for record in chosen]


def private_test(model: export.Predictor, data_dir: str) -> dict[str, Any]:
    """What a model is worth on FER-2013's private test; faces go in as they are, 48x48.

    Returns:
      `accuracy` by FER-2013's labels: where the model has other answers, such as contempt, the likeliest of the labels
      counts. Where FER+'s votes are there, `accuracy_by_votes`: the likeliest of all answers against the majority of
      ten voters, where that is an expression. `processor_ms_a_face`: see `milliseconds`.
    Raises:
      ValueError: it has none of the labels, or there are no such pictures.
    """
    records = fer2013.records(data_dir, splits=("private_test",))
    columns = [i for i, name in enumerate(model.classes) if name in on_fer2013.SHOWN]
    if not records or not columns:
        raise ValueError(f"{data_dir} has no private test, or the model none of the answers of FER-2013.")
    pixels = np.stack([on_fer2013.grey(record) for record in records])[..., None]
    answers = np.concatenate([model(pixels[i : i + AT_ONCE]) for i in range(0, len(pixels), AT_ONCE)])
    labels = np.array([record.expression for record in records])
    line: dict[str, Any] = {"data": "FER-2013 private test", "pictures": len(labels)}
    line["accuracy"] = _share(np.array(model.classes)[columns][answers[:, columns].argmax(-1)] == labels)
    chosen = [fer2013.majority(record.info.get("votes", ())) for record in records]
    if (known := np.array([name is not None for name in chosen])).any():
        line["pictures_with_a_majority"] = int(known.sum())
        line["accuracy_by_votes"] = _share((np.array(model.classes)[answers.argmax(-1)] == np.array(chosen))[known])
    return {**line, "processor_ms_a_face": round(milliseconds(model, pixels), 2)}


def _share(right: np.ndarray) -> float:
    return round(float(right.mean()), 4)


def milliseconds(model: export.Predictor, faces: np.ndarray) -> float:
    """The median time of this machine's processor for faces that come one by one; the very first one warms up.

    That of all its threads together, whatever else the machine does: on one core, how long a face takes.
    """
    times = []
    for face in faces[: ONE_BY_ONE + 1]:
        begun = time.process_time()
        model(face[None])
        times.append(time.process_time() - begun)
    return 1e3 * float(np.median(times[1:] or times))
