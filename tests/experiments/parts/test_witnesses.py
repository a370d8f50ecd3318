"""The witnesses: who is trained on, whose neutral face stands beside a face, and what they find where it is known."""

import numpy as np
import pytest

from experiments import measure_rendered
from experiments.parts.measure_rendered import witnesses
from fer_tf.datasets import rendered
from fer_tf.records import Record


@pytest.fixture
def asked(monkeypatch):
    """Trainings that are asked for, in place of them: (shape of the faces, labels, test)."""
    seen = []

    def answers(train, test, classes, seed):
        seen.append((train, test, classes))
        return np.zeros(len(test), int)

    monkeypatch.setattr(witnesses, "answers", answers)
    return seen


def people(count=6, each=4):
    """Flat faces whose value is the person, and neutral ones at 100 + the person."""
    side = (witnesses.SIDE, witnesses.SIDE)
    subjects = np.repeat(np.arange(count), each)
    faces = np.broadcast_to(subjects[:, None, None], (len(subjects), *side)).astype("f4")
    neutral = np.broadcast_to(100.0 + np.arange(count)[:, None, None], (count, *side)).astype("f4")
    return faces, np.tile(np.arange(each), count).astype("i4"), subjects, neutral


def test_nobody_tested_is_trained_on(asked):
    faces, labels, subjects, neutral = people()
    found = witnesses.measured(faces, labels, subjects, neutral, tested=2, people=[1, 3, 50])
    assert list(found) == [
        "alone_1_people", "alone_3_people", "alone_4_people", "with_own_neutral", "with_strangers_neutral",
    ]  # fmt: skip
    assert all(share == 0.25 for share in found.values())
    for (train, test, classes), count in zip(asked, (1, 3, 4, 4, 4), strict=True):
        assert set(np.unique(train[0][..., 0])) == set(range(count)) and classes == 4
        assert set(np.unique(test[..., 0])) == {4, 5} and len(train[1]) == 4 * count
    own, strange = asked[3][1], asked[4][1]
    assert (own[..., 1] - own[..., 0] == 100).all()
    np.testing.assert_array_equal(np.unique(strange[:, 0, 0], axis=0), [[4, 105], [5, 100]])


def test_faces_are_standardised():
    rng = np.random.default_rng(0)
    faces = witnesses.standardised(rng.uniform(0, 255, (3, 48, 48)))
    np.testing.assert_allclose(faces.mean((1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(faces.std((1, 2)), 1, atol=1e-5)


def test_a_witness_learns_what_shows(monkeypatch):
    """A bright half, on the side that the label says: named from a few steps on, also where it is a difference only."""
    monkeypatch.setattr(witnesses, "STEPS", 40)
    monkeypatch.setattr(witnesses, "EPOCHS", 1)
    rng, labels = np.random.default_rng(0), np.arange(48, dtype="i4") % 2
    faces = rng.normal(0, 0.1, (48, witnesses.SIDE, witnesses.SIDE, 1)).astype("f4")
    faces[labels == 0, :24] += 1
    faces[labels == 1, 24:] += 1
    assert (witnesses.answers((faces[:32], labels[:32]), faces[32:], 2, 0) == labels[32:]).mean() > 0.8


def test_the_command_hands_each_person_its_neutral_face(monkeypatch):
    listed = [r for r in rendered.records() if r.subject in ("r000", "r001", "r002")]
    given = {}
    monkeypatch.setattr(witnesses, "measured", lambda *rows, **more: given.update(rows=rows, **more) or {"alone": 0.5})
    read = measure_rendered.read_by_witnesses
    assert read(measure_rendered.Settings(tested=1, people=("1", "2")), lambda file: listed) == {"alone": 0.5}
    faces, labels, subjects, neutral = given["rows"]
    assert (given["tested"], given["people"]) == (1, [1, 2]) and faces.shape == (63, 48, 48)
    np.testing.assert_array_equal(subjects, np.repeat([0, 1, 2], 21))
    np.testing.assert_array_equal(labels, np.tile(np.repeat(np.arange(7), 3), 3))
    apart = np.abs(neutral[subjects][:, None] - faces[:, None]).mean((1, 2, 3))
    strange = np.abs(neutral[(subjects + 1) % 3][:, None] - faces[:, None]).mean((1, 2, 3))
    assert neutral.shape == (3, 48, 48) and (apart < strange).mean() > 0.95
    for wrong in ({"tested": 3}, {"people": ("0",)}, {"people": ("ten",)}):
        with pytest.raises(ValueError, match="must be numbers, and --tested="):
            read(measure_rendered.Settings(**wrong), lambda file: listed)


def faces_with_a_habit(people=40):
    """Records whose mouth is moved by who it is, two units and more, and by one of two expressions, one unit."""
    rng, listed = np.random.default_rng(0), []
    base = rng.uniform(20, 100, (68, 2))
    for person in range(people):
        habit = rng.normal(0, 4)
        for expression, moved in (("anger", -1.0), ("fear", 1.0), ("neutral", 0.0)):
            marks = base + rng.normal(0, 0.01, (68, 2))
            marks[50:54, 1] += habit + moved
            listed.append(Record("x.png", expression, subject=f"p{person:02d}", info={"landmarks": marks}))
    return listed


def test_landmarks_with_the_own_neutral_face_tell_what_alone_they_do_not():
    found = measure_rendered.read_by_landmarks(faces_with_a_habit())
    assert found["landmarks_with_own_neutral"] == 1.0
    assert max(found["landmarks_alone"], found["landmarks_with_strangers"]) < 0.75


def test_a_discriminant_by_hand():
    """Two classes at -1 and 1 with spread in y alone: x decides, whatever y is; of an unequal pair the middle does."""
    train = np.array([[-1, 5], [-1, -5], [1, 5], [1, -5], [-1, 0], [1, 0]], float)
    labels = np.array([3, 3, 7, 7, 3, 7])
    test = np.array([[-0.1, 90], [0.1, -90], [5, 90]], float)
    assert measure_rendered.discriminated(train, labels, test).tolist() == [3, 7, 7]
    placed = measure_rendered.placed(3 * np.random.default_rng(1).uniform(0, 9, (2, 68, 2)) + 7).reshape(2, 68, 2)
    np.testing.assert_allclose(placed[:, 36:48].mean(1), 0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(placed[:, 48:68].mean(1), axis=1), 1)
