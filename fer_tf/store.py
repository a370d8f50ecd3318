"""The faces of records: pictures read, cut to the frame of a template, and kept or read anew."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import h5py
import numpy as np
import tensorflow as tf
from PIL import Image

from fer_tf import faces, films, pictures, recordio
from fer_tf.records import Record, is_frame, is_packed

OPEN_FILMS = 4
"""Films that one reader keeps open: each holds several decoded frames."""

Files = dict[str, Any]
"""HDF5 files (h5py.File) and films (films.Film) that are open, by path."""


def read_image(record: Record, files: Files | None = None) -> np.ndarray:
    """The record's picture, decoded and upright: (H, W, 3) uint8.

    Args:
      record: any.
      files: HDF5 files and films already open, by path; opened ones are added, and of the films the oldest closed.
    Raises:
      ValueError: it cannot be read; the message names it.
    """
    image, turn = record.image, record.info.get("turn", 0)
    if is_frame(image):
        image = _frame(*image, files)
    elif is_packed(image):
        image = recordio.read(*image)
    elif isinstance(image, tuple):
        path, index = image
        try:
            if files is None:
                with h5py.File(path, "r") as file:
                    image = file["image"][index]
            else:
                if path not in files:
                    files[path] = h5py.File(path, "r")
                image = files[path]["image"][index]
        except (OSError, KeyError, IndexError, ValueError) as error:
            raise ValueError(f"{record.name} cannot be read from {path}: {error}") from error
        if image.ndim == 1:
            image = image.tobytes()
    try:
        picture = pictures.load_image(image)
    except ValueError as error:
        raise ValueError(str(error) if record.name in str(error) else f"{record.name}: {error}") from error
    return np.ascontiguousarray(np.rot90(picture, -turn // 90)) if turn else picture


def _frame(path: str, number: int, files: Files | None) -> np.ndarray:
    if files is None:
        return films.read(path, number)
    if path not in files:
        opened = [name for name, file in files.items() if isinstance(file, films.Film)]
        if len(opened) >= OPEN_FILMS:
            files.pop(opened[0]).close()
        files[path] = films.Film(path)
    return files[path][number]


def face(record: Record, template: str | faces.Template, channels: int = 1, files: Files | None = None) -> np.ndarray:
    """The record's face in the frame of a template: (H, W, channels) uint8.

    A record whose info has `landmarks` is aligned by them, or by those found in its `box`; one that is `framed` is only
    resized; in any other the largest face is searched for, by the `detector` of its info or by dlib's.

    Raises:
      ValueError: the picture cannot be read or has no face; the message names it.
    """
    try:
        picture = read_image(record, files)
        template = faces.TEMPLATES[template] if isinstance(template, str) else template
        if record.info.get("template", template.name) != template.name:
            raise ValueError(f"was prepared for {record.info['template']}: prepare it with --align={template.name}")
        if record.info.get("framed"):
            height, width = template.size
            wide = Image.fromarray(picture).resize((width, picture.shape[0]), Image.Resampling.BICUBIC)
            cut = np.asarray(wide.resize((width, height), Image.Resampling.BICUBIC))
        else:
            cut = faces.align(picture, template, **_known(record, picture))
    except (ValueError, OSError) as error:
        raise ValueError(str(error) if record.name in str(error) else f"{record.name}: {error}") from error
    if channels == 1:
        cut = np.asarray(Image.fromarray(cut).convert("L"))[..., None]
    return cut


_found: dict[Any, np.ndarray] = {}
"""Where faces were found in this process: a file as it is or a place in it, turn and detector -> (5, 2)."""


def _known(record: Record, picture: np.ndarray) -> dict[str, Any]:
    """What `faces.align` is given of a record: a face in a file that has to be searched for is searched for once."""
    known = {name: record.info[name] for name in ("landmarks", "box", "detector") if name in record.info}
    path = record.image[0] if isinstance(record.image, tuple) else record.image
    if "landmarks" in known or "box" in known or not isinstance(path, (str, os.PathLike)):
        return known
    stamp, detector = os.stat(path), known.get("detector", "dlib")
    key = (record.image, stamp.st_size, stamp.st_mtime_ns, record.info.get("turn", 0), detector)
    if key not in _found:
        _found[key] = faces.find_points(picture, detector=detector)
    return {"landmarks": _found[key]}


def with_faces(records: Sequence[Record], template: str, channels: int = 1) -> list[Record]:
    """The same records, each holding its cut face as an array: align once, use often; info has the picture's place."""
    return [
        replace(r, image=face(r, template, channels), info={"cut_from": r.image, **r.info, "framed": True})
        for r in records
    ]


class Store:
    """The faces of some records in the frame of one template: read when they are asked for, or once and kept.

    Args:
      records: whose faces.
      template: their frame.
      channels: 1 grey, 3 RGB.
      strict: whether a face that cannot be cut is an error; else it is left out.
    Attributes:
      skipped: {place in `records`: why} of those that are left out, as far as they have been read.
    """

    def __init__(self, records: Sequence[Record], template: faces.Template, channels: int, strict: bool):
        self.records, self.template, self.channels, self.strict = records, template, channels, strict
        self.skipped: dict[int, str] = {}
        self._kept: tf.Tensor | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of a face."""
        return (*self.template.size, self.channels)

    @property
    def size(self) -> int:
        """Bytes of all faces."""
        return len(self.records) * int(np.prod(self.shape))

    @property
    def kept(self) -> bool:
        """Whether the faces are in memory; then `skipped` is complete."""
        return self._kept is not None

    def keep(self) -> None:
        """Reads every face now and keeps it; those that are left out stay black.

        Raises:
          ValueError: `strict`, and some cannot be cut; the message counts them and names the first.
        """
        images = self._all(lambda part: part)
        with tf.device("CPU:0"):  # where the pipeline runs
            self._kept = tf.constant(np.concatenate(images))

    def check(self) -> None:
        """As `keep`, but keeps none: where faces are, and which are left out, is known from then on."""
        self._all(lambda part: None)

    def _all(self, of: Callable[[np.ndarray], Any]) -> list[Any]:
        """`of` the faces of one part of the records after the other, as they are read; `skipped` is complete then."""
        parts = np.array_split(np.arange(len(self.records)), max(1, len(self.records) // 256))

        def read(places: np.ndarray) -> tuple[Any, dict[int, str]]:
            images, missed = self.cut(places, strict=False)
            return of(images), missed

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            made = list(pool.map(read, parts))
        missed = {place: why for _, part in made for place, why in part.items()}
        if missed and self.strict:
            first = " ".join(list(missed.values())[:3])
            raise ValueError(
                f"{len(missed)} of {len(self.records)} records cannot be used: {first} "
                "Repair or remove them, or pass --strict=false to go on without them."
            )
        self.skipped = missed
        return [kept for kept, _ in made]

    @functools.cached_property
    def on_device(self) -> tf.Tensor:
        """All faces, kept, on the device that computes: (N, H, W, C) uint8.

        Raises:
          ValueError: they are not kept.
        """
        if self._kept is None:
            raise ValueError("These faces are read anew in every epoch: only those that are kept can be on a device.")
        with tf.init_scope(), tf.device("GPU:0" if tf.config.list_logical_devices("GPU") else "CPU:0"):
            return tf.identity(self._kept)

    def load(self, places: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Faces of the records at these places, in a graph.

        Args:
          places: (N,) int32.
        Returns:
          (N, H, W, C) uint8, and which of them could be cut, (N,) bool: all, where they are kept, since who asks leaves
          the `skipped` ones out beforehand.
        """
        if self._kept is not None:
            return tf.gather(self._kept, places), tf.ones_like(places, tf.bool)
        images, good = tf.numpy_function(self._read, [places], (tf.uint8, tf.bool), stateful=False)
        images.set_shape((None, *self.shape))
        return images, tf.ensure_shape(good, (None,))

    def cut(self, places: np.ndarray, strict: bool) -> tuple[np.ndarray, dict[int, str]]:
        """Faces of the records at these places, read now; HDF5 files and films are opened once for all of them.

        Returns:
          (N, H, W, C) uint8, and {place: why} of those that could not be cut and are black.
        Raises:
          ValueError: `strict`, and one cannot be cut; the message names it.
        """
        images = np.zeros((len(places), *self.shape), np.uint8)
        missed: dict[int, str] = {}
        files: Files = {}
        try:
            for row, place in enumerate(places):
                try:
                    images[row] = face(self.records[place], self.template, self.channels, files)
                except ValueError as error:
                    if strict:
                        raise
                    missed[int(place)] = str(error)
        finally:
            for file in files.values():
                file.close()
        return images, missed

    def _read(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`cut` as a running pipeline needs it: images, and which of them are good, (N,) bool; fills `skipped`."""
        images, missed = self.cut(places, self.strict)
        self.skipped.update(missed)
        return images, ~np.isin(places, list(missed))
