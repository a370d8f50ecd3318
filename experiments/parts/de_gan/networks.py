"""DE-GAN's networks as the settings say: the GAN of stage one, the classifiers of stage two, baseline and judges."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import evaluation, figures, pipeline, records, weights
from fer_tf.compat import keras
from fer_tf.models import de_gan

from ...run import cross, data, fitting, provenance
from ...run.settings import Views, setting
from . import pictures

CONVERGED = "code:converged"
NAMES = {
    "both": "DE-GAN", "code": "DE-GAN, f(x) alone", CONVERGED: "DE-GAN, f(x) alone, softmax at convergence",
    "residues": "DE-GAN, residues alone",
}  # fmt: skip
"""Value of --uses -> its name in the table."""
BASELINES = {"strong": "CNN (baseline), strong", "printed": "CNN (baseline), as printed"}
"""Value of --baselines -> its name there."""

ARGUMENTS = ("width", "code", "noise", "own_share", "lambda_own", "lambda_identity", "ratio", "near")
"""Those of `de_gan.DEGAN` that are settings."""


@dataclass(frozen=True, kw_only=True)
class Networks(Views, cross.Cross):
    """The arguments of `de_gan.DEGAN`, rates, epochs, and where the training starts from."""

    batch_size: int = 150
    fold_order: str = "strided"
    gan_epochs: int = setting(300, "Epochs of stage one; --epochs are those of stage two and the baseline.", low=1)
    gan_rate: float = setting(1e-4, "Learning rate of Adam (beta1 0.5) in stage one.")
    rate: float = setting(1e-4, "In stage two, and of the baselines.")
    decay_to: float = setting(
        1.0, "What that falls to by stage two's last step, as a share (cosine); 1 keeps it.", low=0, high=1
    )
    width: float = setting(1.0, "Times the read channels.", low=0.01)
    code: int = setting(de_gan.CODE, "Length of f(x).", low=1)
    noise: int = setting(de_gan.NOISE, "Length of z.", low=1)
    own_share: float = setting(0.0, "Share of fakes that keep their own identity.", low=0, high=1)
    lambda_own: float = setting(0.0, "Weight of those fakes' L1 distance to their source; 0 in the paper.", low=0)
    lambda_identity: float = setting(
        0.0, "Weight by which f(x) hides who is seen from a classifier of people; 0 in the paper.", low=0
    )
    identity_rate: float = setting(1e-2, "Learning rate of that classifier's Adam.", low=0)
    ratio: int = setting(4, "Steps of G for one of D, once D is near its optimum.", low=1)
    near: float = setting(0.9, "D's accuracy on real faces, on both heads, from which it is.", low=0, high=1)
    baselines: tuple[str, ...] = setting(
        tuple(BASELINES), "strong: starts from --baseline_init, its rate falls to 0; printed: from nothing, constant."
    )
    baseline_epochs: int | None = setting(None, "Of the baselines; --gan_epochs + --epochs when left out.", low=1)
    baseline_init: str = setting(
        "none", "A de_gan_baseline.h5 of an --all_subjects run for the strong baseline, or none.", place="path"
    )
    gan_init: str = setting(
        "none", "A de_gan.h5 of an --all_subjects run to start stage one from, or none.", place="path"
    )
    teacher: str = setting(
        "none", "A de_gan_baseline.h5 of an --all_subjects run whose layers D starts from; none in the paper.",
        place="path",
    )  # fmt: skip


def build_gan(settings: Networks, classes: tuple[str, ...], subjects: Sequence[str], seed: int) -> de_gan.DEGAN:
    """Stage one between these people, compiled.

    Of --gan_init's GAN it keeps all that does not name its people; D then starts from --teacher, if any.
    """
    given = {name: getattr(settings, name) for name in ARGUMENTS}
    model = de_gan.DEGAN(classes=classes, subjects=subjects, seed=seed, **given)
    if file := provenance.weights_file(settings.gan_init):
        about, skip = weights.provenance(file), ["decoder/identity", "discriminator/identity", "pace_of_d"]
        if settings.lambda_identity or (about.get("config") or {}).get("lambda_identity"):
            skip.append("identifier")
        same = tuple(about.get("classes") or ()) == classes
        weights.load(model, file, skip=skip if same else [*skip, "discriminator/expression"])
    if file := provenance.weights_file(settings.teacher):
        teach(model.discriminator, file, classes, settings)
    rates = dict.fromkeys(model.players(), settings.gan_rate)
    rates |= {"identifier": settings.identity_rate} if settings.lambda_identity else {}
    model.compile(**{f"{name}_optimizer": de_gan.optimizer(rate) for name, rate in rates.items()})
    return model


def teach(discriminator: Any, file: Path, classes: tuple[str, ...], settings: Networks) -> None:
    """Gives D the convolutions of a trained CNN of its shape, and the head of the expressions where these are its own.

    What says fake, and who is who, D has to learn by itself.
    """
    own = tuple(weights.provenance(file).get("classes") or ())
    cnn = de_gan.EncoderCNN(classes=own or classes, width=settings.width, code=settings.code)
    weights.load(cnn, file, skip=() if own else "logits")
    for layer in cnn.trunk.layers:
        discriminator.get_layer(layer.name).set_weights(layer.get_weights())
    if own == classes:
        head = discriminator.get_layer("expression")
        given = zip(head.get_weights(), cnn.head.get_weights(), strict=True)
        head.set_weights([np.concatenate([new, old[..., len(classes) :]], -1) for old, new in given])


def train_gan(
    settings: Networks, learn: pipeline.Batches, classes: tuple[str, ...], seed: int, folder: Path
) -> de_gan.DEGAN:
    """Trains stage one on these people's views; draws what it makes of them after each epoch."""
    strategy, people = fitting.setup(settings, seed), data.usable(learn)
    with strategy.scope():
        model = build_gan(settings, classes, learn.subjects, seed)

    def sample(m: de_gan.DEGAN, epoch: int) -> None:
        figures.save(pictures.draw_transfer(m, people, people), folder / "samples" / f"epoch{epoch:03d}.png")

    fitting.fit(settings, model, learn, folder, strategy, epochs=settings.gan_epochs, after_epoch=sample)
    return model


def optimizer(settings: Networks, learn: pipeline.Batches, epochs: int, last: float | None = None) -> Any:
    """Adam at --rate, which falls to `last` of it, --decay_to when left out, over so many epochs."""
    steps = min(epochs * len(learn), settings.max_steps or sys.maxsize)
    last = settings.decay_to if last is None else last
    return de_gan.optimizer(keras.optimizers.schedules.CosineDecay(settings.rate, steps, alpha=last))


def build_classifier(
    settings: Networks, gan: de_gan.DEGAN, uses: str, learn: pipeline.Batches
) -> de_gan.DEGANClassifier:
    """Stage two on a trained GAN's encoder, to be trained on these views."""
    model = de_gan.DEGANClassifier(classes=gan.classes, uses=uses, width=settings.width, code=settings.code)
    model.encoder.set_weights(gan.encoder.get_weights())
    model.compile(classifier_optimizer=optimizer(settings, learn, settings.epochs))
    return model


def build_cnn(
    settings: Networks,
    classes: tuple[str, ...],
    seed: int,
    learn: pipeline.Batches,
    epochs: int,
    init: str = "none",
    last: float | None = None,
) -> de_gan.EncoderCNN:
    """A baseline, or a judge, to be trained on these views for so many epochs; see `optimizer` for `last`."""
    model = de_gan.EncoderCNN(classes=classes, width=settings.width, code=settings.code, seed=seed)
    if file := provenance.weights_file(init):
        weights.load(model, file, skip="logits" if weights.provenance(file).get("classes") != list(classes) else ())
    model.compile(classifier_optimizer=optimizer(settings, learn, epochs, last))
    return model


def baseline_epochs(settings: Networks) -> int:
    """--baseline_epochs, or those of both stages together."""
    return settings.baseline_epochs or settings.gan_epochs + settings.epochs


def train_baseline(
    settings: Networks,
    which: str,
    classes: tuple[str, ...],
    seed: int,
    learn: pipeline.Batches,
    test: pipeline.Batches | None,
    folder: Path,
) -> evaluation.Outcome:
    """The CNN of the encoder's shape, trained as long as both stages together unless --baseline_epochs says else.

    "printed" starts from nothing at a constant rate, as section 4.1 has it; "strong" starts from --baseline_init, and
    its rate falls to 0 (cosine).
    """
    strategy, epochs = fitting.setup(settings, seed), baseline_epochs(settings)
    init, last = (settings.baseline_init, 0.0) if which == "strong" else ("none", 1.0)
    make = functools.partial(build_cnn, settings, classes, seed, learn, epochs, init, last)
    return fitting.fit_and_test(settings, make, learn, test, folder, strategy, epochs=epochs)


def train_classifier(
    settings: Networks,
    gan: de_gan.DEGAN,
    uses: str,
    seed: int,
    learn: pipeline.Batches,
    test: pipeline.Batches | None,
    folder: Path,
) -> evaluation.Outcome:
    """Stage two for one of --uses."""
    strategy = fitting.setup(settings, seed)
    make = functools.partial(build_classifier, settings, gan, uses, learn)
    return fitting.fit_and_test(settings, make, learn, test, folder, strategy, follows={"the GAN": gan.encoder})


def train_judge(
    settings: Networks, people: list[records.Record], classes: tuple[str, ...], seed: int, folder: Path
) -> de_gan.EncoderCNN:
    """A CNN of the encoder's shape, with weights of its own, that says what made faces show."""
    strategy = fitting.setup(settings, seed)
    learn = data.batches(settings, people, classes, de_gan, seed, True)
    make = functools.partial(build_cnn, settings, classes, seed, learn, settings.epochs)
    return fitting.fit_and_test(settings, make, learn, None, folder, strategy).model
