"""Runs under other seeds as one: every method beside a baseline, in all of them together.

The runs have the same methods, and every fold holds out the same pictures; what they learnt from may differ, as where
--labelled_people draws other people. A bootstrap over people takes a person's pictures of all runs at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import predictions

from . import beside, runs
from .runs import Run


def read(folders: Sequence[str | Path]) -> predictions.Predictions:
    """The answers of all runs; `run` is the seed.

    Args:
      folders: of the runs.
    Raises:
      FileNotFoundError: there is no run in a folder.
      ValueError: fewer than two, of one seed, or of other methods, data or folds; the message names what differs.
    """
    if len(folders) < 2:
        raise ValueError("--pool takes two runs or more, of other seeds: give their folders, with commas.")
    found = [runs.read(folder) for folder in folders]
    named = dict(zip(beside.labels(found), found, strict=True))
    beside.refuse_untested(named)
    (first, base), *others = named.items()
    for name, run in others:
        if said := differing(base, run, first, name):
            raise ValueError(f"{first} and {name} cannot be taken together: {'; '.join(said)}.")
    trained = [training for run in found for training in beside.trainings(run)]
    if twice := sorted({f"seed {seed} fold {fold}" for seed, fold in trained if trained.count((seed, fold)) > 1}):
        raise ValueError(f"--pool={','.join(named)} has {twice[0]} twice: give runs of other seeds.")
    return stacked(found)


def differing(one: Run, other: Run, first: str, second: str) -> list[str]:
    """What two runs do not share, in words: but for whom they learnt from, and their seeds."""
    said = beside.differing_data(one, other, first, second)
    for run, rest, name in ((one, other, second), (other, one, first)):
        if lacks := [method for method in run.methods if method not in rest.methods]:
            said.append(f"{name} has no {lacks[0]}")
    held_out = [[fold.get("sha256") for fold in run.folds.get("folds", [])] for run in (one, other)]
    return said or (["their folds hold out other pictures"] if held_out[0] != held_out[1] else [])


def stacked(found: Sequence[Run]) -> predictions.Predictions:
    """The rows of all runs behind each other, of the methods of the first at the last epoch; `run` is the seed."""
    every = [run.answers for run in found if run.answers is not None]
    columns = {c: np.concatenate([getattr(a, c) for a in every]) for c in predictions.COLUMNS if c != "run"}
    numbers = [[beside.seed_of(run, int(n)) for n in a.run] for run, a in zip(found, every, strict=True)]
    methods = {}
    for name in every[0].methods:
        last = [a.methods[name]["last"] for a in every]
        methods[name] = {"last": predictions.Answer(np.concatenate([one.named for one in last]), None)}
    seeds = np.concatenate(numbers).astype(np.int32)
    return replace(every[0], run=seeds, methods=methods, **columns)


def text(answers: predictions.Predictions, baseline: str = "") -> str:
    """How many each method names right by seed and in all, and every method beside the baseline, as lines to print.

    Args:
      answers: of `read`.
      baseline: a method; the first one when left out.
    Raises:
      ValueError: there is no such method.
    """
    chosen = baseline or next(iter(answers.methods))
    if chosen not in answers.methods:
        raise ValueError(f"--baseline={chosen} is none of {'; '.join(answers.methods)}.")
    compared = predictions.compared(answers, {name: chosen for name in answers.methods if name != chosen})
    return f"{table(answers)}\n{predictions.table(compared)}"


def table(answers: predictions.Predictions) -> str:
    """Percent that each method names right: by seed, and all of it."""
    seeds = np.unique(answers.run).tolist()
    wide = max([6, *map(len, answers.methods)])
    head = f"{'method':{wide}}" + "".join(f"{f'seed {seed}':>10}" for seed in seeds) + f"{'all':>10}"
    lines = ["percent named right, last epoch", head, "-" * len(head)]
    for name, epochs in answers.methods.items():
        right = epochs["last"].named == answers.label
        parts: list[Any] = [right[answers.run == seed].mean() for seed in seeds]
        lines.append(f"{name:{wide}}" + "".join(f"{100 * share:>10.1f}" for share in [*parts, right.mean()]))
    return "\n".join(lines)
