"""The five papers' protocols by name: which data set, which expressions, which folds, how many runs. No TensorFlow.

    protocol = PROTOCOLS["ck_plus_7_10fold"]
    listed = protocol.check(records.of_classes(ck_plus.records(root), protocol.labels))
    folds = protocol.fold(listed, order="contiguous")

"In ascending order of IDs" can be read in two ways (`records.subject_folds`): each paper's own reading is its script's
default. Numbers of images and people are those that the papers print; a copy that differs is told so.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fer_tf.records import Fold, Record, classes_of, subject_folds, subject_order
from fer_tf.trees import natural


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a paper tests on a data set.

    Attributes:
      dataset: the module in `fer_tf.datasets`.
      classes: a named class set.
      folds: how many.
      source: papers and sections that it comes from.
      by: what folds are made of: "subject"; "split" (the data set's own parts, each held out in turn); "share" (one
        fold, a share of the people drawn by a seed); "cross" (another data set is the test).
      images, people: that the papers count, expressions of `classes` alone; None where they do not say.
      options: for the data set's `records`.
      runs: paper -> how often it repeats everything with another seed; once where it does not say.
      share: of the people, held out.
      tests: for "cross", what is tested, as --test_on names it, without the folder.
      parts: for "split", their names, where they are printed.
      stand_ins: other data sets that may take its place, such as one's own renderings of its scans.
    """

    dataset: str
    classes: str
    folds: int
    source: str
    by: str = "subject"
    images: int | None = None
    people: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    runs: Mapping[str, int] = field(default_factory=dict)
    share: float = 0.0
    tests: str | None = None
    parts: tuple[str, ...] = ()
    stand_ins: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Its expressions, in the order of `records.EXPRESSIONS`."""
        return classes_of(self.classes)

    def check(self, listed: Sequence[Record], images: bool = True) -> Sequence[Record]:
        """The same records; a sentence on stderr where this copy's counts are not the papers'.

        Args:
          listed: all of the data set.
          images: count these, too; most adapters have done it.
        """
        shown = [r for r in listed if r.expression in self.labels]
        people = len({r.subject for r in shown} - {None})
        counts = ((len(shown), self.images if images else None, "images"), (people, self.people, "people"))
        for count, wanted, what in counts:
            if wanted is not None and count != wanted:
                print(f"{self.dataset}: this copy has {count} {what} of {self.classes}; the papers have {wanted}.",
                      file=sys.stderr)  # fmt: skip
        return listed

    def fold(self, listed: Sequence[Record], order: str = "contiguous", seed: int = 0) -> list[Fold]:
        """The folds of these records.

        Args:
          listed: all to be dealt.
          order: how people are dealt, for "subject".
          seed: of the people held out, for "share".
        Raises:
          ValueError: a record without the subject or split that is needed, too few of them, or "cross", whose test is
            another data set.
        """
        if self.by == "subject":
            return subject_folds(listed, self.folds, order)
        if self.by == "split":
            return split_folds(listed, self.folds, self.parts)
        if self.by == "share":
            return [drawn_fold(listed, self.share, seed)]
        raise ValueError(f"This protocol trains on {self.dataset} and is tested on {self.tests}: it has no folds.")


def split_folds(listed: Sequence[Record], count: int, parts: Sequence[str] = ()) -> list[Fold]:
    """Holds out each of the data set's own parts in turn.

    Raises:
      ValueError: a record of no part, another number of parts than `count`, or others than `parts`.
    """
    names = sorted({r.split or "" for r in listed}, key=natural)
    if "" in names or len(names) != count or (parts and {*parts} != {*names}):
        shown = ", ".join(name or "(none)" for name in names[:8])
        which = f" ({', '.join(parts)})" if parts else ""
        raise ValueError(f"{count} parts{which} are needed, each to be held out once, and the data has {shown}.")
    places = {name: tuple(i for i, r in enumerate(listed) if r.split == name) for name in names}
    return [Fold(tuple(i for i, r in enumerate(listed) if r.split != name), places[name]) for name in names]


OWN = "the data set's own parts, which name nobody: one person may be trained on and tested"
RANDOM = "pictures dealt at random: one person may be trained on and tested"
"""What tables, JSON files and pictures say of folds that are not made of people."""
TESTED = ("test", "private_test", "validation", "public_test")
"""Parts that are tested where there is one to train on: the first of them that there is."""


def own_folds(listed: Sequence[Record], hashes: Sequence[str]) -> tuple[list[Fold], str]:
    """The data set's own parts as they are: "train" and a test; without a "train" each part is held out in turn.

    Training pictures that are test pictures again, byte for byte, are left out of training.

    Args:
      listed: the records.
      hashes: `records.content_hashes` of them.
    Returns:
      (folds, a sentence that says which part does what, and what is left aside).
    Raises:
      ValueError: there are no two parts.
    """
    places: dict[str, list[int]] = {}
    for i, record in enumerate(listed):
        places.setdefault(record.split or "", []).append(i)
    names = [name for name in sorted(places, key=natural) if name]
    others = [name for name in names if name != "train"]
    if len(names) < 2 or ("train" not in names and "" in places):
        raise ValueError(f"The data has {len(names)} parts of its own ({', '.join(names)}): two or more are needed.")
    tested = others if "train" not in names else [next((n for n in TESTED if n in names), others[0])]
    folds, copies = [], 0
    for name in tested:
        learn = ["train"] if "train" in names else [other for other in names if other != name]
        known = {hashes[i] for i in places[name]}
        train = sorted(i for part in learn for i in places[part])
        kept = tuple(i for i in train if hashes[i] not in known)
        copies += len(train) - len(kept)
        folds.append(Fold(kept, tuple(places[name])))
    said = f"each of {', '.join(names)} is tested once"
    if "train" in names:
        said = f"trained on train ({len(places['train'])} pictures), tested on {tested[0]} ({len(places[tested[0]])})"
        aside = [f"{name or 'of no part'} ({len(places[name])})" for name in places if name not in ("train", *tested)]
        said += f"; left aside: {', '.join(aside)}" if aside else ""
    said += f"; {copies} training pictures are test pictures again and left out" if copies else ""
    return folds, said


def random_folds(listed: Sequence[Record], k: int, seed: int, hashes: Sequence[str]) -> list[Fold]:
    """Deals pictures to k folds at random; equal ones, and those of one person where that is known, stay together.

    Args:
      listed: the records.
      k: number of folds.
      seed: of the order.
      hashes: `records.content_hashes` of them.
    Raises:
      ValueError: fewer different pictures than folds, or all of them have a subject.
    """
    if all(r.subject is not None for r in listed):
        raise ValueError("Every picture has a subject, so folds are made of people: leave --split=random out.")
    who = {digest: r.subject for digest, r in zip(hashes, listed, strict=True) if r.subject is not None}
    groups = [f"subject {r.subject}" if r.subject is not None else d for d, r in zip(hashes, listed, strict=True)]
    groups = [f"subject {who[d]}" if d in who else group for d, group in zip(hashes, groups, strict=True)]
    names = sorted({*groups})
    if not 2 <= k <= len(names):
        raise ValueError(f"{k} folds of {len(names)} different pictures: the number of folds must be 2 to that.")
    order = np.random.default_rng(seed).permutation(len(names))
    fold_of = {names[place]: number % k for number, place in enumerate(order)}
    held = [fold_of[group] for group in groups]
    return [
        Fold(tuple(i for i, h in enumerate(held) if h != now), tuple(i for i, h in enumerate(held) if h == now))
        for now in range(k)
    ]


def held_out(people: Sequence[str], share: float, seed: int) -> set[str]:
    """A share of the people, at least one and not all, drawn by the seed.

    Raises:
      ValueError: fewer than two people.
    """
    people = subject_order(people)
    if len(people) < 2:
        raise ValueError(f"{len(people)} people cannot be split: two or more are needed.")
    count = min(len(people) - 1, max(1, round(share * len(people))))
    return {people[i] for i in np.random.default_rng(seed).permutation(len(people))[:count]}


def drawn_fold(listed: Sequence[Record], share: float, seed: int) -> Fold:
    """One fold that holds out a share of the people.

    Raises:
      ValueError: a record without a subject, or fewer than two people.
    """
    for record in listed:
        if record.subject is None:
            raise ValueError(f"{record.name} has no subject, so people cannot be held out: give every record one.")
    out = held_out([r.subject for r in listed if r.subject is not None], share, seed)
    train = tuple(i for i, r in enumerate(listed) if r.subject not in out)
    return Fold(train, tuple(i for i, r in enumerate(listed) if r.subject in out))


def _cross(tests: str, source: str) -> Protocol:
    return Protocol("ck_plus", "six_neutral", 1, source, by="cross", tests=tests)


PROTOCOLS: dict[str, Protocol] = {
    "ck_plus_7_10fold": Protocol(
        "ck_plus", "seven", 10, "IA-gen IV-C (8 runs); DE-GAN 4.2; ED2L 3.2; GCNet IV-B, without a count",
        images=981, people=118, runs={"ia_gen": 8},
    ),
    "ck_plus_8_10fold": Protocol("ck_plus", "eight", 10, "GCNet IV-C: neutral is the eighth class"),
    "oulu_strong_10fold": Protocol(
        "oulu_casia", "six", 10, "IA-gen IV-D; DE-GAN 4.2; ED2L 3.2; GCNet IV-B ('normal illumination')",
        images=1440, people=80, options={"camera": "VL", "light": "Strong"},
    ),
    "mmi_10fold": Protocol(
        "mmi", "six", 10, "DE-GAN 4.2 (208 sequences, 31 people); ED2L 3.2 (209, 32); GCNet IV-B (205, 30)"
    ),
    "bu3dfe_10fold": Protocol(
        "bu3dfe", "six", 10, "IA-gen IV-E (10 runs); ED2L 3.2", images=1200, people=100, runs={"ia_gen": 10}
    ),
    "bu4dfe_10fold": Protocol(
        "bu4dfe", "six", 10, "IA-gen IV-F (10 runs; prints 4,272 for 101 x 6 x 7)",
        images=4242, people=101, runs={"ia_gen": 10},
    ),
    "sfew_2fold": Protocol(
        "sfew", "six_neutral", 2, "CycleAT 4.1: two sets", by="split", images=700, parts=("set1", "set2")
    ),
    "emotionet_5fold": Protocol("emotionet", "six", 5, "CycleAT 4.1: 913 to 228 pictures", by="split", images=1141),
    "bu3dfe_80_20": Protocol(
        "bu3dfe", "six_neutral", 1, "CycleAT 4.1: 80 people to 20, drawn", by="share", share=0.2,
        images=185_900, people=100, stand_ins=("folder",),
    ),
    "cross_fer2013": _cross(
        "fer2013/private_test", "GCNet IV-F, Table VI: on CK+, then with Oulu-CASIA, then with MMI too"
    ),
    "cross_sfew": _cross("sfew/validation", "GCNet IV-F, Table VI: on CK+, MMI and Oulu-CASIA"),
    "cross_raf": _cross("raf_db", "GCNet IV-F, Table VI: on CK+, then with Oulu-CASIA, then with MMI too"),
}  # fmt: skip
"""Name -> protocol."""


def of_dataset(dataset: str) -> dict[str, Protocol]:
    """The protocols that deal a data set to folds."""
    return {name: p for name, p in PROTOCOLS.items() if p.dataset == dataset and p.by != "cross"}
