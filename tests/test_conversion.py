"""fer_tf.conversion: ONNX and LiteRT files say of rendered faces what the model says, or nothing is written."""

import importlib
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fer_tf import conversion, export, pipeline, recognise, weights
from fer_tf.compat import keras
from fer_tf.datasets import rendered
from fer_tf.framing import framed
from fer_tf.models import se_resnet
from fer_tf.records import CLASSES


@pytest.fixture(scope="module")
def net():
    """The released SE-ResNet: eight classes, a temperature, and a balance."""
    return export.rebuild(weights.released("se_resnet_ferplus"))


@pytest.fixture(scope="module")
def se(net):
    """The same, which takes faces as they are."""
    return export.predictor(net)


@pytest.fixture(scope="module")
def shown():
    """Rendered faces: eight 70x70 in colour, four larger or oblong, of which one is grey."""
    listed = rendered.records(part="wild")[::107][:12]
    faces = [pipeline.face(record, "ia_gen", 3) for record in listed]
    sizes = ((48, 48), (97, 120), (64, 33), (150, 150))
    others = [np.asarray(Image.fromarray(f).resize(s[::-1])) for f, s in zip(faces[8:], sizes, strict=True)]
    return [*faces[:8], *others[:3], np.asarray(Image.fromarray(others[3]).convert("L"))]


@pytest.fixture(scope="module")
def lite_file(se, shown, tmp_path_factory):
    """(path, the difference that `save` measured) of a LiteRT file of the SE-ResNet, which needs no extra."""
    path = tmp_path_factory.mktemp("litert") / "deeper" / "net.tflite"
    return path, conversion.save(se, path, faces=shown, metadata={"data": "none"})


def with_onnx():
    """Skips where the extra `export` is not installed."""
    for name in conversion.PACKAGES["onnx"]:
        pytest.importorskip(name, reason=f"the extra `export` ({name}) is not installed")


def test_what_is_converted_says_what_the_network_says(net, se, shown):
    """With its temperature and balance; grey and resizing are Pillow's."""
    faces = [Image.fromarray(face).convert("RGB") for face in (*shown[:2], *shown[8:])]
    grey = [np.asarray(f.resize((70, f.height), 3).resize((70, 70), 3).convert("L")) for f in faces]
    view = tf.constant(np.stack(grey)[..., None] / 255.0, tf.float32)
    assert net.temperature < 0.9 and net.balance == 1  # leaving either out is seen
    np.testing.assert_allclose(se([*shown[:2], *shown[8:]]), net.classify(view).numpy(), atol=1e-5)


def test_a_litert_file_says_what_the_model_says(se, shown, lite_file):
    """Of sizes that come one after the other, too: one interpreter answers all."""
    path, difference = lite_file
    expected, found = se(shown), conversion.load(path)
    assert len({*expected.argmax(-1)}) > 3 and np.ptp(expected, axis=0).max() > 0.5  # the comparison can fail
    assert 0 < difference <= 1e-3
    for _ in range(2):
        np.testing.assert_allclose(found(shown), expected, atol=1e-3)
    np.testing.assert_allclose(found(shown[::-1]), expected[::-1], atol=1e-3)
    np.testing.assert_allclose(np.concatenate([found(face) for face in shown]), expected, atol=1e-3)
    assert found([]).shape == (0, 8)
    (face,) = recognise.faces(shown[0], model=str(path))
    assert face.confidence == pytest.approx(expected[0].max(), abs=1e-3)
    assert face.expression == se.classes[expected[0].argmax()]


def test_the_json_says_how_faces_go_in_and_names_come_out(se, lite_file):
    path, _ = lite_file
    about = json.loads(path.with_name("net.tflite.json").read_text())
    assert about["classes"] == list(CLASSES["eight"])
    assert about["template"]["size"] == [70, 70] and len(about["template"]["points"]) == 5
    np.testing.assert_allclose(about["template"]["points"], se.template.points)
    names = ("format", "quantize", "file", "data", "model")
    assert [about[name] for name in names] == ["fer_tf.litert.1", "none", "net.tflite", "none", "SEResNet"]
    assert about["input"] == {"name": "faces", "dtype": "uint8", "shape": ["N", "H", "W", 3], "colours": "RGB"}
    assert about["output"] == {"name": "probabilities", "dtype": "float32", "shape": ["N", 8]}
    for words in ("resizing to 70x70", "BT.601 grey", "the test view of 70x70", "values / 255"):
        assert words in about["preprocessing"]


def test_colours_are_told_apart(se, shown, lite_file):
    """A file that took red for blue would say something else: grey weighs them differently."""
    found = conversion.load(lite_file[0])
    red = np.array(shown[0]) * np.array([1, 0, 0], np.uint8)
    assert np.abs(se(red) - se(red[..., ::-1])).max() > 0.01
    np.testing.assert_allclose(found(red), se(red), atol=1e-3)


def test_what_is_exported_is_not_exported_again(lite_file, tmp_path):
    with pytest.raises(ValueError, match="cannot be exported once more: give what it was made from"):
        conversion.save(conversion.load(lite_file[0]), tmp_path / "again.tflite")
    assert not list(tmp_path.iterdir())


def test_a_file_of_another_model_is_not_written(se, shown, lite_file, tmp_path, monkeypatch):
    (tmp_path / "net.tflite").write_bytes(b"of before")
    monkeypatch.setattr(conversion, "to_litert", lambda *words: lite_file[0].read_bytes())
    other = export.Predictor(lambda faces: {"probabilities": se._serve(faces)["probabilities"][:, ::-1]}, se.metadata)
    with pytest.raises(ValueError, match=r"on 12 faces it differs from the model by 0\.\d+ where at most 0\.001"):
        conversion.save(other, tmp_path / "net.tflite", faces=shown)
    with pytest.raises(ValueError, match=r"int8 names only \d of 12 faces as the model does, and nothing was written"):
        conversion.save(other, tmp_path / "net.tflite", faces=shown, quantize="int8")
    assert [path.name for path in tmp_path.iterdir()] == ["net.tflite"]
    assert (tmp_path / "net.tflite").read_bytes() == b"of before"


@pytest.mark.parametrize("size", [(33, 97), (70, 70), (200, 160)])
def test_resizing_in_float32_is_off_by_one_at_most(size):
    faces = tf.constant(np.random.default_rng(1).integers(0, 256, (2, *size, 3), np.uint8))
    difference = np.abs(framed(faces, (70, 70), 1, False).numpy().astype(int) - framed(faces, (70, 70), 1).numpy())
    assert difference.max() <= 1 and (difference > 0).mean() < 0.001


@pytest.mark.parametrize("half", [False, True])
def test_litert_resizes_as_pillow_does(shown, half):
    """XNNPACK takes 1 / sum for the mean; half precision has no 1 / 70."""

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, "faces")])
    def resized(faces):
        return framed(faces, (70, 70), 1, False)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([resized.get_concrete_function()], tf.Module())
    if half:
        converter.optimizations, converter.target_spec.supported_types = [tf.lite.Optimize.DEFAULT], [tf.float16]
    interpreter = conversion._interpreter(model_content=converter.convert())
    (source,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    for face in (shown[0], *shown[8:11]):
        interpreter.resize_tensor_input(source["index"], (1, *face.shape))
        interpreter.allocate_tensors()
        interpreter.set_tensor(source["index"], face[None])
        interpreter.invoke()
        difference = np.abs(interpreter.get_tensor(answer["index"]).astype(int) - framed(face[None], (70, 70)).numpy())
        assert difference.max() <= 1 and (difference > 0).mean() < 0.002


@pytest.mark.slow
def test_an_onnx_file_of_a_small_net(shown, tmp_path):
    """Half precision is of large weights alone."""
    with_onnx()
    onnx, path = importlib.import_module("onnx"), tmp_path / "net.onnx"
    keras.utils.set_random_seed(4)
    small = export.predictor(se_resnet.SEResNet(width=8, blocks=1, size=16))
    assert conversion.save(small, path, faces=shown) <= 1e-5
    np.testing.assert_allclose(recognise.predictor(path)(shown), small(shown), atol=1e-5)
    made = onnx.load(str(path))
    before = {t.name: tuple(t.dims) for t in made.graph.initializer}
    conversion._halve(made.graph, onnx)
    onnx.checker.check_model(made)  # the order of its steps, for one
    kinds = {t.name: (t.data_type, int(np.prod(t.dims))) for t in made.graph.initializer}
    assert all((kind == 10) == name.endswith("__half") for name, (kind, _) in kinds.items())  # 10: float16
    assert {name for name, (_, size) in kinds.items() if size >= 1024} == {
        f"{name}__half" for name, dims in before.items() if np.prod(dims) >= 1024
    }
    path.write_bytes(made.SerializeToString())
    assert 0 < np.abs(conversion.load(path)(shown) - small(shown)).max() <= 1e-2


FORMS = {
    "none.onnx": 1e-5,
    "float16.onnx": 1e-2,
    "none.tflite": 1e-3,
    "float16.tflite": 1e-2,
    "int8.tflite": 0.35,
}
"""Released networks on rendered faces: quantisation and ending -> largest difference of a probability."""


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["fer_net_fer2013", "se_resnet_ferplus"])
def test_a_released_net_in_every_form(name, form, shown, tmp_path):
    if form.endswith(".onnx"):
        with_onnx()
    model, path = export.released(name), tmp_path / form
    extra = [pipeline.face(record, "ia_gen", 3) for record in rendered.records(part="wild")[3::21]]
    ranges = extra if form == "int8.tflite" else []
    conversion.save(model, path, quantize=path.stem, faces=[*shown, *ranges])
    expected, found = model(shown), conversion.load(path)
    difference = np.abs(found(shown) - expected).max()
    assert 0 < difference <= FORMS[form]
    assert found.classes == model.classes
    same = (found(extra).argmax(-1) == model(extra).argmax(-1)).mean()
    assert same >= (0.9 if form == "int8.tflite" else 0.98)
    megabytes = path.stat().st_size / 1e6
    low, high = {"none": (11, 12), "float16": (5.6, 6.1), "int8": (2.8, 3.4)}[path.stem]
    assert low < megabytes < high


@pytest.mark.slow
def test_int8_leaves_what_is_before_and_after_the_net_in_float32(se, shown, tmp_path):
    path = tmp_path / "net.tflite"
    conversion.save(se, path, quantize="int8", faces=shown)
    interpreter = conversion._interpreter(model_path=str(path))
    kinds = {tensor["index"]: tensor["dtype"] for tensor in interpreter.get_tensor_details()}
    steps = [(s["op_name"], {kinds[i] for i in s["outputs"]}) for s in interpreter._get_ops_details()]
    first = next(i for i, (name, _) in enumerate(steps) if name == "CONV_2D")
    assert all(np.int8 not in kinds or name == "QUANTIZE" for name, kinds in steps[:first])
    assert all(kinds == {np.int8} for name, kinds in steps[first:] if name == "ADD")
    convolutions = [kinds for name, kinds in steps if name == "CONV_2D"]
    assert convolutions == [{np.int8}] * len(convolutions) and len(convolutions) > 30
    (softmax,) = [kinds for name, kinds in steps if name == "SOFTMAX"]
    assert softmax == {np.float32}


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("net.onnx", {"quantize": "int8"}, "int8 is LiteRT's"),
        ("net.pt", {}, "an ONNX file ends with .onnx, a LiteRT file with .tflite"),
        ("net.tflite", {"quantize": "int4"}, "none of none, float16, int8"),
        ("net.tflite", {"quantize": "int8"}, "int8 takes its ranges from faces"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(se, tmp_path, name, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        conversion.save(se, tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


def test_places_that_nothing_can_be_written_to(se, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"the folder .*file/deeper cannot be made \(Not a directory\)"):
        conversion.save(se, tmp_path / "file" / "deeper" / "net.tflite")
    (tmp_path / "net.tflite").mkdir()
    with pytest.raises(ValueError, match="net.tflite is a folder: give a file"):
        conversion.save(se, tmp_path / "net.tflite")


@pytest.mark.parametrize("lacking", ["tf2onnx", "onnx", "onnxruntime"])
def test_a_missing_extra_is_said_in_a_sentence(se, tmp_path, monkeypatch, lacking):
    def without(name, *more):
        if name == lacking:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return object()

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(ImportError, match=rf'ONNX needs {lacking}: `pip install "fer-tf\[export\]"`'):
        conversion.save(se, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="an exported file and its JSON go together"):
        conversion.load(tmp_path / "net.tflite")
    (tmp_path / "net.tflite").write_bytes(b"nothing of the kind" * 9)
    (tmp_path / "net.tflite.json").write_text('{"format": "fer_tf.litert.1"}')
    with pytest.raises(ValueError, match="net.tflite or net.tflite.json beside it is damaged"):
        conversion.load(tmp_path / "net.tflite")
