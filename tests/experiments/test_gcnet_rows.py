"""GCNet's rows that are not the paper's: means of a person's pictures, centred codes, a generator that learns first."""

import json
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from experiments import gcnet as script
from experiments.parts.gcnet import controls, reference, row, teaching
from experiments.run import fitting, jobs, students
from fer_tf import evaluation, pipeline, predictions, training, weights
from fer_tf.models import gcnet
from fer_tf.records import Fold

from .test_gcnet import TINY, Spy, faces_of, neutral_of, planted, read

LEARN, HELD_OUT = (1, 5), (0, 3)
"""Of the people 0, 1, 3, 5, dealt to two folds in turn, fold 0."""
FACES = np.random.default_rng(1).uniform(size=(3, 64, 64, 1)).astype(np.float32)


def run(monkeypatch, tmp_path, **given):
    """One fold of a planted run: what trained and what was tested, the results, metrics.json."""
    spy = Spy(monkeypatch, {None: (0, 1, 3, 5)})
    settings = script.Settings(**TINY, max_subjects=0, only_folds="0", workdir=str(tmp_path), **given)
    results = script.run(settings)
    return spy, results, json.loads((tmp_path / "metrics.json").read_text())


def test_the_mean_face_of_ones_own_pictures(monkeypatch, tmp_path):
    """Anger and happiness in two sequences have the mean 3.5 above the person's grey value, rounded 4."""
    asked = []
    monkeypatch.setattr(Spy, "predict", keep(asked, Spy.predict))
    spy, results, _ = run(monkeypatch, tmp_path, rows=("cnn", "cnn:centred", "S0R0+plain:mean_face"))
    found = spy.trained["run0/fold0/S0R0_plain_mean_face"]
    assert Counter((face, label) for face, _, label in found) == Counter(faces_of(LEARN))
    assert {reference for _, reference, _ in found} == {(p, "happiness", 0) for p in LEARN}
    assert all(reference[0] == face[0] for face, reference, _ in found)
    given = [np.unique(np.round(255 * np.asarray(b["reference"]), 3)) for b in asked if "reference" in b]
    assert {*np.concatenate(given).tolist()} == {8.0 * p + 4 for p in HELD_OUT}
    names = ["CNN", "CNN, centred by person", "GCNet S0R0 e - e_r, with the mean of the person's pictures"]
    assert [*results.methods] == names and "best" not in results.methods[names[1]]
    assert [*results.models] == [names[0], names[2]] and results.models[names[2]].delta == "plain"
    assert {*spy.trained} == {"run0/fold0/cnn", "run0/fold0/S0R0_plain_mean_face"}, "centring trains nothing"
    assert np.sum(results.methods[names[1]]["last"]["confusion"]) == len(faces_of(HELD_OUT))


def test_the_cnn_less_a_neutral_face(monkeypatch, tmp_path):
    """It is the CNN that is trained, once; the held-out people's pictures and its training people's are both asked."""
    asked = []

    def less(settings, model, learnt, listed, classes, control, seed):
        asked.append((model, {r.subject for r in learnt}, {r.subject for r in listed}, control))
        assert {r.expression for r in [*learnt, *listed]} == {"anger", "happiness", "neutral"} and seed == settings.seed
        return wrong(None, controls.test_views(settings, listed, classes, control, seed))

    monkeypatch.setattr(controls, "less_reference", less)
    spy, results, _ = run(monkeypatch, tmp_path, rows=("cnn", "cnn:neutral", "cnn:stranger"))
    names = ["CNN", "CNN, less the true neutral face", "CNN, less a stranger's neutral face"]
    assert [*results.methods] == names and {*spy.trained} == {"run0/fold0/cnn"} and [*results.models] == names[:1]
    learn, held_out = ({f"s{p}" for p in people} for people in (LEARN, HELD_OUT))
    assert asked == [(results.models["CNN"], learn, held_out, control) for control in ("neutral", "stranger")]
    found = results.methods[names[1]]["last"]["confusion"]
    assert np.sum(found) == len(faces_of(HELD_OUT)) and np.trace(found) == 0


def test_a_network_beside_a_true_neutral_face_is_released(monkeypatch, tmp_path):
    """What is stored is tested beside each person's own neutral face; another control behind it is not for use."""
    asked = []
    monkeypatch.setattr(Spy, "predict", keep(asked, Spy.predict))
    spy = Spy(monkeypatch, {None: (0, 1), "wild": (3, 5)})
    given = {"rows": ("S0R0+plain:neutral", "S0R0:stranger"), "test_on": "rendered/wild", "max_subjects": 0}
    file = tmp_path / "beside.h5"
    results = script.run(script.Settings(**TINY, **given, workdir=str(tmp_path), weights_out=str(file)))
    name = "GCNet S0R0 e - e_r, with the true neutral face"
    assert results.export == tmp_path / "export" and spy.models == [results.models[name]]
    about = weights.provenance(file)
    assert about["config"]["generator"] == "given" and about["config"]["delta"] == "plain"
    assert about["metric"]["row"] == name and "baseline" not in about["metric"]
    pairs = [(read(a), read(b)) for a, b in zip(asked[-1]["image"], asked[-1]["reference"], strict=True)]
    assert {face[0] for face, _ in pairs} == {3, 5}, "the held-out people alone"
    assert all(other == (face[0], "neutral", other[2]) for face, other in pairs)


def keep(asked, predict):
    """`predict` that notes its batches."""

    def noted(self, model, batches):
        asked.extend(batches.epoch(0))
        return predict(self, model, batches)

    return noted


def test_a_generator_learns_first_and_from_training_people_alone(monkeypatch, tmp_path):
    """--generator_epochs: eq. (5) on pairs of the training people; --frozen: the network moves none of it."""
    spy, results, _ = run(monkeypatch, tmp_path, rows=("S0R0:unet", "cnn"), generator_epochs=3, frozen=True)
    assert [*spy.trained] == [f"run0/fold0/{name}" for name in ("S0R0_unet_generator", "S0R0_unet", "cnn")]
    pairs = Counter((face, neutral_of(face), label) for face, label in faces_of(LEARN))
    assert (
        Counter(spy.trained["run0/fold0/S0R0_unet_generator"]) == pairs == Counter(spy.trained["run0/fold0/S0R0_unet"])
    )
    model = results.models["GCNet S0R0, unet"]
    assert model.frozen and not model.generator_net.trainable_variables
    assert spy.told["run0/fold0/S0R0_unet"]["batch_size"] == 4 and [*results.measures[0]] == ["GCNet S0R0, unet"]


def test_a_generator_is_a_job_of_its_own(monkeypatch, tmp_path):
    spy = Spy(monkeypatch, {None: (0, 1, 3, 5)})
    given = {"rows": ("cnn", "S0R0:unet"), "generator_epochs": 3, "job": "run0/fold0/S0R0_unet_generator"}
    assert script.run(script.Settings(**TINY, max_subjects=0, workdir=str(tmp_path), **given)) is None
    assert [*spy.trained] == ["run0/fold0/S0R0_unet_generator"]


def test_what_the_generator_learnt_is_taken_over(tmp_path):
    """All of its weights, with or without --frozen; Encoder2 has --encoder2's, and Encoder1's go to stage one."""
    training.setup(seed=0, precision="float32")
    net = gcnet.GCNet(width=1 / 16)
    for variable in net.weights:
        variable.assign(np.full(variable.shape, 0.25))
    for part in ("encoder2", "generator/encoder1"):
        weights.save(net, tmp_path / f"{part[-8:]}.h5", provenance={}, only=part)
    given = {
        "encoder1": str(tmp_path / "encoder1.h5"),
        "encoder2": str(tmp_path / "encoder2.h5"),
        "generator_epochs": 2,
    }
    for text, frozen in (("S0R0:unet", True), ("S0R0", False)):
        settings = script.Settings(preset="smoke", frozen=frozen, **given)
        wanted = script.Row.read(text, 1.0)
        start = settings.encoder1 if wanted.pretrained else "none"
        first = reference.build(settings, wanted.generator, 0, 10, start)
        if text == "S0R0":
            assert all(np.all(np.array(v) == 0.25) for v in first.generator_net.encoder.weights)
        rng = np.random.default_rng(0)
        for variable in first.generator_net.weights:
            variable.assign(rng.uniform(0.01, 0.1, variable.shape))
        made = first.generator_net(FACES)[0].numpy()
        model = script.build(settings, wanted, ("anger", "fear"), 0, None, first)
        np.testing.assert_allclose(model.generator_net(FACES)[0], made, rtol=1e-5)
        assert np.abs(script.build(settings, wanted, ("anger", "fear"), 0).generator_net(FACES)[0] - made).max() > 0.01
        assert model.frozen is frozen and all(np.all(np.array(v) == 0.25) for v in model.encoder2.weights)
        told = first.autoencoder_optimizer.get_config()
        assert told["learning_rate"]["config"]["initial_learning_rate"] == settings.generator_rate == 1e-3


def test_the_jobs_of_a_fold():
    """A generator before its network; a centred row has no training of its own."""
    given = {"rows": ("cnn", "cnn:centred", "S0R0+signed:unet", "S0R0:mean_face"), "generator_epochs": 7}
    settings = script.Settings(preset="smoke", **given)
    assert row.stages_of(settings, script.rows_of(settings)) == [
        jobs.Stage("cnn", "networks", 1),
        jobs.Stage("S0R0_signed_unet_generator", "generators", 7),
        jobs.Stage("S0R0_signed_unet", "networks", 1, ("S0R0_signed_unet_generator",)),
        jobs.Stage("S0R0_mean_face", "networks", 1),
    ]
    given = {"rows": STUDENTS, "labelled_people": 1, "taught_epochs": 9}
    settings = script.Settings(preset="smoke", **given)
    assert row.stages_of(settings, script.rows_of(settings)) == [
        jobs.Stage("cnn", "networks", 1),
        jobs.Stage("S0R0_plain_neutral", "networks", 1),
        jobs.Stage("cnn_taught-cnn", "networks", 9, ("cnn",)),
        jobs.Stage("cnn_taught-centred", "networks", 9, ("cnn",)),
        jobs.Stage("cnn_taught-neutral", "networks", 9, ("S0R0_plain_neutral",)),
    ]
    assert script.Row.read("S0R0+both:unet@0.5", 1.0) == script.Row(
        "S0R0", "unet", 0.5, "GCNet S0R0 e beside e - e_r, unet, lambda_s 0.5", True, "both"
    )
    assert script.Row.read("cnn:centred-2kinds", 1.0).name == "CNN, centred by person, album of 2 expressions"
    asked = script.Settings(preset="smoke", rows=("cnn", "cnn:neutral", "cnn:stranger"))
    assert row.stages_of(asked, script.rows_of(asked)) == [jobs.Stage("cnn", "networks", 1)]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (("cnn:centred", "cnn"), "cnn:centred tests the network of cnn once more: give cnn before it"),
        (("cnn:neutral", "cnn"), "cnn:neutral tests the network of cnn once more: give cnn before it"),
        (("cnn+plain:neutral",), "is no network"),
        (("cnn:neutral-4",), "is no network"),
        (("metric_cnn:neutral",), "is no network"),
        (("cnn+plain",), "is no network"),
        (("S0R0+square",), "is no network"),
        (("S0R0:centred",), "is no network"),
        (("metric_cnn:mean_face",), "is no network"),
        (("S0R0:neutral-4",), "is no network"),
        (("S0R0:mean_face-0",), "is no network"),
        (("cnn:taught",), "is no network"),
        (("S0R0:taught-cnn",), "is no network"),
        (("cnn:taught-cnn-4",), "is no network"),
        (("cnn:taught-mean-dispelled",), "is no network"),
        (("cnn:taught-cnn-dispelled", "cnn"), "cnn:taught-cnn-dispelled learns by what cnn names of people without"),
        (("cnn", "cnn:taught-cnn"), "and --labelled_people"),
    ],
)
def test_rows_that_are_none(rows, said):
    with pytest.raises(ValueError, match=said):
        script.rows_of(script.Settings(preset="smoke", rows=rows))


def test_frozen_as_what():
    with pytest.raises(ValueError, match="--frozen keeps a generator as --generator_epochs has trained it"):
        script.rows_of(script.Settings(preset="smoke", frozen=True))


STUDENTS = ("cnn", "S0R0+plain:neutral", "cnn:taught-cnn", "cnn:taught-centred", "cnn:taught-neutral")


def test_students_learn_what_their_teacher_names(monkeypatch, tmp_path):
    """One of three people is labelled; of the others a student sees the teacher's names, which are all wrong here."""
    spy = Spy(monkeypatch, {None: (0, 1, 3, 5, 6, 7)})
    monkeypatch.setattr(evaluation, "predict", wrong)
    monkeypatch.setattr(controls, "less_reference", lambda *a: wrong(None, controls.test_views(a[0], *a[3:])))
    given = {"rows": STUDENTS, "labelled_people": 1, "taught_epochs": 3, "seed": 1}
    settings = script.Settings(**TINY, max_subjects=0, only_folds="0", workdir=str(tmp_path), **given)
    results = script.run(settings)
    learn = {1, 5, 7}
    (labelled,) = {face[0] for face, _, _ in spy.trained["run0/fold0/cnn"]}
    assert labelled in learn
    for name in ("cnn", "S0R0_plain_neutral"):
        found = spy.trained[f"run0/fold0/{name}"]
        assert Counter((face, label) for face, _, label in found) == Counter(faces_of([labelled]))
        assert spy.told[f"run0/fold0/{name}"]["epochs"] == settings.epochs
    own, others = faces_of([labelled]), faces_of(sorted(learn - {labelled}))
    for name in STUDENTS[2:]:
        place = f"run0/fold0/{name.replace(':', '_')}"
        found = Counter((face, label) for face, _, label in spy.trained[place])
        assert found == Counter(own) + Counter((face, 1 - label) for face, label in others), name
        assert spy.told[place]["epochs"] == 3 and [*spy.told[place]["follows"]] == ["the teacher"]
    models = list(results.models.values())
    assert [m.variant for m in models] == ["cnn", "S0R0", "cnn", "cnn", "cnn"]
    follows = [spy.told[f"run0/fold0/cnn_taught-{t}"]["follows"]["the teacher"] for t in ("cnn", "centred", "neutral")]
    assert follows[0] is follows[1] is models[0] and follows[2] is models[1]


def test_people_of_whom_one_expression_is_there(monkeypatch, tmp_path):
    """A student sees all of the labelled person, and half of what the two others show."""
    spy = Spy(monkeypatch, {None: (0, 1, 3, 5, 6, 7)})
    monkeypatch.setattr(evaluation, "predict", wrong)
    given = {"rows": STUDENTS[:1] + STUDENTS[2:3], "labelled_people": 1, "shown_expressions": 1}
    script.run(script.Settings(**TINY, max_subjects=0, only_folds="0", workdir=str(tmp_path), **given))
    own, found = (len(spy.trained[f"run0/fold0/{name}"]) for name in ("cnn", "cnn_taught-cnn"))
    assert found == 2 * own


def wrong(_, batches):
    """Answers that name the other of two expressions."""
    index = np.concatenate([b["index"] for b in batches.epoch(0)])
    labels = np.concatenate([b["label"] for b in batches.epoch(0)]).astype(int)
    return predictions.Answers(labels, 1 - labels, [batches.records[i] for i in index])


def test_the_centred_teacher_takes_the_neutral_code_away():
    """A code is moved by the labelled people's mean neutral one less the person's own; neutral faces are not asked."""
    training.setup(seed=0, precision="float32")
    settings = script.Settings(preset="smoke", labelled_people=1)
    people = planted((1, 3, 5))
    model = gcnet.GCNet(classes=settings.labels, variant="cnn", width=1 / 16)
    labelled, others = students.split(people, 1, 0)
    assert {r.subject for r in labelled}.isdisjoint(r.subject for r in others) and len(labelled) + len(others) == 18
    answers = controls.less_reference(settings, model, labelled, others, ("anger", "happiness"), "neutral", 0)

    def code(record):
        face = pipeline.face(record, gcnet.TEMPLATE)[None].astype(np.float32) / 255
        return model.responses(gcnet.views.test_view(face)).numpy()[0]

    own = {(r.subject, r.sequence): code(r) for r in people if r.expression == "neutral"}
    usual = np.mean([own[r.subject, r.sequence] for r in labelled if r.expression != "neutral"], 0)
    assert len(answers.records) == 8 and {r.expression for r in answers.records} == {"anger", "happiness"}
    for record, found in zip(answers.records, answers.probabilities, strict=True):
        moved = code(record) - own[record.subject, record.sequence] + usual
        wanted = tf.nn.softmax(model.head(tf.nn.relu(moved[None])))[0]
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)


def test_identity_is_taken_from_a_teachers_answers(monkeypatch):
    """Both are named as often as the labelled person shows them, the surest first; of strangers otherwise."""
    monkeypatch.setattr(evaluation, "predict", surer)
    labelled, others = students.split(planted((1, 3, 5)), 1, 0)
    for classes in ("anger,happiness", "neutral,anger,happiness"):
        settings = script.Settings(preset="smoke", labelled_people=1, classes=classes)
        plain, _ = teaching.named(settings, "cnn", None, labelled, others, 0)
        asked = [r for r in plain if r.expression != "neutral"]
        assert {r.expression for r in asked} == {"happiness"}, "what the network says"
        found, _ = teaching.named(settings, "cnn", None, labelled, others, 0, "-dispelled")
        for person in {r.subject for r in others}:
            own = Counter(r.expression for r in found if r.subject == person and r.expression != "neutral")
            assert own == {"anger": 2, "happiness": 2}, classes
        weak = settings.replace(dispel_strength=0.0)
        again, _ = teaching.named(weak, "cnn", None, labelled, others, 0, "-dispelled")
        assert [r.expression for r in again] == [r.expression for r in plain]
    told = []
    monkeypatch.setattr(teaching, "named", lambda *given: told.append(given) or ([], 1.0))
    for name in ("cnn:taught-cnn-dispelled", "cnn:taught-cnn"):
        script.taught(settings, script.Row.read(name, 1.0), None, labelled, others, 3, "fold0")
    assert [given[1:2] + given[5:] for given in told] == [("cnn", 3, "-dispelled"), ("cnn", 3, "")]
    student = script.Row.read("cnn:taught-centred-strangers", 1.0)
    assert (student.teacher, student.way) == ("centred", "-strangers")
    assert student.name == "CNN, taught by its centred code less strangers' identity"
    assert row.stage_name("cnn:taught-cnn-dispelled") == "cnn_taught-cnn-dispelled"


def surer(_, batches):
    """Answers that are happiness, by people's own measure, and the less sure the earlier the picture."""
    index = np.concatenate([b["index"] for b in batches.epoch(0)])
    labels = np.concatenate([b["label"] for b in batches.epoch(0)]).astype(int)
    shown = [batches.records[i] for i in index]
    rest = np.array([0.3 / (1 + i + 5 * int(r.subject[1:])) for i, r in zip(index, shown, strict=True)])
    answers = np.zeros((len(index), 1 + labels.max()))
    answers[:, -2], answers[:, -1] = rest, 1 - rest
    return predictions.Answers(labels, answers.argmax(-1), shown, answers)


def test_a_neutral_face_is_known_to_be_one(monkeypatch):
    """Where neutral is a class, nobody is asked what the others' neutral faces show, and they are in no share."""
    settings = script.Settings(preset="smoke", labelled_people=1, classes="neutral,anger,happiness")
    monkeypatch.setattr(evaluation, "predict", misled)
    labelled, others = students.split(planted((1, 3, 5)), 1, 0)
    for teacher in ("cnn", "neutral"):
        found, right = teaching.named(settings, teacher, None, labelled, others, 0)
        assert Counter(r.expression for r in found) == {"neutral": 4, "anger": 8}, teacher
        truth = {id(r.image): r.expression for r in others}
        assert all(truth[id(r.image)] == "neutral" for r in found if r.expression == "neutral") and right == 0.5


def misled(_, batches):
    """Answers that are anger, whatever is shown."""
    index = np.concatenate([b["index"] for b in batches.epoch(0)])
    labels = np.concatenate([b["label"] for b in batches.epoch(0)]).astype(int)
    assert {*labels.tolist()} == {0, 1}, "2 is neutral"
    return predictions.Answers(labels, np.zeros_like(labels), [batches.records[i] for i in index])


def test_teachers_who_want_a_neutral_face_nobody_has(monkeypatch, tmp_path):
    """Person 4 has none: refused before anything is trained; self-training needs none."""
    spy = Spy(monkeypatch, {None: (0, 1, 3, 4, 6, 7)})
    settings = script.Settings(
        **TINY, max_subjects=0, only_folds="0", workdir=str(tmp_path), rows=STUDENTS, labelled_people=1
    )
    with pytest.raises(ValueError, match="cnn:taught-centred compare with real neutral faces, and s4 has none"):
        script.run(settings)
    assert not spy.trained
    teaching.refuse(planted((1, 4, 7)), ["cnn"], ("anger", "happiness"))
    again = settings.replace(labelled_people=4, workdir=str(tmp_path / "again"))
    with pytest.raises(ValueError, match="--labelled_people=4 leaves nobody without labels"):
        script.run(again)


def test_too_few_people_to_leave_some_without_labels():
    with pytest.raises(ValueError, match="--labelled_people=3 leaves nobody without labels: 3 people train"):
        students.split(planted((1, 3, 5)), 3, 0)
    everybody = planted((1, 3))
    assert [*map(id, students.split(everybody, 0, 0)[0])] == [*map(id, everybody)]


@pytest.mark.parametrize("elsewhere", [True, False])
def test_who_is_tested_elsewhere_is_read_once(monkeypatch, tmp_path, elsewhere):
    """With --test_on no training meets the tested; each network does, when it is trained."""
    watched, asked = [], []

    def fit_and_test(settings, build, learn, test, place, *rest, **more):
        watched.append(test)
        return evaluation.Outcome(place.name, {} if test is None else {"last": ([0], [0])})

    def predict(net, test):
        asked.append((net, {r.subject for r in test.records}))
        return ([0], [0])

    monkeypatch.setattr(fitting, "fit_and_test", fit_and_test)
    monkeypatch.setattr(evaluation, "predict", predict)
    test_on = "rendered/posed" if elsewhere else None
    settings = script.Settings(preset="smoke", rows=("cnn", "S0R0+plain:neutral"), test_on=test_on)
    listed = planted((1, 3, 5))
    fold = Fold(*(tuple(i for i, r in enumerate(listed) if (r.subject == "s5") is out) for out in (False, True)))
    made = script.one_fold(settings, listed, fold, script.rows_of(settings), settings.labels, 0, tmp_path)
    assert [test is None for test in watched] == [elsewhere] * 2 and all(
        [*m] == ["last"] for m in made.methods.values()
    )
    names = ["cnn", "S0R0_plain_neutral"]
    assert asked == ([(name, {"s5"}) for name in names] if elsewhere else [])
