"""Between CycleAT's domains: who is in two of them is refused as they are loaded; stage II begins as stage I ended."""

import json

import numpy as np
import pytest

from experiments import cycle_at as script
from experiments.parts.cycle_at import classifiers, domains, gan
from experiments.run import fitting
from fer_tf import catalogue, export, protocols, weights
from fer_tf.faces import TEMPLATES
from fer_tf.models import cycle_at
from fer_tf.records import Record

TWO = ("anger", "happiness")


def part(values, **options):
    """A face of each grey value; even ones show anger, odd ones happiness."""
    return [
        Record(
            np.full((32, 32, 3), v, np.uint8), TWO[v % 2], info={"framed": True}, **{"subject": f"p{v // 2}", **options}
        )
        for v in values
    ]


@pytest.fixture
def sets(monkeypatch):
    """What --dataset, --auxiliary and --target hold, by name; nobody is in two of them."""
    held = {"jaffe": part(range(8)), "lfw": part(range(20, 28)), "sfew": part(range(40, 48))}
    monkeypatch.setattr(catalogue, "load", lambda name, *more: held[name])
    monkeypatch.setattr(catalogue, "load_place", lambda text, *more: held[catalogue.place_of(text)])
    return held


def load(tmp_path, **options):
    given = {"preset": "smoke", "max_subjects": 0, "dataset": "jaffe", "data_dir": "x", "auxiliary": ("lfw=y",)}
    settings = script.Settings(**given, target="sfew=z", **options)
    return domains.load(settings, settings.labels, tmp_path)


def test_three_sets_of_strangers_are_loaded(sets, tmp_path):
    loaded = load(tmp_path)
    assert [{int(r.image[0, 0, 0]) // 20 for r in domain} for domain in loaded[:3]] == [{0}, {1}, {2}]
    assert sorted(i for fold in loaded.folds for i in fold.test) == [*range(8)]


@pytest.mark.parametrize("domain", ["jaffe", "lfw"])
@pytest.mark.parametrize("labelled", [True, False])
def test_a_tested_picture_in_another_domain_is_refused(sets, tmp_path, domain, labelled):
    """The GAN sees the auxiliary faces, with or without a label, and all classifiers learn from its faces."""
    (copy,) = part([45], subject="somebody")
    sets[domain] = [*sets[domain], copy if labelled or domain == "jaffe" else Record(copy.image, info=copy.info)]
    with pytest.raises(ValueError, match="fold leaks: .* is the same image as .* must not be trained on"):
        load(tmp_path)
    assert not (tmp_path / "folds.json").exists()


@pytest.mark.parametrize("domain", ["source", "auxiliary"])
def test_a_tested_person_in_another_domain_is_refused(sets, tmp_path, domain):
    """Other pictures of one of the target's people: both domains are of one data set."""
    sets["jaffe" if domain == "source" else "lfw"] = []
    name = {"source": {"dataset": "sfew"}, "auxiliary": {"auxiliary": ("sfew/train=y",)}}[domain]
    strangers = part(range(20, 28))
    sets |= {"jaffe": part(range(8)), "lfw": strangers, "sfew/train": part([90, 91], subject="p21")}
    load_place = sets["sfew"]
    if domain == "source":
        sets["sfew"], sets["sfew/validation"] = part([90, 91, 92], subject="p21"), load_place
    given = {"preset": "smoke", "max_subjects": 0, "dataset": "jaffe", "data_dir": "x", "auxiliary": ("lfw=y",)}
    settings = script.Settings(**{**given, **name, "target": "sfew/validation=z" if domain == "source" else "sfew=z"})
    with pytest.raises(ValueError, match="Subject sfew:p21 is in both the training and the test part"):
        domains.load(settings, settings.labels, tmp_path)


def test_stage_two_starts_from_the_nets_of_stage_one_and_is_bound_to_them(monkeypatch, tmp_path):
    """Each net from its own; f_W from f_S. As the model that is trained has them, not as one that could be."""
    begun = []

    def fit(settings, model, data, folder, strategy, **options):
        begun.append((model, options["follows"]))

    monkeypatch.setattr(fitting, "fit", fit)
    monkeypatch.setattr(gan.pictures, "keep_sample", lambda *args: None)
    settings = script.Settings(preset="smoke", precision="float32")
    f_s = cycle_at.tiny_classifier(classes=TWO, size=32, name="f_s")
    f_s.head.bias.assign([0.25, -0.5])
    source = classifiers.Source(f_s, {}, {}, part(range(6)), part(range(6, 8)))
    first = gan.train(settings, source, part(range(20, 24)), 1, 0, tmp_path / "gan1")
    for number, net in enumerate(gan.NETS):  # as if it had been trained
        getattr(first, net).set_weights([w + 0.01 * (number + 1) for w in getattr(first, net).get_weights()])
    second = gan.train(settings, source, part(range(20, 24)), 2, 0, tmp_path / "gan2", first)
    (one, of_one), (two, of_two) = begun
    assert (one, two) == (first, second) and of_one == {}
    assert of_two == {"f_S": f_s, "stage I": [first.g_sw, first.g_ws, first.d_w, first.d_s]}
    for net in gan.NETS:
        pairs = zip(getattr(first, net).get_weights(), getattr(second, net).get_weights(), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs), net
    np.testing.assert_array_equal(second.f_w.head.bias, [0.25, -0.5])


def test_validation_people_are_of_the_training_part(sets, tmp_path):
    """--validation tests a share of the fold's training people; whom the fold holds out is in neither part."""
    settings = script.Settings(preset="smoke", validation=0.34, seed=3, folds=2)
    target = part(range(40, 64))
    plain = settings.replace(validation=0)
    inner, whole = (domains.target_folds(s, [], [], target, TWO, tmp_path) for s in (settings, plain))
    for fold, outer in zip(inner, whole, strict=True):
        people = [sorted({target[i].subject for i in side}) for side in (*fold, outer.train)]
        assert {*fold.train} | {*fold.test} == {*outer.train} and len(people[2]) == 6
        assert {*people[1]} == protocols.held_out(people[2], 0.34, 3) and not {*people[0]} & {*people[1]}
    about = script.about(settings, domains.Domains([], [], target, inner))
    assert about["target"]["folds"].endswith("contiguous; tested: 34 % of each fold's training people, to choose by")


def test_another_set_is_tested_as_far_as_it_is_of_the_targets_domain(sets, tmp_path):
    """All of the target trains; of --test_on those of the target's domain are tested, and nobody else."""
    sets["sfew"] = part(range(40, 48), domain="wild")
    sets["kdef"] = [*part(range(60, 64), domain="wild"), *part(range(64, 68), domain="lab")]
    loaded = load(tmp_path, test_on="kdef=k")
    assert [r.image[0, 0, 0] for r in loaded.held_out(0)] == [60, 61, 62, 63] and len(loaded.folds) == 1
    assert [loaded.target[i].image[0, 0, 0] for i in loaded.folds[0].train] == [*range(40, 48)]
    told = json.loads((tmp_path / "folds.json").read_text())
    assert told["order"] == "all of sfew is trained on, kdef tested"
    assert told["folds"][0]["subjects"] == ["kdef:p30", "kdef:p31"]
    made = script.Settings(dataset="rendered2", auxiliary=("rendered2/wild=a",), target="sfew=z", test_on="kdef=k")
    assert made.learnt_from == ["rendered2", "rendered2/wild", "sfew"] and made.tested_name == "kdef"
    sets["kdef"] = [*sets["kdef"], *part([21], subject="p10", domain="wild")]  # an auxiliary picture
    with pytest.raises(ValueError, match="fold leaks"):
        load(tmp_path / "other", test_on="kdef=k")
    sets["kdef"] = part(range(64, 68), domain="lab")
    with pytest.raises(ValueError, match="no face of the target's domains \\(wild\\)"):
        load(tmp_path, test_on="kdef=k")
    with pytest.raises(ValueError, match="tested as a whole"):
        load(tmp_path, test_on="kdef=k", validation=0.3)


def test_a_released_classifier_needs_no_teacher_and_names_faces_alike(tmp_path):
    """In colour, of its own size, from the file alone."""
    given = {"classes": TWO, "network": "resnet10", "size": 32, "width": 1 / 16, "pool": False}
    taught = cycle_at.AttentionClassifier(**given, teacher=cycle_at.AttentionClassifier(**given, seed=1), name="f_t")
    bare = classifiers.alone(taught)
    about = {"model": "cycle_at.AttentionClassifier", "config": {**bare.get_config(), "name": "other"}}
    weights.save(bare, tmp_path / "w.h5", provenance=about, dtype="float16")
    faces = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    stored = export.rebuild(tmp_path / "w.h5")
    np.testing.assert_allclose(stored.classify(faces), taught.classify(faces), atol=2e-3)
    chosen = export.settings(stored)
    assert chosen.template.size == (32, 32) and chosen.channels == 3 and chosen.template.name == "cycle_at"
    assert export.settings(stored, channels=1, template="cycle_at")[::2] == (TEMPLATES["cycle_at"], 1)
