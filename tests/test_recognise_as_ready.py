"""fer_tf.recognise with a stand-in for the model and the detector: order, waiting, people, damage. No TensorFlow."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_tf import faces, films, pictures, recognise

ROOT = Path(__file__).resolve().parents[1]


class Model:
    """Counts its calls; the brightness of a face is its happiness."""

    classes, template = ("anger", "happiness"), faces.TEMPLATES["ia_gen"]

    def __init__(self):
        self.calls = []

    def __call__(self, cuts):
        self.calls.append(len(cuts))
        happy = np.array([cut.mean() / 255 for cut in cuts])
        return np.stack([1 - happy, happy], axis=1)


@pytest.fixture
def model(monkeypatch):
    """A bright square is a face."""

    def detect(picture, *, all, min_score, detector):
        bright = picture[..., 0] > 100
        if not bright.any():
            return []
        x, y = np.flatnonzero(bright.any(axis=0)), np.flatnonzero(bright.any(axis=1))
        return [faces.Face((float(x[0]), float(y[0]), float(x[-1] + 1), float(y[-1] + 1)), 1.0)]

    monkeypatch.setattr(recognise, "predictor", lambda model: model)
    monkeypatch.setattr(recognise, "detect", detect)
    monkeypatch.setattr(recognise, "align", lambda picture, template, box: picture)
    return Model()


def shown(left=None, size=(64, 96)):
    picture = np.zeros((*size, 3), np.uint8)
    if left is not None:
        picture[16:48, left : left + 32] = 200
    return picture


@pytest.fixture
def many(tmp_path):
    """Three empty files, a face, two hundred empty files."""
    paths = [tmp_path / f"{number:03}.png" for number in range(204)]
    for path in paths:
        path.write_bytes(b"")
    Image.fromarray(shown(20)).save(paths[3])
    return paths


def test_answers_come_as_they_are_ready(many, model, monkeypatch):
    """What has no face waits for nobody; a face waits for others until its patience ends, and so does what follows."""
    read, now = [], [0.0]
    monkeypatch.setattr(recognise, "load_image", lambda path: read.append(path) or pictures.load_image(path))
    monkeypatch.setattr(recognise.time, "monotonic", lambda: now[0] + 0.1 * len(read))
    answers = recognise.photos(many, model=model)
    for number in range(3):
        photo = next(answers)
        assert photo.path == many[number] and photo.error and len(read) == number + 1 and model.calls == []
    photo = next(answers)
    assert photo.path == many[3] and len(photo.faces) == 1 and model.calls == [1]
    assert len(read) == 14  # read at 0.4, answered at 1.4
    assert [photo.path for photo in answers] == many[4:] and model.calls == [1]


def test_full_batches_and_memory_do_not_wait(many, model, monkeypatch):
    monkeypatch.setattr(recognise.time, "monotonic", lambda: 0.0)
    listed = list(recognise.photos([many[3]] * 5, model=model, batch_size=2))
    assert model.calls == [2, 2, 1] and all(len(photo.faces) == 1 for photo in listed)
    monkeypatch.setattr(recognise, "MEMORY", 3 * 64 * 96 * 3)
    model.calls.clear()
    listed = list(recognise.photos([many[3]] * 5, model=model, pictures=True))
    assert model.calls == [3, 2] and all(photo.picture is not None for photo in listed)


def test_a_person_keeps_a_number_through_a_film(model):
    lefts = [0, 10, 22, None, 34, 60, 2]  # the last jump is too wide for one person
    film = [(number, number / 10, shown(left)) for number, left in enumerate(lefts)]
    numbers = [[face.number for face in frame.faces] for frame in recognise.frames(film, model=model)]
    assert numbers == [[1], [1], [1], [], [1], [1], [2]]
    (face,) = recognise.photo(shown(3), model=model)
    assert face.number is None


def clip(path, count=30):
    rng = np.random.default_rng(0)
    with films.Writer(path, 10) as film:
        for number in range(count):
            film.add(np.clip(shown(number) + rng.integers(0, 40, (64, 96, 3)), 0, 255).astype(np.uint8))
    return path


def test_a_damaged_film_loses_no_frame_that_can_be_read(model, tmp_path):
    path = clip(tmp_path / "a.mkv")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    with films.Film(path) as film:
        expected = [number for number, _, _ in film]
        assert film.damage
    with pytest.warns(UserWarning, match=r"a\.mkv: .* of 30 frames"):
        found = [frame.number for frame in recognise.film(path, model=model)]
    assert found == expected and 15 < len(found) < 30
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(recognise.film(path, model=model))) == 30


def test_a_folder_without_pictures_says_what_it_has(model, tmp_path):
    clip(tmp_path / "a.mp4", 1)
    with pytest.raises(ValueError, match=f"^{tmp_path}: the folder has no pictures, only 1 .mp4$"):
        recognise.folder(tmp_path, model=model)


def test_every_kind_of_array_is_a_picture(model):
    class Foreign:
        """As JAX has them: no numpy(), but an array."""

        def __array__(self, dtype=None, copy=None):
            return shown(7)

    (expected,) = recognise.photo(shown(7), model=model)
    assert recognise.photo(Foreign(), model=model) == [expected]


POOL = """
from fer_tf import recognise
if __name__ == "__main__":
    with recognise.pool(1) as pool:
        print(pool._ctx.get_start_method(), pool.map(abs, [-3, 2]))
"""


def test_a_pool_starts_anew(tmp_path):
    (tmp_path / "a.py").write_text(POOL)
    done = subprocess.run(
        [sys.executable, tmp_path / "a.py"], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=100
    )
    assert done.stdout == "spawn [3, 2]\n", done.stderr
