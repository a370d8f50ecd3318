"""fer_tf.tracks: the same person keeps a number; by overlap, then by position."""

import pytest

from fer_tf.tracks import GONE, Tracks


def box(x, y=0, side=100):
    return (x, y, x + side, y + side)


def test_people_keep_their_numbers_whatever_their_order():
    tracks = Tracks()
    assert tracks.numbers([box(0), box(300)], 0.0) == [1, 2]
    assert tracks.numbers([box(310), box(10)], 0.1) == [2, 1]
    assert tracks.numbers([box(600), box(20), box(320)], 0.2) == [3, 1, 2] and tracks.people == 3
    assert tracks.numbers([], 0.3) == [] and tracks.numbers([box(330)], 0.4) == [2]


def test_overlap_comes_before_position():
    """The second face is nearer by its centre to where the first was, and overlaps the other, wider one."""
    tracks = Tracks()
    assert tracks.numbers([box(0, side=40), box(60, side=200)], 0.0) == [1, 2]
    assert tracks.numbers([box(70, side=170)], 0.1) == [2]
    assert tracks.numbers([box(0, side=200), box(20, side=200)], 10.0) == [3, 4]
    assert tracks.numbers([box(12, side=200), box(4, side=200)], 10.1) == [4, 3]  # 0.94 and 0.98 before 0.92 and 0.96


def test_a_fast_face_is_found_by_its_position_if_it_is_like_the_old_one():
    for x, side, number in ((95, 100, 1), (110, 100, 2), (60, 170, 2), (-95, 100, 1)):
        tracks = Tracks()
        assert tracks.numbers([box(0)], 0.0) == [1] and tracks.numbers([box(x, side=side)], 0.1) == [number], x
    tracks = Tracks()
    assert tracks.numbers([box(0), box(210)], 0.0) == [1, 2]
    assert tracks.numbers([box(120), box(305)], 0.1) == [2, 3]  # one number is one face's: the nearest one's


@pytest.mark.parametrize(("later", "number"), [(GONE - 0.1, 1), (GONE + 0.1, 2)])
def test_who_was_hidden_for_a_moment_is_the_same(later, number):
    tracks = Tracks()
    tracks.numbers([box(0)], 5.0)
    for at in (5.1, 5.2):
        assert tracks.numbers([], at) == []
    assert tracks.numbers([box(30)], 5.0 + later) == [number]
