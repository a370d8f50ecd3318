"""Weights of a model as plain HDF5 with provenance: saved on Keras 2, loaded on Keras 3, and the other way round.

Keras' own `.weights.h5` differ between the two and depend on automatic layer names. Here every variable is a dataset
at the path of its layers' names, such as "encoder/conv1/kernel"; the outermost model's own name is left out. Kernels
may be stored in half precision, or as whole numbers and their scale; whoever reads them gets floating point numbers.
Moving statistics are included; metrics, optimizers and the seed state of dropout ("seed_...") are not. The root
attributes hold `format`, `provenance` (JSON) and `content_sha256`, a hash over all variables and the provenance that
every load checks.
"""

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fer_tf import compat, files

FORMAT = "fer_tf.weights.1"
DTYPES = ("float32", "float16", "int8")
"""How kernels may be stored."""
PROVENANCE = ("command", "commit", "data", "metric", "created", "versions", "precision")
_PACKAGE = Path(__file__).resolve().parent
_SEED_STATE = "seed_"  # variables named so count a random layer's steps: a checkpoint's business
_ATTRIBUTE_LIMIT = 60_000  # HDF5 holds attributes up to 64 KiB


def save(
    model: Any,
    path: str | os.PathLike[str],
    *,
    provenance: Mapping[str, Any],
    dtype: str = "float32",
    only: str | None = None,
) -> dict[str, Any]:
    """Writes every weight of a built model, in one step.

    Args:
      model: a Keras model or layer; every layer with weights carries a name of its own.
      path: the file; its folder is made.
      provenance: how the weights came about: `command`, `commit`, `data` (hash of the training data), `metric`, and
        what else helps. `created` (UTC), `versions` and `precision` (the model's dtype policy) are filled in; what is
        still missing of PROVENANCE is recorded as null.
      dtype: "float32", or "float16" to halve the file: kernels (two and more dimensions) are then stored in half
        precision, vectors (biases, norms, moving statistics) stay float32. "int8" halves it once more: whole numbers
        and a scale for each place of the kernel's last axis. Integer variables are stored as they are.
      only: the path of a layer ("encoder"): it alone is written, with all below it.
    Returns:
      The provenance as written.
    Raises:
      ValueError: if the model has no weights, a layer is unbuilt or named automatically ("conv2d_3"), two variables
        have one path, a value is not finite (or too large for float16), `only` names nothing, or the provenance has no
        JSON form.
    """
    variables = _part(_variables(model, saving=True), only)
    arrays = {key: variable.numpy() for key, variable in variables.items()}
    provenance = _provenance(model, provenance)
    _write(Path(path), arrays, provenance, dtype)
    return provenance


def store_anew(
    path: str | os.PathLike[str], out: str | os.PathLike[str], *, dtype: str = "float16", **note: Any
) -> dict[str, Any]:
    """Writes a weights file once more with its kernels in another precision, as `save` has it; no model is built.

    Args:
      path: a file that `save` wrote.
      out: the new one; it may be `path`.
      dtype: as of `save`.
      note: further entries of what the provenance says of this.
    Returns:
      The provenance: the old one, and `stored`, which has dtype, from_sha256 (of the file at `path`) and the note; what
      an earlier time wrote there is its `before`.
    Raises:
      ValueError: as `save` and `load`.
    """
    arrays, told = _read(path)
    before = {"before": told["stored"]} if "stored" in told else {}
    told = {**told, "stored": {"dtype": dtype, "from_sha256": _file_hash(path), **note, **before}}
    _write(Path(out), arrays, told, dtype)
    return told


def load(model: Any, path: str | os.PathLike[str], skip: str | Iterable[str] = (), *, only: str | None = None) -> None:
    """Sets a built model's weights from a file. Everything is checked first: on an error the model is as before.

    Args:
      model: built, with the layer names it was saved with.
      path: a file that `save` wrote.
      skip: layer paths ("logits", "encoder/fc1") that stay untouched, with all below them, such as the last layer where
        the number of classes differs. Whole names only: "fc1" does not skip "fc10".
      only: the path of a layer: it alone is set, whatever else the model and the file have.
    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file is damaged or not ours, a weight is missing, left over or of another shape (the
        message names them and both shapes), or `skip` or `only` names nothing.
    """
    skip = (skip,) if isinstance(skip, str) else tuple(skip)
    variables, (arrays, _) = _part(_variables(model, saving=False), only), _read(path)
    arrays = arrays if only is None else {key: a for key, a in arrays.items() if _below(key, only)}
    for prefix in skip:
        if not any(_below(key, prefix) for key in (*variables, *arrays)):
            raise ValueError(f"skip={prefix!r} names no layer; the model has {_names(variables)}")
    wanted = {key: v for key, v in variables.items() if not any(_below(key, prefix) for prefix in skip)}
    stored = {key: a for key, a in arrays.items() if not any(_below(key, prefix) for prefix in skip)}
    problems = []
    if missing := sorted(wanted.keys() - stored.keys()):
        problems.append("the file lacks " + _shapes({key: tuple(wanted[key].shape) for key in missing}))
    if extra := sorted(stored.keys() - wanted.keys()):
        problems.append("the model lacks " + _shapes({key: stored[key].shape for key in extra}))
    for key in (key for key in wanted if key in stored and tuple(wanted[key].shape) != stored[key].shape):
        problems.append(f"{key} is {stored[key].shape} in the file and {tuple(wanted[key].shape)} in the model")
    if problems:
        raise ValueError(
            f"{path} does not fit the model: {'; '.join(problems)}. Nothing was loaded; skip= leaves layers out"
        )
    for key, variable in wanted.items():
        variable.assign(stored[key].astype(variable.numpy().dtype))


def is_ours(path: str | os.PathLike[str]) -> bool:
    """Whether `save` wrote the file, by the format that it names; False where there is no file or no HDF5 file."""
    try:
        with h5py.File(path, "r") as file:
            return file.attrs.get("format") == FORMAT
    except OSError:
        return False


def provenance(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The provenance recorded in a weights file; the file is verified on the way."""
    return _read(path)[1]


def verify(path: str | os.PathLike[str], sha256: str | None = None) -> str:
    """Checks a file's content against the hash recorded inside, and the whole file against `sha256` where given.

    Returns:
      The content hash, hexadecimal: the same for the same weights and provenance, whatever HDF5 wrote them.
    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if a hash differs; the message shows both.
    """
    arrays, recorded = _read(path)
    if sha256 is not None and (actual := _file_hash(path)) != sha256.lower():
        raise ValueError(f"{path} has sha256 {actual}, expected {sha256}: fetch the file again")
    return _content_hash(arrays, _to_json(recorded))


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of the whole file, hexadecimal, as in weights/README.md."""
    return _file_hash(path)


def released(name: str) -> Path:
    """Finds released weights by name ("fer_net_fer2013", with or without ".h5"), in a checkout or an installed wheel.

    Raises:
      FileNotFoundError: if there are none of this name; the message lists those there are.
    """
    known: dict[str, Path] = {}
    for folder in _folders():
        for path in sorted(folder.glob("*.h5")):
            known.setdefault(path.stem, path)
    stem = name.removesuffix(".h5")
    if stem not in known:
        raise FileNotFoundError(f"no released weights {name!r}; there are: {', '.join(sorted(known)) or 'none'}")
    return known[stem]


def _folders() -> list[Path]:
    """Where released weights lie: a checkout's weights/ (setup.py beside it), then the installed package's."""
    checkout = _PACKAGE.parent
    folders = [checkout / "weights"] if (checkout / "setup.py").is_file() else []
    return [folder for folder in (*folders, _PACKAGE / "released") if folder.is_dir()]


def _variables(model: Any, saving: bool) -> dict[str, Any]:
    """{path: variable} of a model, each variable once: of a shared layer's paths the shortest explicit one."""
    best: dict[int, tuple[tuple[bool, int, str], Any, str]] = {}
    for key, variable, unnamed in _walk(model, "", "", saving):
        rank = (bool(unnamed), key.count("/"), key)
        if id(variable) not in best or rank < best[id(variable)][0]:
            best[id(variable)] = (rank, variable, unnamed)
    unnamed = sorted({unnamed for _, _, unnamed in best.values() if unnamed})
    if unnamed:
        raise ValueError(
            f"give these layers names of their own (not the class name with or without a number, which Keras makes up "
            f"and which changes from run to run): {', '.join(unnamed)}"
        )
    if not best:
        raise ValueError(f"model {model.name!r} has no weights: build it first (call it once on a batch)")
    keys = [rank[2] for rank, _, _ in best.values()]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise ValueError(f"two variables have the path {', '.join(twice)}: give the layers names that differ")
    return {rank[2]: variable for rank, variable, _ in sorted(best.values(), key=lambda entry: entry[0][2])}


def _walk(layer: Any, prefix: str, unnamed: str, saving: bool, above: tuple[int, ...] = ()) -> Iterator[tuple]:
    """Yields (path, variable, first automatically named layer or variable on the path, "" if none)."""
    for variable in compat.own_variables(layer):
        short = variable.name.split(":")[0].rsplit("/", 1)[-1]
        if short.startswith(_SEED_STATE):
            continue
        numbered = re.fullmatch(r"variable(_\d+)?", short, re.IGNORECASE)
        yield prefix + short, variable, unnamed or (f"{prefix}{short}" if numbered else "")
    below = compat.sublayers(layer)
    if saving and not below and not layer.built and _builds(layer):
        raise ValueError(f"layer {prefix.rstrip('/')!r} is not built: call the model once on a batch before saving")
    for child in below:
        if id(child) not in above:
            name = f"{prefix}{child.name}"
            automatic = unnamed or (name if _automatic(child) else "")
            yield from _walk(child, name + "/", automatic, saving, (*above, id(layer)))


def _automatic(layer: Any) -> bool:
    """Whether Keras made up the layer's name: its class name in lower case, usually with a number.

    The bare class name ("dense", or "block" of a class Block) counts too, since the next one made would be "dense_1";
    but of a model class of our own it is taken as deliberate: FERNet(name="fer_net") is its natural name.
    """
    kinds = {type(layer).__name__.lower(), "model" if type(layer).__name__ == "Functional" else ""}
    base = re.sub(r"_\d+$", "", layer.name)
    own_model = isinstance(layer, compat.keras.Model) and type(layer).__module__.split(".")[0] != "keras"
    return base.replace("_", "") in kinds and not (own_model and base == layer.name)


def _builds(layer: Any) -> bool:
    """Whether the layer's class has a build() of its own, so that it may still be about to create weights."""
    owner = next((cls for cls in type(layer).__mro__ if "build" in vars(cls)), None)
    return owner is not None and owner.__name__ not in ("Layer", "Operation", "InputLayer", "BaseRandomLayer")


def _write(path: Path, arrays: Mapping[str, np.ndarray], provenance: Mapping[str, Any], dtype: str) -> None:
    """Writes the file of `save`, in one step."""
    if dtype not in DTYPES:
        raise ValueError(f"weights are stored as {', '.join(DTYPES[:-1])} or {DTYPES[-1]}, not {dtype}")
    text, arrays = _to_json(provenance), {key: _stored(key, array, dtype) for key, array in arrays.items()}
    files.make_folder(path.parent)
    with files.replacing(path) as part, h5py.File(part, "w") as file:
        written = {key: _put(file, key, array, dtype) for key, array in arrays.items()}
        file.attrs.update({"format": FORMAT, "provenance": text, "content_sha256": _content_hash(written, text)})


def _put(file: h5py.File, key: str, array: np.ndarray, dtype: str) -> np.ndarray:
    """Writes one variable, and gives what `_read` will find."""
    if dtype != "int8" or array.dtype.kind in "iub" or array.ndim < 2:
        file.create_dataset(key, data=array, track_times=False)
        return array
    largest = np.abs(array).max(tuple(range(array.ndim - 1)))
    scale = np.where(largest > 0, largest / 127, 1).astype("float32")
    whole = np.rint(array / scale).astype("int8")
    dataset = file.create_dataset(key, data=whole, track_times=False, compression="gzip")
    dataset.attrs["scale"] = scale
    return whole * scale


def _get(dataset: h5py.Dataset) -> np.ndarray:
    """One variable; of whole numbers and their scale the product, float32."""
    return dataset[()] * dataset.attrs["scale"] if "scale" in dataset.attrs else dataset[()]


def _stored(key: str, value: np.ndarray, dtype: str) -> np.ndarray:
    if value.dtype.kind in "iub":
        return value
    with np.errstate(over="ignore"):
        array = value.astype("float16" if dtype == "float16" and value.ndim > 1 else "float32")
    if not np.isfinite(array).all():
        raise ValueError(f"{key} holds values that are not finite in {array.dtype}: nothing was saved")
    return array


def _provenance(model: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    versions = {
        name: sys.modules[name].__version__ for name in ("tensorflow", "keras", "numpy", "h5py") if name in sys.modules
    }
    filled: dict[str, Any] = {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {"python": sys.version.split()[0], **versions},
        "precision": compat.precision_of(model),
    }
    return {**dict.fromkeys(PROVENANCE), **filled, **given}


def _to_json(given: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(given, sort_keys=True, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the provenance must be plain values that JSON can hold: {error}") from error
    if len(text.encode()) > _ATTRIBUTE_LIMIT:
        raise ValueError(f"the provenance has {len(text.encode())} bytes of JSON; at most {_ATTRIBUTE_LIMIT} fit")
    return text


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the provenance of a weights file whose content hash holds."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"no weights file {path}")
    arrays: dict[str, np.ndarray] = {}
    try:
        with h5py.File(path, "r") as file:
            kind, text, recorded = (file.attrs.get(key) for key in ("format", "provenance", "content_sha256"))
            if kind == FORMAT:
                file.visititems(
                    lambda k, item: arrays.update({k: _get(item)}) if isinstance(item, h5py.Dataset) else None
                )
    except OSError as error:
        raise ValueError(f"{path} is no HDF5 file, or a damaged one: {error}") from error
    if kind != FORMAT:
        raise ValueError(f"{path} was not written by fer_tf.weights (format {kind!r}, expected {FORMAT!r})")
    if _content_hash(arrays, text) != recorded:
        raise ValueError(f"{path} is damaged: its content does not match the hash recorded inside; fetch it again")
    return arrays, json.loads(text)


def _content_hash(arrays: Mapping[str, np.ndarray], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for key in sorted(arrays):
        array = np.ascontiguousarray(arrays[key])
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"\n{key} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _file_hash(path: str | os.PathLike[str]) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _part(variables: dict[str, Any], only: str | None) -> dict[str, Any]:
    """The variables at or below the path `only`; all for None."""
    part = variables if only is None else {key: v for key, v in variables.items() if _below(key, only)}
    if not part:
        raise ValueError(f"only={only!r} names no layer; the model has {_names(variables)}")
    return part


def _below(key: str, prefix: str) -> bool:
    return key == prefix or key.startswith(prefix.rstrip("/") + "/")


def _names(variables: Mapping[str, Any]) -> str:
    return ", ".join(sorted({key.rpartition("/")[0] or key for key in variables}))


def _shapes(shapes: Mapping[str, tuple[int, ...]], limit: int = 8) -> str:
    shown = [f"{key} {tuple(shape)}" for key, shape in list(shapes.items())[:limit]]
    return ", ".join(shown) + (f" and {len(shapes) - limit} more" if len(shapes) > limit else "")
