"""GCNet's commands: rows and pictures, who trains and who is tested, the paper's numbers, what is refused."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from experiments import gcnet as script
from experiments import gcnet_generators, pretrain_gcnet
from experiments.parts.gcnet import pictures
from experiments.run import data, provenance
from fer_tf import catalogue, evaluation, export, faces, figures, training, weights
from fer_tf.models import gcnet
from fer_tf.records import Fold, Record

SMOKE = ("--preset=smoke", "--precision=float32")
ROWS = "S1R1@1,S1R1@0.1"
NAMES = ("GCNet S1R1, lambda_s 1", "GCNet S1R1, lambda_s 0.1")
TINY = {"preset": "smoke", "precision": "float32", "progress": False}


@pytest.fixture(scope="module")
def run(here, op_by_op, tmp_path_factory):
    """A finished smoke run of one fold with pre-trained encoders: its folder and what it printed."""
    folder, start = tmp_path_factory.mktemp("gcnet"), []
    for stage, flag in (("autoencoder", "encoder1"), ("identify", "encoder2")):
        place = {"workdir": str(folder / stage), "out": str(folder / f"{stage}.h5")}
        settings = pretrain_gcnet.Settings(**TINY, stage=stage, part="posed", classes="fear,sadness", **place)
        with op_by_op():
            out = pretrain_gcnet.run(settings)
        told = weights.provenance(out)
        assert told["datasets"] == ["rendered/posed"] and told["command"].endswith(f"--out={stage}.h5")
        start.append(f"--{flag}={out}")
    with op_by_op():
        done = here("gcnet", *SMOKE, f"--workdir={folder / 'run'}", f"--rows={ROWS}", "--only_folds=0", *start)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "run", done.stdout


def test_every_row_is_in_the_table_and_the_files(run):
    folder, printed = run
    found = json.loads((folder / "metrics.json").read_text())
    assert tuple(found["methods"]) == NAMES and all(f"\n{name} " in printed for name in NAMES)
    assert [np.sum(m["last"]["confusion"]) for m in found["methods"].values()] == [12] * 2
    (generation,) = found["generation"]
    assert set(generation) == set(NAMES) and 0 < generation[NAMES[1]]["l1"]["input"] < 0.2
    drawn = ("tsne", "tsne_intensity", "faces_gcnet_s1r1__lambda_s_0_1", "weights", "confusion_gcnet_s1r1__lambda_s_1")
    for name in drawn:
        with Image.open(folder / f"{name}.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 5, name


def test_the_exported_model_is_the_last_row(run):
    predictor = export.load(run[0] / "export")
    p = predictor(list(np.random.default_rng(0).integers(0, 256, (3, 90, 80), dtype=np.uint8)))
    assert p.shape == (3, 2) and np.allclose(p.sum(-1), 1, atol=1e-5)
    assert predictor.metadata["row"] == NAMES[-1] and predictor.metadata["model"] == "GCNet"


def test_parameters_are_told_beside_the_table(run):
    folder, printed = run
    model = gcnet.GCNet(width=1 / 16, classes=("anger", "happiness"))
    wanted = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    found = json.loads((folder / "metrics.json").read_text())["parameters"]
    assert found == dict.fromkeys(NAMES, wanted) and f"{NAMES[0]} {wanted:,}" in printed


def test_sequences_end_in_their_expression_and_grow():
    """A neutral frame belongs to its sequence; strength is the intensity, else the place in the sequence."""
    given = [("neutral", "s1", 1), ("fear", "s1", 3), ("fear", "s1", 2), ("neutral", "s2", 0)]
    listed = [Record(b"", e, "a", sequence=s, frame=f) for e, s, f in given]
    labels, strength = pictures.whole_sequences(listed)
    assert labels == ["fear", "fear", "fear", "neutral"]
    np.testing.assert_allclose(strength, [0, 1, 2 / 3, 0])
    measured = [replace(r, info={"intensity": i}) for r, i in zip(listed, (0.0, 0.8, 0.4, 0.0), strict=True)]
    np.testing.assert_allclose(pictures.whole_sequences(measured)[1], [0, 1, 0.5, 0])


SHOWN = ("neutral", "anger", "happiness")
WITHOUT = (2, 4)
"""People of the planted set who have no neutral face."""


class Centre:
    """Views that leave every pixel as it is."""

    def random(self, images, seed, turn, views):
        return tf.nest.map_structure(self.test_view, images), turn

    def test_view(self, images):
        return tf.convert_to_tensor(images)[:, 1:-1, 1:-1]


def planted(people):
    """Two sequences of each person, whose grey value says who it is, what is shown and in which sequence."""
    return [
        Record(
            np.full((66, 66), 8 * person + 2 * shown + sequence, np.uint8),
            SHOWN[shown],
            subject=f"s{person}",
            sequence=str(sequence),
            info={"framed": True},
        )
        for person in people
        for sequence in (0, 1)
        for shown in range(3)
        if shown or person not in WITHOUT
    ]


def read(image):
    """(person, expression, sequence) of a planted face, or of a view of it."""
    grey = np.unique(np.round(255 * np.asarray(image)).astype(int))
    assert len(grey) == 1
    return int(grey[0]) // 8, SHOWN[grey[0] % 8 // 2], int(grey[0]) % 2


class Spy:
    """Stands in for training and testing, and reads the faces that they are given: {place: rows, faces}."""

    def __init__(self, monkeypatch, parts):
        self.trained, self.told, self.tested, self.models = {}, {}, {}, []
        load = lambda name, root=None, options=None: planted(parts[(options or {}).get("part")])  # noqa: E731
        monkeypatch.setattr(catalogue, "load", load)
        monkeypatch.setattr(gcnet, "views", Centre())
        monkeypatch.setattr(training, "fit", self.fit)
        monkeypatch.setattr(training, "restore", lambda model, *_: model)
        monkeypatch.setattr(evaluation, "predict", self.predict)
        monkeypatch.setattr(export, "save", lambda model, *_, **__: self.models.append(model))
        for name in ("history", "save", "tsne", "grid", "confusion_matrix", "class_bars"):
            monkeypatch.setattr(figures, name, lambda *_, **__: None)

    def fit(self, model, batches, *, workdir, validation=None, **options):
        self.place, rows = Path(workdir).relative_to(Path(workdir).parents[2]).as_posix(), []
        for batch in batches.epoch(0):
            for i, face in enumerate(batch["image"]):
                there = "reference" in batch and ("has_reference" not in batch or bool(batch["has_reference"][i]))
                rows.append((read(face), read(batch["reference"][i]) if there else None, int(batch["label"][i])))
        self.trained[self.place], self.told[self.place] = rows, {**options, "batch_size": batches.batch_size}
        if validation is not None:
            validation(model)

    def predict(self, model, batches):
        labels = np.concatenate([b["label"] for b in batches.epoch(0)])
        rows = [row for b in batches.epoch(0) for row in zip(b["image"], b["label"], strict=True)]
        given = [(read(face), int(label)) for face, label in rows]
        assert self.tested.setdefault(self.place, given) == given
        return labels, 1 - labels


def faces_of(people, shown=("anger", "happiness")):
    """Every face of these people that shows one of these, with its number, as `planted` lists them."""
    every = [(p, e, s) for p in people for s in (0, 1) for e in SHOWN if e in shown]
    return [(face, shown.index(face[1])) for face in every if face[1] != "neutral" or face[0] not in WITHOUT]


def neutral_of(face):
    """The neutral face of the same person, in the same sequence."""
    person, _, sequence = face
    return None if person in WITHOUT else (person, "neutral", sequence)


def test_nobody_who_is_tested_trains(monkeypatch, tmp_path):
    """Strided folds of five people: what is trained on, each reference, and what is tested, read off the pixels."""
    spy, rows = Spy(monkeypatch, {None: range(5)}), ("cnn", "metric_cnn", "S1R1")
    settings = script.Settings(**TINY, rows=rows, max_subjects=0, views=2, workdir=str(tmp_path), seed=5)
    results = script.run(settings)
    assert len(spy.trained) == 6
    for fold, held_out in enumerate(((0, 2, 4), (1, 3))):
        learn = faces_of([p for p in range(5) if p not in held_out])
        for row in rows:
            place = f"run0/fold{fold}/{row}"
            pairs = [(face, None if row == "cnn" else neutral_of(face), label) for face, label in learn]
            assert Counter(spy.trained[place]) == Counter(2 * pairs), place
            assert spy.tested[place] == faces_of(held_out), place
            assert spy.told[place]["max_steps"] == 2 and spy.told[place]["batch_size"] == 4
        mean = np.mean([2 * SHOWN.index(e) for p in held_out if p not in WITHOUT for e in ("anger", "happiness")])
        measured = results.measures[fold]
        assert [*measured] == ["GCNet S1R1"]
        # the first neutral face stands for the person: sequence 1 is one grey value further from it
        assert measured["GCNet S1R1"]["l1"]["input"] == pytest.approx((mean + 0.5) / 255)
    assert [*results.methods] == [*results.models] == ["CNN", "Metric-learning CNN", "GCNet S1R1"]
    assert results.methods["CNN"]["last"]["micro"]["pooled"] == 0 and spy.models == [results.models["GCNet S1R1"]]


def test_controls_are_trained_and_tested_with_real_neutral_faces(monkeypatch, tmp_path):
    """The ceiling with the person's own, the floor with a stranger's of the same side; the margin of the data."""
    spy, asked = Spy(monkeypatch, {None: (0, 1, 3, 5)}), []
    monkeypatch.setattr(
        evaluation, "predict", lambda model, test: asked.extend(test.epoch(0)) or spy.predict(model, test)
    )
    rows = ("S1R0:neutral", "S1R0:stranger")
    settings = script.Settings(**TINY, rows=rows, max_subjects=0, only_folds="0", workdir=str(tmp_path))
    results = script.run(settings)
    learn, held_out = (1, 5), (0, 3)
    for row, own in zip(("S1R0_neutral", "S1R0_stranger"), (True, False), strict=True):
        found = spy.trained[f"run0/fold0/{row}"]
        assert Counter((face, label) for face, _, label in found) == Counter(faces_of(learn))
        for face, reference, _ in found:
            assert reference[1] == "neutral" and reference[0] in learn and (reference[0] == face[0]) is own
        assert spy.tested[f"run0/fold0/{row}"] == faces_of(held_out)
    pairs = [(read(a), read(b)) for batch in asked for a, b in zip(batch["image"], batch["reference"], strict=True)]
    assert {b[0] == a[0] for a, b in pairs} == {True, False} and {b[0] for _, b in pairs} == {*held_out}
    assert all(b[1] == "neutral" for _, b in pairs)
    names = ["GCNet S1R0, with the true neutral face", "GCNet S1R0, with a stranger's neutral face"]
    assert [*results.methods] == names and results.measures == [{}]
    assert results.export == tmp_path / "export" and spy.models == [results.models[names[0]]]  # of what a user may have
    margins = json.loads((tmp_path / "metrics.json").read_text())["margins"]
    assert [*margins] == names and all(0 < m == results.models[name].margin != 1 for name, m in margins.items())


def test_two_folds_tested_as_one(monkeypatch, tmp_path):
    """Fig. 11: --together=0,2 of three folds; the other one trains."""
    spy = Spy(monkeypatch, {None: (0, 1, 3)})
    given = {"folds": 3, "together": "0,2", "rows": ("cnn",), "max_subjects": 0}
    script.run(script.Settings(**TINY, **given, workdir=str(tmp_path)))
    assert Counter(r[0] for r in spy.trained["run0/fold0/cnn"]) == Counter(f for f, _ in faces_of((1,)))
    assert spy.tested["run0/fold0/cnn"] == faces_of((0, 3))
    with pytest.raises(ValueError, match="--together=0,1,2 leaves nobody to train on"):
        data.joined("0,1,2", [Fold((2, 3), (0, 1)), Fold((0, 1), (2, 3)), Fold((0, 2), (1, 3))])
    with pytest.raises(ValueError, match="--together=0,9: give fold numbers from 0 to 0"):
        data.joined("0,9", [Fold((0,), (1,))])


def test_fig_6_is_of_whole_sequences(monkeypatch):
    """Of a data set with a rule of frames, all frames of these people, whatever was trained on; else those held out."""
    loaded = []
    frames = [Record(np.zeros((66, 66), np.uint8), "fear", subject=p, info={"framed": True}) for p in "abb"]
    monkeypatch.setattr(catalogue, "load", lambda *given: loaded.append(given) or frames)
    given = {"preset": "smoke", "data_dir": "here"}
    oulu = script.Settings(**given, protocol="oulu_strong_10fold", options=("camera=NI",))
    assert pictures.whole(oulu, [Record(b"", "fear", subject="b")]) == frames[1:]
    assert loaded == [("oulu_casia", "here", {"camera": "NI", "light": "Strong", "frames": "all"})]
    held_out = [Record(b"", "fear", subject="b")]
    assert pictures.whole(script.Settings(**given), held_out) == held_out and len(loaded) == 1


def test_another_data_set_to_test_on(monkeypatch, tmp_path):
    """Table VI: --train_on adds people, --test_on takes the folds' place; one name in two sets is two people."""
    spy = Spy(monkeypatch, {None: (0, 1, 2), "posed": (3,), "wild": (4, 5)})
    more = {"train_on": ("rendered/posed",), "test_on": "rendered/wild", "rows": ("S1R0",), "max_subjects": 2}
    file = tmp_path / "gcnet.h5"
    results = script.run(script.Settings(**TINY, **more, workdir=str(tmp_path), weights_out=str(file)))
    about = weights.provenance(file)
    assert about["datasets"] == ["rendered", "rendered/posed"] and about["model"] == "gcnet.GCNet"
    assert about["config"]["variant"] == "S1R0" and about["metric"]["tested_on"] == "rendered/wild"
    (place,) = spy.trained
    pairs = [(face, neutral_of(face), label) for face, label in faces_of((0, 1, 3))]
    assert place == "run0/fold0/S1R0" and Counter(spy.trained[place]) == Counter(pairs)
    assert spy.tested[place] == faces_of((4, 5))
    told = json.loads((tmp_path / "folds.json").read_text())
    assert told["order"] == "trained on rendered, rendered/posed, tested on rendered/wild"
    assert told["folds"][0]["subjects"] == ["rendered:s4", "rendered:s5"]
    assert json.loads((tmp_path / "metrics.json").read_text())["protocol"] == "tested on rendered/wild"
    assert [*results.measures[0]] == ["GCNet S1R0"]
    alike = script.Settings(dataset="folder", data_dir="here", test_on="folder=there")
    assert provenance.facts(alike, SHOWN, 0.0)["protocol"] == "tested on folder"


def test_the_generators_alone(monkeypatch, tmp_path):
    """Figs. 9 and 10: each target from training people alone; measured on the held-out ones, against the same face."""
    spy, measured = Spy(monkeypatch, {None: range(6)}), []

    def measure(made, wanted, images, same, where):
        measured.append(sorted((read(a), read(b)) for a, b in zip(images, wanted, strict=True)))
        assert [read(images[j])[0] for j in np.flatnonzero(same[0])] == [read(images[0])[0]] * same[0].sum()
        return {"l1": 0.25, "ssim": 0.5}

    monkeypatch.setattr(gcnet_generators, "measure", measure)
    monkeypatch.setattr(faces, "has_landmarks", lambda: False)
    given = {"classes": ",".join(SHOWN), "generators": ("conv_ae", "dcgan"), "max_subjects": 0, "only_folds": "1"}
    settings = gcnet_generators.Settings(**TINY, **given, workdir=str(tmp_path / "a/b"))
    results = gcnet_generators.run(settings)
    kinds = ("anger", "happiness", "neutral")
    learn, held_out = ([face for face, _ in faces_of(people, kinds)] for people in ((0, 2, 4), (1, 3, 5)))
    for generator in given["generators"]:
        assert Counter(r[:2] for r in spy.trained[f"a/b/{generator}_image"]) == Counter((f, None) for f in learn)
        pairs = Counter((f, neutral_of(f)) for f in learn)
        assert Counter(r[:2] for r in spy.trained[f"a/b/{generator}_reference"]) == pairs
    alike, apart = (sorted((f, of(f)) for f in held_out) for of in (lambda f: f, neutral_of))
    assert measured == [alike, alike, apart, apart] and spy.tested == {}
    names = ["conv_ae, reconstructed", "dcgan, reconstructed", "conv_ae, disentangled", "dcgan, disentangled"]
    table = json.loads((tmp_path / "a/b/metrics.json").read_text())["generation"]
    assert [*table] == [*results.models] == names and table[names[1]]["ssim"] == 0.5
    model = results.models[names[3]]
    assert model.target == "reference" and table[names[3]]["parameters"] == model.count_params()


def datasets_of(path):
    """Names of all variables in a weights file."""
    names = []
    with h5py.File(path) as file:
        file.visititems(lambda name, value: names.append(name) if isinstance(value, h5py.Dataset) else None)
    return names


def test_people_are_the_labels_of_encoder2(monkeypatch, tmp_path):
    """Section IV-A: Encoder2's net names people, Encoder1's gives faces back; both of --part alone."""
    spy, everybody = Spy(monkeypatch, {"wild": range(4)}), ("anger", "happiness", "neutral")
    for stage, part in (("identify", "encoder2"), ("autoencoder", "generator/encoder1")):
        settings = pretrain_gcnet.Settings(**TINY, stage=stage, part="wild", workdir=str(tmp_path / stage))
        net, saved = gcnet.GCNet(width=1 / 16, classes=("a", "b")), pretrain_gcnet.run(settings)
        weights.load(net, saved, only=part)
        names = datasets_of(saved)
        assert len(names) == 15 and all(name.startswith(f"{part}/") for name in names)
        told = weights.provenance(saved)
        assert told["data"] == "rendered, 22 faces" + " of 4 people" * (stage == "identify")
        (place,) = [p for p in spy.trained if p.endswith(f"{stage}/{stage}")]
        wanted = [(f, None, f[0] if stage == "identify" else 0) for f, _ in faces_of(range(4), everybody)]
        assert Counter(spy.trained[place]) == Counter(wanted)


def test_the_papers_numbers():
    """Sections IV-A and IV-B, Table I: read off what `--preset=paper` builds."""
    settings = script.Settings(preset="paper")
    wanted = {"folds": 10, "fold_order": "strided", "max_steps": 300_000, "classes": "seven", "max_subjects": 0}
    assert {name: getattr(settings, name) for name in wanted} == wanted
    rows = [script.Row.read(text, settings.lambda_s) for text in settings.rows]
    assert [row.variant for row in rows] == ["cnn", "metric_cnn", "S0R0", "S1R0", "S0R1", "S1R1"]
    model = script.build(settings, rows[-1], settings.labels, 0)
    losses = {"lambda_s": 1, "lambda_g": 1, "lambda_ri": 0.25, "lambda_rr": 0.25, "lambda_c": 1, "margin": 1}
    assert settings.margin == 0, "not printed: of the data"
    losses |= {"weight_decay": 1e-4, "variant": "S1R1", "padding": "same"}
    assert {name: getattr(model, name) for name in losses} == losses
    assert model.dropout == model.code_dropout.rate == 0.5 and model.hidden.units == 384 and model.head.units == 7
    kernels = [tuple(model.encoder2.get_layer(f"conv{i}").kernel.shape) for i in (1, 2, 3)]
    assert kernels == [(5, 5, 1, 32), (3, 3, 32, 64), (3, 3, 64, 96)]
    for name, rate in (("classifier", 0.001), ("decoder", 0.01)):
        told = getattr(model, f"{name}_optimizer").get_config()
        assert told["learning_rate"]["config"] == pytest.approx({"rate": rate, "gamma": 1e-4, "power": 0.75}), name
        assert told["momentum"] == 0.9 and told["nesterov"] is True
    listed = planted(range(2))
    batches = data.batches(settings, listed, SHOWN, gcnet, 0, True)
    assert (batches.batch_size, batches.template.size, batches.views_per_image) == (64, (66, 66), 100)
    assert next(iter(batches.epoch(0)))["image"].shape == (64, 64, 64, 1)
    assert batches.views == gcnet.Views(degrees=10.0, scale=(0.9, 1.1), shift=0.05, intensity=(0.8, 1.2))
    alone = gcnet_generators.Settings(preset="paper")
    assert (alone.classes, alone.batch_size, alone.fold_order) == ("eight", 64, "strided")
    before = pretrain_gcnet.Settings(preset="paper")
    assert (before.batch_size, before.width, before.rate, before.padding) == (64, 1.0, 0.001, "same")


@pytest.fixture
def quarters(tmp_path):
    """Files of both encoders, all 0.25 and all 0.75."""
    for name, part, value in (("one", "generator/encoder1", 0.25), ("two", "encoder2", 0.75)):
        net = gcnet.GCNet(width=1 / 16)
        for variable in net.weights:
            variable.assign(np.full(variable.shape, value))
        weights.save(net, tmp_path / f"{name}.h5", provenance={}, only=part)
    return {"encoder1": str(tmp_path / "one.h5"), "encoder2": str(tmp_path / "two.h5")}


def test_settings_reach_the_nets(quarters):
    """Unequal values, each where it belongs; --encoder1 and --encoder2, each in its own encoder and nowhere else."""
    own = {"padding": "valid", "margin": 2.0, "lambda_c": 3.0, "lambda_g": 4.0, "lambda_ri": 5.0, "lambda_rr": 6.0}
    own |= {"weight_decay": 0.7, "width": 1 / 16}
    policy = {"rate": 0.2, "multiplier": 7.0, "gamma": 0.5, "power": 0.3}
    shares = lambda net, value: np.mean([np.all(np.array(v) == value) for v in net.weights])  # noqa: E731
    for text, first, second in (("S1R1@8", 1, 1), ("cnn", None, 1), ("S0R0:conv_ae", 0, 0), ("S0R0:neutral", None, 1)):
        rows = (text, "S1R1:conv_vae")  # another row that names its generator changes nothing of this one
        settings = script.Settings(preset="paper", **own, **policy, **quarters, lambda_s=9.0, rows=rows)
        model = script.build(settings, script.Row.read(text, settings.lambda_s), ("fear", "neutral"), 5)
        told = model.get_config()
        assert {name: told[name] for name in own} == own and told["seed"] == 5
        assert (told["variant"], told["lambda_s"]) == (text[:4].rstrip(":@"), 8.0 if "@" in text else 9.0)
        rates = getattr(model, "decoder_optimizer", model.classifier_optimizer).get_config()["learning_rate"]["config"]
        first_rate = 0.2 * (7 if model.generates else 1)
        assert rates == pytest.approx({"rate": first_rate, "gamma": 0.5, "power": 0.3})
        assert shares(model.encoder2, 0.75) == second and shares(model.encoder2, 0.25) == 0
        if model.generates:
            assert shares(model.generator_net.encoder, 0.25) == first and shares(model.generator_net.encoder, 0.75) == 0
            assert shares(model.generator_net.decoder, 0.25) == shares(model.generator_net.decoder, 0.75) == 0


def test_pretraining_needs_no_expression(monkeypatch, tmp_path):
    """The autoencoder takes faces alone, the identification names alone."""
    unlabelled = [replace(r, expression=None) for r in planted(range(3))]
    monkeypatch.setattr(catalogue, "load", lambda *_: unlabelled)
    for stage in ("autoencoder", "identify"):
        settings = pretrain_gcnet.Settings(**TINY, stage=stage, workdir=str(tmp_path / stage))
        assert "16 faces" in weights.provenance(pretrain_gcnet.run(settings))["data"]


@pytest.mark.slow
def test_generators_alone_from_the_command_line(cli, tmp_path):
    done = cli("gcnet_generators", *SMOKE, "--generators=conv_ae", f"--workdir={tmp_path}")
    assert done.returncode == 0, done.stderr[-3000:]
    table = json.loads((tmp_path / "metrics.json").read_text())["generation"]
    assert list(table) == ["conv_ae, reconstructed", "conv_ae, disentangled"]
    assert all(f"\n{name}" in done.stdout for name in table)
    for name in ("fig9", "fig10"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 5, name


def test_what_does_not_fit_gets_one_sentence(refused, tmp_path):
    weights.save(gcnet.Autoencoder(width=1 / 16), tmp_path / "w.h5", provenance={"datasets": ["rendered/wild"]})
    seen = ("--rows=S0R0", "--test_on=rendered/wild", f"--encoder1={tmp_path / 'w.h5'}")
    cases = {
        seen: "was trained on everybody in rendered/wild",
        "--train_on=rendered/posed": "give --test_on",
        "--rows=S2R2": "'S2R2' is no network",
        "--rows=S1R1:gan": "is no network",
        "--rows=S1R1@much": "is no network",
        "--rows=metric_cnn:neutral": "Controls have neutral or stranger",
        "--rows=cnn:neutral": "cnn:neutral tests the network of cnn once more: give cnn before it.",
        ("--together=0,1", "--test_on=rendered/wild"): "leave one of them out",
        ("--protocol=cross_fer2013", "--test_on=fer2013=x"): "give --test_on=fer2013/private_test=<folder>",
        "--views=0": "drawn at random",
        ("--protocol=cross_raf", "--test_on=fer2013=x"): "give --test_on=raf_db=<folder>",
        "--test_on=nowhere": "'nowhere' names no data set",
        "--test_on=rendered/tame": "rendered has no part 'tame'",
        "--encoder2=fer_net_fer2013": "the file lacks encoder2/",
    }
    refused("gcnet", cases, *SMOKE, f"--workdir={tmp_path}", "--only_folds=0")
