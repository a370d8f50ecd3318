"""What eq. (8) is held against: the same distances to faces redrawn from others, class means, and how much G_k leaks.

A face that is redrawn from the input may name it by what the input showed, not by who it is. So each control puts
other faces in its place, one for each input and the same for all K generators, and costs no training. Identity and
expression are taken away one by one:

    redrawn from              the input's expression    another expression
    the same person           IA-gen                    "other"
    somebody else             "stranger"                "stranger_other"

Real faces have no place here. One person's faces of an expression come from one sequence, as a rule, whose next frame
is a copy of the input: raw pixels name 99 % of those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fer_tf import pipeline
from fer_tf.models import ia_gen
from fer_tf.predictions import Answers
from fer_tf.records import Record

NAMES = {
    "class_means": "nearest class mean in Feat",
    "stranger": "IA-gen, a stranger's face redrawn",
    "other": "IA-gen, the person's other expression redrawn",
    "stranger_other": "IA-gen, a stranger's other expression redrawn",
    "average": "IA-gen, average over the person's inputs",
}
"""Control -> its name in the table."""


class Embedded(NamedTuple):
    """Some people's faces in Feat, and what every generator makes of each.

    Attributes:
      kept: N records.
      labels: (N,) int in [0, K).
      own: (N, F) float32, Feat(I).
      made: (N, K, F) float32, Feat(G_k(I)).
      softmax: (N, K) float32, the feature network's own probabilities.
    """

    kept: Sequence[Record]
    labels: np.ndarray
    own: np.ndarray
    made: np.ndarray
    softmax: np.ndarray


def embed(model: ia_gen.IAGen, faces: pipeline.Batches) -> Embedded:
    """Feat of test views and of what is redrawn from them, in the order of the batches."""
    parts = []
    for batch in faces.epoch(0).rebatch(32):  # each face is K + 1 faces to FER-Net
        own, made = model.embed(batch["image"])
        named = model.feature_net.classify(batch["image"])
        parts.append([x.numpy() for x in (batch["index"], batch["label"], own, made, named)])
    index, labels, own, made, named = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Embedded([faces.records[i] for i in index], labels.astype(int), own, made, named)


def class_means(learnt: Embedded) -> np.ndarray:
    """(K, F): the mean of each class's training faces in Feat."""
    return np.stack([learnt.own[learnt.labels == k].mean(0) for k in range(learnt.made.shape[1])])


def sources(kept: Sequence[Record], seed: int) -> dict[str, np.ndarray]:
    """Whose face is redrawn in place of each input, drawn once.

    Args:
      kept: N records of people.
      seed: of the draws.
    Returns:
      {"stranger", "other", "stranger_other"}: (N,) int, places in `kept`; -1 where there is no such face.
    """
    people, shown = (np.array([str(getattr(r, name)) for r in kept]) for name in ("subject", "expression"))
    rng, found = np.random.default_rng(seed), {name: np.full(len(kept), -1) for name in NAMES if "_means" not in name}
    del found["average"]
    for i in range(len(kept)):
        person, expression = people == people[i], shown == shown[i]
        wanted = {"stranger": ~person & expression, "other": person & ~expression}
        for name, fits in {**wanted, "stranger_other": ~person & ~expression}.items():
            if fits.any():
                found[name][i] = rng.choice(np.flatnonzero(fits))
    return found


def nearest(own: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Eq. (8): (N, F) and (N, K, F) -> (N,) int, the nearest of each row's K candidates."""
    return np.linalg.norm(own[:, None] - candidates, axis=-1).argmin(-1)


def averages(faces: Embedded) -> np.ndarray:
    """(N, K, F): each generator's Feat, averaged over all inputs of the person that an input shows."""
    people = np.array([str(r.subject) for r in faces.kept])
    return np.stack([faces.made[people == person].mean(0) for person in people])


def named(faces: Embedded, means: np.ndarray, seed: int) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """What each control names the faces.

    An input for which there is no other face keeps its own, as in a data set whose people show one expression.

    Args:
      faces: of people.
      means: (K, F) of training faces, `class_means`.
      seed: of `sources`.
    Returns:
      ({control of `NAMES`: (N,) int}, {control: how many inputs keep their own face}).
    """
    found = {"class_means": nearest(faces.own, np.broadcast_to(means, (len(faces.own), *means.shape)))}
    kept_own, itself = {}, np.arange(len(faces.own))
    for name, places in sources(faces.kept, seed).items():
        found[name] = nearest(faces.own, faces.made[np.where(places < 0, itself, places)])
        kept_own[name] = int((places < 0).sum())
    found["average"] = nearest(faces.own, averages(faces))
    return found, kept_own


def leak(faces: Embedded) -> dict[str, float | None]:
    """How much of Feat(G_k) follows the input that it is redrawn from, and how much the person.

    A variance is the mean squared distance from the mean; both are means over k.

    Args:
      faces: of people.
    Returns:
      {"over_inputs": variance over one person's inputs, the mean over people; "over_people": variance of the people's
      means; "ratio": the first over the second, 0 for generators that see the person alone, None where nothing varies
      over people; "real_over_people": variance of the people's means of real faces, the mean over the expressions}.
    """
    people = np.array([str(r.subject) for r in faces.kept])
    each = [faces.made[people == person] for person in np.unique(people)]
    over_inputs = np.mean([scatter(one) for one in each])
    over_people = scatter(np.stack([one.mean(0) for one in each]))
    real = []
    for k in range(faces.made.shape[1]):
        own = [faces.own[(people == p) & (faces.labels == k)] for p in np.unique(people)]
        known = [one.mean(0) for one in own if len(one)]
        real += [scatter(np.stack(known)[:, None])] if known else []
    ratio = float(over_inputs / over_people) if over_people > 0 else None
    values = {"over_inputs": over_inputs, "over_people": over_people, "real_over_people": np.mean(real)}
    return {**{name: float(value) for name, value in values.items()}, "ratio": ratio}


def scatter(features: np.ndarray) -> float:
    """(M, K, F) -> the mean squared distance of M points from their mean, the mean over K."""
    return float(np.square(features - features.mean(0)).sum(-1).mean())


def measure(learn: Embedded, test: Embedded, seed: int) -> tuple[dict[str, Answers], dict[str, Any]]:
    """The controls on held-out people, and on those of training.

    Args:
      learn, test: one test view of each face of the training people, and of the held-out ones.
      seed: of the draws.
    Returns:
      ({name in the table: what it names the held-out people}, {"held_out", "training": {"softmax", "eq8" and each of
      `NAMES`: share named right, "kept_own", "leak"}}).
    """
    parts = {"training": learn, "held_out": test}
    means, answers, measured = class_means(learn), {}, {}
    for part, faces in parts.items():
        found, kept_own = named(faces, means, seed)
        everything = {"softmax": faces.softmax.argmax(-1), "eq8": nearest(faces.own, faces.made), **found}
        right = {name: float(np.mean(one == faces.labels)) for name, one in everything.items()}
        measured[part] = {**right, "kept_own": kept_own, "leak": leak(faces)}
        answers = {NAMES[n]: Answers(faces.labels, one.astype(int), faces.kept) for n, one in found.items()}
    return answers, measured


def table(folds: Sequence[Mapping[str, Any]], net: str) -> str:
    """The controls of all folds, their mean, as lines to print; `net` is the name of the network of Feat."""

    def line(words: str, form: str, scale: int, *path: str) -> str:
        return f"{words:48}" + "".join(f"{mean(form, scale, part, *path):>10}" for part in ("held_out", "training"))

    def mean(form: str, scale: int, *path: str) -> str:
        values: list[Any] = list(folds)
        for key in path:
            values = [value[key] for value in values]
        return "-" if None in values else format(scale * np.mean(values), form)

    rows = {"softmax": f"{net}'s softmax", "eq8": "IA-gen: eq. (8), redrawn from the input", **NAMES}
    kinds = {
        "over_inputs": "variance in Feat of G_k over a person's inputs",
        "over_people": "variance in Feat of G_k over people",
        "ratio": "leak ratio, the first over the second",
        "real_over_people": "variance in Feat of real faces over people",
    }
    lines = ["controls, mean over the folds, percent", f"{'':48}{'held-out':>10}{'training':>10}"]
    lines += [line(words, ".1f", 100, name) for name, words in rows.items()]
    lines += [line(words, ".2f", 1, "leak", name) for name, words in kinds.items()]
    kept = [fold["held_out"]["kept_own"] for fold in folds]
    own = {name: sum(counts[name] for counts in kept) for name in kept[0]}
    if any(own.values()):
        said = ", ".join(f"{count} in '{NAMES[name]}'" for name, count in own.items() if count)
        lines.append(f"held-out inputs without such a face keep their own: {said}")
    return "\n".join(lines)
