"""DE-GAN's generator as a SavedModel: a face and a person of training -> the face's expression on that person."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from fer_tf import export
from fer_tf.faces import TEMPLATES
from fer_tf.models import de_gan

from ...run import work


class Transfer(tf.Module):
    """The generator with its preprocessing: faces (N, ?, ?, 1|3) uint8 and identity (N,) int32 -> faces, uint8.

    `identities()` gives the people's names, in the order of the numbers; `metadata()` a JSON text.
    """

    def __init__(self, gan: de_gan.DEGAN, about: Mapping[str, Any]):
        super().__init__(name="transfer")
        size, names = TEMPLATES[de_gan.TEMPLATE].size, tf.constant(gan.subjects, tf.string)
        metadata = {"model": "DEGAN", "identities": list(gan.subjects), "classes": list(gan.classes), **about}
        text = json.dumps(metadata, indent=1)

        @tf.function(
            input_signature=[
                tf.TensorSpec((None, None, None, None), tf.uint8, "faces"),
                tf.TensorSpec((None,), tf.int32, "identity"),
            ]
        )
        def serving_default(faces: tf.Tensor, identity: tf.Tensor) -> dict[str, tf.Tensor]:
            known = tf.debugging.Assert(
                tf.reduce_all((identity >= 0) & (identity < len(gan.subjects))),
                ["identity must be in 0 ..", len(gan.subjects) - 1, "but it was", identity],
            )
            with tf.control_dependencies([known]):
                identity = tf.identity(identity)
            view = tf.cast(de_gan.views.test_view(export.framed(faces, size)), tf.float32) / 255.0
            made = tf.cast(tf.round(255.0 * gan.transfer(view, identity)), tf.uint8)
            return {"faces": made, "names": tf.gather(names, identity)}

        self.serving_default = serving_default
        self.identities = tf.function(lambda: tf.identity(names), input_signature=[])
        self.metadata = tf.function(lambda: tf.constant(text), input_signature=[])
        self.used = list(serving_default.get_concrete_function().graph.variables)


def save_transfer(gan: de_gan.DEGAN, path: Path, about: Mapping[str, Any]) -> None:
    """Writes the generator as a SavedModel in float32; see `work.save_module`."""
    work.save_module(Transfer(export.in_float32(gan), about), path)
