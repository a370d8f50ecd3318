"""Eq. (8) beside a known neutral face of the person: redrawn from that, nothing of the input's expression leaks in.

Not in the paper, which redraws the input (**Deviations** of `models/ia_gen.py`). What the pictures are compared with in
Feat, each the mean over the person's neutral pictures n:

    regenerated     Feat(G_k(n)), of eq. (8)
    corrected       and what the labelled people's real faces of k have beyond their redrawn ones, on average
    means           a control without generated faces: Feat(n), moved as the labelled people's faces of k are
    stranger        a control: Feat(G_k(n)) of another person, the next of those who are asked for

--beside_neutral tests all four on held-out people; `teaching.py` teaches students by the first three.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fer_tf import records
from fer_tf.models import ia_gen
from fer_tf.predictions import Answers

from ...run import data
from . import controls

NAMES = {
    "regenerated": "IA-gen, beside the neutral face",
    "corrected": "IA-gen, beside the neutral face, corrected",
    "means": "class means beside the neutral face",
    "stranger": "IA-gen, beside a stranger's neutral face",
}
"""What a picture is compared with -> its row in the table."""


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


Known = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Person -> (mean Feat of the neutral pictures (F,), of what each generator makes of them (K, F))."""


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
    """What is known of the neutral pictures of each person among the records."""
    neutral = [r for r in listed if r.expression == "neutral"]
    rest = controls.embed(model, data.batches(settings, neutral, ("neutral",), ia_gen, seed, False))
    people = np.array([str(r.subject) for r in rest.kept])
    return {who: (rest.own[people == who].mean(0), rest.made[people == who].mean(0)) for who in np.unique(people)}


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
    own, made = (np.stack([theirs[who][i] for who in faces.people]) for i in (0, 1))
    rest, drawn = (np.stack([usual[who][i] for who in learnt.people]) for i in (0, 1))
    found = {"regenerated": made[:, places]}

    def average(apart: np.ndarray) -> np.ndarray:
        return np.stack([apart[learnt.labels == k].mean(0) for k in places])

    if "means" in ways:
        found["means"] = own[:, None] + average(learnt.own - rest)
    if "corrected" in ways:
        right = drawn[np.arange(len(drawn)), learnt.labels]
        found["corrected"] = found["regenerated"] + average(learnt.own - right)
    if "stranger" in ways:
        order = sorted(theirs)
        following = dict(zip(order, [*order[1:], order[0]], strict=True))
        found["stranger"] = np.stack([theirs[following[who]][1][places] for who in faces.people])
    return {way: one for way, one in found.items() if way in ways}


def measure(
    settings: Any,
    model: ia_gen.IAGen,
    learn: Sequence[records.Record],
    held_out: Sequence[records.Record],
    seed: int,
) -> dict[str, Answers]:
    """What each of `NAMES` names the held-out people's pictures, by the nearest: {name in the table: answers}.

    Args:
      settings: of the run.
      model: trained on `learn`.
      learn, held_out: records, with the people's neutral pictures, which are not named.
      seed: of the fold.
    """
    faces, learnt = (seen(settings, model, listed, seed) for listed in (held_out, learn))
    theirs, usual = (known(settings, model, listed, seed) for listed in (held_out, learn))
    places = np.array([model.classes.index(c) for c in asked(model.classes)])
    found = {}
    for way, one in candidates(model, faces, theirs, learnt, usual).items():
        named = places[controls.nearest(faces.own, one)]
        found[NAMES[way]] = Answers(faces.labels, named, faces.kept)
    return found
