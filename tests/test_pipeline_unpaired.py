"""fer_tf.pipeline.Unpaired: two streams side by side, of unlike lengths."""

import numpy as np

from fer_tf import augment, faces, pipeline
from fer_tf.records import CLASSES, Record

SMALL = augment.Views(source=(14, 12), size=(10, 9), angles=tuple(range(-15, 16, 3)))
TEMPLATE = faces.Template.fer2013("small", (14, 12))
LABELS = CLASSES["six"]


def taken(dataset):
    """All its batches."""
    return list(dataset.as_numpy_iterator())


def greys(epoch, name):
    """The first pixel of every picture of an epoch, 0 to 255."""
    return np.round(255 * np.concatenate([batch[name][:, 0, 0, 0] for batch in epoch])).astype(int)


def unpaired(count=10, others=4, **options):
    """Faces of greys 0, 1 ... in batches of four, beside such of 100, 101 ..."""

    def part(count, value, classes):
        pictures = [np.full((14, 12), value + i, np.uint8) for i in range(count)]
        records = [Record(picture, "anger", info={"framed": True}) for picture in pictures]
        return pipeline.batches(records, classes=classes, template=TEMPLATE, views=SMALL, batch_size=4, seed=3,
                                views_per_image=1)  # fmt: skip

    return pipeline.Unpaired(part(count, 0, LABELS), part(others, 100, ()), "other", **options)


def test_unpaired_streams_side_by_side():
    """All of the first once; the second goes round; both repeat under a seed and differ between epochs."""
    data = unpaired()
    epochs = [taken(data.epoch(number)) for number in (0, 0, 1)]
    assert len(data) == 3 and [len(b["other"]) for b in epochs[0]] == [4, 4, 2] == [len(b["image"]) for b in epochs[0]]
    for name, first in (("image", list(range(10))), ("other", [100, 101, 102, 103])):
        given, again, later = (greys(epoch, name) for epoch in epochs)
        assert sorted(set(given)) == first and np.any(given != later)
        np.testing.assert_array_equal(given, again)
    assert [len(batch["other"]) for batch in data.dataset()] == [4, 4, 2] and len(data.records) == 10


def test_an_unpaired_epoch_of_so_many_steps():
    """More than a pass: the first goes round too, in a new order each time; fewer: a part of it; by the seed."""
    data = unpaired(count=8, steps=5)
    epochs = [taken(data.epoch(number)) for number in (0, 0, 1)]
    assert len(data) == 5 and [len(b["image"]) for b in epochs[0]] == [4] * 5 == [len(b["other"]) for b in epochs[0]]
    given, again, later = (greys(epoch, "image") for epoch in epochs)
    np.testing.assert_array_equal(given, again)
    free = greys(list(data.dataset()), "image")
    passes = [stream[start : start + 8].tolist() for stream in (given, later, free) for start in (0, 8)]
    assert all(sorted(p) == list(range(8)) for p in passes) and len({*map(tuple, passes)}) == 6
    assert len({*map(tuple, greys(epochs[0], "other").reshape(5, 4))}) > 2
    np.testing.assert_array_equal(greys(taken(data.epoch(0).skip(3)), "image"), given[12:])
    short = unpaired(count=8, steps=1)
    assert len(short) == 1 and [len(taken(short.epoch(number))) for number in (0, 1)] == [1, 1]
