"""What `predict --video` does with a film: <out>/<name>_faces.mp4 with boxes and labels, and <out>/<name>_faces.csv.

The table has a row for each face of each frame looked at, an empty one for a frame without: frame (from 0), seconds,
face (from 1, the largest first; a number may be another person in the next frame), left, top, right, bottom (pixels of
the upright frame), score of the detector, label, confidence, and a column of probabilities for each class. Both files
appear when they are whole. The film has as many frames as the original, at its mean rate, and no sound.
"""

from __future__ import annotations

import csv
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import export, faces, figures, films

MEMORY = 2**27
"""Bytes of decoded frames that wait to be looked at together."""
COLUMNS = ("frame", "seconds", "face", "left", "top", "right", "bottom", "score", "label", "confidence")
PAUSE = 5.0
"""Seconds between two lines of progress."""


def annotate(
    path: Path,
    predictor: export.Predictor,
    target: Path | None,
    *,
    detect: Callable[[np.ndarray], list[faces.Face]],
    answer: Callable[[list[dict[str, Any]], export.Predictor], None],
    every: int = 1,
    batch_size: int = 64,
) -> dict[str, Any]:
    """Goes through a film once, a bounded number of frames in memory.

    Args:
      path: of the film.
      predictor: the model.
      target: where the results go, without an ending; None for nowhere.
      detect: picture -> faces.
      answer: adds `faces` to rows that have boxes and aligned faces.
      every: look at each so-many-th frame only; boxes and labels stay until the next.
      batch_size: frames that are looked at together.
    Returns:
      path, frames, looked_at, with_faces (frames), labels (each one's share of the faces).
    Raises:
      FaceNotFound: no face in the whole film.
      ValueError, OSError: it cannot be read; the message names it. Nothing is written then.
    """

    def look(frame: films.Frame) -> dict[str, Any]:
        boxes = detect(frame[2])
        return {"boxes": boxes, "aligned": [faces.align(frame[2], predictor.template, box=box) for box in boxes]}

    labels, frames, looked, seen, last = Counter(), 0, 0, 0, -PAUSE
    row: dict[str, Any] = {"boxes": [], "faces": []}
    with (
        films.Film(path) as film,
        ThreadPoolExecutor(os.cpu_count()) as pool,
        results(target, film.rate, predictor.classes) as write,
    ):
        for chunk in chunks(film, batch_size * every):
            wanted = [frame for frame in chunk if frame[0] % every == 0]
            found = list(pool.map(look, wanted))
            answer(found, predictor)
            by_number = {frame[0]: row for frame, row in zip(wanted, found, strict=True)}
            for frame in chunk:
                row = by_number.get(frame[0], row)
                write(frame, row, frame[0] in by_number)
            frames, looked = frames + len(chunk), looked + len(wanted)
            seen += sum(bool(r["faces"]) for r in found)
            labels.update(face["label"] for r in found for face in r["faces"])
            if time.monotonic() - last > PAUSE:
                last = time.monotonic()
                print(f"{path}: {frames} of {len(film) or '?'} frames", file=sys.stderr, flush=True)
        if not seen:
            raise faces.FaceNotFound(
                f"{path}: no face was found in {looked} frames; --min_score=0 finds doubtful ones too."
            )
    print(f"{path}: all {frames} frames", file=sys.stderr, flush=True)
    shares = {label: round(labels[label] / labels.total(), 4) for label in predictor.classes}
    return {"path": str(path), "frames": frames, "looked_at": looked, "with_faces": seen, "labels": shares}


def chunks(frames: Iterable[films.Frame], count: int) -> Iterator[list[films.Frame]]:
    """`count` frames at a time, or fewer where they fill the memory allowed."""
    chunk: list[films.Frame] = []
    size = 0
    for frame in frames:
        chunk.append(frame)
        size += frame[2].nbytes
        if len(chunk) >= count or size >= MEMORY:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


@contextmanager
def results(target: Path | None, rate: Fraction, classes: Iterable[str]) -> Iterator[Callable[..., None]]:
    """write(frame, row, whether it was looked at) for the film and the table; both are kept only when all goes well."""
    if target is None:
        yield lambda frame, row, looked: None
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.csv.part")
    try:
        with (
            part.open("w", newline="", encoding="utf-8") as stream,
            films.Writer(f"{target}.mp4", rate) as film,
        ):
            columns = [*COLUMNS, *classes]
            table = csv.writer(stream)
            table.writerow(columns)

            def write(frame: films.Frame, row: dict[str, Any], looked: bool) -> None:
                number, seconds, picture = frame
                captions = [f"{face['label']} {face['confidence']:.0%}" for face in row["faces"]]
                film.add(figures.draw(picture, row["boxes"], captions))
                if looked:
                    table.writerows(lines(number, seconds, row["faces"], len(columns)))

            yield write
        os.replace(part, f"{target}.csv")
    finally:
        part.unlink(missing_ok=True)


def lines(number: int, seconds: float, found: list[dict[str, Any]], columns: int) -> Iterator[list[Any]]:
    """The table's rows for one frame; their number of columns is told for the empty one."""
    for place, face in enumerate(found, 1):
        said = [*face["box"], face["score"], face["label"], face["confidence"], *face["probabilities"].values()]
        yield [number, round(seconds, 4), place, *said]
    if not found:
        yield [number, round(seconds, 4), *[""] * (columns - 2)]
