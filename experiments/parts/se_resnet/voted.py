"""Batches of FER-2013 with FER+'s votes: what `experiments.pretrain_se_resnet` trains on.

All batches of an epoch are full, since XLA compiles every size anew: which pictures are left over changes each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from fer_tf import pipeline
from fer_tf.datasets import fer2013
from fer_tf.records import Record


class Voted:
    """The batches of a pipeline, each with `votes`, (N, K) float32 counts.

    Args:
      batches: of records with votes.
      classes: that the votes are counted for.
    """

    goes_on = True

    def __init__(self, batches: pipeline.Batches, classes: Sequence[str]):
        self.batches, self.full = batches, batches.rows // batches.batch_size
        self.table = fer2013.vote_counts(batches.records, classes)

    def __len__(self) -> int:
        return max(1, self.full)

    @property
    def streams(self) -> dict[str, pipeline.Batches]:
        """The one that is shown so."""
        return {"": self.batches}

    @property
    def records(self) -> list[Record]:
        """The records, to name a batch's."""
        return self.batches.records

    @property
    def batch_size(self) -> int:
        """Faces a batch."""
        return self.batches.batch_size

    @property
    def even(self) -> bool:
        """Whether `len` is exact and `short` right."""
        return self.batches.even

    @property
    def resident(self) -> bool:
        """Whether to train by `plans` and `assemble` rather than by `epoch`."""
        return self.batches.resident

    def short(self, step: int) -> bool:
        """Whether a batch of an epoch has fewer rows than `batch_size`."""
        return not self.full

    def plans(self, epoch: int | tf.Tensor) -> tf.data.Dataset:
        """What `epoch` shows, as a few numbers a face."""
        return self.batches.plans(epoch).take(len(self))

    def assemble(self, plan: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The batch of a plan."""
        return self._voted(self.batches.assemble(plan))

    def epoch(self, number: int | tf.Tensor) -> tf.data.Dataset:
        """The batches of an epoch."""
        return self.batches.epoch(number).take(len(self)).map(self._voted, pipeline.PARALLEL, deterministic=True)

    def _voted(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {**batch, "votes": tf.gather(self.table, batch["index"])}
