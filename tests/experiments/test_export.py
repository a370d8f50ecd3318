"""experiments.export: a file of each kind, its JSON, what it is worth; one sentence for what cannot be."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments import export as command
from experiments.parts.export import shown, web
from fer_tf import conversion, export, recognise, weights
from fer_tf.models import fer_net
from fer_tf.records import CLASSES, Record


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A folder with a small FER-Net's tiny.h5, and its predictor."""
    folder = tmp_path_factory.mktemp("export")
    net = fer_net.FERNet(classes=CLASSES["six_neutral"], width=4, blocks=1, hidden=8)
    net.head.kernel.assign(4.0 * np.random.default_rng(0).standard_normal((8, 7)).astype(np.float32))
    config = {key: value for key, value in net.get_config().items() if key != "name"}
    weights.save(net, folder / "tiny.h5", provenance={"config": config})
    return folder, export.predictor(net)


@pytest.fixture
def run(monkeypatch, house):
    """run(**settings) -> the line, in the folder of the weights; twelve faces."""
    monkeypatch.chdir(house[0])
    return lambda **given: command.run(command.Settings(**{"model": "tiny.h5", "faces": 12, **given}))


def planted(model, monkeypatch) -> float:
    """Makes the private test eight faces of noise, five of which the model names right; one has no label of its."""
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 256, (8, 48, 48), np.uint8)
    named = [model.classes[i] for i in model(pixels[..., None]).argmax(-1)]
    others = ["anger" if name != "anger" else "fear" for name in named]
    listed = [
        Record(p, a if i < 5 else b, split="private_test", info={"framed": True})
        for i, (p, a, b) in enumerate(zip(pixels, named, others, strict=True))
    ]
    monkeypatch.setattr(shown.fer2013, "records", lambda root, splits: listed)
    return 5 / 8


def test_a_saved_model_and_what_it_is_worth(run, house, monkeypatch):
    accuracy = planted(house[1], monkeypatch)
    line = run(format="savedmodel", data_dir="FER-2013")
    assert line["out"] == "runs/export/tiny_savedmodel" and 0 <= line["difference"] <= 1e-5
    about = json.loads(Path("runs/export/tiny_savedmodel.json").read_text())
    expected = {"data": "FER-2013 private test", "pictures": 8, "accuracy": accuracy}
    assert about["private_test"] == line["private_test"] == expected
    assert about["classes"] == list(CLASSES["six_neutral"]) and about["compared_on"] == "12 rendered faces"
    assert run(measure="runs/export/tiny_savedmodel", data_dir="FER-2013")["private_test"] == expected
    copied = run(model="runs/export/tiny_savedmodel", format="savedmodel", out="copy")
    assert copied["bytes"] == line["bytes"]
    with pytest.raises(ValueError, match="copy exists: remove it"):
        run(model="runs/export/tiny_savedmodel", format="savedmodel", out="copy")


def test_an_exported_folder_becomes_litert_on_own_faces(run, house, tmp_path, capsys):
    """From the SavedModel alone: no Keras model is there any more."""
    faces = shown.rendered_faces(house[1].template, 3)
    export_folder = tmp_path / "exported"
    export.save(export.rebuild(house[0] / "tiny.h5"), export_folder)
    (tmp_path / "own").mkdir()
    wide = np.pad(faces[0], ((60, 60), (60, 60), (0, 0)), mode="reflect")
    Image.fromarray(np.full((80, 80, 3), 120, np.uint8)).save(tmp_path / "own" / "plain.png")
    data = pytest.importorskip("skimage.data")
    Image.fromarray(data.astronaut()[:250, 100:350]).save(tmp_path / "own" / "a.png")
    line = run(model=str(export_folder), format="litert", calibrate=str(tmp_path / "own"), out="own.tflite")
    assert line["compared_on"] == "1 own faces" and "no face was found in 1 of 2" in capsys.readouterr().err
    found = recognise.predictor("own.tflite")([*faces, wide])
    np.testing.assert_allclose(found, house[1]([*faces, wide]), atol=1e-3)


def test_the_likeliest_of_fer2013s_labels_counts(monkeypatch):
    """Contempt, the likeliest of all, is no label there."""

    class Model:
        classes = ("contempt", "happiness", "neutral")

        def __call__(self, faces):
            assert faces.shape == (2, 48, 48, 1)
            return np.array([[0.5, 0.3, 0.2], [0.5, 0.2, 0.3]], np.float32)

    listed = [Record(np.zeros((48, 48), np.uint8), name, split="private_test") for name in ("happiness", "anger")]
    monkeypatch.setattr(shown.fer2013, "records", lambda root, splits: listed)
    assert shown.private_test(Model(), "somewhere")["accuracy"] == 0.5


def package(folder: Path, name: str = web.RUNTIME) -> Path:
    """A package that looks like onnxruntime-web."""
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"name": name, "version": "9.8.7"}))
    for taken in web.TAKEN:
        (folder / "dist" / taken).write_text(f"// {taken}")
    return folder


def test_the_page_is_a_whole_folder(run, house, tmp_path, monkeypatch):
    def save(model, path, **options):
        path.write_bytes(b"onnx")
        path.with_suffix(".json").write_text(json.dumps({"file": path.name, "quantize": options["quantize"]}))
        return 0.25

    monkeypatch.setattr(conversion, "save", save)
    line = run(format="web", quantize="float16", runtime=str(package(tmp_path / "ort")))
    out = house[0] / "runs/export/tiny_float16_web"
    assert line["out"] == "runs/export/tiny_float16_web" and line["difference"] == 0.25
    names = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert names == {"index.html", "page.css", "page.js", "model.onnx", "model.json", "ort/LICENSE"} | {
        f"ort/{name}" for name in web.TAKEN
    }
    licence = (out / "ort" / "LICENSE").read_text()
    assert "onnxruntime-web 9.8.7" in licence and "MIT License" in licence and "Microsoft" in licence
    run(format="web", quantize="float16", runtime=str(tmp_path / "ort"))  # an earlier page is replaced
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match="mine exists and is no page"):
        run(format="web", out=str(tmp_path / "mine"), runtime=str(tmp_path / "ort"))
    with pytest.raises(ValueError, match="is no onnxruntime-web of npm .it is other"):
        run(format="web", out="new", runtime=str(package(tmp_path / "x", "other")))
    assert not list(house[0].glob("*new*"))


def test_the_page_asks_no_other_server_and_says_what_it_is():
    text = "".join(path.read_text() for path in web.PAGE.iterdir())
    assert "http://" not in text.replace("http://localhost:8000", "") and "https://" not in text
    for words in ("An expression is not an emotion", "Do not use it to judge", "Nothing leaves this browser"):
        assert words in " ".join(text.split())
    assert "connect-src 'self'" in text and "default-src 'none'" in text


def test_without_npm(run, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="The page needs onnxruntime-web, which npm fetches: install Node.js"):
        run(format="web")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"format": "onnx", "quantize": "int8"}, "int8 is LiteRT's"),
        ({"format": "web", "quantize": "int8"}, "int8 is LiteRT's"),
        ({"format": "savedmodel", "quantize": "float16"}, "A SavedModel is written in float32"),
        ({"format": "onnx", "out": "net.tflite"}, "onnx wants a name that ends with .onnx"),
        ({"format": "litert", "out": "net"}, "ends with .onnx, a LiteRT file with .tflite"),
        ({"measure": "tiny.h5"}, "--measure needs --data_dir"),
    ],
)
def test_what_cannot_be_is_said_before_work_begins(run, given, sentence, monkeypatch):
    monkeypatch.setattr(recognise, "predictor", lambda model: pytest.fail("it was loaded"))
    with pytest.raises(ValueError, match=sentence):
        run(**given)
