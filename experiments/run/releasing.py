"""Weights to be released: with all that they need to be built again, in --weights_dtype, tested as they are stored.

    --dataset=rendered2 --data_dir=F --train_on=rendered2/wild=F --test_on=rendered2/judge=J --weights_out=ed2l.h5

Such a run trains on everybody of the first two and tests on the third. What it exports is the network that it releases.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fer_tf import compat, evaluation, export, pipeline, records, trained_on, weights, workers

from . import provenance, report
from .cross import Elsewhere


def refuse(settings: Elsewhere) -> None:
    """Raises ValueError for --weights_out without --test_on, and with several runs."""
    if settings.weights_out and not settings.test_on:
        raise ValueError(
            "--weights_out releases a network that has learnt from everybody and was tested on others: give --test_on."
        )
    if settings.weights_out and settings.runs > 1:
        raise ValueError(f"--weights_out is of one training, and --runs={settings.runs} makes several: give --runs=1.")


def write(
    settings: Any,
    model: Any,
    path: str | Path,
    *,
    data: str,
    datasets: Sequence[str],
    dtype: str = "float16",
    **more: Any,
) -> dict[str, Any]:
    """Writes a network in one step; gives its provenance.

    Args:
      settings: of the run.
      model: to be released.
      path: the file.
      data: what it was trained on, in words.
      datasets: names of it, and of what its start was trained on: nobody of these may be tested.
      dtype: of its kernels, as `weights.save` has it.
      more: further entries of the provenance.
    """
    origin = provenance.of_weights(
        settings, provenance.experiment(settings), data=data, datasets=datasets, model=model, **more
    )
    return weights.save(model, path, provenance=origin, dtype=dtype)


def stored(path: str | Path) -> Any:
    """The network that a file holds, in float32, as `predict` has it."""
    before = compat.keras.mixed_precision.global_policy().name
    compat.set_policy("float32")
    try:
        return export.rebuild(path)
    finally:
        compat.set_policy(before)


def release(
    settings: Elsewhere,
    model: Any,
    name: str,
    learn: Sequence[records.Record],
    test: pipeline.Batches,
    last: Mapping[str, Any],
    *,
    baseline: str | None = None,
    behind: Sequence[str] = (),
) -> Path | None:
    """Writes --weights_out, once what is stored has been read and tested; without that flag nothing.

    Args:
      settings: of a run with --test_on.
      model: the network in hand, as it was trained.
      name: in the table.
      learn: what it has learnt from.
      test: what it was tested on.
      last: {"run", "fold", "methods": {name: {last|best: `predictions.Answers`}}} of the run.
      baseline: name of what it is held against; none where it stands alone.
      behind: data sets behind the weights that it started from.
    Returns:
      The file.
    """
    if not settings.weights_out or not workers.writes():
        return None
    path, twin = Path(settings.weights_out), export.in_float32(model)
    people = len({record.subject for record in learn} - {None})
    who = f"{len(learn)} faces of {people} people, {trained_on.in_order(learn)}"
    origin = {
        "data": f"{', '.join(settings.learnt_from)}: {who}",
        "datasets": [*settings.learnt_from, *behind],
        "precision": compat.precision_of(model),
        "dtype": settings.weights_dtype,
    }
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "weights.h5"
        write(settings, twin, first, **origin)
        answers = evaluation.predict(stored(first), test)
    metric = measured(settings, answers, name, last, baseline)
    write(settings, twin, path, **origin, metric=metric)
    means = ", ".join(f"{place} {100 * share['macro']:.1f} %" for place, share in metric["as_stored"].items())
    was = 100 * metric["as_trained"]["macro"]
    print(f"{name} is in {path}, {path.stat().st_size / 1e6:.1f} MB, and names of {settings.tested_name} as stored "
          f"{means} (mean over expressions; as trained {was:.1f} %).")  # fmt: skip
    return path


def measured(
    settings: Elsewhere, answers: Any, name: str, last: Mapping[str, Any], baseline: str | None
) -> dict[str, Any]:
    """What is said of weights: what they name as stored, of all and by domain, and how far they are from a baseline.

    Args:
      settings, name, last, baseline: as of `release`.
      answers: of the weights as stored.
    """
    methods = {other: epochs for other, epochs in last["methods"].items() if other == baseline}
    tested = [{"run": last["run"], "fold": last["fold"], "methods": {**methods, name: {"last": answers}}}]
    known, classes = ({name: baseline} if methods else {}), settings.labels
    parts = {"all": report.shares(tested, classes, known), **report.by_part(tested, classes, known)}
    trained = [{**tested[0], "methods": {name: {"last": last["methods"][name]["last"]}}}]
    metric = {
        "tested_on": settings.tested_name,
        "row": name,
        "pictures": len(answers[0]),
        "as_stored": {part: entry["methods"][name] for part, entry in parts.items()},
        "as_trained": report.shares(trained, classes, {})["methods"][name],
    }
    if methods:
        metric["baseline"] = {part: entry["methods"][baseline] for part, entry in parts.items()}
        metric["baseline"]["row"] = baseline
        metric["difference"] = {part: gained(entry["paired"][name]) for part, entry in parts.items()}
    return metric


def gained(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Of an entry of "paired" what a card shows: {micro|macro: {"difference", "interval"}}, in [-1, 1]."""
    return {kind: {k: entry[kind][k] for k in ("difference", "interval")} for kind in ("micro", "macro")}
