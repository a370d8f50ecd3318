"""Networks that answer with no numbers: their first class is no answer, whoever counts it."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from experiments.parts.cycle_at import domains, judges
from experiments.parts.de_gan import measures
from experiments.run import regeneration
from fer_tf import pipeline, recognise, trained_on
from fer_tf.records import Record

BLANK = np.array([[np.nan, np.nan], [0.25, 0.75]], np.float32)
"""Of two faces."""


def test_a_judge_of_made_faces():
    judge = SimpleNamespace(classify=lambda x: tf.constant(BLANK))
    with pytest.raises(FloatingPointError, match="The predictions of 1 of 2 pictures are no longer finite. Lower"):
        judges.answers(judge, np.zeros((2, 8, 8, 3), np.uint8))


def test_shares_of_regenerated_faces():
    faces, labels = np.zeros((2, 2, 8, 8, 1), np.float32), np.array([0, 1])
    with pytest.raises(FloatingPointError, match="of 1 of 2 pictures"):
        regeneration.target_rate(lambda x: BLANK, faces, ("anger", "fear"))
    with pytest.raises(FloatingPointError, match="of 1 of 2 pictures"):
        regeneration.unchanged(lambda x: BLANK, faces, labels, 1 - labels)


def test_shares_of_each_classifier(monkeypatch):
    monkeypatch.setattr(measures, "centre_views", lambda listed: np.zeros((2, 96, 96, 1), np.float32))
    listed = [Record("a.png", "anger"), Record("b.png", "fear")]
    local = SimpleNamespace(numbers=(4, 5), logits=lambda part: [BLANK[::-1], BLANK])
    with pytest.raises(FloatingPointError, match="of 1 of 2 pictures"):
        measures.rates({"both": local}, listed, ("anger", "fear"))


def test_a_recogniser(monkeypatch):
    def blank(faces):
        return BLANK[: len(faces)]

    blank.classes = ("anger", "fear")
    monkeypatch.setattr(recognise, "predictor", lambda model: blank)
    with pytest.raises(ValueError, match="gives no finite probabilities: its weights are of no use"):
        recognise.faces(np.zeros((48, 48, 3), np.uint8))


def test_cut_and_made_faces_say_where_they_come_from():
    """So that a checkpoint is not taken for another one's because a library cuts, or a device draws, by a bit else."""
    picture = np.arange(48 * 48, dtype=np.uint8).reshape(48, 48)
    (cut,) = pipeline.with_faces([Record(picture, "anger", info={"framed": True})], "ia_gen")
    assert cut.info["cut_from"] is picture and cut.image.shape == (70, 70, 1)
    (again,) = pipeline.with_faces([cut], "ia_gen")
    assert again.info["cut_from"] is picture
    one, other = (domains.as_records(np.full((1, 4, 4, 3), v, np.uint8), ["anger"], "made")[0] for v in (1, 2))
    assert trained_on.contents([one]) == trained_on.contents([other]) != trained_on.contents([Record(other.image)])
