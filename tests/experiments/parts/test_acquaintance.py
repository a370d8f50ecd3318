"""What is known of a person: whose pictures are averaged, how many, and what that names where it is known."""

import numpy as np
import pytest

from experiments import measure_rendered
from experiments.parts.measure_rendered import acquaintance
from fer_tf.datasets import rendered2


def test_each_face_is_put_beside_its_own_person():
    log_p = np.array([[0.0, 4.0], [2.0, 8.0], [5.0, 1.0], [1.0, 1.0]])
    found = acquaintance.beside(log_p, np.array(["a", "a", "b", "b"]))
    np.testing.assert_allclose(found, [[-1, -2], [1, 2], [2, 0], [-2, 0]])


def test_others_are_the_same_persons_and_never_the_face_itself():
    people = np.repeat(["a", "b"], 5)
    log_p = np.repeat([[0.0, 0.0], [100.0, 100.0]], 5, 0) + np.eye(10)[:, :2] * 0  # by person alone
    log_p[3] += 7  # whoever has it among the others is below zero, itself it stays above
    found = acquaintance.beside(log_p, people, others=4)
    np.testing.assert_allclose(found[:5, 0], [-7 / 4, -7 / 4, -7 / 4, 7, -7 / 4])
    np.testing.assert_allclose(found[5:], 0)
    again = acquaintance.beside(log_p, people, others=2)
    np.testing.assert_array_equal(again, acquaintance.beside(log_p, people, others=2))
    assert {*np.round(again[:5, 0], 6)} <= {0.0, -3.5, 7.0} and again[3, 0] == 7
    with pytest.raises(ValueError, match="^a has 5 pictures: 5 others of each are too many.$"):
        acquaintance.beside(log_p, people, others=5)


def test_a_person_who_looks_angry_is_told_from_one_who_is_what_everybody_prefers_is_not():
    """Two people, two expressions: one always looks like the first; by everybody's mean nothing of that goes."""
    logits = np.array([[3.0, 0.0], [2.0, 1.0], [0.0, 3.0], [1.0, 2.0]])  # truth: 0, 1, 1, 0
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = acquaintance.measured(p, np.array([0, 1, 1, 0]), np.array(["a", "a", "b", "b"]), others=(1, 2))
    assert found == {"as_is": 0.5, "beside_everybody": 0.5, "beside_the_person": 1.0, "beside_1_others": 1.0}


def test_the_command_reads_both_parts(monkeypatch, capsys):
    def read_by(listed, weights):
        assert {r.expression for r in listed} == {*measure_rendered.records.CLASSES["six_neutral"]}
        classes = ["contempt", *measure_rendered.records.CLASSES["six_neutral"]]
        return np.array(
            [[0.0, *(0.9 if name == r.expression else 0.01 for name in classes[1:])] for r in listed]
        ), classes

    monkeypatch.setattr(measure_rendered, "read_by_released", read_by)
    found = measure_rendered.run(measure_rendered.Settings(dataset="rendered2", only="acquaintance"))
    assert {name: share for name, share in found.items() if "is" in name} == {"lab_as_is": 1.0, "wild_as_is": 1.0}
    assert found["lab_beside_12_others"] > 0.9 and len(found) == 12
    assert len(rendered2.records(part="wild")) == 400
