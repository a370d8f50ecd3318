"""How long listing a million pictures and dealing their people to folds takes, and how much memory.

    python -m experiments.benchmark_listing --pictures=1000000

Makes trees of empty files in --workdir (CASIA-WebFace's form, class folders, a list), reads each through its adapter in
a process of its own, deals the people to ten folds in both orders, and removes the trees. Nothing is decoded.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from fer_tf import catalogue, records

from .run import command_line, settings
from .run.settings import setting

FORMS = {"casia_webface": "casia_webface", "class folders": "folder", "list": "folder"}
"""What is listed -> its adapter."""
PEOPLE = 100
"""Pictures of each person."""


@settings.command()
class Settings(settings.Base):
    """How many pictures are listed, and where."""

    pictures: int = setting(1_000_000, "Pictures in each tree.", low=PEOPLE * 20)
    workdir: str = setting("runs/benchmark_listing", "Where the trees are made, and removed.", place="path")
    listed: str | None = setting(None, "Read this tree alone, which is there; as the command calls itself.")


def make(form: str, root: Path, pictures: int) -> None:
    """Writes the tree."""
    rows = ["path,expression,subject"]
    for number in range(pictures // PEOPLE):
        label = records.EXPRESSIONS[number % len(records.EXPRESSIONS)]
        place = root / ("CASIA-WebFace" if form == "casia_webface" else label) / f"{number:07d}"
        place.mkdir(parents=True)
        for i in range(PEOPLE):
            (place / f"{i:03d}.jpg").touch()
            rows.append(f"{label}/{number:07d}/{i:03d}.jpg,{label},{number:07d}")
    if form == "list":
        (root / "labels.csv").write_text("\n".join(rows) + "\n")


def read(form: str, root: Path) -> None:
    """Lists, deals, and prints a line of the table: count, seconds of each, peak memory of the process."""
    begun = time.time()
    listed = catalogue.load(FORMS[form], root)
    at_hand = time.time()
    folds = [records.subject_folds(listed, 10, order) for order in records.ORDERS]
    dealt = time.time()
    assert all(sum(len(fold.test) for fold in dealing) == len(listed) for dealing in folds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform != "darwin" else 2**30)
    print(f"{form:<16}{len(listed):>12,}{at_hand - begun:>12.1f}{dealt - at_hand:>16.1f}{peak:>12.2f}", flush=True)


def run(settings: Settings) -> None:
    """Makes, reads and removes each tree."""
    if settings.listed:
        form, _, place = settings.listed.partition("=")
        read(form, Path(place))
        return
    print(f"{'tree':<16}{'records':>12}{'listing, s':>12}{'20 folds, s':>16}{'peak, GiB':>12}", flush=True)
    for form in FORMS:
        root = Path(settings.workdir) / form.replace(" ", "_")
        try:
            make(form, root, settings.pictures)
            words = [sys.executable, "-m", f"{__package__}.benchmark_listing", f"--listed={form}={root}"]
            subprocess.run(words, check=True, stderr=subprocess.DEVNULL)
        finally:
            shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    command_line.main(Settings, run)
