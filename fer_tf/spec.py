"""How a model names another one that it holds, in its config and in the provenance of its weights.

A model that holds another one (IA-gen its FER-Net) gets it as an argument, and names it in its config by a *spec*:
{"model": "fer_net.FERNet", "config": {...}}, plain values that have a JSON form on both Keras versions.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any


def describe(model: Any) -> dict[str, Any] | None:
    """How to build a model of this package again, without its weights; None for None."""
    if model is None:
        return None
    module = type(model).__module__.rsplit(".", 1)[-1]
    return {"model": f"{module}.{type(model).__name__}", "config": model.get_config()}


def build(described: Any) -> Any:
    """Builds the model that a spec describes; what is no spec (a model, or None) comes back as it is.

    Raises:
      ValueError: a spec that names no model of this package.
    """
    if not isinstance(described, Mapping):
        return described
    module, _, name = str(described.get("model")).rpartition(".")
    try:
        kind = getattr(importlib.import_module(f"fer_tf.models.{module}"), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"fer_tf.models has no {described.get('model')!r}: {error}") from error
    return kind(**described["config"])
