"""What ED2L's two scripts share: the flags of the net and of its rate."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from fer_tf.compat import keras
from fer_tf.models import ed2l

FLAGS = flags.FLAGS


def define_flags() -> None:
    """The arguments of `ed2l.ED2L`, and --rate, --decay_to."""
    flags.DEFINE_float("rate", 1e-4, "Learning rate of Adam at the start.")
    flags.DEFINE_float("decay_to", 1.0, "What it falls to by the last step, as a share (cosine); 1 keeps it.", 0, 1)
    flags.DEFINE_float("width", 1.0, "Times the printed channels.", lower_bound=0.01)
    flags.DEFINE_float("margin", 0.35, "m of eq. (2).")
    flags.DEFINE_float("scale", 30.0, "s of eq. (2).")
    flags.DEFINE_float("lambda_t", 1.0, "Weight of eq. (3) in eq. (6).")
    flags.DEFINE_float("lambda_p", 10.0, "Weight of the dispelling branch's losses in eq. (6).")
    flags.DEFINE_float("weight_decay", 5e-4, "L2 in the gradient.")
    flags.DEFINE_bool("confusion_updates_dispeller", True, "Whether eq. (5) moves the dispeller too.")


def build(classes: Sequence[str], dispelling: bool) -> ed2l.ED2L:
    """The net that the flags describe, or its baseline."""
    names = ("margin", "scale", "lambda_t", "lambda_p", "weight_decay", "width", "confusion_updates_dispeller")
    return ed2l.ED2L(classes=classes, dispelling=dispelling, **{n: getattr(FLAGS, n) for n in names})


def compile(model: ed2l.ED2L, steps: int) -> None:
    """Gives the net its optimizer, for a training of so many steps."""
    rate = keras.optimizers.schedules.CosineDecay(FLAGS.rate, max(steps, 1), alpha=FLAGS.decay_to)
    model.compile(classifier_optimizer=ed2l.optimizer(rate))
