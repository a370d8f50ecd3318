"""One training on several machines: the processes join, agree, and end together.

    strategy = workers.join({"--seed": 0})      # TF_CONFIG says who they are; before TensorFlow's first operation
    workers.writes()                            # the chief's is True, and of a process that trains alone
    workers.agreed(value)                       # the chief's value, on all: they have to ask alike

All do the same, from the first operation to the last; the chief alone writes (`files.silent`). What one decides by the
clock or by a file, the chief decides for all, or they would wait for each other without an end.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

import fer_tf
from fer_tf import clusters, devices, files

CLUSTER_SECONDS = 120.0
"""After all are there, what TensorFlow may take to connect them."""
SEES_SECONDS = 20.0
"""What a file system may take to show on one machine what was written on another."""
LOSS = ("unavailable", "aborted", "heartbeat", "connection", "socket", "peer", "unhealthy", "deadline")
"""Words of TensorFlow's messages when a worker is gone."""


class Lost(RuntimeError):
    """A worker is gone, or has stopped."""


class Joined(NamedTuple):
    """What `join` made.

    Attributes:
      cluster: the workers.
      strategy: whose replicas are those of all of them.
      token: a word that all of them have.
      total: (V,) float64 -> its sum over the workers.
    """

    cluster: clusters.Cluster
    strategy: tf.distribute.Strategy
    token: str
    total: Callable[[tf.Tensor], tf.Tensor]


_joined: list[Joined] = []
"""One, where this process is a worker: TensorFlow can join once in its life."""


def several() -> bool:
    """Whether this process trains with others."""
    return bool(_joined)


def writes() -> bool:
    """Whether this process writes results: the chief, and one that trains alone."""
    return not _joined or _joined[0].cluster.chief


def join(tells: Mapping[str, Any] | None = None, seconds: float = clusters.WAIT) -> tf.distribute.Strategy:
    """Waits for the other workers that TF_CONFIG names; the strategy that all have, which later calls give again.

    Args:
      tells: name -> value, plain, that have to be the same on all workers, besides the versions and the number of GPUs.
      seconds: to wait for them.
    Raises:
      clusters.Refused: TF_CONFIG is missing or wrong, a worker does not come, or they are not of one training.
      Lost: TensorFlow cannot connect them.
      RuntimeError: TensorFlow has computed before.
    """
    if _joined:
        return _joined[0].strategy
    cluster = clusters.read(os.environ)
    if len(cluster.workers) == 1:
        raise clusters.Refused(f"{clusters.VARIABLE} names one worker alone: leave --strategy=multi_worker out.")
    versions = {"fer_tf": fer_tf.__version__, "tensorflow": tf.__version__, "GPUs": len(devices.gpus())}
    token = clusters.meet(cluster, {**versions, **(tells or {})}, seconds)
    with _ends_after(CLUSTER_SECONDS, f"TensorFlow did not connect {', '.join(cluster.workers)}"), lost_named(cluster):
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        joined = Joined(cluster, strategy, token, _total(strategy))
        joined.total(tf.zeros(1, tf.float64))
    _joined.append(joined)
    if not cluster.chief:
        files.silent(True)
    return strategy


def _total(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], tf.Tensor]:
    """(V,) float64, one a worker -> their sum, on all; a worker's first replica speaks for it."""
    own = max(1, len(strategy.extended.worker_devices))

    def on_replica(values: tf.Tensor) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        first = tf.cast(context.replica_id_in_sync_group % own == 0, tf.float64)
        return context.all_reduce(tf.distribute.ReduceOp.SUM, values * first)

    @tf.function(reduce_retracing=True)
    def total(values: tf.Tensor) -> tf.Tensor:
        return strategy.experimental_local_results(strategy.run(on_replica, args=(values,)))[0]

    return total


def of_all(value: float) -> list[float]:
    """Each worker's value, the chief's first; all have to ask. Alone, one's own."""
    if not _joined:
        return [float(value)]
    cluster = _joined[0].cluster
    places = [float(value) if i == cluster.number else 0.0 for i in range(len(cluster.workers))]
    with lost_named():
        return [float(v) for v in _joined[0].total(tf.constant(places, tf.float64)).numpy()]


def agreed(value: float) -> float:
    """The chief's value, on all workers: all have to ask. Alone, one's own."""
    return of_all(value)[0]


def together(action: Callable[[], Any]) -> Any:
    """Lets the chief act while the others wait; alone, acts.

    Returns:
      What `action` gave; None on the others.
    Raises:
      clusters.Refused: on the others, where it raised an error on the chief, which has that error.
    """
    if not writes():
        if not agreed(0.0):
            raise clusters.Refused("The chief cannot begin, and says why: see its messages.")
        return None
    try:
        given = action()
    except Exception:
        if _joined:
            with contextlib.suppress(Lost):
                agreed(0.0)
        raise
    agreed(1.0)
    return given


def refuse_apart(folder: Path) -> None:
    """Refuses a folder that the workers do not share: all have to ask, after the chief has made it.

    Raises:
      clusters.Refused: they do not; the message says which of them do not see it.
    """
    if not _joined:
        return
    cluster, file = _joined[0].cluster, folder / f".workers-{_joined[0].token}"
    if cluster.chief:
        file.touch()
    agreed(1.0)
    blind = [cluster.name(i) for i, seen in enumerate(of_all(sees(file))) if not seen]
    if cluster.chief:
        file.unlink(missing_ok=True)
    if blind:
        raise clusters.Refused(
            f"--workdir={folder} is not shared: {', '.join(blind)} does not see what the chief writes there. Give all "
            "the same folder of a file system that they share."
        )


def refuse_unlike(what: str, made: Callable[[], str]) -> None:
    """Refuses workers that do not have the same: all have to ask.

    Args:
      what: they have, for the message.
      made: gives it as a text; not called by a process that trains alone.
    Raises:
      clusters.Refused: it is another one on some; the message says on which.
    """
    if not _joined:
        return
    found = of_all(int(hashlib.sha256(made().encode()).hexdigest()[:13], 16))  # a whole number below 2**52
    others = [_joined[0].cluster.name(i) for i, digest in enumerate(found) if digest != found[0]]
    if others:
        raise clusters.Refused(f"{', '.join(others)} and the chief have different {what}: give all the same files.")


def sees(file: Path) -> bool:
    """Whether there is a file that the chief has written before; a network's file system is given time to show it."""
    end = time.monotonic() + (0.0 if writes() else SEES_SECONDS)
    while not file.is_file():
        if time.monotonic() >= end:
            return False
        with contextlib.suppress(OSError):
            os.listdir(file.parent)  # lets it look again
        time.sleep(0.2)
    return True


@contextlib.contextmanager
def lost_named(cluster: clusters.Cluster | None = None) -> Iterator[None]:
    """Within it, TensorFlow's message that a worker is gone, a page long, becomes `Lost`."""
    try:
        yield
    except tf.errors.OpError as error:
        cluster = _joined[0].cluster if _joined else cluster
        if cluster is None or not any(word in error.message.lower() for word in LOSS):
            raise
        gone = [i for i in range(len(cluster.workers)) if f"task:{i}" in error.message and i != cluster.number]
        who = cluster.name(gone[0]) if len(gone) == 1 else "Another worker"
        raise Lost(
            f"{who} has ended or does not answer, so this one ends too: give the same command on "
            "all workers again, which goes on from the last checkpoint."
        ) from error


@contextlib.contextmanager
def until_all_end() -> Iterator[None]:
    """Around what a worker does: none leaves before the chief has written all."""
    yield
    agreed(1.0)


def leave(code: int) -> None:
    """Ends this process at once where it trains with others: TensorFlow would wait for those that are gone."""
    if _joined:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@contextlib.contextmanager
def _ends_after(seconds: float, sentence: str) -> Iterator[None]:
    """Ends the process with a sentence where the block takes longer: TensorFlow cannot be interrupted there."""

    def end() -> None:
        print(
            f"error: {sentence} within {seconds:g} seconds: give the same command again.", file=sys.stderr, flush=True
        )
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
