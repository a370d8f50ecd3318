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


def test_answers_that_tell_nobody_who_is_seen():
    """By hand: of two pictures each, the odds that make a person's mean the shares; the rest of an answer is kept."""
    given = np.array([[0.8, 0.2], [0.6, 0.4], [0.5, 0.5], [0.5, 0.5]])
    found = beside.independent(given, ("a", "a", "b", "b"), np.array([0.5, 0.5]))
    # with odds 4 v and 1.5 v a mean of a half asks for (4 v) (1.5 v) = 1
    v = 6**-0.5
    np.testing.assert_allclose(found[:2, 0], [4 * v / (1 + 4 * v), 1.5 * v / (1 + 1.5 * v)], rtol=1e-6)
    np.testing.assert_allclose(found[2:], 0.5)
    assert given.argmax(-1).tolist()[:2] == [0, 0] and found.argmax(-1).tolist()[:2] == [0, 1]
    rng = np.random.default_rng(0)
    many, people = rng.dirichlet([1, 1, 1], 60), rng.integers(0, 4, 60).tolist()
    shares = np.array([0.5, 0.3, 0.2])
    found = beside.independent(many, people, shares)
    np.testing.assert_allclose(found.sum(1), 1)
    for person in range(4):
        own = np.array(people) == person
        np.testing.assert_allclose(found[own].mean(0), shares, atol=1e-4)
        odds = np.log(found[own] / many[own])  # a factor of each class and person, and one of each row
        np.testing.assert_allclose(odds - odds.mean(1, keepdims=True), np.broadcast_to(
            (odds - odds.mean(1, keepdims=True))[0], odds.shape), atol=1e-6)  # fmt: skip
    assert np.isfinite(beside.independent(np.eye(2), ("a", "a"), np.array([0.1, 0.9]))).all()
    sure = np.array([[1.0, 1e-20], [1.0, 1e-10], [1.0, 1e-12], [1.0, 1e-9]])
    assert beside.independent(sure, "aaaa", np.array([0.5, 0.5])).argmax(-1).tolist() == [0, 1, 0, 1]
    assert many.max() < 1 and np.all(many.sum(1) > 0.999), "what was given stays as it was"
    with pytest.raises(ValueError, match=r"Shares of classes are positive, and were \[0.0, 1.0\]"):
        beside.independent(given, "aabb", np.array([0.0, 1.0]))


def test_answers_that_tell_less_of_who_is_seen():
    """Between what a network says and what tells nobody; at its optimum, by the gradient of what it minimises."""
    rng = np.random.default_rng(3)
    given, shares = rng.dirichlet([3, 1, 1], 8), np.array([0.5, 0.3, 0.2])
    people, away = ["a"] * 8, []
    for strength in (0.0, 0.5, 0.9, 1.0):
        found = beside.independent(given, people, shares, strength)
        away.append(np.abs(found.mean(0) - shares).max())
        if strength < 1:
            rho, mean = strength / (1 - strength), found.mean(0)
            # sum_ik q log(q / p) + rho sum_k n mean_k log(mean_k / share_k): alike for all classes of a row
            slope = np.log(found / given) + rho * np.log(mean / shares)
            np.testing.assert_allclose(slope - slope.mean(1, keepdims=True), 0, atol=1e-6)
    np.testing.assert_allclose(beside.independent(given, people, shares, 0.0), given)
    assert away == sorted(away, reverse=True) and away[0] > 0.05 and away[-1] < 1e-6
    with pytest.raises(ValueError, match=r"strength is in \[0, 1\], and was 1.5"):
        beside.independent(given, people, shares, 1.5)
