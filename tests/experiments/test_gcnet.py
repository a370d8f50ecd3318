"""`python -m experiments.gcnet --preset=smoke`: the rows, the pictures, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_tf import export, weights
from fer_tf.models import gcnet

ROOT = Path(__file__).resolve().parents[2]
SMOKE = ("--preset=smoke", "--precision=float32")
ROWS = "S1R1@1,S1R1@0.1"
NAMES = ("GCNet S1R1, lambda_s 1", "GCNet S1R1, lambda_s 0.1")


@pytest.fixture(scope="module")
def run(cli, tmp_path_factory):
    """A finished smoke run of one fold with pre-trained encoders: its folder and what it printed."""
    folder, start = tmp_path_factory.mktemp("gcnet"), []
    for stage, flag in (("autoencoder", "encoder1"), ("identify", "encoder2")):
        out = folder / f"{stage}.h5"
        flags = (f"--stage={stage}", "--part=posed", f"--workdir={folder / stage}", f"--out={out}")
        done = cli("pretrain_gcnet", *SMOKE, *flags)
        assert done.returncode == 0, done.stderr[-3000:]
        assert weights.provenance(out)["datasets"] == ["rendered/posed"]
        start.append(f"--{flag}={out}")
    done = cli("gcnet", *SMOKE, f"--workdir={folder / 'run'}", f"--rows={ROWS}", "--only_folds=0", *start)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "run", done.stdout


def test_every_row_is_in_the_table_and_the_files(run):
    folder, printed = run
    found = json.loads((folder / "metrics.json").read_text())
    assert tuple(found["methods"]) == NAMES and all(f"\n{name} " in printed for name in NAMES)
    assert [np.sum(m["last"]["confusion"]) for m in found["methods"].values()] == [12] * 2
    (generation,) = found["generation"]
    assert set(generation) == set(NAMES) and 0 < generation[NAMES[1]]["l1"]["input"] < 0.2
    pictures = (
        "tsne",
        "tsne_intensity",
        "faces_gcnet_s1r1__lambda_s_0_1",
        "weights",
        "confusion_gcnet_s1r1__lambda_s_1",
    )
    for name in pictures:
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
    script = "from experiments import gcnet_pictures; from fer_tf.records import Record; "
    script += "given = [('neutral', 's1', 1), ('fear', 's1', 3), ('fear', 's1', 2), ('neutral', 's2', 0)]; "
    script += "found = [Record(b'', e, 'a', sequence=s, frame=f) for e, s, f in given]; "
    script += "print(gcnet_pictures.whole_sequences(found)); from dataclasses import replace; "
    script += "told = [replace(r, info={'intensity': i}) for r, i in zip(found, (0.0, 0.8, 0.4, 0.0))]; "
    script += "print(list(gcnet_pictures.whole_sequences(told)[1]))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    first, second = done.stdout.splitlines()[-2:]
    assert first.startswith("(['fear', 'fear', 'fear', 'neutral'], ") and "0.        , 1.        , 0.66" in first
    assert second.count("0.0") == 2 and "1.0" in second and "0.5" in second, done.stderr[-500:]


@pytest.mark.slow
def test_pretraining_needs_no_expression(tmp_path):
    """The autoencoder takes faces alone, the identification names alone."""
    script = "import sys; from dataclasses import replace; from fer_tf.datasets import rendered; "
    script += "real = rendered.records; rendered.records = lambda *a, **k: [replace(r, expression=None) for r in "
    script += "real(*a, **k)[:64]]; from experiments import common, pretrain_gcnet as p; "
    script += "common.run(p.main, p.PRESETS)"
    for stage in ("autoencoder", "identify"):
        flags = [
            *SMOKE,
            f"--stage={stage}",
            "--part=wild",
            f"--workdir={tmp_path / stage}",
            f"--out={tmp_path / stage}.h5",
        ]
        done = subprocess.run([sys.executable, "-c", script, *flags], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0 and "64 faces" in done.stdout, done.stderr[-2000:]


def test_another_data_set_to_test_on(tmp_path):
    """Table VI: --train_on adds people, --test_on takes the folds' place; one name in two sets is two people."""
    script = "import sys, pathlib; from experiments import common, cross, gcnet; gcnet.FLAGS(sys.argv[1:]); "
    script += "found, (fold,) = cross.fold(common.load_records(('fear', 'anger')), ('fear', 'anger'), "
    script += "pathlib.Path(sys.argv[1])); who = [{found[i].subject for i in p} for p in fold]; "
    script += "print(gcnet.Row.read('S1R0:conv_vae').name, len(who[0]), len(who[1]), *map(len, fold), min(who[1]))"
    flags = ("--classes=fear,anger", "--train_on=rendered/posed", "--test_on=rendered/wild")
    done = subprocess.run([sys.executable, "-c", script, tmp_path, *flags], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["GCNet", "S1R0,", "conv_vae", "120", "80", "1200", "320", "rendered:r120"], (
        done.stderr[-2000:]
    )
    assert "tested on rendered/wild" in json.loads((tmp_path / "folds.json").read_text())["order"]


@pytest.mark.slow
def test_generators_alone(cli, tmp_path):
    done = cli("gcnet_generators", *SMOKE, "--generators=conv_ae", f"--workdir={tmp_path}")
    assert done.returncode == 0, done.stderr[-3000:]
    table = json.loads((tmp_path / "metrics.json").read_text())["generation"]
    assert list(table) == ["conv_ae, reconstructed", "conv_ae, disentangled"] and all(
        f"\n{n}" in done.stdout for n in table
    )
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
        "--views=0": "drawn at random",
        ("--protocol=cross_raf", "--test_on=fer2013=x"): "give --test_on=raf_db=<folder>",
        "--test_on=nowhere": "'nowhere' names no data set",
        "--test_on=rendered/tame": "rendered has no part 'tame'",
        "--encoder2=fer_net_fer2013": "the file lacks encoder2/",
    }
    refused("gcnet", cases, *SMOKE, f"--workdir={tmp_path}", "--only_folds=0")
