"""CycleAT's three domains: labelled source, unlabelled auxiliary, and a target with few labels, as records and batches.

    (nothing)                                             rendered: lab + posed, half of the people of wild, the others
    --dataset=bu3dfe --data_dir=... --auxiliary=celeba=/data/celeba,lfw=/data/lfw --target=sfew=/data/sfew
    --target=fer2013=/data/fer2013 --target_labels=700

Where --auxiliary and --target name the same place, the first half of its people is auxiliary, the other the target.
A target with people is dealt to --folds by subject; one whose data set has parts without people (SFEW's two sets)
holds out each part in turn, or trains on "train" and tests the others where it has such a part. With --test_on all of
the target is trained on, and of that set those faces are tested that are of the target's domains:

    --dataset=rendered2 --data_dir=F --auxiliary=rendered2/wild=F --target=rendered2/wild=F --test_on=rendered2/judge=J
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fer_tf import catalogue, faces, figures, pipeline, protocols, records
from fer_tf.models import cycle_at
from fer_tf.store import Store

from ...run import cross, data, foldings, jobs
from ...run.settings import FEEDS, setting


@dataclass(frozen=True, kw_only=True)
class Wild(cross.Elsewhere):
    """The domains: --dataset is the source."""

    classes: str = "six_neutral"
    folds: int = 2
    batch_size: int = 32
    max_subjects: int = setting(0, "Only the first so many subjects of each domain; 0 for all.", low=0)
    auxiliary: tuple[str, ...] = setting(
        ("rendered/wild",), "Unlabelled web faces: name[/part][=folder], several with commas.", place="named"
    )
    target: str = setting("rendered/wild", "Faces in the wild with labels: name[/part][=folder].", place="named")
    target_labels: int = setting(0, "Draw so many labelled ones of a fold's training part; 0 for all.", low=0)
    source_test: float = setting(0.2, "Share of the source's people who are tested (Table 2).", low=0.01, high=0.9)
    source_run: str = setting(
        "", "Folder of a finished run whose f_S and generators are taken, on another target.", place="path"
    )
    size: int = setting(256, "Pixels a side of a face.", low=16)
    epoch_views: int = setting(0, "Views of a target epoch, about: few faces are shown more often; 0: once.", low=0)

    @property
    def tested_name(self) -> str:
        """That of --test_on where it is given; else the target."""
        return catalogue.place_of(self.test_on or self.target)

    @property
    def learnt_from(self) -> list[str]:
        """Source, auxiliary and target."""
        return [*super().learnt_from, *map(cross.people_of, (*self.auxiliary, self.target))]

    @property
    def data_protocol(self) -> protocols.Protocol | None:
        """The protocol of the source; None where --protocol is the target's."""
        return None if self.target_protocol else super().data_protocol

    @property
    def target_protocol(self) -> protocols.Protocol | None:
        """The protocol that deals the target by its own parts."""
        chosen = protocols.PROTOCOLS[self.protocol] if self.protocol else None
        return chosen if chosen is not None and chosen.by == "split" else None

    @property
    def template(self) -> faces.Template:
        """The frame of a face of --size pixels."""
        return faces.Template.fer2013(cycle_at.TEMPLATE, (self.size, self.size))

    @classmethod
    def by_protocol(cls, values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """As for folds; one that draws a share of the people gives --source_test, too."""
        dealt = super().by_protocol(values, given)
        chosen = protocols.PROTOCOLS[values["protocol"]] if values["protocol"] else None
        if chosen is None or chosen.by != "share":
            return dealt
        if given.get("source_test", chosen.share) != chosen.share:
            raise ValueError(
                f"--protocol={values['protocol']} has source_test {chosen.share}: leave "
                f"--source_test={given['source_test']} out, or the protocol."
            )
        return {**dealt, "source_test": chosen.share}

    @classmethod
    def dataset_by(
        cls, chosen: protocols.Protocol, name: str, values: Mapping[str, Any], given: Mapping[str, Any]
    ) -> dict[str, Any]:
        """As for folds; a protocol of the target needs --target to name it, and leaves --dataset alone."""
        if chosen.by != "split":
            return super().dataset_by(chosen, name, values, given)
        if catalogue.place_of(values["target"]) != chosen.dataset:
            raise ValueError(f"{name} is the target's: give --target={chosen.dataset}=<folder>.")
        return {}


class Domains(NamedTuple):
    """The records of a run; `folds` are places in `target`, behind which come those of --test_on, `elsewhere`."""

    source: list[records.Record]
    auxiliary: list[records.Record]
    target: list[records.Record]
    folds: list[records.Fold]
    elsewhere: Sequence[records.Record] = ()

    def held_out(self, number: int) -> list[records.Record]:
        """Whom a fold tests."""
        everybody = [*self.target, *self.elsewhere]
        return [everybody[i] for i in self.folds[number].test]


def load(settings: Wild, classes: tuple[str, ...], folder: Path) -> Domains:
    """The three domains; the folds of the target are checked for leaks and written to folds.json.

    Args:
      settings: dataset, auxiliary, target, max_subjects, strict, and what deals the target.
      classes: of the source; the target's are those of the settings.
      folder: of the run.
    Raises:
      ValueError: a person or a picture of the test is in the training part or in another domain; too few people.
      FileNotFoundError: a data set is not there.
    """
    source = load_source(settings, classes)
    if [place for place in settings.auxiliary if catalogue.place_of(place) == catalogue.place_of(settings.target)]:
        if len(settings.auxiliary) > 1:
            raise ValueError("--auxiliary names --target beside others: give either the same place, or other ones.")
        auxiliary, target = halves(cross.load(settings.target, None, settings.detector))
    else:
        auxiliary = [r for place in settings.auxiliary for r in cross.load(place, None, settings.detector)]
        target = cross.load(settings.target, None, settings.detector)
    target = records.of_classes(target, settings.labels)
    if not source or not auxiliary or not target:
        raise ValueError(f"A domain is empty: source {len(source)}, auxiliary {len(auxiliary)}, target {len(target)}.")
    data.refuse_one_class(source, classes, data.place(settings))
    data.refuse_one_class(target, classes, f"--target={settings.target}")
    parts = (first_people(part, settings.max_subjects) for part in (source, auxiliary, target))
    source, auxiliary, target = (usable(settings, part) for part in parts)
    other = usable(settings, elsewhere(settings, target)) if settings.test_on else []
    folds = target_folds(settings, source, auxiliary, [*target, *other], classes, folder, len(other))
    return Domains(source, auxiliary, target, folds, other)


def elsewhere(settings: Wild, target: Sequence[records.Record]) -> list[records.Record]:
    """Of --test_on the faces that show one of the classes and are of the target's domains.

    Raises:
      ValueError: there are none; or something else says how the target is dealt.
    """
    if settings.manifest or settings.validation or settings.split != "auto" or settings.target_protocol is not None:
        raise ValueError(
            f"--test_on={settings.test_on} is tested as a whole: leave --manifest, --validation, --split and the "
            "target's --protocol out."
        )
    domains = {record.domain for record in target}
    listed = [r for r in cross.load(settings.test_on or "", settings.labels, settings.detector) if r.domain in domains]
    if not listed:
        raise ValueError(f"--test_on={settings.test_on} has no face of the target's domains ({_named(domains)}).")
    return listed


def elsewhere_rule(settings: Wild) -> str:
    """How --test_on deals, in words."""
    return f"all of {catalogue.place_of(settings.target)} is trained on, {settings.tested_name} tested"


def _named(domains: Collection[str | None]) -> str:
    return ", ".join(sorted(str(domain) for domain in domains))


def load_source(settings: Wild, classes: tuple[str, ...]) -> list[records.Record]:
    """The records of --dataset, of the rendered faces lab and posed; subjects bear the data set's name, too."""
    listed = data.load(settings, classes, **({"part": "all"} if settings.dataset in catalogue.RENDERED else {}))
    if settings.dataset in catalogue.RENDERED:
        listed = [r for r in listed if r.domain in ("lab", "posed")]
    return [r if r.subject is None else replace(r, subject=f"{settings.data_name}:{r.subject}") for r in listed]


def halves(listed: Sequence[records.Record]) -> tuple[list[records.Record], list[records.Record]]:
    """(those of the first half of the people, those of the others); who is not named is in neither."""
    people = records.subject_order(r.subject for r in listed if r.subject is not None)
    first = {*people[: len(people) // 2]}
    others = [r for r in listed if r.subject not in first and r.subject is not None]
    return [r for r in listed if r.subject in first], others


def usable(settings: Wild, listed: list[records.Record]) -> list[records.Record]:
    """Those whose face can be cut; the others are named on stderr with --strict=false, and refused without it.

    So one of 200,000 auxiliary pictures does not end a run that has trained f_S by then. A job of the grid leaves it to
    those that train on the source, which come first.
    """
    later = jobs.listing(settings) or (jobs.is_one(settings) and "/source/" not in settings.job)
    if later and settings.strict:
        return listed
    doubtful = [i for i, r in enumerate(listed) if not {"framed", "landmarks"} & {*r.info} or not settings.strict]
    if not doubtful:
        return listed
    store = Store([listed[i] for i in doubtful], settings.template, 3, settings.strict)
    store.check()
    for error in store.skipped.values():
        print(f"left out: {error}", file=sys.stderr)
    missed = {doubtful[place] for place in store.skipped}
    kept = [r for i, r in enumerate(listed) if i not in missed]
    if not kept:
        raise ValueError(f"None of {len(listed)} pictures shows a face that can be cut.")
    return kept


def first_people(listed: list[records.Record], count: int) -> list[records.Record]:
    """Those of the first `count` subjects; all when it is 0, or nobody is named."""
    named = [r for r in listed if r.subject is not None]
    return data.first_subjects(named, count) if count and named else listed


def target_folds(
    settings: Wild,
    source: Sequence[records.Record],
    auxiliary: Sequence[records.Record],
    target: list[records.Record],
    classes: tuple[str, ...],
    folder: Path,
    other: int = 0,
) -> list[records.Fold]:
    """Those of --manifest, or of the target's protocol, or by subject; where nobody is named, by the target's parts.

    Args:
      settings, source, auxiliary, target, classes, folder: of the run.
      other: how many of the target's, the last ones, are --test_on's.
    """
    parts, order, people = dealt(settings, target, other)
    if settings.validation:
        parts = [data.validated(settings, target, fold) for fold in parts]
    seen = [replace(r, expression=None) for r in (*source, *auxiliary)]  # by the GAN, or without labels
    everything = [*target, *seen]
    hashes = records.content_hashes(everything)
    if not settings.manifest:
        parts = [without_copies(settings, target, fold, hashes) for fold in parts]
    for number, fold in enumerate(parts):
        whole = records.Fold((*fold.train, *range(len(target), len(everything))), fold.test)
        for warning in records.check_fold(everything, whole, classes, hashes=hashes):
            print(f"fold {number}: {warning}", file=sys.stderr)
    given = {
        "frames": "all",
        "order": order,
        "hashes": hashes[: len(target)],
        "people": people,
        "listing": jobs.listing(settings),
    }
    foldings.write(folder, target, parts, **given)
    figures.note(folder, people)
    return parts


def dealt(settings: Wild, target: list[records.Record], other: int = 0) -> tuple[list[records.Fold], str | None, str]:
    """(folds, how they were dealt, what is to be said of people): arguments and errors as of `target_folds`."""
    chosen, order, people = settings.target_protocol, settings.fold_order, ""
    own = len(target) - other
    if other:
        parts, order = [records.Fold(tuple(range(own)), tuple(range(own, len(target))))], elsewhere_rule(settings)
    elif settings.split != "auto" and (settings.manifest or chosen is not None):
        raise ValueError(f"--manifest or --protocol says how the target is dealt: leave --split={settings.split} out.")
    elif settings.manifest:
        parts, order = records.read_manifest(settings.manifest, target), f"as in {Path(settings.manifest).name}"
    elif chosen is not None:
        chosen.check(target)
        parts, order = chosen.fold(target), settings.protocol
    elif settings.split == "random":
        parts = protocols.random_folds(target, settings.folds, settings.seed, records.content_hashes(target))
        order = people = protocols.RANDOM
    elif settings.split == "people" or (settings.split == "auto" and all(r.subject is not None for r in target)):
        parts = records.subject_folds(target, settings.folds, order)
    else:
        parts, order, people = own_parts(settings, target), OWN_PARTS, protocols.OWN
    return parts, order, people


OWN_PARTS = "the data set's own parts"
"""How the target is dealt where nobody is named."""


def own_parts(settings: Wild, target: Sequence[records.Record]) -> list[records.Fold]:
    """Trains on "train" and tests "private_test", or what else there is; without a "train" each part in turn is tested.

    A protocol (`protocols.split_folds`) also says which parts there have to be; here they are what the data has.

    Raises:
      ValueError: there is one part alone.
    """
    names = sorted({r.split or "" for r in target})
    if len(names) < 2:
        raise ValueError(
            f"--target={settings.target} names neither people nor two parts, so nobody can be held out: "
            "--split=random deals its pictures, by which one person may be trained on and tested."
        )
    places = {name: tuple(i for i, r in enumerate(target) if (r.split or "") == name) for name in names}
    if "train" in places:
        tested = ["private_test"] if "private_test" in names else [name for name in names if name != "train"]
        return [records.Fold(places["train"], tuple(i for name in tested for i in places[name]))]
    return [records.Fold(tuple(i for n in names if n != out for i in places[n]), places[out]) for out in names]


def without_copies(
    settings: Wild, target: Sequence[records.Record], fold: records.Fold, hashes: Sequence[str]
) -> records.Fold:
    """The fold without those test pictures that are training pictures again; how many is told on stderr.

    Where the data set's module has `duplicates_of`, resized copies are looked for, too.
    """
    seen = {hashes[i] for i in fold.train}
    copies = {i for i in fold.test if hashes[i] in seen}
    module = catalogue.module(settings.tested_name.partition("/")[0])
    if hasattr(module, "duplicates_of"):
        test, train = (
            np.stack([pipeline.read_image(target[i])[..., 0] for i in part]) for part in (fold.test, fold.train)
        )
        copies |= {i for i, copy in zip(fold.test, module.duplicates_of(test, train), strict=True) if copy}
    if copies:
        print(f"left out of the test: {len(copies)} pictures that are in the training part, too", file=sys.stderr)
    return records.Fold(fold.train, tuple(i for i in fold.test if i not in copies))


def labelled(settings: Wild, listed: list[records.Record], seed: int) -> list[records.Record]:
    """--target_labels of them, drawn by the seed; all when it is 0."""
    if not settings.target_labels or settings.target_labels >= len(listed):
        return listed
    chosen = np.random.default_rng(seed).choice(len(listed), settings.target_labels, replace=False)
    return [listed[i] for i in sorted(chosen)]


def split_source(
    settings: Wild, listed: Sequence[records.Record], seed: int
) -> tuple[list[records.Record], list[records.Record]]:
    """(training people's, tested people's): --source_test of the people, drawn by the seed, are tested (section 4.1).

    Raises:
      ValueError: fewer than two people.
    """
    try:
        out = protocols.held_out([r.subject for r in listed if r.subject is not None], settings.source_test, seed)
    except ValueError as error:
        raise ValueError(f"--dataset={settings.dataset} names too few to test some: {error}") from error
    return [r for r in listed if r.subject not in out], [r for r in listed if r.subject in out]


def batches(
    settings: Wild,
    listed: Sequence[records.Record],
    classes: Sequence[str],
    seed: int,
    batch_size: int = 0,
    views: int = 1,
) -> pipeline.Batches:
    """Batches in colour: of `views` random views each to train on; of the faces as they are where batch_size is 0."""
    made = pipeline.batches(
        list(listed),
        classes=classes,
        template=settings.template,
        views=cycle_at.views,
        batch_size=batch_size or 128,
        seed=seed,
        training=bool(batch_size),
        views_per_image=views,
        channels=3,
        strict=settings.strict,
        device=FEEDS[settings.feed],
    )
    data.tell_skipped(made)
    return made


def target_batches(
    settings: Wild, listed: Sequence[records.Record], classes: Sequence[str], seed: int
) -> pipeline.Batches:
    """To train on: an epoch has about --epoch_views views."""
    views = max(1, round(settings.epoch_views / len(listed)))
    return batches(settings, listed, classes, seed, settings.batch_size, views)


def pictures(settings: Wild, listed: Sequence[records.Record]) -> np.ndarray:
    """The faces as they are, (N, size, size, 3) uint8."""
    made, files = np.zeros((len(listed), settings.size, settings.size, 3), np.uint8), {}
    try:
        for place, record in enumerate(listed):
            made[place] = pipeline.face(record, settings.template, 3, files)
    finally:
        for file in files.values():
            file.close()
    return made


def as_records(images: np.ndarray, labels: Sequence[str | None], domain: str) -> list[records.Record]:
    """Faces (N, H, W, 3) uint8 that were made, as records."""
    return [
        records.Record(image, label, domain=domain, info={"framed": True, "made": True})
        for image, label in zip(images, labels, strict=True)
    ]
