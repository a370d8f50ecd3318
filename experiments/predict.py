"""Names the expression of every face in photographs and films, with the released weights or a model of your own.

    python -m experiments.predict --image=photo.jpg           # or a folder, or "holiday/*.jpg"; may be given repeatedly
    python -m experiments.predict --video=clip.mp4            # likewise; --every=5 looks at each fifth frame
    python -m experiments.predict --image=photo.jpg --model=<exported folder, weights file, or name in weights/>

Prints one line of JSON a picture: its path, and for each face the box (left, top, right, bottom; pixels of the upright
picture), the detector's score, the likeliest label, its confidence, all probabilities. Writes the picture with boxes
and labels to <out>/<name>_faces.jpg. A film's line has its frames and each label's share of the faces; predict_film.py
says what its <out>/<name>_faces.mp4 and .csv hold. What cannot be read or shows no face gets one sentence on stderr and
an "error" in its line; the others go on, and the exit code is 1.
"""

from __future__ import annotations

import glob
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from PIL import Image

from fer_tf import export, faces, figures, films

from .parts.predict import film as predict_film
from .run import common

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
RELEASED = {
    "fer_net": "fer_net_fer2013",
    "ia_gen": "ia_gen_rendered",
    "ed2l": "ed2l_fer2013",
}  # short names of weights/
MEMORY = 2**28  # bytes of decoded pictures that wait for a full batch of faces
FLAGS = flags.FLAGS
flags.DEFINE_multi_string("image", [], "A picture, a folder of pictures, or a pattern such as 'holiday/*.jpg'.")
flags.DEFINE_multi_string("video", [], "A film, a folder of films, or a pattern such as 'holiday/*.mp4'.")
flags.DEFINE_integer("every", 1, "Look at each so-many-th frame of a film; boxes stay between.", lower_bound=1)
flags.DEFINE_string(
    "model", "fer_net", "fer_net, ia_gen, ed2l, or another name in weights/; a .h5 file; an exported folder."
)
flags.DEFINE_string("out", "runs/predict", "Folder for the annotated pictures and films; empty for none.")
flags.DEFINE_bool("all_faces", False, "Every face of a picture rather than the largest.")
flags.DEFINE_float("min_score", 0.2, "Drop faces that the detector scores lower: near 0 it doubts, above 1 it is sure.")
flags.DEFINE_integer("batch_size", 64, "Faces that are looked at together.", lower_bound=1)


def load(name: str) -> export.Predictor:
    """The model of --model: an exported folder, a weights file, or released weights by name."""
    if Path(name).is_dir():
        return export.load(name)
    if Path(name).is_file():
        return export.from_weights(name)
    return export.released(RELEASED.get(name, name))


def pictures(
    names: Sequence[str], suffixes: Sequence[str] = SUFFIXES, kind: str = "pictures"
) -> tuple[list[Path], list[str]]:
    """The files that --image or --video means, each once, and a sentence for each name that means none."""
    found, problems = {}, []
    for name in names:
        path, inside = Path(name), Path(name).is_dir()
        some = [p for p in path.iterdir() if p.suffix.lower() in suffixes] if inside else map(Path, glob.glob(name))
        some = [path] if path.is_file() else sorted(p for p in some if p.is_file())
        if not some:
            problems.append(f"{name}: {f'the folder has no {kind}' if inside else 'there is no such file or folder'}.")
        found.update(dict.fromkeys(some))
    return list(found), problems


def out_folder() -> Path | None:
    """The folder of --out; None when it is empty."""
    return Path(FLAGS.out) if FLAGS.out else None


def keep_apart(paths: Sequence[Path], out: Path | None) -> None:
    """Raises ValueError where --out is a folder of the pictures or films themselves."""
    if out is not None and any(out.resolve() in (p.parent.resolve(), p.resolve().parent) for p in paths):
        raise ValueError(f"--out={out} holds the pictures themselves, which are not overwritten: give another folder.")


def complain(path: Path, error: Exception) -> str:
    """The sentence on stderr."""
    sentence = str(error) if str(path) in str(error) else f"{path}: {error}"
    print(sentence, file=sys.stderr, flush=True)
    return sentence


def look(path: Path, template: faces.Template) -> dict[str, Any]:
    """Reads a picture and aligns its faces: path, picture, boxes, aligned; or path and error, said on stderr too."""
    try:
        picture = faces.load_image(path)
        boxes = faces.detect(picture, all=FLAGS.all_faces, min_score=FLAGS.min_score)
        if not boxes:
            raise faces.FaceNotFound(f"{path}: no face was found; --min_score=0 finds doubtful ones too.")
        aligned = [faces.align(picture, template, box=box) for box in boxes]
        return {"path": str(path), "picture": picture, "boxes": boxes, "aligned": aligned}
    except (ValueError, OSError) as error:
        return {"path": str(path), "error": complain(path, error), "picture": np.zeros(0), "boxes": [], "aligned": []}


def batches(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Gathers pictures until they have --batch_size faces or fill the memory allowed."""
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if sum(len(r["aligned"]) for r in batch) >= FLAGS.batch_size or sum(r["picture"].size for r in batch) >= MEMORY:
            yield batch
            batch = []
    yield batch


def answer(batch: list[dict[str, Any]], predictor: export.Predictor) -> None:
    """Adds `faces` to each picture's row: box, label, confidence, probabilities of each."""
    found = iter(predictor([face for row in batch for face in row["aligned"]]).tolist())
    for row in batch:
        row["faces"] = []
        for face in row["boxes"]:
            named = {label: round(p, 6) for label, p in zip(predictor.classes, next(found), strict=True)}
            label, box = max(named, key=named.get), [round(v, 1) for v in face.box]
            said = {"label": label, "confidence": named[label], "probabilities": named}
            row["faces"].append({"box": box, "score": round(face.score, 3), **said})


def named(path: str | Path, taken: Counter[str]) -> str:
    """<name>_faces, numbered where two have one name."""
    stem = Path(path).stem
    taken[stem.lower()] += 1
    return f"{stem}_faces{f'_{n}' if (n := taken[stem.lower()]) > 1 else ''}"


def annotate(row: dict[str, Any], out: Path, taken: Counter[str]) -> None:
    """Writes the picture with its boxes to <out>/<name>_faces.jpg."""
    name = f"{named(row['path'], taken)}.jpg"
    captions = [f"{face['label']} {face['confidence']:.0%}" for face in row["faces"]]
    out.mkdir(parents=True, exist_ok=True)
    part = out / f".{name}.part"
    Image.fromarray(figures.draw(row["picture"], row["boxes"], captions)).save(part, "jpeg", quality=92)
    os.replace(part, out / name)


def watch(path: Path, predictor: export.Predictor, out: Path | None, taken: Counter[str]) -> dict[str, Any]:
    """A film's line; its annotated film and table are written."""
    target = out / named(path, taken) if out is not None else None
    options = {"every": FLAGS.every, "batch_size": FLAGS.batch_size, "answer": answer}
    detect = partial(faces.detect, all=FLAGS.all_faces, min_score=FLAGS.min_score)
    try:
        return predict_film.annotate(path, predictor, target, detect=detect, **options)
    except (ValueError, OSError) as error:
        return {"path": str(path), "error": complain(path, error)}


def main() -> None:
    """Finds, names, prints, draws."""
    if not FLAGS.image and not FLAGS.video:
        raise ValueError(
            "Which pictures? Give --image=photo.jpg, --image=<folder> or --image='folder/*.jpg'; or --video."
        )
    (paths, problems), taken = pictures(FLAGS.image), Counter()
    (clips, more), taken_by_films = pictures(FLAGS.video, films.ENDINGS, "films"), Counter()
    problems += more
    sys.stderr.writelines(f"{sentence}\n" for sentence in problems)
    out = out_folder()
    keep_apart([*paths, *clips], out)
    predictor = load(FLAGS.model)
    for batch in batches(look(path, predictor.template) for path in paths):
        answer(batch, predictor)
        for row in batch:
            print(json.dumps({key: row[key] for key in ("path", "faces", "error") if key in row}), flush=True)
            if out is not None and row["faces"]:
                annotate(row, out, taken)
        problems += [row["error"] for row in batch if "error" in row]
    for path in clips:
        said = watch(path, predictor, out, taken_by_films)
        print(json.dumps(said), flush=True)
        problems += [said["error"]] if "error" in said else []
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    common.run(main)
