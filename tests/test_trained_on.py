"""What binds a checkpoint: each thing that changes is named, and what does not matter is none."""

import json
import os
import time
from dataclasses import replace
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from fer_tf import faces, trained_on
from fer_tf.records import Record

CLASSES = ("anger", "fear")


def face(value):
    return np.full((4, 4), value, np.uint8)


def data(listed, **options):
    """What `describe` asks of `pipeline.Batches`."""
    given = {"classes": CLASSES, "template": faces.TEMPLATES["ia_gen"], "channels": 1}
    return SimpleNamespace(records=listed, **{**given, **options})


def people(*names, shift=0):
    """Two faces of each, of a value of its own."""
    return [
        Record(face(10 * int(name[1:]) + k + shift), CLASSES[k], subject=name, info={"framed": True})
        for name in names
        for k in range(2)
    ]


def net(value, counter=7):
    """A stand-in of one with a weight and a counter."""
    values = np.float32([value]), np.int64(counter)
    return SimpleNamespace(weights=[SimpleNamespace(numpy=lambda value=value: value) for value in values])


@pytest.fixture
def bound(tmp_path):
    """A folder whose checkpoint learnt P1, P2 and P3, was tested on P4, and follows a network."""
    described = trained_on.describe(data(people("P1", "P2", "P3")), data(people("P4")), {"f_S": net(0.5)})
    trained_on.bind(tmp_path / "stage", described)
    checkpoint(tmp_path / "stage")
    return tmp_path / "stage"


def checkpoint(folder):
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint/checkpoint").write_text("")


CHANGES = {
    "people who are no longer among them: P2, P3": {"learn": people("P1")},
    "people who are new: P10, P12": {"learn": people("P1", "P2", "P3", "P12", "P10")},
    "other pictures, boxes or landmarks: P2": {"learn": people("P1", "P3") + people("P2", shift=1)},
    "of what is tested, people who are no longer among them: P4; of what is tested, people who are new: P5": {
        "tested": people("P5")
    },
    "other labels: P1": {
        "learn": [replace(r, expression="fear") if r.subject == "P1" else r for r in people("P1", "P2", "P3")]
    },
    "classes anger, fear, now fear, anger": {"options": {"classes": CLASSES[::-1]}},
    "frame ia_gen 70x70, now ed2l 128x110": {"options": {"template": faces.TEMPLATES["ed2l"]}},
    "frame ia_gen 70x70, now ia_gen 48x48": {"options": {"template": faces.Template.fer2013("ia_gen", (48, 48))}},
    "channels 1, now 3": {"options": {"channels": 3}},
    "f_S, which it follows, is another one, or has been trained on since": {"follows": {"f_S": net(0.25)}},
    "f_W, which it follows, is another one": {"follows": {"f_S": net(0.5), "f_W": net(0.5)}},
}


def described(learn=None, tested=None, follows=None, options=None):
    """As the fixture has it, but for what is given."""
    learn = data(people("P1", "P2", "P3") if learn is None else learn, **(options or {}))
    return trained_on.describe(learn, data(tested or people("P4"), **(options or {})), follows or {"f_S": net(0.5)})


@pytest.mark.parametrize("sentence", CHANGES)
def test_what_changed_is_named_and_nothing_is_written(bound, sentence):
    before = (bound / trained_on.FILE).read_bytes()
    with pytest.raises(ValueError, match="holds a training on other data: ") as error:
        trained_on.bind(bound, described(**CHANGES[sentence]))
    assert sentence in str(error.value) and "another --workdir" in str(error.value)
    assert "\n" not in str(error.value) and (bound / trained_on.FILE).read_bytes() == before


def test_persons_exchanged_between_training_and_test_are_named(bound):
    """As folds in another order exchange them."""
    with pytest.raises(ValueError) as error:
        trained_on.bind(bound, described(learn=people("P4", "P2", "P3"), tested=people("P1")))
    said = str(error.value).partition("other data: ")[2]
    assert said.startswith(
        "people who are no longer among them: P1; people who are new: P4; of what is tested, people who are no longer "
        "among them: P4; of what is tested, people who are new: P1. "
    )


def test_what_does_not_matter(bound):
    """The order of pictures, counters of a network, and whatever comes before a checkpoint is there."""
    trained_on.bind(bound, described())
    trained_on.bind(bound, described(learn=people("P3", "P1", "P2")[::-1]))
    trained_on.bind(bound, described(follows={"f_S": net(0.5, counter=9)}))
    trained_on.bind(bound, {})
    fresh = bound.parent / "fresh"
    for who in ("P1", "P2"):
        trained_on.bind(fresh, described(learn=people(who)))
    checkpoint(fresh)
    trained_on.bind(fresh, described(learn=people("P2")))


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"schema": 0}', "3"])
def test_a_checkpoint_that_does_not_say_is_refused_with_the_way_out(bound, text):
    (bound / trained_on.FILE).unlink()
    if text is not None:
        (bound / trained_on.FILE).write_text(text)
    with pytest.raises(ValueError, match="does not say what it was trained on") as error:
        trained_on.bind(bound, described())
    assert "give another --workdir, or remove that folder" in str(error.value) and "\n" not in str(error.value)


def test_who_is_tested_may_be_records_alone(tmp_path):
    trained_on.bind(tmp_path, trained_on.describe(data(people("P1")), people("P4")))
    checkpoint(tmp_path)
    trained_on.bind(tmp_path, trained_on.describe(data(people("P1")), people("P4")))
    with pytest.raises(ValueError, match="data: of what is tested, other pictures, boxes or landmarks: P4. Give"):
        trained_on.bind(tmp_path, trained_on.describe(data(people("P1")), people("P4", shift=3)))


def test_data_that_do_not_say_bind_nothing(tmp_path):
    assert trained_on.describe([1, 2]) == trained_on.describe(SimpleNamespace(records=[])) == {}
    checkpoint(tmp_path)
    trained_on.bind(tmp_path, {})
    assert not (tmp_path / trained_on.FILE).exists()


def test_two_streams_are_told_apart(tmp_path):
    """CycleAT's source and auxiliary faces: the second's people are named as such."""
    streams = {"image": data(people("P1")), "auxiliary": data(people("P2"), classes=())}
    trained_on.bind(tmp_path, trained_on.describe(SimpleNamespace(streams=streams)))
    checkpoint(tmp_path)
    streams["auxiliary"] = data(people("P3"), classes=())
    with pytest.raises(
        ValueError, match="data: of auxiliary people who are no longer among them: P2; of auxiliary peo"
    ):
        trained_on.bind(tmp_path, trained_on.describe(SimpleNamespace(streams=streams)))


def test_pictures_by_content_wherever_they_lie(tmp_path):
    """A file under another name or time is the same picture; other bytes of the same length under one name are not."""
    (tmp_path / "a").mkdir()
    for name in ("a.png", "a/b.png"):
        (tmp_path / name).write_bytes(b"bytes of a picture")
    first, moved = (trained_on.contents([Record(str(tmp_path / n))]) for n in ("a.png", "a/b.png"))
    assert first == moved
    os.utime(tmp_path / "a.png", (1, 1))
    assert trained_on.contents([Record(str(tmp_path / "a.png"))]) == first
    time.sleep(0.01)
    (tmp_path / "a.png").write_bytes(b"Bytes of a picture")
    assert trained_on.contents([Record(str(tmp_path / "a.png"))]) != first
    gone = trained_on.contents([Record(str(tmp_path / "nowhere.png"))])
    assert gone not in (first, trained_on.contents([Record(b"")]))


def test_a_prepared_face_is_what_was_cut_not_the_picture_it_came_from(tmp_path):
    """New boxes give other faces of the same picture, whose sha256 stands in info."""
    digests = []
    for value in (1, 2, 1):
        time.sleep(0.01)
        with h5py.File(tmp_path / "f.h5", "w") as file:
            file["image"] = np.stack([face(value), face(9)])[..., None]
        listed = [Record((str(tmp_path / "f.h5"), i), info={"sha256": "same", "framed": True}) for i in (0, 1)]
        digests.append(trained_on.contents(listed))
    assert digests[0][0] != digests[1][0] and digests[0] == digests[2] and digests[0][1] == digests[1][1]
    assert digests[0][0] != digests[0][1]


def test_how_a_face_is_cut_counts():
    points = np.arange(136.0).reshape(68, 2)
    kinds = [{}, {"framed": True}, {"landmarks": points}, {"landmarks": points + 1}, {"turn": 90}, {"turn": 270}]
    assert len({trained_on.contents([Record(face(1), info=info)])[0] for info in kinds}) == len(kinds)
    same = [{"intensity": 3}, {"landmarks": points + 1e-6}]
    assert trained_on.contents([Record(face(1), info=i) for i in same]) == trained_on.contents(
        [Record(face(1), info=i) for i in ({}, {"landmarks": points})]
    )


def test_cut_and_made_faces_are_known_by_where_they_come_from():
    """A cut one by its picture, whichever library cut it; a network's by nothing: devices differ in the last bit."""
    cut = [Record(face(v), info={"framed": True, "cut_from": face(p)}) for v, p in ((1, 5), (2, 5), (1, 6))]
    one, other_cut, other_picture = trained_on.contents(cut)
    assert one == other_cut != other_picture
    made = [Record(face(v), "anger", info={"framed": True, "made": True}) for v in (1, 2)]
    assert len({*trained_on.contents(made)}) == 1


def test_places_in_a_list_are_bound_to_its_order():
    listed = people("P1", "P2")
    assert trained_on.in_order(listed) == trained_on.in_order(people("P1", "P2")) != trained_on.in_order(listed[::-1])
    assert trained_on.in_order(listed) != trained_on.in_order([replace(r, subject="P9") for r in listed])


def test_what_is_written_can_be_read_by_people(bound):
    written = json.loads((bound / trained_on.FILE).read_text())
    assert [*written["learns"][""]["people"]] == ["P1", "P2", "P3"] and [*written["tested"][""]["people"]] == ["P4"]
    assert written["learns"][""]["classes"] == ["anger", "fear"] and [*written["follows"]] == ["f_S"]
