"""`python -m experiments.pretrain` and `pretrain_ed2l` on a fake FER-2013: weights, provenance, bad data."""

import json

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import export, weights
from fer_tf.models import ed2l, fer_net

SMOKE = ("--preset=smoke", "--precision=float32")


def test_erased_covers_one_rectangle_of_a_share_of_the_pictures():
    from experiments import pretrain

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


def test_smoke(cli, pictures, tmp_path):
    done = cli(
        "pretrain", *SMOKE, f"--data_dir={pictures}", f"--workdir={tmp_path / 'run'}", f"--out={tmp_path / 'w.h5'}"
    )
    assert done.returncode == 0, done.stderr[-2000:]
    made = weights.provenance(tmp_path / "w.h5")
    assert made["metric"] == json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert made["metric"]["private_test_pictures_in_training"] == 0
    assert str(tmp_path) not in json.dumps(made), "a folder of this machine is in the file"
    model = fer_net.FERNet(**made["config"])
    weights.load(model, tmp_path / "w.h5")
    assert model.classes == ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")


@pytest.mark.parametrize("dispelling", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_ed2l_and_its_baseline(cli, pictures, tmp_path, dispelling):
    flags = (
        f"--data_dir={pictures}",
        f"--workdir={tmp_path}",
        f"--dispelling={dispelling}",
        f"--out={tmp_path / 'w.h5'}",
    )
    done = cli("pretrain_ed2l", *SMOKE, *flags)
    assert done.returncode == 0, done.stderr[-2000:]
    made = weights.provenance(tmp_path / "w.h5")
    assert made["datasets"] == ["fer2013"] and 0 <= made["metric"]["private_test"] <= 1
    model = export.rebuild(tmp_path / "w.h5")
    assert isinstance(model, ed2l.ED2L) and model.dispelling is dispelling and len(model.classes) == 7
    before = (tmp_path / "w.h5").stat().st_mtime_ns
    again = cli("pretrain_ed2l", *SMOKE, *flags)
    assert again.returncode == 0 and "is done: 2 epochs" in again.stdout
    assert (tmp_path / "w.h5").stat().st_mtime_ns > before and weights.provenance(tmp_path / "w.h5")["metric"] == made[
        "metric"
    ]


def test_missing_data_is_one_sentence(refused, tmp_path):
    refused("pretrain", {f"--data_dir={tmp_path}": "fer2013_train.npz"}, *SMOKE, f"--workdir={tmp_path / 'run'}")
