"""ED2L: distil the expression from a face in one branch, dispel it from another.

Bai, Jia, Xie, Shen: "Adversarial Feature Distillation for Facial Expression Recognition" (PRICAI 2019). Table 1:
`build_base`, `build_branch`. Eq. (1) to (6), sections 2.2 to 2.4: `ED2L`. Section 3.1: `views`, `optimizer`. Section
3.3: `experiments/pretrain_ed2l.py`. Tables 2 to 5 and Figs. 3 to 5 are made by `experiments/ed2l.py`.

**Readings**, where the paper is silent:

- 2.1, Table 1: a residual unit is x + PReLU(norm(conv(PReLU(norm(conv(x)))))), as in SphereFace's nets. Convolutions
  have no bias, since a norm follows each, and start from He's normal distribution.
- 2.1, PReLU: one slope a channel, 0.25 at first. Batch norm's momentum is 0.9, its epsilon 1e-3.
- Table 1, FC-256: linear, with a bias, on the flattened maps. The net has 9,905,543 parameters with seven classes.
- Table 1, fully connected layers: weights start uniform in +-1/sqrt(inputs), as in frameworks of the time. With Keras's
  own start the dispeller's logits start larger, and lambda_p = 10 drowns l_t for longer.
- Eq. (2): f_t and the columns of W have length one, as in the additive margin softmax that it is named after. W has no
  bias. There is no margin at test, where nobody knows the true class.
- Eq. (3), (5) and l_a: the mean over the batch.
- Eq. (5): as printed, the cross-entropy to the uniform distribution; the sentence above it says negative entropy.
- Eq. (5), whom it moves: the introduction says base, branch and dispeller, section 2.3 base and branch.
  `confusion_updates_dispeller` is True, the introduction's.
- Eq. (6): one optimizer moves all parts at once. l_a's gradient ends at the dispeller, as section 2.3 says. So the
  dispeller moves at the net's own small rate, and f_p hides from weights near their start (measured: a fresh linear
  probe reads as much from f_p as from f_t). `dispeller_steps` makes it a player of its own, as adversaries often are.
- 3.1, alignment: faces are framed as in FER-2013. Pixels are 2 x - 1.
- 3.1, weight decay: L2 in the gradient, on every trainable variable, as frameworks of the time had it:
  `weight_decay` here, a loss term. `optimizer(decoupled=...)` gives the other kind.
- 3.1, "initial learning rate": it stays there. A schedule is an argument of `optimizer`.
- 3.1, test: the centre patch, not mirrored.
- 3.3, "the same procedure was adopted": the baseline's pre-training has every setting of ED2L's.
- 3.3: classifier and dispeller are new after pre-training. FER-2013's 48x48 pictures are stretched to 128x110 as they
  are, so that pre-training sees faces 16 % narrower than the aligned ones.
- 3.5, Fig. 5: the down-sampling layer's maps are those after its PReLU.

**Deviations**, where something printed is changed:

- 3.1: faces are found by MTCNN where it is installed (`--preset=paper`; `--detector=mtcnn`), else by dlib.
- Eq. (6), `warm_up`: eq. (5)'s weight rises from 0 over the first steps, l_a's is whole, so that the dispeller has
  learnt something before it is fooled. 0 by default, as printed. Where the dispeller plays it gained 6 points on ten
  people who choose, and stayed 10 below the baseline (`experiments/RESULTS.md`).
- Eq. (5), `lambda_identity`: f_t is to hide who is shown, by l_a and l_p with the training people in the place of the
  expressions. 0 by default, as printed. At 1 it gained nothing there, and fresh probes read no less of who is shown
  than from the baseline.
- Eq. (5), in closed form: `beside.independent` takes from a network's answers what their mean over a person tells. A
  baseline that learns such names of 270 people without labels (`experiments.ed2l --labelled_people`) names 66.4 % of a
  hundred judges' faces, 55.9 untaught, 58.2 by self-training, 56.1 if they are dispelled of strangers (six seeds). The
  baseline's own answers teach as well as ED2L's (66.8), and people have to show all expressions about equally.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from fer_tf import augment
from fer_tf.compat import Adam, Batch, BatchNorm, PlayersModel, Step, Terms, keras, minimize
from fer_tf.layers import PReLU, logits_of, scaled, signed_grey
from fer_tf.losses import confusion_loss, cross_entropy, decay_loss
from fer_tf.records import CLASSES
from fer_tf.softmax import accuracy

TEMPLATE = "ed2l"
"""The frame of a face for `faces.align`: 128x110."""

SIZE = (112, 96)
"""Height and width of a patch."""

STAGES = ((32, 1), (64, 2), (128, 4))
"""Table 1, base net: (channels, residual units) of Conv1 to Conv3, each entered with stride 2."""

BRANCH = (256, 1)
"""Table 1: channels and residual units of either branch."""

HIDDEN = 256
"""FC-256."""

views = augment.ed2l_patches
"""The ten patches of section 3.1: four corners and the centre, and their mirror images; the centre one at test."""


def conv(x: Any, channels: int, name: str, stride: int = 1) -> Any:
    """3x3 convolution, norm, PReLU: (N, H, W, C) -> (N, H/stride, W/stride, channels)."""
    options = {"use_bias": False, "kernel_initializer": "he_normal"}
    x = keras.layers.Conv2D(channels, 3, stride, "same", name=f"{name}_conv", **options)(x)
    x = BatchNorm(name=f"{name}_norm")(x)
    return PReLU(name=f"{name}_prelu")(x)


def dense(units: int, **options: Any) -> Any:
    """A fully connected layer whose weights start uniform in +-1/sqrt(inputs), so that f_p starts small."""
    start = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
    return keras.layers.Dense(units, kernel_initializer=start, **options)


def stage(x: Any, channels: int, units: int, name: str) -> list[Any]:
    """[3x3, channels]/2, then residual units of two convolutions: [down-sampled maps, maps after the units]."""
    down = x = conv(x, channels, f"{name}_down", 2)
    for i in range(1, units + 1):
        y = conv(conv(x, channels, f"{name}_unit{i}a"), channels, f"{name}_unit{i}b")
        x = keras.layers.Add(name=f"{name}_unit{i}_add")([x, y])
    return [down, x]


def build_base(*, width: float = 1.0, size: tuple[int, int] = SIZE, name: str = "base") -> Any:
    """S_theta of Table 1: (N, 112, 96, 1) in [-1, 1] -> (N, 14, 12, 128)."""
    inputs = x = keras.Input((*size, 1), name="face")
    for number, (channels, units) in enumerate(STAGES, 1):
        x = stage(x, scaled(channels, width), units, f"conv{number}")[1]
    return keras.Model(inputs, x, name=name)


def build_branch(*, width: float = 1.0, size: tuple[int, int] = SIZE, name: str = "distilling") -> Any:
    """B_theta_t or B_theta_p of Table 1: (N, 14, 12, 128) -> [down-sampled (N, 7, 6, 256), f (N, 256) float32]."""
    height, breadth = (-(-s // 8) for s in size)
    inputs = keras.Input((height, breadth, scaled(STAGES[-1][0], width)), name="maps")
    channels, units = BRANCH
    down, x = stage(inputs, scaled(channels, width), units, "branch")
    x = keras.layers.Flatten(name="flatten")(x)
    x = dense(scaled(HIDDEN, width), name="fc")(x)
    return keras.Model(inputs, [down, keras.layers.Activation("linear", dtype="float32", name="feature")(x)], name=name)


def am_softmax_logits(cosines: tf.Tensor, labels: tf.Tensor | None, margin: float, scale: float) -> tf.Tensor:
    """What eq. (2) exponentiates: s (cos - m) for the true class, s cos for the others.

    Args:
      cosines: (N, K) float32 in [-1, 1].
      labels: (N,) int, or None at test: no margin.
      margin, scale: m and s.
    Returns:
      (N, K) float32.
    """
    if labels is not None:
        cosines = cosines - margin * tf.one_hot(labels, cosines.shape[-1])
    return scale * cosines


@keras.utils.register_keras_serializable("fer_tf")
class WarmUp(keras.layers.Layer):
    """The share of a weight that rises linearly over training: 0 at the first step, 1 from step `steps` + 1 on.

    The step count is a variable of the layer: checkpoints hold it, `weights.save` leaves it out.

    Args:
      steps: over which it rises; 0 for 1 from the first.
    """

    def __init__(self, steps: int, **options: Any):
        super().__init__(**options)
        self.steps = steps

    def build(self, input_shape: Any) -> None:
        """Makes the step counter."""
        self.seed_step = self.add_weight(
            name="seed_step", shape=(), dtype="int64", initializer="zeros", trainable=False
        )
        self.built = True

    def share(self) -> tf.Tensor:
        """The share of this training step, scalar float32 in [0, 1]; counts the step."""
        step = tf.convert_to_tensor(self.seed_step)
        self.seed_step.assign(step + 1)
        return tf.minimum(tf.cast(step, tf.float32) / max(self.steps, 1), 1.0) if self.steps else tf.ones(())

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "steps": self.steps}


class Judge(NamedTuple):
    """A linear classifier that is a player of its own, and that the net fools.

    Attributes:
      layer: its weights.
      loss: name of its loss among the terms.
      seen: names of the features and of the answers from which it makes its further steps.
      factor: of its loss.
    """

    layer: Any
    loss: str
    seen: tuple[str, str]
    factor: float


@keras.utils.register_keras_serializable("fer_tf")
class ED2L(PlayersModel):
    """The two branches on one base net. Eq. (1) to (6), sections 2.1 to 2.4. Terms are logged without their weights.

    Args:
      classes: names of the K expressions.
      dispelling: False is the paper's baseline: the same net without its dispelling branch.
      margin, scale: m and s of eq. (2).
      lambda_t, lambda_p: the weights of eq. (6).
      confusion_updates_dispeller: whether l_p moves the dispeller's weights too; never, where it is a player.
      dispeller_steps: 0 as printed: one player moves all by eq. (6). k: the dispeller is a player of its own,
        "adversary", that descends l_a k times for each step of the others, on the same features.
      warm_up: steps over which eq. (5)'s weights rise linearly, from 0 at the first; 0, as printed, has them whole.
      lambda_identity: 0 as printed. Else who is shown is dispelled from f_t, as the expression is from f_p: a linear
        classifier of people is a player of its own, "identifier", with as many steps as the dispeller has and at least
        one, and its eq. (5) with this weight moves base and distilling branch. It sees f_t at length one, as eq. (2)
        does: a shorter f_t hides nobody. A training batch then has subject, (N,) int in 0 .. identities - 1.
      identities: people in training, with lambda_identity.
      weight_decay: of the L2 term, weight_decay / 2 * ||theta||^2 over every trainable variable.
      width: times the printed channels and FC units; 1.0 is the paper's.
      size: (h, w) of a patch.
    Raises:
      ValueError: lambda_identity with fewer than two people.
    """

    def __init__(
        self,
        *,
        classes: Sequence[str] = CLASSES["seven"],
        dispelling: bool = True,
        margin: float = 0.35,
        scale: float = 30.0,
        lambda_t: float = 1.0,
        lambda_p: float = 10.0,
        confusion_updates_dispeller: bool = True,
        dispeller_steps: int = 0,
        warm_up: int = 0,
        lambda_identity: float = 0.0,
        identities: int = 0,
        weight_decay: float = 5e-4,
        width: float = 1.0,
        size: Sequence[int] = SIZE,
        name: str = "ed2l",
        **options: Any,
    ):
        super().__init__(name=name, **options)
        if lambda_identity and identities < 2:
            raise ValueError(f"lambda_identity dispels who is shown: it needs two people or more, not {identities}.")
        height, breadth = size
        self.classes, self.dispelling, self.width, self.size = tuple(classes), dispelling, width, (height, breadth)
        self.margin, self.scale, self.lambda_t, self.lambda_p = margin, scale, lambda_t, lambda_p
        self.confusion_updates_dispeller, self.weight_decay = confusion_updates_dispeller, weight_decay
        self.dispeller_steps, self.warm_up = dispeller_steps, warm_up
        self.lambda_identity, self.identities = lambda_identity, identities
        self.base = build_base(width=width, size=self.size)
        self.distilling_branch = build_branch(width=width, size=self.size, name="distilling")
        count, hidden = len(self.classes), scaled(HIDDEN, width)
        self.classifier = dense(count, use_bias=False, dtype="float32", name="classifier")
        self.classifier.build((None, hidden))
        if dispelling:
            self.dispelling_branch = build_branch(width=width, size=self.size, name="dispelling")
            self.dispeller = dense(count, dtype="float32", name="dispeller")
            self.dispeller.build((None, hidden))
        if lambda_identity:
            self.identifier = dense(identities, dtype="float32", name="identifier")
            self.identifier.build((None, hidden))
        if warm_up:
            self.rise = WarmUp(warm_up, name="rise")
            self.rise.build(())
        self.built = True
        logged = ["classifier_loss", "distilling_loss", *["dispeller_loss", "confusion_loss"] * dispelling]
        logged += ["adversary_loss"] * self.plays
        logged += ["identifier_loss", "identity_loss", "identity_confusion_loss"] * bool(lambda_identity)
        accuracies = ["accuracy", *["dispeller_accuracy"] * dispelling, *["identity_accuracy"] * bool(lambda_identity)]
        self.track(*logged, "decay_loss", *accuracies)

    @property
    def plays(self) -> bool:
        """Whether the dispeller is a player of its own."""
        return self.dispelling and self.dispeller_steps > 0

    @property
    def judges(self) -> dict[str, Judge]:
        """The classifiers that are players of their own, by the player's name."""
        made = {}
        if self.plays:
            made["adversary"] = Judge(self.dispeller, "dispeller_loss", ("f_p", "label"), self.lambda_p)
        if self.lambda_identity:
            made["identifier"] = Judge(self.identifier, "identity_loss", ("f_t", "subject"), self.lambda_identity)
        return made

    def player_variables(self) -> list[tuple[str, list[tf.Variable]]]:
        """One player moves all that is no judge's; gradients say which loss reaches which part."""
        own = {name: judge.layer.trainable_variables for name, judge in self.judges.items()}
        taken = {id(v) for variables in own.values() for v in variables}
        return [*own.items(), ("classifier", [v for v in self.trainable_variables if id(v) not in taken])]

    def preprocess(self, images: tf.Tensor) -> tf.Tensor:
        """(N, H, W, 1|3) float32 in [0, 1] -> (N, H, W, 1) float32 in [-1, 1]."""
        return signed_grey(images)

    def branches(self, images: tf.Tensor, training: bool = False) -> dict[str, tuple[tf.Tensor, tf.Tensor]]:
        """Eq. (1) and (4): {"t": (down-sampled maps (N, 7, 6, 256), f_t (N, 256)), and "p" likewise if it is there}."""
        shared = self.base(self.preprocess(images), training=training)
        ends = {"t": tuple(self.distilling_branch(shared, training=training))}
        if self.dispelling:
            ends["p"] = tuple(self.dispelling_branch(shared, training=training))
        return ends

    def features(self, images: tf.Tensor) -> tf.Tensor:
        """f_t of eq. (1): (N, 112, 96, 1|3) float32 in [0, 1] -> (N, 256) float32."""
        return self.distilling_branch(self.base(self.preprocess(images), training=False), training=False)[1]

    def maps(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Both branches' down-sampling layers, for Fig. 5: {"t", "p": (N, 7, 6, 256) float32}."""
        return {name: tf.cast(down, tf.float32) for name, (down, _) in self.branches(images).items()}

    def cosines(self, features: tf.Tensor) -> tf.Tensor:
        """W_j^T f_t of eq. (2), both of length one: (N, 256) -> (N, K) float32 in [-1, 1]."""
        weights = tf.convert_to_tensor(self.classifier.kernel)
        return tf.matmul(tf.math.l2_normalize(features, -1), tf.math.l2_normalize(weights, 0))

    def classify(self, images: tf.Tensor) -> tf.Tensor:
        """y_t without the margin: (N, 112, 96, 1|3) float32 in [0, 1] -> (N, K) float32 probabilities."""
        return tf.nn.softmax(am_softmax_logits(self.cosines(self.features(images)), None, self.margin, self.scale))

    def dispeller_logits(self, features: tf.Tensor, *, frozen: bool = False) -> tf.Tensor:
        """W_p f_p + b_p of section 2.3: (N, 256) -> (N, K) float32; `frozen` keeps gradients from W_p and b_p."""
        return logits_of(self.dispeller, features, frozen=frozen)

    def losses(self, batch: Batch, training: bool = True) -> tuple[dict[str, Terms], Terms]:
        """The weighted terms of eq. (6) and the decay, on a batch with image and label; no margin but in training.

        Where a judge plays, its cross-entropy is its own, and what its further steps take is among the measures. Whom
        a test shows no training knows: the terms of `lambda_identity` are those of training.
        """
        labels, weight, ends = batch["label"], batch.get("weight"), self.branches(batch["image"], training)
        cosines = self.cosines(ends["t"][1])
        logits_t = am_softmax_logits(cosines, labels if training else None, self.margin, self.scale)  # eq. (2)
        terms = {"distilling_loss": cross_entropy(logits_t, labels, weight)}  # l_t, eq. (3)
        measures, seen = {"accuracy": accuracy(cosines, labels)}, {}
        if self.dispelling:
            f_p = ends["p"][1]
            seen["f_p"] = tf.stop_gradient(f_p)
            logits_p = self.dispeller_logits(seen["f_p"])  # l_a reaches the dispeller alone
            confused = self.dispeller_logits(f_p, frozen=self.plays or not self.confusion_updates_dispeller)
            terms["dispeller_loss"] = cross_entropy(logits_p, labels, weight)  # l_a, section 2.3
            terms["confusion_loss"] = confusion_loss(confused)  # l_p, eq. (5)
            measures["dispeller_accuracy"] = accuracy(logits_p, labels)
        if self.lambda_identity and training:
            f_t, who = tf.math.l2_normalize(ends["t"][1], -1), self.known(batch["subject"])
            seen["f_t"] = tf.stop_gradient(f_t)
            logits_i = logits_of(self.identifier, seen["f_t"])
            terms["identity_loss"] = cross_entropy(logits_i, who, weight)  # l_a, of people
            terms["identity_confusion_loss"] = confusion_loss(logits_of(self.identifier, f_t, frozen=True))  # l_p, too
            measures["identity_accuracy"] = accuracy(logits_i, who)
        if self.judges and self.dispeller_steps > 1 and training:
            answers = {name: batch[name] for name in ("label", "subject", "weight") if name in batch}
            measures |= seen | answers
        players = self.weighted(terms, self.rise.share() if self.warm_up and training else tf.ones(()))
        return players, {**terms, **measures}  # logged as they are

    def weighted(self, terms: Terms, share: tf.Tensor) -> dict[str, Terms]:
        """Player -> its terms times their weights of eq. (6), with the decay; `share` of that of eq. (5)'s."""
        lambda_p, lambda_i = self.lambda_p, self.lambda_identity
        factors = {"distilling_loss": self.lambda_t, "dispeller_loss": lambda_p, "confusion_loss": share * lambda_p}
        factors |= {"identity_loss": lambda_i, "identity_confusion_loss": share * lambda_i}
        own = {name: factors[name] * value for name, value in terms.items()}
        decay = {"decay_loss": decay_loss(self.trainable_variables, self.weight_decay)}
        players: dict[str, Terms] = {}
        for name, judge in self.judges.items():
            players[name] = {judge.loss: own.pop(judge.loss)} if judge.loss in own else {}
            players[name] |= decay
        return {**players, "classifier": own | decay}

    def known(self, subjects: tf.Tensor) -> tf.Tensor:
        """Numbers of people (N,) int, each of whom has to be one of the training's: 0 .. identities - 1."""
        there = tf.reduce_all((subjects >= 0) & (subjects < self.identities))
        about = ["lambda_identity wants to know who each training face shows, 0 ..", self.identities - 1, "was:"]
        tf.debugging.Assert(there, [*about, subjects], summarize=100)  # XLA leaves it out
        return subjects

    def train_step(self, data: Any) -> Terms:
        """A step of all players, then the judges' further ones."""
        if self.dispeller_steps < 2:
            return super().train_step(data)
        batch = self.as_batch(data)
        self.update_scores(batch)
        return self.move(self.gradients(batch))

    def move(self, step: Step) -> Terms:
        """The second half of a step: all players move, then each judge alone, on the same features, k - 1 times."""
        logs, seen, players = super().move(step), step.measures, self.players()
        for name, judge in self.judges.items():
            features, answers = (seen.get(column) for column in judge.seen)
            for _ in range(self.dispeller_steps - 1):
                with tf.GradientTape() as tape:
                    error = cross_entropy(logits_of(judge.layer, features), answers, seen.get("weight"))
                    loss = judge.factor * error + decay_loss(players[name].variables, self.weight_decay)
                minimize(players[name], loss, tape)
        return logs

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ["name", "classes", "dispelling", "margin", "scale", "lambda_t", "lambda_p"]
        names += ["confusion_updates_dispeller", "dispeller_steps", "warm_up", "lambda_identity", "identities"]
        return {n: getattr(self, n) for n in [*names, "weight_decay", "width", "size"]}


def optimizer(rate: Any = 1e-4, *, decoupled: float | None = None) -> Any:
    """Adam of section 3.1: betas 0.9 and 0.999, epsilon 1e-8.

    Args:
      rate: learning rate, or a schedule.
      decoupled: a weight decay beside the gradient (AdamW); give the model weight_decay=0 then.
    """
    return Adam(rate, beta_1=0.9, beta_2=0.999, epsilon=1e-8, weight_decay=decoupled)


def full() -> ED2L:
    """The paper's size, for the benchmark."""
    return ED2L()


def tiny() -> tuple[ED2L, dict[str, tf.Tensor]]:
    """A small model and a batch for the contract tests, whose plain SGD the printed lambda_p would throw off."""
    model = ED2L(width=1 / 16, classes=CLASSES["six"], lambda_p=0.1)
    image = tf.random.stateless_uniform((6, *SIZE, 1), (1, 2))
    return model, {"image": image, "label": tf.range(6), "index": tf.range(6)}
