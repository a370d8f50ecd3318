"""The command line: flags made of a command's settings, and one sentence for bad input. FLAGS is read here alone."""

from __future__ import annotations

import dataclasses
import os
import sys
import typing
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from absl import app, flags, logging

from .settings import described, flag_name

_made: list[str] = []


def main(kind: type, run: Callable[[Any], Any], argv: Sequence[str] | None = None) -> None:
    """Makes the flags, reads them, and runs the command; bad input ends it with a sentence and exit code 1.

    Args:
      kind: the settings.
      run: the command; an int that it returns is the exit code.
      argv: the command line; sys.argv when left out.
    """
    words = list(sys.argv if argv is None else argv)
    define(kind, words[0])
    logging.set_verbosity(logging.WARNING)
    # each fold has networks, and so graphs, of its own, which TensorFlow takes for one that is traced again and again
    tf.get_logger().addFilter(lambda record: "retracing" not in record.getMessage())

    def guarded(rest: list[str]) -> None:
        if len(rest) > 1:
            raise app.UsageError(f"Unknown argument {rest[1]!r}: flags look like --name=value.")
        try:
            code = run(kind(**given(kind)))
        except (ValueError, OSError, FloatingPointError, ImportError) as error:
            if os.environ.get("FER_TF_TRACEBACK"):
                raise
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)
        except tf.errors.OpError as error:  # a reader's ValueError, out of a running tf.data pipeline
            if os.environ.get("FER_TF_TRACEBACK") or "ValueError: " not in error.message:
                raise
            print(f"error: {error.message.split('ValueError: ')[1].splitlines()[0]}", file=sys.stderr)
            sys.exit(1)
        if isinstance(code, int):
            sys.exit(code)

    app.run(guarded, words)


def define(kind: type, script: str) -> None:
    """The flag of each field; those of a command that ran in this process before are taken back.

    Args:
      kind: the settings.
      script: argv[0], under which --help lists the flags.
    """
    for name in _made:
        delattr(flags.FLAGS, name)
    _made.clear()
    flags.FLAGS.unparse_flags()
    for field in dataclasses.fields(kind):
        name, known = flag_name(field.name), described(kind, field.name)
        _define(name, known["words"], field.default, typing.get_type_hints(kind)[field.name], known, kind)
        flags.FLAGS.register_key_flag_for_module(script, flags.FLAGS[name])
        _made.append(name)


def _define(name: str, words: str, default: Any, hint: Any, known: Any, kind: type) -> None:
    base = next((a for a in typing.get_args(hint) if a is not type(None)), hint) if _optional(hint) else hint
    bounds = {"lower_bound": known["low"], "upper_bound": known["high"]}
    choices = known["choices"] or (tuple(kind.PRESETS) if name == "preset" else ())
    if choices:
        flags.DEFINE_enum(name, default, list(choices), words)
    elif base is bool:
        flags.DEFINE_bool(name, default, words)
    elif base is int:
        flags.DEFINE_integer(name, default, words, **bounds)
    elif base is float:
        flags.DEFINE_float(name, default, words, **bounds)
    elif known["repeated"]:
        flags.DEFINE_multi_string(name, list(default), words)
    elif typing.get_origin(base) is tuple:
        flags.DEFINE_list(name, list(default), words)
    else:
        flags.DEFINE_string(name, default, words)


def _optional(hint: Any) -> bool:
    return type(None) in typing.get_args(hint)


def given(kind: type) -> dict[str, Any]:
    """{field: value} of the flags that the command line has."""
    present = {f.name: flags.FLAGS[flag_name(f.name)] for f in dataclasses.fields(kind)}
    values = {name: flag.value for name, flag in present.items() if flag.present}
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
