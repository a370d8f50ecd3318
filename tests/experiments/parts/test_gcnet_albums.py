"""What a person's other pictures are worth: whose they are, what is made of them, and that no label is read."""

from dataclasses import replace

import numpy as np
import tensorflow as tf

from experiments.parts.gcnet import albums, controls
from fer_tf import beside
from fer_tf.records import Record

SHOWN = ("anger", "fear", "neutral")


def person(name, greys, shown=("anger", "fear", "fear")):
    """Pictures of one person, each of one grey value."""
    return [
        Record(np.full((66, 66), grey, np.uint8), expression, subject=name, info={"framed": True})
        for grey, expression in zip(greys, shown, strict=True)
    ]


def test_the_mean_face_is_of_the_pictures_that_are_named():
    """Exact grey values; the neutral face, other people and labels have no part in it."""
    listed = [*person("a", (10, 20, 60)), *person("a", (200,), ("neutral",)), *person("b", (1, 3, 8))]
    every, pairs = albums.mean_faces(listed, SHOWN[:2], 0)
    assert pairs == {"image": [0, 1, 2, 4, 5, 6], "reference": [7, 7, 7, 8, 8, 8]} and every[:7] == listed
    assert [np.unique(r.image).tolist() for r in every[7:]] == [[30], [4]]
    assert [(r.subject, r.expression) for r in every[7:]] == [("a", None), ("b", None)]
    swapped = [
        replace(r, expression={"anger": "fear", "fear": "anger"}.get(r.expression, r.expression)) for r in listed
    ]
    again, same = albums.mean_faces(swapped, SHOWN[:2], 0)
    assert same == pairs and [np.unique(r.image).tolist() for r in again[7:]] == [[30], [4]]
    assert [np.unique(r.image)[0] for r in albums.mean_faces(listed, SHOWN, 0)[0][7:]] == [72, 4], "(290 / 4), even"
    few, others = albums.mean_faces(listed, SHOWN[:2], 0, album=beside.Album(others=2))
    assert [np.unique(few[j].image)[0] for j in others["reference"]] == [40, 35, 15, 6, 4, 2], "itself is not in it"
    assert controls.referred(listed, SHOWN[:2], "mean_face", 0, beside.Album(others=2))[1] == others


def test_a_face_that_cannot_be_cut_is_in_no_mean():
    listed = [*person("a", (10, 20, 60))]
    listed[1] = replace(listed[1], image=b"no picture")
    every, pairs = albums.mean_faces(listed, SHOWN, 0)
    assert pairs["reference"] == [3, 1, 3] and np.unique(every[3].image).tolist() == [35]


class Linear:
    """A network whose responses are what its batches say; two classes by the sign of the first."""

    def responses(self, images):
        return images

    def head(self, features):
        return tf.stack([features[:, 1], features[:, 0]], -1)


class Batches:
    """One row a batch, in this order."""

    def __init__(self, rows, listed=(), order=None):
        self.records = listed
        self.rows = [(tf.constant([rows[i]], tf.float32), i) for i in (range(len(rows)) if order is None else order)]

    def epoch(self, number):
        for row, i in self.rows:
            yield {"image": row, "label": tf.constant([i % 2]), "index": tf.constant([i])}


ROWS = np.array([[5.0, 1.0], [9.0, 0.0], [1.0, 2.0], [-3.0, 8.0], [0.0, -4.0], [2.0, 6.0]])
USUAL = [2.0, 1.5]
LISTED = [*person("a", (1, 2), SHOWN[:2]), *person("b", (3, 4, 5, 6), ("fear", "fear", "anger", "fear"))]


def centred(listed=LISTED, order=None, album=beside.WHOLE):
    learn = Batches(np.array([[1.0, 0.5], [3.0, 2.5]]))
    return albums.centred(Linear(), albums.Responses.of(Linear(), learn, Batches(ROWS, listed, order)), 0, album)


def softmax(moved):
    """What `Linear` makes of responses."""
    exponential = np.exp(np.maximum(moved, 0)[..., ::-1])
    return exponential / exponential.sum(-1, keepdims=True)


def test_a_code_is_centred_by_its_own_person():
    """By hand: the responses less their person's mean, plus the training pictures'; then ReLU and the head."""
    wanted = softmax(ROWS - np.array([[7.0, 0.5]] * 2 + [[0.0, 3.0]] * 4) + USUAL)
    for order in (range(6), (3, 0, 5, 1, 2, 4)):
        found = centred(order=order)
        np.testing.assert_allclose(found.probabilities, wanted[[*order]], rtol=1e-5)
        assert found[0].tolist() == [i % 2 for i in order] and [*found.records] == [LISTED[i] for i in order]
        assert found[1].tolist() == wanted[[*order]].argmax(-1).tolist() and len({*found[1]}) == 2


def test_centring_by_other_pictures():
    found = centred(album=beside.Album(others=9)).probabilities
    np.testing.assert_allclose(found[0], softmax(ROWS[0] - ROWS[1] + USUAL), rtol=1e-5)
    np.testing.assert_allclose(found[3], softmax(ROWS[3] - ROWS[[2, 4, 5]].mean(0) + USUAL), rtol=1e-5)
    alike = centred(album=beside.Album(kinds=1)).probabilities
    np.testing.assert_allclose(alike[4], softmax(np.array(USUAL)), rtol=1e-5, err_msg="its own mean alone")


def test_centring_reads_no_label():
    unlabelled = [replace(r, expression=None) for r in LISTED]
    np.testing.assert_array_equal(centred(unlabelled).probabilities, centred().probabilities)
