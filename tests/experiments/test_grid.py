"""`experiments.grid` as a command: what it lists and refuses, and that its jobs make what the command alone makes."""

import dataclasses
import importlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import grid, ia_gen
from experiments.parts.grid import engines, plan, process, schedule, share
from experiments.run import command_line, jobs
from fer_tf import locks

ROOT = Path(grid.__file__).parents[1]
EXPERIMENTS = ("ia_gen", "de_gan", "ed2l", "gcnet", "gcnet_generators", "cycle_at", "fer_net")
EXACT = ("--preset=smoke", "--deterministic", "--precision=float32")


@pytest.fixture
def said(capsys):
    """`said(*words)`: (exit code, output, errors) of the command in this process."""

    def run(*words):
        code = 0
        try:
            command_line.main(grid.Settings, grid.run, ["grid", *words])
        except SystemExit as end:
            code = end.code
        return (code, *capsys.readouterr())

    return run


def test_no_experiment_has_a_flag_of_the_grid():
    own = {field.name for field in dataclasses.fields(grid.Settings)}
    for name in EXPERIMENTS:
        its = {field.name for field in dataclasses.fields(importlib.import_module(f"experiments.{name}").Settings)}
        assert not own & its, name


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_dry_run_lists_the_jobs_and_writes_nothing(said, tmp_path, name):
    place = tmp_path / "w"
    code, out, errors = said("--preset=smoke", f"--experiment={name}", "--dry_run", f"--workdir={place}")
    assert code == 0 and not place.exists() and "error" not in errors
    lines = out.splitlines()
    count = {"ia_gen": 8, "de_gan": 14, "ed2l": 4, "gcnet": 4, "gcnet_generators": 6, "cycle_at": 12, "fer_net": 2}
    assert lines[-2].split() == ["table", "to", "do", "table"] and len(lines) == count[name] + 2
    assert lines[-1] == f"{count[name] + 1} of {count[name] + 1} to do in {place}, cpu=1 each, --engine=local."


def test_dry_run_knows_what_is_done(said, tmp_path):
    (tmp_path / "run1/fold1/gan_anger").mkdir(parents=True)
    (tmp_path / "run1/fold1/gan_anger/done.json").write_text('{"epochs": 1, "steps": 2}')
    words = ("--experiment=ia_gen", "--preset=smoke", "--runs=2", f"--workdir={tmp_path}", "--dry_run")
    _, out, _ = said(*words)
    assert [line.split() for line in out.splitlines() if " done " in line] == [["GANs", "done", "run1/fold1/gan_anger"]]
    assert "16 of 17 to do" in out
    _, out, _ = said(*words, "--gan_epochs=2", "--max_steps=3")
    assert "17 of 17 to do" in out


@pytest.mark.parametrize(
    "words, sentence",
    [
        ((), "--experiment is left out; give one such as ia_gen"),
        (("--experiment=ia_gan",), "--experiment=ia_gan: there is none; give one such as ia_gen"),
        (("--experiment=grid",), "--experiment=grid: there is none"),
        (("--experiment=predict",), "--experiment=predict trains nothing that could be shared out"),
        (("--experiment=ia_gen", "--engine=pbs"), "<local|ray|slurm>"),
        (("--experiment=ia_gen", "--gan_epoch=3"), "Unknown command line flag 'gan_epoch'"),
        (("--experiment=ia_gen", "smoke"), "Unknown argument 'smoke'"),
        (("--experiment=ia_gen", "--job=run0/fold0/finetune"), "is one of the grid's jobs: leave it out"),
        (("--experiment=ia_gen", "--preset=smoke", "--only_folds=7"), "give fold numbers from 0 to 1"),
        (("--experiment=ia_gen", "--resources=ram=3"), "'ram=3' is none: give it as in gpu=0.25,cpu=2"),
        (("--experiment=fer_net", "--preset=smoke", "--device=gpu"), "a job is given no GPU: give --resources=gpu=1"),
        (("--experiment=fer_net", "--preset=smoke", "--resources=gpu=1"), "run0/fold0/finetune can never run"),
        (("--experiment=fer_net", "--preset=smoke", "--resources=cpu=4000"), "cpu=4000, and this machine has"),
        (("--experiment=fer_net", "--preset=smoke", "--watch"), "No grid has been in"),
    ],
)
def test_bad_input_is_one_sentence(said, tmp_path, words, sentence):
    code, _, errors = said(*words, *([f"--workdir={tmp_path}/w"] if words else []))
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert code == 1 and len(lines) == 1 and sentence in lines[0], errors


def test_an_experiment_that_is_one_training_is_refused(said, tmp_path, monkeypatch):
    from experiments import pretrain_ed2l

    with (
        pytest.raises(ValueError, match="not made of jobs"),
        jobs.training(pretrain_ed2l.Settings(job="list", out="x"), tmp_path),
    ):
        pass


@pytest.mark.parametrize("engine, package", [("ray", "ray"), ("slurm", "submitit")])
def test_an_extra_that_is_missing_is_named_before_anything_is_read(said, tmp_path, monkeypatch, engine, package):
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None)
    code, _, errors = said("--experiment=fer_net", "--preset=smoke", f"--engine={engine}", f"--workdir={tmp_path}/w")
    assert (
        code == 1 and f'error: --engine={engine} needs the package {package}: pip install "fer-tf[{engine}]"' in errors
    )
    assert not (tmp_path / "w").exists()


def test_two_grids_in_one_folder(said, tmp_path):
    """The second is told who has it; what a killed one left is seen through."""
    words = ("--experiment=fer_net", "--preset=smoke", f"--workdir={tmp_path}", "--resources=cpu=4000")
    lock = tmp_path / ".grid.lock"
    hold = "import sys, time; from pathlib import Path; from fer_tf import locks\n"
    hold += f"with locks.alone(Path({str(tmp_path / 'grid')!r})):\n    print('have it', flush=True)\n    time.sleep(60)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, env=environment) as other:
        other.stdout.readline()
        who = f"process {other.pid} on {socket.gethostname()} since "
        code, _, errors = said(*words)
        assert code == 1 and f"error: {tmp_path} has a grid already, {who}" in errors and "--watch shows" in errors
        other.kill()
    assert lock.is_file()
    code, _, errors = said(*words)
    assert "can never run" in errors and not lock.exists()  # it came that far
    with locks.alone(tmp_path):
        code, _, errors = said(*words)
    assert code == 1 and f"error: {tmp_path} is in use by process {os.getpid()}" in errors


def test_watch_tells_how_the_last_grid_ended(said, tmp_path):
    listing = jobs.Listing(tmp_path, (jobs.Job("run0/fold0/finetune", "FER-Net", 2, None, ()),))
    made = schedule.Schedule(listing, None, None, {"token": "x"})
    words = ("--experiment=fer_net", "--preset=smoke", f"--workdir={tmp_path}", "--watch")
    made.write()
    code, out, _ = said(*words)
    assert code == 1 and out.splitlines()[-2].startswith("FER-Net     0 of 1 done")
    assert out.splitlines()[-1] == f"No grid runs in {tmp_path}: the last one was killed."
    made.entries["run0/fold0/finetune"].state = schedule.DONE
    made.write(schedule.WELL)
    code, out, _ = said(*words)
    assert code == 0 and out.splitlines()[-1].endswith("the last one came to its end.")


def test_a_job_s_command_line(tmp_path, monkeypatch):
    """The experiment's own flags, then its folder and job; the package is found wherever it runs."""
    job = jobs.Job("run0/fold1/gan_fear", "GANs", 1, None, ())
    task = plan.task_of("ia_gen", ("--preset=smoke", "--workdir=x"), tmp_path, 3, "token", job)
    words = [sys.executable, "-m", "experiments.ia_gen", "--preset=smoke", "--workdir=x", f"--workdir={tmp_path}"]
    assert [*task.words] == [*words, "--job=run0/fold1/gan_fear"] and task.here == os.getcwd()
    assert task.log == f"{tmp_path}/run0/fold1/gan_fear/grid.log"
    assert task.environment["PYTHONPATH"].split(os.pathsep)[0] == str(ROOT)
    assert task.environment["TF_NUM_INTRAOP_THREADS"] == "3"


@pytest.mark.parametrize("flag, threads", [("--deterministic", "6"), ("--nodeterministic", "2")])
def test_threads_are_the_machine_s_where_bits_count(said, tmp_path, monkeypatch, flag, threads):
    """A command without the grid has so many, and other sums with more or fewer."""
    given = []

    def start(self, tasks):
        given.extend(task.environment["TF_NUM_INTRAOP_THREADS"] for task in tasks)
        raise ValueError("enough")

    monkeypatch.setattr(share, "machine", lambda: share.Machine(6, ()))
    monkeypatch.setattr("experiments.parts.grid.local.Local.start", start)
    words = ("--experiment=fer_net", "--preset=smoke", flag, "--resources=cpu=2", f"--workdir={tmp_path}/w")
    assert said(*words)[0] == 1 and given == [threads] * 2


def test_a_full_disk_ends_the_grid_in_one_sentence(said, tmp_path, monkeypatch):
    def full(self, tasks):
        raise OSError(28, "No space left on device", str(tmp_path / "w/run0/fold0/finetune/grid.log"))

    monkeypatch.setattr("experiments.parts.grid.local.Local.start", full)
    code, _, errors = said("--experiment=fer_net", "--preset=smoke", f"--workdir={tmp_path}/w")
    assert code == 1 and f"error: The disk of {tmp_path}/w/run0/fold0/finetune is full: make room and give" in errors
    assert json.loads((tmp_path / "w" / process.STAMP).read_text())["end"] == "was stopped"
    assert not (tmp_path / "w/.grid.lock").exists()


@pytest.mark.slow
def test_each_job_of_ia_gen_trains_its_own_and_the_command_finds_all_done(planted, tmp_path):
    """In the same files, with the same numbers, as by the command alone."""
    planted.plant()
    settings = ia_gen.Settings(preset="smoke", precision="float32", max_subjects=0, folds=2, only_folds="1")
    alone = ia_gen.run(settings.replace(workdir=tmp_path / "alone"))
    trained = [seen.place.relative_to(tmp_path / "alone").as_posix() for seen in planted.trained]
    settings, planted.trained[:] = settings.replace(workdir=tmp_path / "jobs"), []
    listed = ia_gen.run(settings.replace(job="list")).jobs
    assert [job.place for job in listed] == trained
    with pytest.raises(
        ValueError, match="--job=run0/fold1/gan_anger comes after run0/fold1/finetune, which is not done"
    ):
        ia_gen.run(settings.replace(job="run0/fold1/gan_anger"))
    for job in listed[:1] + listed[2:3] + listed[1:2] + listed[3:]:  # GANs in the other order
        assert not job.done(tmp_path / "jobs")
        before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("done.json")}
        assert ia_gen.run(settings.replace(job=job.place)) is None and job.done(tmp_path / "jobs")
        after = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("done.json")}
        assert {p for p in after if after[p] != before.get(p)} == {tmp_path / "jobs" / job.place / "done.json"}
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("checkpoint/*")}
    table = ia_gen.run(settings.replace(job="table"))
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("checkpoint/*")} == before
    assert json.dumps([table.methods, table.measures]) == json.dumps([alone.methods, alone.measures])
