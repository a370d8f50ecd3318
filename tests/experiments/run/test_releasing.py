"""Weights that a --test_on run releases: who they have seen, what they name as they are stored, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from experiments import ed2l as script
from experiments.run import cross, provenance, releasing, report, settings
from fer_tf import evaluation, export, weights
from fer_tf.models import ed2l
from fer_tf.predictions import Answers
from fer_tf.records import Record

CLASSES = ("anger", "happiness")


@settings.command({"quick": {"classes": "anger,happiness"}})
class Toy(cross.Cross):
    """None of its own."""


def faces(people, domains=("lab", "wild")):
    """One face a person and class, in turn of the domains."""
    rng = np.random.default_rng(people)
    return [
        Record(
            rng.integers(0, 256, (48, 48), np.uint8), CLASSES[i % 2], subject=f"p{i // 2}",
            domain=domains[i // 2 % len(domains)], info={"framed": True},
        )
        for i in range(2 * people)
    ]  # fmt: skip


def answers(listed, right):
    """Of faces, those at the places `right` named right."""
    labels = np.array([CLASSES.index(r.expression) for r in listed])
    named = np.array([label if i in right else 1 - label for i, label in enumerate(labels)])
    return Answers(labels, named, listed, np.eye(2, dtype=np.float32)[named])


def test_by_how_far_the_head_is_turned():
    def turned(pan, tilt):
        return report.pose_of(Record(b"", info={"pan": pan, "tilt": tilt}))

    assert {turned(0, 0), turned(-10, 10), turned(14.9, 0)} == {"turned by 0 to 15 degrees"}
    assert {turned(-25.0, 0.0), turned(0, 15.0), turned(20, -20)} == {"turned by 15 to 30 degrees"}
    assert turned(25, 25) == "turned by 30 to 45 degrees" and turned(-45.0, 0) == "turned by 45 to 60 degrees"
    assert report.pose_of(Record(b"")) == "" == report.pose_of(Record(b"", info={"pan": 3.0}))
    listed = [replace(r, info={"pan": 45.0 * (i > 3), "tilt": 0.0}) for i, r in enumerate(faces(4))]
    methods = {"CNN": {"last": answers(listed, {0, 2, 4})}}
    tested = [{"run": 0, "fold": 0, "methods": methods}]
    parts = report.by_part(tested, CLASSES, {}, report.pose_of)
    assert {part: one["methods"]["CNN"]["micro"] for part, one in parts.items()} == {
        "turned by 0 to 15 degrees": 0.5, "turned by 45 to 60 degrees": 0.25
    }  # fmt: skip
    assert report.by_part(tested, CLASSES, {}, lambda r: "" if r is listed[0] else report.pose_of(r)) == {}


def test_each_domain_by_itself_and_all_together():
    listed = faces(4)  # lab: 0 1 4 5, wild: 2 3 6 7
    methods = {"CNN": {"last": answers(listed, {0, 2, 3})}, "New": {"last": answers(listed, {0, 1, 4, 2})}}
    tested = [{"run": 0, "fold": 0, "methods": methods}]
    parts = report.by_part(tested, CLASSES, {"New": "CNN"})
    assert {d: {n: m["micro"] for n, m in part["methods"].items()} for d, part in parts.items()} == {
        "lab": {"CNN": 0.25, "New": 0.75}, "wild": {"CNN": 0.5, "New": 0.25}
    }  # fmt: skip
    assert [parts[d]["paired"]["New"]["micro"]["difference"] for d in ("lab", "wild")] == [0.5, -0.25]
    assert parts["lab"]["methods"]["New"]["macro"] == 0.75 and parts["lab"]["paired"]["New"]["people"]["count"] == 2
    text = report.parts_table(parts)
    assert "lab alone" in text and "New  75.00 (75.00)  +50.00, " in text and "New  25.00 (25.00)  -25.00, " in text
    wild = methods["New"]["last"].where(np.array([r.domain == "wild" for r in listed]))
    assert [*wild.records] == [listed[i] for i in (2, 3, 6, 7)] and len(wild[0]) == len(wild[1]) == 4
    assert wild.probabilities.shape == (4, 2)
    alike = [replace(r, domain="lab") for r in listed]
    assert report.by_part([{**tested[0], "methods": {"CNN": {"last": answers(alike, {0})}}}], CLASSES, {}) == {}
    assert report.shares(tested, CLASSES, {})["methods"]["New"]["micro"] == 0.5


def test_what_is_released_is_what_is_stored(tmp_path, monkeypatch):
    """The network that is tested has the file's half precision; who was seen, and the figures, are in the file."""
    listed, tested = [], faces(4)

    def predict(model, data):
        listed.append([np.array(v) for v in model.weights])
        return answers(tested, {0, 1, 4, 2})

    monkeypatch.setattr(evaluation, "predict", predict)
    tf.random.set_seed(3)
    model = ed2l.ED2L(classes=CLASSES, width=1 / 16)
    more = {"train_on": ("rendered2/wild", "rendered/posed"), "test_on": "rendered2/judge"}
    made = Toy(dataset="rendered2", weights_out=str(tmp_path / "w.h5"), **more)
    last = {"CNN": {"last": answers(tested, {0, 2, 3})}, "New": {"last": answers(tested, range(8))}}
    given = {"baseline": "CNN", "behind": ["fer2013"]}
    run = {"run": 0, "fold": 0, "methods": last}
    path = releasing.release(made, model, "New", faces(5), None, run, **given)
    about, (seen,) = weights.provenance(path), listed
    assert all(np.array_equal(v, v.astype("float16")) for v in seen if v.ndim > 1)
    assert any(not np.array_equal(v, np.array(w)) for v, w in zip(seen, model.weights, strict=True))
    assert about["datasets"] == ["fer2013", "rendered/posed", "rendered2", "rendered2/wild"]
    assert about["data"].startswith("rendered2, rendered2/wild, rendered/posed: 10 faces of 5 people, ")
    metric = about["metric"]
    assert metric["tested_on"] == "rendered2/judge" and metric["pictures"] == 8 and metric["row"] == "New"
    assert {part: share["micro"] for part, share in metric["as_stored"].items()} == {
        "all": 0.5, "lab": 0.75, "wild": 0.25
    }  # fmt: skip
    assert metric["as_trained"] == {"micro": 1.0, "macro": 1.0} and metric["baseline"]["row"] == "CNN"
    assert [metric["difference"][part]["micro"]["difference"] for part in ("all", "lab", "wild")] == [0.125, 0.5, -0.25]
    assert releasing.release(Toy(), model, "New", listed, None, run) is None  # without the flag
    with pytest.raises(ValueError, match="has seen who is to be tested"):
        provenance.refuse_tested_people(path, "init", "rendered2/wild")
    assert provenance.behind(path, None) == about["datasets"]


@pytest.mark.slow
def test_it_answers_from_the_file_alone(planted, capsys, tmp_path):
    """A run of ED2L that is tested on another data set: its file names faces as its network does."""
    own = planted.people(people=4, frames=lambda person, n: 1)
    other = [
        replace(
            r, image=r.image + 1, domain="lab" if i % 4 < 2 else "wild", info={**r.info, "pan": 20 * (i % 2), "tilt": 0}
        )
        for i, r in enumerate(own)
    ]
    planted.plant(rendered2=other)
    made = script.Settings(
        preset="smoke", precision="mixed_bfloat16", workdir=str(tmp_path / "run"), test_on="rendered2", rows=("ed2l",),
        weights_out=str(tmp_path / "ed2l.h5"),
    )  # fmt: skip
    results = script.run(made)
    predictor = export.from_weights(tmp_path / "ed2l.h5")
    shown = [r.image for r in other]
    np.testing.assert_allclose(predictor(shown), export.predictor(results.models["ED2L"])(shown), atol=5e-3)
    about = weights.provenance(tmp_path / "ed2l.h5")
    assert about["datasets"] == ["rendered"] and about["precision"] == "mixed_bfloat16"
    assert "4 people" in about["data"] and {*about["metric"]["as_stored"]} == {"all", "lab", "wild"}
    written = json.loads((tmp_path / "run/metrics.json").read_text())
    assert {*written["by_domain"]} == {"lab", "wild"}
    assert {*written["by_pose"]} == {"turned by 0 to 15 degrees", "turned by 15 to 30 degrees"}
    printed = capsys.readouterr().out
    assert "wild alone, " in printed and "turned by 15 to 30 degrees alone, " in printed
    assert planted.trained[0].people == {f"P{i}" for i in range(4)}


def test_whose_people_a_place_has():
    places = ("rendered2/lab", "rendered2/wild", "rendered", "fer2013/private_test=/x", "rendered2/judge=/x")
    assert [*map(cross.people_of, places)] == ["rendered2", "rendered2/wild", "rendered", "fer2013", "rendered2/judge"]


@pytest.mark.parametrize(
    "given, words",
    [
        ({"weights_out": "w.h5"}, "give --test_on"),
        ({"weights_out": "w.h5", "test_on": "rendered/wild", "runs": 2}, "--weights_out is of one training"),
    ],
)
def test_what_cannot_be_released(given, words):
    with pytest.raises(ValueError, match=words):
        script.run(script.Settings(preset="smoke", rows=("ed2l",), **given))
