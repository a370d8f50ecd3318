"""The page's numbers: what was run, the table, the differences and the words that they earn, classes, people, jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fer_tf import paired, predictions

from . import charts, markup
from .markup import Html, element
from .runs import Run

WORST = 12
"""People, and pictures of each method, that are shown."""


def percent(value: float, signed: bool = False) -> str:
    """A share as the tables print it."""
    return f"{100 * value:+.2f}" if signed else f"{100 * value:.2f}"


def spread(accuracy: Mapping[str, Any]) -> str:
    """Mean and deviation over the folds, in percent."""
    mean = percent(accuracy["fold_mean"])
    return f"{mean} ± {percent(accuracy['fold_std'])}" if len(accuracy.get("folds", (0, 0))) > 1 else mean


def about(run: Run) -> Html:
    """What was run: command, commit, hardware, data with its hashes and counts."""
    told, folds = run.metrics, run.folds
    versions = ", ".join(f"{name} {version}" for name, version in told.get("versions", {}).items())
    seconds = told.get("seconds")
    command = element("code", told["command"]) if "command" in told else None
    facts = [
        ("command", command), ("preset", told.get("preset")), ("commit", told.get("commit")), ("versions", versions),
        ("hardware", told.get("hardware")), ("took", None if seconds is None else duration(seconds)),
        ("seeds", ", ".join(map(str, told.get("seeds", ())))), ("data", told.get("dataset", run.flags.get("dataset"))),
        ("protocol", told.get("protocol")), ("frames", folds.get("frames")), ("classes", ", ".join(run.classes)),
        ("pictures", f"{folds['records']} in all" if "records" in folds else None), ("of people", folds.get("people")),
    ]  # fmt: skip
    counted = {fold: test for entry in told.get("folds", ()) for fold, test in [(entry["fold"], entry.get("test", ""))]}
    rows = [
        (
            number,
            fold.get("train", ""),
            fold.get("test", ""),
            counted.get(number, "not tested"),
            len(fold.get("subjects", ())) or "",
            element("code", str(fold.get("sha256", ""))[:16]),
        )
        for number, fold in enumerate(folds.get("folds", ()))
    ]
    head = ("fold", "trained on", "held out", "tested", "people", "sha256 of what is held out")
    dealt = markup.table(head, rows, caption="pictures of each fold") if rows else None
    flags = markup.table(("flag", "value"), [(k, _value(v)) for k, v in sorted(run.flags.items())], texts=2)
    whole = element("details", [element("summary", "every flag"), flags]) if run.flags else None
    return escaped([markup.facts(facts), dealt, whole])


def escaped(parts: Any) -> Html:
    """Parts one after the other."""
    return markup.escaped(parts)


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def duration(seconds: float) -> str:
    """In hours, minutes and seconds."""
    hours, rest = divmod(int(round(seconds)), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {left} s" if minutes else f"{seconds:.1f} s"


def accuracies(methods: Mapping[str, Any]) -> Html:
    """The table: per method its last and its best epoch, macro and micro accuracy in percent."""
    rows = []
    for name, method in methods.items():
        for epoch, said in (("last", "last"), ("best", "best (picked on test)")):
            if epoch in method:
                one = method[epoch]
                cells = [v for k in ("macro", "micro") for v in (spread(one[k]), percent(one[k]["pooled"]))]
                rows.append((name if epoch == "last" else "", said, *cells))
    head = ("method", "epoch", "macro, folds", "pooled", "micro, folds", "pooled")
    return markup.table(head, rows, texts=2, caption="accuracy in percent, mean ± deviation over the trainings")


def words(said: str) -> Html:
    """`paired`'s words, in their colour."""
    kind = {paired.GAINS: "gains", paired.LOSES: "loses"}.get(said, "plain")
    return element("span", said, {"class": kind})


def verdicts(compared: Mapping[str, Mapping[str, Any]]) -> list[Html]:
    """A sentence on each method: what its difference to the baseline is worth."""
    said = []
    for method, entry in compared.items():
        one, other = entry["micro"], entry["macro"]
        low, high = (percent(end, True) for end in one["interval"])
        kind = {paired.GAINS: "good", paired.LOSES: "warn"}.get(one["words"], "note")
        figures = f"{percent(one['difference'], True)} points of micro accuracy, 95 % over people {low} to {high}"
        agreed = "" if other["words"] == one["words"] else f". By macro accuracy: {other['words']}"
        why = f": {one['why']}" if "why" in one else ""
        sentence = [f"{method}, beside {entry['baseline']}: ", element("strong", words(one["words"])), why]
        said.append(markup.note([*sentence, f". {figures}{agreed}."], kind))
    return said


def differences(compared: Mapping[str, Mapping[str, Any]], cells: Sequence[Any]) -> Html:
    """Paired differences to the baseline: in sum, by people, and one by one.

    Args:
      compared: "paired" of metrics.json.
      cells: what each pair of trainings is called.
    """
    rows = []
    for method, entry in compared.items():
        for measure in paired.MEASURES:
            one, pairs, people = entry[measure], entry[measure]["pairs"], entry["people"]
            who = f"{method} - {entry['baseline']}" if measure == paired.MEASURES[0] else ""
            ends = " to ".join(percent(end, True) for end in one["interval"])
            mean = percent(pairs["mean"], True) + (f" ± {percent(pairs['std'])}" if len(pairs["values"]) > 1 else "")
            signs = [f"{of['better']} / {of['worse']} / {of['equal']}" for of in (pairs, people)]
            figures = (percent(one["difference"], True), ends, mean, signs[0], f"{pairs['p']:.2g}")
            rows.append(
                (who, measure, words(one["words"]), *figures, f"{pairs['p_holm']:.2g}", signs[1], f"{people['p']:.2g}")
            )
    head = ("method - baseline", "accuracy", "is it told from chance?", "pooled", "95 % over people", "by training",
            "trainings + / - / =", "p", "p (Holm)", "people + / - / =", "p")  # fmt: skip
    each = [
        (cell, *(percent(entry["micro"]["pairs"]["values"][i], True) for entry in compared.values()))
        for i, cell in enumerate(cells)
    ]
    first = next(iter(compared.values()))
    count, known = first["people"]["count"], first["people"]["known"]
    units = f"{count} people" if known else f"{count} pictures, since nobody is named"
    how = (
        f"The interval holds 95 % of {first['micro']['samples']:,} resamples of {units}, each with all pictures under "
        "all seeds. A pair of trainings has one seed and one fold; p is of the exact two-sided sign test over those "
        "that differ, raised by Holm where several methods are held against a baseline. A method gains or loses where "
        f"the interval over {paired.FEWEST} people or more lies on one side of zero and p (Holm) is at most 0.05; else "
        "it cannot be told from chance. Other people and other seeds are thought of here, other data sets are not."
    )
    shown = [charts.differences(compared), markup.table(head, rows, texts=3)]
    if each:
        caption = "micro accuracy, fold by fold and seed by seed"
        table = markup.table(
            ("training", *(f"{m} - {e['baseline']}" for m, e in compared.items())), each, caption=caption
        )
        shown.append(element("details", [element("summary", "one by one"), table]) if len(each) > 12 else table)
    return escaped([*shown, element("p", how, {"class": "soft"})])


def cells(run: Run) -> list[str]:
    """What each training's pair is called: its seed and fold."""
    seeds = run.metrics.get("seeds", [])
    return [f"seed {seeds[r] if r < len(seeds) else f'of run {r}'}, fold {fold}" for r, fold in run.tested]


def confusions(run: Run) -> list[Html]:
    """Each method's confusion matrix and its measures by class, of its last epoch."""
    shown = []
    for name, method in run.methods.items():
        last = method["last"]
        rows = [
            (c, *(percent(v[k]) if v["support"] else "-" for k in ("recall", "precision", "f1")), v["support"])
            for c, v in last["per_class"].items()
        ]
        measures = markup.table(("class", "recall", "precision", "F1", "pictures"), rows)
        matrix = charts.matrix(last["confusion"], list(last["per_class"]))
        shown.append(element("div", [element("h3", name), element("div", [matrix, measures], {"class": "row"})]))
    return shown


def worst_people(answers: predictions.Predictions) -> Html | None:
    """The held-out people whom the methods name worst, in percent of their pictures under all seeds."""
    if not answers.people_known:
        return None
    people, number = np.unique(answers.subject, return_inverse=True)
    count = np.bincount(number)
    right = {
        name: np.bincount(number, epochs["last"].named == answers.label) / count
        for name, epochs in answers.methods.items()
    }
    mean = np.mean([*right.values()], axis=0)
    order = sorted(range(len(people)), key=lambda i: (mean[i], people[i]))[:WORST]
    rows = [(people[i], count[i], *(percent(values[i]) for values in right.values())) for i in order]
    rows.append(("all, mean of people", "", *(percent(values.mean()) for values in right.values())))
    caption = f"the {len(order)} worst of {len(people)} people: accuracy in percent"
    return markup.table(("person", "pictures", *right), rows, caption=caption)


def missing(run: Run) -> list[Html]:
    """Every training that failed, stopped or is missing, and every file that cannot be read."""
    shown = [markup.note(problem, "warn") for problem in run.problems]
    if not run.metrics:
        shown.append(markup.note("Nothing has been tested yet: there is no metrics.json.", "warn"))
    if run.unfinished:
        rows = [(job.name, job.state, job.said) for job in run.unfinished]
        shown.append(markup.table(("training", "state", ""), rows, texts=3, caption="not done"))
        shown += [
            element(
                "details", [element("summary", f"the last lines of {job.name}"), element("pre", "\n".join(job.lines))]
            )
            for job in run.unfinished
            if job.lines
        ]
    if run.metrics and run.untested:
        names = ", ".join(f"run {r}, fold {fold}" for r, fold in run.untested)
        shown.append(markup.note(f"Trained, or begun, and not in the table: {names}.", "warn"))
    for number, folds in run.not_run.items():
        shown.append(element("p", f"Not run: of run {number} fold {', '.join(map(str, folds))}.", {"class": "soft"}))
    if run.metrics and run.answers is None:
        shown.append(
            markup.note("This run kept no predictions, so that nothing can be said of people. The same command, given "
                        "again, tests its checkpoints anew and keeps them.", "warn")
        )  # fmt: skip
    done = sum(job.state == "done" for job in run.jobs)
    if run.jobs:
        shown.append(element("p", f"{done} of {len(run.jobs)} trainings are done.", {"class": "soft"}))
    return shown
