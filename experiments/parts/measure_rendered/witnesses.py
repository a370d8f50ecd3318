"""What a small network, fixed for all editions, finds in the rendered people: with their neutral faces and without.

A *witness* sees a face alone, or beside it the neutral face of the same person (the oracle), or of another one (the
control). It is trained on some people and tested on others. Faces are those of `crops.crop`, 48x48.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from fer_tf.compat import keras

SIDE, EPOCHS, BATCH, RATE = 48, 30, 32, 2e-3
STEPS = 1800
"""Of a training at least, however few the faces are."""


def standardised(faces: np.ndarray) -> np.ndarray:
    """(N, SIDE, SIDE) float32, each face at mean 0 and standard deviation 1."""
    faces = faces - faces.mean((1, 2), keepdims=True)
    return (faces / np.maximum(faces.std((1, 2), keepdims=True), 1e-3)).astype("f4")


def build(channels: int, classes: int) -> keras.Model:
    """(N, SIDE, SIDE, channels) float32 -> logits (N, classes): four convolutions of 24 to 96 channels."""
    layers = keras.layers
    inputs = x = keras.Input((SIDE, SIDE, channels))
    for i, width in enumerate((24, 32, 64, 96)):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False, strides=1 + (i == 0))(x)
        x = layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.MaxPooling2D()(x) if i else x
    x = layers.Dropout(0.4)(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(classes)(x))


def varied(faces: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A mirrored half of a batch, all of it moved by up to two pixels."""
    flip = tf.random.uniform([tf.shape(faces)[0], 1, 1, 1]) < 0.5
    faces = tf.where(flip, faces[:, :, ::-1], faces)
    padded = tf.pad(faces, [[0, 0], [2, 2], [2, 2], [0, 0]], "SYMMETRIC")
    return tf.image.random_crop(padded, tf.shape(faces)), labels


def answers(train: tuple[np.ndarray, np.ndarray], test: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """(M,) int: what a witness calls `test` (M, SIDE, SIDE, C), trained on faces (N, SIDE, SIDE, C) and labels (N,)."""
    keras.utils.set_random_seed(seed)
    faces, labels = train
    model, steps = build(faces.shape[-1], classes), max(EPOCHS * len(faces) // BATCH, STEPS)
    rows = tf.data.Dataset.from_tensor_slices((faces, labels)).shuffle(len(faces), seed=seed).repeat().batch(BATCH)
    rate = keras.optimizers.schedules.CosineDecay(RATE, steps)
    model.compile(keras.optimizers.Adam(rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(rows.map(varied).take(steps).prefetch(2), verbose=0)
    return np.asarray(model.predict(test, batch_size=256, verbose=0)).argmax(1)


def beside(faces: np.ndarray, neutral: np.ndarray, subjects: np.ndarray, *, stranger: bool = False) -> np.ndarray:
    """(N, SIDE, SIDE, 2): faces and the neutral one of each person, or of the next in the list.

    Args:
      faces: (N, SIDE, SIDE).
      neutral: (P, SIDE, SIDE), of person p.
      subjects: (N,) int, the place of each face's person.
      stranger: whether it is the next person's.
    """
    return np.stack([faces, neutral[(subjects + stranger) % len(neutral)]], -1)


def measured(
    faces: np.ndarray,
    labels: np.ndarray,
    subjects: np.ndarray,
    neutral: np.ndarray,
    *,
    tested: int,
    people: Sequence[int],
    seed: int = 0,
) -> dict[str, float]:
    """{measure: share of the unseen people's expressions that a witness names}.

    Args:
      faces: (N, SIDE, SIDE) float32, standardised, none of them neutral.
      labels: (N,) int32 in [0, K).
      subjects: (N,) int, in [0, P).
      neutral: (P, SIDE, SIDE) float32.
      tested: so many people, the last ones, are unseen; 0 < tested < P.
      people: numbers of people to train on, of which the last also trains the oracle and its control.
      seed: of weights and batches.
    """
    known, test = len(neutral) - tested, subjects >= len(neutral) - tested
    classes = int(labels.max()) + 1

    def share(rows: np.ndarray, count: int) -> float:
        train = subjects < count
        return float((answers((rows[train], labels[train]), rows[test], classes, seed) == labels[test]).mean())

    counts = sorted({min(count, known) for count in people})
    out = {f"alone_{count}_people": share(faces[..., None], count) for count in counts}
    out["with_own_neutral"] = share(beside(faces, neutral, subjects), counts[-1])
    out["with_strangers_neutral"] = share(beside(faces, neutral, subjects, stranger=True), counts[-1])
    return out
