"""GCNet: generate the neutral face of whom you see, and name the expression by comparing the two.

Kim, Yoo, Kwak, Choi, Kim: "Deep generative-contrastive networks for facial expression recognition" (2017). Table I:
`fer_tf/nets/conv_ae.py`. Eq. (2) to (9), section III; Fig. 2 (a) to (f): `GCNet` and its `variant`. Fig. 7 and section
IV-E: `fer_tf/nets/dcgan.py`. Section IV-A: `views`, `optimizers`, `Autoencoder` (Encoder1's pre-training); that of
Encoder2, by identification, is the variant "cnn" with people for classes. Tables II to VI, Figs. 4 to 8 and 11 are made
by `experiments/gcnet.py`, Figs. 9 and 10 by `experiments/gcnet_generators.py`.

**Readings** (what the paper leaves open). `padding="same"`: the whole S1R1 net has 2,736,365 weights with seven
classes, the "3M" of section IV-C; with "valid" 1,704,173, the "1.7 M" of section IV-E. No bias before a norm. The last
ReLU of a decoder stays: pixels live in [0, 1]. e of eq. (2) is the flattened last map; FC-384 has a ReLU. Eq. (5),
(8), (9): means over the pixels and the batch. As sums they diverge at the printed rates: the shift of a decoder's last
norm alone sees a curvature of 4,096 (`lambda_g=4096` is the sum). Eq. (6): on the un-normalised e, margin 1 (not
given), alpha = 0 for a neutral input. Two such codes are some 15 apart (rendered people), so that a margin of 1 never
binds, and without a neutral class eq. (6) is zero: `margin_share` logs how often it binds, `margin=20` does. Encoder2
normalises image and reference as two batches. The metric-learning CNN classifies e and has eq. (6) with the real
neutral. Who has no neutral is left out of eq. (5) and (9) alone. The view is a crop, then affine, flip, intensity,
CLAHE (clip 2.0, 8x8 tiles); the centre crop at test. Convolutions start from He's normal distribution. Caffe's "inv"
policy is rate (1 + gamma step)^-power: the text's 0.75 is the power, gamma is Caffe's 1e-4. The decoders' rate is ten
times the others'. Weight decay is L2 in the gradient of `GCNet`; `Autoencoder` has none. VAE and DCGAN have DCGAN's
layers (a code of 100), a sigmoid at the end, and batch norm; the DCGAN's encoder is a fixed random projection, and its
discriminator sees real and generated neutral faces. The KL and the adversarial term are divided by the 4,096 pixels,
as eq. (5) is.

**Deviations**: faces are found and aligned by dlib.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from fer_tf import augment
from fer_tf.compat import Adam, PlayersModel, keras, minimize
from fer_tf.layers import Dropout
from fer_tf.nets import dcgan
from fer_tf.nets.conv_ae import ENCODER, SIZE, ConvAE, build_decoder, build_encoder, scaled
from fer_tf.records import CLASSES
from fer_tf.softmax import accuracy

TEMPLATE = "gcnet"
"""The frame of a face for `faces.align`: 66x66."""

HIDDEN = (SIZE // 2) ** 2 * len(ENCODER) // 2 ** len(ENCODER)
"""Section IV-A: (0.5 * 64)^2 * 3 / 2^3 = 384 units of the fully connected layer."""

VARIANTS = ("S1R1", "S0R0", "S1R0", "S0R1", "cnn", "metric_cnn")
"""Fig. 2: (f), (c), (d), (e), (a), (b). S is eq. (6), R is eq. (7)."""


@dataclass(frozen=True)
class Views:
    """The random views of section IV-A, and the one that is tested.

    Attributes:
      degrees, scale, shift: of the affine transform, see `augment.random_affine`.
      intensity: range of the factor on the intensity.
    """

    degrees: float = 10.0
    scale: tuple[float, float] = (0.9, 1.1)
    shift: float = 0.05
    intensity: tuple[float, float] = (0.8, 1.2)

    def random(self, images: Any, seed: tf.Tensor, turn: tf.Tensor, views: int) -> tuple[Any, tf.Tensor]:
        """Crop, affine, flip, intensity, CLAHE of (N, 66, 66, C) or a structure of such, alike for all of it."""
        seed = tf.stack([seed[:, 0], seed[:, 1] * views + tf.cast(turn, seed.dtype)], axis=-1)

        def view(picture: tf.Tensor) -> tf.Tensor:
            picture = augment.random_crop(picture, (SIZE, SIZE), seed)
            picture = augment.random_affine(picture, seed, self.degrees, self.scale, self.shift)
            return augment.clahe(augment.random_intensity(augment.random_flip(picture, seed), seed, *self.intensity))

        return tf.nest.map_structure(view, images), turn

    def test_view(self, images: tf.Tensor) -> tf.Tensor:
        """The centre crop after CLAHE: (N, 66, 66, C) -> (N, 64, 64, C)."""
        return augment.clahe(augment.centre_crop(images, (SIZE, SIZE)))


views = Views()


def mean_of_half_squares(given: tf.Tensor, wanted: tf.Tensor, kept: tf.Tensor | None = None) -> tf.Tensor:
    """1/2 ||given - wanted||^2 of eq. (5), (8), (9), averaged over the pixels and the batch.

    Args:
      given, wanted: (N, H, W, 1) float32.
      kept: (N,) bool; the others count as zero.
    Returns:
      Scalar float32 >= 0.
    """
    half = 0.5 * tf.reduce_mean(tf.math.squared_difference(given, wanted), (1, 2, 3))
    return tf.reduce_mean(half if kept is None else tf.where(kept, half, tf.zeros_like(half)))


def distance(e: tf.Tensor, e_r: tf.Tensor) -> tf.Tensor:
    """S of eq. (6): (N, p) twice -> (N,) float32, the Euclidean distance, with a gradient of zero at zero."""
    return tf.sqrt(tf.maximum(tf.reduce_sum(tf.math.squared_difference(e, e_r), -1), 1e-12))


def contrastive_loss(e: tf.Tensor, e_r: tf.Tensor, alpha: tf.Tensor, margin: float) -> tf.Tensor:
    """Eq. (6): pushes different expressions a margin apart, pulls equal ones together.

    Args:
      e, e_r: (N, p) float32, codes of the image and of its reference.
      alpha: (N,) float32, 1 where their expressions differ.
      margin: m.
    Returns:
      (N,) float32 >= 0.
    """
    s = distance(e, e_r)
    return alpha * 0.5 * tf.square(tf.maximum(0.0, margin - s)) + (1.0 - alpha) * 0.5 * tf.square(s)


def contrastive_vector(e: tf.Tensor, e_r: tf.Tensor) -> tf.Tensor:
    """delta of eq. (2): |e / ||e|| - e_r / ||e_r|||, element by element: (N, p) float32 twice -> (N, p) >= 0."""
    return tf.abs(tf.math.l2_normalize(e, -1) - tf.math.l2_normalize(e_r, -1))


GENERATORS = {"conv_ae": ConvAE, "conv_vae": dcgan.ConvVAE, "dcgan": dcgan.DCGAN}
"""Fig. 7."""


@keras.utils.register_keras_serializable("fer_tf")
class GCNet(PlayersModel):
    """The generative-contrastive network, its variants and its two baselines. Eq. (2) to (9), Fig. 2.

    A batch has image, label and, for all but "cnn", reference (a neutral face of the same person, the same view);
    has_reference (N,) bool where some have none.

    Args:
      classes: names of the K expressions, "neutral" among them or not.
      variant: see `VARIANTS`.
      generator: "conv_ae", or "conv_vae", "dcgan" of Fig. 7.
      padding: of the convolutions, "same" or "valid".
      margin: m of eq. (6).
      lambda_c, lambda_g, lambda_s: weights of the classification and of eq. (5) and (6) in eq. (4).
      lambda_ri, lambda_rr: weights of eq. (8) and (9) in eq. (7).
      dropout: before the fully connected layer.
      weight_decay: of the L2 term, weight_decay / 2 * ||theta||^2.
      width: times the printed channels and units.
      seed: of the dropout masks, the VAE's noise and the DCGAN's projection.
    Raises:
      ValueError: an unknown variant, generator or padding.
    """

    def __init__(
        self,
        *,
        classes: Sequence[str] = CLASSES["seven"],
        variant: str = "S1R1",
        generator: str = "conv_ae",
        padding: str = "same",
        margin: float = 1.0,
        lambda_c: float = 1.0,
        lambda_g: float = 1.0,
        lambda_s: float = 1.0,
        lambda_ri: float = 0.25,
        lambda_rr: float = 0.25,
        dropout: float = 0.5,
        weight_decay: float = 1e-4,
        width: float = 1.0,
        seed: int = 0,
        name: str = "gcnet",
        **options: Any,
    ):
        super().__init__(name=name, **options)
        for what, value, known in (
            ("variant", variant, VARIANTS),
            ("generator", generator, tuple(GENERATORS)),
            ("padding", padding, ("same", "valid")),
        ):
            if value not in known:
                raise ValueError(f"Unknown {what} {value!r}: use {', '.join(known)}.")
        self.classes, self.variant, self.generator_name, self.padding = tuple(classes), variant, generator, padding
        self.margin, self.lambda_c, self.lambda_g, self.lambda_s = margin, lambda_c, lambda_g, lambda_s
        self.lambda_ri, self.lambda_rr, self.weight_decay = lambda_ri, lambda_rr, weight_decay
        self.width, self.seed = width, seed
        self.encoder2 = build_encoder(width=width, padding=padding, name="encoder2")
        self.compares, reconstructs = variant.startswith("S"), variant.endswith("R1")
        logs = ["classifier_loss", "classification_loss", "decay_loss", "accuracy"]
        if self.compares:
            self.generator = GENERATORS[generator](width=width, padding=padding, seed=seed)
            logs += ["generation_loss", *self.generator.logs]
        if reconstructs:
            self.decoder_i = build_decoder(self.encoder2, width=width, padding=padding, name="decoder_i")
            self.decoder_r = build_decoder(self.encoder2, width=width, padding=padding, name="decoder_r")
            logs += ["reconstruction_input_loss", "reconstruction_reference_loss"]
        if variant in ("S1R0", "S1R1", "metric_cnn"):
            logs += ["contrastive_loss", "margin_share"]
        self.dropout = Dropout(dropout, seed, dtype="float32", name="dropout")
        self.hidden = keras.layers.Dense(scaled(HIDDEN, width), "relu", dtype="float32", name="hidden")
        self.head = keras.layers.Dense(len(self.classes), dtype="float32", name="logits")
        size = 1
        for side in self.encoder2.outputs[0].shape[1:]:
            size *= side
        self.dropout.build((None, size))
        self.hidden.build((None, size))
        self.head.build((None, scaled(HIDDEN, width)))
        self.built = True
        self.track(*logs)

    def player_variables(self) -> list[tuple[str, list[tf.Variable]]]:
        """The DCGAN's discriminator if there is one; all but the decoders; the decoders, whose rate is ten times it."""
        decoders = [getattr(self, n).trainable_variables for n in ("decoder_i", "decoder_r") if hasattr(self, n)]
        groups, judge = [], []
        if self.compares:
            decoders.append(self.generator.decoder.trainable_variables)
            judge = getattr(self.generator, "discriminator", None)
            judge = judge.trainable_variables if judge is not None else []
        others = {id(v) for part in (*decoders, judge) for v in part}
        groups.append(("classifier", [v for v in self.trainable_variables if id(v) not in others]))
        if decoders:
            groups.append(("decoder", [v for part in decoders for v in part]))
        return [("discriminator", judge), *groups] if judge else groups

    def preprocess(self, images: tf.Tensor) -> tf.Tensor:
        """(N, 64, 64, 1|3) in [0, 1] -> (N, 64, 64, 1) float32 in [0, 1]."""
        images = tf.cast(images, tf.float32)
        return tf.image.rgb_to_grayscale(images) if images.shape[-1] == 3 else images

    def encode(self, images: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Encoder2: (N, 64, 64, 1) -> (e (N, p) float32, [code, three argmax maps], which the decoders take)."""
        found = self.encoder2(images, training=training)
        return tf.cast(tf.reshape(found[0], (-1, self.hidden.kernel.shape[0])), tf.float32), found

    def regenerate(self, images: tf.Tensor) -> tf.Tensor:
        """The generated reference of eq. (3): (N, 64, 64, 1|3) float32 in [0, 1] -> (N, 64, 64, 1) float32 in [0, 1].

        Raises:
          ValueError: the variant has no generator.
        """
        if not self.compares:
            raise ValueError(f"The variant {self.variant} generates nothing: use one of S0R0, S1R0, S0R1, S1R1.")
        return tf.clip_by_value(self.generator(self.preprocess(images))[0], 0.0, 1.0)

    def reconstruct(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(input, reference) as the decoders of eq. (8) and (9) give them back: (N, 64, 64, 1) float32 in [0, 1] each.

        Raises:
          ValueError: the variant has no such decoders.
        """
        if not hasattr(self, "decoder_i"):
            raise ValueError(f"The variant {self.variant} reconstructs nothing: use S0R1 or S1R1.")
        images = self.preprocess(images)
        pairs = ((self.decoder_i, images), (self.decoder_r, self.generator(images)[0]))
        return tuple(tf.clip_by_value(d(self.encode(x)[1], training=False), 0.0, 1.0) for d, x in pairs)

    def vector(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """What is classified: delta of eq. (2), or e in the baselines: (N, 64, 64, 1) -> (N, p) float32."""
        e, _ = self.encode(images, training)
        if not self.compares:
            return e
        return contrastive_vector(e, self.encode(self.generator(images, training=training)[0], training)[0])

    def features(self, images: tf.Tensor) -> tf.Tensor:
        """The 384 values of the first fully connected layer, for Figs. 5 and 6: images in [0, 1] -> (N, 384) >= 0."""
        return self.hidden(self.vector(self.preprocess(images)))

    def named(self, vector: tf.Tensor, training: bool) -> tf.Tensor:
        """Dropout, FC-384, logits: (N, p) -> (N, K) float32."""
        return self.head(self.hidden(self.dropout(vector, training=training)))

    def classify(self, images: tf.Tensor) -> tf.Tensor:
        """(N, 64, 64, 1|3) float32 in [0, 1] -> (N, K) float32 probabilities; no neutral face is needed."""
        return tf.nn.softmax(self.head(self.features(images)))

    def call(self, images: tf.Tensor | Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Inference: images, or a batch of the pipeline, -> (N, K) probabilities."""
        return self.classify(images["image"] if isinstance(images, Mapping) else images)

    def decay_loss(self) -> tf.Tensor:
        """weight_decay / 2 * ||theta||^2, whose gradient is weight_decay * theta: scalar float32."""
        return self.weight_decay * tf.add_n([tf.nn.l2_loss(tf.convert_to_tensor(v)) for v in self.trainable_variables])

    def losses(self, batch: Mapping[str, tf.Tensor]) -> tuple[dict[str, dict[str, tf.Tensor]], dict[str, tf.Tensor]]:
        """({player: weighted terms}, what else is logged) on a batch, from one forward pass."""
        image, labels = self.preprocess(batch["image"]), batch["label"]
        kept, terms, logs, judged = batch.get("has_reference"), {}, {}, {}
        e, code = self.encode(image, training=True)
        vector = e
        wanted = self.preprocess(batch["reference"]) if self.variant != "cnn" else None
        if self.compares:
            reference, more = self.generator(image, training=True)  # eq. (3)
            terms["generation_loss"] = self.lambda_g * mean_of_half_squares(reference, wanted, kept)  # eq. (5)
            terms |= {name: self.lambda_g * loss for name, loss in more.items()}
            e_r, code_r = self.encode(reference, training=True)
            vector = contrastive_vector(e, e_r)  # eq. (2)
            if hasattr(self.generator, "discriminator"):
                judged = self.generator.discriminator_losses(wanted, reference, kept)
        elif self.variant == "metric_cnn":
            e_r, _ = self.encode(wanted, training=True)
        logits = self.named(vector, training=True)
        named = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        terms["classification_loss"] = self.lambda_c * tf.reduce_mean(named)
        logs["accuracy"] = accuracy(logits, labels)
        if "contrastive_loss" in self._means:
            alpha = tf.cast(labels != self.neutral, tf.float32)
            pulled = contrastive_loss(e, e_r, alpha, self.margin)
            if self.variant == "metric_cnn" and kept is not None:
                pulled = tf.where(kept, pulled, tf.zeros_like(pulled))
            terms["contrastive_loss"] = self.lambda_s * tf.reduce_mean(pulled)  # eq. (6)
            close = tf.cast(distance(e, e_r) < self.margin, tf.float32) * alpha
            logs["margin_share"] = tf.math.divide_no_nan(tf.reduce_sum(close), tf.reduce_sum(alpha))
        if hasattr(self, "decoder_i"):
            back, back_r = self.decoder_i(code, training=True), self.decoder_r(code_r, training=True)
            terms["reconstruction_input_loss"] = self.lambda_ri * mean_of_half_squares(back, image)  # eq. (8)
            terms["reconstruction_reference_loss"] = self.lambda_rr * mean_of_half_squares(back_r, wanted, kept)  # (9)
        terms["decay_loss"] = self.decay_loss()
        players = {name: judged if name == "discriminator" else terms for name, _ in self.player_variables()}
        return players, logs

    @property
    def neutral(self) -> int:
        """Index of "neutral" in the classes; -1 without it."""
        return self.classes.index("neutral") if "neutral" in self.classes else -1

    def losses_of(self, name: str, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The weighted terms of eq. (4) and the decay; of "discriminator", its two."""
        return self.losses(batch)[0][name]

    def train_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One step down eq. (4)."""
        with tf.GradientTape(persistent=True) as tape:
            players, logs = self.losses(batch)
            totals = {name: tf.add_n(list(terms.values())) for name, terms in players.items()}
        for name, player in self.players().items():
            minimize(player, totals[name], tape)
        logs |= {f"{name}_loss": total for name, total in totals.items() if name != "decoder"}
        return self.log(**logs, **players["classifier"])

    def test_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Cross-entropy and accuracy without dropout."""
        logits = self.head(self.features(batch["image"]))
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(batch["label"], logits))
        return self.log(classification_loss=loss, accuracy=accuracy(logits, batch["label"]))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("name", "classes", "variant", "padding", "margin", "lambda_c", "lambda_g", "lambda_s", "lambda_ri")
        names += ("lambda_rr", "weight_decay", "width", "seed")
        found = {n: getattr(self, n) for n in names}
        return {**found, "generator": self.generator_name, "dropout": self.dropout.rate}


@keras.utils.register_keras_serializable("fer_tf")
class Autoencoder(PlayersModel):
    """A generator of Fig. 7 alone: it gives a face back (section IV-A and Fig. 9), or its neutral reference (Fig. 10).

    Args:
      generator, width, padding, seed: see `GCNet`; "conv_ae" that gives back is what Encoder1 starts from.
      target: "image", or "reference", a batch's neutral face.
    Raises:
      ValueError: an unknown generator or target.
    """

    def __init__(
        self,
        *,
        generator: str = "conv_ae",
        target: str = "image",
        width: float = 1.0,
        padding: str = "same",
        seed: int = 0,
        name: str = "autoencoder",
        **options: Any,
    ):
        super().__init__(name=name, **options)
        for what, value, known in (("generator", generator, GENERATORS), ("target", target, ("image", "reference"))):
            if value not in known:
                raise ValueError(f"Unknown {what} {value!r}: use {', '.join(known)}.")
        self.generator_name, self.target, self.width, self.padding, self.seed = generator, target, width, padding, seed
        self.generator = GENERATORS[generator](width=width, padding=padding, seed=seed)
        self.built = True
        self.track("autoencoder_loss", "reconstruction_loss", *self.generator.logs)

    def player_variables(self) -> list[tuple[str, list[tf.Variable]]]:
        """The DCGAN's discriminator if there is one; all the rest."""
        judge = getattr(self.generator, "discriminator", None)
        own = judge.trainable_variables if judge is not None else []
        rest = [v for v in self.trainable_variables if not any(v is w for w in own)]
        return [("discriminator", own), ("autoencoder", rest)] if own else [("autoencoder", rest)]

    def call(self, images: tf.Tensor | Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """(N, 64, 64, 1) float32 in [0, 1], or a batch, -> the face that is made of it, (N, 64, 64, 1) >= 0."""
        return self.generator(images["image"] if isinstance(images, Mapping) else images, training=training)[0]

    def losses_of(self, name: str, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Half squares between the made face and the target, as in eq. (5) and (8), with what the generator adds."""
        wanted, kept = batch[self.target], batch.get("has_reference") if self.target == "reference" else None
        made, more = self.generator(batch["image"], training=True)
        if name == "discriminator":
            return self.generator.discriminator_losses(wanted, made, kept)
        return {"reconstruction_loss": mean_of_half_squares(made, wanted, kept), **more}

    def train_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One step of each player."""
        logs = {}
        with tf.GradientTape(persistent=True) as tape:
            terms = {name: self.losses_of(name, batch) for name, _ in self.player_variables()}
            totals = {name: tf.add_n(list(own.values())) for name, own in terms.items()}
        for name, player in self.players().items():
            minimize(player, totals[name], tape)
            logs[f"{name}_loss"] = totals[name]
        return self.log(**logs, **terms["autoencoder"])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        found = {n: getattr(self, n) for n in ("name", "target", "width", "padding", "seed")}
        return {**found, "generator": self.generator_name}


@keras.utils.register_keras_serializable("fer_tf")
class InverseDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Caffe's "inv" policy of section IV-A: rate * (1 + gamma * step)^-power.

    Args:
      rate: at step 0.
      gamma, power: of the policy.
    """

    def __init__(self, rate: float = 0.001, gamma: float = 1e-4, power: float = 0.75):
        super().__init__()
        self.rate, self.gamma, self.power = rate, gamma, power

    def __call__(self, step: Any) -> tf.Tensor:
        """Step number -> scalar float32."""
        return self.rate * tf.pow(1.0 + self.gamma * tf.cast(step, tf.float32), -self.power)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {n: getattr(self, n) for n in ("rate", "gamma", "power")}


def optimizers(model: GCNet, rate: float = 0.001, *, multiplier: float = 10.0, **policy: float) -> dict[str, Any]:
    """What `compile` takes: Nesterov SGD, momentum 0.9, section IV-A.

    Args:
      model: whose players get one each.
      rate: base learning rate.
      multiplier: of the decoders' rate.
      policy: gamma and power of `InverseDecay`.
    Returns:
      {"<player>_optimizer": optimizer}; a DCGAN's discriminator has Adam 2e-4, beta1 0.5.
    """

    def made(name: str) -> Any:
        if name == "discriminator":
            return Adam(2e-4, beta_1=0.5)
        own = InverseDecay(rate * (multiplier if name == "decoder" else 1.0), **policy)
        return keras.optimizers.SGD(own, momentum=0.9, nesterov=True)

    return {f"{name}_optimizer": made(name) for name, _ in model.player_variables()}


def full() -> GCNet:
    """The paper's size, for the benchmark."""
    return GCNet()


def tiny() -> tuple[GCNet, dict[str, tf.Tensor]]:
    """A small model and a batch for the contract tests."""
    model = GCNet(width=1 / 16, classes=CLASSES["six"])
    image, reference = (tf.random.stateless_uniform((6, SIZE, SIZE, 1), (1, s)) for s in (2, 3))
    return model, {"image": image, "reference": reference, "label": tf.range(6), "index": tf.range(6)}
