"""fer_tf.datasets.prepared: what is written is read, and what is no whole file is refused in one sentence."""

import h5py
import numpy as np
import pytest

from fer_tf import pipeline
from fer_tf.datasets import prepared
from fer_tf.records import Record, content_hashes

MADE = {"dataset": "ck_plus", "template": "gcnet", "options": {"frames": "last3"}, "frames": "last3", "records": 5}


def part(count, start=0):
    """Columns of `count` faces."""
    texts = {name: np.array([f"{name}{start + i}" for i in range(count)], object) for name in prepared.TEXTS}
    texts["expression"] = np.array(["fear", ""] * count, object)[:count]
    texts["info"] = np.array(['{"intensity": 0.5}', ""] * count, object)[:count]
    texts["split"] = np.array([""] * count, object)
    image = np.random.default_rng(start).integers(0, 256, (count, 66, 66, 1), np.uint8)
    return {"image": image, "frame": np.array([3, -1] * count, np.int32)[:count], **texts}


@pytest.fixture
def file(tmp_path):
    prepared.write(tmp_path / "faces.h5", [part(2), part(0), part(1, 2)], MADE)
    return tmp_path / "faces.h5"


def test_what_is_written_is_read(file):
    """In order, over several parts; empty texts are None; the picture comes out bit for bit."""
    found = prepared.records(file)
    assert [r.expression for r in found] == ["fear", None, "fear"] and [r.frame for r in found] == [3, None, 3]
    assert [r.subject for r in found] == ["subject0", "subject1", "subject2"] and found[0].split is None
    about = {"framed": True, "template": "gcnet", "dataset": "ck_plus", "picture": "picture0", "sha256": "sha2560"}
    assert found[0].info == {"intensity": 0.5, **about}
    np.testing.assert_array_equal(pipeline.face(found[2], "gcnet"), part(1, 2)["image"][0])
    assert len(set(content_hashes(found))) == 3
    assert prepared.records(file.parent) == found  # the folder will do
    assert prepared.about(file) == MADE


def test_another_papers_frame_is_refused(file):
    with pytest.raises(ValueError, match="was prepared for gcnet: prepare it with --align=ed2l"):
        pipeline.face(prepared.records(file)[0], "ed2l")


def test_no_file_or_several(tmp_path, file):
    for place in (None, tmp_path / "nowhere.h5", tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="is no prepared file. Expected"):
            prepared.records(place)
    (tmp_path / "other.h5").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="has 2 .h5 files: name one"):
        prepared.records(tmp_path)


def test_damage_is_one_sentence(file, tmp_path):
    (tmp_path / "cut.h5").write_bytes(file.read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"cut.h5 is no HDF5 file, or is damaged"):
        prepared.records(tmp_path / "cut.h5")
    with h5py.File(file, "r+") as h5:
        h5["expression"][1] = "bored"
    with pytest.raises(ValueError, match="shows bored: its expressions are anger"):
        prepared.records(file)
    with h5py.File(file, "r+") as h5:
        h5["subject"].resize(2, axis=0)
    with pytest.raises(ValueError, match="its columns differ in length"):
        prepared.records(file)
    with h5py.File(file, "r+") as h5:
        del h5["subject"], h5.attrs["template"]
    with pytest.raises(ValueError, match="it lacks subject, template"):
        prepared.records(file)
    prepared.write(file, [part(1)], MADE)
    with h5py.File(file, "r+") as h5:
        h5.attrs["schema"] = 9
    with pytest.raises(ValueError, match="has schema 9, and 1 is read here"):
        prepared.records(file)


def test_records_are_plain_records(file):
    assert all(isinstance(r, Record) and r.image[1] == i for i, r in enumerate(prepared.records(file)))
