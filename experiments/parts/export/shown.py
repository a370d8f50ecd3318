"""Faces that an export is calibrated, compared and measured on."""

from __future__ import annotations

import sys
from typing import Any

import h5py
import numpy as np

from fer_tf import albums, export, pictures, pipeline
from fer_tf.datasets import fer2013, rendered
from fer_tf.records import Record

from ...run import on_fer2013

AT_ONCE = 128
"""Faces in one call of a file that is measured."""


def rendered_faces(template: Any, count: int) -> list[np.ndarray]:
    """`count` of the rendered faces, as many poses, lights and people as there are among so many: (H, W, 3) uint8."""
    wild, opened = rendered.records(part="wild"), dict[str, h5py.File]()
    chosen = [wild[i] for i in np.linspace(0, len(wild) - 1, min(count, len(wild))).round().astype(int)]
    return [pipeline.face(record, template, 3, opened) for record in chosen]


def own_faces(name: str, template: Any, count: int) -> list[np.ndarray]:
    """The faces of the first `count` of one's own pictures, found and framed: (H, W, 3) uint8.

    Raises:
      ValueError: none of them shows a face; a sentence on stderr says how many do not.
    """
    paths = albums.meant(name, pictures.endings()).files[:count]
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


def private_test(model: export.Predictor, data_dir: str) -> dict[str, Any]:
    """What a model is worth on FER-2013's private test; faces go in as they are, 48x48.

    Where it has other answers than FER-2013's labels, such as contempt, the likeliest of the labels counts.

    Raises:
      ValueError: it has none of the labels, or there are no such pictures.
    """
    records = fer2013.records(data_dir, splits=("private_test",))
    columns = [i for i, name in enumerate(model.classes) if name in on_fer2013.SHOWN]
    if not records or not columns:
        raise ValueError(f"{data_dir} has no private test, or the model none of the answers of FER-2013.")
    pixels = np.stack([on_fer2013.grey(record) for record in records])[..., None]
    parts = [model(pixels[i : i + AT_ONCE])[:, columns] for i in range(0, len(pixels), AT_ONCE)]
    named = np.array([model.classes[i] for i in columns])[np.concatenate(parts).argmax(-1)]
    right = named == np.array([record.expression for record in records])
    return {"data": "FER-2013 private test", "pictures": len(right), "accuracy": round(float(right.mean()), 4)}
