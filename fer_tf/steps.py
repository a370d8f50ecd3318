"""Training steps as they are run: several in one call, compiled by XLA where the model is, dealt to replicas.

Python waits for the device once a call. What a step learns from comes from the host, batch by batch, or is made on
the device from a plan of a few numbers (`pipeline.Batches.plans` and `assemble`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from fer_tf import devices, replicas
from fer_tf.streams import onward


class Call(NamedTuple):
    """What some steps in a row came to.

    Attributes:
      steps: how many.
      logs: name -> running mean since the epoch began.
      index: places of their batches' records, (N,) int32; None where the data does not say.
    """

    steps: int
    logs: dict[str, float]
    index: Any

    def places(self) -> list[int]:
        """Places in `data.records` of all records that the steps saw."""
        return [] if self.index is None else self.index.numpy().tolist()


class Steps:
    """The steps of a model on some data.

    Args:
      model: built and compiled, with a `train_step`; under XLA on several replicas, a `PlayersModel`.
      data: has `epoch(number)` and a length. `even` says that the length is exact and `short(step)` which batches of
        an epoch have fewer rows than `batch_size`: without these, steps are called one by one. `resident` says that
        `plans(number)` and `assemble(plan)` make the batches on the device. `goes_on` says that epochs have exactly
        `len` batches and `number` may be a tensor: one stream serves all epochs then.
      strategy: whose replicas share each batch.
      per_call: steps a call, at most.
    """

    def __init__(self, model: Any, data: Any, strategy: tf.distribute.Strategy, per_call: int):
        self.model, self.data, self.strategy = model, data, strategy
        self.replicas = strategy.num_replicas_in_sync
        self.machines = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        self.resident = self.replicas == 1 and getattr(data, "resident", False)
        self.even = getattr(data, "even", False)
        self.per_call = per_call if self.even else 1
        self.xla = bool(getattr(model, "xla", False))
        self.compiled = self._step(self.xla)
        self.plain = self._step(False) if self.xla else self.compiled  # XLA would compile each shape anew
        self.several = tf.function(self._several)
        self.full = getattr(data, "batch_size", 0)
        self.goes_on = self.even and getattr(data, "goes_on", False)
        self.following: tuple[int, Any] = (-1, None)  # what goes on with an epoch's batches, and which epoch's

    def epoch(self, number: int, first: int, until: Callable[[int], int]) -> Iterator[Call]:
        """Makes the steps of an epoch from step `first` on.

        Args:
          number: of the epoch.
          first: step to begin with.
          until: step -> where the call that begins there has to end; at most at the epoch's end.
        Raises:
          devices.OutOfMemory: the device's memory does not hold a step.
        """
        batches = self._from(number, first)
        with devices.memory_named(self.full):
            if not self.even:
                for batch in batches:
                    yield self._one(batch, self._is_short(batch))
                return
            step = first
            while step < len(self.data):
                count = min(self.per_call, until(step) - step)
                whole = next((i for i in range(count) if self.data.short(step + i)), count)
                if whole > 1:
                    logs, index = self.several(batches, tf.constant(whole))
                    yield self._call(whole, logs, index)
                else:
                    yield self._one(self.next_of(batches), whole == 0)
                step += max(whole, 1)
            self.following = (number + 1, batches)

    def _from(self, number: int, first: int) -> Any:
        """An iterator over the batches, or plans, of an epoch from step `first` on; the last epoch's, if it goes on."""
        (follows, batches), self.following = self.following, (-1, None)
        if self.goes_on and follows == number and not first:
            return batches
        stream = self.data.plans if self.resident else self.data.epoch
        return iter((onward(stream, number) if self.goes_on else stream(number)).skip(first))

    def next_of(self, batches: Any) -> Any:
        """The next batch, or plan, of an iterator."""
        return batches.get_next()

    def _one(self, batch: Any, short: bool) -> Call:
        logs, index = (self.plain if short else self.compiled)(batch)
        return self._call(1, logs, index)

    def _call(self, count: int, logs: Mapping[str, tf.Tensor], index: Any) -> Call:
        """Reads the logs at once: each read would wait for the device."""
        values = tf.stack([tf.cast(value, tf.float32) for value in logs.values()]).numpy().tolist()
        return Call(count, dict(zip(logs, values, strict=True)), index)

    def _is_short(self, batch: Any) -> bool:
        rows = len(tf.nest.flatten(batch)[0])
        self.full = self.full or rows
        return rows != self.full

    def _step(self, xla: bool) -> Callable[[Any], tuple[dict[str, tf.Tensor], Any]]:
        """One step: a batch or a plan -> (logs, index of the records)."""
        assemble = self.data.assemble if self.resident else lambda batch: batch

        if self.replicas == 1:

            @tf.function(reduce_retracing=True, jit_compile=xla or None)
            def alone(batch: Any) -> tuple[dict[str, tf.Tensor], Any]:
                batch = assemble(batch)
                return self.model.train_step(batch), _index(batch)

            return alone
        # optimizers of several replicas meet outside of what XLA compiles
        gradients = tf.function(self.model.gradients, jit_compile=True) if xla else None

        def on_replica(batch: Any) -> dict[str, tf.Tensor]:
            if self.machines:
                with replicas.part_of(batch, self.replicas) as own:
                    return self.model.train_step(own)
            part = self._dealt(batch)
            if gradients is None:
                return self.model.train_step(part)
            self.model.update_scores(part)
            return self.model.move(gradients(part))

        @tf.function(reduce_retracing=True)
        def together(batch: Any) -> tuple[dict[str, tf.Tensor], Any]:
            logs = self.strategy.run(on_replica, args=(batch,))
            return {name: self.strategy.reduce("MEAN", v, axis=None) for name, v in logs.items()}, _index(batch)

        return together

    def _several(self, batches: Any, count: tf.Tensor) -> tuple[dict[str, tf.Tensor], Any]:
        """`count` steps in a row on the next batches of an iterator, all of full size."""
        logs, index = self.compiled(self.next_of(batches))
        seen = tf.TensorArray(tf.int32, 0, dynamic_size=True, infer_shape=False, element_shape=(None,))
        if index is not None:
            seen = seen.write(0, index)

        def step(i: tf.Tensor, _: Any, seen: tf.TensorArray) -> tuple[tf.Tensor, Any, tf.TensorArray]:
            logs, index = self.compiled(self.next_of(batches))
            return i + 1, logs, seen if index is None else seen.write(i, index)

        _, logs, seen = tf.while_loop(lambda i, *_: i < count, step, (tf.constant(1), logs, seen))
        return logs, None if index is None else seen.concat()

    def _dealt(self, batch: Any) -> Any:
        """This replica's part of a batch: as many rows as each other one gets.

        Where they do not come out even, the first rows go round again: a replica without rows would have no loss.
        """
        count = tf.shape(tf.nest.flatten(batch)[0])[0]
        place = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int32)
        rows = (tf.range(-(-count // self.replicas)) * self.replicas + place) % count
        return tf.nest.map_structure(lambda value: tf.gather(value, rows), batch)


def _index(batch: Any) -> tf.Tensor | None:
    return tf.cast(batch["index"], tf.int32) if isinstance(batch, Mapping) and "index" in batch else None
