"""`python -m experiments.pretrain_se_resnet` on a fake FER-2013 with votes: what is trained, chosen, stored, read."""

import json

import h5py
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from experiments import predict, regenerate
from experiments import pretrain_se_resnet as command
from experiments.parts.se_resnet import measures
from experiments.run import fitting, on_fer2013
from fer_tf import export, faces, recognise, training, weights
from fer_tf.compat import keras
from fer_tf.datasets import fer2013
from fer_tf.models import se_resnet
from fer_tf.records import CLASSES

COUNTS = {"train": 24, "public_test": 10, "private_test": 6}
SMOKE = {"preset": "smoke", "precision": "float32", "progress": False}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder with three files of noise and the votes on it."""
    folder, rng = tmp_path_factory.mktemp("ferplus"), np.random.default_rng(0)
    votes = {"columns": np.array(fer2013.VOTES)}
    for split, count in COUNTS.items():
        image = rng.integers(0, 256, (count, 48, 48), dtype=np.uint8)
        label = np.resize([0, 2, 3, 4, 5, 6, 7], count).astype(np.uint8)
        np.savez(folder / f"fer2013_{split}.npz", image=image, label=label)
        votes[split] = rng.multinomial(10, [0.1] * 10, count).astype(np.uint8)
    np.savez(folder / "ferplus.npz", **votes)
    return folder


def by_averages(model):
    """Whether every weight is its running average."""
    pairs = zip(model.averages.followed, model.averages.values, strict=True)
    return all(np.array_equal(np.array(a), np.array(b)) for a, b in pairs)


@pytest.fixture(scope="module")
def smoke(pictures, tmp_path_factory):
    """(file, folder, what a `Reader` was given, in order, what the validation said) of a whole smoke run.

    The first of the two epochs is made the better one.
    """
    folder, given, said = tmp_path_factory.mktemp("se_resnet"), [], []
    read, fit, scores = measures.Reader.__call__, fitting.fit, iter((0.9, 0.1))

    def watched(own, faces):
        given.append((len(faces), by_averages(own.model)))
        return read(own, faces)

    def scored(*args, validation, **options):
        def judged(model):
            said.append(validation(model))
            return {**said[-1], "accuracy": next(scores)}

        return fit(*args, validation=judged, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures.Reader, "__call__", watched)
        patch.setattr(fitting, "fit", scored)
        out = folder / "out.h5"
        made = command.Settings(**SMOKE, data_dir=pictures, workdir=folder / "run", out=out, seed=3)
        assert command.run(made) == out
    return out, folder / "run", given, said


def test_the_epoch_is_chosen_on_the_public_test_and_the_private_one_is_read_at_the_end(smoke):
    """Two epochs, by averages, and the temperatures by the one; the other as it is, mirrored, in five conditions."""
    out, folder, given, said = smoke
    assert given[:2] == [(10, True)] * 2 and [count for count, _ in given[2:]] == [10] + [6] * 7
    assert [found["accuracy"] for found in said] == [(found["votes"] + found["labels"]) / 2 for found in said]
    metric, about = json.loads((folder / "metrics.json").read_text()), weights.provenance(out)
    assert about["metric"] == metric and about["datasets"] == ["fer2013"] and about["seed"] == 3
    assert metric["private_test"]["counts"]["labels"] == 6 and 0 <= metric["public_test"]["votes"] <= 1
    assert str(folder.parent) not in json.dumps(about) and "init" not in about


def test_what_is_stored_is_the_best_epochs_average_in_half_precision(smoke):
    out, folder, *_ = smoke
    assert json.loads((folder / "pretrain/best/best.json").read_text())["epoch"] == 1
    about, model = weights.provenance(out), command.build(command.Settings(**SMOKE), 3)
    training.restore(model, folder / "pretrain", "best")
    assert not by_averages(model)
    model.averages.take()
    wanted = [np.array(v) for v in model.averaged_variables()]
    weights.load(model, out)
    for variable, value in zip(model.averaged_variables(), wanted, strict=True):
        halved = value.astype(np.float16).astype(np.float32) if value.ndim > 1 else value
        np.testing.assert_array_equal(np.array(variable), halved)
    with h5py.File(out) as file:
        assert file["logits/kernel"].dtype == np.float16 and file["logits/bias"].dtype == np.float32
    assert about["model"] == "se_resnet.SEResNet" and about["classes"] == list(CLASSES["eight"])


def test_a_weights_file_names_eight_expressions_by_its_path(smoke):
    """With the temperatures that were fitted: `predict`, `recognise` and an export, all from the file."""
    out, folder, *_ = smoke
    metric, model = json.loads((folder / "metrics.json").read_text()), export.rebuild(out)
    assert isinstance(model, se_resnet.SEResNet) and model.width == 4
    fitted = [metric[name] for name in ("temperature", "label_temperature", "blend")]
    assert [model.temperature, model.label_temperature, model.blend] == fitted and fitted[0] != 1 != fitted[1]
    noise = np.random.default_rng(5).integers(0, 256, (3, 70, 70), np.uint8)
    logits = model.both_logits(model.preprocess(tf.constant(noise[..., None], tf.float32) / 255))[0]
    assert model.balance == metric["balance"] and sum(model.frequencies) == pytest.approx(1)
    wanted = measures.softmax(np.array(logits) / metric["temperature"] - metric["balance"] * np.log(model.frequencies))
    assert np.abs(wanted - measures.softmax(np.array(logits))).max() > 1e-3
    named = recognise.faces(list(noise), model=out)
    for face, row in zip(named, wanted, strict=True):
        assert [*face.probabilities] == [*CLASSES["eight"]]
        np.testing.assert_allclose([*face.probabilities.values()], row, atol=1e-5)
        assert face.expression == CLASSES["eight"][row.argmax()]
    assert recognise.predictor(str(out)).template.name == "ia_gen"
    assert export.save(model, folder / "export") <= export.TOLERANCE
    again = recognise.faces(list(noise), model=folder / "export")
    assert [face.expression for face in again] == [face.expression for face in named]
    with pytest.raises(ValueError, match="has no generators: give weights of IA-gen"):
        regenerate.load(str(out))


def test_predict_takes_the_file(smoke, tmp_path, capsys):
    """A photograph's line has eight probabilities, those of the face as it is aligned."""
    picture = pytest.importorskip("skimage.data").astronaut()
    Image.fromarray(picture).save(tmp_path / "a.png")
    made = predict.Settings(image=(str(tmp_path / "a.png"),), model=str(smoke[0]), out=str(tmp_path / "out"))
    capsys.readouterr()
    assert predict.run(made) == 0 and (tmp_path / "out/a_faces.jpg").is_file()
    (face,) = json.loads(capsys.readouterr().out)["faces"]
    aligned = faces.align(picture, se_resnet.TEMPLATE, box=faces.detect(picture)[0])
    own = tf.cast(tf.constant(aligned), tf.float32)[None] / 255
    np.testing.assert_allclose(
        [face["probabilities"][name] for name in CLASSES["eight"]],
        export.rebuild(smoke[0]).classify(tf.image.rgb_to_grayscale(own))[0], atol=2e-3,
    )  # fmt: skip
    assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-3)


def test_the_same_command_again_trains_nothing(smoke, pictures, capsys):
    out, folder, *_ = smoke
    before = weights.provenance(out)
    made = command.Settings(**{**SMOKE, "progress": True}, data_dir=pictures, workdir=folder, out=out, seed=3)
    assert command.run(made) == out and "is done: 2 epochs, 6 steps" in capsys.readouterr().out
    assert weights.provenance(out)["metric"] == before["metric"]


release = command.release


@pytest.fixture
def trained(monkeypatch):
    """What reaches `fitting.fit` instead of being trained, then what `release` would store: one dict a run."""
    calls = []

    def fit(settings, model, data, folder, strategy, **options):
        calls.append({"model": model, "data": data, "folder": folder, **options})

    monkeypatch.setattr(fitting, "fit", fit)
    monkeypatch.setattr(training, "restore", lambda *args: None)
    monkeypatch.setattr(
        command, "release",
        lambda settings, model, listed, folder, out: calls[-1].update(out=out) or {
            "private_test": {"votes": 0.0, "labels": 0.0}
        },
    )  # fmt: skip
    return calls


def test_what_is_trained(trained, pictures, tmp_path):
    """What the docstring says of it, read off the built objects; a tenth of the width."""
    made = command.Settings(
        preset="paper", data_dir=pictures, workdir=tmp_path, precision="float32", width=6, batch_size=8, mixup=0.3
    )
    assert command.run(made) == tmp_path / "se_resnet_ferplus.h5"
    (call,) = trained
    model, data, sgd = call["model"], call["data"], call["model"].classifier_optimizer
    assert call["epochs"] == made.epochs == 120 and call["folder"] == tmp_path / "pretrain" and "stop" not in call
    assert isinstance(sgd, keras.optimizers.SGD) and sgd.momentum == 0.9 and sgd.nesterov and sgd.weight_decay == 5e-3
    assert sgd.global_clipnorm == 5 and command.Settings().width == 64 and command.Settings().batch_size == 128
    rates = [float(sgd._learning_rate(step)) for step in (0, 9, 9 + 351 // 2, 360)]
    assert len(data) == 3 and rates == pytest.approx([0.01, 0.1, 0.05, 0], abs=1e-3)
    for name in command.PASSED:
        assert model.get_config()[name] == getattr(made, name), name
    assert {*se_resnet.VIEWS} < {*command.PASSED} and model.step_views.mixup == 0.3
    assert [r.split for r in data.records] == ["train"] * 24 and data.batch_size == 8
    assert model.classes == CLASSES["eight"] and model.label_classes == CLASSES["six_neutral"]


def test_kernels_decay_and_nothing_else():
    """Without a gradient, a step at the highest rate shrinks every kernel by decay times the rate."""
    model = command.build(command.Settings(preset="smoke", decay=0.25, rate=0.5, epochs=100, warmup=2), 1)
    for variable in model.trainable_variables:
        variable.assign(tf.ones_like(variable))
    model.classifier_optimizer.iterations.assign(2)
    model.classifier_optimizer.apply_gradients([(tf.zeros(v.shape), v) for v in model.trainable_variables])
    ends = [(len(v.shape) > 1, round(float(np.array(v).flat[0]), 5)) for v in model.trainable_variables]
    assert {*ends} == {(False, 1.0), (True, 1 - 0.25 * 0.5)}


def test_by_the_clock(trained, pictures, tmp_path):
    """The rate then is a number that the clock sets, at first that of its first epoch."""
    given = {**SMOKE, "data_dir": pictures, "workdir": tmp_path, "rate": 0.8, "warmup": 3}
    command.run(command.Settings(**given, minutes=2.0))
    (call,) = trained
    clock, sgd = call["stop"].__self__, call["model"].classifier_optimizer
    assert (clock.seconds, clock.epochs, clock.highest, clock.warmup) == (120, 2, 0.8, 3)
    assert float(np.array(sgd.learning_rate)) == pytest.approx(0.2)
    clock.began = clock.now() - 60
    call["after_epoch"](call["model"], 1)
    half = 0.8 * 2 / 4 * 0.5
    assert float(np.array(sgd.learning_rate)) == pytest.approx(half, rel=0.05)
    assert json.loads((tmp_path / "clock.json").read_text())["seconds"] == pytest.approx(60, abs=5)


def test_init_is_loaded_and_said(trained, pictures, smoke, tmp_path):
    made = command.Settings(**SMOKE, data_dir=pictures, workdir=tmp_path, init=smoke[0])
    command.run(made)
    model, start = trained[0]["model"], export.rebuild(smoke[0])
    for a, b in zip(model.averaged_variables(), start.averaged_variables(), strict=True):
        np.testing.assert_array_equal(np.array(a), np.array(b))
    assert (model.temperature, model.label_temperature) == (1, 1)  # fitted anew
    release(made, start, on_fer2013.parts(made), tmp_path, tmp_path / "w.h5")
    assert weights.provenance(tmp_path / "w.h5")["init"] == weights.provenance(smoke[0])


@pytest.mark.parametrize("name", ["ferplus.npz", "fer2013_private_test.npz"])
def test_what_is_missing_is_one_sentence(pictures, tmp_path, name):
    for file in pictures.iterdir():
        if file.name != name:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    sentence = {
        "ferplus.npz": r"has no votes of FER\+: put fer2013new.csv beside fer2013.csv, or ferplus.npz beside the .npz",
        "fer2013_private_test.npz": "fer2013_private_test.npz is missing",
    }[name]
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        command.run(command.Settings(**SMOKE, data_dir=tmp_path, workdir=tmp_path / "run"))


def test_votes_without_a_public_test(tmp_path, capsys):
    """A list of two parts: no tenth of the training pictures takes its place."""
    rng, rows = np.random.default_rng(0), []
    for i in range(12):
        usage = "PrivateTest" if i > 8 else "Training"
        rows.append((f"{i % 7},{' '.join(map(str, rng.integers(0, 256, 2304)))},{usage}", f"{usage},a,{'1,' * 9}1"))
    names = ",".join([*fer2013.VOTES[:-1], "NF"])
    (tmp_path / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *(row for row, _ in rows)]))
    (tmp_path / "fer2013new.csv").write_text("\n".join([f"Usage,Image name,{names}", *(row for _, row in rows)]))
    with pytest.raises(ValueError, match="has no public_test, by which the epoch is chosen"):
        command.run(command.Settings(**SMOKE, data_dir=tmp_path, workdir=tmp_path / "run"))


def test_shares_that_are_more_than_all(refused, pictures, tmp_path):
    flags = ["--mixup=0.7", "--cutmix=0.4"]
    cases = {
        tuple(flags): "mixup 0.7 and cutmix 0.4 have to add up to at most 1",
        ("--average=1",): "--average=1",
        ("--shift=0.6",): "--shift=0.6",
        (f"--init={tmp_path / 'nothing'}",): "no released weights",
    }
    refused("pretrain_se_resnet", cases, "--preset=smoke", f"--data_dir={pictures}", f"--workdir={tmp_path / 'run'}")
