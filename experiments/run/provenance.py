"""Where a result comes from: command, commit, hardware, data; and weights that have seen the people to be tested."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

import fer_tf
from fer_tf import weights

from .settings import Folds, described, flag_name

HERE = Path(__file__).parent


WHERE = ("workdir",)
"""Settings that say where a run is made, and change nothing in it."""


def command(settings: Any, experiment: str, without: Collection[str] = ()) -> str:
    """The command line of what the settings were given; of this machine's files and folders the last part alone.

    That of a --job is its whole run's.

    Args:
      settings: of the run.
      experiment: the command's name.
      without: fields that are left out.
    """
    words = [f"python -m experiments.{experiment}"]
    for name, value in settings.given.items():
        known = described(type(settings), name)
        if value is None or name == "job" or name in without:  # None: a default, which no command line can give
            continue
        for one in value if known["repeated"] else [value]:
            parts = [without_folders(v, known["place"]) for v in (one if isinstance(one, tuple) else (one,))]
            words.append(shlex.quote(f"--{flag_name(name)}={','.join(parts)}"))
    return " ".join(words)


def experiment(settings: Any) -> str:
    """The command that settings are of: the name of their file, whose module may be __main__."""
    module = sys.modules.get(type(settings).__module__)
    return Path(getattr(module, "__file__", None) or type(settings).__module__.rsplit(".", 1)[-1]).stem


def without_folders(value: Any, place: str) -> str:
    """A value as the command line has it, without this machine's folders."""
    if isinstance(value, bool):
        return str(value).lower()
    if place == "named":
        name, equals, path = str(value).partition("=")
        return name + equals + Path(path).name
    return Path(value).name if place == "path" else str(value)


def hardware() -> str:
    """GPU names, or the CPU's model and its core count."""
    gpus = tf.config.get_visible_devices("GPU")
    if gpus:
        return ", ".join(tf.config.experimental.get_device_details(g).get("device_name", "GPU") for g in gpus)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return f"{next(names, platform.processor())}, {os.cpu_count()} cores"


def commit() -> str:
    """The commit of the checkout, with "+" when files differ from it; the version where there is no checkout.

    A package that is installed, or kept as a copy, in somebody else's repository has that one's commits around it,
    which say nothing of it: the checkout has to begin where this project's tree does, with its setup.py, and git has to
    know this very file.
    """
    root, own = HERE.resolve().parents[1], {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}

    def git(*words: str) -> str:  # GIT_DIR and the like, such as a hook has, name another repository
        done = subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True, check=True, env=own)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)
        begins = Path(git("rev-parse", "--show-toplevel")).resolve()
        if begins != root or not all((root / name).is_file() for name in ("setup.py", "fer_tf/__init__.py")):
            return f"version {fer_tf.__version__}"
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return f"version {fer_tf.__version__}"


def facts(settings: Folds, classes: Sequence[str], seconds: float) -> dict[str, Any]:
    """What metrics.json says of every run: data set, protocol, classes, seeds, commit, hardware, seconds."""
    chosen, order = settings.data_protocol, settings.fold_order
    if settings.tested_elsewhere:
        rule = f"tested on {settings.tested_name}"
    elif settings.manifest:
        rule = Path(settings.manifest).name
    elif chosen is not None:
        rule = f"{settings.protocol}, {order}: {chosen.source}"
    else:
        rule = f"{settings.folds} folds by subject, {order}"
    if settings.validation:
        rule += f"; {settings.validation_people}"
    return {
        "dataset": settings.data_name,
        "protocol": rule,
        "command": command(settings, experiment(settings), WHERE),
        "preset": settings.preset,
        "classes": list(classes),
        "seeds": list(range(settings.seed, settings.seed + settings.runs)),
        "commit": commit(),
        "hardware": hardware(),
        "versions": {"fer_tf": fer_tf.__version__, "tensorflow": tf.__version__},
        "seconds": round(seconds, 1),
    }


def of_weights(
    settings: Any, experiment: str, *, data: str, datasets: Sequence[str], model: Any = None, **more: Any
) -> dict[str, Any]:
    """The provenance of weights that a command trained, for `weights.save`.

    Args:
      settings: of the run.
      experiment: the command's name, such as "pretrain".
      data: what they were trained on, in words.
      datasets: names of it, and of what its start was trained on: nobody of these may be tested.
      model: whose class and constructor's arguments are written, so that it can be built again.
      more: further entries, such as metric.
    """
    provenance = {
        "command": command(settings, experiment),
        "commit": commit(),
        "data": data,
        "datasets": sorted({*datasets}),
        "hardware": hardware(),
        "seed": settings.seed,
        "metric": None,
    }
    if model is not None:
        provenance["model"] = f"{type(model).__module__.rsplit('.', 1)[-1]}.{type(model).__name__}"
        provenance["config"] = {k: v for k, v in model.get_config().items() if k != "name"}
        if hasattr(model, "classes"):
            provenance["classes"] = model.classes
    return {**provenance, **more}


def of_export(settings: Folds, last: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The metadata of an exported model: what it was trained on, and the run and fold that it comes from."""
    origin = {"trained_on": settings.trained_on, "run": last["run"], "held_out_fold": last["fold"]}
    return {**origin, "commit": commit(), **more}


def weights_file(name: str) -> Path | None:
    """The file of a setting that names weights: a file, a name in weights/, or none."""
    if name in ("", "none"):
        return None
    return Path(name) if Path(name).is_file() else weights.released(name)


def how_trained(file: str | Path) -> list[list[str]]:
    """The flags that say how a weights file of ours was trained, from its first start on; without places and switches.

    Two networks that were trained alike have the same: preset, epochs, rates, seeds, but not where files are, nor which
    of the two it is (a flag that begins with --no or has no value).
    """
    places = ("--data_dir=", "--workdir=", "--out=", "--init=", "--dispelling=")
    told, chain = weights.provenance(file), []
    while isinstance(told, dict):
        words = [w for w in shlex.split(told.get("command") or "") if w.startswith("--") and "=" in w]
        chain.insert(0, sorted(_one_way(w) for w in words if not w.startswith(places)))
        told = told.get("init")
    return chain


def _one_way(word: str) -> str:
    """A flag whose number, if it is one, is written in one way: --rate=2e-4 is --rate=0.0002."""
    flag, equals, value = word.partition("=")
    try:
        return flag + equals + f"{float(value):g}"
    except ValueError:
        return word


def share_people(tested: str, seen: str) -> bool:
    """Whether weights that have seen one data set, or a part of it, may have seen the people of another.

    A part counts as seen where the whole is named, or all parts; but the judge's people are in neither.
    """
    (one, _, part), (other, _, learnt) = tested.partition("/"), seen.partition("/")
    if one != other or part == learnt:
        return one == other
    return part != "judge" and (learnt in ("", "all") or part == "all")


def behind(*files: str | Path | None) -> list[str]:
    """The data sets that weights files, and what these were started from, were trained on; None gives nothing."""
    known = [file for file in files if file is not None and weights.is_ours(file)]
    return sorted({name for file in known for name in weights.provenance(file).get("datasets") or []})


def refuse_tested_people(name: str | Path | None, flag: str, tested: str | None) -> list[str]:
    """The data sets that a weights file, and what it was started from, were trained on.

    Args:
      name: the file; None gives nothing.
      flag: that named it.
      tested: the data set whose people are to be tested; None where nobody is.
    Raises:
      ValueError: it is among them, so that the weights have seen who is to be tested.
    """
    seen_before = behind(name)
    if tested and any(share_people(tested, seen) for seen in seen_before):
        raise ValueError(f"--{flag}={name} was trained on everybody in {tested}, so it has seen who is to be tested.")
    return seen_before
