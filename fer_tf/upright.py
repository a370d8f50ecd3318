"""Which way up a picture is, by the face in it. No TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image

from fer_tf import faces, films, pictures

TURNS = (0, 90, 270)
"""Degrees clockwise that may set a picture upright."""
SIDE = 360
"""Pixels of the longer side at which a face is looked for first; then at twice as many."""


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
                found = faces.detect(np.ascontiguousarray(np.rot90(np.asarray(small), -turn // 90)), upsample=upsample)
                if found:
                    scores[turn] = found[0].score
            if scores:
                return max(scores, key=lambda turn: scores[turn])
    return None
