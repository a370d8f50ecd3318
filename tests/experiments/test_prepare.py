"""experiments.prepare: from an owner's folder to one file, its report, its lists; killed, damaged, mended by hand."""

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from experiments import prepare
from experiments.parts.prepare import report
from experiments.parts.prepare import work as preparing
from fer_tf import catalogue, pipeline, protocols, records
from fer_tf.datasets import ck_plus, folder, prepared, rendered

CLASSES = ("anger", "happiness")


def tree(root, people=4, classes=CLASSES):
    """A CK+ of rendered people: a neutral frame and two of each expression, in pictures of 200 x 160."""
    faces = [r for r in rendered.records(classes=(*classes, "neutral")) if int(r.subject[1:]) < people]
    for record in faces:
        if record.frame == 0 and record.expression != "neutral":
            continue
        number = 1 if record.expression == "neutral" else record.frame + 1
        subject = f"S{int(record.subject[1:]):03d}"
        picture = Image.new("RGB", (200, 160), (90, 90, 90))
        picture.paste(Image.fromarray(pipeline.read_image(record)), (40, 10))
        for sequence, expression in enumerate(classes, 1):
            if record.expression not in ("neutral", expression) or (number > 1 and record.expression == "neutral"):
                continue
            place = root / f"cohn-kanade-images/{subject}/{sequence:03d}"
            place.mkdir(parents=True, exist_ok=True)
            picture.save(place / f"{subject}_{sequence:03d}_{number:08d}.png")
            if len(classes) > 2:  # landmarks save the search
                points = root / f"Landmarks/{subject}/{sequence:03d}"
                points.mkdir(parents=True, exist_ok=True)
                name = f"{subject}_{sequence:03d}_{number:08d}_landmarks.txt"
                np.savetxt(points / name, record.info["landmarks"] + (40, 10))
            told = root / f"Emotion/{subject}/{sequence:03d}"
            told.mkdir(parents=True, exist_ok=True)
            (told / "emotion.txt").write_text(f" {ck_plus.NUMBERS.index(expression)}.0e+00\n")
    return root


@pytest.fixture(scope="module")
def made(tmp_path_factory, here):
    """One run: (its folder, what it said)."""
    place = tmp_path_factory.mktemp("prepare")
    tree(place / "CK+")
    done = here("prepare", "--dataset=ck_plus", f"--data_dir={place}/CK+", "--align=ia_gen", f"--out={place}/faces.h5")
    assert done.returncode == 0, done.stderr[-2000:]
    return place, done


def test_the_file_has_the_faces_of_the_data_set(made):
    """As the adapter gives them: same order, labels and people; the very pixels that a direct run would see."""
    place, done = made
    raw, found = ck_plus.records(place / "CK+"), prepared.records(place / "faces.h5")
    assert "24 faces of 24 pictures" in done.stdout and len(found) == len(raw) == 24
    for a, b in zip(raw, found, strict=True):
        assert (a.expression, a.subject, a.sequence, a.frame) == (b.expression, b.subject, b.sequence, b.frame)
        assert b.info["picture"] == os.path.relpath(a.image, place / "CK+")
        assert b.info["sha256"] == records.content_hash(a)
    np.testing.assert_array_equal(pipeline.face(raw[3], "ia_gen"), pipeline.face(found[3], "ia_gen"))
    assert not list(place.glob(".*")) and not list(place.glob("*.parts"))


def test_the_report_and_the_lists(made):
    place, _ = made
    page = (place / "faces.html").read_text()
    for text in (
        "24 faces of 24 pictures",
        "Faces of each of 4 people",
        "mean of 8",
        "ck_plus_7_10fold",
        "IA-gen IV-C",
    ):
        assert text in page, text
    assert page.count("data:image/png") >= 3 * 5 and "http" not in page  # one file, nothing fetched
    assert "Duplicates: 4" in page  # each person's neutral frame begins two sequences
    assert "10 folds of 4 subjects" in page  # too few, said there rather than raised
    assert list(csv.reader((place / "faces_undetected.csv").open())) == [["path", "status", "reason"]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, here):
    """Ten people in seven expressions, prepared for IA-gen: the folder."""
    place = tmp_path_factory.mktemp("whole")
    tree(place / "CK+", 10, records.CLASSES["seven"])
    done = here("prepare", "--dataset=ck_plus", f"--data_dir={place}/CK+", "--align=ia_gen", f"--out={place}/faces.h5")
    assert done.returncode == 0, done.stderr[-2000:]
    return place


SMOKE = ("--preset=smoke", "--max_subjects=0", "--runs=1", "--only_folds=1")


def test_an_experiment_follows_the_protocol(whole, here, op_by_op, tmp_path):
    """Named alone it gives classes, folds and their order; metrics.json names it, the data set and its source."""
    flags = ["--dataset=prepared", f"--data_dir={whole}/faces.h5", "--protocol=ck_plus_7_10fold"]
    with op_by_op():
        done = here("fer_net", *SMOKE, *flags, f"--workdir={tmp_path}/run")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "ck_plus: this copy has 140 images of seven; the papers have 981" in done.stderr
    assert "this copy has 10 people of seven; the papers have 118" in done.stderr
    assert "searched for faces" not in done.stderr
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["dataset"] == "ck_plus" and tuple(metrics["classes"]) == records.CLASSES["seven"]
    assert metrics["protocol"].startswith("ck_plus_7_10fold, contiguous: IA-gen IV-C (8 runs)")
    told = json.loads((tmp_path / "run/folds.json").read_text())
    assert told["frames"] == "last3" and [f["subjects"] for f in told["folds"]] == [[f"S{i:03d}"] for i in range(10)]
    # the manifest that prepare wrote gives the same folds, for the file and for the owner's pictures
    for module, root in ((prepared, "faces.h5"), (ck_plus, "CK+")):
        given = records.of_classes(module.records(whole / root), records.CLASSES["seven"])
        folds = records.read_manifest(whole / "faces_ck_plus_7_10fold_contiguous.json", given)
        records.write_manifest(tmp_path / "again.json", given, folds, frames="last3", order="")
        assert json.loads((tmp_path / "again.json").read_text())["folds"] == told["folds"]


def test_manifests_of_every_kind_are_read(whole, tmp_path):
    """With the neutral faces that GCNet loads besides; folds of parts; a single fold of drawn people."""
    found = prepared.records(whole / "faces.h5")
    for order in ("contiguous", "strided"):
        seven = records.of_classes(found, records.CLASSES["seven"])
        wanted = protocols.PROTOCOLS["ck_plus_7_10fold"].fold(seven, order)
        for given in (seven, found):
            folds = records.read_manifest(whole / f"faces_ck_plus_7_10fold_{order}.json", given)
            held = [{given[i].subject for i in fold.test} for fold in folds]
            assert held == [{seven[i].subject for i in fold.test} for fold in wanted]
            assert all(len(fold.train) + len(fold.test) == len(given) for fold in folds)
    parts = [replace(r, subject=None, split=f"set{1 + i % 2}") for i, r in enumerate(found)]
    for name, given in (("sfew_2fold", parts), ("bu3dfe_80_20", found)):
        folds = protocols.PROTOCOLS[name].fold(given)
        records.write_manifest(tmp_path / "folds.json", given, folds, frames="all", order=name)
        assert records.read_manifest(tmp_path / "folds.json", given) == folds
        with pytest.raises(ValueError, match="sha256 differs|differ in subjects"):
            records.read_manifest(tmp_path / "folds.json", [r for i, r in enumerate(given) if i != folds[0].test[0]])


def test_raw_pictures_are_pointed_out_and_protocols_checked(made, whole, here, refused, tmp_path):
    place, _ = made
    done = here("fer_net", "--preset=smoke", "--protocol=ck_plus_7_10fold", f"--data_dir={place}/CK+",
               f"--workdir={tmp_path}/run", "--only_folds=99")  # fmt: skip
    assert done.returncode == 1 and "16 pictures will be searched for faces" in done.stderr
    assert f"experiments.prepare --dataset=ck_plus --data_dir={place}/CK+ --align=" in done.stderr
    file, ck = ("--dataset=prepared", f"--data_dir={whole}/faces.h5"), "--protocol=ck_plus_7_10fold"
    refused(
        "fer_net",
        {
            ("--protocol=mmi_10fold", "--dataset=rendered"): "is of mmi: leave --dataset=rendered out",
            ("--protocol=mmi_10fold", *file): "has ck_plus, --protocol=mmi_10fold is of mmi",
            ("--protocol=cross_fer2013",): "which this script cannot: see experiments.gcnet",
            (ck, *file, "--classes=anger,happiness"): "has seven: leave --classes=anger,happiness out",
            (ck, *file, "--folds=5"): "has folds 10: leave --folds=5 out",
            (
                ck,
                f"--data_dir={place}/CK+",
                "--options=frames=all",
            ): "frames=all is another data set than the protocol's",
            ("--protocol=oulu_strong_10fold", "--options=light=Weak"): "light=Weak is another data set",
            ("--dataset=prepared",): "is no prepared file",
            ("--options=light=Weak",): "rendered has part=lab, classes=None",
        },
        "--preset=smoke",
        f"--workdir={tmp_path}/none",
    )
    refused(
        "ed2l",
        {("--dataset=prepared", f"--data_dir={place}/faces.h5", "--classes=anger,happiness"): "prepared for ia_gen"},
        "--preset=smoke",
        f"--workdir={tmp_path}/other",
    )


def test_faces_come_upright_once_and_odd_names_are_written(tmp_path):
    """A film that lies on its side is turned by the cut alone; bytes that are no UTF-8 are written with backslashes."""
    source = rendered.records()[0]
    upright = pipeline.read_image(source)
    with open(os.fsencode(tmp_path) + b"/\xff.png", "wb") as file:
        Image.fromarray(np.rot90(upright)).save(file, "png")
    (name,) = [p for p in os.listdir(tmp_path) if p.endswith(".png")]
    lying = records.Record(str(tmp_path / name), "fear", subject=name, info={"turn": 90, "light": "dim"})
    np.testing.assert_array_equal(pipeline.read_image(lying), upright)
    job = work([lying], tmp_path / "faces.h5")
    job.start(), job.run()
    assert not job.finish()
    (record,) = prepared.records(tmp_path / "faces.h5")
    np.testing.assert_array_equal(pipeline.face(record, "gcnet"), pipeline.face(lying, "gcnet"))
    assert record.info["picture"] == record.subject == r"\udcff.png" and record.info["light"] == "dim"


def work(found, out, boxes=None, template="gcnet"):
    """The work on some records of the class folders."""
    made = {
        "dataset": "folder",
        "template": template,
        "options": {"channels": 1},
        "frames": "all",
        "records": len(found),
    }
    return preparing.Work(found, [preparing.name_of(r, out.parent) for r in found], made, out, boxes or {})


@pytest.fixture
def pictures(tmp_path):
    """Seven faces in class folders, the last one an empty wall."""
    (tmp_path / "anger").mkdir()
    for i, record in enumerate(rendered.records()[:7]):
        image = pipeline.read_image(record) if i < 6 else np.full((99, 120, 3), 90, np.uint8)
        Image.fromarray(image).save(tmp_path / f"anger/p{i}_face.png")
    return folder.records(tmp_path)


def test_a_killed_run_goes_on(pictures, tmp_path, monkeypatch):
    """After a stop in the second of four parts only what is not written is cut, and the file is the same."""
    monkeypatch.setattr(preparing, "PART", 2)
    whole = work(pictures, tmp_path / "whole.h5")
    whole.start(), whole.run(1), whole.finish()
    looked = []

    def one(self, i, real=preparing.Work.one):
        looked.append(i)
        if looked == [0, 1, 2]:
            raise KeyboardInterrupt
        return real(self, i)

    monkeypatch.setattr(preparing.Work, "one", one)
    for turn in range(2):
        again = work(pictures, tmp_path / "again.h5")
        again.start()
        if not turn:
            with pytest.raises(KeyboardInterrupt):
                again.run(1)
            assert not (tmp_path / "again.h5").exists()
            looked.clear()
    again.run(1)
    assert looked == [2, 3, 4, 5, 6]
    missed = again.finish()
    assert [(m.name, m.record, m.status) for m in missed] == [("anger/p6_face.png", pictures[6], preparing.NO_FACE)]
    with h5py.File(tmp_path / "whole.h5") as a, h5py.File(tmp_path / "again.h5") as b:
        assert len(a["image"]) == 6
        for name in ("image", "frame", *prepared.TEXTS):
            np.testing.assert_array_equal(a[name][:], b[name][:])
    assert not list(tmp_path.glob("*.parts"))


def test_faces_of_one_picture_have_names_of_their_own(tmp_path):
    """So that a second run takes over each of them, and --boxes can name them."""
    found = [records.Record(tmp_path / "a" / "x.jpg", "anger", info={"face": i}) for i in (0, 3)]
    assert [preparing.name_of(r, tmp_path) for r in found] == ["a/x.jpg#0", "a/x.jpg#3"]
    assert preparing.name_of(records.Record((tmp_path / "f.avi", 2)), tmp_path) == "f.avi[2]"
    told = [replace(r, info={**r.info, "sha256": "a", "picture": f"x.jpg#{i}"}) for i, r in enumerate(found)]
    assert report.duplicates(told)[0] == "<h2>Duplicates: 0</h2>"
    assert report.duplicates([told[0], told[0]])[0] == "<h2>Duplicates: 1</h2>"


def test_boxes_by_hand(pictures, tmp_path, monkeypatch):
    """A second run with boxes cuts what was missed by its box and takes the others over."""
    first = work(pictures, tmp_path / "faces.h5")
    first.start(), first.run(), first.finish()
    (tmp_path / "boxes.csv").write_text("path,left,top,right,bottom\np6_face.png,10,10,90,90\n")
    names = [preparing.name_of(r, tmp_path) for r in pictures]
    boxes = preparing.read_boxes(tmp_path / "boxes.csv", names)
    assert boxes == {"anger/p6_face.png": (10, 10, 90, 90)}
    cuts = []
    monkeypatch.setattr(preparing, "cut", lambda *a, real=preparing.cut: cuts.append(a[0].image) or real(*a))
    second = work(pictures, tmp_path / "faces.h5", boxes)
    second.start(), second.run()
    assert not second.finish() and cuts == [pictures[6].image]
    for given, again in ((boxes, []), ({}, [pictures[6].image])):  # a box that is gone is not used any more
        cuts.clear()
        third = work(pictures, tmp_path / "faces.h5", given)
        third.start(), third.run()
        assert len(third.finish()) == len(again) and cuts == again
    second = work(pictures, tmp_path / "faces.h5", boxes)
    second.start(), second.run(), second.finish()
    assert len(prepared.records(tmp_path / "faces.h5")) == 7
    with pytest.raises(ValueError, match="was prepared with template gcnet, not ed2l: give another --out"):
        work(pictures, tmp_path / "faces.h5", template="ed2l").start()
    for text, sentence in (
        ("p6_face.png,10,10,90\n", "line 2: path,left,top,right,bottom are needed"),
        ("p6_face.png,90,10,10,90\n", "is no box"),
        ("p9_face.png,1,2,3,4\n", "'p9_face.png' names 0 pictures"),
    ):
        (tmp_path / "boxes.csv").write_text("path,left,top,right,bottom\n" + text)
        with pytest.raises(ValueError, match=sentence):
            preparing.read_boxes(tmp_path / "boxes.csv", names)
    (tmp_path / "boxes.csv").write_text("path,left,top,right,bottom\na,1,2,3,4,5\n")  # of a picture called "a,1"
    with pytest.raises(ValueError, match="line 2: more fields than columns: put a path that has a comma in quotes"):
        preparing.read_boxes(tmp_path / "boxes.csv", ["a", "a,1"])
    (tmp_path / "boxes.csv").write_text('path,left,top,right,bottom\n"a,1",2,3,4,5\n')
    assert preparing.read_boxes(tmp_path / "boxes.csv", ["a", "a,1"]) == {"a,1": (2.0, 3.0, 4.0, 5.0)}
    with pytest.raises(ValueError, match="cannot be read"):
        preparing.read_boxes(tmp_path / "nowhere.csv", names)


def test_an_unfinished_run_of_other_pictures_is_refused(pictures, tmp_path):
    work(pictures, tmp_path / "faces.h5").start()
    with pytest.raises(ValueError, match="holds a preparation of other pictures or flags"):
        work(pictures[:3], tmp_path / "faces.h5").start()


@pytest.mark.slow
def test_a_thousand_damaged_pictures(tmp_path, cli):
    """Each is named in the list, the good ones are written, the exit code is 1, nothing else is left."""
    rng, good = np.random.default_rng(0), rendered.records()[:3]
    place = tmp_path / "mine" / "sad"
    place.mkdir(parents=True)
    for i, record in enumerate(good):
        Image.fromarray(pipeline.read_image(record)).save(place / f"ok {i} лицо_1.png")
    whole = (place / "ok 0 лицо_1.png").read_bytes()
    for i in range(1000):
        kinds = (b"", whole[: 40 + i * 7], rng.bytes(100 + i), b"<html>", whole[:16] + b"\x7f" * 8 + whole[24:])
        (place / f"bad {i}_名前.png").write_bytes(kinds[i % len(kinds)])
    os.symlink("..", place / "again")
    os.symlink("loop.png", place / "loop.png")
    done = cli("prepare", "--dataset=folder", f"--data_dir={tmp_path}/mine", "--align=gcnet", f"--out={tmp_path}/f.h5")
    assert done.returncode == 1 and "Traceback" not in done.stderr and "1000 pictures cannot be read" in done.stderr
    rows = list(csv.DictReader((tmp_path / "f_undetected.csv").open(encoding="utf-8")))
    assert len(rows) == 1000 and {r["status"] for r in rows} == {"unreadable"}
    assert all(r["path"].rpartition("/")[2] in r["reason"] for r in rows)
    assert [r.info["picture"] for r in prepared.records(tmp_path / "f.h5")] == [
        f"sad/ok {i} лицо_1.png" for i in range(3)
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.h5", "f.html", "f_undetected.csv", "mine"]


def test_what_does_not_fit_gets_one_sentence(tmp_path, refused):
    (tmp_path / "zips").mkdir()
    (tmp_path / "zips/extended-cohn-kanade-images.zip").write_bytes(b"PK")
    (tmp_path / "wall").mkdir()
    Image.new("L", (90, 90)).save(tmp_path / "wall/x.png")
    (tmp_path / "wall/labels.csv").write_text("path,expression\nx.png,sad\n")
    packed = ("--dataset=ck_plus", "--align=ed2l", f"--data_dir={tmp_path}/zips")
    refused(
        "prepare",
        {
            (): "Give --dataset=, --data_dir= and --align=",
            packed: "add --unpack=<folder>",
            (*packed, f"--unpack={tmp_path}/u"): "cannot be unpacked",
            ("--dataset=folder", "--align=ed2l", f"--data_dir={tmp_path}/wall"): "None of 1 pictures gave a face, see",
            ("--dataset=ck_plus", "--align=ed2l", "--options=frame=all"): "ck_plus has frames=last3",
            ("--dataset=bu3dfe", "--align=ed2l", "--options=levels=three"): "a value like 3+4 is wanted",
        },
        f"--out={tmp_path}/faces.h5",
    )
    assert not (tmp_path / "faces.h5").exists() and not (tmp_path / "faces.h5.parts").exists()
    assert "x.png,no face" in (tmp_path / "faces_undetected.csv").read_text()  # from which boxes can be made


def test_list_shows_every_data_set(capsys):
    assert prepare.run(prepare.Settings(list_=True)) == 0
    text = capsys.readouterr().out.removesuffix("\n")
    for name in catalogue.names():
        assert f"\n{name} " in f"\n{text}"
    for title in ("tree", "labels", "citation", "licence", "used by", "options", "protocols"):
        assert text.count(f"\n{'':<16}{title:<11}") == len(catalogue.names()), title
    assert "Lucey, Cohn, Kanade" in text and "mmlab.ie.cuhk.edu.hk" in text and "sfew_2fold" in text
    assert max(map(len, text.splitlines())) <= 128  # trees stay as they are


def test_the_file_says_how_it_was_made():
    """Channels as the paper has them unless they are given; frames as the options say, else as the data set has it."""
    for align, channels, wanted in (("ia_gen", "auto", 1), ("cycle_at", "auto", 3), ("cycle_at", "1", 1)):
        given = prepare.Settings(dataset="ck_plus", align=align, channels=channels)
        for options, frames in (({}, "last3"), ({"frames": "all"}, "all")):
            made = prepare.metadata(given, prepare.Listed([records.Record("a.png")] * 5, Path(), options))
            expected = {"dataset": "ck_plus", "template": align, "frames": frames, "records": 5}
            assert made == {**expected, "options": {**options, "channels": wanted}}
