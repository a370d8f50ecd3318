"""Which way up a picture is, by the face in it. No TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

from fer_tf import faces, films, pictures

TURNS = (0, 90, 270)
"""Degrees clockwise that may set a film of a camera that lay on its side upright."""
ALL_TURNS = (0, 90, 180, 270)
"""Those of a photograph."""
SIDE = 360
"""Pixels of the longer side at which a face is looked for first; then at twice as many."""


def found(image: np.ndarray, **search: Any) -> tuple[int, list[faces.Face]]:
    """(degrees clockwise that set a picture upright, its faces): of all four turns, that of the surest face.

    Args:
      image: (H, W) or (H, W, 1|3) uint8.
      search: of `faces.detect`.
    Returns:
      The faces are as `faces.detect` gives them, in pixels of the picture as it was turned; 0 and none where no turn
      shows one.
    """
    best: tuple[int, list[faces.Face]] = 0, []
    for turn in ALL_TURNS:
        seen = faces.detect(turned(image, turn), **search)
        if max((f.score for f in seen), default=-np.inf) > max((f.score for f in best[1]), default=-np.inf):
            best = turn, seen
    return best


def turned(image: np.ndarray, turn: int) -> np.ndarray:
    """A picture turned by so many degrees clockwise, a multiple of 90."""
    return np.ascontiguousarray(np.rot90(image, -turn // 90))


def turned_back(box: faces.Box, turn: int, size: tuple[int, int]) -> faces.Box:
    """The place in a picture of a box in the picture that `turned` made of it.

    Args:
      box: (left, top, right, bottom) in pixels of the turned picture.
      turn: degrees clockwise by which it was turned.
      size: (height, width) of the picture itself.
    """
    height, width = size
    left, top, right, bottom = box
    if turn == 90:
        return top, height - right, bottom, height - left
    if turn == 180:
        return width - right, height - bottom, width - left, height - top
    return (width - bottom, left, width - top, right) if turn == 270 else box


def turn_of(frames: Iterable[str | tuple[str, int]]) -> int | None:
    """The turn by which dlib finds a frontal face in one of the pictures; of several the one it is surest of.

    Args:
      frames: pictures of one camera that was not moved between them, or (film, number of the frame); the first in
        which a face is found decides.
    Returns:
      0, 90 or 270 degrees clockwise; None where no face is found in any.
    Raises:
      ValueError: one cannot be read.
    """
    for frame in frames:
        picture = films.read(*frame) if isinstance(frame, tuple) else pictures.load_image(frame)
        small = Image.fromarray(np.asarray(picture))
        small.thumbnail((SIDE, SIDE))
        for upsample in (0, 1):
            scores = {}
            for turn in TURNS:
                seen = faces.detect(turned(np.asarray(small), turn), upsample=upsample)
                if seen:
                    scores[turn] = seen[0].score
            if scores:
                return max(scores, key=lambda turn: scores[turn])
    return None
