"""`python -m experiments.fer_net --preset=smoke`: the files exist, reload and agree; a changed flag is refused."""

import json
import os

import numpy as np
import pytest

from experiments import fer_net as script
from experiments.run import classifier
from fer_tf import export, locks, metrics, predictions

SMOKE = ("fer_net", "--preset=smoke", "--precision=float32")


@pytest.fixture(scope="module")
def run(cli, tmp_path_factory):
    """A finished smoke run: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("fer_net")
    done = cli(*SMOKE, f"--workdir={folder}")
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done.stdout


def test_every_file_is_there_and_agrees(run):
    folder, printed = run
    found = json.loads((folder / "metrics.json").read_text())
    assert found["schema"] == metrics.SCHEMA and len(found["folds"]) == 2 and len(found["classes"]) == 7
    assert {"dataset", "protocol", "seeds", "commit", "hardware", "seconds"} <= set(found)
    for which in ("last", "best"):
        part = found["methods"]["FER-Net"][which]
        counts = np.array(part["confusion"])
        assert counts.sum() == found["images"] == sum(f["test"] for f in found["folds"])
        assert part["micro"]["pooled"] == pytest.approx(np.trace(counts) / counts.sum())
    assert metrics.table(found["methods"]) in printed
    assert (
        json.loads((folder / "confusion_fer_net.json").read_text())["counts"]
        == found["methods"]["FER-Net"]["last"]["confusion"]
    )
    held_out = json.loads((folder / "folds.json").read_text())["folds"][1]["subjects"]
    kept = predictions.read(folder / "predictions.npz")
    answer = kept.methods["FER-Net"]["last"]
    assert metrics.confusion(kept.label, answer.named, 7).tolist() == found["methods"]["FER-Net"]["last"]["confusion"]
    assert answer.probabilities.argmax(1).tolist() == answer.named.tolist()
    assert {s for s, f in zip(kept.subject, kept.fold, strict=True) if f == 1} == {*held_out}
    assert found["command"].startswith("python -m experiments.fer_net --preset=smoke")
    assert "report.html has it all on one page" in printed and "could not be written" not in printed
    pictures = ("confusion_fer_net.png", "per_class.png", "run0/fold0/finetune/history.png")
    for name in (*pictures, "run0/fold1/finetune/done.json", "report.html"):
        assert (folder / name).stat().st_size > 0, name
    assert not list(folder.rglob("*.part*"))


def test_folds_hold_out_whole_people(run, bound):
    folds = json.loads((run[0] / "folds.json").read_text())["folds"]
    people = [set(fold["subjects"]) for fold in folds]
    assert people[0] and people[1] and not people[0] & people[1]
    assert bound(run[0]) == {f"run0/fold{n}/finetune": (people[1 - n], people[n], set()) for n in (0, 1)}


def test_nobody_held_out_is_trained_on_and_all_of_them_are_tested(planted, tmp_path):
    planted.plant()
    given = {"max_subjects": 0, "classes": "anger,happiness", "folds": 3}
    script.run(script.Settings(preset="smoke", precision="float32", workdir=str(tmp_path), **given))
    assert len(planted.trained) == 3
    planted.check(tmp_path)


def test_the_papers_numbers():
    """IA-gen's section IV-A and IV-C, read off what --preset=paper builds; seven batches an epoch."""
    paper = script.Settings(preset="paper", init="none")
    assert (paper.folds, paper.runs, paper.batch_size, paper.views, paper.max_steps) == (10, 8, 100, 0, None)
    net = classifier.build(paper, paper.labels, 7, 0, None, None)
    assert net.classifier_optimizer.momentum == 0.9 and net.dropout == net.hidden_dropout.rate == 0.5
    schedule = net.classifier_optimizer.get_config()["learning_rate"]["config"]
    expected = {"initial_learning_rate": 0.001, "decay_rate": 0.8, "decay_steps": 140, "staircase": True}
    assert {name: schedule[name] for name in expected} == expected


def test_the_exported_model_answers(run):
    predictor = export.load(run[0] / "export")
    p = predictor(np.random.default_rng(0).integers(0, 256, (3, 90, 80, 3), dtype=np.uint8))
    assert p.shape == (3, 7) and np.allclose(p.sum(-1), 1, atol=1e-5)
    assert tuple(predictor.classes)[0] == "anger"


def test_the_same_command_again_trains_nothing_and_says_the_same(here, run):
    folder, printed = run
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("checkpoint/*.index")}
    again = here(*SMOKE, f"--workdir={folder}")
    assert again.returncode == 0, again.stderr[-3000:]
    assert before == {p: p.stat().st_mtime_ns for p in folder.rglob("checkpoint/*.index")}
    assert printed[printed.index("accuracy in percent") :] == again.stdout[again.stdout.index("accuracy in percent") :]


def test_a_changed_setting_is_refused_by_name(run):
    with pytest.raises(ValueError, match="--rate=0.001, and now --rate=0.5 .* another --workdir") as error:
        script.run(script.Settings(preset="smoke", precision="float32", workdir=str(run[0]), rate=0.5))
    assert "\n" not in str(error.value)


def test_help_lists_the_shared_flags_too(here):
    done = here("fer_net", "--help")
    assert "--rate:" in done.stdout and "--workdir:" in done.stdout and "--data_dir:" in done.stdout


def test_a_model_without_numbers_and_a_folder_in_use_are_no_results(refused, tmp_path):
    """Such a model names all pictures the first class, 14.3 % of seven, and was reported so."""
    with locks.alone(tmp_path):
        cases = {
            (f"--workdir={tmp_path / 'nan'}", "--rate=1e6"): "Lower the learning rate, or train in float32; the last",
            f"--workdir={tmp_path}": f"{tmp_path} is in use by process {os.getpid()} on ",
        }
        refused(SMOKE[0], cases, *SMOKE[1:])
    assert not [*tmp_path.rglob("metrics.json")] and not (tmp_path / "flags.json").exists()


def test_bad_input_gets_one_sentence(refused, tmp_path):
    """flags.json of those that got so far is there, but nothing was trained with it: the next may have other flags."""
    cases = {
        "--classes=joy": "joy",
        "--only_folds=7": "fold numbers from 0 to 1",
        "--init=nothing_like_it": "nothing_like_it",
        "--dataset=fer2013": "fer2013_train.npz",
        "--classes=fear": "one class",
        "--folds=500": "the number of folds must be 2 to 4",
        "--data_dir=setup.py": "setup.py",
        "--workdir=setup.py/run": "--workdir=setup.py/run cannot be made",
        "--device=gpu": "--device=gpu: this machine has no GPU that TensorFlow could use",
    }
    refused(SMOKE[0], cases, *SMOKE[1:], f"--workdir={tmp_path}")
    assert (tmp_path / "flags.json").is_file()
