"""Views a second: the pipeline's, and those of a plain loop that warps, slices and flips with Pillow or OpenCV."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import tensorflow as tf
from PIL import Image

from fer_tf import augment
from fer_tf.records import CLASSES
from fer_tf.streams import onward

from .clock import rate
from .feed import Feed

Turn = Callable[[np.ndarray, float], np.ndarray]
"""Rotates a (H, W) uint8 face by degrees counter-clockwise."""


def measure(name: str, settings: Any) -> dict[str, dict[str, float]]:
    """Views a second of wall and of CPU time: the pipeline alone, through to batches, and the plain loops."""
    module = importlib.import_module(f"fer_tf.models.{name}")
    feed = Feed(name, module, {"image": tf.zeros((1, 1, 1, 1))}, CLASSES["seven"], settings, resize=False)
    batches = iter(onward(feed.data.epoch, 0))  # as in training

    def epoch() -> int:
        return sum(len(next(batches)["image"]) for _ in range(len(feed.data)))

    epoch()
    rates = {"pipeline": rate(epoch, settings.repeats)}
    if isinstance(feed.views, augment.Views):
        some = feed.faces[: min(64, len(feed.faces))]
        for name, turn in plain_turns().items():
            plain = lambda turn=turn: sum(len(plain_views(face, feed.views, turn)) for face in some)  # noqa: E731
            rates[name] = rate(plain, settings.repeats)
            rates["pipeline"][f"of_{name}"] = rates["pipeline"]["per_cpu_second"] / rates[name]["per_cpu_second"]
    return rates


def plain_turns() -> dict[str, Turn]:
    """Library name -> its rotation."""
    turns = {"pillow": lambda face, angle: np.asarray(Image.fromarray(face).rotate(angle, Image.Resampling.BILINEAR))}
    cv2.setNumThreads(1)

    def turn(face: np.ndarray, angle: float) -> np.ndarray:
        height, width = face.shape
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
        return cv2.warpAffine(face, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)

    return {"opencv": turn, **turns}


def plain_views(face: np.ndarray, views: augment.Views, turn: Turn) -> list[np.ndarray]:
    """All views of one (H, W) uint8 face in the order of the index, as a straightforward loop makes them."""
    (height, width), made = views.size, []
    corners = augment.crop_offsets(views.source, views.size)
    if views.crop_first:
        crops = [face[top : top + height, left : left + width] for top, left in corners]
        plain = [turn(crop, angle) for crop in crops for angle in views.angles]
    else:
        turned = [turn(face, angle) for angle in views.angles]
        plain = [whole[top : top + height, left : left + width] for whole in turned for top, left in corners]
    for view in plain:
        made += [view.copy(), view[:, ::-1].copy()]
    return made
