"""fer_tf.store: pictures read, cut and kept; frames of films; what is left out, and that nobody is told otherwise."""

import os

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from fer_tf import faces, films, store
from fer_tf.records import Record

TEMPLATE = faces.Template.fer2013("small", (14, 12))


def listed(count: int) -> list[Record]:
    """Records whose pictures already have the template's size."""
    rng = np.random.default_rng(0)
    return [Record(rng.integers(0, 256, (14, 12), dtype=np.uint8), "fear", info={"framed": True}) for _ in range(count)]


def test_frames_of_films(tmp_path, monkeypatch):
    """Exactly the frame, turned as its record says; a few films open at a time, all closed in the end."""
    grey, closed, close = [20, 60, 100, 140, 180, 220], [], films.Film.close
    for name in "abcdef":
        with films.Writer(tmp_path / f"{name}.avi") as film:
            for value in grey:
                film.add(np.pad(np.full((8, 16, 3), value, np.uint8), ((8, 0), (0, 0), (0, 0))))
    info = {"framed": True}
    framed = [Record((str(tmp_path / f"{name}.avi"), n), "fear", name, info=info) for n in (4, 1) for name in "abcdef"]
    picture = store.read_image(Record(framed[0].image, info={"turn": 90}))
    assert picture.shape == (16, 16, 3) and abs(picture[:, :6].mean() - 180) < 4 and picture[:, 10:].mean() < 4
    monkeypatch.setattr(films.Film, "close", lambda self: closed.append(self.path) or close(self))
    images, missed = store.Store(framed, TEMPLATE, 1, True).cut(np.arange(12), True)
    assert sorted(closed) == sorted([r.image[0] for r in framed]) and not missed
    np.testing.assert_allclose(images[:, 10:].mean(axis=(1, 2, 3)), [180] * 6 + [60] * 6, atol=12)
    for name, number, sentence in (
        ("a.avi", 6, r"a.avi\[6\]: .*a.avi: there is no frame 6"),
        ("z.avi", 0, r"z.avi\[0\]: .*there is no such file"),
    ):
        with pytest.raises(ValueError, match=sentence):
            store.face(Record((str(tmp_path / name), number), "fear", "a", info=info), TEMPLATE)


def test_landmarks_align_a_face_and_framed_pictures_are_only_resized():
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.random((48, 48)), 4)
    picture = np.uint8(255 * (smooth - smooth.min()) / np.ptp(smooth))
    framed = store.face(Record(picture, info={"framed": True}), "ia_gen")
    expected = np.asarray(Image.fromarray(picture).resize((70, 70), Image.Resampling.BICUBIC))[..., None]
    np.testing.assert_array_equal(framed, expected)
    points = np.float32(faces.FER_POINTS) * 48  # where FER-2013 has them: the same frame
    aligned = store.face(Record(picture, info={"landmarks": points}), "ia_gen")
    assert aligned.shape == (70, 70, 1) and np.abs(aligned.astype(int) - expected).mean() < 2
    moved = store.face(Record(np.roll(picture, 5, 1), info={"landmarks": points + np.float32([5, 0])}), "ia_gen")
    assert np.abs(moved[:, 10:60].astype(int) - aligned[:, 10:60]).mean() < 1
    with pytest.raises(ValueError, match="array of subject S1: no face was found"):
        store.face(Record(picture, subject="S1"), "ia_gen")


@pytest.mark.parametrize("channels", [1, 3])
def test_faces_are_the_same_whether_they_are_kept_or_read(channels):
    """Two of six cannot be read: black, named, and marked while they are read; those that are kept are all good."""
    records = listed(6)
    for place in (1, 4):
        records[place] = Record(b"nothing", "fear", subject=f"S{place}")
    streamed, kept = (store.Store(records, TEMPLATE, channels, strict=False) for _ in range(2))
    assert streamed.size == 6 * 14 * 12 * channels and not streamed.kept
    kept.keep()
    assert kept.kept and list(kept.skipped) == [1, 4] and "S4" in kept.skipped[4]
    places = np.array([5, 4, 0, 5], np.int32)
    (a, good), (b, every) = streamed.load(places), kept.load(places)
    np.testing.assert_array_equal(a, b)
    assert good.numpy().tolist() == [True, False, True, True] and every.numpy().all()
    assert not a.numpy()[1].any() and list(streamed.skipped) == [4]
    expected = np.repeat(records[0].image[..., None], channels, -1)
    np.testing.assert_array_equal(a.numpy()[2], expected)


@pytest.mark.parametrize("strict", [True, False])
def test_reading_ahead_leaves_strict_alone(monkeypatch, strict):
    """A store that keeps its faces reads in threads, and whoever asks meanwhile is told what was given."""
    kept, read, asked = store.Store(listed(600), TEMPLATE, 1, strict), store.read_image, set()
    monkeypatch.setattr(store, "read_image", lambda *args: asked.add(kept.strict) or read(*args))
    kept.keep()
    assert asked == {strict} and kept.kept and kept.strict is strict


@pytest.fixture
def sought(monkeypatch, tmp_path):
    """Five pictures in files, in which faces are found at one place; and the grey values of those searched so far."""
    seen = []

    def find(picture, box=None, *, use_landmarks=True, detector="dlib"):
        seen.append((int(picture[0, 0, 0]), detector))
        if picture[0, 0, 0] > 200:
            raise faces.FaceNotFound("no face was found in the picture")
        return 48.0 * np.array(faces.FER_POINTS) + picture[0, 0, 0] / 10

    monkeypatch.setattr(faces, "find_points", find)
    monkeypatch.setattr(store, "_found", {})
    made = []
    for value in (10, 20, 30, 40, 50):
        picture = np.full((48, 48, 3), value, np.uint8) + np.uint8(np.arange(48)[:, None])
        picture[0, 0] = value
        Image.fromarray(picture).save(tmp_path / f"{value}.png")
        made.append(Record(str(tmp_path / f"{value}.png"), "fear"))
    return made, seen, tmp_path


def test_a_face_in_a_file_is_searched_for_once(sought):
    """However often it is read, by whichever store and for whichever frame; the same bits as without its memory."""
    made, seen, folder = sought
    first = store.Store(made, TEMPLATE, 1, True)
    first.check()
    assert sorted(seen) == [(v, "dlib") for v in (10, 20, 30, 40, 50)] and not first.kept
    again = [store.Store(made, TEMPLATE, 1, True).cut(np.arange(5), True)[0] for _ in range(2)]
    store.face(made[0], "ia_gen")
    assert len(seen) == 5
    np.testing.assert_array_equal(*again)
    picture = store.read_image(made[2])
    alone = faces.align(picture, TEMPLATE, 48.0 * np.array(faces.FER_POINTS) + 3)
    np.testing.assert_array_equal(again[0][2], np.asarray(Image.fromarray(alone).convert("L"))[..., None])
    store.face(Record(made[0].image, info={"detector": "mtcnn"}), TEMPLATE)
    store.face(Record(made[0].image, info={"turn": 90}), TEMPLATE)
    assert seen[5:] == [(10, "mtcnn"), (int(np.rot90(store.read_image(made[0]), -1)[0, 0, 0]), "dlib")]
    Image.fromarray(np.full((40, 48, 3), 77, np.uint8)).save(folder / "10.png")  # another picture now
    store.face(made[0], TEMPLATE)
    assert seen[7:] == [(77, "dlib")]
    os.utime(folder / "10.png", ns=(5, 5))  # of the same size, it may be another one again
    store.face(made[0], TEMPLATE)
    assert seen[8:] == [(77, "dlib")]
    store.face(Record(np.full((48, 48), 60, np.uint8)), TEMPLATE)  # in memory: no name, no memory
    store.face(Record(np.full((48, 48), 60, np.uint8)), TEMPLATE)
    assert seen[9:] == 2 * [(60, "dlib")]


def test_a_check_names_all_that_cannot_be_cut(sought):
    made, _, folder = sought
    for name in ("x", "y"):
        Image.fromarray(np.full((48, 48, 3), 250, np.uint8)).save(folder / f"{name}.png")
    listed = [made[0], Record(str(folder / "x.png"), "fear"), made[1], Record(str(folder / "y.png"), "fear")]
    with pytest.raises(ValueError, match=r"2 of 4 records cannot be used: .*x.png.*no face.*y.png"):
        store.Store(listed, TEMPLATE, 3, True).check()
    lenient = store.Store(listed, TEMPLATE, 3, False)
    lenient.check()
    assert [*lenient.skipped] == [1, 3] and not lenient.kept
