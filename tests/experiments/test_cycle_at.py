"""experiments.cycle_at: its stages, tables and exports, what it refuses, who is trained on and who is tested."""

import contextlib
import io
import json
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from experiments import cycle_at as script
from experiments.parts.cycle_at import classifiers, domains, features
from fer_tf import catalogue, export, files, protocols
from fer_tf.models import cycle_at
from fer_tf.records import Fold, Record

from .conftest import marks, planted_records

SMOKE = ("cycle_at", "--preset=smoke", "--precision=float32", "--only_folds=0")
STAGES = ("source", "generation", "selection", "target")
PLANTED = np.array([3, 3, 3])
NAMES = ("S2T", "CycleAT", "Multi-SVM")
TWO = ("anger", "happiness")


@pytest.fixture(scope="module")
def run(op_by_op, tmp_path_factory):
    """A smoke run of one fold: its results, its settings and what it printed.

    What CycleAT selects lies there before, as after --stages=selection, and is what no selection gives. Op by op: two
    steps of each training are sooner made than their graphs, which the slow tests have.
    """
    folder = tmp_path_factory.mktemp("cycle_at")
    given = {"preset": "smoke", "precision": "float32", "only_folds": "0", "workdir": str(folder)}
    given["rows"] = ("S2T", "CycleAT", "svm")
    place = folder / "run0/fold0/CycleAT"
    place.mkdir(parents=True)
    np.save(place / "selected.npy", PLANTED)
    select = features.select

    def marked(*args):
        *_, file, among = args
        files.write_json(file.with_suffix(".json"), {"among": among})
        return select(*args)

    with contextlib.redirect_stdout(io.StringIO()) as printed, pytest.MonkeyPatch.context() as patch, op_by_op():
        patch.setattr(features, "select", marked)
        results = script.run(script.Settings(**given))
    return results, given, printed.getvalue()


def test_tables_measures_and_pictures(run):
    results, _, printed = run
    folder = results.folder
    written = json.loads((folder / "metrics.json").read_text())
    assert tuple(written["methods"]) == NAMES and all(printed.count(f"\n{name} ") >= 2 for name in NAMES)
    assert [np.sum(m["last"]["confusion"]) for m in written["methods"].values()] == [8] * 3
    assert written["protocol"] == "2 folds by subject, contiguous" and "domain shift (Table 3)" in printed
    assert written["domains"]["source"] == {"data": "rendered", "faces": 24}
    assert written["domains"]["target"]["data"] == "rendered/wild" and written["domains"]["target"]["faces"] == 16
    assert list(written["source"]) == ["resnet10"]
    assert np.sum(written["source"]["resnet10"]["last"]["confusion"]) == 6
    (measures,) = written["generation"]
    kinds = ["source", "generated, with f_W"]
    assert measures["judge_has_seen_the_wild"] and all(
        list(measures[k]) == kinds for k in ("expression", "f_S", "domain")
    )
    share = written["source"]["resnet10"]["last"]["micro"]["pooled"]
    assert measures["f_S"]["source"] == pytest.approx(share)  # f_S on the same held-out source people
    *shares, mean = map(float, [x for x in printed.splitlines() if x.startswith("CycleAT ")][-1].split()[1:])
    assert len(shares) == 2 and mean == pytest.approx(np.mean(shares), abs=0.01)
    place = folder / "run0"
    for name in ("generated", "iterations", "attention", "domains", "gan2/history", "gan1/samples/epoch001"):
        with Image.open(place / f"{name}.png") as picture:
            assert min(picture.size) > 64, name
    np.testing.assert_array_equal(np.load(place / "fold0/CycleAT/selected.npy"), PLANTED)
    assert "CycleAT: 8 target faces select 3 of 8 generated ones" in printed
    manifest = json.loads((folder / "folds.json").read_text())
    (fold, other) = (set(f["subjects"]) for f in manifest["folds"])
    assert len(fold | other) == 4 and not fold & other


def test_every_checkpoint_says_what_it_learnt_from(run, bound):
    """Of both streams of the GAN; on which networks each stage depends, a judge of made faces on whoever made them."""
    found = bound(run[0].folder / "run0")
    follows = {name: of for name, (_, _, of) in found.items()}
    assert follows == {
        "source/resnet10": set(), "gan1": set(), "gan2": {"f_S", "stage I"}, "judge": set(), "domain_source": set(),
        "domain_generated__with_f_w": {"the GAN"}, "fold0/CycleAT": {"f_S", "the GAN", "f_W"},
    }  # fmt: skip
    fold, other = (set(f["subjects"]) for f in json.loads((run[0].folder / "folds.json").read_text())["folds"])
    assert found["fold0/CycleAT"][:2] == (other | {""}, fold) and found["gan1"][0] == found["gan2"][0]
    source, tested, _ = found["source/resnet10"]
    assert tested and not source & tested and source < found["gan1"][0] and not found["gan1"][0] & (fold | other)


def test_results_for_python(run):
    results, _, printed = run
    assert results.methods == json.loads((results.folder / "metrics.json").read_text())["methods"]
    assert results.table in printed and len(results.measures) == 1 and results.export == results.folder / "export"
    assert [*results.models] == ["f_S", "with f_W", "S2T", "CycleAT", "svm"]
    assert results.models["S2T"] is results.models["f_S"] and results.models["svm"] is None
    assert results.models["CycleAT"].teacher is results.models["with f_W"].f_w


def test_another_target_takes_f_s_from_this_run(run, tmp_path):
    """--source_run: the same weights, and no file is written in that run's folder but its pictures."""
    results, given, _ = run
    before = {
        file: file.stat().st_mtime_ns
        for file in results.folder.rglob("*.*")
        if file.is_file() and file.suffix != ".png"
    }
    more = {"source_run": str(results.folder), "rows": ("S2T",), "stages": "source", "workdir": str(tmp_path)}
    again = script.run(script.Settings(**{**given, **more, "max_subjects": 4}))
    assert not list(tmp_path.rglob("checkpoint*"))
    for mine, theirs in zip(again.models["f_S"].weights, results.models["f_S"].weights, strict=True):
        np.testing.assert_array_equal(np.array(mine), np.array(theirs))
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_samples_show_what_the_generators_make(run):
    """Kept after the last epoch: the same held-out faces, and those that the exported generators redraw of them."""
    kept, folder = {}, run[0].folder
    for stage, name in (("gan1", None), ("gan2", "generator")):
        faces, made = kept[stage] = np.load(folder / f"run0/{stage}/samples/epoch001.npy")
        np.testing.assert_array_equal(faces, kept["gan1"][0])
        assert faces.shape == (2, 32, 32, 3) and faces.dtype == np.uint8 and np.abs(faces[0] - 1.0 * faces[1]).max() > 9
        if name:
            serve = tf.saved_model.load(str(folder / name)).signatures["serving_default"]
            np.testing.assert_allclose(serve(faces=tf.constant(faces))["faces"].numpy().astype(int), made, atol=1)
    assert len({made.tobytes() for _, made in kept.values()}) == 2


def test_exports(run):
    folder = run[0].folder
    predictor = export.load(folder / "export")
    faces = np.random.default_rng(0).integers(0, 256, (3, 90, 80, 3), dtype=np.uint8)
    p = predictor(list(faces))
    assert p.shape == (3, 2) and np.allclose(p.sum(-1), 1, atol=1e-5)
    assert predictor.metadata["row"] == "CycleAT" and predictor.metadata["template"]["size"] == [32, 32]
    assert predictor.metadata["trained_on"] == "rendered, rendered/wild"
    check_generator(folder / "generator", "with f_W")


def check_generator(file, which):
    """An exported generator takes faces of any size, and says whose it is."""
    faces = np.random.default_rng(0).integers(0, 256, (3, 90, 80, 3), dtype=np.uint8)
    loaded = tf.saved_model.load(str(file))
    assert json.loads(loaded.metadata().numpy())["generator"] == which
    made = loaded.signatures["serving_default"](faces=tf.constant(faces))["faces"]
    assert made.shape == (3, 32, 32, 3) and made.dtype == tf.uint8 and np.std(made) > 1


@pytest.mark.parametrize("number", range(4))
def test_stages_end_a_run(monkeypatch, tmp_path, capsys, number):
    """Each stage in its order, and none after --stages; all of them for each run."""
    calls, stages = [], ("source", "generation", "selection", "target")
    pair = np.array([0, 1, 1]), np.array([0, 1, 0])
    f_s, both = SimpleNamespace(classes=TWO), {"best": pair, "last": pair}
    source = classifiers.Source(f_s, {"resnet10": both}, {}, [], [])
    fold = script.Fold({"S2T": f_s}, {"S2T": both}, None)
    listed = domains.Domains(
        ["s"], ["a"], [Record("x.png", subject="z")] * 4, [Fold((0, 1), (2, 3)), Fold((2, 3), (0, 1))]
    )

    def note(name, result):
        return lambda *args: (calls.append(name), result)[1]

    monkeypatch.setattr(script.domains, "load", note("load", listed))
    monkeypatch.setattr(script.classifiers, "train_source", note("source", source))
    monkeypatch.setattr(script, "train_gans", note("generation", None))
    monkeypatch.setattr(script, "select", note("selection", None))
    monkeypatch.setattr(script, "one_fold", note("target", fold))
    monkeypatch.setattr(script, "finish", note("finish", tmp_path / "export"))
    for name in ("draw_attention", "draw_domains"):
        monkeypatch.setattr(script.pictures, name, lambda *args: None)
    settings = script.Settings(preset="smoke", runs=2, stages=stages[number], workdir=str(tmp_path))
    results = script.run(settings)
    of_a_run = [*stages[: min(number + 1, 2)], *2 * stages[2 : min(number + 1, 3)], *2 * stages[3 : number + 1]]
    assert calls == ["load", *2 * of_a_run, *["finish"] * (number == 3)]
    printed = capsys.readouterr().out
    assert "(Table 2)" in printed and (f"Stopped after --stages={stages[number]}" in printed) == (number < 3)
    assert bool(results.methods) == (number == 3) and results.folder == tmp_path
    assert results.export == (tmp_path / "export" if number == 3 else None)


@pytest.mark.slow
def test_stages_one_by_one_give_the_same(cli, run, tmp_path):
    """--stages stops and goes on; bit for bit with --deterministic; a finished run trains nothing anew."""
    of, written = "--rows=S2T_att_gen,CycleAT", []
    for folder, stages in (("parts", STAGES), ("whole", ("target",))):
        for stage in stages:
            done = cli(*SMOKE, of, "--deterministic", f"--stages={stage}", f"--workdir={tmp_path / folder}")
            assert done.returncode == 0, done.stderr[-3000:]
            assert ("Stopped after" in done.stdout) == (stage != "target")
            place = tmp_path / folder / "run0"
            drawn = {name for name in ("generated", "iterations") if (place / f"{name}.png").is_file()}
            assert len(drawn) == (0 if stage == "source" else 2), stage
            assert len([*place.rglob("selected.npy")]) == (2 if stage in STAGES[2:] else 0)
        written.append(json.loads((tmp_path / folder / "metrics.json").read_text()))
        check_generator(tmp_path / folder / "generator_alone", "alone")
        check_generator(tmp_path / folder / "generator", "with f_W")
    for row in ("S2T_att_gen", "CycleAT"):
        chosen, other = (np.load(tmp_path / name / f"run0/fold0/{row}/selected.npy") for name in ("parts", "whole"))
        assert len({*chosen}) == len(chosen) > 0 and max(chosen) < 8 and np.array_equal(chosen, other)
    assert written[0]["methods"] == written[1]["methods"] and written[0]["generation"] == written[1]["generation"]
    results, given, printed = run
    files = sorted(results.folder.rglob("checkpoint/checkpoint"))
    before = [file.stat().st_mtime_ns for file in files]
    again = script.run(script.Settings(**given))
    assert files and [file.stat().st_mtime_ns for file in files] == before
    assert again.methods == results.methods


@pytest.mark.slow
def test_other_rows_and_table_2(cli, tmp_path):
    """The target network alone, AlexNet and VGG-16, two source networks; several runs."""
    given = ("--rows=T_alone,alexnet,vgg16", "--source_network=resnet10,alexnet", "--runs=2", f"--workdir={tmp_path}")
    done = cli(*SMOKE, *given, "--target_labels=6", "--epoch_views=12")
    assert done.returncode == 0, done.stderr[-3000:]
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert list(written["source"]) == ["resnet10", "alexnet"] and not written["generation"]
    assert list(written["methods"]) == ["f_T, target alone", "AlexNet", "VGG-16"]
    assert [np.sum(m["last"]["confusion"]) for m in written["methods"].values()] == [16] * 3


def test_what_does_not_fit_gets_one_sentence(refused, tmp_path):
    cases = {
        "--rows=S2T,all": "'all' is none of S2T",
        "--rows=": "--rows is empty",
        "--source_network=lenet": "--source_network: 'lenet' is none of resnet10",
        "--target=nothing": "'nothing' names no data set",
        ("--auxiliary=rendered/wild,rendered/posed", "--max_subjects=2"): "--auxiliary names --target beside others",
        (
            "--auxiliary=rendered/lab",
            "--target=rendered/posed",
            "--max_subjects=0",
        ): "is in both the training and the test part",
        "--target_network=alexnet": "which alexnet lacks",
        "--rows=S2T_attention:untranslated": "is no control of S2T_attention",
        "--validation=0.95": "--validation",
        "--size=42": "a multiple of 4",
        "--image_pool=1": "--image_pool has to hold a batch",
        ("--rows=vgg16", "--imagenet=imagenet"): "it needs --width=1",
        "--only_folds=7": "give fold numbers from 0 to 1",
        "--protocol=sfew_2fold": "is the target's: give --target=sfew=<folder>",
        ("--protocol=bu3dfe_80_20", "--dataset=rendered"): "is of bu3dfe: leave --dataset=rendered out",
    }
    refused(SMOKE[0], cases, *SMOKE[1:3], f"--workdir={tmp_path}")


def test_a_protocol_is_the_sources_or_the_targets():
    """Parts that take turns are the target's, which --target names; a drawn share gives --source_test."""
    of_target = script.Settings(protocol="emotionet_5fold", target="emotionet=/e", dataset="folder", folds=5)
    assert (of_target.dataset, of_target.classes, of_target.folds) == ("folder", "six", 5)
    assert of_target.data_protocol is None and of_target.target_protocol is protocols.PROTOCOLS["emotionet_5fold"]
    assert of_target.tested_name == "emotionet"
    emotionet, sfew = {"protocol": "emotionet_5fold", "target": "emotionet=/e"}, {"target": "sfew=/s"}
    assert [script.Settings(**emotionet).t, script.Settings(**emotionet, t=5).t] == [3, 5]  # section 4.2
    assert script.Settings(protocol="sfew_2fold", **sfew).t == script.Settings(**sfew).t == 8
    share = script.Settings(protocol="bu3dfe_80_20", preset="smoke")
    assert (share.dataset, share.classes, share.source_test) == ("bu3dfe", "six_neutral", 0.2)
    assert share.data_protocol is protocols.PROTOCOLS["bu3dfe_80_20"] and share.target_protocol is None
    assert script.Settings(protocol="bu3dfe_80_20", dataset="folder").dataset == "folder"
    assert script.Settings(protocol="ck_plus_7_10fold").folds == 10
    refusals = {
        "leave --source_test=0.3 out": {"protocol": "bu3dfe_80_20", "source_test": 0.3},
        "give --target=emotionet=<folder>": {"protocol": "emotionet_5fold", "target": "sfew=/s"},
        "leave --folds=2 out": {"protocol": "emotionet_5fold", "target": "emotionet=/e", "folds": 2},
        "leave --classes=seven out": {"protocol": "sfew_2fold", "target": "sfew=/s", "classes": "seven"},
        "is of bu3dfe": {"protocol": "bu3dfe_80_20", "dataset": "jaffe"},
        "which this script cannot": {"protocol": "cross_sfew", "target": "sfew=/s"},
    }
    for sentence, given in refusals.items():
        with pytest.raises(ValueError, match=sentence):
            script.Settings(**given)


# Who is trained on and who is tested: faces of planted people, whose grey value says who they are.

SOURCE, WILD = {f"P{i}" for i in range(6)}, {f"P{i}" for i in range(6, 18)}


@pytest.fixture
def spied(planted, monkeypatch):
    """`planted`, with P0 to P5 in the laboratory and the others in the wild; and whom `features` was shown, by name.

    Generators leave faces as they are: the grey value of a generated one says which source person it was made of.
    """
    everybody = [r if r.subject in SOURCE else replace(r, domain="wild") for r in planted_records(people=18)]
    parts = {"all": {"lab", "wild"}, "wild": {"wild"}}

    def load(name, root=None, options=None):
        return [r for r in everybody if r.domain in parts[options["part"]]]

    def people(images):
        return Counter(marks(images / np.float32(255)))

    def select(model, target, made, *more):
        shown["select"].append((people(target), people(made())))
        return real["select"](model, target, made, *more)

    def machine(images, labels, test, seed):
        shown["machine"] = people(images), people(test)
        return real["machine"](images, labels, test, seed)

    shown, real = {"select": []}, {"select": features.select, "machine": features.machine}
    monkeypatch.setattr(catalogue, "load", load)
    monkeypatch.setattr(cycle_at.CycleAT, "translate", lambda self, images: tf.convert_to_tensor(images))
    monkeypatch.setattr(script.work, "save_module", lambda module, path: None)
    monkeypatch.setattr(features, "select", select)
    monkeypatch.setattr(features, "machine", machine)
    return planted, shown


def test_nobody_held_out_is_trained_on_and_all_of_them_are_tested(spied, tmp_path):
    """Of the source and of the target, by the pixels of what each training and each test was given."""
    planted, shown = spied
    given = {"folds": 3, "only_folds": "2", "max_subjects": 0, "rows": ("S2T", "CycleAT", "svm"), "source_test": 0.4}
    given |= {"preset": "smoke", "precision": "float32", "workdir": str(tmp_path), "candidates": 6, "t": 2}
    script.run(script.Settings(**given))
    folds = json.loads((tmp_path / "folds.json").read_text())["folds"]
    target = [{s.partition(":")[2] for s in fold["subjects"]} for fold in folds]
    everybody, out = set.union(*target), target[2]
    auxiliary, learnt = WILD - everybody, everybody - out
    assert [len(p) for p in (*target, auxiliary)] == [2, 2, 2, 6]
    held_out = planted.tested[0].marks["image"]  # f_S is the first that is tested
    source = SOURCE - held_out
    assert len(held_out) == 2 and held_out < SOURCE

    trained = {s.place.relative_to(tmp_path / "run0").as_posix(): s.marks for s in planted.trained}
    assert trained.pop("source/resnet10") == {"image": source}
    for name in ("gan1", "gan2"):
        faces = trained.pop(name)
        assert faces["image"] == source and faces["auxiliary"] and faces["auxiliary"] <= auxiliary, name
    assert trained.pop("judge") == {"image": source | auxiliary}
    for name in ("source", "generated__with_f_w"):
        faces = trained.pop(f"domain_{name}")["image"]
        assert faces <= source | auxiliary and faces & source and auxiliary <= faces, name
    faces = trained.pop("fold2/CycleAT")["image"]
    assert faces & WILD == learnt and faces & SOURCE and faces & SOURCE <= source
    for labelled, candidates in shown["select"]:
        assert {*labelled} == learnt and {*candidates} <= source and sum(candidates.values()) == 6
    assert [{*part} for part in shown["machine"]] == [learnt, out]
    assert not trained and len(shown["select"]) == 2  # before the rows, and read again for CycleAT

    tested = Counter(tuple(part.keys) for part in planted.tested)  # after the one epoch, the best and the last model
    (of_source, of_fold), counts = zip(*tested.items(), strict=True)
    assert counts == (3, 1 + 3) and of_fold == tuple(folds[2]["images"])
    assert len({*of_source}) == len(of_source) == sum(r.subject in held_out for r in planted_records(people=18))
    assert all(part.people == {f"rendered:{m}" for m in part.marks["image"]} for part in planted.tested)
    assert sum(shown["machine"][1].values()) == len({*of_fold}) == len(of_fold)


def test_rows_are_held_against_the_fine_tuned_source_network():
    assert script.baselines(("S2T", "S2T_fine_tune", "CycleAT")) == {"S2T": "S2T_fine-tune", "CycleAT": "S2T_fine-tune"}
    assert script.baselines(("S2T", "svm")) == {"Multi-SVM": "S2T"} and script.baselines(("S2T",)) == {}
    plain, of = "S2T_att.&gen.", ("S2T_att_gen", "S2T_att_gen:untranslated", "S2T_att_gen:untranslated:no_attention")
    assert script.baselines(("S2T_fine_tune", *of)) == {
        plain: "S2T_fine-tune", f"{plain}, untranslated": plain,
        f"{plain}, untranslated, no attention": f"{plain}, untranslated",
    }  # fmt: skip
    assert script.baselines(("S2T_fine_tune", of[2])) == {f"{plain}, untranslated, no attention": "S2T_fine-tune"}
