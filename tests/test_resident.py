"""fer_tf.resident: batches assembled from faces on the device are those of the fed route, bit for bit."""

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import augment, faces, pipeline, resident
from fer_tf.models import cycle_at, fer_net, gcnet
from fer_tf.records import CLASSES, Record

ANGLES = tuple(range(-15, 16, 3))
LABELS = CLASSES["six"]
WHOLE = augment.Views(source=(14, 12), size=(10, 9), angles=ANGLES)
PAIRS = {"image": np.arange(11), "target": np.arange(11)[::-1], "reference": [-1, 3, 4, -1, 5, 6, 7, 0, 1, 2, -1]}

ROUTES = {
    "fer_net": {"views": WHOLE, "views_per_image": 3},
    "fer_net, all": {"views": WHOLE, "views_per_image": None, "batch_size": 100},
    "fer_net, pre-training": {"views": fer_net.RandomViews((10, 9)), "views_per_image": 2},
    "ia_gen": {"views": WHOLE, "views_per_image": None, "batch_size": 100, "pairs": PAIRS},
    "ed2l": {"views": augment.Views((14, 12), (12, 10)), "views_per_image": None},
    "de_gan": {"views": augment.Views((14, 12), (10, 9), ANGLES, crop_first=True), "views_per_image": 4},
    "gcnet": {"views": gcnet.views, "size": (66, 66), "views_per_image": 2, "pairs": PAIRS},
    "cycle_at": {"views": cycle_at.Views(0.2), "views_per_image": 2, "channels": 3},
    "test": {"views": WHOLE, "training": False, "pairs": PAIRS},
    "gcnet, test": {"views": gcnet.views, "size": (66, 66), "training": False},
}


def batches(count=11, size=(14, 12), **options) -> pipeline.Batches:
    """Batches of noise, kept on the device; seven a batch, so that the last is shorter."""
    rng = np.random.default_rng(0)
    records = [
        Record(rng.integers(0, 256, (*size, 3), np.uint8), LABELS[i % 6], f"S{i // 2}", info={"framed": True})
        for i in range(count)
    ]
    given = {"classes": LABELS, "template": faces.Template.fer2013("small", size), "batch_size": 7, "seed": 3}
    return pipeline.batches(records, **{**given, "device": "resident", **options})


def assert_same(made, fed) -> None:
    """Two batches agree in every bit."""
    assert made.keys() == fed.keys()
    for name, value in fed.items():
        assert made[name].dtype == value.dtype and made[name].shape == value.shape
        np.testing.assert_array_equal(made[name], value, err_msg=name)


@pytest.mark.parametrize("name", ROUTES)
def test_both_routes_give_the_same_bits(name):
    """Eagerly, in a graph and under XLA; all batches of an epoch, in order, the last shorter one too."""
    data = batches(**ROUTES[name])
    graph, compiled = tf.function(data.assemble, reduce_retracing=True), tf.function(data.assemble, jit_compile=True)
    fed, plans = list(data.epoch(1)), list(data.plans(1))
    assert data.resident and len(plans) == len(fed) == len(data) > 1
    for number, (plan, batch) in enumerate(zip(plans, fed, strict=True)):
        assert batch["image"].dtype == tf.float32 and np.ptp(batch["image"]) > 0.5
        assert_same(graph(plan), batch)
        if number == 0:
            assert_same(data.assemble(plan), batch)
            assert_same(compiled(plan), batch)
    assert_same(data.assemble(next(iter(data.plans(1).skip(1)))), fed[1])


def test_a_plan_is_small_and_follows_from_the_epoch():
    data = batches(views=WHOLE, views_per_image=None, batch_size=100)
    first, again, other = (next(iter(data.plans(epoch))) for epoch in (0, 0, 1))
    assert {name: value.dtype for name, value in first.items()} == {"row": tf.int32, "view": tf.int32}
    assert_same(first, again)
    assert np.any(first["view"] != other["view"])


@pytest.mark.slow
def test_unpaired_streams_are_resident_too():
    """More steps than a pass, batches that straddle the ends of passes, and others that are fewer."""
    one = {"views": WHOLE, "views_per_image": 1}
    for steps in (None, 5):
        data = pipeline.Unpaired(batches(10, **one, batch_size=4), batches(3, **one, classes=()), "other", steps)
        fed, plans = list(data.epoch(2)), list(data.plans(2))
        compiled = tf.function(data.assemble, jit_compile=True)
        assert data.resident and len(plans) == len(fed) == len(data)
        for plan, batch in zip(plans, fed, strict=True):
            assert_same(data.assemble(plan), batch)
        assert_same(compiled(plans[1]), fed[1])
    assert not pipeline.Unpaired(batches(4, **one), batches(4, **one, device="host")).resident


def test_faces_are_resident_where_they_fit(monkeypatch):
    size = 11 * 14 * 12
    assert resident.fits(size, 4 * size) and not resident.fits(size, 4 * size - 1)
    assert resident.fits(size, 2 * size, share=0.5) and not resident.fits(size, 0)
    auto = {"views": WHOLE, "device": "auto"}
    if not tf.config.list_physical_devices("GPU"):
        assert resident.memory_bytes() == 0 and not batches(**auto).resident
    for memory, fit in ((4 * size, True), (4 * size - 1, False)):
        monkeypatch.setattr(resident, "memory_bytes", lambda memory=memory: memory)
        assert batches(**auto).resident is fit
        assert not batches(**auto, cache=False).resident and not batches(**{**auto, "device": "host"}).resident
    halves = [batches(**auto, cache_limit=size) for _ in range(2)]
    monkeypatch.setattr(resident, "memory_bytes", lambda: 4 * size)
    assert halves[0].resident and not pipeline.Unpaired(*halves).resident


def test_what_cannot_be_resident_is_refused():
    class Old:
        """Views that draw and show at once."""

        random = test_view = None

    for options in ({"views": WHOLE, "cache": False}, {"views": Old()}):
        with pytest.raises(ValueError, match="These 11 faces cannot live on the device.*--feed=host"):
            batches(**options)
    assert not batches(views=Old(), device="host").resident
    with pytest.raises(ValueError, match="device='gpu' is none of auto, host, resident"):
        batches(views=WHOLE, device="gpu")


def test_bytes_are_divided_alike():
    made = resident.in_unit_range(np.arange(256, dtype=np.uint8))
    np.testing.assert_array_equal(made, tf.range(256, dtype=tf.float32) / 255.0)
    assert np.any(made.numpy() != np.arange(256, dtype=np.float32) * np.float32(1 / 255))
