"""The shipped part of the second edition: counts, people, frames, poses, landmarks, and each error."""

import collections
import io

import h5py
import numpy as np
import pytest
from PIL import Image

from fer_tf import catalogue
from fer_tf.datasets import rendered, rendered2
from fer_tf.records import EXPRESSIONS

PEOPLE = rendered2.SHIPPED
FRAMES = {"lab": 40, "posed": 120, "wild": 16}
HELD = ", ".join(sorted(PEOPLE))


@pytest.fixture(scope="module")
def everyone():
    return rendered2.records(part="all", frames="all")


@pytest.mark.parametrize("part", PEOPLE)
def test_counts_of_a_part(everyone, part):
    listed = [r for r in everyone if r.domain == part]
    assert len(listed) == PEOPLE[part] * FRAMES[part]
    assert {r.subject for r in listed} == {f"{part}{i:03d}" for i in range(PEOPLE[part])}
    counts = collections.Counter((r.subject, r.expression) for r in listed)
    assert set(counts.values()) == {FRAMES[part] // 8} and {e for _, e in counts} == set(EXPRESSIONS)
    assert [r.image for r in rendered2.records(part=part, frames="all")] == [r.image for r in listed]
    assert {r.split for r in listed} == {None}


def test_the_last_three_frames_of_a_sequence_are_read(everyone):
    lab = rendered2.records()
    assert len(lab) == PEOPLE["lab"] * 24 and {r.frame for r in lab} == {2, 3, 4}
    assert catalogue.frame_rule("rendered2", None, {}) == "last3"
    for part in PEOPLE:
        listed = catalogue.load("rendered2", None, {"part": part})
        assert len(listed) == PEOPLE[part] * {"lab": 24}.get(part, FRAMES[part])


def test_frames_rise_from_onset_to_the_apex_of_a_range(everyone):
    sequences = collections.defaultdict(list)
    for r in everyone:
        if r.domain == "lab" and r.expression != "neutral":
            sequences[r.sequence].append(r.info["intensity"])
    for name, rows in sequences.items():
        np.testing.assert_allclose(np.array(rows) / rows[-1], [0.25, 0.6, 0.92, 0.97, 1.0], atol=1e-5, err_msg=name)
    apex = np.array([rows[-1] for rows in sequences.values()])
    assert 0.35 - 1e-6 < apex.min() < 0.4 and 0.95 < apex.max() <= 1.0 + 1e-6
    assert all((r.info["intensity"] == 0) == (r.expression == "neutral") for r in everyone)
    wild = collections.defaultdict(list)
    for r in everyone:
        if r.domain == "wild" and r.expression != "neutral":
            wild[r.subject, r.expression].append(r.info["intensity"])
    assert all(len(pair) == 2 and 0.79 < min(pair) / max(pair) <= 1 for pair in wild.values())  # one range, twice


def test_poses_and_landmarks(everyone):
    for r in everyone:
        assert max(abs(r.info["pan"]), abs(r.info["tilt"])) <= {"lab": 5, "posed": 45, "wild": 35}[r.domain]
    marks = np.array([r.info["landmarks"] for r in everyone if r.domain == "lab"])
    assert marks.shape == (PEOPLE["lab"] * 40, 68, 2) and marks.dtype == np.float32
    assert marks.min() >= 0 and marks.max() < 128 and (marks * 64 % 1 == 0).all()
    assert (marks[:, 36:48, 1].mean(1) < marks[:, 30, 1]).all() and (marks[:, 30, 1] < marks[:, 8, 1]).all()


def test_pictures_decode_and_differ(everyone):
    some = everyone[::67]
    with h5py.File(some[0].image[0], "r") as file:
        rows = [np.asarray(Image.open(io.BytesIO(file["image"][r.image[1]].tobytes()))) for r in some]
        assert {"edition", "seed", "command", "mitsuba", "licence"} <= set(file.attrs)
        assert "--edition=2 --seed=7" in file.attrs["command"]
    assert {(p.shape, p.dtype) for p in rows} == {((128, 128, 3), np.dtype("uint8"))}
    assert all(p.std() > 8 for p in rows) and len({p.tobytes() for p in rows}) == len(some)


def test_all_that_ships_fits():
    sizes = [path.stat().st_size for path in (rendered2.Path(rendered2.__file__).parent).glob("*.h5")]
    assert len(sizes) == 2 and sum(sizes) < 40e6


def test_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"render_faces --edition=2 .*rendered2.h5$"):
        rendered2.records(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"rendered2_judge.h5  --domains=judge$"):
        rendered2.records(part="judge")
    with pytest.raises(ValueError, match=f"rendered2.h5 has nobody of posed, but {HELD}: render them with"):
        rendered2.records(part="posed")
    with pytest.raises(ValueError, match=f"rendered2.h5 has nobody of judge, but {HELD}: [^$]*--domains=judge"):
        rendered2.records(rendered2.Path(rendered2.__file__).with_name("rendered2.h5"), part="judge")
    with pytest.raises(ValueError, match="have no class bored"):
        rendered2.records(classes=("bored",))
    with pytest.raises(ValueError, match="no part 'studio': use lab, posed, wild, all, or judge"):
        rendered2.records(part="studio")
    with pytest.raises(ValueError, match="Unknown frame rule 'first9'"):
        rendered2.records(frames="first9")
    with pytest.raises(ValueError, match="rendered.h5 lacks number, setting"):
        rendered2.records(rendered2.Path(rendered.__file__).with_name("rendered.h5"))
