"""Cross-database runs: some data sets to learn from, another to be tested on (GCNet's Table VI).

    --dataset=ck_plus --data_dir=... --train_on=mmi=/data/mmi,oulu_casia=/data/oulu --test_on=fer2013=/data/fer2013

A data set is named as name[/part][=folder]; a part is one of the rendered faces' (rendered/wild) or a split
(fer2013/private_test=...).
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from absl import flags

from experiments import common, data_sets
from fer_tf import records

FLAGS = flags.FLAGS


def define_flags() -> None:
    """--train_on and --test_on."""
    flags.DEFINE_list("train_on", [], "With --test_on: more to learn from, besides --dataset; name[/part][=folder].")
    flags.DEFINE_string("test_on", None, "Test on this data set instead of on folds; name[/part][=folder].")


def load(text: str, classes: Sequence[str] | None) -> list[records.Record]:
    """The records of name[/part][=folder] that show one of the classes, all for None; subjects bear the name, too.

    Raises:
      ValueError: no such data set or part, or no image of these classes.
      FileNotFoundError: it is not there.
    """
    place, _, root = text.partition("=")
    name, _, part = place.partition("/")
    if name not in data_sets.names():
        raise ValueError(f"{text!r} names no data set: give name[/part][=folder], one of {data_sets.names()}.")
    module = importlib.import_module(f"fer_tf.datasets.{name}")
    by_part = part and "part" in inspect.signature(module.records).parameters
    found = module.records(root or None, **({"part": part} if by_part else {}))
    if part and not by_part:
        found = [r for r in found if r.split == part]
    found = found if classes is None else records.of_classes(found, classes)
    common.tell_searched(found, f"--dataset={name} --data_dir={root}")
    if not found:
        raise ValueError(f"{text!r} has no image{'' if classes is None else ' of ' + ', '.join(classes)}.")
    known = named(text).partition("/")[0]
    return [r if r.subject is None else replace(r, subject=f"{known}:{r.subject}") for r in found]


named = data_sets.place_of


def fold(
    found: Sequence[records.Record], shown: Sequence[str], folder: Path
) -> tuple[list[records.Record], list[records.Fold]]:
    """(records, [one fold]): trains on `found` and --train_on, tests on --test_on; checked, written to folds.json.

    Args:
      found: of --dataset.
      shown: expressions that are loaded.
      folder: of the run.
    Raises:
      ValueError: as `load`, or an image or a person is on both sides.
    """
    learn = [*found, *(r for text in FLAGS.train_on for r in load(text, shown))]
    test = load(FLAGS.test_on, shown)
    everything = [*learn, *test]
    one = records.Fold(tuple(range(len(learn))), tuple(range(len(learn), len(everything))))
    hashes = records.content_hashes(everything)
    records.check_fold(everything, one, shown, hashes=hashes)
    places = [common.dataset_name(), *map(named, FLAGS.train_on)]
    rule = f"trained on {', '.join(places)}, tested on {named(FLAGS.test_on)}"
    records.write_manifest(folder / "folds.json", everything, [one], frames="all", order=rule, hashes=hashes)
    return everything, [one]
