"""What DE-GAN's made faces show and what its code holds: judges, and linear probes, on held-out people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import evaluation
from fer_tf.models import de_gan
from fer_tf.records import Record

from ...run import data
from ...run import probes as linear
from . import networks
from .pictures import centre_views

JUDGES = ("judge_of_expression", "judge_of_identity")
"""Folders of their trainings in that of the fold."""


def measure(
    settings: networks.Networks,
    gan: de_gan.DEGAN,
    baselines: Mapping[str, de_gan.EncoderCNN],
    classifiers: Mapping[str, de_gan.DEGANClassifier],
    people: list[Record],
    held_out: list[Record],
    seed: int,
    folder: Path,
) -> dict[str, Any]:
    """What the made faces show and what the features hold, on held-out people; the judges are trained here.

    Args:
      settings: of the run.
      gan, baselines: trained on `people`; the latter by --baselines.
      classifiers: one of --uses -> stage two.
      people, held_out: the fold's.
      seed: of the judges and of the draws.
      folder: of the fold.
    Returns:
      {"reached": of `reached`, "probes": of `probes`, "classifiers": {uses: {"L1": share named right ...}}}.
    """
    known = data.labelled_by_person(people)
    back = known[2::5]  # the judge of identity does not see these faces
    seen = [r for i, r in enumerate(known) if i % 5 != 2]
    of_expression = networks.train_judge(settings, people, gan.classes, seed + 1000, folder / JUDGES[0])
    of_identity = networks.train_judge(settings, seen, gan.subjects, seed + 2000, folder / JUDGES[1])
    features = features_of(gan, baselines, classifiers, de_gan.build_encoder(width=settings.width, code=settings.code))
    return {
        "reached": reached(gan, held_out, back, of_expression, of_identity, seed),
        "probes": probes(features, people, held_out, gan.classes),
        "classifiers": rates(classifiers, held_out, gan.classes),
    }


def features_of(
    gan: de_gan.DEGAN,
    baselines: Mapping[str, de_gan.EncoderCNN],
    classifiers: Mapping[str, de_gan.DEGANClassifier],
    untrained: Any,
) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Name -> images (N, 96, 96, 1) in [0, 1] -> (N, F): what `probes` compares; `untrained` is an encoder."""

    def stages(images: np.ndarray) -> np.ndarray:
        maps = gan.encoder(de_gan.grey(images), training=False)[:-1]
        return np.concatenate([np.mean(np.asarray(m, np.float32), (1, 2)) for m in maps], -1)

    features = {
        "f(x)": lambda x: gan.features(x).numpy(),
        "residues, each map's mean": stages,
        **{networks.BASELINES[which]: numbers_of(net) for which, net in baselines.items()},
        "f(x), untrained": lambda x: untrained(de_gan.grey(x), training=False)[-1].numpy(),
    }
    if own := classifiers.get("residues", classifiers.get("both")):
        features["last FC of the local CNNs"] = lambda x: np.concatenate([f.numpy() for f in own.features(x)[:4]], -1)
    return features


def numbers_of(net: de_gan.EncoderCNN) -> Callable[[np.ndarray], np.ndarray]:
    """A network's features as NumPy has them."""
    return lambda x: net.features(x).numpy()


def rates(
    classifiers: Mapping[str, de_gan.DEGANClassifier], held_out: Sequence[Record], classes: Sequence[str]
) -> dict[str, dict[str, float]]:
    """One of --uses -> {"L1": share of these faces that this classifier of eq. (3) names right ...}."""
    images, table = centre_views(held_out), {}
    labels = np.array([classes.index(r.expression) for r in held_out])
    for uses, model in classifiers.items():
        logits = [np.stack(model.logits(part)) for part in np.array_split(images, len(images) // 64 + 1)]
        right = [np.mean(evaluation.named(local) == labels) for local in np.concatenate(logits, 1)]
        table[uses] = {f"L{n}": float(rate) for n, rate in zip(model.numbers, right, strict=True)}
    return table


def in_parts(function: Callable[[Any], Any], *arrays: np.ndarray, size: int = 64) -> np.ndarray:
    """`function` of arrays of one length, in batches."""
    starts = range(0, len(arrays[0]), size)
    return np.concatenate([np.asarray(function(*(a[i : i + size] for a in arrays))) for i in starts])


def reached(
    gan: de_gan.DEGAN,
    sources: Sequence[Record],
    known: Sequence[Record],
    expression_judge: Any,
    identity_judge: Any,
    seed: int,
) -> dict[str, float]:
    """How often independent classifiers read a made face as the expression and as the person that were asked for.

    Args:
      gan: trained.
      sources: of held-out people, each of which is carried to one person of training, drawn evenly.
      known: faces of training people, named after them, that the judge of identity has not seen.
      expression_judge, identity_judge: images in [0, 1] -> probabilities over `gan.classes` and over `gan.subjects`.
      seed: of the draws.
    Returns:
      {"expression", "identity"}: shares in [0, 1] of the made faces; with "_of_real": of real ones, the sources and
      `known`; "identity_by_chance".
    """
    images, labels = centre_views(sources), np.array([gan.classes.index(r.expression) for r in sources])
    wanted = np.random.default_rng(seed).integers(0, len(gan.subjects), len(images)).astype(np.int32)
    made = in_parts(lambda x, i: gan.transfer(x, i).numpy(), images, wanted)

    def read_by(judge: Any, faces: np.ndarray) -> np.ndarray:
        return evaluation.named(in_parts(lambda x: judge(x).numpy(), faces))

    who = np.array([gan.subjects.index(r.expression) for r in known])
    return {
        "expression": float(np.mean(read_by(expression_judge, made) == labels)),
        "expression_of_real": float(np.mean(read_by(expression_judge, images) == labels)),
        "identity": float(np.mean(read_by(identity_judge, made) == wanted)),
        "identity_of_real": float(np.mean(read_by(identity_judge, centre_views(known)) == who)),
        "identity_by_chance": 1 / len(gan.subjects),
    }


def probes(
    features: Mapping[str, Callable[[np.ndarray], np.ndarray]],
    learn: Sequence[Record],
    test: Sequence[Record],
    classes: Sequence[str],
) -> dict[str, dict[str, float | None]]:
    """What a linear probe reads from each kind of features, as `probes.read`.

    Args:
      features: name -> images (N, 96, 96, 1) in [0, 1] -> (N, F).
      learn, test: of training and of held-out people.
      classes: expressions.
    """
    views = [centre_views(part) for part in (learn, test)]
    seen = {name: tuple(in_parts(function, part) for part in views) for name, function in features.items()}
    return linear.read(seen, learn, test, classes)


def text(measured: Sequence[Mapping[str, Any]]) -> str:
    """The measures of all folds, their mean, as lines to print."""

    def mean(*path: str) -> str:
        values: list[Any] = list(measured)
        for key in path:
            values = [v[key] for v in values]
        known = [v for v in values if v is not None]
        return f"{np.mean(known):.3f}" if known else "-"

    lines = [linear.text([m["probes"] for m in measured])]
    lines.append(
        f"made faces: the expression is read in {mean('reached', 'expression')} of them (real sources: "
        f"{mean('reached', 'expression_of_real')}), the person in {mean('reached', 'identity')} (real faces: "
        f"{mean('reached', 'identity_of_real')}, chance: {mean('reached', 'identity_by_chance')})"
    )
    for uses in measured[0]["classifiers"]:
        right = ", ".join(f"{n} {mean('classifiers', uses, n)}" for n in measured[0]["classifiers"][uses])
        lines.append(f"{networks.NAMES[uses]}: {right}")
    return "\n".join(lines)
