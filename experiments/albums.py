"""What a person's other pictures are worth to any method: a run's answers, each less what is said of that person.

    python -m experiments.albums --workdir=runs/gcnet_quick                          # each method, all its pictures
    python -m experiments.albums --workdir=runs/gcnet_quick --albums=all,1,2,4,8,1kinds,2kinds,3kinds

A film or an album shows a person many times, unlabelled. From log p of a picture the mean over the person's pictures is
taken away (`fer_tf/beside.py`), and the largest is what it is named: no network is run, nothing is trained, no label is
read. It reads the run's predictions.npz and writes albums.json beside it: how many of the pictures each method names
alone and beside the others, with the difference's interval over people.

all: all pictures of the person that were tested, the picture itself too; 4: four others, drawn for each; 2kinds: a
control, those that show one of two expressions, its own and another one. Where each person shows each expression as
often, as in a laboratory, that is a help that no film gives, and 2kinds says what is left without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import beside, files, paired, predictions

from .run import command_line, settings
from .run.settings import setting

FILE = "albums.json"


@settings.command()
class Settings(settings.Base):
    """Which run, which albums."""

    workdir: str | None = setting(None, "Folder of a run.", place="path")
    albums: tuple[str, ...] = setting(("all",), "all, how many others, or of how many kinds: all,4,2kinds.", low=1)
    seed: int = setting(0, "Of the albums that are drawn.", low=0)


def measure(answers: predictions.Predictions, album: beside.Album, seed: int) -> dict[str, Any]:
    """Each method that gives probabilities, alone and beside an album; albums are of one training's pictures.

    Returns:
      {method: {"alone", "beside": micro, in [0, 1], "difference", "interval": of `paired.compare`, and of how many
      people more, fewer or as many are named: "better", "worse", "equal"}}.
    Raises:
      ValueError: nobody is named, or no method gives probabilities.
    """
    if not answers.people_known:
        raise ValueError("These predictions do not say who is seen: there are no albums.")
    people = [f"{r}/{f}/{s}" for r, f, s in zip(answers.run, answers.fold, answers.subject, strict=True)]
    own, found = beside.albums(people, album, seed, answers.label.tolist()), {}
    numbers = {cell: i for i, cell in enumerate(answers.cells)}
    cells = np.array([numbers[cell] for cell in zip(answers.run.tolist(), answers.fold.tolist(), strict=True)])
    labels = answers.label.astype(np.int64)
    for method, epochs in answers.methods.items():
        if (given := epochs["last"].probabilities) is None:
            continue
        named = epochs["last"].named.astype(np.int64), beside.probabilities(given, own).argmax(-1)
        compared = paired.compare(paired.Answered(answers.people, cells, labels, *named), len(answers.classes))
        rates = [float(np.mean(n == labels)) for n in named]
        found[method] = {"alone": rates[0], "beside": rates[1]}
        found[method] |= {name: compared["micro"][name] for name in ("difference", "interval")}
        found[method] |= {name: compared["people"][name] for name in ("better", "worse", "equal")}
    if not found:
        raise ValueError("No method of this run gives probabilities.")
    return found


def table(measured: dict[str, dict[str, Any]]) -> str:
    """{album: of `measure`} as lines, in percent and percentage points."""
    rows = [("method", "album", "alone", "beside", "difference", "95 % over people", "people better", "worse")]
    for album, methods in measured.items():
        for method, one in methods.items():
            low, high = (f"{100 * end:+.2f}" for end in one["interval"])
            rates = [f"{100 * one[name]:.2f}" for name in ("alone", "beside")]
            counts = str(one["better"]), str(one["worse"])
            rows.append((method, album, *rates, f"{100 * one['difference']:+.2f}", f"{low} to {high}", *counts))
    wide = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(f"{cell:<{w}}" for cell, w in zip(row, wide, strict=True)).rstrip() for row in rows)


def run(settings: Settings) -> dict[str, dict[str, Any]]:
    """Measures every album, writes them, prints the table."""
    if not settings.workdir:
        raise ValueError("Which run? Give --workdir=<folder>.")
    folder = Path(settings.workdir)
    answers, kinds = predictions.read(folder / predictions.FILE), {a: beside.Album.read(a) for a in settings.albums}
    measured = {name: measure(answers, album, settings.seed) for name, album in kinds.items()}
    files.write_json(folder / FILE, {"seed": settings.seed, "albums": measured})
    print(table(measured))
    return measured


if __name__ == "__main__":
    command_line.main(Settings, run)
