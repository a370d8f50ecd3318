"""`python -m experiments.gcnet --preset=smoke`: the rows, the pictures, and what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

from fer_tf import export, weights

SMOKE = ("--preset=smoke", "--precision=float32")
ROWS = "cnn,S1R0:conv_vae,S1R1@0.1"
NAMES = ("CNN", "GCNet S1R0, conv_vae", "GCNet S1R1, lambda_s 0.1")


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
    assert [np.sum(m["last"]["confusion"]) for m in found["methods"].values()] == [12] * 3
    (generation,) = found["generation"]
    assert set(generation) == set(NAMES[1:]) and 0 < generation[NAMES[2]]["l1"]["input"]["neutral"] < 0.2
    pictures = (
        "tsne",
        "tsne_intensity",
        "faces_gcnet_s1r1__lambda_s_0_1",
        "faces_gcnet_s1r0__conv_vae",
        "confusion_cnn",
    )
    for name in pictures:
        with Image.open(folder / f"{name}.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 5, name


def test_the_exported_model_is_the_last_row(run):
    predictor = export.load(run[0] / "export")
    p = predictor(list(np.random.default_rng(0).integers(0, 256, (3, 90, 80), dtype=np.uint8)))
    assert p.shape == (3, 2) and np.allclose(p.sum(-1), 1, atol=1e-5)
    assert predictor.metadata["row"] == NAMES[-1] and predictor.metadata["model"] == "GCNet"


def test_what_does_not_fit_gets_one_sentence(refused, tmp_path):
    cases = {
        "--rows=S2R2": "'S2R2' is no network",
        "--rows=S1R1:gan": "is no network",
        "--rows=S1R1@much": "is no network",
        "--views=0": "drawn at random",
        "--encoder2=fer_net_fer2013": "does not fit the model",
    }
    refused("gcnet", cases, *SMOKE, f"--workdir={tmp_path}", "--only_folds=0")
