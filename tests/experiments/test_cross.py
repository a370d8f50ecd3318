"""IA-gen and DE-GAN across data sets: who trains what, and that --test_on's people are read once, at the end."""

import h5py
import numpy as np
import pytest

from experiments import de_gan, ia_gen
from experiments.run import cross, data, releasing
from fer_tf import catalogue
from fer_tf.models import de_gan as de_gan_model
from fer_tf.predictions import Answers
from fer_tf.records import Record

CLASSES = ("anger", "happiness")
GIVEN = {
    "preset": "smoke", "dataset": "rendered2", "data_dir": "a.h5", "train_on": ("rendered2/wild=a.h5",),
    "test_on": "rendered2/judge=j.h5", "max_subjects": 0,
}  # fmt: skip


def people(part, count):
    """`count` people of a part, each with one picture of each class."""
    rng = np.random.default_rng(len(part))
    return [
        Record(rng.integers(0, 256, (70, 70), np.uint8), c, subject=f"{part}{i}", domain=part, info={"framed": True})
        for i in range(count)
        for c in CLASSES
    ]


@pytest.fixture
def parts(monkeypatch):
    """Data sets of few people, by part."""
    listed = {"lab": people("lab", 3), "wild": people("wild", 2), "judge": people("judge", 2)}
    monkeypatch.setattr(catalogue, "load", lambda name, root, options, *_: listed[options.get("part", "lab")])
    monkeypatch.setattr(catalogue, "load_place", lambda text: listed[text.partition("=")[0].partition("/")[2]])
    return listed


def subjects(listed):
    return sorted({r.subject for r in listed})


LAB, WILD, JUDGE = (
    [f"{start}{i}" for i in range(n)] for start, n in (("lab", 3), ("rendered2:wild", 2), ("rendered2:judge", 2))
)


@pytest.mark.parametrize("whose", ["all", "own"])
def test_ia_gen_trains_on_both_and_reads_the_judge_when_all_is_trained(parts, monkeypatch, tmp_path, whose):
    seen, order = {}, []

    def net(settings, listed, fold, classes, seed, place):
        assert not fold.test
        seen[place.name] = subjects(listed[i] for i in fold.train)
        order.append(place.name)
        return "net", {}

    def gan(settings, expression, learn, *_):
        seen[expression] = subjects(learn)
        order.append(expression)
        return "gan"

    def test(settings, trained, listed, fold, fitting, seed, place):
        assert trained.tested == {} and {*trained.gans} == {*CLASSES}
        seen["test"] = subjects(listed[i] for i in fold.test)
        order.append("test")
        raise InterruptedError

    monkeypatch.setattr(ia_gen.classifier, "one_fold", net)
    monkeypatch.setattr(ia_gen.gans, "train", gan)
    monkeypatch.setattr(ia_gen, "test", test)
    settings = ia_gen.Settings(**GIVEN, gans_of=whose, workdir=str(tmp_path))
    with pytest.raises(InterruptedError):
        ia_gen.run(settings)
    assert order == ["finetune", *CLASSES, "test"] and seen["finetune"] == LAB + WILD and seen["test"] == JUDGE
    assert [seen[c] for c in CLASSES] == [LAB if whose == "own" else LAB + WILD] * 2


def test_ia_gen_of_everybody_learns_from_the_same(parts, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(
        ia_gen, "train", lambda settings, listed, *_: seen.append(subjects(listed)) or ia_gen.Trained(None, {}, {})
    )
    monkeypatch.setattr(ia_gen.gans, "release", lambda *_: None)
    given = {**GIVEN, "test_on": None, "all_subjects": True}
    ia_gen.run(ia_gen.Settings(**given, workdir=str(tmp_path)))
    assert seen == [LAB + WILD]


def test_de_gan_of_everybody_learns_from_the_same(parts, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(de_gan, "train_on_everybody", lambda settings, listed, *_: seen.append(subjects(listed)))
    de_gan.run(de_gan.Settings(**{**GIVEN, "test_on": None}, all_subjects=True, workdir=str(tmp_path)))
    assert seen == [LAB + WILD]


@pytest.mark.parametrize(
    ("script", "given", "sentence"),
    [
        (ia_gen, {"all_subjects": True}, "leave --test_on and --weights_out out"),
        (ia_gen, {"gans_of": "own", "train_on": ()}, "give --train_on, too"),
        (ia_gen, {"test_on": None}, "give --test_on, too"),
        (de_gan, {"test_on": None}, "give --test_on, too"),
        (de_gan, {"test_on": None, "train_on": (), "weights_out": "x.h5"}, "give --test_on"),
        (de_gan, {"all_subjects": True}, "leave --test_on and --weights_out out"),
    ],
)
def test_what_does_not_fit(parts, tmp_path, script, given, sentence):
    with pytest.raises(ValueError, match=sentence):
        script.run(script.Settings(**{**GIVEN, **given}, workdir=str(tmp_path)))


def test_de_gan_tests_nobody_while_it_trains(parts, monkeypatch, tmp_path):
    """Baselines and stage two are trained without the judge; each is asked once, and --nojudges trains none."""
    seen, asked = {}, []

    def trained(which):
        def train(settings, *given):
            learn, test, folder = given[-3:]
            assert test is None
            seen[folder.name] = subjects(learn.records)
            return f"{which} of {folder.name}", {}

        return train

    def predict(net, test):
        asked.append(net)
        labels = np.array([CLASSES.index(r.expression) for r in test.records])
        return Answers(labels, labels, list(test.records), np.eye(2, dtype=np.float32)[labels])

    class Written(Exception):
        pass

    def write(settings, tested, classes, folder, seconds, **more):
        assert subjects(tested[0]["methods"]["DE-GAN"]["last"].records) == JUDGE
        assert [*tested[0]["methods"]] == ["CNN (baseline), strong", "CNN (baseline), as printed", "DE-GAN"]
        assert all([*m] == ["last"] for m in tested[0]["methods"].values()) and more["generation"] == [{}]
        raise Written

    monkeypatch.setattr(de_gan.networks, "train_gan", lambda *_: "gan")
    monkeypatch.setattr(de_gan.networks, "train_baseline", trained("baseline"))
    monkeypatch.setattr(de_gan.networks, "train_classifier", trained("classifier"))
    monkeypatch.setattr(de_gan.evaluation, "predict", predict)
    monkeypatch.setattr(de_gan.report, "write", write)
    for name in ("draw_transfer", "draw_interpolation"):
        monkeypatch.setattr(de_gan.pictures, name, lambda *_: None)
    monkeypatch.setattr(de_gan.figures, "save", lambda *_: None)
    settings = de_gan.Settings(**GIVEN, uses=("both",), judges=False, workdir=str(tmp_path))
    assert [stage.name for stage in de_gan.stages(settings)] == ["gan", "baseline_strong", "baseline_printed", "both"]
    with pytest.raises(Written):
        de_gan.run(settings)
    assert seen == {name: LAB + WILD for name in ("baseline_strong", "baseline_printed", "both")}
    assert asked == ["baseline of baseline_strong", "baseline of baseline_printed", "classifier of both"]


def test_own_people_are_those_without_another_sets_name(parts):
    settings = ia_gen.Settings(**GIVEN)
    listed = [*data.load(settings, CLASSES), *cross.added(settings, CLASSES)]
    assert subjects(listed) == LAB + WILD and subjects(cross.own(settings, listed)) == LAB
    assert cross.own(settings.replace(train_on=()), listed) == listed


def test_some_people_evenly():
    listed = [Record(b"", c, f"p{i}") for i in range(7) for c in CLASSES]
    assert [r.subject for r in ia_gen.some_people(listed, 3)] == ["p0"] * 2 + ["p3"] * 2 + ["p6"] * 2
    assert ia_gen.some_people(listed) == listed


def test_a_release_in_whole_numbers(parts, monkeypatch, tmp_path):
    """--weights_dtype says how kernels are stored; half precision when it is left out."""
    model, found = de_gan_model.tiny_recogniser()[0], []
    labels = np.zeros(len(parts["judge"]), int)
    answers = Answers(labels, labels, parts["judge"], np.eye(2, dtype=np.float32)[labels])
    monkeypatch.setattr(de_gan.evaluation, "predict", lambda *_: answers)
    last = {"run": 0, "fold": 0, "methods": {"DE-GAN": {"last": answers}}}
    for given in ({}, {"weights_dtype": "int8"}):
        settings = de_gan.Settings(**GIVEN, **given, weights_out=str(tmp_path / "a.h5"))
        releasing.release(settings, model, "DE-GAN", parts["lab"], None, last)
        with h5py.File(tmp_path / "a.h5") as file:
            found.append(file["logits5/kernel"].dtype)
    assert found == ["float16", "int8"]
