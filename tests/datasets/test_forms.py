"""Data sets in the forms that people have: nested, in capital letters, repacked by others. Fake trees, exact values."""

import numpy as np
import pytest
from PIL import Image

from fer_tf import records, trees
from fer_tf.datasets import casia_webface, celeba, emotionet, lfw, sfew


def touch(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def face(path, grey=0, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, grey, np.uint8)).save(path)
    return path


def test_sfew_below_a_folder_that_is_called_aligned(tmp_path):
    """What lies above the data set says nothing: whole frames stay whole, cut faces stay cut."""
    root = tmp_path / "Unaligned downloads" / "SFEW"
    for part in ("Train", "Val"):
        touch(root / part / part / "Angry" / "Film_1.png")
    assert [r.info for r in sfew.records(root)] == [{}, {}]
    for part in ("Train", "Val"):
        touch(root / part / f"{part}_Aligned_Faces" / "Angry" / "Film_1.png")
    found = sfew.records(root)
    assert [r.info for r in found] == [{"framed": True}] * 2 and all("_Aligned_Faces" in r.image for r in found)
    assert [r.info for r in sfew.records(root, aligned=False)] == [{}, {}]


@pytest.mark.parametrize("start", ["CelebA", "CelebA/Img", "."])
def test_celeba_as_its_owner_ships_it(tmp_path, capsys, start):
    top = tmp_path / "CelebA"
    for name in ("Img/img_align_celeba/000001.jpg", "Img/img_align_celeba/000002.jpg", "Img/img_celeba/000001.jpg"):
        touch(top / name)
    touch(top / "Anno/identity_CelebA.txt", "000001.jpg 2880\n000002.jpg 2937\n")
    found = celeba.records(tmp_path / start, aligned=True)
    assert [(r.subject, r.image.rsplit("/", 2)[1]) for r in found] == [
        ("2880", "img_align_celeba"), ("2937", "img_align_celeba"),
    ]  # fmt: skip
    assert [r.subject for r in celeba.records(tmp_path / start)] == ["2880"]
    assert "identity" not in capsys.readouterr().err


def test_celeba_without_identities_says_so(tmp_path, capsys):
    """As Kaggle packs it: twice in a folder of that name, without the list; then with a list that lacks one."""
    for i in (1, 2):
        touch(tmp_path / f"img_align_celeba/img_align_celeba/{i:06d}.jpg")
    assert [r.subject for r in celeba.records(tmp_path)] == [None, None]
    assert "2 of 2 pictures have no identity, since there is no identity_CelebA.txt" in capsys.readouterr().err
    touch(tmp_path / "identity_CelebA.txt", "000002.jpg 5\n")
    assert [r.subject for r in celeba.records(tmp_path)] == [None, "5"]
    assert "1 of 2 pictures have no identity, since identity_CelebA.txt does not name" in capsys.readouterr().err


@pytest.mark.parametrize("top", ["lfw-deepfunneled/lfw-deepfunneled", "a/lfw-deepfunneled/lfw-deepfunneled"])
def test_people_in_nested_folders(tmp_path, top):
    for name in ("Ann_B/Ann_B_0001.jpg", "Bo/Bo_0001.jpg", "Bo/Bo_0002.jpg"):
        touch(tmp_path / top / name)
    assert [r.subject for r in lfw.records(tmp_path)] == ["Ann_B", "Bo", "Bo"]
    for name in ("0000045/001.jpg", "0000100/001.jpg"):
        touch(tmp_path / "other" / top / name)
    assert [r.subject for r in casia_webface.records(tmp_path / "other")] == ["0000045", "0000100"]


def test_capital_letters_and_the_home_folder(tmp_path, monkeypatch):
    touch(tmp_path / "A" / "Img" / "X.txt")
    assert trees.child(tmp_path, "a/IMG/x.TXT") == tmp_path / "A" / "Img" / "X.txt"
    assert trees.child(tmp_path, "a/IMG/y.TXT") is None
    monkeypatch.setenv("HOME", str(tmp_path))
    assert trees.root_of("~", "TREE", "img") == tmp_path / "A"
    assert records.Record("~/A/x.png").image == f"{tmp_path}/A/x.png"


def test_records_take_paths_and_numbers(tmp_path):
    """A Path is its text, a whole number its digits; a person 7 is the person "7", S9 still comes before S10."""
    path = face(tmp_path / "a" / "x.png")
    named = records.Record(path, "anger", subject=7)
    assert named == records.Record(str(path), "anger", subject="7") and named.key() == "a/x.png"
    assert records.Record((tmp_path / "f.h5", np.int64(3)), subject=np.int32(9)).image == (f"{tmp_path}/f.h5", 3)
    people = [records.Record(path, "anger", subject=i) for i in (10, 9, 8)]
    assert records.subjects_of(people) == ["8", "9", "10"] and len(records.subject_folds(people, 3)) == 3
    assert records.content_hash(named) == records.content_hash(records.Record(str(path)))
    with pytest.raises(TypeError):
        records.Record((3, 3))


def test_a_list_in_capital_letters_with_too_many_commas(tmp_path):
    touch(tmp_path / "images" / "1.jpg")
    file = touch(tmp_path / "Labels.CSV", "Path;Expression\n1.jpg;Happy\n")
    assert [(r.expression, r.split) for r in emotionet.records(tmp_path)] == [("happiness", "fold0")]
    touch(file, "path,expression,place\n1.jpg,Happy,Oulu, Finland\n")
    with pytest.raises(ValueError, match="line 2: 4 fields for the 3 columns path, expression, place"):
        emotionet.records(tmp_path)
