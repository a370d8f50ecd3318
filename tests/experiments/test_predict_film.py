"""experiments.predict --video: the annotated film, the table, one line a film, and nothing half-written."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from PIL import ImageColor

from experiments import predict
from experiments.parts.predict import film as predict_film
from fer_tf import export, faces, films, pictures, recognise, weights
from fer_tf.models import fer_net
from fer_tf.records import CLASSES

data = pytest.importorskip("skimage.data")
CLASSES = CLASSES["six_neutral"]


def film(path, pictures, rate=12):
    with films.Writer(path, rate) as writer:
        for picture in pictures:
            writer.add(picture)
    return path


def table(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def net():
    net = fer_net.FERNet(classes=CLASSES, width=4, blocks=1, hidden=8)
    net.head.kernel.assign(np.random.default_rng(0).standard_normal((8, 7)).astype(np.float32))
    return net


@pytest.fixture(scope="module")
def house(tmp_path_factory, net):
    """clips/ with a film (a face that moves, then two frames without), one without faces and one that is none; a.h5."""
    folder = tmp_path_factory.mktemp("film")
    face, plain = data.astronaut()[:300, 60:401], np.full((300, 341, 3), 130, np.uint8)
    film(folder / "clips" / "moves.mp4", [*(np.roll(face, 4 * i, axis=1) for i in range(5)), plain, plain])
    film(folder / "clips" / "plain.avi", [plain] * 3)
    (folder / "clips" / "torn.mp4").write_bytes((folder / "clips" / "moves.mp4").read_bytes()[:2000])
    (folder / "clips" / "notes.txt").write_text("no film")
    config = {key: value for key, value in net.get_config().items() if key != "name"}
    weights.save(net, folder / "a.h5", provenance={"config": config})
    return folder


def test_a_folder_of_films(house, net, capsys, monkeypatch):
    """Each frame's faces and probabilities in the table, drawn in the film; what fails is named, the others go on."""
    original = {p.name: p.read_bytes() for p in (house / "clips").iterdir()}
    monkeypatch.chdir(house)
    options = {"model": "a.h5", "out": "out", "min_score": 0.5, "batch_size": 2}
    assert predict.run(predict.Settings(video=("clips", "nowhere.mp4"), **options)) == 1
    printed = capsys.readouterr()
    lines = {line["path"]: line for line in map(json.loads, printed.out.splitlines())}
    assert [*lines] == ["clips/moves.mp4", "clips/plain.avi", "clips/torn.mp4"]
    assert "clips/plain.avi: no face was found in 3 frames" in lines["clips/plain.avi"]["error"]
    assert "clips/torn.mp4: cannot be read as a film" in lines["clips/torn.mp4"]["error"]
    assert all(lines[f"clips/{name}"]["error"] in printed.err for name in ("plain.avi", "torn.mp4"))
    assert "nowhere.mp4: there is no such file" in printed.err and "clips/moves.mp4: all 7 frames" in printed.err
    assert {p.name: p.read_bytes() for p in (house / "clips").iterdir()} == original
    assert sorted(p.name for p in (house / "out").iterdir()) == ["moves_faces.csv", "moves_faces.mp4"]

    rows = table(house / "out" / "moves_faces.csv")
    assert [(row["frame"], row["face"]) for row in rows] == [(str(n), "1" if n < 5 else "") for n in range(7)]
    assert list(rows[0]) == [*predict_film.COLUMNS, *CLASSES]
    np.testing.assert_allclose([float(row["seconds"]) for row in rows], np.arange(7) / 12, atol=1e-3)
    assert all(row[name] == "" for row in rows[5:] for name in (*predict_film.COLUMNS[2:], *CLASSES))
    originals = [picture for _, _, picture in films.frames(house / "clips" / "moves.mp4")]
    predictor = export.predictor(net)
    for row, picture in zip(rows[:5], originals, strict=False):
        (face,) = faces.detect(picture, min_score=0.5)
        probabilities = [float(row[name]) for name in CLASSES]
        expected = predictor(faces.align(picture, fer_net.TEMPLATE, box=face))[0]
        np.testing.assert_allclose(probabilities, expected, atol=2e-6)
        assert abs(sum(probabilities) - 1) < 1e-5
        assert row["label"] == CLASSES[int(np.argmax(probabilities))]
        assert float(row["confidence"]) == max(probabilities)
        np.testing.assert_allclose([float(row[s]) for s in ("left", "top", "right", "bottom")], face.box, atol=0.06)
        assert abs(float(row["score"]) - face.score) < 1e-3
    labels = [row["label"] for row in rows[:5]]
    assert lines["clips/moves.mp4"] == {
        "path": "clips/moves.mp4", "frames": 7, "looked_at": 7, "with_faces": 5,
        "people": 1, "labels": {name: labels.count(name) / 5 for name in CLASSES},
        "annotated": "out/moves_faces.mp4", "table": "out/moves_faces.csv",
    }  # fmt: skip

    with films.Film(house / "out" / "moves_faces.mp4") as drawn:
        assert len(drawn) == 7 and drawn.rate == 12
        for number, _, picture in drawn:
            assert picture.shape == (600, 684, 3)  # pictures.draw doubles small pictures; an even width
            big = np.asarray(originals[number]).repeat(2, axis=0).repeat(2, axis=1).astype(int)
            if number < 5:
                left, right, bottom = (round(2 * float(rows[number][s])) for s in ("left", "right", "bottom"))
                frame = picture[bottom - 1, (left + right) // 2].astype(int)
                assert np.abs(frame - ImageColor.getrgb(pictures.PLATES[0])).max() < 60
                assert np.abs(picture[520:, :80].astype(int) - big[520:, :80]).mean() < 10
            else:
                assert np.abs(picture - big).mean() < 3


def test_every_second_frame(house, net, monkeypatch):
    """Boxes stay until the next look; the table has only the frames looked at; little waits in memory."""
    detected, drawn = [], []
    monkeypatch.setattr(recognise, "detect", lambda *a, **o: detected.append(o) or faces.detect(*a, **o))
    monkeypatch.setattr(pictures, "draw", lambda picture, *said: drawn.append(said) or picture)
    monkeypatch.setattr(recognise, "MEMORY", 1)
    target = house / "every" / "moves"
    options = {"every": 2, "all_faces": False, "min_score": 0.4}
    line = predict_film.annotate(house / "clips" / "moves.mp4", export.predictor(net), target, **options)
    assert line["frames"] == 7 and line["looked_at"] == len(detected) == 4 and line["with_faces"] == 3
    assert detected == [{"all": False, "min_score": 0.4, "detector": "dlib"}] * 4
    rows = table(house / "every" / "moves.csv")
    assert [row["frame"] for row in rows] == ["0", "2", "4", "6"]
    assert [len(boxes) for boxes, _, _ in drawn] == [1, 1, 1, 1, 1, 1, 0]
    assert drawn[0] == drawn[1] != drawn[2] == drawn[3]
    assert drawn[0][2] == [0] and drawn[0][1] == [f"{rows[0]['label']} {float(rows[0]['confidence']):.0%}"]
    assert films.count(house / "every" / "moves.mp4") == 7


def test_several_faces_and_no_files(net, tmp_path):
    face = data.astronaut()[:256, 96:352]
    path = film(tmp_path / "a.avi", [np.hstack([face, face])] * 2)
    options = {"min_score": 0.5, "all_faces": True}
    line = predict_film.annotate(path, export.predictor(net), None, **options)
    named = [frame.faces for frame in recognise.film(path, model=export.predictor(net), **options)]
    assert [len(faces) for faces in named] == [2, 2] and line["with_faces"] == 2
    labels = [face.expression for faces in named for face in faces]
    assert line["labels"] == {name: labels.count(name) / 4 for name in CLASSES}
    assert [p.name for p in tmp_path.iterdir()] == ["a.avi"]


def test_the_rows_of_a_frame():
    """By hand: a person's number, an empty row without one, everything rounded as the lines of JSON are."""
    probabilities = {"fear": 0.12345678, "anger": 0.87654322}
    face = recognise.Face((1.26, 2.0, 3.04, 4.5), 0.98765, "anger", 0.87654322, probabilities)
    two = recognise.Frame(3, 0.123456, [dataclasses.replace(face, number=number) for number in (4, 2)])
    values = [1.3, 2.0, 3.0, 4.5, 0.988, "anger", 0.876543, 0.123457, 0.876543]
    assert list(predict_film.table_rows(two, 12)) == [[3, 0.1235, 4, *values], [3, 0.1235, 2, *values]]
    assert list(predict_film.table_rows(two._replace(faces=[]), 12)) == [[3, 0.1235, *[""] * 10]]


def test_a_film_that_breaks_off_leaves_no_files(net, tmp_path):
    path = film(tmp_path / "a.avi", [data.astronaut()[:256, 96:352]] * 30)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.csv").write_text("of an earlier run")
    with pytest.raises(ValueError, match="a.avi"):
        predict_film.annotate(path, export.predictor(net), tmp_path / "out" / "a", batch_size=1, min_score=9.0)
    assert [(p.name, p.read_text()) for p in (tmp_path / "out").iterdir()] == [("a.csv", "of an earlier run")]


def test_films_are_not_overwritten(house):
    settings = predict.Settings(video=(str(house / "clips" / "moves.mp4"),), out=str(house / "clips"))
    with pytest.raises(ValueError, match="holds the pictures themselves"):
        predict.run(settings)
