"""Jobs as arrays of Slurm, by submitit, which queues again what is preempted or runs out of time. The extra `slurm`.

Whether a job is over is asked of its result, then of squeue: sacct is not to be had on every cluster.
"""

from __future__ import annotations

import importlib
import math
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import process, share
from .process import Outcome, Task

MINUTES = 240
"""Of a job, unless --slurm=time= says otherwise; one that is not over by then is queued again and goes on."""
LOOK = 10.0
"""Seconds between two questions to squeue."""
NEVER = ("BadConstraints", "PartitionNodeLimit", "PartitionTimeLimit", "PartitionDown")
"""Reasons of squeue for which a job is never begun."""


class OnSlurm:
    """An engine, as `local.Local`.

    Args:
      each: a job's share.
      there: this machine, whose cores bound how many jobs submitit runs at once without Slurm.
      cluster: slurm; or what submitit has instead: local (processes here), debug (in this one, one by one).
      options: of sbatch, name=value each.
      folder: the work folder, in whose slurm/ submitit has its files.
      first: place of a job, for messages.
    Raises:
      ValueError: there is no Slurm here, or an option is none.
    """

    def __init__(
        self, each: share.Share, there: share.Machine, cluster: str, options: Sequence[str], folder: Path, first: str
    ):
        self.submitit: Any = importlib.import_module("submitit")
        importlib.import_module("cloudpickle").register_pickle_by_value(process)  # nodes need not have its path
        self.cluster, self.first, self.queues = cluster, first, cluster == "slurm"
        self.at_once = max(1, math.floor(there.cpu / each.cpu)) if cluster == "local" else 1
        if cluster == "slurm" and shutil.which("srun") is None:
            raise ValueError("--engine=slurm: there is no srun on the PATH: run the grid on a machine of the cluster.")
        self.executor = self.submitit.AutoExecutor(
            str(folder / "slurm" / "%j"), cluster=cluster, slurm_max_num_timeout=1000
        )
        self.executor.update_parameters(**parameters(each, options, cluster, folder))
        self.jobs: dict[str, Any] = {}
        self.asked = 0.0
        self.absent: set[str] = set()
        self.missing: set[str] = set()

    def room(self, elsewhere: int) -> int:
        """No end for Slurm, which keeps what it cannot begin."""
        return 10**9 if self.queues else max(0, self.at_once - len(self.jobs) - elsewhere)

    def start(self, tasks: Sequence[Task]) -> None:
        """Hands tasks over, several as an array.

        Raises:
          ValueError: Slurm does not take them, or cannot be reached; the message says after how long.
        """
        begun = time.time()
        try:
            made = self.executor.map_array(process.Submitted(), [tuple(task) for task in tasks])
        except (self.submitit.core.utils.FailedJobError, subprocess.CalledProcessError) as error:
            said = " ".join(f"{getattr(error, 'stderr', None) or error}".split())
            if "contact" in said or "connect" in said.lower():
                raise ValueError(f"Slurm cannot be reached, after {time.time() - begun:.0f} s: {said}") from error
            raise ValueError(f"{self.first} can never run: {said}") from error
        self.jobs |= {task.place: job for task, job in zip(tasks, made, strict=True)}

    def poll(self) -> list[Outcome]:
        """How those ended that have ended since it was asked last."""
        if self.queues and self.jobs and time.time() - self.asked > LOOK:
            self.ask()
        ended = [self._outcome(place) for place in [*self.jobs] if self._over(place)]
        for outcome in ended:
            del self.jobs[outcome.place]
        return ended

    def _over(self, place: str) -> bool:
        """Whether a job is over; one that has been missing in squeue twice is, with or without a result."""
        job = self.jobs[place]
        if self.cluster != "slurm":
            return bool(job.done())
        return job.paths.result_pickle.exists() or job.job_id in self.missing

    def _outcome(self, place: str) -> Outcome:
        job = self.jobs[place]
        if self.queues and not job.paths.result_pickle.exists():  # submitit would wait for it without end
            told = f"Slurm ended job {job.job_id} without a result; its output is in {job.paths.stderr.parent}."
            return Outcome(place, process.GONE, "", 0.0, (told,))
        try:
            return Outcome(*job.result())
        except Exception as error:  # of submitit: the job left no result, or could not be begun
            lines = [line for line in str(error).splitlines() if line.strip()]
            return Outcome(place, process.GONE, "", 0.0, tuple(lines[-process.LINES :]) or (type(error).__name__,))

    def ask(self) -> None:
        """Asks squeue which jobs are left, and why those that wait do.

        Raises:
          ValueError: one will never be begun.
        """
        self.asked = time.time()
        done = subprocess.run(["squeue", "-h", "-r", "-o", "%i %r"], capture_output=True, text=True)
        if done.returncode:
            return  # it does not answer; later
        rows = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if " " in line.strip())
        for place, job in self.jobs.items():
            if rows.get(job.job_id) in NEVER:
                raise ValueError(f"{place} can never run: Slurm says {rows[job.job_id]}.")
        gone = {job.job_id for job in self.jobs.values() if job.job_id not in rows}
        self.missing, self.absent = gone & self.absent, gone

    def stop(self) -> None:
        """Cancels all jobs."""
        for job in self.jobs.values():
            job.cancel(check=False)
        self.jobs.clear()


def parameters(each: share.Share, options: Sequence[str], cluster: str, folder: Path) -> dict[str, Any]:
    """What submitit is told.

    Args:
      each: a job's share.
      options: of sbatch, name=value each.
      cluster: as of `OnSlurm`.
      folder: the work folder, after which jobs are named.
    Raises:
      ValueError: an option that is none, or a part of a GPU.
    """
    if each.gpu != int(each.gpu):
        raise ValueError(f"--resources=gpu={each.gpu:g}: Slurm gives whole GPUs; --slurm=gres=shard:1 parts of one.")
    if bad := [text for text in options if not text.partition("=")[2]]:
        raise ValueError(f"--slurm={','.join(options)}: {bad[0]!r} is none: give it as in partition=gpu,time=240.")
    given = dict(text.split("=", 1) for text in options)
    minutes = given.pop("time", str(MINUTES))
    if not minutes.isdecimal():
        raise ValueError(f"--slurm=time={minutes}: a number of minutes is wanted.")
    made: dict[str, Any] = {"timeout_min": int(minutes)}
    if cluster == "slurm":
        made |= {"cpus_per_task": math.ceil(each.cpu), "name": f"grid_{folder.name}"}
        made |= {"gpus_per_node": int(each.gpu)} if each.gpu else {}
        made |= {"slurm_additional_parameters": given} if given else {}
    return made
