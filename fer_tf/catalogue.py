"""The data sets by name: their records, what can be chosen of each, and a table of what their files say.

records = catalogue.load("ck_plus", "/data/CK+", {"frames": "all"})
records = catalogue.load_place("fer2013/private_test=/data/fer2013")
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from fer_tf import archives, datasets, protocols
from fer_tf.datasets import prepared
from fer_tf.records import Record

HELP = "What is read of the data set, such as frames=all,light=Weak,levels=3+4; see its file in fer_tf/datasets."


def names() -> list[str]:
    """Names of the modules in fer_tf/datasets."""
    return sorted(module.name for module in pkgutil.iter_modules(datasets.__path__))


def module(name: str) -> ModuleType:
    """The module of a data set.

    Raises:
      ValueError: there is none of that name; the message lists them.
    """
    if name not in names():
        raise ValueError(f"{name!r} names no data set: give one of {', '.join(names())}.")
    return importlib.import_module(f"fer_tf.datasets.{name}")


YES, ASKED, NO = "yes", "asked", "no"


def may_be_shown(name: str) -> str:
    """Whether pictures of a data set may be shown to whoever a page is passed on to, as its module's SHOWN says.

    Returns:
      YES; ASKED of the user's own pictures, where he or she says so; NO where the module says nothing: what is lent to
      researchers under an agreement may as a rule not be passed on.
    """
    return getattr(module(name), "SHOWN", NO)


RENDERED = ("rendered", "rendered2")
"""The data sets of rendered people, which have the parts lab, posed and wild of people of their own."""


def parameters(name: str) -> dict[str, Any]:
    """{argument of the data set's `records`: default}, without `root` and `labels`: what can be chosen of it."""
    known = inspect.signature(module(name).records).parameters
    return {n: p.default for n, p in known.items() if n not in ("root", "labels")}


def load(
    name: str,
    root: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    labels: Sequence[str] | Mapping[str, str] = (),
) -> list[Record]:
    """The records of a data set.

    Args:
      name: of a module in fer_tf/datasets.
      root: its folder as its owner ships it, or as others have repacked it; None where the package ships it.
      options: arguments of the module's `records`.
      labels: what the user's own labels mean, such as 0=anger, for a data set that is the user's own.
    Raises:
      ValueError: no such data set, no such option of it, labels for one that has its own, or a file of it is damaged.
      FileNotFoundError: it is not there; the message shows what is expected.
    """
    if strangers := {*(options or {})} - {*parameters(name)}:
        raise ValueError(f"{name} has no option {min(strangers)!r}: it has {_all(name)}.")
    given = dict(options or {})
    if labels:
        if "labels" not in inspect.signature(module(name).records).parameters:
            raise ValueError(f"--labels is for one's own pictures (folder): {name} has labels of its own.")
        given["labels"] = labels
    place = None if root is None else Path(root).expanduser()
    try:
        return module(name).records(place, **given)
    except FileNotFoundError as error:
        told = archives.hint(place) if place and "\n" in str(error) else ""  # where it shows the tree
        raise FileNotFoundError(f"{told}{error}") from error


def load_place(text: str) -> list[Record]:
    """The records of name[/part][=folder]; a part is an option of the data set, or one of its splits.

    Raises:
      ValueError: no such data set.
      FileNotFoundError: it is not there.
    """
    place, _, root = text.partition("=")
    name, _, part = place.partition("/")
    if name not in names():
        raise ValueError(f"{text!r} names no data set: give name[/part][=folder], one of {', '.join(names())}.")
    by_option = bool(part) and "part" in parameters(name)
    listed = load(name, root or None, {"part": part} if by_option else {})
    return [r for r in listed if r.split == part] if part and not by_option else listed


def place_of(text: str) -> str:
    """name[/part] of name[/part][=folder], which may be shown to others; a prepared file's name is its data set's."""
    place, _, root = text.partition("=")
    name, slash, part = place.partition("/")
    return f"{source(name, root or None)}{slash}{part}"


def source(name: str, root: str | Path | None) -> str:
    """The data set itself, or the one that a prepared file was made from."""
    return prepared.about(root)["dataset"] if name == "prepared" else name


def people(name: str, root: str | Path | None, given: Mapping[str, Any]) -> str:
    """Whose people are read: the data set, and its part where each part has people of its own (rendered/wild).

    The default part bears the data set's name alone: whoever has seen "rendered" may have seen anybody of it.

    Args:
      name, root: of the data set, or of a prepared file.
      given: its options; a prepared file has its own.
    """
    own = source(name, root)
    if own not in RENDERED:
        return own
    usual = parameters(own)["part"]
    part = (prepared.about(root)["options"] if name == "prepared" else given).get("part", usual)
    return own if part == usual else f"{own}/{part}"


def frame_rule(name: str, root: str | Path | None, options: Mapping[str, Any]) -> str:
    """Which frames of a sequence are taken, in words."""
    if name == "prepared":
        return prepared.about(root)["frames"]
    return options.get("frames") or str(getattr(module(name), "FRAMES", "all frames of the data set"))


def options(name: str, given: Sequence[str]) -> dict[str, Any]:
    """{argument of the data set's `records`: value} of argument=value pairs; several values are joined by "+".

    Raises:
      ValueError: no such argument, or a value of another kind than its default; the message lists the arguments.
    """
    known, values = parameters(name), {}
    for pair in given:
        argument, equals, text = pair.partition("=")
        if not equals or argument not in known:
            raise ValueError(f"options={pair}: {name} has {_all(name)}.")
        try:
            values[argument] = _like(known[argument], text)
        except ValueError as error:
            raise ValueError(f"options={pair}: a value like {_shown(known[argument])} is wanted.") from error
    return values


FORMS = ("aligned", "cropped", "sequences")
"""Options that choose a form of a data set, or list what a paper does not print: a protocol leaves them open."""


def refuse_others(protocol: protocols.Protocol, given: Mapping[str, Any]) -> None:
    """Raises ValueError where a data set is read otherwise than the protocol has it; the message names the option."""
    wanted = {**parameters(protocol.dataset), **protocol.options}
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


def _all(name: str) -> str:
    """The options of a data set with their defaults."""
    return ", ".join(f"{n}={_shown(v)}" for n, v in parameters(name).items()) or "no options"


CITED = re.compile(r"\n\n((?:(?!\n\n).)*?)\n?Licence:", re.DOTALL)
"""What stands before the licence in its paragraph: the citation."""


def sentences(doc: str, word: str) -> str:
    """The sentences of a docstring from `word` to the end of the paragraph or the next such word."""
    after = re.search(rf"{word}:?\s+(.*?)(?=\n\n|Licence:|Used by|\Z)", doc, re.DOTALL)
    return " ".join(after.group(1).split()) if after else "-"


def table(width: int = 118) -> str:
    """Every data set: what it is, tree, labels, citation and licence, who uses it how, its options and protocols."""
    lines: list[str] = []
    for name in names():
        own = module(name)
        doc, cited = inspect.cleandoc(own.__doc__ or ""), CITED.search(inspect.cleandoc(own.__doc__ or ""))
        rows = {
            "": doc.split("\n\n")[0],
            "tree": getattr(own, "TREE", "-"),
            "labels": getattr(own, "LABELS", "-"),
            "citation": (cited.group(1) if cited else "") or "-",
            "licence": sentences(doc, "Licence"),
            "used by": sentences(doc, "Used by"),
            "options": ", ".join(f"{n}={_shown(v)}" for n, v in parameters(name).items()) or "-",
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
