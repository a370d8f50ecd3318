"""fer_tf.recordio: files as MXNet writes them, in one piece or several, with and without an index; every damage."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from fer_tf import pipeline, recordio, records
from fer_tf.datasets import casia_webface

MAGIC = struct.pack("<I", 0xCED7230A)


def record(data, *cuts):
    """A record's bytes, in one piece, or cut where MAGIC stands in the data."""
    parts = data.split(MAGIC) if cuts else [data]
    kinds = [0] if len(parts) == 1 else [1, *[2] * (len(parts) - 2), 3]
    return b"".join(
        MAGIC + struct.pack("<I", kind << 29 | len(part)) + part + bytes(-len(part) % 4)
        for kind, part in zip(kinds, parts, strict=True)
    )


def picture(grey):
    stream = io.BytesIO()
    Image.fromarray(np.full((112, 112, 3), grey, np.uint8)).save(stream, "png")
    return stream.getvalue()


def packed(labels, data=b"", key=0):
    """A picture's record: one label in its head, or several behind it."""
    flag, first = (0, labels[0]) if len(labels) == 1 else (len(labels), 0.0)
    more = struct.pack(f"<{flag}f", *labels) if flag else b""
    return struct.pack("<IfQQ", flag, first, key, 0) + more + data


def insightface(root, people=(3, 3, 8), index=True):
    """train.rec: a head, the pictures, then each person's first and last picture."""
    count = len(people)
    contents = [packed((count + 1, count + 3))]
    contents += [packed((who,) if i else (who, 0.5), picture(40 * i), i + 1) for i, who in enumerate(people)]
    contents += [packed((1, 3)), packed((3, 4))]
    whole, places = b"", []
    for data in contents:
        places.append(len(whole))
        whole += record(data)
    root.mkdir(parents=True, exist_ok=True)
    (root / "train.rec").write_bytes(whole)
    if index:
        (root / "train.idx").write_text("".join(f"{key}\t{place}\n" for key, place in enumerate(places)))
    return places


@pytest.mark.parametrize("index", [True, False])
def test_casia_webface_as_insightface_packs_it(tmp_path, capsys, index):
    """The people's own records at the end are no pictures; the faces are cut already."""
    places = insightface(tmp_path / "faces_webface_112x112", index=index)
    found = casia_webface.records(tmp_path)
    assert [(r.subject, r.image[1]) for r in found] == [("3", places[1]), ("3", places[2]), ("8", places[3])]
    assert "has 3 pictures; the owner's has 490623" in capsys.readouterr().err
    assert [int(pipeline.read_image(r).mean()) for r in found] == [0, 40, 80]
    assert pipeline.face(found[1], "gcnet", 3).mean() == 40 and found[0].info == {"framed": True}
    assert records.content_hashes(found) == [records.content_hash(records.Record(picture(40 * i))) for i in range(3)]
    assert found[2].name == f"train.rec[{places[3]}]" == found[2].key()


def test_a_plain_file_of_one_label_each(tmp_path):
    data = [packed((i % 2,), picture(9 * i), i) for i in range(4)]
    (tmp_path / "train.rec").write_bytes(b"".join(map(record, data)))
    assert [r.subject for r in casia_webface.records(tmp_path)] == ["0", "1", "0", "1"]


def test_a_record_in_pieces(tmp_path):
    """Where the picture's bytes have MAGIC in them the writer cuts there, and leaves it out."""
    data = packed((7,), b"one" + MAGIC + b"two!" + MAGIC + b"three")
    whole = record(data, True)
    (tmp_path / "x.rec").write_bytes(record(packed((1,), b"first")) + whole)
    (first, second) = list(recordio.listed(tmp_path / "x.rec"))
    assert first == (0, 0, (1.0,)) and second[2] == (7.0,)
    assert recordio.read(str(tmp_path / "x.rec"), second[1]) == b"one" + MAGIC + b"two!" + MAGIC + b"three"


@pytest.mark.parametrize(
    "damage, sentence",
    [
        (lambda whole: b"x" + whole, r"train.rec\[0\] is damaged: there is no RecordIO record"),
        (lambda whole: whole[:40], r"train.rec\[\d+\] is damaged"),
        (lambda whole: b"", r"train.rec\[0\] is damaged"),
        (lambda whole: record(b"short") + whole, r"train.rec\[0\] is no record of a picture: it has 5 bytes"),
        (lambda whole: record(struct.pack("<IfQQ", 99, 0, 0, 0)) + whole, r"it says that it has 99 labels"),
        (lambda whole: MAGIC + struct.pack("<I", 3 << 29 | 4) + whole, r"train.rec\[0\] is damaged: there is no"),
    ],
)
def test_damage_is_named(tmp_path, damage, sentence):
    insightface(tmp_path)
    path = tmp_path / "train.rec"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=sentence) as error:
        casia_webface.records(tmp_path)
    assert "\n" not in str(error.value)


def test_an_index_that_is_none(tmp_path):
    insightface(tmp_path)
    for text, sentence in (("0 0\nx 3\n", "train.idx, line 2: 'x 3' is no key"), ("0 99999999\n", "is damaged")):
        (tmp_path / "train.idx").write_text(text)
        with pytest.raises(ValueError, match=sentence):
            casia_webface.records(tmp_path)
    with pytest.raises(ValueError, match="gone.rec cannot be read"):
        recordio.read(str(tmp_path / "gone.rec"), 0)
