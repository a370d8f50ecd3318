"""KerasCV's RandAugment, an option beside the papers' own views. Needs the extra `addons`."""

import functools
from typing import Any

import tensorflow as tf

from fer_tf import augment


def randaugment(
    images: tf.Tensor, magnitude: float = 0.3, augmentations: int = 2, seed: int | None = None
) -> tf.Tensor:
    """Changes each image by random operations; unlike the papers' views it keeps a random state between calls.

    Args:
      images: (N, H, W, 1 or 3) uint8 or float32 in [0, 1]; the same comes back (grey ones are augmented as grey RGB).
      magnitude: in [0, 1]; augmentations: how many operations each image gets; seed: of the layer's random generator.
    Raises:
      ImportError: if KerasCV is not installed; the message names the extra.
    """
    images = tf.convert_to_tensor(images)
    top = 255 if images.dtype == tf.uint8 else 1
    layer = _randaugment_layer(top, magnitude, augmentations, seed)
    grey = images.shape[-1] == 1
    colour = tf.image.grayscale_to_rgb(images) if grey else images
    changed = tf.cast(layer(tf.cast(colour, tf.float32), training=True), tf.float32)
    changed = tf.reduce_mean(changed, axis=-1, keepdims=True) if grey else changed
    return tf.ensure_shape(augment.to_dtype(tf.clip_by_value(changed, 0.0, float(top)), images.dtype), images.shape)


@functools.cache
def _randaugment_layer(top: int, magnitude: float, augmentations: int, seed: int | None) -> Any:
    """The layer, kept: its random generator goes on from call to call."""
    try:
        import keras_cv
    except ImportError as error:
        raise ImportError("randaugment needs KerasCV: pip install 'fer-tf[addons]'.") from error
    with tf.init_scope():
        return keras_cv.layers.RandAugment(
            value_range=(0, top), magnitude=magnitude, augmentations_per_image=augmentations, seed=seed
        )
