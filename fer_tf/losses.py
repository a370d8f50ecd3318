"""Loss terms that two or more papers share: tensors -> a scalar float32. A paper's own terms are in its model."""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor, weight: tf.Tensor | None = None) -> tf.Tensor:
    """-log of the label's softmax, the mean over the batch.

    ED2L: eq. (3), and l_a of section 2.3. DE-GAN: each logarithm of eq. (1) and (2), and L_i of eq. (3). GCNet: the
    classification of eq. (4). CycleAT: eq. (3), and the first sum of eq. (7) and (10).

    Args:
      logits: (N, K) float32.
      labels: (N,) int in 0 .. K - 1.
      weight: (N,) float32, times which a row counts in the sum, which is divided by N all the same.
    Returns:
      Scalar float32 >= 0.
    """
    return weighted_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits), weight)


def confusion_loss(logits: tf.Tensor) -> tf.Tensor:
    """The cross-entropy to the uniform distribution, the mean over the batch: a net descends it to fool a classifier.

    ED2L: l_p, eq. (5) of section 2.3, and likewise of people. DE-GAN: of people, beside the paper.

    Args:
      logits: (N, K) float32 of the classifier.
    Returns:
      Scalar float32 >= log K: -1/K sum_j log y^j.
    """
    return -tf.reduce_mean(tf.nn.log_softmax(logits))


def weighted_mean(losses: tf.Tensor, weight: tf.Tensor | None) -> tf.Tensor:
    """sum(weight * losses) / N, as Keras has it; (N,) float32 twice -> scalar."""
    return tf.reduce_mean(losses if weight is None else losses * weight)


def smoothed_cross_entropy(
    logits: tf.Tensor, labels: tf.Tensor, label_smoothing: float, weight: tf.Tensor | None = None
) -> tf.Tensor:
    """Cross-entropy to a target of which a share is spread evenly over all K classes, the mean over the batch.

    FER-Net, VGG and DE-GAN's baseline, whose papers print the plain one: `label_smoothing` 0.

    Args:
      logits: (N, K) float32.
      labels: (N,) int in 0 .. K - 1.
      label_smoothing: the share, in [0, 1).
      weight: see `cross_entropy`.
    Returns:
      Scalar float32 >= 0.
    """
    k = logits.shape[-1]
    target = tf.one_hot(labels, k) * (1.0 - label_smoothing) + label_smoothing / k
    return weighted_mean(tf.nn.softmax_cross_entropy_with_logits(target, logits), weight)


def log_loss(logits: tf.Tensor, real: bool, counted: tf.Tensor | None = None) -> tf.Tensor:
    """-log D where `real`, else -log(1 - D), D being the sigmoid of a discriminator's logits; the mean over all scores.

    A discriminator descends both, on real and on generated faces; a generator descends -log D on its own.
    IA-gen: eq. (1) and (3). CycleAT: eq. (4) and (5). GCNet: the DCGAN of Fig. 7 (c).

    Args:
      logits: (N, ...) float32, a score a face or a patch.
      real: what D is asked to say.
      counted: (N,) bool; the scores of the others count as zero, and still divide.
    Returns:
      Scalar float32 >= 0.
    """
    losses = tf.nn.softplus(-logits if real else logits)
    if counted is not None:
        rows = tf.reshape(counted, (-1, *[1] * (len(losses.shape) - 1)))
        losses = tf.where(rows, losses, tf.zeros_like(losses))
    return tf.reduce_mean(losses)


def l1_loss(output: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """The mean of |target - output|. IA-gen: the L1 in place of eq. (4). CycleAT: either half of eq. (6).

    Args:
      output, target: float32 of one shape.
    Returns:
      Scalar float32 >= 0.
    """
    return tf.reduce_mean(tf.abs(target - output))


def l2_loss(output: tf.Tensor, target: tf.Tensor | float) -> tf.Tensor:
    """The mean of (output - target)^2. IA-gen: eq. (4) and (5). CycleAT: CycleGAN's least squares in eq. (4) and (5).

    Args:
      output, target: float32 of one shape; or one number is everybody's target.
    Returns:
      Scalar float32 >= 0.
    """
    return tf.reduce_mean(tf.square(output - target))


def mean_of_half_squares(output: tf.Tensor, target: tf.Tensor, counted: tf.Tensor | None = None) -> tf.Tensor:
    """1/2 ||output - target||^2, averaged over the pixels and the batch. GCNet: eq. (5), (8), (9), and its generators.

    Args:
      output, target: (N, H, W, 1) float32.
      counted: (N,) bool; the others count as zero.
    Returns:
      Scalar float32 >= 0.
    """
    half = 0.5 * tf.reduce_mean(tf.math.squared_difference(output, target), (1, 2, 3))
    return tf.reduce_mean(half if counted is None else tf.where(counted, half, tf.zeros_like(half)))


def decay_loss(variables: Iterable[tf.Variable], weight_decay: float) -> tf.Tensor:
    """weight_decay / 2 * ||theta||^2, whose gradient is weight_decay * theta. ED2L, section 3.1; GCNet, section IV-A.

    Args:
      variables: theta, float32.
      weight_decay: as the papers print it.
    Returns:
      Scalar float32 >= 0.
    """
    return weight_decay * tf.add_n([tf.nn.l2_loss(tf.convert_to_tensor(v)) for v in variables])
