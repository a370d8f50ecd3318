"""CycleAT: laboratory faces redrawn as faces in the wild, and what a classifier attends to handed on with them.

Zhang, Zhang, Mao, Duan, Xu: "Facial Expression Recognition in the Wild: A Cycle-Consistent Adversarial Attention
Transfer Approach" (ACM MM 2018). Eq. (1): `attention`. The last sum of eq. (7) and (10): `attention_loss`. Eq. (3),
(10), section 3.2 "source" and "target domain learning": `AttentionClassifier`, which is f_S, f_W and f_T. Eq. (4) to
(9), "auxiliary domain learning": `CycleAT`. Section 4.2: `optimizer`, `views`. The GAN's nets:
`fer_tf/nets/cycle_gan.py`; the classifiers' trunks: `fer_tf/nets/backbones.py`. The tables and figures are made by
`experiments/cycle_at.py`. [51] is the attention transfer of Zagoruyko and Komodakis, [67] is CycleGAN.

**Readings**, where the paper is silent:

- Section 1, "stage-I" and "stage-II": stage I descends eq. (4), (5) and (6), stage II eq. (8), where f_W joins.
- Eq. (4), (5): D is a sigmoid, and the mean is taken over the patches. `gan_loss="least_squares"` is [67]'s.
- Eq. (5): D_T is D_S.
- Eq. (6): the L1 norm is the mean over places and channels, with pixels in [-1, 1]. Its weight in eq. (8) is 1, as
  printed; [67] has 10.
- Eq. (7), (10), I: the ends of the four residual stages. E: the mean over the batch; the norm is not squared.
- Eq. (7), (10), beta: 0.1. `at_reduction="mean_square"` is [51]'s mean over the pixels of the squared difference, with
  [51]'s beta of 1000; at the start it weighs 9 to 17 times as much. The printed 1/2 stays, so that it weighs half of
  what it does there. Maps stay sums of absolute values, eq. (1), where [51] has squares. On 84 faces of validation
  people f_T names 76.2 % by the first, 73.8 by the second, 73.8 without attention: two faces apart, so the first stays.
- Eq. (7), (10), the teacher: it does not move, and its norms use their moving statistics. f_S sees x_s while f_W sees
  G_SW(x_s); f_W sees the x_t that f_T sees.
- Eq. (7), f_W: its norms use their moving statistics, as batches have one picture (`batch_statistics`).
- Eq. (9): it minimises over G_SW, too, so both terms of eq. (7) reach it (`attention_updates_generator`).
- Eq. (9): all gradients are taken at the same weights, then all players move. The generators have one optimizer, and
  so have the discriminators.
- Section 3.1, "a shallower classification model f_T": ResNet-18. f_S and f_W are ResNet-50, as printed.
- Section 4.1: the source's 20 people are drawn by the seed. SFEW's two sets are tested in turn.
- Section 4.2, "crop out the faces": the frame is FER-2013's. Faces are in colour.
- Section 4.2, augmentation: views are mirrored, and moved by up to 15 of 256 pixels each way, as [67]'s are. The face
  as it is is tested.
- Section 4.2, "momentum 0.5": Adam's beta1, in all trainings. The rate stays as it is.
- Section 4.2, batches: 1 for the GAN, as in [67], and 32 for the classifiers.
- Section 4.2, epochs: 20 of f_S, and of what f_T starts from; 15 of 10,000 steps each in stage I and again in stage II;
  50 of f_T, about 3,150 views each.
- Section 4.2, "all the generated images": t nearest out of 20,000 that are drawn by the seed, as t-SNE of 150,000 is no
  matter of hours. Both are of `--preset=paper`.
- Section 4.2, selection: the maps are averaged over 4x4 cells and standardised. t-SNE starts from 50 principal
  components and has three dimensions, as in section 4.4. A face that several choose counts once.
- Section 4.5, "voting": over one picture it is the largest score.
- Section 4.5, Table 4, "fine-tune": it is ticked for all rows but S2T. So f_T's network learns from the source first,
  as long as f_S, and then from the target; S2T_fine-tune is f_S itself. With `--f_t_start=nothing` f_T learns from the
  target alone. Each row has as many steps on it.
- Section 4.5, S2T_att.&gen.: its generators are stage I's, trained for as many steps as those of stage II.
- Section 4.6, Table 8, multi-SVM: the ten lowest cosine coefficients but the mean of each 8x8 block of the grey face at
  64x64, blocks at length one, standardised; linear, one class against the others, C = 0.01.

**Deviations**, where something printed is changed:

- Eq. (4), (5), (9): generators descend -log D, where eq. (9) has log(1 - D).
- Section 4.1: the data set `bu3dfe` reads the 1,300 frontal textures (levels 3 and 4, neutral), where the paper renders
  the scans in 143 poses, 185,900 faces. Whoever has rendered them gives them as `--dataset=folder`.
- Section 4.2, "lib face detection": faces are found by dlib. What it misses is left out and named (--strict=false),
  where the paper crops it by hand.
- Section 4.2, "all weights ... standard deviation of 0.02": so start the GAN's kernels. The classifiers start from He's
  and Glorot's distributions, f_W from f_S's weights: with norms that do not move it cannot start from nothing.
- Section 4.2, selection: features are those of f_S's first convolution, where the paper has AlexNet's of ImageNet; so
  in Fig. 4.
- Section 4.2, "the techniques in the CycleGAN", all off by default: `upsampling` against a grid of dots,
  `discriminator_layers=2` (34x34 pixels a score) for faces of 64, `lambda_identity` for [67]'s identity loss, which
  holds G_SW to leave faces in the wild as they are, and G_WS those of the laboratory. "resized" takes the dots away
  (after 800 steps 1.3 % of the variance above 3/8 cycles a pixel, not 5.7); what the others gain is not measured.
- Section 4.6, Table 8: AlexNet starts from scratch, as there are no ImageNet weights for it here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from fer_tf import augment, spec
from fer_tf.compat import Adam, Batch, PlayersModel, Terms, keras
from fer_tf.losses import cross_entropy, l1_loss, l2_loss, log_loss
from fer_tf.nets.backbones import build_trunk, preprocess
from fer_tf.nets.cycle_gan import ImagePool, build_discriminator, build_generator
from fer_tf.records import CLASSES
from fer_tf.softmax import accuracy

TEMPLATE = "cycle_at"
"""The frame of a face for `faces.align`: 256x256."""

BETAS = {"norm": 0.1, "mean_square": 1000.0}
"""How two attention maps are compared -> beta of eq. (7) and (10)."""

GAN_LOSSES = ("log", "least_squares")


@dataclass(frozen=True)
class Views(augment.Drawn):
    """A face moved by whole pixels, up to `shift` of its sides each way (reflected), and mirrored, at random."""

    shift: float = 15 / 256

    def drawn(self, seed: tf.Tensor, count: tf.Tensor, source: tuple[int, int]) -> dict[str, tf.Tensor]:
        """See `augment.Drawn`."""
        seed = augment.at_once(seed, crop=2, flip=1)
        height, width = (side + 2 * round(self.shift * side) for side in source)
        return {
            "corner": augment.corners((height, width), source, seed, count),
            "mirrored": augment.heads(seed, count),
        }

    def one(self, picture: tf.Tensor, drawn: dict[str, tf.Tensor], compiled: bool) -> tf.Tensor:
        """(N, H, W, C) -> the same."""
        size = tuple(picture.shape[1:3])
        wide = tf.pad(picture, [[0, 0], *([round(self.shift * side)] * 2 for side in size), [0, 0]], "REFLECT")
        return augment.flip_where(augment.crop_at(wide, size, drawn["corner"]), drawn["mirrored"])

    def test_view(self, images: tf.Tensor) -> tf.Tensor:
        """The face as it is."""
        return tf.convert_to_tensor(images)


views = Views()


def attention(maps: tf.Tensor) -> tf.Tensor:
    """Q = vec(F(A)), F(A) = sum_j |A^j|. Eq. (1).

    Args:
      maps: (N, h, w, J), of a stage.
    Returns:
      (N, h w) float32 >= 0.
    """
    summed = tf.reduce_sum(tf.abs(tf.cast(maps, tf.float32)), -1)
    return tf.reshape(summed, (-1, summed.shape[1] * summed.shape[2]))


def attention_loss(teacher: Sequence[tf.Tensor], student: Sequence[tf.Tensor], reduction: str = "norm") -> tf.Tensor:
    """sum_j || Q_S^j / ||Q_S^j|| - Q_W^j / ||Q_W^j|| ||, the mean over the batch. The last sum of eq. (7) and (10).

    Args:
      teacher, student: maps of as many stages, (N, h, w, C) each; the channels may differ.
      reduction: "norm" as printed, or "mean_square": each stage's mean of squares over its pixels.
    Returns:
      Scalar float32 >= 0, without beta / 2.
    Raises:
      ValueError: the networks have other numbers of stages, or maps of other sizes; the message shows them.
    """
    shapes = [[tuple(m.shape[1:3]) for m in maps] for maps in (teacher, student)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"Attention is compared stage by stage: the teacher's maps are {shapes[0]}, not {shapes[1]}.")
    total = tf.zeros(())
    for pair in zip(teacher, student, strict=True):
        a, b = (tf.math.l2_normalize(attention(maps), -1, 1e-12) for maps in pair)
        squares = tf.math.squared_difference(a, b)
        if reduction == "norm":
            total += tf.reduce_mean(tf.sqrt(tf.maximum(tf.reduce_sum(squares, -1), 1e-12)))  # no gradient at zero
        else:
            total += tf.reduce_mean(squares)
    return total


def beta_of(beta: float | None, reduction: str) -> float:
    """beta as given, or what goes with the reduction.

    Raises:
      ValueError: an unknown reduction.
    """
    if reduction not in BETAS:
        raise ValueError(f"Unknown at_reduction {reduction!r}: use {', '.join(BETAS)}.")
    return BETAS[reduction] if beta is None else beta


@keras.utils.register_keras_serializable("fer_tf")
class AttentionClassifier(PlayersModel):
    """f_S, f_W or f_T: a softmax on a network that shows its stages' maps. Eq. (3); with a teacher eq. (10).

    Args:
      classes: names of the K expressions.
      network, size, width, pool: of `backbones.build_trunk`.
      teacher: another such model, whose attention is followed; neither trained nor saved with this one.
      beta, at_reduction: of eq. (10); see `attention_loss`.
      weights: what the trunk starts from, see `build_trunk`; no part of the config.
      seed: of dropout's masks, where the network has dropout.
    Raises:
      ValueError, FileNotFoundError: of `build_trunk`; an unknown at_reduction.
    """

    def __init__(
        self,
        *,
        classes: Sequence[str] = CLASSES["six_neutral"],
        network: str = "resnet18",
        size: int = 256,
        width: float = 1.0,
        pool: bool = True,
        teacher: Any = None,
        beta: float | None = None,
        at_reduction: str = "norm",
        weights: Any = None,
        seed: int = 0,
        name: str = "classifier",
        **options: Any,
    ):
        super().__init__(name=name, **options)
        self.classes, self.network, self.size, self.width, self.pool = tuple(classes), network, size, width, pool
        self.beta, self.at_reduction, self.seed = beta_of(beta, at_reduction), at_reduction, seed
        self.__dict__["teacher"] = spec.build(teacher)  # not tracked: neither trained nor saved here
        self.trunk = build_trunk(network, size=size, width=width, pool=pool, weights=weights, seed=seed)
        self.head = keras.layers.Dense(len(self.classes), dtype="float32", name="logits")
        self.head.build((None, self.trunk.outputs[-1].shape[-1]))
        self.built = True
        self.track("classifier_loss", "classification_loss", *["attention_loss"] * self.taught, "accuracy")

    channels = 3
    face_size = property(lambda self: (self.size, self.size))
    """(H, W) of a face, which is in colour: for `export.settings`."""

    @property
    def taught(self) -> bool:
        """Whether there is a teacher."""
        return self.teacher is not None

    def player_variables(self) -> list[tuple[str, list[tf.Variable]]]:
        """One player moves everything."""
        return [("classifier", self.trainable_variables)]

    def preprocess(self, images: tf.Tensor) -> tf.Tensor:
        """(N, H, W, 1|3) float32 in [0, 1] -> what the network takes, see `backbones.preprocess`."""
        return preprocess(images, self.network, self.width, self.pool)

    def maps_and_logits(self, images: tf.Tensor, training: bool = False) -> tuple[list[tf.Tensor], tf.Tensor]:
        """(N, H, W, 1|3) float32 in [0, 1] -> (maps of the stages, (N, h, w, C) each; logits (N, K) float32)."""
        _, *maps, features = self.trunk(self.preprocess(images), training=training)
        return maps, self.head(features)

    def first_maps(self, images: tf.Tensor) -> tf.Tensor:
        """Of the first convolution, section 4.2: (N, H, W, 1|3) in [0, 1] -> (N, h, w, C) float32."""
        return tf.cast(self.trunk(self.preprocess(images), training=False)[0], tf.float32)

    def features(self, images: tf.Tensor) -> tf.Tensor:
        """What the softmax sees: (N, H, W, 1|3) float32 in [0, 1] -> (N, F) float32."""
        return self.trunk(self.preprocess(images), training=False)[-1]

    def classify(self, images: tf.Tensor) -> tf.Tensor:
        """(N, H, W, 1|3) float32 in [0, 1] -> (N, K) float32 probabilities."""
        return tf.nn.softmax(self.maps_and_logits(images)[1])

    def losses(self, batch: Batch, training: bool = True) -> tuple[dict[str, Terms], Terms]:
        """The terms of eq. (3), with a teacher those of eq. (10), and accuracy, on a batch with image and label."""
        maps, logits = self.maps_and_logits(batch["image"], training)
        terms = {"classification_loss": cross_entropy(logits, batch["label"], batch.get("weight"))}
        if self.taught:
            teacher = [tf.stop_gradient(m) for m in self.teacher.maps_and_logits(batch["image"])[0]]
            terms["attention_loss"] = 0.5 * self.beta * attention_loss(teacher, maps, self.at_reduction)
        return {"classifier": terms}, {"accuracy": accuracy(logits, batch["label"])}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("name", "classes", "network", "size", "width", "pool", "beta", "at_reduction", "seed")
        return {n: getattr(self, n) for n in names} | {"teacher": spec.describe(self.teacher)}


@keras.utils.register_keras_serializable("fer_tf")
class CycleAT(PlayersModel):
    """Two generators, two discriminators, and in stage II f_W. Eq. (4) to (9), section 3.2.

    A batch has image (x_s), label (y_s) and auxiliary (x_w), which nothing pairs with the image. `classes` are f_S's,
    none without it.

    Args:
      source_net: f_S, an `AttentionClassifier`; f_W is built alike. Neither trained nor saved with this model; None
        where there is no f_W.
      stage: 1 without f_W, 2 with it.
      filters, blocks: of the generators.
      discriminator_filters: of the discriminators; `filters` when left out.
      discriminator_layers, upsampling: of the discriminators and of the generators, see `cycle_gan`.
      size: pixels a side, for the pool alone.
      lambda_cycle: weight of eq. (6).
      lambda_identity: weight of [67]'s identity loss, 5 there; 0, as in the paper, for no such term.
      beta, at_reduction: of eq. (7); see `attention_loss`.
      attention_updates_generator: whether the attention term of eq. (7) moves G_SW, too.
      batch_statistics: whether f_W's norms use the batch's statistics; their moving ones else.
      gan_loss: "log" as printed, or "least_squares".
      pool: pictures in each D's pool of past fakes; 0 for none, 50 in CycleGAN.
      seed: of the pools.
    Raises:
      ValueError: an unknown stage, gan_loss or at_reduction, or stage 2 without f_S.
    """

    def __init__(
        self,
        *,
        source_net: Any = None,
        stage: int = 2,
        filters: int = 64,
        blocks: int = 9,
        discriminator_filters: int | None = None,
        discriminator_layers: int = 3,
        upsampling: str = "transposed",
        size: int = 256,
        lambda_cycle: float = 1.0,
        lambda_identity: float = 0.0,
        beta: float | None = None,
        at_reduction: str = "norm",
        attention_updates_generator: bool = True,
        batch_statistics: bool = False,
        gan_loss: str = "log",
        pool: int = 0,
        seed: int = 0,
        name: str = "cycle_at",
        **options: Any,
    ):
        super().__init__(name=name, **options)
        if stage not in (1, 2) or gan_loss not in GAN_LOSSES:
            raise ValueError(f"stage is 1 or 2 and gan_loss {' or '.join(GAN_LOSSES)}: not {stage} and {gan_loss!r}.")
        if stage == 2 and source_net is None:
            raise ValueError("In stage II f_W follows f_S: give source_net, or stage=1.")
        self.__dict__["source_net"] = f_s = spec.build(source_net)  # not tracked: neither trained nor saved here
        self.classes = () if f_s is None else f_s.classes
        self.stage, self.filters, self.blocks, self.size, self.seed = stage, filters, blocks, size, seed
        self.lambda_cycle, self.beta, self.at_reduction = lambda_cycle, beta_of(beta, at_reduction), at_reduction
        self.attention_updates_generator, self.batch_statistics = attention_updates_generator, batch_statistics
        self.gan_loss, self.pool = gan_loss, pool
        self.discriminator_filters, self.discriminator_layers = discriminator_filters or filters, discriminator_layers
        self.upsampling, self.lambda_identity = upsampling, lambda_identity
        generator: dict[str, Any] = {"filters": filters, "blocks": blocks, "upsampling": upsampling}
        discriminator: dict[str, Any] = {"filters": self.discriminator_filters, "layers": discriminator_layers}
        self.g_sw, self.g_ws = (build_generator(**generator, name=n) for n in ("g_sw", "g_ws"))
        self.d_w, self.d_s = (build_discriminator(**discriminator, name=n) for n in ("d_w", "d_s"))
        if stage == 2:
            self.f_w = AttentionClassifier(**{**f_s.get_config(), "teacher": None, "name": "f_w"})
            self.f_w.set_weights(f_s.get_weights())
        self.pools = [ImagePool((size, size, 3), pool, seed + i, name=f"pool_{i}") for i in range(2 * bool(pool))]
        for layer in self.pools:
            layer.build(())
        self.built = True
        logged = [name for name, _ in self.player_variables()]
        logged += ["real_w", "fake_w", "real_s", "fake_s", "adversarial_sw", "adversarial_ws", "cycle"]
        logged += ["identity"] * (lambda_identity > 0)
        logged += ["classification", "attention"] * (stage == 2)
        self.track(*(f"{n}_loss" for n in logged), *["accuracy"] * (stage == 2))

    def player_variables(self) -> list[tuple[str, list[tf.Variable]]]:
        """D_W and D_S; then G_SW and G_WS; then f_W, in stage II."""
        nets = {"discriminators": [self.d_w, self.d_s], "generators": [self.g_sw, self.g_ws]}
        nets |= {"classifier": [self.f_w]} if self.stage == 2 else {}
        return [(name, [v for net in pair for v in net.trainable_variables]) for name, pair in nets.items()]

    def translate(self, images: tf.Tensor) -> tf.Tensor:
        """G_SW: (N, H, W, 1|3) float32 in [0, 1] -> faces in the wild, (N, H, W, 3) float32 in [0, 1]."""
        return (self.g_sw(scaled(images), training=False) + 1.0) / 2.0

    def back(self, images: tf.Tensor) -> tf.Tensor:
        """G_WS: likewise, to the laboratory."""
        return (self.g_ws(scaled(images), training=False) + 1.0) / 2.0

    def infer(self, images: tf.Tensor) -> tf.Tensor:
        """The same faces in the wild, as `translate` gives them."""
        return self.translate(images)

    def adversarial_loss(self, logits: tf.Tensor, real: bool) -> tf.Tensor:
        """-log D or -log(1 - D) of eq. (4), (5), or their least squares; the mean over patches: a scalar float32."""
        return log_loss(logits, real) if self.gan_loss == "log" else l2_loss(logits, float(real))

    def losses(self, batch: Batch, training: bool = True) -> tuple[dict[str, Terms], Terms]:
        """Every player's terms of eq. (9), and f_W's accuracy in stage II, on a batch with image and auxiliary."""
        x_s, x_w = scaled(batch["image"]), scaled(batch["auxiliary"])
        to_w, to_s = self.g_sw(x_s, training=training), self.g_ws(x_w, training=training)
        again_s, again_w = self.g_ws(to_w, training=training), self.g_sw(to_s, training=training)
        real_w, real_s = self.d_w(x_w, training=training), self.d_s(x_s, training=training)
        fake_w, fake_s = self.d_w(to_w, training=training), self.d_s(to_s, training=training)
        pooled_w, pooled_s = fake_w, fake_s
        if self.pools and training:
            shown_w, shown_s = (pool(fake) for pool, fake in zip(self.pools, (to_w, to_s), strict=True))
            pooled_w, pooled_s = self.d_w(shown_w, training=True), self.d_s(shown_s, training=True)
        cycle = l1_loss(again_s, x_s) + l1_loss(again_w, x_w)
        discriminators = {  # eq. (4) and (5), which they maximise: their negative
            "real_w_loss": self.adversarial_loss(real_w, True),
            "fake_w_loss": self.adversarial_loss(pooled_w, False),
            "real_s_loss": self.adversarial_loss(real_s, True),
            "fake_s_loss": self.adversarial_loss(pooled_s, False),
        }
        generators = {
            "adversarial_sw_loss": self.adversarial_loss(fake_w, True),  # eq. (4)
            "adversarial_ws_loss": self.adversarial_loss(fake_s, True),  # eq. (5)
            "cycle_loss": self.lambda_cycle * cycle,  # eq. (6)
        }
        if self.lambda_identity:
            same = l1_loss(self.g_sw(x_w, training=training), x_w) + l1_loss(self.g_ws(x_s, training=training), x_s)
            generators["identity_loss"] = self.lambda_identity * same
        if self.stage == 1:
            return {"discriminators": discriminators, "generators": generators}, {}
        classifier, measures = self.classifier_losses(batch, (to_w + 1.0) / 2.0, training)
        moves = ("classification_loss", *["attention_loss"] * self.attention_updates_generator)
        generators |= {name: classifier[name] for name in moves}  # eq. (9)
        return {"discriminators": discriminators, "generators": generators, "classifier": classifier}, measures

    def classifier_losses(self, batch: Batch, to_w: tf.Tensor, training: bool) -> tuple[Terms, Terms]:
        """Both terms of eq. (7) on G_SW(x_s) in [0, 1], and f_W's accuracy there."""
        maps, logits = self.f_w.maps_and_logits(to_w, training=training and self.batch_statistics)
        f_s = [tf.stop_gradient(m) for m in self.source_net.maps_and_logits(batch["image"])[0]]
        terms = {
            "classification_loss": cross_entropy(logits, batch["label"]),
            "attention_loss": 0.5 * self.beta * attention_loss(f_s, maps, self.at_reduction),
        }
        return terms, {"accuracy": accuracy(logits, batch["label"])}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ["name", "stage", "filters", "blocks", "size", "lambda_cycle", "beta", "at_reduction", "gan_loss"]
        names += ["discriminator_filters", "discriminator_layers", "upsampling", "lambda_identity"]
        names += ["attention_updates_generator", "batch_statistics", "pool", "seed"]
        return {n: getattr(self, n) for n in names} | {"source_net": spec.describe(self.source_net)}


def scaled(images: tf.Tensor) -> tf.Tensor:
    """(N, H, W, 1|3) in [0, 1] -> (N, H, W, 3) float32 in [-1, 1], what generators and discriminators see."""
    images = tf.cast(images, tf.float32)
    return 2.0 * (tf.repeat(images, 3, -1) if images.shape[-1] == 1 else images) - 1.0


def optimizer(rate: Any = 2e-4) -> Any:
    """What moves each player: Adam of section 4.2, beta1 0.5."""
    return Adam(rate, beta_1=0.5)


def full() -> CycleAT:
    """The paper's size, for the benchmark."""
    return CycleAT(source_net=AttentionClassifier(network="resnet50"))


def full_recogniser() -> AttentionClassifier:
    """f_T of the paper's size, likewise."""
    return AttentionClassifier()


def tiny_classifier(**options: Any) -> AttentionClassifier:
    """A small classifier for tests."""
    return AttentionClassifier(**{"network": "resnet10", "width": 1 / 16, "pool": False, "seed": 0, **options})


def tiny() -> tuple[CycleAT, dict[str, tf.Tensor]]:
    """A small model and a batch for the contract tests."""
    model = CycleAT(source_net=tiny_classifier(classes=CLASSES["six"]), filters=4, blocks=1, size=32)
    images = [tf.random.stateless_uniform((6, 32, 32, 1), (1, s)) for s in (2, 3)]
    return model, {"image": images[0], "auxiliary": images[1], "label": tf.range(6), "index": tf.range(6)}


def tiny_recogniser() -> tuple[AttentionClassifier, dict[str, tf.Tensor]]:
    """A small f_T with its teacher, and a batch, for the contract tests."""
    teacher = tiny_classifier(classes=CLASSES["six"], name="teacher")
    return tiny_classifier(classes=CLASSES["six"], teacher=teacher), tiny()[1]
