"""The only file that knows Keras 2 (TensorFlow 2.15) from Keras 3 (TensorFlow >= 2.16), and how each trains.

Everything else imports `keras` and the names below from here, so that it reads the same on both stacks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf

from fer_tf import feeding, keras_settings, replicas, scores

keras_settings.refuse_others()  # before Keras looks for a backend that may not be there
KERAS_3 = tuple(int(part) for part in tf.__version__.split(".")[:2]) >= (2, 16)
if KERAS_3:
    import keras
else:
    keras = tf.keras  # has no __version__ of its own

Batch: TypeAlias = feeding.Batch
Terms: TypeAlias = feeding.Terms


class Player(NamedTuple):
    """One of those who train: the variables it moves and the optimizer that moves them (None before `compile`)."""

    variables: Sequence[tf.Variable]
    optimizer: Any


class Step(NamedTuple):
    """What a training step found out on a batch, before anybody moves.

    Attributes:
      gradients: player -> gradients of the sum of its terms, one a variable; multiplied by the loss scale, if any.
      totals: player -> that sum.
      terms: player -> its terms.
      measures: what is only logged.
      rows: name of what is logged -> rows of the batch that it is a mean over.
    """

    gradients: dict[str, list[tf.Tensor]]
    totals: Terms
    terms: dict[str, Terms]
    measures: Terms
    rows: Terms


_xla: dict[str, bool | None] = {"wanted": None}


def set_xla(wanted: bool | None) -> None:
    """Sets whether models that are compiled from now on are compiled by XLA; None for: where there is a GPU."""
    _xla["wanted"] = wanted


def xla() -> bool:
    """Whether `compile` asks for XLA unless it is told."""
    return bool(tf.config.get_visible_devices("GPU")) if _xla["wanted"] is None else bool(_xla["wanted"])


class PlayersModel(feeding.Fed, keras.Model):
    """A Keras model trained by one optimizer per player (classifier, generator, discriminator ...).

    A subclass gives `player_variables`, `losses`, and `classify` or else `infer`. Its constructor names what is logged
    (`track`). `compile` takes one optimizer for each player. Training, testing and calling follow from these.
    """

    xla = xla_is_auto = False
    """Whether `compile` asked for XLA; and whether nobody said yes or no: a short training does without it then."""

    def __init__(self, *args: Any, **options: Any):
        # its layers follow the policy; the model itself would round its inputs, and any weight it reads
        super().__init__(*args, **{"dtype": "float32", **options})

    def players(self) -> dict[str, Player]:
        """Name -> Player, in the order in which a training step lets them move."""
        return {
            name: Player(variables, getattr(self, f"{name}_optimizer", None))
            for name, variables in self.player_variables()
        }

    def player_variables(self) -> Sequence[tuple[str, Sequence[tf.Variable]]]:
        """(player name, its trainable variables) in playing order; every subclass gives this."""
        raise TypeError(f"{type(self).__name__} has to define player_variables(), the variables of each player.")

    def losses(self, batch: Batch, training: bool = True) -> tuple[dict[str, Terms], Terms]:
        """Every player's loss terms on a batch, from one forward pass; every subclass that is trained gives this.

        Args:
          batch: of the pipeline.
          training: False leaves out what training adds: dropout, noise, the batch's statistics in norms.
        Returns:
          ({player: {term: scalar float32}}, {measure: scalar float32}). A player descends the sum of its terms.
          Measures, such as an accuracy, are only logged.
        """
        raise TypeError(f"{type(self).__name__} has to define losses(batch, training), the terms of each player.")

    def losses_of(self, name: str, batch: Batch, training: bool = True) -> Terms:
        """The terms of the player `name` on a batch: {term: scalar float32}, whose sum it descends."""
        return self.losses(batch, training)[0][name]

    def infer(self, images: tf.Tensor) -> Any:
        """What calling the model gives for (N, H, W, 1|3) float32 in [0, 1]: by default what `classify` gives."""
        return self.classify(images)

    def call(self, images: tf.Tensor | Batch, training: bool = False) -> Any:
        """Inference (`infer`) on images or on the image of a batch, whatever `training` is."""
        return self.infer(images["image"] if isinstance(images, Mapping) else images)

    def train_step(self, data: Any) -> Terms:
        """Lets each player in turn move down the sum of its terms; all gradients are taken at the same weights."""
        players, batch = self.players(), self.as_batch(data)
        self.update_scores(batch)
        with tf.GradientTape(persistent=len(players) > 1) as tape:
            totals, terms, measures = self.weighted_losses(batch, training=True)
        turns = self.turns(measures)
        for name, player in players.items():
            minimize(player, totals[name], tape, turns.get(name))
        return self.log_tracked(totals, terms, measures, self.rows(batch))

    def gradients(self, batch: Batch) -> Step:
        """A training step's first half where replicas meet in the second: XLA compiles it on each. It moves nobody."""
        players = self.players()
        with tf.GradientTape(persistent=len(players) > 1) as tape:
            totals, terms, measures = self.weighted_losses(batch, training=True)
        gradients = {name: gradients_of(player, totals[name], tape) for name, player in players.items()}
        return Step(gradients, totals, terms, measures, self.rows(batch))

    def move(self, step: Step) -> Terms:
        """The second half: each player whose turn it is makes its optimizer's step; what is logged."""
        turns = self.turns(step.measures)
        for name, player in self.players().items():
            move(player, step.gradients[name], turns.get(name))
        return self.log_tracked(step.totals, step.terms, step.measures, step.rows)

    def turns(self, measures: Terms) -> Mapping[str, tf.Tensor]:
        """Player -> scalar bool, alike on all replicas: whether it moves in this step; all that it leaves out do.

        Args:
          measures: of `losses`; more of them may be added, to be logged.
        """
        return {}

    def test_step(self, data: Any) -> Terms:
        """Logs the same terms and measures without what training adds, and moves nothing."""
        batch = self.as_batch(data)
        self.update_scores(batch)
        totals, terms, measures = self.weighted_losses(batch, training=False)
        return self.log_tracked(totals, terms, measures, self.rows(batch))

    def rows(self, batch: Batch) -> Terms:
        """Name of what is logged -> rows of the batch that it is a mean over: all, unless a subclass knows better."""
        count = feeding.rows(batch)
        return {name: count for name in self._means}

    def compile(
        self,
        *,
        metrics: Sequence[Any] | None = None,
        weighted_metrics: Sequence[Any] | None = None,
        loss_weights: Mapping[str, float] | None = None,
        jit_compile: bool | None = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        **optimizers: Any,
    ) -> None:
        """Sets and builds the optimizer of every player.

        Args:
          metrics: of (label, `classify`'s probabilities), where there is `classify`, see `scores.of`. In training they
            take a forward pass of their own, without dropout, before the step.
          weighted_metrics: likewise, weighted by sample_weight or class_weight.
          loss_weights: term of `losses` -> what it is multiplied by.
          jit_compile: XLA for the training step; worth it on a GPU, several times slower on a CPU. None for what
            `set_xla` was told.
          run_eagerly: runs the training step op by op, for debugging.
          steps_per_execution: as in Keras.
          **optimizers: `<player>_optimizer`, one for each player: an optimizer, its name or its config. Under the
            `mixed_float16` policy each is wrapped for loss scaling here.
        Raises:
          ValueError: a player without an optimizer, or what has no meaning here; the message names it.
        """
        self._refuse(loss_weights, bool(metrics or weighted_metrics), "loss" in optimizers)
        expected = {f"{name}_optimizer" for name, _ in self.player_variables()}
        if expected != set(optimizers):
            raise ValueError(
                f"{type(self).__name__}.compile takes one optimizer for each player: "
                f"missing {sorted(expected - set(optimizers))}, unknown {sorted(set(optimizers) - expected)}."
            )
        given: dict[str, Any] = {"metrics": metrics, "weighted_metrics": weighted_metrics, "loss_weights": loss_weights}
        given |= {"jit_compile": jit_compile, "run_eagerly": run_eagerly, "steps_per_execution": steps_per_execution}
        own = scores.of(self, metrics or (), weighted_metrics or (), keras.metrics)
        self.__dict__.update(_scores=own, _compiled_with=given)  # not tracked: no part of the weights
        self.xla = (xla() if jit_compile is None else jit_compile) and not run_eagerly
        self.xla_is_auto = jit_compile is None and _xla["wanted"] is None
        alone = self.distribute_strategy.num_replicas_in_sync == 1  # optimizers of several meet outside of XLA
        options: dict[str, Any] = {"optimizer": None} if KERAS_3 else {}
        options |= {"run_eagerly": run_eagerly, "steps_per_execution": steps_per_execution}
        super().compile(jit_compile=self.xla and alone, **options)
        self.optimizer = None
        for name, variables in self.player_variables():
            optimizer = loss_scaled(keras.optimizers.get(optimizers[f"{name}_optimizer"]))
            optimizer.build(list(variables))
            setattr(self, f"{name}_optimizer", optimizer)

    def get_compile_config(self) -> dict[str, Any]:
        """What `compile` was given, for `.keras` files, with the players' optimizers as they are now."""
        if not self._settings:
            return {}
        optimizers = {f"{name}_optimizer": player.optimizer for name, player in self.players().items()}
        return keras.saving.serialize_keras_object({**self._settings, **optimizers})

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compiles the model as the one was whose `get_compile_config` this is."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def log(self, rows: Mapping[str, tf.Tensor] | None = None, **values: tf.Tensor) -> dict[str, tf.Tensor]:
        """Running means since the epoch began, for the progress bar and history.csv: name -> scalar.

        Args:
          rows: name -> rows that a value is a mean over; each counts once where they are left out.
          **values: scalars.
        """
        means = self.__dict__.setdefault("_means", {})
        for name, (value, count) in replicas.means(values, rows).items():
            means[name].update_state(tf.where(count > 0, value, tf.zeros_like(value)), sample_weight=count)
        return {name: means[name].result() for name in values}

    def update_scores(self, batch: Batch) -> None:
        """Counts a batch into the metrics that `compile` was given, if any."""
        if own := self.__dict__.get("_scores"):
            scores.update(own, batch, self.classify(batch["image"]))

    def log_tracked(
        self, totals: Mapping[str, tf.Tensor], terms: Mapping[str, Terms], measures: Terms, rows: Terms
    ) -> Terms:
        """Logs what `track` names, in its order, then `compile`'s metrics.

        Args:
          totals: player -> the sum of its terms, logged as "<player>_loss".
          terms, measures: of `losses`.
          rows: of the method of this name.
        """
        values = {f"{name}_loss": total for name, total in totals.items()}
        for own in (*terms.values(), measures):
            values |= own
        logs = self.log(rows, **{name: values[name] for name in self._means if name in values})
        return logs | {s.metric.name: s.metric.result() for s in self.__dict__.get("_scores", ())}

    def track(self, *names: str) -> None:
        """Creates the means that `log` fills: the columns of history.csv. The constructor calls it."""
        self._logged = [keras.metrics.Mean(name=name) for name in names]
        for mean in self._logged:  # what callbacks ask for that look for the best epoch
            mean._direction = {"accuracy": "up", "loss": "down"}.get(mean.name.rsplit("_")[-1])
        self.__dict__["_means"] = dict(zip(names, self._logged, strict=True))

    def _trackable_children(self, save_type: str = "checkpoint", **options: Any) -> dict[str, Any]:
        """What a checkpoint holds: Keras 3 leaves out the layers of lists, where their optimizer does not move them."""
        children = dict(super()._trackable_children(save_type, **options))
        if KERAS_3 and save_type == "checkpoint":
            for name, value in vars(self).items():
                if isinstance(value, list) and not name.startswith("_"):
                    layers = {f"{name}_{i}": v for i, v in enumerate(value) if isinstance(v, keras.layers.Layer)}
                    children.update(layers)
        return children

    @property
    def metrics(self) -> list[Any]:
        """The running means and `compile`'s metrics, which `fit` resets at each epoch's start."""
        return [*getattr(self, "_logged", ()), *(s.metric for s in self.__dict__.get("_scores", ()))]


def loss_scaled(optimizer: Any) -> Any:
    """The optimizer itself, or wrapped for dynamic loss scaling when the global policy is `mixed_float16`."""
    wrapper = keras.mixed_precision.LossScaleOptimizer
    if keras.mixed_precision.global_policy().name != "mixed_float16" or isinstance(optimizer, wrapper):
        return optimizer
    return wrapper(optimizer)


def minimize(player: Player, loss: tf.Tensor, tape: tf.GradientTape, when: tf.Tensor | None = None) -> None:
    """One step of the player's optimizer down the gradient of `loss`, as `gradients_of` and `move` have it.

    A player that does not move costs no backward pass, where there is one replica.
    """
    if when is None or tf.distribute.get_strategy().num_replicas_in_sync > 1:
        move(player, gradients_of(player, loss, tape), when)
        return

    def moved() -> bool:
        move(player, gradients_of(player, loss, tape))
        return True

    tf.cond(when, moved, lambda: True)


def gradients_of(player: Player, loss: tf.Tensor, tape: tf.GradientTape) -> list[tf.Tensor]:
    """Gradients of a loss with respect to the player's variables, as `move` wants them: times the loss scale, if any.

    Under `tf.distribute` they are this replica's share of the mean over the replicas, as if one had the whole batch.

    Args:
      player: whose.
      loss: float32 scalar recorded by `tape`.
      tape: persistent where it serves two players.
    """
    optimizer = player.optimizer
    with tape:
        loss = replicas.share_of(loss)  # optimizers add the replicas' gradients up
        if isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer):
            loss = optimizer.scale_loss(loss) if KERAS_3 else optimizer.get_scaled_loss(loss)
    return tape.gradient(loss, list(player.variables))


def move(player: Player, gradients: Sequence[tf.Tensor], when: tf.Tensor | None = None) -> None:
    """One step of the player's optimizer.

    Args:
      player: who moves.
      gradients: of `gradients_of`.
      when: scalar bool, alike on all replicas: whether the step is made; None for always.
    """
    if when is None:
        _apply(player, gradients)
    else:  # replicas cannot meet inside a condition: the step is made, and taken back
        changed = [*player.variables, *_variables(player.optimizer)]
        before = [tf.identity(tf.convert_to_tensor(v)) for v in changed]
        _apply(player, gradients)
        for variable, value in zip(changed, before, strict=True):
            variable.assign(tf.where(when, tf.convert_to_tensor(variable), value))


def _apply(player: Player, gradients: Sequence[tf.Tensor]) -> None:
    optimizer = player.optimizer
    if isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer) and not KERAS_3:
        gradients = optimizer.get_unscaled_gradients(list(gradients))
    optimizer.apply_gradients(zip(gradients, player.variables, strict=True))


def set_policy(precision: str) -> None:
    """Sets the global dtype policy: float32, mixed_float16 or mixed_bfloat16."""
    keras.mixed_precision.set_global_policy(precision)


class BatchNorm(keras.layers.BatchNormalization):
    """Batch normalisation through TensorFlow's fused kernel on both Keras versions.

    Keras 3 composes it of a dozen elementwise ops in float32; the fused kernel takes half-precision activations with
    float32 statistics and made a training step 1.9 times faster on a CPU (bfloat16, residual net). bfloat16 whose
    channels are no multiple of 16 goes through float32: CPUs have no vector code for it (ten times slower). The moving
    variance takes the unbiased batch variance (N / (N - 1)), as Keras 2 does. Keras has all but rank 4, channels last.

    Args:
      momentum: of the moving statistics. 0.9 where Keras has 0.99, which lags in runs of a few hundred steps.
      epsilon: added to the variance.
    """

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-3, **options: Any):
        super().__init__(momentum=momentum, epsilon=epsilon, **options)

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: Any = None) -> tf.Tensor:
        """(N, H, W, C) -> (N, H, W, C), the same dtype."""
        update, usual = bool(training) and self.trainable, inputs.shape.rank == 4 and self.axis in (-1, 3, [3])
        own = replicas.part() if update and usual else None  # autograph knows no walrus
        if own is not None:
            return replicas.normalised(self, inputs, own)
        if not KERAS_3 or not usual:
            return super().call(inputs, training=training)
        gamma, beta, mean, variance = (
            tf.convert_to_tensor(v.value if hasattr(v, "value") else v)
            for v in (self.gamma, self.beta, self.moving_mean, self.moving_variance)
        )
        gamma, beta = tf.cast(gamma, tf.float32), tf.cast(beta, tf.float32)
        odd = inputs.dtype == tf.bfloat16 and inputs.shape[-1] % 16 != 0
        outputs, batch_mean, batch_variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=tf.cast(inputs, tf.float32) if odd else inputs,
            scale=gamma,
            offset=beta,
            mean=mean if not update else tf.zeros([0]),
            variance=variance if not update else tf.zeros([0]),
            epsilon=self.epsilon,
            is_training=update,
        )
        if update:
            self.moving_mean.assign(mean * self.momentum + batch_mean * (1.0 - self.momentum))
            self.moving_variance.assign(variance * self.momentum + batch_variance * (1.0 - self.momentum))
        return tf.cast(outputs, inputs.dtype)


if KERAS_3:

    @keras.utils.register_keras_serializable("fer_tf")
    class Adam(keras.optimizers.Adam):
        """Keras's Adam, each variable moved by TensorFlow's fused kernel: the same numbers in a third of the time."""

        def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: Any) -> None:
            """One variable's step, eager, in a graph or for one replica."""
            if self.amsgrad or variable.dtype != tf.float32 or isinstance(gradient, tf.IndexedSlices):
                super().update_step(gradient, variable, learning_rate)
                return
            index, step = self._get_variable_index(variable), tf.cast(self.iterations + 1, tf.float32)
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=self._momentums[index].value.handle,
                v=self._velocities[index].value.handle,
                beta1_power=tf.pow(self.beta_1, step),
                beta2_power=tf.pow(self.beta_2, step),
                lr=tf.cast(learning_rate, tf.float32),
                beta1=self.beta_1,
                beta2=self.beta_2,
                epsilon=self.epsilon,
                grad=gradient,
            )
else:
    Adam = keras.optimizers.Adam  # type: ignore[misc] # a class above, this one where Keras is 2


def precision_of(layer: Any) -> str | None:
    """The half-precision policy of a layer or of the first below it that has one, else its own; None without any."""
    own = getattr(getattr(layer, "dtype_policy", None), "name", None)
    policies = [own, *(precision_of(below) for below in sublayers(layer))]
    return next((name for name in policies if name and name != "float32"), own)


def optimizer_variables(model: keras.Model) -> Mapping[str, list[tf.Variable]]:
    """Player name -> all variables of its optimizer (slots, step, loss scale), for checkpoints' tests."""
    return {name: _variables(player.optimizer) for name, player in model.players().items()}


def _variables(optimizer: Any) -> list[tf.Variable]:
    """An optimizer's own: slots, step, loss scale."""
    variables = optimizer.variables
    variables = list(variables() if callable(variables) else variables)
    scale = None if KERAS_3 else getattr(optimizer, "_loss_scale", None)  # Keras 2 keeps it apart
    return variables + [getattr(scale, name) for name in ("current_loss_scale", "counter") if hasattr(scale, name)]


def sublayers(layer: Any) -> list[Any]:
    """The layers directly below a layer or model: of a functional net, an attribute, a list or a dict; no metrics."""
    return list(layer._flatten_layers(include_self=False, recursive=False))


def own_variables(layer: Any) -> list[tf.Variable]:
    """A layer's own weights, trainable first: not its sublayers', nor metrics or the seed state of random layers."""
    if KERAS_3:
        return [*layer._trainable_variables, *layer._non_trainable_variables]
    return [*layer._trainable_weights, *layer._non_trainable_weights]
