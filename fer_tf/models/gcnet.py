"""GCNet: generate the neutral face of whom you see, and name the expression by comparing the two.

Kim, Yoo, Kwak, Choi, Kim: "Deep generative-contrastive networks for facial expression recognition" (2017). Table I:
`fer_tf/nets/conv_ae.py`. Eq. (2) to (9), section III; Fig. 2 (a) to (f): `GCNet` and its `variant`. Fig. 7 and section
IV-E: `fer_tf/nets/dcgan.py`. Section IV-A: `views`, `optimizers`, `Autoencoder` (Encoder1's pre-training); that of
Encoder2, by identification, is the variant "cnn" with people for classes. Tables II to VI, Figs. 4 to 8 and 11 are made
by `experiments/gcnet.py`, Figs. 9 and 10 by `experiments/gcnet_generators.py`.

**Readings** (what the paper leaves open; those of Table I and Fig. 7 stand with their networks)

- Eq. (2): e is the last map of Encoder2, flattened.
- Eq. (5), (9): a face whose person has no neutral one counts as zero there, and in full everywhere else.
- Eq. (6), m: not given. The constructor has 1, at which nothing binds: two codes start at least 18.6 apart (rendered
  people). `experiments/gcnet.py` takes the median distance before the first step. `margin_share` logs how many bind.
- Eq. (6), y_r: neutral, so alpha = 0 for a neutral input. Without that class eq. (6) is zero beyond the margin.
- Fig. 2 (b): the metric-learning CNN classifies e. Its eq. (6) takes the real neutral face for reference.
- Fig. 2 (b) to (f): images and references pass Encoder2 as one batch, whose statistics normalise both, as the moving
  ones do at test. As two batches each would be normalised by statistics of its own in training alone. Through the
  shared ones eq. (8) has a gradient for the generator, too.
- Section IV-A, "first fully-connected layer": it has a ReLU.
- Section IV-A, "set to 10": the decoders' rate is ten times the others'.
- Section IV-A, "'inverse' learning policy", "gamma term of 0.75": Caffe's "inv", rate (1 + gamma step)^-power. 0.75 is
  the power; gamma is Caffe's usual 1e-4.
- Section IV-A, weight decay: an L2 term in the gradient of every weight, norms and biases too.
- Section IV-A, "2D affine transform such as scaling, rotation", "intensity multiplication": no range is printed. Angles
  reach 10 degrees, scales 0.9 to 1.1, intensities 0.8 to 1.2. A shift of 5 % is ours: none is named (`Views(shift=0)`).
- Section IV-A, augmentation: the order is crop, affine, flip, intensity, CLAHE. CLAHE clips at 2.0 in 8x8 tiles. The
  centre crop is tested. An image and its reference share a view.
- Section IV-B, frames: no count is printed. A sequence's last three show its expression (MMI: three around the peak),
  as the other papers have it; its first is the neutral face.
- Fig. 6, "sequential images": all frames of the people of one fold, of which the networks have seen none.
- Fig. 11, "2-fold validation": the 1st and 2nd of ten folds are one test set, the other eight train.
- Table VI, FER2013: its private test (`fer2013/private_test`).

**Deviations** (what is printed and differs here)

- Eq. (5), (8), (9): means over the 4,096 pixels, where ||.||^2 is a sum (`lambda_g=4096`). The sum diverges at the
  printed rates: the shift of a decoder's last norm alone sees a curvature of 4,096.
- Section IV-A, weight decay: `Autoencoder` has none.
- Section IV-A, "based on 5 points": MTCNN finds them where it is installed (`--preset=paper`), else dlib.

Four more are options, which are off. What they are worth is of the second edition's rendered people, and of fold 0,
where the CNN names 71.0 % and S0R0 64.8, unless five folds are named (RESULTS.md has the rest):

- Eq. (2): `delta="plain"` compares by e - e_r (`fer_tf/nets/contrast.py` has others). Beside the person's true neutral
  face that names 93.9 % on five folds where |delta| names 70.6 and the CNN 66.4; beside the generated one 62.9 (61.3).
  By 30 labelled people it names 85.3 % of a hundred judges' faces (the CNN 66.3, less the code of the same neutral face
  76.8), and 87.5 % in poses that nobody was trained in (52.1, 69.8) where the neutral face is in the same pose; by 360
  people 93.3 % of the judges' (82.0, 88.3).
- Eq. (3): `frozen` keeps a generator that has learnt eq. (5) first (`--generator_epochs`), and "unet" passes all scales
  on: with delta="plain" it names 71.9 %, of its training views 85.5 (the CNN 84.2, a generator that moves 71.5).
- Fig. 2: the reference may be the mean face of the person's pictures, unlabelled ("given"; S0R0+plain:mean_face of
  `experiments/gcnet.py`): 100.0 % (88.6). The CNN with its code less that of the person's pictures, nothing trained,
  names 96.2 %, and 89.5 on five folds, where it names 66.4 alone. The pictures have to show three expressions or more.
- Section IV: the CNN may be taught by what delta="plain" names of people without labels beside their true neutral face
  (cnn:taught-neutral): from one picture it names 77.3 % of a hundred judges' faces, 66.5 untaught, 64.4 by its own. Of
  people who show three expressions of seven: 73.1, by its code less the neutral face's 70.4, by its own answers less
  identity 67.7; where all are shown, the last do as well (77.9 and 78.5).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import tensorflow as tf

from fer_tf import augment
from fer_tf.compat import Adam, Batch, PlayersModel, Terms, keras
from fer_tf.layers import Dropout, grey, scaled
from fer_tf.losses import cross_entropy, decay_loss, mean_of_half_squares
from fer_tf.nets.autoencoder import FIG_7 as FIG_7
from fer_tf.nets.autoencoder import GENERATORS, refuse_unknown
from fer_tf.nets.autoencoder import Autoencoder as Autoencoder
from fer_tf.nets.contrast import DELTAS, contrastive_loss, contrastive_vector
from fer_tf.nets.contrast import distance as distance
from fer_tf.nets.conv_ae import ENCODER, SIZE, build_decoder, build_encoder
from fer_tf.records import CLASSES
from fer_tf.schedules import InverseDecay
from fer_tf.softmax import accuracy

TEMPLATE = "gcnet"
"""The frame of a face for `faces.align`: 66x66."""

HIDDEN = (SIZE // 2) ** 2 * len(ENCODER) // 2 ** len(ENCODER)
"""Section IV-A: (0.5 * 64)^2 * 3 / 2^3 = 384 units of the fully connected layer."""


class Variant(NamedTuple):
    """What a network of Fig. 2 has.

    Attributes:
      compares: a generator; what is classified is delta of eq. (2), else e.
      contrasts: eq. (6), the "S" of its name.
      reconstructs: two decoders and eq. (7), the "R" of its name.
    """

    compares: bool
    contrasts: bool
    reconstructs: bool


SWITCHES = 1e-3
"""How far two computations of one network that generates may be apart. A decoder puts a value back where the largest of
its pool was (Table I, unpooling). Where two are level but for rounding, as on an even background, the place depends on
the order of the sums: 0.01 in a pixel of a generated face, 3e-4 in a probability (200 rendered faces)."""
GIVEN = "given"
"""The generator of a control that has none: what an image is compared with comes with it."""

VARIANTS = {
    "S1R1": Variant(compares=True, contrasts=True, reconstructs=True),
    "S0R0": Variant(compares=True, contrasts=False, reconstructs=False),
    "S1R0": Variant(compares=True, contrasts=True, reconstructs=False),
    "S0R1": Variant(compares=True, contrasts=False, reconstructs=True),
    "cnn": Variant(compares=False, contrasts=False, reconstructs=False),
    "metric_cnn": Variant(compares=False, contrasts=True, reconstructs=False),
}
"""Fig. 2: (f), (c), (d), (e), (a), (b)."""


@dataclass(frozen=True)
class Views(augment.Drawn):
    """The random views of section IV-A, and the one that is tested.

    Attributes: see `augment.random_affine`; `intensity` is the range of the factor on the intensity.
    """

    degrees: float = 10.0
    scale: tuple[float, float] = (0.9, 1.1)
    shift: float = 0.05
    intensity: tuple[float, float] = (0.8, 1.2)

    def drawn(self, seed: tf.Tensor, count: tf.Tensor, source: tuple[int, int]) -> dict[str, tf.Tensor]:
        """See `augment.Drawn`; here and below: crop, affine, flip, intensity, CLAHE."""
        seed = augment.at_once(seed, crop=2, flip=1, affine=4, intensity=1)
        corner, mirrored = augment.corners(source, (SIZE, SIZE), seed, count), augment.heads(seed, count)
        affine = augment.affine_rows((SIZE, SIZE), seed, count, self.degrees, self.scale, self.shift)
        factor = augment.factors(seed, count, *self.intensity)
        return {"corner": corner, "affine": affine, "mirrored": mirrored, "factor": factor}

    def one(self, picture: tf.Tensor, drawn: dict[str, tf.Tensor], compiled: bool) -> tf.Tensor:
        """(N, 66, 66, C) -> (N, 64, 64, C)."""
        picture = augment.crop_at(picture, (SIZE, SIZE), drawn["corner"])
        picture = augment.flip_where(augment.warp(picture, drawn["affine"], compiled=compiled), drawn["mirrored"])
        return augment.clahe(augment.scale_intensity(picture, drawn["factor"]), on_host=not compiled)

    def test_view(self, images: tf.Tensor) -> tf.Tensor:
        """The centre crop after CLAHE: (N, 66, 66, C) -> (N, 64, 64, C)."""
        return augment.clahe(augment.centre_crop(images, (SIZE, SIZE)))


views = Views()


def as_batch(faces: tf.Tensor | Batch) -> Batch:
    """A batch as it is; images as the batch of them."""
    return faces if isinstance(faces, Mapping) else {"image": faces}


@keras.utils.register_keras_serializable("fer_tf")
class GCNet(PlayersModel):
    """The generative-contrastive network, its variants and its two baselines. Eq. (2) to (9), Fig. 2.

    A batch has image, label and, for all but "cnn", reference (a neutral face of the same person, the same view);
    has_reference (N,) bool where some have none. Terms are logged without their weights of eq. (4) and (7).

    Args:
      classes: names of the K expressions, "neutral" among them or not.
      variant: see `VARIANTS`.
      generator: "conv_ae", or "conv_vae", "dcgan" of Fig. 7; or the control "given", whose reference is the batch's, in
        training and at test: `classify`, `features` and `reconstruct` take a batch then. "unet" is a deviation.
      frozen: the generator is not trained (a deviation).
      delta: what two codes are compared by: of `DELTAS` (a deviation but for "absolute", eq. (2)'s).
      padding, margin: "same" or "valid", of the convolutions; m of eq. (6).
      lambda_c, lambda_g, lambda_s: weights of the classification (0: Fig. 8 (d)) and of eq. (5) and (6) in eq. (4).
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
        frozen: bool = False,
        delta: str = "absolute",
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
        refuse_unknown("variant", variant, VARIANTS)
        refuse_unknown("generator", generator, (*GENERATORS, GIVEN))
        refuse_unknown("padding", padding, ("same", "valid"))
        refuse_unknown("delta", delta, DELTAS)
        self.delta, self.frozen = delta, frozen
        self.classes, self.variant, self.generator, self.padding = tuple(classes), variant, generator, padding
        self.margin, self.lambda_c, self.lambda_g, self.lambda_s = margin, lambda_c, lambda_g, lambda_s
        self.lambda_ri, self.lambda_rr, self.weight_decay = lambda_ri, lambda_rr, weight_decay
        self.dropout, self.width, self.seed = dropout, width, seed
        self.compares, self.contrasts, self.reconstructs = VARIANTS[variant]
        self.encoder2 = build_encoder(width=width, padding=padding, name="encoder2")
        self.generates, self.refers = self.compares and generator != GIVEN, self.compares and generator == GIVEN
        if self.generates:
            self.tolerance = SWITCHES
            self.generator_net = GENERATORS[generator](width=width, padding=padding, seed=seed)
            if frozen:
                self.generator_net.trainable = False
        if self.reconstructs:
            self.decoder_i = build_decoder(self.encoder2, width=width, padding=padding, name="decoder_i")
            self.decoder_r = build_decoder(self.encoder2, width=width, padding=padding, name="decoder_r")
        self.code_dropout = Dropout(dropout, seed, dtype="float32", name="dropout")
        self.hidden = keras.layers.Dense(scaled(HIDDEN, width), "relu", dtype="float32", name="hidden")
        self.head = keras.layers.Dense(len(self.classes), dtype="float32", name="logits")
        self.code_size = math.prod(self.encoder2.outputs[0].shape[1:])
        size = self.code_size * (2 if self.compares and delta == "both" else 1)
        self.code_dropout.build((None, size))
        self.hidden.build((None, size))
        self.head.build((None, scaled(HIDDEN, width)))
        self.built = True
        self.track(*self.logged())

    def logged(self) -> list[str]:
        """The columns of history.csv."""
        names = ["accuracy", *["margin_share"] * self.contrasts]
        names += [f"{name}_loss" for name, _ in self.player_variables() if name != "decoder"]  # classifier's terms, too
        names += ["generation_loss", *self.generator_net.terms] if self.generates and not self.frozen else []
        names += ["classification_loss", *["contrastive_loss"] * self.contrasts]
        names += ["reconstruction_input_loss", "reconstruction_reference_loss"] * self.reconstructs
        return [*names, "decay_loss"]

    def player_variables(self) -> list[tuple[str, list[tf.Variable]]]:
        """The DCGAN's discriminator if there is one; all but the decoders; the decoders, whose rate is ten times it."""
        decoders = [self.decoder_i, self.decoder_r] if self.reconstructs else []
        decoders += [self.generator_net.decoder] if self.generates else []
        players = {
            "discriminator": self.generator_net.discriminator.trainable_variables if self.adversarial else [],
            "classifier": [],
            "decoder": [v for net in decoders for v in net.trainable_variables],
        }
        taken = {id(v) for variables in players.values() for v in variables}
        players["classifier"] = [v for v in self.trainable_variables if id(v) not in taken]
        return [(name, variables) for name, variables in players.items() if variables]

    @property
    def adversarial(self) -> bool:
        """Whether the generator is a DCGAN, which has a discriminator."""
        return self.generates and not self.frozen and self.generator_net.discriminator is not None

    def preprocess(self, images: tf.Tensor) -> tf.Tensor:
        """(N, 64, 64, 1|3) in [0, 1] -> (N, 64, 64, 1) float32 in [0, 1]."""
        return grey(images)

    def encode(self, images: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Encoder2: (N, 64, 64, 1) -> (e (N, p) float32, [code, three argmax maps], which the decoders take)."""
        maps = self.encoder2(images, training=training)
        return tf.cast(tf.reshape(maps[0], (-1, self.code_size)), tf.float32), maps

    def encode_both(
        self, images: tf.Tensor, references: tf.Tensor, training: bool = False
    ) -> tuple[tuple[tf.Tensor, list[tf.Tensor]], tuple[tf.Tensor, list[tf.Tensor]]]:
        """Encoder2 on both in one pass, normalised alike: what `encode` gives of the images, and of the references."""
        e, maps = self.encode(tf.concat([images, references], 0), training)
        (e, e_r), (code, code_r) = tf.split(e, 2), tf.split(maps[0], 2)
        places, places_r = (
            [tf.gather(m, own) for m in maps[1:]] for own in tf.split(tf.range(tf.shape(maps[0])[0]), 2)
        )
        return (e, [code, *places]), (e_r, [code_r, *places_r])  # gathered, since a GPU splits no int32

    def refer(self, faces: Batch, training: bool = False) -> tuple[tf.Tensor, Terms]:
        """(What an image is compared with, (N, 64, 64, 1); further losses): eq. (3), or what came with it ("given")."""
        if not self.generates:
            return self.preprocess(faces["reference"]), {}
        made, terms = self.generator_net(self.preprocess(faces["image"]), training=training and not self.frozen)
        return (tf.stop_gradient(made), {}) if self.frozen else (made, terms)

    def asked(self, batch: Batch) -> tf.Tensor | Batch:
        """What `classify` takes of a batch: the image, and its reference where none is generated."""
        return {name: batch[name] for name in ("image", "reference")} if self.refers else batch["image"]

    def regenerate(self, images: tf.Tensor) -> tf.Tensor:
        """The generated reference of eq. (3): (N, 64, 64, 1|3) float32 in [0, 1] -> (N, 64, 64, 1) float32 in [0, 1].

        Raises:
          ValueError: the variant has no generator.
        """
        if not self.generates:
            raise ValueError(f"The variant {self.variant} generates nothing: use one of S0R0, S1R0, S0R1, S1R1.")
        return tf.clip_by_value(self.generator_net(self.preprocess(images))[0], 0.0, 1.0)

    def reconstruct(self, faces: tf.Tensor | Batch) -> tuple[tf.Tensor, tf.Tensor]:
        """(input, reference) as the decoders of eq. (8) and (9) give them back: (N, 64, 64, 1) float32 in [0, 1] each.

        Raises:
          ValueError: the variant has no such decoders.
        """
        if not self.reconstructs:
            raise ValueError(f"The variant {self.variant} reconstructs nothing: use S0R1 or S1R1.")
        batch = as_batch(faces)
        pairs = ((self.decoder_i, self.preprocess(batch["image"])), (self.decoder_r, self.refer(batch)[0]))
        return tuple(tf.clip_by_value(d(self.encode(x)[1], training=False), 0.0, 1.0) for d, x in pairs)

    def vector(self, faces: tf.Tensor | Batch, training: bool = False) -> tf.Tensor:
        """What is classified: delta of eq. (2), or e in the baselines: (N, 64, 64, 1|3) in [0, 1] -> (N, p) float32."""
        batch = as_batch(faces)
        image = self.preprocess(batch["image"])
        if not self.compares:
            return self.encode(image, training)[0]
        (e, _), (e_r, _) = self.encode_both(image, self.refer(batch, training)[0], training)
        return contrastive_vector(e, e_r, self.delta)

    def features(self, faces: tf.Tensor | Batch) -> tf.Tensor:
        """The 384 values of the first fully connected layer, for Figs. 5 and 6: images in [0, 1] -> (N, 384) >= 0."""
        return self.hidden(self.vector(faces))

    def responses(self, faces: tf.Tensor | Batch) -> tf.Tensor:
        """What `features` is the ReLU of, linear in what is classified: images in [0, 1] -> (N, 384) float32."""
        return tf.linalg.matmul(self.vector(faces), self.hidden.kernel) + self.hidden.bias

    def logits(self, vector: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Dropout, FC-384, the last layer: what is classified (N, p) -> (N, K) float32."""
        return self.head(self.hidden(self.code_dropout(vector, training=training)))

    def classify(self, faces: tf.Tensor | Batch) -> tf.Tensor:
        """(N, 64, 64, 1|3) float32 in [0, 1] -> (N, K) float32 probabilities; "given" alone needs a neutral face."""
        return tf.nn.softmax(self.head(self.features(faces)))

    @property
    def factors(self) -> dict[str, float]:
        """Term -> its weight in eq. (4) and (7)."""
        factors = {"classification_loss": self.lambda_c, "contrastive_loss": self.lambda_s}
        factors |= {"reconstruction_input_loss": self.lambda_ri, "reconstruction_reference_loss": self.lambda_rr}
        generative = ["generation_loss", *self.generator_net.terms] if self.generates else []
        return factors | dict.fromkeys(generative, self.lambda_g) | {"decay_loss": 1.0}

    def losses(self, batch: Batch, training: bool = True) -> tuple[dict[str, Terms], Terms]:
        """The weighted terms of eq. (4) and the decay, which classifier and decoders share; the discriminator's two."""
        image, labels, counted = self.preprocess(batch["image"]), batch["label"], batch.get("has_reference")
        neutral = self.preprocess(batch["reference"]) if self.compares or self.contrasts else None
        terms, measures, discriminator = {}, {}, {}
        if self.compares:
            reference, more = self.refer(batch, training)
            if self.generates and not self.frozen:
                terms = {"generation_loss": mean_of_half_squares(reference, neutral, counted), **more}  # eq. (5)
            (e, code), (e_r, code_r) = self.encode_both(image, reference, training)
            vector = contrastive_vector(e, e_r, self.delta)  # eq. (2)
            if self.adversarial:
                discriminator = self.generator_net.discriminator_losses(neutral, reference, counted, training)
        elif self.contrasts:
            (e, _), (e_r, _) = self.encode_both(image, neutral, training)
            vector = e
        else:
            vector, _ = self.encode(image, training)
        logits = self.logits(vector, training)
        terms["classification_loss"] = cross_entropy(logits, labels, batch.get("weight"))
        measures["accuracy"] = accuracy(logits, labels)
        if self.contrasts:
            real = None if self.generates else counted  # a generated reference is there for everybody
            terms["contrastive_loss"], measures["margin_share"] = self.contrast(e, e_r, self.alpha(labels), real)
        if self.reconstructs:
            back, back_r = self.decoder_i(code, training=training), self.decoder_r(code_r, training=training)
            terms["reconstruction_input_loss"] = mean_of_half_squares(back, image)  # eq. (8)
            terms["reconstruction_reference_loss"] = mean_of_half_squares(back_r, neutral, counted)  # eq. (9)
        terms["decay_loss"] = decay_loss(self.trainable_variables, self.weight_decay)
        weighted = {name: self.factors[name] * value for name, value in terms.items()}
        own = {n: discriminator if n == "discriminator" else weighted for n, _ in self.player_variables()}
        return own, {**terms, **measures}  # logged as they are

    def alpha(self, labels: tf.Tensor) -> tf.Tensor:
        """alpha of eq. (6): (N,) float32, 0 where the input itself is neutral."""
        return tf.cast(labels != (self.classes.index("neutral") if "neutral" in self.classes else -1), tf.float32)

    def rows(self, batch: Batch) -> Terms:
        """All rows, for most; the share within the margin is one of the faces that are not neutral."""
        rows = super().rows(batch)
        return {**rows, "margin_share": tf.minimum(rows["accuracy"], tf.reduce_sum(self.alpha(batch["label"])))}

    def contrast(self, e: tf.Tensor, e_r: tf.Tensor, alpha: tf.Tensor, counted: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """(eq. (6), whose alpha is 0 for a neutral input; the share of the others within the margin)."""
        loss = contrastive_loss(e, e_r, alpha, self.margin)
        loss = loss if counted is None else tf.where(counted, loss, tf.zeros_like(loss))
        close = tf.cast(distance(e, e_r) < self.margin, tf.float32) * alpha
        share = tf.math.divide_no_nan(tf.reduce_sum(close), tf.reduce_sum(alpha))
        return tf.reduce_mean(loss), share

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = (
            "name classes variant generator frozen padding delta margin lambda_c lambda_g lambda_s lambda_ri lambda_rr"
        )
        return {n: getattr(self, n) for n in (*names.split(), "dropout", "weight_decay", "width", "seed")}


def optimizers(model: GCNet, rate: float = 0.001, *, multiplier: float = 10.0, **policy: float) -> dict[str, Any]:
    """What `compile` takes: Nesterov SGD, momentum 0.9, section IV-A.

    Args:
      model: whose players get one each.
      rate, multiplier: base learning rate; what the decoders' is times it.
      policy: gamma and power of `InverseDecay`.
    Returns:
      {"<player>_optimizer": optimizer}; a DCGAN's discriminator has Adam 2e-4, beta1 0.5.
    """

    def optimizer(name: str) -> Any:
        if name == "discriminator":
            return Adam(2e-4, beta_1=0.5)
        own = InverseDecay(rate * (multiplier if name == "decoder" else 1.0), **policy)
        return keras.optimizers.SGD(own, momentum=0.9, nesterov=True)

    return {f"{name}_optimizer": optimizer(name) for name, _ in model.player_variables()}


def full() -> GCNet:
    """The paper's size, for the benchmark."""
    return GCNet()


def tiny() -> tuple[GCNet, dict[str, tf.Tensor]]:
    """A small model and a batch for the contract tests."""
    model = GCNet(width=1 / 16, classes=CLASSES["six"])
    image, reference = (tf.random.stateless_uniform((6, SIZE, SIZE, 1), (1, s)) for s in (2, 3))
    return model, {"image": image, "reference": reference, "label": tf.range(6), "index": tf.range(6)}
