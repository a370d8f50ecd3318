"""Redraws the face of a photograph with a paper's generators: IA-gen's, GCNet's, DE-GAN's or CycleAT's.

    python -m experiments.regenerate --image=photo.jpg        # or a folder, or "holiday/*.jpg"; may be given repeatedly
    python -m experiments.regenerate --image=photo.jpg --model=de_gan_rendered      # or an exported transfer/
    python -m experiments.regenerate --model=ia_gen --people=rendered2/lab          # some people of a data set

Writes <out>/<name>_regenerated.png: the face as the network sees it, then what is made of it: of IA-gen its K
expressions, each with its distance to the input in the feature space of eq. (8); the nearest is the answer. What the
others draw is said in `parts/regenerate/kinds.py`. Prints one line of JSON a picture: path, box, what is drawn, and
where the model names faces label and distances. A picture that cannot be read or shows no face gets one sentence; the
others go on, and the exit code is 1.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fer_tf import catalogue, faces, figures, pictures, recognise
from fer_tf import upright as turns

from .parts.regenerate import kinds, people
from .run import command_line, photographs, settings
from .run.settings import setting


@settings.command()
class Settings(photographs.Photographs):
    """Which photographs, and whose generators."""

    model: str = "ia_gen"
    out: str = "runs/regenerate"
    people: str | None = setting(
        None, "Instead of photographs, or beside them: people of a data set, name[/part][=folder], in one picture.",
        place="named",
    )  # fmt: skip


class Redrawn(NamedTuple):
    """A face as generators draw it.

    Attributes:
      box: (left, top, right, bottom) in pixels of the upright picture.
      view: (H, W, 1|3) float32 in [0, 1], the face as the network sees it.
      made: of it.
    """

    box: faces.Box
    view: np.ndarray
    made: kinds.Made


def load(name: str) -> kinds.Generators:
    """The generators of --model: a weights file, released weights by name, or an exported folder.

    Raises:
      ValueError: it has no generators.
    """
    return kinds.load(recognise.model_path(name), name)


def redraw(
    model: kinds.Generators,
    picture: np.ndarray,
    all_faces: bool,
    min_score: float,
    detector: str = "dlib",
    upright: bool = False,
) -> list[Redrawn]:
    """Finds the faces of a picture, (H, W, 3) uint8, and has each redrawn; largest first."""
    redrawn: list[Redrawn] = []
    search: dict[str, Any] = {"all": all_faces, "min_score": min_score, "detector": detector}
    turn, found = turns.found(picture, **search) if upright else (0, faces.detect(picture, **search))
    size = picture.shape[0], picture.shape[1]
    for face in found:
        view = model.view(faces.align(turns.turned(picture, turn), model.template, box=face))
        redrawn.append(Redrawn(turns.turned_back(face.box, turn, size), view[0].numpy(), model.make(view)))
    return redrawn


def draw(face: Redrawn) -> Any:
    """The face and what is made of it in one row; of IA-gen's the nearest is marked."""
    return figures.grid([[face.view, *face.made.generated]], col_titles=["input\n", *face.made.titles], cell=128)


def run(settings: Settings) -> int:
    """Every photograph's faces, redrawn; exit code 1 where one of them has an error."""
    if not settings.image and not settings.people:
        raise ValueError("Which pictures? Give --image=photo.jpg, --image=<folder> or --image='folder/*.jpg'.")
    paths, problems = photographs.listed(settings.image)
    taken, out = Counter(), settings.out_folder
    sys.stderr.writelines(f"{sentence}\n" for sentence in problems)
    photographs.keep_apart(paths, out)
    model = load(settings.model)
    if settings.people:
        print(json.dumps(draw_people(settings, model)), flush=True)
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


def draw_people(settings: Settings, model: kinds.Generators) -> dict[str, Any]:
    """Draws some people of --people; says of which data set, and where the picture is."""
    place = catalogue.place_of(settings.people or "")
    picture = people.sheet(model, catalogue.load_place(settings.people or ""))
    name = f"{recognise.model_path(settings.model).stem}_{place.replace('/', '_')}.png"
    if settings.out_folder is None:
        return {"people": place}
    return {"people": place, "redrawn": str(figures.save(picture, settings.out_folder / name))}


def line(path: Path, face: Redrawn) -> dict[str, Any]:
    """A face as the lines of JSON have it."""
    drawn = [
        title.partition("\n")[0] if face.made.distances else title.replace("\n", " ") for title in face.made.titles
    ]
    said: dict[str, Any] = {"path": str(path), "box": [round(v, 1) for v in face.box], "drawn": drawn}
    if face.made.label:
        said["label"] = face.made.label
    if face.made.distances:
        said["distances"] = {name: round(d, 4) for name, d in face.made.distances.items()}
    return said


if __name__ == "__main__":
    command_line.main(Settings, run)
