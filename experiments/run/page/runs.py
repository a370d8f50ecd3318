"""What a run's folder holds, read as it is: settings, folds, metrics, predictions, and which trainings are whole.

A run that was killed, or has not begun to test, is a run, too: what is missing is said, not raised.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from fer_tf import predictions

TRAINING = re.compile(r"run(\d+)/(?:fold(\d+)/)?(.+)")
"""A training's folder below the run's: its run, its fold (one that all folds share has none), its stage."""


class Job(NamedTuple):
    """One training.

    Attributes:
      run, fold: numbers; fold is None of a training that all folds of a run share.
      stage: its folder, such as finetune.
      state: done, stopped (it has begun), running, failed, or missing.
      said: how far it is, or why it is not.
      lines: the last ones that it printed, where it failed.
    """

    run: int
    fold: int | None
    stage: str
    state: str
    said: str = ""
    lines: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """run0/fold1/finetune."""
        return "/".join([f"run{self.run}", *([] if self.fold is None else [f"fold{self.fold}"]), self.stage])


@dataclass(frozen=True)
class Run:
    """A run's folder.

    Attributes:
      folder: where it is.
      flags, folds, metrics: of flags.json, folds.json and metrics.json; empty where there is none.
      answers: of predictions.npz.
      jobs: every training that there is, or has to be.
      problems: sentences on files that cannot be read.
    """

    folder: Path
    flags: dict[str, Any] = field(default_factory=dict)
    folds: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    answers: predictions.Predictions | None = None
    jobs: tuple[Job, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.resolve().name

    @property
    def methods(self) -> dict[str, Any]:
        """Of metrics.json."""
        return self.metrics.get("methods", {})

    @property
    def classes(self) -> list[str]:
        """Of metrics.json."""
        return list(self.metrics.get("classes", ()))

    @property
    def tested(self) -> list[tuple[int, int]]:
        """(run, fold) of what was tested."""
        return [(entry["run"], entry["fold"]) for entry in self.metrics.get("folds", ())]

    @property
    def unfinished(self) -> list[Job]:
        """The trainings that are not done."""
        return [job for job in self.jobs if job.state != "done"]

    @property
    def not_run(self) -> dict[int, list[int]]:
        """Run -> its folds of which nothing is there."""
        dealt = range(len(self.folds.get("folds", ())))
        runs = self.flags.get("runs", 0)
        if not isinstance(runs, int):
            return {}
        begun = {(job.run, job.fold) for job in self.jobs} | {*self.tested}
        absent = {run: [fold for fold in dealt if (run, fold) not in begun] for run in range(runs)}
        return {run: folds for run, folds in absent.items() if folds}

    @property
    def untested(self) -> list[tuple[int, int]]:
        """(run, fold) of what was trained and is not in metrics.json."""
        begun = {(job.run, job.fold) for job in self.jobs if job.fold is not None}
        return sorted(begun - {*self.tested})


def read(folder: str | Path) -> Run:
    """The run in a folder.

    Raises:
      FileNotFoundError: there is none; the message says what would be there.
    """
    folder, problems = Path(folder), list[str]()
    names = ("flags.json", "folds.json", "metrics.json")
    if not any((folder / name).is_file() for name in (*names, predictions.FILE, "grid.json")):
        what = "has neither flags.json nor metrics.json" if folder.is_dir() else "is no folder"
        raise FileNotFoundError(f"{folder} {what}: give the --workdir of a run.")
    flags, folds, metrics = (_json(folder / name, problems) for name in names)
    answers = None
    if (folder / predictions.FILE).is_file():
        try:
            answers = predictions.read(folder / predictions.FILE)
        except ValueError as error:
            problems.append(str(error))
    return Run(folder, flags, folds, metrics, answers, tuple(jobs(folder, problems)), tuple(problems))


def _json(file: Path, problems: list[str]) -> dict[str, Any]:
    """A JSON file's mapping; empty where there is none, or where it is damaged, which is told."""
    if not file.is_file():
        return {}
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        problems.append(f"{file.name} is damaged: {error}")
        return {}
    if not isinstance(value, dict):
        problems.append(f"{file.name} is damaged: it holds no mapping.")
        return {}
    return value


def trainings(folder: Path) -> list[Path]:
    """The folders of a run in which something was trained, or has begun to be."""
    marks = ("done.json", "history.csv", "trained_on.json")
    found = {file.parent for mark in marks for file in folder.glob(f"run*/**/{mark}")}
    found |= {file.parents[1] for file in folder.glob("run*/**/checkpoint/checkpoint")}
    return sorted(found, key=lambda place: natural(place.relative_to(folder).as_posix()))


def natural(text: str) -> list[Any]:
    """A sorting key by which fold9 comes before fold10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]


def jobs(folder: Path, problems: list[str]) -> list[Job]:
    """Every training of a run: those that are there, those that a grid lists, those that another fold has.

    Args:
      folder: of the run; a grid's view of its jobs is in grid.json.
      problems: gets sentences on files that cannot be read.
    """
    found: dict[tuple[int, int | None, str], Job] = {}
    for place in trainings(folder):
        if (key := _key(place.relative_to(folder).as_posix())) is not None:
            found[key] = Job(*key, *_state(place, problems))
    for entry in _listed(folder, problems):
        key = _key(str(entry["place"]))
        if key is None:
            if entry["state"] == "failed":
                problems.append(f"The grid's job {entry['place']} failed: {' '.join(entry['lines'][-1:])}")
        elif key not in found or found[key].state != "done":
            found[key] = _of_grid(key, entry, found.get(key))
    for shared in (True, False):  # what one has, all the others need
        own = {key for key in found if (key[1] is None) is shared}
        for run, fold in {key[:2] for key in own}:
            for stage in {key[2] for key in own} - {key[2] for key in own if key[:2] == (run, fold)}:
                found[run, fold, stage] = Job(run, fold, stage, "missing", "another fold has it")
    return [found[key] for key in sorted(found, key=lambda k: (k[0], -1 if k[1] is None else k[1], natural(k[2])))]


def _key(place: str) -> tuple[int, int | None, str] | None:
    """(run, fold, stage) of a training's folder; None where it is none."""
    match = TRAINING.fullmatch(place)
    return None if match is None else (int(match[1]), None if match[2] is None else int(match[2]), match[3])


def _listed(folder: Path, problems: list[str]) -> list[dict[str, Any]]:
    """The jobs of grid.json, whose state is to be told: {"place", "state", "tries", "lines"}."""
    listed = _json(folder / "grid.json", problems).get("jobs", [])
    made = []
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, dict) and "place" in entry:
            lines = tuple(map(str, entry.get("lines") or ()))
            made.append({"tries": 0, "state": "waiting", **entry, "lines": lines})
    return made


def _of_grid(key: tuple[int, int | None, str], entry: dict[str, Any], there: Job | None) -> Job:
    """A job that is not done as the grid has it; `there`: as its folder has it."""
    if entry["state"] == "failed":
        return Job(*key, "failed", f"{entry['tries']} times", entry["lines"])
    if entry["state"] in ("running", "elsewhere"):
        return Job(
            *key, "running", f"when the grid last looked; {there.said}" if there else "when the grid last looked"
        )
    if there is not None:
        return there
    return Job(*key, "missing", "one before it failed" if entry["state"] == "left" else "not begun")


def _state(place: Path, problems: list[str]) -> tuple[str, str]:
    """(state, words) of one training, by its own files."""
    if done := _json(place / "done.json", problems):
        return "done", f"{done.get('epochs', '?')} epochs, {done.get('steps', '?')} steps"
    try:
        rows = (place / "history.csv").read_text(encoding="utf-8").count("\n") - 1
    except OSError:
        rows = 0
    return "stopped", f"after {rows} whole epochs" if rows > 0 else "before the end of its first epoch"
