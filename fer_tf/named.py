"""A model by its name or by where it lies, loaded once and kept. TensorFlow is imported with the first one."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # it imports TensorFlow
    from fer_tf import export

    Model = str | os.PathLike[str] | export.Predictor

SHORT_NAMES = {
    "se_resnet": "se_resnet_ferplus",
    "fer_net": "fer_net_fer2013",
    "ia_gen": "ia_gen_rendered2",
    "ed2l": "ed2l_fer2013",
}
"""Short name -> released weights."""
DEFAULT = "se_resnet"
"""The model that answers where none is named."""


def predictor(model: Model = DEFAULT) -> export.Predictor:
    """Loads a model, or takes the one that was loaded before.

    Args:
      model: a name, the path of a weights file or an exported folder, or a Predictor, which is given back.
    Raises:
      FileNotFoundError: there is no such file or name; the message lists the names.
      ValueError: the file is damaged, or what is given is no model.
    """
    from fer_tf import export

    if isinstance(model, export.Predictor):
        return model
    path = model_path(model)
    return _loaded(path, *_version(path))


def model_path(model: Any) -> Path:
    """The file or folder of a model; errors as of `predictor`."""
    from fer_tf import weights

    if not isinstance(model, (str, os.PathLike)):
        raise ValueError(
            f"a model is a name, a path or an export.Predictor, not {type(model).__name__}: "
            "of a Keras model export.predictor(model) makes one"
        )
    if isinstance(model, str) and not model.endswith(".h5"):
        with suppress(FileNotFoundError):
            return weights.released(SHORT_NAMES.get(model, model))
    if Path(model).exists():
        return Path(model).resolve()
    try:
        return weights.released(os.fspath(model))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{model}: there is no such file or folder, and {error}") from None


def _version(path: Path) -> tuple[int, int]:
    """What changes when a model's file does."""
    file = path / "saved_model.pb" if path.is_dir() else path
    return (file.stat().st_mtime_ns, file.stat().st_size) if file.exists() else (0, 0)


@lru_cache(maxsize=4)
def _loaded(path: Path, changed: int, size: int) -> export.Predictor:
    from fer_tf import conversion, export

    if path.suffix.lower() in conversion.FORMATS and path.is_file():
        return conversion.load(path)
    return export.load(path) if path.is_dir() else export.from_weights(path)
