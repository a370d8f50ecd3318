"""How GCNet compares two codes: eq. (2) and (6), and what may stand for eq. (2).

**Deviations** (options, which are off)

- Eq. (2), |.|: `DELTAS`. The absolute value hides which way a face differs from its reference, and the paper gives no
  reason for it.
"""

from __future__ import annotations

import tensorflow as tf

DELTAS = ("absolute", "signed", "plain", "both")
"""What two codes are compared by; see `contrastive_vector`."""


def distance(e: tf.Tensor, e_r: tf.Tensor) -> tf.Tensor:
    """S of eq. (6): (N, p) twice -> (N,) float32, the Euclidean distance, with a gradient of zero at zero."""
    return tf.sqrt(tf.maximum(tf.reduce_sum(tf.math.squared_difference(e, e_r), -1), 1e-12))


def contrastive_loss(e: tf.Tensor, e_r: tf.Tensor, alpha: tf.Tensor, margin: float) -> tf.Tensor:
    """Eq. (6): pushes different expressions a margin apart, pulls equal ones together.

    Args:
      e, e_r: (N, p) float32, codes of the image and of its reference.
      alpha: (N,) float32, 1 where their expressions differ.
      margin: m.
    Returns:
      (N,) float32 >= 0.
    """
    s = distance(e, e_r)
    return alpha * 0.5 * tf.square(tf.maximum(0.0, margin - s)) + (1.0 - alpha) * 0.5 * tf.square(s)


def contrastive_vector(e: tf.Tensor, e_r: tf.Tensor, delta: str = "absolute") -> tf.Tensor:
    """delta of eq. (2): |e / ||e|| - e_r / ||e_r|||, element by element: (N, p) float32 twice -> (N, p) >= 0.

    Of the other `DELTAS`, which are not the paper's: "signed" is that without |.|, "plain" e - e_r as they are, and
    "both" e and, behind it, e - e_r: (N, 2p).
    """
    if delta in ("plain", "both"):
        return e - e_r if delta == "plain" else tf.concat([e, e - e_r], -1)
    signed = tf.math.l2_normalize(e, -1) - tf.math.l2_normalize(e_r, -1)
    return tf.abs(signed) if delta == "absolute" else signed
