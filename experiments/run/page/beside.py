"""Several runs beside each other: only of the same pictures in the same folds under the same seeds.

The first run is the baseline: each method of the others is held against the first run's method of that name, or where
it has none against its first one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import files, predictions

from . import markup, numbers, runs
from .markup import Html
from .runs import Run

FILE = "compare.html"


def write(
    folders: Sequence[str | Path], out: str | Path = FILE, *, baseline: str = ""
) -> tuple[Path, dict[str, dict[str, Any]]]:
    """Writes the page of several runs, in one step.

    Args:
      folders: of the runs; the first one is what the others are held against.
      out: the file.
      baseline: "<run>: <method>", which all others are held against instead.
    Returns:
      (the file, what `predictions.compared` gives of all runs' methods).
    Raises:
      FileNotFoundError: there is no run in a folder.
      ValueError: fewer than two runs, runs of other folds or data, or no such baseline; the message names what differs.
    """
    if len(folders) < 2:
        raise ValueError("--compare sets two runs or more beside each other: give their folders, with commas.")
    read = [runs.read(folder) for folder in folders]
    names = labels(read)
    refuse(dict(zip(names, read, strict=True)))
    joined = together(dict(zip(names, read, strict=True)))
    beside = {name: list(run.methods) for name, run in zip(names, read, strict=True)}
    compared = predictions.compared(joined, baselines(beside, baseline))
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, page(dict(zip(names, read, strict=True)), joined, compared))
    return path, compared


def labels(read: Sequence[Run]) -> list[str]:
    """What the runs are called: their folders' names, with the folder above where two are alike."""
    names = [run.name for run in read]
    if len({*names}) < len(names):
        names = ["/".join(run.folder.resolve().parts[-2:]) for run in read]
    if len({*names}) < len(names):
        names = [str(run.folder) for run in read]
    if len({*names}) < len(names):
        raise ValueError(f"--compare={','.join(str(run.folder) for run in read)} names a run twice.")
    return names


def refuse(read: Mapping[str, Run]) -> None:
    """Raises ValueError where the runs are not of the same pictures in the same folds under the same seeds."""
    refuse_untested(read)
    (first, base), *others = read.items()
    for name, run in others:
        if said := differing(base, run, first, name):
            raise ValueError(f"{first} and {name} cannot stand beside each other: {'; '.join(said)}.")


def refuse_untested(read: Mapping[str, Run]) -> None:
    """Raises ValueError where a run has no predictions."""
    for name, run in read.items():
        if not run.metrics or run.answers is None:
            what = "kept no predictions" if run.metrics else "not been tested yet"
            raise ValueError(f"{name} has {what}: give its command again, which goes on, tests anew and keeps them.")


def differing(one: Run, other: Run, first: str, second: str) -> list[str]:
    """What two runs do not share, in words."""
    said = differing_data(one, other, first, second)
    said += differing_folds(one.folds.get("folds", []), other.folds.get("folds", []), first, second)
    mine, theirs = (trainings(run) for run in (one, other))
    for name, lacks in ((second, sorted(mine - theirs)), (first, sorted(theirs - mine))):
        if lacks:
            shown = ", ".join(f"seed {seed} fold {fold}" for seed, fold in lacks[:4])
            said.append(f"{name} lacks {shown}" + (f" and {len(lacks) - 4} more" if len(lacks) > 4 else ""))
    return said


def differing_data(one: Run, other: Run, first: str, second: str) -> list[str]:
    """Whether two runs are of other data sets or classes, in words."""
    said = []
    for key, what in (("dataset", "data set"), ("classes", "classes")):
        pair = [", ".join(v) if isinstance(v, list) else str(v) for v in (one.metrics.get(key), other.metrics.get(key))]
        if pair[0] != pair[1]:
            said.append(f"the {what} of {first} {_is(key)} {pair[0]}, of {second} {pair[1]}")
    return said


def _is(key: str) -> str:
    return "are" if key.endswith("es") else "is"


def differing_folds(one: Sequence[Any], other: Sequence[Any], first: str, second: str) -> list[str]:
    """What differs between the folds of two folds.json, in words."""
    if len(one) != len(other):
        return [f"{first} has {len(one)} folds, {second} {len(other)}"]
    for number, (a, b) in enumerate(zip(one, other, strict=True)):
        who = [fold.get("subjects") or fold.get("splits") or [] for fold in (a, b)]
        if who[0] != who[1]:
            apart = [_few({*x} - {*y}) or "nobody else" for x, y in (who, who[::-1])]
            return [f"fold {number} holds out {apart[0]} in {first} alone, {apart[1]} in {second} alone"]
        for key, what in (("test", "held out"), ("train", "trained on")):
            if a.get(key) != b.get(key):
                return [f"of fold {number} {a.get(key)} pictures are {what} in {first}, {b.get(key)} in {second}"]
        if a.get("sha256") != b.get("sha256"):
            return [f"fold {number} holds out other pictures of the same people (sha256 differs)"]
    return []


def _few(names: Collection[str]) -> str:
    shown = sorted(names, key=runs.natural)
    return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")


def seed_of(run: Run, number: int) -> int:
    """The seed of a run's number."""
    seeds = run.metrics.get("seeds", [])
    return int(seeds[number]) if number < len(seeds) else number


def trainings(run: Run) -> set[tuple[int, int]]:
    """(seed, fold) of everything that was tested."""
    return {(seed_of(run, number), fold) for number, fold in run.tested}


def together(read: Mapping[str, Run]) -> predictions.Predictions:
    """The answers of all runs' methods, "<run>: <method>", to the same pictures in one order; `run` is the seed.

    Raises:
      ValueError: the pictures differ.
    """
    columns: dict[str, np.ndarray] = {}
    methods: dict[str, dict[str, predictions.Answer]] = {}
    classes: tuple[str, ...] = ()
    first = ""
    for name, run in read.items():
        answers = run.answers
        assert answers is not None
        seeds = np.array([seed_of(run, int(number)) for number in answers.run], np.int32)
        own = {"run": seeds, **{c: getattr(answers, c) for c in predictions.COLUMNS if c != "run"}}
        order = np.lexsort((answers.label, answers.subject, answers.sha256, answers.fold, seeds))
        own = {column: values[order] for column, values in own.items()}
        if not columns:
            columns, classes, first = own, answers.classes, name
        elif not all(np.array_equal(own[c], columns[c]) for c in ("run", "fold", "sha256", "subject", "label")):
            raise ValueError(f"{first} and {name} cannot stand beside each other: they were tested on other pictures.")
        for method, epochs in answers.methods.items():
            last = epochs["last"]
            sure = None if last.probabilities is None else last.probabilities[order]
            methods[f"{name}: {method}"] = {"last": predictions.Answer(last.named[order], sure)}
    return predictions.Predictions(classes=classes, methods=methods, **columns)


def baselines(beside: Mapping[str, Sequence[str]], chosen: str = "") -> dict[str, str]:
    """{"<run>: <method>": its baseline} for all runs but the first, or for all where one is chosen."""
    (first, own), *others = beside.items()
    if chosen:
        every = [f"{name}: {method}" for name, methods in beside.items() for method in methods]
        if chosen not in every:
            raise ValueError(f"--baseline={chosen} is none of {'; '.join(every)}.")
        return {method: chosen for method in every if method != chosen}
    return {
        f"{name}: {method}": f"{first}: {method if method in own else own[0]}"
        for name, methods in others
        for method in methods
    }


def page(read: Mapping[str, Run], joined: predictions.Predictions, compared: Mapping[str, Any]) -> str:
    """The page as text."""
    methods = {f"{name}: {method}": entry for name, run in read.items() for method, entry in run.methods.items()}
    cells = [f"seed {seed}, fold {fold}" for seed, fold in joined.cells]
    worst = numbers.worst_people(joined)
    first = next(iter(read.values()))
    said = first.folds.get("people")
    results: list[Any] = [*numbers.verdicts(compared), numbers.accuracies(methods)]
    parts = [
        markup.section("Results", [*results, *([markup.note(said, "warn")] if said else [])]),
        markup.section("Beside the baseline", numbers.differences(compared, cells)),
        markup.section("What differs between the runs", flags(read)),
        markup.section("What was run", numbers.about(first)),
        *(markup.section(f"Confusion: {name}", numbers.confusions(run), closed=True) for name, run in read.items()),
        markup.section("The worst held-out people", worst),
    ]
    told = first.metrics
    return markup.page(" beside ".join(read), f"{told.get('dataset', '')}; {told.get('protocol', '')}", parts)


def flags(read: Mapping[str, Run]) -> Html:
    """The settings and the provenance in which the runs differ."""
    given = {
        name: {**{k: run.metrics.get(k) for k in ("command", "commit", "hardware", "seconds")},
               **{f"--{k}": v for k, v in run.flags.items()}}
        for name, run in read.items()
    }  # fmt: skip
    every = list(dict.fromkeys(key for values in given.values() for key in values))
    rows = []
    for key in every:
        values = [given[name].get(key, "-") for name in read]
        if any(value != values[0] for value in values):
            rows.append((key, *(", ".join(map(str, v)) if isinstance(v, list) else str(v) for v in values)))
    if not rows:
        return markup.note("Nothing but their folders.")
    return markup.table(("", *read), rows, texts=1 + len(read))
