"""The jobs of an experiment: its trainings, each of which a process of its own can make in the shared work folder.

    STAGES = [jobs.Stage("net", "networks", epochs=20), jobs.Stage("gan", "GANs", after=("net",))]
    for number_of_run, number in jobs.pairs(settings, folder, numbers, STAGES):
        net = train(settings, ..., place / "net")                       # by `run.fitting`
        if jobs.wanted(place / "gan"):
            ...

Without --job these are all runs and folds, and everything is wanted. --job=run0/fold1/gan trains that alone: `pairs`
gives its run and fold, what is neither it nor before it is not wanted, and `run.fitting` ends the command behind it. A
training before it has to be done: no job does another's work. --job=list ends in `pairs`, and --job=table is the whole
command as the grid's last job.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

LIST, TABLE = "list", "table"
"""Values of --job that name no training."""
GRID = "grid"
"""Name of the lock of the grid that works in a folder."""
BUSY = 75
"""Exit code of a job that another process is at."""


class Stage(NamedTuple):
    """A training of each fold.

    Attributes:
      name: of its folder in the fold's.
      wave: what a view of the grid counts it under.
      epochs: after which it is done; None where its done.json alone says so.
      after: names of those that have to be done before.
    """

    name: str
    wave: str
    epochs: int | None = None
    after: tuple[str, ...] = ()


class Job(NamedTuple):
    """A training of the work folder.

    Attributes:
      place: its folder, in the work folder.
      wave: as of a `Stage`.
      epochs, max_steps: after either of which it is done.
      after: places of those that have to be done before, theirs included.
    """

    place: str
    wave: str
    epochs: int | None
    max_steps: int | None
    after: tuple[str, ...]

    def done(self, folder: Path) -> bool:
        """Whether its done.json in a work folder says that it has come to its end."""
        try:
            said = json.loads((folder / self.place / "done.json").read_text(encoding="utf-8"))
            enough = self.max_steps is not None and said["steps"] >= self.max_steps
            return self.epochs is None or enough or said["epochs"] >= self.epochs
        except (OSError, ValueError, KeyError, TypeError):
            return False


class Listing(NamedTuple):
    """The jobs of a run, in an order in which they can be done, and its work folder."""

    folder: Path
    jobs: tuple[Job, ...]


class Listed(Exception):
    """Ends a command that was to list its jobs; `listing` has them."""

    def __init__(self, listing: Listing):
        super().__init__()
        self.listing = listing


class Ended(Exception):
    """Ends a command whose --job is done."""


class _Own(NamedTuple):
    folder: Path
    job: Job


_own: ContextVar[_Own | None] = ContextVar("own", default=None)


def listing(settings: Any) -> bool:
    """Whether the run lists its jobs and writes nothing."""
    return settings.job == LIST


def is_one(settings: Any) -> bool:
    """Whether --job names a training."""
    return settings.job not in ("", LIST, TABLE)


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Within it, what a command's --job means is its own."""
    token = _own.set(None)
    try:
        yield
    finally:
        _own.reset(token)


def pairs(
    settings: Any, folder: Path, numbers: Sequence[int], stages: Sequence[Stage], of_run: Sequence[Stage] = ()
) -> list[tuple[int, int]]:
    """(run, fold) of all that is to be run, in order; with --job its own.

    Args:
      settings: job, runs, max_steps.
      folder: of the run.
      numbers: of the folds.
      stages: of each fold, in an order in which they can be trained.
      of_run: of each run, before its folds; the stages of a fold may be after these, too.
    Raises:
      Listed: --job=list.
      ValueError: there is no such job.
    """
    made: list[Job] = []
    for run in range(settings.runs):
        made += _jobs(settings, f"run{run}", of_run, {})
        above = {stage.name: f"run{run}/{stage.name}" for stage in of_run}
        for number in numbers:
            made += _jobs(settings, f"run{run}/fold{number}", stages, above, made)
    everything = [(run, number) for run in range(settings.runs) for number in numbers]
    own = _choose(settings, folder, made)
    if own is None:
        return everything
    return [(run, number) for run, number in everything if _holds(own.place, run, number)][:1]


def once(settings: Any, folder: Path, stages: Sequence[Stage], place: str = "") -> Path:
    """A folder in the work folder, whose stages are all there is of a run; else as `pairs`."""
    _choose(settings, folder, _jobs(settings, place, stages, {}))
    return folder / place


def _holds(place: str, run: int, number: int) -> bool:
    """Whether a job is of a fold, or of its run as a whole."""
    parts = Path(place).parts
    return parts[0] == f"run{run}" and (not parts[1].startswith("fold") or parts[1] == f"fold{number}")


def _jobs(
    settings: Any, place: str, stages: Sequence[Stage], above: dict[str, str], known: Sequence[Job] = ()
) -> list[Job]:
    """The stages in one place; `above` and `known` have what they may be after besides each other."""
    places, before = {**above}, {job.place: job.after for job in known}
    made = []
    for stage in stages:
        direct = [places[name] for name in stage.after]
        after = dict.fromkeys(p for one in direct for p in (*before[one], one))
        made.append(
            Job(f"{place}/{stage.name}".lstrip("/"), stage.wave, stage.epochs, settings.max_steps, tuple(after))
        )
        places[stage.name], before[made[-1].place] = made[-1].place, made[-1].after
    return made


def _choose(settings: Any, folder: Path, made: Sequence[Job]) -> Job | None:
    """The job that --job names, which is this process's from here on; None where it names none."""
    if listing(settings):
        raise Listed(Listing(folder, tuple(made)))
    if not is_one(settings):
        return None
    own = next((job for job in made if job.place == settings.job), None)
    if own is None:
        raise ValueError(f"--job={settings.job} is none of this run's: it has {_few([job.place for job in made])}.")
    _own.set(_Own(folder, own))
    return own


def _few(places: Sequence[str]) -> str:
    return ", ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")


def wanted(folder: Path) -> bool:
    """Whether the training in a folder is to be had: without --job each is, with it that one and those before it.

    One in another run's folder is: it is done there.
    """
    own = _own.get()
    return (
        own is None or not folder.is_relative_to(own.folder) or _place(own, folder) in (own.job.place, *own.job.after)
    )


def _place(own: _Own, folder: Path) -> str:
    return folder.relative_to(own.folder).as_posix()


@contextlib.contextmanager
def training(settings: Any, folder: Path) -> Iterator[None]:
    """Within it, a training is made; behind that of --job the command ends.

    Args:
      settings: of the run.
      folder: of the training.
    Raises:
      Ended: it is that of --job.
      ValueError: it has to be done for --job and is not, or the command does not say what its jobs are.
    """
    own = _own.get()
    if own is None and (listing(settings) or is_one(settings)):
        raise ValueError("This command is not made of jobs that could be shared out: run it by itself.")
    if own is not None and not folder.is_relative_to(own.folder):  # another run's, of which nothing is trained
        yield
        return
    place = "" if own is None else _place(own, folder)
    if own is not None and place != own.job.place:
        if not wanted(folder):
            raise ValueError(f"--job={own.job.place} has no need of {place}, and would train it: that is a fault here.")
        if not (folder / "done.json").is_file():
            raise ValueError(f"--job={own.job.place} comes after {place}, which is not done.")
    yield
    if own is not None and place == own.job.place:
        raise Ended
