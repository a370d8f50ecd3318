"""Writes a recogniser for use outside of Python: SavedModel, ONNX, LiteRT, or a page that runs in a browser.

    python -m experiments.export --format=onnx                              # runs/export/se_resnet.onnx, .onnx.json
    python -m experiments.export --model=fer_net --format=litert --quantize=int8    # runs/export/fer_net_int8.tflite
    python -m experiments.export --format=web --quantize=float16                    # runs/export/se_resnet_float16_web/
    python -m experiments.export --measure=fer_net_int8.tflite --data_dir=FER-2013  # accuracy on the private test

A file takes faces, cut out and framed, as uint8 RGB (N, H, W, 3), and gives their probabilities; the JSON beside it
names the classes, the frame of a face, and what is done inside (`fer_tf.conversion` says more). Each file is compared
with the model on rendered faces, or on those of --calibrate, before it appears. int8 takes the ranges of its whole
numbers from the same faces. With --data_dir they are FER-2013's training faces, and the file is measured on its private
test; the JSON says what that gave. `predict --model=<file>.onnx` (or .tflite) names faces by it.

ONNX and the page need the extra `export`; the page also npm, or --runtime. It is served by any server of files:

    python -m http.server --directory runs/export/se_resnet_float16_web             # http://localhost:8000
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import conversion, export, files, recognise

from .parts.export import shown, web
from .run import command_line, settings
from .run.settings import setting

ENDINGS = {"savedmodel": "_savedmodel", "onnx": ".onnx", "litert": ".tflite", "web": "_web"}
"""Format -> what the name of its file or folder ends with."""


@settings.command()
class Settings(settings.Base):
    """What is written, from what; or what is measured."""

    model: str = setting(
        recognise.DEFAULT, "se_resnet, fer_net or another name in weights/; a .h5 file; an exported folder.",
        place="path",
    )  # fmt: skip
    format: str = setting("onnx", "What is written.", choices=ENDINGS)
    quantize: str = setting(
        "none", "How weights are stored: float16 halves the file, int8 (litert) quarters it.",
        choices=conversion.QUANTIZE,
    )  # fmt: skip
    out: str | None = setting(None, "File or folder; in runs/export when left out.", place="path")
    calibrate: str | None = setting(
        None, "Picture, folder or pattern whose faces the file is compared on, and int8's ranges are of; training "
        "faces of --data_dir, or rendered ones, when left out.", place="path",
    )  # fmt: skip
    faces: int = setting(200, "How many of them.", low=1)
    data_dir: str | None = setting(
        None, "FER-2013: what is written, or --measure, is measured on its private test, by FER+'s votes too where "
        "they are.", place="path",
    )  # fmt: skip
    measure: str | None = setting(
        None, "A file, folder or name to measure on --data_dir; nothing is written.", place="path"
    )
    runtime: str | None = setting(
        None, f"For web: folder or archive of {web.RUNTIME}; npm fetches {web.VERSION} when left out.", place="path"
    )


def target(settings: Settings) -> Path:
    """Where --format goes."""
    if settings.out:
        return Path(settings.out)
    stored = "" if settings.quantize == "none" else f"_{settings.quantize}"
    return Path("runs/export") / f"{Path(settings.model).stem}{stored}{ENDINGS[settings.format]}"


def check(settings: Settings) -> None:
    """Raises ValueError for what cannot be written, before work begins."""
    if settings.format == "savedmodel" and settings.quantize != "none":
        raise ValueError("A SavedModel is written in float32: --quantize is for onnx, litert and web.")
    conversion.check_quantisation("onnx" if settings.format == "web" else settings.format, settings.quantize)
    if settings.format in ("onnx", "litert") and settings.out:
        if conversion.format_of(settings.out) != settings.format:
            raise ValueError(
                f"--out={settings.out}: {settings.format} wants a name that ends with {ENDINGS[settings.format]}."
            )
        if Path(settings.out).is_dir():
            raise ValueError(f"--out={settings.out} is a folder: give a file.")
    if settings.format != "savedmodel":
        conversion.need("litert" if settings.format == "litert" else "onnx")
    conversion.make_room(target(settings))


def write_saved_model(path: Path, out: Path, faces: list[np.ndarray]) -> float:
    """Writes the SavedModel of a weights file, or copies one; its metadata stand in the .json beside it, too."""
    if not path.is_dir():
        difference = export.save(export.rebuild(path), out, faces=faces)
    else:
        if out.exists():
            raise ValueError(f"{out} exists: remove it, or give another folder.")
        with files.replacing(out) as part:
            shutil.copytree(path, part)
        difference = 0.0
    files.write_json(conversion.beside_of(out), export.load(out).metadata)
    return difference


def write(settings: Settings, out: Path) -> dict[str, Any]:
    """Writes --format and says what it is like."""
    model = recognise.predictor(settings.model)
    if settings.format != "savedmodel" or settings.data_dir:
        model.alone()
    if settings.calibrate:
        faces, kind = shown.own_faces(settings.calibrate, model.template, settings.faces), "own"
    elif settings.data_dir:
        faces, kind = shown.training_faces(settings.data_dir, model.template, settings.faces), "FER-2013 training"
    else:
        faces, kind = shown.rendered_faces(model.template, settings.faces), "rendered"
    about = {"compared_on": f"{len(faces)} {kind} faces"}
    if settings.format == "savedmodel":
        difference = write_saved_model(recognise.model_path(settings.model), out, faces)
    elif settings.format == "web":
        options = {"quantize": settings.quantize, "faces": faces, "metadata": about, "package": settings.runtime}
        difference = web.write(model, out, **options)
    else:
        difference = conversion.save(model, out, quantize=settings.quantize, faces=faces, metadata=about)
    held = [file for file in out.rglob("*") if file.is_file()] if out.is_dir() else [out]
    return {"out": str(out), "bytes": sum(file.stat().st_size for file in held), "difference": difference, **about}


def described(out: Path, form: str) -> Path:
    """The JSON of what is written."""
    return conversion.beside_of(out / "model.onnx" if form == "web" else out)


def run(settings: Settings) -> dict[str, Any]:
    """Prints a line of JSON: what was written and how far it is from the model, or what was measured."""
    if settings.measure:
        if not settings.data_dir:
            raise ValueError("--measure needs --data_dir, the folder of FER-2013.")
        model = recognise.predictor(settings.measure)
        line = {"measured": settings.measure, "private_test": shown.private_test(model, settings.data_dir)}
        print(json.dumps(line))
        return line
    check(settings)
    out = target(settings)
    line, beside = write(settings, out), described(out, settings.format)
    if settings.data_dir:
        model = recognise.predictor(out / "model.onnx" if settings.format == "web" else out)
        line["private_test"] = shown.private_test(model, settings.data_dir)
    about = json.loads(beside.read_text(encoding="utf-8"))
    files.write_json(beside, {**about, **{k: v for k, v in line.items() if k != "out"}})
    print(json.dumps(line))
    return line


if __name__ == "__main__":
    command_line.main(Settings, run)
