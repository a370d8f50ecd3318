"""Records and folds as the settings say: who is loaded, who is held out, what is left out, in which order."""

import json
from dataclasses import replace

import numpy as np
import pytest

from experiments.run import data, provenance, settings
from fer_tf import catalogue, records
from fer_tf.datasets import prepared
from fer_tf.models import fer_net


@settings.command({"quick": {}})
class Toy(settings.Views, settings.Folds):
    """None of its own."""

    batch_size: int = 4


@pytest.fixture
def listed(planted):
    """Six people who show anger, happiness and neutral, as --dataset=rendered."""
    return planted.plant(planted.people(expressions=("anger", "happiness", "neutral")))


def test_records_of_the_classes_alone(listed):
    shown = data.load(Toy(classes="anger,happiness"), ("anger", "happiness"))
    assert shown == [r for r in listed if r.expression != "neutral"] and 0 < len(shown) < len(listed)
    assert data.load(Toy(), None) == listed
    with pytest.raises(
        ValueError, match="--classes=anger is one class, with nothing to tell it from: give two or more"
    ):
        data.load(Toy(classes="anger"), ("anger",))
    with pytest.raises(ValueError, match="--dataset=rendered --data_dir= has no image of fear, surprise: give other"):
        data.load(Toy(classes="fear,surprise"), ("fear", "surprise"))


def test_who_judges_is_not_trained_on(monkeypatch):
    monkeypatch.setattr(catalogue, "load", lambda *call: [])
    for given in ({"options": ("part=judge",)}, {"options": ("part=judge", "frames=all"), "data_dir": "judge.h5"}):
        with pytest.raises(ValueError, match="part=judge is who judges, never trained on nor chosen by: --test_on="):
            data.load(Toy(dataset="rendered2", **given), None)
    with pytest.raises(ValueError, match="--options=part=wild has no image"):
        data.load(Toy(dataset="rendered2", options=("part=wild",)), None)


def test_a_protocol_and_options_choose_what_is_read(monkeypatch, capsys):
    """The protocol's, then --options, then what the command asks for; another data set than its own is refused."""
    calls = []
    faces = [records.Record(np.zeros((4, 4), np.uint8), "anger", subject="a", info={"framed": True})]
    monkeypatch.setattr(catalogue, "load", lambda *call: calls.append(call) or faces)
    data.load(Toy(protocol="oulu_strong_10fold", data_dir="/o"), ("anger", "fear"))
    assert calls.pop() == ("oulu_casia", "/o", {"camera": "VL", "light": "Strong"})
    assert "oulu_casia: this copy has 1 people of six; the papers have 80" in capsys.readouterr().err
    data.load(Toy(dataset="ck_plus", options=("frames=all",), data_dir="/c"), ("anger", "fear"), frames="last3")
    assert calls.pop() == ("ck_plus", "/c", {"frames": "all"})
    with pytest.raises(ValueError, match="light=Weak is another data set than the protocol's"):
        data.load(Toy(protocol="oulu_strong_10fold", options=("light=Weak",)), ("anger", "fear"))
    assert not calls


def test_a_damaged_file_is_named_with_its_flags(monkeypatch):
    def broken(*call):
        raise OSError("truncated file")

    monkeypatch.setattr(catalogue, "load", broken)
    made = Toy(dataset="ck_plus", data_dir="/c", options=("frames=all",))
    with pytest.raises(ValueError, match="--dataset=ck_plus --data_dir=/c --options=frames=all cannot be read, a file"):
        data.load(made, None)


def test_who_has_to_be_searched_for_a_face_is_told(capsys):
    faces = [records.Record(np.zeros((4, 4), np.uint8), "anger", subject=str(i)) for i in range(3)]
    marked = [replace(faces[0], info={"framed": True}), replace(faces[1], info={"landmarks": 1}), faces[2]]
    data.searched(marked, "--dataset=folder --data_dir=x")
    text = capsys.readouterr().err
    assert text.startswith("1 pictures will be searched") and "prepare --dataset=folder --data_dir=x --align" in text
    data.searched([replace(faces[0], image=("a.h5", 0))], "")
    data.searched(marked[:2], "")
    assert capsys.readouterr().err == ""


def test_the_first_people(listed):
    assert data.first_subjects(listed, 0) == listed
    assert {r.subject for r in data.first_subjects(listed, 2)} == {"P0", "P1"}
    many = [replace(r, subject=r.subject.replace("P", "P1")) for r in listed] + listed
    assert {r.subject for r in data.first_subjects(many, 7)} == {*(f"P{i}" for i in range(6)), "P10"}  # P2 before P10


def test_people_as_labels(listed):
    by_person = data.labelled_by_person([*listed, replace(listed[0], subject=None)])
    assert len(by_person) == len(listed) and all(r.expression == r.subject for r in by_person)


def held_out(listed, folds):
    """The people of each fold's test part; checks that the others train."""
    everything = [*range(len(listed))]
    assert all(sorted([*fold.train, *fold.test]) == everything for fold in folds)
    return [sorted({listed[i].subject for i in fold.test}) for fold in folds]


@pytest.mark.parametrize(
    "given, expected, order",
    [
        ({"folds": 3}, [["P0", "P1"], ["P2", "P3"], ["P4", "P5"]], "contiguous"),
        ({"folds": 3, "fold_order": "strided"}, [["P0", "P3"], ["P1", "P4"], ["P2", "P5"]], "strided"),
        ({"folds": 4}, [["P0", "P1"], ["P2", "P3"], ["P4"], ["P5"]], "contiguous"),
    ],
)
def test_folds_by_subject(listed, tmp_path, given, expected, order):
    classes = ("anger", "happiness", "neutral")
    folds = data.make_folds(Toy(**given), listed, classes, tmp_path)
    assert held_out(listed, folds) == expected
    written = json.loads((tmp_path / "folds.json").read_text())
    assert written["order"] == order and [f["subjects"] for f in written["folds"]] == expected
    # another one's folds.json gives the same folds, whatever --folds says
    given = Toy(manifest=tmp_path / "folds.json", folds=2)
    (tmp_path / "again").mkdir()
    assert data.make_folds(given, listed, classes, tmp_path / "again") == folds
    assert json.loads((tmp_path / "again/folds.json").read_text())["order"] == "as in folds.json"


def test_folds_of_a_protocol(listed, tmp_path):
    """By its own rule: one fold that holds out a fifth of the people, drawn by the seed."""
    drawn = set()
    for seed in range(4):
        made = Toy(protocol="bu3dfe_80_20", fold_order="strided", seed=seed)
        (fold,) = data.make_folds(made, listed, ("anger", "happiness"), tmp_path)
        drawn |= {*map(tuple, held_out(listed, [fold]))}
    assert len(drawn) > 1 and all(len(people) == 1 for people in drawn)
    assert json.loads((tmp_path / "folds.json").read_text())["order"] == "bu3dfe_80_20, strided"
    with pytest.raises(ValueError, match="10 folds of 6 subjects"):
        data.make_folds(Toy(protocol="mmi_10fold"), listed, ("anger", "happiness"), tmp_path)


def test_a_fold_that_leaks_is_refused_and_one_that_lacks_a_class_is_told(listed, tmp_path, capsys):
    twin = replace(listed[0], subject="P5")  # the same picture, said to be of another person
    with pytest.raises(ValueError, match="leaks: array of subject P0 .test. is the same image as array of subject P5"):
        data.make_folds(Toy(folds=3), [*listed, twin], ("anger", "happiness"), tmp_path)
    few = [r for r in listed if r.subject != "P5" or r.expression != "neutral"]
    few = [r for r in few if r.expression != "neutral" or r.subject == "P0"]
    data.make_folds(Toy(folds=3), few, ("anger", "happiness", "neutral"), tmp_path)
    assert capsys.readouterr().err.splitlines() == ["fold 0: The training part has no image of neutral."]


def test_which_folds_are_run():
    assert data.chosen_folds(Toy(), 3) == [0, 1, 2]
    assert data.chosen_folds(Toy(only_folds="2, 0,2"), 3) == [0, 2]
    for text in ("3", "-1", "0,", "a", "²", "0-2"):
        with pytest.raises(ValueError, match=f"--only_folds={text}: give fold numbers from 0 to 2, such as 0,1"):
            data.chosen_folds(Toy(only_folds=text), 3)


def test_batches_to_train_on_and_to_test(listed):
    """Training: shuffled views of the seed, as many as --views; testing: each record's one view, in order."""
    classes = ("neutral", "anger", "happiness")
    made = Toy(views=2)
    learn, test = (data.batches(made, listed, classes, fer_net, 7, training) for training in (True, False))
    assert (learn.batch_size, test.batch_size) == (4, 256) and learn.seed == 7 and learn.strict
    assert learn.views_per_epoch == 2 * len(listed) and test.views_per_epoch == len(listed)
    shown = np.concatenate([b["index"].numpy() for b in learn.epoch(0)])
    assert sorted(shown) == sorted([*range(len(listed))] * 2) and list(shown) != sorted(shown)
    (batch,) = test.epoch(0)
    assert [classes[k] for k in batch["label"].numpy()] == [r.expression for r in listed]
    assert batch["image"].shape[1:] == (*fer_net.views.size, 1)
    everything = data.batches(Toy(views=0), listed, classes, fer_net, 7, True)
    assert everything.views_per_epoch == 110 * len(listed)
    other = data.batches(made, listed, classes, fer_net, 7, True, batch_size=3, views_per_image=1, channels=3)
    assert (other.batch_size, other.views_per_epoch, other.channels) == (3, len(listed), 3)


def test_what_cannot_be_read_is_left_out_by_name_where_asked(listed, capsys):
    bad = replace(listed[1], image=b"no picture")
    people = [listed[0], bad, *listed[2:]]
    with pytest.raises(ValueError, match="1 of .* records cannot be used"):
        data.batches(Toy(), people, ("anger", "happiness", "neutral"), fer_net, 0, True)
    made = data.batches(Toy(strict=False), people, ("anger", "happiness", "neutral"), fer_net, 0, False)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("left out: bytes of subject P0") and lines[1] == f"left out 1 of {len(people)} records"
    assert data.usable(made) == [r for r in people if r is not bad]
    (batch,) = made.epoch(0)
    assert 1 not in batch["index"].numpy() and len(batch["index"]) == len(people) - 1
    faces = data.some_faces(people, "ia_gen", 3)
    assert faces.shape == (3, 70, 70, 1) and faces.dtype == np.uint8
    np.testing.assert_array_equal(faces, data.some_faces([people[0], *people[2:4]], "ia_gen"))


def oulu(folder, light, camera):
    """Settings with a protocol, on a prepared file of two people."""
    columns = {name: np.array([""] * 2, object) for name in prepared.TEXTS}
    columns |= {"expression": np.array(["anger", "fear"], object), "subject": np.array(["P001", "P002"], object)}
    faces = {"image": np.zeros((2, 70, 70, 1), np.uint8), "frame": np.array([1, 2], np.int32)}
    about = {"dataset": "oulu_casia", "template": "ia_gen", "frames": "last3", "records": 2}
    options = {"light": light, "camera": camera, "channels": 1}
    prepared.write(folder / "f.h5", [{**faces, **columns}], {**about, "options": options})
    return Toy(dataset="prepared", data_dir=folder / "f.h5", protocol="oulu_strong_10fold")


def test_a_prepared_file_is_of_the_protocols_light_and_camera(tmp_path):
    """What it was made of stands in it; its faces would not tell."""
    made = oulu(tmp_path, "Strong", "VL")
    assert [r.subject for r in data.load(made, ("anger", "fear"))] == ["P001", "P002"]


@pytest.mark.parametrize(("light", "camera"), [("Strong", "NI"), ("Weak", "VL"), ("Weak", "NI")])
def test_a_prepared_file_of_another_light_or_camera_is_refused(tmp_path, light, camera):
    made = oulu(tmp_path, light, camera)
    with pytest.raises(ValueError, match="is another data set than the protocol's, which has (Strong|VL): .* prepare"):
        data.load(made, ("anger", "fear"))


def test_validation_people_are_of_the_training_part(listed, tmp_path):
    """Whom a fold holds out is in neither part; folds.json and the protocol in words say who is tested."""
    given = Toy(folds=3, validation=0.25, seed=1)
    for name in ("whole", "inner"):
        (tmp_path / name).mkdir()
    whole = data.make_folds(Toy(folds=3), listed, ("anger", "happiness"), tmp_path / "whole")
    inner = data.make_folds(given, listed, ("anger", "happiness"), tmp_path / "inner")
    people = lambda part: {listed[i].subject for i in part}  # noqa: E731
    assert len(inner) == 3
    for fold, old in zip(inner, whole, strict=True):
        assert len(people(fold.test)) == 1 and people(fold.train) | people(fold.test) == people(old.train)
        assert not people(fold.train) & people(fold.test) and not people(old.test) & people(old.train)
        assert sorted((*fold.train, *fold.test)) == sorted(old.train), "all of their faces"
    drawn = {tuple(data.validated(Toy(validation=0.25, seed=s), listed, whole[0]).test) for s in range(8)}
    assert len(drawn) > 1, "the seed draws them"
    told = json.loads((tmp_path / "inner/folds.json").read_text())
    words = "; tested: 25 % of each fold's training people, to choose by"
    assert told["order"] == f"contiguous{words}" and told["folds"][0]["subjects"] == sorted(people(inner[0].test))
    assert provenance.facts(given, ("anger",), 1)["protocol"] == f"3 folds by subject, contiguous{words}"
    assert Toy().validation_people == "" and "tested:" not in provenance.facts(Toy(), ("anger",), 1)["protocol"]


def test_validation_needs_folds_of_people(listed):
    nameless = [replace(listed[0], subject=None), *listed[1:]]
    same = records.Fold((0, 1, 2, 3), (4, 5))
    assert listed[3].subject == listed[4].subject
    for these, fold in ((nameless, records.Fold((0, 20), (30,))), (listed, same)):
        with pytest.raises(ValueError, match="these folds are not made of people who are named"):
            data.validated(Toy(validation=0.5), these, fold)
