"""What the convolutional classifiers share: a trunk, dropout, a softmax, and cross-entropy training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from fer_tf.compat import PlayersModel, keras, minimize
from fer_tf.layers import Dropout


class SoftmaxClassifier(PlayersModel):
    """A trunk, dropout on its features, one dense layer and a softmax. A subclass gives the trunk and `preprocess`.

    Args:
      classes: names of the K classes, in the order of the outputs.
      trunk: a functional net, (N, H, W, C) float32 as `preprocess` makes it -> [maps (N, h, w, c), features (N, F)
        float32 >= 0].
      options: the arguments of the subclass's constructor that are not listed here; `get_config` gives them back.
      dropout: rate on the features while training.
      label_smoothing: share of the target spread evenly over the classes.
      seed: of the dropout masks.
    """

    POOLING = "pool{}"
    """Names of the trunk's pooling layers, by their number."""

    def __init__(
        self,
        *,
        classes: Sequence[str],
        trunk: keras.Model,
        options: Mapping[str, Any],
        dropout: float,
        label_smoothing: float,
        seed: int,
        name: str,
        **keras_options: Any,
    ):
        super().__init__(name=name, **keras_options)
        self.classes = tuple(classes)
        self.options = dict(options)
        self.label_smoothing, self.seed = label_smoothing, seed
        self.trunk = trunk
        self.dropout = Dropout(dropout, seed, dtype="float32", name="hidden_dropout")
        self.head = keras.layers.Dense(len(self.classes), dtype="float32", name="logits")
        hidden = trunk.outputs[1].shape[-1]
        self.dropout.build((None, hidden))
        self.head.build((None, hidden))
        self.built = True
        self.track("classifier_loss", "accuracy")

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
                seen = self.trunk.get_layer(self.POOLING.format(pooling)).input
            except ValueError as error:
                raise ValueError(f"{type(self).__name__} has no pooling number {pooling}.") from error
            nets[pooling] = keras.Model(self.trunk.inputs, seen, name=f"until_pool{pooling}")
        return nets[pooling](self.preprocess(images), training=False)

    def logits(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """(N, H, W, 1|3) float32 in [0, 1] -> (N, K) float32, before the softmax."""
        return self.head(self.dropout(self.features(images, training), training=training))

    def classify(self, images: tf.Tensor) -> tf.Tensor:
        """(N, H, W, 1|3) float32 in [0, 1] -> (N, K) float32 probabilities, each row summing to one."""
        return tf.nn.softmax(self.logits(images))

    def call(self, images: tf.Tensor | Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Inference: images, or a batch of the pipeline, -> (N, K) probabilities."""
        return self.classify(images["image"] if isinstance(images, Mapping) else images)

    def classification_loss(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Cross-entropy, the mean over the batch: (N, K) float32, (N,) int -> scalar float32."""
        k = len(self.classes)
        target = tf.one_hot(labels, k) * (1.0 - self.label_smoothing) + self.label_smoothing / k
        return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, logits))

    def losses_of(self, name: str, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Loss terms of the classifier on a batch with image and label."""
        return {"classification_loss": self.classification_loss(self.logits(batch["image"], True), batch["label"])}

    def train_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One step of softmax training."""
        with tf.GradientTape() as tape:
            logits = self.logits(batch["image"], training=True)
            loss = self.classification_loss(logits, batch["label"])
        minimize(self.players()["classifier"], loss, tape)
        return self.log(classifier_loss=loss, accuracy=accuracy(logits, batch["label"]))

    def test_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Loss and accuracy without dropout."""
        logits = self.logits(batch["image"])
        loss = self.classification_loss(logits, batch["label"])
        return self.log(classifier_loss=loss, accuracy=accuracy(logits, batch["label"]))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "name": self.name,
            "classes": self.classes,
            **self.options,
            "dropout": self.dropout.rate,
            "label_smoothing": self.label_smoothing,
            "seed": self.seed,
        }


def accuracy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Share of the batch whose largest logit is the label: (N, K), (N,) -> scalar float32 in [0, 1]."""
    return tf.reduce_mean(tf.cast(tf.argmax(logits, -1, tf.int32) == tf.cast(labels, tf.int32), tf.float32))
