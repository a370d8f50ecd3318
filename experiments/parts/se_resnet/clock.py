"""A training that ends by the clock: for a machine that is lent for minutes, whatever its speed."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fer_tf import files


class Clock:
    """Sets the learning rate of each epoch: a warm-up, then a cosine that is zero when the time or the epochs are over.

    Args:
      file: JSON in which the time used, and by the last epoch, is kept for a run that is taken up again.
      seconds: that the training may take, validation and checkpoints included.
      epochs: that it may have at most.
      rate: the highest learning rate.
      warmup: epochs that rise to it in equal steps.
      now: gives the time in seconds.
    """

    def __init__(
        self,
        file: Path,
        seconds: float,
        epochs: int,
        rate: float,
        warmup: int,
        now: Callable[[], float] = time.monotonic,
    ):
        self.file, self.seconds, self.epochs, self.highest, self.warmup = file, seconds, epochs, rate, warmup
        self.now = now
        kept = json.loads(file.read_text()) if file.is_file() else {"seconds": 0.0, "last_epoch": 0.0}
        self.began, self.lasted, self.last = now() - kept["seconds"], kept["last_epoch"], kept["seconds"]

    @property
    def used(self) -> float:
        """Seconds so far."""
        return self.now() - self.began

    def rate(self, epoch: int) -> float:
        """The learning rate of epoch `epoch`, counted from 0, that begins now."""
        rising = min(1.0, (epoch + 1) / (self.warmup + 1))
        over = min(1.0, max(self.used / self.seconds, epoch / self.epochs))
        return self.highest * rising * 0.5 * (1 + math.cos(math.pi * over))

    def after_epoch(self, model: Any, epoch: int) -> None:
        """For `training.fit`."""
        used = self.used
        self.lasted = used - self.last
        self.last = used
        files.write_json(self.file, {"seconds": used, "last_epoch": self.lasted, "epochs": epoch})
        model.classifier_optimizer.learning_rate.assign(self.rate(epoch))

    def stop(self, epoch: int) -> bool:
        """For `training.fit`: whether another epoch as long as the last would end too late."""
        return epoch > 0 and self.used + self.lasted > self.seconds
