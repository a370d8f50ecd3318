"""`experiments.ia_gen --taught_by`: who is labelled, what a teacher says beside a neutral face, what students learn."""

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from experiments import ia_gen as script
from experiments.parts.ia_gen import gans, teaching
from experiments.run import classifier, fitting, jobs
from fer_tf import evaluation, predictions
from fer_tf.records import Fold, Record

CLASSES = ("anger", "happiness")
GIVEN = {"preset": "smoke", "precision": "float32", "labelled_people": 2, "inputs": ("neutral",)}
MOVES = {"neutral": 0, "anger": 4, "happiness": 10}
"""Grey that an expression adds to a person's."""


def flat(person, shown, more=0):
    """A face whose every pixel says who it is and what it shows."""
    image = np.full((70, 70), 40 + 30 * person + MOVES[shown] + more, np.uint8)
    return Record(image, shown, subject=f"s{person}", info={"framed": True})


def people(numbers):
    return [flat(p, shown) for p in numbers for shown in MOVES] + [flat(p, "neutral", 2) for p in numbers]


def test_what_each_teacher_says(greys):
    """By hand: a person's neutral greys are one above the first on average; generators add 5 and 11, faces 4 and 10."""
    settings = script.Settings(**GIVEN, taught_by=("regenerated", "means", "shrunk", "corrected", "both", "softmax"))
    faces, said = teaching.answers(settings, greys(5, 11), people((0, 1)), people((2, 3)), 0)
    assert faces.people == ["s2", "s2", "s3", "s3"] and faces.labels.tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(faces.own[:, 0], [104, 110, 134, 140], rtol=1e-5)
    # one neutral grey above the first: candidates lie at +6 and +12, faces at +4 and +10; neutral greys are at 56 on
    # average, so that three quarters are 12 and 19.5 too low
    distances = {
        "regenerated": [[2, 8], [4, 2]] * 2,
        "both": [[1, 7], [5, 1]] * 2,
        "means": [[0, 6], [6, 0]] * 2,
        "shrunk": [[11.25, 5.25], [17.25, 11.25], [18.75, 12.75], [24.75, 18.75]],
        "corrected": [[0, 6], [6, 0]] * 2,
    }
    for made, away in distances.items():
        away = np.array(away, float)
        odds = np.exp(-teaching.SHARPNESS * away / away.std(1, keepdims=True))
        np.testing.assert_allclose(said[made], odds / odds.sum(1, keepdims=True), atol=1e-4)
    np.testing.assert_allclose(said["softmax"], [[0.25, 0.75]] * 4)
    only = script.Settings(**{**GIVEN, "inputs": ()}, taught_by=("softmax-dispelled",))
    assert [*teaching.answers(only, greys(5, 11), people((0,)), people((2,)), 0)[1]] == ["softmax"], (
        "no neutral face is asked"
    )


def test_a_neutral_face_is_known_to_be_one(greys, monkeypatch, tmp_path):
    """Where neutral is a class nobody is asked for it, and a student learns it of everybody."""
    learnt = spied(monkeypatch)
    settings = script.Settings(**{**GIVEN, "classes": "neutral,anger,happiness"}, taught_by=("regenerated", "means"))
    teacher = greys(5, 11)
    teacher.classes = settings.labels
    teacher.embed = lambda images: (
        teacher.features(images),
        teacher.features(images)[:, None] + [[5.0], [11.0], [0.0]],
    )
    assert settings.labels == (*CLASSES, "neutral")
    teaching.teach(settings, teacher, people((0, 1)), people((2, 3)), people((4,)), 0, tmp_path)
    assert len(learnt) == 2
    for _, listed, _ in learnt:
        assert Counter(r.expression for r in listed) == {"neutral": 8, "anger": 4, "happiness": 4}
        named = [(r.subject, r.expression) for r in listed if r.subject in ("s2", "s3") and r.expression != "neutral"]
        assert named == [(who, shown) for who in ("s2", "s3") for shown in CLASSES]


def spied(monkeypatch):
    """Notes of what `classifier.one_fold` is given; it trains nothing, and everything is named anger."""
    learnt = []

    def one_fold(settings, listed, fold, classes, seed, folder, **more):
        assert sorted(fold.train) == [*range(len(listed))] and not fold.test
        learnt.append((folder.name, listed, more))
        return "net", {}

    def predict(net, batches):
        labels = np.concatenate([b["label"] for b in batches.epoch(0)]).astype(int)
        return predictions.Answers(labels, np.zeros_like(labels), batches.records)

    monkeypatch.setattr(classifier, "one_fold", one_fold)
    monkeypatch.setattr(evaluation, "predict", predict)
    return learnt


def test_students_learn_what_their_teacher_names(greys, monkeypatch, tmp_path, capsys):
    learnt = spied(monkeypatch)
    taught_by = ("regenerated", "softmax", "softmax-dispelled")
    settings, teacher = script.Settings(**GIVEN, taught_by=taught_by, taught_epochs=7), greys(5, 11)
    methods = teaching.teach(settings, teacher, people((0, 1)), people((2, 3)), people((4,)), 0, tmp_path)
    assert [name for name, _, _ in learnt] == [f"taught_{name}" for name in taught_by]
    for _, listed, more in learnt:
        assert more["epochs"] == 7 and more["follows"] == {"the teacher": teacher}
        assert [r.expression for r in listed[:4]] == ["anger", "happiness"] * 2, "the labelled people's own"
        assert [r.subject for r in listed] == ["s0", "s0", "s1", "s1", "s2", "s2", "s3", "s3"]
    named = {name: [r.expression for r in listed[4:]] for name, listed, _ in learnt}
    assert named["taught_regenerated"] == ["anger", "happiness"] * 2
    assert named["taught_softmax"] == ["happiness"] * 4
    assert len(named["taught_softmax-dispelled"]) == 4
    said = capsys.readouterr().out
    assert (
        "taught_regenerated: its teacher names 100.0 %" in said and "taught_softmax: its teacher names 50.0 %" in said
    )
    names = [f"FER-Net, {teaching.STUDENTS[name]}" for name in taught_by]
    assert [*methods] == names and all([*pairs] == ["last"] for pairs in methods.values())
    for name in names:
        assert script.baselines(settings)[name] == "FER-Net"


def test_the_names_of_a_person_are_dispelled(greys, monkeypatch, tmp_path):
    """A teacher that takes everybody for angry, some pictures more so: the surest half of each person's stays."""
    learnt = spied(monkeypatch)
    teacher, others = greys(5, 11), [flat(p, "anger", i) for p in (2, 3) for i in range(4)]
    teacher.feature_net.classify = lambda images: surer(teacher.features(images))
    settings = script.Settings(**{**GIVEN, "inputs": ()}, taught_by=("softmax", "softmax-dispelled"))
    teaching.teach(settings, teacher, people((0, 1)), others, people((4,)), 0, tmp_path)
    named = {name: [r.expression for r in listed[4:]] for name, listed, _ in learnt}
    assert named["taught_softmax"] == ["anger"] * 8
    assert named["taught_softmax-dispelled"] == ["happiness", "happiness", "anger", "anger"] * 2


def test_no_strength_leaves_a_teachers_names(greys, monkeypatch, tmp_path):
    learnt = spied(monkeypatch)
    teacher, others = greys(5, 11), [flat(p, "anger", i) for p in (2, 3) for i in range(4)]
    teacher.feature_net.classify = lambda images: surer(teacher.features(images))
    given = {**GIVEN, "inputs": (), "taught_by": ("softmax-dispelled",), "dispel_strength": 0.0}
    teaching.teach(script.Settings(**given), teacher, people((0, 1)), others, people((4,)), 0, tmp_path)
    assert [r.expression for r in learnt[0][1][4:]] == ["anger"] * 8


def surer(greys):
    """Anger, the more surely the brighter; for the sake of either person by other greys."""
    p = 0.6 + (greys[:, 0] % 30) / 1000 + greys[:, 0] / 2000
    return tf.stack([p, 1 - p], 1)


def test_nets_learn_from_the_labelled_and_students_from_all(planted, monkeypatch, tmp_path):
    """The faces themselves say who they are."""
    listed = planted.people(people=6, expressions=("anger", "happiness", "neutral"))
    planted.plant(listed)
    given = {**GIVEN, "taught_by": ("regenerated", "softmax"), "only_folds": "0", "max_subjects": 0, "judges": False}
    monkeypatch.setattr(script.measures, "measure", lambda *_: (np.zeros((2, 1), int), {}))
    monkeypatch.setattr(script.measures, "table", lambda *_: "")
    script.run(script.Settings(**given, workdir=tmp_path))
    seen = {call.place.name: call.marks["image"] for call in planted.trained}
    labelled = seen["finetune"]
    assert len(labelled) == 2 and seen["gan_anger"] == seen["gan_happiness"] == labelled
    assert seen["taught_regenerated"] == seen["taught_softmax"] == {"P3", "P4", "P5"} > labelled


def test_people_of_whom_one_expression_is_there():
    """Of the unlabelled one expression and neutral; of the labelled all."""
    listed = people((0, 1, 2, 3))
    settings = script.Settings(**GIVEN, taught_by=("softmax",), shown_expressions=1)
    fold, others = script.split(settings, listed, Fold(tuple(range(len(listed))), ()), 0)
    assert len(fold.train) == 8 and len(others) == 2 * 3
    assert all(len({r.expression for r in others if r.subject == who}) == 2 for who in {r.subject for r in others})


def test_students_are_taught_before_anybody_judges(planted, monkeypatch, tmp_path):
    """As a job of its own a student has to find nothing undone, and the judge is not before it."""
    planted.plant(planted.people(people=6, expressions=("anger", "happiness", "neutral")))
    order = []
    monkeypatch.setattr(teaching, "teach", lambda *_: order.append("taught") or {})

    def judged(*_):
        order.append("tested")
        raise InterruptedError

    monkeypatch.setattr(script, "test", judged)
    given = {**GIVEN, "taught_by": ("softmax",), "only_folds": "0", "max_subjects": 0}
    with pytest.raises(InterruptedError):
        script.run(script.Settings(**given, workdir=tmp_path))
    assert order == ["taught", "tested"]


def test_gans_that_redraw_neutral_faces_alone(monkeypatch, tmp_path):
    """Inputs are neutral, targets are not; without the flag every face is an input."""
    shown = []
    monkeypatch.setattr(fitting, "fit", lambda settings, model, learn, *_, **__: shown.append(learn))
    monkeypatch.setattr(gans, "build", lambda *_: None)
    for only in (True, False):
        settings = script.Settings(**GIVEN, only_inputs=only)
        gans.train(settings, "anger", people((0, 1)), None, 0, tmp_path)
    for learn, inputs in zip(shown, ({"neutral"}, {"neutral", *CLASSES}), strict=True):
        own = {learn.records[i].expression for i in learn.pairs["image"]}
        assert own == inputs and {learn.records[i].expression for i in learn.pairs["target"]} == {"anger"}
        assert all(learn.records[i].subject == learn.records[j].subject
                   for i, j in zip(learn.pairs["image"], learn.pairs["target"], strict=True))  # fmt: skip
    for inputs in ((), ("sadness",)):
        settings = script.Settings(**{**GIVEN, "inputs": inputs}, only_inputs=True)
        with pytest.raises(ValueError, match="--only_inputs: nobody who shows anger has a face of --inputs="):
            gans.train(settings, "anger", people((0, 1)), None, 0, tmp_path)


def test_the_jobs_of_a_fold():
    """Students are behind all that teaches them, with epochs of their own; the judge is not behind them."""
    settings = script.Settings(**GIVEN, taught_by=("means-strangers",), taught_epochs=5)
    before = ("finetune", "gan_anger", "gan_happiness")
    found = {stage.name: stage for stage in script.stages(settings)}
    assert [*found] == [*before, "taught_means-strangers", "judge"]
    assert found["taught_means-strangers"] == jobs.Stage("taught_means-strangers", "students", 5, before)
    assert found["judge"].after == before
    assert [stage.name for stage in script.stages(settings.replace(expressions=("anger",)))] == [*before[:2]]


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"labelled_people": 0}, "--taught_by=regenerated is of people without labels: give --labelled_people."),
        ({"inputs": ()}, "--taught_by=regenerated redraws neutral faces: give --inputs=neutral."),
        ({"labelled_people": 4}, "--labelled_people=4 leaves nobody without labels: 4 people train"),
    ],
)
def test_what_does_not_fit_is_refused(given, sentence):
    settings = script.Settings(**{**GIVEN, "taught_by": ("regenerated",), **given})
    listed = people((0, 1, 2, 3))
    with pytest.raises(ValueError, match="^" + sentence.replace(".", r"\.")):
        teaching.refuse(settings, listed, [Fold(tuple(range(len(listed))), ())])


@pytest.mark.parametrize("given", [{"labelled_people": 2}, {"taught_by": ("softmax",)}])
def test_weights_of_everybody_have_no_students(given):
    with pytest.raises(
        ValueError, match="--all_subjects learns everybody's labels: leave --labelled_people and --taught"
    ):
        script.refuse(script.Settings(preset="smoke", all_subjects=True, **given))


def test_who_cannot_be_taught_is_named():
    settings = script.Settings(**GIVEN, taught_by=("softmax", "means"))
    listed = [r for r in people((0, 1, 2)) if r.subject != "s1" or r.expression != "neutral"]
    fold = Fold(tuple(range(len(listed))), ())
    with pytest.raises(ValueError, match="--taught_by=means compares with neutral faces, and s1 has none"):
        teaching.refuse(settings, listed, [fold])
    teaching.refuse(settings.replace(taught_by=("softmax",)), listed, [fold])
    few = [r for r in people((0, 1, 2)) if r.subject == "s0" or r.expression != "happiness"]
    with pytest.raises(ValueError, match="nobody of these shows happiness, which then nobody learns: give more"):
        for seed in range(20):
            teaching.refuse(settings.replace(seed=seed, taught_by=()), few, [Fold(tuple(range(len(few))), ())])
