"""Data sets that are folders of pictures, on fake trees as their owners ship them: counts, labels, every refusal."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_tf import catalogue, films, pipeline
from fer_tf.datasets import (
    afew,
    bu3dfe,
    bu4dfe,
    casia_webface,
    celeba,
    ck_plus,
    emotionet,
    folder,
    jaffe,
    lfw,
    mmi,
    oulu_casia,
    raf_db,
    sfew,
)
from fer_tf.protocols import PROTOCOLS
from fer_tf.records import EXPRESSIONS, subject_folds

MODULES = (
    afew,
    bu3dfe,
    bu4dfe,
    casia_webface,
    celeba,
    ck_plus,
    emotionet,
    folder,
    jaffe,
    lfw,
    mmi,
    oulu_casia,
    raf_db,
    sfew,
)


def touch(path, text=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"") if text is None else path.write_text(text)
    return path


def labels(found):
    return [r.expression for r in found]


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__.rsplit(".", 1)[-1])
def test_a_wrong_folder_shows_the_tree(module, tmp_path):
    for root in (None, tmp_path / "nowhere", tmp_path):
        with pytest.raises(FileNotFoundError) as error:
            module.records(root)
        assert module.TREE.splitlines()[0] in str(error.value)
    for word in ("Licence", "Used by") if module is not folder else ():
        assert word in module.__doc__


def ck(root, people=2, sequences=2, frames=6, number=3):
    for person in range(people):
        for sequence in range(1, sequences + 1):
            name = f"S{9 + person:03d}"
            for frame in range(1, frames + 1):
                touch(root / f"cohn-kanade-images/{name}/{sequence:03d}/{name}_{sequence:03d}_{frame:08d}.png")
            told = root / f"Emotion/{name}/{sequence:03d}"
            told.mkdir(parents=True)
            if sequence == 1:
                touch(told / f"{name}_{sequence:03d}_{frames:08d}_emotion.txt", f"   {number}.0000000e+00\n")
    return root


def test_ck_plus(tmp_path, capsys):
    """Only labelled sequences; the first frame is neutral, the last three show the expression; a count that warns."""
    found = ck_plus.records(ck(tmp_path / "CK+"))
    assert labels(found) == ["neutral", "disgust", "disgust", "disgust"] * 2
    assert [r.frame for r in found[:4]] == [0, 3, 4, 5]
    assert [r.subject for r in found] == ["S009"] * 4 + ["S010"] * 4 and found[0].sequence == "S009/001"
    assert "has 6 faces with an expression; the papers have 981" in capsys.readouterr().err
    assert ck_plus.records(tmp_path) == found  # the folder above will do
    assert len(ck_plus.records(tmp_path / "CK+", frames="all")) == 12
    assert "papers have" not in capsys.readouterr().err.split("981", 1)[-1]  # that rule is none of the papers'
    with pytest.raises(ValueError, match="Unknown frame rule"):
        ck_plus.records(tmp_path / "CK+", frames="first")
    assert len(subject_folds(found, 2)) == 2


def test_ck_plus_short_and_neutral_sequences(tmp_path):
    """Two frames: the first stays neutral; a sequence that is labelled neutral is neutral all through."""
    assert labels(ck_plus.records(ck(tmp_path / "a", 1, 1, frames=2))) == ["neutral", "disgust"]
    assert labels(ck_plus.records(ck(tmp_path / "b", 1, 1, number=0))) == ["neutral"] * 4


def test_ck_plus_landmarks_and_damage(tmp_path):
    root = ck(tmp_path, 1, 1)
    place = root / "Landmarks/S009/001"
    touch(place / "S009_001_00000006_landmarks.txt", "\n".join(f"{i} {2 * i}" for i in range(68)))
    touch(place / "S009_001_00000005_landmarks.txt", "1 2\n3")
    found = ck_plus.records(root)
    assert [("landmarks" in r.info) for r in found] == [False, False, False, True]
    np.testing.assert_array_equal(found[-1].info["landmarks"][5], [5, 10])
    for text in ("nine", "-1", "inf", "nan", "3.5", "8", ""):
        touch(root / "Emotion/S009/001/S009_001_00000006_emotion.txt", text)
        with pytest.raises(ValueError, match="emotion.txt holds no number from 0 to 7"):
            ck_plus.records(root)


def test_ck_plus_without_emotions(tmp_path):
    touch(tmp_path / "cohn-kanade-images/S005/001/S005_001_00000001.png")
    with pytest.raises(FileNotFoundError, match="no Emotion folder"):
        ck_plus.records(tmp_path)


def test_ck_plus_small_form(tmp_path, capsys):
    for name in ("anger/S010_004_00000017.png", "anger/S009_004_00000018.png", "happy/S009_004_00000017.png"):
        touch(tmp_path / name)
    found = ck_plus.records(tmp_path)
    assert [(r.subject, r.frame, r.expression) for r in found] == [
        ("S009", 17, "happiness"), ("S009", 18, "anger"), ("S010", 17, "anger"),
    ]  # fmt: skip
    assert all(r.info["framed"] for r in found) and "has 3 faces" in capsys.readouterr().err
    touch(tmp_path / "happy/17.png")
    with pytest.raises(ValueError, match="happy/17.png does not say who it shows"):
        ck_plus.records(tmp_path)
    (tmp_path / "happy/17.png").unlink()
    touch(tmp_path / "bored/S010_004_00000017.png")
    with pytest.raises(ValueError, match="'bored' is no expression"):
        ck_plus.records(tmp_path)


@pytest.mark.parametrize("top", ["B_OriginalImg/VL", "a/PreProcess Img/VL_Acropped/VL_Acropped"])
def test_oulu_casia(tmp_path, capsys, top):
    for light in ("Strong", "Weak"):
        for person in ("P009", "P010"):
            for word in ("Anger", "Happiness"):
                for frame in range(5):
                    touch(tmp_path / top / light / person / word / f"{frame:03d}.jpeg")
    found = oulu_casia.records(tmp_path)
    assert labels(found[:8]) == ["neutral", *["anger"] * 3, "neutral", *["happiness"] * 3] and len(found) == 16
    assert {r.domain for r in found} == {"VL Strong"} and found[3].frame == 4
    assert ("framed" in found[0].info) == ("crop" in top)
    assert "has 12 faces" in capsys.readouterr().err
    assert {r.domain for r in oulu_casia.records(tmp_path, light="Weak")} == {"VL Weak"}
    with pytest.raises(FileNotFoundError, match="no NI camera with Strong"):
        oulu_casia.records(tmp_path, camera="NI")
    with pytest.raises(ValueError, match="not VL, Bright"):
        oulu_casia.records(tmp_path, light="Bright")


def test_oulu_casia_both_forms(tmp_path):
    for top in ("B_OriginalImg/VL", "PreProcess Img/VL_Acropped"):
        touch(tmp_path / top / "Strong/P001/Fear/000.jpeg")
    for cropped in (False, True):
        (record,) = oulu_casia.records(tmp_path, cropped=cropped)
        assert ("crop" in record.image) == cropped == bool(record.info)


def test_bu3dfe(tmp_path, capsys):
    for name in ("F0002", "M0001", "F0010"):
        for code in ("AN01", "AN03", "AN04", "SU04", "NE00"):
            touch(tmp_path / "BU_3DFE" / name / f"{name}_{code}WH_F2D.bmp")
            touch(tmp_path / "BU_3DFE" / name / f"{name}_{code}WH_F3D.wrl")
    found = bu3dfe.records(tmp_path)
    assert [r.subject for r in found[::4]] == ["F0002", "F0010", "M0001"]
    assert labels(found[:4]) == ["anger", "anger", "surprise", "neutral"] and [r.frame for r in found[:4]] == [
        3,
        4,
        4,
        0,
    ]
    assert found[0].info == {"intensity": 0.75, "ethnicity": "WH"} and "the papers have 1200" in capsys.readouterr().err
    assert len(bu3dfe.records(tmp_path, levels=(1, 2))) == 6
    with pytest.raises(ValueError, match=r"levels 1, 2, 3, 4: not \[5\]"):
        bu3dfe.records(tmp_path, levels=[5])
    touch(tmp_path / "BU_3DFE/F0002/F0002_XX03WH_F2D.bmp")
    with pytest.raises(ValueError, match="XX03WH_F2D.bmp: 'XX' is no expression"):
        bu3dfe.records(tmp_path)


def test_jaffe(tmp_path, capsys):
    for name in ("KA.AN1.39.tiff", "KA.AN2.40.tiff", "KA.NE1.26.tiff", "YM.SU3.60.tiff", "README"):
        touch(tmp_path / "jaffe" / name)
    found = jaffe.records(tmp_path)
    assert [(r.subject, r.expression, r.frame) for r in found] == [
        ("KA", "anger", 1), ("KA", "anger", 2), ("KA", "neutral", 1), ("YM", "surprise", 3),
    ]  # fmt: skip
    assert "has 4 pictures; the owner's has 213" in capsys.readouterr().err


def raf(root, lines="train_00001.jpg 5\ntrain_00002.jpg 6\ntest_0001.jpg 7\n"):
    touch(root / raf_db.LIST, lines)
    for name in ("train_00001", "train_00002", "test_0001"):
        touch(root / f"Image/aligned/{name}_aligned.jpg")
        touch(root / f"Image/original/{name}.jpg")
    return root


def test_raf_db(tmp_path, capsys):
    found = raf_db.records(raf(tmp_path / "basic").parent)
    assert labels(found) == ["sadness", "anger", "neutral"] and [r.split for r in found] == ["train", "train", "test"]
    assert all(r.subject is None and r.info["framed"] and "aligned" in r.image for r in found)
    assert "has {'train': 2, 'test': 1}" in capsys.readouterr().err
    assert all("original" in r.image and not r.info for r in raf_db.records(tmp_path, aligned=False))
    (tmp_path / "basic/Image/aligned/test_0001_aligned.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="no picture of test_0001.jpg"):
        raf_db.records(tmp_path)


@pytest.mark.parametrize("line", ["train_00001.jpg 8", "train_00001.jpg", "train_00001.jpg five"])
def test_raf_db_bad_lines(tmp_path, line):
    with pytest.raises(ValueError, match="line 2: 'train_00001.jpg"):
        raf_db.records(raf(tmp_path, f"train_00001.jpg 5\n{line}\n"))


def test_class_folders(tmp_path):
    face = Image.fromarray(np.zeros((8, 8), np.uint8))
    for name in ("Angry/anna_1.png", "Angry/bob/1.png", "sad/x.png", "sad/Анна Б_2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        face.save(tmp_path / name)
    found = folder.records(tmp_path)
    assert {(r.subject, r.expression) for r in found} == {
        ("anna", "anger"), ("bob", "anger"), (None, "sadness"), ("Анна Б", "sadness"),
    }  # fmt: skip
    assert all(pipeline.read_image(r).shape == (8, 8, 3) for r in found)
    touch(tmp_path / "holiday/x.png")
    with pytest.raises(ValueError, match="holiday: 'holiday' is no expression"):
        folder.records(tmp_path)


def test_lists(tmp_path):
    for name in ("a/1.jpg", "a/2.jpg"):
        touch(tmp_path / name)
    head = "path,expression,subject,frame,light\n"
    touch(tmp_path / "labels.csv", head + f"a/1.jpg,Happy,anna,3,dim\n{tmp_path}/a/2.jpg,,bob,,\n")
    found = folder.records(tmp_path)
    assert [(r.expression, r.subject, r.frame, r.info) for r in found] == [
        ("happiness", "anna", 3, {"light": "dim"}), (None, "bob", None, {}),
    ]  # fmt: skip
    assert folder.records(tmp_path / "labels.csv") == found
    for text, sentence in (
        ("path,subject\n", "it needs path and expression"),
        (head + "a/9.jpg,happy,x,1,\n", "line 2: there is no file"),
        (head + ",happy,x,1,\n", "line 2: there is no path"),
        (head + "a/1.jpg,bored,x,1,\n", "line 2: 'bored' is no expression"),
        ("path,expression,framed\na/1.jpg,happy,no\n", "a column may not be called framed"),
        (head + "a/1.jpg,happy,x,one,\n", "line 2: frame 'one' is no number"),
        (head, "lists no picture"),
    ):
        touch(tmp_path / "labels.csv", text)
        with pytest.raises((ValueError, FileNotFoundError), match=sentence):
            folder.records(tmp_path)
    (tmp_path / "labels.csv").write_bytes(b"path,expression\n\xff\xfe,\n")
    with pytest.raises(ValueError, match="no CSV file in UTF-8"):
        folder.records(tmp_path)


def test_words_are_expressions():
    from fer_tf import trees

    assert set(trees.WORDS.values()) == {*EXPRESSIONS} and set(ck_plus.NUMBERS) == {*EXPRESSIONS}
    assert {*EXPRESSIONS} - {*raf_db.NUMBERS} == {"contempt"}


def test_bu4dfe(tmp_path, capsys):
    """Seven frames around the middle, and the first as neutral."""
    for person in ("F001", "M010"):
        for frame in range(15):
            for ending in (".jpg", ".wrl"):
                touch(tmp_path / "BU4DFE" / person / "Happy" / f"{frame:03d}{ending}")
    found = bu4dfe.records(tmp_path)
    assert [r.frame for r in found[:8]] == [0, 4, 5, 6, 7, 8, 9, 10] and len(found) == 16
    assert labels(found[:2]) == ["neutral", "happiness"] and {r.subject for r in found} == {"F001", "M010"}
    assert "has 14 faces with an expression; 4242 were expected" in capsys.readouterr().err
    assert labels(bu4dfe.records(tmp_path, frames="all")).count("happiness") == 30
    touch(tmp_path / "BU4DFE/F001/Bored/000.jpg")
    with pytest.raises(ValueError, match="'Bored' is no expression"):
        bu4dfe.records(tmp_path)


@pytest.mark.parametrize("names", [("Set1", "Set2"), ("SPI_Set_1", "SPI_Set_2")])
def test_sfew_two_sets(tmp_path, capsys, names):
    for name, count in zip(names, (2, 3), strict=True):
        for i in range(count):
            touch(tmp_path / "SFEW" / name / "Angry" / f"Film_{i}.png")
    found = sfew.records(tmp_path)
    assert [r.split for r in found] == ["set1"] * 2 + ["set2"] * 3 and set(labels(found)) == {"anger"}
    assert all(r.subject is None and not r.info for r in found)
    assert "has {'set1': 2, 'set2': 3}" in capsys.readouterr().err


def test_sfew_2(tmp_path):
    """Aligned faces or whole pictures; the test part has no classes and is not read."""
    for part, faces in (("Train", "Train_Aligned_Faces"), ("Val", "Val_Aligned_Faces_new")):
        for form in (faces, part):
            touch(tmp_path / part / form / "Sad" / "Film_1.png")
    touch(tmp_path / "Test" / "Film_2.png")
    found = sfew.records(tmp_path)
    assert [(r.split, r.info) for r in found] == [("train", {"framed": True}), ("validation", {"framed": True})]
    assert all(not r.info and "Aligned" not in r.image for r in sfew.records(tmp_path, aligned=False))


def test_afew(tmp_path):
    for part in ("Train_AFEW", "Val_AFEW"):
        for frame in range(4):
            touch(tmp_path / part / "Neutral" / "000046280" / f"000046280_{frame:05d}.jpg")
        touch(tmp_path / part / "Neutral" / "000046280.avi")
    found = afew.records(tmp_path)
    assert len(found) == 8 and found[5].sequence == "validation/000046280" and found[5].frame == 1
    assert len(afew.records(tmp_path, frames="last3")) == 6


def test_afew_clips(tmp_path):
    """The clip itself where it has no frames."""
    touch(tmp_path / "Train_AFEW" / "Sad" / "10" / "10_00001.jpg")
    with films.Writer(tmp_path / "Train_AFEW" / "Sad" / "9.avi") as film:
        for grey in (0, 50, 100, 150):
            film.add(np.full((32, 48, 3), grey, np.uint8))
    found = afew.records(tmp_path)
    assert [(r.sequence, r.frame) for r in found] == [("train/9", n) for n in range(4)] + [("train/10", 0)]
    assert [round(pipeline.read_image(r).mean() / 50) for r in found[:4]] == [0, 1, 2, 3]
    assert [r.image[1] for r in afew.records(tmp_path, frames="last3")[:3]] == [1, 2, 3]
    touch(tmp_path / "Train_AFEW" / "Sad" / "8.avi", "no film")
    with pytest.raises(ValueError, match="8.avi: cannot be read as a film"):
        afew.records(tmp_path)


def test_celeba(tmp_path, capsys):
    for name in ("img_celeba/000010.jpg", "img_celeba/000009.jpg", "img_align_celeba/000009.jpg"):
        touch(tmp_path / "CelebA" / name)
    touch(tmp_path / "CelebA/identity_CelebA.txt", "000009.jpg 2880\n000010.jpg 7\n")
    found = celeba.records(tmp_path)
    assert [(r.expression, r.subject) for r in found] == [(None, "2880"), (None, "7")]
    assert "has 2 pictures; the owner's has 202599" in capsys.readouterr().err
    assert "align" in celeba.records(tmp_path, aligned=True)[0].image
    touch(tmp_path / "CelebA/identity_CelebA.txt", "000009.jpg one\n")
    with pytest.raises(ValueError, match="'000009.jpg one' is no picture and number"):
        celeba.records(tmp_path)


@pytest.mark.parametrize("top", ["lfw", "."])
def test_lfw(tmp_path, top):
    for name in ("Ann_B/Ann_B_0001.jpg", "Ann_B/Ann_B_0002.jpg", "Zoë/Zoë_0001.jpg", "Ann_B/readme.jpg"):
        touch(tmp_path / top / name)
    assert [(r.subject, r.expression) for r in lfw.records(tmp_path)] == [("Ann_B", None)] * 2 + [("Zoë", None)]


def test_casia_webface(tmp_path):
    for name in ("0000045/001.jpg", "0000045/002.jpg", "0000100/001.jpg", "lists/x.jpg"):
        touch(tmp_path / "CASIA-WebFace" / name)
    assert [r.subject for r in casia_webface.records(tmp_path)] == ["0000045"] * 2 + ["0000100"]


def test_emotionet(tmp_path, capsys):
    for i in range(7):
        touch(tmp_path / ("images" if i % 2 else ".") / f"{i}.jpg")
    touch(tmp_path / "labels.csv", "path,expression\n" + "".join(f"{i}.jpg,Fearful\n" for i in range(7)))
    found = emotionet.records(tmp_path)
    assert [r.split for r in found] == [f"fold{i % 5}" for i in range(7)] and set(labels(found)) == {"fear"}
    assert "has 7 pictures; CycleAT has 1141" in capsys.readouterr().err
    touch(tmp_path / "labels.csv", "path,expression,split\n1.jpg,sad,a\n2.jpg,sad,b\n")
    assert [r.split for r in emotionet.records(tmp_path)] == ["a", "b"]
    for text, sentence in (
        ("path\n1.jpg\n", "needs the columns path and expression"),
        ("path,expression\n9.jpg,sad\n", "line 2: there is no file 9.jpg"),
        ("expression,path\nsad\n", r"line 2: there is no file \(no path\)"),
        ("path,expression,turn\n1.jpg,sad,90\n", "a column may not be called turn"),
        ("path,expression\n1.jpg,odd\n", "line 2: 'odd' is no expression"),
    ):
        touch(tmp_path / "labels.csv", text)
        with pytest.raises((ValueError, FileNotFoundError), match=sentence):
            emotionet.records(tmp_path)


@pytest.mark.parametrize("top", ["B_OriginalImg", "."])
def test_oulu_casias_protocol_reads_strong_light_of_the_visible_camera(tmp_path, top):
    """By the files, not by what the records say of themselves: every camera and light has the same names."""
    for camera in ("NI", "VL"):
        for light in ("Dark", "Strong", "Weak"):
            for frame in range(5):
                touch(tmp_path / top / camera / light / "P001/Anger" / f"{frame:03d}.jpeg")
    chosen = PROTOCOLS["oulu_strong_10fold"]
    for options in (chosen.options, {}):  # and so without a protocol
        found = catalogue.load("oulu_casia", tmp_path, options)
        places = [Path(r.image).relative_to(tmp_path / top).parts[:2] for r in found]
        assert places == [("VL", "Strong")] * 4 and {r.domain for r in found} == {"VL Strong"}
    for camera, light in (("NI", "Strong"), ("VL", "Weak"), ("NI", "Dark")):
        found = catalogue.load("oulu_casia", tmp_path, {"camera": camera, "light": light})
        assert {Path(r.image).relative_to(tmp_path / top).parts[:2] for r in found} == {(camera, light)}
