"""What Keras is told by the environment or ~/.keras/keras.json, as far as it decides what runs here. No TensorFlow."""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Iterator
from pathlib import Path

NEEDED = {"backend": "tensorflow", "image_data_format": "channels_last", "floatx": "float32"}
"""What keras.json may say: its key -> the one value that works."""


def refuse_others() -> None:
    """Raises ImportError where Keras is told to run on another backend than TensorFlow, or with other defaults.

    Keras 2 always runs on TensorFlow: the backend does not matter to it.
    """
    for where, key, value in _told():
        if value != NEEDED[key]:
            cure = "change it there" + ", or set KERAS_BACKEND=tensorflow" * (key == "backend")
            cure = "unset it, or set it to tensorflow" if where == "KERAS_BACKEND" else cure
            raise ImportError(f"fer_tf runs on Keras with {key} {NEEDED[key]}, and {where} says {value}: {cure}.")


def _told() -> Iterator[tuple[str, str, str]]:
    """(where it is said, key of NEEDED, value), each that counts."""
    told = _file()
    spoken = os.environ.get("KERAS_BACKEND", "")
    for key in NEEDED:
        if key == "backend" and not _keras_3():
            continue
        if key == "backend" and spoken:
            yield "KERAS_BACKEND", key, spoken
        elif isinstance(value := told.get(key), str):
            yield str(_place()), key, value


def _place() -> Path:
    """Where Keras looks for keras.json."""
    home = os.environ.get("KERAS_HOME")
    if home is None:
        base = os.path.expanduser("~")
        home = os.path.join(base if os.access(base, os.W_OK) else "/tmp", ".keras")  # as Keras has it
    return Path(os.path.expanduser(home)) / "keras.json"


def _file() -> dict[str, object]:
    try:
        told = json.loads(_place().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # Keras passes a damaged one by, too
    return told if isinstance(told, dict) else {}


def _keras_3() -> bool:
    try:
        return int(importlib.metadata.version("keras").split(".")[0]) >= 3
    except importlib.metadata.PackageNotFoundError:
        return True
