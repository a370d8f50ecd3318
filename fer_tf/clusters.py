"""Which machines train together: TF_CONFIG, made and read, and how their processes find each other before TensorFlow.

    os.environ["TF_CONFIG"] = clusters.tf_config(["node1", "node2"], 0)   # on node1; 1 on node2
    cluster = clusters.read(os.environ)
    token = clusters.meet(cluster, {"--seed": 0})                         # all are there, and mean the same

TensorFlow itself would wait without an end for a worker that never comes, and hang where two train something else. No
TensorFlow.
"""

from __future__ import annotations

import contextlib
import errno
import json
import secrets
import selectors
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

VARIABLE = "TF_CONFIG"
PORT = 2222
"""Of a host that comes without one; a second worker of the same host has the next, and so on."""
WAIT = 300.0
"""Seconds for all workers to come."""
GRACE = 10.0
"""Seconds that the chief, who has found that they cannot train together, waits to say so to those that are late."""
AGAIN = 0.25
"""Seconds between two tries to reach the chief."""
LONGEST = 2**20
"""Bytes of a message."""
FORM = (
    '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}, the index another '
    "one on each host"
)


class Refused(ValueError):
    """The workers cannot train together."""


class Cluster(NamedTuple):
    """The workers of a training, and which of them this process is.

    Attributes:
      workers: host:port of each; the first is the chief.
      number: place of this process among them.
    """

    workers: tuple[str, ...]
    number: int

    @property
    def chief(self) -> bool:
        """Whether this is the one that writes."""
        return self.number == 0

    def name(self, index: int) -> str:
        """What messages call a worker, at their beginning."""
        return f"{'The chief' if index == 0 else f'Worker {index}'} ({self.workers[index]})"


def tf_config(hosts: Sequence[str], index: int, port: int = PORT) -> str:
    """The TF_CONFIG of one worker.

    Args:
      hosts: all workers in one order, the chief first: host, or host:port. A host may be named more than once.
      index: place of this worker among them.
      port: of hosts that come without one.
    Returns:
      JSON, for the environment of that worker's process.
    Raises:
      ValueError: no hosts, a place that is not among them, or two workers with one address.
    """
    if not 0 <= index < len(hosts):
        raise ValueError(f"There is no worker {index} among {len(hosts)}: {', '.join(hosts)}.")
    taken: Counter[str] = Counter()
    workers = []
    for host in hosts:
        name = host
        if not _has_port(host):
            name = f"{host}:{port + taken[host]}"
            taken[host] += 1
        workers.append(name)
    _check(workers)
    return json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})


def read(environment: Mapping[str, str]) -> Cluster:
    """The cluster that TF_CONFIG names; a job "chief", if there is one, comes before "worker".

    Raises:
      ValueError: there is no TF_CONFIG, or it is none; the message says what is wrong and how it has to look.
    """
    text = environment.get(VARIABLE, "")
    if not text.strip():
        raise Refused(f"--strategy=multi_worker needs {VARIABLE} in the environment: {FORM}.")
    try:
        jobs, task = (json.loads(text)[name] for name in ("cluster", "task"))
        strangers = sorted({*jobs} - {"chief", "worker"})
        listed = {job: [*map(str, jobs.get(job, ()))] for job in ("chief", "worker")}
        kind, index = str(task["type"]), int(task["index"])
        places = range(len(listed.get(kind, ())))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise Refused(f"{VARIABLE} cannot be read ({said}); it has to look like {FORM}.") from None
    if strangers:
        raise Refused(f"{VARIABLE} names {', '.join(strangers)}, and only workers and a chief can train together.")
    if index not in places:
        raise Refused(f"{VARIABLE} says that this is {kind} {index}, which its cluster {jobs} does not have.")
    if len(listed["chief"]) > 1:
        raise Refused(f"{VARIABLE} names {len(listed['chief'])} chiefs, and one alone can write.")
    workers = [*listed["chief"], *listed["worker"]]
    _check(workers)
    return Cluster(tuple(workers), index + (len(listed["chief"]) if kind == "worker" else 0))


def _check(workers: Sequence[str]) -> None:
    for worker in workers:
        if not _has_port(worker) or not worker.rpartition(":")[0]:
            raise Refused(f"{VARIABLE} has {worker!r}: host:port is wanted, with a port from 1 to 65535.")
    twice = [worker for worker, count in Counter(workers).items() if count > 1]
    if twice:
        raise Refused(f"{VARIABLE} names {twice[0]} twice: give two workers of one host two ports.")


def _has_port(worker: str) -> bool:
    host, colon, port = worker.rpartition(":")
    return bool(colon) and (":" not in host or "]" in host) and port.isdecimal() and 0 < int(port) < 65536


def meet(cluster: Cluster, tells: Mapping[str, Any], seconds: float = WAIT) -> str:
    """Waits until all workers are there, at the address at which TensorFlow will be, and checks that they agree.

    Args:
      cluster: of `read`.
      tells: name -> value, plain, that have to be the same on all workers.
      seconds: to wait.
    Returns:
      A word that all workers of this training have, and no other.
    Raises:
      Refused: a port in use; a worker that did not come; two that are not of one training. The message is the same
        sentence on all that are there.
    """
    tells = json.loads(json.dumps(tells))
    with _own_port(cluster) as server:
        return (_gather if cluster.chief else _come)(cluster, tells, seconds, server)


@contextlib.contextmanager
def _own_port(cluster: Cluster) -> Iterator[socket.socket]:
    """This worker's port, which nobody else can have."""
    port = int(cluster.workers[cluster.number].rpartition(":")[2])
    both = socket.has_dualstack_ipv6()
    try:
        server = socket.create_server(
            ("", port), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both, backlog=128
        )
    except OSError as error:
        reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be had ({error.strerror})"
        raise Refused(
            f"Port {port} of this machine {reason}, which {VARIABLE} gives to worker {cluster.number} of "
            f"{', '.join(cluster.workers)}: end the process that has it, perhaps an earlier training, or give another."
        ) from None
    with server:
        yield server


class _Gathering:
    """Who has come to the chief."""

    def __init__(self, cluster: Cluster, tells: Mapping[str, Any]):
        self.cluster, self.tells = cluster, tells
        self.come: dict[int, socket.socket] = {}
        self.refusal = ""

    def take(self, connection: socket.socket) -> None:
        """Hears a worker; `refusal` says why they cannot train together, if so."""
        connection.settimeout(5)
        try:
            said = _hear(connection)
            index, workers, tells = int(said["index"]), tuple(said["workers"]), said["tells"]
        except (OSError, ValueError, KeyError, TypeError):  # a stranger, or one that has gone again
            connection.close()
            return
        if workers == self.cluster.workers and 0 < index < len(workers) and index not in self.come:
            self.come[index] = connection
            if other := _difference(tells, self.tells):
                name, theirs, ours = other
                self.refusal = self.refusal or (
                    f"{self.cluster.name(index)} has {name}={theirs}, and the chief {name}={ours}: start the same "
                    "command of the same version on all of them."
                )
            return
        known = workers == self.cluster.workers
        who = f"a second worker {index}" if known else f"one of {', '.join(map(str, workers))}"
        sentence = (
            f"The chief of {', '.join(self.cluster.workers)} was asked by {who}: give each worker a place of its own "
            f"in one {VARIABLE}."
        )
        with contextlib.suppress(OSError), connection:
            _tell(connection, {"refused": sentence})
        if known:  # nobody knows which of the two is right
            self.refusal = self.refusal or sentence

    def forget_gone(self) -> None:
        """Those that ended while they waited have to come again."""
        for index, connection in [*self.come.items()]:
            connection.setblocking(False)
            try:
                gone = connection.recv(1) == b""
            except BlockingIOError:
                gone = False
            except OSError:
                gone = True
            if gone:
                self.come.pop(index).close()

    def answer(self, message: Mapping[str, Any]) -> None:
        """Tells all that are there."""
        for connection in self.come.values():
            connection.settimeout(5)
            with contextlib.suppress(OSError):
                _tell(connection, message)
            connection.close()


def _gather(cluster: Cluster, tells: Mapping[str, Any], seconds: float, server: socket.socket) -> str:
    """The chief's part of `meet`."""
    there, end = _Gathering(cluster, tells), time.monotonic() + seconds
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(server, selectors.EVENT_READ)
            while len(there.come) < len(cluster.workers) - 1 and not (there.refusal and time.monotonic() >= end):
                if time.monotonic() >= end:
                    absent = [cluster.name(i) for i in range(1, len(cluster.workers)) if i not in there.come]
                    raise Refused(_absent(absent, seconds))
                asked = selector.select(min(1.0, max(0.0, end - time.monotonic())))
                there.forget_gone()
                if asked:
                    before = there.refusal
                    there.take(server.accept()[0])
                    if there.refusal != before:
                        end = min(end, time.monotonic() + GRACE)
        if there.refusal:
            raise Refused(there.refusal)
    except BaseException as error:
        there.answer({"refused": str(error) if isinstance(error, Refused) else "The chief was ended."})
        raise
    token = secrets.token_hex(8)
    there.answer({"go": token})
    return token


def _come(cluster: Cluster, tells: Mapping[str, Any], seconds: float, server: socket.socket) -> str:
    """A worker's part of `meet`; `server` only keeps its port."""
    host, _, port = cluster.workers[0].rpartition(":")
    end, reached = time.monotonic() + seconds, False
    while (left := end - time.monotonic()) > 0:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), min(left, 5)) as connection:
                reached = True
                _tell(connection, {"index": cluster.number, "workers": cluster.workers, "tells": tells})
                connection.settimeout(left + 5)  # the chief waits as long, from a little later on
                answer = _hear(connection)
        except (OSError, ValueError):
            time.sleep(AGAIN)
            continue
        if "refused" in answer:
            raise Refused(str(answer["refused"]))
        if "go" in answer:
            return str(answer["go"])
    others = [cluster.name(0)] if not reached else [f"{cluster.name(0)}'s answer, which waits for the others,"]
    raise Refused(_absent(others, seconds))


def _absent(names: Sequence[str], seconds: float) -> str:
    said = f"{', '.join(names)} did not come within {seconds:g} seconds"
    return f"{said}: start the same command there too, or give more time by --wait."


def _difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
    """(name, their value, ours) of the first that differs."""
    for name in [*ours, *(n for n in theirs if n not in ours)]:
        if name not in theirs or name not in ours or theirs[name] != ours[name]:
            return name, theirs.get(name), ours.get(name)
    return None


def _tell(connection: socket.socket, message: Mapping[str, Any]) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def _hear(connection: socket.socket) -> dict[str, Any]:
    """One message.

    Raises:
      ValueError: it is none, or the other side has gone.
    """
    got = b""
    while not got.endswith(b"\n"):
        part = connection.recv(65536)
        got += part
        if not part or len(got) > LONGEST:
            raise ValueError("no message")
    message = json.loads(got)
    if not isinstance(message, dict):
        raise ValueError("no message")
    return message
