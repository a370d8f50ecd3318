"""`fer-tf` anywhere, `python -m experiments` in a checkout: lists the commands, and runs one.

fer-tf                                  # the list
fer-tf predict --image=photo.jpg        # python -m experiments.predict --image=photo.jpg
"""

from __future__ import annotations

import ast
import difflib
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from fer_tf import keras_settings

HERE = Path(__file__).parent


def commands() -> dict[str, str]:
    """Name -> the first line of its docstring; nothing is imported."""
    files = sorted(path for path in HERE.glob("*.py") if not path.stem.startswith("_"))
    return {
        path.stem: (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0]
        for path in files
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command that the first word names, with the words after it; lists the commands without one."""
    words, known = list(sys.argv[1:] if argv is None else argv), commands()
    if not words or words[0] in ("-h", "--help", "help"):
        wide = max(map(len, known))
        print("fer-tf <command> --flag=value ...; fer-tf <command> --help lists its flags.\n")
        print("\n".join(f"  {name:<{wide}}  {line}" for name, line in known.items()))
        return
    if words[0] not in known:
        near = difflib.get_close_matches(words[0], known, 1)
        meant = f"; did you mean {near[0]}?" if near else "."
        sys.exit(f"error: {words[0]!r} is no command{meant} `fer-tf` lists them.")
    try:
        keras_settings.refuse_others()
    except ImportError as error:
        sys.exit(f"error: {error}")
    try:
        module = importlib.import_module(f".{words[0]}", __package__)
        command_line = importlib.import_module(".run.command_line", __package__)
    except KeyboardInterrupt:  # while TensorFlow is read
        print("interrupted.", file=sys.stderr)
        sys.exit(130)
    command_line.main(module.Settings, module.run, [f"fer-tf {words[0]}", *words[1:]])


if __name__ == "__main__":
    main()
