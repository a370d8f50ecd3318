"""`python -m experiments.ed2l --preset=smoke`: the rows, the pictures, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments import ed2l as script
from fer_tf import export, weights
from fer_tf.models import ed2l

CLASSES = ("anger", "happiness")
SMOKE = ("ed2l", "--preset=smoke", "--precision=float32")


@pytest.fixture(scope="module")
def run(cli, tmp_path_factory):
    """A finished smoke run of one fold, all four rows: its folder, its flags and what it printed."""
    folder = tmp_path_factory.mktemp("ed2l")
    for name, dispelling in (("whole", True), ("half", False)):
        model = ed2l.ED2L(width=1 / 16, dispelling=dispelling, classes=("a", "b", "c"))
        weights.save(model, folder / f"{name}.h5", provenance={})
    rows = "baseline,ed2l,baseline_pretrained,ed2l_pretrained"
    start = (f"--init={folder / 'whole.h5'}", f"--baseline_init={folder / 'half.h5'}")
    given = (f"--workdir={folder / 'run'}", f"--rows={rows}", "--only_folds=0", *start)
    done = cli(*SMOKE, *given)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "run", given, done.stdout


def test_four_rows_are_in_the_table_and_the_files(run):
    folder, _, printed = run
    found = json.loads((folder / "metrics.json").read_text())
    names = ("Baseline", "ED2L", "Baseline, pre-trained", "ED2L, pre-trained")
    assert tuple(found["methods"]) == names and all(f"\n{name} " in printed for name in names)
    assert [np.sum(m["last"]["confusion"]) for m in found["methods"].values()] == [12] * 4
    pictures = (
        "tsne",
        "heatmaps_ed2l_0",
        "heatmaps_ed2l_pretrained_1",
        "per_class",
        "confusion_ed2l",
        "confusion_baseline__pre_trained",
    )
    for name in pictures:
        with Image.open(folder / f"{name}.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 5, name


def test_the_exported_model_is_the_last_row(run):
    predictor = export.load(run[0] / "export")
    p = predictor(list(np.random.default_rng(0).integers(0, 256, (3, 90, 80), dtype=np.uint8)))
    assert p.shape == (3, 2) and predictor.classes == CLASSES and np.allclose(p.sum(-1), 1, atol=1e-5)
    assert predictor.metadata["row"] == "ed2l_pretrained" and predictor.metadata["model"] == "ED2L"


def test_presets_name_rows():
    for preset in ("paper", "quick", "smoke"):
        rows = script.Settings(preset=preset).rows
        assert rows and {*rows} <= {*script.ROWS}


def test_nobody_held_out_is_trained_on_and_all_of_them_are_tested(planted, tmp_path):
    """Every row, both folds: the faces themselves say who they are."""
    planted.plant()
    script.run(script.Settings(preset="smoke", precision="float32", max_subjects=0, workdir=str(tmp_path)))
    assert len(planted.trained) == 2 * 2
    planted.check(tmp_path)


def test_pretrained_rows_start_from_the_files(run):
    """Two steps of 1e-4 leave the base near its file, and far from the row without pre-training."""
    first = {
        row: Path(run[0] / "run0/fold0" / row / "history.csv").read_text()
        for row in ("ed2l", "ed2l_pretrained", "baseline_pretrained")
    }
    assert len(set(first.values())) == 3


@pytest.mark.slow
def test_a_finished_run_draws_again_without_training(cli, run):
    folder, given, _ = run
    (folder / "tsne.png").unlink()
    before = (folder / "run0/fold0/ed2l/checkpoint/checkpoint").stat().st_mtime_ns
    done = cli(*SMOKE, *given)
    assert done.returncode == 0 and (folder / "tsne.png").is_file()
    assert (folder / "run0/fold0/ed2l/checkpoint/checkpoint").stat().st_mtime_ns == before


def test_what_does_not_fit_gets_one_sentence(refused, tmp_path):
    cases = {
        "--rows=ed2l,gcnet": "gcnet is none of baseline, ed2l",
        ("--rows=ed2l_pretrained", "--init=none"): "starts from pre-trained weights",
        ("--rows=ed2l_pretrained", "--init=fer_net_fer2013"): "does not fit the model",
    }
    refused(SMOKE[0], cases, *SMOKE[1:], f"--workdir={tmp_path}")
