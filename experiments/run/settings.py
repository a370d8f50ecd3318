"""The settings of a command: frozen dataclasses, one field a flag.

    @settings.command(PRESETS)
    class Settings(settings.Folds):
        rate: float = setting(1e-4, "Learning rate.", low=0)

    quick = Settings(preset="quick", rate=0.1)     # defaults <- preset <- protocol <- what is given here
    quick.replace(seed=1)                          # as if seed=1 had been given, too

`resolved` does this once, in the constructor; nothing is written afterwards. `command_line` makes the flags, each named
as its field (without the underscore that keeps `lambda_` from being a keyword).
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import numbers
import os
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from fer_tf import catalogue, devices, faces, protocols, records, training

FEEDS = {"auto": "auto", "host": "host", "device": "resident"}
"""Values of --feed -> `device` of `pipeline.Batches`."""

SPLITS = ("auto", "people", "own", "random")
OPTIONS = catalogue.HELP
LABELS = (
    "What the labels of one's own pictures mean, such as 0=anger,1=happiness; none leaves a label's pictures aside."
)
DETECTOR = "What finds faces that nothing marks: dlib, mtcnn (extra), or auto: MTCNN if installed."
WANTED = {
    bool: "true or false is wanted",
    int: "a whole number is wanted",
    float: "a number is wanted",
    str: "a text is wanted",
    tuple: "several texts are wanted, such as ('a', 'b')",
}
"""Type of a setting -> what is said of a value of another type."""


def setting(
    default: Any,
    words: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Iterable[str] = (),
    free: bool = False,
    place: str = "",
    repeated: bool = False,
) -> Any:
    """A field of a command's settings.

    Args:
      default: its value when left out.
      words: of --help.
      low, high: bounds of a number, or of how many texts there are; included.
      choices: the values that a text, or each of several, may have.
      free: whether a run may be taken up again with another value.
      place: "path" where it names a file or folder of this machine, "named" where it is name[/part][=folder]: a
        provenance leaves out the folders.
      repeated: whether its flag is given once for each value, rather than all with commas.
    """
    known = {"words": words, "low": low, "high": high, "choices": tuple(choices)}
    return dataclasses.field(default=default, metadata={**known, "free": free, "place": place, "repeated": repeated})


@dataclass(frozen=True, kw_only=True)
class Base:
    """What `resolved` and `command_line` need of every command's settings."""

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    PAPER: ClassVar[str] = ""
    REST: ClassVar[str] = ""
    """The field that has all words of the command line which are no flags of the command; empty: there may be none."""
    given: ClassVar[Mapping[str, Any]] = {}
    """Of an instance: what its constructor was given."""

    def replace(self, **changes: Any) -> Any:
        """The settings that the constructor makes of what it was given and these changes: another preset counts.

        `dataclasses.replace` keeps the value of every other field instead, whatever it came from.
        """
        return type(self)(**{**self.given, **changes})

    @classmethod
    def by_protocol(cls, values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """{field: value} that a paper's protocol gives; here none.

        Args:
          values: defaults, preset and what was given.
          given: the last of them alone.
        Raises:
          ValueError: something given contradicts the protocol.
        """
        return {}


@dataclass(frozen=True, kw_only=True)
class Training(Base):
    """Those of everything that trains."""

    WORKERS: ClassVar[bool] = False
    """Whether several machines may share its trainings."""

    GROWS: ClassVar[Collection[str]] = ("epochs", "max_steps", "runs")
    """Fields of which a run that is taken up again may have more; not those by which another training of it goes on."""

    preset: str = setting("quick", "Values for all flags that are not given.")
    data_dir: str | None = setting(
        None, "Folder of the data set (rendered: the shipped file when left out).", place="path"
    )
    workdir: str | None = setting(
        None, "Where results go; runs/<experiment>_<preset> when left out.", free=True, place="path"
    )
    seed: int = setting(0, "Seed of weights, order and views.", low=0, high=2**31 - 1)
    precision: str = setting("auto", "Dtype policy.", choices=training.PRECISIONS)
    strategy: str = setting(
        "none", "Replicas: of this machine (mirrored), or of all that TF_CONFIG names.", choices=training.STRATEGIES
    )
    wait: int = setting(300, "With --strategy=multi_worker: seconds for all workers to come.", low=1, free=True)
    device: str = setting(
        "auto", "Where to compute; auto: on a GPU that TensorFlow can use.", choices=devices.DEVICES, free=True
    )
    xla: str = setting("auto", "Compile steps by XLA; auto: long trainings on a GPU.", choices=training.XLA, free=True)
    steps_per_call: int = setting(
        0, "Steps between two looks at the losses; 0: 20 on a GPU, 1 on a CPU.", low=0, free=True
    )
    deterministic: bool = setting(False, "The same bits at every run.")
    epochs: int = setting(20, "Epochs.", low=1)
    batch_size: int = setting(100, "Views a batch.", low=1)
    max_steps: int | None = setting(None, "Stop each training after so many steps.", low=1)
    tensorboard: bool = setting(False, "Write TensorBoard event files too.", free=True)
    mlflow: bool = setting(False, "Give settings and figures to MLflow, too (extra).", free=True)
    progress: bool = setting(True, "Print the progress.", free=True)
    job: str = setting(
        "", "Train this alone, one of what experiments.grid lists, such as run0/fold1/finetune.", free=True
    )
    feed: str = setting("auto", "Whether faces come from the host or live on the GPU.", choices=FEEDS, free=True)


@dataclass(frozen=True, kw_only=True)
class Init(Base):
    """Where one network starts from."""

    init: str = setting("fer_net_fer2013", "Weights to start from: a name in weights/, a file, or none.", place="path")


@dataclass(frozen=True, kw_only=True)
class Folds(Training):
    """Those of every experiment with folds by subject, besides."""

    dataset: str = setting("rendered", "Which data set.", choices=catalogue.names())
    options: tuple[str, ...] = setting((), OPTIONS)
    labels_: tuple[str, ...] = setting((), LABELS)
    protocol: str | None = setting(
        None, "A paper's protocol: data set, classes, folds and runs.", choices=protocols.PROTOCOLS
    )
    fold_order: str = setting(
        "contiguous", "How people, in ascending order, are dealt to the folds.", choices=records.ORDERS
    )
    split: str = setting(
        "auto",
        "What folds are made of; auto: people, or the data set's own parts where nobody is named. By own and random "
        "one person may be trained on and tested.",
        choices=SPLITS,
    )
    manifest: str | None = setting(
        None, "A folds.json: its folds instead of those of --folds and --protocol.", place="path"
    )
    classes: str = setting("seven", "six, seven, six_neutral, eight, or labels with commas.")
    folds: int = setting(5, "Number of folds by subject.", low=2)
    only_folds: str = setting("", "Run just these folds, such as 0,2; all when empty.", free=True)
    runs: int = setting(1, "Repeat everything with seeds seed, seed + 1 ...", low=1)
    validation: float = setting(
        0.0, "Share of a fold's training people who are tested in place of the fold's, to choose by.", low=0, high=0.9
    )
    recalibration: int = setting(
        0, "Training batches that give batch norms their statistics anew before a test; 0 keeps training's.", low=0
    )
    detector: str = setting("dlib", DETECTOR, choices=(*faces.DETECTORS, "auto"))
    strict: bool = setting(True, "A record that does not decode is an error; --strict=false leaves it out.")
    max_subjects: int = setting(0, "Only the first so many subjects; 0 for all.", low=0)

    @property
    def labels(self) -> tuple[str, ...]:
        """The expressions of --classes."""
        return records.classes_of(self.classes)

    @property
    def data_name(self) -> str:
        """The data set that is read, or the one that a prepared file was made from."""
        return catalogue.source(self.dataset, self.data_dir)

    @property
    def trained_on(self) -> str:
        """The data set of whose people nobody may be tested afterwards, with its part where that has its own."""
        return catalogue.people(self.dataset, self.data_dir, catalogue.options(self.dataset, self.options))

    @property
    def tested_name(self) -> str:
        """The data set whose people are tested."""
        return self.trained_on

    @property
    def validation_people(self) -> str:
        """What is to be said of whom --validation tests; nothing without it."""
        return f"tested: {100 * self.validation:g} % of each fold's training people, to choose by" * bool(
            self.validation
        )

    @property
    def tested_elsewhere(self) -> bool:
        """Whether another data set is tested, rather than folds of --dataset."""
        return False

    @property
    def data_protocol(self) -> protocols.Protocol | None:
        """The protocol that deals --dataset."""
        return protocols.PROTOCOLS[self.protocol] if self.protocol else None

    @classmethod
    def by_protocol(cls, values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """Data set, classes, folds and runs of --protocol."""
        if not values["protocol"]:
            return {}
        chosen, name = protocols.PROTOCOLS[values["protocol"]], f"--protocol={values['protocol']}"
        if "classes" in given and records.classes_of(given["classes"]) != chosen.labels:
            raise ValueError(f"{name} has {chosen.classes}: leave --classes={given['classes']} out, or the protocol.")
        fixed = {"classes": chosen.classes, "runs": given.get("runs", chosen.runs.get(cls.PAPER, 1))}
        fixed |= cls.dataset_by(chosen, name, values, given)
        if chosen.folds > 1:
            if given.get("folds", chosen.folds) != chosen.folds:
                raise ValueError(
                    f"{name} has folds {chosen.folds}: leave --folds={given['folds']} out, or the protocol."
                )
            fixed["folds"] = chosen.folds
        return fixed

    @classmethod
    def dataset_by(
        cls, chosen: protocols.Protocol, name: str, values: Mapping[str, Any], given: Mapping[str, Any]
    ) -> dict[str, Any]:
        """{"dataset": that of a protocol}, or nothing where one was given that may stand for it.

        Raises:
          ValueError: one that may not, or a protocol that is tested on another data set; the message shows `name`.
        """
        if chosen.by == "cross":
            raise ValueError(f"{name} is tested on another data set, which this script cannot: see experiments.gcnet.")
        return given_or(chosen, name, given)


def given_or(chosen: protocols.Protocol, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """{"dataset": that of the protocol}, or nothing where one was given; as `Folds.dataset_by`."""
    if "dataset" not in given:
        return {"dataset": chosen.dataset}
    if given["dataset"] not in (chosen.dataset, "prepared", *chosen.stand_ins):
        raise ValueError(f"{name} is of {chosen.dataset}: leave --dataset={given['dataset']} out.")
    return {}


@dataclass(frozen=True, kw_only=True)
class Views(Base):
    """How many of a paper's views are drawn."""

    views: int = setting(0, "Random views an image and epoch; 0 for all (the paper).", low=0)


def command(presets: Mapping[str, Mapping[str, Any]] | None = None, paper: str = "") -> Callable[[type], type]:
    """Makes a class of fields a command's settings: frozen, keywords only, resolved by its constructor.

    Args:
      presets: name -> {field: value}.
      paper: whose number of runs a protocol gives.
    """

    def decorate(cls: type) -> type:
        cls = dataclass(frozen=True, kw_only=True)(cls)
        cls.PRESETS, cls.PAPER = presets or {}, paper
        plain = cls.__init__

        @functools.wraps(plain)
        def construct(self: Any, **given: Any) -> None:
            given = normalised(cls, given)
            plain(self, **resolved(cls, given))
            object.__setattr__(self, "given", given)

        cls.__init__ = construct
        return cls

    return decorate


def normalised(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a constructor is given, each value as its field has it.

    Raises:
      TypeError: no such field.
      ValueError: a value that the field cannot have.
    """
    known = [f.name for f in dataclasses.fields(kind)]
    given = {f"{name}_" if f"{name}_" in known else name: value for name, value in given.items()}  # as flags are called
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            meant = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}."
            raise TypeError(f"{kind.__module__} has no setting {name!r}: {meant}")
    return {name: checked(kind, name, value) for name, value in given.items()}


def resolved(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every field's value: defaults <- preset <- protocol <- what is given, of `normalised`.

    Raises:
      TypeError: a preset of another field than there are.
      ValueError: a value that a field cannot have, or one that contradicts the protocol.
    """
    values = {f.name: f.default for f in dataclasses.fields(kind)}
    if kind.PRESETS:
        values |= kind.PRESETS[given.get("preset", values["preset"])]
    values = {name: checked(kind, name, value) for name, value in {**values, **given}.items()}
    return values | kind.by_protocol(values, given)


def checked(kind: type, name: str, value: Any) -> Any:
    """The value of a field, as its type has it.

    Raises:
      ValueError: another type, outside its bounds or none of its choices.
    """
    known, (base, optional), flag = described(kind, name), typed(kind, name), f"--{flag_name(name)}"
    if value is None and optional:
        return None
    had = converted(base, value, known["place"])
    if had is None:
        raise ValueError(f"{flag}={value!r}: {WANTED[base]}.")
    low, high, measure = known["low"], known["high"], len(had) if base is tuple else had
    if (low is not None and measure < low) or (high is not None and measure > high):
        bounds = f"{high} or less" if low is None else f"{low} or more" if high is None else f"{low} to {high}"
        shown, verb = (",".join(had), "are") if base is tuple else (had, "is")
        raise ValueError(f"{flag}={shown}: {bounds} {verb} wanted.")
    allowed = choices(kind, name)
    for one in had if base is tuple else [had]:
        if allowed and one not in allowed:
            before = f"{','.join(had)}: {one}" if base is tuple else one
            raise ValueError(f"{flag}={before} is none of {', '.join(allowed)}.")
    return had


def converted(base: type, value: Any, place: str) -> Any:
    """The value as `base`, or None where it is none: paths become texts, NumPy's numbers Python's, lists tuples."""
    if base is tuple:
        several = isinstance(value, Iterable) and not isinstance(value, (str, bytes))
        parts = tuple(converted(str, v, place) for v in value) if several else (None,)
        return None if None in parts else parts
    if base is str and place == "path" and isinstance(value, (str, os.PathLike)):
        return os.path.expanduser(value)
    if isinstance(value, bool) and base is not bool:
        return None
    if base is int and isinstance(value, numbers.Integral):
        return int(value)
    if base is float and isinstance(value, numbers.Real):
        return float(value) if math.isfinite(value) else None
    return value if isinstance(value, base) else None


@functools.cache
def typed(kind: type, name: str) -> tuple[type, bool]:
    """The type of a field (bool, int, float, str, or tuple of texts), and whether it may be None, too."""
    hint = typing.get_type_hints(kind)[name]
    optional = type(None) in typing.get_args(hint)
    base = next(a for a in typing.get_args(hint) if a is not type(None)) if optional else hint
    return typing.get_origin(base) or base, optional


def choices(kind: type, name: str) -> tuple[str, ...]:
    """The values that a field may have; empty where it may have any."""
    return described(kind, name)["choices"] or (tuple(kind.PRESETS) if name == "preset" else ())


def described(kind: type, name: str) -> Mapping[str, Any]:
    """What `setting` says of a field; a class that gives another default alone leaves it to the class above.

    Raises:
      TypeError: no class says it.
    """
    for cls in kind.__mro__:
        field = getattr(cls, "__dataclass_fields__", {}).get(name)
        if field is not None and field.metadata:
            return field.metadata
    raise TypeError(f"{kind.__name__}.{name} is not described: use settings.setting.")


def flag_name(field: str) -> str:
    """The flag of a field."""
    return field.rstrip("_")


def field_of(kind: type, flag: str) -> str:
    """The field of a flag, as `flag_name` has it; the flag itself where there is none."""
    return next((f.name for f in dataclasses.fields(kind) if flag_name(f.name) == flag), flag)


def bound(settings: Any) -> dict[str, Any]:
    """{flag: value} that a run keeps when it is taken up again, for flags.json; `precision` says what auto came to."""
    names = [f.name for f in dataclasses.fields(settings) if not described(type(settings), f.name)["free"]]
    values = {name: getattr(settings, name) for name in names}
    if values.get("precision") == "auto":
        values["precision"] = auto_precision(settings)
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
    return {flag_name(k): plain[k] for k in sorted(plain)}


def auto_precision(settings: Any) -> str:
    """What --precision=auto comes to; of workers' settings, on this one's machine."""
    xla = training.workers_xla(settings.xla) if settings.strategy == "multi_worker" else settings.xla
    return training.auto_precision(xla, settings.device)
