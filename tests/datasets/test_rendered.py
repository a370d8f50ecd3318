"""The shipped rendered faces: counts, labels, people, pictures, landmarks, and each error."""

import collections
import io

import h5py
import numpy as np
import pytest
from PIL import Image

from fer_tf.datasets import rendered
from fer_tf.records import EXPRESSIONS

FRAMES = {"lab": 100 * 8 * 3, "posed": 20 * 8 * 15, "wild": 80 * 16}
PEOPLE = {"lab": 100, "posed": 20, "wild": 80}


@pytest.fixture(scope="module")
def everyone():
    return rendered.records(part="all")


def pictures(records):
    with h5py.File(records[0].image[0], "r") as file:
        return [np.asarray(Image.open(io.BytesIO(file["image"][r.image[1]].tobytes()))) for r in records]


@pytest.mark.parametrize("part", rendered.PARTS)
def test_counts_of_a_part(everyone, part):
    records = rendered.records(part=part)
    assert len(records) == FRAMES[part] and {r.domain for r in records} == {part}
    assert [r.image for r in records] == [r.image for r in everyone if r.domain == part]
    assert len({r.subject for r in records}) == PEOPLE[part]
    counts = collections.Counter((r.subject, r.expression) for r in records)
    assert set(counts.values()) == {FRAMES[part] // PEOPLE[part] // 8}
    assert {e for _, e in counts} == set(EXPRESSIONS)


def test_people_are_disjoint_and_named_through(everyone):
    of = {part: {r.subject for r in everyone if r.domain == part} for part in rendered.PARTS}
    assert not of["lab"] & of["posed"] and not of["lab"] & of["wild"] and not of["posed"] & of["wild"]
    assert set().union(*of.values()) == {f"r{i:03d}" for i in range(200)}


def test_frames_poses_and_intensities(everyone):
    lab = [r for r in everyone if r.domain == "lab"]
    assert all(abs(r.info["pan"]) <= 5 and abs(r.info["tilt"]) <= 5 for r in lab)
    frames = collections.defaultdict(list)
    for r in lab:
        frames[r.sequence].append((r.frame, r.info["intensity"], r.expression))
    for sequence, rows in frames.items():
        assert [row[0] for row in rows] == [0, 1, 2] and len({row[2] for row in rows}) == 1, sequence
        rising = np.diff([row[1] for row in rows])
        assert (rising == 0).all() if rows[0][2] == "neutral" else (rising > 0).all(), sequence
    posed = collections.Counter((r.info["pan"], r.info["tilt"]) for r in everyone if r.domain == "posed")
    assert set(posed) == {(p, t) for p in (-45, -25, 0, 25, 45) for t in (-25, 0, 25)} and set(posed.values()) == {160}
    assert all(abs(r.info["pan"]) <= 35 for r in everyone if r.domain == "wild")
    assert all((r.info["intensity"] == 0) == (r.expression == "neutral") for r in everyone)


def test_classes_filter():
    some = rendered.records(part="lab", classes=("fear", "contempt"))
    assert len(some) == 600 and {r.expression for r in some} == {"fear", "contempt"}


def test_pictures_decode_and_differ(everyone):
    some = everyone[::211]
    decoded = pictures(some)
    assert {(p.shape, p.dtype) for p in decoded} == {((128, 128, 3), np.dtype("uint8"))}
    assert all(p.std() > 8 for p in decoded) and len({p.tobytes() for p in decoded}) == len(some)


def test_landmarks_lie_on_the_face(everyone):
    assert all(r.info["landmarks"].shape == (68, 2) and r.info["landmarks"].dtype == np.float32 for r in everyone)
    lab = [r for r in everyone if r.domain == "lab"]
    marks = np.array([r.info["landmarks"] for r in lab])
    assert marks.min() >= 0 and marks.max() < 128
    eyes, mouth, chin = marks[:, 36:48, 1].mean(1), marks[:, 48:68, 1].mean(1), marks[:, 8, 1]
    assert (eyes < marks[:, 30, 1]).all() and (marks[:, 30, 1] < mouth).all() and (mouth < chin).all()
    assert (marks[:, 36:42, 0].max(1) < marks[:, 42:48, 0].min(1)).all()
    # The pupils are the darkest spot of an open eye: darker than the cheek below in nearly every frontal picture.
    some = [r for r in lab if r.expression == "surprise"][::15]
    darker = []
    for record, picture in zip(some, pictures(some), strict=True):
        for eye in (slice(36, 42), slice(42, 48)):
            x, y = record.info["landmarks"][eye].mean(0).round().astype(int)
            grey = picture.mean(2)
            darker.append(grey[y - 1 : y + 2, x - 1 : x + 2].min() < grey[y + 8 : y + 14, x - 3 : x + 4].mean())
    assert np.mean(darker) > 0.9


def test_file_carries_its_making():
    with h5py.File(rendered.records()[0].image[0], "r") as file:
        assert [str(e) for e in file.attrs["expressions"]] == list(EXPRESSIONS)
        assert {"seed", "command", "mitsuba", "licence"} <= set(file.attrs)


def test_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="render_faces"):
        rendered.records(tmp_path)
    with pytest.raises(ValueError, match="bored"):
        rendered.records(classes=("bored",))
    with pytest.raises(ValueError, match="studio"):
        rendered.records(part="studio")
    with h5py.File(tmp_path / "rendered.h5", "w") as file:
        file["image"] = np.zeros((1, 4, 4), np.uint8)
    with pytest.raises(ValueError, match="landmarks"):
        rendered.records(tmp_path)
