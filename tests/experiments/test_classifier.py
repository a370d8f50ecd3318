"""`python -m experiments.fer_net --classifier=vgg16`: VGG-16 takes FER-Net's place, and --init means other files."""

import json

import numpy as np
import pytest

from experiments import fer_net
from experiments.run import classifier
from fer_tf import export, weights
from fer_tf.models import vgg

SMOKE = ("fer_net", "--preset=smoke", "--precision=float32", "--classifier=vgg16")


@pytest.mark.slow
def test_vgg_takes_the_place_of_fer_net(cli, tmp_path):
    """From weights of ours with other classes; table, files and the exported model are those of a VGG-16."""
    weights.save(vgg.VGGNet(width=4 / 64, hidden=256), tmp_path / "own.h5", provenance={})
    done = cli(*SMOKE, f"--workdir={tmp_path / 'run'}", f"--init={tmp_path / 'own.h5'}", "--only_folds=0")
    assert done.returncode == 0, done.stderr[-3000:]
    methods = json.loads((tmp_path / "run" / "metrics.json").read_text())["methods"]
    assert list(methods) == ["VGG-16"] and "VGG-16" in done.stdout and "FER-Net" not in done.stdout
    predictor = export.load(tmp_path / "run" / "export")
    p = predictor(np.random.default_rng(0).integers(0, 256, (3, 90, 80, 3), dtype=np.uint8))
    assert predictor.metadata["model"] == "VGGNet" and p.shape == (3, 7) and np.allclose(p.sum(-1), 1, atol=1e-5)


def test_what_does_not_fit_is_refused(tmp_path):
    """The preset's net is narrower than ImageNet's."""
    given = {"preset": "smoke", "precision": "float32", "classifier": "vgg16", "workdir": str(tmp_path)}
    for init, sentence in (("fer_net_fer2013", "give --init=imagenet"), ("imagenet", "width=1")):
        with pytest.raises(ValueError, match=sentence):
            fer_net.run(fer_net.Settings(init=init, **given))


def test_vgg_is_trained_by_the_papers_numbers():
    """IA-gen's section IV-A gives its VGG those of FER-Net: momentum, dropout, rate; seven batches an epoch."""
    paper = fer_net.Settings(preset="paper", classifier="vgg16", init="none", width=4)
    net = classifier.build(paper, paper.labels, 7, 0, None, None)
    assert net.classifier_optimizer.momentum == 0.9 and net.dropout == net.hidden_dropout.rate == 0.5
    assert net.trunk.get_layer("fc1_dropout").rate == 0.5
    schedule = net.classifier_optimizer.get_config()["learning_rate"]["config"]
    expected = {"initial_learning_rate": 0.001, "decay_rate": 0.8, "decay_steps": 140, "staircase": True}
    assert {name: schedule[name] for name in expected} == expected
