"""Eq. (8) beside a known neutral face of the person: redrawn from that, nothing of the input's expression leaks in.

Not in the paper, which redraws the input (**Deviations** of `models/ia_gen.py`). What the pictures are compared with in
Feat, each the mean over the person's neutral pictures n, of those that are the least `records.unlike` the picture:

    regenerated     Feat(G_k(n)), of eq. (8)
    corrected       and what the labelled people's real faces of k have beyond their redrawn ones, on average
    both            halfway between Feat(G_k(n)) and `means`, whose errors are not the same
    means           a control without generated faces: Feat(n), moved as the labelled people's faces of k are
    shrunk          a control: `means`, but three quarters of n's way from the labelled people's mean neutral face
    linear          a control: Feat(n), moved as a ridge regression on Feat(n) says of k, fitted to the labelled people
    stranger        a control: Feat(G_k(n)) of another person, the next of those who are asked for
    both_stranger   a control: halfway between that and `means`, which are the person's own

--beside_neutral tests all of them on held-out people; `teaching.py` teaches students by some. The halves, the quarters
and the penalty were chosen on people of `rendered2` whom no net here had seen: the best of the grids that
`experiments/RESULTS.md` has, the controls' too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fer_tf import figures, records
from fer_tf.models import ia_gen
from fer_tf.predictions import Answers

from ...run import data
from . import controls, pictures

NAMES = {
    "regenerated": "IA-gen, beside the neutral face",
    "corrected": "IA-gen, beside the neutral face, corrected",
    "both": "IA-gen and class means beside the neutral face",
    "means": "class means beside the neutral face",
    "shrunk": "class means three quarters beside the neutral face",
    "linear": "linear map of the neutral face",
    "stranger": "IA-gen, beside a stranger's neutral face",
    "both_stranger": "IA-gen of a stranger and class means beside the neutral face",
}
"""What a picture is compared with -> its row in the table."""

CONTROLS = {"stranger": "regenerated", "both_stranger": "both"}
"""Of whom another person's face is redrawn -> what the report holds it against; the others: the network of Feat."""

SHRUNK = 0.75
"""Of `shrunk`: the share of what sets a neutral face apart that its person's expressions keep."""

PENALTY = 10.0
"""Of `linear`, in units of the mean square of what sets the labelled people's neutral faces apart."""


class Seen(NamedTuple):
    """Some people's pictures in Feat, of which nothing is redrawn.

    Attributes:
      kept: N records.
      labels: (N,) int in [0, K).
      own: (N, F) float32, Feat(I).
      softmax: (N, K) float32.
    """

    kept: Sequence[records.Record]
    labels: np.ndarray
    own: np.ndarray
    softmax: np.ndarray

    @property
    def people(self) -> list[str]:
        """(N,) who is seen."""
        return [str(r.subject) for r in self.kept]


class Known(NamedTuple):
    """Some people's neutral pictures.

    Attributes:
      kept: M records.
      own: (M, F) float32, Feat(n).
      made: (M, K, F) float32, Feat(G_k(n)).
    """

    kept: Sequence[records.Record]
    own: np.ndarray
    made: np.ndarray

    def beside(self, shown: Sequence[records.Record], whose: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The means of `own` and `made` that stand beside N pictures: (N, F), (N, K, F).

        Args:
          shown: the pictures.
          whose: (N,) whose neutral pictures are looked for; of these the ones that were taken most alike count.
        """
        places: dict[str, list[int]] = {}
        for i, record in enumerate(self.kept):
            places.setdefault(str(record.subject), []).append(i)
        means: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]] = {}
        found = []
        for record, who in zip(shown, whose, strict=True):
            apart = {i: records.unlike(record, self.kept[i]) for i in places[who]}
            least = tuple(i for i in apart if apart[i] == min(apart.values()))
            if least not in means:
                means[least] = self.own[[*least]].mean(0), self.made[[*least]].mean(0)
            found.append(means[least])
        own, made = zip(*found, strict=True)
        return np.stack(own), np.stack(made)


def asked(classes: Sequence[str]) -> list[str]:
    """The classes without neutral, whose pictures are known."""
    return [c for c in classes if c != "neutral"]


def refuse(
    listed: Sequence[records.Record], places: Collection[int], classes: Sequence[str], inputs: Sequence[str], flag: str
) -> None:
    """Refuses people of whom there is no neutral face.

    Args:
      listed: all records.
      places: of those who are asked for.
      classes: of the experiment.
      inputs: of --inputs.
      flag: that asks, as given.
    Raises:
      ValueError: neutral is neither among `classes` nor `inputs`, or somebody has no such picture.
    """
    if "neutral" not in {*classes, *inputs}:
        raise ValueError(f"{flag} redraws neutral faces: give --inputs=neutral.")
    wanted = [listed[i] for i in places]
    if without := {str(r.subject) for r in wanted} - {str(r.subject) for r in wanted if r.expression == "neutral"}:
        raise ValueError(
            f"{flag} compares with neutral faces, and {min(without)} has none: leave such people out, or the flag."
        )


def seen(settings: Any, model: ia_gen.IAGen, listed: Sequence[records.Record], seed: int) -> Seen:
    """One test view of each picture of the classes, but for neutral ones, which are known to be that."""
    shown = records.of_classes(listed, asked(settings.labels))
    faces = data.batches(settings, shown, settings.labels, ia_gen, seed, False)
    net, parts = model.feature_net, []
    for batch in faces.epoch(0):
        answers = (batch["index"], batch["label"], net.features(batch["image"]), net.classify(batch["image"]))
        parts.append([x.numpy() for x in answers])
    index, labels, own, softmax = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Seen([faces.records[i] for i in index], labels.astype(int), own, softmax)


def known(settings: Any, model: ia_gen.IAGen, listed: Sequence[records.Record], seed: int) -> Known:
    """What is known of the neutral pictures among the records."""
    neutral = [r for r in listed if r.expression == "neutral"]
    rest = controls.embed(model, data.batches(settings, neutral, ("neutral",), ia_gen, seed, False))
    return Known(rest.kept, rest.own, rest.made)


def candidates(
    model: ia_gen.IAGen, faces: Seen, theirs: Known, learnt: Seen, usual: Known, ways: Collection[str] = tuple(NAMES)
) -> dict[str, np.ndarray]:
    """What each picture is compared with: {way: (N, C, F)}, of the C classes that are `asked`.

    Args:
      model: trained on the labelled people.
      faces, theirs: the pictures to be named, and their people's neutral ones.
      learnt, usual: those of the labelled people.
      ways: of `NAMES`.
    """
    places = [model.classes.index(c) for c in asked(model.classes)]
    own, made = theirs.beside(faces.kept, faces.people)
    rest, drawn = usual.beside(learnt.kept, learnt.people)
    order = sorted({str(r.subject) for r in theirs.kept})
    following = dict(zip(order, [*order[1:], order[0]], strict=True))
    whose = np.array([str(r.subject) for r in usual.kept])
    middle = np.stack([usual.own[whose == who].mean(0) for who in sorted({*whose.tolist()})]).mean(0)

    def average(apart: np.ndarray) -> np.ndarray:
        return np.stack([apart[learnt.labels == k].mean(0) for k in places])

    def regenerated() -> np.ndarray:
        return made[:, places]

    def corrected() -> np.ndarray:
        return regenerated() + average(learnt.own - drawn[np.arange(len(drawn)), learnt.labels])

    def means(share: float = 1.0) -> np.ndarray:
        return middle + share * (own - middle)[:, None] + average(learnt.own - middle - share * (rest - middle))

    def stranger() -> np.ndarray:
        return theirs.beside(faces.kept, [following[who] for who in faces.people])[1][:, places]

    find: dict[str, Callable[[], np.ndarray]] = {
        "regenerated": regenerated,
        "corrected": corrected,
        "both": lambda: (regenerated() + means()) / 2,
        "means": means,
        "shrunk": lambda: means(SHRUNK),
        "linear": lambda: linear(own, learnt, rest, places),
        "stranger": stranger,
        "both_stranger": lambda: (stranger() + means()) / 2,
    }
    return {way: find[way]() for way in NAMES if way in ways}


def linear(own: np.ndarray, learnt: Seen, rest: np.ndarray, places: Sequence[int]) -> np.ndarray:
    """What a ridge regression makes of Feat(n): (N, F) -> (N, C, F).

    Of each class k it is fitted to the labelled people who show it: from Feat(n) to their mean Feat of k less Feat(n).

    Args:
      own: Feat(n).
      learnt: of the labelled people.
      rest: Feat(n) beside each of their pictures.
      places: of the classes.
    """
    people, found = np.array(learnt.people), []
    for k in places:
        rows = [(people == who) & (learnt.labels == k) for who in sorted({*people[learnt.labels == k]})]
        neutral = np.stack([rest[own_rows].mean(0) for own_rows in rows]).astype(np.float64)
        moves = np.stack([learnt.own[own_rows].mean(0) for own_rows in rows]) - neutral
        x, y = (values - values.mean(0) for values in (neutral, moves))
        alike = x @ x.T
        weights = np.linalg.solve(alike + (PENALTY * np.trace(alike) / len(x) + 1e-12) * np.eye(len(x)), y)
        found.append(own + moves.mean(0) + (own - neutral.mean(0)) @ x.T @ weights)
    return np.stack(found, 1)


def measure(
    settings: Any,
    model: ia_gen.IAGen,
    learn: Sequence[records.Record],
    held_out: Sequence[records.Record],
    seed: int,
    folder: Path,
) -> dict[str, Answers]:
    """What each of `NAMES` names the held-out people's pictures, by the nearest: {name in the table: answers}.

    Args:
      settings: of the run.
      model: trained on `learn`.
      learn, held_out: records, with the people's neutral pictures, which are not named.
      seed: of the fold.
      folder: of the fold, where `draw` leaves a picture.
    """
    faces, learnt = (seen(settings, model, listed, seed) for listed in (held_out, learn))
    theirs, usual = (known(settings, model, listed, seed) for listed in (held_out, learn))
    places = np.array([model.classes.index(c) for c in asked(model.classes)])
    found = {}
    for way, one in candidates(model, faces, theirs, learnt, usual).items():
        named = places[controls.nearest(faces.own, one)]
        found[NAMES[way]] = Answers(faces.labels, named, faces.kept)
    draw(settings, model, held_out, seed, folder / "beside_neutral.png")
    return found


def draw(settings: Any, model: ia_gen.IAGen, listed: Sequence[records.Record], seed: int, path: Path) -> None:
    """What is redrawn from the neutral faces of four people, and under it the real faces."""
    chosen = pictures.some_people(listed)
    few = [r for r in listed if r.subject in chosen]
    faces = data.batches(settings, few, ("neutral", *asked(settings.labels)), ia_gen, seed, False)
    parts = [(b["image"], model(b["image"])["generated"], b["index"]) for b in faces.epoch(0).rebatch(32)]
    images, generated, index = (np.concatenate([one.numpy() for one in part]) for part in zip(*parts, strict=True))
    kept = [faces.records[i] for i in index]
    figures.save(pictures.fig_4(images, generated, kept, model.classes, "neutral"), path)
