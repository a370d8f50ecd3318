"""What a run takes from another one's folder, --source_run: f_S, what f_T starts from, and the generators.

SFEW and EmotioNet are targets of one source and one auxiliary domain (section 4.1): the second is spared both.

    python -m experiments.cycle_at ... --protocol=sfew_2fold --target=sfew=/data/sfew --workdir=runs/sfew
    python -m experiments.cycle_at ... --protocol=emotionet_5fold --target=emotionet=/data/e --source_run=runs/sfew
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fer_tf import records

from ...run import work
from ...run.settings import bound

OF_THE_TARGET = {
    "candidates", "classes", "epoch_views", "f_t_start", "fold_order", "folds", "imagenet", "judge_epochs", "manifest",
    "preset", "protocol", "rows", "runs", "source_run", "split", "t", "target", "target_epochs",
    "target_labels", "target_network", "test_on", "validation",
}  # fmt: skip
"""Flags in which a run may differ from the one whose f_S and generators it has."""


def home(settings: Any, place: Path) -> Path:
    """The folder of a run's source/ and generators: its own, or that of the same run in --source_run."""
    return Path(settings.source_run) / place.name if settings.source_run else place


def refuse_undone(settings: Any, folder: Path) -> None:
    """Raises ValueError where a training of --source_run is not done, which would be made there."""
    if settings.source_run and not (folder / "done.json").is_file():
        raise ValueError(f"--source_run={settings.source_run}: {folder} is not done; finish that run first.")


def classes(settings: Any) -> tuple[str, ...]:
    """Those of f_S: the run's own, or --source_run's, which may have more than the target.

    Raises:
      ValueError: that run had other settings, or f_S does not know all expressions of the target.
    """
    if not settings.source_run:
        return settings.labels
    folder = Path(settings.source_run)
    before, now = work.read(folder / "flags.json"), bound(settings)
    for name in sorted({*before, *now} - OF_THE_TARGET):
        if before.get(name) != now.get(name):
            raise ValueError(
                f"--source_run={folder} has --{name}={before.get(name)}, and here it is {now.get(name)}: f_S and the "
                "generators would be others. Give the same."
            )
    known = records.classes_of(before["classes"])
    if missed := [name for name in settings.labels if name not in known]:
        raise ValueError(f"--source_run={folder}: its f_S does not know {', '.join(missed)}.")
    return known
