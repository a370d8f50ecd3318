"""Data sets by name: what can be chosen of each, how a place is read, and what the table says."""

import h5py
import numpy as np
import pytest
from PIL import Image

from fer_tf import catalogue, protocols
from fer_tf.datasets import ck_plus, prepared, rendered


def test_every_module_is_a_data_set():
    names = catalogue.names()
    assert names == sorted(names) and {"rendered", "ck_plus", "folder", "prepared", "fer2013"} <= {*names}
    for name in names:
        assert callable(catalogue.module(name).records), name
    assert catalogue.module("ck_plus") is ck_plus


def test_what_can_be_chosen():
    assert catalogue.parameters("rendered") == {"part": "lab", "classes": None}
    assert catalogue.parameters("folder") == {}
    assert catalogue.parameters("ck_plus")["frames"] == "last3"


@pytest.fixture
def folder(tmp_path):
    """Six pictures in a list, of two people; the last person's are of the part "test"."""
    lines = ["path,expression,subject,split"]
    for i in range(6):
        Image.new("L", (8, 8), 40 * i).save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,{('happy', 'sad', 'anger')[i % 3]},p{i // 3},{('train', 'test')[i // 3]}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return tmp_path


def test_records_by_name(folder):
    listed = catalogue.load("folder", folder)
    assert [r.expression for r in listed] == ["happiness", "sadness", "anger"] * 2
    lab, wild = (catalogue.load("rendered", None, {"part": part}) for part in ("lab", "wild"))
    assert (len(lab), len(wild)) == (2400, 1280) and {r.domain for r in wild} == {"wild"}
    assert [r.image for r in catalogue.load("rendered")] == [r.image for r in rendered.records()]


def test_a_place_is_a_name_a_part_and_a_folder(folder):
    assert len(catalogue.load_place(f"folder={folder}")) == 6
    assert [r.subject for r in catalogue.load_place(f"folder/test={folder}")] == ["p1"] * 3  # a split
    assert {r.domain for r in catalogue.load_place("rendered/posed")} == {"posed"}  # an option
    assert catalogue.load_place(f"folder/nothing={folder}") == []
    assert catalogue.place_of(f"folder/test={folder}") == "folder/test"
    assert catalogue.place_of("rendered") == "rendered"


def test_a_prepared_file_bears_its_data_sets_name(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        made = {"dataset": "ck_plus", "frames": "last3", "options": "{}", "template": "ed2l"}
        file.attrs.update(made, schema=prepared.SCHEMA, records=1)
        file["image"], file["frame"] = np.zeros((1, 4, 4, 1), np.uint8), [0]
        for name in prepared.TEXTS:
            file[name] = [""]
    assert catalogue.source("prepared", tmp_path / "f.h5") == "ck_plus"
    assert catalogue.place_of(f"prepared/x={tmp_path}/f.h5") == "ck_plus/x"
    assert catalogue.frame_rule("prepared", tmp_path / "f.h5", {}) == "last3"
    assert catalogue.source("mmi", None) == "mmi"


def test_a_part_of_the_rendered_people_bears_its_name(tmp_path):
    """The default part bears the data set's: weights of "rendered" may have seen anybody of it."""
    with h5py.File(path := tmp_path / "f.h5", "w") as file:
        made = {"dataset": "rendered2", "frames": "last3", "options": '{"part": "wild"}', "template": "ed2l"}
        file.attrs.update(made, schema=prepared.SCHEMA, records=1)
        file["image"], file["frame"] = np.zeros((1, 4, 4, 1), np.uint8), [0]
        for name in prepared.TEXTS:
            file[name] = [""]
    found = [
        catalogue.people(name, path if name == "prepared" else None, {"part": part} if part else {})
        for name in ("rendered", "rendered2", "prepared")
        for part in ("", "lab", "posed", "all")
    ]
    assert found == [*["rendered"] * 2, "rendered/posed", "rendered/all", *["rendered2"] * 2, "rendered2/posed",
                     "rendered2/all", *["rendered2/wild"] * 4]  # fmt: skip
    assert catalogue.people("ck_plus", None, {"part": "wild"}) == "ck_plus"


def test_which_frames_are_taken():
    assert catalogue.frame_rule("ck_plus", None, {"frames": "all"}) == "all"
    assert catalogue.frame_rule("folder", None, {}) == "all frames of the data set"
    for name in ("ck_plus", "mmi"):
        assert catalogue.frame_rule(name, None, {}) == catalogue.module(name).FRAMES


def test_options_become_values_like_their_defaults():
    """Texts, numbers, several of them."""
    assert catalogue.options("ck_plus", ["frames=all"]) == {"frames": "all"}
    assert catalogue.options("bu3dfe", ["levels=2+3"]) == {"levels": (2, 3)}
    assert catalogue.options("folder", []) == {}


@pytest.mark.parametrize(
    "name, pair, sentence",
    [
        ("ck_plus", "frame=all", "options=frame=all: ck_plus has frames=last3"),
        ("ck_plus", "frames", "options=frames: ck_plus has frames=last3"),
        ("folder", "frames=all", "options=frames=all: folder has no options"),
        ("bu3dfe", "levels=three", "options=levels=three: a value like 3+4 is wanted"),
    ],
)
def test_what_is_no_option_is_refused(name, pair, sentence):
    with pytest.raises(ValueError, match=sentence.replace("+", r"\+")):
        catalogue.options(name, [pair])


def test_what_is_no_data_set_is_refused(tmp_path):
    for call in (lambda: catalogue.load("ckplus"), lambda: catalogue.load_place("ckplus=/data")):
        with pytest.raises(ValueError, match="names no data set: give .*one of afew, .*ck_plus"):
            call()
    with pytest.raises(ValueError, match="rendered has no option 'parts': it has part=lab"):
        catalogue.load("rendered", None, {"parts": "wild"})
    with pytest.raises(FileNotFoundError, match="anger"):
        catalogue.load("folder", tmp_path)


@pytest.mark.parametrize(
    "given, refused",
    [
        ({"camera": "VL", "light": "Strong"}, None),
        ({"light": "Weak"}, "light=Weak is another data set than the protocol's, which has Strong"),
        ({"camera": "NI"}, "camera=NI is another data set than the protocol's, which has VL"),
        ({"frames": "all"}, "frames=all is another data set"),
        ({"cropped": True}, None),  # a form of it
    ],
)
def test_a_protocol_reads_its_own_data_set_alone(given, refused):
    chosen = protocols.PROTOCOLS["oulu_strong_10fold"]
    if refused is None:
        assert catalogue.refuse_others(chosen, given) is None
    else:
        with pytest.raises(ValueError, match=refused) as error:
            catalogue.refuse_others(chosen, given)
        assert "prepare oulu_casia without it" in str(error.value)


def test_a_protocol_compares_several_values_as_a_set():
    chosen = protocols.PROTOCOLS["bu3dfe_10fold"]
    assert catalogue.refuse_others(chosen, {"levels": (4, 3)}) is None
    with pytest.raises(ValueError, match=r"levels=4 is another data set than the protocol's, which has 3\+4"):
        catalogue.refuse_others(chosen, {"levels": (4,)})


def test_sentences_of_a_docstring():
    doc = "It has faces.\n\nMine, 2020. Licence: for\nresearch. Used by: nobody.\n\nMore."
    assert catalogue.sentences(doc, "Licence") == "for research."
    assert catalogue.sentences(doc, "Used by") == "nobody."
    assert catalogue.sentences(doc, "Price") == "-"


def test_the_table_has_every_data_set():
    text = catalogue.table()
    blocks = {block.split()[0]: block for block in text.split("\n\n")[:-1] + [text.rstrip().rsplit("\n\n", 1)[-1]]}
    assert [*blocks] == catalogue.names()
    for name, block in blocks.items():
        for title in ("tree", "labels", "citation", "licence", "used by", "options", "protocols"):
            assert block.count(f"\n{'':<16}{title:<11}") == 1, (name, title)
    assert "Lucey, Cohn, Kanade" in blocks["ck_plus"] and "frames=last3" in blocks["ck_plus"]
    assert "ck_plus_7_10fold" in blocks["ck_plus"] and "sfew_2fold" in blocks["sfew"]
    assert "mmlab.ie.cuhk.edu.hk" in text and max(map(len, text.splitlines())) <= 128  # trees stay as they are


def test_a_data_set_that_is_still_packed(tmp_path):
    """The message names the archives and what unpacks them, before the tree that is expected."""
    (tmp_path / "CK+.7z").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"by hand: 7z x -o<folder> .*CK\+\.7z\. .*expected a folder with"):
        catalogue.load("ck_plus", tmp_path)
    (tmp_path / "images.zip").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"There are archives \(images.zip\): add --unpack=<folder> to"):
        catalogue.load_place(f"lfw={tmp_path}")


def test_archives_beside_a_data_set_are_not_to_blame(folder):
    (folder / "old.zip").write_bytes(b"")
    (folder / "0.png").unlink()
    with pytest.raises(FileNotFoundError, match="line 2: there is no file") as error:
        catalogue.load("folder", folder)
    assert "There are archives" not in str(error.value)
