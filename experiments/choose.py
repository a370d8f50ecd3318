"""Chooses settings on people held out inside the training folds, by a grid that is written down before anything runs.

    python -m experiments.choose --experiment=ia_gen --method=IA-gen --preset=quick \
        --grid=beta=10,200 --grid=phi_pooling=2,4                             # four runs
    python -m experiments.choose --experiment=ed2l --method=ED2L --preset=quick --grid=rate=1e-4,3e-4,1e-3

What is no flag of this command is one of --experiment's. Each way to combine the grid's values is a run of its own with
--validation, so that nobody whom a fold holds out is trained on or tested. The work folder gets grid.json before the
first of them, choose.log with a line after each, and chosen.json: the values that name most, by the mean over
expressions of all validation faces, at the last epoch. Of equal ones it is the first, so that the paper's value is put
first. The same line goes on with what is not done.

How near two rows are to each other says what a choice is worth: 300 faces have a standard error of 2 points.

Run once at `quick`, for ED2L's options: `RESULTS.md`, the second edition.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fer_tf import files

from .run import command_line, provenance, settings
from .run.settings import setting


@settings.command()
class Settings(settings.Base):
    """Which grid, and of what; `flags` are the experiment's own."""

    REST = "flags"

    experiment: str = setting("", "Whose settings, such as ia_gen. Flags that are not listed here are its own.")
    method: str = setting("", "Whose accuracy chooses: a name in the experiment's table.")
    grid: tuple[str, ...] = setting((), "flag=value,value ...; once for each flag.", repeated=True)
    validation: float = setting(0.2, "Share of a fold's training people who choose.", low=0.01, high=0.9)
    workdir: str | None = setting(None, "Where it goes; runs/choose_<experiment> when left out.", place="path")
    flags: tuple[str, ...] = setting((), "The experiment's flags, as on its command line.")


def candidates(grid: Sequence[str]) -> list[dict[str, str]]:
    """Every way to combine the values: [{flag: value}], the first values of all flags first.

    Raises:
      ValueError: no flag=value,value, or a flag that is there twice.
    """
    axes: dict[str, list[str]] = {}
    for text in grid:
        flag, equals, values = text.partition("=")
        if not flag or not equals or not all(values.split(",")) or flag in axes:
            raise ValueError(f"--grid={text}: flag=value,value is wanted, once for each flag.")
        axes[flag] = values.split(",")
    if not axes:
        raise ValueError("--grid is left out: give flag=value,value, such as --grid=beta=10,200.")
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def told(values: Mapping[str, str]) -> str:
    """A candidate in words, and the name of its folder."""
    return ",".join(f"{flag}={value}" for flag, value in values.items())


def begin(settings: Settings, folder: Path) -> list[dict[str, str]]:
    """The candidates, written to grid.json before any of them runs.

    Raises:
      ValueError: no experiment or method, or the folder has another grid, which would choose by what it has seen.
    """
    if not settings.experiment or not settings.method:
        raise ValueError("Whose accuracy chooses? Give --experiment, such as ia_gen, and --method, such as IA-gen.")
    taken = [flag for flag in settings.flags if flag.startswith(("--validation", "--workdir", "--job"))]
    if taken:
        raise ValueError(f"{taken[0]} is this command's own.")
    rows, file = candidates(settings.grid), folder / "grid.json"
    names = ("experiment", "method", "validation", "grid", "flags")
    plan = {name: list(v) if isinstance(v := getattr(settings, name), tuple) else v for name in names}
    if file.is_file():
        before = json.loads(file.read_text(encoding="utf-8"))
        if other := [name for name in names if before.get(name) != plan[name]]:
            raise ValueError(f"{folder} has a grid with another --{other[0]}: give another --workdir.")
    else:
        about = {"candidates": rows, "commit": provenance.commit(), "written": time.strftime("%F %T")}
        files.make_folder(folder)
        files.write_json(file, {**plan, **about})
    return rows


def measured(settings: Settings, place: Path) -> dict[str, Any] | None:
    """What the method names in a candidate's run: {"macro", "micro", "faces", "error"}; None where it is not done.

    Raises:
      ValueError: its table has no such method.
    """
    file = place / "metrics.json"
    if not file.is_file():
        return None
    found = json.loads(file.read_text(encoding="utf-8"))
    if settings.method not in found["methods"]:
        raise ValueError(f"--method={settings.method}: the table has {', '.join(found['methods'])}.")
    last = found["methods"][settings.method]["last"]
    faces, macro = sum(fold["test"] for fold in found["folds"]), last["macro"]["pooled"]
    error = math.sqrt(macro * (1 - macro) / faces)
    return {"macro": macro, "micro": last["micro"]["pooled"], "faces": faces, "error": error}


def run_one(settings: Settings, values: Mapping[str, str], place: Path) -> None:
    """One candidate in a process of its own; what it prints goes to <place>.txt.

    Raises:
      RuntimeError: it failed; the message names the file.
    """
    package = __package__ or "experiments"
    root = Path(__file__).resolve().parents[len(package.split("."))]
    words = [sys.executable, "-m", f"{package}.{settings.experiment}", *settings.flags]
    words += [f"--{flag}={value}" for flag, value in values.items()]
    words += [f"--validation={settings.validation}", f"--workdir={place}"]
    paths = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    log = place.with_name(f"{place.name}.txt")
    with log.open("a", encoding="utf-8") as out:
        code = subprocess.run(words, stdout=out, stderr=out, env={**os.environ, "PYTHONPATH": paths}).returncode
    if code:
        raise RuntimeError(f"{told(values)} ended with {code}: see {log}.")


def run(settings: Settings) -> dict[str, str]:
    """Runs what is not done of the grid, and gives the values that name most validation faces."""
    folder = Path(settings.workdir or f"runs/choose_{settings.experiment}")
    rows, found = begin(settings, folder), []
    for values in rows:
        place = folder / told(values)
        if measured(settings, place) is None:
            run_one(settings, values, place)
        one = measured(settings, place)
        if one is None:
            raise RuntimeError(f"{told(values)} left no metrics.json in {place}.")
        found.append({"values": values, **one})
        line = f"{told(values)}: {100 * one['macro']:.2f} % of {one['faces']}, standard error {100 * one['error']:.2f}"
        print(line, flush=True)
        with (folder / "choose.log").open("a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%F %T')} {line}\n")
    best = max(found, key=lambda one: one["macro"])  # the first of equal ones
    files.write_json(folder / "chosen.json", {"chosen": best["values"], "method": settings.method, "runs": found})
    print(f"chosen: {told(best['values'])}; {folder / 'chosen.json'} has all of them.")
    return dict(best["values"])


if __name__ == "__main__":
    command_line.main(Settings, run)
