"""fer_tf.beside: whose pictures an album is of, and what is left of a picture beside it. No TensorFlow."""

import numpy as np
import pytest

from fer_tf import beside

PEOPLE = ("a", "b", "a", "b", "a", "b")


def test_an_album_is_of_one_person():
    assert beside.albums(PEOPLE) == [[0, 2, 4], [1, 3, 5]] * 3
    for i, own in enumerate(beside.albums(PEOPLE, beside.Album(others=1))):
        assert len(own) == 1 and own[0] != i and PEOPLE[own[0]] == PEOPLE[i], "another picture of the same person"
    drawn = {tuple(map(tuple, beside.albums(PEOPLE, beside.Album(others=1), seed))) for seed in range(5)}
    assert len(drawn) > 1
    many = beside.albums(PEOPLE, beside.Album(others=9))
    assert many == [[2, 4], [3, 5], [0, 4], [1, 5], [0, 2], [1, 3]], "as many as there are, itself not among them"
    with pytest.raises(ValueError, match="An album of 2 others: c has one picture alone"):
        beside.albums(("c",), beside.Album(others=2))


def test_an_album_of_few_expressions():
    shown = ("anger", "fear", "fear", "disgust")
    assert beside.albums("aaaa", beside.Album(kinds=1), 0, shown) == [[0], [1, 2], [1, 2], [3]]
    two = [beside.albums("aaaa", beside.Album(kinds=2), seed, shown)[1] for seed in range(6)]
    assert {tuple(own) for own in two} == {(0, 1, 2), (1, 2, 3)}
    assert beside.albums("aaaa", beside.Album(kinds=3), 0, shown)[0] == [0, 1, 2, 3]


def test_an_album_is_read():
    read = {"": beside.WHOLE, "all": beside.WHOLE, "4": beside.Album(others=4), "2kinds": beside.Album(kinds=2)}
    assert {text: beside.Album.read(text) for text in read} == read
    assert [str(album) for album in read.values()] == ["", "", "album of 4 others", "album of 2 expressions"]
    for text in ("0", "many", "-1", "kinds", "0kinds", "2kind"):
        with pytest.raises(ValueError, match="is no album"):
            beside.Album.read(text)


def test_what_is_left_beside_the_others():
    """By hand: odds over the geometric mean of the person's odds; whoever is alone is named by chance."""
    given = np.array([[0.4, 0.6], [0.1, 0.9], [0.9, 0.1]])
    own = [[0, 1], [0, 1], [2]]
    ratio = (0.4 / 0.6) / (0.1 / 0.9)
    odds = np.sqrt(ratio), np.sqrt(1 / ratio), 1.0
    wanted = [[o / (1 + o), 1 / (1 + o)] for o in odds]
    np.testing.assert_allclose(beside.probabilities(given, own), wanted, rtol=1e-12)
    assert given.argmax(-1).tolist() == [1, 1, 0] and np.argmax(wanted, -1).tolist() == [0, 1, 0]
    np.testing.assert_allclose(beside.centred(given, own)[:, 0], [0.15, -0.15, 0], atol=1e-12)
    assert np.isfinite(beside.probabilities(np.array([[0.0, 1.0], [1.0, 0.0]]), [[0, 1]] * 2)).all()
