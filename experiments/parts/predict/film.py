"""What `predict --video` does with a film: <out>/<name>_faces.mp4 with boxes and labels, and <out>/<name>_faces.csv.

The table has a row for each face of each frame looked at, an empty one for a frame without: frame (from 0), seconds,
face (from 1, the largest first; a number may be another person in the next frame), left, top, right, bottom (pixels of
the upright frame), score of the detector, label, confidence, and a column of probabilities for each class. Both files
appear when they are whole. The film has as many frames as the original, at its mean rate, and no sound.
"""

from __future__ import annotations

import csv
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

from fer_tf import export, faces, files, films, pictures, recognise

from . import rows

COLUMNS = ("frame", "seconds", "face", "left", "top", "right", "bottom", "score", "label", "confidence")
PAUSE = 5.0
"""Seconds between two lines of progress."""


def annotate(
    path: Path, predictor: export.Predictor, target: Path | None, *, every: int = 1, **options: Any
) -> dict[str, Any]:
    """Goes through a film once, a bounded number of frames in memory.

    Args:
      path: of the film.
      predictor: the model.
      target: where the results go, without an ending; None for nowhere.
      every: look at each so-many-th frame only; boxes and labels stay until the next.
      options: all_faces, min_score, detector and batch_size, as of `recognise.frames`.
    Returns:
      path, frames, looked_at, with_faces (frames), labels (each one's share of the faces).
    Raises:
      FaceNotFound: no face in the whole film.
      ValueError, OSError: it cannot be read; the message names it. Nothing is written then.
    """
    labels: Counter[str] = Counter()
    frames = inspected = with_faces = 0
    printed = time.monotonic()
    with films.Film(path) as film, results(target, film.rate, predictor.classes) as write:
        for frame in recognise.frames(film, every, model=predictor, **options):
            write(frame)
            frames += 1
            if frame.inspected:
                inspected += 1
                with_faces += bool(frame.faces)
                labels.update(face.expression for face in frame.faces)
            if time.monotonic() - printed > PAUSE:
                printed = time.monotonic()
                print(f"{path}: {frames} of {len(film) or '?'} frames", file=sys.stderr, flush=True)
        if not with_faces:
            raise faces.FaceNotFound(
                f"{path}: no face was found in {inspected} frames; --min_score=0 finds doubtful ones too."
            )
    print(f"{path}: all {frames} frames", file=sys.stderr, flush=True)
    shares = {label: round(labels[label] / labels.total(), 4) for label in predictor.classes}
    return {"path": str(path), "frames": frames, "looked_at": inspected, "with_faces": with_faces, "labels": shares}


@contextmanager
def results(target: Path | None, rate: Fraction, classes: Iterable[str]) -> Iterator[Callable[[recognise.Frame], None]]:
    """write(frame) for the film and the table; both are kept only when all goes well."""
    if target is None:
        yield lambda frame: None
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        files.replacing(f"{target}.csv") as part,
        part.open("w", newline="", encoding="utf-8") as stream,
        films.Writer(f"{target}.mp4", rate) as film,
    ):
        columns = [*COLUMNS, *classes]
        table = csv.writer(stream)
        table.writerow(columns)

        def write(frame: recognise.Frame) -> None:
            film.add(pictures.draw(frame.picture, frame.faces, [rows.caption(face) for face in frame.faces]))
            if frame.inspected:
                table.writerows(table_rows(frame, len(columns)))

        yield write


def table_rows(frame: recognise.Frame, columns: int) -> Iterator[list[Any]]:
    """The table's rows for one frame, an empty one where it has no face."""
    place = [frame.number, round(frame.seconds, 4)]
    for number, face in enumerate(map(rows.row, frame.faces), 1):
        values = [face["score"], face["label"], face["confidence"], *face["probabilities"].values()]
        yield [*place, number, *face["box"], *values]
    if not frame.faces:
        yield [*place, *[""] * (columns - len(place))]
