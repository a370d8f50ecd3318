"""experiments.predict and regenerate: one line a picture, one sentence a failure, no picture of the user is touched."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from experiments import predict, regenerate
from experiments.parts.regenerate import kinds
from fer_tf import export, faces, pictures, pipeline, recognise, weights
from fer_tf.models import fer_net, gcnet, ia_gen
from fer_tf.records import CLASSES, Record

data = pytest.importorskip("skimage.data")


@pytest.fixture
def run(capsys, monkeypatch):
    """run(command, folder, **settings) -> (exit code, lines, stderr) of the command in a folder."""

    def called(command, cwd: Path, **settings) -> tuple[int, list[dict], str]:
        monkeypatch.chdir(cwd)
        capsys.readouterr()
        code = command.run(command.Settings(**settings))
        printed = capsys.readouterr()
        return code, [json.loads(line) for line in printed.out.splitlines()], printed.err

    return called


def hashes(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.is_file()}


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A folder with photos/ (good, double, plain, broken, no picture), empty/, a small FER-Net's tiny.h5 and export."""
    folder = tmp_path_factory.mktemp("predict")
    photos, astronaut = folder / "photos", data.astronaut()
    photos.mkdir()
    (folder / "empty").mkdir()
    Image.fromarray(astronaut).save(photos / "a.png")
    Image.fromarray(astronaut[:, ::-1]).convert("L").save(photos / "a.jpg")
    Image.fromarray(np.hstack([astronaut, astronaut])).save(photos / "double.png")
    Image.fromarray(np.full((90, 120, 3), 130, np.uint8)).save(photos / "plain.png")
    (photos / "broken.jpg").write_bytes((photos / "a.jpg").read_bytes()[:300])
    (photos / "notes.txt").write_text("no picture")
    net = fer_net.FERNet(classes=CLASSES["six_neutral"], width=4, blocks=1, hidden=8)
    net.head.kernel.assign(np.random.default_rng(0).standard_normal((8, 7)).astype(np.float32))
    config = {key: value for key, value in net.get_config().items() if key != "name"}
    weights.save(net, folder / "tiny.h5", provenance={"config": config})
    export.save(net, folder / "exported")
    return folder, net


def expected(net, picture: np.ndarray) -> np.ndarray:
    """Probabilities of the picture's largest face, through the pipeline."""
    aligned = faces.align(picture, fer_net.TEMPLATE, box=faces.detect(picture, min_score=0.5)[0])
    options = {"classes": net.classes, "template": fer_net.TEMPLATE, "views": fer_net.views, "batch_size": 1}
    batches = pipeline.batches([Record(aligned, info={"framed": True})], training=False, **options)
    return net(next(iter(batches.dataset()))).numpy()[0]


def test_a_folder_with_everything_in_it(run, house):
    folder, net = house
    before = hashes(folder / "photos")
    images = ("photos", "empty", "nowhere/*.jpg", "photos/a.png")
    options = {"all_faces": True, "min_score": 0.5, "batch_size": 2, "model": "tiny.h5", "out": "out"}
    code, lines, errors = run(predict, folder, image=images, **options)
    assert code == 1
    rows = {line["path"]: line for line in lines}
    assert [Path(line["path"]).name for line in lines] == ["a.jpg", "a.png", "broken.jpg", "double.png", "plain.png"]
    assert [len(line["faces"]) for line in lines] == [1, 1, 0, 2, 0]
    for name, picture in (("a.png", data.astronaut()), ("a.jpg", pictures.load_image(folder / "photos" / "a.jpg"))):
        (face,) = rows[f"photos/{name}"]["faces"]
        probabilities = [face["probabilities"][label] for label in net.classes]
        np.testing.assert_allclose(probabilities, expected(net, picture), atol=2e-6)
        assert face["label"] == net.classes[int(np.argmax(probabilities))]
        assert face["confidence"] == max(probabilities)
        np.testing.assert_allclose(face["box"], faces.detect(picture, min_score=0.5)[0].box, atol=0.06)
        assert abs(face["score"] - faces.detect(picture, min_score=0.5)[0].score) < 1e-3 and face["score"] > 0.5
    centres = sorted((face["box"][0] + face["box"][2]) / 2 for face in rows["photos/double.png"]["faces"])
    assert abs(centres[1] - centres[0] - 512) < 16  # the detector's grid
    said = [line for line in errors.splitlines() if line.startswith(("photos", "empty", "nowhere"))]
    assert said[0] == "photos: 5 pictures; left alone: 1 .txt."
    complaints = said[1:]
    assert complaints[:2] == ["empty: the folder has no pictures.", "nowhere/*.jpg: there is no such file or folder."]
    assert [line.split(":")[0] for line in complaints[2:]] == ["photos/broken.jpg", "photos/plain.png"]
    assert "cannot be read" in complaints[2] and "no face was found; --min_score=0" in complaints[3]
    assert [rows[f"photos/{name}"]["error"] for name in ("broken.jpg", "plain.png")] == complaints[2:]
    assert hashes(folder / "photos") == before
    assert sorted(p.name for p in (folder / "out").iterdir()) == ["a_faces.jpg", "a_faces_2.jpg", "double_faces.jpg"]
    drawn = np.asarray(Image.open(folder / "out" / "a_faces_2.jpg")).astype(int)  # a.png, the second "a"
    left, _, right, bottom = (round(v) for v in rows["photos/a.png"]["faces"][0]["box"])
    assert drawn.shape == data.astronaut().shape
    assert np.abs(drawn[bottom - 1, (left + right) // 2] - ImageColor.getrgb(pictures.PLATES[0])).max() < 60
    assert np.abs(drawn[300:, 300:] - data.astronaut()[300:, 300:]).mean() < 4


def test_one_person_beside_their_neutral_face(run, house):
    folder, _ = house
    net = gcnet.GCNet(classes=CLASSES["six"], variant="S0R0", generator="given", delta="plain", width=1 / 16)
    net.head.kernel.assign(30 * np.random.default_rng(0).standard_normal(net.head.kernel.shape).astype(np.float32))
    config = {key: value for key, value in net.get_config().items() if key != "name"}
    weights.save(net, folder / "beside.h5", provenance={"model": "gcnet.GCNet", "config": config})
    options = {"image": ("photos/double.png",), "model": "beside.h5", "out": "", "min_score": 0.5}
    code, (line,), _ = run(predict, folder, neutral="photos/a.jpg", **options)
    anna = recognise.beside(folder / "photos" / "a.jpg", model=folder / "beside.h5", min_score=0.5)
    (face,) = recognise.photo(folder / "photos" / "double.png", model=anna, all_faces=False, min_score=0.5)
    assert code == 0 and [one["probabilities"] for one in line["faces"]] == [
        pytest.approx(face.probabilities, abs=1e-6)
    ]
    _, (other,), _ = run(predict, folder, neutral="photos/double.png", **options)
    assert max(abs(other["faces"][0]["probabilities"][k] - face.probabilities[k]) for k in net.classes) > 0.01
    with pytest.raises(ValueError, match="--out=photos holds the pictures themselves"):
        run(predict, folder, **{**options, "image": ("empty",), "neutral": "photos/a.jpg", "out": "photos"})
    with pytest.raises(ValueError) as damaged:
        run(predict, folder, **{**options, "neutral": "photos/a.jpg", "model": "photos/broken.jpg"})
    assert "--neutral" not in str(damaged.value)
    for more, sentence in (
        ({}, "compares each face with a neutral one of the same person: give it a picture"),
        ({"neutral": "photos/a.jpg", "all_faces": True}, "--neutral is of one person, and --all_faces of everybody"),
        ({"neutral": "photos/a.jpg", "min_score": 9.0}, "no face was found in the neutral picture"),
        ({"neutral": "photos/plain.png"}, "--neutral=photos/plain.png: no face was found in the neutral picture"),
        ({"neutral": "photos/a.jpg", "model": "tiny.h5"}, "--neutral=photos/a.jpg: This model looks at a face alone"),
    ):
        with pytest.raises(ValueError, match=sentence):
            run(predict, folder, **{**options, **more})
    with pytest.raises(FileNotFoundError, match="nobody.jpg"):
        run(predict, folder, neutral="photos/nobody.jpg", **options)


def test_the_command_line_an_exported_model_and_exit_code_0(cli, house):
    folder, net = house
    done = cli("predict", "--image=photos/a.p*", "--image=photos/double.png", "--model=exported", "--out=", cwd=folder)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and [line["path"] for line in lines] == ["photos/a.png", "photos/double.png"]
    assert [len(line["faces"]) for line in lines] == [1, 1] and "error" not in lines[0]  # without --all_faces
    probabilities = [lines[0]["faces"][0]["probabilities"][label] for label in net.classes]
    np.testing.assert_allclose(probabilities, expected(net, data.astronaut()), atol=1.1e-5)
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("command", "settings", "sentence"),
    [
        (predict, {}, "Give --image=photo.jpg, --image=<folder> or --image='folder/*.jpg'; or --video."),
        (predict, {"image": ("photos",), "out": "photos"}, "--out=photos holds the pictures themselves"),
        (predict, {"image": ("photos",), "model": "nonsense"}, "no released weights 'nonsense'"),
        (regenerate, {}, "Which pictures? Give --image=photo.jpg, --image=<folder> or --image='folder/*.jpg'."),
        (regenerate, {"image": ("photos",), "out": "photos"}, "--out=photos holds the pictures themselves"),
        (regenerate, {"image": ("photos",), "model": "tiny.h5"}, "--model=tiny.h5 has no generators"),
        (regenerate, {"image": ("photos",), "model": "exported"}, "--model=exported has no generators"),
    ],
)
def test_what_cannot_start_says_why_in_one_sentence(run, house, command, settings, sentence):
    folder, _ = house
    before = hashes(folder / "photos")
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(sentence)):
        run(command, folder, **settings)
    assert hashes(folder / "photos") == before and not (folder / "runs").exists()


def test_the_released_weights_see_that_the_astronaut_is_happy(run, house):
    folder, _ = house
    code, lines, _ = run(predict, folder, image=("photos/a.png", "photos/a.jpg"), out="happy")
    assert code == 0
    assert [line["faces"][0]["label"] for line in lines] == ["happiness", "happiness"]
    assert sorted(path.name for path in (folder / "happy").iterdir()) == ["a_faces.jpg", "a_faces_2.jpg"]


@pytest.fixture(scope="module")
def gans(house):
    """IA-gen with small random generators that differ from each other, in gans.h5; its model."""
    folder, net = house
    model = ia_gen.IAGen(feature_net=net, classes=CLASSES["six_neutral"], width=1 / 64, temperature=0.5)
    rng = np.random.default_rng(1)
    for weight in model.generators[3].trainable_variables:
        weight.assign(weight + 0.3 * rng.standard_normal(weight.shape).astype(np.float32))
    config = {key: value for key, value in model.get_config().items() if key != "name"}
    weights.save(model, folder / "gans.h5", provenance={"model": "ia_gen.IAGen", "config": config})
    return model


def test_every_face_is_redrawn(run, house, gans):
    """Distances of eq. (8) by hand, on the face that IA-gen's own template frames; one picture a face."""
    folder, _ = house
    images = ("photos/a.png", "photos/broken.jpg", "photos/double.png", "photos/plain.png")
    code, lines, errors = run(regenerate, folder, image=images, model="gans.h5", all_faces=True, out="redrawn")
    assert code == 1
    paths = ["photos/a.png", "photos/broken.jpg", "photos/double.png", "photos/double.png", "photos/plain.png"]
    assert [line["path"] for line in lines] == paths
    assert errors.splitlines() == [line["error"] for line in lines if "error" in line]
    assert "cannot be read" in lines[1]["error"] and "no face was found" in lines[4]["error"]
    box = faces.detect(data.astronaut(), min_score=0.2)[0]
    aligned = faces.align(data.astronaut(), "ia_gen", box=box)
    view = np.asarray(Image.fromarray(aligned).convert("L"))[None, 3:67, 3:67, None].astype(np.float32) / 255
    distances = gans.distances(view)[0].numpy()
    assert np.ptp(distances) > 0.01
    assert list(lines[0]["distances"]) == list(gans.classes)
    np.testing.assert_allclose(list(lines[0]["distances"].values()), distances, rtol=0.02)
    assert lines[0]["label"] == gans.classes[int(distances.argmin())] == min(
        lines[0]["distances"], key=lines[0]["distances"].get
    )  # fmt: skip
    assert lines[0]["box"] == [round(v, 1) for v in box.box]
    assert abs(lines[3]["box"][0] - lines[2]["box"][0]) > 400
    names = ["a_regenerated.png", "double_regenerated.png", "double_regenerated_2.png"]
    assert sorted(path.name for path in (folder / "redrawn").iterdir()) == names
    with Image.open(folder / "redrawn" / names[0]) as drawn:
        assert drawn.width > 8 * 128


def test_a_redrawn_face_is_marked_where_it_is_nearest(gans):
    distances = dict(zip(gans.classes, (3.0, 2.0, 1.0, 5.0, 4.0, 6.0, 7.0), strict=True))
    rng = np.random.default_rng(0)
    made = kinds.nearest_of(rng.random((7, 64, 64, 1)), distances)
    face = regenerate.Redrawn((0, 0, 9, 9), rng.random((64, 64, 1)), made)
    titles = [text.get_text() for text in regenerate.draw(face).axes[0].get_xticklabels()]
    expected = ["input\n", *(f"{name}\n{distance:.2f}" for name, distance in distances.items())]
    expected[3] += " nearest"
    assert made.label == gans.classes[2] and titles == expected


def test_commands_and_library_give_one_answer(run, house):
    folder, _ = house
    _, (line,), _ = run(predict, folder, image=("photos/a.png",), model="tiny.h5", out="")
    (face,) = recognise.photo("photos/a.png", model="tiny.h5")
    assert line["faces"][0]["label"] == face.expression
    assert line["faces"][0]["probabilities"] == {name: round(p, 6) for name, p in face.probabilities.items()}
    assert line["faces"][0]["confidence"] == round(face.confidence, 6)
