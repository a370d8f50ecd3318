"""Ways to name a face that are not in the paper, beside eq. (8); each has a control that sees no generated face.

**Deviations** (III-B has the nearest generated face alone), each asked for by --named_by, none of which trains a GAN:

    --named_by     what names the face                               its control
    combined       the softmax and eq. (8)'s distances, weighted     the same with class means
    learnt         eq. (8), distances by Feat's own scatter          the same with class means
    differences    a classifier of the K differences to the input    the same classifier of Feat(I) alone
    averaged       eq. (8), each I_k averaged in Feat over the       the nearest class mean, the person's own mean
                   person's unlabelled pictures                      in Feat put at that of the classes

Class means are those of the faces that FER-Net learnt from. The first three are fitted: on people of --kept_back, whom
neither FER-Net nor a GAN has seen, or, without it, on the training people, whom Feat has over-fitted. The values of
`GRID` are chosen there, too, by the log loss of people who are left out of the fit. The last row sees more of a person
than the others, and a person's mean is that of the classes only where each is shown as often.

What they gained, on rendered2: nothing beside the softmax on two folds. `combined` and `differences` name as many as
their controls, `learnt` and `averaged` 13 and 14 points fewer. The control of `averaged` names 12 points more than
the softmax on three folds: see experiments/RESULTS.md.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fer_tf.predictions import Answers

from .controls import Embedded, averages, class_means

NAMES = {
    "combined": ("IA-gen, softmax and eq. (8) combined", "softmax and class means combined"),
    "learnt": ("IA-gen, distances learnt", "class means, distances learnt"),
    "differences": ("IA-gen, classifier of differences", "classifier of Feat alone"),
    "averaged": ("IA-gen, averaged over the person's pictures", "class means, centred on the person"),
}
"""Way -> (its name in the table, its control's)."""

TEMPERATURES = (1.0, 0.25, 0.5, 2.0, 4.0, 8.0, 16.0)
GRID: dict[str, tuple[tuple[float, ...], ...]] = {
    "combined": tuple(itertools.product((0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0), TEMPERATURES)),
    "learnt": tuple(itertools.product((1.0, 0.7, 0.4, 0.2, 0.1, 0.05), TEMPERATURES)),
    "differences": ((1e-4,), (1e-3,), (1e-2,), (1e-1,)),
    "averaged": (),
}
"""Way -> the values to choose from: (weight of the distances, temperature), (shrinkage, temperature), (C,)."""
VALUES = {"combined": ("weight", "temperature"), "learnt": ("shrinkage", "temperature"), "differences": ("C",)}
"""Way -> what its values are called."""
GROUPS = 8
"""Parts that the fitting people are dealt to; each is left out once."""
FLOOR = -20.0
"""Log probability of a class that nobody of the fitting people shows."""


class Seen(NamedTuple):
    """What a way looks at.

    Attributes:
      labels: (N,) int in [0, K).
      own: (N, F), Feat(I).
      candidates: (N, K, F), what it is compared with.
      log_p: (N, K), of the softmax.
    """

    labels: np.ndarray
    own: np.ndarray
    candidates: np.ndarray
    log_p: np.ndarray

    def rows(self, kept: np.ndarray) -> Seen:
        """Those where (N,) bool `kept` is true."""
        return Seen(*(column[kept] for column in self))


def seen(faces: Embedded, way: str, means: np.ndarray | None = None) -> Seen:
    """What a way, or with the class means (K, F) its control, sees of some people's faces."""
    own, candidates = faces.own, averages(faces) if way == "averaged" else faces.made
    if means is not None:
        candidates = np.broadcast_to(means, (len(own), *means.shape))
        if way == "averaged":
            people = subjects(faces)
            own = own - np.stack([own[people == person].mean(0) for person in people]) + means.mean(0)
        if way == "differences":
            candidates = np.zeros((len(own), 1, own.shape[1]))
    return Seen(faces.labels, own, candidates, np.log(np.maximum(faces.softmax, np.exp(FLOOR))))


def subjects(faces: Embedded) -> np.ndarray:
    """(N,) str: who is seen."""
    return np.array([str(record.subject) for record in faces.kept])


def fitted(way: str, learn: Seen) -> Any:
    """What a way learns before the values of its grid come in: of `learnt`, the scatter about the right candidate."""
    if way != "learnt":
        return learn
    apart = learn.own - learn.candidates[np.arange(len(learn.labels)), learn.labels]
    scatter, axes = np.linalg.eigh(apart.T @ apart / len(apart))
    return np.maximum(scatter, 0), axes


def scores(way: str, values: Sequence[float], model: Any, faces: Seen) -> np.ndarray:
    """(N, K) float64, the larger the likelier: log probabilities up to a constant of each row.

    Args:
      way: of `NAMES`.
      values: of its grid.
      model: of `fitted`.
      faces: to be named.
    """
    apart = faces.own[:, None] - faces.candidates
    if way == "differences":
        return classified(values[0], model, apart, faces.log_p.shape[1])
    if way == "averaged":
        return -np.linalg.norm(apart, axis=-1)
    if way == "combined":
        weight, temperature = values
        return ((1 - weight) * faces.log_p - weight * np.linalg.norm(apart, axis=-1)) / temperature
    (scatter, axes), (shrinkage, temperature) = model, values
    size = max(scatter.mean(), 1e-12)  # shrinkage 1 is Euclid
    lengths = np.square(apart @ axes) @ (1 / ((1 - shrinkage) * scatter / size + shrinkage))
    return -np.sqrt(lengths) / temperature


def classified(c: float, learn: Seen, apart: np.ndarray, classes: int) -> np.ndarray:
    """Log probabilities (N, K) of logistic regression on standardised differences (N, K, F), fitted to others'."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    found, shown = np.full((len(apart), classes), FLOOR), np.unique(learn.labels)
    if len(shown) < 2:
        found[:, shown] = 0.0
        return found
    features = (learn.own[:, None] - learn.candidates).reshape(len(learn.labels), -1)
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=300)).fit(features, learn.labels)
    found[:, shown] = np.maximum(probe.predict_log_proba(apart.reshape(len(apart), -1)), FLOOR)
    return found


def log_loss(found: np.ndarray, labels: np.ndarray) -> float:
    """Mean -log softmax(scores) of the true class, in nats."""
    shifted = found - found.max(1, keepdims=True)
    return float(np.mean(np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]))


def left_out(way: str, learn: Seen, people: np.ndarray) -> list[np.ndarray]:
    """Scores of the fitting people, each by a fit that lacks the person's group: one (N, K) a value of the grid."""
    names = np.unique(people)
    group = np.searchsorted(names, people) % min(GROUPS, len(names))
    found = [np.zeros_like(learn.log_p, dtype=np.float64) for _ in GRID[way]]
    for number in np.unique(group):
        out = group == number
        model = fitted(way, learn.rows(~out))
        for one, values in zip(found, GRID[way], strict=True):
            one[out] = scores(way, values, model, learn.rows(out))
    return found


def chosen(way: str, learn: Seen, people: np.ndarray) -> tuple[tuple[float, ...], dict[str, Any]]:
    """The values of the grid by which people who are left out lose least; the first of equal ones.

    Args:
      way: of `NAMES`.
      learn: N faces to fit to.
      people: (N,) str, who they are.
    Returns:
      (values, {each by its name; "left_out": share of the fitting people's faces that are named right by a fit that
      lacks the person, "log_loss": theirs}).
    """
    if not GRID[way]:
        named = scores(way, (), None, learn)
        return (), {"left_out": float(np.mean(named.argmax(-1) == learn.labels))}
    found = left_out(way, learn, people)
    losses = [log_loss(one, learn.labels) for one in found]
    best = int(np.argmin(losses))
    told = dict(zip(VALUES[way], GRID[way][best], strict=True))
    right = float(np.mean(found[best].argmax(-1) == learn.labels))
    return GRID[way][best], {**told, "left_out": right, "log_loss": losses[best]}


def measure(
    ways: Sequence[str], learnt: Embedded, fitting: Embedded, test: Embedded
) -> tuple[dict[str, Answers], dict[str, Any]]:
    """What each way and its control name the tested faces.

    Args:
      ways: of `NAMES`.
      learnt: faces that FER-Net learnt from, which give the class means.
      fitting: faces of two people or more whom the ways are fitted to.
      test: faces to be named.
    Returns:
      ({name in the table: answers}, {way: {"values and left_out as of `chosen`, "control": likewise}, "people": whom
      they are fitted to, "softmax", "eq8": share of these people's faces that they name right}).
    Raises:
      ValueError: one person alone to fit to, of whom nobody can be left out.
    """
    means, people, answers = class_means(learnt), subjects(fitting), {}
    if len(np.unique(people)) < 2:
        raise ValueError(
            "--named_by leaves people out of what it is fitted to, and has one: give a larger --kept_back."
        )
    told: dict[str, Any] = {"people": sorted({*people.tolist()})}
    plain = {"softmax": fitting.softmax, "eq8": -np.linalg.norm(fitting.own[:, None] - fitting.made, axis=-1)}
    told |= {name: float(np.mean(one.argmax(-1) == fitting.labels)) for name, one in plain.items()}
    for way in ways:
        for name, given in zip(NAMES[way], (None, means), strict=True):
            learn, tested = (seen(faces, way, given) for faces in (fitting, test))
            values, said = chosen(way, learn, people)
            found = scores(way, values, fitted(way, learn), tested)
            odds = np.exp(found - found.max(1, keepdims=True))
            answers[name] = Answers(test.labels, found.argmax(-1), test.kept, (odds / odds.sum(1, keepdims=True)))
            told[way] = said if given is None else {**told[way], "control": said}
    return answers, told


def baselines(ways: Sequence[str], net: str) -> dict[str, str]:
    """Each way -> the softmax, and its control -> the way, beside which the report puts them."""
    return {name: beside for way in ways for name, beside in zip(NAMES[way], (net, NAMES[way][0]), strict=True)}


def table(folds: Sequence[Mapping[str, Any]], ways: Sequence[str], net: str) -> str:
    """What the fitting people say of each way, as lines to print."""

    def line(words: str, each: Sequence[Mapping[str, Any]]) -> str:
        values = (
            " ".join(f"{k} {one[k]:g}" for k in ("weight", "shrinkage", "temperature", "C") if k in one) for one in each
        )
        return f"{words:48}{100 * np.mean([one['left_out'] for one in each]):>10.1f}  {'; '.join(filter(None, values))}"

    lines = ["who --named_by is fitted to, named by a fit that lacks them, mean over the folds, percent"]
    for key, words in (("softmax", f"{net}'s softmax"), ("eq8", "IA-gen: eq. (8)")):
        lines.append(line(words, [{"left_out": fold[key]} for fold in folds]))
    for way in ways:
        lines += [line(NAMES[way][0], [fold[way] for fold in folds])]
        lines += [line(NAMES[way][1], [fold[way]["control"] for fold in folds])]
    return "\n".join(lines)
