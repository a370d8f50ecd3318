"""`python -m experiments.pretrain --preset=smoke` on a fake FER-2013: weights, provenance, a sentence on bad data."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from fer_tf import weights
from fer_tf.models import fer_net

ROOT = Path(__file__).resolve().parents[2]


def cli(*flags):
    """Runs the command in a process of its own."""
    command = [sys.executable, "-m", "experiments.pretrain", "--preset=smoke", "--precision=float32", *flags]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


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


def test_smoke(tmp_path):
    rng = np.random.default_rng(0)
    for split, count in (("train", 24), ("public_test", 8), ("private_test", 8)):
        image = rng.integers(0, 256, (count, 48, 48), dtype=np.uint8)
        label = np.resize([0, 2, 3, 4, 5, 6, 7], count).astype(np.uint8)
        np.savez(tmp_path / f"fer2013_{split}.npz", image=image, label=label)
    done = cli(f"--data_dir={tmp_path}", f"--workdir={tmp_path / 'run'}", f"--out={tmp_path / 'w.h5'}")
    assert done.returncode == 0, done.stderr[-2000:]
    made = weights.provenance(tmp_path / "w.h5")
    assert made["metric"] == json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert made["metric"]["private_test_pictures_in_training"] == 0
    assert str(tmp_path) not in json.dumps(made), "a folder of this machine is in the file"
    model = fer_net.FERNet(**made["config"])
    weights.load(model, tmp_path / "w.h5")
    assert model.classes == ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")


def test_missing_data_is_one_sentence(tmp_path):
    done = cli(f"--data_dir={tmp_path}", f"--workdir={tmp_path / 'run'}")
    assert done.returncode == 1 and "fer2013_train.npz" in done.stderr and "Traceback" not in done.stderr
