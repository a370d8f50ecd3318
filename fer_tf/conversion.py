"""A classifier outside of TensorFlow: ONNX and LiteRT files that take faces as they come, with a JSON beside them.

    conversion.save(recognise.predictor("fer_net"), "fer_net.onnx")
    conversion.save(recognise.predictor("fer_net"), "fer_net.tflite", quantize="int8", faces=faces)
    conversion.load("fer_net.tflite")(face)               # (H, W, 3) uint8 -> (1, K) probabilities, as of export.load

A file has one input and one output:

    faces: uint8 (N, H, W, 3), RGB, framed as `faces.align` frames them, one size a call, any size
      -> probabilities: (N, K) float32, the classes in the order of the JSON

Resizing, grey and the test view are inside. ONNX computes them as the SavedModel does, Pillow's bicubic resizing bit
for bit; LiteRT in float32, by which now and then a pixel is off by one of 255. A LiteRT interpreter is told the size of
the faces with `resize_tensor_input` before it makes room for them.

Quantisation: `float16` stores weights in half the bytes, and computes in float32. `int8` (LiteRT alone) stores a
quarter and computes the network in whole numbers, whose ranges are those that the given faces have; what comes before
its first convolution and after its last layer stays in float32.

Writing ONNX needs tf2onnx, and reading it onnxruntime (extra `export`). LiteRT is in TensorFlow; where ai_edge_litert
is installed, its interpreter reads.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from fer_tf import devices, export, files
from fer_tf.framing import framed

FORMATS = {".onnx": "onnx", ".tflite": "litert"}
"""Ending of a file -> its format."""
QUANTIZE = ("none", "float16", "int8")
"""How weights are stored."""
TOLERANCES = {
    "onnx": {"none": 1e-5, "float16": 1e-2},
    "litert": {"none": 1e-3, "float16": 1e-2, "int8": 1.0},
}
"""Format -> quantisations -> largest difference of a probability from the model's, where its metadata have no larger
"tolerance"; int8 is as far off as it is."""
LARGEST = 1e-2
"""A model's own tolerance counts up to here: exports of before may have a word of their own there."""
PACKAGES: dict[str, tuple[str, ...]] = {"onnx": ("onnx", "tf2onnx", "onnxruntime"), "litert": ()}
"""Format -> what it needs of the extra `export`."""
ALIKE = {"int8": 0.75}
"""Quantisation -> smallest share of faces that are named as the model names them."""
OPSET = 17
"""Version of ONNX's operations, of 2022: onnxruntime 1.12 and later reads it."""
SMALLEST = 1024
"""Values of the smallest tensor that `float16` stores in half precision in an ONNX file."""
FOREIGN = "LiteRT has no form of one of this model's operations, as of GCNet's CLAHE: write ONNX, or a SavedModel."
UNREAD = (
    "onnxruntime does not take what was written of this model (it takes no patches as IA-gen's): write a SavedModel."
)
MISSING = 'ONNX needs {name}: `pip install "fer-tf[export]"`.'


def format_of(path: str | os.PathLike[str]) -> str:
    """The format of a file, by its ending.

    Raises:
      ValueError: another ending.
    """
    ending = Path(path).suffix.lower()
    if ending not in FORMATS:
        raise ValueError(f"{path}: an ONNX file ends with .onnx, a LiteRT file with .tflite.")
    return FORMATS[ending]


def check_quantisation(kind: str, quantize: str) -> None:
    """Raises ValueError where a format has no such quantisation; the message says what has."""
    if quantize not in QUANTIZE:
        raise ValueError(f"quantize={quantize} is none of {', '.join(QUANTIZE)}.")
    if kind == "onnx" and quantize == "int8":
        raise ValueError("ONNX is written in float32 or float16 here; int8 is LiteRT's: a .tflite file.")


def save(
    model: export.Predictor,
    path: str | os.PathLike[str],
    *,
    quantize: str = "none",
    faces: Sequence[np.ndarray] = (),
    metadata: Mapping[str, Any] | None = None,
) -> float:
    """Writes the model to a file, and its description to `beside_of(path)`; both appear only if they are right.

    Args:
      model: as `recognise.predictor` gives it.
      path: ends with .onnx or .tflite.
      quantize: one of QUANTIZE.
      faces: uint8 (H, W) or (H, W, 1|3), framed; the file is compared with the model on them, and int8's ranges are
        theirs. Faces of noise when left out, which int8 does not take.
      metadata: further entries of the JSON.
    Returns:
      The largest difference of a probability.
    Raises:
      ImportError: a package is missing; the message says which.
      ValueError: a format, or quantisation, that there is none of, no faces for int8, a place that nothing can be
        written to, a model that compares faces or computes what the format cannot, or a file that differs from the
        model by more than TOLERANCES and ALIKE allow. What stood at `path` stays.
    """
    path, kind = Path(path), format_of(path)
    check_quantisation(kind, quantize)
    need(kind)
    make_room(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give a file.")
    shown = [_coloured(face) for face in faces] or export.noise(model.template)
    if quantize == "int8" and not faces:
        raise ValueError("int8 takes its ranges from faces: give some, a hundred or more, of all expressions.")
    data = to_onnx(model, quantize) if kind == "onnx" else to_litert(model, quantize, shown)
    about = description(model, path.name, kind, quantize) | dict(metadata or {})
    with files.replacing(path) as part, files.replacing(beside_of(path)) as beside:
        part.write_bytes(data)
        beside.write_text(json.dumps(about, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        try:
            serve = _serving(part, kind)
        except ImportError:
            raise
        except Exception as error:  # onnxruntime has kinds of its own
            if kind != "onnx":
                raise
            raise ValueError(f"{UNREAD} onnxruntime says: {str(error).splitlines()[0]}") from error
        return check(model, export.Predictor(serve, about), shown, kind, quantize)


def beside_of(path: str | os.PathLike[str]) -> Path:
    """The JSON of a file or folder: net.onnx.json of net.onnx."""
    return Path(path).with_name(f"{Path(path).name}.json")


def need(kind: str) -> None:
    """Raises ImportError where a package of a format is missing; the message says which, and how to get it."""
    for name in PACKAGES[kind]:
        _needed(name)


def make_room(path: Path) -> None:
    """Makes the folder that a file or folder goes into.

    Raises:
      ValueError: it cannot be made.
    """
    try:
        files.make_folder(path.parent)
    except OSError as error:
        raise ValueError(f"{path}: the folder {path.parent} cannot be made ({error.strerror}).") from error


def check(
    model: export.Predictor, other: export.Predictor, faces: Sequence[np.ndarray], kind: str, quantize: str
) -> float:
    """The largest difference of a probability between a model and what is made of it, on faces.

    Raises:
      ValueError: it is not a number or above TOLERANCES, or fewer faces than ALIKE says are named alike.
    """
    with devices.whole_float32():
        expected, found = model(list(faces)), other(list(faces))
    difference = float(np.abs(expected - found).max())
    tolerance, own = TOLERANCES[kind][quantize], model.metadata.get("tolerance")
    tolerance = max(tolerance, own) if isinstance(own, float) and own <= LARGEST else tolerance
    if not difference <= tolerance:
        raise ValueError(
            f"The export is wrong: on {len(faces)} faces it differs from the model by {difference:.3g} where at most "
            f"{tolerance:g} is allowed. Nothing was written."
        )
    same = int((expected.argmax(-1) == found.argmax(-1)).sum())
    if same < ALIKE.get(quantize, 0.0) * len(faces):
        raise ValueError(
            f"{quantize} names only {same} of {len(faces)} faces as the model does, and nothing was written: give more "
            "faces, of all expressions, or quantise less."
        )
    return difference


def description(model: export.Predictor, name: str, kind: str, quantize: str) -> dict[str, Any]:
    """What stands in the JSON beside a file: the model's metadata, and how faces go in and names come out."""
    (height, width), (h, w) = model.template.size, model.metadata["view_size"]
    grey = "ITU-R BT.601 grey" if model.metadata["channels"] == 1 else "RGB"
    return {
        **model.metadata,
        "format": f"fer_tf.{kind}.1",
        "file": name,
        "quantize": quantize,
        "input": {"name": "faces", "dtype": "uint8", "shape": ["N", "H", "W", 3], "colours": "RGB"},
        "output": {"name": "probabilities", "dtype": "float32", "shape": ["N", len(model.classes)]},
        "preprocessing": f"Inside the file: bicubic resizing to {width}x{height} (antialiased, Pillow's), {grey}, the "
        f"test view of {w}x{h}, values / 255. Outside: a face is cut out so that its eyes, nose and mouth lie where "
        "template.points (x, y of template.size) says.",
    }


def _coloured(face: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 1|3) -> (H, W, 3)."""
    face = np.asarray(face)
    face = face[..., None] if face.ndim == 2 else face
    return np.broadcast_to(face, (*face.shape[:2], 3))


def _function(model: export.Predictor, exact: bool) -> tuple[Any, tf.Module]:
    """Faces of any size -> probabilities, as a concrete function, and what holds it."""
    size, channels, of_framed = model.template.size, model.metadata["channels"], model.alone().of_framed

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, "faces")])
    def probabilities(faces: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": of_framed(framed(faces, size, channels, exact))}

    holder = tf.Module()
    holder.probabilities, holder.of_framed = probabilities, of_framed
    return probabilities, holder


def _needed(name: str) -> Any:
    """A module of the extra `export`.

    Raises:
      ImportError: it is not installed; one sentence.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(MISSING.format(name=name) if error.name == name else f"{name}: {error}") from error


def to_onnx(model: export.Predictor, quantize: str = "none") -> bytes:
    """The model as an ONNX file; errors as of `save`."""
    check_quantisation("onnx", quantize)
    tf2onnx, onnx = _needed("tf2onnx"), _needed("onnx")
    function, _ = _function(model, exact=True)
    made, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=OPSET)
    if quantize == "float16":
        _halve(made.graph, onnx)
    return made.SerializeToString()


def _halve(graph: Any, onnx: Any) -> None:
    """Stores the large float32 tensors of an ONNX graph in half precision, with a cast to float32 behind each."""
    casts = []
    for tensor in graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size >= SMALLEST:
            name = tensor.name
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}__half"))
            casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], f"{name}__cast", to=1))  # 1: float32
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def to_litert(model: export.Predictor, quantize: str = "none", faces: Sequence[np.ndarray] = ()) -> bytes:
    """The model as a LiteRT file; errors as of `save`.

    Args:
      model, quantize: as of `save`.
      faces: (H, W, 3) uint8 that int8 takes its ranges from.
    """
    check_quantisation("litert", quantize)
    function, holder = _function(model, exact=False)
    lite = getattr(tf, "lite", None)
    if lite is None or not hasattr(lite, "TFLiteConverter"):
        raise ImportError(f"TensorFlow {tf.__version__} has no tf.lite.TFLiteConverter any more: use an earlier one.")
    with _quiet():
        converter = lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], holder)
        if quantize == "float16":
            converter.optimizations = [lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        try:
            made = converter.convert()
        except Exception as error:  # of a kind that no public module has
            if "neither a custom op nor a flex op" in str(error):
                raise ValueError(FOREIGN) from None
            raise
        if quantize != "int8":
            return made
        whole = _in_float32(made)
        return _int8(converter, whole, [framed(face[None], model.template.size, 3).numpy() for face in faces])


def _int8(converter: Any, whole: Sequence[str], faces: Sequence[np.ndarray]) -> bytes:
    """Quantises a model, but not what computes the tensors that `whole` names."""
    lite = tf.lite

    def shown() -> Iterator[list[np.ndarray]]:
        yield from ([face] for face in faces)

    converter.optimizations, converter.representative_dataset = [lite.Optimize.DEFAULT], shown
    # the converter's own options quantise all that they can, the resizing too; the debugger leaves tensors out
    options = lite.experimental.QuantizationDebugOptions(denylisted_nodes=list(whole))
    debugger = lite.experimental.QuantizationDebugger(converter=converter, debug_dataset=shown, debug_options=options)
    return debugger.get_nondebug_quantized_model()


def _in_float32(data: bytes) -> list[str]:
    """The tensors that are computed before the first convolution of a LiteRT file, and after its last full layer."""
    interpreter = _interpreter(model_content=data)
    steps = interpreter._get_ops_details()  # nothing public says in which order they come
    kinds = [step["op_name"] for step in steps]
    first = next(i for i, kind in enumerate(kinds) if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"))
    last = max(i for i, kind in enumerate(kinds) if kind in ("CONV_2D", "FULLY_CONNECTED"))
    names = {tensor["index"]: tensor["name"] for tensor in interpreter.get_tensor_details()}
    return [names[out] for step in (*steps[:first], *steps[last + 1 :]) for out in step["outputs"]]


def load(path: str | os.PathLike[str]) -> export.Predictor:
    """Loads what `save` wrote.

    Raises:
      FileNotFoundError: there is no such file, or no JSON beside it.
      ImportError: a package is missing; the message says which.
      ValueError: it is no such file.
    """
    path, kind = Path(path), format_of(path)
    beside = beside_of(path)
    for file in (path, beside):
        if not file.is_file():
            raise FileNotFoundError(f"There is no {file}: an exported file and its JSON go together.")
    try:
        about = json.loads(beside.read_text(encoding="utf-8"))
        if about["format"] != f"fer_tf.{kind}.1":
            raise ValueError(f"it describes {about['format']}")
        return export.Predictor(_serving(path, kind), about)
    except ImportError:
        raise
    except Exception as error:  # onnxruntime has kinds of its own
        raise ValueError(f"{path} or {beside.name} beside it is damaged: {str(error).splitlines()[0]}") from error


def _serving(path: Path, kind: str) -> Callable[..., Mapping[str, tf.Tensor]]:
    """faces (N, H, W, 1|3) uint8 -> {"probabilities"}, by the runtime of the format."""
    return _by_onnx(path) if kind == "onnx" else _by_litert(path)


def _by_onnx(path: Path) -> Callable[..., Mapping[str, tf.Tensor]]:
    runtime = _needed("onnxruntime")
    options = runtime.SessionOptions()
    if hasattr(os, "sched_getaffinity"):  # its own choice is all cores, also those that the process may not use
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = runtime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])

    def serve(faces: tf.Tensor) -> Mapping[str, tf.Tensor]:
        return {"probabilities": tf.constant(session.run(["probabilities"], {"faces": _three(faces)})[0])}

    return serve


def _by_litert(path: Path) -> Callable[..., Mapping[str, tf.Tensor]]:
    interpreter = _interpreter(model_content=path.read_bytes())
    (source,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    ready: list[tuple[int, ...]] = []

    def serve(faces: tf.Tensor) -> Mapping[str, tf.Tensor]:
        pixels = _three(faces)
        if ready != [pixels.shape]:
            interpreter.resize_tensor_input(source["index"], pixels.shape)
            interpreter.allocate_tensors()
            ready[:] = [pixels.shape]
        interpreter.set_tensor(source["index"], pixels)
        interpreter.invoke()
        return {"probabilities": tf.constant(interpreter.get_tensor(answer["index"]))}

    return serve


def _three(faces: tf.Tensor) -> np.ndarray:
    """(N, H, W, 1|3) -> (N, H, W, 3)."""
    pixels = np.asarray(faces)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:3], 3)))


def _interpreter(**options: Any) -> Any:
    """LiteRT's interpreter, of ai_edge_litert where that is installed, else TensorFlow's."""
    try:
        made = importlib.import_module("ai_edge_litert.interpreter").Interpreter
    except ImportError:
        made = getattr(getattr(tf, "lite", None), "Interpreter", None)
    if made is None:
        raise ImportError(f"TensorFlow {tf.__version__} has no LiteRT interpreter: `pip install ai-edge-litert`.")
    with _quiet():
        return made(**options)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """TensorFlow's word that LiteRT moves to a package of its own is no news here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
