"""What a training keeps on disk: written whole, restored by what is newer, too."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf


def restore(checkpoint: tf.train.Checkpoint, path: str) -> tf.train.Checkpoint:
    """`checkpoint.restore(path)`, also of one whose counters are int32: they were, before XLA wanted them on a GPU.

    Args:
      checkpoint: of objects that are built.
      path: of a checkpoint, without ".index".
    Returns:
      The status of the restoration, for `assert_existing_objects_matched` and the like.
    """
    reader = tf.train.load_checkpoint(path)
    narrow = [name for name, dtype in reader.get_variable_to_dtype_map().items() if dtype == tf.int32]
    if not narrow:
        return checkpoint.restore(path)
    with tempfile.TemporaryDirectory() as folder:
        return checkpoint.restore(_widened(reader, narrow, str(Path(folder) / "ckpt")))


def _widened(reader: tf.train.CheckpointReader, narrow: list[str], path: str) -> str:
    """Writes the same checkpoint to `path`, with int64 in place of int32."""
    names = sorted(reader.get_variable_to_shape_map())
    tensors = [reader.get_tensor(name) for name in names]
    tensors = [tf.cast(t, tf.int64) if name in narrow else t for name, t in zip(names, tensors, strict=True)]
    tf.raw_ops.SaveV2(prefix=path, tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors)
    return path


def save(manager: tf.train.CheckpointManager) -> None:
    """`manager.save()`; what it wrote before an error, such as a full disk, goes, and the checkpoint before stays."""
    try:
        manager.save()
    except BaseException:
        tidy(manager)
        raise


def tidy(manager: tf.train.CheckpointManager) -> None:
    """Removes the files of checkpoints that were not written whole."""
    whole = {Path(path).name for path in manager.checkpoints}
    for file in Path(manager.directory).glob("ckpt-*"):
        if file.is_file() and file.name.partition(".")[0] not in whole:
            file.unlink(missing_ok=True)


def all_finite(model: Any) -> tf.Tensor:
    """Scalar bool: whether all weights of a model are finite numbers."""
    weights = [tf.convert_to_tensor(w) for w in model.weights]
    finite = [tf.reduce_all(tf.math.is_finite(w)) for w in weights if w.dtype.is_floating]
    return tf.reduce_all(tf.stack([tf.constant(True), *finite]))
