"""`python -m experiments.pretrain` and `pretrain_ed2l` on a fake FER-2013: weights, provenance, bad data."""

import contextlib
import io
import json

import numpy as np
import pytest
import tensorflow as tf

from experiments import pretrain, pretrain_ed2l
from experiments.run import on_fer2013
from fer_tf import export, weights
from fer_tf.compat import keras
from fer_tf.models import ed2l, fer_net
from fer_tf.records import CLASSES

SMOKE = ("--preset=smoke", "--precision=float32")


def test_erased_covers_one_rectangle_of_a_share_of_the_pictures():
    pictures = tf.random.stateless_uniform((400, 32, 64, 1), (1, 2))
    covered = pretrain.erased(pictures, 0.25, tf.constant([3, 4])).numpy()
    np.testing.assert_array_equal(covered, pretrain.erased(pictures, 0.25, tf.constant([3, 4])).numpy())
    changed = (covered != pictures.numpy())[..., 0]
    hit = changed.any((1, 2))
    assert 0.17 < hit.mean() < 0.33
    for mask, picture in zip(changed[hit], covered[hit, ..., 0], strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert box.all() and box.sum() == mask.sum() and len(rows) <= 15 and len(columns) <= 29
        assert np.ptp(picture[mask]) == 0
    np.testing.assert_array_equal(pretrain.erased(pictures, 0.0, tf.constant([3, 4])), pictures)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder with 24, 8 and 8 pictures of noise."""
    folder, rng = tmp_path_factory.mktemp("fer2013"), np.random.default_rng(0)
    for split, count in (("train", 24), ("public_test", 8), ("private_test", 8)):
        image = rng.integers(0, 256, (count, 48, 48), dtype=np.uint8)
        label = np.resize([0, 2, 3, 4, 5, 6, 7], count).astype(np.uint8)
        np.savez(folder / f"fer2013_{split}.npz", image=image, label=label)
    return folder


def test_smoke(here, pictures, tmp_path, bound):
    done = here(
        "pretrain", *SMOKE, f"--data_dir={pictures}", f"--workdir={tmp_path / 'run'}", f"--out={tmp_path / 'w.h5'}"
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert bound(tmp_path / "run") == {"pretrain": ({""}, {""}, set())}  # FER-2013 names nobody
    made = weights.provenance(tmp_path / "w.h5")
    assert made["metric"] == json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert made["metric"]["private_test_pictures_in_training"] == 0
    assert str(tmp_path) not in json.dumps(made), "a folder of this machine is in the file"
    model = fer_net.FERNet(**made["config"])
    weights.load(model, tmp_path / "w.h5")
    assert model.classes == ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")


@pytest.fixture
def trained(monkeypatch):
    """What reaches `on_fer2013.train` instead of being trained: {settings, model, data, listed, ...}."""
    calls = []
    names = ("settings", "model", "data", "listed", "strategy", "folder", "experiment", "out", "dtype")
    monkeypatch.setattr(on_fer2013, "train", lambda *args: calls.append(dict(zip(names, args, strict=False))))
    return calls


def rates(optimizer, steps):
    """Its learning rate at these steps."""
    return [float(optimizer._learning_rate(step)) for step in steps]


def test_fer_nets_training(trained, pictures, tmp_path):
    """What the docstring says of it, read off the built objects; the text prints none of it."""
    made = pretrain.Settings(preset="paper", data_dir=pictures, workdir=tmp_path, precision="float32", width=4)
    assert pretrain.run(made) == tmp_path / "fer_net_fer2013.h5"
    (call,) = trained
    assert made.epochs == 64 and call["experiment"] == "pretrain" and call["out"] == tmp_path / "fer_net_fer2013.h5"
    model, data, sgd = call["model"], call["data"], call["model"].classifier_optimizer
    assert isinstance(model, fer_net.FERNet) and model.classes == CLASSES["six_neutral"]
    assert model.label_smoothing == 0.1 and model.get_config()["width"] == 4
    assert pretrain.Settings(preset="paper").width == 64
    assert isinstance(sgd, keras.optimizers.SGD) and sgd.momentum == 0.9 and sgd.nesterov
    assert (data.small_epochs, data.erase, data.batches.batch_size, data.batches.training) == (54, 0.5, 128, True)
    assert data.batches.views is fer_net.random_views and data.batches.views_per_epoch == 24
    assert [r.split for r in data.batches.records] == ["train"] * 24
    # one step an epoch: two of warm-up, then a cosine that ends at zero
    assert len(data) == 1
    assert rates(sgd, (0, 1, 2, 33, 64)) == pytest.approx([0.01, 0.055, 0.1, 0.05, 0.0], abs=1e-6)


def test_weights_decay_but_norms_and_biases_do_not():
    """Without a gradient, a step at the highest rate shrinks every kernel by decay times the rate."""
    model = fer_net.FERNet(classes=("anger", "fear"), width=2, blocks=1, hidden=4)
    for variable in model.trainable_variables:
        variable.assign(tf.ones_like(variable))
    model.compile(classifier_optimizer=pretrain.optimizer(pretrain.Settings(decay=0.25, rate=0.5, epochs=100), 1))
    sgd = model.classifier_optimizer
    sgd.iterations.assign(2)
    sgd.apply_gradients([(tf.zeros(v.shape), v) for v in model.trainable_variables])
    kept = {float(np.array(v).flat[0]) for v in model.trainable_variables if len(v.shape) < 2}
    shrunk = {round(float(np.array(v).flat[0]), 5) for v in model.trainable_variables if len(v.shape) > 1}
    assert kept == {1.0} and shrunk == {1 - 0.25 * 0.5}


@pytest.mark.parametrize("erase", [0.0, 1.0])
def test_views_grow_and_are_erased(trained, pictures, tmp_path, erase):
    """48x48 in the first epochs, then 64x64; --erase=1 covers a part of every view, 0 none."""
    given = {"epochs": 3, "small_epochs": 2, "batch_size": 8, "width": 4, "erase": erase, "precision": "float32"}
    pretrain.run(pretrain.Settings(preset="smoke", data_dir=pictures, workdir=tmp_path, **given))
    data = trained[0]["data"]
    assert data.records is data.batches.records and len(data) == len(data.batches) == 3
    for epoch in range(3):
        side = 48 if epoch < 2 else 64
        for grown, plain in zip(data.epoch(epoch), data.batches.epoch(epoch), strict=True):
            image = plain["image"] if epoch == 2 else tf.image.resize(plain["image"], (48, 48), antialias=True)
            assert grown["image"].shape == (8, side, side, 1)
            np.testing.assert_array_equal(grown["label"], plain["label"])
            touched = np.abs(grown["image"] - image).max((1, 2, 3)) > 1e-3
            assert touched.all() if erase else not touched.any()
    first, second = (next(iter(data.epoch(2)))["image"].numpy() for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("dispelling", [True, False])
def test_the_papers_numbers(trained, pictures, tmp_path, dispelling):
    """Section 3.3: "the same parameter settings described in Sect. 3.1", all ten patches."""
    made = pretrain_ed2l.Settings(
        preset="paper", data_dir=pictures, workdir=tmp_path, precision="float32", dispelling=dispelling
    )
    name = "ed2l" if dispelling else "ed2l_baseline"
    assert pretrain_ed2l.run(made) == tmp_path / f"{name}_fer2013.h5"
    (call,) = trained
    model, data, adam = call["model"], call["data"], call["model"].classifier_optimizer
    assert made.epochs == 100 and made.max_steps is None and call["dtype"] == "float16"
    assert call["experiment"] == "pretrain_ed2l" and model.dispelling is dispelling
    assert (model.margin, model.scale, model.lambda_t, model.lambda_p) == (0.35, 30, 1, 10)
    assert model.weight_decay == 5e-4 and not adam.weight_decay and model.classes == CLASSES["six_neutral"]
    assert (adam.beta_1, adam.beta_2, adam.epsilon) == (0.9, 0.999, 1e-8)
    assert data.batch_size == 64 and data.views_per_epoch == 10 * 24 and data.views is ed2l.views
    assert rates(adam, (0, 50 * len(data), 100 * len(data))) == pytest.approx([1e-4] * 3)
    assert [r.split for r in data.records] == ["train"] * 24 and model.base.get_layer("conv1_down_conv").filters == 32


def test_the_quick_ones_rate_falls_to_nothing(trained, pictures, tmp_path):
    given = {"data_dir": pictures, "workdir": tmp_path, "precision": "float32", "width": 0.0625}
    pretrain_ed2l.run(pretrain_ed2l.Settings(preset="quick", **given))
    data, adam = trained[0]["data"], trained[0]["model"].classifier_optimizer
    assert data.views_per_epoch == 24 and rates(adam, (0, 10, 20)) == pytest.approx([2e-4, 1e-4, 0])


@pytest.mark.parametrize("command, width", [(pretrain, 4), (pretrain_ed2l, 0.0625)])
def test_init_is_loaded(trained, pictures, tmp_path, command, width):
    """Everything of it, the last layer too: the task is the same."""
    given = {"preset": "smoke", "data_dir": pictures, "workdir": tmp_path, "precision": "float32", "width": width}
    command.run(command.Settings(**given, seed=1))
    weights.save(trained[0]["model"], tmp_path / "start.h5", provenance={})
    command.run(command.Settings(**given, seed=2))
    command.run(command.Settings(**given, seed=2, init=tmp_path / "start.h5"))
    first, other, third = (call["model"].get_weights() for call in trained)
    assert all(np.array_equal(a, b) for a, b in zip(first, third, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("dispelling", [True, False])
def test_ed2l_and_its_baseline(pictures, tmp_path, dispelling):
    made = pretrain_ed2l.Settings(
        preset="smoke", precision="float32", data_dir=pictures, workdir=tmp_path, dispelling=dispelling,
        out=tmp_path / "w.h5",
    )  # fmt: skip
    assert pretrain_ed2l.run(made) == tmp_path / "w.h5"
    about = weights.provenance(tmp_path / "w.h5")
    assert about["datasets"] == ["fer2013"] and 0 <= about["metric"]["private_test"] <= 1
    model = export.rebuild(tmp_path / "w.h5")
    assert isinstance(model, ed2l.ED2L) and model.dispelling is dispelling and len(model.classes) == 7
    before, printed = (tmp_path / "w.h5").stat().st_mtime_ns, io.StringIO()
    with contextlib.redirect_stdout(printed):
        pretrain_ed2l.run(made)
    assert "is done: 2 epochs" in printed.getvalue() and (tmp_path / "w.h5").stat().st_mtime_ns > before
    assert weights.provenance(tmp_path / "w.h5")["metric"] == about["metric"]


@pytest.mark.parametrize("command", [pretrain, pretrain_ed2l])
def test_missing_data_is_one_sentence(tmp_path, command):
    with pytest.raises(FileNotFoundError, match="fer2013_train.npz is missing"):
        command.run(command.Settings(preset="smoke", data_dir=tmp_path, workdir=tmp_path / "run"))
