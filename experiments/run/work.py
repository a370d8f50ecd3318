"""The work folder of a run: settings in it, a resume with other settings refused, what else is written whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tensorflow as tf

from fer_tf import files

from .settings import Training, bound


def folder(settings: Training, experiment: str) -> Path:
    """The work folder, made if need be, with flags.json in it.

    Raises:
      ValueError: it cannot be made, or holds a training with other settings; the message names the first that differs.
    """
    path = Path(settings.workdir or f"runs/{experiment}_{settings.preset}")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--workdir={path} cannot be made ({error.strerror}): give another one.") from error
    now, file = bound(settings), path / "flags.json"
    if file.is_file() and any(path.rglob("checkpoint/checkpoint")):  # what nothing was trained with binds nobody
        refuse_changes(path, read(file), now)
    files.write_json(file, now)
    return path


def read(file: Path) -> dict[str, Any]:
    """The settings that a flags.json has.

    Raises:
      ValueError: it has none.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is damaged: give another --workdir.") from error
    if not isinstance(values, dict):
        raise ValueError(f"{file} is damaged: give another --workdir.")
    return values


def refuse_changes(path: Path, begun: dict[str, Any], now: dict[str, Any]) -> None:
    """Raises ValueError where a run that is to be taken up again was begun with other settings."""
    if strangers := sorted({*begun} ^ {*now}):
        raise ValueError(
            f"{path} holds a run of another version of this command, with other settings ({', '.join(strangers)}): "
            "give another --workdir."
        )
    if changed := [k for k in sorted(now) if begun[k] != now[k]]:
        k = changed[0]
        raise ValueError(
            f"{path} holds a run with --{k}={begun[k]}, and now --{k}={now[k]} is asked for: give the same flags to "
            f"go on with it, or another --workdir. Changed: {', '.join(changed)}."
        )


def save_module(module: tf.Module, path: Path) -> None:
    """Writes a module with a `serving_default` as a SavedModel.

    Raises:
      ValueError: something else stands at `path`.
    """
    if path.exists() and not (path / "saved_model.pb").is_file():
        raise ValueError(f"{path} exists and is no SavedModel: remove it, or give another --workdir.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as part:
        tf.saved_model.save(module, str(part), signatures={"serving_default": module.serving_default})
