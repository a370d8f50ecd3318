"""Names the expression of every face in photographs, folders and films.

    from fer_tf import recognise

    for face in recognise.photo("photo.jpg"):
        print(face.expression, face.confidence, face.box, face.probabilities["happiness"])
    for photo in recognise.folder("holiday"):
        print(photo.path, photo.error or photo.faces)
    for frame in recognise.film("clip.mp4", every=5):       # "0" is the first camera
        print(frame.seconds, frame.faces)

A *picture* is a file's path, the bytes of such a file (JPEG, PNG and what else Pillow reads), a Pillow image, or a
NumPy array or TensorFlow tensor: uint8 (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGB with transparency, which is put on
white (uint16, bool, and float in [0, 1] are converted). The order of the colours is RGB; OpenCV reads BGR, of which
`bgr[..., ::-1]` is the picture. The EXIF rotation of files, bytes and Pillow images is applied, and boxes are in pixels
of the upright picture.

A *model* is a short name ("se_resnet", which is the default, "fer_net", "ia_gen", "ed2l"), the name of released weights
("ia_gen_rendered2"), the path of a weights file, of an exported folder, or of an ONNX or LiteRT file (`fer-tf export`),
or an `export.Predictor`. Names come before files: "./fer_net" is the folder. A model is loaded once and kept, until its
file changes. The default names eight expressions, contempt and neutral among them; FER-Net seven, without contempt.

A model that *compares*, such as "gcnet_neutral_rendered2", reads one person beside a picture of their neutral face:

    anna = recognise.beside("anna_neutral.jpg", model="gcnet_neutral_rendered2")
    recognise.photo("anna.jpg", model=anna, all_faces=False)

A picture without a face gives an empty list and no error. What cannot be read is a ValueError of one sentence, and a
file that is not there a FileNotFoundError. TensorFlow is imported when the first model is loaded.

TensorFlow's threads do not live on in a process made by fork. Where a model was loaded before, every model would wait
for ever in the new process; it is a RuntimeError there. `recognise.pool()` is a pool of processes that start anew:

    with recognise.pool() as pool:
        for faces in pool.imap(recognise.photo, paths): ...
"""

from __future__ import annotations

import math
import multiprocessing
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from fer_tf import albums, films, tracks
from fer_tf import upright as turns
from fer_tf.answers import Face as Face
from fer_tf.answers import Frame as Frame
from fer_tf.answers import Photo as Photo
from fer_tf.faces import SURE, Box, Template, align, detect
from fer_tf.named import DEFAULT as DEFAULT
from fer_tf.named import SHORT_NAMES as SHORT_NAMES
from fer_tf.named import model_path as model_path
from fer_tf.named import predictor as predictor
from fer_tf.pictures import load_image

if TYPE_CHECKING:  # it imports TensorFlow
    from multiprocessing.pool import Pool

    from fer_tf import export
    from fer_tf.named import Model

MEMORY = 2**27
"""Bytes of decoded pictures that wait for a full batch."""
PATIENCE = 1.0
"""Seconds that a face waits for others to be looked at together."""
Item = TypeVar("Item")


class _CutOut(NamedTuple):
    """A face that is cut out and has no name yet."""

    box: Box
    score: float | None
    pixels: np.ndarray


def photo(
    picture: Any,
    *,
    model: Model = DEFAULT,
    all_faces: bool = True,
    min_score: float = SURE,
    detector: str = "dlib",
    upright: bool = False,
) -> list[Face]:
    """Finds and names the faces of one picture.

    Args:
      picture: a path, bytes, a Pillow image, or an RGB array or tensor; see above.
      model: a name, a path or an `export.Predictor`; see above.
      all_faces: every face rather than the largest.
      min_score: faces that the detector scores lower are dropped; 0 finds doubtful ones too.
      detector: "dlib", or "mtcnn" (extra `mtcnn`), see `faces.detect`.
      upright: look at the picture in all four turns, of which that of the surest face counts: for pictures that lie on
        their side, or stand on their head, without a mark. Takes four times as long.
    Returns:
      Largest first; empty where no face is found.
    Raises:
      FileNotFoundError: no such picture, or no such model.
      ValueError: it cannot be read as a picture, or the model is none.
    """
    pixels = _pixels(picture)
    classifier = predictor(model)
    return _classify([_cut_out(pixels, classifier.template, all_faces, min_score, detector, upright)], classifier)[0]


def folder(path: str | os.PathLike[str], **options: Any) -> Iterator[Photo]:
    """Finds and names the faces of every picture that lies in a folder, in the order of their names.

    Args:
      path: of the folder; folders in it are left alone, as is what `albums.folder(path).left` counts.
      options: those of `photos`.
    Returns:
      An iterator over a `Photo` a file; a broken file has an `error`, and the others go on.
    Raises:
      FileNotFoundError: no such folder, or no such model.
      ValueError: it holds no pictures (`pictures.endings()`), or the model is none.
    """
    if not os.path.isdir(path):
        raise FileNotFoundError(f"{path}: there is no such folder; a single picture goes to recognise.photo")
    if not (album := albums.folder(path)).files:
        left = f", only {album.left_alone()}" if album.left else ""
        raise ValueError(f"{path}: the folder has no pictures{left}")
    return photos(album.files, **options)


def photos(
    paths: Iterable[str | os.PathLike[str]],
    *,
    model: Model = DEFAULT,
    all_faces: bool = True,
    min_score: float = SURE,
    detector: str = "dlib",
    upright: bool = False,
    batch_size: int = 64,
    pictures: bool = False,
) -> Iterator[Photo]:
    """Finds and names the faces of picture files, with a bounded number of pictures in memory.

    Args:
      paths: of the files, or of one.
      model, all_faces, min_score, detector, upright: as of `photo`.
      batch_size: faces that the model sees together; none waits for the others longer than PATIENCE.
      pictures: whether each `Photo` holds its pixels, to draw on.
    Returns:
      An iterator over a `Photo` a file, in their order, each as soon as it and those before it are ready; a broken
        file has an `error`, and the others go on.
    Raises:
      FileNotFoundError: no such model.
      ValueError: the model is none, or `batch_size` is below 1.
    """
    classifier = predictor(model)
    paths = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    search = (all_faces, min_score, detector, upright)
    inspected = (_inspect(Path(path), classifier.template, search, pictures) for path in paths)
    return _classified(inspected, classifier, _positive(batch_size, "batch_size"))


def _inspect(
    path: Path, template: Template, search: tuple[bool, float, str, bool], pictures: bool
) -> tuple[Photo, list[_CutOut]]:
    try:
        pixels = _pixels(path)
        cuts = _cut_out(pixels, template, *search)
    except (ValueError, OSError) as error:
        return Photo(path, [], error), []
    return Photo(path, [], None, pixels if pictures else None), cuts


def _classified(
    inspected: Iterable[tuple[Photo, list[_CutOut]]], classifier: export.Predictor, batch_size: int
) -> Iterator[Photo]:
    waiting: list[tuple[Photo, list[_CutOut]]] = []
    count, memory, since = 0, 0, 0.0

    def named() -> Iterator[Photo]:
        faces = _classify([cuts for _, cuts in waiting], classifier)
        yield from (one._replace(faces=own) for (one, _), own in zip(waiting, faces, strict=True))
        waiting.clear()

    for one, cuts in inspected:
        if not cuts and not waiting:
            yield one
            continue
        if not waiting:
            count, memory, since = 0, 0, time.monotonic()
        waiting.append((one, cuts))
        count, memory = count + len(cuts), memory + (0 if one.picture is None else one.picture.nbytes)
        if count >= batch_size or memory >= MEMORY or time.monotonic() - since >= PATIENCE:
            yield from named()
    if waiting:
        yield from named()


def film(path: str | os.PathLike[str] | int, every: int = 1, **options: Any) -> Iterator[Frame]:
    """Finds and names the faces of a film's frames.

    Args:
      path: of the film; the number of a camera, or an address, as of `films.Film`.
      every: each so-many-th frame is inspected, from the first.
      options: model, all_faces, min_score, detector and batch_size, as of `frames`.
    Yields:
      A `Frame` for each one inspected, without its picture. What is damaged is left out, with a UserWarning at the end.
    Raises:
      FileNotFoundError: no such film, or no such model.
      ValueError: it cannot be read as a film, or the model is none.
    """
    _positive(every, "every")
    with films.Film(path) as opened:
        if opened.live:
            options = {"batch_size": 1, **options}
        for frame in frames((frame for frame in opened if frame[0] % every == 0), **options):
            yield frame._replace(picture=None)
        if opened.damage:
            warnings.warn(opened.damage, stacklevel=2)


def frames(
    film: Iterable[films.Frame],
    every: int = 1,
    *,
    model: Model = DEFAULT,
    all_faces: bool = True,
    min_score: float = SURE,
    detector: str = "dlib",
    batch_size: int = 64,
) -> Iterator[Frame]:
    """Finds and names faces in frames that follow each other, with a bounded number of them in memory.

    Args:
      film: (number, seconds, (H, W, 3) uint8), such as an open `films.Film` gives, or a camera.
      every: frames whose number it divides are inspected; their faces stay until the next.
      model, all_faces, min_score, detector: as of `photo`.
      batch_size: inspected frames that wait for each other; 1 answers at once.
    Yields:
      A `Frame` for each one, with its picture. A person's faces have one `number`, as `tracks.Tracks` gives them.
    Raises:
      FileNotFoundError: no such model.
      ValueError: the film is damaged, the model is none, or `every` or `batch_size` is below 1.
    """
    classifier = predictor(model)
    kept: list[Face] = []
    people = tracks.Tracks()
    count = _positive(every, "every") * _positive(batch_size, "batch_size")

    def inspect(frame: films.Frame) -> list[_CutOut]:
        return _cut_out(frame[2], classifier.template, all_faces, min_score, detector)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for batch in _batches(film, lambda frame: (1, frame[2].nbytes), count):
            inspected = [frame for frame in batch if frame[0] % every == 0]
            faces = _classify(list(pool.map(inspect, inspected)), classifier)
            by_number = {
                frame[0]: _numbered(own, frame[1], people) for frame, own in zip(inspected, faces, strict=True)
            }
            for number, seconds, picture in batch:
                kept = by_number.get(number, kept)
                yield Frame(number, seconds, kept, number in by_number, picture)


def _numbered(faces: list[Face], seconds: float, people: tracks.Tracks) -> list[Face]:
    numbers = people.numbers([face.box for face in faces], seconds)
    return [replace(face, number=number) for face, number in zip(faces, numbers, strict=True)]


def faces(cut_out: Any, *, model: Model = DEFAULT) -> list[Face]:
    """Names faces that are cut out already, framed as `faces.align` frames them; nothing is detected.

    Args:
      cut_out: one picture of a face, of any size; or several: a list, or an array or tensor (N, H, W, 3).
      model: as of `photo`.
    Returns:
      One `Face` a picture, in their order; its box is the whole picture, its score None.
    Raises:
      FileNotFoundError, ValueError: as of `photo`.
    """
    many = isinstance(cut_out, (list, tuple)) or len(getattr(cut_out, "shape", ())) == 4
    pixels = [_pixels(picture) for picture in (cut_out if many else [cut_out])]
    whole = [_CutOut((0.0, 0.0, float(p.shape[1]), float(p.shape[0])), None, p) for p in pixels]
    return _classify([whole], predictor(model))[0]


def beside(
    neutral: Any, *, model: Model, min_score: float = SURE, detector: str = "dlib", upright: bool = False
) -> export.Predictor:
    """A model for one person's pictures, each of which is compared with a neutral face of this person.

    Whoever else is in a picture would be compared with the same face: `all_faces=False` names the largest alone. In a
    pool, each process makes its own.

    Args:
      neutral: a picture of the person's neutral face, of any kind, the largest in it. Of one that is cut out and framed
        already, `predictor(model).beside(face)` does the same.
      model: one that compares, as of `photo`.
      min_score, detector, upright: as of `photo`; how the face is looked for.
    Returns:
      What the other functions take as `model`.
    Raises:
      FileNotFoundError: no such picture, or no such model.
      ValueError: it cannot be read as a picture, no face is found in it, or the model looks at a face alone.
    """
    pixels, classifier = _pixels(neutral), predictor(model).comparing()
    found = _cut_out(pixels, classifier.template, False, min_score, detector, upright)
    if not found:
        raise ValueError("no face was found in the neutral picture: give another, or a lower min_score")
    return classifier.beside(found[0].pixels)


def pool(processes: int | None = None) -> Pool:
    """A pool of processes that start anew (spawn), one a core when left out; each loads the model once for itself.

    A script that makes one does so below `if __name__ == "__main__":`.
    """
    return multiprocessing.get_context("spawn").Pool(processes)


def _pixels(picture: Any) -> np.ndarray:
    """A picture of any kind as (H, W, 3) uint8, upright; errors as of `photo`."""
    if isinstance(picture, (str, os.PathLike)):
        ending = Path(picture).suffix.lower()
        if os.path.isdir(picture):
            raise ValueError(f"{picture}: is a folder, not a picture: give it to recognise.folder")
        if ending in films.ENDINGS and os.path.isfile(picture):
            raise ValueError(f"{picture}: is a film, not a picture: give it to recognise.film")
        return load_image(picture)
    if hasattr(picture, "numpy"):  # a tensor; of a text, such as tf.io.read_file gives, the bytes
        picture = picture.numpy()
    elif hasattr(picture, "__array__") and not isinstance(picture, Image.Image):
        picture = np.asarray(picture)
    if isinstance(picture, (bytes, bytearray, memoryview, Image.Image)):
        return load_image(picture)
    if not isinstance(picture, np.ndarray):
        raise ValueError(
            "a picture is a path, bytes, a Pillow image, a NumPy array or a tensor with values, not "
            f"{type(picture).__name__}; several are given one by one, or as a folder to recognise.folder"
        )
    try:
        return load_image(picture)
    except ValueError as error:
        raise ValueError(f"{error}: give RGB as uint8 (H, W, 3), grey as uint8 (H, W)") from None


def _cut_out(
    picture: np.ndarray, template: Template, all_faces: bool, min_score: float, detector: str, upright: bool = False
) -> list[_CutOut]:
    """The faces of a picture, (H, W, 3) uint8, largest first."""
    search: dict[str, Any] = {"all": all_faces, "min_score": min_score, "detector": detector}
    turn, found = turns.found(picture, **search) if upright else (0, detect(picture, **search))
    seen, size = turns.turned(picture, turn), (picture.shape[0], picture.shape[1])
    return [
        _CutOut(turns.turned_back(face.box, turn, size), face.score, align(seen, template, box=face)) for face in found
    ]


def _classify(groups: Sequence[Sequence[_CutOut]], classifier: export.Predictor) -> list[list[Face]]:
    """The faces of each group with their expressions; the model sees those of all groups together."""
    rows = iter(classifier([cut.pixels for cuts in groups for cut in cuts]).tolist())
    return [[_face(cut, next(rows), classifier.classes) for cut in cuts] for cuts in groups]


def _face(cut: _CutOut, row: Sequence[float], classes: Sequence[str]) -> Face:
    probabilities = dict(zip(classes, row, strict=True))
    if not all(map(math.isfinite, row)):
        raise ValueError("the model gives no finite probabilities: its weights are of no use")
    expression = max(probabilities, key=probabilities.__getitem__)
    return Face(cut.box, cut.score, expression, probabilities[expression], probabilities)


def _batches(items: Iterable[Item], sizes: Callable[[Item], tuple[int, int]], count: int) -> Iterator[list[Item]]:
    """Gathers items until they come to `count`, or fill MEMORY; `sizes` gives what each counts and its bytes."""
    batch: list[Item] = []
    total = memory = 0
    for item in items:
        batch.append(item)
        counted, size = sizes(item)
        total, memory = total + counted, memory + size
        if total >= count or memory >= MEMORY:
            yield batch
            batch, total, memory = [], 0, 0
    if batch:
        yield batch


def _positive(number: int, name: str) -> int:
    if number < 1:
        raise ValueError(f"{name}={number}: 1 or more is wanted")
    return number
