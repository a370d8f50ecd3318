"""What the convolutional classifiers share: a trunk, dropout, a softmax, and cross-entropy training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from fer_tf.compat import Batch, PlayersModel, Terms, keras
from fer_tf.layers import Dropout
from fer_tf.losses import smoothed_cross_entropy


class SoftmaxClassifier(PlayersModel):
    """A trunk, dropout on its features, one dense layer and a softmax. A subclass gives the trunk and `preprocess`.

    Args:
      classes: names of the K classes, in the order of the outputs.
      trunk: a functional net, (N, H, W, C) float32 as `preprocess` makes it -> [maps (N, h, w, c), features (N, F)
        float32 >= 0].
      dropout: rate on the features while training.
      label_smoothing: share of the target spread evenly over the classes.
      seed: of the dropout masks.
    """

    POOLING = "pool{}"
    """Names of the trunk's pooling layers, by their number."""

    LOGGED: tuple[str, ...] = ("classifier_loss", "accuracy")
    """Columns of history.csv."""

    def __init__(
        self,
        *,
        classes: Sequence[str],
        trunk: keras.Model,
        dropout: float,
        label_smoothing: float,
        seed: int,
        name: str,
        **options: Any,
    ):
        super().__init__(name=name, **options)
        self.classes, self.trunk = tuple(classes), trunk
        self.dropout, self.label_smoothing, self.seed = dropout, label_smoothing, seed
        self.hidden_dropout = Dropout(dropout, seed, dtype="float32", name="hidden_dropout")
        self.head = keras.layers.Dense(len(self.classes), dtype="float32", name="logits")
        hidden = trunk.outputs[1].shape[-1]
        self.hidden_dropout.build((None, hidden))
        self.head.build((None, hidden))
        self.built = True
        self.track(*self.LOGGED)

    def preprocess(self, images: tf.Tensor) -> tf.Tensor:
        """(N, H, W, 1|3) float32 in [0, 1] -> what the trunk takes; every subclass gives this."""
        raise TypeError(f"{type(self).__name__} has to define preprocess(images): what its trunk takes.")

    def player_variables(self) -> list[tuple[str, list[tf.Variable]]]:
        """One player, the classifier, moves everything."""
        return [("classifier", self.trainable_variables)]

    def features(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Feat of IA-gen's eq. (8): (N, H, W, 1|3) float32 in [0, 1] -> (N, F) float32 >= 0."""
        return self.trunk(self.preprocess(images), training=training)[1]

    def maps(self, images: tf.Tensor, pooling: int = 2) -> tf.Tensor:
        """phi of IA-gen's eq. (5): the last convolution before a pooling, by default the second.

        Args:
          images: (N, H, W, 1|3) float32 in [0, 1].
          pooling: number of the pooling; the net's `POOLING` names its layers.
        Returns:
          (N, H / 2^(pooling - 1), W / 2^(pooling - 1), C).
        Raises:
          ValueError: the net has no such pooling.
        """
        if pooling == 2:
            return self.trunk(self.preprocess(images), training=False)[0]
        nets = self.__dict__.setdefault("_until_pooling", {})  # not tracked: they are parts of the trunk
        if pooling not in nets:
            try:
                maps = self.trunk.get_layer(self.POOLING.format(pooling)).input
            except ValueError as error:
                raise ValueError(f"{type(self).__name__} has no pooling number {pooling}.") from error
            nets[pooling] = keras.Model(self.trunk.inputs, maps, name=f"until_pool{pooling}")
        return nets[pooling](self.preprocess(images), training=False)

    def logits(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """(N, H, W, 1|3) float32 in [0, 1] -> (N, K) float32, before the softmax."""
        return self.head(self.hidden_dropout(self.features(images, training), training=training))

    def classify(self, images: tf.Tensor) -> tf.Tensor:
        """(N, H, W, 1|3) float32 in [0, 1] -> (N, K) float32 probabilities, each row summing to one."""
        return tf.nn.softmax(self.logits(images))

    def losses(self, batch: Batch, training: bool = True) -> tuple[dict[str, Terms], Terms]:
        """Cross-entropy, and accuracy, on a batch with image and label."""
        logits, labels = self.logits(batch["image"], training), batch["label"]
        loss = smoothed_cross_entropy(logits, labels, self.label_smoothing, batch.get("weight"))
        return {"classifier": {"classification_loss": loss}}, {"accuracy": accuracy(logits, labels)}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments but the trunk; a subclass adds its own."""
        return {n: getattr(self, n) for n in ("name", "classes", "dropout", "label_smoothing", "seed")}


def accuracy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Share of the batch whose largest logit is the label: (N, K), (N,) -> scalar float32 in [0, 1]."""
    return tf.reduce_mean(tf.cast(tf.argmax(logits, -1, tf.int32) == tf.cast(labels, tf.int32), tf.float32))
