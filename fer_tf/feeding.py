"""What Keras's `fit` and `evaluate` are given, in the form in which a model of several players takes it.

(x, y, sample_weight) becomes a batch, class weights become a column of it, replicas get their shares of it, and
callbacks that set a learning rate set that of each player, or of the one that `only_for` names.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

Batch: TypeAlias = Mapping[str, tf.Tensor]
"""What a pipeline gives: image (N, H, W, 1|3) float32 in [0, 1], label (N,) int32, and what a paper adds."""

Terms: TypeAlias = dict[str, tf.Tensor]
"""Name of a loss term, or of a measure -> scalar float32."""

WEIGHT, COUNTED = "weight", "counted"
"""Columns of a batch: what a row's classification losses are multiplied by; 0 for rows that only fill a replica up."""

RATES = ("LearningRateScheduler", "ReduceLROnPlateau")
"""Keras's callbacks that set the learning rate of `model.optimizer`."""


def in_unit_range(images: Any) -> tf.Tensor:
    """Pictures as models take them: whole numbers in 0 .. 255 are divided by 255, floats stay as they are."""
    images = tf.convert_to_tensor(images)
    return tf.cast(images, tf.float32) / 255.0 if images.dtype.is_integer else images


def as_batch(data: Any, answer: str = "label") -> Any:
    """What Keras hands to a step -> a batch.

    Args:
      data: a batch, which comes back as it is, or (x,), (x, y), (x, y, sample_weight). x: pictures (N, H, W, C), or
        columns by name. y: numbers of the classes (N,), (N, 1), or (N, K) one-hot; or further columns by name.
      answer: the column that a y without a name is; pictures where it is not "label".
    Returns:
      {"image": (N, H, W, C), answer: (N,) int32 or pictures, "weight": (N,) float32}, as far as they are given.
    """
    if isinstance(data, tf.Tensor) and data.shape.rank == 4:
        data = (data,)
    if not isinstance(data, tuple | list):
        return data
    x, y, weight = (*data, None, None)[:3]
    batch = dict(x) if isinstance(x, Mapping) else {"image": in_unit_range(x)}
    if isinstance(y, Mapping):
        batch |= y
    elif y is not None:
        batch[answer] = numbers(y) if answer == "label" else in_unit_range(y)
    if weight is not None:
        batch[WEIGHT] = tf.reshape(tf.cast(weight, tf.float32), (-1,))
    return batch


def numbers(labels: Any) -> tf.Tensor:
    """Numbers of classes (N,), (N, 1), or one-hot rows (N, K) -> (N,) int32."""
    labels = tf.convert_to_tensor(labels)
    if labels.shape.rank == 2 and labels.shape[-1] != 1:
        return tf.argmax(labels, -1, tf.int32)
    return tf.cast(tf.reshape(labels, (-1,)), tf.int32)


def rows(batch: Any) -> tf.Tensor:
    """How many rows a batch has, without those that fill up: scalar float32."""
    if isinstance(batch, Mapping) and COUNTED in batch:
        return tf.reduce_sum(batch[COUNTED])
    return tf.cast(tf.shape(tf.nest.flatten(batch)[0])[0], tf.float32)


def of_classes(class_weight: Mapping[Any, float], classes: Sequence[str]) -> np.ndarray:
    """Class weights by number or name -> (K,) float32, 1 for classes that are not named.

    Raises:
      ValueError: a class that there is not.
    """
    known: dict[Any, int] = {**{i: i for i in range(len(classes))}, **{name: i for i, name in enumerate(classes)}}
    if strangers := [key for key in class_weight if key not in known]:
        raise ValueError(f"class_weight names {strangers}: the classes are {dict(enumerate(classes))}.")
    weights = np.ones(len(classes), np.float32)
    for key, weight in class_weight.items():
        weights[known[key]] = weight
    return weights


def with_class_weight(data: Any, class_weight: Mapping[Any, float], classes: Sequence[str]) -> Any:
    """A tf.data pipeline, or a tuple of arrays (x, y, sample_weight or None), whose rows weigh what their class does.

    Raises:
      ValueError: of `of_classes`; neither of both; arrays without labels.
    """
    weights = of_classes(class_weight, classes)
    if isinstance(data, tf.data.Dataset):

        def weigh(*element: Any) -> Any:
            batch = dict(_batch_of(element))
            return {**batch, WEIGHT: tf.gather(weights, batch["label"]) * batch.get(WEIGHT, 1.0)}

        return data.map(weigh)
    x, y, own = data
    labels = y if y is not None else (x.get("label") if isinstance(x, Mapping) else None)
    if labels is None or callable(getattr(x, "__next__", None)):
        raise ValueError("class_weight needs labels: give arrays x and y, or a tf.data pipeline.")
    weights = weights[numbers(labels).numpy()]
    return x, y, weights if own is None else weights * np.asarray(own, np.float32).reshape(-1)


def _batch_of(element: tuple) -> Any:
    """The batch of what `Dataset.map` hands over."""
    return element[0] if len(element) == 1 and isinstance(element[0], Mapping) else as_batch(element)


def pipeline_of(x: Any, y: Any, weight: Any, batch_size: int | None, shuffle: bool) -> Any:
    """Arrays as a tf.data pipeline; any other data as they are."""
    if y is None and not isinstance(x, np.ndarray | tf.Tensor) and not _columns(x):
        return x
    parts = tuple(part for part in (x, y, weight) if part is not None)
    stream = tf.data.Dataset.from_tensor_slices(parts)
    return (stream.shuffle(len(stream)) if shuffle else stream).batch(batch_size or 32)


def _columns(x: Any) -> bool:
    return isinstance(x, Mapping) and all(isinstance(v, np.ndarray | tf.Tensor) for v in x.values())


def dealt(
    data: tf.data.Dataset, strategy: tf.distribute.Strategy, to_batch: Callable[[Any], Any], *, again: bool
) -> Any:
    """Each batch in as many parts as there are replicas; row i goes to replica i mod R.

    Args:
      data: batches, or tuples as of `as_batch`.
      strategy: whose replicas.
      to_batch: `as_batch` of the model.
      again: for training: where rows do not come out even, the first go round again, so that all parts are of one
        size. Else each row counts once, and a replica without rows gets one that does not count.
    Returns:
      What `strategy.run` takes, batch by batch, over and over.
    """
    replicas = strategy.num_replicas_in_sync

    def part(batch: Any, place: tf.Tensor) -> Any:
        count = tf.shape(tf.nest.flatten(batch)[0])[0]
        own = -(-count // replicas) if again else (count - place + replicas - 1) // replicas
        taken = (tf.range(tf.maximum(own, 1)) * replicas + place) % count
        cut = tf.nest.map_structure(lambda value: tf.gather(value, taken), batch)
        return cut if again else {**cut, COUNTED: tf.cast(tf.fill([tf.size(taken)], own > 0), tf.float32)}

    def parts(*element: Any) -> tf.data.Dataset:
        single = len(element) == 1 and isinstance(element[0], Mapping)
        batch = to_batch(element[0] if single else element)
        return tf.data.Dataset.range(replicas, output_type=tf.int32).map(lambda place: part(batch, place))

    return strategy.distribute_datasets_from_function(lambda context: data.repeat().flat_map(parts))


def length(data: tf.data.Dataset) -> int:
    """Batches of one pass; where the pipeline does not know, they are counted.

    Raises:
      ValueError: it has no end.
    """
    count = int(data.cardinality())
    if count == tf.data.INFINITE_CARDINALITY:
        raise ValueError("This pipeline has no end: say how many steps_per_epoch (steps, validation_steps) there are.")
    return count if count >= 0 else int(data.reduce(np.int64(0), lambda n, *_: n + 1))


def only_for(player: str, callback: Any) -> Any:
    """The callback, whose `model.optimizer` is that of one player from now on.

    Args:
      player: a name of `model.players()`.
      callback: a Keras callback, such as `ReduceLROnPlateau`; without this it sets the rates of all players.
    """
    callback.player = player
    return callback


class _Seen:
    """A model as a callback of one player sees it: its `optimizer` is that player's."""

    def __init__(self, model: Any, player: str):
        self.__dict__.update(seen=model, player=player)

    @property
    def optimizer(self) -> Any:
        return self.seen.players()[self.player].optimizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["seen"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.seen, name, value)


def for_each_player(callbacks: Any, model: Any) -> tuple[Any, Callable[[], None]]:
    """Callbacks of which those that set a learning rate are there once for each player that they are for.

    Args:
      callbacks: of `fit`: one, several or none; a CallbackList comes back as it is.
      model: compiled, with `players()`.
    Returns:
      (callbacks; what to call after `fit`, so that the callbacks are as they were).
    Raises:
      ValueError: an unknown player, a number that is not logged, or an optimizer that follows a schedule of its own.
    """
    if callbacks is None or not (isinstance(callbacks, list | tuple) or hasattr(callbacks, "on_epoch_end")):
        return callbacks, lambda: None
    if not isinstance(callbacks, list | tuple):
        if hasattr(callbacks, "callbacks"):
            return callbacks, lambda: None
        callbacks = [callbacks]
    made, changed, players = [], [], model.players()
    for callback in callbacks:
        _direct(callback, model)
        rates = any(kind.__name__ in RATES for kind in type(callback).__mro__)
        only = getattr(callback, "player", None)
        if not rates and only is None:
            made.append(callback)
            continue
        names = list(players) if only is None else [only]
        for number, name in enumerate(names):
            _check(type(callback).__name__, name, players, rates)
            own = callback if number == 0 else copy.copy(callback)
            own.__dict__.update(_hooks(own, name, several=len(names) > 1))
            made.append(own)
            changed.append(own)

    def undo() -> None:
        for own in changed:
            for name in ("set_model", "on_epoch_end"):
                own.__dict__.pop(name, None)

    return made, undo


def _direct(callback: Any, model: Any) -> None:
    """Tells a callback that looks for the best epoch whether more is better, where its mode is "auto"."""
    monitor = getattr(callback, "monitor", None)
    names = {metric.name: metric for metric in model.metrics}
    if monitor in ("loss", "val_loss") and "loss" not in names:
        raise ValueError(
            f"{type(callback).__name__} looks at {monitor}, which {type(model).__name__} does not log, as each player "
            f"has a loss of its own: monitor one of {', '.join(names)}, for validation_data with val_ before it."
        )
    direction = getattr(names.get(str(monitor).removeprefix("val_")), "_direction", None)
    if getattr(callback, "mode", None) == "auto" and direction is not None:
        callback.mode = {"up": "max", "down": "min"}[direction]


def _check(callback: str, name: str, players: Mapping[str, Any], rates: bool) -> None:
    """Refuses what would have no effect."""
    if name not in players:
        raise ValueError(f"{callback} is for {name!r}: the players are {', '.join(players)}.")
    optimizer = getattr(players[name].optimizer, "inner_optimizer", players[name].optimizer)
    if rates and callable(getattr(optimizer, "_learning_rate", None)):
        raise ValueError(
            f"{callback} cannot set the learning rate of {name}, which follows a schedule: compile it with a "
            "number, or name another player by feeding.only_for."
        )


def _hooks(callback: Any, name: str, *, several: bool) -> dict[str, Any]:
    """The callback's own methods, on the model as the player has it; what they log bears the player's name."""
    kind = type(callback)

    def set_model(model: Any) -> None:
        kind.set_model(callback, _Seen(model, name))

    def on_epoch_end(epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = {} if logs is None else logs
        kind.on_epoch_end(callback, epoch, logs)
        for key in ("learning_rate", "lr"):
            if several and key in logs:
                logs[f"{key}_{name}"] = logs.pop(key)

    return {"set_model": set_model, "on_epoch_end": on_epoch_end}


class Fed:
    """What a model of several players does with what Keras gives it; to stand before `keras.Model` among the bases."""

    ANSWER = "label"
    """The column of a batch that y of (x, y) data is."""

    losses: Any
    distribute_strategy: Any
    classes: Any
    players: Any

    @property
    def _settings(self) -> dict[str, Any]:
        """What `compile` was given, beside the optimizers."""
        return self.__dict__.get("_compiled_with", {})

    def as_batch(self, data: Any) -> Any:
        """A batch as it is, or one of Keras's (x, y, sample_weight): see the function."""
        return as_batch(data, self.ANSWER)

    def weighted_losses(self, batch: Batch, *, training: bool) -> tuple[Terms, dict[str, Terms], Terms]:
        """(player -> the sum of its terms; player -> its terms, times `compile`'s loss_weights; measures).

        Raises:
          ValueError: a column that the losses need, and the data lack; weights of rows that learn no class;
            loss_weights of no term.
        """
        own = type(self).__name__
        if isinstance(batch, Mapping) and WEIGHT in batch:
            self._refuse_unless_classes("sample_weight and class_weight have")
        try:
            terms, measures = self.losses(batch, training=training)
        except KeyError as error:
            if not isinstance(batch, Mapping) or error.args[0] in batch:
                raise
            raise ValueError(f"{own} learns from {error}, which the data lack: they have {sorted(batch)}.") from error
        factors, known = self._settings.get("loss_weights") or {}, {name for t in terms.values() for name in t}
        if factors.keys() - known:
            raise ValueError(f"loss_weights of {own} are for its terms {sorted(known)}, not {sorted(factors)}.")
        terms = {p: {n: t * factors[n] if n in factors else t for n, t in own.items()} for p, own in terms.items()}
        return {name: tf.add_n(list(t.values())) for name, t in terms.items()}, terms, measures

    def _refuse(self, loss_weights: Any, metrics: bool, loss: bool) -> None:
        """Refuses arguments of `compile` that have no meaning here."""
        own = type(self).__name__
        if loss:
            raise ValueError(f"{own} descends its paper's losses: loss_weights={{term: factor}} weighs them, no loss.")
        if loss_weights is not None and not isinstance(loss_weights, Mapping):
            raise ValueError(f"loss_weights of {own} name its terms, {{term: factor}}: not {loss_weights!r}.")
        if metrics:
            self._refuse_unless_classes("metrics have")

    def _refuse_unless_classes(self, what: str) -> None:
        if not hasattr(self, "classify"):
            raise ValueError(f"{type(self).__name__} names no expression, so {what} no meaning here.")

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        **options: Any,
    ) -> Any:
        """Keras's `fit`, for what its own does not know of several players.

        Args:
          x: a tf.data pipeline of batches, as `pipeline.Batches.dataset()`, or what `as_batch` takes.
          y, batch_size, epochs, verbose: as in Keras.
          callbacks: those that set a learning rate set that of each player, or of the one that `only_for` names.
          **options: as in Keras. class_weight also takes names of classes. On several replicas each batch is shared
            evenly, its first rows going round again where they do not come out even.
        """
        if options.get("class_weight") is not None:
            self._refuse_unless_classes("class_weight has")
            weights = options.pop("class_weight")
            if isinstance(x, tf.data.Dataset):
                x = with_class_weight(x, weights, self.classes)
            else:
                given = (x, y, options.get("sample_weight"))
                x, y, options["sample_weight"] = with_class_weight(given, weights, self.classes)
        if self.distribute_strategy.num_replicas_in_sync > 1:
            data, shuffle = (x, y, options.pop("sample_weight", None)), options.get("shuffle", True)
            x, y, steps = self._dealt(data, batch_size, options.get("steps_per_epoch"), shuffle=shuffle, again=True)
            options["steps_per_epoch"] = steps
            if (held_out := options.get("validation_data")) is not None:
                parts = held_out if isinstance(held_out, tuple) else (held_out,)
                data, size = (*parts, None, None)[:3], options.get("validation_batch_size") or batch_size
                held_out, _, steps = self._dealt(
                    data, size, options.get("validation_steps"), shuffle=False, again=False
                )
                options |= {"validation_data": held_out, "validation_steps": steps}
        callbacks, undo = for_each_player(callbacks, self)
        try:
            return super().fit(x, y, batch_size, epochs, verbose, callbacks, **options)  # type: ignore[misc]
        finally:
            undo()

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, verbose: Any = "auto", **options: Any
    ) -> Any:
        """Keras's `evaluate`: means over all rows, on however many replicas, as floats; data as in `fit`."""
        if self.distribute_strategy.num_replicas_in_sync > 1:
            data = (x, y, options.pop("sample_weight", None))
            x, y, steps = self._dealt(data, batch_size, options.get("steps"), shuffle=False, again=False)
            options["steps"] = steps
        found = super().evaluate(x, y, batch_size, verbose, **options)  # type: ignore[misc]
        return tf.nest.map_structure(lambda v: v if np.ndim(v) else float(v), found)  # Keras 3.13 may leave tensors

    def _dealt(
        self, data: tuple[Any, Any, Any], size: int | None, steps: int | None, *, shuffle: bool, again: bool
    ) -> Any:
        """(x, y, sample_weight) -> (what the replicas take, None, steps of a pass)."""
        if isinstance(data[0], tf.distribute.DistributedDataset):
            return data[0], None, steps
        stream = pipeline_of(*data, size, shuffle)
        if not isinstance(stream, tf.data.Dataset):
            raise ValueError("On several replicas `fit` and `evaluate` take a tf.data pipeline, or arrays.")
        steps = length(stream) if steps is None else steps
        return dealt(stream, self.distribute_strategy, self.as_batch, again=again), None, steps

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Nothing: players' models are built; Keras 3 would take the mean over replicas of unequal batches for it."""
