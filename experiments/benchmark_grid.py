"""What a job costs as one of a grid, over the same command by hand, and jobs a minute, one and two at once.

    python -m experiments.benchmark_grid

FER-Net's `smoke`, a fold a job, each a process that begins with TensorFlow: first one by one by hand, then by the grid
on this machine, one at once and --at_once at once with half the cores each. Overhead is the grid's seconds a job less
those by hand; scaling is jobs a minute at once over those one by one, to be compared with the cores that there are.
Writes <workdir>/benchmark_grid.json.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from fer_tf import files

from .parts.grid import local, plan, process, schedule, share
from .run import command_line, jobs, provenance, settings
from .run.settings import setting

EXPERIMENT = "fer_net"


@settings.command()
class Settings(settings.Base):
    """How many jobs, and how many at once."""

    jobs: int = setting(4, "Folds, each of which is a job.", low=2, high=10)
    at_once: int = setting(2, "Jobs at once, beside one.", low=2)
    workdir: str = setting("runs/benchmark_grid", "Where jobs are run; what they leave is removed.", place="path")


class Bench:
    """The jobs, in a folder that is made anew for each timing."""

    def __init__(self, settings: Settings):
        self.folder = Path(settings.workdir).absolute() / "grid"
        self.flags = ("--preset=smoke", f"--folds={settings.jobs}", f"--max_subjects={settings.jobs}")
        self.module: Any = importlib.import_module(f".{EXPERIMENT}", __package__)
        words = [EXPERIMENT, *self.flags, f"--workdir={self.folder}"]
        self.chosen = self.module.Settings(**command_line.given(self.module.Settings, words))

    def task(self, each: share.Share, job: jobs.Job) -> process.Task:
        """What is run for a job."""
        return plan.task_of(EXPERIMENT, self.flags, self.folder, each.threads, "benchmark", job)

    def fresh(self) -> jobs.Listing:
        """The jobs without the table, none of which is done."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        listing = plan.listed(self.module, self.chosen)
        return listing._replace(jobs=listing.jobs[:-1])

    def by_hand(self, each: share.Share) -> float:
        """Seconds of all jobs one by one, without the grid."""
        listing, seconds = self.fresh(), 0.0
        for job in listing.jobs:
            task, begun = self.task(each, job), time.perf_counter()
            environment = {**os.environ, **task.environment}
            subprocess.run(task.words, env=environment, check=True, capture_output=True)
            seconds += time.perf_counter() - begun
        return seconds

    def by_grid(self, each: share.Share, at_once: int) -> float:
        """Seconds of all jobs, so many at once.

        Raises:
          RuntimeError: one failed.
        """
        listing = self.fresh()
        engine = local.Local(each, share.Machine(max(at_once, int(each.cpu * at_once)), ()), listing.jobs[0].place)
        engine.at_once = at_once
        made = schedule.Schedule(listing, engine, lambda job: self.task(each, job), {"token": "benchmark"})
        begun = time.perf_counter()
        try:
            made.run(lambda said: None)
        finally:
            engine.stop()
        if failed := made.failures():
            raise RuntimeError("\n".join(failed))
        return time.perf_counter() - begun


def run(settings: Settings) -> Path:
    """Measures, writes, prints; gives benchmark_grid.json."""
    bench, cores = Bench(settings), share.machine().cpu
    whole, part = share.Share(cores, 0), share.Share(max(cores / settings.at_once, 0.1), 0)
    begun = time.perf_counter()
    bench.fresh()
    start = time.perf_counter() - begun
    hand, alone = bench.by_hand(whole), bench.by_grid(whole, 1)
    together = bench.by_grid(part, settings.at_once)
    result = {
        "settings": {"jobs": settings.jobs, "at_once": settings.at_once},
        "hardware": provenance.hardware(),
        "cores": cores,
        "commit": provenance.commit(),
        "seconds_a_job_by_hand": hand / settings.jobs,
        "overhead_a_job": (alone - hand) / settings.jobs,
        "listing_seconds": start,
        "jobs_a_minute": {"1": 60 * settings.jobs / alone, str(settings.at_once): 60 * settings.jobs / together},
        "scaling": alone / together,
        "load_after": os.getloadavg(),
    }
    shutil.rmtree(bench.folder)
    files.write_json(bench.folder.parent / "benchmark_grid.json", result)
    print(table(result))
    return bench.folder.parent / "benchmark_grid.json"


def table(result: dict[str, Any]) -> str:
    """The result in lines."""
    lines = [f"{result['hardware']}; this process may use {result['cores']} cores"]
    by_hand, more = result["seconds_a_job_by_hand"], result["overhead_a_job"]
    lines += [f"a job by hand: {by_hand:.1f} s, as one of a grid {more:+.2f} s"]
    lines += [f"{count} at once: {rate:.1f} jobs a minute" for count, rate in result["jobs_a_minute"].items()]
    return "\n".join([*lines, f"scaling: {result['scaling']:.2f}"])


if __name__ == "__main__":
    command_line.main(Settings, run)
