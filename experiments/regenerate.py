"""Redraws the face of a photograph in every expression: IA-gen's generators on people who never met them (Fig. 4).

    python -m experiments.regenerate --image=photo.jpg        # or a folder, or "holiday/*.jpg"; may be given repeatedly

Writes <out>/<name>_regenerated.png: the face as the network sees it, then its K expressions, each with its distance
to the input in the feature space of eq. (8); the nearest is the answer. Prints one line of JSON a picture: path, label,
distances. A picture that cannot be read or shows no face gets one sentence; the others go on, and the exit code is 1.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from fer_tf import export, faces, figures, pictures, recognise
from fer_tf import upright as turns
from fer_tf.models import ia_gen

from .run import command_line, photographs, settings


@settings.command()
class Settings(photographs.Photographs):
    """Which photographs, and whose generators."""

    model: str = "ia_gen"
    out: str = "runs/regenerate"


class Redrawn(NamedTuple):
    """A face as IA-gen's generators draw it.

    Attributes:
      box: (left, top, right, bottom) in pixels of the upright picture.
      view: (64, 64, 1) float32 in [0, 1], the face as the network sees it.
      generated: (K, 64, 64, 1) float32 in [0, 1], the face in each expression.
      distances: expression -> distance of its face to the input. Eq. (8).
    """

    box: faces.Box
    view: np.ndarray
    generated: np.ndarray
    distances: dict[str, float]

    @property
    def nearest(self) -> str:
        """The expression whose face is nearest, which is the answer."""
        return min(self.distances, key=self.distances.__getitem__)


def load(name: str) -> ia_gen.IAGen:
    """The recogniser of --model: a weights file, or released weights by name.

    Raises:
      ValueError: it has no generators.
    """
    path = recognise.model_path(name)
    model = export.rebuild(path) if path.is_file() else None
    if not isinstance(model, ia_gen.IAGen):
        raise ValueError(f"--model={name} has no generators: give weights of IA-gen, such as --model=ia_gen.")
    return model


def redraw(
    model: ia_gen.IAGen,
    picture: np.ndarray,
    all_faces: bool,
    min_score: float,
    detector: str = "dlib",
    upright: bool = False,
) -> list[Redrawn]:
    """Finds the faces of a picture, (H, W, 3) uint8, and draws each in every expression; largest first."""
    redrawn: list[Redrawn] = []
    search: dict[str, Any] = {"all": all_faces, "min_score": min_score, "detector": detector}
    turn, found = turns.found(picture, **search) if upright else (0, faces.detect(picture, **search))
    size = picture.shape[0], picture.shape[1]
    for face in found:
        aligned = tf.constant(faces.align(turns.turned(picture, turn), ia_gen.TEMPLATE, box=face)[None])
        view = ia_gen.grey(tf.cast(ia_gen.views.test_view(aligned), tf.float32) / 255.0)
        view = (view + 1.0) / 2.0
        answer = model(view)
        distances = dict(zip(model.classes, answer["distances"][0].numpy().tolist(), strict=True))
        redrawn.append(
            Redrawn(turns.turned_back(face.box, turn, size), view[0].numpy(), answer["generated"][0].numpy(), distances)
        )
    return redrawn


def draw(face: Redrawn) -> Any:
    """The face and its K expressions in one row; the nearest is marked."""
    marks = {face.nearest: " nearest"}
    titles = [f"{c}\n{d:.2f}{marks.get(c, '')}" for c, d in face.distances.items()]
    return figures.grid([[face.view, *face.generated]], col_titles=["input\n", *titles], cell=128)


def run(settings: Settings) -> int:
    """Every photograph's faces, redrawn; exit code 1 where one of them has an error."""
    if not settings.image:
        raise ValueError("Which pictures? Give --image=photo.jpg, --image=<folder> or --image='folder/*.jpg'.")
    paths, problems = photographs.listed(settings.image)
    taken, out = Counter(), settings.out_folder
    sys.stderr.writelines(f"{sentence}\n" for sentence in problems)
    photographs.keep_apart(paths, out)
    model = load(settings.model)
    for path in paths:
        try:
            search = settings.all_faces, settings.min_score, settings.detector, settings.upright
            redrawn = redraw(model, pictures.load_image(path), *search)
            if not redrawn:
                raise faces.FaceNotFound(photographs.NO_FACE)
        except (ValueError, OSError) as error:
            problems.append(photographs.complain(path, error))
            print(json.dumps({"path": str(path), "error": problems[-1]}), flush=True)
            continue
        for face in redrawn:
            name = photographs.result_name(path, "regenerated", taken)
            said = line(path, face)
            if out is not None:
                try:
                    figures.save(draw(face), out / f"{name}.png")
                    said["redrawn"] = str(out / f"{name}.png")
                except OSError as error:
                    problems.append(photographs.unwritten(path, error))
                    said["error"] = problems[-1]
            print(json.dumps(said), flush=True)
    return 1 if problems else 0


def line(path: Path, face: Redrawn) -> dict[str, Any]:
    """A face as the lines of JSON have it."""
    distances = {name: round(d, 4) for name, d in face.distances.items()}
    return {"path": str(path), "box": [round(v, 1) for v in face.box], "label": face.nearest, "distances": distances}


if __name__ == "__main__":
    command_line.main(Settings, run)
