"""experiments.export: a file of each kind, its JSON, what it is worth; one sentence for what cannot be."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from experiments import export as command
from experiments.parts.export import shown, web
from experiments.run import command_line
from fer_tf import conversion, export, pipeline, recognise, weights
from fer_tf.datasets import fer2013
from fer_tf.faces import TEMPLATES
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


def started(**given):
    """The line of the command; twelve faces."""
    return command.run(command.Settings(**{"model": "tiny.h5", "faces": 12, **given}))


@pytest.fixture
def run_net(monkeypatch, house):
    """run_net(**settings) -> the line, in the folder of the weights."""
    monkeypatch.chdir(house[0])
    return started


@pytest.fixture(scope="module")
def plain():
    """A model without a network: the expression whose pixel is the brightest."""
    frame = {"name": "ia_gen", "size": TEMPLATES["ia_gen"].size, "points": TEMPLATES["ia_gen"].points}

    def serve(faces):
        values = np.stack([faces.numpy()[:, 7 * i, 2 * i].mean(-1) for i in range(7)], -1) / 16.0
        return {"probabilities": tf.nn.softmax(tf.constant(values, tf.float32))}

    return export.Predictor(serve, {"classes": CLASSES["six_neutral"], "template": frame})


@pytest.fixture
def run(monkeypatch, tmp_path, plain):
    """run(**settings) -> the line, in a folder of its own; nothing is converted, and every file says what `plain` does.

    `run.given` is what `conversion.save` got.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recognise, "predictor", lambda model: plain)
    monkeypatch.setattr(conversion, "_needed", lambda name: None)

    def run(**given):
        return started(**given)

    def save(model, path, **options):
        run.given = options
        path.write_bytes(b"four")
        about = {"file": path.name, "classes": list(model.classes), **options["metadata"]}
        conversion.beside_of(path).write_text(json.dumps(about))
        return 0.25

    monkeypatch.setattr(conversion, "save", save)
    return run


VOTES = {"anger": [0, 0, 0, 0, 9, 0, 0, 0, 1, 0], "fear": [1, 0, 0, 0, 2, 0, 6, 0, 0, 0], None: [0] * 8 + [6, 4]}
"""Expression -> ten voters of whom most say so; of None most do not know."""


def planted(model, monkeypatch) -> dict:
    """Makes the private test eight faces of noise: five labels are what the model names, and two of six majorities.

    Gives what is measured, but for the time.
    """
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 256, (8, 48, 48), np.uint8)
    named = [model.classes[i] for i in model(pixels[..., None]).argmax(-1)]
    others = ["anger" if name != "anger" else "fear" for name in named]
    most = [None, None, "happiness", "happiness", *["fear" if name == "anger" else "anger" for name in named[4:]]]
    most[2:4] = named[2:4]
    votes = [VOTES[name] if name in VOTES else [5 * (name == v) for v in fer2013.VOTES] for name in most]
    listed = [
        Record(p, a if i < 5 else b, split="private_test", info={"framed": True, "votes": v})
        for i, (p, a, b, v) in enumerate(zip(pixels, named, others, votes, strict=True))
    ]
    trained = [Record(255 - p, "fear", split="train", info={"framed": True}) for p in pixels]
    monkeypatch.setattr(fer2013, "records", lambda root, splits: listed if splits == ("private_test",) else trained)
    counts = {"pictures": 8, "pictures_with_a_majority": 6}
    return {"data": "FER-2013 private test", "accuracy": 0.625, "accuracy_by_votes": 0.3333, **counts}


def test_a_file_and_what_it_is_worth(run, plain, monkeypatch):
    """Next to another form's JSON there is room for its own."""
    expected = planted(plain, monkeypatch)
    line = run(format="litert", data_dir="FER-2013")
    assert (line["out"], line["bytes"], line["difference"]) == ("runs/export/tiny.tflite", 4, 0.25)
    about = json.loads(Path("runs/export/tiny.tflite.json").read_text())
    measured = dict(about["private_test"])
    assert measured == line["private_test"] and measured.pop("processor_ms_a_face") >= 0 and measured == expected
    assert about["classes"] == list(CLASSES["six_neutral"]) and about["file"] == "tiny.tflite"
    assert about["compared_on"] == "8 FER-2013 training faces" and about["difference"] == 0.25 and "out" not in about
    again = run(measure="runs/export/tiny.tflite", data_dir="FER-2013")["private_test"]
    assert again["accuracy"] == 0.625
    assert run(quantize="float16")["out"] == "runs/export/tiny_float16.onnx"
    assert run.given["quantize"] == "float16" and len(run.given["faces"]) == 12
    assert run.given["metadata"] == {"compared_on": "12 rendered faces"}
    names = {path.name for path in Path("runs/export").iterdir()}
    assert names == {f"tiny{name}{more}" for name in (".tflite", "_float16.onnx") for more in ("", ".json")}


@pytest.mark.slow
def test_a_saved_model_and_a_litert_file(run_net, house):
    line = run_net(format="savedmodel")
    assert line["out"] == "runs/export/tiny_savedmodel" and 0 <= line["difference"] <= 1e-5
    about = json.loads(Path("runs/export/tiny_savedmodel.json").read_text())
    assert about["classes"] == list(CLASSES["six_neutral"]) and about["compared_on"] == "12 rendered faces"
    copied = run_net(model="runs/export/tiny_savedmodel", format="savedmodel", out="copy")
    assert copied["bytes"] == line["bytes"]
    with pytest.raises(ValueError, match="copy exists: remove it"):
        run_net(model="runs/export/tiny_savedmodel", format="savedmodel", out="copy")
    line = run_net(format="litert", quantize="float16")
    assert line["out"] == "runs/export/tiny_float16.tflite" and 0 <= line["difference"] <= 1e-2
    faces = shown.rendered_faces(house[1].template, 3)
    np.testing.assert_allclose(recognise.predictor(line["out"])(faces), house[1](faces), atol=1e-2)


def test_int8_takes_its_ranges_from_training_faces(run, plain, monkeypatch):
    """Never from the private test, on which it is measured."""
    planted(plain, monkeypatch)
    run(format="litert", quantize="int8", data_dir="FER-2013", faces=3)
    trained = fer2013.records("FER-2013", splits=("train",))
    assert run.given["quantize"] == "int8" and run.given["metadata"] == {"compared_on": "3 FER-2013 training faces"}
    assert [face.shape for face in run.given["faces"]] == [(70, 70, 3)] * 3
    expected = [pipeline.face(trained[i], plain.template, 3) for i in (0, 4, 7)]
    np.testing.assert_array_equal(run.given["faces"], expected)


@pytest.mark.slow
def test_an_exported_folder_becomes_litert_on_own_faces(run_net, house, tmp_path, capsys):
    """From the SavedModel alone: no Keras model is there any more."""
    faces = shown.rendered_faces(house[1].template, 3)
    export_folder = tmp_path / "exported"
    export.save(export.rebuild(house[0] / "tiny.h5"), export_folder)
    (tmp_path / "own").mkdir()
    wide = np.pad(faces[0], ((60, 60), (60, 60), (0, 0)), mode="reflect")
    Image.fromarray(np.full((80, 80, 3), 120, np.uint8)).save(tmp_path / "own" / "plain.png")
    data = pytest.importorskip("skimage.data")
    Image.fromarray(data.astronaut()[:250, 100:350]).save(tmp_path / "own" / "a.png")
    line = run_net(model=str(export_folder), format="litert", calibrate=str(tmp_path / "own"), out="own.tflite")
    assert line["compared_on"] == "1 own faces" and "no face was found in 1 of 2" in capsys.readouterr().err
    found = recognise.predictor("own.tflite")([*faces, wide])
    np.testing.assert_allclose(found, house[1]([*faces, wide]), atol=1e-3)


def test_the_likeliest_of_fer2013s_labels_counts(monkeypatch):
    """Contempt, the likeliest of all, is no label there."""

    class Model:
        classes = ("contempt", "happiness", "neutral")

        def __call__(self, faces):
            assert faces.shape[1:] == (48, 48, 1)
            return np.array([[0.5, 0.3, 0.2], [0.5, 0.2, 0.3]], np.float32)[: len(faces)]

    listed = [Record(np.zeros((48, 48), np.uint8), name, split="private_test") for name in ("happiness", "anger")]
    monkeypatch.setattr(fer2013, "records", lambda root, splits: listed)
    found = shown.private_test(Model(), "somewhere")
    assert found["accuracy"] == 0.5 and "accuracy_by_votes" not in found


def package(folder: Path, name: str = web.RUNTIME) -> Path:
    """A package that looks like onnxruntime-web."""
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"name": name, "version": "9.8.7"}))
    for taken in web.TAKEN:
        (folder / "dist" / taken).write_text(f"// {taken}")
    return folder


def test_the_page_is_a_whole_folder(run, tmp_path):
    line = run(format="web", quantize="float16", runtime=str(package(tmp_path / "ort")))
    out = tmp_path / "runs/export/tiny_float16_web"
    assert line["out"] == "runs/export/tiny_float16_web" and line["difference"] == 0.25
    assert run.given["quantize"] == "float16"
    names = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert names == {"index.html", "page.css", "page.js", "model.onnx", "model.onnx.json", "ort/LICENSE"} | {
        f"ort/{name}" for name in web.TAKEN
    }
    assert 'fetch("model.onnx.json")' in (out / "page.js").read_text()
    licence = (out / "ort" / "LICENSE").read_text()
    assert "onnxruntime-web 9.8.7" in licence and "MIT License" in licence and "Microsoft" in licence
    run(format="web", quantize="float16", runtime=str(tmp_path / "ort"))  # an earlier page is replaced
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match="mine exists and is no page"):
        run(format="web", out=str(tmp_path / "mine"), runtime=str(tmp_path / "ort"))
    with pytest.raises(ValueError, match="is no onnxruntime-web of npm .it is other"):
        run(format="web", out="new", runtime=str(package(tmp_path / "x", "other")))
    assert not list(tmp_path.glob("*new*"))


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
        ({"format": "litert", "out": "house/net.tflite"}, r"the folder house cannot be made .File exists"),
        ({"format": "savedmodel", "out": "house/net"}, r"the folder house cannot be made .File exists"),
        ({"measure": "tiny.h5"}, "--measure needs --data_dir"),
    ],
)
def test_what_cannot_be_is_said_before_work_begins(run, given, sentence, monkeypatch):
    monkeypatch.setattr(recognise, "predictor", lambda model: pytest.fail("it was loaded"))
    Path("house").write_text("a file")
    with pytest.raises(ValueError, match=sentence):
        run(**given)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--format=gif",), "--format=gif"),
        (("--format=onnx",), 'ONNX needs onnx: `pip install "fer-tf[export]"`.'),
        (
            ("--format=litert", "--quantize=int8", "--calibrate=nowhere"),
            "--calibrate=nowhere: there are no such pictures.",
        ),
    ],
)
def test_a_sentence_and_exit_code_1(monkeypatch, tmp_path, plain, capsys, words, sentence):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recognise, "predictor", lambda model: plain)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SystemExit) as ended:
        command_line.main(command.Settings, command.run, ["export", "--model=tiny.h5", *words])
    said = capsys.readouterr().err.strip().splitlines()
    assert ended.value.code == 1 and len(said) == 1 and said[0].startswith("error: ") and sentence in said[0]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("given", [{"format": "litert"}, {"format": "onnx"}, {"format": "web"}, {"data_dir": "here"}])
def test_a_model_that_compares_is_refused_before_any_face_is_cut(run, plain, monkeypatch, given):
    """Of formats a SavedModel alone takes both faces, and FER-2013 does not say who is who."""
    about = {**plain.metadata, "reference": export.serving.REFERENCE}
    monkeypatch.setattr(recognise, "predictor", lambda model: export.Predictor(plain._serve, about))
    for name in ("rendered_faces", "training_faces"):
        monkeypatch.setattr(shown, name, lambda *_: pytest.fail("faces were cut"))
    with pytest.raises(ValueError, match="compares each face with a neutral one of the same person"):
        run(**{"format": "savedmodel", **given})
    assert not [path for path in Path().rglob("*") if path.is_file()]
