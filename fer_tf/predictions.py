"""What each method named each tested picture: predictions.npz, beside metrics.json, from which all else is counted.

    answers = predictions.read("runs/ed2l_quick/predictions.npz")
    answers.methods["ED2L"]["last"].named == answers.label              # (M,) bool, one row a picture of a training
    predictions.compared(answers, {"ED2L": "Baseline"})                 # who beats whom, as metrics.json has it

One row a tested picture of each (run, fold). The columns, all of M rows:

    run, fold       int32, which training
    sha256          of the picture as it is stored (`records.content_hash`); picture: its name on no particular machine
    subject         who is seen, "" where the data set does not say
    label           int16, index into `classes`
    named_<i>_<epoch>           int16, what method i names it; epoch: last, or best (picked on test)
    probabilities_<i>_<epoch>   (M, K) float32, where the method has some

and `methods` (names), `classes` (K names), `schema` 1. No TensorFlow: NumPy alone reads it.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fer_tf import files, paired
from fer_tf.records import Record, content_hashes

SCHEMA = 1
FILE = "predictions.npz"
COLUMNS = ("run", "fold", "sha256", "picture", "subject", "label")
EPOCHS = ("last", "best")


class Answers(tuple[np.ndarray, np.ndarray]):
    """(labels, predictions), each (N,) int, that also say of which pictures, and how sure the method was.

    Attributes:
      records: of the N pictures.
      probabilities: (N, K) float32; None where the method has none.
    """

    records: Sequence[Any]
    probabilities: np.ndarray | None

    def __new__(
        cls,
        labels: np.ndarray,
        predictions: np.ndarray,
        records: Sequence[Any],
        probabilities: np.ndarray | None = None,
    ) -> Answers:
        """(labels, predictions) as a tuple of two."""
        made = super().__new__(cls, (labels, predictions))
        made.records, made.probabilities = records, probabilities
        return made

    def where(self, kept: np.ndarray) -> Answers:
        """Those that are kept, (N,) bool."""
        probabilities = None if self.probabilities is None else self.probabilities[kept]
        shown = [record for record, one in zip(self.records, kept, strict=True) if one]
        return Answers(self[0][kept], self[1][kept], shown, probabilities)


class Answer(NamedTuple):
    """What one epoch of a method named: (M,) int, and its (M, K) float32 probabilities, None where it has none."""

    named: np.ndarray
    probabilities: np.ndarray | None


@dataclass(frozen=True)
class Predictions:
    """The columns of the file, each (M,), and methods: name -> {last|best: `Answer`}."""

    classes: tuple[str, ...]
    run: np.ndarray
    fold: np.ndarray
    sha256: np.ndarray
    picture: np.ndarray
    subject: np.ndarray
    label: np.ndarray
    methods: Mapping[str, Mapping[str, Answer]]

    def __len__(self) -> int:
        return len(self.label)

    @property
    def cells(self) -> list[tuple[int, int]]:
        """(run, fold) of each training, in the rows' order."""
        return list(dict.fromkeys(zip(self.run.tolist(), self.fold.tolist(), strict=True)))

    @property
    def people_known(self) -> bool:
        """Whether every picture says who is seen."""
        return bool((self.subject != "").all())

    @property
    def people(self) -> np.ndarray:
        """(M,) str: who is seen; a picture of nobody's is one by itself, the same one in every run."""
        return np.where(self.subject == "", np.char.add("sha256:", self.sha256), self.subject)


def gathered(tested: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> Predictions | None:
    """The rows of what was tested; None where it does not say which pictures those were.

    Args:
      tested: {"run", "fold", "methods": {name: {last|best: `Answers`}}} of each training.
      classes: K names.
    Raises:
      ValueError: two methods of a training were tested on other pictures.
    """
    listed: list[Record] = []
    rows: dict[str, list[Any]] = {"run": [], "fold": [], "label": []}
    for entry in tested:
        every = [pair for epochs in entry["methods"].values() for pair in epochs.values()]
        if not all(len(getattr(pair, "records", ())) == len(pair[0]) for pair in every):
            return None
        if not all(_same_pictures(every[0], pair) for pair in every[1:]):
            raise ValueError(
                f"run {entry['run']}, fold {entry['fold']}: its methods were tested on different pictures."
            )
        listed += every[0].records
        rows["label"].append(every[0][0])
        for name in ("run", "fold"):
            rows[name].append(np.full(len(every[0][0]), entry[name]))
    hashes, names = _hashes(listed), {id(r): r.key() for r in listed}
    return Predictions(
        classes=tuple(classes),
        run=np.concatenate(rows["run"]).astype(np.int32),
        fold=np.concatenate(rows["fold"]).astype(np.int32),
        sha256=np.array([hashes[id(r)] for r in listed]),
        picture=np.array([names[id(r)] for r in listed]),
        subject=np.array([r.subject or "" for r in listed]),
        label=np.concatenate(rows["label"]).astype(np.int16),
        methods={
            name: {epoch: _joined([e["methods"][name][epoch] for e in tested]) for epoch in EPOCHS if epoch in epochs}
            for name, epochs in tested[0]["methods"].items()
        },
    )


def _same_pictures(first: Any, other: Any) -> bool:
    """Whether two `Answers` are of the same pictures in the same order."""
    if not np.array_equal(first[0], other[0]):
        return False
    return first.records is other.records or [r.key() for r in first.records] == [r.key() for r in other.records]


def _hashes(listed: Sequence[Record]) -> dict[int, str]:
    """id of each record -> `records.content_hash`, each read once; a face that was cut has that of its picture."""
    once = {id(r): r for r in listed}
    bare = [Record(r.info.get("cut_from", r.image), info=_hash_of(r)) for r in once.values()]
    return dict(zip(once, content_hashes(bare), strict=True))


def _hash_of(record: Record) -> dict[str, Any]:
    return {"sha256": record.info["sha256"]} if "sha256" in record.info else {}


def _joined(pairs: Sequence[Any]) -> Answer:
    """One method's answers of all trainings."""
    named = np.concatenate([pair[1] for pair in pairs]).astype(np.int16)
    parts = [getattr(pair, "probabilities", None) for pair in pairs]
    if any(part is None for part in parts):
        return Answer(named, None)
    return Answer(named, np.concatenate([np.asarray(part, np.float32) for part in parts]))


def write(path: str | os.PathLike[str], answers: Predictions) -> None:
    """Writes the file, in one step; the same answers give the same bytes."""
    columns: dict[str, np.ndarray] = {name: getattr(answers, name) for name in COLUMNS}
    for i, epochs in enumerate(answers.methods.values()):
        for epoch, answer in epochs.items():
            columns[f"named_{i}_{epoch}"] = answer.named
            if answer.probabilities is not None:
                columns[f"probabilities_{i}_{epoch}"] = answer.probabilities
    about = {"schema": np.array(SCHEMA), "classes": np.array(answers.classes), "methods": np.array([*answers.methods])}
    with files.replacing(os.fspath(path)) as part:
        given: dict[str, Any] = {**about, **columns}
        np.savez_compressed(part, **given)


def read(path: str | os.PathLike[str]) -> Predictions:
    """The file that `write` wrote.

    Raises:
      FileNotFoundError: it is not there.
      ValueError: it is damaged, or of another version.
    """
    columns = _columns(path)
    try:
        if columns["schema"] != SCHEMA:
            raise ValueError(f"{path} has schema {columns['schema']}, and {SCHEMA} is read here: test the run again.")
        methods: dict[str, dict[str, Answer]] = {}
        for i, name in enumerate(columns["methods"].tolist()):
            epochs = [epoch for epoch in EPOCHS if f"named_{i}_{epoch}" in columns]
            methods[name] = {
                e: Answer(columns[f"named_{i}_{e}"], columns.get(f"probabilities_{i}_{e}")) for e in epochs
            }
        own = {name: columns[name] for name in COLUMNS}
        sizes = {len(c) for c in [*own.values(), *(a.named for epochs in methods.values() for a in epochs.values())]}
        if len(sizes) != 1:
            raise ValueError(f"{path} is damaged, its columns differ in length: test the run again.")
        return Predictions(classes=tuple(columns["classes"].tolist()), methods=methods, **own)
    except KeyError as error:
        raise ValueError(f"{path} is damaged, it lacks {error}: test the run again.") from error


def _columns(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """All arrays of the file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise
    except (zipfile.BadZipFile, EOFError, AttributeError, ValueError, OSError) as error:
        raise ValueError(f"{path} is damaged ({error}): test the run again.") from error


def answered(answers: Predictions, first: str, second: str, epoch: str = "last") -> paired.Answered:
    """What two methods named the same pictures, the first one being the baseline."""
    numbers = {cell: i for i, cell in enumerate(answers.cells)}
    cells = np.array([numbers[cell] for cell in zip(answers.run.tolist(), answers.fold.tolist(), strict=True)])
    named = (answers.methods[method][epoch].named.astype(np.int64) for method in (first, second))
    return paired.Answered(answers.people, cells, answers.label.astype(np.int64), *named)


def compared(answers: Predictions, baselines: Mapping[str, str]) -> dict[str, Any]:
    """Every method beside its baseline, at the last epoch: the entry "paired" of metrics.json.

    Args:
      answers: of a run.
      baselines: method -> its baseline.
    Returns:
      {method: {"baseline", and what `paired.judged` gives of all of them together}}.
    Raises:
      ValueError: a method that was not tested; the message names it.
    """
    if strangers := sorted({*baselines, *baselines.values()} - {*answers.methods}):
        raise ValueError(f"{strangers[0]!r} was not tested: there are {', '.join(answers.methods)}.")
    known, size = answers.people_known, len(answers.classes)
    found = {
        method: paired.compare(answered(answers, baseline, method), size, known=known)
        for method, baseline in baselines.items()
    }
    return {method: {"baseline": baselines[method], **entry} for method, entry in paired.judged(found).items()}


def table(compared: Mapping[str, Mapping[str, Any]]) -> str:
    """A plain-text table of "paired" of metrics.json: the differences to the baseline, and what they are worth."""
    header = ("method - baseline", "", "pooled", "95 %", "by training", "better", "worse", "p", "")
    rows, doubts = [header], dict[str, dict[str, list[str]]]()
    for method, entry in compared.items():
        for name in paired.MEASURES:
            one, pairs = entry[name], entry[name]["pairs"]
            low, high = (f"{100 * end:+.2f}" for end in one["interval"])
            mean = f"{100 * pairs['mean']:+.2f}" + (f" +- {100 * pairs['std']:.2f}" if len(pairs["values"]) > 1 else "")
            who = f"{method} - {entry['baseline']}" if name == paired.MEASURES[0] else ""
            signs = str(pairs["better"]), str(pairs["worse"]), f"{pairs['p_holm']:.2g}"
            rows.append((who, name, f"{100 * one['difference']:+.2f}", f"{low} to {high}", mean, *signs, one["words"]))
            if "why" in one:
                doubts.setdefault(one["why"], {}).setdefault(method, []).append(name)
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    lines = [
        "  ".join(c.ljust(w) if i in (0, 1, 8) else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True)))
        for r in rows
    ]
    people = next(iter(compared.values()))["people"]
    of = f"{people['count']} {'people' if people['known'] else 'pictures of nobody known'}"
    head = [
        f"differences in percentage points, last epoch: pooled, with a bootstrap over {of};",
        "by pairs of trainings (seed and fold), with the exact sign test's p (Holm)",
    ]
    foot = [
        f"{paired.CHANCE}: {why} ({'; '.join(f'{method} ' + ', '.join(names) for method, names in which.items())})"
        for why, which in doubts.items()
    ]
    lines = [*head, lines[0], "  ".join("-" * w for w in widths), *lines[1:], *foot]
    return "\n".join(line.rstrip() for line in lines)
