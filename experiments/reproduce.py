"""A paper's tables on the data it used: every row's command, run through the grid, and printed beside measured.

    python -m experiments.reproduce --paper=ed2l                                # what there is: rows, figures, commands
    python -m experiments.reproduce --paper=ed2l --data_dir=ck_plus=/data/CK+,fer2013=/data/fer2013
    python -m experiments.reproduce --paper=gcnet --dataset=ck_plus --data_dir=/data/CK+ --only=ck_plus_7 \
        --resources=gpu=0.25,cpu=2                                              # flags of experiments.grid go to it
    python -m experiments.reproduce --paper=ed2l --dataset=rendered --preset=smoke      # a try, without the data

Rows whose data sets are not in --data_dir are named and left out, the others go on; a file that `prepare` wrote (.h5)
may stand for a data set's folder. What the paper trains before (on FER-2013, BU-4DFE, CASIA-WebFace) is trained first
where that data set is given, too; else a row goes without and its note says so, and ED2L's fine-tuned rows are left
out. What is no flag of this command goes to `experiments.grid`: --engine, --resources, --seed and the like. The same
line goes on where it was stopped, and what is done is not done again. reproduce.json and reproduce.md in --workdir have
each cell with its spread, faces, people, folds and runs, and are written anew after each step. Not run on the papers'
data here: nobody's time on them is known.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fer_tf import catalogue, files, locks

from .parts.reproduce import papers, step, table
from .parts.reproduce.step import Chosen, Paper, Step
from .run import command_line, settings
from .run.settings import setting

PACKAGE = __package__ or "experiments"
OF_GRID = ("engine", "resources", "retries", "address", "cluster", "slurm")
"""Flags of the grid by which no figure changes."""
REFUSED = (
    "experiment", "job", "dry_run", "watch", "protocol", "rows", "uses", "baselines", "train_on", "test_on", "target",
    "auxiliary", "source_network", "source_run", "classes", "folds", "split", "manifest", "options", "validation",
    "all_subjects", "expressions", "together", "stages", "out",
)  # fmt: skip
"""Flags that the tables, or this command, give."""
OF_TRAINING = {field.name for field in dataclasses.fields(settings.Training)} - {"epochs", "batch_size"}
"""Flags that a training without folds gets, too."""
MARK = "reproduced.json"
"""In a step's work folder: the flags with which it came to its end."""


@settings.command()
class Settings(settings.Base):
    """Which tables, on what; `flags` are the grid's and the experiments' own."""

    REST = "flags"

    paper: str = setting("", f"Whose tables: {', '.join(papers.PAPERS)}.")
    data_dir: tuple[str, ...] = setting(
        (), "The data sets, name=folder with commas; or one with --dataset.", place="path"
    )
    dataset: str = setting("", "Of a --data_dir without a name; rendered: these faces stand for all data.")
    preset: str = setting("paper", "Of the commands.", choices=("paper", "quick", "smoke"))
    only: tuple[str, ...] = setting((), "Only these steps, as they are listed, such as ck_plus; all when empty.")
    list_: bool = setting(False, "List and run nothing, which is what is done without data, too.")
    workdir: str | None = setting(None, "Where results go; runs/reproduce_<paper> when left out.", place="path")
    flags: tuple[str, ...] = setting((), "Flags of experiments.grid and of the experiments.")


def paper_of(settings: Settings) -> Paper:
    """The tables of --paper.

    Raises:
      ValueError: there are none, --only names no step, or a flag is one that the tables give.
    """
    if settings.paper not in papers.PAPERS:
        said = f"--paper={settings.paper}: there is none" if settings.paper else "--paper is left out"
        raise ValueError(f"{said}; give one of {', '.join(papers.PAPERS)}.")
    paper = papers.PAPERS[settings.paper]()
    names = [one.name for one in paper.steps]
    if unknown := [name for name in settings.only if name not in names]:
        raise ValueError(f"--only={','.join(settings.only)}: {unknown[0]!r} is none of {', '.join(names)}.")
    for word in settings.flags:
        name = flag_of(word)
        if not word.startswith("--"):
            raise ValueError(f"Unknown argument {word!r}: flags look like --name=value; --help lists them.")
        if name in REFUSED:
            raise ValueError(f"{word}: the tables say that, or the grid's own command does: leave it out.")
    return paper


def flag_of(word: str) -> str:
    """The name in --name=value."""
    return word.lstrip("-").partition("=")[0]


def chosen_of(settings: Settings, paper: Paper) -> tuple[Chosen, dict[str, str]]:
    """(what is run on, {data set: place that is not there}).

    Raises:
      ValueError: --data_dir names what the paper has not, or nothing that is there.
    """
    rendered = settings.dataset if settings.dataset in catalogue.RENDERED else ""
    known = {rendered} if rendered else {name for one in paper.steps for name in one.known}
    if settings.dataset and settings.dataset not in known:
        raise ValueError(f"--dataset={settings.dataset} is no data set of this paper's tables, which are on "
                         f"{', '.join(sorted(known))}; rendered stands for all of them.")  # fmt: skip
    places = step.read_places(settings.data_dir, settings.dataset, known)
    there = step.there(places)
    gone = {name: place for name, place in places.items() if name not in there}
    if places and not there:
        raise ValueError(f"--data_dir: nothing is at {', '.join(gone.values())}.")
    return Chosen(there, settings.preset, rendered), gone


def folder_of(settings: Settings) -> Path:
    """Where results go."""
    tried = "" if settings.preset == "paper" else f"_{settings.preset}"
    rendered = f"_{settings.dataset}" if settings.dataset in catalogue.RENDERED else ""
    return Path(settings.workdir or f"runs/reproduce_{settings.paper}{rendered}{tried}").absolute()


def line_of(one: Step, words: Sequence[str], flags: Sequence[str], folder: Path) -> list[str]:
    """The words after python -m of a step's command."""
    if one.out:
        known = [flag for flag in flags if flag_of(flag).removeprefix("no") in OF_TRAINING]
        return [f"{PACKAGE}.{one.experiment}", *words, f"--out={folder / one.out}", f"--workdir={folder}", *known]
    return [f"{PACKAGE}.grid", f"--experiment={one.experiment}", *words, f"--workdir={folder}", *flags]


def execute(line: Sequence[str]) -> int:
    """Runs python -m with these words in a process of its own; its exit code."""
    above = str(Path(__file__).resolve().parents[len(PACKAGE.split("."))])
    told = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [above, os.environ.get("PYTHONPATH", "")]))}
    child = subprocess.Popen([sys.executable, "-m", *line], env=told)
    try:
        return child.wait()
    except KeyboardInterrupt:  # which the child has had, too, and stops its jobs
        child.wait()
        raise


class Run:
    """What one call does: each step once, those that others start from first.

    Args:
      settings: of the call.
      paper: its tables.
      chosen: the data.
      gone: data set -> place that is not there.
    """

    def __init__(self, settings: Settings, paper: Paper, chosen: Chosen, gone: Mapping[str, str]):
        self.settings, self.paper, self.chosen, self.gone = settings, paper, chosen, gone
        self.folder = folder_of(settings)
        self.results: dict[str, Any] = {}
        self.commands: dict[str, str] = {}
        self.failed: list[str] = []
        self.done: dict[str, Path] = {}
        self.same: dict[tuple[str, ...], str] = {}

    def starts(self, one: Step) -> tuple[dict[str, str], list[str]]:
        """({flag: weights}, flags whose weights cannot be made); what --flags gives is left to it."""
        given = {flag_of(word) for word in self.settings.flags}
        asked = {} if self.chosen.rendered else {f: s for f, s in one.starts.items() if f not in given}
        able = {f: s for f, s in asked.items() if not step.missing(self.paper.step(s.step), self.chosen)}
        places = {f: str((self.folder / s.step / s.path).absolute()) for f, s in able.items()}
        return places, [f for f in asked if f not in able]

    def lacks(self, one: Step) -> list[str]:
        """The data sets without which a step is not run."""
        _, without = self.starts(one)
        own = step.missing(one, self.chosen)
        before = [n for f in without for n in step.missing(self.paper.step(one.starts[f].step), self.chosen)]
        return [*dict.fromkeys([*own, *(before if one.needs_starts else [])])]

    def line(self, one: Step) -> list[str]:
        """The words after python -m."""
        places, without = self.starts(one)
        folder = self.folder / (one.name + "_from_nothing" * bool(without))
        return line_of(one, step.words(one, self.chosen, places), self.settings.flags, folder)

    def steps(self) -> list[Step]:
        """Those that are asked for, and that these start from where they can be run; on rendered faces no starts."""
        only, with_rows = self.settings.only, {row.step for row in self.paper.rows}
        asked = [one for one in self.paper.steps if one.name in (only or with_rows)]
        if self.chosen.rendered:
            return [one for one in asked if one.name in with_rows]
        able = [one for one in asked if not self.lacks(one)]
        before = {one.starts[flag].step for one in able for flag in self.starts(one)[0]}
        return [one for one in self.paper.steps if one in asked or one.name in before]

    def why_not(self, one: Step) -> str:
        """Why a step is not run; empty where it is."""
        if self.chosen.rendered and one.needs_starts and self.settings.preset == "smoke":
            return "a net of the smoke preset's size has no weights to start from"
        if lacks := self.lacks(one):
            where = [f"{name} ({self.gone[name]} is not there)" if name in self.gone else name for name in lacks]
            return f"no data: {', '.join(where)}"
        for flag in self.starts(one)[0]:
            if one.starts[flag].step in self.failed:
                return f"{one.starts[flag].step}, which it starts from, failed"
        return ""

    def note(self, one: Step) -> str:
        """What is to be known of a step's figures."""
        _, without = self.starts(one)
        said = [f"--preset={self.settings.preset}, not the paper's"] * (self.settings.preset != "paper")
        said += ["rendered faces"] * bool(self.chosen.rendered)
        if without:
            made_by = one.starts[without[0]].step
            said.append(f"without --{', --'.join(without)}: {made_by}, which gives it, has no data")
        return "; ".join([*said, *([one.note] if one.note and not self.chosen.rendered else [])])

    def perform(self, one: Step) -> Path | None:
        """Runs a step that is not done; its work folder, or None where it failed."""
        line = self.line(one)
        folder = Path(next(w for w in line if w.startswith("--workdir=")).partition("=")[2])
        told = [word for word in line[1:] if not word.startswith(("--workdir=", "--out=")) and
                flag_of(word) not in OF_GRID]  # fmt: skip
        key = (line[0], *told)
        if key in self.same:  # rendered faces stand for several data sets
            return self.done.get(self.same[key])
        self.same[key] = one.name
        with_rows = one.name in {row.step for row in self.paper.rows}
        kept = [folder / "metrics.json"] if with_rows else [folder / path for path in self.made_by(one)]
        if marked(folder) == told and all(file.exists() for file in kept):
            print(f"{one.name}: done before, in {folder}", flush=True)
        else:
            print(f"{one.name}: python -m {shlex.join(line)}", flush=True)
            if code := execute(line):
                print(f"{one.name} failed, exit code {code}; the others go on.", file=sys.stderr, flush=True)
                self.failed.append(one.name)
                return None
            folder.mkdir(parents=True, exist_ok=True)
            files.write_json(folder / MARK, {"flags": told})
        self.done[one.name] = folder
        return folder

    def made_by(self, one: Step) -> list[str]:
        """The weights that others take of a step."""
        return [s.path for other in self.paper.steps for s in other.starts.values() if s.step == one.name]

    def all(self) -> int:
        """Every step; the exit code."""
        steps = self.steps()
        for one in steps:
            self.commands[one.name] = f"python -m {shlex.join(self.line(one))}"
            self.results[one.name] = self.why_not(one) or "not yet"
        for one in steps:
            if why := self.why_not(one):
                print(f"{one.name}: not run: {why}", file=sys.stderr, flush=True)
                self.results[one.name] = why
                self.write()
                continue
            folder = self.perform(one)
            said = table.read(folder) if folder else None
            self.results[one.name] = {"said": said, "note": self.note(one)} if said else "it failed"
            self.write()
        if not self.done and not self.failed:
            raise ValueError(f"No row can be run: {'; '.join(f'{n}: {r}' for n, r in self.results.items())}.")
        print((self.folder / table.MARKDOWN).read_text(encoding="utf-8"))
        print(f"{table.JSON} and {table.MARKDOWN} are in {self.folder}.")
        return int(bool(self.failed))

    def write(self) -> None:
        """reproduce.json and reproduce.md as far as it is."""
        about = {"paper": self.settings.paper, "preset": self.settings.preset, "commands": self.commands}
        table.write(self.folder, about, self.paper, self.results, bool(self.chosen.rendered))


def marked(folder: Path) -> list[str] | None:
    """The flags with which a work folder's step came to its end."""
    try:
        return json.loads((folder / MARK).read_text(encoding="utf-8"))["flags"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def run(settings: Settings) -> int:
    """Lists the tables, or runs what there is data for; gives the exit code."""
    paper = paper_of(settings)
    chosen, gone = chosen_of(settings, paper)
    asked = bool(chosen.places or chosen.rendered)
    if not asked:  # as if all were given
        chosen = chosen._replace(places={name: f"<{name}>" for one in paper.steps for name in one.wanted})
    made = Run(settings, paper, chosen, gone)
    if asked and not settings.list_:
        made.folder.mkdir(parents=True, exist_ok=True)
        with locks.alone(made.folder):
            return made.all()
    lines = {one.name: f"python -m {shlex.join(made.line(one))}" for one in made.steps()}
    lacks = {one.name: made.lacks(one) for one in made.steps()}
    print(table.listing(paper, made.steps(), lines, lacks))
    return 0


if __name__ == "__main__":
    command_line.main(Settings, run)
