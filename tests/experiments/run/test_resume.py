"""A run that is taken up again: on other people, pictures, labels or folds it is refused, and nothing is written."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from experiments import fer_net as script
from experiments.run import foldings, settings
from fer_tf import records

TWO = ("anger", "happiness")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One folder for all tests, since a run knows its manifest by its path; kept/ is as the first run left run/."""
    return tmp_path_factory.mktemp("place")


@pytest.fixture
def begun(planted, place):
    """`run(listed, **changes)` on these planted people in one folder, where a run on all six has ended.

    Their folds are those of a manifest.
    """
    listed, file = planted.people(), place / "mine.json"
    folds = records.subject_folds(listed, 3)
    records.write_manifest(file, listed, folds, frames="all", order="by hand")
    planted.steps = True

    def run(shown=listed, **changes):
        planted.plant(shown)
        given = {"preset": "smoke", "precision": "float32", "workdir": str(place / "run"), "max_subjects": 0}
        given |= {"manifest": file, "classes": "anger,happiness", "max_steps": 1, "epochs": 1, "only_folds": "1"}
        return script.run(script.Settings(**{**given, **changes}))

    if not (place / "kept").is_dir():
        run()
        shutil.copytree(place / "run", place / "kept")
    shutil.rmtree(place / "run")
    shutil.copytree(place / "kept", place / "run")
    run.file, run.listed, run.folder, run.planted = file, listed, place / "run", planted
    return run


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(run, *args, **changes):
    """The one sentence by which it is; nothing has been trained, tested or written."""
    before, counts = contents(run.folder), (len(run.planted.trained), len(run.planted.tested))
    with pytest.raises(ValueError) as error:
        run(*args, **changes)
    assert "\n" not in str(error.value) and "another --workdir" in str(error.value)
    assert contents(run.folder) == before and len(run.planted.tested) == counts[1]
    return str(error.value)


def rewritten(run, listed, change=lambda folds: folds):
    """The manifest again, for these records, its folds changed."""
    folds = change(records.subject_folds(listed, 3))
    records.write_manifest(run.file, listed, folds, frames="all", order="by hand")


def test_the_same_data_go_on(begun):
    before = {path: path.stat().st_mtime_ns for path in begun.folder.rglob("checkpoint/*")}
    begun()
    assert {path: path.stat().st_mtime_ns for path in begun.folder.rglob("checkpoint/*")} == before


def test_folds_that_were_exchanged_in_the_manifest(begun):
    """The file has the same name: fold 1's people were trained by what is now fold 0's checkpoint, and so on."""
    rewritten(begun, begun.listed, lambda folds: [folds[1], folds[0], folds[2]])
    assert "fold 0 held out P0, P1, and now P2, P3" in refused(begun)


def test_a_person_who_was_removed(begun):
    left = [r for r in begun.listed if r.subject != "P4"]
    rewritten(begun, left)
    assert "no longer there: P4. Give it the data and folds that it had" in refused(begun, left)


def test_a_person_who_came(begun):
    more = begun.planted.people(people=7)
    rewritten(begun, more)
    assert "; new: P6. Give it" in refused(begun, more)


def test_a_picture_that_was_replaced(begun):
    """In the manifest's sha256, too."""
    other = [replace(r, image=r.image + 1) if r.subject == "P3" and r.frame == 0 else r for r in begun.listed]
    rewritten(begun, other)
    assert "other pictures in fold 1" in refused(begun, other)


def test_new_boxes_of_the_same_pictures(begun, tmp_path):
    """A prepared file bears the pictures' hashes, which stay: only the faces tell."""
    marked = [replace(r, info={**r.info, "sha256": f"{i}"}) for i, r in enumerate(begun.listed)]
    rewritten(begun, marked)
    fresh = {"workdir": str(tmp_path / "prepared")}
    begun(marked, **fresh)
    begun.folder = tmp_path / "prepared"
    other = [replace(r, image=np.roll(r.image, 1, 0)) if r.subject == "P5" else r for r in marked]
    sentence = refused(begun, other, **fresh)
    assert "run0/fold1/finetune holds a training on other data: other pictures, boxes or landmarks: P5." in sentence


def test_other_labels(begun):
    other = [replace(r, expression=TWO[r.expression == TWO[0]]) if r.subject == "P0" else r for r in begun.listed]
    assert "holds a training on other data: other labels: P0." in refused(begun, other)
    assert "other labels: P0." in refused(begun, other, epochs=9, max_steps=None)  # flags.json stays as it was, too
    begun()


def test_a_run_of_before_is_refused_with_the_way_out(begun):
    (begun.folder / "run0/fold1/finetune/trained_on.json").unlink()
    sentence = refused(begun)
    assert "does not say what it was trained on" in sentence and "or remove that folder" in sentence


def test_more_epochs_and_steps_go_on_fewer_are_refused(begun, capsys):
    """Where the run ended; the first epoch is not trained again."""
    capsys.readouterr()
    begun(max_steps=None, epochs=3)
    assert "goes on from --epochs=1 to 3, --max_steps=1 to None; learning rates that fall" in capsys.readouterr().out
    done = json.loads((begun.folder / "run0/fold1/finetune/done.json").read_text())
    steps = -(-sum(r.subject not in ("P2", "P3") for r in begun.listed) // 8)
    assert (done["epochs"], done["steps"]) == (3, 3 * steps) and steps > 1
    assert done["before"] == [{"epochs": 1, "steps": 1}]
    assert json.loads((begun.folder / "flags.json").read_text())["epochs"] == 3
    assert "--epochs=3, and now --epochs=1 is asked for" in refused(begun, max_steps=None, epochs=1)
    assert "--max_steps=None, and now --max_steps=9" in refused(begun, max_steps=9, epochs=3)


@settings.command({"quick": {}})
class Toy(settings.Folds):
    """None of its own."""


def held(*parts, splits=False, sha="s"):
    """A folds.json whose folds hold these out."""
    key, other = ("splits", "subjects") if splits else ("subjects", "splits")
    folds = [{key: [*p], other: [], "test": 1, "train": 2, "sha256": f"{sha}{p}"} for p in parts]
    return {"folds": folds}


def test_what_differs_between_two_foldings(tmp_path):
    file = tmp_path / "a" / "folds.json"
    foldings.refuse_others(file, held("ab", "cd"), {**held("ab", "cd"), "order": "as in x.json"})
    cases = [
        (held("ab", "cd"), held("cd", "ab"), "fold 0 held out a, b, and now c, d"),
        (held("ab", "cd"), held("ab", "cde"), "new: e"),
        (held("ab", "cd"), held("ab", "c"), "no longer there: d"),
        (held("ab", "cd"), held("ab", "cx"), "no longer there: d; new: x"),
        (held("ab", "cd"), held("ab", "c", "d"), "there are 3 folds, not 2; fold 1 held out c, d, and now c"),
        (held("ab", "cd"), held("ab", "cd", sha="t"), "other pictures in fold 0, 1"),
        (held("ab", "cd", splits=True), held("cd", "ab", splits=True), "fold 0 held out a, b, and now c, d"),
        ({"folds": 3}, held("ab"), "folds.json is damaged: give another --workdir"),
        ({}, held("ab"), "folds.json is damaged"),
    ]
    for before, now, words in cases:
        with pytest.raises(ValueError) as error:
            foldings.refuse_others(file, before, now)
        assert words in str(error.value) and "\n" not in str(error.value), words
