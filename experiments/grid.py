"""Every training of a table as a job of its own: on this machine, on Ray or on Slurm, taken up again by the same line.

    python -m experiments.grid --experiment=ia_gen --preset=quick --runs=2                      # this machine's cores
    python -m experiments.grid --experiment=ia_gen --preset=paper --dataset=ck_plus --data_dir=... \
        --resources=gpu=0.25,cpu=2                                                              # four jobs a GPU
    python -m experiments.grid --experiment=ed2l --preset=paper ... --engine=ray --address=head:6379
    python -m experiments.grid --experiment=ed2l --preset=paper ... --engine=slurm --slurm=partition=gpu,time=240
    python -m experiments.grid --experiment=ia_gen --preset=paper ... --dry_run     # what there is to do; --watch: now

What is no flag of this command is one of --experiment's. A job is a training (IA-gen: run0/fold1/gan_anger) and has a
process with threads and a GPU's memory for its share, a log, grid.log, in its folder, and two more tries; what depends
on it waits. Then the experiment itself is run, finds all done and writes the table: with --deterministic the bits are
those of the command without the grid on this machine, for which jobs have as many threads as it has cores, whatever
their share: the number of threads changes the bits. done.json in a job's folder is the only truth: whatever is
killed, the same line goes on. A table is written where all jobs are done; else the exit code is 1.

--slurm has sbatch's options. A Slurm job that is preempted, or runs out of time, is queued again. Without --address
Ray is started here. --resources leaves out what is to be taken of the machine: a GPU and its part of the cores, or one
core; on Slurm whole ones alone.
"""

from __future__ import annotations

import contextlib
import importlib
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fer_tf import locks

from .parts.grid import engines, plan, process, schedule, share, view
from .run import command_line, jobs, settings, work
from .run.page import build
from .run.settings import setting


@settings.command()
class Settings(settings.Base):
    """Where jobs are run; `flags` are the experiment's own."""

    REST = "flags"

    experiment: str = setting("", "Whose jobs, such as ia_gen. Flags that are not listed here are its own.")
    engine: str = setting("local", "Where they are run; ray and slurm are extras.", choices=engines.NAMES)
    resources: tuple[str, ...] = setting((), "A job's share, such as gpu=0.25,cpu=2.")
    retries: int = setting(2, "How often a job that failed is run again.", low=0)
    dry_run: bool = setting(False, "List the jobs and run none.")
    watch: bool = setting(False, "Show how far the grid is that runs in the same work folder.")
    address: str | None = setting(None, "Of the Ray cluster to join, host:port or auto; without it one is started.")
    cluster: str = setting("slurm", "What submitit submits to.", choices=("slurm", "local", "debug"))
    slurm: tuple[str, ...] = setting((), "Options of sbatch, such as partition=gpu,time=240 (minutes).")
    flags: tuple[str, ...] = setting((), "The experiment's flags, as on its command line.")


def experiment_of(settings: Settings) -> tuple[Any, Any]:
    """(the module of --experiment, its settings).

    Raises:
      ValueError: there is none, or it is not one that trains.
      absl.flags.Error: it has no such flag.
    """
    known = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))
    if settings.experiment not in known or settings.experiment == "grid":
        asked = (
            f"--experiment={settings.experiment}: there is none" if settings.experiment else "--experiment is left out"
        )
        raise ValueError(f"{asked}; give one such as ia_gen, de_gan, ed2l, gcnet, cycle_at or fer_net.")
    module = importlib.import_module(f"{__package__}.{settings.experiment}")
    if not issubclass(module.Settings, work.Training):
        raise ValueError(f"--experiment={settings.experiment} trains nothing that could be shared out.")
    given = command_line.given(module.Settings, [settings.experiment, *settings.flags])
    if "job" in given:
        raise ValueError(f"--job={given['job']} is one of the grid's jobs: leave it out.")
    return module, module.Settings(**given)


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Within it, what ends a process in an orderly way does it as Ctrl-C would."""

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {name: signal.signal(name, stop) for name in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


@contextlib.contextmanager
def one_grid(folder: Path) -> Iterator[None]:
    """Within it, no other grid can have the work folder.

    Raises:
      ValueError: it cannot be made, another grid has it, or a command without one.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--workdir={folder} cannot be made ({error.strerror}): give another one.") from error
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locks.alone(folder / jobs.GRID))
        except locks.InUse as error:
            raise ValueError(
                f"{folder} has a grid already, {schedule.in_folder(folder)}: --watch shows how far it is. Wait for its "
                "end, or give another --workdir."
            ) from error
        locks.refuse_taken(folder, folder)
        yield


def watch(folder: Path) -> int:
    """Shows how far the grid of a work folder is until it ends; 1 where it has not come to its end."""
    screen = view.Screen()
    while True:
        who, said = schedule.in_folder(folder), view.read(folder)
        if said is not None:
            screen.show(said)
        if not who or said is None:
            break
        time.sleep(1.0)
    if said is None:
        raise ValueError(f"No grid has been in {folder}: --watch takes the flags that it was started with.")
    screen.show(said, at_once=True)
    print(f"No grid runs in {folder}: the last one {said['end'] or 'was killed'}.")
    return int(said["end"] != schedule.WELL)


def run_jobs(
    settings: Settings, listing: jobs.Listing, engine: schedule.Engine, each: share.Share, threads: int
) -> int:
    """Runs what is to be run, with so many threads each, and prints what came of it; the exit code."""
    token = uuid.uuid4().hex
    about = {"token": token, "experiment": settings.experiment, "flags": list(settings.flags)}
    about |= {"engine": settings.engine, "share": str(each), "started": time.strftime("%F %T")}

    def task(job: jobs.Job) -> process.Task:
        return plan.task_of(settings.experiment, settings.flags, listing.folder, threads, token, job)

    made, screen, end = schedule.Schedule(listing, engine, task, about, settings.retries), view.Screen(), "was stopped"
    try:
        with stopped_by_signals():
            made.run(screen.show)
        end = schedule.WELL if not made.failures() else "ended with jobs that failed"
    except KeyboardInterrupt:
        print(f"The jobs are stopped; the same line goes on in {listing.folder}.", file=sys.stderr)
        raise
    finally:
        with schedule.uninterrupted():
            engine.stop()
            made.tell_stopped()
            screen.show(made.write(end), at_once=True)
    for line in made.failures():
        print(line, file=sys.stderr)
    return finish(listing, made)


def finish(listing: jobs.Listing, made: schedule.Schedule) -> int:
    """Shows the table of a grid whose jobs are all done; 1 where one failed."""
    if made.failures():
        print(f"No table: {len(made.in_state(schedule.FAILED))} of {len(made.entries)} jobs failed.", file=sys.stderr)
        build.after(listing.folder, tested=False)  # of a grid that comes to its end the table's job writes it
        return 1
    print("\n".join(view.told_by_table(listing.folder / "table.log", made.table_from)))
    return 0


def run(settings: Settings) -> int:
    """Lists the jobs, runs those that are not done, then the table; gives the exit code."""
    module, chosen = experiment_of(settings)
    if settings.watch:
        return watch(work.place(chosen, settings.experiment).absolute())
    there = share.machine()
    each = share.read(settings.resources, there if settings.engine == "local" else share.NOWHERE)
    if chosen.device == "gpu" and not each.gpu:
        raise ValueError("--device=gpu, and a job is given no GPU: give --resources=gpu=1, where there is one.")
    engines.need(settings.engine)
    listing = plan.listed(module, chosen)
    if settings.dry_run:
        print(plan.text(listing, f"{each} each, --engine={settings.engine}"))
        return 0
    with one_grid(listing.folder):
        engine = engines.make(settings, each, there, listing.folder, listing.jobs[0].place)
        return run_jobs(settings, listing, engine, each, there.cpu if chosen.deterministic else each.threads)


if __name__ == "__main__":
    command_line.main(Settings, run)
