"""fer_tf.pipeline: what a batch holds, against NumPy; seeds, epochs, caching, streaming; what does not decode."""

import os
import threading
import time
from collections import Counter

import h5py
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy import ndimage

from fer_tf import augment, faces, pipeline, store
from fer_tf.records import CLASSES, Record

ANGLES = tuple(range(-15, 16, 3))
SMALL = augment.Views(source=(14, 12), size=(10, 9), angles=ANGLES)  # 110 views, as many as IA-gen's
TEMPLATE = faces.Template.fer2013("small", (14, 12))
LABELS = CLASSES["six"]
ALL = {"views_per_image": None}


def made(count: int, expressions=LABELS) -> list[Record]:
    """Records whose pictures already have the template's size; two to a subject."""
    rng = np.random.default_rng(0)
    return [
        Record(
            rng.integers(0, 256, (14, 12), dtype=np.uint8),
            expressions[i % len(expressions)],
            subject=f"S{i // 2 + 1}",
            info={"framed": True},
        )
        for i in range(count)
    ]


def batches(records, **options) -> pipeline.Batches:
    """Batches of small views."""
    options = {"classes": LABELS, "template": TEMPLATE, "views": SMALL, "batch_size": 7, "seed": 3} | options
    return pipeline.batches(records, **options)


def taken(dataset) -> list[dict[str, np.ndarray]]:
    """All its batches."""
    return list(dataset.as_numpy_iterator())


def joined(dataset) -> dict[str, np.ndarray]:
    """All its batches in one."""
    parts = taken(dataset)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def assert_same(first, second) -> None:
    """Two lists of batches agree in everything."""
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            assert a[name].dtype == b[name].dtype
            np.testing.assert_array_equal(a[name], b[name])


def view_by_hand(picture: np.ndarray, number: int) -> np.ndarray:
    """A view of an (14, 12) uint8 picture by its number, with SciPy: (10, 9, 1) float64 in [0, 1]."""
    rotation, crop, mirrored = np.unravel_index(number, (11, 5, 2))
    turned = ndimage.rotate(picture.astype(np.float64), ANGLES[rotation], reshape=False, order=1, mode="reflect")
    top, left = [(2, 1), (0, 0), (0, 3), (4, 0), (4, 3)][crop]
    view = turned[top : top + 10, left : left + 9]
    return (view[:, ::-1] if mirrored else view)[..., None] / 255


def assert_views(records, shown: dict[str, np.ndarray], name: str = "image", index=None) -> None:
    """Every image is the view of its record that the batch says, but for rounding to a grey level."""
    index = shown["index"] if index is None else index
    for picture, which, number in zip(shown[name], index, shown["view"], strict=True):
        np.testing.assert_allclose(picture, view_by_hand(records[which].image, number), atol=0.51 / 255)


def test_a_batch_holds_what_the_docstring_says():
    records = made(10)
    records[3] = Record(records[3].image, records[3].expression, info={"framed": True})
    data = batches(records, views_per_image=2)
    shown = taken(data.epoch(0))
    assert [len(batch["label"]) for batch in shown] == [7, 7, 6] and len(data) == 3
    assert shown[0]["image"].shape == (7, 10, 9, 1) and shown[0]["image"].dtype == np.float32
    shown = joined(data.epoch(0))
    assert 0 <= shown["image"].min() < 0.1 and 0.9 < shown["image"].max() <= 1
    for name in ("label", "index", "subject", "view"):
        assert shown[name].dtype == np.int32
    assert data.subjects == [f"S{i}" for i in range(1, 6)]
    for i, label, subject in zip(shown["index"], shown["label"], shown["subject"], strict=True):
        assert label == LABELS.index(records[i].expression)
        assert subject == (-1 if i == 3 else i // 2)


@pytest.mark.parametrize("channels", [1, 3])
def test_channels(channels):
    colour = np.random.default_rng(0).integers(0, 256, (14, 12, 3), dtype=np.uint8)
    shown = joined(batches([Record(colour, "fear", info={"framed": True})], training=False, channels=channels).epoch(0))
    grey = (colour @ np.array([0.299, 0.587, 0.114]))[..., None]
    expected = (colour if channels == 3 else grey)[None, 2:12, 1:10] / 255
    np.testing.assert_allclose(shown["image"], expected, atol=1e-6 if channels == 3 else 1.01 / 255)


def test_training_refuses_what_is_none_of_the_classes():
    with pytest.raises(ValueError, match="None, contempt.*of_classes"):
        batches([*made(4), Record(made(1)[0].image, "contempt"), Record(made(1)[0].image)], cache=False)


def test_subjects_and_labels_follow_the_classes_given():
    shown = joined(batches(made(12), classes=("surprise", "anger"), training=False).epoch(0))
    assert shown["label"].tolist() == [1, -1, -1, -1, -1, 0] * 2


@pytest.mark.parametrize("options", [{"views_per_image": 1}, {"views_per_image": 4}, ALL], ids=["one", "four", "all"])
def test_images_are_the_views_that_the_batch_says(options):
    records = made(9)
    shown = joined(batches(records, **options).epoch(5))
    assert len(shown["view"]) == 9 * (options["views_per_image"] or 110)
    assert_views(records, shown)


def test_sampled_views_of_an_image_differ_and_cover_all_of_them():
    data, seen = batches(made(12), views_per_image=50), Counter()
    for epoch in range(4):
        shown = joined(data.epoch(epoch))
        pairs = Counter(zip(shown["index"], shown["view"], strict=True))
        assert max(pairs.values()) == 1
        assert Counter(shown["index"]) == Counter({i: 50 for i in range(12)})
        seen.update(shown["view"].tolist())
    assert set(seen) == set(range(110)) and max(seen.values()) < 3 * 2400 / 110


def runs(values: np.ndarray) -> int:
    """Length of the longest stretch of one value."""
    ends = np.flatnonzero(np.diff(values)) + 1
    return int(np.diff([0, *ends, len(values)]).max())


@pytest.mark.parametrize("count", [2, 64, 65, 150])
def test_all_views_once_each_and_shuffled_among_images(count):
    data = batches(made(count), batch_size=100, **ALL)
    shown = taken(data.epoch(0))
    assert [len(batch["label"]) for batch in shown[:-1]] == [100] * (len(data) - 1)
    index = np.concatenate([batch["index"] for batch in shown])
    view = np.concatenate([batch["view"] for batch in shown])
    assert Counter(zip(index, view, strict=True)) == Counter((i, v) for i in range(count) for v in range(110))
    assert runs(index) < 20
    if count > 2:
        assert min(len(set(part.tolist())) for part in np.array_split(index, count)) > 15
    starts = [int(np.flatnonzero(index == i)[0]) for i in range(count)]
    assert starts != sorted(starts)


@pytest.mark.parametrize("options", [{"views_per_image": 2}, ALL], ids=["sampled", "all"])
@pytest.mark.parametrize("cache", [True, False], ids=["cached", "streamed"])
def test_epochs_differ_and_repeat_under_a_seed(options, cache):
    records = made(9)
    data = batches(records, cache=cache, **options)
    first, second = taken(data.epoch(0)), taken(data.epoch(1))
    assert_same(taken(data.epoch(0)), first)
    assert_same(taken(batches(records, cache=cache, **options).epoch(1)), second)
    others = [second, taken(batches(records, cache=cache, seed=4, **options).epoch(0))]
    for other in others:
        assert any((a["index"] != b["index"]).any() for a, b in zip(first, other, strict=True))
        if options is not ALL:  # an image shows other views
            pairs = [{*zip(b["index"].tolist(), b["view"].tolist(), strict=True)} for e in (first, other) for b in e]
            half = len(first)
            assert set.union(*pairs[:half]) != set.union(*pairs[half:])


@pytest.mark.parametrize("options", [{"views_per_image": 3}, ALL, {"training": False}], ids=["sampled", "all", "test"])
def test_an_epoch_does_not_depend_on_threads_or_on_the_cache(options):
    records, options = made(70), {"batch_size": 60, **options}
    expected = taken(batches(records, cache=True, **options).epoch(2))
    for cache in (True, False):
        for threads in (1, 8):
            settings = tf.data.Options()
            settings.threading.private_threadpool_size = threads
            settings.autotune.enabled = threads > 1
            stream = batches(records, cache=cache, **options).epoch(2).with_options(settings)
            assert_same(taken(stream), expected)


@pytest.mark.parametrize("cache", [True, False], ids=["cached", "streamed"])
def test_dataset_gives_new_views_in_each_pass(cache):
    records = made(9)
    data = batches(records, cache=cache)
    dataset = data.dataset()
    passes = [joined(dataset) for _ in range(3)]
    for shown in passes:
        assert sorted(shown["index"]) == list(range(9))
        assert_views(records, shown)
    views = [shown["view"][np.argsort(shown["index"])] for shown in passes]
    assert all((views[i] != views[j]).any() for i in range(3) for j in range(i))
    assert sum(len(batch["label"]) for batch in data) == 9
    if cache:
        assert int(dataset.cardinality()) == len(data) == 2


def test_test_mode_is_in_order_complete_and_the_centre_crop():
    records = made(17)
    data = batches(records, training=False)
    shown = taken(data.epoch(0))
    assert [len(batch["label"]) for batch in shown] == [7, 7, 3] and len(data) == 3
    assert "view" not in shown[0]
    shown = joined(data.dataset())
    np.testing.assert_array_equal(shown["index"], np.arange(17))
    np.testing.assert_array_equal(shown["label"], [i % 6 for i in range(17)])
    centres = np.stack([r.image[2:12, 1:10, None] for r in records]) / np.float32(255)
    np.testing.assert_allclose(shown["image"], centres, atol=1e-7)


PAIRS = {"image": [0, 1, 2, 3, 4, 5, 5], "target": [6, 7, 8, 6, 7, 8, 0], "reference": [8, 8, 8, 8, 8, 8, 8]}


@pytest.mark.parametrize("cache", [True, False], ids=["cached", "streamed"])
@pytest.mark.parametrize("options", [{"views_per_image": 3}, ALL], ids=["sampled", "all"])
def test_pairs_get_one_view_and_the_right_partners(options, cache):
    records = made(9)
    data = batches(records, pairs=PAIRS, cache=cache, **options)
    shown = joined(data.epoch(0))
    views = options["views_per_image"] or 110
    assert Counter(shown["index"]) == Counter({i: views for i in range(5)} | {5: 2 * views})
    np.testing.assert_array_equal(shown["label"], [LABELS.index(records[i].expression) for i in shown["index"]])
    assert_views(records, shown)
    assert_views(records, shown, "reference", np.full(len(shown["view"]), 8))
    partners = [{t for i, t in zip(PAIRS["image"], PAIRS["target"], strict=True) if i == row} for row in range(6)]
    found = Counter()
    for target, index, view in zip(shown["target"], shown["index"], shown["view"], strict=True):
        near = [t for t in range(9) if np.abs(target - view_by_hand(records[t].image, view)).max() < 0.51 / 255]
        assert len(near) == 1 and near[0] in partners[index]
        found[int(index), near[0]] += 1
    assert found == Counter({pair: views for pair in zip(PAIRS["image"], PAIRS["target"], strict=True)})


def test_pairs_in_test_mode_stay_in_order():
    records = made(9)
    shown = joined(batches(records, pairs=PAIRS, training=False).epoch(0))
    for name, column in PAIRS.items():
        centres = np.stack([records[i].image[2:12, 1:10, None] for i in column]) / np.float32(255)
        np.testing.assert_allclose(shown[name], centres, atol=1e-7)
    np.testing.assert_array_equal(shown["index"], PAIRS["image"])


def test_refusals():
    with pytest.raises(ValueError, match="There are no records"):
        batches([])

    class Drawn:
        """Views without numbers."""

        random = test_view = None

    with pytest.raises(ValueError, match="111 views an image are asked for, and there are 110"):
        batches(made(2), views_per_image=111)
    with pytest.raises(ValueError, match="drawn at random: give views_per_image"):
        batches(made(2), views=Drawn(), **ALL)


def counted(monkeypatch) -> Counter:
    """Counts how often each picture is read from here on."""
    reads, lock, read = Counter(), threading.Lock(), store.read_image

    def counting(record, *rest):
        with lock:
            reads[id(record)] += 1
        return read(record, *rest)

    monkeypatch.setattr(store, "read_image", counting)
    return reads


def test_skipped_records_are_in_order_whoever_reads_first(monkeypatch):
    """Bad ones in every thread's part; those of the last part are read first."""
    records, read = made(1024), store.read_image
    bad = {id(records[i]): i for i in (1000, 10, 300, 600)}

    def late(record, *rest):
        if id(record) in bad:
            time.sleep((1024 - bad[id(record)]) / 4096)
            raise ValueError(f"number {bad[id(record)]}")
        return read(record, *rest)

    monkeypatch.setattr(store, "read_image", late)
    data = batches(records, strict=False)
    assert list(data.skipped) == sorted(bad.values()) and data.rows == 1020
    with pytest.raises(ValueError, match="4 of 1024 records cannot be used: .*number 10 .*number 300 .*number 600 Rep"):
        batches(records)


def test_cached_faces_are_decoded_once_and_streamed_ones_in_every_epoch(monkeypatch):
    reads, records = counted(monkeypatch), made(20)
    data = batches(records, cache=True, views_per_image=2)
    for epoch in range(3):
        taken(data.epoch(epoch))
    assert reads == Counter({id(r): 1 for r in records})
    reads.clear()
    data = batches(records, cache=False, views_per_image=1)
    assert not reads
    for epoch in range(3):
        taken(data.epoch(epoch))
    assert reads == Counter({id(r): 3 for r in records})


def test_the_cache_has_a_limit(monkeypatch):
    reads, size = counted(monkeypatch), 20 * 14 * 12
    batches(made(20), cache_limit=size)
    assert sum(reads.values()) == 20
    batches(made(20), cache_limit=size - 1)
    assert sum(reads.values()) == 20


@pytest.mark.parametrize("options", [{"views_per_image": 1}, {"training": False}, ALL], ids=["sampled", "test", "all"])
def test_streaming_reads_only_a_little_ahead(monkeypatch, options):
    reads, records = counted(monkeypatch), made(3000)
    stream = iter(batches(records, cache=False, **options).epoch(0))
    next(stream)
    before = -1
    while sum(reads.values()) != before:  # until all buffers are full
        before = sum(reads.values())
        time.sleep(0.3)
    blocks = 5 * pipeline.BLOCK if options is ALL else 0
    assert 7 <= before <= 7 * (6 + 3 * os.cpu_count()) + blocks < 3000


def with_bad_ones(tmp_path) -> tuple[list[Record], dict[int, str]]:
    """Twelve records, four of which do not decode: their places, and what a message has to name."""
    records, framed = made(12), {"framed": True}
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    with h5py.File(tmp_path / "faces.h5", "w") as file:
        rows = file.create_dataset("image", (2,), h5py.vlen_dtype(np.uint8))
        Image.fromarray(records[1].image).save(tmp_path / "good.png")
        rows[0] = np.frombuffer((tmp_path / "good.png").read_bytes(), np.uint8)
        rows[1] = rows[0][:40]
    path = str(tmp_path / "faces.h5")
    records[1] = Record((path, 0), records[1].expression, subject="S1", info=framed)
    bad = {
        2: (str(tmp_path / "broken.jpg"), "broken.jpg"),
        5: (str(tmp_path / "gone.jpg"), "gone.jpg"),
        7: ((path, 1), r"faces.h5\[1\]"),
        11: ((path, 9), r"faces.h5\[9\]"),
    }
    for place, (image, _) in bad.items():
        records[place] = Record(image, "anger", subject="S9", info=framed)
    return records, {place: name for place, (_, name) in bad.items()}


def test_a_strict_cache_names_what_does_not_decode(tmp_path):
    records, bad = with_bad_ones(tmp_path)
    with pytest.raises(ValueError, match="4 of 12 records cannot be used: .*--strict=false") as error:
        batches(records)
    text = str(error.value)
    assert "broken.jpg" in text and "gone.jpg" in text
    for place, name in bad.items():
        with pytest.raises(ValueError, match=f"1 of 2 records cannot be used: .*{name}"):
            batches([records[0], records[place]])


@pytest.mark.parametrize("options", [{}, {"training": False}, ALL], ids=["sampled", "test", "all"])
def test_a_strict_stream_names_what_does_not_decode(tmp_path, options):
    records, bad = with_bad_ones(tmp_path)
    for place, name in bad.items():
        data = batches([records[0], records[place]], cache=False, **options)
        with pytest.raises(tf.errors.InvalidArgumentError, match=name):
            taken(data.epoch(0))


@pytest.mark.parametrize("cache", [True, False], ids=["cached", "streamed"])
@pytest.mark.parametrize("options", [{"views_per_image": 2}, {"training": False}, ALL], ids=["sampled", "test", "all"])
def test_without_strict_they_are_left_out_named_and_counted(tmp_path, options, cache):
    records, bad = with_bad_ones(tmp_path)
    data = batches(records, cache=cache, strict=False, batch_size=1 if cache else 3, **options)
    shown = joined(data.epoch(0))
    views = 1 if "training" in options else options["views_per_image"] or 110
    assert Counter(shown["index"]) == Counter({i: views for i in range(12) if i not in bad})
    assert sorted(data.skipped) == sorted(bad)
    for place, name in bad.items():
        assert name.replace("\\", "") in data.skipped[place]
    if "view" in shown:
        records[1] = made(12)[1]  # what the HDF5 file holds
        assert_views(records, shown)
    if cache:
        assert len(data) == 8 * views


@pytest.mark.parametrize("cache", [True, False], ids=["cached", "streamed"])
def test_a_pair_is_left_out_when_either_half_does_not_decode(tmp_path, cache):
    records, _ = with_bad_ones(tmp_path)
    pairs = {"image": [0, 2, 3, 4, 6], "target": [1, 1, 5, 8, 7]}
    shown = joined(batches(records, pairs=pairs, strict=False, cache=cache, training=False).epoch(0))
    assert shown["index"].tolist() == [0, 4]
    expected = [made(12)[1].image, records[8].image]
    np.testing.assert_allclose(shown["target"], [p[2:12, 1:10, None] / np.float32(255) for p in expected], atol=1e-7)


def test_without_any_record_that_decodes(tmp_path):
    records, bad = with_bad_ones(tmp_path)
    with pytest.raises(ValueError, match="None of the 4 records can be used: .*broken.jpg"):
        batches([records[place] for place in bad], strict=False)


@pytest.mark.parametrize("options", [{}, {"training": False}, ALL], ids=["sampled", "test", "all"])
def test_a_streamed_batch_is_never_empty(tmp_path, options):
    records, _ = with_bad_ones(tmp_path)
    data = batches(records, cache=False, strict=False, batch_size=1, **options)
    assert all(len(batch["label"]) == 1 for batch in taken(data.epoch(0)))


def test_with_faces_holds_what_the_pipeline_would_cut():
    records = [Record(np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8), "fear",
                      info={"framed": True, "pan": 3})]  # fmt: skip
    held = pipeline.with_faces(records, "ia_gen")
    np.testing.assert_array_equal(held[0].image, pipeline.face(records[0], "ia_gen"))
    assert held[0].info.pop("cut_from") is records[0].image
    assert held[0].info == {"framed": True, "pan": 3} and held[0].expression == "fear"
    options = {"template": "ia_gen", "views": augment.ia_gen_views, "training": False}
    assert_same(taken(batches(held, **options).epoch(0)), taken(batches(records, **options).epoch(0)))


@pytest.mark.parametrize("options", [{"views_per_image": 1}, ALL])
@pytest.mark.parametrize("cache", [True, False])
def test_a_missing_partner_is_told(options, cache):
    """-1 in a column: any picture, has_reference False for just these rows; labels outside the rows do not matter."""
    records = [*made(4), Record(made(1)[0].image, "neutral", subject="S1", info={"framed": True})]
    pairs = {"image": [0, 1, 2, 3], "reference": [4, 4, -1, -1]}
    shown = joined(batches(records, pairs=pairs, cache=cache, **options).epoch(0))
    assert {(int(i), bool(h)) for i, h in zip(shown["index"], shown["has_reference"], strict=True)} == {
        (0, True),
        (1, True),
        (2, False),
        (3, False),
    }
    assert shown["reference"].shape == shown["image"].shape
    whole = joined(batches(records, pairs={"image": [0, 1], "reference": [4, 4]}, cache=cache, **options).epoch(0))
    assert "has_reference" not in whole


def test_no_stream_is_tuned():
    """tf.data's tuner makes the end of an epoch wait for its thread, up to as long as the epoch took."""
    for training in (True, False):
        data = batches(made(4), training=training)
        for stream in (data.epoch(0), data.dataset(), data.epoch(0).skip(1), data.epoch(0).enumerate()):
            assert stream.options().autotune.enabled is False
