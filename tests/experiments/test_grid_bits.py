"""The grid on every engine makes the bits of the command without it, whatever is killed. Minutes each.

FER_TF_KILLS, FER_TF_SEED and FER_TF_LOG ask for more kills, for others, and keep what the grids printed.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from experiments import grid
from fer_tf import locks

ROOT = Path(grid.__file__).parents[1]
EXACT = ("--preset=smoke", "--deterministic", "--precision=float32", "--runs=2")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def alone(cli, tmp_path_factory):
    """The folder of the command without the grid: two folds, two runs, two expressions."""
    folder = tmp_path_factory.mktemp("alone")
    done = cli("ia_gen", *EXACT, f"--workdir={folder}")
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def line(engine, folder):
    """The grid's command line for the same on an engine."""
    if engine != "local":
        pytest.importorskip("ray" if engine == "ray" else "submitit")
    if engine == "slurm" and shutil.which("srun") is None:
        pytest.skip("no Slurm here")
    cluster = {"submitit": "local", "debug": "debug"}.get(engine)
    where = ["--engine=slurm", f"--cluster={cluster}"] if cluster else [f"--engine={engine}"]
    where += [] if engine == "slurm" else ["--resources=cpu=0.5"]
    words = [sys.executable, "-m", "experiments.grid", "--experiment=ia_gen", *where]
    return [*words, *EXACT, f"--workdir={folder}"]


def begin(engine, folder, log):
    """Starts the grid; its output goes to a file."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    with log.open("a") as out:
        return subprocess.Popen(line(engine, folder), stdout=out, stderr=out, env=environment)


def same_bits(folder, alone):
    """metrics.json but for time and the folder's name, and what every training has learnt."""
    made, wanted = (json.loads((path / "metrics.json").read_text()) for path in (folder, alone))
    assert made.keys() == wanted.keys()
    assert {k for k in wanted if made[k] != wanted[k]} <= {"seconds", "commit", "command"}
    files = sorted(alone.rglob("run*/**/checkpoint/*.index"))
    assert len(files) >= 16
    for file in files:
        readers = [tf.train.load_checkpoint(str(f)[: -len(".index")]) for f in (file, folder / file.relative_to(alone))]
        for name in readers[0].get_variable_to_shape_map():
            if name != "_CHECKPOINTABLE_OBJECT_GRAPH" and "save_counter" not in name:
                assert np.array_equal(*(reader.get_tensor(name) for reader in readers)), (file, name)


def stamps(folder):
    """{done.json: when it was written}."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("done.json")}


@pytest.mark.parametrize("engine", ["local", "ray", "submitit", "debug", "slurm"])
def test_every_engine_gives_the_bits_of_the_command_alone(engine, alone, tmp_path):
    log, folder = tmp_path / "log", tmp_path / "w"
    assert begin(engine, folder, log).wait(900) == 0, log.read_text()[-3000:]
    same_bits(folder, alone)
    said, before = log.read_text(), stamps(folder)
    assert "FER-Net     4 of 4 done, 0 running, 0 failed" in said and f"metrics.json are in {folder}" in said
    assert len(before) == 16 and len([*folder.rglob("run*/**/grid.log")]) == 16
    assert begin(engine, folder, log).wait(900) == 0  # the same line again: the table alone
    assert stamps(folder) == before


def children(pid):
    """{process: name} of those that a process has begun."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = file.read_text()
        except OSError:
            continue
        if int(text.rpartition(")")[2].split()[1]) == pid:
            found[int(file.parent.name)] = text.partition("(")[2].rpartition(")")[0]
    return found


def at_work(folder):
    """The processes that have a job."""
    owners = []
    for file in folder.rglob(f"run*/**/{locks.NAME}"):
        try:
            owners.append(json.loads(file.read_text())["process"])
        except (OSError, ValueError):
            continue
    return sorted(pid for pid in owners if Path(f"/proc/{pid}").exists())


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_kills_at_random_moments_end_in_the_same_bits(engine, alone, tmp_path):
    """The grid, one of its jobs, the machine's Ray: nothing is done twice, nor lost."""
    rng, folder, log = random.Random(int(os.environ.get("FER_TF_SEED", "0"))), tmp_path / "w", tmp_path / "log"
    kills, process, finished = int(os.environ.get("FER_TF_KILLS", "3")), None, {}
    while kills:
        if process is None or process.poll() is not None:
            process = begin(engine, folder, log)
        time.sleep(rng.uniform(4, 30))
        victim = rng.choice(["grid", "job", *(["ray"] if engine == "ray" else [])])
        ray = [pid for pid, name in children(process.pid).items() if name in ("raylet", "gcs_server")]
        pids, now = {"grid": [process.pid], "job": at_work(folder), "ray": ray}[victim], stamps(folder)
        assert now.items() >= finished.items()
        finished = now
        if not pids or process.poll() is not None:
            continue
        os.kill(rng.choice(pids), signal.SIGKILL)
        kills -= 1
        with log.open("a") as out:
            print(f"=== {time.strftime('%T')} killed: {victim}, {len(finished)} of 16 done", file=out)
        if victim != "job":
            process.wait(120)
    until = time.time() + 1200
    while process.poll() != 0 and time.time() < until:
        if process.poll() is not None:
            process = begin(engine, folder, log)
        time.sleep(0.5)
    if keep := os.environ.get("FER_TF_LOG"):
        Path(keep).write_text(log.read_text())
    assert process.returncode == 0, log.read_text()[-3000:]
    assert stamps(folder).items() >= finished.items()
    same_bits(folder, alone)


def test_ctrl_c_stops_the_jobs_and_says_how_to_go_on(tmp_path):
    log, folder = tmp_path / "log", tmp_path / "w"
    process, until = begin("local", folder, log), time.time() + 120
    while not at_work(folder) and time.time() < until:
        time.sleep(0.1)
    pids = at_work(folder)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130 and pids and not any(Path(f"/proc/{pid}").exists() for pid in pids)
    said = log.read_text()
    assert f"The jobs are stopped; the same line goes on in {folder}." in said and "Traceback" not in said
    assert json.loads((folder / "grid.json").read_text())["end"] == "was stopped" and not at_work(folder)
    assert not (folder / ".grid.lock").exists()
