"""What every experiment writes and gives back: the table, confusion matrices, per-class bars, metrics.json."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import figures, files, metrics, predictions, workers
from fer_tf.records import Record

from .provenance import facts
from .settings import Folds


@dataclass(frozen=True)
class Results:
    """What an experiment gives back to Python.

    Attributes:
      folder: where its files are.
      methods: name -> {last|best: {macro, micro, confusion, per_class}}, as in metrics.json.
      models: name -> model of the last fold that was run.
      export: the exported model, or None.
      measures: what else the experiment measures, one a fold.
    """

    folder: Path
    methods: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Any] = field(default_factory=dict)
    export: Path | None = None
    measures: Sequence[Any] = ()

    @property
    def table(self) -> str:
        """The methods side by side, mean and deviation over the folds in percent; who may be on both sides."""
        return table(self.methods, self.folder)

    @property
    def paired(self) -> dict[str, Any]:
        """Each method beside its baseline, as in metrics.json; empty where there is none."""
        return paired(self.folder)


KINDS = ("micro", "macro")
"""Share of all pictures, mean share over the expressions."""


def people(folder: Path) -> str:
    """What the folds of a run say of people: nothing where they are made of these."""
    file = folder / "folds.json"
    return json.loads(file.read_text(encoding="utf-8")).get("people", "") if file.is_file() else ""


def noted(folder: Path) -> dict[str, str]:
    """`people` as an entry of a JSON file; none where there is nothing to be said."""
    said = people(folder)
    return {"people": said} if said else {}


def paired(folder: Path) -> dict[str, Any]:
    """Each method of a run beside its baseline, as `predictions.compared` counts it; empty where there is none."""
    file = folder / "metrics.json"
    return json.loads(file.read_text(encoding="utf-8")).get("paired", {}) if file.is_file() else {}


def table(methods: Mapping[str, Any], folder: Path) -> str:
    """`metrics.table`, below it the differences to the baseline, and what the folds say of people."""
    said, beside = people(folder), paired(folder)
    differences = f"\n{predictions.table(beside)}" if beside and {*beside} <= {*methods} else ""
    return metrics.table(methods) + differences + (f"\n{said}" if said else "")


def beside_the_first(methods: Collection[str]) -> dict[str, str]:
    """Method -> its baseline, which is the first one of all others."""
    first, *others = methods
    return dict.fromkeys(others, first)


def file_name(method: str) -> str:
    """A method's name in file names."""
    return "".join(c if c.isalnum() else "_" for c in method.lower())


def shares(
    tested: Sequence[Mapping[str, Any]], classes: tuple[str, ...], baselines: Mapping[str, str]
) -> dict[str, Any]:
    """{"methods": {name: {micro, macro}} at the last epoch, pooled; "paired"}, of `predictions.Answers`.

    Args:
      tested: as of `write`.
      classes: names of the K classes.
      baselines: method -> the one that it is held against; nothing is paired where there are none.
    """
    answers = predictions.gathered(tested, classes)
    paired = predictions.compared(answers, baselines) if answers is not None and baselines else {}
    summed = {name: metrics.summarize([r["methods"][name] for r in tested], classes) for name in tested[0]["methods"]}
    methods = {name: {kind: one["last"][kind]["pooled"] for kind in KINDS} for name, one in summed.items()}
    return {"methods": methods, "paired": paired}


def domain_of(record: Record) -> str:
    """Where a picture was taken, "" where it does not say."""
    return record.domain or ""


def pose_of(record: Record) -> str:
    """By how far the head is turned from the front, in steps of 15 degrees; "" where pan or tilt is not known."""
    if not {"pan", "tilt"} <= {*record.info}:
        return ""
    pan, tilt = (math.radians(record.info[name]) for name in ("pan", "tilt"))
    step = int(round(math.degrees(math.acos(math.cos(pan) * math.cos(tilt))), 3) // 15)
    return f"turned by {15 * step} to {15 * step + 15} degrees"


PARTS: dict[str, Callable[[Record], str]] = {"by_domain": domain_of, "by_pose": pose_of}
"""Entry of metrics.json, where other people are tested than those of the data set -> what its parts are."""


def by_part(
    tested: Sequence[Mapping[str, Any]],
    classes: tuple[str, ...],
    baselines: Mapping[str, str],
    part_of: Callable[[Record], str] = domain_of,
) -> dict[str, Any]:
    """Part -> `shares` of its pictures; empty where the tested ones are of one part, or do not say which.

    Args:
      tested, classes, baselines: as of `shares`.
      part_of: of a picture's record, "" where it is not known: `domain_of` or `pose_of`.
    """
    first = [next(iter(r["methods"].values()))["last"] for r in tested]
    found = sorted({part_of(record) for pair in first for record in getattr(pair, "records", ())})
    if len(found) < 2 or "" in found:
        return {}

    def alone(pair: predictions.Answers, part: str) -> predictions.Answers:
        return pair.where(np.array([part_of(record) == part for record in pair.records], bool))

    parts = {}
    for part in found:
        own = [
            {**r, "methods": {n: {e: alone(pair, part) for e, pair in m.items()} for n, m in r["methods"].items()}}
            for r in tested
        ]
        parts[part] = shares(own, classes, baselines)
    return parts


def parts_table(parts: Mapping[str, Any]) -> str:
    """A plain-text table of `by_part`: each method's mean over expressions, and how far it is from its baseline."""
    lines = []
    for part, entry in parts.items():
        lines.append(f"{part} alone, last epoch, mean over expressions (over pictures) in percent")
        for name, one in entry["methods"].items():
            line = f"  {name}  {100 * one['macro']:.2f} ({100 * one['micro']:.2f})"
            if name in entry["paired"]:
                own = entry["paired"][name]
                low, high = (f"{100 * end:+.2f}" for end in own["macro"]["interval"])
                line += f"  {100 * own['macro']['difference']:+.2f}, {low} to {high}, to {own['baseline']}"
            lines.append(line)
    return "\n".join(lines)


def write(
    settings: Folds,
    tested: Sequence[Mapping[str, Any]],
    classes: tuple[str, ...],
    folder: Path,
    seconds: float,
    *,
    tested_on: str | None = None,
    baselines: Mapping[str, str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """metrics.json, predictions.npz, the printed table, confusion matrices (pictures and JSON), the per-class bars.

    Args:
      settings: of the run.
      tested: one of {"run", "fold", "methods": {name: {last|best: `predictions.Answers`}}} for each fold; plain pairs
        (labels, predictions) do, too, and are neither kept nor compared.
      classes: names of the K classes.
      folder: of the run.
      seconds: that it took.
      tested_on: name of the data in the pictures; the data set that is read when left out.
      baselines: method -> the one that it is held against; the first one when left out.
      more: further entries of metrics.json.
    Returns:
      `methods` of metrics.json.
    """
    names = tested[0]["methods"]
    methods = {name: metrics.summarize([r["methods"][name] for r in tested], classes) for name in names}
    if not workers.writes():  # what follows reads and writes files, which the chief does
        return methods
    folds = [{k: r[k] for k in ("run", "fold")} for r in tested]
    for entry, r in zip(folds, tested, strict=True):
        entry["test"] = len(next(iter(r["methods"].values()))["last"][0])
    entries = {**facts(settings, classes, seconds), "folds": folds, "methods": methods}
    said = people(folder)
    if said:
        entries |= {"protocol": json.loads((folder / "folds.json").read_text(encoding="utf-8"))["order"]}
    entries |= {**noted(folder), **more}
    answers = predictions.gathered(tested, classes)
    if answers is None:
        (folder / predictions.FILE).unlink(missing_ok=True)  # of another test
    else:
        predictions.write(folder / predictions.FILE, answers)
        known = beside_the_first(methods) if baselines is None else baselines
        entries |= {"paired": predictions.compared(answers, known)} if known else {}
        for key, part_of in PARTS.items() if settings.tested_elsewhere else ():
            if parts := by_part(tested, classes, known, part_of):
                entries[key] = parts
    metrics.write_metrics(folder / "metrics.json", entries)
    for name, method in methods.items():
        title = f"{name}, {tested_on or settings.data_name}, held-out {'pictures' if said else 'people'}, last epoch"
        picture = figures.confusion_matrix(method["last"]["confusion"], classes, title)
        figures.save(picture, folder / f"confusion_{file_name(name)}.png")
        counts = {"method": name, "classes": list(classes), "counts": method["last"]["confusion"], **noted(folder)}
        files.write_json(folder / f"confusion_{file_name(name)}.json", counts)
    bars = {name: method["last"]["per_class"] for name, method in methods.items()}
    figures.save(figures.class_bars(bars), folder / "per_class.png")
    print("\n".join([table(methods, folder), *(parts_table(entries[key]) for key in PARTS if key in entries)]))
    return methods
