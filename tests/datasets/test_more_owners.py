"""KDEF, RaFD, AffectNet, ExpW and CAER-S on fake trees as their owners ship them: counts, labels, people, refusals."""

import numpy as np
import pytest
from PIL import Image

from fer_tf import faces, pipeline, protocols, records
from fer_tf.datasets import affectnet, caer_s, expw, kdef, rafd, rendered

MODULES = (affectnet, caer_s, expw, kdef, rafd)


def touch(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__.rsplit(".", 1)[-1])
def test_a_wrong_folder_shows_the_tree(module, tmp_path):
    for root in (None, tmp_path / "nowhere", tmp_path):
        with pytest.raises(FileNotFoundError) as error:
            module.records(root)
        assert module.TREE.splitlines()[0] in str(error.value)
    for word in ("Licence", "Used by"):
        assert word in module.__doc__


@pytest.mark.parametrize("top", ["KDEF/{}/", "KDEF_and_AKDEF/KDEF/{}/", ""])
def test_kdef(tmp_path, capsys, top):
    """Both sessions are one person's; profiles are asked for; averaged faces are none of them."""
    names = ("AF01ANS", "BF01ANS", "AF01HAHL", "AM35SUS", "BM35AFS", "AF02DIFL", "af10nes", "BF01SAS")
    for name in names:
        touch(tmp_path / top.format(name[:4]) / f"{name}.JPG")
    touch(tmp_path / "AKDEF" / "AFANS.JPG")
    found = kdef.records(tmp_path)
    assert [(r.subject, r.expression, r.sequence) for r in found] == [
        ("F01", "anger", "F01/A"), ("F01", "anger", "F01/B"), ("F01", "sadness", "F01/B"), ("F10", "neutral", "F10/A"),
        ("M35", "surprise", "M35/A"), ("M35", "fear", "M35/B"),
    ]  # fmt: skip
    said = capsys.readouterr().err
    assert "has 6 pictures; the owner's has 980" in said and "1 pictures are not named like its own" in said
    found = kdef.records(tmp_path, angles=("HL", "FL"))
    assert [(r.subject, r.expression, r.domain) for r in found] == [
        ("F01", "happiness", "HL"), ("F02", "disgust", "FL"),
    ]  # fmt: skip
    assert "has 2 pictures; the owner's has 1960" in capsys.readouterr().err
    with pytest.raises(ValueError, match="no angle 'XX': use FL, HL, S, HR, FR"):
        kdef.records(tmp_path, angles=("XX",))
    assert [len(f.test) for f in records.subject_folds(kdef.records(tmp_path), 3)] == [3, 1, 2]


def test_rafd(tmp_path, capsys):
    for name in ("090_01_Caucasian_female_angry_frontal", "090_01_Caucasian_female_contemptuous_left",
                 "045_01_Caucasian_female_angry_frontal", "090_10_Kid_male_fearful_right",
                 "090_9_Moroccan_male_sad_frontal", "090_9_Moroccan_male_surprised_frontal"):  # fmt: skip
        touch(tmp_path / "RafD" / f"Rafd{name}.jpg")
    touch(tmp_path / "RafD" / "readme.jpg")
    found = rafd.records(tmp_path)
    assert [(r.subject, r.expression, r.info["gaze"]) for r in found] == [
        ("01", "anger", "frontal"), ("01", "contempt", "left"), ("9", "sadness", "frontal"),
        ("9", "surprise", "frontal"), ("10", "fear", "right"),
    ]  # fmt: skip
    assert found[4].info == {"group": "Kid", "sex": "male", "gaze": "right"}
    assert "has 5 pictures; the owner's has 1608" in capsys.readouterr().err
    assert [r.domain for r in rafd.records(tmp_path, angles=(45, 90), gazes=("frontal",))] == [
        "045",
        "090",
        "090",
        "090",
    ]
    for options, word in (({"angles": (60,)}, "60"), ({"gazes": ("up",)}, "up")):
        with pytest.raises(ValueError, match=f"gazes left, frontal, right: not {word}"):
            rafd.records(tmp_path, **options)
    touch(tmp_path / "RafD" / "Rafd090_01_Caucasian_female_bored_frontal.jpg")
    with pytest.raises(ValueError, match="bored_frontal.jpg: 'bored' is no expression"):
        rafd.records(tmp_path)


def test_caer_s(tmp_path, capsys):
    for name in ("train/Anger/0001.png", "train/Happy/0001.png", "test/Sad/0002.png", "validation/Neutral/0001.png"):
        touch(tmp_path / "CAER-S" / name)
    touch(tmp_path / "CAER-S" / "LICENSE")
    found = caer_s.records(tmp_path)
    assert [(r.split, r.expression) for r in found] == [
        ("train", "anger"), ("train", "happiness"), ("validation", "neutral"), ("test", "sadness"),
    ]  # fmt: skip
    assert all(r.subject is None and not r.info for r in found) and "left aside" in capsys.readouterr().err
    (fold,), said = protocols.own_folds(found, [str(i) for i in range(4)])
    assert fold == ((0, 1), (3,)) and said.endswith("left aside: validation (1)")
    touch(tmp_path / "CAER-S/test/Bored/1.png")
    with pytest.raises(ValueError, match="test/Bored: 'Bored' is no expression of this data set"):
        caer_s.records(tmp_path)


@pytest.mark.parametrize("top", ["label/{}|image/origin/", "{}|origin/", "{}|"])
def test_expw(tmp_path, capsys, top):
    lists, images = top.format("label.lst").split("|")
    for name in ("angry_1.jpg", "happy two_2.jpg"):
        touch(tmp_path / "data" / images / name)
    lines = ["angry_1.jpg 0 10 20 120 130 32.5 0", "angry_1.jpg 1 5 20 90 70 9.1 6", "happy two_2.jpg 0 1 2 30 40 8 3"]
    file = touch(tmp_path / "data" / lists, "\n".join(lines) + "\n\n")
    found = expw.records(tmp_path)
    assert [(r.expression, r.info["box"], r.info["face"], r.info["confidence"]) for r in found] == [
        ("anger", (20, 10, 120, 130), 0, 32.5), ("neutral", (20, 5, 90, 70), 1, 9.1),
        ("happiness", (2, 1, 30, 40), 0, 8),
    ]  # fmt: skip
    assert "has 3 faces; the owner's has 91793" in capsys.readouterr().err
    for line, error, sentence in (
        (
            "angry_1.jpg 0 10 20 120 130 32.5 7",
            ValueError,
            "line 1: 'angry_1.jpg 0 10 20 120 130 32.5 7' is no picture",
        ),
        ("angry_1.jpg 0 10 20 20 130 32.5 1", ValueError, "line 1: .* is no picture, face, top, left"),
        ("angry_1.jpg 0 10 20 nan 130 32.5 1", ValueError, "line 1: .* is no picture"),
        ("angry_1.jpg 3", ValueError, "line 1: 'angry_1.jpg 3' is no picture"),
        ("gone.jpg 0 10 20 120 130 32.5 0", FileNotFoundError, "line 1: there is no picture gone.jpg"),
    ):
        touch(file, line)
        with pytest.raises(error, match=sentence):
            expw.records(tmp_path)


def test_the_box_says_which_of_several_faces_it_is(tmp_path):
    """Two faces in a picture, the smaller one asked for."""
    two = [Image.fromarray(pipeline.read_image(r)) for r in rendered.records(classes=("neutral",))[:2]]
    whole = Image.new("RGB", (700, 400), (90, 90, 90))
    for face, place, size in zip(two, (0, 420), (380, 200), strict=True):
        whole.paste(face.resize((size, size)), (place, 0))
    (tmp_path / "origin").mkdir()
    whole.save(tmp_path / "origin" / "x.png")
    boxes = [face.box for face in faces.detect(np.asarray(whole), all=True)]
    assert len(boxes) == 2 and boxes[0][0] < 300 < boxes[1][0]
    lines = [f"x.png {i} {b[1]} {b[0]} {b[2]} {b[3]} 50 {i}" for i, b in enumerate(boxes)]
    touch(tmp_path / "label.lst", "\n".join(lines))
    large, small = (pipeline.face(r, "gcnet", 3).astype(int) for r in expw.records(tmp_path))
    wanted = faces.align(np.asarray(whole), "gcnet", box=boxes[1])
    np.testing.assert_array_equal(small, wanted)
    assert np.abs(large - small).mean() > 5


def landmarks(offset):
    return ";".join(f"{offset + i}" for i in range(136))


def test_affectnet_with_its_lists(tmp_path, capsys):
    """A list with a head, one without; landmarks; what is none of the eight is left out."""
    head = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"
    rows = "1/a.jpg,0,0,9,9,{},{},0.1,0.2\n"
    for name in ("1/a.jpg", "2/b.jpg"):
        touch(tmp_path / "Manually_Annotated_Images" / name)
    touch(tmp_path / "Manually_Annotated_file_lists/training.csv",
          head + "".join(rows.format(landmarks(0), n) for n in range(8)) + rows.format("", 9)
          + "3/gone.jpg,0,0,9,9,,10,-2,-2\n")  # fmt: skip
    file = touch(tmp_path / "Manually_Annotated_file_lists/validation.csv", f"2/b.jpg,0,0,9,9,{landmarks(5)},7,0,0\n")
    found = affectnet.records(tmp_path)
    assert [r.expression for r in found] == [
        "neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt", "contempt",
    ]  # fmt: skip
    assert [r.split for r in found] == ["train"] * 8 + ["validation"] and found[8].info["landmarks"][1].tolist() == [
        7,
        8,
    ]
    assert found[0].info["landmarks"].shape == (68, 2) and "framed" not in found[0].info
    said = capsys.readouterr().err
    assert "2 pictures are none, uncertain or no face" in said and "has {'train': 8, 'validation': 1}" in said
    for line, error, sentence in (
        ("2/b.jpg,0,0,9,9,,11,0,0\n", ValueError, "line 1: '11' is no number from 0 to 10"),
        ("2/c.jpg,0,0,9,9,,1,0,0\n", FileNotFoundError, "line 1: there is no picture 2/c.jpg"),
        (
            "2/b.jpg,0,0,9,9," + landmarks(0).replace("7", "x", 1) + ",1,0,0\n",
            ValueError,
            "line 1: its facial_landmarks",
        ),
    ):
        touch(file, line)
        with pytest.raises(error, match=sentence):
            affectnet.records(tmp_path)


def test_affectnet_with_annotations(tmp_path, capsys):
    for part, numbers in (("train_set", (3, 8, 0)), ("val_set", (6,))):
        for i, number in enumerate(numbers):
            touch(tmp_path / part / "images" / f"{i}.jpg")
            place = tmp_path / part / "annotations"
            place.mkdir(exist_ok=True)
            np.save(place / f"{i}_exp.npy", np.array(str(number)))
    found = affectnet.records(tmp_path)
    assert [(r.split, r.expression) for r in found] == [
        ("train", "surprise"), ("train", "neutral"), ("validation", "anger"),
    ]  # fmt: skip
    assert all(r.info == {"framed": True} for r in found) and "1 pictures are none" in capsys.readouterr().err
    assert not any(r.info for r in affectnet.records(tmp_path, cropped=False))
    for damage in (b"", b"no array"):
        (tmp_path / "val_set/annotations/0_exp.npy").write_bytes(damage)
        with pytest.raises(ValueError, match="0_exp.npy, the expression of 0.jpg, cannot be read"):
            affectnet.records(tmp_path)


@pytest.mark.parametrize("form", ["{:03d}", "{}"])
def test_affectnet_in_folders(tmp_path, capsys, form):
    for number in range(9):
        touch(tmp_path / "AffectNet" / "train" / form.format(number) / "a.jpg")
    touch(tmp_path / "AffectNet" / "val" / form.format(7) / "b.jpg")
    found = affectnet.records(tmp_path)
    assert [(r.split, r.expression) for r in found] == [
        *(("train", e) for e in affectnet.NUMBERS), ("validation", "contempt"),
    ]  # fmt: skip
    assert "1 pictures are none, uncertain or no face" in capsys.readouterr().err
    touch(tmp_path / "AffectNet" / "train" / "11" / "a.jpg")
    with pytest.raises(ValueError, match="train/11: '11' is no expression of this data set"):
        affectnet.records(tmp_path)
