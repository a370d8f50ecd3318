"""GCNet's random views of a face, and those of an image and its reference."""

import dataclasses

import numpy as np
import tensorflow as tf

from fer_tf import augment, equalise
from fer_tf.models import gcnet


def test_random_views_are_crops_mirrored_and_equalised():
    """Without turning, scaling, moving and intensity each is one of 18: nine crops, each mirrored, then CLAHE."""
    image = np.random.default_rng(0).integers(0, 256, (1, 66, 66, 1), dtype=np.uint8)
    still = gcnet.Views(degrees=0.0, scale=(1.0, 1.0), shift=0.0, intensity=(1.0, 1.0))
    seeds = tf.constant([[0, i] for i in range(48)], tf.int64)
    views, _ = still.random(np.repeat(image, 48, 0), seeds, tf.zeros(48, tf.int32), 1)
    crops = [image[:, top : top + 64, left : left + 64] for top in range(3) for left in range(3)]
    every = augment.clahe(np.concatenate([c[:, :, ::way] for c in crops for way in (1, -1)])).numpy()
    kinds = [np.flatnonzero((every == view).all((1, 2, 3))) for view in views.numpy()]
    assert all(len(kind) == 1 for kind in kinds)
    drawn = {int(kind[0]) for kind in kinds}
    assert {k % 2 for k in drawn} == {0, 1} and {k // 6 for k in drawn} == {k // 2 % 3 for k in drawn} == {0, 1, 2}
    np.testing.assert_array_equal(gcnet.views.test_view(image), every[8:9])
    for name in ("degrees", "scale", "shift", "intensity"):
        moving = dataclasses.replace(still, **{name: getattr(gcnet.views, name)})
        changed, _ = moving.random(np.repeat(image, 48, 0), seeds, tf.zeros(48, tf.int32), 1)
        assert np.mean(np.any(changed.numpy() != views.numpy(), (1, 2, 3))) > 0.9, name


def test_views_are_shared_by_image_and_reference():
    images = np.random.default_rng(0).integers(0, 256, (4, 66, 66, 1), dtype=np.uint8)
    seed = tf.constant([[0, i] for i in range(4)], tf.int64)
    pair, _ = gcnet.views.random({"image": images, "reference": images}, seed, tf.zeros(4, tf.int32), 1)
    assert pair["image"].shape == (4, 64, 64, 1)
    np.testing.assert_array_equal(pair["image"], pair["reference"])
    other, _ = gcnet.views.random({"image": images}, seed, tf.ones(4, tf.int32), 2)
    assert np.any(other["image"].numpy() != pair["image"].numpy())


def test_views_are_equalised_by_opencv_on_the_host_alone(monkeypatch):
    """What the device makes of the same draws are the same bits, without it."""
    asked, opencv = [], equalise._opencv
    monkeypatch.setattr(equalise, "_opencv", lambda *words: (asked.append(words), opencv(*words))[1])
    images = np.random.default_rng(1).integers(0, 256, (5, 66, 66, 1), dtype=np.uint8)
    seed, turn = tf.constant([[0, i] for i in range(5)], tf.int64), tf.zeros(5, tf.int32)
    host, _ = gcnet.views.random({"image": images, "reference": images[::-1]}, seed, turn, 1)
    assert [words[1:] for words in asked] == [(2.0, (8, 8))] * 2
    chosen = gcnet.views.chosen(seed, turn, 1, (66, 66))
    device = gcnet.views.shown({"image": images, "reference": images[::-1]}, chosen, compiled=True)
    assert len(asked) == 2
    for name in host:
        np.testing.assert_array_equal(host[name], device[name])
