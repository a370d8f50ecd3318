"""`python -m experiments.de_gan --preset=smoke`: both stages, pictures, measures, both exports, what is refused."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fer_tf import export, weights
from fer_tf.models import de_gan

SMOKE = ("de_gan", "--preset=smoke", "--precision=float32")
NAMES = ("CNN (baseline)", "DE-GAN", "DE-GAN, f(x) alone")


@pytest.fixture(scope="module")
def everybody(cli, tmp_path_factory):
    """The folder of an --all_subjects run on other people."""
    folder = tmp_path_factory.mktemp("de_gan_all")
    own = ("--own_share=0.5", "--lambda_own=10")
    done = cli(*SMOKE, "--all_subjects", "--uses=both", "--part=wild", f"--workdir={folder}", "--take=3", *own)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def run(cli, tmp_path_factory):
    """A finished smoke run of one fold: its folder, its flags and what it printed."""
    folder = tmp_path_factory.mktemp("de_gan")
    given = (f"--workdir={folder}", "--only_folds=0")
    done = cli(*SMOKE, *given)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, given, done.stdout


def test_table_measures_and_pictures(run):
    folder, _, printed = run
    found = json.loads((folder / "metrics.json").read_text())
    assert tuple(found["methods"]) == NAMES and all(f"\n{name} " in printed for name in NAMES)
    assert [np.sum(m["last"]["confusion"]) for m in found["methods"].values()] == [12] * 3
    (measures,) = found["generation"]
    assert set(measures["probes"]) == {"f(x)", "CNN (baseline)", "residues", "chance"}
    assert measures["probes"]["chance"] == {"expression": 0.5, "identity": 0.5}
    shares = [v for table in (*measures["probes"].values(), measures["reached"]) for v in table.values()]
    assert all(0 <= v <= 1 for v in shares) and "made faces: the expression is read in" in printed
    assert set(measures["classifiers"]["both"]) == {"L1", "L2", "L3", "L4", "L5"}
    assert set(measures["classifiers"]["code"]) == {"L5"}
    both = found["methods"]["DE-GAN"]["last"]["micro"]["pooled"]
    assert measures["classifiers"]["both"]["L5"] == pytest.approx(both / (100 if both > 1 else 1), abs=1e-3)
    place = folder / "run0/fold0"
    for name in ("transfer", "interpolation", "gan/history", "gan/samples/epoch001"):
        with Image.open(place / f"{name}.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 5, name


def test_both_exports(run):
    folder = run[0]
    predictor = export.load(folder / "export")
    faces = np.random.default_rng(0).integers(0, 256, (3, 90, 80, 1), dtype=np.uint8)
    p = predictor(list(faces[..., 0]))
    assert p.shape == (3, 2) and np.allclose(p.sum(-1), 1, atol=1e-5) and predictor.metadata["uses"] == "both"
    transfer = tf.saved_model.load(str(folder / "transfer"))
    people = [name.decode() for name in transfer.identities().numpy()]
    told = json.loads(transfer.metadata().numpy())
    assert people == told["identities"] and len(people) == 2
    made = transfer.signatures["serving_default"](faces=tf.constant(faces), identity=tf.constant([0, 1, 1]))
    assert made["faces"].shape == (3, 96, 96, 1) and made["faces"].dtype == tf.uint8
    assert [n.decode() for n in made["names"].numpy()] == [people[0], people[1], people[1]]
    with pytest.raises(tf.errors.InvalidArgumentError, match="identity must be in 0 .."):
        transfer.signatures["serving_default"](faces=tf.constant(faces), identity=tf.constant([0, 1, 2]))


@pytest.mark.slow
def test_a_finished_run_starts_again_without_training(cli, run):
    folder, given, printed = run
    files = [folder / "run0/fold0" / stage / "checkpoint/checkpoint" for stage in ("gan", "both", "baseline")]
    before = [file.stat().st_mtime_ns for file in files]
    done = cli(*SMOKE, *given)
    assert done.returncode == 0, done.stderr[-2000:]
    assert [file.stat().st_mtime_ns for file in files] == before
    table = [line for line in printed.splitlines() if line.startswith(NAMES)]
    assert table and all(line in done.stdout for line in table)


def test_weights_of_everybody(everybody):
    gan, recogniser = (everybody / f"{n}.h5" for n in ("de_gan", "de_gan_recogniser"))
    about = weights.provenance(gan)
    assert about["datasets"] == ["rendered/wild"] and len(about["config"]["subjects"]) == 3
    model = export.rebuild(gan)
    assert isinstance(model, de_gan.DEGAN) and model.subjects == tuple(about["config"]["subjects"])
    p = export.from_weights(recogniser)(np.zeros((2, 96, 96, 1), np.uint8))
    assert p.shape == (2, 2)


def test_what_does_not_fit_gets_one_sentence(refused, everybody, tmp_path):
    about = {**weights.provenance(everybody / "de_gan.h5"), "datasets": ["rendered"]}
    weights.save(export.rebuild(everybody / "de_gan.h5"), tmp_path / "seen.h5", provenance=about)
    cases = {
        "--part=wild": "give --all_subjects, too",
        "--uses=both,all": "'all' is none of both, code, residues",
        f"--gan_init={tmp_path / 'seen.h5'}": "was trained on everybody in rendered",
        "--gan_init=fer_net_fer2013": "does not fit the model",
        "--gan_init=nothing": "nothing",
    }
    refused(SMOKE[0], cases, *SMOKE[1:], f"--workdir={tmp_path}", "--only_folds=0")


@pytest.mark.slow
def test_other_people_are_a_start(cli, everybody, tmp_path):
    """--gan_init: a GAN of other people, whose own code and head are left aside."""
    given = (f"--gan_init={everybody / 'de_gan.h5'}", f"--workdir={tmp_path / 'run'}")
    done = cli(*SMOKE, "--only_folds=0", "--uses=code", *given)
    assert done.returncode == 0, done.stderr[-3000:]
