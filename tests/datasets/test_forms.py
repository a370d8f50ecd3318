"""Data sets in the forms that people have: nested, in capital letters, repacked by others. Fake trees, exact values."""

import numpy as np
import pytest
from PIL import Image

from fer_tf import films, lists, pipeline, records, trees
from fer_tf.datasets import afew, casia_webface, celeba, ck_plus, emotionet, lfw, raf_db, sfew


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
    own = celeba.records(top / "Img" / "img_align_celeba", aligned=True)
    assert own == found and "identity" not in capsys.readouterr().err


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


@pytest.mark.parametrize("top", [".", "archive/CK+48"])
def test_ck_plus_in_capital_letters(tmp_path, top):
    for name in ("Anger/S010_004_00000017.png", "HAPPY/s009_004_00000018.png"):
        face(tmp_path / "small" / top / name)
    found = ck_plus.records(tmp_path / "small")
    assert [(r.subject, r.expression) for r in found] == [("S009", "happiness"), ("S010", "anger")]
    whole = tmp_path / "whole" / top
    for i in (1, 2, 3):
        touch(whole / f"Cohn-Kanade-Images/S005/001/S005_001_0000000{i}.png")
    touch(whole / "EMOTION/S005/001/S005_001_00000003_emotion.txt", "  3.0e+00")
    found = ck_plus.records(tmp_path / "whole")
    assert [(r.expression, r.frame) for r in found] == [("neutral", 0), ("disgust", 1), ("disgust", 2)]
    (whole / "EMOTION/S005").rename(whole / "EMOTION/s005")
    assert ck_plus.records(tmp_path / "whole") == found and found[0].subject == "S005"


def test_ck_plus_as_a_list(tmp_path, capsys):
    """Eight numbers of its own, three parts, nobody named, and that is said."""
    lines = [f"{i},{' '.join([str(i)] * 2304)},{('Training', 'PublicTest', 'PrivateTest')[i % 3]}" for i in range(8)]
    file = touch(tmp_path / "CKextended.csv", "emotion,pixels,Usage\n" + "\n".join(lines))
    found = ck_plus.records(tmp_path)
    assert [r.expression for r in found] == [
        "anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral", "contempt",
    ]  # fmt: skip
    assert [r.split for r in found[:3]] == ["train", "public_test", "private_test"]
    assert {r.subject for r in found} == {None} and all(r.info["framed"] for r in found)
    assert found[5].image.shape == (48, 48) and found[5].image.dtype == np.uint8 and (found[5].image == 5).all()
    assert "CKextended.csv names nobody: its 8 pictures have no subject, and its parts share people" in (
        capsys.readouterr().err
    )
    assert len(ck_plus.records(file)) == 8
    for line, sentence in (
        (f"8,{' '.join(['1'] * 2304)},Training", "line 2: emotion '8'"),
        (f"1,{' '.join(['1'] * 2304)},Test", "line 2: .*Usage 'Test'"),
        ("1,1 2 3,Training", "line 2: its pixels are not 48x48 numbers"),
        (
            f"1,{' '.join(['256'] * 2304)},Training",
            "line 2: its pixels are not 48x48 numbers.*255: 256 to 256",
        ),
    ):
        touch(file, f"emotion,pixels,Usage\n{line}\n")
        with pytest.raises(ValueError, match=sentence):
            ck_plus.records(tmp_path)


@pytest.mark.parametrize("classes", [("1", "5", "7"), ("surprise", "Sad", "neutral")])
def test_raf_db_as_kaggle_packs_it(tmp_path, capsys, classes):
    for name in (f"train/{classes[0]}/train_00001_aligned.jpg", f"train/{classes[1]}/train_00002_aligned.jpg",
                 f"test/{classes[2]}/test_0001_aligned.jpg"):  # fmt: skip
        touch(tmp_path / "archive" / "DATASET" / name)
    found = raf_db.records(tmp_path)
    wanted = {("surprise", "train"), ("sadness", "train"), ("neutral", "test")}
    assert {(r.expression, r.split) for r in found} == wanted and len(found) == 3
    assert all(r.subject is None and r.info == {"framed": True} for r in found)
    assert "has {'train': 2, 'test': 1}" in capsys.readouterr().err
    file = touch(tmp_path / "archive/train_labels.csv", "image,label\ntrain_00001_aligned.jpg,1\n")
    assert raf_db.records(tmp_path) == found
    touch(file, "image,label\ntrain_00001_aligned.jpg,2\n")
    with pytest.raises(ValueError, match="line 2: train_00001_aligned.jpg, 2 is not so .* which have it as surprise"):
        raf_db.records(tmp_path)
    touch(tmp_path / "archive/DATASET/train/8/x.jpg")
    with pytest.raises(ValueError, match="train/8: '8' is no expression"):
        raf_db.records(tmp_path)


def test_afew_with_its_owners_faces(tmp_path, capsys):
    """Faces of a clip go before its film; the clip's folder says what they show."""
    for part, own in (("Train", "AlignedFaces_LBPTOP_Points"), ("Val", "AlignedFaces_LBPTOP_Points_Val")):
        top = tmp_path / f"{part}_AFEW"
        for clip, grey in (("10", 100), ("9", 50)):
            (top / "Sad").mkdir(parents=True, exist_ok=True)
            with films.Writer(top / "Sad" / f"{clip}.avi") as film:
                for _ in range(4):
                    film.add(np.full((32, 48, 3), grey, np.uint8))
        for i in range(3):
            face(top / own / "Faces" / "10" / f"{i:03d}.jpg", 200, (128, 128))
        touch(top / own / "LBPTOP" / "10.txt")
        face(top / own / "Faces" / "777" / "000.jpg")
    found = afew.records(tmp_path)
    assert [(r.sequence, r.frame) for r in found] == [
        (f"{part}/{clip}", i) for part in ("train", "validation") for clip, n in (("9", 4), ("10", 3)) for i in range(n)
    ]  # fmt: skip
    assert [bool(r.info) for r in found] == ([False] * 4 + [True] * 3) * 2
    assert [round(pipeline.read_image(r).mean() / 50) for r in found[3:5]] == [1, 4] and found[
        0
    ].expression == "sadness"
    assert "1 clips of train are left out, such as 777" in capsys.readouterr().err
    assert len(afew.records(tmp_path, aligned=False)) == 16 and capsys.readouterr().err == ""
    assert not any(r.info for r in afew.records(tmp_path, aligned=False))
    face(tmp_path / "Train_AFEW/Sad/11/11_0.jpg")  # its own frames, and its owner's face of it
    face(tmp_path / "Train_AFEW/AlignedFaces_LBPTOP_Points/Faces/11/000.jpg")
    (record,) = [r for r in afew.records(tmp_path) if r.sequence == "train/11"]
    assert record.image.endswith("Faces/11/000.jpg") and record.info == {"framed": True}
    (tmp_path / "Train_AFEW" / "Fear").mkdir()
    (tmp_path / "Train_AFEW" / "Sad" / "10.avi").rename(tmp_path / "Train_AFEW" / "Fear" / "10.avi")
    assert [r.expression for r in afew.records(tmp_path)[:3]] == ["fear"] * 3
    (tmp_path / "Train_AFEW" / "Sad" / "10").mkdir()
    with pytest.raises(ValueError, match="Sad: clip 10 lies in the folder of fear, too"):
        afew.records(tmp_path)


def test_lists_that_are_none(tmp_path):
    file = touch(tmp_path / "x.csv", "a,b\n1,2,,\n\n3\n")
    assert [row.values for row in lists.rows(file, ("b",))] == [{"a": "1", "b": "2"}, {"a": "3", "b": ""}]
    assert lists.rows(file)[1].where.endswith("line 4")
    with pytest.raises(ValueError, match="has the columns a, b: it needs c, and lacks c"):
        lists.rows(file, ("c",))
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="no CSV file in UTF-8"):
        lists.rows(file)
