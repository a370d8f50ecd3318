"""`experiments.albums`: what a run's answers are worth beside a person's other pictures, of the same training."""

import json

import numpy as np
import pytest

from experiments import albums as script
from fer_tf import beside, predictions

CLASSES = ("anger", "fear")


def run_of():
    """Two folds of two people, two pictures each: the method says anger's odds, in powers of two."""
    powers = np.array([2.5, 1.0, -1.0, -5.0, 6.0, 2.0, 0.5, -0.5])
    odds = 2.0**powers
    given = np.stack([odds / (1 + odds), 1 / (1 + odds)], -1).astype(np.float32)
    # person s is in both folds, as under another seed: what the other training said of him is no part of his album
    columns = {
        "run": np.zeros(8, np.int32), "fold": np.repeat(np.int32([0, 1]), 4), "sha256": np.array([*"abcdefgh"]),
        "picture": np.array([*"abcdefgh"]), "subject": np.array(["s", "s", "t", "t", "s", "s", "u", "u"]),
        "label": np.int16([0, 1, 0, 1, 0, 1, 0, 1]),
    }  # fmt: skip
    methods = {"CNN": {"last": predictions.Answer(given.argmax(-1).astype(np.int16), given)}}
    methods["silent"] = {"last": predictions.Answer(np.zeros(8, np.int16), None)}
    return predictions.Predictions(classes=CLASSES, methods=methods, **columns)


def test_beside_the_others_by_hand(tmp_path, capsys):
    """Alone five of eight are right; less their means all are: that of s is 1.75 in fold 0, 4 in fold 1."""
    predictions.write(tmp_path / "predictions.npz", run_of())
    measured = script.run(script.Settings(workdir=str(tmp_path), albums=("all", "1", "1kinds")))
    whole = measured["all"]["CNN"]
    assert [*measured] == ["all", "1", "1kinds"] and [*measured["all"]] == ["CNN"]
    assert (whole["alone"], whole["beside"], whole["difference"]) == (0.625, 1.0, 0.375)
    assert (whole["better"], whole["worse"], whole["equal"]) == (2, 0, 1)
    assert measured["1kinds"]["CNN"]["beside"] == 0.5, "nothing is left: the first class of equal ones"
    assert json.loads((tmp_path / "albums.json").read_text()) == {"seed": 0, "albums": measured}
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:5] == ["CNN", "all", "62.50", "100.00", "+37.50"] and len(lines) == 4


def test_what_has_no_albums():
    with pytest.raises(ValueError, match="Which run"):
        script.run(script.Settings())
    answers = run_of()
    with pytest.raises(ValueError, match="do not say who is seen"):
        script.measure(predictions.Predictions(**{**vars(answers), "subject": np.array([""] * 8)}), beside.WHOLE, 0)
    with pytest.raises(ValueError, match="No method of this run"):
        script.measure(
            predictions.Predictions(**{**vars(answers), "methods": {"silent": answers.methods["silent"]}}),
            beside.WHOLE, 0,
        )  # fmt: skip
