"""A command that gives rows of a paper's tables, or weights that others start from: its words, and what it needs.

step = Step("ck_plus", "ed2l", ("--rows=baseline,ed2l",), ("--protocol=ck_plus_7_10fold",), main="ck_plus")
words(step, Chosen({"ck_plus": "/data/CK+"}, "paper"), {})     # ["--preset=paper", "--rows=...", ...]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from fer_tf import catalogue

ANOTHER = "another method, whose figure the paper takes over or measured itself: this package has no code of it"
"""Why most of a table's rows are not run."""


class Start(NamedTuple):
    """Weights that a step starts from: the step that makes them, and their place in its work folder."""

    step: str
    path: str


@dataclass(frozen=True)
class Step:
    """A command.

    Attributes:
      name: of the step, and of its work folder.
      experiment: the command.
      words: flags that say what is compared.
      of_data: flags that go with the paper's data: its protocol.
      main: data sets of --dataset and --data_dir, the first that is given; none where it has no such flags.
      beside: other flags that name data sets -> these, as name[/part].
      starts: flag -> weights.
      needs_starts: whether it can do nothing without them.
      out: the file of --out, of a command that is no experiment with folds: it runs without the grid.
      names_data: whether it has --dataset, besides --data_dir.
      note: what is to be known of its rows.
    """

    name: str
    experiment: str
    words: tuple[str, ...] = ()
    of_data: tuple[str, ...] = ()
    main: tuple[str, ...] = ()
    beside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    starts: Mapping[str, Start] = field(default_factory=dict)
    needs_starts: bool = False
    out: str = ""
    names_data: bool = True
    note: str = ""

    @property
    def wanted(self) -> list[str]:
        """The data sets that it reads; of several that may stand for each other the last, which all have a name for."""
        return [*self.main[-1:], *(place.partition("/")[0] for places in self.beside.values() for place in places)]

    @property
    def known(self) -> set[str]:
        """All data sets that it could read."""
        return {*self.main, *self.wanted}


class Row(NamedTuple):
    """A row of a paper's table.

    Attributes:
      table, name: as printed.
      printed: column -> percent: accuracy, or expressions and average.
      step: of `Step`; empty where it cannot be run.
      method: its name in that step's metrics.json.
      measure: micro or macro, of the accuracy.
      entry: of metrics.json, where the methods are: methods, or source.
      why: it is not run.
    """

    table: str
    name: str
    printed: Mapping[str, float]
    step: str = ""
    method: str = ""
    measure: str = "micro"
    entry: str = "methods"
    why: str = ""


class Paper(NamedTuple):
    """A paper: its steps in an order in which they can be done, its rows, and what else its tables are."""

    steps: tuple[Step, ...]
    rows: tuple[Row, ...]
    without_figures: Mapping[str, str]

    def step(self, name: str) -> Step:
        """The step of a name."""
        return next(step for step in self.steps if step.name == name)


class Chosen(NamedTuple):
    """What is to be run on.

    Attributes:
      places: data set -> its folder, or a file that `prepare` wrote.
      preset: of every command.
      rendered: the rendered data set that stands for all others; empty: it is the papers' own.
    """

    places: Mapping[str, str]
    preset: str
    rendered: str = ""


def missing(step: Step, chosen: Chosen) -> list[str]:
    """The data sets that a step needs and that are not given."""
    if chosen.rendered:
        return []
    lacks = [name for name in step.wanted if name not in chosen.places and name not in step.main]
    return [step.main[-1]] * (bool(step.main) and not {*step.main} & {*chosen.places}) + lacks


def words(step: Step, chosen: Chosen, starts: Mapping[str, str]) -> list[str]:
    """The flags of a step's command, without its work folder; <name> stands where a data set is not given.

    Args:
      step: it.
      chosen: preset and data.
      starts: flag -> file or folder of the weights.
    """
    made = [f"--preset={chosen.preset}", *step.words]
    given = [f"--{flag}={path}" for flag, path in starts.items()]
    if chosen.rendered:
        made += [f"--dataset={chosen.rendered}"] * step.names_data
        made += [f"--data_dir={place}" for place in chosen.places.values()] * step.names_data
        return made + [f"--test_on={chosen.rendered}/posed"] * ("test_on" in step.beside) + given
    made += step.of_data
    if step.main:
        name = next((name for name in step.main if name in chosen.places), step.main[-1])
        place = chosen.places.get(name, f"<{name}>")
        made += [f"--dataset={_read_as(name, place)}"] * step.names_data + [f"--data_dir={place}"]
    for flag, names in step.beside.items():
        made.append(f"--{flag}={','.join(_named(name, chosen.places) for name in names)}")
    return made + given


def _read_as(name: str, place: str) -> str:
    """What --dataset calls it: a file that `prepare` wrote is "prepared"."""
    return "prepared" if place.endswith(".h5") and name not in catalogue.RENDERED else name


def _named(place: str, places: Mapping[str, str]) -> str:
    """name[/part]=folder."""
    name, slash, part = place.partition("/")
    folder = places.get(name, f"<{name}>")
    return f"{_read_as(name, folder)}{slash}{part}={folder}"


def read_places(given: Sequence[str], dataset: str, known: set[str]) -> dict[str, str]:
    """{data set: place} of --data_dir.

    Args:
      given: name=place, or the place of `dataset`.
      dataset: of --dataset.
      known: data sets of the paper.
    Raises:
      ValueError: no such data set, none that the paper has, or one twice.
    """
    places: dict[str, str] = {}
    for text in given:
        name, equals, place = text.partition("=")
        if dataset and (not equals or name not in catalogue.names()):
            name, place = dataset, text
        elif not equals:
            raise ValueError(f"--data_dir={text}: of which data set? Give it as in ck_plus={text}, or --dataset, too.")
        if name not in known:
            raise ValueError(f"--data_dir={text}: {name or 'nothing'} is no data set of this paper's tables, which are "
                             f"on {', '.join(sorted(known))}.")  # fmt: skip
        if name in places or not place:
            raise ValueError(f"--data_dir={text}: {'one place a data set' if place else 'the place is left out'}.")
        places[name] = str(Path(place).expanduser())
    return places


def there(places: Mapping[str, str]) -> dict[str, str]:
    """Those that are there."""
    return {name: place for name, place in places.items() if Path(place).exists()}
