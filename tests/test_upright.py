"""fer_tf.upright: the turn by which a face is found, and found best."""

import numpy as np
import pytest
from PIL import Image

from fer_tf import faces, upright


@pytest.fixture
def scores(monkeypatch):
    """Makes the detector find a face of this score where the brightest corner is at (row, column): {place: score}."""
    told, calls = {}, []

    def detect(image, upsample):
        place = np.unravel_index(image[..., 0].argmax(), image.shape[:2])
        corner = tuple(int(2 * p >= side) for p, side in zip(place, image.shape[:2], strict=True))
        calls.append((corner, image.shape[:2], upsample))
        score = told.get((corner, upsample))
        return [] if score is None else [faces.Face((0, 0, 1, 1), score)]

    monkeypatch.setattr(faces, "detect", detect)
    return told, calls


def marked(tmp_path, name="a.png", size=(40, 80)):
    """A picture whose upper left corner is bright; turned 90 degrees clockwise that is the upper right, 270 the lower
    left."""
    picture = np.zeros((*size, 3), np.uint8)
    picture[:8, :8] = 255
    Image.fromarray(picture).save(tmp_path / name)
    return str(tmp_path / name)


UP, RIGHT, LEFT = (0, 0), (0, 1), (1, 0)
"""Where the corner is after a turn of 0, 90 and 270 degrees clockwise."""


@pytest.mark.parametrize(
    "found, turn",
    [
        ({(UP, 0): 1.2, (RIGHT, 0): 0.3}, 0),
        ({(UP, 0): 0.2, (RIGHT, 0): 0.9, (LEFT, 0): 0.5}, 90),
        ({(UP, 0): 0.2, (LEFT, 0): 0.5}, 270),
        ({(RIGHT, 1): 0.1}, 90),  # in the larger picture alone
        ({(UP, 1): 9.0, (LEFT, 0): 0.1}, 270),  # the smaller one goes first
        ({}, None),
    ],
)
def test_the_surest_turn_counts(tmp_path, scores, found, turn):
    scores[0].update(found)
    assert upright.turn_of([marked(tmp_path)]) == turn
    assert {shape for _, shape, _ in scores[1]} == {(40, 80), (80, 40)}


def test_large_pictures_are_made_small_and_the_first_face_decides(tmp_path, scores):
    scores[0][UP, 0] = 0.5
    files = [marked(tmp_path, "a.png", (400, 720)), str(tmp_path / "gone.png")]
    assert upright.turn_of(files) == 0  # the second is not read
    assert max(max(shape) for _, shape, _ in scores[1]) == upright.SIDE


@pytest.mark.parametrize("turn", upright.ALL_TURNS)
def test_a_box_turns_with_its_picture_and_back(turn):
    """What is cut out of the turned picture is the turned cut of the picture itself."""
    picture = np.arange(5 * 8).reshape(5, 8)
    there = upright.turned(picture, turn)
    left, top, right, bottom = 1, 0, 3, 4
    x0, y0, x1, y1 = upright.turned_back((left, top, right, bottom), turn, picture.shape)
    np.testing.assert_array_equal(there[top:bottom, left:right], upright.turned(picture[y0:y1, x0:x1], turn))


@pytest.mark.parametrize("turn", upright.ALL_TURNS)
def test_a_photograph_of_any_turn(turn):
    """dlib finds the face upright alone, or surest so; the largest of all turns' scores counts."""
    data = pytest.importorskip("skimage.data", reason="scikit-image ships the photograph (public domain, NASA)")
    lying = upright.turned(data.astronaut()[:256, 60:380], -turn % 360)
    found, (face,) = upright.found(lying)
    assert found == turn and face.score > 1
    x0, y0, x1, y1 = upright.turned_back(face.box, turn, lying.shape[:2])
    middle = ((x0 + x1) / 2, (y0 + y1) / 2)
    wanted = {0: (166, 116), 90: (116, 154), 180: (154, 140), 270: (140, 166)}[turn]
    assert np.abs(np.subtract(middle, wanted)).max() < 12
    assert upright.found(np.full((90, 60, 3), 128, np.uint8)) == (0, [])
