"""The witnesses: who is trained on, whose neutral face stands beside a face, and what they find where it is known."""

import numpy as np
import pytest

from experiments import measure_rendered
from experiments.parts.measure_rendered import witnesses
from fer_tf.datasets import rendered


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
