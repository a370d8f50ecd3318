"""Ray and submitit themselves, where they are installed; jobs are lines of Python."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.parts.grid import local, on_ray, on_slurm, process, schedule, share
from experiments.run import jobs

THERE = share.Machine(2, ())
JOB = """
import json, os, pathlib, sys, time
place = pathlib.Path(sys.argv[1])
with open(place / "begun.txt", "a") as file: print(os.getpid(), os.environ["OMP_NUM_THREADS"], file=file)
if (place / "fail").exists(): sys.exit("broken")
until = time.time() + 300
while (place / "wait").exists() and time.time() < until: time.sleep(0.02)
print("well")
(place / "done.json").write_text(json.dumps({"epochs": 1, "steps": 1}))
"""


def ray_engine(folder):
    pytest.importorskip("ray")
    return on_ray.OnRay(share.Share(1, 0), THERE, None, "a")


def submitit_engine(cluster):
    def make(folder):
        pytest.importorskip("submitit")
        if cluster == "slurm" and shutil.which("srun") is None:
            pytest.skip("no Slurm here")
        return on_slurm.OnSlurm(share.Share(1, 0), THERE, cluster, (), folder, "a")

    return make


MAKE = {"local": lambda folder: local.Local(share.Share(1, 0), THERE, "a"), "ray": ray_engine}
MAKE |= {name: submitit_engine(name) for name in ("debug", "slurm")} | {"submitit": submitit_engine("local")}


class Grid:
    """A schedule of jobs on an engine; `after(said)` is called between two looks."""

    def __init__(self, folder, engine, places):
        self.folder, self.after, self.seen = folder, lambda said: None, []
        self.engine = MAKE[engine](folder)
        listing = jobs.Listing(folder, tuple(jobs.Job(p, "all", 1, None, ()) for p in places))
        self.schedule = schedule.Schedule(listing, self.engine, self.task, {"token": "me"})
        (folder / "job.py").write_text(JOB)
        for place in places:
            (folder / place).mkdir()

    def task(self, job):
        words = (sys.executable, "-S", str(self.folder / "job.py"), str(self.folder / job.place))
        log = str(self.folder / job.place / "grid.log")
        return process.Task(job.place, words, log, "/", {"OMP_NUM_THREADS": "3"}, str(self.folder), "me")

    def run(self):
        def show(said):
            self.seen.append(said)
            self.after(said)

        try:
            self.schedule.run(show)
        finally:
            self.engine.stop()

    def begun(self, place):
        """(process, threads) of each time that a job was begun."""
        file = self.folder / place / "begun.txt"
        return [line.split() for line in file.read_text().splitlines()] if file.is_file() else []

    @property
    def states(self):
        return {place: entry.state for place, entry in self.schedule.entries.items()}


@pytest.mark.slow
@pytest.mark.parametrize("engine", MAKE)
def test_an_engine_runs_jobs_and_tries_again_what_fails(tmp_path, engine):
    grid = Grid(tmp_path, engine, ("a", "b", "bad"))
    (tmp_path / "bad/fail").touch()
    grid.run()
    assert grid.states == {"a": "done", "b": "done", "bad": "failed"}
    assert [len(grid.begun(place)) for place in ("a", "b", "bad")] == [1, 1, 3]
    assert {threads for place in ("a", "bad") for _, threads in grid.begun(place)} == {"3"}
    assert grid.schedule.entries["bad"].lines == ("broken",)
    assert grid.schedule.failures()[0].startswith("bad failed 3 times")


def parent(pid):
    """The process that began another."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray", "submitit", "slurm"])
def test_a_worker_that_is_killed_loses_nothing(tmp_path, engine):
    """The engine, or the grid, runs its job again; where the job itself outlives its worker it is not there twice."""
    grid = Grid(tmp_path, engine, ("a", "b"))
    (tmp_path / "a/wait").touch()
    killed = []

    def kill(said):
        if not killed and grid.begun("a") and (tmp_path / "b/done.json").is_file():
            job = int(grid.begun("a")[0][0])
            killed.append(parent(job))
            for pid in (killed[0], job):
                os.kill(pid, signal.SIGKILL)
            (tmp_path / "a/wait").unlink()

    grid.after = kill
    grid.run()
    assert killed and grid.states == {"a": "done", "b": "done"}
    assert len(grid.begun("a")) == 2 and len(grid.begun("b")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "ray", "submitit", "slurm"])
def test_stopping_leaves_no_process(tmp_path, engine):
    grid = Grid(tmp_path, engine, ("a", "b"))
    for place in ("a", "b"):
        (tmp_path / place / "wait").touch()

    def stop(said):
        if grid.begun("a") and grid.begun("b"):
            raise KeyboardInterrupt

    grid.after = stop
    with pytest.raises(KeyboardInterrupt):
        grid.run()
    until = time.time() + 20
    left = [int(grid.begun(place)[0][0]) for place in ("a", "b")]
    while left and time.time() < until:
        left = [pid for pid in left if Path(f"/proc/{pid}").exists()]
        time.sleep(0.1)
    assert not left and not [*tmp_path.rglob("done.json")]


@pytest.mark.slow
def test_ray_names_a_job_that_can_never_run_and_a_cluster_that_is_not_there():
    pytest.importorskip("ray")
    with pytest.raises(ValueError, match="run0/a can never run: --resources=cpu=3, and this machine has 2"):
        on_ray.OnRay(share.Share(3, 0), THERE, None, "run0/a")
    with pytest.raises(ValueError, match=r"--address=auto: no Ray cluster answers there, after \d+ s \("):
        on_ray.OnRay(share.Share(1, 0), THERE, "auto", "run0/a")


@pytest.mark.slow
def test_a_ray_cluster_that_runs_already_is_joined_and_left(tmp_path, monkeypatch):
    """Another listener's port is told from Ray's."""
    address = pytest.importorskip("ray").util.get_node_ip_address()  # Ray goes by no other
    with socket.socket() as other:
        other.bind((address, 0))
        other.listen()
        address += f":{other.getsockname()[1]}"
        monkeypatch.setattr(on_ray, "HEALTHY", 6.0)
        with pytest.raises(ValueError, match=rf"--address={address}: no Ray cluster answers there, after \d+ s \(what"):
            on_ray.connect(None, address, THERE)
    monkeypatch.undo()
    command = [sys.executable, "-m", "ray.scripts.scripts"]
    head = ["start", "--head", f"--port={address.rpartition(':')[2]}", "--num-cpus=2", "--include-dashboard=false"]
    head += ["--object-store-memory=100000000", "--block"]
    open_ = {"env": {**os.environ, "RAY_AUTH_MODE": "disabled"}, "stdout": subprocess.DEVNULL}  # without tokens
    with subprocess.Popen(command + head, stderr=subprocess.DEVNULL, **open_) as cluster:
        try:
            until, answered = time.time() + 90, False
            while not answered:
                assert time.time() < until and cluster.poll() is None
                with contextlib.suppress(OSError):
                    on_ray.answers(address)
                    answered = True
            monkeypatch.setitem(MAKE, "joined", lambda f: on_ray.OnRay(share.Share(1, 0), THERE, address, "a"))
            with pytest.raises(ValueError, match="cpu=3, and the largest machine of the Ray cluster has 2"):
                on_ray.OnRay(share.Share(3, 0), share.Machine(64, ()), address, "a")
            grid = Grid(tmp_path, "joined", ("a", "b"))
            grid.run()
            assert grid.states == {"a": "done", "b": "done"} and cluster.poll() is None
        finally:
            cluster.send_signal(signal.SIGTERM)
            cluster.wait(30)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["submitit", "slurm"])
def test_a_preempted_job_is_queued_again(tmp_path, engine):
    """submitit's signal before a preemption, as Slurm sends it; Slurm begins such a job again two minutes later."""
    grid = Grid(tmp_path, engine, ("a",))
    (tmp_path / "a/wait").touch()
    sent = []

    def preempt(said):
        if not sent and grid.begun("a"):
            sent.append(os.kill(parent(int(grid.begun("a")[0][0])), signal.SIGUSR2))
        if len(grid.begun("a")) == 2:
            (tmp_path / "a/wait").unlink(missing_ok=True)

    grid.after = preempt
    grid.run()
    assert sent and grid.states == {"a": "done"} and len(grid.begun("a")) == 2
    assert grid.schedule.entries["a"].tries == 0  # of which the grid has heard nothing
    assert json.loads((tmp_path / process.STAMP).read_text())["jobs"][0]["state"] == "done"


def test_slurm_without_slurm(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="--engine=slurm: there is no srun on the PATH"):
        on_slurm.OnSlurm(share.Share(1, 0), THERE, "slurm", (), tmp_path, "a")


@pytest.mark.parametrize(
    "script, sentence",
    [
        ("echo 'sbatch: error: Unable to contact slurm controller (connect failure)' >&2; exit 1",
         r"Slurm cannot be reached, after \d+ s: .*Unable to contact"),
        ("echo 'sbatch: error: Requested node configuration is not available' >&2; exit 1",
         "run0/a can never run: .*Requested node configuration"),
    ],
)  # fmt: skip
def test_what_sbatch_refuses(tmp_path, monkeypatch, script, sentence):
    pytest.importorskip("submitit")
    for name in ("sbatch", "srun"):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    engine = on_slurm.OnSlurm(share.Share(1, 0), THERE, "slurm", (), tmp_path / "w", "run0/a")
    task = process.Task("run0/a", ("x",), str(tmp_path / "log"), "/", {}, str(tmp_path), "me")
    with pytest.raises(ValueError, match=sentence):
        engine.start([task, task._replace(place="run0/b")])
    with pytest.raises(ValueError, match=sentence):
        engine.start([task])


def test_squeue_says_which_jobs_are_gone_and_which_never_begin(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    for name, text in (("srun", "exit 0"), ("squeue", "cat $ROWS")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("ROWS", str(tmp_path / "rows"))

    class Job:
        def __init__(self, number):
            self.job_id = number
            self.paths = type("Paths", (), {"result_pickle": tmp_path / f"{number}.pkl", "stderr": tmp_path / "7/e"})

    engine = on_slurm.OnSlurm(share.Share(1, 0), THERE, "slurm", (), tmp_path / "w", "a")
    engine.jobs = {"a": Job("7_0"), "b": Job("7_1")}
    (tmp_path / "rows").write_text("7_0 None\n7_1 Priority\n")
    engine.ask()
    assert not engine.poll()
    (tmp_path / "rows").write_text("7_1 Priority\n9 None\n")
    engine.ask()
    assert not engine.poll()  # its result may be on the way
    engine.ask()
    told = f"Slurm ended job 7_0 without a result; its output is in {tmp_path}/7."
    assert [(o.place, o.code, o.lines) for o in engine.poll()] == [("a", process.GONE, (told,))]
    (tmp_path / "rows").write_text("7_1 BadConstraints\n")
    with pytest.raises(ValueError, match="b can never run: Slurm says BadConstraints"):
        engine.ask()
