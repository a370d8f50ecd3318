"""--source_run of experiments.cycle_at: which run may give its f_S and generators to another target."""

import json

import pytest

from experiments import cycle_at as script
from experiments.parts.cycle_at import shared
from experiments.run import jobs
from experiments.run.settings import bound

SFEW = {"preset": "smoke", "protocol": "sfew_2fold", "target": "sfew=/s", "dataset": "rendered"}
SFEW |= {"classes": "six_neutral", "precision": "float32"}


@pytest.fixture
def first(tmp_path):
    """The folder of a run on SFEW, its flags.json alone."""
    folder = tmp_path / "sfew"
    folder.mkdir()
    (folder / "flags.json").write_text(json.dumps(bound(script.Settings(**SFEW, rows=("CycleAT",)))))
    return folder


def second(folder, **more):
    given = {**SFEW, "protocol": "emotionet_5fold", "target": "emotionet=/e", "source_run": str(folder)}
    del given["classes"]
    return script.Settings(**{**given, **more})


def test_another_target_has_the_first_ones_networks(first):
    """f_S keeps its seven expressions where the target has six; its rows, t and labels are its own."""
    own = script.Settings(**SFEW)
    assert shared.classes(own) == own.labels and len(own.labels) == 7
    other = second(first, t=2, rows=("S2T", "CycleAT"), target_labels=5)
    assert shared.classes(other) == own.labels and len(other.labels) == 6
    assert shared.home(other, first.parent / "e/run1") == first / "run1"
    assert shared.home(own, first.parent / "e/run1") == first.parent / "e/run1"
    of_fold, of_run = script.stages(other)
    assert [(stage.name, stage.after) for stage in of_fold] == [("CycleAT", ())] and of_run == []


def test_what_would_be_another_f_s_is_refused(first):
    for more, sentence in {
        ("size", 48): "--size=32, and here it is 48", ("max_steps", 3): "--max_steps=2",
        ("seed", 3): "--seed=0, and here it is 3",
        ("gan_loss", "least_squares"): "--gan_loss=log", ("upsampling", "resized"): "--upsampling=transposed",
        ("auxiliary", ("lfw=/l",)): "--auxiliary", ("batch_size", 9): "--batch_size=4", ("beta", 0.5): "--beta=None",
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=sentence):
            shared.classes(second(first, **dict([more])))
    fewer = json.loads((first / "flags.json").read_text()) | {"classes": "anger,happiness"}
    (first / "flags.json").write_text(json.dumps(fewer))
    with pytest.raises(ValueError, match="does not know disgust, fear, sadness, surprise"):
        shared.classes(second(first))
    with pytest.raises(FileNotFoundError, match="flags.json"):
        shared.classes(second(first / "nowhere"))


def test_nothing_is_trained_in_the_other_runs_folder(first, tmp_path):
    """What is not done there is refused; a job of the grid takes what is."""
    settings, net = second(first), first / "run0/source/resnet10"
    with pytest.raises(ValueError, match="resnet10 is not done; finish that run first"):
        shared.refuse_undone(settings, net)
    shared.refuse_undone(script.Settings(**SFEW), net)
    net.mkdir(parents=True)
    (net / "done.json").write_text("{}")
    shared.refuse_undone(settings, net)
    with jobs.apart():
        job = settings.replace(job="run0/fold0/CycleAT")
        jobs.pairs(job, tmp_path / "own", [0], *script.stages(job))
        assert jobs.wanted(net) and not jobs.wanted(tmp_path / "own/run0/fold0/S2T_att_gen")
        with jobs.training(job, net):
            pass
        with pytest.raises(ValueError, match="has no need of"), jobs.training(job, tmp_path / "own/run0/gan1"):
            pass
