"""`experiments.report`: the page of one run or of several, on real pictures; what does not go together is refused."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from experiments import report as script
from experiments.run.page import faces
from fer_tf import catalogue
from fer_tf.records import content_hash

from .run.conftest import a_run


def test_one_run(tmp_path, capsys):
    a_run(tmp_path / "a")
    assert script.run(script.Settings(workdir=tmp_path / "a")) == tmp_path / "a" / "report.html"
    assert capsys.readouterr().out == f"{tmp_path / 'a' / 'report.html'} is written.\n"
    script.run(script.Settings(workdir=tmp_path / "a", out=tmp_path / "deep" / "p.html"))
    assert (tmp_path / "deep" / "p.html").read_bytes() == (tmp_path / "a" / "report.html").read_bytes()


def test_several_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        a_run(tmp_path / name)
    assert script.run(script.Settings(compare=("a", "b"))).resolve() == tmp_path / "compare.html"
    printed = capsys.readouterr().out
    assert "b: Ours - a: Ours" in printed and "b: Base - a: Base" in printed and "compare.html is written" in printed
    script.run(script.Settings(compare=("a", "b"), baseline="b: Base", out="c.html"))
    assert "a: Ours - b: Base" in capsys.readouterr().out


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({}, "Which run? Give --workdir=<folder>, or --compare"),
        ({"workdir": "a", "compare": ("a", "b")}, "Which run?"),
        ({"workdir": "nowhere"}, "nowhere is no folder: give the --workdir of a run"),
        ({"workdir": "a", "baseline": "x"}, "--baseline goes with --compare"),
        ({"compare": ("a",)}, "two runs or more"),
        ({"compare": ("a", "a"), "mlflow": True}, "take one run"),
        ({"compare": ("a", "nowhere")}, "nowhere is no folder"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, monkeypatch, given, sentence):
    monkeypatch.chdir(tmp_path)
    a_run(tmp_path / "a")
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(sentence)):
        script.run(script.Settings(**given))


def shown(uri):
    """The picture of a data URI."""
    kind, data = uri.split(",")
    assert kind == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int)


def test_the_pictures_are_those_that_were_tested():
    """Of the shipped faces, by what is in them; one that has changed, or is of another set, is not shown."""
    listed = catalogue.load("rendered", None, {"part": "wild"})[5:8]
    wanted = {content_hash(r): r.key() for r in listed}
    wanted["0" * 64] = catalogue.load("rendered")[0].key()
    found = faces.thumbnails({"dataset": "rendered", "options": []}, wanted)
    assert {*found} == {content_hash(r) for r in listed}
    from fer_tf import store

    for record in listed:
        small = Image.fromarray(store.read_image(record)).resize((112, 112), Image.Resampling.LANCZOS)
        assert np.abs(shown(found[content_hash(record)]) - np.asarray(small)).mean() < 6


def test_ones_own_pictures_are_found_where_they_were(tmp_path):
    place = tmp_path / "faces"
    for n, name in enumerate(("anger/anna_1.png", "anger/bob_1.png", "sadness/anna_1.png", "sadness/bob_1.png")):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40), (60 * n, 10, 0)).save(place / name)
    listed = catalogue.load("folder", place)
    wanted = {content_hash(r): r.key() for r in listed[1:3]}
    asked = {"dataset": "folder", "data_dir": str(place), "options": [], "labels": []}
    found = faces.thumbnails(asked, wanted)
    assert {*found} == {*wanted} and shown(found[content_hash(listed[2])])[0, 0, 0] == pytest.approx(120, abs=3)
    for flag in ("test_on", "target"):
        assert faces.thumbnails({"dataset": "ck_plus", flag: f"folder={place}"}, wanted) == found
    (place / "sadness" / "anna_1.png").write_bytes((place / "anger" / "anna_1.png").read_bytes())
    assert {*faces.thumbnails(asked, wanted)} == {content_hash(listed[1])}


def test_a_face_is_cut_out_of_its_picture():
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[40:60, 40:60] = 200
    assert shown(faces.small(picture, (40, 40, 60, 60))).shape == (28, 28, 3)  # a fifth more on each side
    assert shown(faces.small(picture[..., :1])).shape == (100, 100, 3)


def test_pictures_that_are_gone_are_a_sentence(tmp_path):
    run = a_run(tmp_path / "a", flags={"dataset": "folder", "data_dir": str(tmp_path / "gone")})
    script.run(script.Settings(workdir=run, show_pictures=True))
    assert "The pictures can no longer be read: " in (run / "report.html").read_text()
