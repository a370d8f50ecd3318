"""IA-gen's options: other people before, phi's scale, second inputs, Oulu's VGG, --named_by; and a bare `paper`."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from experiments import ia_gen as script
from experiments.parts.ia_gen import controls, gans, measures, namings
from experiments.run import classifier
from fer_tf import weights
from fer_tf.models import ia_gen as ia_gen_model
from fer_tf.predictions import Answers
from fer_tf.records import Fold, Record

CLASSES = ("anger", "happiness")


@pytest.mark.parametrize(
    "given, expected",
    [
        ({"protocol": "oulu_strong_10fold"}, ("vgg16", "imagenet")),
        ({"protocol": "oulu_strong_10fold", "init": "none"}, ("vgg16", "none")),
        ({"protocol": "oulu_strong_10fold", "classifier": "fer_net"}, ("fer_net", "fer_net_fer2013")),
        ({"protocol": "ck_plus_7_10fold"}, ("fer_net", "fer_net_fer2013")),
        ({}, ("fer_net", "fer_net_fer2013")),
    ],
)
def test_oulus_protocol_takes_vgg_by_itself(given, expected):
    settings = script.Settings(preset="paper", **given)
    assert (settings.classifier, settings.init) == expected and settings.runs == (1 if "oulu" in str(given) else 8)


def test_paper_without_its_pre_training_says_so(capsys):
    """On stderr, in capitals, and what is missing; not where it is given, nor for another preset."""
    for given, said in (
        ({}, "section IV-A: the GANs' on BU-4DFE (--gan_init).\n"),
        ({"init": "none"}, "section IV-A: the GANs' on BU-4DFE (--gan_init) and FER-Net's (--init).\n"),
        ({"gan_init": "there"}, ""),
        ({"all_subjects": True}, ""),
        ({"preset": "quick"}, ""),
    ):
        script.tell_bare(script.Settings(**{"preset": "paper", **given}))
        found = capsys.readouterr()
        assert found.err == (f"--preset=paper WITHOUT THE PAPER'S PRE-TRAINING, {said}" if said else "")


def test_gans_pre_trained_on_one_part_start_those_of_another(tmp_path):
    """Of wild, whose people are not those of lab: what was trained there says so, and starts no fold of wild."""
    given = {"preset": "smoke", "expressions": ("anger",), "all_subjects": True, "dataset": "rendered2"}
    wild = script.Settings(**given, options=("part=wild",))
    model = ia_gen_model.ExpressionGAN(feature_net=ia_gen_model.tiny_features(), width=1 / 32)
    assert gans.release(wild, {"anger": model}, None, CLASSES, ["fer2013"], tmp_path) is None
    origin = weights.provenance(tmp_path / "gan_anger.h5")
    assert origin["datasets"] == ["fer2013", "rendered2/wild"] and origin["data"] == "rendered2/wild, all subjects"
    now = {**given, "all_subjects": False, "gan_init": str(tmp_path)}
    assert gans.data_behind(script.Settings(**now), CLASSES) == ["fer2013", "rendered2/wild"]
    for part in ("wild", "all"):
        with pytest.raises(ValueError, match=f"everybody in rendered2/{part}, so it has seen who is to be tested"):
            gans.data_behind(script.Settings(**now, options=(f"part={part}",)), CLASSES)
    settings = script.Settings(**{**now, "dataset": "rendered", "gan_width": 1 / 32})
    built = gans.build(settings, "anger", ia_gen_model.tiny_features(), 1, 3)
    for a, b in zip(built.generator.get_weights(), model.generator.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_second_inputs_are_drawn_among_the_persons_others(planted):
    listed = planted.people(2)  # 1 + 3 and 2 + 1 faces
    listed += [Record(b"", "anger", "P8"), Record(b"", "anger", "P9"), Record(b"", "anger", "P9")]
    drawn, everybody = {i: set() for i in range(len(listed))}, [*range(len(listed))] * 30
    for i, j in zip(everybody, gans.second_inputs(listed, everybody, 0), strict=True):
        drawn[i].add(j)
    for i, found in drawn.items():
        a = listed[i]
        own = {j for j, b in enumerate(listed) if b.subject == a.subject and j != i}
        assert found == ({j for j in own if listed[j].expression != a.expression} or own or {i})
    assert gans.second_inputs(listed, everybody, 0) == gans.second_inputs(listed, everybody, 0)


@pytest.mark.parametrize("content", ["l1", "mse"])
def test_phi_is_scaled_so_that_both_content_losses_weigh_alike(content):
    """Were every face left as it is: L1 or MSE of the pairs by hand, over the first two batches."""
    rng, net = np.random.default_rng(0), ia_gen_model.tiny_features()
    faces = rng.uniform(0, 1, (3, 2, 4, 64, 64, 1)).astype(np.float32)
    batches = [{"image": tf.constant(a), "target": tf.constant(b)} for a, b in faces]
    model = ia_gen_model.ExpressionGAN(
        feature_net=net, width=1 / 32, alpha=3.0, beta=50.0, lambda_=2.0, content=content, phi_pooling=3
    )
    learn = SimpleNamespace(epoch=lambda number: batches)
    gap = 2 * np.abs(faces[:2, 0] - faces[:2, 1])
    eq_4 = 3.0 * (gap if content == "l1" else gap**2).mean()
    a, b = (np.concatenate([net.maps(x, 3).numpy() for x in faces[:2, i]]) for i in (0, 1))
    eq_5 = 50.0 * np.square(a - b).mean()
    found = gans.start_phi_scale(model, learn, 2)
    assert found == pytest.approx((eq_4 / eq_5) ** 0.5, rel=1e-4) and abs(found - 1) > 0.1
    model.beta = 0.0
    assert gans.start_phi_scale(model, learn, 2) == 1.0


def test_a_face_that_cannot_be_cut_is_named_and_left_out_on_request(capsys):
    damaged = [Record(b"no picture", "fear", "A")]
    assert gans.cut_faces(damaged, strict=False) == []
    said = capsys.readouterr().err
    assert said.startswith("left out: ") and "subject A" in said
    with pytest.raises(ValueError, match="subject A"):
        gans.cut_faces(damaged, strict=True)


KEPT = {"preset": "smoke", "max_subjects": 0, "folds": 4, "named_by": ("combined", "averaged"), "kept_back": 0.5}
"""Eight planted people, two of whom are tested: three of the others train, three are kept back."""


def people_of(listed, places):
    return {listed[i].subject for i in places}


@pytest.mark.parametrize("kept_back", [0.5, 0.0])
def test_who_is_kept_back_is_neither_trained_on_nor_tested_and_is_whom_a_way_is_fitted_to(
    planted, tmp_path, monkeypatch, kept_back
):
    """By what each stage is given; without --kept_back, it is fitted to those who train."""
    listed, given = planted.people(8), {}
    planted.plant(listed)

    def train(settings, all_records, fold, seed, place):
        given["fold"] = fold
        return script.Trained("net", {"last": "softmax"}, dict.fromkeys(CLASSES))

    def test(settings, trained, all_records, fold, fitting, seed, place):
        given["tested"], given["fitting"] = fold, fitting
        raise InterruptedError

    monkeypatch.setattr(script, "train", train)
    monkeypatch.setattr(script, "test", test)
    settings = script.Settings(**{**KEPT, "kept_back": kept_back}, only_folds="1", workdir=str(tmp_path))
    with pytest.raises(InterruptedError):
        script.run(settings)
    learn, held_out = (people_of(listed, part) for part in given["fold"])
    kept = people_of(listed, given["fitting"])
    assert held_out == {"P2", "P3"} and given["tested"] == given["fold"]
    assert learn | kept == {f"P{p}" for p in (0, 1, 4, 5, 6, 7)}
    assert (len(learn), len(kept), len(learn & kept)) == ((3, 3, 0) if kept_back else (6, 6, 6))
    assert {i for i, r in enumerate(listed) if r.subject in kept} == {*given["fitting"]}, "with all their faces"


@pytest.mark.parametrize("kept_back", [0.5, 0.0])
def test_each_part_of_a_fold_goes_to_its_own_argument(planted, tmp_path, monkeypatch, kept_back):
    """Means from who trains, fits to who is kept back, answers of who is tested: the records say so."""
    listed, given = planted.people(6), {}
    settings = script.Settings(**{**KEPT, "kept_back": kept_back}, workdir=str(tmp_path))
    parts = [[i for i, r in enumerate(listed) if r.subject in who] for who in (("P0", "P1"), ("P2", "P3"))]
    fitting = [i for i, r in enumerate(listed) if r.subject in ("P4", "P5")] if kept_back else parts[0]
    model = SimpleNamespace(classes=CLASSES)

    def embed(model, batches):
        labels = np.array([CLASSES.index(r.expression) for r in batches.records])
        feature = np.random.default_rng(len(labels)).normal(size=(len(labels), 3))
        return controls.Embedded(batches.records, labels, feature[:, :1], feature[:, 1:, None], abs(feature[:, 1:]))

    def measure(ways, *faces, wrapped=namings.measure):
        given["faces"] = [{r.subject for r in part.kept} for part in faces]
        return wrapped(ways, *faces)

    monkeypatch.setattr(gans, "assemble", lambda *args: model)
    monkeypatch.setattr(classifier, "one_fold", lambda *args: (None, {}))
    monkeypatch.setattr(measures, "measure", lambda *args: (Answers(np.zeros(3), np.zeros(3), listed[:3]), {}))
    monkeypatch.setattr(controls, "embed", embed)
    monkeypatch.setattr(namings, "measure", measure)
    trained = script.Trained(None, {}, {})
    found = script.test(settings, trained, listed, Fold(*map(tuple, parts)), fitting, 0, tmp_path)
    fitted = {"P4", "P5"} if kept_back else {"P0", "P1"}
    assert given["faces"] == [{"P0", "P1"}, fitted, {"P2", "P3"}]
    assert {*found.named_by["people"]} == fitted
    for row in (name for way in settings.named_by for name in namings.NAMES[way]):
        assert {r.subject for r in found.methods[row]["last"].records} == {"P2", "P3"}, row


def test_people_are_kept_back_for_something_and_in_twos(planted):
    listed = planted.people(6)
    fold = Fold(tuple(range(len(listed) - 3)), ())
    with pytest.raises(ValueError, match="--kept_back=0.5 keeps people for --named_by, which is left out"):
        script.parted(script.Settings(**{**KEPT, "named_by": ()}), listed, fold)
    with pytest.raises(ValueError, match="--named_by is fitted to 1 of 6 training people"):
        script.parted(script.Settings(**{**KEPT, "kept_back": 0.1}), listed, fold)


def test_generators_start_from_a_recognisers(tmp_path):
    """Each from its own expression's, D from nothing; an expression that it lacks from nothing, too."""
    net = ia_gen_model.tiny_features(classes=CLASSES)
    known = ia_gen_model.IAGen(feature_net=net, classes=("anger", "fear"), width=1 / 32)
    for n, generator in enumerate(known.generators):
        generator.trainable_variables[0].assign(tf.fill(generator.trainable_variables[0].shape, n + 1.0))
    config = {key: value for key, value in known.get_config().items() if key != "name"}
    about = {"model": "ia_gen.IAGen", "config": config, "classes": known.classes, "datasets": ["rendered/posed"]}
    weights.save(known, tmp_path / "ia_gen.h5", provenance=about)
    given = {"preset": "smoke", "gan_init": str(tmp_path / "ia_gen.h5")}
    settings = script.Settings(**given)
    assert gans.data_behind(settings, ("fear", "happiness")) == ["rendered/posed"]
    first = gans.build(settings.replace(gan_init=None), "fear", net, 3, 0)
    made, lacks = (gans.build(settings, c, net, 3, 0) for c in ("fear", "happiness"))
    assert np.all(made.generator.trainable_variables[0].numpy() == 2.0)
    assert 0 < lacks.generator.trainable_variables[0].numpy().std() < 0.1
    assert [v.shape for v in made.discriminator.weights] == [v.shape for v in first.discriminator.weights]
    with pytest.raises(ValueError, match="has generators of --gan_width=0.03125, and 0.0625 is asked for"):
        gans.build(settings.replace(gan_width=1 / 16), "fear", net, 3, 0)
