"""CycleAT's three domains: labelled source, unlabelled auxiliary, and a target with few labels, as records and batches.

    (nothing)                                             rendered: lab + posed, half of the people of wild, the others
    --dataset=bu3dfe --data_dir=... --auxiliary=celeba=/data/celeba,lfw=/data/lfw --target=sfew=/data/sfew
    --target=fer2013=/data/fer2013 --target_labels=700

Where --auxiliary and --target name the same place, the first half of its people is auxiliary, the other the target.
A target with people is dealt to --folds by subject; one whose data set has parts without people (SFEW's two sets)
holds out each part in turn, or trains on "train" and tests the others where it has such a part.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import flags

from fer_tf import faces, pipeline, protocols, records
from fer_tf.models import cycle_at

from ...run import common, cross

FLAGS = flags.FLAGS


def define_flags() -> None:
    """--auxiliary, --target and what is taken of them, --size, --batch_size's companions."""
    flags.DEFINE_list(
        "auxiliary", ["rendered/wild"], "Unlabelled web faces: name[/part][=folder], several with commas."
    )
    flags.DEFINE_string("target", "rendered/wild", "Faces in the wild with labels: name[/part][=folder].")
    flags.DEFINE_integer("target_labels", 0, "Draw so many labelled ones of a fold's training part; 0 for all.", 0)
    flags.DEFINE_float("source_test", 0.2, "Share of the source's people who are tested (Table 2).", 0.01, 0.9)
    flags.DEFINE_integer("size", 256, "Pixels a side of a face.", lower_bound=16)
    flags.DEFINE_integer("take", 0, "Only the first so many subjects of each domain; 0 for all.", lower_bound=0)
    flags.DEFINE_integer(
        "epoch_views", 0, "Views of a target epoch, about: few faces are shown more often; 0: once.", 0
    )


class Domains(NamedTuple):
    """The records of a run; `folds` are places in `target`."""

    source: list[records.Record]
    auxiliary: list[records.Record]
    target: list[records.Record]
    folds: list[records.Fold]


def load(classes: tuple[str, ...], folder: Path) -> Domains:
    """The three domains of the flags; the folds of the target are checked for leaks and written to folds.json.

    Raises:
      ValueError: a person or a picture of the test is in the training part or in another domain; too few people.
      FileNotFoundError: a data set is not there.
    """
    source = common.load_records(classes, **({"part": "all"} if FLAGS.dataset == "rendered" else {}))
    if FLAGS.dataset == "rendered":
        source = [r for r in source if r.domain in ("lab", "posed")]
    source = [r if r.subject is None else replace(r, subject=f"{common.dataset_name()}:{r.subject}") for r in source]
    if [place for place in FLAGS.auxiliary if cross.named(place) == cross.named(FLAGS.target)]:
        if len(FLAGS.auxiliary) > 1:
            raise ValueError("--auxiliary names --target beside others: give either the same place, or other ones.")
        everybody = cross.load(FLAGS.target, None)
        people = records.subject_order(r.subject for r in everybody if r.subject is not None)
        half = {*people[: len(people) // 2]}
        auxiliary = [r for r in everybody if r.subject in half]
        target = [r for r in everybody if r.subject not in half and r.subject is not None]
    else:
        auxiliary = [r for place in FLAGS.auxiliary for r in cross.load(place, None)]
        target = cross.load(FLAGS.target, None)
    target = records.of_classes(target, classes)
    if not source or not auxiliary or not target:
        raise ValueError(f"A domain is empty: source {len(source)}, auxiliary {len(auxiliary)}, target {len(target)}.")
    source, auxiliary, target = (usable(first_people(part)) for part in (source, auxiliary, target))
    return Domains(source, auxiliary, target, target_folds(source, auxiliary, target, classes, folder))


def usable(found: list[records.Record]) -> list[records.Record]:
    """All of them; with --strict=false those whose face can be cut, the others are named on stderr."""
    if FLAGS.strict:
        return found
    kept, files = [], {}
    for record in found:
        try:
            pipeline.face(record, template(), 3, files)
            kept.append(record)
        except ValueError as error:
            print(f"left out: {error}", file=sys.stderr)
    if not kept:
        raise ValueError(f"None of {len(found)} pictures shows a face that can be cut.")
    return kept


def first_people(found: list[records.Record]) -> list[records.Record]:
    """Those of the first --take subjects; all when it is 0, or nobody is named."""
    people = records.subject_order(r.subject for r in found if r.subject is not None)[: FLAGS.take or None]
    return [r for r in found if r.subject in people] if FLAGS.take and people else found


def target_folds(
    source: Sequence[records.Record],
    auxiliary: Sequence[records.Record],
    target: Sequence[records.Record],
    classes: tuple[str, ...],
    folder: Path,
) -> list[records.Fold]:
    """By subject; where nobody is named, by the data set's own parts."""
    order, chosen = common.order(), common.protocol()
    if FLAGS.manifest:
        parts, order = records.read_manifest(FLAGS.manifest, list(target)), f"as in {Path(FLAGS.manifest).name}"
    elif chosen is not None and common.of_the_target(chosen):
        chosen.check(target)
        parts, order = chosen.fold(list(target)), FLAGS.protocol
    elif all(r.subject is not None for r in target):
        parts = records.subject_folds(list(target), FLAGS.folds, order)
    else:
        parts, order = split_folds(target), "the data set's own parts"
    seen = [replace(r, expression=None) for r in (*source, *auxiliary)]  # by the GAN, or without labels
    everything = [*target, *seen]
    hashes = records.content_hashes(everything)
    if order in ("the data set's own parts", FLAGS.protocol):
        parts = [without_copies(target, fold, hashes) for fold in parts]
    for number, fold in enumerate(parts):
        whole = records.Fold((*fold.train, *range(len(target), len(everything))), fold.test)
        for warning in records.check_fold(everything, whole, classes, hashes=hashes):
            print(f"fold {number}: {warning}", file=sys.stderr)
    records.write_manifest(
        folder / "folds.json", list(target), parts, frames="all", order=order, hashes=hashes[: len(target)]
    )
    return parts


def split_folds(target: Sequence[records.Record]) -> list[records.Fold]:
    """Trains on "train" and tests "private_test", or what else there is; without a "train" each part in turn is tested.

    Raises:
      ValueError: there is one part alone.
    """
    names = sorted({r.split or "" for r in target})
    if len(names) < 2:
        raise ValueError(f"--target={FLAGS.target} names neither people nor two parts, so nobody can be held out.")
    places = {name: tuple(i for i, r in enumerate(target) if (r.split or "") == name) for name in names}
    if "train" in places:
        tested = ["private_test"] if "private_test" in names else [name for name in names if name != "train"]
        return [records.Fold(places["train"], tuple(i for name in tested for i in places[name]))]
    return [records.Fold(tuple(i for n in names if n != out for i in places[n]), places[out]) for out in names]


def without_copies(target: Sequence[records.Record], fold: records.Fold, hashes: Sequence[str]) -> records.Fold:
    """The fold without those test pictures that are training pictures again; how many is told on stderr.

    Where the data set's module has `duplicates_of`, resized copies are looked for, too.
    """
    seen = {hashes[i] for i in fold.train}
    copies = {i for i in fold.test if hashes[i] in seen}
    module = importlib.import_module(f"fer_tf.datasets.{cross.named(FLAGS.target).partition('/')[0]}")
    if hasattr(module, "duplicates_of"):
        test, train = (
            np.stack([pipeline.read_image(target[i])[..., 0] for i in part]) for part in (fold.test, fold.train)
        )
        copies |= {i for i, copy in zip(fold.test, module.duplicates_of(test, train), strict=True) if copy}
    if copies:
        print(f"left out of the test: {len(copies)} pictures that are in the training part, too", file=sys.stderr)
    return records.Fold(fold.train, tuple(i for i in fold.test if i not in copies))


def labelled(found: list[records.Record], seed: int) -> list[records.Record]:
    """--target_labels of them, drawn by the seed; all when it is 0."""
    if not FLAGS.target_labels or FLAGS.target_labels >= len(found):
        return found
    chosen = np.random.default_rng(seed).choice(len(found), FLAGS.target_labels, replace=False)
    return [found[i] for i in sorted(chosen)]


def split_source(found: list[records.Record], seed: int) -> tuple[list[records.Record], list[records.Record]]:
    """(training people's, tested people's): --source_test of the people, drawn by the seed, are tested (section 4.1).

    Raises:
      ValueError: fewer than two people.
    """
    try:
        out = protocols.held_out([r.subject for r in found if r.subject is not None], FLAGS.source_test, seed)
    except ValueError as error:
        raise ValueError(f"--dataset={FLAGS.dataset} names too few to test some: {error}") from error
    return [r for r in found if r.subject not in out], [r for r in found if r.subject in out]


def template() -> faces.Template:
    """The frame of a face of --size pixels."""
    return faces.Template.fer2013(cycle_at.TEMPLATE, (FLAGS.size, FLAGS.size))


def batches(
    found: Sequence[records.Record], classes: Sequence[str], seed: int, batch_size: int = 0, views: int = 1
) -> pipeline.Batches:
    """Batches in colour: of `views` random views each to train on; of the faces as they are where batch_size is 0."""
    data = pipeline.batches(
        list(found),
        classes=classes,
        template=template(),
        views=cycle_at.views,
        batch_size=batch_size or 128,
        seed=seed,
        training=bool(batch_size),
        views_per_image=views,
        channels=3,
        strict=FLAGS.strict,
    )
    common.tell_skipped(data)
    return data


def target_batches(found: Sequence[records.Record], classes: Sequence[str], seed: int) -> pipeline.Batches:
    """To train on: an epoch has about --epoch_views views."""
    return batches(found, classes, seed, FLAGS.batch_size, max(1, round(FLAGS.epoch_views / len(found))))


def pictures(found: Sequence[records.Record]) -> np.ndarray:
    """The faces as they are, (N, size, size, 3) uint8."""
    made, files = np.zeros((len(found), FLAGS.size, FLAGS.size, 3), np.uint8), {}
    try:
        for place, record in enumerate(found):
            made[place] = pipeline.face(record, template(), 3, files)
    finally:
        for file in files.values():
            file.close()
    return made


def as_records(images: np.ndarray, labels: Sequence[str | None], domain: str) -> list[records.Record]:
    """Faces (N, H, W, 3) uint8 that were made, as records."""
    return [
        records.Record(image, label, domain=domain, info={"framed": True})
        for image, label in zip(images, labels, strict=True)
    ]
