"""Learning rates over the steps of a training that papers use and Keras lacks."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fer_tf.compat import keras


@keras.utils.register_keras_serializable("fer_tf")
class InverseDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Caffe's "inv" policy of GCNet's section IV-A: rate * (1 + gamma * step)^-power.

    Args:
      rate: at step 0.
      gamma, power: of the policy.
    """

    def __init__(self, rate: float = 0.001, gamma: float = 1e-4, power: float = 0.75):
        super().__init__()
        self.rate, self.gamma, self.power = rate, gamma, power

    def __call__(self, step: Any) -> tf.Tensor:
        """Step number -> scalar float32."""
        return self.rate * tf.pow(1.0 + self.gamma * tf.cast(step, tf.float32), -self.power)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {n: getattr(self, n) for n in ("rate", "gamma", "power")}


@keras.utils.register_keras_serializable("fer_tf")
class LinearEnd(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that is constant, then falls linearly to zero, as in pix2pix's own code.

    Args:
      rate: at the start.
      steps: in all; later ones have rate 0.
      share: of the steps, the last ones, over which it falls; in (0, 1].
    """

    def __init__(self, rate: float, steps: int, share: float):
        super().__init__()
        self.rate, self.steps, self.share = rate, steps, share

    def __call__(self, step: Any) -> tf.Tensor:
        """Step number -> scalar float32."""
        left = (self.steps - tf.cast(step, tf.float32)) / (self.share * self.steps)
        return self.rate * tf.clip_by_value(left, 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {n: getattr(self, n) for n in ("rate", "steps", "share")}
