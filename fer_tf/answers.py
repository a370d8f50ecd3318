"""What `fer_tf.recognise` answers: faces with their expressions, of photographs and of film frames. No TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fer_tf.faces import Box


@dataclass(frozen=True, slots=True)
class Face:
    """A face and its expression.

    Attributes:
      box: (left, top, right, bottom) in pixels of the upright picture; it may reach outside.
      score: the detector's, near 0 where it doubts and above 1 where it is sure; None where nothing was detected, in
        faces that came cut out.
      expression: name of the likeliest class.
      confidence: its probability, in [0, 1].
      probabilities: class -> probability, in the order of the model's classes; their sum is 1.
      number: in a film, of the person, from 1, as `tracks` tells them; else None.
    """

    box: Box
    score: float | None
    expression: str
    confidence: float
    probabilities: Mapping[str, float] = field(hash=False)
    number: int | None = None


class Photo(NamedTuple):
    """A picture file and its faces.

    Attributes:
      path: of the file.
      faces: largest first; empty where there is none, or where the file cannot be read.
      error: ValueError or OSError where it cannot be read, else None.
      picture: (H, W, 3) uint8, upright, where it was asked for and could be read, else None.
    """

    path: Path
    faces: list[Face]
    error: Exception | None = None
    picture: np.ndarray | None = None


class Frame(NamedTuple):
    """A frame of a film and its faces.

    Attributes:
      number: from 0.
      seconds: since the first.
      faces: largest first; of an earlier frame where this one was not inspected.
      inspected: whether faces were looked for in this frame.
      picture: (H, W, 3) uint8, where the function gives it, else None.
    """

    number: int
    seconds: float
    faces: list[Face]
    inspected: bool = True
    picture: np.ndarray | None = None
