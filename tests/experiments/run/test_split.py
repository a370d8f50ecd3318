"""Pictures of nobody: the data set's own parts as they are, or --split=random, which every result then says."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from experiments import fer_net, gcnet, ia_gen
from experiments.run import command_line, cross, data, report, settings
from fer_tf import figures, protocols, records

CLASSES = ("anger", "happiness")


@settings.command({"quick": {}})
class Toy(settings.Views, cross.Cross):
    """None of its own."""


def nameless(count=12, **more):
    """Pictures of nobody, each of its own grey."""
    return [
        records.Record(np.full((8, 8), 9 * i, np.uint8), CLASSES[i % 2], info={"framed": True}, **more)
        for i in range(count)
    ]


def in_parts(listed, *names):
    return [replace(r, split=names[i % len(names)]) for i, r in enumerate(listed)]


def test_nobody_and_no_parts_is_refused_and_told_the_way_out(tmp_path):
    with pytest.raises(ValueError, match=r"12 of 12 pictures have none.* --split=random, by which one person may") as e:
        data.make_folds(Toy(), nameless(), CLASSES, tmp_path)
    assert "has no subject" in str(e.value) and not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="1 of 12 pictures have none"):
        data.make_folds(Toy(), [*(replace(r, subject="a") for r in nameless(11)), nameless()[11]], CLASSES, tmp_path)
    with pytest.raises(ValueError, match="has no subject, so folds by subject"):
        data.make_folds(Toy(split="people"), in_parts(nameless(), "train", "test"), CLASSES, tmp_path)
    with pytest.raises(ValueError, match=r"--split=own: The data has 1 parts of its own \(train\)"):
        data.make_folds(Toy(split="own"), in_parts(nameless(), "train"), CLASSES, tmp_path)


def test_own_parts_are_used_as_they_are(tmp_path, capsys):
    listed = in_parts(nameless(), "train", "train", "test", "validation")
    (fold,) = data.make_folds(Toy(folds=5), listed, CLASSES, tmp_path)
    assert fold == ((0, 1, 4, 5, 8, 9), (2, 6, 10))
    said = capsys.readouterr().err
    assert (
        protocols.OWN in said
        and "trained on train (6 pictures), tested on test (3); left aside: validation (3)" in said
    )
    written = json.loads((tmp_path / "folds.json").read_text())
    assert written["people"] == protocols.OWN and len(written["folds"]) == 1 and written["folds"][0]["test"] == 3
    folds = data.make_folds(Toy(), in_parts(nameless(), "set1", "set2", "set3"), CLASSES, tmp_path)
    assert [f.test for f in folds] == [(0, 3, 6, 9), (1, 4, 7, 10), (2, 5, 8, 11)]
    assert folds[0].train == (1, 2, 4, 5, 7, 8, 10, 11)
    named = [replace(r, subject=f"p{i % 3}") for i, r in enumerate(in_parts(nameless(), "train", "test"))]
    assert len(data.make_folds(Toy(folds=3), named, CLASSES, tmp_path)) == 3  # people go before parts
    assert "people" not in json.loads((tmp_path / "folds.json").read_text())
    with pytest.raises(ValueError, match="Subject p0 is in both"):
        data.make_folds(Toy(split="own"), named, CLASSES, tmp_path)


def test_own_parts_from_a_manifest(tmp_path):
    """The parts that were left aside stay there."""
    listed = in_parts(nameless(), "train", "train", "test", "validation")
    folds = data.make_folds(Toy(), listed, CLASSES, tmp_path)
    again = data.make_folds(Toy(manifest=tmp_path / "folds.json"), listed, CLASSES, tmp_path)
    assert again == folds and json.loads((tmp_path / "folds.json").read_text())["people"] == protocols.OWN


def test_training_pictures_that_are_tested_again_are_left_out(tmp_path, capsys):
    listed = in_parts(nameless(), "train", "test")
    listed[0] = replace(listed[0], image=listed[1].image)
    (fold,) = data.make_folds(Toy(), listed, CLASSES, tmp_path)
    assert fold == ((2, 4, 6, 8, 10), (1, 3, 5, 7, 9, 11))
    assert "; 1 training pictures are test pictures again and left out." in capsys.readouterr().err


def test_random_is_asked_for_in_so_many_words(tmp_path, capsys):
    listed = nameless()
    listed[5] = replace(listed[5], image=listed[0].image)  # equal pictures stay together
    listed[6], listed[7] = (replace(listed[i], subject="Ann") for i in (6, 7))  # so do those of one person
    folds = data.make_folds(Toy(split="random", folds=3), listed, CLASSES, tmp_path)
    assert sorted(i for f in folds for i in f.test) == [*range(12)] and len(folds) == 3
    assert all({*f.train} | {*f.test} == {*range(12)} and not {*f.train} & {*f.test} for f in folds)
    held = {i: n for n, f in enumerate(folds) for i in f.test}
    assert held[0] == held[5] and held[6] == held[7]
    assert "one person may be trained on and tested" in capsys.readouterr().err
    assert json.loads((tmp_path / "folds.json").read_text())["people"] == protocols.RANDOM
    assert data.make_folds(Toy(split="random", folds=3), listed, CLASSES, tmp_path) == folds
    assert data.make_folds(Toy(split="random", folds=3, seed=1), listed, CLASSES, tmp_path) != folds
    with pytest.raises(ValueError, match="40 folds of 10 different pictures"):
        data.make_folds(Toy(split="random", folds=40), listed, CLASSES, tmp_path)
    with pytest.raises(ValueError, match="Every picture has a subject.* leave --split=random out"):
        data.make_folds(Toy(split="random"), [replace(r, subject="a") for r in listed], CLASSES, tmp_path)
    with pytest.raises(ValueError, match="folds.json was drawn at random, of nobody: --split=random with its --seed"):
        data.make_folds(Toy(manifest=tmp_path / "folds.json"), listed, CLASSES, tmp_path)


def test_what_says_how_pictures_are_dealt_is_said_once(tmp_path):
    with pytest.raises(ValueError, match="--protocol=mmi_10fold says how .*or --split=random"):
        data.make_folds(Toy(protocol="mmi_10fold", split="random"), nameless(), CLASSES, tmp_path)
    with pytest.raises(ValueError, match="--manifest says how .*or --split=own"):
        data.make_folds(Toy(manifest="x.json", split="own"), nameless(), CLASSES, tmp_path)
    with pytest.raises(ValueError, match="--test_on=rendered is tested as a whole: leave --split=random out"):
        cross.fold(Toy(test_on="rendered", split="random"), nameless(), CLASSES, tmp_path)


def test_one_class_may_be_joined_by_another_data_set(tmp_path, monkeypatch):
    anger = [replace(r, subject=f"p{i}", expression="anger") for i, r in enumerate(nameless())]
    more = [replace(r, image=r.image + 1, expression="happiness") for r in anger]
    test = [replace(r, image=r.image + 2, subject=f"q{i}") for i, r in enumerate(anger)]
    monkeypatch.setattr(cross, "load", lambda text, classes: more if text == "more" else test)
    everything, (fold,) = cross.fold(Toy(test_on="test", train_on=("more",)), anger, CLASSES, tmp_path)
    assert len(everything) == 36 and fold == (tuple(range(24)), tuple(range(24, 36)))


def test_one_class_or_one_person_is_a_sentence_that_fits(tmp_path):
    people = [replace(r, subject=f"p{i}", expression="anger") for i, r in enumerate(nameless())]
    for call in (
        lambda: data.make_folds(Toy(), people, CLASSES, tmp_path),
        lambda: cross.fold(Toy(test_on="rendered"), people, CLASSES, tmp_path),
    ):
        with pytest.raises(
            ValueError, match="all 12 pictures show anger, with nothing to tell it from: two or more of"
        ):
            call()
    with_neutral = [*people, *(replace(r, expression="neutral") for r in people[:3])]
    with pytest.raises(ValueError, match="show anger, with nothing to tell it from"):  # neutral faces are for pairs
        data.make_folds(Toy(classes="six"), with_neutral, (*CLASSES, "neutral"), tmp_path)
    with pytest.raises(ValueError, match="need two people or more, and all 12 pictures show Ann: nobody else"):
        data.make_folds(Toy(), [replace(r, subject="Ann") for r in nameless()], CLASSES, tmp_path)
    with pytest.raises(ValueError, match="and there are no pictures"):
        records.subject_folds([], 2)


def test_labels_and_the_home_folder_on_the_command_line(tmp_path, monkeypatch):
    """--labels is the field labels_, which Python may call labels, too; ~ is the home folder behind any = ."""
    monkeypatch.setenv("HOME", str(tmp_path))
    words = ["toy", "--labels=0=anger,1=Happy", "--data_dir=~/faces", "--workdir=~", "--dataset=folder"]
    made = Toy(**command_line.given(Toy, words))
    assert made.labels_ == ("0=anger", "1=Happy") == Toy(labels=["0=anger", "1=Happy"]).labels_
    assert made.data_dir == f"{tmp_path}/faces" and made.workdir == str(tmp_path)
    assert settings.bound(made)["labels"] == ["0=anger", "1=Happy"] and made.labels == Toy().labels
    for i, name in enumerate(("0/a_1.png", "0/b_1.png", "1/a_2.png", "1/b_2.png")):
        (tmp_path / "faces" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 30 * i, np.uint8)).save(tmp_path / "faces" / name)
    assert [(r.expression, r.subject) for r in data.load(made, CLASSES)] == [
        ("anger", "a"), ("anger", "b"), ("happiness", "a"), ("happiness", "b"),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="--labels is for one's own pictures"):
        data.load(made.replace(dataset="jaffe"), CLASSES)


def test_pictures_below_a_folder_bear_a_note(tmp_path):
    """And only there; an empty one takes it away."""
    sizes = {}
    for words in ("", "one person may be trained on and tested", ""):
        figures.note(tmp_path / "run", words)
        for place in ("run/fold0/a.png", "other/a.png"):
            figures.save(figures.confusion_matrix(np.eye(2, dtype=int), CLASSES), tmp_path / place)
            sizes.setdefault(place, []).append(Image.open(tmp_path / place).size)
    (before, noted, after), others = sizes["run/fold0/a.png"], sizes["other/a.png"]
    assert noted[1] > before[1] and before == after and {*others} == {before}


@pytest.mark.parametrize("command", [ia_gen, gcnet], ids=lambda m: m.__name__)
def test_who_needs_people_says_so_before_training(command, tmp_path, monkeypatch):
    """Though there are parts to train on and to test."""
    listed = in_parts(nameless(), "train", "test")
    monkeypatch.setattr(data.catalogue, "load", lambda *call: listed)
    made = command.Settings(preset="smoke", dataset="folder", classes="anger,happiness", workdir=tmp_path / "run")
    with pytest.raises(ValueError, match="12 of 12 pictures have none.*, and .* of (one|the same) person"):
        command.run(made)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def pictures(tmp_path):
    """Sixteen faces of nobody in class folders."""
    rng = np.random.default_rng(0)
    for i in range(16):
        path = tmp_path / "faces" / ("angry", "happy")[i % 2] / f"img_{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (48, 48), np.uint8)).save(path)
    return tmp_path / "faces"


def test_every_table_file_and_picture_of_a_run_says_so(pictures, tmp_path, monkeypatch, capsys):
    listed = [replace(r, info={"framed": True}) for r in data.catalogue.load("folder", pictures)]
    monkeypatch.setattr(data.catalogue, "load", lambda *call: listed)
    drawn = {}
    save = figures.save
    monkeypatch.setattr(figures, "save", lambda f, path, *a: drawn.update({path.name: (f, save(f, path, *a))}) or path)
    made = fer_net.Settings(
        preset="smoke", dataset="folder", data_dir=pictures, classes="anger,happiness", split="random",
        workdir=tmp_path / "run", precision="float32", max_steps=1, epochs=1,
    )  # fmt: skip
    results = fer_net.run(made)
    printed = capsys.readouterr()
    assert protocols.RANDOM in results.table and protocols.RANDOM in printed.out and protocols.RANDOM in printed.err
    assert "held-out people" not in printed.out
    folder = tmp_path / "run"
    for name in ("metrics.json", "folds.json", "confusion_fer_net.json"):
        assert json.loads((folder / name).read_text())["people"] == protocols.RANDOM, name
    assert json.loads((folder / "metrics.json").read_text())["protocol"] == f"2 folds, {protocols.RANDOM}"
    assert json.loads((folder / "flags.json").read_text())["split"] == "random"
    assert protocols.RANDOM in (folder / "export/assets/metadata.json").read_text()
    assert {"confusion_fer_net.png", "per_class.png", "history.png"} <= {*drawn}
    for name, (figure, _) in drawn.items():
        assert any(protocols.RANDOM in text.get_text() for text in figure.texts), name
    title = " ".join(drawn["confusion_fer_net.png"][0].get_suptitle().split())
    assert "held-out pictures" in title and "people" not in title


def test_the_command_line_asks_and_says(here, pictures, tmp_path):
    flags = ("fer_net", "--preset=smoke", "--dataset=folder", f"--data_dir={pictures}", "--classes=anger,happiness")
    done = here(*flags, f"--workdir={tmp_path / 'run'}")
    assert done.returncode == 1 and "--split=random, by which one person may be trained on and tested" in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "run").exists()
    assert report.people(tmp_path / "run") == ""
