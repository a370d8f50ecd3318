"""The work folder of a run: one process at a time, settings in it, a resume with others refused, what is written whole.

@work.alone
def run(settings):
    folder = work.folder(settings, "fer_net")     # this process's until `run` ends
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import tensorflow as tf

from fer_tf import files, locks, workers

from . import jobs, joining, report, tracking
from .page import build
from .settings import Training, bound, described, field_of

_held: ContextVar[contextlib.ExitStack | None] = ContextVar("held", default=None)


def alone(run: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A command whose work folder no other process can use until it ends; one of its jobs has its own folder alone.

    Of several workers, all take part in it. It leaves its page in the folder. It gives `jobs.BUSY` where another
    process is at its --job, None where that is done, and with --job=list a `jobs.Listing`.
    """

    @functools.wraps(run)
    def once(settings: Any) -> Any:
        with contextlib.ExitStack() as held, jobs.apart():
            token = _held.set(held)
            try:
                if not (isinstance(settings, Training) and jobs.listing(settings)):
                    held.enter_context(joining.taking_part(settings))
                results = run(settings)
                if isinstance(results, report.Results) and workers.writes():
                    build.after(results.folder)
                    tracking.after(results.folder, tensorboard=settings.tensorboard, mlflow=settings.mlflow)
                return results
            except jobs.Ended:
                return None
            except jobs.Listed as listed:
                return listed.listing
            except locks.InUse as error:
                if not (isinstance(settings, Training) and jobs.is_one(settings)):
                    raise
                print(error, file=sys.stderr)
                return jobs.BUSY
            finally:
                _held.reset(token)

    return once


def place(settings: Training, experiment: str) -> Path:
    """Where the work folder is."""
    return Path(settings.workdir or f"runs/{experiment}_{settings.preset}")


def folder(settings: Training, experiment: str) -> Path:
    """The work folder, made if need be, with flags.json in it.

    Raises:
      ValueError: it cannot be made, is another process's, or holds a training with other settings; the message names
        the first that differs. Or workers do not share it.
    """
    path = place(settings, experiment)
    if jobs.listing(settings):
        if (path / "flags.json").is_file() and trained(path):
            begun = read(path / "flags.json")
            made = {"precision": begun.get("precision")} if settings.precision == "auto" else {}
            refuse_changes(path, begun, {**bound(settings), **made}, type(settings))  # jobs may run on other hardware
        return path
    workers.together(lambda: _begin(path, settings))
    workers.refuse_apart(path)
    return path


def _begin(path: Path, settings: Training) -> None:
    """Makes a work folder, locks it, and writes flags.json, as `folder` says."""
    try:
        (path / (settings.job if jobs.is_one(settings) else "")).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--workdir={path} cannot be made ({error.strerror}): give another one.") from error
    held = _held.get()
    if held is not None:
        _take(held, path, settings.job)
    now, file = bound(settings), path / "flags.json"
    if file.is_file() and trained(path):  # what nothing was trained with binds nobody
        before = read(file)
        refuse_changes(path, before, now, type(settings))
        if longer := [f"--{k}={before[k]} to {now[k]}" for k in sorted(now) if _longer(type(settings), k, before, now)]:
            if held is not None:
                held.push(_put_back(path, file))
            print(
                f"{path} goes on from {', '.join(longer)}; learning rates that fall over a whole training follow the "
                "longer one from here on.",
                flush=True,
            )
    files.write_json(file, now)


def _take(held: contextlib.ExitStack, path: Path, job: str) -> None:
    """Takes what a process needs for itself: the work folder, or of one of its jobs the job's folder.

    Raises:
      locks.InUse: somebody has it, a grid has the work folder, or one of its jobs is run.
    """
    if job in ("", jobs.TABLE):
        held.enter_context(locks.alone(path))
        others = [path / jobs.GRID] * (not job) + sorted({file.parent for file in path.rglob(locks.NAME)} - {path})
    else:
        held.enter_context(locks.alone(path / job))
        others = [path]
    for other in others:  # looked at once one's own is taken: of two processes one at least sees the other
        locks.refuse_taken(other, path)


def trained(path: Path) -> bool:
    """Whether anything was trained in a work folder."""
    return any(path.rglob("checkpoint/checkpoint"))


def _put_back(path: Path, file: Path) -> Callable[..., None]:
    """What restores a file as it is now, should the run be refused before it has trained anything in `path`."""

    def stamps() -> list[int]:
        return sorted(p.stat().st_mtime_ns for p in path.rglob("checkpoint/checkpoint"))

    text, before = file.read_text(encoding="utf-8"), stamps()

    def end(kind: Any, error: Any, trace: Any) -> None:
        if error is not None and stamps() == before:
            files.write_text(file, text)

    return end


def read(file: Path) -> dict[str, Any]:
    """The settings that a flags.json has.

    Raises:
      ValueError: it has none.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is damaged: give another --workdir.") from error
    if not isinstance(values, dict):
        raise ValueError(f"{file} is damaged: give another --workdir.")
    return values


def refuse_changes(path: Path, begun: dict[str, Any], now: dict[str, Any], kind: type) -> None:
    """Raises ValueError where a run that is to be taken up again was begun with other settings.

    Args:
      path: its folder.
      begun, now: {flag: value}.
      kind: of the settings, which says what may be more than it was and which flags name places.
    """
    if strangers := sorted({*begun} ^ {*now}):
        raise ValueError(
            f"{path} holds a run of another version of this command, with other settings ({', '.join(strangers)}): "
            "give another --workdir."
        )
    if changed := [k for k in sorted(now) if not (_same(kind, k, begun, now) or _longer(kind, k, begun, now))]:
        k = changed[0]
        raise ValueError(
            f"{path} holds a run with --{k}={begun[k]}, and now --{k}={now[k]} is asked for: give the same flags to "
            f"go on with it, or another --workdir. Changed: {', '.join(changed)}."
        )


def _same(kind: type, flag: str, begun: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether two values are one, or name one place: a slash at its end does not matter, nor how one gets there."""
    values, place = (begun[flag], now[flag]), described(kind, field_of(kind, flag))["place"]
    if begun[flag] == now[flag] or not place:
        return begun[flag] == now[flag]
    return len({json.dumps(_real(value, place)) for value in values}) == 1


def _real(value: Any, place: str) -> Any:
    """A path without links, dots and slashes at its end; of name=path the path alone."""
    if isinstance(value, list):
        return [_real(one, place) for one in value]
    if not isinstance(value, str) or not value:
        return value
    name, equals, path = value.partition("=") if place == "named" else ("", "", value)
    return name + equals + (os.path.realpath(os.path.expanduser(path)) if path else "")


def _longer(kind: Any, flag: str, begun: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether a flag asks for more of what a run may have more of."""
    if field_of(kind, flag) not in kind.GROWS or begun[flag] == now[flag]:
        return False
    if None in (begun[flag], now[flag]):  # without an end
        return now[flag] is None
    return now[flag] > begun[flag]


def save_module(module: tf.Module, path: Path) -> None:
    """Writes a module with a `serving_default` as a SavedModel.

    Raises:
      ValueError: something else stands at `path`.
    """
    if path.exists() and not (path / "saved_model.pb").is_file():
        raise ValueError(f"{path} exists and is no SavedModel: remove it, or give another --workdir.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as part:
        tf.saved_model.save(module, str(part), signatures={"serving_default": module.serving_default})
