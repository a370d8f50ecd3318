"""What an experiment writes: metrics.json, the table, confusion matrices; each number from the folds' own answers."""

import json

import numpy as np
import pytest

from experiments.run import report, settings
from fer_tf import figures, metrics, predictions
from fer_tf.records import Record

CLASSES = ("anger", "fear")


@settings.command({"quick": {}})
class Toy(settings.Folds):
    """None of its own."""


def fold(number, run, right, wrong):
    """One fold of so many right answers "anger" and wrong ones."""
    labels = np.array([0] * (right + wrong))
    return {
        "run": run, "fold": number, "generation": "kept",
        "methods": {"Net, new": {"last": (labels, np.array([0] * right + [1] * wrong)), "best": (labels, labels)}},
    }  # fmt: skip


def test_files_and_table(tmp_path, capsys, monkeypatch):
    pictures = {}
    monkeypatch.setattr(figures, "save", lambda picture, path: pictures.setdefault(path.name, picture))
    monkeypatch.setattr(figures, "confusion_matrix", lambda counts, classes, title: (np.array(counts).tolist(), title))
    monkeypatch.setattr(figures, "class_bars", lambda bars: {n: b["anger"]["recall"] for n, b in bars.items()})
    tested = [fold(2, 0, 3, 1), fold(0, 1, 1, 1)]
    methods = report.write(Toy(seed=4, runs=2), tested, CLASSES, tmp_path, 12.34, images=9)
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written["methods"] == json.loads(json.dumps(methods)) and written["images"] == 9
    assert written["seconds"] == 12.3 and written["schema"] == metrics.SCHEMA
    assert written["folds"] == [{"run": 0, "fold": 2, "test": 4}, {"run": 1, "fold": 0, "test": 2}]
    assert written["seeds"] == [4, 5] and written["classes"] == ["anger", "fear"]
    last = methods["Net, new"]["last"]
    assert last["confusion"] == [[4, 2], [0, 0]] and last["micro"]["folds"] == [0.75, 0.5]
    assert methods["Net, new"]["best"]["micro"]["pooled"] == 1
    assert pictures == {
        "confusion_net__new.png": ([[4, 2], [0, 0]], "Net, new, rendered, held-out people, last epoch"),
        "per_class.png": {"Net, new": pytest.approx(4 / 6)},
    }
    assert json.loads((tmp_path / "confusion_net__new.json").read_text()) == {
        "method": "Net, new", "classes": ["anger", "fear"], "counts": [[4, 2], [0, 0]]
    }  # fmt: skip
    results = report.Results(tmp_path, methods)
    assert results.table + "\n" == capsys.readouterr().out and "66.67" in results.table
    assert results.export is None and results.models == {} and results.measures == ()


def test_the_data_in_the_titles(tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(figures, "save", lambda picture, path: None)
    monkeypatch.setattr(figures, "confusion_matrix", lambda counts, classes, title: titles.append(title))
    report.write(Toy(), [fold(0, 0, 1, 1)], CLASSES, tmp_path, 0, tested_on="fer2013")
    assert titles == ["Net, new, fer2013, held-out people, last epoch"]


def test_names_of_files():
    assert report.file_name("DE-GAN, f(x) alone") == "de_gan__f_x__alone"


def kept(number, run, named, baseline):
    """A fold of four people's faces that are all "anger", with what two methods name them."""
    faces = [Record(np.full((2, 2), 10 * number + n, np.uint8), "anger", subject=f"p{number}{n}") for n in range(4)]
    methods = {
        name: {"last": predictions.Answers(np.zeros(4, int), np.array(answers), faces, np.eye(2)[answers])}
        for name, answers in (("Net", baseline), ("Net, new", named))
    }
    return {"run": run, "fold": number, "methods": methods}


def test_what_was_named_is_kept_and_held_against_the_baseline(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(figures, "save", lambda picture, path: None)
    tested = [kept(0, 0, [0, 0, 0, 1], [0, 1, 1, 1]), kept(1, 0, [0, 1, 0, 1], [0, 0, 0, 1])]
    methods = report.write(Toy(), tested, CLASSES, tmp_path, 1)
    answers = predictions.read(tmp_path / "predictions.npz")
    assert answers.subject.tolist() == ["p00", "p01", "p02", "p03", "p10", "p11", "p12", "p13"]
    found = json.loads((tmp_path / "metrics.json").read_text())["paired"]
    assert found == predictions.compared(answers, {"Net, new": "Net"}) == report.Results(tmp_path, methods).paired
    assert found["Net, new"]["micro"]["pairs"]["values"] == [0.5, -0.25]
    printed = capsys.readouterr().out
    assert report.Results(tmp_path, methods).table + "\n" == printed
    assert printed.startswith(metrics.table(methods)) and predictions.table(found) in printed
    report.write(Toy(), tested, CLASSES, tmp_path, 1, baselines={"Net": "Net, new"})
    other = json.loads((tmp_path / "metrics.json").read_text())["paired"]
    assert other["Net"]["micro"]["difference"] == -found["Net, new"]["micro"]["difference"] == -0.125
    report.write(Toy(), [fold(0, 0, 1, 1)], CLASSES, tmp_path, 1)  # which does not say whom it tested
    assert not (tmp_path / "predictions.npz").exists() and report.paired(tmp_path) == {}


def test_one_method_has_no_baseline(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "save", lambda picture, path: None)
    one = kept(0, 0, [0, 0, 0, 1], [0, 1, 1, 1])
    del one["methods"]["Net"]
    methods = report.write(Toy(), [one], CLASSES, tmp_path, 1)
    assert (tmp_path / "predictions.npz").is_file() and report.paired(tmp_path) == {}
    assert report.table(methods, tmp_path) == metrics.table(methods)
