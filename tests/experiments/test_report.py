"""`experiments.report`: the page of one run or of several, on real pictures; what does not go together is refused."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from experiments import report as script
from experiments.run.page import faces, pooled
from fer_tf import catalogue, predictions
from fer_tf.records import content_hash

from .run.conftest import a_run, listed, trainings


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


def two_seeds(folder, **told):
    """The runs "a" and "b" of seeds 0 and 1, which together are what one run of both is."""
    every = listed()
    parts = [[{**m, "run": 0} for m in trainings(every) if m["run"] == number] for number in (0, 1)]
    for name, made, seed in zip("ab", parts, (0, 1), strict=True):
        a_run(folder / name, made=made, records=every, seeds=(seed,), **(told if name == "b" else {}))
    return a_run(folder / "both", records=every)


def test_runs_of_other_seeds_taken_together(tmp_path, capsys, monkeypatch):
    """What one run of both seeds says, to the last digit; beside any method."""
    monkeypatch.chdir(tmp_path)
    both = predictions.read(two_seeds(tmp_path) / "predictions.npz")
    found = pooled.read(("a", "b"))
    assert predictions.compared(found, {"Ours": "Base"}) == predictions.compared(both, {"Ours": "Base"})
    assert script.run(script.Settings(pool=("a", "b"), baseline="Ours")) is None
    printed = capsys.readouterr().out
    right = {name: [m["methods"][name]["last"] for m in trainings(listed())] for name in ("Base", "Ours")}
    for name, pairs in right.items():
        by_run = [np.concatenate([a == b for a, b in pairs[i : i + 2]]) for i in (0, 2)]
        shares = [100 * np.mean(one) for one in (*by_run, np.concatenate(by_run))]
        assert f"\n{name:6}" + "".join(f"{share:>10.1f}" for share in shares) in printed
    assert "Base - Ours" in printed and "Ours - Base" not in printed and "bootstrap over 12 people" in printed
    assert "seed 0    seed 1       all" in printed


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"pool": ("a",)}, "--pool takes two runs or more, of other seeds"),
        ({"pool": ("a", "same")}, "--pool=a,same has seed 0 fold 0 twice: give runs of other seeds."),
        ({"pool": ("a", "b"), "baseline": "Theirs"}, "--baseline=Theirs is none of Base; Ours"),
        ({"pool": ("a", "untested")}, "untested has not been tested yet"),
        ({"pool": ("a", "renamed")}, "a and renamed cannot be taken together: renamed has no Ours; a has no Yours"),
        ({"pool": ("a", "elsewhere")}, "cannot be taken together: their folds hold out other pictures"),
        ({"pool": ("a", "mmi")}, "cannot be taken together: the data set of a is rendered, of mmi mmi."),
        ({"pool": ("a", "b"), "workdir": "a"}, "Which run?"),
        ({"pool": ("a", "b"), "mlflow": True}, "--tensorboard and --mlflow take one run"),
    ],
)
def test_runs_that_are_not_taken_together(tmp_path, monkeypatch, given, sentence):
    monkeypatch.chdir(tmp_path)
    two_seeds(tmp_path)
    every = listed()
    alone = [m for m in trainings(every) if m["run"] == 0]
    renamed = [{**m, "methods": {{"Ours": "Yours"}.get(n, n): v for n, v in m["methods"].items()}} for m in alone]
    a_run(tmp_path / "same", made=alone, records=every, seeds=(0,))
    a_run(tmp_path / "renamed", made=renamed, records=every, seeds=(2,))
    a_run(tmp_path / "elsewhere", records=listed(tint=1), seeds=(2,))
    a_run(tmp_path / "mmi", made=alone, records=every, seeds=(2,), dataset="mmi")
    a_run(tmp_path / "untested", made=alone, records=every, seeds=(2,))
    (tmp_path / "untested" / "metrics.json").unlink()
    with pytest.raises(ValueError, match=re.escape(sentence)):
        script.run(script.Settings(**given))


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({}, "Which run? Give --workdir=<folder>, or --compare"),
        ({"workdir": "a", "compare": ("a", "b")}, "Which run?"),
        ({"workdir": "nowhere"}, "nowhere is no folder: give the --workdir of a run"),
        ({"workdir": "a", "baseline": "x"}, "--baseline goes with --compare or --pool"),
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
