"""A paper's tables beside what was measured: the listing, reproduce.json and reproduce.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fer_tf import files, metrics

from .step import Paper, Row, Step

JSON, MARKDOWN = "reproduce.json", "reproduce.md"
OTHER_DATA = "other data"
"""What stands for a printed figure where rendered faces were tested."""
HEAD = ("Table", "Row", "", "Printed", "Measured", "Spread", "Faces", "People", "Folds", "Runs", "Note")


def listing(
    paper: Paper, steps: Sequence[Step], commands: Mapping[str, str], lacks: Mapping[str, Sequence[str]]
) -> str:
    """Every row with its figure below the command that gives it, what that needs, and why the others are not run.

    Args:
      paper: all of it.
      steps: those that are asked for.
      commands: step -> its command line.
      lacks: step -> data sets that it needs and that are not given.
    """
    lines: list[str] = []
    for step in steps:
        rows, lacking = [row for row in paper.rows if row.step == step.name], ", ".join(lacks[step.name])
        needs = ", ".join(dict.fromkeys(step.wanted)) + f"; not given: {lacking}" * bool(lacking)
        lines += [f"{step.name} (needs {needs})", f"  {commands[step.name]}"]
        lines += [f"  note: {step.note}"] * bool(step.note)
        before = [
            f"--{f} of {start.step} ({', '.join(paper.step(start.step).wanted)})" for f, start in step.starts.items()
        ]
        without = "" if step.needs_starts else "; without that data it goes without"
        lines += [f"  starts from {', '.join(before)}{without}"] * bool(before)
        lines += [f"  {row.table:10}{row.name:42}{figures(row)}" for row in rows]
        lines += ["  weights that others start from"] * (not rows)
        lines.append("")
    lines.append("not run:")
    lines += [f"  {row.table:10}{row.name:42}{figures(row)}" for row in paper.rows if not row.step]
    lines += [f"    {why}" for why in dict.fromkeys(row.why for row in paper.rows if not row.step)]
    lines += [f"  {table:10}has no accuracies: {what}" for table, what in paper.without_figures.items()]
    return "\n".join(lines)


def figures(row: Row) -> str:
    """The printed figures of a row."""
    if [*row.printed] == ["accuracy"]:
        return f"{row.printed['accuracy']:.2f}"
    return "  ".join(f"{column} {value:.2f}" for column, value in row.printed.items())


def read(folder: Path) -> dict[str, Any] | None:
    """metrics.json of a step's work folder with "people", the tested ones by fold; None where it is not done."""
    try:
        said = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    try:
        dealt = json.loads((folder / "folds.json").read_text(encoding="utf-8"))["folds"]
        tested: list[list[str]] | None = [fold["subjects"] for fold in dealt]
    except (OSError, ValueError, KeyError, TypeError):
        tested = None
    return {**said, "people": tested}


def measured(row: Row, said: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{column: measured, spread, pooled, faces, people, folds, runs} of a row; empty where the step has no such row.

    Accuracy is the mean over folds and runs, average and expressions are of all answers together, as each paper prints
    them; the spread is the sample deviation over folds and runs, None where there is one value. Faces are those of one
    run; people are None where the folds name nobody.
    """
    methods = said.get(row.entry, {})
    if row.method not in methods:
        return {}
    last, folds = methods[row.method]["last"], said["folds"]
    runs = len({entry["run"] for entry in folds})
    n = {"runs": runs, **_counted(said, folds)}
    if row.entry == "source":  # people held out once, of whom folds.json says nothing
        n |= {"folds": 1, "people": None}
    made: dict[str, dict[str, Any]] = {}
    for column in row.printed:
        if column in ("accuracy", "average"):
            share = last[row.measure]
            spread = 100 * share["fold_std"] if len(share["folds"]) > 1 else None
            value = share["pooled" if column == "average" else "fold_mean"]
            counts = sum(map(sum, last["confusion"])) / runs
            about = {"spread": spread, "pooled": 100 * share["pooled"]}
        else:
            own = last["per_class"].get(column)
            if own is None or not own["support"]:
                continue
            value, counts, about = own["recall"], own["support"] / runs, {"spread": None, "pooled": 100 * own["recall"]}
        made[column] = {"measured": 100 * value, **about, "faces": round(counts), **n}
    return made


def _counted(said: Mapping[str, Any], folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many folds were run, and how many people these tested."""
    numbers, people = sorted({entry["fold"] for entry in folds}), None
    if said["people"] and max(numbers) < len(said["people"]):
        people = len({name for number in numbers for name in said["people"][number]}) or None
    return {"folds": len(numbers), "people": people}


def cells(paper: Paper, results: Mapping[str, Mapping[str, Any] | str], rendered: bool) -> list[dict[str, Any]]:
    """Every cell of every row: printed beside measured.

    Args:
      paper: its tables.
      results: step -> {"said": of `read`, "note": to be known of it}, or why it was not run.
      rendered: whether the printed figures are of other data than what was measured.
    """
    made: list[dict[str, Any]] = []
    for row in paper.rows:
        result = results.get(row.step, "not asked for") if row.step else row.why
        got = {} if isinstance(result, str) else measured(row, result["said"])
        for column, printed in row.printed.items():
            cell = {"table": row.table, "row": row.name, "column": column, "measure": row.measure, "step": row.step}
            cell["printed"] = None if rendered else printed
            if column in got:
                cell |= {**got[column], "note": "" if isinstance(result, str) else result["note"]}
            else:
                why = result if isinstance(result, str) else "its metrics.json has no such figure"
                cell |= {"measured": None, "note": f"not run: {why}"}
            made.append(cell)
    return made


def markdown(title: str, made: Sequence[Mapping[str, Any]], paper: Paper, rendered: bool) -> str:
    """The table as Markdown; what is told of many cells stands below, once."""
    lines = [f"# {title}", "", f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
    notes = [*dict.fromkeys(cell["note"] for cell in made if cell["note"])]
    for cell in made:
        printed = OTHER_DATA if cell["printed"] is None else f"{cell['printed']:.2f}"
        had = [_shown(cell.get(name), ".2f") for name in ("measured", "spread")]
        if cell["measured"] is None:
            had[0] = "not run"
        counts = [_shown(cell.get(name), "d") for name in ("faces", "people", "folds", "runs")]
        note = f"({notes.index(cell['note']) + 1})" if cell["note"] else ""
        words = (cell["table"], cell["row"], cell["column"], printed, *had, *counts, note)
        lines.append(f"| {' | '.join(words)} |")
    lines += ["", "Percent. Accuracy is the mean over folds and runs; average and expressions are of all answers "
              "together. Spread: sample standard deviation over folds and runs. Last epoch."]  # fmt: skip
    lines += ["Rendered faces were tested: the papers' figures are of other data and are left out."] * rendered
    lines += [f"{table} has no accuracies: {what}." for table, what in paper.without_figures.items()]
    return "\n".join([*lines, "", *(f"({i}) {note}" for i, note in enumerate(notes, 1))]).rstrip() + "\n"


def _shown(value: Any, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def write(
    folder: Path,
    about: Mapping[str, Any],
    paper: Paper,
    results: Mapping[str, Mapping[str, Any] | str],
    rendered: bool,
) -> list[dict[str, Any]]:
    """reproduce.json and reproduce.md; gives the cells.

    Args:
      folder: where they go.
      about: paper, preset, commands: for the file's head.
      paper, results, rendered: as of `cells`.
    """
    made = cells(paper, results, rendered)
    folder.mkdir(parents=True, exist_ok=True)
    metrics.write_metrics(folder / JSON, {**about, "rendered": rendered, "cells": made,
                                          "tables_without_accuracies": dict(paper.without_figures)})  # fmt: skip
    title = f"{about['paper']}, printed and measured, --preset={about['preset']}"
    files.write_text(folder / MARKDOWN, markdown(title, made, paper, rendered))
    return made
