"""What ED2L's two commands share: the net and its optimizer as the settings say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fer_tf.compat import keras
from fer_tf.models import ed2l

from ...run.settings import Base, setting

ARGUMENTS = ("margin", "scale", "lambda_t", "lambda_p", "weight_decay", "width", "confusion_updates_dispeller",
             "dispeller_steps")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Net(Base):
    """The arguments of `ed2l.ED2L`, and of its rate."""

    rate: float = setting(1e-4, "Learning rate of Adam at the start.")
    decay_to: float = setting(1.0, "What it falls to by the last step, as a share (cosine); 1 keeps it.", low=0, high=1)
    width: float = setting(1.0, "Times the printed channels.", low=0.01)
    margin: float = setting(0.35, "m of eq. (2).")
    scale: float = setting(30.0, "s of eq. (2).")
    lambda_t: float = setting(1.0, "Weight of eq. (3) in eq. (6).")
    lambda_p: float = setting(10.0, "Weight of the dispelling branch's losses in eq. (6).")
    weight_decay: float = setting(5e-4, "L2 in the gradient.")
    confusion_updates_dispeller: bool = setting(True, "Whether eq. (5) moves the dispeller too.")
    dispeller_steps: int = setting(
        0, "k makes the dispeller a player of its own, with k steps for each of the others'; 0, as printed: none.",
        low=0,
    )  # fmt: skip
    dispeller_rate: float = setting(1e-2, "Learning rate of its Adam, where it is a player.", low=0)
    warm_up: float = setting(0.0, "Epochs over which eq. (5)'s weight rises from 0; 0, as printed: none.", low=0)


def build(settings: Net, classes: Sequence[str], dispelling: bool, epoch: int = 0, **identity: Any) -> ed2l.ED2L:
    """The net that the settings describe, or its baseline.

    Args:
      settings: of the run.
      classes: its expressions.
      dispelling: False for the baseline.
      epoch: steps of an epoch, by which --warm_up is counted; none where nothing is trained.
      identity: lambda_identity and identities, where who is shown is dispelled, too.
    """
    given = {n: getattr(settings, n) for n in ARGUMENTS}
    return ed2l.ED2L(
        classes=classes, dispelling=dispelling, warm_up=round(settings.warm_up * epoch), **given, **identity
    )


def compile(settings: Net, model: ed2l.ED2L, steps: int) -> None:
    """Gives the net its optimizer, for a training of so many steps, and each judge that is a player its own."""
    rate = keras.optimizers.schedules.CosineDecay(settings.rate, max(steps, 1), alpha=settings.decay_to)
    own = {f"{name}_optimizer": ed2l.optimizer(settings.dispeller_rate) for name in model.judges}
    model.compile(classifier_optimizer=ed2l.optimizer(rate), **own)
