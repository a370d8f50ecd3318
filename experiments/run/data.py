"""Records and folds of a run, as its settings say: loaded, checked for leaks, written to folds.json."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import cascade, catalogue, figures, pipeline, protocols, records
from fer_tf.datasets import prepared, rendered2

from . import foldings, jobs
from .settings import FEEDS, Folds


def load(settings: Folds, classes: Sequence[str] | None, **options: Any) -> list[records.Record]:
    """The records of --dataset that show one of the classes; all of them for None, without a label or with any.

    Args:
      settings: dataset, data_dir, options, protocol.
      classes: to keep.
      options: of the data set, where --options says nothing.
    Raises:
      ValueError: fewer than two classes, a damaged file, or no record that shows one of the classes.
      FileNotFoundError: it is not there; the message shows what is expected.
    """
    if classes is not None and min(len(classes), len(settings.labels)) < 2:
        raise ValueError(f"--classes={settings.classes} is one class, with nothing to tell it from: give two or more.")
    where = place(settings)
    try:
        listed = _listed(settings, {**options, **catalogue.options(settings.dataset, settings.options)}, where)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{where} cannot be read, a file of it is damaged: {error}") from error
    kept = listed if classes is None else records.of_classes(listed, classes)
    if not kept:
        shown = "" if classes is None else f" of {', '.join(classes)}: give other --classes"
        raise ValueError(f"{where} has no image{shown}.")
    return searched(kept, where, settings.detector)


def _listed(settings: Folds, options: dict[str, Any], where: str) -> list[records.Record]:
    """All records of --dataset, checked against the protocol that deals it."""
    if (settings.dataset, options.get("part")) == ("rendered2", rendered2.JUDGE):
        raise ValueError("part=judge is who judges, never trained on nor chosen by: --test_on=rendered2/judge=<file>.")
    chosen = settings.data_protocol
    if chosen is not None and settings.dataset == chosen.dataset:
        catalogue.refuse_others(chosen, options)
        options = {**chosen.options, **options}
    labels = [settings.labels_] if settings.labels_ else []
    listed = catalogue.load(settings.dataset, settings.data_dir, options, *labels)
    if chosen is not None:
        if settings.dataset == "prepared":
            if settings.data_name not in (chosen.dataset, *chosen.stand_ins):
                raise ValueError(
                    f"{where} has {settings.data_name}, --protocol={settings.protocol} is of {chosen.dataset}."
                )
            catalogue.refuse_others(chosen, prepared.about(settings.data_dir)["options"])
        chosen.check(listed, images=settings.dataset != chosen.dataset)
    return listed


def place(settings: Folds) -> str:
    """The flags that name the data set."""
    text = f"--dataset={settings.dataset} --data_dir={settings.data_dir or ''}"
    return text + (f" --options={','.join(settings.options)}" if settings.options else "")


def searched(listed: Sequence[records.Record], where: str, detector: str = "dlib") -> list[records.Record]:
    """The records, of which those whose face is to be found say by which detector.

    Says, on stderr, how many these are, and the command that finds their faces once for all.

    Args:
      listed: the records.
      where: the flags that name them.
      detector: dlib, mtcnn, or auto: MTCNN where it is installed, else dlib, which is said.
    Raises:
      ModuleNotFoundError: MTCNN is asked for and not installed.
    """
    stored = [isinstance(r.image, tuple) and not records.is_frame(r.image) for r in listed]
    known = [inside or {"framed", "landmarks", "box"} & {*r.info} for inside, r in zip(stored, listed, strict=True)]
    if all(known):
        return list(listed)
    if detector == "auto" and not cascade.installed():
        print("The paper's detector, MTCNN, is not installed, so that dlib's finds the faces: "
              'pip install "fer-tf[mtcnn]" brings it.', file=sys.stderr)  # fmt: skip
    if detector == "mtcnn":
        cascade.need()
    detector = "mtcnn" if detector != "dlib" and cascade.installed() else "dlib"
    flag = "" if detector == "dlib" else f" --detector={detector}"
    print(
        f"{len(known) - sum(map(bool, known))} pictures will be searched for faces, at each start. To do it once: "
        f"python -m experiments.prepare {where} --align=<paper>{flag} --out=faces.h5; then --dataset=prepared "
        "--data_dir=faces.h5",
        file=sys.stderr,
    )
    return [r if inside else found_by(r, detector) for r, inside in zip(listed, known, strict=True)]


def found_by(record: records.Record, detector: str) -> records.Record:
    """The record, which says what finds its face where that is not dlib's detector."""
    return record if detector == "dlib" else replace(record, info={**record.info, "detector": detector})


def make_folds(
    settings: Folds, listed: list[records.Record], classes: tuple[str, ...], folder: Path
) -> list[records.Fold]:
    """The folds of --manifest, or those of --protocol, or by subject; checked for leaks, written to folds.json.

    Raises:
      ValueError: a leak, too few subjects, or a manifest of other data; warnings go to stderr.
    """
    refuse_one_class(listed, [c for c in classes if c in settings.labels] or classes, place(settings))
    hashes = records.content_hashes(listed)  # reads every image, so once for all folds
    folds, how, people = dealt(settings, listed, hashes)
    if people:
        print(f"{place(settings)}: {how}.", file=sys.stderr)
    if settings.validation:
        folds, how = [validated(settings, listed, fold) for fold in folds], f"{how}; {settings.validation_people}"
    for number, fold in enumerate(folds):
        for warning in records.check_fold(listed, fold, classes, hashes=hashes):
            print(f"fold {number}: {warning}", file=sys.stderr)
    options = catalogue.options(settings.dataset, settings.options)
    frames = catalogue.frame_rule(settings.dataset, settings.data_dir, options)
    foldings.write(
        folder, listed, folds, frames=frames, order=how, hashes=hashes, people=people, listing=jobs.listing(settings)
    )
    figures.note(folder, people)
    return folds


def validated(settings: Folds, listed: Sequence[records.Record], fold: records.Fold) -> records.Fold:
    """--validation of the fold's training people are tested, the others train; whom the fold tests is in neither part.

    Raises:
      ValueError: a training face names nobody, or there are fewer than two people.
    """
    people = [listed[i].subject for i in fold.train]
    if None in people or not {*people}.isdisjoint(listed[i].subject for i in fold.test):
        raise ValueError("--validation holds people out, and these folds are not made of people who are named.")
    out = protocols.held_out([p for p in people if p is not None], settings.validation, settings.seed)
    inner, tested = ([i for i in fold.train if (listed[i].subject in out) == held] for held in (False, True))
    return records.Fold(tuple(inner), tuple(tested))


def refuse_one_class(listed: Sequence[records.Record], classes: Sequence[str], where: str) -> None:
    """Raises ValueError where all of the records show one of the classes."""
    own = records.of_classes(listed, classes)
    shown = sorted({r.expression or "" for r in own})
    if len(shown) == 1:
        raise ValueError(
            f"{where}: all {len(own)} pictures show {shown[0]}, with nothing to tell it from: two or more of "
            f"{', '.join(classes)} are needed."
        )


def refuse_undealt(settings: Folds, listed: list[records.Record], classes: Sequence[str]) -> None:
    """Raises ValueError where `make_folds` would, but for what only the pictures say: before anything is written."""
    refuse_one_class(listed, [c for c in classes if c in settings.labels] or classes, place(settings))
    if not settings.manifest:
        dealt(settings, listed, [str(i) for i in range(len(listed))])


def refuse_nameless(listed: Sequence[records.Record], why: str) -> None:
    """Raises ValueError, with `why`, where a record has no subject: before anything is trained."""
    nameless = [r for r in listed if r.subject is None]
    if nameless:
        raise ValueError(
            f"{nameless[0].name} has no subject ({len(nameless)} of {len(listed)} pictures have none), and {why}: give "
            "every record one, or leave it out."
        )


def dealt(settings: Folds, listed: list[records.Record], hashes: Sequence[str]) -> tuple[list[records.Fold], str, str]:
    """(folds, how they were dealt, what is to be said of people, if they are not made of them): see --split.

    Raises:
      ValueError: they cannot be made so; the message says how they can.
    """
    chosen, order, split = settings.data_protocol, settings.fold_order, settings.split
    if split != "auto" and (settings.manifest or chosen is not None):
        other = "--manifest" if settings.manifest else f"--protocol={settings.protocol}"
        raise ValueError(f"{other} says how pictures are dealt to folds: leave it out, or --split={split}.")
    if settings.manifest:
        folds, how = records.read_manifest(settings.manifest, listed), f"as in {Path(settings.manifest).name}"
        return folds, how, "" if all(r.subject for r in listed) else protocols.OWN
    if chosen is not None:
        people = protocols.OWN if chosen.by == "split" else ""
        return chosen.fold(listed, order, settings.seed), f"{settings.protocol}, {order}", people
    nameless = [r for r in listed if r.subject is None]
    if split == "random":
        folds = protocols.random_folds(listed, settings.folds, settings.seed, hashes)
        return folds, f"{settings.folds} folds, {protocols.RANDOM}", protocols.RANDOM
    if split == "own" or (split == "auto" and nameless):
        try:
            folds, words = protocols.own_folds(listed, hashes)
        except ValueError as error:
            raise ValueError(_nobody(listed, nameless, error, split)) from error
        return folds, f"{protocols.OWN}; {words}", protocols.OWN
    return records.subject_folds(listed, settings.folds, order), order, ""


def _nobody(listed: Sequence[records.Record], nameless: Sequence[records.Record], error: ValueError, split: str) -> str:
    """The sentence on pictures that can be dealt neither by people nor by parts."""
    if split == "own":
        return f"--split=own: {error}"
    return (
        f"{nameless[0].name} has no subject ({len(nameless)} of {len(listed)} pictures have none), and there are no "
        "parts train and test, so nobody can be held out: say who is who (a column subject, folders of people), which "
        "pictures are to be tested (a column split, folders train and test), or --split=random, by which one person "
        "may be trained on and tested."
    )


def chosen_folds(settings: Folds, count: int) -> list[int]:
    """The folds that --only_folds picks; all when it is empty.

    Raises:
      ValueError: not a list of fold numbers.
    """
    return numbers(settings.only_folds, count, "only_folds") if settings.only_folds else list(range(count))


def numbers(text: str, count: int, flag: str) -> list[int]:
    """Fold numbers, sorted, of a flag such as --only_folds=0,1.

    Raises:
      ValueError: the text is no list of these.
    """
    picked = [int(part) if part.strip().isdecimal() else -1 for part in text.split(",")]
    if any(not 0 <= number < count for number in picked):
        raise ValueError(f"--{flag}={text}: give fold numbers from 0 to {count - 1}, such as 0,1.")
    return sorted(set(picked))


def joined(together: str, folds: Sequence[records.Fold]) -> list[records.Fold]:
    """One fold that tests what these fold numbers test and trains on what they all train on; the folds when empty.

    Raises:
      ValueError: not a list of fold numbers, or nobody is left to train on.
    """
    if not together:
        return list(folds)
    picked = [folds[i] for i in numbers(together, len(folds), "together")]
    train = set.intersection(*(set(fold.train) for fold in picked))
    if not train:
        raise ValueError(f"--together={together} leaves nobody to train on: give fewer folds.")
    return [records.Fold(tuple(sorted(train)), tuple(sorted({i for fold in picked for i in fold.test})))]


def first_subjects(listed: list[records.Record], count: int) -> list[records.Record]:
    """The records of the first `count` subjects; all when it is 0, or nobody is named."""
    if not count or all(r.subject is None for r in listed):
        return listed
    people = {*records.subject_order(r.subject for r in listed)[:count]}
    return [r for r in listed if r.subject in people]


def labelled_by_person(listed: Sequence[records.Record]) -> list[records.Record]:
    """The records with a subject, whose name takes the expression's place: for nets that tell people apart."""
    return [replace(r, expression=r.subject) for r in listed if r.subject is not None]


def batches(
    settings: Any,
    listed: list[records.Record],
    classes: tuple[str, ...],
    module: Any,
    seed: int,
    for_training: bool,
    **options: Any,
) -> pipeline.Batches:
    """The views of a model file for training, the one test view for testing; names what --strict=false leaves out.

    Args:
      settings: batch_size, views, strict, feed.
      listed: of the part.
      classes: labels to number.
      module: a model file, for its TEMPLATE and views.
      seed: of order and views.
      for_training: whether it is to be trained on.
      options: more for `pipeline.batches`, or instead of what is given here.
    """
    given = {
        "template": module.TEMPLATE,
        "views": module.views,
        "batch_size": settings.batch_size if for_training else 256,
        "seed": seed,
        "training": for_training,
        "views_per_image": settings.views or None,
        "strict": settings.strict,
        "device": FEEDS[settings.feed],
    }
    made = pipeline.batches(listed, classes=classes, **{**given, **options})
    tell_skipped(made)
    return made


def tell_skipped(data: pipeline.Batches) -> None:
    """Names and counts, on stderr, the records that --strict=false left out."""
    for reason in data.skipped.values():
        print(f"left out: {reason}", file=sys.stderr)
    if data.skipped:
        print(f"left out {len(data.skipped)} of {len(data.records)} records", file=sys.stderr)


def usable(data: pipeline.Batches) -> list[records.Record]:
    """The records whose face was cut; --strict=false leaves the others out."""
    return [r for i, r in enumerate(data.records) if i not in data.skipped]


def some_faces(listed: Sequence[records.Record], template: str, count: int = 8) -> np.ndarray:
    """The first `count` faces that can be cut, (N, H, W, 1) uint8; the others have been named before."""
    cut: list[np.ndarray] = []
    for record in listed:
        with contextlib.suppress(ValueError):
            cut.append(pipeline.face(record, template))
        if len(cut) == count:
            break
    return np.stack(cut)
