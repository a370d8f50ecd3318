"""What `predict --video` does with a film: <out>/<name>_faces.mp4 with boxes and labels, and <out>/<name>_faces.csv.

The table has a row for each face of each frame looked at, the largest first, an empty one for a frame without: frame
(from 0), seconds, face (a person's number, from 1, as `fer_tf.tracks` tells people), left, top, right, bottom (pixels
of the upright frame), score of the detector, label, confidence, a column of probabilities for each class. Both files
appear when they are whole. The film has the frames of the original at their times, and its sound. What is damaged is
left out and told. A camera's film, and one from the net, ends with Ctrl-C, and has no sound.
"""

from __future__ import annotations

import csv
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fer_tf import export, faces, files, films, pictures, recognise

from . import rows

COLUMNS = ("frame", "seconds", "face", "left", "top", "right", "bottom", "score", "label", "confidence")
PAUSE = 5.0
"""Seconds between two lines of progress."""


def annotate(
    path: str | os.PathLike[str], predictor: export.Predictor, target: Path | None, *, every: int = 1, **options: Any
) -> dict[str, Any]:
    """Goes through a film once, a bounded number of frames in memory.

    Args:
      path: of the film, or what else `films.Film` opens.
      predictor: the model.
      target: where the results go, without an ending; None for nowhere.
      every: look at each so-many-th frame only; boxes and labels stay until the next.
      options: all_faces, min_score, detector and batch_size, as of `recognise.frames`.
    Returns:
      path, frames, looked_at, with_faces (frames), people, labels (each one's share of the faces); annotated and table,
      the files, where there is a target; error, where a part of the film is missing.
    Raises:
      FaceNotFound: no face in the whole film.
      ValueError, OSError: it cannot be read; the message names it. Nothing is written then.
    """
    labels: Counter[str] = Counter()
    frames = inspected = with_faces = people = 0
    printed = time.monotonic()
    with films.Film(path) as film, results(target, film, predictor.classes) as write:
        if film.live:
            options = {**options, "batch_size": 1}
        for frame in until_interrupted(recognise.frames(film, every, model=predictor, **options), film):
            write(frame)
            frames += 1
            if frame.inspected:
                inspected += 1
                with_faces += bool(frame.faces)
                labels.update(face.expression for face in frame.faces)
                people = max(people, *(face.number or 0 for face in frame.faces), 0)
            if time.monotonic() - printed > PAUSE:
                printed = time.monotonic()
                print(f"{film.path}: {frames} of {len(film) or '?'} frames", file=sys.stderr, flush=True)
        if not with_faces:
            more = f" ({film.damage})" if film.damage else ""
            raise faces.FaceNotFound(
                f"{film.path}: no face was found in {inspected} frames{more}; --min_score=0 finds doubtful ones too."
            )
    print(f"{film.path}: {'' if film.damage else 'all '}{frames} frames", file=sys.stderr, flush=True)
    shares = {label: round(labels[label] / labels.total(), 4) for label in predictor.classes}
    counts = {"frames": frames, "looked_at": inspected, "with_faces": with_faces, "people": people}
    files = {} if target is None else {"annotated": f"{target}.mp4", "table": f"{target}.csv"}
    error = {"error": film.damage} if film.damage else {}
    return {"path": film.path, **counts, "labels": shares, **files, **error}


def until_interrupted(frames: Iterator[recognise.Frame], film: films.Film) -> Iterator[recognise.Frame]:
    """The frames; of a film that never ends, until the first Ctrl-C."""
    if not film.live:
        yield from frames
        return
    asked: list[int] = []

    def stop(signum: int, _: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(signum)

    before = signal.signal(signal.SIGINT, stop)
    try:
        for frame in frames:
            yield frame
            if asked:
                return
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def results(
    target: Path | None, film: films.Film, classes: Iterable[str]
) -> Iterator[Callable[[recognise.Frame], None]]:
    """write(frame) for the film and the table; both are kept only when all goes well."""
    if target is None:
        yield lambda frame: None
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    sound = None if film.live else lambda: (film.path, film.start)
    with (
        files.replacing(f"{target}.csv") as part,
        part.open("w", newline="", encoding="utf-8") as stream,
        films.Writer(f"{target}.mp4", film.rate, sound) as writer,
    ):
        columns = [*COLUMNS, *classes]
        table = csv.writer(stream)
        table.writerow(columns)

        def write(frame: recognise.Frame) -> None:
            several = len(frame.faces) > 1 or any((face.number or 1) > 1 for face in frame.faces)
            captions = [rows.caption(face, several) for face in frame.faces]
            colours = [(face.number or 1) - 1 for face in frame.faces]
            writer.add(pictures.draw(frame.picture, frame.faces, captions, colours), frame.seconds)
            if frame.inspected:
                table.writerows(table_rows(frame, len(columns)))

        yield write
    if writer.silent:
        print(f"{film.path}: {writer.silent}", file=sys.stderr, flush=True)


def table_rows(frame: recognise.Frame, columns: int) -> Iterator[list[Any]]:
    """The table's rows for one frame, an empty one where it has no face."""
    place = [frame.number, round(frame.seconds, 4)]
    for at, face in enumerate(frame.faces, 1):
        row = rows.row(face)
        values = [row["score"], row["label"], row["confidence"], *row["probabilities"].values()]
        yield [*place, face.number or at, *row["box"], *values]
    if not frame.faces:
        yield [*place, *[""] * (columns - len(place))]
