"""folds.json of a run: written once, and never for a run that was trained on other folds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from fer_tf import files, records

from . import work

WHO = ("subjects", "splits", "test", "train", "sha256")
"""What binds of a fold in folds.json."""


def write(
    folder: Path,
    listed: Sequence[records.Record],
    folds: Sequence[records.Fold],
    *,
    listing: bool = False,
    **options: Any,
) -> None:
    """folds.json of a run.

    Args:
      folder: of the run.
      listed, folds, options: as of `records.manifest`.
      listing: whether nothing is to be written: the run lists its jobs.
    Raises:
      ValueError: something was trained in this folder on other folds; the message names who changed.
    """
    file, now = folder / "folds.json", records.manifest(listed, folds, **options)
    if file.is_file() and work.trained(folder):
        refuse_others(file, work.read(file), now)
    elif not listing:
        files.write_json(file, now)


def refuse_others(file: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raises ValueError where a manifest is not of the same people and pictures in the same folds as another."""
    try:
        old, new = ([_held_out(fold) for fold in one["folds"]] for one in (before, now))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file} is damaged: give another --workdir.") from error
    if [{k: f[k] for k in WHO} for f in before["folds"]] == [{k: f[k] for k in WHO} for f in now["folds"]]:
        return
    gone, come = ({*sum(a, [])} - {*sum(b, [])} for a, b in ((old, new), (new, old)))
    said = [f"no longer there: {_few(gone)}"] * bool(gone) + [f"new: {_few(come)}"] * bool(come)
    if not said and old != new:
        said = [f"there are {len(new)} folds, not {len(old)}"] if len(old) != len(new) else []
        moved = [n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b]
        said += [f"fold {moved[0]} held out {_few(old[moved[0]])}, and now {_few(new[moved[0]])}"] if moved else []
    if not said:
        other = [n for n, (a, b) in enumerate(zip(before["folds"], now["folds"], strict=True)) if a != b]
        said = [f"other pictures in fold {', '.join(map(str, other))}"]
    raise ValueError(
        f"{file.parent} holds a run on other folds, so that trained people would be tested; {'; '.join(said)}. Give it "
        "the data and folds that it had to go on with it, or another --workdir."
    )


def _held_out(fold: dict[str, Any]) -> list[str]:
    return fold["subjects"] or fold["splits"]


def _few(names: Collection[str]) -> str:
    shown = records.subject_order(names)
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
