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
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

from fer_tf import export, faces, figures, weights
from fer_tf.models import ia_gen

from . import predict
from .run import common

FLAGS = flags.FLAGS
FLAGS.set_default("model", "ia_gen")
FLAGS.set_default("out", "runs/regenerate")
delattr(FLAGS, "batch_size")  # of predict; here one face is looked at at a time


def load(name: str) -> ia_gen.IAGen:
    """The recogniser of --model: a weights file, or released weights by name.

    Raises:
      ValueError: it has no generators.
    """
    path = Path(name) if Path(name).is_file() else weights.released(predict.RELEASED.get(name, name))
    model = export.rebuild(path)
    if not isinstance(model, ia_gen.IAGen):
        raise ValueError(f"--model={name} has no generators: give weights of IA-gen, such as --model=ia_gen.")
    return model


def regenerate(model: ia_gen.IAGen, face: np.ndarray) -> dict[str, np.ndarray]:
    """One aligned face, (H, W, 1|3) uint8, -> its view (64, 64, 1), generated (K, 64, 64, 1) and distances (K,)."""
    view = ia_gen.grey(tf.cast(ia_gen.views.test_view(tf.constant(face[None])), tf.float32) / 255.0)
    view = (view + 1.0) / 2.0
    found = model(view)
    return {"view": view[0].numpy(), **{n: found[n][0].numpy() for n in ("generated", "distances")}}


def picture(found: dict[str, np.ndarray], classes: tuple[str, ...]) -> Any:
    """The face and its K expressions in one row; the nearest is marked."""
    nearest = int(found["distances"].argmin())
    titles = [f"{c}\n{d:.2f}" for c, d in zip(classes, found["distances"], strict=True)]
    titles[nearest] += " nearest"
    return figures.grid([[found["view"], *found["generated"]]], col_titles=["input\n", *titles], cell=128)


def main() -> None:
    """Finds, redraws, prints, writes."""
    if FLAGS.video:
        raise ValueError("Only pictures are redrawn, no films: give --image.")
    if not FLAGS.image:
        raise ValueError("Which pictures? Give --image=photo.jpg, --image=<folder> or --image='folder/*.jpg'.")
    (paths, problems), taken, out = predict.pictures(FLAGS.image), Counter(), predict.out_folder()
    sys.stderr.writelines(f"{sentence}\n" for sentence in problems)
    predict.keep_apart(paths, out)
    model = load(FLAGS.model)
    for path in paths:
        row = predict.look(path, faces.TEMPLATES[ia_gen.TEMPLATE])
        for number, face in enumerate(row["aligned"]):
            found = regenerate(model, face)
            taken[path.stem.lower()] += 1
            again = f"_{n}" if (n := taken[path.stem.lower()]) > 1 else ""
            if out is not None:
                figures.save(picture(found, model.classes), out / f"{path.stem}_regenerated{again}.png")
            near = {c: round(float(d), 4) for c, d in zip(model.classes, found["distances"], strict=True)}
            box = [round(v, 1) for v in row["boxes"][number].box]
            print(json.dumps({"path": str(path), "box": box, "label": min(near, key=near.get), "distances": near}))
        if "error" in row:
            print(json.dumps({"path": str(path), "error": row["error"]}))
            problems.append(row["error"])
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    common.run(main)
