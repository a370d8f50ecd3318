"""fer_tf.conversion: ONNX and LiteRT files say of rendered faces what the model says, or nothing is written."""

import importlib
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fer_tf import conversion, export, pipeline, recognise
from fer_tf.compat import keras
from fer_tf.datasets import rendered
from fer_tf.framing import framed
from fer_tf.models import fer_net, se_resnet
from fer_tf.records import CLASSES


@pytest.fixture(scope="module")
def shown():
    """Rendered faces: eight 70x70 in colour, four larger or oblong, of which one is grey."""
    listed = rendered.records(part="wild")[::107][:12]
    faces = [pipeline.face(record, "ia_gen", 3) for record in listed]
    sizes = ((48, 48), (97, 120), (64, 33), (150, 150))
    others = [np.asarray(Image.fromarray(f).resize(s[::-1])) for f, s in zip(faces[8:], sizes, strict=True)]
    return [*faces[:8], *others[:3], np.asarray(Image.fromarray(others[3]).convert("L"))]


def steep(net, faces):
    """The same net with a head whose answers differ from face to face."""
    rng, images = np.random.default_rng(0), np.stack([np.asarray(f)[..., :1] for f in faces[:8]]) / np.float32(255)
    net.head.kernel.assign(rng.standard_normal(net.head.kernel.shape).astype(np.float32))
    logits = net.logits(tf.constant(images)).numpy()
    factor = 0.7 / (logits - logits.mean(0)).std()
    net.head.kernel.assign(net.head.kernel * factor)
    net.head.bias.assign(-factor * logits.mean(0))
    return net


@pytest.fixture(scope="module")
def fer(shown):
    """A small FER-Net."""
    keras.utils.set_random_seed(3)
    return export.predictor(steep(fer_net.FERNet(classes=CLASSES["six"], width=8, blocks=1, hidden=8), shown))


@pytest.fixture(scope="module")
def se(shown):
    """A small SE-ResNet, two heads, eight classes."""
    keras.utils.set_random_seed(4)
    return export.predictor(steep(se_resnet.tiny()[0], shown))


@pytest.fixture(scope="module")
def onnx_file(fer, shown, tmp_path_factory):
    """(path, the difference that `save` measured) of the FER-Net."""
    pytest.importorskip("tf2onnx")
    pytest.importorskip("onnxruntime")
    path = tmp_path_factory.mktemp("onnx") / "deeper" / "net.onnx"
    return path, conversion.save(fer, path, faces=shown, metadata={"data": "none"})


def test_an_onnx_file_says_what_the_model_says(fer, shown, onnx_file):
    path, difference = onnx_file
    expected = fer(shown)
    assert np.ptp(expected, axis=0).max() > 0.1 and expected.max() < 0.999  # the comparison can fail
    assert 0 <= difference <= 1e-5
    np.testing.assert_allclose(conversion.load(path)(shown), expected, atol=1e-5)
    assert recognise.predictor(path)(shown[9]).argmax() == expected[9].argmax()
    (face,) = recognise.faces(shown[0], model=str(path))
    assert face.confidence == pytest.approx(expected[0].max(), abs=1e-5)
    about = json.loads(path.with_suffix(".json").read_text())
    assert about["classes"] == list(CLASSES["six"]) and about["template"]["size"] == [70, 70]
    assert (about["format"], about["quantize"], about["file"], about["data"]) == (
        "fer_tf.onnx.1",
        "none",
        "net.onnx",
        "none",
    )
    assert "70x70" in about["preprocessing"] and "64x64" in about["preprocessing"]


def test_what_is_exported_is_not_exported_again(onnx_file, tmp_path):
    with pytest.raises(ValueError, match="cannot be exported once more: give what it was made from"):
        conversion.save(conversion.load(onnx_file[0]), tmp_path / "again.tflite")


def test_half_precision_of_onnx_is_of_large_weights_alone(fer, shown, onnx_file, tmp_path):
    onnx, path = pytest.importorskip("onnx"), tmp_path / "half.onnx"
    made = onnx.load(str(onnx_file[0]))
    before = {t.name: tuple(t.dims) for t in made.graph.initializer}
    conversion._halve(made.graph, onnx)
    kinds = {t.name: (t.data_type, int(np.prod(t.dims))) for t in made.graph.initializer}
    assert all((kind == 10) == name.endswith("__half") for name, (kind, _) in kinds.items())  # 10: float16
    assert {name for name, (_, size) in kinds.items() if size >= 1024} == {
        f"{name}__half" for name, dims in before.items() if np.prod(dims) >= 1024
    }
    path.write_bytes(made.SerializeToString())
    path.with_suffix(".json").write_text(onnx_file[0].with_suffix(".json").read_text())
    difference = np.abs(conversion.load(path)(shown) - fer(shown)).max()
    assert 0 < difference <= 1e-2


def test_a_file_of_another_model_is_not_written(fer, se, shown, onnx_file, tmp_path, monkeypatch):
    monkeypatch.setattr(conversion, "to_onnx", lambda *words: onnx_file[0].read_bytes())
    other = export.predictor(steep(fer_net.FERNet(classes=CLASSES["six"], width=4, blocks=1, hidden=4), shown))
    with pytest.raises(ValueError, match=r"on 12 faces it differs from the model by 0\.\d+ where at most 1e-05"):
        conversion.save(other, tmp_path / "net.onnx", faces=shown)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [(33, 97), (70, 70), (200, 160)])
def test_resizing_in_float32_is_off_by_one_at_most(size):
    faces = tf.constant(np.random.default_rng(1).integers(0, 256, (2, *size, 3), np.uint8))
    difference = np.abs(framed(faces, (70, 70), 1, False).numpy().astype(int) - framed(faces, (70, 70), 1).numpy())
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01


def test_litert_in_half_precision_of_two_heads(se, shown, tmp_path):
    """What `classify` says; half precision cannot hold 2**22, by which the exact resizing multiplies."""
    expected = se(shown)
    assert expected.shape == (12, 8) and np.ptp(expected, axis=0).max() > 0.1
    difference = conversion.save(se, tmp_path / "net.tflite", quantize="float16", faces=shown)
    assert 0 < difference <= 1e-2
    found = conversion.load(tmp_path / "net.tflite")
    np.testing.assert_allclose(found(shown), expected, atol=1e-2)
    assert found.classes == CLASSES["eight"]


def test_int8_leaves_the_resizing_in_float32(fer, shown, tmp_path):
    path = tmp_path / "net.tflite"
    conversion.save(fer, path, quantize="int8", faces=shown)
    assert 0 < np.abs(conversion.load(path)(shown) - fer(shown)).max() < 0.25
    interpreter = conversion._interpreter(model_path=str(path))
    kinds = {tensor["index"]: tensor["dtype"] for tensor in interpreter.get_tensor_details()}
    steps = [(s["op_name"], {kinds[i] for i in s["outputs"]}) for s in interpreter._get_ops_details()]
    first = next(i for i, (name, _) in enumerate(steps) if name == "CONV_2D")
    assert all(np.int8 not in kinds or name == "QUANTIZE" for name, kinds in steps[:first])
    assert all(kinds == {np.int8} for name, kinds in steps[first:] if name in ("CONV_2D", "ADD"))
    assert steps[-1] == ("SOFTMAX", {np.float32})


@pytest.mark.slow
def test_the_released_net_in_every_form(shown, tmp_path):
    pytest.importorskip("tf2onnx")
    model = recognise.predictor("fer_net")
    sizes = {}
    for name, quantize, most in (
        ("a.onnx", "none", 1e-5),
        ("b.onnx", "float16", 1e-2),
        ("a.tflite", "none", 1e-3),
        ("b.tflite", "float16", 1e-2),
        ("c.tflite", "int8", 0.3),
    ):
        difference = conversion.save(model, tmp_path / name, quantize=quantize, faces=shown)
        sizes[name] = (tmp_path / name).stat().st_size / 1e6
        assert difference <= most and np.abs(conversion.load(tmp_path / name)(shown) - model(shown)).max() <= most
    assert sizes["b.onnx"] < 0.52 * sizes["a.onnx"] < 6 and sizes["c.tflite"] < 0.3 * sizes["a.tflite"] < 3.6


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("net.onnx", {"quantize": "int8"}, "int8 is LiteRT's"),
        ("net.pt", {}, "an ONNX file ends with .onnx, a LiteRT file with .tflite"),
        ("net.tflite", {"quantize": "int4"}, "none of none, float16, int8"),
        ("net.tflite", {"quantize": "int8"}, "int8 takes its ranges from faces"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(fer, tmp_path, name, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        conversion.save(fer, tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


def test_a_missing_extra_is_said_in_a_sentence(fer, tmp_path, monkeypatch):
    plain = importlib.import_module

    def without(name, *more):
        if name in ("tf2onnx", "onnxruntime"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return plain(name, *more)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(ImportError, match=r'ONNX needs tf2onnx: `pip install "fer-tf\[export\]"`'):
        conversion.save(fer, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="an exported file and its JSON go together"):
        conversion.load(tmp_path / "net.tflite")
    (tmp_path / "net.tflite").write_bytes(b"nothing of the kind" * 9)
    (tmp_path / "net.json").write_text('{"format": "fer_tf.litert.1"}')
    with pytest.raises(ValueError, match="net.tflite or net.json beside it is damaged"):
        conversion.load(tmp_path / "net.tflite")
