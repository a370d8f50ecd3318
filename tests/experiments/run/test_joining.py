"""Commands on two machines, which two processes on loopback stand for: equal results, kills, what is refused."""

import json
import time

import numpy as np
import pytest
import tensorflow as tf

from experiments import de_gan, fer_net, ia_gen
from experiments.run import joining
from fer_tf import clusters

TOGETHER = "--strategy=multi_worker"
SAME = ["--preset=smoke", "--precision=float32", "--deterministic", "--only_folds=0", "--progress=false"]


def weights(folder):
    """name -> what the last checkpoint holds; of a mean over the epoch its value, not the two sums."""
    path = tf.train.latest_checkpoint(str(folder / "checkpoint"))
    reader = tf.train.load_checkpoint(path)
    names = sorted(n for n in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in n and "save_counter" not in n)
    held = {name: np.array(reader.get_tensor(name), float) for name in names}
    sums = [name for name in names if name.startswith("means/") and int(name.split("/")[1]) % 2 == 0]
    counts = [name.replace(f"means/{name.split('/')[1]}/", f"means/{int(name.split('/')[1]) + 1}/") for name in sums]
    means = {name: held[name] / held[count] for name, count in zip(sums, counts, strict=True)}
    return {name: means.get(name, value) for name, value in held.items() if name not in counts}


def tree(folder):
    """Its files but the checkpoints, whose names count how often one was written."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if "ckpt-" not in p.name)


@pytest.mark.slow
def test_ia_gen_is_that_of_one_process(tmp_path, start_workers):
    """FER-Net, its judge and the GANs: the same files, weights and means to 5e-4, answers to a face.

    A training alone agrees to 1e-4 (tests/test_workers.py); here one follows another. Slots of optimizers are left out,
    since Adam carries rounding into D's and G's gradients.
    """
    both, alone = tmp_path / "both", tmp_path / "alone"
    words = ["-m", "experiments.ia_gen", *SAME, "--gan_rate=2e-5", "--steps_per_call=1"]
    started = start_workers(*[[*words, TOGETHER, f"--workdir={both}"]] * 2)
    started += start_workers([*words, f"--workdir={alone}"])
    said = [worker.end() for worker in started]
    assert [code for code, _, _ in said] == [0, 0, 0], [error[-2000:] for _, _, error in said]
    assert tree(both) == tree(alone)
    stages = sorted(str(p.parent.parent.relative_to(alone)) for p in alone.rglob("checkpoint/checkpoint"))
    assert len(stages) == 4
    for stage in stages:
        ours, other = weights(both / stage), weights(alone / stage)
        assert ours.keys() == other.keys() and len(ours) > 50
        for name, value in ours.items():
            if "_optimizer/_variables/" not in name:
                np.testing.assert_allclose(value, other[name], atol=5e-4, rtol=1e-3, err_msg=f"{stage} {name}")
    ours, other = (json.loads((folder / "metrics.json").read_text()) for folder in (both, alone))
    assert ours["methods"]["FER-Net"] == other["methods"]["FER-Net"] and ours["folds"] == other["folds"]
    named = [np.array(of["methods"]["IA-gen"]["last"]["confusion"]) for of in (ours, other)]
    assert named[0].sum() == 12 and abs(named[0] - named[1]).sum() <= 2  # one face
    assert "FER-Net" in said[0][1]
    assert said[1][1].count("\n") == 1 and "Worker 1 (127.0.0.1:" in said[1][1] and "takes part" in said[1][1]


@pytest.mark.slow
def test_a_worker_that_is_killed_ends_the_job_which_goes_on(tmp_path, start_workers):
    """The other one says so within a minute; in the end all is as if nobody had been killed, bit for bit."""
    flags = ["-m", "experiments.fer_net", *SAME, TOGETHER, "--epochs=12", "--max_steps=40"]
    whole = start_workers(*[[*flags, f"--workdir={tmp_path / 'whole'}"]] * 2)
    assert [worker.end()[0] for worker in whole] == [0, 0]
    stage, words = tmp_path / "killed/run0/fold0/finetune", [*flags, f"--workdir={tmp_path / 'killed'}"]
    for victim in (0, 1):
        started, known = start_workers(words, words), list(stage.glob("checkpoint/*.index"))
        until = time.monotonic() + 300
        while list(stage.glob("checkpoint/*.index")) == known and time.monotonic() < until:
            time.sleep(0.02)
        started[victim].process.kill()
        begun = time.monotonic()
        code, _, error = started[1 - victim].end(120)
        assert time.monotonic() - begun < 60
        assert not (stage / "done.json").exists(), "it was killed too late"
        (sentence,) = [line for line in error.splitlines() if line.startswith("error: ")]
        assert code == 1 and "has ended or does not answer" in sentence and "Traceback" not in error
        started[victim].end()
    again = start_workers(words, words)
    assert [worker.end()[0] for worker in again] == [0, 0]
    ours, other = weights(stage), weights(tmp_path / "whole/run0/fold0/finetune")
    assert ours.keys() == other.keys() and len(ours) > 50
    for name, value in ours.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)
    found = [json.loads((tmp_path / name / "metrics.json").read_text())["methods"] for name in ("killed", "whole")]
    assert found[0] == found[1]


@pytest.mark.slow
def test_a_folder_that_is_not_shared_is_refused_on_both(tmp_path, start_workers):
    words = ["-m", "experiments.fer_net", *SAME, TOGETHER]
    started = start_workers(*[[*words, f"--workdir={tmp_path / name}"] for name in ("a", "b")])
    for code, _, error in (worker.end(200) for worker in started):
        (sentence,) = [line for line in error.splitlines() if line.startswith("error: ")]
        assert code == 1 and "is not shared: Worker 1 (127.0.0.1:" in sentence
    assert not (tmp_path / "b").exists() and tree(tmp_path / "a") == ["flags.json"]


def test_what_cannot_work_together_is_refused():
    made = fer_net.Settings(preset="smoke", strategy="multi_worker")
    joining.refuse(made)
    joining.refuse(ia_gen.Settings(preset="smoke", strategy="multi_worker", feed="host", xla="off"))
    for more, words in (
        ({"xla": "on"}, "--xla=on"),
        ({"feed": "device"}, "--feed=device"),
        ({"job": "table"}, "--job"),
    ):
        with pytest.raises(ValueError, match=words):
            joining.refuse(made.replace(**more))
    with pytest.raises(ValueError, match=r"for experiments.fer_net and experiments.ia_gen"):
        joining.refuse(de_gan.Settings(preset="smoke", strategy="multi_worker"))


def test_what_workers_have_to_have_in_common():
    """All that changes the training or its order, not where files are."""
    made = ia_gen.Settings(preset="smoke", strategy="multi_worker", workdir="/a", progress=False, wait=7, data_dir="/b")
    told = joining.tells(made)
    assert told["--seed"] == 0 and told["--only_folds"] == "" and told["--lambda"] == 1.0
    assert told["--precision"] in ("float32", "mixed_bfloat16")
    assert not {"--workdir", "--data_dir", "--init", "--wait", "--progress", "--device"} & {*told}
    changed = joining.tells(made.replace(seed=3, workdir="/c", precision="float32"))
    assert {name for name in told if told[name] != changed[name]} - {"--precision"} == {"--seed"}


def test_without_a_configuration_nothing_begins(monkeypatch, tmp_path):
    monkeypatch.delenv(clusters.VARIABLE, raising=False)
    with pytest.raises(ValueError, match="needs TF_CONFIG in the environment"):
        fer_net.run(fer_net.Settings(preset="smoke", strategy="multi_worker", workdir=str(tmp_path / "a")))
    assert not (tmp_path / "a").exists()
