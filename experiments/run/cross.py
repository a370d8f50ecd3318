"""Cross-database runs: some data sets to learn from, another to be tested on (GCNet's Table VI).

    --dataset=ck_plus --data_dir=... --train_on=mmi=/data/mmi,oulu_casia=/data/oulu
    --test_on=fer2013/private_test=/data/fer2013

A data set is named as name[/part][=folder]; a part is one of the rendered faces' (rendered/wild) or a split
(fer2013/private_test=...). Such a run can release what it has trained (`releasing`): --weights_out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fer_tf import catalogue, protocols, records
from fer_tf.weights import DTYPES

from . import data, foldings, jobs
from .settings import Folds, given_or, setting


@dataclass(frozen=True, kw_only=True)
class Elsewhere(Folds):
    """A run with folds, or one whose test is another data set, and whose weights may be released."""

    test_on: str | None = setting(
        None, "Test on this data set instead of on folds; name[/part][=folder].", place="named"
    )
    weights_out: str | None = setting(
        None, "With --test_on: a file for the weights, in --weights_dtype, of the network that is exported.",
        free=True, place="path",
    )  # fmt: skip
    weights_dtype: str = setting("float16", "Of its kernels; int8 halves it once more.", choices=DTYPES, free=True)

    @property
    def tested_name(self) -> str:
        """That of --test_on where it is given."""
        return catalogue.place_of(self.test_on) if self.test_on else self.trained_on

    @property
    def tested_elsewhere(self) -> bool:
        """With --test_on, which may be another folder of the same data set."""
        return bool(self.test_on)

    @property
    def more_to_learn(self) -> tuple[str, ...]:
        """What is learnt from besides --dataset, with --test_on; name[/part][=folder]."""
        return ()

    @property
    def learnt_from(self) -> list[str]:
        """The data sets of whose people nobody may be tested with what --test_on's run has trained."""
        return [self.trained_on, *map(people_of, self.more_to_learn)]


@dataclass(frozen=True, kw_only=True)
class Cross(Elsewhere):
    """One that may learn from several data sets."""

    train_on: tuple[str, ...] = setting(
        (), "With --test_on: more to learn from, besides --dataset; name[/part][=folder].", place="named"
    )

    @property
    def more_to_learn(self) -> tuple[str, ...]:
        """--train_on."""
        return self.train_on

    @classmethod
    def dataset_by(
        cls, chosen: protocols.Protocol, name: str, values: Mapping[str, Any], given: Mapping[str, Any]
    ) -> dict[str, Any]:
        """As for folds; a protocol that is tested on another data set needs --test_on to name it."""
        tested = values["test_on"] and catalogue.place_of(values["test_on"])
        if chosen.by == "cross" and tested != chosen.tests:
            raise ValueError(f"{name} is tested on another data set: give --test_on={chosen.tests}=<folder>.")
        return given_or(chosen, name, given)


def refuse(settings: Cross) -> None:
    """Raises ValueError where --train_on is given without --test_on."""
    if settings.train_on and not settings.test_on:
        raise ValueError("--train_on adds to what --test_on is tested with: give --test_on, too.")


def refuse_either(settings: Cross, everybody: bool) -> None:
    """As `refuse`, but for a run that trains on everybody and tests nobody: raises ValueError if it is to test, too."""
    if not everybody:
        return refuse(settings)
    if settings.test_on or settings.weights_out:
        raise ValueError(
            "--all_subjects tests nobody and writes its own weights: leave --test_on and --weights_out out."
        )


def dealt(
    settings: Elsewhere, listed: list[records.Record], shown: tuple[str, ...], folder: Path
) -> tuple[list[records.Record], list[records.Fold]]:
    """(records, folds): `fold` with --test_on, else `data.make_folds`; arguments and errors as theirs."""
    if settings.test_on:
        return fold(settings, listed, shown, folder)
    return listed, data.make_folds(settings, listed, shown, folder)


def added(settings: Elsewhere, shown: Sequence[str]) -> list[records.Record]:
    """What is learnt from besides --dataset; arguments and errors as `load`."""
    return [r for text in settings.more_to_learn for r in load(text, shown)]


def own(settings: Elsewhere, listed: Sequence[records.Record]) -> list[records.Record]:
    """Those of the records that are --dataset's: `added` puts its name before the others' subjects."""
    before = tuple(f"{catalogue.place_of(text).partition('/')[0]}:" for text in settings.more_to_learn)
    return [r for r in listed if not (r.subject or "").startswith(before)] if before else list(listed)


def people_of(text: str) -> str:
    """Whose people name[/part][=folder] has, as `catalogue.people` says it."""
    place, _, root = text.partition("=")
    name, _, part = place.partition("/")
    return catalogue.people(name, root or None, {"part": part} if part else {})


def load(text: str, classes: Sequence[str] | None, detector: str = "dlib") -> list[records.Record]:
    """The records of name[/part][=folder] that show one of the classes, all for None; subjects bear the name, too.

    Args:
      text: what it says.
      classes: to keep.
      detector: of `data.searched`.

    Raises:
      ValueError: no such data set or part, or no image of these classes.
      FileNotFoundError: it is not there.
    """
    listed = catalogue.load_place(text)
    kept = listed if classes is None else records.of_classes(listed, classes)
    place, _, root = text.partition("=")
    kept = data.searched(kept, f"--dataset={place.partition('/')[0]} --data_dir={root}", detector)
    if not kept:
        raise ValueError(f"{text!r} has no image{'' if classes is None else ' of ' + ', '.join(classes)}.")
    name = catalogue.place_of(text).partition("/")[0]
    return [r if r.subject is None else replace(r, subject=f"{name}:{r.subject}") for r in kept]


def fold(
    settings: Elsewhere, listed: Sequence[records.Record], shown: Sequence[str], folder: Path
) -> tuple[list[records.Record], list[records.Fold]]:
    """(records, [one fold]): trains on `listed` and --train_on, tests on --test_on; checked, written to folds.json.

    Args:
      settings: train_on, test_on.
      listed: of --dataset.
      shown: expressions that are loaded.
      folder: of the run.
    Raises:
      ValueError: as `load`, or an image or a person is on both sides.
    """
    if settings.split != "auto":
        raise ValueError(f"--test_on={settings.test_on} is tested as a whole: leave --split={settings.split} out.")
    if settings.validation:
        raise ValueError(f"--validation is of folds, and --test_on={settings.test_on} is tested as a whole.")
    learn = [*listed, *added(settings, shown)]
    data.refuse_one_class(learn, [c for c in shown if c in settings.labels] or shown, data.place(settings))
    test = load(settings.test_on or "", shown)
    everything = [*learn, *test]
    one = records.Fold(tuple(range(len(learn))), tuple(range(len(learn), len(everything))))
    hashes = records.content_hashes(everything)
    records.check_fold(everything, one, shown, hashes=hashes)
    places = [settings.data_name, *map(catalogue.place_of, settings.more_to_learn)]
    rule = f"trained on {', '.join(places)}, tested on {settings.tested_name}"
    foldings.write(folder, everything, [one], frames="all", order=rule, hashes=hashes, listing=jobs.listing(settings))
    return everything, [one]
