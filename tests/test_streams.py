"""fer_tf.streams: one stream through several epochs has the bits of each."""

import numpy as np

from fer_tf import augment, faces, pipeline, streams
from fer_tf.records import Record


def data(count):
    """Batches of four random faces in ten views."""
    rng = np.random.default_rng(count)
    records = [
        Record(rng.integers(0, 256, (14, 12), dtype=np.uint8), ("anger", "fear")[i % 2], info={"framed": True})
        for i in range(count)
    ]
    options = {"views": augment.Views((14, 12), (10, 9)), "template": faces.Template.fer2013("small", (14, 12))}
    return pipeline.batches(records, classes=("anger", "fear"), batch_size=4, seed=5, **options)


def test_what_goes_on_has_the_bits_of_each_epoch():
    """Fed, as plans, and of two streams beside each other."""
    one = data(14)
    for stream in (one.epoch, one.plans, pipeline.Unpaired(one, data(6), steps=5).epoch):
        apart = [batch for number in (3, 4) for batch in stream(number)]
        assert len(apart) in (8, 10)
        for batch, own in zip(streams.onward(stream, 3), apart, strict=False):
            assert batch.keys() == own.keys()
            for name, value in own.items():
                np.testing.assert_array_equal(batch[name], value, err_msg=name)
