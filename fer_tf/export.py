"""A classifier as a SavedModel that takes faces as they come, with preprocessing, class names and metadata inside.

    export.save(model, "export/fer_net", metadata={"data": "FER-2013"})
    predictor = export.load("export/fer_net")
    predictor(face)                                   # (H, W, 3) uint8 -> (1, K) probabilities

Two signatures, for TensorFlow Serving and `saved_model_cli` too:

    serving_default(faces: uint8 (N, H, W, 1|3), one size a call, any size)
    serving_bytes(images: string (N,): JPEG or PNG files of one face each; EXIF rotation is not applied)
      -> probabilities (N, K) float32; classes (N, K) string, the names of their columns;
         label (N,) string, the likeliest class; confidence (N,) float32, its probability

A model that compares each face with a neutral one of the same person, as `gcnet.GCNet(generator="given")` does, takes
that too: `references`, of the faces' kind, one for all of a call or one for each.

    predictor.beside(neutral)(face)

A face is a picture that is framed already, as `faces.align` gives it: finding it in a photograph is no part of this.
It goes the way of a framed record in the pipeline: resized to the model's template, made grey, cut to the test view,
divided by 255; `framing` does this in the graph.

The metadata are in assets/metadata.json; of a SavedModel that TensorFlow alone has loaded, `loaded.labels()` gives the
class names and `loaded.metadata()` the same JSON.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from fer_tf import compat, devices, files, serving, spec, weights
from fer_tf.faces import Template
from fer_tf.framing import framed as framed
from fer_tf.pictures import load_image
from fer_tf.serving import Module as Module
from fer_tf.serving import Settings as Settings
from fer_tf.serving import settings as settings

TOLERANCE = 1e-5
"""Largest difference between a probability of the SavedModel and of the Keras model, in float32; a model that cannot
keep to it says what it keeps to by `tolerance`."""
_PROCESS: dict[str, int] = {}
PIXELS = 2**22  # of the faces that a predictor puts into one call


def save(
    model: Any,
    path: str | os.PathLike[str],
    *,
    metadata: Mapping[str, Any] | None = None,
    classes: Sequence[str] | None = None,
    views: Any = None,
    template: str | Template | None = None,
    channels: int | None = None,
    faces: Sequence[np.ndarray] | None = None,
) -> float:
    """Writes a SavedModel and checks it against the model; it appears at `path` only if they agree.

    Under a mixed precision policy the float32 twin of the model is written (`in_float32`).

    Args:
      model: built; has `classify`, or else its call gives probabilities: (N, h, w, C) float32 in [0, 1] -> (N, K). One
        that `refers` classifies {"image", "reference"}.
      path: the folder, new or an earlier export, which is replaced.
      metadata: further entries, such as data, metric, commit; must have a JSON form.
      classes: names of the K classes, in the order of the outputs; `model.classes` when left out.
      views, template: as in the model's file, which is asked when they are left out.
      channels: of the images that the model takes: 1 grey, 3 RGB; what it says itself, else 1, when left out.
      faces: uint8 (H, W) or (H, W, 1|3), to compare the two on; noise of several sizes when left out.
    Returns:
      The largest difference of a probability.
    Raises:
      ValueError: they differ by more than `check` allows, the classes do not fit, the metadata have no JSON form, or
        something else stands at `path`. The message says which, and `path` is as before.
    """
    path, chosen, model = Path(path), settings(model, views, template, channels), in_float32(model)
    module = Module(model, classes, chosen, metadata or {})
    if path.exists() and not (path / "saved_model.pb").is_file():
        raise ValueError(f"{path} exists and is no SavedModel: remove it, or export to another folder.")
    files.make_folder(path.parent)
    signatures = {"serving_default": module.serving_default, "serving_bytes": module.serving_bytes}
    with tempfile.TemporaryDirectory() as folder, files.replacing(path) as part:
        asset = Path(folder) / "metadata.json"
        asset.write_text(module.text + "\n")
        module.metadata_file = tf.saved_model.Asset(str(asset))
        tf.saved_model.save(module, str(part), signatures=signatures)
        return check(model, part, faces, **chosen._asdict())


def in_float32(model: Any) -> Any:
    """The model itself if it computes in float32; else a twin that does, with the same weights (float32 anyway): made
    anew from its config under the float32 policy, which replaces half-precision policies inside the config too.

    Raises:
      ValueError: the model cannot be made from its config.
    """
    if not _half(model):
        return model
    before = compat.keras.mixed_precision.global_policy().name
    compat.set_policy("float32")
    try:
        twin = type(model).from_config(_without_half(model.get_config()))
        twin.set_weights(model.get_weights())
    except Exception as error:
        raise ValueError(
            f"{type(model).__name__} computes in half precision and cannot be made anew in float32 from its "
            f"get_config() ({type(error).__name__}: {error}): build it in float32, load the weights, and export that."
        ) from error
    finally:
        compat.set_policy(before)
    if _half(twin):
        raise ValueError(f"{type(model).__name__} keeps to half precision: build it in float32 before exporting it.")
    return twin


def _half(layer: Any) -> bool:
    """Whether a layer, or one below it, computes in half precision."""
    own = getattr(layer, "compute_dtype", None) in ("float16", "bfloat16")
    return own or any(_half(below) for below in compat.sublayers(layer))


def _without_half(config: Any) -> Any:
    """A config with float32 in place of the mixed policies."""
    if isinstance(config, Mapping):
        return {key: _without_half(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return type(config)(_without_half(value) for value in config)
    half = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16")
    return "float32" if isinstance(config, str) and config in half else config


def check(
    model: Any,
    path: str | os.PathLike[str],
    images: Sequence[np.ndarray] | None = None,
    *,
    views: Any = None,
    template: str | Template | None = None,
    channels: int | None = None,
) -> float:
    """Compares both signatures of a SavedModel with the Keras model, fed with faces that Pillow has resized.

    Args:
      model: as in `save`; in half precision its float32 twin is compared.
      path: the SavedModel.
      images: faces, uint8 (H, W) or (H, W, 1|3), each of any size; noise of several sizes when left out.
      views, template, channels: as in `save`.
    Returns:
      The largest difference of a probability, at most TOLERANCE or the model's own.
    Raises:
      ValueError: it is larger, or not a number; the message says where.
    """
    chosen, loaded = settings(model, views, template, channels), tf.saved_model.load(os.fspath(path))
    images = noise(chosen.template) if images is None else [np.asarray(image) for image in images]
    resized = np.stack([_by_pillow(image, chosen) for image in images])
    default, from_bytes = (loaded.signatures[name] for name in ("serving_default", "serving_bytes"))
    view, encoded = [serving.view_of(chosen, tf.constant(resized))], {"images": tf.constant([*map(_png, images)])}
    references: Sequence[np.ndarray] = ()
    if serving.refers(model):  # each stands beside the one before it
        references = [images[-1], *images[:-1]]
        view, encoded["references"] = [*view, tf.roll(view[0], 1, 0)], tf.roll(encoded["images"], 1, 0)
    with devices.whole_float32():
        expected = np.asarray(serving.classifier(in_float32(model))(*view))
        answers = {
            "serving_default": _answers(default, _read_metadata(path), images, references),
            "serving_bytes": from_bytes(**encoded)["probabilities"].numpy(),
        }
    largest, tolerance = 0.0, serving.tolerance_of(model) or TOLERANCE
    for name, probabilities in answers.items():
        same_shape = probabilities.shape == expected.shape
        difference = np.abs(probabilities - expected).max() if same_shape else np.inf
        if not difference <= tolerance:
            raise ValueError(
                f"The export is wrong: {name} differs from the Keras model by {difference:.3g} where at most "
                f"{tolerance:g} is allowed, on {len(images)} faces. Nothing was written."
            )
        largest = max(largest, float(difference))
    return largest


def _answers(
    serve: Callable[..., Mapping[str, tf.Tensor]],
    about: Mapping[str, Any],
    images: Sequence[np.ndarray],
    references: Sequence[np.ndarray],
) -> np.ndarray:
    """What a signature says of faces, each beside its own reference where there are any."""
    if not references:
        return Predictor(serve, about)(images)
    named = []
    for image, reference in zip(images, references, strict=True):
        own = {"references": tf.constant(_pixels(reference)[None])}
        named.append(Predictor(lambda faces, own=own: serve(faces=faces, **own), _of_one(about))(image))
    return np.concatenate(named)


def noise(template: Template) -> list[np.ndarray]:
    """Faces of noise: the template's size, smaller, larger and oblong, grey and RGB."""
    rng, (height, width) = np.random.default_rng(0), template.size
    shapes = ((height, width, 1), (height, width, 3), (48, 48, 1), (2 * height + 9, width + 30, 3), (1, 5, 3))
    return [rng.integers(0, 256, shape, np.uint8) for shape in shapes]


def _by_pillow(image: np.ndarray, chosen: Settings) -> np.ndarray:
    """What `framed` gives, made with Pillow."""
    (height, width), picture = chosen.template.size, Image.fromarray(load_image(image))
    picture = picture.resize((width, picture.height), Image.Resampling.BICUBIC)
    picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    return np.array(picture.convert("L"))[..., None] if chosen.channels == 1 else np.array(picture)


def _png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image).save(stream, "png")
    return stream.getvalue()


def _read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    return json.loads((Path(path) / "assets" / "metadata.json").read_text())


def _of_one(about: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a model that compares, once a neutral face is in it."""
    return {name: value for name, value in about.items() if name != "reference"} | {"beside": "one neutral face"}


class Predictor:
    """Faces -> probabilities, in calls of bounded size.

    Attributes:
      classes: names of the K classes, in the order of the outputs.
      metadata: what `save` was given, and format, model, template, view_size, channels, created, versions; "reference"
        where it compares, "beside" once it has a face, "tolerance" where the model has its own.
      template: the frame of a face, for `faces.align`.
    """

    def __init__(self, serve: Callable[..., Mapping[str, tf.Tensor]], metadata: Mapping[str, Any], owner: Any = None):
        self._serve, self._owner = serve, owner  # the owner's variables live as long as it does
        _refuse_a_fork()
        self.metadata, self.classes = dict(metadata), tuple(metadata["classes"])
        frame = metadata["template"]
        self.template = Template(frame["name"], tuple(frame["size"]), tuple(map(tuple, frame["points"])))

    @property
    def of_framed(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """The model without its resizing: uint8 (N, height, width, channels), the template's size -> (N, K) float32.

        Raises:
          ValueError: an ONNX or LiteRT file, or a SavedModel of before this was kept.
        """
        if not hasattr(self._owner, "of_framed"):
            raise ValueError("This model was exported and cannot be exported once more: give what it was made from.")
        return self._owner.of_framed

    @property
    def refers(self) -> bool:
        """Whether it compares each face with a neutral one of the same person: `beside` takes that."""
        return self.metadata.get("reference") == serving.REFERENCE

    def alone(self) -> Predictor:
        """Itself, if it looks at a face alone; else ValueError."""
        if self.refers:
            raise ValueError(
                "This model compares each face with a neutral one of the same person: give it a picture of that, by "
                "recognise.beside or predict --neutral; of exports a SavedModel alone takes both faces."
            )
        return self

    def comparing(self) -> Predictor:
        """Itself, if it compares; else ValueError."""
        if "beside" in self.metadata and not self.refers:
            raise ValueError(
                "This model is beside one person's neutral face already: give the one that it was made of."
            )
        if not self.refers:
            raise ValueError(
                "This model looks at a face alone and has no use for a neutral one: leave that out, or take a model "
                "that compares, such as gcnet_neutral_rendered2."
            )
        return self

    def beside(self, neutral: Any) -> Predictor:
        """A Predictor of one person's faces, each of which is compared with a neutral one of this person.

        Args:
          neutral: framed as the faces are; a Pillow image, or an array or tensor, uint8 (H, W) or (H, W, 1|3).
        Raises:
          ValueError: it is no face, or this model looks at a face alone.
          RuntimeError: as a call.
        """
        _refuse_a_fork()
        self.comparing()
        size, channels = self.template.size, self.metadata["channels"]
        bound = serving.Bound(self._owner, tf.constant(_pixels(neutral)[None]), size, channels)
        return Predictor(bound.serving_default, _of_one(self.metadata), bound)

    def __call__(self, faces: Any) -> np.ndarray:
        """The probabilities of framed faces.

        Args:
          faces: one face, or several: an array, tensor or list of them, of any sizes in a list. Each is a Pillow image,
            or an array or tensor, uint8 (H, W) grey or (H, W, 1|3), whose colours are RGB. An array or tensor of four
            dimensions holds several, (N, H, W, 1|3); one of three is a single face.
        Returns:
          (N, K) float32, each row summing to one; a single face's N is 1, of none it is 0.
        Raises:
          ValueError: not uint8, or of another shape; or the model compares, and `beside` was not asked.
          RuntimeError: the process was made by fork; see `fer_tf.recognise`.
        """
        _refuse_a_fork()
        self.alone()
        if not isinstance(faces, (list, tuple)):
            faces = _plain(faces)
            faces = faces if faces.ndim == 4 else [faces]
        faces = [_pixels(face) for face in faces]
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for i, face in enumerate(faces):
            by_shape.setdefault(face.shape, []).append(i)
        probabilities = np.zeros((len(faces), len(self.classes)), np.float32)
        for shape, rows in by_shape.items():
            at_once = max(1, PIXELS // (shape[0] * shape[1]))
            for part in (rows[i : i + at_once] for i in range(0, len(rows), at_once)):
                stack = tf.constant(np.stack([faces[i] for i in part]))
                probabilities[part] = self._serve(faces=stack)["probabilities"].numpy()
        return probabilities


def _refuse_a_fork() -> None:
    """TensorFlow's threads stay behind in the process that first had a model; one forked from it waits for ever."""
    if _PROCESS.setdefault("first", os.getpid()) != os.getpid():
        raise RuntimeError(
            "Where a model was loaded before a fork, every model waits for ever in the new process: start processes by "
            'spawn (recognise.pool, multiprocessing.get_context("spawn")).'
        )


def _plain(face: Any) -> np.ndarray:
    """An array of what a face came as."""
    return load_image(face) if isinstance(face, Image.Image) else np.asarray(face)


def _pixels(face: Any) -> np.ndarray:
    """A face as uint8 (H, W, 1|3); ValueError where it is none."""
    plain = _plain(face)
    pixels = plain[..., None] if plain.ndim == 2 else plain
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] not in (1, 3) or not pixels.size:
        raise ValueError(f"A face is uint8 (H, W) or (H, W, 1|3): this one is {pixels.dtype} {pixels.shape}.")
    return pixels


def load(path: str | os.PathLike[str]) -> Predictor:
    """Loads what `save` wrote.

    Raises:
      FileNotFoundError: there is no such folder.
      ValueError: it is no SavedModel of ours.
    """
    _refuse_a_fork()
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"There is no exported model {path}.")
    if not ((path / "saved_model.pb").is_file() and (path / "assets" / "metadata.json").is_file()):
        raise ValueError(f"{path} is no model that fer_tf exported: saved_model.pb or assets/metadata.json is missing.")
    loaded = tf.saved_model.load(str(path))
    return Predictor(loaded.signatures["serving_default"], _read_metadata(path), loaded)


def predictor(model: Any, classes: Sequence[str] | None = None, **options: Any) -> Predictor:
    """A Keras model as a Predictor, with the same preprocessing and nothing written; `options`: those of `settings`."""
    module = Module(in_float32(model), classes, settings(model, **options), {})
    return Predictor(module.serving_default, json.loads(module.text), module)


def rebuild(path: str | os.PathLike[str]) -> Any:
    """The Keras model of a weights file, made from the config in the file's provenance, with the weights in it.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is damaged, or its provenance has no config; `model` there names the class, FER-Net when left out.
    """
    _refuse_a_fork()
    provenance = weights.provenance(path)
    if "config" not in provenance:
        raise ValueError(f"{path} does not say how its model was built: its provenance has no config.")
    model = spec.build({"model": provenance.get("model", "fer_net.FERNet"), "config": provenance["config"]})
    weights.load(model, path)
    return model


def from_weights(path: str | os.PathLike[str]) -> Predictor:
    """A weights file as a Predictor; errors as `rebuild`, and ValueError for a model that names no expression."""
    model = rebuild(path)
    if not hasattr(model, "classify"):
        raise ValueError(f"{path} holds a {type(model).__name__}, which names no expression: give a recogniser's file.")
    return predictor(model)


def released(name: str) -> Predictor:
    """Released weights as a Predictor, by their name ("fer_net_fer2013"); errors as `weights.released`."""
    return from_weights(weights.released(name))
