"""The page: plain HTML and JavaScript in page/, the model as ONNX, and onnxruntime-web, which npm fetches.

onnxruntime-web is Microsoft's, under the MIT licence; its files are copied into the folder that is written and are no
part of this package. The folder is whole: no page of another server is asked for anything.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import conversion, export, files

PAGE = Path(__file__).parent / "page"
RUNTIME, VERSION = "onnxruntime-web", "1.30.0"
TAKEN = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
"""What the page needs of dist/: WebAssembly on the processor, which every browser has."""
MINUTES = 10
"""How long npm may take."""
LICENCE = """{name} {version} (https://www.npmjs.com/package/{name}), of which these files are, unchanged:
{files}

MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def write(
    model: export.Predictor,
    out: Path,
    *,
    quantize: str = "none",
    faces: Sequence[np.ndarray] = (),
    metadata: dict[str, Any] | None = None,
    package: str | None = None,
) -> float:
    """Writes the page into a folder, which appears when it is whole.

    Args:
      model, quantize, faces, metadata: as of `conversion.save`.
      out: the folder, new or an earlier page, which is replaced.
      package: folder or archive of onnxruntime-web; npm fetches it when left out.
    Returns:
      The largest difference of a probability.
    Raises:
      ValueError: something else stands at `out`, or there is no onnxruntime-web.
    """
    if out.exists() and not (out / "ort").is_dir():
        raise ValueError(f"{out} exists and is no page: remove it, or give another folder.")
    conversion.make_room(out)
    with tempfile.TemporaryDirectory() as folder, files.replacing(out) as part:
        source, version = runtime(package, Path(folder))
        shutil.copytree(PAGE, part)
        (part / "ort").mkdir()
        for name in TAKEN:
            shutil.copyfile(source / "dist" / name, part / "ort" / name)
        notice = LICENCE.format(name=RUNTIME, version=version, files=", ".join(TAKEN))
        (part / "ort" / "LICENSE").write_text(notice, encoding="utf-8")
        return conversion.save(model, part / "model.onnx", quantize=quantize, faces=faces, metadata=metadata)


def runtime(package: str | None, folder: Path) -> tuple[Path, str]:
    """The folder of onnxruntime-web, and its version.

    Args:
      package: its folder or archive; npm fetches it into `folder` when left out.
      folder: for what is unpacked.
    Raises:
      ValueError: it cannot be fetched, or what is given is another package.
    """
    given = Path(package).expanduser() if package else fetched(folder)
    source = given
    try:
        if given.is_file():
            with tarfile.open(given) as archive:
                names = [f"package/{name}" for name in ("package.json", *(f"dist/{taken}" for taken in TAKEN))]
                for name in names:
                    archive.extract(name, folder, filter="data")
            source = folder / "package"
        about = json.loads((source / "package.json").read_text(encoding="utf-8"))
        if about["name"] != RUNTIME:
            raise ValueError(f"it is {about['name']}")
        if lacking := [name for name in TAKEN if not (source / "dist" / name).is_file()]:
            raise ValueError(f"it lacks {', '.join(lacking)}")
        return source, about["version"]
    except (OSError, ValueError, KeyError, tarfile.TarError) as error:
        reason = str(error).splitlines()[0].rstrip(":")
        raise ValueError(f"{given} is no {RUNTIME} of npm ({reason}): leave it out, and npm fetches one.") from error


def fetched(folder: Path) -> Path:
    """The archive that npm fetches into a folder.

    Raises:
      ValueError: there is no npm, or it fails; the message says what to do.
    """
    instead = f"or give its folder or archive: --runtime=node_modules/{RUNTIME}"
    if (npm := shutil.which("npm")) is None:
        raise ValueError(f"The page needs {RUNTIME}, which npm fetches: install Node.js with npm, {instead}.")
    words = [npm, "pack", f"{RUNTIME}@{VERSION}", "--loglevel=error", "--pack-destination", str(folder)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, cwd=folder, timeout=60 * MINUTES)
    except subprocess.TimeoutExpired:
        raise ValueError(f"npm did not fetch {RUNTIME} in {MINUTES} minutes: try again, {instead}.") from None
    archives = sorted(folder.glob("*.tgz"))
    if done.returncode or not archives:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        raise ValueError(f"npm did not fetch {RUNTIME} ({'; '.join(lines[:2])}): try again, {instead}.")
    return archives[0]
