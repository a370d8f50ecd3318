"""Builds report.html of a run's folder.

build.write("runs/ed2l_quick")          # also at the end of each run, which never fails for it
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fer_tf import files

from . import charts, faces, markup, numbers, runs
from .markup import Html, element
from .runs import Run

FILE = "report.html"


def write(folder: str | Path, out: str | Path | None = None, *, show_pictures: bool = False) -> Path:
    """Writes the page of a run, in one step.

    Args:
      folder: of the run.
      out: the file; report.html in the folder when left out.
      show_pictures: whether the user says that his or her own pictures may be shown.
    Returns:
      The file.
    Raises:
      FileNotFoundError: there is no run in the folder.
    """
    run = runs.read(folder)
    path = Path(out) if out is not None else run.folder / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, page(run, show_pictures))
    return path


def after(folder: Path, *, tested: bool = True) -> None:
    """The page at the end of a run; what goes wrong with it is said in a line, and the run has ended well.

    Args:
      folder: of the run.
      tested: whether there is no page where nothing has been tested.
    """
    if tested and not (folder / "metrics.json").is_file():
        return
    try:
        print(f"{write(folder)} has it all on one page.")
    except Exception as error:  # noqa: BLE001 - whatever it is, the results are whole
        print(f"{folder / FILE} could not be written: {type(error).__name__}: {error}", file=sys.stderr)


def page(run: Run, show_pictures: bool = False) -> str:
    """The page of a run as text."""
    compared = usable(run.metrics.get("paired", {}))
    told = numbers.missing(run)
    parts = [
        markup.section("Results", results(run, compared)),
        markup.section("Beside the baseline", differences(run, compared)),
        markup.section("What is missing", told) if lacking(run) else None,
        markup.section("What was run", numbers.about(run)),
        markup.section("Confusion, last epoch", numbers.confusions(run)),
        markup.section("The worst held-out people", people(run)),
        markup.section("The worst pictures", faces.worst_pictures(run, show_pictures)),
        markup.section("Training curves", curves(run), closed=len({job.stage for job in run.jobs}) > 6),
        markup.section("Pictures that the run drew", faces.grids(run, show_pictures)),
        markup.section("Trainings", [*(() if lacking(run) else told), jobs(run)], closed=True),
    ]
    return markup.page(title(run), under(run), parts)


def lacking(run: Run) -> bool:
    """Whether anything is missing of what a run that has come to its end has."""
    return bool(run.unfinished or run.problems or not run.metrics or run.untested or run.answers is None)


def usable(compared: Any) -> dict[str, Any]:
    """ "paired" of metrics.json; empty where it is of another version."""
    try:
        for entry in compared.values():
            for measure in ("micro", "macro"):
                one = entry[measure]
                _ = (
                    entry["baseline"],
                    *entry["people"].values(),
                    *one["interval"],
                    one["words"],
                    one["pairs"]["p_holm"],
                )
        return dict(compared)
    except (KeyError, TypeError, AttributeError):
        return {}


def title(run: Run) -> str:
    """The command's name and the folder's."""
    words = str(run.metrics.get("command", "")).split()
    script = next((word.rpartition(".")[2] for word in words if word.startswith("experiments.")), "")
    return f"{script}: {run.name}" if script and script != run.name else run.name


def under(run: Run) -> str:
    """One line below the title."""
    told = run.metrics
    parts = [str(told[key]) for key in ("dataset", "protocol") if told.get(key)]
    if told.get("folds"):
        counts = {"seed": len({*told.get("seeds", ())}), "fold": len({e["fold"] for e in told["folds"]})}
        parts.append(", ".join(f"{n} {name}{'s' * (n != 1)}" for name, n in counts.items()))
    return "; ".join(parts) or f"a run in {run.name} that has not been tested yet"


def results(run: Run, compared: Mapping[str, Any]) -> list[Html]:
    """What the methods are worth in words, and the table."""
    if not run.methods:
        return []
    said = run.folds.get("people")
    return [
        *numbers.verdicts(compared),
        numbers.accuracies(run.methods),
        *([markup.note(said, "warn")] if said else []),
    ]


def differences(run: Run, compared: Mapping[str, Any]) -> list[Html]:
    """The paired differences, where a method has a baseline."""
    return [numbers.differences(compared, numbers.cells(run))] if compared else []


def people(run: Run) -> list[Html]:
    """Whom the methods name worst."""
    if run.answers is None:
        return []
    worst = numbers.worst_people(run.answers)
    return [worst or markup.note("The data set does not say who is seen.")]


def curves(run: Run) -> list[Html]:
    """The curves of each stage, its trainings over each other."""
    stages: dict[str, list[Any]] = {}
    for job in run.jobs:
        history = charts.read_history(run.folder / job.name / "history.csv")
        if any("loss" in name or "accuracy" in name for name in history):
            stages.setdefault(job.stage, []).append(history)
    shown = []
    for stage, histories in stages.items():
        many = f", the first {charts.LINES} of them" if len(histories) > charts.LINES else ""
        count = f"{len(histories)} trainings{many}" if len(histories) > 1 else "one training"
        head = element("h3", [stage, " ", element("span", f"({count})", {"class": "soft"})])
        shown.append(element("div", [head, charts.curves(histories, stage)]))
    return shown


def jobs(run: Run) -> Html | None:
    """Every training and how far it is."""
    rows = [(job.name, job.state, job.said) for job in run.jobs]
    return markup.table(("training", "state", ""), rows, texts=3) if rows else None
