"""`experiments.ed2l`: the rows and what they start from, the paper's numbers, the pictures, and what is refused."""

import contextlib
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from experiments import ed2l as script
from experiments.parts.ed2l import measures, net
from experiments.run import data, fitting
from fer_tf import evaluation, export, figures, weights
from fer_tf.compat import keras
from fer_tf.models import ed2l
from fer_tf.records import Fold

CLASSES = ("anger", "happiness")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Settings of weights to start from, ED2L's and the baseline's; of as many classes as are tested."""
    folder = tmp_path_factory.mktemp("start")
    for number, (name, dispelling) in enumerate((("init", True), ("baseline_init", False))):
        tf.random.set_seed(number)
        keras.utils.set_random_seed(number)
        model = ed2l.ED2L(width=1 / 16, dispelling=dispelling, classes=("fear", "sadness"))
        weights.save(model, folder / f"{name}.h5", provenance={"datasets": ["fer2013"]})
    return {name: folder / f"{name}.h5" for name in ("init", "baseline_init")}


@pytest.fixture(scope="module")
def run(files, op_by_op, tmp_path_factory):
    """A finished run of one fold, two rows: its settings, its results and what it printed."""
    folder, printed = tmp_path_factory.mktemp("ed2l"), io.StringIO()
    rows = ("baseline_pretrained", "ed2l")
    made = script.Settings(preset="smoke", precision="float32", workdir=folder, rows=rows, only_folds="0", **files)
    with contextlib.redirect_stdout(printed), op_by_op():
        results = script.run(made)
    return made, results, printed.getvalue()


def test_the_rows_are_in_the_table_and_the_files(run):
    _, results, printed = run
    written, names = json.loads((results.folder / "metrics.json").read_text()), ("Baseline, pre-trained", "ED2L")
    assert tuple(written["methods"]) == tuple(results.methods) == tuple(results.models) == names
    assert results.table in printed and all(f"\n{name} " in results.table for name in names)
    assert [np.sum(m["last"]["confusion"]) for m in written["methods"].values()] == [12] * 2
    for name in (
        "tsne",
        "heatmaps_ed2l_0",
        "heatmaps_ed2l_1",
        "per_class",
        "confusion_ed2l",
        "confusion_baseline__pre_trained",
    ):
        with Image.open(results.folder / f"{name}.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 5, name
    table = written["probes"][0]
    kinds = ["ED2L: its own dispeller", "Baseline, pre-trained: f_t", "ED2L: f_t", "ED2L: f_p"]
    assert (
        list(table) == [*kinds, "untrained: f_t", "untrained: f_p", "chance"] and table["chance"]["expression"] == 0.5
    )
    assert all(0 <= table[kind]["expression"] <= 1 and f"\n{kind} " in printed for kind in kinds)
    assert results.measures == written["probes"] and "starts" not in written
    histories = [(results.folder / "run0/fold0" / row / "history.csv").read_text() for row in run[0].rows]
    assert len({*histories}) == 2
    assert [model.dispelling for model in results.models.values()] == [False, True]


def test_the_exported_model_is_the_last_row(run):
    _, results, _ = run
    predictor = export.load(results.export)
    faces = list(np.random.default_rng(0).integers(0, 256, (3, 128, 110), dtype=np.uint8))
    p = predictor(faces)
    assert p.shape == (3, 2) and predictor.classes == CLASSES
    centre = np.stack(faces)[:, 8:120, 7:103, None].astype(np.float32) / 255
    np.testing.assert_allclose(p, results.models["ED2L"].classify(centre), atol=1e-4)
    assert predictor.metadata["row"] == "ed2l" and predictor.metadata["model"] == "ED2L"


@pytest.mark.slow
def test_a_finished_run_draws_again_without_training(run):
    made, results, _ = run
    (results.folder / "tsne.png").unlink()
    checkpoint = results.folder / "run0/fold0/ed2l/checkpoint/checkpoint"
    before = checkpoint.stat().st_mtime_ns
    assert script.run(made).methods == results.methods
    assert (results.folder / "tsne.png").is_file() and checkpoint.stat().st_mtime_ns == before


def test_nobody_held_out_is_trained_on_and_all_of_them_are_tested(planted, monkeypatch, tmp_path):
    """Every row, both folds: the faces themselves say who they are. Fig. 4 is of the first fold, Fig. 5 of the last."""
    drawn = []
    monkeypatch.setattr(measures, "measure", lambda *_: {})
    monkeypatch.setattr(script, "draw_features", lambda models, test, *rest: drawn.append((*models, planted.see(test))))
    monkeypatch.setattr(script, "draw_maps", lambda row, model, test, *rest: drawn.append((row, planted.see(test))))
    planted.plant()
    script.run(script.Settings(preset="smoke", precision="float32", max_subjects=0, workdir=tmp_path))
    assert len(planted.trained) == 2 * 2
    planted.check(tmp_path)
    assert [(*words, sorted(seen.people)) for *words, seen in drawn] == [
        ("baseline", "ed2l", ["P0", "P1", "P2"]),
        ("ed2l", ["P3", "P4", "P5"]),
    ]


@pytest.mark.parametrize("row", ["baseline", "ed2l"])
def test_a_row_that_is_not_pre_trained_starts_from_none(files, row):
    assert script.starts(script.Settings(preset="smoke", rows=(row,), **files)) == {}


@pytest.mark.parametrize("row", ["baseline_pretrained", "ed2l_pretrained"])
def test_each_row_starts_from_its_own_weights(files, row):
    """All of them but what names expressions, which is new, though it would fit."""
    made = script.Settings(preset="smoke", rows=(row,), **files)
    start = script.starts(made)
    model = script.build(made, row, CLASSES, 10, start.get(row))
    assert model.dispelling is row.startswith("ed2l")
    name = "init" if model.dispelling else "baseline_init"
    assert start == {row: files[name]}
    file = ed2l.ED2L(width=1 / 16, dispelling=model.dispelling, classes=("fear", "sadness"))
    weights.load(file, files[name])
    same = ["base", "distilling_branch", *(["dispelling_branch"] if model.dispelling else [])]
    for part in same:
        for a, b in zip(getattr(model, part).get_weights(), getattr(file, part).get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    for part in ("classifier", *(["dispeller"] if model.dispelling else [])):
        assert np.abs(np.array(getattr(model, part).kernel) - np.array(getattr(file, part).kernel)).min() > 0


def test_settings_reach_the_net_and_its_optimizer():
    """Each its own argument; the rate falls by a cosine to its share."""
    own = {"margin": 0.1, "scale": 7.0, "lambda_t": 2.0, "lambda_p": 3.0, "weight_decay": 0.25, "width": 0.0625}
    plays = script.build(
        script.Settings(preset="smoke", dispeller_steps=4, dispeller_rate=0.03), "ed2l", CLASSES, 9, None
    )
    assert plays.dispeller_steps == 4 and float(np.array(plays.adversary_optimizer.learning_rate)) == pytest.approx(
        0.03
    )
    made = script.Settings(preset="smoke", **own, confusion_updates_dispeller=False, rate=0.5, decay_to=0.2)
    model = script.build(made, "ed2l", CLASSES, 10, None)
    assert {name: getattr(model, name) for name in own} == own and model.confusion_updates_dispeller is False
    assert model.classes == CLASSES and model.base.get_layer("conv1_down_conv").filters == 2
    assert rates_at(model, (0, 5, 10, 20)) == pytest.approx([0.5, 0.5 * (0.2 + 0.8 / 2), 0.1, 0.1])


def test_the_options_beside_the_paper_reach_the_rows_of_ed2l_alone(files):
    """--warm_up in epochs; --lambda_identity with as many people as are trained on, new where weights are given."""
    own = {"epochs": 4, "warm_up": 1.5, "lambda_identity": 0.25, "dispeller_rate": 0.03}
    made = script.Settings(preset="smoke", **own, **files)
    for row, start in (("ed2l", None), ("ed2l_pretrained", files["init"])):
        model = script.build(made, row, CLASSES, 40, start, 3)
        assert (model.warm_up, model.lambda_identity, model.identities) == (15, 0.25, 3)
        assert [name for name in model.players()] == ["identifier", "classifier"]
        assert float(np.array(model.identifier_optimizer.learning_rate)) == pytest.approx(0.03)
        assert model.identifier.kernel.shape[-1] == 3
    baseline = script.build(made, "baseline_pretrained", CLASSES, 40, files["baseline_init"], 3)
    assert not baseline.lambda_identity and list(baseline.players()) == ["classifier"]
    assert script.build(script.Settings(preset="smoke"), "ed2l", CLASSES, 40, None, 3).lambda_identity == 0


def test_each_training_face_comes_with_its_own_persons_number(planted, monkeypatch, tmp_path):
    """The faces themselves say who they are; whom the fold tests has no number among them."""
    calls = []

    def fit_and_test(settings, build, learn, test, *rest, **more):
        calls.append((build(), learn))
        return evaluation.Outcome(calls[-1][0], {"last": (np.zeros(1, int), np.zeros(1, int))})

    monkeypatch.setattr(fitting, "fit_and_test", fit_and_test)
    monkeypatch.setattr(measures, "measure", lambda *_: {})
    listed = planted.people(people=5)
    train = tuple(i for i, r in enumerate(listed) if r.subject not in ("P0", "P2"))
    fold = Fold(train, tuple(i for i in range(len(listed)) if i not in train))
    made = script.Settings(preset="smoke", precision="float32", rows=("ed2l",), lambda_identity=1.0)
    script.one_fold(made, listed, fold, CLASSES, 0, tmp_path)
    ((model, learn),), seen = calls, set()
    for batch in learn.epoch(0):
        people = planted.marks(batch["image"].numpy())
        assert [learn.subjects[i] for i in batch["subject"].numpy()] == people
        assert np.all(np.isfinite([float(v) for v in model.losses_of("identifier", batch).values()]))
        seen |= {*people}
    assert seen == {*learn.subjects} == {"P1", "P3", "P4"} and model.identities == 3


def test_who_is_not_named_cannot_be_dispelled(planted, tmp_path):
    """One sentence, before anything is trained."""
    listed = planted.people(people=4)
    planted.plant([replace(r, subject=None) if r.subject == "P2" else r for r in listed])
    made = script.Settings(preset="smoke", precision="float32", workdir=tmp_path, split="random", max_subjects=0)
    with pytest.raises(
        ValueError, match=r"has no subject .* and --lambda_identity dispels who is shown: give"
    ) as error:
        script.run(made.replace(lambda_identity=1.0))
    assert "\n" not in str(error.value) and not planted.trained


def rates_at(model, steps):
    """The learning rate at some steps."""
    schedule = model.classifier_optimizer._learning_rate
    return [float(schedule(step)) for step in steps]


def test_the_papers_numbers(planted, monkeypatch, tmp_path):
    """Section 3.1 and Table 1, read off what `--preset=paper` builds; "about 100 epochs", 10 folds (section 3.2)."""
    calls = []

    def fit_and_test(settings, build, learn, test, place, strategy, *, epochs=None, **more):
        calls.append((build(), learn, test, epochs or settings.epochs, more))
        return evaluation.Outcome(calls[-1][0], {"last": (np.zeros(1, int), np.zeros(1, int))})

    monkeypatch.setattr(fitting, "fit_and_test", fit_and_test)
    monkeypatch.setattr(measures, "measure", lambda *_: {})
    listed = planted.people(people=4)
    fold = Fold((0, 1, 2), (3, 4))
    made = script.Settings(preset="paper", precision="float32")
    assert made.folds == 10 and made.rows == tuple(script.ROWS) and made.fold_order == "contiguous"
    script.one_fold(made.replace(rows=("baseline", "ed2l")), listed, fold, CLASSES, 0, tmp_path)
    for (model, learn, test, epochs, more), dispelling in zip(calls, (False, True), strict=True):
        assert model.dispelling is dispelling and epochs == 100 and "max_steps" not in more
        assert (model.margin, model.scale, model.lambda_t, model.lambda_p) == (0.35, 30, 1, 10)
        optimizer = model.classifier_optimizer
        assert isinstance(optimizer, keras.optimizers.Adam)
        assert (optimizer.beta_1, optimizer.beta_2, optimizer.epsilon) == (0.9, 0.999, 1e-8)
        assert model.weight_decay == 5e-4 and not optimizer.weight_decay and not optimizer.amsgrad
        steps = 100 * len(learn)
        assert rates_at(model, (0, steps // 2, steps)) == pytest.approx([1e-4] * 3)
        assert learn.batch_size == 64 and learn.views_per_epoch == 10 * 3 and learn.training and not test.training
        assert learn.template.size == (128, 110) and learn.channels == 1
        assert {tuple(b["image"].shape[1:]) for b in learn.epoch(0)} == {(112, 96, 1)}
        assert model.base.get_layer("conv1_down_conv").filters == 32
        assert model.distilling_branch.get_layer("fc").units == 256
        assert model.base.input_shape == (None, 112, 96, 1)
    assert made.max_steps is None and made.confusion_updates_dispeller
    assert made.warm_up == made.lambda_identity == 0
    assert made.dispeller_steps == 0 and made.init == made.baseline_init == "none", "the released ones are not alike"


def test_figure_4_is_of_every_rows_own_features(planted, monkeypatch, tmp_path):
    made, listed = script.Settings(preset="smoke"), planted.people(people=4)
    models = {row: script.build(made, row, CLASSES, 1, None) for row in ("baseline", "ed2l")}
    test = data.batches(made, listed, CLASSES, ed2l, 0, False, batch_size=5)
    shown = []
    monkeypatch.setattr(figures, "tsne", lambda *args, **options: shown.append((args, options)))
    script.draw_features(models, test, CLASSES, 3, tmp_path)
    (((features, labels, classes), options),) = shown
    assert [CLASSES[k] for k in labels] == [r.expression for r in listed]
    assert classes == CLASSES and options == {"seed": 3}
    images = np.concatenate([b["image"] for b in test.epoch(0)])
    assert list(features) == ["Baseline", "ED2L"]
    for name, model in zip(features, models.values(), strict=True):
        shared = model.base(2 * images - 1, training=False)
        by_hand = model.distilling_branch(shared, training=False)[1]
        np.testing.assert_allclose(features[name], by_hand, atol=1e-5)
        assert np.std(by_hand, 0).max() > 1e-3


def test_figure_5_shows_both_branches_of_two_people(planted, monkeypatch, tmp_path):
    """Each person's own faces, one an expression, with the maps of these very faces under their branch's name."""
    made = script.Settings(preset="smoke")
    listed = [r for r in planted.people(people=4) if r.subject != "P0" or r.expression == "happiness"]
    model = script.build(made, "ed2l", CLASSES, 1, None)
    test = data.batches(made, listed, CLASSES, ed2l, 0, False)
    shown, places = [], []
    monkeypatch.setattr(figures, "heatmaps", lambda *args: shown.append(args))
    monkeypatch.setattr(figures, "save", lambda picture, path: places.append(path.name))
    script.draw_maps("ed2l", model, test, CLASSES, tmp_path)
    assert places == ["heatmaps_ed2l_0.png", "heatmaps_ed2l_1.png"]
    assert [titles for _, _, titles in shown] == [["happiness"], ["anger", "happiness"]]
    for (images, maps, _), person in zip(shown, ("P0", "P1"), strict=True):
        assert {*planted.marks(images)} == {person}
        expected = model.maps(images)
        assert list(maps) == ["ED2L-t", "ED2L-p"]
        for name in "tp":
            np.testing.assert_allclose(maps[f"ED2L-{name}"], expected[name], atol=1e-5)
    assert np.abs(shown[1][1]["ED2L-t"] - shown[1][1]["ED2L-p"]).max() > 1e-3


def test_weights_that_have_seen_the_people_are_refused_before_anything_is_trained(planted, files, tmp_path):
    planted.plant()
    seen = tmp_path / "seen.h5"
    weights.save(ed2l.ED2L(width=1 / 16, classes=CLASSES), seen, provenance={"datasets": ["fer2013", "rendered"]})
    made = script.Settings(preset="smoke", workdir=tmp_path, rows=("baseline", "ed2l_pretrained"), init=seen)
    with pytest.raises(ValueError, match="--init=.*seen.h5 was trained on everybody in rendered"):
        script.run(made)
    with pytest.raises(ValueError, match="--baseline_init=.*seen.h5 was trained on everybody"):
        script.run(made.replace(rows=("baseline_pretrained",), baseline_init=seen))
    assert not planted.trained


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"rows": ("ed2l", "gcnet")}, "--rows=ed2l,gcnet: gcnet is none of baseline, ed2l"),
        ({"rows": ()}, "--rows=: 1 or more are wanted"),
        ({"rows": ("ed2l_pretrained",), "init": "none"}, "starts from pre-trained weights: give --init."),
        ({"rows": ("baseline_pretrained",), "baseline_init": ""}, "give --baseline_init."),
        ({"rows": ("ed2l_pretrained",), "preset": "paper"}, "the paper trained both alike"),
        ({"rows": ("ed2l_pretrained",), "init": "fer_net_fer2013", "only_folds": "0"}, "does not fit the model"),
    ],
)
def test_what_does_not_fit_gets_one_sentence(planted, tmp_path, given, sentence):
    planted.plant()
    with pytest.raises(ValueError) as error:
        script.run(script.Settings(**{"preset": "smoke", "precision": "float32", "workdir": tmp_path, **given}))
    assert sentence in str(error.value) and "\n" not in str(error.value) and not planted.trained


def test_starts_that_were_not_trained_alike_are_told(tmp_path, capsys):
    """Epochs, rate, seed and what came before count; places and which net it is do not."""
    command, files = "python -m experiments.pretrain_ed2l --preset=quick", {}
    told = {
        "a": {"command": f"{command} --epochs=6 --data_dir=x --out=a.h5"},
        "b": {"command": f"{command} --nodispelling --out=b.h5 --epochs=6 --workdir=w"},
        "c": {"command": f"{command} --epochs=6 --dispelling=false --rate=0.1"},
        "d": {"command": f"{command} --epochs=6 --init=a.h5", "init": {"command": f"{command} --epochs=6"}},
        "e": {"command": f"{command} --epochs=6 --rate=2e-4"},
        "f": {"command": f"{command} --rate=0.0002 --dispelling=false --epochs=6"},
    }
    for name, about in told.items():
        files[name] = tmp_path / f"{name}.h5"
        weights.save(ed2l.ED2L(width=1 / 16, classes=CLASSES), files[name], provenance=about)
    for other, alike in (("b", True), ("c", False), ("d", False)):
        said = script.tell_unequal({"ed2l_pretrained": files["a"], "baseline_pretrained": files[other]})
        assert (said == "") is alike and capsys.readouterr().err.strip() == said
    assert "baseline_pretrained: --epochs=6 --preset=quick, then --epochs=6 --preset=quick" in said
    assert script.tell_unequal({"ed2l_pretrained": files["e"], "baseline_pretrained": files["f"]}) == ""
    assert script.tell_unequal({"ed2l_pretrained": files["a"]}) == ""


def test_the_probes_are_of_each_networks_own_features(planted):
    """f_t and f_p by hand, of what was trained on and of what is tested; its dispeller's answers on the latter."""
    made = script.Settings(preset="smoke")
    learn, test = (data.batches(made, planted.people(people=n), CLASSES, ed2l, 0, False, batch_size=5) for n in (4, 3))
    model = script.build(made, "ed2l", CLASSES, 1, None)
    for batches in (learn, test):
        images = np.concatenate([b["image"] for b in batches.epoch(0)])
        shared, found = model.base(2 * images - 1, training=False), measures.features_of(model, batches)
        for name, branch in (("t", model.distilling_branch), ("p", model.dispelling_branch)):
            np.testing.assert_allclose(found[name], branch(shared, training=False)[1], atol=1e-4)
    labels = np.array([CLASSES.index(r.expression) for r in test.records])
    model.dispeller.kernel.assign(0.01 * np.array(model.dispeller.kernel))
    model.dispeller.bias.assign([5.0, -5.0])
    table = measures.measure({"ED2L": model}, learn, test, model)
    assert table["ED2L: its own dispeller"] == {"expression": np.mean(labels == 0), "identity": None}
    assert table["ED2L: f_p"] == table["untrained: f_p"]


def test_the_nets_arguments_are_all_of_the_settings():
    """A field that the net has and the settings pass on, by one name."""
    model = net.build(script.Settings(preset="smoke"), CLASSES, True)
    assert {*net.ARGUMENTS} <= {*model.get_config()}
    others = {"name", "classes", "dispelling", "size", "warm_up", "lambda_identity", "identities"}
    assert {*model.get_config()} - {*net.ARGUMENTS} == others


def test_an_ed2l_is_held_against_the_baseline_with_its_start():
    assert script.baselines(("baseline", "ed2l", "baseline_pretrained", "ed2l_pretrained")) == {
        "ED2L": "Baseline", "ED2L, pre-trained": "Baseline, pre-trained"
    }  # fmt: skip
    assert script.baselines(("baseline", "ed2l_pretrained")) == {}
