"""MTCNN: a cascade of three small nets that finds faces of 20 pixels and more with five points of each.

Zhang et al.: "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks" (IEEE SPL 2016), as
the package mtcnn has it (extra `mtcnn`), with its weights. ED2L's faces were cut by it; its points are GCNet's five.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import math
import threading
from typing import Any

import numpy as np
from PIL import Image

MISSING = 'MTCNN needs the package mtcnn: `pip install "fer-tf[mtcnn]"`, or --detector=dlib.'
SIDE, WHOLE = 1024, 2**24
"""Pixels of the longer side of the copy that is looked through first, and of all of the second."""
Found = tuple[tuple[float, float, float, float], float, np.ndarray]
_LOCK = threading.Lock()


def installed() -> bool:
    """Whether the package is there."""
    return importlib.util.find_spec("mtcnn") is not None


def need() -> None:
    """Raises ModuleNotFoundError, with the command that installs it, where the package is not there."""
    if not installed():
        raise ModuleNotFoundError(MISSING)


@functools.cache
def _nets() -> Any:
    """The cascade, on the CPU, whose results do not depend on the machine's GPU."""
    need()
    return importlib.import_module("mtcnn").MTCNN(device="CPU:0")


def find(image: np.ndarray) -> list[Found]:
    """The faces of a picture: in a copy of up to `SIDE` pixels, and, where that shows none, in the picture itself.

    A copy takes a third of a second on a core, a photograph of 12 megapixels ten.

    Args:
      image: (H, W) or (H, W, 3) uint8.
    Returns:
      (box (left, top, right, bottom), score in [0, 1], points (5, 2) float64), largest first, in pixels of the image:
      eye centres, left of the picture first, nose tip, mouth corners likewise.
    Raises:
      ModuleNotFoundError: the package is not installed.
    """
    nets, (height, width) = _nets(), image.shape[:2]
    whole = min(1.0, math.sqrt(WHOLE / (height * width)))
    picture = Image.fromarray(image).convert("RGB")
    for scale in dict.fromkeys((min(whole, SIDE / max(height, width)), whole)):
        size = max(1, round(width * scale)), max(1, round(height * scale))
        copy = picture if size == picture.size else picture.resize(size, Image.Resampling.BICUBIC)
        with _LOCK:  # Keras's nets are one for all threads
            rows = nets.detect_faces(np.asarray(copy), box_format="xyxy", output_type="numpy", fit_to_image=False)
        if len(rows):
            return _faces(np.asarray(rows, float), np.array([size[0] / width, size[1] / height]))
    return []


def _faces(rows: np.ndarray, factors: np.ndarray) -> list[Found]:
    """Rows of the package: number of the picture, box, score, five x, five y."""
    found: list[Found] = []
    for row in rows:
        left, top, right, bottom = (row[1:5] / np.tile(factors, 2)).tolist()
        points = np.stack([row[6:11], row[11:16]], -1) / factors
        found.append(((left, top, right, bottom), float(row[5]), points))
    return sorted(found, key=lambda face: face[0][0] - face[0][2])
