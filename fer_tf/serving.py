"""A classifier as functions of TensorFlow that take faces as they come: what `export` writes and `Predictor` calls.

A model looks at a face alone, or, where its `refers` says so, beside a neutral face of the same person.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any, NamedTuple

import tensorflow as tf

import fer_tf
from fer_tf.faces import TEMPLATES, Template
from fer_tf.framing import decoded, framed

FORMAT = "fer_tf.export.1"
REFERENCE = "a neutral face of the same person, framed as the face is"
"""What the metadata of a model that compares say of its second input, under "reference": by these words it is known."""


class Settings(NamedTuple):
    """How a model wants its faces: the frame, the views (of which the test view is taken), 1 channel or 3."""

    template: Template
    views: Any
    channels: int


def settings(
    model: Any, views: Any = None, template: str | Template | None = None, channels: int | None = None
) -> Settings:
    """`views` and `template` as given, else those of the file in which the model's class stands.

    A model that is built for faces of another size says which by `face_size`, (H, W); one that sees colour, by
    `channels`.

    Raises:
      ValueError: neither given nor found there, or an unknown template.
    """
    module = sys.modules[type(model).__module__]
    views = getattr(module, "views", None) if views is None else views
    channels = getattr(model, "channels", 1) if channels is None else channels
    size = getattr(model, "face_size", None) if template is None else None
    template = getattr(module, "TEMPLATE", None) if template is None else template
    if views is None or template is None:
        raise ValueError(
            f"{module.__name__}, where {type(model).__name__} is defined, has no views or TEMPLATE: give both."
        )
    if isinstance(template, str) and template not in TEMPLATES:
        raise ValueError(f"Unknown template {template!r}: use {', '.join(TEMPLATES)}, or a faces.Template.")
    if isinstance(template, str):
        template = Template.fer2013(template, size) if size else TEMPLATES[template]
    return Settings(template, views, channels)


def refers(model: Any) -> bool:
    """Whether a model compares each face with a neutral one of the same person."""
    return bool(getattr(model, "refers", False))


def tolerance_of(model: Any) -> float | None:
    """How far two computations of a model's probabilities may be apart, where it says so itself."""
    own = getattr(model, "tolerance", None)
    return own if isinstance(own, float) else None


def classifier(model: Any) -> Callable[..., tf.Tensor]:
    """(views, and views of the neutral faces where the model `refers`) -> (N, K) probabilities."""
    if refers(model):
        return lambda images, references: model.classify({"image": images, "reference": references})
    return model.classify if hasattr(model, "classify") else lambda images: model(images, training=False)


def view_of(chosen: Settings, faces: tf.Tensor) -> tf.Tensor:
    """Framed faces as a model sees them: uint8 (N, height, width, channels) -> float32 (N, h, w, channels), [0, 1]."""
    return tf.cast(chosen.views.test_view(faces), tf.float32) / 255.0


def _metadata(model: Any, classes: Sequence[str], chosen: Settings, given: Mapping[str, Any]) -> str:
    """The metadata of an export, as JSON: its own entries and the given ones."""
    view = view_of(chosen, tf.zeros((1, *chosen.template.size, chosen.channels), tf.uint8))
    outputs = int(classifier(model)(*[view] * (1 + refers(model))).shape[-1])
    if len(classes) != outputs:
        raise ValueError(
            f"The model gives {outputs} probabilities, and {len(classes)} class names are given: {classes}."
        )
    own = {
        "format": FORMAT,
        "model": type(model).__name__,
        "classes": list(classes),
        "template": asdict(chosen.template),
        "view_size": [int(side) for side in view.shape[1:3]],
        "channels": chosen.channels,
        **({"reference": REFERENCE} if refers(model) else {}),
        **({"tolerance": tolerance_of(model)} if tolerance_of(model) else {}),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {"fer_tf": fer_tf.__version__, "tensorflow": tf.__version__},
    }
    if taken := sorted({*own, "reference", "tolerance", "beside"} & given.keys()):
        raise ValueError(f"The metadata {', '.join(taken)} are filled in by the export: use other names.")
    try:
        return json.dumps({**own, **given}, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"The metadata must be plain values that JSON can hold: {error}.") from error


class Module(tf.Module):
    """A model with its preprocessing, ready to be saved; holds the variables that it uses, and no Keras object.

    Args:
      model: as of `export.save`, in float32.
      classes, metadata: as of `export.save`.
      chosen: how the model wants its faces.
    """

    def __init__(self, model: Any, classes: Sequence[str] | None, chosen: Settings, metadata: Mapping[str, Any]):
        super().__init__(name="classifier")
        names = tuple(getattr(model, "classes", ()) if classes is None else classes)
        self.text = text = _metadata(model, names, chosen, metadata)
        made = (_beside if refers(model) else _alone)(classifier(model), chosen, names)
        self.of_framed, self.serving_default, self.serving_bytes = made
        self.labels = tf.function(lambda: tf.constant(names, tf.string), input_signature=[])
        self.metadata = tf.function(lambda: tf.constant(text), input_signature=[])
        self.used = list(self.of_framed.get_concrete_function().graph.variables)


class Bound(tf.Module):
    """A module that compares, with the neutral face of one person in it: it takes faces alone.

    Args:
      module: a `Module`, or a SavedModel that was one.
      neutral: (1, H, W, 1|3) uint8.
      size, channels: of the module's framed faces.
    """

    def __init__(self, module: Any, neutral: tf.Tensor, size: tuple[int, int], channels: int):
        super().__init__(name="bound")
        self.module, constant = module, framed(neutral, size, channels).numpy()

        @tf.function(input_signature=[_pixels((*size, channels), "faces")])
        def of_framed(faces: tf.Tensor) -> tf.Tensor:
            return module.of_framed(faces, tf.tile(tf.constant(constant), (tf.shape(faces)[0], 1, 1, 1)))

        @tf.function(input_signature=[_pixels((None, None, None), "faces")])
        def serving_default(faces: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"probabilities": of_framed(framed(faces, size, channels))}

        self.of_framed, self.serving_default = of_framed, serving_default


def _pixels(shape: tuple[int | None, ...], name: str) -> tf.TensorSpec:
    return tf.TensorSpec((None, *shape), tf.uint8, name)


def _alone(classify: Callable[..., tf.Tensor], chosen: Settings, classes: Sequence[str]) -> tuple[Any, Any, Any]:
    """(Framed faces -> probabilities, faces -> answers, files -> answers) of a model that looks at a face alone."""
    shape = size, channels = chosen.template.size, chosen.channels

    @tf.function(input_signature=[_pixels((*size, channels), "faces")])
    def of_framed(faces: tf.Tensor) -> tf.Tensor:
        return tf.cast(classify(view_of(chosen, faces)), tf.float32)

    @tf.function(input_signature=[_pixels((None, None, None), "faces")])
    def serving_default(faces: tf.Tensor) -> dict[str, tf.Tensor]:
        return _answer(of_framed, classes, framed(faces, *shape))

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, "images")])
    def serving_bytes(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return _answer(of_framed, classes, _from_bytes(images, *shape))

    return of_framed, serving_default, serving_bytes


def _beside(classify: Callable[..., tf.Tensor], chosen: Settings, classes: Sequence[str]) -> tuple[Any, Any, Any]:
    """The same of a model that compares: each takes neutral faces, too, one for all faces or one for each."""
    shape = size, channels = chosen.template.size, chosen.channels
    anything, own = (None, None, None), (*size, channels)

    @tf.function(input_signature=[_pixels(own, "faces"), _pixels(own, "references")])
    def of_framed(faces: tf.Tensor, references: tf.Tensor) -> tf.Tensor:
        return tf.cast(classify(view_of(chosen, faces), view_of(chosen, references)), tf.float32)

    @tf.function(input_signature=[_pixels(anything, "faces"), _pixels(anything, "references")])
    def serving_default(faces: tf.Tensor, references: tf.Tensor) -> dict[str, tf.Tensor]:
        return _answer(of_framed, classes, framed(faces, *shape), framed(references, *shape))

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name) for name in ("images", "references")])
    def serving_bytes(images: tf.Tensor, references: tf.Tensor) -> dict[str, tf.Tensor]:
        return _answer(of_framed, classes, _from_bytes(images, *shape), _from_bytes(references, *shape))

    return of_framed, serving_default, serving_bytes


def _answer(
    of_framed: Callable[..., tf.Tensor], classes: Sequence[str], faces: tf.Tensor, references: tf.Tensor | None = None
) -> dict[str, tf.Tensor]:
    """What a signature gives of framed faces, and of the neutral ones where the model compares."""
    count = tf.shape(faces)[0]  # a normalisation of no faces is an error, so there is one at least
    given = [_one_at_least(faces)]
    if references is not None:
        given.append(_for_each(references, count))
    probabilities = of_framed(*given)[:count]
    names = tf.constant(classes, tf.string)
    return {
        "probabilities": probabilities,
        "classes": tf.tile(names[None], (tf.shape(probabilities)[0], 1)),
        "label": tf.gather(names, tf.argmax(probabilities, -1)),
        "confidence": tf.reduce_max(probabilities, -1),
    }


def _one_at_least(faces: tf.Tensor) -> tf.Tensor:
    missing = tf.maximum(0, 1 - tf.shape(faces)[0])
    return tf.ensure_shape(tf.pad(faces, [[0, missing], [0, 0], [0, 0], [0, 0]]), faces.shape)


def _for_each(references: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """A reference for each of `count` faces, or of one where there are none, of one for all or one for each."""
    own = tf.shape(references)[0]
    told = ["references: one for all faces is wanted, or one for each; faces and references are:", count, own]
    with tf.control_dependencies([tf.debugging.Assert((own == 1) | (own == count), told)]):
        times = tf.where(own == 1, tf.maximum(1, count), 1)
    return tf.repeat(_one_at_least(references), times, axis=0)


def _from_bytes(images: tf.Tensor, size: tuple[int, int], channels: int) -> tf.Tensor:
    """Framed faces of JPEG or PNG files: string (N,) -> uint8 (N, height, width, channels)."""
    spec = tf.TensorSpec((*size, channels), tf.uint8)
    return tf.map_fn(lambda data: framed(decoded(data)[None], size, channels)[0], images, fn_output_signature=spec)
