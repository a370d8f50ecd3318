"""What a grid consists of: an experiment's jobs with the table as the last, and the process of each."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...run import jobs
from . import process, share

PACKAGE = (__package__ or "").rsplit(".", 2)[0]
"""The package of the commands: experiments in a checkout, fer_tf.experiments where it is installed."""


def listed(module: Any, chosen: Any) -> jobs.Listing:
    """All jobs, in the work folder's full name, with the table last.

    Args:
      module: of the experiment.
      chosen: its settings.
    """
    listing = module.run(chosen.replace(job=jobs.LIST))
    places = tuple(job.place for job in listing.jobs)
    table = jobs.Job(jobs.TABLE, jobs.TABLE, None, None, places)
    return jobs.Listing(listing.folder.absolute(), (*listing.jobs, table))


def task_of(
    experiment: str, flags: Sequence[str], folder: Path, threads: int, token: str, job: jobs.Job
) -> process.Task:
    """What is run for a job.

    Args:
      experiment: whose job it is.
      flags: of its command line.
      folder: the work folder.
      threads: of its process.
      token: of the grid.
      job: the job.
    """
    log = folder / "table.log" if job.place == jobs.TABLE else folder / job.place / "grid.log"
    words = [sys.executable, "-m", f"{PACKAGE}.{experiment}", *flags, f"--workdir={folder}", f"--job={job.place}"]
    packages = Path(__file__).resolve().parents[2 + len(PACKAGE.split("."))]
    told = share.environment(threads, packages)
    return process.Task(job.place, tuple(words), str(log), os.getcwd(), told, str(folder), token)


def text(listing: jobs.Listing, where: str) -> str:
    """Each job and whether it is done; `where` ends the last line."""
    wide = max(len(job.wave) for job in listing.jobs)
    rows = [(job, "done" if job.done(listing.folder) else "to do") for job in listing.jobs]
    lines = [f"{job.wave:<{wide}}  {said:<5}  {job.place}" for job, said in rows]
    left = sum(said != "done" for _, said in rows)
    return "\n".join([*lines, f"{left} of {len(rows)} to do in {listing.folder}, {where}."])
