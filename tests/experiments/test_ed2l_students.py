"""`experiments.ed2l`: students, whom a network teaches that has been given few labels, and what is taken from names."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from experiments import ed2l as script
from experiments.parts.ed2l import measures, teaching
from experiments.run import fitting, jobs, students
from fer_tf import evaluation, predictions
from fer_tf.records import Fold

CLASSES = ("anger", "happiness")
ROWS = ("baseline", "ed2l", "baseline:taught-baseline", "baseline:taught-ed2l-dispelled")
GIVEN = {"preset": "smoke", "precision": "float32", "labelled_people": 2, "taught_epochs": 3, "rows": ROWS}


def wrong(asked):
    """Answers that name the other of two expressions; notes of which model, and of whom."""

    def predict(model, batches):
        index = np.concatenate([b["index"] for b in batches.epoch(0)])
        labels = np.concatenate([b["label"] for b in batches.epoch(0)]).astype(int)
        listed = [batches.records[i] for i in index]
        asked.append((model, {r.subject for r in listed}))
        return predictions.Answers(labels, 1 - labels, listed, np.eye(2)[1 - labels])

    return predict


@pytest.fixture
def fold_of(planted, monkeypatch, tmp_path):
    """Runs one fold of five people, of whom P0 is tested; gives what was trained, how, and who was asked."""
    trained, asked = {}, []

    def fit_and_test(settings, build, learn, test, place, strategy, **more):
        shown = Counter((learn.records[int(i)].subject, int(k)) for b in learn.epoch(0)
                        for i, k in zip(b["index"], b["label"], strict=True))  # fmt: skip
        trained[place.name] = {"model": build(), "shown": shown, "test": test, **more}
        return evaluation.Outcome(trained[place.name]["model"], {"last": (np.zeros(1, int), np.zeros(1, int))})

    monkeypatch.setattr(fitting, "fit_and_test", fit_and_test)
    monkeypatch.setattr(evaluation, "predict", wrong(asked))
    monkeypatch.setattr(measures, "measure", lambda *_: {})
    listed = planted.people(people=5)
    train = tuple(i for i, r in enumerate(listed) if r.subject != "P0")
    fold = Fold(train, tuple(i for i in range(len(listed)) if i not in train))

    def run(**given):
        made = script.one_fold(script.Settings(**{**GIVEN, **given}), listed, fold, CLASSES, 0, tmp_path)
        return trained, asked, made

    return run


def test_students_learn_what_their_teacher_names(fold_of):
    """Two of four people are labelled, and all that the others have; of these a student sees the teacher's names."""
    trained, asked, made = fold_of()
    own = {who for who, _ in trained["baseline"]["shown"]}
    others = {"P1", "P2", "P3", "P4"} - own
    assert len(own) == 2 and trained["ed2l"]["shown"] == trained["baseline"]["shown"]
    for name, teacher in (("baseline_taught-baseline", "baseline"), ("baseline_taught-ed2l-dispelled", "ed2l")):
        found, truth = trained[name]["shown"], trained["baseline"]["shown"]
        assert {key: n for key, n in found.items() if key[0] in own} == truth
        assert {who for who, _ in found} == own | others
        assert trained[name]["follows"]["the teacher"] is trained[teacher]["model"] and trained[name]["epochs"] == 3
        assert trained[name]["model"].dispelling is False
    assert [trained[name]["epochs"] for name in ("baseline", "ed2l")] == [1, 1]
    assert [(model, who) for model, who in asked] == [(trained[t]["model"], others) for t in ("baseline", "ed2l")]
    names = ["Baseline", "ED2L", "Baseline, taught by itself", "Baseline, taught by ED2L less identity"]
    assert [*made.methods] == names
    beside_what = script.baselines(ROWS)
    assert beside_what == dict.fromkeys(names[1:], "Baseline")


def test_people_of_whom_one_expression_is_there(fold_of):
    """A student sees all pictures of the labelled people, and those of one expression of the others."""
    trained, _, _ = fold_of(shown_expressions=1)
    names = ("baseline", "baseline_taught-baseline")
    own, found = (Counter(who for who, _ in trained[name]["shown"].elements()) for name in names)
    assert {*found} == {"P1", "P2", "P3", "P4"} > {*own}
    for who, pictures in found.items():
        each = [1 + (int(who[1:]) + 2 * number) % 3 for number in (0, 1)]
        assert pictures == own[who] == sum(each) if who in own else pictures in each


def test_names_are_the_teachers(planted):
    """All wrong where they are taken as they are; the labelled people's stay what they were."""
    settings = script.Settings(**GIVEN)
    known, others = students.split(planted.people(people=4), 2, 0)
    student, before = script.STUDENTS["baseline:taught-ed2l"], evaluation.predict
    try:
        evaluation.predict = wrong([])
        batches, right = teaching.named(settings, student, None, known, others, 0)
    finally:
        evaluation.predict = before
    assert right == 0 and len(batches.records) == len(known) + len(others)
    said = {id(r.image): r.expression for r in batches.records}
    for r in known:
        assert said[id(r.image)] == r.expression
    for r in others:
        assert said[id(r.image)] == CLASSES[1 - CLASSES.index(r.expression)]


def test_the_strength_of_the_dispelling_is_the_settings(planted, monkeypatch):
    """With the labelled people's shares, and the others' names."""
    told = []
    monkeypatch.setattr(evaluation, "predict", wrong([]))
    monkeypatch.setattr(students, "moved", lambda given, *rest: told.append(rest) or given)
    known, others = students.split(planted.people(people=4), 2, 0)
    settings = script.Settings(**GIVEN, dispel_strength=0.25)
    teaching.named(settings, script.STUDENTS["baseline:taught-ed2l-strangers"], None, known, others, 5)
    ((people, way, shares, seed, strength),) = told
    assert (way, seed, strength) == ("-strangers", 5, 0.25) and people == [r.subject for r in others]
    assert shares.tolist() == students.shares(known, CLASSES).tolist() != [0.5, 0.5]


def test_the_jobs_of_a_fold_and_the_starts(tmp_path):
    """A student is behind its teacher, has its own epochs, and starts as the baseline does."""
    rows = (*ROWS[:2], "baseline:taught-ed2l-strangers")
    settings = script.Settings(**{**GIVEN, "rows": rows})
    assert [script.stage(settings, row) for row in rows] == [
        jobs.Stage("baseline", "networks", 1),
        jobs.Stage("ed2l", "networks", 1),
        jobs.Stage("baseline_taught-ed2l-strangers", "networks", 3, ("ed2l",)),
    ]
    pretrained = "baseline_pretrained:taught-ed2l-dispelled"
    assert script.STUDENTS[pretrained][:2] == ("baseline_pretrained", "ed2l_pretrained")
    assert script.NAMES[pretrained] == "Baseline, pre-trained, taught by ED2L less identity"
    (tmp_path / "b.h5").touch()
    with pytest.raises(ValueError, match="give --baseline_init"):
        script.starts(settings.replace(rows=(pretrained,), baseline_init="none"))


def test_a_rate_falls_over_a_students_own_steps():
    settings = script.Settings(**{**GIVEN, "epochs": 10, "decay_to": 0.0, "rate": 0.5})
    model = script.build(settings, ROWS[3], CLASSES, 30, None)
    assert float(model.classifier_optimizer._learning_rate(30)) == 0 and not model.dispelling
    assert float(model.classifier_optimizer._learning_rate(15)) == pytest.approx(0.25)


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"labelled_people": 0}, "baseline:taught-baseline learns by what baseline names of people without labels"),
        ({"rows": ("baseline", "baseline:taught-ed2l")}, "learns by what ed2l names of people without labels: give"),
        ({"rows": ("baseline:taught-baseline", "baseline")}, "give that before it, and --labelled_people"),
        ({"labelled_people": 3}, "--labelled_people=3 leaves nobody without labels: 3 people train"),
        ({"rows": ("baseline:taught-gcnet",)}, "is none of baseline, ed2l"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_trained(planted, tmp_path, given, sentence):
    planted.plant()
    with pytest.raises(ValueError) as error:
        script.run(script.Settings(**{**GIVEN, "max_subjects": 0, "workdir": tmp_path, **given}))
    assert sentence in str(error.value) and "\n" not in str(error.value) and not planted.trained


def test_people_are_drawn_by_name(planted, tmp_path):
    listed = planted.people(people=4)
    planted.plant([replace(r, subject=None) if r.subject == "P2" else r for r in listed])
    with pytest.raises(ValueError, match="has no subject .* and --labelled_people draws people: give"):
        script.run(script.Settings(**GIVEN, max_subjects=0, split="random", workdir=tmp_path))
    assert not planted.trained


def test_who_is_tested_elsewhere_is_read_once(fold_of):
    """With --test_on no training meets the tested; each network does, when all are trained."""
    trained, asked, made = fold_of(rows=("baseline", "ed2l"), labelled_people=0, test_on="rendered/posed")
    assert [one["test"] for one in trained.values()] == [None, None]
    assert [who for _, who in asked] == [{"P0"}, {"P0"}]
    assert {name: [*pairs] for name, pairs in made.methods.items()} == {"Baseline": ["last"], "ED2L": ["last"]}
    again, _, _ = fold_of(rows=("baseline",), labelled_people=0)
    assert again["baseline"]["test"].records
