"""Names the expression of every face in photographs and films, with the released weights or a model of your own.

    python -m experiments.predict --image=photo.jpg           # or a folder, or "holiday/*.jpg"; may be given repeatedly
    python -m experiments.predict --video=clip.mp4            # likewise; --every=5 looks at each fifth frame
    python -m experiments.predict --video=0                   # the first camera, until Ctrl-C; rtsp://... likewise
    python -m experiments.predict --image=photo.jpg --model=<exported folder, weights file, or name in weights/>
    python -m experiments.predict --image=anna.jpg --neutral=anna_neutral.jpg --model=gcnet_neutral_rendered2

Prints one line of JSON a picture: its path, and for each face the box (left, top, right, bottom; pixels of the upright
picture), the detector's score, the likeliest label, its confidence, all probabilities. Writes the picture with boxes
and labels to <out>/<name>_faces.jpg, which the line names ("annotated"). A film's line has its frames, people and each
label's share of the faces; parts/predict/film.py says what its <out>/<name>_faces.mp4 and .csv hold. What cannot be
read or written or shows no face gets one sentence on stderr and an "error" in its line; the others go on, and the exit
code is 1. From Python, `fer_tf.recognise` does the same without files. --neutral is of the one person who is looked at,
by a model that compares faces with it.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from fer_tf import export, files, films, pictures, recognise

from .parts.predict import film, rows
from .run import command_line, photographs, settings
from .run.settings import setting


@settings.command()
class Settings(photographs.Photographs):
    """Which photographs and films, and how they are looked at."""

    video: tuple[str, ...] = setting(
        (),
        "A film, a folder of films, or a pattern such as 'holiday/*.mp4'; a camera's number; an address (rtsp://...).",
        repeated=True,
        place="path",
    )
    neutral: str | None = setting(
        None, "A picture of the person's neutral face, for a model that compares with it.", place="path"
    )
    every: int = setting(1, "Look at each so-many-th frame of a film; boxes stay between.", low=1)
    batch_size: int = setting(64, "Faces that are looked at together.", low=1)


def annotate(photo: recognise.Photo, path: Path) -> None:
    """Writes a picture with its boxes and labels as JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = pictures.draw(photo.picture, photo.faces, [rows.caption(face) for face in photo.faces])
    with files.replacing(path) as part:
        Image.fromarray(drawn).save(part, "jpeg", quality=92)


def name_photos(settings: Settings, paths: Sequence[Path], predictor: export.Predictor) -> int:
    """Prints the line of each photograph and writes it with its faces.

    Returns:
      How many have an error.
    """
    out, taken, errors = settings.out_folder, Counter(), 0
    options = {n: getattr(settings, n) for n in ("all_faces", "min_score", "detector", "upright", "batch_size")}
    for photo in recognise.photos(paths, model=predictor, pictures=out is not None, **options):
        line = {"path": str(photo.path), "faces": [rows.row(face) for face in photo.faces]}
        if not photo.faces:
            line["error"] = photographs.complain(photo.path, photo.error or photographs.NO_FACE)
        elif out is not None:
            target = out / f"{photographs.result_name(photo.path, 'faces', taken)}.jpg"
            try:
                annotate(photo, target)
                line["annotated"] = str(target)
            except OSError as error:
                line["error"] = photographs.unwritten(photo.path, error)
        errors += "error" in line
        print(json.dumps(line), flush=True)
    return errors


def name_films(settings: Settings, paths: Sequence[Path | str], predictor: export.Predictor) -> int:
    """Prints the line of each film and writes it with its faces and their table.

    Returns:
      How many have an error.
    """
    taken, errors = Counter(), 0
    options = {n: getattr(settings, n) for n in ("every", "all_faces", "min_score", "detector", "batch_size")}
    for path in paths:
        name = photographs.result_name(Path(path), "faces", taken)
        target = settings.out_folder / name if settings.out_folder is not None else None
        try:
            line = film.annotate(path, predictor, target, **options)
            if "error" in line:
                photographs.complain(path, line["error"])
        except (ValueError, OSError) as error:
            say = photographs.unwritten if files.is_full(error) else photographs.complain
            line = {"path": films.shown(path), "error": say(films.shown(path), error)}
        errors += "error" in line
        print(json.dumps(line), flush=True)
    return errors


def asked(settings: Settings) -> export.Predictor:
    """The model of --model, beside the face of --neutral where it compares.

    Raises:
      FileNotFoundError, ValueError: as `recognise.predictor` and `recognise.beside`; also for --all_faces, since others
        would be compared with one person's face.
    """
    model = recognise.predictor(settings.model)
    if settings.neutral is None:
        return model
    if settings.all_faces:
        raise ValueError("--neutral is of one person, and --all_faces of everybody: leave one of them out.")
    search = {name: getattr(settings, name) for name in ("min_score", "detector", "upright")}
    try:
        return recognise.beside(settings.neutral, model=model, **search)
    except ValueError as error:
        raise ValueError(f"--neutral={settings.neutral}: {error}") from error


def run(settings: Settings) -> int:
    """Photographs, then films; exit code 1 where one of them has an error."""
    if not settings.image and not settings.video:
        raise ValueError(
            "Which pictures? Give --image=photo.jpg, --image=<folder> or --image='folder/*.jpg'; or --video."
        )
    photos, problems = photographs.listed(settings.image)
    live = [name for name in settings.video if films.is_live(name)]
    stored = [name for name in settings.video if name not in live]
    clips, more = photographs.listed(stored, (*films.ENDINGS, *films.ANIMATIONS), "films")
    sys.stderr.writelines(f"{sentence}\n" for sentence in (*problems, *more))
    photographs.keep_apart([*photos, *clips, *map(Path, filter(None, [settings.neutral]))], settings.out_folder)
    predictor = asked(settings)
    errors = name_photos(settings, photos, predictor) + name_films(settings, [*clips, *live], predictor)
    return 1 if problems or more or errors else 0


if __name__ == "__main__":
    command_line.main(Settings, run)
