"""MTCNN: the package's rows in pixels of the picture; who asks for it, and what is said where it is not there."""

import importlib.util

import numpy as np
import pytest
from PIL import Image

from experiments import prepare
from experiments.run import data
from fer_tf import cascade, faces, records, store, trained_on

EYES = ((204, 102), (247, 104))  # of the photograph, read off by eye
needs_package = pytest.mark.skipif(not cascade.installed(), reason="the package mtcnn (extra) is not installed")


@pytest.fixture
def astronaut():
    return pytest.importorskip("skimage.data", reason="scikit-image ships the photograph (public domain)").astronaut()


class Nets:
    """Finds one face in copies of more than 1,024 pixels, two in others."""

    def __init__(self, smallest=0):
        self.smallest, self.seen = smallest, []

    def detect_faces(self, image, **options):
        assert options == {"box_format": "xyxy", "output_type": "numpy", "fit_to_image": False}
        self.seen.append(image.shape)
        if len(image) < self.smallest:
            return np.empty((0, 16))
        small = [0, 10, 20, 30, 44, 0.7, 14, 25, 20, 15, 24, 25, 26, 31, 38, 39]
        large = [0, 50, 20, 90, 64, 0.9, 60, 80, 70, 62, 79, 30, 31, 40, 52, 53]
        return np.array([small, large], float)


@pytest.fixture
def nets(monkeypatch):
    def plant(*words):
        made = Nets(*words)
        monkeypatch.setattr(cascade, "_nets", lambda: made)
        return made

    return plant


def test_rows_by_hand(nets):
    """A picture of 2048 x 512 is looked through at half its size; grey ones as RGB."""
    made = nets()
    (large, small) = faces.detect(np.zeros((512, 2048), np.uint8), detector="mtcnn", all=True)
    assert made.seen == [(256, 1024, 3)]
    assert (large.box, large.score) == ((100, 40, 180, 128), 0.9)
    assert large.points == ((120, 60), (160, 62), (140, 80), (124, 104), (158, 106))
    assert (small.box, small.points[2]) == ((20, 40, 60, 88), (40, 62))
    assert faces.detect(np.zeros((512, 2048), np.uint8), detector="mtcnn") == [large]
    assert faces.detect(np.zeros((512, 2048), np.uint8), detector="mtcnn", min_score=0.8, all=True) == [large]
    with pytest.raises(ValueError, match="Unknown detector 'haar': use dlib or mtcnn"):
        faces.detect(np.zeros((9, 9), np.uint8), detector="haar")


def test_a_large_picture_is_looked_through_itself_where_its_copy_shows_nothing(nets, monkeypatch):
    made = nets(600)
    (found,) = faces.detect(np.zeros((1000, 2000, 3), np.uint8), detector="mtcnn")
    assert made.seen == [(512, 1024, 3), (1000, 2000, 3)] and found.box == (50, 20, 90, 64)
    made = nets(10_000)
    monkeypatch.setattr(cascade, "WHOLE", 500_000)
    assert faces.detect(np.zeros((1000, 2000, 3), np.uint8), detector="mtcnn") == []
    assert made.seen == [(500, 1000, 3)]  # smaller than the copy: once is enough


def test_its_points_cut_the_face(nets):
    """As landmarks given by hand do; a record says by whom its face is found, and that binds a training."""
    nets()
    picture = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    (found,) = faces.detect(picture, detector="mtcnn")
    by_hand = faces.align(picture, "gcnet", landmarks=np.array(found.points))
    np.testing.assert_array_equal(faces.align(picture, "gcnet", box=found), by_hand)
    np.testing.assert_array_equal(faces.align(picture, "gcnet", detector="mtcnn"), by_hand)
    record = records.Record(picture, "anger", info={"detector": "mtcnn"})
    np.testing.assert_array_equal(store.face(record, "gcnet", 3), by_hand)
    plain = records.Record(picture, "anger")
    assert trained_on.contents([record]) != trained_on.contents([plain])


@pytest.mark.parametrize(
    ("detector", "there", "found_by", "said"),
    [
        ("dlib", True, None, "1 pictures will be searched"),
        ("auto", True, "mtcnn", "--align=<paper> --detector=mtcnn --out"),
        ("auto", False, None, "MTCNN, is not installed, so that dlib's finds the faces"),
        ("mtcnn", True, "mtcnn", "--detector=mtcnn"),
    ],
)
def test_who_is_searched_for_by_whom(monkeypatch, capsys, detector, there, found_by, said):
    monkeypatch.setattr(cascade, "installed", lambda: there)
    bare = records.Record(np.zeros((4, 4), np.uint8), "anger", subject="a")
    framed = records.Record(np.zeros((4, 4), np.uint8), "anger", subject="b", info={"framed": True})
    first, second = data.searched([bare, framed], "--dataset=folder --data_dir=x", detector)
    assert first.info.get("detector") == found_by and second is framed
    assert said in capsys.readouterr().err
    assert data.searched([framed], "", detector) == [framed] and capsys.readouterr().err == ""


def test_not_installed_is_a_sentence(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "mtcnn" else find(name))
    cascade._nets.cache_clear()
    bare = records.Record(np.zeros((4, 4), np.uint8), "anger", subject="a")
    wanted = pytest.raises(ModuleNotFoundError, match=r'`pip install "fer-tf\[mtcnn\]"`, or --detector=dlib')
    with wanted:
        faces.detect(np.zeros((9, 9), np.uint8), detector="mtcnn")
    with wanted:
        data.searched([bare], "", "mtcnn")


def test_prepare_by_mtcnn(tmp_path, astronaut, monkeypatch):
    """Each record says so, the file's options too; without the package nothing is begun."""
    person = tmp_path / "in" / "anger"
    person.mkdir(parents=True)
    Image.fromarray(astronaut).save(person / "S1_1.png")
    monkeypatch.setattr(cascade, "installed", lambda: True)
    given = {"dataset": "folder", "data_dir": str(tmp_path / "in"), "align": "gcnet", "detector": "mtcnn"}
    listed = prepare.read(prepare.Settings(**given))
    assert [r.info["detector"] for r in listed.records] == ["mtcnn"] and listed.options["detector"] == "mtcnn"
    monkeypatch.setattr(cascade, "installed", lambda: False)
    with pytest.raises(ModuleNotFoundError, match="fer-tf"):
        prepare.read(prepare.Settings(**given))


@needs_package
def test_the_package_finds_the_astronaut(astronaut):
    """Its eyes are a few pixels from where a person sees them, in a large picture too."""
    (face,) = faces.detect(astronaut, detector="mtcnn", all=True)
    assert face.score > 0.99 and np.abs(np.array(face.points[:2]) - EYES).max() < 6
    canvas = np.full((1200, 1400, 3), 128, np.uint8)
    canvas[300:812, 500:1012] = astronaut
    (again,) = faces.detect(canvas, detector="mtcnn")
    assert np.abs(np.array(again.points[:2]) - np.add(EYES, (500, 300))).max() < 8
    assert faces.detect(np.full((300, 300), 128, np.uint8), detector="mtcnn") == []
