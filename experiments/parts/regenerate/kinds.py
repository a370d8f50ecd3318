"""What each paper's generators make of a face, drawn as in the paper's own figure.

    IA-gen     the face in each of its K expressions, with the distances of eq. (8) (Fig. 4)
    GCNet      its neutral reference, and what the decoders give back, where there are any (Figs. 4 and 8)
    DE-GAN     its expression on six of the people that the GAN has learnt (Fig. 4)
    CycleAT    the same face in the wild (Fig. 5)

They come out of a weights file, or, of DE-GAN and CycleAT, out of a run's folder transfer/ or generator/.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from fer_tf import export, weights
from fer_tf.faces import TEMPLATES
from fer_tf.models import cycle_at, de_gan, gcnet, ia_gen

PEOPLE = 6
"""How many people DE-GAN carries an expression to."""
MODULES = {"IAGen": ia_gen, "GCNet": gcnet, "DEGAN": de_gan, "CycleAT": cycle_at}
"""Class -> its file, which has the frame and the view of a face."""


class Made(NamedTuple):
    """What generators make of one face.

    Attributes:
      generated: (M, H, W, 1|3) float32 in [0, 1].
      titles: M of them.
      distances: of IA-gen, by expression: eq. (8).
      label: what the model names the face; empty where it names none.
    """

    generated: np.ndarray
    titles: tuple[str, ...]
    distances: dict[str, float]
    label: str


class Generators(NamedTuple):
    """A model that redraws faces.

    Attributes:
      kind: of `MODULES`.
      make: (1, H, W, 1|3) float32 in [0, 1], a view -> `Made`.
      view: (h, w, 3) uint8, a face in the frame -> that view.
      template: name of the frame.
    """

    kind: str
    make: Callable[[tf.Tensor], Made]
    view: Callable[[np.ndarray], tf.Tensor]
    template: str


def load(path: Path, name: str) -> Generators:
    """The generators of a weights file or of an exported folder.

    Args:
      path: of either.
      name: what the user called it.
    Raises:
      ValueError: it has none; the message shows `name`.
    """
    found = exported(path) if path.is_dir() else stored(path)
    if found is None:
        raise ValueError(
            f"--model={name} has no generators: give weights of IA-gen, GCNet (all but its baselines), DE-GAN's GAN or "
            "CycleAT's, or the folder transfer/ or generator/ of a run of the last two; such as --model=ia_gen."
        )
    kind, make = found
    module = MODULES[kind]

    def view(face: np.ndarray) -> tf.Tensor:
        channels = 3 if kind == "CycleAT" else 1
        framed = export.framed(tf.constant(face[None]), TEMPLATES[module.TEMPLATE].size, channels)
        return tf.cast(module.views.test_view(framed), tf.float32) / 255.0

    return Generators(kind, make, view, module.TEMPLATE)


def stored(path: Path) -> tuple[str, Callable[[tf.Tensor], Made]] | None:
    """(kind, `make`) of a weights file; None where its model has no generators."""
    kinds = {"IAGen": expressions, "GCNet": reference, "DEGAN": people_of, "CycleAT": in_the_wild}
    kind = str(weights.provenance(path).get("model", "")).rpartition(".")[-1] if path.suffix == ".h5" else ""
    model = export.rebuild(path) if kind in kinds else None
    if model is None or (kind == "GCNet" and not model.generates):
        return None
    return kind, kinds[kind](model)


def exported(path: Path) -> tuple[str, Callable[[tf.Tensor], Made]] | None:
    """(kind, `make`) of a SavedModel that `de_gan` or `cycle_at` has written; None for others, recognisers too."""
    if not (path / "saved_model.pb").is_file():
        return None
    module = tf.saved_model.load(str(path))
    told = json.loads(module.metadata().numpy()) if hasattr(module, "metadata") else {}
    if hasattr(module, "identities"):
        names = tuple(name.decode() for name in module.identities().numpy())
        return "DEGAN", lambda view: carried(view, names, lambda x, who: _served(module, x, identity=who))
    if told.get("model") == "CycleAT" and "generator" in told:
        return "CycleAT", lambda view: Made(_served(module, view), ("in the wild",), {}, "")
    return None


def _served(module: Any, view: tf.Tensor, **more: Any) -> np.ndarray:
    """What an exported generator makes of views in [0, 1], in [0, 1]; of each of several people once."""
    faces = tf.cast(tf.round(255.0 * view), tf.uint8)
    made = module.signatures["serving_default"](faces=faces, **more)["faces"]
    return made.numpy().astype(np.float32) / 255.0


def expressions(model: ia_gen.IAGen) -> Callable[[tf.Tensor], Made]:
    """The face in each expression; the nearest names it. Eq. (8)."""

    def make(view: tf.Tensor) -> Made:
        answer = model(view)
        distances = dict(zip(model.classes, answer["distances"][0].numpy().tolist(), strict=True))
        return nearest_of(answer["generated"][0].numpy(), distances)

    return make


def nearest_of(generated: np.ndarray, distances: dict[str, float]) -> Made:
    """The faces (K, H, W, 1) under the names of their expressions and their distances; the nearest is marked."""
    nearest = min(distances, key=distances.__getitem__)
    titles = tuple(f"{c}\n{d:.2f}{' nearest' * (c == nearest)}" for c, d in distances.items())
    return Made(generated, titles, distances, nearest)


def reference(model: gcnet.GCNet) -> Callable[[tf.Tensor], Made]:
    """The neutral face that the input is compared with, eq. (3), and what eq. (8) and (9) give back."""

    def make(view: tf.Tensor) -> Made:
        label = model.classes[int(np.argmax(model.classify(view)[0]))]
        faces, titles = [model.regenerate(view)], ["generated\nreference"]
        if model.reconstructs:
            back, back_r = model.reconstruct(view)
            faces, titles = [*faces, back_r, back], [*titles, "reconstructed\nreference", "reconstructed\ninput"]
        return Made(np.concatenate([np.asarray(f, np.float32) for f in faces]), tuple(titles), {}, label)

    return make


def people_of(gan: de_gan.DEGAN) -> Callable[[tf.Tensor], Made]:
    """The face's expression on some of the people whom the GAN has learnt. Eq. (2)."""
    return lambda view: carried(view, gan.subjects, lambda x, who: gan.transfer(x, who).numpy())


def carried(view: tf.Tensor, names: Sequence[str], transfer: Callable[[tf.Tensor, tf.Tensor], np.ndarray]) -> Made:
    """What `transfer` (views and places in `names` -> faces in [0, 1]) makes of a view, on `PEOPLE` of these."""
    chosen = np.linspace(0, len(names) - 1, min(PEOPLE, len(names))).round().astype(np.int32)
    made = transfer(tf.repeat(view, len(chosen), 0), tf.constant(chosen))
    return Made(made, tuple(f"on\n{names[i]}" for i in chosen), {}, "")


def in_the_wild(gan: cycle_at.CycleAT) -> Callable[[tf.Tensor], Made]:
    """The face as G_SW draws it, from the laboratory into the wild."""
    return lambda view: Made(gan.translate(view).numpy(), ("in the wild",), {}, "")
