"""The grid without networks: shares, processes, what is begun when, what is said. Jobs are processes of a line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.parts.grid import engines, local, on_ray, on_slurm, process, schedule, share, view
from experiments.run import jobs
from fer_tf import locks

BARE, TWO = share.Machine(4, ()), share.Machine(8, ("2", "5"))
DONE = """
import json, pathlib, sys, time
place = pathlib.Path(sys.argv[1])
place.mkdir(parents=True, exist_ok=True)
with open(place.parent / "begun.txt", "a") as file: print(place.name, file=file)
time.sleep(float(sys.argv[2]))
print("so", "it", "ends")
(place / "done.json").write_text(json.dumps({"epochs": 3, "steps": 7}))
"""


def job(place, *after, wave="all", epochs=3):
    return jobs.Job(place, wave, epochs, None, after)


@pytest.mark.parametrize(
    "given, there, cpu, gpu, at_once",
    [
        ((), BARE, 1, 0, 4),
        (("cpu=2",), BARE, 2, 0, 2),
        (("cpu=0.5",), BARE, 0.5, 0, 8),
        (("cpu=3",), BARE, 3, 0, 1),
        ((), TWO, 4, 1, 2),
        (("gpu=0.25",), TWO, 1, 0.25, 8),
        (("gpu=0.25", "cpu=2"), TWO, 2, 0.25, 4),
        (("gpu=0.4", "cpu=1"), TWO, 1, 0.4, 4),
        (("gpu=2",), TWO, 8, 2, 1),
        (("cpu=1",), TWO, 1, 0, 8),
    ],
)
def test_a_share_and_how_many_at_once(given, there, cpu, gpu, at_once):
    each = share.read(given, there)
    assert (each.cpu, each.gpu) == (cpu, gpu)
    assert local.Local(each, there, "a").at_once == at_once


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("ram=2", "'ram=2' is none"),
        ("cpu=two", "'cpu=two' is none"),
        ("cpu=0", "'cpu=0' is none"),
        ("cpu=nan", "'cpu=nan' is none"),
        ("gpu=-1", "'gpu=-1' is none"),
        ("gpu=1.5", "a part of one GPU, or whole ones"),
    ],
)
def test_no_share(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        share.read((text,), TWO)


@pytest.mark.parametrize(
    "given, there, sentence",
    [
        (("gpu=1",), BARE, "run0/a can never run: --resources=gpu=1 asks for a GPU, and this machine has none"),
        (("gpu=3", "cpu=1"), TWO, "run0/a can never run: --resources=gpu=3, and this machine has 2"),
        (("cpu=5",), BARE, "run0/a can never run: --resources=cpu=5, and this machine has 4"),
    ],
)
def test_more_than_there_is_names_a_job_at_once(given, there, sentence):
    with pytest.raises(ValueError, match=sentence):
        local.Local(share.read(given, there), there, "run0/a")


def test_what_a_process_is_told(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["/mine", "/there"]))
    told = share.environment(share.Share(2.7, 0.5).threads, Path("/there"))
    assert told == {
        "TF_NUM_INTRAOP_THREADS": "2", "TF_NUM_INTEROP_THREADS": "2", "OMP_NUM_THREADS": "2",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true", "PYTHONUNBUFFERED": "1", "PYTHONPATH": "/there:/mine",
    }  # fmt: skip
    assert share.environment(share.Share(0.5, 0).threads, Path("/there"))["OMP_NUM_THREADS"] == "1"


def test_the_machine_s_gpus_are_those_that_are_shown(monkeypatch):
    for shown, names in (("", ()), ("-1", ()), ("3, 1", ("3", "1")), ("GPU-8f,MIG-2", ("GPU-8f", "MIG-2"))):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
        assert share.machine().gpus == names
    assert share.machine().cpu == len(os.sched_getaffinity(0))


def test_jobs_are_spread_over_the_gpus(monkeypatch):
    shown = []
    monkeypatch.setattr(process, "begin", lambda task, gpus: shown.append(gpus))
    for given, expected in (
        (("gpu=0.5",), ["2", "5", "2", "5"]),
        (("gpu=1",), ["2", "5"]),
        (("gpu=2",), ["2,5"]),
        (("cpu=4",), ["-1", "-1"]),
    ):
        engine = local.Local(share.read(given, TWO), TWO, "a")
        engine.start([process.Task(str(i), (), "", "", {}, "", "") for i in range(engine.at_once)])
        assert shown == expected and engine.room(0) == 0
        shown.clear()
    monkeypatch.undo()


class Grid:
    """A schedule of jobs that are lines of Python, in a folder."""

    def __init__(self, folder, listed, at_once=2, retries=2, seconds=0.0):
        self.folder, self.seconds, self.code, self.most = folder, seconds, {}, 0
        self.engine = local.Local(share.Share(1, 0), share.Machine(at_once, ()), "a")
        listing = jobs.Listing(folder, tuple(listed))
        self.schedule = schedule.Schedule(listing, self.engine, self.task, {"token": "me"}, retries)

    def task(self, one):
        program = self.folder / f"{one.place.replace('/', '_')}.py"
        program.write_text(self.code.get(one.place, DONE))
        words = (sys.executable, "-S", str(program), str(self.folder / one.place))
        log = self.folder / one.place / "grid.log"
        return process.Task(one.place, (*words, str(self.seconds)), str(log), "/", {}, str(self.folder), "me")

    def run(self):
        def show(said):
            self.most = max(self.most, sum(j["state"] == schedule.RUNNING for j in said["jobs"]))

        try:
            self.schedule.run(show)
        finally:
            self.engine.stop()

    @property
    def states(self):
        return {place: entry.state for place, entry in self.schedule.entries.items()}

    @property
    def begun(self):
        return [line for file in sorted(self.folder.rglob("begun.txt")) for line in file.read_text().split()]


def test_jobs_wait_for_those_before_them_and_done_ones_are_left_alone(tmp_path):
    listed = [job("r/net"), job("r/a", "r/net"), job("r/b", "r/net"), job("r/t", "r/net", "r/a", "r/b"), job("r/old")]
    (tmp_path / "r/old").mkdir(parents=True)
    (tmp_path / "r/old/done.json").write_text('{"epochs": 3, "steps": 1}')
    grid = Grid(tmp_path, listed, seconds=0.3)
    grid.run()
    assert grid.begun[0] == "net" and {*grid.begun[1:3]} == {"a", "b"} and grid.begun[3:] == ["t"]
    assert {*grid.states.values()} == {schedule.DONE} and grid.most == 2
    assert json.loads((tmp_path / process.STAMP).read_text())["token"] == "me"
    again = Grid(tmp_path, listed)
    again.run()
    assert again.begun == grid.begun  # none a second time


def test_a_job_that_is_to_be_longer_is_not_done(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/done.json").write_text('{"epochs": 3, "steps": 7}')
    for epochs, most, done in ((3, None, True), (4, None, False), (4, 7, True), (4, 8, False), (None, None, True)):
        assert jobs.Job("a", "w", epochs, most, ()).done(tmp_path) == done
    (tmp_path / "a/done.json").write_text('{"epochs": 3')
    assert not job("a").done(tmp_path) and not job("b").done(tmp_path)


def test_a_job_that_fails_is_tried_twice_more_and_named_while_the_others_go_on(tmp_path):
    listed = [job("r/bad"), job("r/behind", "r/bad"), job("r/good"), job("r/last", "r/bad", "r/behind", "r/good")]
    grid = Grid(tmp_path, listed)
    grid.code["r/bad"] = "print('a'); print('half\\rwhole'); raise SystemExit('it broke')"
    grid.run()
    assert grid.states == {"r/bad": "failed", "r/behind": "left", "r/good": "done", "r/last": "left"}
    log = (tmp_path / "r/bad/grid.log").read_text()
    assert log.count("it broke") == 3 and log.count("--- ") == 6
    assert grid.schedule.failures() == [
        f"r/bad failed 3 times; {tmp_path}/r/bad/grid.log ends with",
        "    a",
        "    whole",
        "    it broke",
        "    not begun, since it comes before them: r/behind, r/last",
    ]
    said = grid.schedule.said("ended")
    assert said["jobs"][0]["lines"] == ["a", "whole", "it broke"] and said["jobs"][0]["tries"] == 3
    assert view.lines(said) == ["all     1 of 4 done, 0 running, 1 failed, 2 not to be begun"]


def test_a_job_that_works_at_the_second_try_is_done(tmp_path):
    grid = Grid(tmp_path, [job("r/a")])
    once = "import os, sys\nif not os.path.exists(sys.argv[1] + '/x'): open(sys.argv[1] + '/x', 'w'); sys.exit(9)\n"
    grid.code["r/a"] = once + DONE
    grid.run()
    assert grid.states == {"r/a": "done"} and grid.schedule.entries["r/a"].tries == 1 and not grid.schedule.failures()


def test_a_job_that_ends_well_without_being_done_has_failed(tmp_path):
    grid = Grid(tmp_path, [job("r/a")], retries=0)
    grid.code["r/a"] = "pass"
    grid.run()
    assert grid.states == {"r/a": "failed"}
    assert grid.schedule.failures()[1:] == ["    It ended by 0 without a word."]


HOLD = """
import pathlib, sys, time
sys.path.insert(0, sys.argv[3])
from fer_tf import locks
place = pathlib.Path(sys.argv[1])
with locks.alone(place):
    print("have it", flush=True)
    time.sleep(float(sys.argv[2]))
    (place / "done.json").write_text('{"epochs": 3, "steps": 7}')
"""


def test_a_job_that_another_process_is_at_is_waited_for(tmp_path, monkeypatch):
    """Such as one of a grid that was killed: it is not begun a second time, and has its place on this machine."""
    monkeypatch.setattr(schedule, "AGAIN", 0.1)
    (tmp_path / "r/a").mkdir(parents=True)
    words = [sys.executable, "-c", HOLD, str(tmp_path / "r/a"), "1.0", str(Path(process.__file__).parents[3])]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "have it\n"
        assert locks.owner(tmp_path / "r/a").startswith(f"process {other.pid} on ")
        grid, seen = Grid(tmp_path, [job("r/a"), job("r/b")], at_once=1), []
        grid.schedule.run(lambda said: seen.append({j["place"]: j["state"] for j in said["jobs"]}))
        assert {"r/a": "elsewhere", "r/b": "waiting"} in seen and {"r/a": "elsewhere", "r/b": "running"} not in seen
    assert grid.states == {"r/a": "done", "r/b": "done"} and grid.begun == ["b"]
    assert locks.owner(tmp_path / "r/a") == ""


def test_a_table_that_an_engine_has_begun_is_running(tmp_path):
    """Its process has the work folder as a whole."""
    grid = Grid(tmp_path, [job("r/a"), job(jobs.TABLE, "r/a")])
    grid.schedule.entries[jobs.TABLE].state = grid.schedule.entries["r/a"].state = schedule.QUEUED
    with locks.alone(tmp_path):
        grid.schedule.look()
    assert grid.states == {"r/a": schedule.QUEUED, jobs.TABLE: schedule.RUNNING}


def test_what_a_killed_process_held_is_begun_again(tmp_path):
    (tmp_path / "r/a").mkdir(parents=True)
    words = [sys.executable, "-c", HOLD, str(tmp_path / "r/a"), "60", str(Path(process.__file__).parents[3])]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "have it\n"
        other.kill()
    assert (tmp_path / "r/a" / locks.NAME).is_file()
    grid = Grid(tmp_path, [job("r/a")])
    grid.run()
    assert grid.states == {"r/a": "done"} and grid.begun == ["a"]


@pytest.mark.parametrize(
    "code, line, sentence",
    [
        (1, "error: The disk of /x is full: make room and give the same command again.", "^The disk of /x is full"),
        (process.UNSHARED, "other does not see the grid's work folder /x", "^other does not see the grid"),
    ],
)
def test_what_no_further_try_can_mend_ends_the_grid(tmp_path, code, line, sentence):
    grid = Grid(tmp_path, [job("r/a")])
    with pytest.raises(ValueError, match=sentence):
        grid.schedule.ended(process.Outcome("r/a", code, "h", 1.0, (line,)))


def test_a_worker_that_does_not_share_the_work_folder_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "SEEN", 0.1)
    grid = Grid(tmp_path, [job("r/a")])
    task = grid.task(grid.schedule.entries["r/a"].job)
    for there in (None, '{"token": "of another grid"}'):
        if there:
            (tmp_path / process.STAMP).write_text(there)
        outcome = process.Outcome(*process.carry_out(tuple(task)))
        assert (
            outcome.code == process.UNSHARED and f"does not see the grid's work folder {tmp_path}" in outcome.lines[0]
        )
    grid.schedule.write()
    assert process.execute(task)[:2] == ("r/a", 0) and grid.begun == ["a"]
    other = task._replace(words=("/no/python", *task.words[1:]))
    assert "has no /no/python, or no folder /: install the same environment" in process.execute(other).lines[0]


def test_stopping_asks_first_and_ends_what_does_not_listen(tmp_path):
    deaf = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    polite = "import time\nprint('up', flush=True)\ntry: time.sleep(60)\nexcept KeyboardInterrupt: print('bye')"
    grid = Grid(tmp_path, [job("deaf"), job("polite")])
    grid.code = {"deaf": deaf, "polite": polite}
    running = [process.begin(grid.task(entry.job)) for entry in grid.schedule.entries.values()]
    until = time.time() + 20
    while not all(process.tail(Path(r.task.log)) for r in running) and time.time() < until:
        time.sleep(0.05)
    process.end(running, patience=0.5)
    assert [r.process.returncode for r in running] == [-signal.SIGKILL, 0]
    assert process.tail(Path(running[1].task.log)) == ("up", "bye")


def test_a_job_hears_ctrl_c_where_the_grid_does_not(tmp_path):
    grid = Grid(tmp_path, [job("a")])
    grid.code["a"] = "import signal as s; print(s.getsignal(s.SIGINT), s.pthread_sigmask(s.SIG_BLOCK, []))"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.begin(grid.task(grid.schedule.entries["a"].job)).process.wait()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        assert signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT}) == {signal.SIGINT}
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, before)
    assert process.tail(tmp_path / "a/grid.log") == ("<built-in function default_int_handler> set()",)


def test_a_line_a_wave_and_the_time_left():
    def one(wave, state, seconds=0.0):
        return {"place": "p", "wave": wave, "state": state, "tries": 0, "seconds": seconds, "lines": []}

    rows = [one("FER-Net", "done", 30.0), one("FER-Net", "done", 50.0), one("FER-Net", "running")]
    rows += [one("FER-Net", "elsewhere"), *[one("FER-Net", "waiting")] * 8, one("table", "waiting")]
    assert view.lines({"jobs": rows}) == [
        "FER-Net     2 of 12 done, 2 running, 0 failed, about 3 min left",  # ten of 40 s, two at once
        "table       0 of 1 done, 0 running, 0 failed, time left not known yet",
    ]
    assert [view.duration(s) for s in (7.4, 89, 200, 5400, 9000)] == [
        "7 s",
        "89 s",
        "3 min",
        "1 h 30 min",
        "2 h 30 min",
    ]


class Terminal:
    """Keeps what is printed to it."""

    def __init__(self, terminal):
        self.terminal, self.text = terminal, ""

    def isatty(self):
        return self.terminal

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_a_terminal_shows_the_lines_over_each_other(monkeypatch):
    def said(done):
        return {"jobs": [{"wave": w, "state": "done" if done else "waiting", "seconds": 0} for w in "ab"]}

    shown, file = Terminal(True), Terminal(False)
    screens = [view.Screen(shown), view.Screen(file)]
    for state in (said(False), said(False), said(True)):
        for screen in screens:
            screen.show(state)
    assert shown.text.count("\n") == 4 and shown.text.count("\x1b[2F\x1b[J") == 1
    assert file.text.count("\n") == 2 and "0 of 1" in file.text and "1 of 1" not in file.text
    screens[1].show(said(True), at_once=True)
    assert file.text.count("\n") == 4 and "\x1b" not in file.text


def test_the_pip_line_of_an_extra_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None)
    for engine, package in (("ray", "ray"), ("slurm", "submitit")):
        with pytest.raises(ModuleNotFoundError) as error:
            engines.need(engine)
        assert str(error.value) == (
            f'--engine={engine} needs the package {package}: pip install "fer-tf[{engine}]" brings it.'
        )
    engines.need("local")


def test_more_than_any_machine_of_a_ray_cluster_has():
    nodes = [{"Resources": {"CPU": 4.0}}, {"Resources": {"CPU": 2.0, "GPU": 1.0}}]
    nodes.append({"Resources": {"CPU": 64.0, "GPU": 8.0}, "Alive": False})
    for cpu, gpu in ((4, 0), (2, 1), (1, 0.25)):
        on_ray.refuse_too_much(nodes, share.Share(cpu, gpu), "run0/a")
    for cpu, gpu, sentence in (
        (5, 0, "--resources=cpu=5, and the largest machine of the Ray cluster has 4"),
        (1, 2, "--resources=gpu=2, and the largest machine of the Ray cluster has 1"),
        (3, 1, "no machine of the Ray cluster has cpu=3,gpu=1 at once"),
    ):
        with pytest.raises(ValueError, match=f"run0/a can never run: {sentence}"):
            on_ray.refuse_too_much(nodes, share.Share(cpu, gpu), "run0/a")


def test_a_ray_cluster_that_does_not_answer():
    class Ray:
        @staticmethod
        def init(**options):
            raise AssertionError("Ray would try for minutes")

    with pytest.raises(ValueError, match=r"--address=127.0.0.1:1: no Ray cluster answers there, after \d+ s \("):
        on_ray.connect(Ray, "127.0.0.1:1", BARE)


def test_what_submitit_is_told():
    made = on_slurm.parameters(
        share.Share(1.5, 1), ("partition=gpu", "time=30", "gres=x:1"), "slurm", Path("/w/ia_gen")
    )
    assert made == {
        "timeout_min": 30, "cpus_per_task": 2, "gpus_per_node": 1, "name": "grid_ia_gen",
        "slurm_additional_parameters": {"partition": "gpu", "gres": "x:1"},
    }  # fmt: skip
    assert on_slurm.parameters(share.Share(1, 0), (), "local", Path("/w")) == {"timeout_min": 240}
    for each, options, sentence in (
        (share.Share(1, 0.5), (), "gpu=0.5: Slurm gives whole GPUs"),
        (share.Share(1, 0), ("partition",), "--slurm=partition: 'partition' is none"),
        (share.Share(1, 0), ("time=1:00",), "--slurm=time=1:00: a number of minutes is wanted"),
    ):
        with pytest.raises(ValueError, match=sentence):
            on_slurm.parameters(each, options, "slurm", Path("/w"))
