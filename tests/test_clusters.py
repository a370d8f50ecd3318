"""TF_CONFIG made and read, and workers that find each other, or say why not."""

import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fer_tf import clusters

ROOT = Path(__file__).resolve().parents[1]
MEET = """
import json, os, sys
from fer_tf import clusters
try:
    print(clusters.meet(clusters.read(os.environ), json.loads(sys.argv[1]), float(sys.argv[2])))
except clusters.Refused as error:
    print(f"refused: {error}")
"""


def addresses(count):
    """host:port of ports that were free just now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    named = tuple(f"127.0.0.1:{one.getsockname()[1]}" for one in held)
    for one in held:
        one.close()
    return named


def start(hosts, index, tells=None, seconds=20.0):
    """A worker in a process of its own."""
    environment = {"TF_CONFIG": clusters.tf_config(hosts, index), "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", MEET, json.dumps(tells or {}), str(seconds)]
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)


def said(process):
    return process.communicate(timeout=60)[0].strip()


def test_a_configuration_of_hosts():
    made = json.loads(clusters.tf_config(["a", "b:77", "a", "c"], 2, port=3000))
    assert made == {
        "cluster": {"worker": ["a:3000", "b:77", "a:3001", "c:3000"]},
        "task": {"type": "worker", "index": 2},
    }
    assert clusters.read({"TF_CONFIG": json.dumps(made)}) == (("a:3000", "b:77", "a:3001", "c:3000"), 2)
    for index in (-1, 2):
        with pytest.raises(ValueError, match=f"no worker {index} among 2: a, b"):
            clusters.tf_config(["a", "b"], index)
    with pytest.raises(ValueError, match="a:5 twice"):
        clusters.tf_config(["a:5", "a:5"], 0)


def test_the_chief_comes_first():
    config = {"cluster": {"worker": ["b:1", "c:1"], "chief": ["a:1"]}, "task": {"type": "worker", "index": 1}}
    read = clusters.read({"TF_CONFIG": json.dumps(config)})
    assert read == (("a:1", "b:1", "c:1"), 2) and not read.chief and read.name(2) == "Worker 2 (c:1)"
    read = clusters.read({"TF_CONFIG": json.dumps({**config, "task": {"type": "chief", "index": 0}})})
    assert read.number == 0 and read.chief and read.name(0) == "The chief (a:1)"


JOBS = {"worker": ["a:1", "b:1"]}
TASK = {"type": "worker", "index": 1}


@pytest.mark.parametrize(
    "config, words",
    [
        (None, "needs TF_CONFIG in the environment"),
        ("", "needs TF_CONFIG in the environment"),
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ({"cluster": JOBS}, "'task' is missing"),
        ({"cluster": JOBS, "task": {"type": "worker"}}, "'index' is missing"),
        ({"cluster": JOBS, "task": {"type": "worker", "index": "two"}}, "cannot be read"),
        ({"cluster": {**JOBS, "ps": ["c:1"]}, "task": TASK}, "names ps, and only workers"),
        ({"cluster": JOBS, "task": {"type": "worker", "index": 2}}, "this is worker 2, which its cluster"),
        ({"cluster": JOBS, "task": {"type": "chief", "index": 0}}, "this is chief 0, which its cluster"),
        ({"cluster": {"chief": ["a:1", "b:1"]}, "task": {"type": "chief", "index": 1}}, "2 chiefs"),
        ({"cluster": {"worker": ["a:1", "b"]}, "task": TASK}, "'b': host:port"),
        ({"cluster": {"worker": ["a:1", "b:70000"]}, "task": TASK}, "'b:70000': host:port"),
        ({"cluster": {"worker": ["a:1", ":2"]}, "task": TASK}, "':2': host:port"),
        ({"cluster": {"worker": ["a:1", "a:1"]}, "task": TASK}, "a:1 twice"),
    ],
)
def test_what_is_no_configuration_is_refused_in_a_sentence(config, words):
    text = config if config is None or isinstance(config, str) else json.dumps(config)
    with pytest.raises(clusters.Refused) as error:
        clusters.read({} if text is None else {"TF_CONFIG": text})
    assert words in str(error.value) and "\n" not in str(error.value)


def test_three_processes_find_each_other_in_any_order():
    hosts = addresses(3)
    late = [start(hosts, 2, {"--seed": 3}), start(hosts, 1, {"--seed": 3})]
    time.sleep(0.5)  # the chief comes last
    words = [said(process) for process in (start(hosts, 0, {"--seed": 3}), *late)]
    assert len({*words}) == 1 and len(words[0]) == 16 and "refused" not in words[0]


def test_two_commands_are_refused_on_all():
    hosts = addresses(3)
    started = [start(hosts, i, {"--epochs": 2, "--seed": 3 + (i == 2)}) for i in (0, 1, 2)]
    words = {said(process) for process in started}
    assert len(words) == 1
    assert f"refused: Worker 2 ({hosts[2]}) has --seed=4, and the chief --seed=3" in words.pop()


def test_a_worker_that_never_comes_is_named_on_all_that_are_there():
    hosts = addresses(3)
    begun = time.monotonic()
    started = [start(hosts, 0, seconds=2), start(hosts, 1, seconds=2)]
    words = {said(process) for process in started}
    assert time.monotonic() - begun < 20 and len(words) == 1
    assert f"refused: Worker 2 ({hosts[2]}) did not come within 2 seconds" in words.pop()


def test_a_chief_that_never_comes_is_named():
    hosts = addresses(2)
    with pytest.raises(clusters.Refused, match=rf"^The chief \({hosts[0]}\) did not come within 0.5 seconds.*--wait"):
        clusters.meet(clusters.Cluster(hosts, 1), {}, 0.5)


def test_a_worker_that_ended_and_came_again_is_the_one_that_counts():
    hosts = addresses(3)
    waiting = start(hosts, 1)
    chief = start(hosts, 0)
    time.sleep(1.0)  # it has come
    waiting.kill()
    waiting.wait()
    again = [start(hosts, 1), start(hosts, 2)]
    words = [said(process) for process in (chief, *again)]
    assert len({*words}) == 1 and "refused" not in words[0]


@pytest.mark.parametrize("index", [0, 1])
def test_a_port_in_use_is_named(index):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        hosts = [*addresses(2)]
        hosts[index] = f"127.0.0.1:{port}"
        with pytest.raises(clusters.Refused, match=f"^Port {port} of this machine is in use, .*{hosts[index]}"):
            clusters.meet(clusters.Cluster(tuple(hosts), index), {}, 1)


def test_strangers_do_not_disturb():
    """Whoever says something else, or nothing, is not counted."""
    hosts = addresses(2)
    found = []
    thread = threading.Thread(target=lambda: found.append(clusters.meet(clusters.Cluster(hosts, 0), {}, 20)))
    thread.start()
    port = int(hosts[0].rpartition(":")[2])
    for words in (b"GET / HTTP/1.1\r\n\r\n", b'{"index": 1}\n', b"[]\n", b""):
        for _ in range(50):
            try:
                with socket.create_connection(("127.0.0.1", port), 2) as stranger:
                    stranger.sendall(words)
                break
            except OSError:
                time.sleep(0.05)
    assert clusters.meet(clusters.Cluster(hosts, 1), {}, 20) == (thread.join(), found[0])[1]


def test_a_worker_of_another_training_is_sent_away():
    """The others go on waiting for their own."""
    hosts, found = addresses(3), []
    thread = threading.Thread(target=lambda: found.append(clusters.meet(clusters.Cluster(hosts[:2], 0), {}, 20)))
    thread.start()
    with pytest.raises(clusters.Refused, match=f"chief of {hosts[0]}, {hosts[1]} was asked by one of {hosts[0]}, .*2"):
        clusters.meet(clusters.Cluster((hosts[0], hosts[2]), 1), {}, 20)
    token = clusters.meet(clusters.Cluster(hosts[:2], 1), {}, 20)
    thread.join()
    assert found == [token]


def test_two_with_one_place_are_refused(monkeypatch):
    hosts = addresses(3)
    monkeypatch.setattr(clusters, "GRACE", 1.0)
    errors = []

    def come():
        with pytest.raises(clusters.Refused) as error:
            clusters._come(clusters.Cluster(hosts, 1), {}, 20, None)
        errors.append(str(error.value))

    threads = [threading.Thread(target=come) for _ in range(2)]
    for thread in threads:
        thread.start()
    with pytest.raises(clusters.Refused, match="asked by a second worker 1"):
        clusters.meet(clusters.Cluster(hosts, 0), {}, 20)
    for thread in threads:
        thread.join()
    assert len(errors) == 2 and errors[0] == errors[1]
