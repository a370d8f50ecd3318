"""One's own pictures as they lie about: layouts, labels, names that are nobody's, what is left aside."""

import numpy as np
import pytest
from PIL import Image

from fer_tf import catalogue, classfolders, people, pictures, pipeline, records
from fer_tf.datasets import folder

PICTURE = Image.fromarray(np.full((8, 8), 7, np.uint8))


def made(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        PICTURE.save(root / name) if name.endswith((".png", ".jpg")) else (root / name).write_bytes(b"x")
    return root


def described(found):
    return [(r.expression, r.subject, r.split) for r in found]


@pytest.mark.parametrize(
    "names, told",
    [
        (["anger/anger_0.png", "anger/anger_1.png", "happy/happy_0.png", "happy/happy_1.png"], "anger, happy"),
        (["anger/img_001.png", "anger/img_002.png", "happy/IMG_003.png", "happy/img_004.png"], "IMG, img"),
        (
            ["anger/train_00001_aligned.jpg", "anger/test_0001_aligned.jpg", "sad/train_00002_aligned.jpg"],
            "test, train",
        ),
        (["anger/Training_3908.jpg", "anger/PublicTest_1.jpg", "sad/PrivateTest_2.jpg"], "PrivateTest, PublicTest"),
        (["anger/holiday_1.png", "anger/holiday_2.png", "sad/holiday_3.png"], "holiday"),
        (["wut/w_1.png", "wut/w_2.png", "sad/t_1.png", "sad/t_2.png"], "t, w"),
        (["anger/000017_c.png", "anger/a51_c.png", "sad/000019_c.png"], "000017, 000019, a51"),
        (["anger/images/1.png", "sad/images/2.png"], ""),
        (["anger/test/1.png", "anger/train/2.png", "sad/train/3.png"], ""),
    ],
)
def test_names_that_are_nobody(tmp_path, capsys, names, told):
    """None of these is a person, and folds by subject say so rather than holding out whole expressions."""
    found = folder.records(made(tmp_path, *names), labels={"wut": "anger"})
    assert len(found) == len(names) and {r.subject for r in found} == {None} == {r.sequence for r in found}
    said = capsys.readouterr().err
    assert (f"have no subject: names that begin with {told}" in said) if told else ("names" not in said)
    with pytest.raises(ValueError, match="has no subject"):
        records.subject_folds(found, 2)


def test_names_that_are_people(tmp_path, capsys):
    """The same forms with somebody in them; beside them one picture of nobody."""
    names = (
        "anger/anna_1.png",
        "anger/bob_1.png",
        "sad/anna_2.png",
        "sad/p12_1.png",
        "anger/p12_.png",
        "sad/img_9.png",
    )
    found = folder.records(made(tmp_path, *names))
    assert [r.subject for r in found] == ["anna", "bob", "p12", "anna", None, "p12"]
    assert "1 of 6 pictures have no subject: names that begin with img tell nobody apart" in capsys.readouterr().err
    root = made(tmp_path / "b", "anger/Anna_1.png", "anger/bob_1.png", "sad/anna_2.png", "sad/BOB_2.png",
                "sad/u\u0308_1.png", "sad/\u00fc_2.png")  # fmt: skip
    assert [r.subject for r in folder.records(root)] == ["Anna", "bob", "bob", "Anna", "u\u0308", "u\u0308"]
    made(tmp_path / "c", "anger/Holiday_1.png", "sad/holiday_2.png")
    assert {r.subject for r in folder.records(tmp_path / "c")} == {None}
    for word in (
        "anger",
        "Happy2",
        "img001",
        "DSC",
        "train",
        "PublicTest",
        "val_set",
        "frame7",
        "person",
        "angry-face",
    ):
        assert people.is_nobody(word), word
    for word in ("anna", "p12", "S005", "person1", "12", "Su", "subject 3", "Анна"):
        assert not people.is_nobody(word), word


def test_layouts(tmp_path, capsys):
    """Subject above or below the class, parts above or below it, all in a folder of its own."""
    for number, (names, told) in enumerate(
        (
            (["anna/anger/1.png", "bob/happy/1.png", "bob/sad/2.png"], "anna bob bob"),
            (["anger/anna/1.png", "happy/bob/1.png", "sad/anna/2.png"], "anna bob anna"),
            (["mydata/anna/s1/anger/1.png", "mydata/bob/s1/happy/1.png", "mydata/bob/s2/sad/1.png"], "anna bob bob"),
        )
    ):
        found = folder.records(made(tmp_path / str(number), *names))
        assert [r.subject for r in found] == told.split(), names
        assert [r.expression for r in found] == ["anger", "happiness", "sadness"] and {r.split for r in found} == {None}
    root = made(tmp_path / "s", "Train/anger/1.png", "Val_Set/fear/1.png", "testing/happy/1.png", "testing/happy/2.png")
    assert described(folder.records(root)) == [
        ("anger", None, "train"), ("fear", None, "validation"), *[("happiness", None, "test")] * 2,
    ]  # fmt: skip
    root = made(tmp_path / "t", "d/train/anna/anger/1.png", "d/test/bob/anger/1.png")
    assert described(folder.records(root)) == [("anger", "bob", "test"), ("anger", "anna", "train")]
    assert capsys.readouterr().err == ""


def test_parts_that_are_numbered_and_people_called_like_one(tmp_path, capsys):
    root = made(tmp_path / "a", "set1/anger/1.png", "Set_2/anger/1.png", "set2/happy/2.png")
    assert [(r.split, r.expression) for r in folder.records(root)] == [
        ("set2", "anger"), ("set1", "anger"), ("set2", "happiness"),
    ]  # fmt: skip
    root = made(tmp_path / "b", "anna/anger/1.png", "Val/anger/1.png", "bob/happy/2.png", "Val/happy/3.png")
    assert [(r.split, r.subject) for r in folder.records(root)] == [
        (None, None), (None, None), (None, "anna"), (None, "bob"),
    ]  # fmt: skip
    assert "2 of 4 pictures have no subject: names that begin with Val" in capsys.readouterr().err
    root = made(tmp_path / "c", "lab/anger/1.png", "lab/happy/1.png", "wild/anger/2.png")
    assert {r.subject for r in folder.records(root)} == {None}


def test_words_in_both_forms_of_unicode(tmp_path):
    """As a Mac writes them, and as others do."""
    made(tmp_path, "mu\u0308de/1.png", "fro\u0308hlich/2.png")
    labels = {"m\u00fcde": "sad", "fr\u00f6hlich": "happy"}
    assert {r.expression for r in folder.records(tmp_path, labels=labels)} == {"sadness", "happiness"}


def test_what_is_left_aside_is_counted(tmp_path, capsys):
    names = ("anger/a_1.png", "happy/b_1.png", "happy/a_2.png", "__MACOSX/anger/._a_1.png", "__MACOSX/happy/b_1.png")
    root = made(tmp_path, *names, "docs/figure.png", ".DS_Store", "anger/.DS_Store", "anger/a.mp4", "README", "x.png")
    assert [r.subject for r in folder.records(root)] == ["a", "a", "b"]
    assert capsys.readouterr().err == (
        "folder: left aside: *.mp4 (1), __MACOSX/ (2), docs/ (1), files without an ending (1), hidden files (2), "
        "pictures outside the classes (1).\n"
    )
    made(root, "holiday/1.png")
    with pytest.raises(ValueError, match="holiday: 'holiday' is no expression .*--labels=holiday=anger"):
        folder.records(root)
    with pytest.raises(FileNotFoundError, match=r"has no pictures \(left aside: \*.mp4 \(1\)\): expected"):
        folder.records(made(tmp_path / "none", "anger/film.mp4"))


def test_every_ending_that_pillow_opens(tmp_path):
    """Not those that it hands to other programs."""
    for ending in (".jfif", ".JPE", ".tga", ".jp2", ".ico", ".pcx", ".tiff", ".webp", ".dib"):
        (tmp_path / "anger").mkdir(exist_ok=True)
        PICTURE.convert("RGB").resize((16, 16)).save(tmp_path / "anger" / f"x{ending}")
    found = folder.records(tmp_path)
    assert len(found) == 9 and all(pipeline.read_image(r).shape == (16, 16, 3) for r in found)
    assert {".png", ".jfif", ".psd", ".ppm"} <= {*pictures.endings()}
    assert not {".h5", ".mpg", ".eps", ".pdf", ".txt"} & {*pictures.endings()}


def test_labels_that_are_numbers_or_other_words(tmp_path, capsys):
    root = made(tmp_path, "0/a_1.png", "0/b_1.png", "1/a_2.png", "1/b_2.png")
    with pytest.raises(
        ValueError, match=r"/0: '0' is no expression .*--labels=0=anger,\.\.\. or a labels.json with each"
    ):
        folder.records(root)
    wanted = [("anger", "a", None), ("anger", "b", None), ("happiness", "a", None), ("happiness", "b", None)]
    for labels in (["0=anger", "1=Happy"], {"0": "anger", "1": "joy"}, "0=anger+1=happiness", "0=anger,1=happiness"):
        assert described(folder.records(root, labels=labels)) == wanted
    (root / "labels.json").write_text('{"0": "sad", "1": "none"}')
    assert described(folder.records(root)) == [("sadness", "a", None), ("sadness", "b", None)]
    assert "pictures of 1 (2)" in capsys.readouterr().err
    assert described(catalogue.load("folder", root, {}, ["0=anger", "1=happy"])) == wanted  # before the file
    made(tmp_path / "w", "Wut/a_1.png", "Freude/b_1.png", "Freude/a_2.png")
    assert [r.expression for r in folder.records(tmp_path / "w", labels=["wut=anger", "FREUDE=happiness"])] == [
        "happiness", "happiness", "anger",
    ]  # fmt: skip


def test_numbers_beside_words(tmp_path):
    made(tmp_path, "0_anger/a_1.png", "1 - Happy/b_1.png", "sad2/a_3.png", "7.Wut/a_4.png")
    found = folder.records(tmp_path, labels={"7": "contempt"})
    assert [(r.expression, r.subject) for r in found] == [
        ("anger", "a"), ("happiness", "b"), ("contempt", "a"), ("sadness", "a"),
    ]  # fmt: skip
    assert classfolders.expression("0_anger", {}) == "anger" and classfolders.expression("0", {}) is None


@pytest.mark.parametrize(
    "labels, sentence",
    [
        (["0"], "=0 is no pair such as 0=anger"),
        (["=anger"], "=anger is no pair"),
        (["0=bored"], "'bored' is no expression; there are anger, contempt"),
        (["0=anger", "0=fear"], "'0' is given twice"),
        ({"0": 3}, "0=3 is no pair"),
    ],
)
def test_labels_that_are_refused(tmp_path, labels, sentence):
    with pytest.raises(ValueError, match=sentence):
        folder.records(made(tmp_path, "0/1.png"), labels=labels)


@pytest.mark.parametrize("text", ["", "[1]", '{"0": "bored"}', '{"0": 1}', "\xff"])
def test_a_labels_file_that_is_refused(tmp_path, text):
    (made(tmp_path, "0/1.png") / "labels.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"labels\.json") as error:
        folder.records(tmp_path)
    assert "\n" not in str(error.value)


def test_labels_are_ones_own_alone():
    with pytest.raises(ValueError, match="--labels is for one's own pictures .*: ck_plus has labels of its own"):
        catalogue.load("ck_plus", None, {}, ["0=anger"])


def test_lists_of_other_hands(tmp_path, monkeypatch):
    """Semicolons, capital letters, numbers as labels, a split, the home folder; a comma that is in no quotes."""
    made(tmp_path, "a.png", "b.png", "c.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "labels.csv"
    file.write_text(
        "\ufeffPath;Expression;Subject;Split;Light\na.png;0;7;Train;dim\n~/b.png;happy;8;val;\n\nc.png;9;;x\n"
    )
    found = folder.records(tmp_path, labels=["0=anger", "9=none"])
    assert [(r.expression, r.subject, r.split, r.info) for r in found] == [
        ("anger", "7", "train", {"Light": "dim"}), ("happiness", "8", "validation", {}),
    ]  # fmt: skip
    assert folder.records("~", labels=["0=anger", "9=none"]) == found
    file.write_text("path,expression,subject\na.png,anger,Müller, Anna\n")
    with pytest.raises(ValueError, match="line 2: 4 fields for the 3 columns .* such as Müller, Anna, in quotes"):
        folder.records(tmp_path)
    file.write_text('path,expression,subject\na.png,anger,"Müller, Anna"\nb.png,anger\n')
    assert [r.subject for r in folder.records(tmp_path)] == ["Müller, Anna", None]
