"""IA-gen's conditional GANs, one an expression: trained on a fold's people, put together, and released."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import export, pipeline, records, weights
from fer_tf.models import ia_gen

from ...run import classifier, cross, data, fitting, provenance, releasing
from ...run.settings import setting
from . import pictures

ARGUMENTS = (
    "alpha", "beta", "lambda_", "content", "phi_pooling", "phi_scale", "lambda_consistency", "lambda_feat",
    "normal_norms",
)  # fmt: skip
"""Settings that `ia_gen.ExpressionGAN` takes under the same names."""


@dataclass(frozen=True, kw_only=True)
class GANs(classifier.Classifier, cross.Cross):
    """What the GANs may be told, besides what FER-Net may."""

    gan_width: float = setting(1.0, "Times the printed channels of generator and discriminator.", low=0.01)
    gan_epochs: int = setting(20, "Passes over the pairs; the paper does not say.", low=1)
    gan_views: int = setting(0, "Random views a pair and epoch; 0 for all 110.", low=0)
    gan_batch_size: int = setting(100, "Pairs a batch.", low=1)
    gan_rate: float = setting(2e-4, "Learning rate of Adam (beta1 0.5) for both players.")
    gan_decay: float = setting(0.0, "Share of the steps, the last ones, in which it falls to zero.", low=0, high=1)
    alpha: float = setting(100.0, "Weight of the content loss, eq. (6).")
    beta: float = setting(10.0, "Weight of the perceptual loss, eq. (6).")
    lambda_: float = setting(1.0, "Weight of the generator's loss, eq. (7); Adam hardly feels it.")
    content: str = setting("l1", "Content loss.", choices=("l1", "mse"))
    phi_pooling: int = setting(2, "phi of eq. (5): the convolution before this pooling of the classifier.")
    phi_scale: float = setting(
        1.0, "What phi is multiplied by; 0: so that eq. (5) weighs as much as eq. (4) for a face left as it is.", low=0
    )
    lambda_consistency: float = setting(
        0.0, "Weight of a term that is not in the paper: two faces of one person are redrawn alike in Feat.", low=0
    )
    lambda_feat: float = setting(
        0.0, "Weight of a term that is not in the paper: redrawn faces are like the target in Feat, as in phi.", low=0
    )
    normal_norms: bool = setting(False, "Norms' scales start from N(1, 0.02), as all other weights do from N(0, 0.02).")
    temperature: float = setting(1.0, "Divides the distances in the recogniser's softmax.", low=1e-3, free=True)
    inputs: tuple[str, ...] = setting((), "Expressions that serve as inputs besides --classes, such as neutral.")
    only_inputs: bool = setting(False, "The GANs learn to redraw faces of --inputs alone, such as neutral ones.")
    expressions: tuple[str, ...] = setting(
        (), "Train the GANs of these expressions only; all of --classes when empty.", free=True
    )
    gan_init: str | None = setting(
        None,
        "Folder with gan_<expression>.h5 of an --all_subjects run to start from; or a recogniser's weights, for G.",
        place="path",
    )
    gans_of: str = setting(
        "all", "Whose pairs the GANs learn from: all people's, or, with --train_on, --dataset's alone (own).",
        choices=("all", "own"),
    )  # fmt: skip
    all_subjects: bool = setting(False, "Train on everybody, test nobody: weights to release or to start from.")


def start(settings: GANs, expression: str) -> Path | None:
    """The weights of --gan_init for one expression; None where it has none, as BU-4DFE's has none for contempt."""
    if settings.gan_init and not Path(settings.gan_init).is_dir() and (file := recogniser(settings.gan_init)):
        return file if expression in (weights.provenance(file).get("classes") or ()) else None
    path = Path(settings.gan_init or "") / f"gan_{expression}.h5"
    return path if settings.gan_init and path.is_file() else None


def recogniser(name: str) -> Path | None:
    """The weights file of an IA-gen that a file or a name in weights/ is; None for others."""
    with contextlib.suppress(FileNotFoundError):
        file = provenance.weights_file(name)
        if file and weights.is_ours(file) and weights.provenance(file).get("model") == "ia_gen.IAGen":
            return file
    return None


def begin(model: ia_gen.ExpressionGAN, file: Path) -> None:
    """Loads what `start` has found: both players, or of a recogniser the generator alone.

    Raises:
      ValueError: the generators are of another width.
    """
    if recogniser(str(file)) is None:
        weights.load(model, file)
        return
    known = export.rebuild(file)
    if known.width != model.width:
        raise ValueError(
            f"--gan_init={file} has generators of --gan_width={known.width:g}, and {model.width:g} is asked for."
        )
    given = known.generators[known.classes.index(model.expression)]
    model.generator.set_weights(given.get_weights())


def data_behind(settings: GANs, classes: Sequence[str]) -> list[str]:
    """The data sets behind --gan_init and --init, before anything is trained; says which GANs start from nothing.

    Raises:
      FileNotFoundError: --gan_init has no weights of any of the expressions.
      ValueError: some have seen the data set that is to be tested on, or do not say what they have seen.
    """
    starts = {c: start(settings, c) for c in classes} if settings.gan_init else {}
    files = [file for file in starts.values() if file]
    if starts and not files:
        raise FileNotFoundError(
            f"--gan_init={settings.gan_init} has no gan_{classes[0]}.h5: make it with --all_subjects."
        )
    for file in files:
        if not weights.provenance(file).get("datasets"):
            raise ValueError(f"{file} does not say what it was trained on: make it with --all_subjects.")
    if absent := [c for c, file in starts.items() if not file]:
        print(f"--gan_init has nothing for {', '.join(absent)}: these GANs start from nothing.", file=sys.stderr)
    tested = None if settings.all_subjects else settings.tested_name
    given = [(file, "gan_init") for file in files]
    given += [(file, "init") for file in classifier.start(settings) if file]
    return sorted({name for file, flag in given for name in provenance.refuse_tested_people(file, flag, tested)})


def cut_faces(people: list[records.Record], strict: bool) -> list[records.Record]:
    """The records with their faces cut, once for all GANs.

    Args:
      people: to train on.
      strict: False names and leaves out those whose face cannot be cut.
    Raises:
      ValueError: one cannot be cut, and `strict`.
    """
    if strict:
        return pipeline.with_faces(people, ia_gen.TEMPLATE)
    kept = []
    for record in people:
        try:
            kept += pipeline.with_faces([record], ia_gen.TEMPLATE)
        except ValueError as error:
            print(f"left out: {error}", file=sys.stderr)
    return kept


def build(settings: GANs, expression: str, net: Any, steps: int, seed: int) -> ia_gen.ExpressionGAN:
    """The compiled GAN of an expression, which is to be trained for so many steps; from --gan_init where it has one.

    Args:
      settings: of the run.
      expression: its target.
      net: gives phi.
      steps: of the training, which --gan_decay needs.
      seed: of the dropout masks.
    """
    given = {name: getattr(settings, name) for name in ARGUMENTS}
    given["phi_scale"] = given["phi_scale"] or 1.0
    model = ia_gen.ExpressionGAN(expression=expression, feature_net=net, width=settings.gan_width, seed=seed, **given)
    if file := start(settings, expression):
        begin(model, file)
    rate = {"rate": settings.gan_rate, "steps": steps, "decay": settings.gan_decay}
    model.compile(**{f"{name}_optimizer": ia_gen.optimizer(**rate) for name in model.players()})
    return model


def second_inputs(people: Sequence[records.Record], image: Sequence[int], seed: int) -> list[int]:
    """For each input another one of the person, for `lambda_consistency`: of another expression, where there is one.

    Args:
      people: the records.
      image: places of the inputs.
      seed: of the draws.
    Returns:
      Places in `people`; the input's own where the person has no other face.
    """
    own: dict[str | None, list[int]] = {}
    for i, record in enumerate(people):
        own.setdefault(record.subject, []).append(i)
    rng, drawn = np.random.default_rng(seed), []
    for i in image:
        near = [j for j in own[people[i].subject] if j != i] or [i]
        far = [j for j in near if people[j].expression != people[i].expression] or near
        drawn.append(far[rng.integers(len(far))])
    return drawn


def start_phi_scale(model: ia_gen.ExpressionGAN, learn: pipeline.Batches, batches: int = 4) -> float:
    """What phi has to be multiplied by for eq. (5) to weigh as much as eq. (4), were every face left as it is.

    Args:
      model: whose phi is multiplied by one.
      learn: to train on.
      batches: of the first epoch.
    Returns:
      A positive number; 1 where beta or eq. (5) is 0.
    """
    content, perceptual = 0.0, 0.0
    for batch in itertools.islice(learn.epoch(0), batches):
        image, target = (ia_gen.grey(batch[name]) for name in ("image", "target"))
        content += float(model.alpha * model.content_loss(image, target))
        perceptual += float(model.beta * model.perceptual_loss(image, target))
    return (content / perceptual) ** 0.5 if content > 0 and perceptual > 0 else 1.0


def train(
    settings: GANs, expression: str, people: list[records.Record], net: Any, seed: int, folder: Path
) -> ia_gen.ExpressionGAN:
    """The conditional GAN of one expression on these people's pairs; `folder` is its own."""
    strategy = fitting.setup(settings, seed)
    pairs, left_out = records.expression_pairs(people, expression)
    if left_out:
        print(f"{expression}: {len(left_out)} people without it are left out: {', '.join(left_out)}", file=sys.stderr)
    if settings.only_inputs:
        kept = [people[i].expression in settings.inputs for i in pairs["image"]]
        pairs = {name: [i for i, keep in zip(column, kept, strict=True) if keep] for name, column in pairs.items()}
        if not pairs["image"]:
            where = f"--inputs={','.join(settings.inputs)}"
            raise ValueError(f"--only_inputs: nobody who shows {expression} has a face of {where}: give neutral, say.")
    if settings.lambda_consistency:
        pairs["other"] = second_inputs(people, pairs["image"], seed)
    views = {"pairs": pairs, "batch_size": settings.gan_batch_size, "views_per_image": settings.gan_views or None}
    learn = data.batches(settings, people, records.EXPRESSIONS, ia_gen, seed, True, **views)
    steps = min(settings.gan_epochs * len(learn), settings.max_steps or sys.maxsize)
    with strategy.scope():
        model = build(settings, expression, net, steps, seed)
    if not settings.phi_scale:
        model.phi_scale = start_phi_scale(model, learn)
        print(f"{folder}: phi is multiplied by {model.phi_scale:.3g}", flush=True)
    shown = next(iter(learn.epoch(0)))
    fitting.fit(
        settings,
        model,
        learn,
        folder,
        strategy,
        epochs=settings.gan_epochs,
        follows={settings.classifier_name: net},
        after_epoch=lambda m, epoch: pictures.draw_samples(m, shown, folder / "samples" / f"epoch{epoch:03d}.png"),
    )
    return model


def assemble(settings: GANs, gans: Mapping[str, Any], net: Any, classes: tuple[str, ...]) -> ia_gen.IAGen:
    """FER-Net and the K generators in one model; generator k has the weights of the k-th expression's."""
    model = ia_gen.IAGen(feature_net=net, classes=classes, width=settings.gan_width, temperature=settings.temperature)
    for generator, expression in zip(model.generators, classes, strict=True):
        generator.set_weights(gans[expression].generator.get_weights())
    return model


def release(
    settings: GANs, gans: Mapping[str, Any], net: Any, classes: tuple[str, ...], behind: Sequence[str], folder: Path
) -> ia_gen.IAGen | None:
    """Writes each GAN's weights and, once all are there, the recogniser's (half precision), with their provenance.

    Args:
      settings: of the run.
      gans: by expression.
      net: FER-Net.
      classes: names of the K classes.
      behind: data sets that the start was trained on.
      folder: where the files go.
    Returns:
      The recogniser, or None where a GAN is missing.
    """
    names = settings.learnt_from
    about = {"data": f"{', '.join(names)}, all subjects", "datasets": [*names, *behind]}
    for expression, gan in gans.items():
        origin = provenance.of_weights(settings, "ia_gen", **about, expression=expression)
        weights.save(gan, folder / f"gan_{expression}.h5", provenance=origin)
    if set(gans) != {*classes}:
        print(f"gan_*.h5 of {', '.join(gans)} are in {folder}; ia_gen.h5 waits for the others.")
        return None
    model = assemble(settings, gans, net, classes)
    releasing.write(settings, model, folder / "ia_gen.h5", **about)
    print(f"Weights of all parts are in {folder}: ia_gen.h5 for the recogniser, gan_*.h5 for --gan_init.")
    return model
