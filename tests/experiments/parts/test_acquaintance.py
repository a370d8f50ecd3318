"""What a released recogniser names beside a person's other pictures: whose these are, and what everybody's tell."""

import numpy as np
import pytest

from experiments import measure_rendered
from fer_tf.records import CLASSES, Record

SEVEN = CLASSES["six_neutral"]


@pytest.fixture
def says(monkeypatch):
    """A function: {record: log odds of the seven} is what the recogniser says; contempt, the likeliest, comes first."""

    def answer(odds):
        def read_by(listed, weights):
            rows = np.exp([odds[record.image] for record in listed])
            return np.hstack([np.full((len(rows), 1), 99.0), rows]) / (99 + rows.sum(1, keepdims=True)), [
                "contempt",
                *SEVEN,
            ]

        monkeypatch.setattr(measure_rendered, "read_by_released", read_by)

    return answer


def test_one_who_always_looks_angry_is_read_by_the_person_and_not_by_everybody(says):
    people = [Record(f"{name}{shown}", shown, subject=name) for name in "ab" for shown in SEVEN]
    bias = {"a": SEVEN.index("anger"), "b": SEVEN.index("sadness")}
    says({r.image: 2 * np.eye(7)[SEVEN.index(r.expression)] + 6 * np.eye(7)[bias[r.subject]] for r in people})
    found = measure_rendered.read_by_acquaintance([*people, Record("c", "contempt", subject="c")], "any", (3, 6, 7))
    assert found == {
        "as_is": 2 / 14,  # anger and sadness, of one each
        "beside_everybody": 2 / 14,
        "beside_the_person": 1.0,
        "beside_3_others": found["beside_3_others"],
        "beside_6_others": 1.0,
    }
    assert found["beside_3_others"] > 0.6


def test_the_command_reads_both_parts(monkeypatch, capsys):
    asked = []

    def read_by(listed, weights):
        asked.append(({r.domain for r in listed}, {r.expression for r in listed}, weights))
        return np.array([np.eye(7)[SEVEN.index(r.expression)] for r in listed]), SEVEN

    monkeypatch.setattr(measure_rendered, "read_by_released", read_by)
    settings = measure_rendered.Settings(dataset="rendered2", only="acquaintance", weights="some")
    found = measure_rendered.run(settings)
    assert asked == [({part}, {*SEVEN}, "some") for part in ("lab", "wild")]
    assert found["lab_as_is"] == found["wild_as_is"] == 1.0 and len(found) == 12
    assert "wild_beside_12_others" in capsys.readouterr().out
