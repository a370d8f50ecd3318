"""fer_tf.predictions: what was tested is kept row by row, reads back, and is compared as the table counts it."""

import io

import numpy as np
import pytest

from fer_tf import metrics, paired, predictions
from fer_tf.records import Record, content_hash

CLASSES = ("anger", "fear", "sadness")


def faces(count, subjects="ann bob cid"):
    """Records of arrays, each with its own grey value; 0, 1, 2, 0 ... are their labels."""
    who = subjects.split()
    return [
        Record(np.full((4, 4), n, np.uint8), CLASSES[n % 3], subject=who[n % len(who)] if who else None, frame=n)
        for n in range(count)
    ]


def answers(listed, shift, sure=0.5):
    """Names face n as class (n % 3 + shift(n)) % 3."""
    labels = np.array([CLASSES.index(r.expression) for r in listed])
    named = (labels + np.array([shift(r.frame) for r in listed])) % 3
    spread = np.full((len(listed), 3), (1 - sure) / 2, np.float32)
    spread[np.arange(len(listed)), named] = sure
    return predictions.Answers(labels, named, listed, spread)


def trainings(listed, runs=2, **shifts):
    """Both folds of each run, of two and of the other faces; method -> its shifts."""
    parts = [listed[:2], listed[2:]]
    return [
        {
            "run": run, "fold": fold,
            "methods": {n: {"last": answers(parts[fold], lambda i, s=s, r=run: s(i, r))} for n, s in shifts.items()},
        }
        for run in range(runs) for fold in (1, 0)
    ]  # fmt: skip


RIGHT, WRONG = (lambda n, run: 0), (lambda n, run: 1)


def test_what_was_tested_reads_back(tmp_path):
    listed = faces(5)
    made = trainings(listed, base=lambda n, run: n == 3, ours=lambda n, run: 2 * (n == 4 and run == 1))
    made[0]["methods"]["base"]["last"].probabilities = None  # as a support vector machine
    for name in ("a.npz", "b.npz"):
        predictions.write(tmp_path / name, predictions.gathered(made, CLASSES))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    read = predictions.read(tmp_path / "a.npz")
    assert len(read) == 10 and read.classes == CLASSES and read.cells == [(0, 1), (0, 0), (1, 1), (1, 0)]
    assert read.run.tolist() == [0] * 5 + [1] * 5 and read.fold.tolist() == [1, 1, 1, 0, 0] * 2
    order = [2, 3, 4, 0, 1] * 2
    assert read.sha256.tolist() == [content_hash(listed[i]) for i in order]
    assert read.picture.tolist() == [listed[i].key() for i in order]
    assert read.subject.tolist() == [listed[i].subject for i in order] == read.people.tolist()
    assert read.label.tolist() == [2, 0, 1, 0, 1] * 2 and read.label.dtype == np.int16
    base, ours = read.methods["base"]["last"], read.methods["ours"]["last"]
    assert base.named.tolist() == [2, 1, 1, 0, 1] * 2 and base.probabilities is None
    assert ours.named.tolist() == [2, 0, 1, 0, 1, 2, 0, 0, 0, 1] and {*read.methods["ours"]} == {"last"}
    assert ours.probabilities.dtype == np.float32 and ours.probabilities[7].tolist() == [0.5, 0.25, 0.25]


def test_pictures_are_read_once_and_a_cut_face_is_its_picture(tmp_path, monkeypatch):
    read, plain = [], predictions.content_hashes
    monkeypatch.setattr(predictions, "content_hashes", lambda listed: read.extend(listed) or plain(listed))
    listed = faces(4)
    cut = [Record(r.image[:2], r.expression, frame=r.frame, info={"cut_from": r.image}) for r in listed[:2]]
    prepared = Record(listed[3].image, "anger", frame=3, info={"sha256": "ab" * 32})
    made = predictions.gathered(trainings([*cut, listed[2], prepared], base=RIGHT), CLASSES)
    assert len(read) == 4 and len(made) == 8
    wanted = [content_hash(listed[2]), "ab" * 32, content_hash(listed[0]), content_hash(listed[1])]
    assert made.sha256.tolist() == wanted * 2


def test_what_does_not_say_its_pictures_is_not_kept():
    made = trainings(faces(5), base=RIGHT)
    made[1]["methods"]["base"]["last"] = tuple(made[1]["methods"]["base"]["last"])
    assert predictions.gathered(made, CLASSES) is None


def test_methods_that_were_tested_on_other_pictures_are_not_beside_each_other():
    listed = faces(6)
    made = trainings(listed, base=RIGHT, ours=RIGHT)
    made[0]["methods"]["ours"]["last"] = answers([listed[5], *listed[3:6]], lambda n: 0)  # the labels are the same
    assert made[0]["methods"]["ours"]["last"][0].tolist() == made[0]["methods"]["base"]["last"][0].tolist()
    with pytest.raises(ValueError, match="run 0, fold 1: its methods were tested on different pictures"):
        predictions.gathered(made, CLASSES)
    made = trainings(listed, base=RIGHT, ours=RIGHT)
    own = made[2]["methods"]["base"]["last"]
    made[2]["methods"]["ours"]["last"] = predictions.Answers((own[0] + 1) % 3, own[1], own.records)
    with pytest.raises(ValueError, match="run 1, fold 1"):  # the same ones by other labels
        predictions.gathered(made, CLASSES)


def test_a_picture_of_nobodys_is_one_by_itself():
    made = predictions.gathered(trainings(faces(5, ""), base=WRONG, ours=RIGHT), CLASSES)
    assert not made.people_known and made.people[0] == f"sha256:{made.sha256[0]}"
    found = predictions.compared(made, {"ours": "base"})["ours"]
    assert found["people"] == {"count": 5, "known": False, "better": 5, "worse": 0, "equal": 0, "p": 2 / 32}
    assert "nobody is named" in found["micro"]["why"]


def test_differences_are_those_of_the_table():
    made = trainings(faces(5), base=lambda n, run: n in (1, 3, 4), ours=lambda n, run: n == 2 and run == 0)
    kept = predictions.gathered(made, CLASSES)
    found = predictions.compared(kept, {"ours": "base"})
    summary = {name: metrics.summarize([m["methods"][name] for m in made], CLASSES) for name in ("base", "ours")}
    for measure in ("micro", "macro"):
        base, ours = (summary[name]["last"][measure] for name in ("base", "ours"))
        one = found["ours"][measure]
        assert one["difference"] == pytest.approx(ours["pooled"] - base["pooled"])
        assert one["pairs"]["values"] == pytest.approx(np.subtract(ours["folds"], base["folds"]))
        assert one["pairs"]["mean"] == pytest.approx(ours["fold_mean"] - base["fold_mean"])
    assert found["ours"]["baseline"] == "base"
    assert found["ours"]["micro"]["pairs"]["values"] == pytest.approx([1 / 3, 1 / 2, 2 / 3, 1 / 2])
    with pytest.raises(ValueError, match="'theirs' was not tested: there are base, ours"):
        predictions.compared(kept, {"theirs": "base"})


def test_the_table_says_what_is_earned():
    made = trainings(faces(5), base=lambda n, run: n in (1, 3, 4), ours=lambda n, run: n == 2 and run == 0)
    found = predictions.compared(predictions.gathered(made, CLASSES), {"ours": "base"})
    lines = predictions.table(found).splitlines()
    assert "bootstrap over 3 people;" in lines[0] and lines[2].split()[:3] == ["method", "-", "baseline"]
    values = "+50.00 -50.00 to +100.00 +50.00 +- 13.61 4 0 0.12"
    assert lines[4].split() == f"ours - base micro {values} cannot be told from chance".split()
    assert lines[5].split()[:2] == ["macro", "+33.33"]  # recalls 1, 1, 1/2 for 1/2, 0, 1
    few = "3 people are too few, 10 are the fewest; "
    pairs = "4 pairs of trainings that differ are too few, 6 are the fewest"
    assert lines[6] == f"cannot be told from chance: {few}the interval holds 0; {pairs} (ours micro, macro)"


def test_many_trainings_on_many_people_may_gain():
    who = " ".join(f"p{n}" for n in range(24))
    made = trainings(faces(24, who), runs=4, base=lambda n, run: (n + run) % 3 == 0, ours=RIGHT)
    found = predictions.compared(predictions.gathered(made, CLASSES), {"ours": "base"})["ours"]
    assert found["micro"]["words"] == paired.GAINS and found["people"]["better"] == 24
    turned = predictions.compared(predictions.gathered(made, CLASSES), {"base": "ours"})["base"]
    assert turned["micro"]["words"] == paired.LOSES
    assert turned["micro"]["difference"] == -found["micro"]["difference"]


def test_what_is_no_such_file_is_refused(tmp_path):
    file = tmp_path / "predictions.npz"
    with pytest.raises(FileNotFoundError):
        predictions.read(file)
    predictions.write(file, predictions.gathered(trainings(faces(5), base=RIGHT), CLASSES))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="predictions.npz is damaged .*: test the run again"):
        predictions.read(file)
    with np.load(io.BytesIO(whole)) as f:
        columns = {name: f[name] for name in f.files}
    np.savez(file, **{**columns, "schema": np.array(7)})
    with pytest.raises(ValueError, match="schema 7, and 1 is read here"):
        predictions.read(file)
    np.savez(file, **{**columns, "label": columns["label"][:3]})
    with pytest.raises(ValueError, match="its columns differ in length"):
        predictions.read(file)
    del columns["subject"]
    np.savez(file, **columns)
    with pytest.raises(ValueError, match="damaged"):
        predictions.read(file)
