"""A folder for one process: who has it is named, a killed one's lock is nobody's."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from fer_tf import locks

HOLD = """
import sys, time
from pathlib import Path
from fer_tf import locks
with locks.alone(Path(sys.argv[1])):
    print("have it", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has the folder."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    environment = {**os.environ, "PYTHONPATH": root}
    words = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "have it\n"
        yield process
        process.kill()


def test_the_second_process_is_refused_and_told_who_has_it(tmp_path, holder):
    for _ in range(2):  # being refused does not take it away
        with pytest.raises(ValueError) as error, locks.alone(tmp_path):
            pass
        who = f"{tmp_path} is in use by process {holder.pid} on {socket.gethostname()} since 2"
        assert str(error.value).startswith(who) and "another --workdir" in str(error.value)
        assert "\n" not in str(error.value)
    assert json.loads((tmp_path / locks.NAME).read_text())["process"] == holder.pid


def test_what_a_killed_process_left_is_nobodys(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / locks.NAME).is_file()
    with locks.alone(tmp_path):
        assert json.loads((tmp_path / locks.NAME).read_text())["process"] == os.getpid()
    assert not (tmp_path / locks.NAME).exists()


def test_it_is_given_back_at_the_end_and_after_an_error(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyError), locks.alone(tmp_path):
            raise KeyError
        assert [*tmp_path.iterdir()] == []


def test_a_file_that_is_to_be_written_is_one_process_s_too(tmp_path):
    """Two in one folder do not hinder each other."""
    with locks.alone(tmp_path / "a.h5", "--out"), locks.alone(tmp_path / "b.h5", "--out"), locks.alone(tmp_path):
        with pytest.raises(ValueError) as error, locks.alone(tmp_path / "a.h5", "--out"):
            pass
        assert str(error.value).startswith(f"{tmp_path / 'a.h5'} is in use by process {os.getpid()} on")
        assert str(error.value).endswith(f"or give another --out ({tmp_path / '.a.h5.lock'} says so).")
    assert [*tmp_path.iterdir()] == []


def test_nobody_has_it_twice_in_one_process_either(tmp_path):
    said = []

    def second():
        try:
            with locks.alone(tmp_path):
                pass
        except ValueError as error:
            said.append(str(error))

    with locks.alone(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        with locks.alone(tmp_path.parent):  # another folder
            pass
    assert len(said) == 1 and f"process {os.getpid()} on" in said[0]


@pytest.mark.parametrize("age, refused", [(0, True), (locks.STALE - 60, True), (locks.STALE + 60, False)])
def test_another_machines_lock_counts_while_its_owner_touches_it(tmp_path, age, refused):
    """The kernel here knows nothing of it; a dead one's is not touched any more."""
    file = tmp_path / locks.NAME
    file.write_text(json.dumps({"host": "elsewhere", "process": 12, "since": "2026-01-01 10:00:00"}))
    os.utime(file, (time.time() - age,) * 2)
    if refused:
        with (
            pytest.raises(ValueError, match="by process 12 on elsewhere since 2026-01-01 10:00:00"),
            locks.alone(tmp_path),
        ):
            pass
        assert file.is_file()
    else:
        with locks.alone(tmp_path):
            assert json.loads(file.read_text())["host"] == socket.gethostname()


def test_the_owner_touches_it(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "BEAT", 0.02)
    with locks.alone(tmp_path):
        os.utime(tmp_path / locks.NAME, (1, 1))
        for _ in range(500):
            time.sleep(0.01)
            if (tmp_path / locks.NAME).stat().st_mtime > 1:
                break
        assert (tmp_path / locks.NAME).stat().st_mtime > 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 3}', "\x00" * 40])
def test_a_damaged_lock_is_nobodys(tmp_path, text):
    """Such as one of a machine that lost its power."""
    (tmp_path / locks.NAME).write_text(text)
    with locks.alone(tmp_path):
        assert json.loads((tmp_path / locks.NAME).read_text())["process"] == os.getpid()


@pytest.mark.parametrize("kernel", ["has none", "refuses"])
def test_without_the_kernels_locks_the_process_and_the_last_touch_decide(tmp_path, monkeypatch, kernel):
    """On Windows, and on file systems that have none."""

    def refuses(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    if kernel == "has none":
        monkeypatch.setattr(locks, "fcntl", None)
    else:
        monkeypatch.setattr(locks.fcntl, "flock", refuses)
    with locks.alone(tmp_path), pytest.raises(ValueError, match="is in use by process"), locks.alone(tmp_path):
        pass
    for stale in ("old", "dead"):
        with locks.alone(tmp_path):
            if stale == "old":
                os.utime(tmp_path / locks.NAME, (1, 1))
            else:
                ended = subprocess.Popen(["true"])
                ended.wait()
                owner = json.loads((tmp_path / locks.NAME).read_text())
                (tmp_path / locks.NAME).write_text(json.dumps({**owner, "process": ended.pid}))
            with locks.alone(tmp_path):
                pass
