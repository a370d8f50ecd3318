"""fer_tf.records: classes, folds by subject in both readings, manifests, and the leak check."""

import json
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest

from fer_tf import records
from fer_tf.records import CLASSES, EXPRESSIONS, Fold, Record, check_fold, leaks, neutral_pairs, subject_folds, unlike

SIX = CLASSES["six"]


def people(subjects: list[str], expressions: tuple[str, ...] = SIX) -> list[Record]:
    """A picture of every expression of every subject, subjects in the order given."""
    pairs = [(s, e) for s in subjects for e in expressions]
    pictures = [np.array([[i // 256, i % 256]], np.uint8) for i in range(len(pairs))]
    return [Record(p, e, subject=s, sequence="1", frame=0) for p, (s, e) in zip(pictures, pairs, strict=True)]


def ck_plus() -> list[Record]:
    """118 subjects, as CK+ in that contempt is shown by subjects with high numbers only."""
    subjects = [f"S{n:03d}" for n in [*range(5, 105), *range(138, 154), 504, 999]]
    made = people(subjects, CLASSES["six"])
    return made + [Record(bytes([7, i]), "contempt", subject=s) for i, s in enumerate(subjects[-18:])]


def held_out(made: list[Record], folds: list[Fold]) -> list[set[str]]:
    return [{made[i].subject for i in fold.test} for fold in folds]


def test_the_order_of_the_expressions_and_the_class_sets():
    assert EXPRESSIONS == ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
    assert CLASSES["six"] == ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
    assert CLASSES["seven"] == EXPRESSIONS[:7]
    assert CLASSES["six_neutral"] == (*CLASSES["six"], "neutral")
    assert records.classes_of("eight") == EXPRESSIONS
    assert records.classes_of("surprise, anger") == ("anger", "surprise")
    assert records.classes_of(["neutral", "fear"]) == ("fear", "neutral")
    for wrong in ("joy", "anger,joy", [], ""):
        with pytest.raises(ValueError, match="Unknown classes"):
            records.classes_of(wrong)


def test_of_classes_keeps_order_and_leaves_out_the_unlabelled():
    made = [Record(b"a", "fear"), Record(b"b"), Record(b"c", "neutral"), Record(b"d", "anger")]
    assert [r.image for r in records.of_classes(made, SIX)] == [b"a", b"d"]


def test_numbers_in_subjects_count_as_numbers():
    assert records.subject_order(["S10", "S9", "S100", "S9"]) == ["S9", "S10", "S100"]
    assert records.subject_order(["F0010", "M2", "F2", "10", "9"]) == ["9", "10", "F2", "F0010", "M2"]
    assert records.subject_order(["b2a10", "b2a9", "b1a11"]) == ["b1a11", "b2a9", "b2a10"]


def test_subjects_of_one_number_have_one_order_in_every_process():
    names = ["S9", "S09", "S009", "S0009"]
    assert records.subject_order(names) == records.subject_order(names[::-1]) == sorted(names)


def test_subjects_in_ascending_order_without_those_unknown():
    listed = [Record("a.png", subject=who) for who in ("S10", None, "S9", "S10")]
    assert records.subjects_of(listed) == ["S9", "S10"] and records.subjects_of([]) == []


def test_contiguous_folds_are_blocks_whose_sizes_differ_by_one_at_most():
    subjects = [f"S{n}" for n in range(1, 12)]
    made = people(subjects[::-1])
    assert held_out(made, subject_folds(made, 3)) == [set(subjects[:4]), set(subjects[4:8]), set(subjects[8:])]


def test_strided_folds_take_every_kth_subject():
    subjects = [f"S{n}" for n in range(1, 12)]
    made = people(subjects[::-1])
    folds = subject_folds(made, 3, "strided")
    assert held_out(made, folds) == [set(subjects[0::3]), set(subjects[1::3]), set(subjects[2::3])]


@pytest.mark.parametrize("order", ["contiguous", "strided"])
def test_every_record_is_held_out_once_and_nobody_is_on_both_sides(order):
    made = ck_plus()
    folds = subject_folds(made, 10, order)
    assert Counter(i for fold in folds for i in fold.test) == Counter(range(len(made)))
    for fold in folds:
        assert sorted(fold.train + fold.test) == list(range(len(made)))
        assert not {made[i].subject for i in fold.train} & {made[i].subject for i in fold.test}
        assert leaks(made, fold) == []


def test_only_the_contiguous_reading_leaves_contempt_out_of_the_first_fold():
    made = ck_plus()
    shown = {
        order: [{made[i].expression for i in fold.test} for fold in subject_folds(made, 10, order)]
        for order in ("contiguous", "strided")
    }
    assert shown["contiguous"][0] == set(SIX)
    assert "contempt" in shown["contiguous"][-1]
    assert all("contempt" in fold for fold in shown["strided"])


def test_folds_refuse_what_cannot_be_dealt():
    made = people(["S1", "S2", "S3"])
    with pytest.raises(ValueError, match="holiday/me.jpg has no subject"):
        subject_folds([*made, Record("holiday/me.jpg", "fear")], 2)
    for k in (0, 1, 4):
        with pytest.raises(ValueError, match=f"{k} folds of 3 subjects: .* 2 to 3"):
            subject_folds(made, k)
    with pytest.raises(ValueError, match="'random': use contiguous or strided"):
        subject_folds(made, 2, "random")
    assert len(subject_folds(made, 3)) == 3


def stored(tmp_path: Path, kind: str, payloads: list[bytes]) -> list:
    """The payloads as images of a kind: memory, files, rows of an HDF5 file, arrays, or pictures in an HDF5 file."""
    if kind == "bytes":
        return payloads
    if kind == "file":
        for i, payload in enumerate(payloads):
            (tmp_path / f"{i}.jpg").write_bytes(payload)
        return [str(tmp_path / f"{i}.jpg") for i in range(len(payloads))]
    arrays = [np.frombuffer(payload, np.uint8).reshape(2, 2) for payload in payloads]
    if kind == "array":
        return arrays
    with h5py.File(tmp_path / f"{kind}.h5", "w") as file:
        if kind == "h5 bytes":
            rows = file.create_dataset("image", (len(payloads),), h5py.vlen_dtype(np.uint8))
            for i, payload in enumerate(payloads):
                rows[i] = np.frombuffer(payload, np.uint8)
        else:
            file["image"] = np.stack(arrays)
    return [(str(tmp_path / f"{kind}.h5"), i) for i in range(len(payloads))]


KINDS = ["bytes", "file", "array", "h5 bytes", "h5 arrays"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_on_both_sides_is_found_by_its_content(tmp_path, kind):
    images = stored(tmp_path, kind, [b"aaaa", b"bbbb", b"cccc", b"bbbb"])
    made = [Record(image, "fear", subject=f"S{i}") for i, image in enumerate(images)]
    found = leaks(made, Fold((0, 1), (2, 3)))
    assert len(found) == 1 and found[0].startswith(f"{made[3].name} (test) is the same image as {made[1].name} (train")
    assert leaks(made, Fold((0, 1), (2, 3)), by_content=False) == leaks(made, Fold((0,), (1, 2))) == []
    assert records.content_hashes(made) == [records.content_hash(record) for record in made]
    with pytest.raises(ValueError, match="leaks: .*is the same image as"):
        check_fold(made, Fold((0, 1), (2, 3)), ["fear"])


@pytest.mark.parametrize("kinds", [("bytes", "file", "h5 bytes"), ("array", "h5 arrays")])
def test_one_picture_has_one_hash_wherever_it_is_stored(tmp_path, kinds):
    hashes = [records.content_hashes([Record(i) for i in stored(tmp_path, kind, [b"aaaa", b"bbbb"])]) for kind in kinds]
    assert all(found == hashes[0] for found in hashes) and hashes[0][0] != hashes[0][1]


def test_frames_of_films(tmp_path):
    """One hash a film and number, wherever the film lies; each film read once."""
    paths = [tmp_path / name for name in ("a/S001-001.avi", "b/S001-001.AVI", "b/S001-002.avi")]
    for path, data in zip(paths, (b"film", b"film", b"another"), strict=True):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    made = [Record((str(path), number)) for number in (3, 4) for path in paths]
    hashes = records.content_hashes(made)
    assert hashes == [records.content_hash(record) for record in made] and len({*hashes}) == 4
    assert hashes[0] == hashes[1] and hashes[3] == hashes[4]
    assert made[0].name == "S001-001.avi[3]" and made[0].key() == "a/S001-001.avi[3]" != made[1].key()
    assert [records.is_frame(r.image) for r in (made[1], Record(("a.h5", 1)), Record("a.avi"))] == [True, False, False]


def test_the_shape_of_an_array_counts():
    flat, tall = Record(np.zeros((2, 8), np.uint8)), Record(np.zeros((8, 2), np.uint8))
    assert records.content_hash(flat) != records.content_hash(tall)
    turned = np.arange(6, dtype=np.uint8).reshape(2, 3).T
    assert records.content_hash(Record(turned)) == records.content_hash(Record(turned.copy()))


def test_a_subject_on_both_sides_is_refused_by_name():
    made = people(["S1", "S2", "S10"])
    fold = Fold(tuple(range(7)), tuple(range(7, 18)))
    assert leaks(made, fold) == ["Subject S2 is in both the training and the test part."]
    with pytest.raises(ValueError, match="leaks: Subject S2 is in both"):
        check_fold(made, fold, SIX)
    nobody = [Record(b"a", "fear"), Record(b"b", "fear")]
    assert leaks(nobody, Fold((0,), (1,))) == []


def test_many_leaks_are_counted():
    made = people([f"S{i}" for i in range(1, 6)], ("anger", "fear"))
    with pytest.raises(ValueError, match=r"S1 .*S2 .*S3 .*\(and 2 more\)") as error:
        check_fold(made, Fold(tuple(range(0, 10, 2)), tuple(range(1, 10, 2))), SIX)
    assert "S4" not in str(error.value)


def test_a_class_that_training_lacks_gives_a_warning():
    made = ck_plus()
    first, last = subject_folds(made, 2)
    assert check_fold(made, last, CLASSES["seven"]) == ["The training part has no image of contempt."]
    assert check_fold(made, first, CLASSES["seven"]) == []
    assert check_fold(made, last, CLASSES["six"]) == []


@pytest.mark.parametrize("order", ["contiguous", "strided"])
def test_a_manifest_gives_the_same_folds_to_records_in_another_order(tmp_path, order):
    made, path = ck_plus(), tmp_path / "folds.json"
    folds = subject_folds(made, 10, order)
    records.write_manifest(path, made, folds, frames="last 3 frames", order=order)
    assert records.read_manifest(path, made) == folds
    assert held_out(made[::-1], records.read_manifest(path, made[::-1])) == held_out(made, folds)
    assert [p.name for p in tmp_path.iterdir()] == ["folds.json"]

    manifest = json.loads(path.read_text())
    assert (manifest["order"], manifest["frames"], manifest["records"]) == (order, "last 3 frames", len(made))
    assert [set(fold["subjects"]) for fold in manifest["folds"]] == held_out(made, folds)
    assert [(fold["test"], fold["train"]) for fold in manifest["folds"]] == [(len(f.test), len(f.train)) for f in folds]
    assert all(len(set(fold["images"])) == fold["test"] for fold in manifest["folds"])
    assert len({fold["sha256"] for fold in manifest["folds"]}) == 10


def test_a_manifest_of_files_names_no_folder_of_the_machine(tmp_path):
    (tmp_path / "S1").mkdir()
    images = [tmp_path / "S1" / f"{i}.png" for i in range(2)]
    for i, path in enumerate(images):
        path.write_bytes(bytes([i]))
    made = [Record(str(path), "fear", subject=f"S{i}") for i, path in enumerate(images)]
    records.write_manifest(tmp_path / "folds.json", made, subject_folds(made, 2), frames="all", order="contiguous")
    assert str(tmp_path) not in (text := (tmp_path / "folds.json").read_text()) and '"S1/0.png"' in text


def test_a_manifest_refuses_other_pictures_and_other_people(tmp_path):
    made, path = people(["S1", "S2", "S3", "S4"]), tmp_path / "folds.json"
    records.write_manifest(path, made, subject_folds(made, 2), frames="last", order="contiguous")
    changed = [*made[:-1], Record(b"another", "fear", subject="S4")]
    with pytest.raises(ValueError, match="Fold 1 of .*folds.json was made from other images .*sha256 differs"):
        records.read_manifest(path, changed)
    with pytest.raises(ValueError, match="Fold 0 of .* sha256 differs"):  # one frame fewer
        records.read_manifest(path, made[1:])
    with pytest.raises(ValueError, match=r"only in the manifest \['S4'\], only in the data \[\]"):
        records.read_manifest(path, made[:18])
    with pytest.raises(ValueError, match=r"only in the manifest \[\], only in the data \['S5'\]"):
        records.read_manifest(path, [*made, Record(b"x", "fear", subject="S5")])


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}", '{"folds": [{"subjects": []}]}', '{"folds": 3}'])
def test_a_file_that_is_no_manifest_is_named(tmp_path, text):
    (tmp_path / "folds.json").write_text(text)
    with pytest.raises(ValueError, match="folds.json is not a fold manifest"):
        records.read_manifest(tmp_path / "folds.json", people(["S1"]))


def test_names_in_messages():
    assert Record(("a/b/faces.h5", 7)).name == "faces.h5[7]"
    assert Record("a/b.png").name == "a/b.png"
    assert Record(b"x", subject="S3").name == "bytes of subject S3"
    assert Record(np.zeros((4, 4), np.uint8), subject="S3").name == "array of subject S3"
    with pytest.raises(AttributeError):
        Record(b"x").expression = "fear"


def test_neutral_pairs_take_the_own_sequence_first():
    made = [
        Record(b"", "fear", "A", sequence="1", frame=2),
        Record(b"", "neutral", "A", sequence="1", frame=1),
        Record(b"", "neutral", "A", sequence="1", frame=0),
        Record(b"", "neutral", "A", sequence="0", frame=0),
        Record(b"", "anger", "A", sequence="2", frame=0),
        Record(b"", "fear", "B", sequence="1", frame=0),
    ]
    pairs, without = neutral_pairs(made, ("fear", "anger"))
    assert pairs == {"image": [0, 4, 5], "reference": [2, 2, -1]} and without == ["B"]
    pairs, _ = neutral_pairs(made, ("neutral", "fear"))
    assert dict(zip(pairs["image"], pairs["reference"], strict=True)) == {0: 2, 1: 2, 2: 2, 3: 3, 5: -1}
    with pytest.raises(ValueError, match="no subject"):
        neutral_pairs([Record(b"", "fear")], ("fear",))


def test_of_several_neutral_faces_the_one_that_was_taken_most_alike():
    def shown(expression, sequence, domain="lab", frame=0, **pose):
        return Record(b"", expression, "A", sequence=sequence, frame=frame, domain=domain, info=pose)

    made = [
        shown("neutral", "w", "wild", pan=30.0, tilt=0.0),
        shown("neutral", "l", frame=2, pan=3.0, tilt=-4.0),
        shown("neutral", "l", frame=3, pan=-4.0, tilt=4.0),
        shown("neutral", "l", frame=4, pan=-30.0, tilt=20.0),
        shown("fear", "1", pan=-5.0, tilt=5.0),
        shown("fear", "2", pan=30.0, tilt=0.0),
        shown("fear", "3", pan=-45.0, tilt=20.0),
        shown("fear", "4", pan=0.0, tilt=18.0),
        shown("fear", "5"),
        shown("fear", "6", "wild", pan=-30.0, tilt=20.0),
        shown("neutral", "6", "wild", frame=9, pan=0.0, tilt=0.0),
        shown("fear", "7", "wild", pan=5.0, tilt=0.0),
        shown("fear", "8", "none of these", pan=35.0, tilt=0.0),
    ]
    found = dict(zip(*neutral_pairs(made, ("fear",))[0].values(), strict=True))
    assert found[4] == 1, "within 15 degrees the first frame counts, as in a laboratory"
    assert found[5] == 1, "that of the same domain, though another is turned alike"
    assert (found[6], found[7]) == (3, 2), "the least turned away, and the sum of both angles counts"
    assert found[8] == 1, "a pose that is not known is frontal"
    assert found[9] == 10, "that of the own sequence, whatever its pose"
    assert found[11] == 10 and found[12] == 0
    assert unlike(shown("fear", "5"), shown("fear", "9", pan=-31.0, tilt=15.0)) == (False, 3), "2 and 1 steps from 0"
    assert unlike(shown("fear", "9", pan=-31.0, tilt=15.0), shown("fear", "5", "wild")) == (True, 3)
