"""DE-GAN: carry an expression to another person, and recognise what was carried.

Ali, Hughes: "Facial Expression Representation Learning by Synthesizing Expression Images" (2020). Section 3.1, eq. (1)
and (2), Fig. 2: `DEGAN`, its nets: `fer_tf/nets/dr_gan.py`. Section 3.2, eq. (3), Fig. 3: `DEGANClassifier`. Section
4.1: `views`, `optimizer`. The "CNN (baseline)" of Tables 1 to 3: `EncoderCNN`. The tables are made by
`experiments/de_gan.py`.

**Readings** (what the paper leaves open)

- Section 3, layers: none is printed. They are those of DR-GAN (reference [5]); `fer_tf/nets/dr_gan.py` lists them.
- Section 3, "concatenated": the decoder's first layer is one product each of f(x), I and z, added up. That is the
  product of the joined vector; other people change the middle one alone.
- Section 3.1, "based on VAE-GAN": no KL term is printed, so there is none.
- Section 3.1.1: D^e and D^i are softmaxes. Output N_e + 1 of D^e is the fake class.
- Eq. (1) and (2), p_z: z has 50 numbers from N(0, 1). It is zero at test.
- Eq. (1) and (2), p_I: I is drawn evenly from the *other* training people ("with a different identity").
- Eq. (1) and (2), order: both players' gradients are taken at the same weights.
- Section 3.2, "intermediate layers": the ends of the encoder's stages 1 to 4, after ELU.
- Section 3.2, "local CNN": two 3x3 convolutions of 64 channels, each with batch norm, ReLU and 2x2 max-pooling, the
  mean over a 3x3 grid, a fully connected layer of 128 with ReLU, and a softmax of its own, whose loss is L_i.
- Section 3.2, "parameters are fixed": the encoder's norms use their moving statistics, too.
- Eq. (3), L_5: the loss of a softmax on f(x) and the four fully connected layers. It names the face.
- Section 4.1, images: grey, 110x110 before the crops, [-1, 1] inside. The unrotated crop counts (5 x 11 x 2 = 110
  views). The centre crop is tested.
- Section 4.1, "momentum of 0.5": Adam's beta_1, in both stages.
- Section 4.1, N(0, 0.02): all kernels. Biases start at 0.
- Section 4.1, "near optimal": D moves at every step until its accuracy on real faces, a running mean, passes 0.9 on
  both heads, then at every fourth.
- All norms have a momentum of 0.9 and an epsilon of 1e-5.
- Section 4.1, batches and epochs: 150 in both stages; each of the 300 and 50 epochs shows all 110 views of every face,
  so stage one has 647 steps an epoch on nine tenths of CK+'s 981 faces. Pre-training has as many epochs.
- Tables 1 to 3, "CNN (baseline)": the encoder's convolutions, and a softmax on the mean of the last maps. It starts
  from nothing at a constant rate, for as many epochs as both stages together. `--baselines=strong` is a stronger one.

**Deviations** (what is printed and differs here)

- Section 4.1, faces: dlib finds and aligns them, not CE-CLM.
- Eq. (2): `lambda_own` and `own_share` add an L1 distance to the source, for fakes that keep their own identity. Both
  are 0 by default, as printed. The term shows the decoder faces within two thousand steps and makes f(x) hold who is
  seen, which eq. (1) and (2) alone then drive out again: for pre-training only.
- Eq. (2): `lambda_identity` adds a term by which f(x) hides who is seen. A linear classifier of the training people is
  a third player; it sees f(x) at length one. 0 by default, as printed. What it gains is not yet measured.
- Section 4.1: `experiments.de_gan --teacher` has D start from a trained CNN of its shape. Not yet measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from fer_tf import augment, draws
from fer_tf.compat import Adam, Batch, PlayersModel, Terms, keras
from fer_tf.layers import Noise, logits_of, normal, step_seed
from fer_tf.layers import signed_grey as grey
from fer_tf.losses import confusion_loss, cross_entropy
from fer_tf.nets.dr_gan import CODE, NOISE, SIZE, STAGES, build_decoder, build_discriminator, build_encoder, build_local
from fer_tf.records import CLASSES
from fer_tf.softmax import SoftmaxClassifier, accuracy

TEMPLATE = "de_gan"
"""The frame of a face for `faces.align`: 110x110."""

NOISE_SEED = 104_729
"""Between the seeds of the identities and of z, so that the two streams stay apart."""

LAMBDAS = (0.7, 0.6, 0.4, 0.3, 1.0)
"""lambda_1 to lambda_5 of eq. (3), section 4.1."""

USES = ("both", "code", "residues")
"""What the fifth classifier sees: f(x) and the residues, f(x) alone, or the residues alone."""

views = augment.de_gan_views
"""The 110 views of section 4.1: five crops of 96x96 x eleven rotations x flip; the centre crop at test."""


@keras.utils.register_keras_serializable("fer_tf")
class OtherIdentity(keras.layers.Layer):
    """Draws y^idx, the person whom the fake face shall show: another one, evenly, or with `own_share` the same one.

    Args:
      identities: N_i, at least two.
      own_share: share of the batch that keeps its own identity.
      seed: of the draws, which follow from (seed, number of training steps).
    """

    def __init__(self, identities: int, own_share: float = 0.0, seed: int = 0, **options: Any):
        super().__init__(**options)
        self.identities, self.own_share, self.seed = identities, own_share, seed

    def build(self, input_shape: Any) -> None:
        """Makes the step counter, which checkpoints hold and `weights.save` leaves out."""
        self.seed_step = self.add_weight(
            name="seed_step", shape=(), dtype="int64", initializer="zeros", trainable=False
        )
        self.built = True

    def call(self, own: tf.Tensor) -> tf.Tensor:
        """(N,) int32 in 0 .. N_i - 1 -> (N,) int32 likewise."""
        seed = step_seed(self)
        further = tf.random.stateless_uniform(tf.shape(own), seed, 1, self.identities, tf.int32)
        kept = draws.uniform(tf.shape(own), seed + tf.constant([0, 1])) < self.own_share
        return tf.where(kept, own, (own + further) % self.identities)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {n: getattr(self, n) for n in ("identities", "own_share", "seed")}
        return {**super().get_config(), **own}


@keras.utils.register_keras_serializable("fer_tf")
class Pace(keras.layers.Layer):
    """When D moves: at every step until it is near its optimum, then at every `ratio`-th (section 4.1).

    Args:
      ratio: steps of G for one of D, near the optimum.
      near: accuracy on real faces, on the worse head, beyond which D is there.
      momentum: of the running mean of that accuracy.
    """

    def __init__(self, ratio: int = 4, near: float = 0.9, momentum: float = 0.95, **options: Any):
        super().__init__(**options)
        self.ratio, self.near, self.momentum = ratio, near, momentum

    def build(self, input_shape: Any) -> None:
        """Makes the running mean and the count of G's steps since D moved; D moves at the first."""
        options = {"shape": (), "trainable": False}
        self.skill = self.add_weight(name="skill", initializer="zeros", dtype="float32", **options)
        self.since = self.add_weight(name="since", initializer="zeros", dtype="int64", **options)
        self.built = True

    def call(self, accuracy: tf.Tensor) -> tf.Tensor:
        """D's accuracy on this batch's real faces, scalar float32 -> whether D moves now, scalar bool."""
        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            accuracy = context.all_reduce(tf.distribute.ReduceOp.MEAN, accuracy)
        skill = self.momentum * tf.convert_to_tensor(self.skill) + (1.0 - self.momentum) * accuracy
        since = tf.convert_to_tensor(self.since) + 1
        moves = tf.logical_or(skill <= self.near, since >= self.ratio)
        self.skill.assign(skill)
        self.since.assign(tf.where(moves, tf.zeros_like(since), since))
        return moves

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), **{n: getattr(self, n) for n in ("ratio", "near", "momentum")}}


@keras.utils.register_keras_serializable("fer_tf")
class DEGAN(PlayersModel):
    """Stage one: an expression is taken from a face and given to another person. Eq. (1) and (2), section 3.1.

    A batch has image, label (the expression) and subject (a number, the place in `subjects`).

    Args:
      classes: names of the N_e expressions.
      subjects: names of the N_i people.
      width: times the read channels.
      code, noise: lengths of f(x) and z.
      own_share: share of fakes that keep their own identity.
      lambda_own: weight of those fakes' distance (L1) to their source; 0, as in the paper, for no such term.
      lambda_identity: weight of eq. (5) of ED2L for people on f(x), by which G fools the player "identifier".
      ratio, near: of `Pace`.
      seed: of z and of the identities that are drawn.
    Raises:
      ValueError: fewer than two people.
    """

    def __init__(
        self,
        *,
        classes: Sequence[str] = CLASSES["seven"],
        subjects: Sequence[str],
        width: float = 1.0,
        code: int = CODE,
        noise: int = NOISE,
        own_share: float = 0.0,
        lambda_own: float = 0.0,
        lambda_identity: float = 0.0,
        ratio: int = 4,
        near: float = 0.9,
        seed: int = 0,
        name: str = "de_gan",
        **options: Any,
    ):
        super().__init__(name=name, **options)
        if len(subjects) < 2:
            raise ValueError(f"DE-GAN carries expressions between people: it needs two or more, not {len(subjects)}.")
        self.classes, self.subjects, self.width = tuple(classes), tuple(subjects), width
        self.code, self.noise, self.seed = code, noise, seed
        self.own_share, self.lambda_own, self.ratio, self.near = own_share, lambda_own, ratio, near
        self.lambda_identity = lambda_identity
        count = len(self.subjects)
        self.encoder = build_encoder(width=width, code=code)
        self.decoder = build_decoder(count, width=width, code=code, noise=noise)
        self.discriminator = build_discriminator(len(self.classes), count, width=width, code=code)
        self.identities = OtherIdentity(count, own_share, seed, name="identities")
        self.z = Noise(seed + NOISE_SEED, dtype="float32", name="z")
        self.pace = Pace(ratio, near, dtype="float32", name="pace_of_d")
        for layer in (self.identities, self.z, self.pace):
            layer.build(())
        if lambda_identity:
            self.identifier = keras.layers.Dense(count, kernel_initializer=normal(), dtype="float32", name="identifier")
            self.identifier.build((None, code))
        self.built = True
        logged = ["discriminator", "generator", "real_expression", "real_identity", "fake", "expression", "identity"]
        logged += ["own"] * (lambda_own > 0) + ["identifier", "code_identity", "confusion"] * (lambda_identity > 0)
        shares = ["identity_accuracy", *["code_identity_accuracy"] * (lambda_identity > 0), "discriminator_share"]
        self.track(*(f"{n}_loss" for n in logged), "accuracy", *shares)

    def player_variables(self) -> list[tuple[str, list[tf.Variable]]]:
        """D; the classifier that G fools, if any; then G, which is encoder and decoder."""
        generator = [*self.encoder.trainable_variables, *self.decoder.trainable_variables]
        fooled = [("identifier", self.identifier.trainable_variables)] if self.lambda_identity else []
        return [("discriminator", self.discriminator.trainable_variables), *fooled, ("generator", generator)]

    def features(self, images: tf.Tensor) -> tf.Tensor:
        """f(x): (N, 96, 96, 1|3) float32 in [0, 1] -> (N, code) float32."""
        return self.encoder(grey(images), training=False)[-1]

    def decode(self, code: tf.Tensor, identity: tf.Tensor, noise: tf.Tensor | None = None) -> tf.Tensor:
        """G_de(f(x), I, z).

        Args:
          code: (N, code) float32.
          identity: (N,) int, places in `subjects`.
          noise: (N, noise) float32; zeros when left out.
        Returns:
          (N, 96, 96, 1) float32 in [0, 1].
        """
        code = tf.convert_to_tensor(code, tf.float32)
        noise = tf.zeros((tf.shape(code)[0], self.noise)) if noise is None else noise
        return (self.decoder([code, tf.one_hot(identity, len(self.subjects)), noise], training=False) + 1.0) / 2.0

    def transfer(self, images: tf.Tensor, identity: tf.Tensor) -> tf.Tensor:
        """The expression of images (N, 96, 96, 1|3) in [0, 1] on the people `identity` (N,) int -> faces in [0, 1]."""
        return self.decode(self.features(images), identity)

    def infer(self, images: tf.Tensor) -> tf.Tensor:
        """Their expressions on the first of `subjects`: (N, 96, 96, 1|3) in [0, 1] -> (N, 96, 96, 1) in [0, 1]."""
        return self.transfer(images, tf.zeros(tf.shape(images)[:1], tf.int32))

    def losses(self, batch: Batch, training: bool = True) -> tuple[dict[str, Terms], Terms]:
        """Both players' terms and D's accuracies on real faces; at test everybody gets the next person's identity."""
        image, expression, own = grey(batch["image"]), batch["label"], batch["subject"]
        identity = self.identities(own) if training else (own + 1) % len(self.subjects)  # y^idx
        z = self.z(tf.zeros((tf.shape(image)[0], self.noise)), training=training)
        f = self.encoder(image, training=training)[-1]
        fake = self.decoder([f, tf.one_hot(identity, len(self.subjects)), z], training=training)
        e, i = self.discriminator(image, training=training)
        e_fake, i_fake = self.discriminator(fake, training=training)
        discriminator = {  # eq. (1), which D maximises: its negative
            "real_expression_loss": cross_entropy(e, expression),
            "real_identity_loss": cross_entropy(i, own),
            "fake_loss": cross_entropy(e_fake, tf.fill(tf.shape(expression), len(self.classes))),
        }
        generator = {  # eq. (2), likewise
            "expression_loss": cross_entropy(e_fake, expression),
            "identity_loss": cross_entropy(i_fake, identity),
        }
        if self.lambda_own:
            keeps = tf.cast(identity == own, tf.float32)
            away = tf.reduce_sum(keeps * tf.reduce_mean(tf.abs(fake - image), (1, 2, 3)))
            generator["own_loss"] = self.lambda_own * tf.math.divide_no_nan(away, tf.reduce_sum(keeps))
        measures = {"accuracy": accuracy(e, expression), "identity_accuracy": accuracy(i, own)}
        players = {"discriminator": discriminator, "generator": generator}
        if self.lambda_identity:
            unit = tf.math.l2_normalize(f, -1)
            said = logits_of(self.identifier, tf.stop_gradient(unit))
            players["identifier"] = {"code_identity_loss": cross_entropy(said, own)}
            measures["confusion_loss"] = confusion_loss(logits_of(self.identifier, unit, frozen=True))
            generator["confusion_loss"] = self.lambda_identity * measures["confusion_loss"]
            measures["code_identity_accuracy"] = accuracy(said, own)
        return players, measures

    def turns(self, measures: Terms) -> dict[str, tf.Tensor]:
        """D moves when it is its turn (`Pace`), G at every step."""
        moves = self.pace(tf.minimum(measures["accuracy"], measures["identity_accuracy"]))
        measures["discriminator_share"] = tf.cast(moves, tf.float32)
        return {"discriminator": moves}

    def rows(self, batch: Batch) -> Terms:
        """All rows, for most; D's share is one of steps."""
        return {**super().rows(batch), "discriminator_share": tf.ones(())}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("name", "classes", "subjects", "width", "code", "noise", "own_share", "lambda_own", "lambda_identity")
        return {n: getattr(self, n) for n in (*names, "ratio", "near", "seed")}


@keras.utils.register_keras_serializable("fer_tf")
class DEGANClassifier(PlayersModel):
    """Stage two: the expression is read from f(x) and from the frozen encoder's stages. Eq. (3), section 3.2.

    Set `encoder` from a trained `DEGAN` first.

    Args:
      classes: names of the K expressions.
      uses: what the fifth classifier sees, one of `USES`; "code" has no local CNNs.
      lambdas: lambda_1 to lambda_5.
      width, code: of the encoder; `width` also of the local CNNs.
    Raises:
      ValueError: an unknown `uses`, or not five lambdas.
    """

    def __init__(
        self,
        *,
        classes: Sequence[str] = CLASSES["seven"],
        uses: str = "both",
        lambdas: Sequence[float] = LAMBDAS,
        width: float = 1.0,
        code: int = CODE,
        name: str = "de_gan_classifier",
        **options: Any,
    ):
        super().__init__(name=name, **options)
        if uses not in USES:
            raise ValueError(f"Unknown uses {uses!r}: use {', '.join(USES)}.")
        if len(lambdas) != len(STAGES):
            raise ValueError(f"Eq. (3) has {len(STAGES)} lambdas: {len(lambdas)} were given.")
        self.classes, self.uses, self.lambdas = tuple(classes), uses, tuple(lambdas)
        self.width, self.code = width, code
        self.encoder = build_encoder(width=width, code=code)
        self.encoder.trainable = False
        maps, joined = self.encoder.outputs[:-1], code * (uses != "residues")
        self.locals = [build_local(m, width=width, name=f"local{i}") for i, m in enumerate(maps, 1) if uses != "code"]
        self.heads = []
        for number, net in enumerate([*self.locals, None], 1):
            size = net.outputs[0].shape[-1] if net is not None else joined
            start = {"kernel_initializer": normal(), "dtype": "float32"}
            head = keras.layers.Dense(len(self.classes), name=f"logits{number if net else 5}", **start)
            head.build((None, size))
            self.heads.append(head)
            joined += size if net is not None else 0
        self.built = True
        self.track("classifier_loss", *(f"l{n}_loss" for n in self.numbers), "accuracy")

    @property
    def numbers(self) -> tuple[int, ...]:
        """i of the classifiers L_i that there are: 1 to 5, or 5 alone."""
        return (1, 2, 3, 4, 5) if self.locals else (5,)

    def player_variables(self) -> list[tuple[str, list[tf.Variable]]]:
        """One player: the local CNNs and the five classifiers; never the encoder."""
        return [("classifier", self.trainable_variables)]

    def features(self, images: tf.Tensor, training: bool = False) -> list[tf.Tensor]:
        """What each classifier sees: images (N, 96, 96, 1|3) in [0, 1] -> [(N, F_i) float32, the fifth's last]."""
        *maps, f = (tf.stop_gradient(x) for x in self.encoder(grey(images), training=False))
        local = [net(residue, training=training) for net, residue in zip(self.locals, maps, strict=False)]
        return [*local, tf.concat([f, *local] if self.uses != "residues" else local, -1)]

    def logits(self, images: tf.Tensor, training: bool = False) -> list[tf.Tensor]:
        """Of the classifiers `numbers`: images in [0, 1] -> [(N, K) float32]."""
        return [head(x) for head, x in zip(self.heads, self.features(images, training), strict=True)]

    def classify(self, images: tf.Tensor) -> tf.Tensor:
        """The fifth classifier's: (N, 96, 96, 1|3) float32 in [0, 1] -> (N, K) float32 probabilities."""
        return tf.nn.softmax(self.logits(images)[-1])

    def losses(self, batch: Batch, training: bool = True) -> tuple[dict[str, Terms], Terms]:
        """l<i>_loss, lambda_i L_i of eq. (3), and the fifth's accuracy, on a batch with image and label."""
        logits, labels = self.logits(batch["image"], training), batch["label"]
        terms = {
            f"l{i}_loss": self.lambdas[i - 1] * cross_entropy(own, labels, batch.get("weight"))
            for i, own in zip(self.numbers, logits, strict=True)
        }
        return {"classifier": terms}, {"accuracy": accuracy(logits[-1], labels)}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {n: getattr(self, n) for n in ("name", "classes", "uses", "lambdas", "width", "code")}


@keras.utils.register_keras_serializable("fer_tf")
class EncoderCNN(SoftmaxClassifier):
    """CNN (baseline) of Tables 1 to 3: the encoder's convolutions and a softmax on the mean of its last maps, above -1.

    Args:
      classes: names of the K classes, expressions or people.
      width, code: of the encoder.
      dropout, label_smoothing, seed: see `SoftmaxClassifier`.
    """

    def __init__(
        self,
        *,
        classes: Sequence[str] = CLASSES["seven"],
        width: float = 1.0,
        code: int = CODE,
        dropout: float = 0.0,
        label_smoothing: float = 0.0,
        seed: int = 0,
        name: str = "encoder_cnn",
        **options: Any,
    ):
        net = build_encoder(width=width, code=code, name="trunk")
        super().__init__(
            classes=classes,
            trunk=keras.Model(net.inputs, net.outputs[-2:], name="trunk"),
            dropout=dropout,
            label_smoothing=label_smoothing,
            seed=seed,
            name=name,
            **options,
        )
        self.width, self.code = width, code
        self.head.kernel.assign(normal()(tuple(self.head.kernel.shape)))

    def preprocess(self, images: tf.Tensor) -> tf.Tensor:
        """(N, 96, 96, 1|3) float32 in [0, 1] -> (N, 96, 96, 1) float32 in [-1, 1]."""
        return grey(images)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "width": self.width, "code": self.code}


def optimizer(rate: Any = 1e-4) -> Any:
    """What moves each player: Adam of section 4.1, beta1 0.5."""
    return Adam(rate, beta_1=0.5)


def full() -> DEGAN:
    """The paper's size, for the benchmark: 106 people, nine tenths of CK+'s 118."""
    return DEGAN(subjects=tuple(f"s{i}" for i in range(106)))


def full_recogniser() -> DEGANClassifier:
    """The paper's size, likewise."""
    return DEGANClassifier()


def tiny() -> tuple[DEGAN, dict[str, tf.Tensor]]:
    """A small model and a batch for the contract tests."""
    model = DEGAN(width=1 / 32, code=8, noise=4, classes=CLASSES["six"], subjects=("a", "b", "c"))
    image = tf.random.stateless_uniform((6, SIZE, SIZE, 1), (1, 2))
    batch = {"image": image, "label": tf.range(6), "subject": tf.constant([0, 1, 2, 0, 1, 2]), "index": tf.range(6)}
    return model, batch


def tiny_recogniser() -> tuple[DEGANClassifier, dict[str, tf.Tensor]]:
    """A small recogniser and a batch for the contract tests."""
    return DEGANClassifier(width=1 / 32, code=8, classes=CLASSES["six"]), tiny()[1]
