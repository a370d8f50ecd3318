"""The command line: flags made of a command's settings, and one sentence for bad input.

The flags are made anew for each call and belong to it alone: nothing is registered with absl's own, so that two
commands run in one process, and a program that has flags of its own may call one.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import flags

from fer_tf import devices, files, training, workers

from . import tracking
from .settings import Training, choices, described, flag_name, typed

HELP = ("-h", "-help", "--help", "--helpshort", "--helpfull")
WIDTH = 118


def main(kind: type, run: Callable[[Any], Any], argv: Sequence[str] | None = None) -> None:
    """Reads the command line and runs the command; bad input ends the process with a sentence and exit code 1.

    Args:
      kind: the settings.
      run: the command; an int that it returns is the exit code.
      argv: the command line; sys.argv when left out.
    """
    words = list(sys.argv if argv is None else argv)
    if {*HELP} & {*words[1:]}:
        print(help_of(kind))
        return
    tf.get_logger().addFilter(_not_retraced)
    try:
        asked = given(kind, words)
        if asked.get("tensorboard"):
            training.need_tensorboard()
        if asked.get("mlflow"):
            tracking.need_mlflow()
        code = run(kind(**asked))
    except (KeyboardInterrupt, Exception) as error:
        if os.environ.get("FER_TF_TRACEBACK"):
            raise
        if isinstance(error, KeyboardInterrupt) or "KeyboardInterrupt" in str(getattr(error, "message", "")):
            more = "; the same command goes on from the last checkpoint" if issubclass(kind, Training) else ""
            print(f"interrupted{more}.", file=sys.stderr)
            workers.leave(130)
            sys.exit(130)
        if not (sentence := in_a_sentence(error)):
            if workers.several():
                traceback.print_exc()
                workers.leave(1)
            raise
        print(f"error: {sentence}", file=sys.stderr)
        workers.leave(1)
        sys.exit(1)
    if isinstance(code, int) and code:
        sys.exit(code)


def in_a_sentence(error: Exception) -> str:
    """What is said of bad input, a full disk and the like; empty of an error that is ours."""
    if files.is_full(error):
        where = f" of {Path(error.filename).parent}" if isinstance(error, OSError) and error.filename else ""
        return f"The disk{where} is full: make room and give the same command again, which goes on where it stood."
    if isinstance(error, tf.errors.OpError):  # a reader's ValueError, out of a running tf.data pipeline
        return error.message.split("ValueError: ")[1].splitlines()[0] if "ValueError: " in error.message else ""
    known = (ValueError, OSError, FloatingPointError, ImportError, flags.Error, devices.Refused, workers.Lost)
    return str(error) if isinstance(error, known) else ""


def _not_retraced(record: Any) -> bool:
    """Each fold has networks, and so graphs, of its own, which TensorFlow takes for one that is traced ever again."""
    return "retracing" not in record.getMessage()


def given(kind: type, words: Sequence[str]) -> dict[str, Any]:
    """{field: value} of the flags that a command line has.

    Args:
      kind: the settings.
      words: the command line with the program's name.
    Raises:
      absl.flags.Error: an unknown flag, or a value that it cannot have.
      ValueError: a word that is no flag.
    """
    made = define(kind)
    rest = made(list(words), known_only=bool(kind.REST))[1:]
    if rest and not kind.REST:
        raise ValueError(f"Unknown argument {rest[0]!r}: flags look like --name=value; --help lists them.")
    fields = [field.name for field in dataclasses.fields(kind) if field.name != kind.REST]
    present = {name: made[flag_name(name)] for name in fields if made[flag_name(name)].present}
    values = {n: tuple(f.value) if isinstance(f.value, list) else f.value for n, f in present.items()}
    return values | ({kind.REST: tuple(rest)} if rest else {})


def define(kind: type) -> flags.FlagValues:
    """The flag of each field: its name, type, default, help, bounds and choices."""
    made = flags.FlagValues()
    for field in (field for field in dataclasses.fields(kind) if field.name != kind.REST):
        name, default, known = flag_name(field.name), field.default, described(kind, field.name)
        base, options = typed(kind, field.name)[0], {"flag_values": made}
        bounds = {"lower_bound": known["low"], "upper_bound": known["high"]}
        if base is tuple:
            several = flags.DEFINE_multi_string if known["repeated"] else flags.DEFINE_list
            several(name, list(default), known["words"], **options)
        elif allowed := choices(kind, field.name):
            flags.DEFINE_enum(name, default, list(allowed), known["words"], **options)
        elif base is bool:
            flags.DEFINE_bool(name, default, known["words"], **options)
        elif base is int:
            flags.DEFINE_integer(name, default, known["words"], **bounds, **options)
        elif base is float:
            flags.DEFINE_float(name, default, known["words"], **bounds, **options)
        else:
            flags.DEFINE_string(name, default, known["words"], **options)
    return made


def help_of(kind: type) -> str:
    """What --help prints: the command's docstring, and of each flag its words, values, default and presets' values."""
    lines = [inspect.cleandoc(sys.modules[kind.__module__].__doc__ or ""), "", "flags:"]
    for field in (field for field in dataclasses.fields(kind) if field.name != kind.REST):
        known, allowed = described(kind, field.name), choices(kind, field.name)
        low, high = known["low"], known["high"]
        bounds = [f"at least {low}"] * (low is not None) + [f"at most {high}"] * (high is not None)
        presets = {preset: values[field.name] for preset, values in kind.PRESETS.items() if field.name in values}
        facts = [*([f"one of {', '.join(allowed)}"] if allowed else []), *bounds, f"default {_shown(field.default)}"]
        facts += [f"{preset} {_shown(value)}" for preset, value in presets.items()]
        text = f"--{flag_name(field.name)}: {known['words']} ({'; '.join(facts)})"
        lines += textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False)
    return "\n".join(lines)


def _shown(value: Any) -> str:
    """A setting's value as the command line has it."""
    if value is None or value == "":
        return "none" if value is None else "empty"
    if isinstance(value, (tuple, list)):
        return ",".join(value) or "empty"
    return str(value).lower() if isinstance(value, bool) else str(value)
