"""DE-GAN's command on people whose faces carry a mark: who is trained on, who is tested, and with which networks.

The face of each record is one grey value, which no view changes: whatever is given to `training.fit` and
`evaluation.predict` is told by its pixels. Both are replaced, so that nothing is trained here.
"""

import json
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from experiments import de_gan as script
from experiments.parts.de_gan import expression_transfer, measures, networks, pictures
from experiments.run import data, fitting
from fer_tf import catalogue, evaluation, export, figures, training, weights
from fer_tf.compat import keras
from fer_tf.models import de_gan
from fer_tf.records import CLASSES, Record

THREE = ("anger", "happiness", "sadness")
RIGHT = {"baseline_strong": 2, "baseline_printed": 1, "both": 3, "code": 5, "residues": 6}
"""Network -> how many of a fold's held-out faces it shall name right."""


def marked(people, classes, frames):
    """Records in the order of person, expression and frame; their grey value is one more than their place."""
    rows = [(p, c) for p in range(people) for c in classes for _ in range(frames)]
    assert len(rows) < 255
    faces = [np.full((110, 110), place + 1, np.uint8) for place in range(len(rows))]
    return [Record(f, c, subject=f"person{p:02}", info={"framed": True}) for f, (p, c) in zip(faces, rows, strict=True)]


def places(images):
    """Numbers of the records that views (N, 96, 96, 1) in [0, 1] show."""
    values = 255 * np.asarray(images).reshape(len(images), -1)
    assert np.all(np.ptp(values, 1) < 1e-3)
    return [int(v) - 1 for v in np.round(values[:, 0])]


def marks(records):
    return [int(r.image[0, 0]) - 1 for r in records]


class Fit(NamedTuple):
    """What `training.fit` was given; `seen`: (place, label, subject) of each row of an epoch."""

    fold: int
    stage: str
    model: Any
    data: Any
    epochs: int
    options: dict
    seen: list
    encoder: list


class Spied:
    """A run in which nothing is trained: what its parts were given, and the `Results`."""

    def __init__(self, listed, settings, monkeypatch):
        self.listed, self.folder = listed, Path(settings.workdir)
        self.fits, self.tested, self.given = [], [], defaultdict(list)
        monkeypatch.setattr(catalogue, "load", lambda *_: listed)
        monkeypatch.setattr(training, "fit", self.fit)
        monkeypatch.setattr(training, "restore", lambda model, *_: model)
        monkeypatch.setattr(evaluation, "predict", self.predict)
        blank = figures.grid(np.zeros((1, 1, 8, 8)))
        answers = {
            (pictures, "draw_transfer"): blank,
            (pictures, "draw_interpolation"): blank,
            (measures, "reached"): {"expression": 0.25},
            (measures, "probes"): {"f(x)": {"expression": 0.5, "identity": None}},
            (measures, "rates"): {"both": {"L5": 0.75}},
            (measures, "text"): "measured",
            (export, "save"): 0.0,
            (expression_transfer, "save_transfer"): None,
        }
        for (module, name), answer in answers.items():
            monkeypatch.setattr(module, name, self.recorded(name, answer))
        self.results = script.run(settings)

    def recorded(self, name, answer):
        """A function that keeps its arguments under its name."""

        def called(*words, **options):
            self.given[name].append((words, options))
            return answer

        return called

    def fit(self, model, data, *, workdir, epochs, validation=None, after_epoch=None, **options):
        """Keeps what is given; a GAN's encoder is moved a little, as a training would."""
        *_, fold, stage = Path(workdir).parts
        rows = []
        for batch in data.epoch(0):
            labels, subjects = batch["label"].numpy(), batch["subject"].numpy()
            rows += [
                (place, data.classes[label], data.subjects[subject])
                for place, label, subject in zip(places(batch["image"].numpy()), labels, subjects, strict=True)
            ]
            if data.views_per_image is None:
                break  # all views: one batch is enough
        encoder = [np.array(v) for v in model.encoder.weights] if hasattr(model, "encoder") else []
        self.fits.append(Fit(int(fold[-1]), stage, model, data, epochs, options, rows, encoder))
        if stage == "gan":
            for v in model.encoder.weights:
                v.assign(np.array(v) + np.float32(0.5))
        Path(workdir).mkdir(parents=True)
        (Path(workdir) / "history.csv").write_text("epoch,loss\n1,0.5\n")
        if validation:
            validation(model)
        if after_epoch:
            after_epoch(model, 1)

    def predict(self, model, data):
        """Keeps who is tested; names the first faces right, and no other."""
        rows = [(b["image"].numpy(), b["label"].numpy()) for b in data.epoch(0)]
        labels = np.concatenate([label for _, label in rows])
        (fit,) = (f for f in self.fits if f.model is model)
        self.tested.append((fit.fold, fit.stage, [p for images, _ in rows for p in places(images)], list(labels)))
        wrong = np.arange(len(labels)) >= RIGHT[fit.stage]
        return labels, (labels + wrong) % len(data.classes)


GIVEN = {
    "width": 1 / 32, "code": 8, "noise": 3, "own_share": 0.25, "lambda_own": 2.0, "ratio": 3, "near": 0.75,
    "lambda_identity": 0.3, "identity_rate": 7e-3, "gan_epochs": 5, "epochs": 3, "gan_rate": 3e-4, "rate": 2e-3,
    "decay_to": 0.25, "batch_size": 4, "seed": 11,
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The second fold of two, of five people with three expressions, two faces each."""
    folder = tmp_path_factory.mktemp("marked")
    told = {"preset": "smoke", "precision": "float32", "workdir": str(folder), "classes": ",".join(THREE)}
    more = {"max_subjects": 0, "max_steps": None, "uses": ("both", "code", "residues"), "only_folds": "1"}
    with pytest.MonkeyPatch.context() as monkeypatch:
        spied = Spied(marked(5, THREE, 2), script.Settings(**told, **more, **GIVEN), monkeypatch)
    return spied


TEST = [i for i in range(30) if i // 6 in (1, 3)]
"""Places of the second fold's faces, when five people are dealt to two folds in turn."""
LEARN = [i for i in range(30) if i not in TEST]
PEOPLE = ("person00", "person02", "person04")
"""Who is trained on."""
STAGES = (
    "gan",
    "baseline_strong",
    "baseline_printed",
    "both",
    "code",
    "residues",
    "judge_of_expression",
    "judge_of_identity",
)


def test_no_held_out_person_reaches_a_training(run):
    """Each network sees all faces of the training people with what is theirs; a judge of identity fewer."""
    assert [(f.fold, f.stage) for f in run.fits] == [(1, stage) for stage in STAGES]
    for fit in run.fits:
        of_identity = fit.stage == "judge_of_identity"
        learn = [i for n, i in enumerate(LEARN) if n % 5 != 2] if of_identity else LEARN
        labels = [run.listed[i].subject if of_identity else run.listed[i].expression for i in learn]
        wanted = list(zip(learn, labels, strict=True))
        assert sorted((place, label) for place, label, _ in fit.seen) == wanted, fit.stage
        assert all(subject == run.listed[place].subject for place, _, subject in fit.seen)
        assert fit.model.classes == (PEOPLE if of_identity else THREE)
        if fit.stage == "gan":
            assert fit.model.subjects == PEOPLE


def test_the_folds_people_are_tested_and_nobody_else(run):
    """After each epoch, then the best and the last; each method's figures are those of its own network."""
    assert [(fold, stage) for fold, stage, *_ in run.tested] == [(1, stage) for stage in RIGHT for _ in range(3)]
    for _, _, seen, labels in run.tested:
        assert seen == TEST and [THREE[k] for k in labels] == [run.listed[i].expression for i in seen]
    names = {"baseline_strong": "CNN (baseline), strong", "baseline_printed": "CNN (baseline), as printed"}
    names |= {"both": "DE-GAN", "code": "DE-GAN, f(x) alone"}
    names["residues"] = "DE-GAN, residues alone"
    assert set(run.results.methods) == set(names.values())
    for stage, right in RIGHT.items():
        confusion = np.array(run.results.methods[names[stage]]["last"]["confusion"])
        assert confusion.sum() == 12 and np.trace(confusion) == right
    written = json.loads((run.folder / "metrics.json").read_text())
    assert written["folds"] == [{"run": 0, "fold": 1, "test": 12}]
    assert written["generation"] == run.results.measures and len(written["generation"]) == 1
    folds = json.loads((run.folder / "folds.json").read_text())["folds"]
    assert [sorted(fold["subjects"]) for fold in folds] == [[*PEOPLE], ["person01", "person03"]]


def test_held_out_people_are_measured_and_drawn(run):
    """The judge of identity is asked about faces that it has not seen, of people whom it knows."""
    models = {f.stage: f.model for f in run.fits}
    (((gan, sources, back, of_expression, of_identity, seed), _),) = run.given["reached"]
    assert gan is models["gan"] and seed == 11
    assert marks(sources) == TEST and marks(back) == LEARN[2::5]
    assert [r.expression for r in back] == [run.listed[i].subject for i in LEARN[2::5]]
    assert of_expression is models["judge_of_expression"] and of_identity is models["judge_of_identity"]
    (((features, fitted, tested, classes), _),) = run.given["probes"]
    assert marks(fitted) == LEARN and marks(tested) == TEST and classes == THREE
    assert {"CNN (baseline), strong", "CNN (baseline), as printed"} < {*features} and len(features) == 6
    (((classifiers, tested, classes), _),) = run.given["rates"]
    assert classifiers == {uses: models[uses] for uses in ("both", "code", "residues")}
    assert marks(tested) == TEST and classes == THREE
    drawn = [(words[0], *(marks(part) for part in words[1:])) for words, _ in run.given["draw_transfer"]]
    assert drawn == [(models["gan"], LEARN, LEARN), (models["gan"], TEST, LEARN)]  # as it is trained, then at the end
    (((gan, sources), _),) = run.given["draw_interpolation"]
    assert gan is models["gan"] and marks(sources) == TEST


def test_the_last_folds_networks_are_exported(run):
    models = {f.stage: f.model for f in run.fits}
    (((model, place), options),) = run.given["save"]
    assert model is models["both"] and place == run.folder / "export"
    about = options["metadata"]
    assert (about["run"], about["held_out_fold"], about["uses"], about["trained_on"]) == (0, 1, "both", "rendered")
    assert places(options["faces"] / 255) == TEST[:8]
    (((model, place, about), _),) = run.given["save_transfer"]
    assert model is models["gan"] and place == run.folder / "transfer" and about["held_out_fold"] == 1
    assert run.results.models == {n: models[n] for n in ("gan", *RIGHT)}


def test_each_training_has_its_epochs_seed_rate_and_views(run):
    """Stage one, then stage two; the baseline as long as both together, the judges as long as stage two."""
    epochs = {"gan": 5, "baseline_strong": 8, "baseline_printed": 8, "both": 3, "code": 3, "residues": 3}
    ends = {"baseline_strong": 0.0, "baseline_printed": 2e-3}
    for fit in run.fits:
        assert fit.epochs == epochs.get(fit.stage, 3)
        seed = 11 + {"judge_of_expression": 1000, "judge_of_identity": 2000}.get(fit.stage, 0)
        assert (fit.data.seed, fit.data.batch_size, fit.data.views_per_image, fit.data.training) == (seed, 4, 1, True)
        assert fit.options["max_steps"] is None
        assert fit.options["checkpoint_steps"] == (200 if fit.stage == "gan" else 500)
        if hasattr(fit.model, "seed"):
            assert fit.model.seed == seed
        for name, player in fit.model.players().items():
            assert player.optimizer.beta_1 == 0.5
            rate = player.optimizer._learning_rate
            if fit.stage == "gan":
                assert float(rate) == pytest.approx(7e-3 if name == "identifier" else 3e-4)
            else:  # a cosine, at its end by the last step and not before
                steps = fit.epochs * len(fit.data)
                falling = [float(rate(step)) for step in (0, steps // 2, steps - 1, steps)]
                end = ends.get(fit.stage, 5e-4)
                assert falling[0] == pytest.approx(2e-3) and falling[3] == pytest.approx(end, abs=1e-9)
                assert falling == sorted(falling, reverse=True) and (falling[2] > end + 1e-7 or end == 2e-3)


def test_each_network_is_what_the_settings_say(run):
    """Stage two has the trained GAN's encoder and its own of --uses; all others weights of their own."""
    fits = {f.stage: f for f in run.fits}
    gan = fits["gan"].model
    arguments = ("width", "code", "noise", "own_share", "lambda_own", "lambda_identity", "ratio", "near", "seed")
    assert {n: gan.get_config()[n] for n in arguments} == {n: GIVEN[n] for n in arguments}
    for uses in ("both", "code", "residues"):
        model = fits[uses].model
        assert model.uses == uses and model.lambdas == (0.7, 0.6, 0.4, 0.3, 1.0)
        assert (model.width, model.code) == (1 / 32, 8)
        for mine, trained in zip(fits[uses].encoder, gan.encoder.weights, strict=True):
            np.testing.assert_array_equal(mine, np.array(trained))
    trunks = [fits[n].model.trunk for n in ("baseline_strong", "baseline_printed", *measures.JUDGES)]
    assert all(t.outputs[1].shape[-1] == 8 for t in trunks)
    assert len({np.array(net.weights[0]).tobytes() for net in (gan.encoder, *trunks)}) == 4  # baselines alike


def test_the_papers_numbers(monkeypatch, tmp_path):
    """Sections 3.1, 3.2, 4.1 and 4.2, read off what a run with --preset=paper makes."""
    given = {"only_folds": "0", "workdir": str(tmp_path), "precision": "float32"}
    settings = script.Settings(preset="paper", **given)
    read = {"decay_to": 1.0, "width": 1.0, "noise": 50, "views": 0, "own_share": 0.0, "lambda_own": 0.0, "near": 0.9}
    read |= {"lambda_identity": 0.0}
    whole = {"max_subjects": 0, "max_steps": None, "gan_init": "none", "baseline_init": "none", "fold_order": "strided"}
    read |= {"ratio": 4, "classes": "seven", "uses": ("both", "code", "code:converged", "residues"), "runs": 1}
    read |= {"baselines": ("strong", "printed")}
    assert {name: getattr(settings, name) for name in {**read, **whole}} == {**read, **whole}
    settings = script.Settings(preset="paper", uses=("both",), baselines=("printed",), **given)  # quicker
    run = Spied(marked(20, CLASSES["seven"], 1), settings, monkeypatch)
    fits = {f.stage: f for f in run.fits}
    assert tuple(fits) == tuple(s for s in STAGES if s not in ("baseline_strong", "code", "residues"))
    folds = json.loads((tmp_path / "folds.json").read_text())["folds"]
    assert len(folds) == 10 and [s for _, s, seen, _ in run.tested if len(seen) != 14] == []  # two of twenty people
    assert {stage: f.epochs for stage, f in fits.items()} == {
        "gan": 300, "baseline_printed": 350, "both": 50,
        "judge_of_expression": 50, "judge_of_identity": 50,
    }  # fmt: skip
    for fit in fits.values():
        assert len(fit.seen) == fit.data.batch_size == 150  # its first batch
        assert fit.data.views_per_epoch == 110 * len(fit.data.records)  # five crops, ten angles and none, mirrored
        assert fit.data.views.size == (96, 96) and fit.data.views is de_gan.views
        for player in fit.model.players().values():
            adam = player.optimizer
            assert isinstance(adam, keras.optimizers.Adam) and adam.beta_1 == 0.5
            assert float(adam.learning_rate) == pytest.approx(1e-4)
            if fit.stage != "gan":  # what could fall does not
                assert [float(adam._learning_rate(step)) for step in (0, 10**4, 10**6)] == pytest.approx([1e-4] * 3)
    assert sorted({abs(a) for a in de_gan.views.angles}) == [0, 3, 6, 9, 12, 15] and len(de_gan.views.angles) == 11
    gan, classifier = fits["gan"].model, fits["both"].model
    assert gan.encoder.outputs[-1].shape[-1] == 350
    assert [x.shape[-1] for x in gan.decoder.inputs] == [350, 18, 50]
    assert [x.shape[-1] for x in gan.discriminator.outputs] == [8, 18]  # N_e + 1, N_i
    assert [name for name in gan.players()] == ["discriminator", "generator"]
    assert classifier.lambdas == (0.7, 0.6, 0.4, 0.3, 1.0) and not classifier.encoder.trainable
    assert classifier.heads[-1].kernel.shape[0] == 350 + 4 * 128
    baseline = fits["baseline_printed"].model
    nets = (gan.decoder, gan.discriminator, *classifier.locals, baseline.trunk)
    kernels = [np.array(v) for net in nets for v in net.weights if len(v.shape) > 1]
    kernels += [np.array(layer.kernel) for layer in (*classifier.heads, baseline.head)]
    assert len(kernels) > 50
    for kernel in kernels:
        loose = 0.02 * 4 / np.sqrt(kernel.size)  # four standard errors
        assert abs(np.mean(kernel)) < loose and abs(np.std(kernel) - 0.02) < loose, kernel.shape


def test_each_run_has_its_seed_and_each_fold_its_place(monkeypatch, tmp_path):
    """Two runs of both folds: seeds 11 and 12; what is exported says where it comes from."""
    made, saved, (labels, right) = [], [], (np.array([0, 1, 2]), np.array([0, 1, 1]))

    def one_fold(settings, listed, fold, classes, seed, place):
        who = [sorted({listed[i].subject[-1] for i in part}) for part in (fold.train, fold.test)]
        made.append((*("".join(names) for names in who), seed, place.relative_to(tmp_path).as_posix()))
        methods = {"DE-GAN": {"last": (labels, right), "best": (labels, right)}}
        return script.Fold(None, {}, {"code": None}, methods, {})

    monkeypatch.setattr(catalogue, "load", lambda *_: marked(5, THREE, 2))
    monkeypatch.setattr(script, "one_fold", one_fold)
    monkeypatch.setattr(measures, "text", lambda _: "")
    monkeypatch.setattr(export, "save", lambda *_, **options: saved.append(options["metadata"]))
    monkeypatch.setattr(expression_transfer, "save_transfer", lambda *_: None)
    told = {"preset": "smoke", "workdir": str(tmp_path), "classes": ",".join(THREE), "uses": ("code",)}
    results = script.run(script.Settings(**told, max_subjects=0, runs=2, seed=11))
    parts = [("13", "024"), ("024", "13")]
    assert made == [(*parts[n], 11 + r, f"run{r}/fold{n}") for r in (0, 1) for n in (0, 1)]
    assert (saved[0]["run"], saved[0]["held_out_fold"], saved[0]["uses"]) == (1, 1, "code")
    assert np.sum(results.methods["DE-GAN"]["last"]["confusion"]) == 12


def quarters(net):
    """Share of a net's weights that are one quarter."""
    return float(np.mean([np.all(np.array(v) == 0.25) for v in net.weights]))


def test_where_the_baseline_starts_and_how_long_it_is_trained(monkeypatch, tmp_path):
    """From --baseline_init, with a head of its own for other classes; a judge from nothing."""
    files = {"none": "none"}
    for name, classes in (("two", THREE[:2]), ("six", CLASSES["six"])):
        net = de_gan.EncoderCNN(classes=classes, width=1 / 32, code=8)
        for v in (*net.trunk.weights, *net.head.weights):
            v.assign(np.full(v.shape, 0.25))
        files[name] = str(tmp_path / f"{name}.h5")
        weights.save(net, files[name], provenance={"classes": classes})
    monkeypatch.setattr(data, "batches", lambda *_: [None] * 6)
    given = {}

    def only_build(settings, build, learn, test, folder, strategy, epochs=None):
        given["epochs"] = epochs
        return evaluation.Outcome(build(), {})

    monkeypatch.setattr(fitting, "fit_and_test", only_build)
    common = {"preset": "smoke", "precision": "float32", "gan_epochs": 5, "epochs": 3}
    for name, wanted in (("two", [1, 1]), ("six", [1, 0]), ("none", [0, 0])):
        settings = script.Settings(**common, baseline_init=files[name])
        cnn = networks.train_baseline(settings, "strong", THREE[:2], 0, [None] * 6, None, tmp_path).model
        assert [quarters(net) for net in (cnn.trunk, cnn.head)] == wanted and given["epochs"] == 8
        cnn = networks.train_baseline(settings, "printed", THREE[:2], 0, [None] * 6, None, tmp_path).model
        assert [quarters(net) for net in (cnn.trunk, cnn.head)] == [0, 0] and given["epochs"] == 8
        judge = networks.train_judge(settings, [], THREE[:2], 0, tmp_path)
        assert quarters(judge.trunk) == 0
    less = script.Settings(**common, baseline_epochs=4)
    networks.train_baseline(less, "strong", THREE, 0, [None] * 6, None, tmp_path)
    assert given["epochs"] == 4


def test_gan_init_gives_all_but_its_people(tmp_path):
    """Other people have a code and a head of their own, other classes a head of their own."""
    options = {"preset": "smoke", "precision": "float32", "noise": 4}
    before = networks.build_gan(script.Settings(**options), THREE, ("a", "b", "c"), 0)
    for v in (*before.encoder.weights, *before.decoder.weights, *before.discriminator.weights):
        v.assign(np.full(v.shape, 0.25))
    before.pace.skill.assign(0.8)
    weights.save(before, tmp_path / "gan.h5", provenance={"classes": THREE})
    settings = script.Settings(**options, gan_init=str(tmp_path / "gan.h5"))
    for classes, kept in ((THREE, 1), (CLASSES["six"], 0)):
        gan = networks.build_gan(settings, classes, tuple("defgh"), 0)
        assert quarters(gan.encoder) == 1 and float(gan.pace.skill) == 0
        assert quarters(gan.decoder.get_layer("code")) == 1 and quarters(gan.decoder.get_layer("identity")) == 0
        heads = [quarters(gan.discriminator.get_layer(n)) for n in ("expression", "identity")]
        assert heads == [kept, 0]


def test_the_rate_falls_over_the_steps_that_are_made():
    settings = script.Settings(preset="smoke", rate=2e-3, decay_to=0.25, max_steps=10)
    for length, wanted in ((2, 6), (50, 10)):
        rate = networks.optimizer(settings, [None] * length, 3)._learning_rate
        assert rate.decay_steps == wanted


def test_features_are_read_off_the_right_networks():
    """The GAN's code and maps, the baseline's, a fresh encoder's, the local CNNs' of the one that sees them alone."""
    options = {"width": 1 / 32, "code": 8}
    gan = de_gan.DEGAN(classes=THREE, subjects=("a", "b"), noise=3, **options)
    baseline = de_gan.EncoderCNN(classes=THREE, **options)
    models = {uses: de_gan.DEGANClassifier(classes=THREE, uses=uses, **options) for uses in de_gan.USES}
    fresh = de_gan.build_encoder(**options)
    for scale, net in enumerate((gan.encoder, baseline, fresh, *models.values()), 20):
        for v in net.weights:
            if len(v.shape) > 1:
                v.assign(scale * np.array(v))
    x = np.random.default_rng(0).random((2, 96, 96, 1)).astype(np.float32)
    *maps, code = (np.asarray(m) for m in gan.encoder(2 * x - 1, training=False))
    wanted = {
        "f(x)": code,
        "residues, each map's mean": np.concatenate([m.mean((1, 2)) for m in maps], -1),
        "CNN (baseline), as printed": baseline.trunk(2 * x - 1, training=False)[1],
        "f(x), untrained": fresh(2 * x - 1, training=False)[-1],
    }
    for given, source in ((models, "residues"), ({"both": models["both"]}, "both"), ({"code": models["code"]}, None)):
        read = measures.features_of(gan, {"printed": baseline}, given, fresh)
        if source:
            wanted["last FC of the local CNNs"] = np.concatenate(models[source].features(x)[:4], -1)
        else:
            del wanted["last FC of the local CNNs"]
        assert set(read) == set(wanted)
        for name, value in wanted.items():
            assert np.ptp(value) > 0
            np.testing.assert_allclose(read[name](x), value, atol=1e-5, err_msg=name)


def test_rates_of_the_five_classifiers():
    """More faces than one batch has: the fourth always says anger, the fifth the place of the face modulo three."""
    listed = marked(4, THREE, 8)[:70]

    def logits(part):
        return [np.eye(3)[[0] * len(part)], np.eye(3)[np.mod(places(part), 3)]]

    of_fifth = np.mean([THREE.index(r.expression) == place % 3 for place, r in enumerate(listed)])
    of_fourth = np.mean([r.expression == "anger" for r in listed])
    rates = measures.rates({"both": SimpleNamespace(numbers=(4, 5), logits=logits)}, listed, THREE)
    assert of_fourth != of_fifth
    assert rates == {"both": {"L4": pytest.approx(of_fourth), "L5": pytest.approx(of_fifth)}}
