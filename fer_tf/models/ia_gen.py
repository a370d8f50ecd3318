"""IA-gen: redraw a face in each of K expressions, and name it after the nearest of them.

Yang, Zhang, Yin: "Identity-Adaptive Facial Expression Recognition Through Expression Regeneration Using Conditional
Generative Adversarial Networks" (FG 2018). Section III-A, eq. (1) to (7): `build_generator`, `build_discriminator`,
`ExpressionGAN`. Section III-B, eq. (8): `IAGen`. Section IV-A: `views`. Tables I to IV and Figs. 4 to 9 are made by
`experiments/ia_gen.py`. [14] is pix2pix, whose structure section III-A follows.

**Readings**, where the paper is silent:

- III-A, generator: the order is convolution, norm, activation. No convolution has a bias. Dropout 0.5 acts in the
  decoders that have 512 channels, as in [14]. Kernels start from N(0, 0.02), as in [14].
- III-A, discriminator: that of [14], which scores patches. Its strides are 2, 2, 2, 1, 1, with zero padding of one at
  stride 1. Its first and last layer have no norm, the others leaky ReLU 0.2. A 64x64 face gets 6x6 scores, each with a
  field of 70 pixels.
- III-A, batch normalization: moving statistics at test.
- Eq. (1) to (3): the mean over pairs and patches. Images are grey.
- Eq. (4), (5): the mean over all places and channels, with pixels in [-1, 1].
- Eq. (5): phi is a network's maps before its second pooling: relu2_2 of a VGG, or FER-Net's.
- Eq. (7): lambda multiplies what G descends. Each player has an Adam of its own, which does not feel a loss's scale: it
  changes next to nothing. Both gradients are taken at the same weights (one forward pass), then both players move.
- Eq. (8): Feat is the last hidden fully connected layer, the distance Euclidean. `classify` gives
  softmax(-distance / temperature), whose largest entry is eq. (8)'s.
- IV-A, "dropout is set to 0.5 during training, and 1.0 during testing": shares that are kept. Nothing is dropped at
  test.
- IV-A, momentum and learning rate: those of FER-Net (`fer_net.py`). The GANs have [14]'s Adam with rate 2e-4 and beta1
  0.5; `optimizer(decay=...)` lets the rate fall at the end, as its code does.
- IV-A, "batch size is 100": one number for FER-Net's faces and the GANs' pairs. How long either is trained is not
  printed: `paper` of `experiments/ia_gen.py` has 40 and 20 passes over all 110 views. A person's n faces, m of which
  show the target, are n x m pairs; of 80 people with 21 and 3 that is 110,880 steps a GAN.
- IV-A, "the VGG [2] model is used as baseline in Oulu-CASIA": there it gives phi and Feat, too.
- IV-A, test: the centre crop; that it is neither turned nor flipped is printed.

**Deviations**, where something printed is changed:

- III-A, "each layer is followed by ... (ReLU) and batch normalization (BN)": no norm follows e1, e6 and the output, as
  in [14].
- III-A, likewise: the output has tanh in place of ReLU, as in [14], which reaches all of [-1, 1].
- Eq. (6): the content loss is L1, as the text above eq. (5) says; the equation prints MSE (`content="mse"`).
- IV-A: faces are found by dlib, not by TSM.

Six more are options, which are off:

- Eq. (5): `phi_scale` multiplies phi, whose scale the paper leaves open and which eq. (5) squares. In
  `quick`, eq. (5) weighs a twelfth of eq. (4).
- Eq. (6): `lambda_consistency` adds `consistency_loss`, by which two faces of one person give the same redrawn face in
  Feat. Eq. (3) to (5) let G keep what the input shows.
- Eq. (6): `lambda_feat` adds `feat_loss`, eq. (5) with Feat for phi: redrawn faces are right where eq. (8) compares.
- III-A: `normal_norms` draws the norms' scales, too: N(1, 0.02), as the code of [14] does. They start from one.
- Eq. (8): it may teach FER-Net of people without labels, by faces redrawn from a known neutral one (`--taught_by` of
  `experiments/ia_gen.py`). A hundred judges' faces: 70.1 % where FER-Net alone names 68.4 and class means in place of
  redrawn faces teach 66.2; with identity dispelled from the names 73.2, and 73.9 from FER-Net's own.
- Eq. (8): the faces may be redrawn from a known neutral one: `distances(images, regenerate(neutral))`, and
  `--beside_neutral`. Halfway between these and class means in Feat, it names 76.0 % of a hundred judges' faces, where
  FER-Net names 68.4, a linear map of the same neutral face 74.1 (+1.9, +0.9 to +2.9); eq. (8) as it is 70.6.

Ways to name a face beside eq. (8) are rows of the command: `--named_by` of `experiments/ia_gen.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from fer_tf import augment, spec
from fer_tf.compat import Adam, Batch, BatchNorm, PlayersModel, Terms, keras
from fer_tf.layers import Conv2D, Conv2DTranspose, Dropout, normal
from fer_tf.layers import signed_grey as grey
from fer_tf.losses import l1_loss, l2_loss, log_loss
from fer_tf.records import CLASSES
from fer_tf.schedules import LinearEnd

TEMPLATE = "ia_gen"
"""The frame of a face for `faces.align`: 70x70."""

SIZE = 64
"""Pixels a side of a view, and of a generated face."""

ENCODERS = (64, 128, 256, 512, 512, 512)
DECODERS = (512, 512, 256, 128, 64, 1)
DISCRIMINATOR = (64, 128, 256, 512, 1)
"""Output channels as printed in section III-A."""

views = augment.ia_gen_views
"""The 110 views of section IV-A: 11 rotations x 5 crops of 64x64 x flip; the centre crop at test."""


def build_generator(
    *, width: float = 1.0, dropout: float = 0.5, seed: int = 0, normal_norms: bool = False, name: str = "generator"
) -> Any:
    """G of section III-A: six encoders, six decoders, 4x4, stride 2, skip connections.

    Args:
      width: times the printed channels; 1.0 has 29,237,888 weights.
      dropout: rate in the decoders of 512 channels.
      seed: of the dropout masks.
      normal_norms: whether the norms' scales start from N(1, 0.02), not from one.
      name: of the net.
    Returns:
      A functional net, (N, 64, 64, 1) in [-1, 1] -> (N, 64, 64, 1) float32 in [-1, 1].
    """
    inputs = x = keras.Input((SIZE, SIZE, 1), name="face")
    options = {"padding": "same", "use_bias": False}
    skips = []
    for i, channels in enumerate(scaled(ENCODERS, width), 1):
        x = Conv2D(channels, 4, 2, kernel_initializer=normal(), name=f"e{i}_conv", **options)(x)
        if 1 < i < len(ENCODERS):
            x = norm(f"e{i}_norm", normal_norms)(x)
        x = keras.layers.Activation("relu", name=f"e{i}_relu")(x)
        skips.append(x)
    for i, (channels, printed) in enumerate(zip(scaled(DECODERS[:-1], width), DECODERS, strict=False), 1):
        x = skips.pop() if i == 1 else keras.layers.Concatenate(name=f"d{i}_skip")([x, skips.pop()])
        x = Conv2DTranspose(channels, 4, 2, kernel_initializer=normal(), name=f"d{i}_conv", **options)(x)
        x = norm(f"d{i}_norm", normal_norms)(x)
        if printed == 512:
            x = Dropout(dropout, seed + i, name=f"d{i}_dropout")(x)
        x = keras.layers.Activation("relu", name=f"d{i}_relu")(x)
    x = keras.layers.Concatenate(name="d6_skip")([x, skips.pop()])
    x = keras.layers.Conv2DTranspose(DECODERS[-1], 4, 2, kernel_initializer=normal(), name="d6_conv", **options)(x)
    return keras.Model(inputs, keras.layers.Activation("tanh", dtype="float32", name="d6_tanh")(x), name=name)


def build_discriminator(
    *, width: float = 1.0, slope: float = 0.2, normal_norms: bool = False, name: str = "discriminator"
) -> Any:
    """D of section III-A: judges pairs, patch by patch.

    Args:
      width: times the printed channels.
      slope: of the leaky ReLU below zero.
      normal_norms: see `build_generator`.
      name: of the net.
    Returns:
      A functional net, <input, output> (N, 64, 64, 2) in [-1, 1] -> logits (N, 6, 6, 1) float32; D is their sigmoid.
    """
    inputs = x = keras.Input((SIZE, SIZE, 2), name="pair")
    last = len(DISCRIMINATOR)
    for i, channels in enumerate((*scaled(DISCRIMINATOR[:-1], width), 1), 1):
        stride = 2 if i <= 3 else 1
        if stride == 1:
            x = keras.layers.ZeroPadding2D(1, name=f"c{i}_pad")(x)
        padding, bias = "same" if stride == 2 else "valid", i in (1, last)
        x = keras.layers.Conv2D(
            channels, 4, stride, padding, use_bias=bias, kernel_initializer=normal(), name=f"c{i}_conv"
        )(x)
        if not bias:
            x = norm(f"c{i}_norm", normal_norms)(x)
        if i < last:
            x = keras.layers.LeakyReLU(slope, name=f"c{i}_relu")(x)
    return keras.Model(inputs, keras.layers.Activation("linear", dtype="float32", name="logits")(x), name=name)


def norm(name: str, drawn: bool) -> Any:
    """A batch norm whose scale starts from one, or is drawn from N(1, 0.02)."""
    start = {"gamma_initializer": keras.initializers.RandomNormal(mean=1.0, stddev=0.02)} if drawn else {}
    return BatchNorm(name=name, **start)


def scaled(channels: Sequence[int], width: float) -> list[int]:
    """The printed channels times `width`, at least one each."""
    return [max(1, round(c * width)) for c in channels]


@keras.utils.register_keras_serializable("fer_tf")
class ExpressionGAN(PlayersModel):
    """One conditional GAN, which redraws any face with one expression. Eq. (1) to (7), section III-A.

    Args:
      expression: the target expression, for its name alone.
      feature_net: gives phi of eq. (5) as `maps(images in [0, 1])`, and Feat as `features`; it is neither trained nor
        saved with this model. None only where beta and lambda_consistency are 0.
      width: times the printed channels of both nets.
      alpha, beta, lambda_: weights of content, perceptual and the whole generator loss, eq. (6) and (7).
      content: "l1", or "mse" as eq. (4) prints.
      phi_pooling: j of eq. (5): phi is the last convolution before that pooling of the feature_net.
      phi_scale: what phi is multiplied by (a deviation; the paper's is 1).
      lambda_consistency: weight of `consistency_loss` (a deviation; the paper's is 0). Batches then have "other".
      lambda_feat: weight of `feat_loss` (a deviation; the paper's is 0).
      dropout, normal_norms: see `build_generator`.
      seed: of the dropout masks.
    Raises:
      ValueError: an unknown content loss, or beta, lambda_consistency or lambda_feat without a feature_net.
    """

    ANSWER = "target"

    def __init__(
        self,
        *,
        expression: str = "happiness",
        feature_net: Any = None,
        width: float = 1.0,
        alpha: float = 100.0,
        beta: float = 10.0,
        lambda_: float = 1.0,
        content: str = "l1",
        phi_pooling: int = 2,
        phi_scale: float = 1.0,
        lambda_consistency: float = 0.0,
        lambda_feat: float = 0.0,
        normal_norms: bool = False,
        dropout: float = 0.5,
        seed: int = 0,
        name: str = "expression_gan",
        **options: Any,
    ):
        super().__init__(name=name, **options)
        if content not in ("l1", "mse"):
            raise ValueError(f"Unknown content loss {content!r}: use l1 or mse.")
        if (beta or lambda_consistency or lambda_feat) and feature_net is None:
            raise ValueError(
                "The perceptual loss of eq. (5), consistency and Feat need a feature_net; without one, give beta=0."
            )
        self.__dict__["feature_net"] = spec.build(feature_net)  # not tracked: neither trained nor saved here
        self.expression, self.width, self.content, self.seed = expression, width, content, seed
        self.alpha, self.beta, self.lambda_, self.dropout = alpha, beta, lambda_, dropout
        self.phi_pooling, self.phi_scale, self.normal_norms = phi_pooling, phi_scale, normal_norms
        self.lambda_consistency, self.lambda_feat = lambda_consistency, lambda_feat
        self.generator = build_generator(width=width, dropout=dropout, seed=seed, normal_norms=normal_norms)
        self.discriminator = build_discriminator(width=width, normal_norms=normal_norms)
        self.built = True
        weighted = ["content", "perceptual", *["consistency"] * bool(lambda_consistency), *["feat"] * bool(lambda_feat)]
        self.track("discriminator_loss", "generator_loss", "adversarial_loss",
                   *(f"{n}_loss" for n in weighted), *(f"unweighted_{n}" for n in weighted))  # fmt: skip

    def player_variables(self) -> list[tuple[str, list[tf.Variable]]]:
        """D, then G."""
        return [(n, getattr(self, n).trainable_variables) for n in ("discriminator", "generator")]

    def regenerate(self, images: tf.Tensor) -> tf.Tensor:
        """G(I): (N, 64, 64, 1|3) float32 in [0, 1] -> (N, 64, 64, 1) float32 in [0, 1], without dropout."""
        return (self.generator(grey(images), training=False) + 1.0) / 2.0

    def infer(self, images: tf.Tensor) -> tf.Tensor:
        """The faces with this model's expression."""
        return self.regenerate(images)

    def content_loss(self, output: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        """L_cont^MSE of eq. (4), or the L1 that section III-A puts in its place: (N, H, W, 1) twice -> scalar."""
        return l1_loss(output, target) if self.content == "l1" else l2_loss(output, target)

    def perceptual_loss(self, output: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        """L_cont^pep, the mean squared difference of phi. Eq. (5): (N, H, W, 1) in [-1, 1] twice -> scalar."""
        if not self.beta:
            return tf.zeros(())
        pair = (tf.stop_gradient(target), output)
        maps = (self.feature_net.maps((x + 1.0) / 2.0, self.phi_pooling) for x in pair)
        phi_target, phi_output = (self.phi_scale * tf.cast(phi, tf.float32) for phi in maps)
        return l2_loss(phi_output, phi_target)

    def consistency_loss(self, output: tf.Tensor, again: tf.Tensor) -> tf.Tensor:
        """||Feat(G(I)) - Feat(G(I'))||^2 of two faces I and I' of one person; not in the paper.

        Args:
          output, again: (N, H, W, 1) in [-1, 1], what G makes of them.
        Returns:
          Scalar >= 0, the mean over the pairs: twice the variance over a person's inputs.
        """
        one, two = (tf.cast(self.feature_net.features((x + 1.0) / 2.0), tf.float32) for x in (output, again))
        return tf.reduce_mean(tf.reduce_sum(tf.square(one - two), -1))

    def feat_loss(self, output: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        """||Feat(G(I)) - Feat(I_t)||^2, in which eq. (8) compares, over that of the targets' Feat; not in the paper.

        Args:
          output, target: (N, H, W, 1) in [-1, 1].
        Returns:
          Scalar >= 0; 1 where Feat(G(I)) is nothing.
        """
        wanted, made = (
            tf.cast(self.feature_net.features((x + 1.0) / 2.0), tf.float32) for x in (tf.stop_gradient(target), output)
        )
        return l2_loss(made, wanted) / tf.maximum(tf.reduce_mean(tf.square(wanted)), 1e-6)

    def losses(self, batch: Batch, training: bool = True) -> tuple[dict[str, Terms], Terms]:
        """The weighted terms of both players on a batch with image and target: `train_step` makes eq. (7) of them.

        The measures are eq. (4), eq. (5), the consistency and Feat without lambda, alpha, beta and their own weights.
        """
        image, target, again = grey(batch["image"]), grey(batch["target"]), None
        if self.lambda_consistency:  # one pass: norms see both faces of a person in one batch
            both = tf.concat([image, grey(batch["other"])], 0)
            output, again = tf.split(self.generator(both, training=training), 2)
        else:
            output = self.generator(image, training=training)
        real = self.discriminator(tf.concat([image, target], -1), training=training)
        fake = self.discriminator(tf.concat([image, output], -1), training=training)
        plain = {"content": self.content_loss(output, target), "perceptual": self.perceptual_loss(output, target)}
        weight = {"content": self.alpha, "perceptual": self.beta}
        weight |= {"consistency": self.lambda_consistency, "feat": self.lambda_feat}
        if again is not None:
            plain["consistency"] = self.consistency_loss(output, again)
        if self.lambda_feat:
            plain["feat"] = self.feat_loss(output, target)
        return {
            "discriminator": {  # eq. (1), which D maximises: its negative
                "real_loss": log_loss(real, True),
                "fake_loss": log_loss(fake, False),
            },
            "generator": {  # eq. (6), times the lambda of eq. (7)
                "adversarial_loss": self.lambda_ * log_loss(fake, True),  # eq. (3)
                **{f"{n}_loss": self.lambda_ * weight[n] * term for n, term in plain.items()},  # eq. (4), (5)
            },
        }, {f"unweighted_{name}": term for name, term in plain.items()}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ["name", "expression", "width", "alpha", "beta", "lambda_", "content", "phi_pooling"]
        names += ["dropout", "seed", "phi_scale", "lambda_consistency", "lambda_feat", "normal_norms"]
        return {n: getattr(self, n) for n in names} | {"feature_net": spec.describe(self.feature_net)}


@keras.utils.register_keras_serializable("fer_tf")
class IAGen(PlayersModel):
    """The recogniser: K generators and a feature network; the nearest regenerated face names the input. Eq. (8).

    It is put together from parts that are trained apart: set `feature_net`, and load each `generators[k]`.

    Args:
      feature_net: gives Feat of eq. (8) as `features(images in [0, 1])`; saved with this model.
      classes: names of the K expressions.
      width: of the generators.
      temperature: divides the distances in `classify`.
    """

    def __init__(
        self,
        *,
        feature_net: Any,
        classes: Sequence[str] = CLASSES["six"],
        width: float = 1.0,
        temperature: float = 1.0,
        name: str = "ia_gen",
        **options: Any,
    ):
        super().__init__(name=name, **options)
        self.classes, self.width, self.temperature = tuple(classes), width, temperature
        self.feature_net = spec.build(feature_net)
        self.generators = [build_generator(width=width, name=f"generator_{c}") for c in self.classes]
        self.built = True

    def player_variables(self) -> list[tuple[str, list[tf.Variable]]]:
        """Nobody: the parts are trained apart."""
        return []

    def regenerate(self, images: tf.Tensor) -> tf.Tensor:
        """I_1 ... I_K: (N, 64, 64, 1|3) float32 in [0, 1] -> (N, K, 64, 64, 1) float32 in [0, 1]."""
        faces = grey(images)
        return (tf.stack([g(faces, training=False) for g in self.generators], axis=1) + 1.0) / 2.0

    def embed(self, images: tf.Tensor, generated: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Feat(I) and Feat(I_k) of eq. (8).

        Args:
          images: (N, 64, 64, 1|3) float32 in [0, 1].
          generated: (N, K, 64, 64, 1), what `regenerate` gave, where it is at hand.
        Returns:
          (N, F) and (N, K, F) float32.
        """
        generated = self.regenerate(images) if generated is None else generated
        redrawn = self.feature_net.features(tf.reshape(generated, (-1, SIZE, SIZE, 1)))
        redrawn = tf.reshape(redrawn, (-1, len(self.classes), redrawn.shape[-1]))
        return self.feature_net.features(images), redrawn

    def distances(self, images: tf.Tensor, generated: tf.Tensor | None = None) -> tf.Tensor:
        """||Feat(I) - Feat(I_k)|| of eq. (8), of what `embed` takes: (N, K) float32 >= 0."""
        own, redrawn = self.embed(images, generated)
        return tf.norm(own[:, None] - redrawn, axis=-1)

    def infer(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """{generated (N, K, 64, 64, 1), distances (N, K), probabilities (N, K), prediction (N,) int32}."""
        generated = self.regenerate(images)
        distances = self.distances(images, generated)
        return {
            "generated": generated,
            "distances": distances,
            "probabilities": tf.nn.softmax(-distances / self.temperature),
            "prediction": tf.argmin(distances, -1, tf.int32),  # eq. (8)
        }

    def classify(self, images: tf.Tensor) -> tf.Tensor:
        """softmax(-distance / temperature): (N, 64, 64, 1|3) float32 in [0, 1] -> (N, K) float32."""
        return self.infer(images)["probabilities"]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("name", "classes", "width", "temperature")
        return {n: getattr(self, n) for n in names} | {"feature_net": spec.describe(self.feature_net)}


def optimizer(rate: float = 2e-4, *, steps: int = 0, decay: float = 0.0) -> Any:
    """What moves each player of `ExpressionGAN`: Adam, as in pix2pix.

    Args:
      rate: learning rate.
      steps: of the training; needed for `decay`.
      decay: share of them, the last ones, in which the rate falls linearly to zero; 0 keeps it constant.
    """
    return Adam(LinearEnd(rate, steps, decay) if decay else rate, beta_1=0.5)


def full() -> ExpressionGAN:
    """The paper's size, for the benchmark: phi is a FER-Net without training."""
    return ExpressionGAN(feature_net={"model": "fer_net.FERNet", "config": {}})


def full_recogniser() -> IAGen:
    """The paper's size, likewise."""
    return IAGen(feature_net={"model": "fer_net.FERNet", "config": {}})


def tiny_features(**options: Any) -> Any:
    """A small feature network for tests."""
    return spec.build(
        {"model": "fer_net.FERNet", "config": {"width": 4, "blocks": 1, "hidden": 8, "name": "fer_net", **options}}
    )


def tiny() -> tuple[ExpressionGAN, dict[str, tf.Tensor]]:
    """A small GAN and a batch for the contract tests."""
    model = ExpressionGAN(feature_net=tiny_features(), width=1 / 16)
    image, target = (tf.random.stateless_uniform((6, SIZE, SIZE, 1), (1, s)) for s in (2, 3))
    return model, {"image": image, "target": target, "label": tf.range(6), "index": tf.range(6)}


def tiny_recogniser() -> tuple[IAGen, dict[str, tf.Tensor]]:
    """A small recogniser and a batch for the contract tests."""
    return IAGen(feature_net=tiny_features(), classes=CLASSES["six"][:3], width=1 / 32), tiny()[1]
