"""The data sets that there are: their names, what can be chosen of each, and a table of what their files say."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from fer_tf import datasets, protocols
from fer_tf.datasets import prepared

HELP = "What is read of the data set, such as frames=all,light=Weak,levels=3+4; see its file in fer_tf/datasets."


CITED = re.compile(r"\n\n((?:(?!\n\n).)*?)\s*Licence:", re.DOTALL)
"""What stands before the licence in its paragraph: the citation."""


def names() -> list[str]:
    """Names of the modules in fer_tf/datasets."""
    return sorted(module.name for module in pkgutil.iter_modules(datasets.__path__))


def place_of(text: str) -> str:
    """name[/part] of name[/part][=folder], which may be told to others; a prepared file's name is its data set's."""
    place, _, root = text.partition("=")
    name, slash, part = place.partition("/")
    return f"{prepared.about(root or None)['dataset']}{slash}{part}" if name == "prepared" else place


def options(module: Any, given: Sequence[str]) -> dict[str, Any]:
    """{argument of the module's `records`: value} of name=value pairs; several values are joined by "+".

    Raises:
      ValueError: no such argument, or a value of another kind than its default; the message lists the arguments.
    """
    known = {n: p.default for n, p in inspect.signature(module.records).parameters.items() if n != "root"}
    found = {}
    for pair in given:
        name, equals, text = pair.partition("=")
        if not equals or name not in known:
            shown = ", ".join(f"{n}={_shown(v)}" for n, v in known.items()) or "no options"
            raise ValueError(f"--options={pair}: {module.__name__.rpartition('.')[2]} has {shown}.")
        try:
            found[name] = _like(known[name], text)
        except ValueError as error:
            raise ValueError(f"--options={pair}: a value like {_shown(known[name])} is wanted.") from error
    return found


FORMS = ("aligned", "cropped", "sequences")
"""Options that choose a form of a data set, or list what a paper does not print: a protocol leaves them open."""


def refuse_others(protocol: protocols.Protocol, given: Mapping[str, Any]) -> None:
    """Raises ValueError where a data set is read otherwise than the protocol has it; the message names the option."""
    module = importlib.import_module(f"fer_tf.datasets.{protocol.dataset}")
    known = {n: p.default for n, p in inspect.signature(module.records).parameters.items() if n != "root"}
    wanted = {**known, **protocol.options}
    for name, value in given.items():
        if name not in wanted or name in FORMS:
            continue
        same = {*value} == {*wanted[name]} if isinstance(value, (list, tuple)) else value == wanted[name]
        if not same:
            raise ValueError(
                f"{name}={_shown(value)} is another data set than the protocol's, which has {_shown(wanted[name])}: "
                f"leave the option or --protocol out, or prepare {protocol.dataset} without it."
            )


def _like(default: Any, text: str) -> Any:
    """The text as a value of the default's kind."""
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    if isinstance(default, int):
        return int(text)
    if isinstance(default, (tuple, list)):
        return tuple(_like(default[0], part) for part in text.split("+"))
    return text


def _shown(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


CITED = re.compile(r"\n\n((?:(?!\n\n).)*?)\s*Licence:", re.DOTALL)
"""What stands before the licence in its paragraph: the citation."""


def said(doc: str, word: str) -> str:
    """The sentences of a docstring from `word` to the end of the paragraph or the next such word."""
    after = re.search(rf"{word}:?\s+(.*?)(?=\n\n|Licence:|Used by|\Z)", doc, re.DOTALL)
    return " ".join(after.group(1).split()) if after else "-"


def table(width: int = 118) -> str:
    """Every data set: what it is, tree, labels, citation and licence, who uses it how, its options and protocols."""
    lines: list[str] = []
    for name in names():
        module = importlib.import_module(f"fer_tf.datasets.{name}")
        doc, cited = inspect.cleandoc(module.__doc__ or ""), CITED.search(inspect.cleandoc(module.__doc__ or ""))
        known = {n: p.default for n, p in inspect.signature(module.records).parameters.items() if n != "root"}
        rows = {
            "": doc.split("\n\n")[0],
            "tree": getattr(module, "TREE", "-"),
            "labels": getattr(module, "LABELS", "-"),
            "citation": (cited.group(1) if cited else "") or "-",
            "licence": said(doc, "Licence"),
            "used by": said(doc, "Used by"),
            "options": ", ".join(f"{n}={_shown(v)}" for n, v in known.items()) or "-",
            "protocols": ", ".join(n for n, p in protocols.PROTOCOLS.items() if p.dataset == name) or "-",
        }
        for title, text in rows.items():
            head = f"{name if not title else '':<16}{title:<11}"
            if title == "tree":  # its lines stay as they are
                texts = [line.strip() for line in text.splitlines()]
            else:
                texts = textwrap.wrap(" ".join(text.split()), width - len(head))
            lines += [f"{head if not i else '':<{len(head)}}{text}".rstrip() for i, text in enumerate(texts)]
        lines.append("")
    return "\n".join(lines)
