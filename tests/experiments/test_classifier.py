"""`python -m experiments.fer_net --classifier=vgg16`: VGG-16 takes FER-Net's place, and --init means other files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fer_tf import export, weights
from fer_tf.models import vgg

ROOT = Path(__file__).resolve().parents[2]


def cli(*flags):
    """Runs the experiment in a process of its own."""
    command = [sys.executable, "-m", "experiments.fer_net", "--preset=smoke", "--precision=float32", *flags]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400)


def test_vgg_takes_the_place_of_fer_net(tmp_path):
    """From weights of ours with other classes; table, files and the exported model are those of a VGG-16."""
    weights.save(vgg.VGGNet(width=4 / 64, hidden=256), tmp_path / "own.h5", provenance={})
    done = cli(f"--workdir={tmp_path / 'run'}", "--classifier=vgg16", f"--init={tmp_path / 'own.h5'}", "--only_folds=0")
    assert done.returncode == 0, done.stderr[-3000:]
    methods = json.loads((tmp_path / "run" / "metrics.json").read_text())["methods"]
    assert list(methods) == ["VGG-16"] and "VGG-16" in done.stdout and "FER-Net" not in done.stdout
    predictor = export.load(tmp_path / "run" / "export")
    p = predictor(np.random.default_rng(0).integers(0, 256, (3, 90, 80, 3), dtype=np.uint8))
    assert predictor.metadata["model"] == "VGGNet" and p.shape == (3, 7) and np.allclose(p.sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("start", "sentence"),
    [("fer_net_fer2013", "give --init=imagenet"), ("imagenet", "width=1")],  # the preset's net is narrower
)
def test_what_does_not_fit_gets_one_sentence(tmp_path, start, sentence):
    done = cli(f"--workdir={tmp_path}", "--classifier=vgg16", f"--init={start}")
    assert done.returncode == 1 and sentence in done.stderr and "Traceback" not in done.stderr, done.stderr[-2000:]
