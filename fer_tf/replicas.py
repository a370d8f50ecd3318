"""What replicas on several machines do together, so that their step is that of one process with the whole batch.

    with replicas.part_of(batch, count) as own:      # on each of `count` replicas, around its step
        model.train_step(own)

Replica i of R has the rows i, i + R, ... of the batch. Within the block a loss counts by the rows that it is a mean
over, batch normalisation takes the moments of all rows, and dropout's mask is the whole batch's. Replicas of one
machine (--strategy=mirrored) do none of it: each normalises its own rows, and draws its own masks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

import tensorflow as tf


class Part(NamedTuple):
    """What a replica has of a batch.

    Attributes:
      rows: places of its rows in the batch, (n,) int32, n >= 1.
      count: rows of the batch, scalar int32.
      real: 1.0; 0.0 where the batch has fewer rows than there are replicas, and this one's row is another's.
      share: of the batch, scalar float32; those of all replicas sum to one.
    """

    rows: tf.Tensor
    count: tf.Tensor
    real: tf.Tensor
    share: tf.Tensor


_part: ContextVar[Part | None] = ContextVar("part", default=None)


def part() -> Part | None:
    """Within `part_of`, this replica's; None elsewhere."""
    return _part.get()


@contextlib.contextmanager
def part_of(batch: Any, count: int) -> Iterator[Any]:
    """This replica's rows of a batch; to be called in its context.

    Args:
      batch: tensors, the same ones on all replicas.
      count: of the replicas.
    """
    total = tf.shape(tf.nest.flatten(batch)[0])[0]
    place = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int32)
    own = (total - place + count - 1) // count
    rows = (tf.range(tf.maximum(own, 1)) * count + place) % total
    share = tf.cast(own, tf.float32) / tf.cast(total, tf.float32)
    token = _part.set(Part(rows, total, tf.cast(own > 0, tf.float32), share))
    try:
        yield tf.nest.map_structure(lambda value: tf.gather(value, rows), batch)
    finally:
        _part.reset(token)


def total(values: tf.Tensor) -> tf.Tensor:
    """The sum over the replicas, through which gradients go."""
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)


def share_of(loss: tf.Tensor) -> tf.Tensor:
    """A replica's mean loss -> what it adds to that of the whole batch; on one replica the loss itself."""
    own, count = part(), tf.distribute.get_strategy().num_replicas_in_sync
    if own is not None:
        return loss * own.share
    return loss / count if count > 1 else loss


def means(
    values: Mapping[str, tf.Tensor], rows: Mapping[str, tf.Tensor] | None
) -> dict[str, tuple[tf.Tensor, tf.Tensor]]:
    """Name -> (mean, the rows that it is one over), float32; within `part_of` over all replicas, alike on all.

    Args:
      values: name -> this replica's mean, scalar.
      rows: name -> rows of this replica that it is a mean over; one, or its share of one, where they are left out.
    """
    own = part()
    one = tf.ones(()) if own is None else own.share
    counts = {name: one if rows is None else tf.cast(rows[name], tf.float32) for name in values}
    if own is None or not values:
        return {name: (value, counts[name]) for name, value in values.items()}
    mean, count = (tf.stack([tf.cast(of[name], tf.float32) for name in values]) for of in (values, counts))
    count *= own.real
    sums, count = tf.unstack(total(tf.stack([tf.where(count > 0, mean, 0.0) * count, count])))
    mean = tf.math.divide_no_nan(sums, count)
    return {name: (mean[i], count[i]) for i, name in enumerate(values)}


def normalised(norm: Any, inputs: tf.Tensor, own: Part) -> tf.Tensor:
    """A step of a batch norm within `part_of`, by the moments of all replicas' rows: (N, H, W, C) -> the same.

    Args:
      norm: a layer with gamma, beta, moving_mean, moving_variance, momentum and epsilon.
      inputs: this replica's rows.
      own: which rows of the batch they are.
    """
    x, channels = tf.cast(inputs, tf.float32), inputs.shape[-1]
    counted = own.real * tf.cast(tf.size(x), tf.float32) / channels
    sums = total(tf.concat([own.real * tf.reduce_sum(x, (0, 1, 2)), counted[None]], 0))
    mean, count = sums[:-1] / sums[-1], sums[-1]
    variance = total(own.real * tf.reduce_sum(tf.square(x - mean), (0, 1, 2))) / count
    beta, gamma = (tf.cast(tf.convert_to_tensor(v), tf.float32) for v in (norm.beta, norm.gamma))
    unbiased = variance * count / tf.maximum(count - 1.0, 1.0)
    for moving, value in ((norm.moving_mean, mean), (norm.moving_variance, unbiased)):
        before = tf.convert_to_tensor(moving)
        moving.assign(before * norm.momentum + tf.stop_gradient(value) * (1.0 - norm.momentum))
    return tf.cast(tf.nn.batch_normalization(x, mean, variance, beta, gamma, norm.epsilon), inputs.dtype)


def drawn(draw: Callable[[Any, tf.Tensor], tf.Tensor], shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """What this replica's rows have of what is drawn for the whole batch.

    Args:
      draw: (shape, seed) -> numbers, as those of `draws`.
      shape: of this replica's share, int32; several batches may stand one below the other.
      seed: of the draw, alike on all replicas.
    """
    own = part()
    if own is None:
        return draw(shape, seed)
    several = shape[0] // tf.size(own.rows)
    places = tf.reshape(tf.range(several)[:, None] * own.count + own.rows[None], (-1,))
    return tf.gather(draw(tf.concat([[several * own.count], shape[1:]], 0), seed), places)
