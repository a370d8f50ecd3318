"""fer_tf.metrics against scikit-learn and by hand."""

import json

import numpy as np
import pytest
import scipy.special
import sklearn.metrics

from fer_tf import metrics

CLASSES = ("anger", "disgust", "fear", "happiness")


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 4, 200)
    return labels, np.where(rng.random(200) < 0.6, labels, rng.integers(0, 4, 200))


def test_scores_equal_scikit_learn(drawn):
    labels, predictions = drawn
    matrix = metrics.confusion(labels, predictions, 4)
    np.testing.assert_array_equal(matrix, sklearn.metrics.confusion_matrix(labels, predictions))
    assert metrics.micro(matrix) == pytest.approx(sklearn.metrics.accuracy_score(labels, predictions), abs=1e-12)
    assert metrics.macro(matrix) == pytest.approx(
        sklearn.metrics.balanced_accuracy_score(labels, predictions), abs=1e-12
    )
    scores = metrics.per_class(matrix)
    expected = sklearn.metrics.precision_recall_fscore_support(labels, predictions)
    for name, reference in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        np.testing.assert_allclose(scores[name], reference, rtol=1e-12)


def test_absent_class_is_no_nan_and_leaves_the_mean():
    labels, predictions = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 3])
    matrix = metrics.confusion(labels, predictions, 4)
    assert metrics.macro(matrix) == 0.5  # classes 2 and 3 have no picture; a mean over four would say 0.25
    expected = sklearn.metrics.precision_recall_fscore_support(labels, predictions, labels=range(4), zero_division=0)
    for name, reference in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        np.testing.assert_allclose(metrics.per_class(matrix)[name], reference, rtol=1e-12)
    assert metrics.macro(np.zeros((3, 3))) == metrics.micro(np.zeros((3, 3))) == 0


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        ([0, 4], [0, 1], "label 4 is outside the 4 classes"),
        ([0, 1], [-1, 1], "prediction -1 is outside"),
        ([0, 1], [0.2, 0.8], "argmax"),
        ([0, 1], [0], "one length"),
    ],
)
def test_confusion_refuses(labels, predictions, message):
    with pytest.raises(ValueError, match=message):
        metrics.confusion(np.array(labels), np.array(predictions), 4)


def test_summary_by_hand():
    first = (np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]))  # micro 3/4, macro (1 + 0)/2
    second = (np.array([0, 1]), np.array([0, 1]))  # micro 1, macro 1
    summary = metrics.summarize([{"last": first, "best": second}, {"last": second, "best": second}], ("sad", "glad"))
    last = summary["last"]
    assert last["micro"] == {
        "fold_mean": 0.875,
        "fold_std": pytest.approx(0.25 / np.sqrt(2)),  # sample deviation of 3/4 and 1
        "pooled": pytest.approx(5 / 6),
        "folds": [0.75, 1.0],
    }
    assert last["macro"]["fold_mean"] == 0.75
    assert last["macro"]["pooled"] == 0.75
    assert last["confusion"] == [[4, 0], [1, 1]]
    assert last["per_class"]["glad"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2}
    assert summary["best"]["micro"]["fold_std"] == 0
    assert metrics.summarize([{"last": first}], ("sad", "glad"))["last"]["macro"]["fold_std"] == 0


def test_summary_refuses(drawn):
    empty = (np.array([], int), np.array([], int))
    with pytest.raises(ValueError, match="no fold"):
        metrics.summarize([], CLASSES)
    with pytest.raises(ValueError, match="fold 1 has no test picture"):
        metrics.summarize([{"last": drawn}, {"last": empty}], CLASSES)
    with pytest.raises(ValueError, match="fold 1 has"):
        metrics.summarize([{"last": drawn}, {"last": drawn, "best": drawn}], CLASSES)
    with pytest.raises(ValueError, match="fold 0 has"):
        metrics.summarize([{"best": drawn}], CLASSES)


def test_identity_preservation_equals_the_roc_area():
    rng = np.random.default_rng(5)
    same, between = rng.normal(0.4, 0.1, 40).round(2), rng.normal(0.6, 0.1, 70).round(2)  # rounded: ties occur
    got = metrics.identity_preservation(same, between)
    truth = np.r_[np.ones(40), np.zeros(70)]
    assert got["auc"] == pytest.approx(sklearn.metrics.roc_auc_score(truth, -np.r_[same, between]), abs=1e-12)
    assert got["same"] == pytest.approx(same.mean())
    assert got["between"] == pytest.approx(between.mean())
    with pytest.raises(ValueError, match="between-subject"):
        metrics.identity_preservation(same, [np.nan])


def test_metrics_file(tmp_path, drawn):
    path = tmp_path / "run0" / "metrics.json"
    summary = metrics.summarize([{"last": drawn, "best": drawn}], CLASSES)
    metrics.write_metrics(path, {"classes": CLASSES, "methods": {"fer_net": summary}, "seeds": np.arange(2)})
    read = json.loads(path.read_text())
    assert read["schema"] == metrics.SCHEMA
    assert read["classes"] == list(CLASSES)
    assert read["seeds"] == [0, 1]
    assert read["methods"]["fer_net"] == summary
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"generation\.l1\[1\] is nan"):
        metrics.write_metrics(path, {"generation": {"l1": [0.1, np.float32("nan")]}})
    with pytest.raises(TypeError, match="seconds is a set"):
        metrics.write_metrics(path, {"seconds": {1}})
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["metrics.json"]


def test_table_shows_percent_and_labels_the_best(drawn):
    labels, predictions = drawn
    folds = [{"last": (labels[i::2], predictions[i::2]), "best": (labels[i::2], labels[i::2])} for i in range(2)]
    summary = metrics.summarize(folds, CLASSES)
    text = metrics.table({"fer_net": summary, "a longer name": {"last": summary["last"]}})
    lines = text.splitlines()
    values = [np.mean(labels[i::2] == predictions[i::2]) * 100 for i in range(2)]
    assert f"{np.mean(values):.2f} +- {np.std(values, ddof=1):.2f}" in lines[3]
    assert "best (picked on test)" in lines[4]
    assert "100.00 +- 0.00" in lines[4]
    assert lines[5].startswith("a longer name  last ")
    assert len({len(line) for line in lines[1:]}) == 1
    single = metrics.table({"x": metrics.summarize([{"last": drawn}], CLASSES)})
    assert "+-" not in single


def test_temperature_finds_the_scale_that_labels_were_drawn_at():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 5)) * 2
    labels = np.array([rng.choice(5, p=p) for p in scipy.special.softmax(logits, axis=1)])
    found = metrics.temperature(7 * logits, labels)
    assert found["temperature"] == pytest.approx(7, rel=0.05)
    accuracy = np.mean(logits.argmax(1) == labels)
    assert found["confidence"] == pytest.approx(accuracy, abs=0.02)
    wanted = sklearn.metrics.log_loss(labels, scipy.special.softmax(7 * logits / found["temperature"], axis=1))
    assert found["log_loss"] == pytest.approx(wanted, rel=1e-9)


def test_temperature_refuses_rows_that_do_not_match():
    with pytest.raises(ValueError, match=r"scores \(3, 2\) and labels \(2,\)"):
        metrics.temperature(np.zeros((3, 2)), np.zeros(2, int))
    with pytest.raises(ValueError, match="finite"):
        metrics.temperature(np.full((2, 2), np.nan), np.zeros(2, int))
