"""MMI on fake sessions, with films of a few frames: views, numbers, peaks, the user's list, every refusal."""

import numpy as np
import pytest
from PIL import Image

from fer_tf import films, pipeline
from fer_tf.datasets import mmi, rendered
from fer_tf.records import content_hashes, subject_folds

BOMB = """<?xml version="1.0"?>
<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;">]>
<a>&d;</a>"""


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def session(root, number, name, emotion=None, view=0, count=9, size=(48, 64), kind=".avi"):
    """A session as its owner ships it; frame i is of grey 20 * i."""
    folder = root / "Sessions" / str(number)
    track = "" if view is None else f'<track type="Video" view="{view}" filename="{name}{kind}"/>'
    write(folder / "session.xml", f'<?xml version="1.0"?><session><subject id="1"/>{track}</session>')
    write(folder / f"{name}-oao_aucs.xml", '<ActionUnits><Metatag Name="Emotion" Value="9"/></ActionUnits>')
    if emotion is not None:
        tags = f'<Metatag Name="Coder" Value="x"/><Metatag Name="Emotion" Value="{emotion}"/>'
        write(folder / f"{name}.xml", f'<?xml version="1.0"?><Facs>{tags}</Facs>')
    grey = [np.full((*size, 3), 20 * i, np.uint8) for i in range(count)]
    if kind == ".avi":
        with films.Writer(folder / f"{name}.avi") as film:
            for frame in grey:
                film.add(frame)
    else:
        (folder / kind).mkdir(exist_ok=True)
        for i, frame in enumerate(grey):
            Image.fromarray(frame).save(folder / kind / f"{name}_{i:03d}.png")
    return folder


def described(listed):
    return [(r.subject, r.sequence, r.frame, r.expression) for r in listed]


@pytest.fixture
def root(tmp_path):
    """Two frontal sequences with an expression, a profile, a dual view, another state, one without a label."""
    session(tmp_path, 9, "S002-010", 4)
    session(tmp_path, 10, "S001-002", 6, count=10)
    session(tmp_path, 11, "S002-011", 1, view=1)
    session(tmp_path, 12, "S003-001", 2, view=2)
    session(tmp_path, 13, "S001-003", 7)
    session(tmp_path, 14, "S004-001")
    return tmp_path


def test_empty_sessions_show_the_tree(tmp_path):
    (tmp_path / "Sessions").mkdir()
    with pytest.raises(FileNotFoundError, match="expected a folder with\n  Sessions/1841/session.xml"):
        mmi.records(tmp_path)


def test_frontal_sequences(root, capsys):
    """The first frame is neutral, three around the middle show the expression; others are left out and counted."""
    found = mmi.records(root)
    assert described(found) == [
        ("S001", "S001-002", 0, "neutral"), *[("S001", "S001-002", n, "surprise") for n in (4, 5, 6)],
        ("S002", "S002-010", 0, "neutral"), *[("S002", "S002-010", n, "happiness") for n in (3, 4, 5)],
    ]  # fmt: skip
    assert {r.domain for r in found} == {"frontal"} and not any(r.info for r in found)
    assert "has 2 sequences of 2 people; the papers have 208 of 31 (DE-GAN), 209 of 32" in capsys.readouterr().err
    assert [round(pipeline.read_image(r).mean() / 20) for r in found] == [0, 4, 5, 6, 0, 3, 4, 5]
    assert mmi.records(root / "Sessions") == found == mmi.records(root.parent / root.name)
    assert len(mmi.records(root, frames="all")) == 19 and len(subject_folds(found, 2)) == 2
    assert len({*content_hashes(found)}) == 8
    everything = mmi.records(root, frontal=False)
    assert [r.domain for r in everything[::4]] == ["frontal", "frontal", "profile", "dual"]


def test_counts_of_the_papers_are_quiet(root, capsys, monkeypatch):
    monkeypatch.setitem(mmi.COUNTS, "DE-GAN", (2, 2))
    mmi.records(root)
    assert capsys.readouterr().err == ""


def test_several_downloads(tmp_path):
    session(tmp_path / "download_1", 1, "S001-001", 1)
    session(tmp_path / "download_2", 1, "S001-001", 1)
    session(tmp_path / "download_2", 2, "S002-001", "Disgust")
    assert [r.expression for r in mmi.records(tmp_path)[1::4]] == ["anger", "disgust"]


def test_films_without_a_face_are_turned_by_their_size_and_that_is_said(tmp_path, capsys):
    """720x576 and frontal; other sizes and views stay as they are."""
    session(tmp_path, 1, "S001-001", 3, size=(576, 720), count=3)
    session(tmp_path, 2, "S001-002", 3, size=(480, 640), count=3)
    session(tmp_path, 3, "S001-003", 3, size=(576, 720), count=3, view=2)
    session(tmp_path, 4, "S001-004", 3, size=(576, 720), count=3, kind="frames")
    found = mmi.records(tmp_path, frontal=False)
    assert [r.info.get("turn") for r in found[::3]] == [90, None, None, 90]
    assert [pipeline.read_image(r).shape[:2] for r in found[::3]] == [(720, 576), (480, 640), (576, 720), (720, 576)]
    assert "no face was found in 2 frontal sequences of 720x576: taken to lie" in capsys.readouterr().err


def portrait(turned, height=720, width=576):
    """A rendered face on a picture of that size, turned counter-clockwise: what has to be turned back clockwise."""
    face = Image.fromarray(pipeline.read_image(rendered.records(classes=("neutral",))[0])).resize((420, 420))
    whole = Image.new("RGB", (width, height), (90, 90, 90))
    whole.paste(face, ((width - 420) // 2, (height - 420) // 2))
    return np.ascontiguousarray(np.rot90(np.asarray(whole), turned // 90))


@pytest.mark.parametrize("kind", [".avi", "frames"])
def test_the_picture_says_which_way_up_it_is(tmp_path, capsys, kind):
    """Of one size some lie and some stand; one has no face at the start; profiles are left as they are."""
    made = {"S053-001": (portrait(0, 576, 720), 0), "S035-001": (portrait(90), 0), "S054-001": (portrait(270), 0),
            "S001-001": (portrait(90), 1), "S002-001": (portrait(90), 0), "S003-001": (portrait(0), 0)}  # fmt: skip
    for number, (name, (picture, blank)) in enumerate(made.items(), 1):
        view = 1 if name == "S002-001" else 0
        folder = session(tmp_path, number, name, 3, size=(8, 8), count=1 if kind == ".avi" else 3, kind=kind, view=view)
        frames = [np.zeros_like(picture)] * blank + [picture] * (4 - blank)
        if kind == ".avi":
            with films.Writer(folder / f"{name}.avi") as film:
                for frame in frames:
                    film.add(frame)
        else:
            for i, frame in enumerate(frames):
                Image.fromarray(frame).save(folder / kind / f"{name}_{i:03d}.png")
    found = mmi.records(tmp_path, frontal=False)
    turns = {r.subject: r.info.get("turn") for r in found}
    assert turns == {"S053": None, "S035": 90, "S054": 270, "S001": 90, "S002": None, "S003": None}
    assert {pipeline.read_image(r).shape[:2] for r in found if r.subject != "S002"} == {(720, 576), (576, 720)}
    said = capsys.readouterr().err
    assert "Of its people 5 are frontal, of the papers' 30 to 32" in said and "no face" not in said


@pytest.mark.parametrize("kind", [".", "img"])
def test_frames_as_pictures(tmp_path, kind):
    """In the session's folder or in one of their own; a still picture is no sequence; a missing view is frontal."""
    session(tmp_path, 1, "S001-001", 5, count=7, kind=kind, view=None)
    session(tmp_path, 2, "S002-001", 5, count=1, kind=kind)
    (tmp_path / "Sessions/1/session.xml").unlink()
    found = mmi.records(tmp_path)
    assert described(found) == [("S001", "S001-001", n, "sadness" if n else "neutral") for n in (0, 2, 3, 4)]
    assert found[2].image.endswith("S001-001_003.png")


def test_a_list_replaces_the_choice_and_the_peaks(root, tmp_path_factory):
    head = "session,expression,subject,peak\n"
    write(root / "sequences.csv", head + "s002-010,,,7\n14,fear,Ann,\n11,,,1\n")
    found = mmi.records(root)
    assert described(found) == [
        ("S002", "S002-010", 0, "neutral"), *[("S002", "S002-010", n, "happiness") for n in (6, 7, 8)],
        ("S002", "S002-011", 0, "neutral"), *[("S002", "S002-011", n, "anger") for n in (1, 2)],
        ("Ann", "S004-001", 0, "neutral"), *[("Ann", "S004-001", n, "fear") for n in (3, 4, 5)],
    ]  # fmt: skip
    other = write(tmp_path_factory.mktemp("list") / "a.csv", "session\n10\n")
    assert [r.frame for r in mmi.records(root, sequences=other)] == [0, 4, 5, 6]
    for text, error, sentence in (
        ("name\n1\n", ValueError, "needs the column session"),
        (head, ValueError, "needs the column session"),
        (head + "99,,,\n", FileNotFoundError, "line 2: there is no sequence '99'"),
        (head + "9,,,\nS002-010,,,\n", ValueError, "line 3: S002-010 is listed twice"),
        (head + "9,bored,,\n", ValueError, "line 2: 'bored' is no expression"),
        (head + "9,neutral,,\n", ValueError, "line 2: 'neutral' is none of the six"),
        (head + "9,,,last\n", ValueError, "line 2: peak 'last' is no number"),
        (head + "9,,,9\n", ValueError, "S002-010 has 9 frames, so none is number 9"),
        (head + "14,,,\n", ValueError, "S004-001 bears none of the six expressions"),
    ):
        write(other, text)
        with pytest.raises(error, match=sentence):
            mmi.records(root, sequences=other)
    other.write_bytes(b"session\n\xff\xfe\n")
    with pytest.raises(ValueError, match="no CSV file in UTF-8"):
        mmi.records(root, sequences=other)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("session.xml", "<session><track", "session.xml is no XML file"),
        ("session.xml", '<session><track view="7"/></session>', "session.xml: '7' is no view"),
        ("S002-010.xml", BOMB, "S002-010.xml is no XML file that can be used: it declares a document type"),
        ("S002-010.xml", "", "S002-010.xml is no XML file"),
        ("S002-010.xml", '<a><Metatag Name="Emotion" Value="bored"/></a>', "S002-010.xml: 'bored' is no expression"),
        ("S002-010.avi", "no film", "S002-010.avi: cannot be read as a film"),
    ],
)
def test_what_cannot_be_used_is_named(root, name, text, sentence):
    write(root / "Sessions" / "9" / name, text)
    with pytest.raises(ValueError, match=sentence) as error:
        mmi.records(root)
    assert "\n" not in str(error.value)


def test_large_xml_and_unknown_people_are_refused(root, monkeypatch):
    session(root, 20, "clip", 1)
    with pytest.raises(ValueError, match="20 has no file with a name like S035-004"):
        mmi.records(root)
    monkeypatch.setattr(mmi, "LARGEST", 10)
    with pytest.raises(ValueError, match="it has more than 10 bytes"):
        mmi.records(root)
