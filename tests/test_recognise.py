"""fer_tf.recognise: one answer whatever the kind of picture, and one sentence for what is none."""

import dataclasses
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fer_tf import export, faces, films, pictures, recognise, weights
from fer_tf.models import fer_net
from fer_tf.records import CLASSES

data = pytest.importorskip("skimage.data")
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def astronaut():
    """(512, 512, 3) uint8, in the public domain."""
    return data.astronaut()


@pytest.fixture(scope="module")
def released():
    """The Predictor of FER-Net's weights, whose answers differ from face to face."""
    return recognise.predictor("fer_net_fer2013")


@pytest.fixture
def net():
    """A small FER-Net."""
    return fer_net.FERNet(classes=CLASSES["six_neutral"], width=4, blocks=1, hidden=8)


@pytest.fixture(scope="module")
def photos(tmp_path_factory, astronaut):
    """A folder: five pictures with 1, 1, 2, 0 and 1 faces, a broken one, a text; a folder within."""
    folder = tmp_path_factory.mktemp("photos")
    Image.fromarray(astronaut).save(folder / "a.png")
    Image.fromarray(astronaut[:, ::-1] // 2).save(folder / "b.PNG")
    Image.fromarray(two_sizes(astronaut)).save(folder / "c.png")
    Image.fromarray(np.full((90, 120, 3), 130, np.uint8)).save(folder / "d.png")
    Image.fromarray(255 - (255 - astronaut) // 2).save(folder / "e.png")
    (folder / "broken.jpg").write_bytes((folder / "a.png").read_bytes()[:3000])
    (folder / "notes.txt").write_text("no picture")
    (folder / "within.png").mkdir()
    return folder


def two_sizes(astronaut: np.ndarray) -> np.ndarray:
    """The astronaut beside herself at 1.5 times the size, which stands on the right."""
    large = np.asarray(Image.fromarray(astronaut[:340, 50:390]).resize((510, 510), Image.Resampling.BICUBIC))
    return np.hstack([astronaut[:510], large])


def test_a_picture_on_its_side_is_read_upright(astronaut, released):
    """The same answer, its box turned with the picture; without `upright` another face or none."""
    (standing,) = recognise.photo(astronaut, model=released, all_faces=False)
    lying = np.ascontiguousarray(np.rot90(astronaut))
    (found,) = recognise.photo(lying, model=released, all_faces=False, upright=True)
    left, top, right, bottom = standing.box
    assert found.box == (top, 512 - right, bottom, 512 - left) and found.score == standing.score
    np.testing.assert_allclose(row(found), row(standing), atol=1e-6)
    assert [face.box for face in recognise.photo(lying, model=released, all_faces=False)] != [found.box]


def row(face: recognise.Face) -> np.ndarray:
    """(K,) probabilities."""
    return np.array(list(face.probabilities.values()))


def close(answers: list[recognise.Face], expected: list[recognise.Face], atol: float = 1e-6) -> None:
    """The same faces, up to rounding: sums depend on how many the net sees together."""
    assert [(face.box, face.score) for face in answers] == [(face.box, face.score) for face in expected]
    for face, other in zip(answers, expected, strict=True):
        assert [*face.probabilities] == [*other.probabilities] and face.expression == other.expression
        np.testing.assert_allclose(row(face), row(other), atol=atol)


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def test_a_photograph_is_named_as_its_aligned_face_is(astronaut):
    """Detection, alignment and the released weights by hand."""
    (box,) = faces.detect(astronaut, all=True, min_score=0.2)
    own = export.released("se_resnet_ferplus")
    (expected,) = own(faces.align(astronaut, own.template, box=box))
    (face,) = recognise.photo(astronaut)
    assert (face.box, face.score) == (box.box, box.score)
    assert list(face.probabilities) == list(own.classes) == list(CLASSES["eight"]) and face.expression == "happiness"
    np.testing.assert_allclose(row(face), expected, atol=1e-6)
    assert face.confidence == face.probabilities["happiness"] == max(face.probabilities.values()) > 0.8


def test_every_kind_of_picture_gives_the_same_answer(astronaut, released, tmp_path):
    picture = Image.fromarray(astronaut)
    png = encoded(picture, "png")
    (tmp_path / "a.png").write_bytes(png)
    kinds = {
        "text": str(tmp_path / "a.png"),
        "path": tmp_path / "a.png",
        "bytes": png,
        "bytearray": bytearray(png),
        "Pillow": picture,
        "lazy Pillow": Image.open(tmp_path / "a.png"),
        "RGBA": np.dstack([astronaut, np.full((512, 512), 255, np.uint8)]),
        "fractions": astronaut / 255.0,
        "view": np.asfortranarray(astronaut),
        "tensor": tf.constant(astronaut),
        "variable": tf.Variable(astronaut),
        "encoded tensor": tf.io.read_file(str(tmp_path / "a.png")),
    }
    expected = recognise.photo(astronaut, model=released)
    assert len(expected) == 1
    for kind, given in kinds.items():
        assert recognise.photo(given, model=released) == expected, kind
    grey = picture.convert("L")
    dull = recognise.photo(np.asarray(grey), model=released)
    for given in (grey, np.asarray(grey)[..., None], tf.constant(np.asarray(grey)), np.asarray(grey.convert("RGB"))):
        assert recognise.photo(given, model=released) == dull


def test_the_order_of_colours_matters(astronaut, released):
    """What OpenCV reads is another picture, until it is turned round."""
    bgr = np.ascontiguousarray(astronaut[..., ::-1])
    (right,), (wrong,) = recognise.photo(astronaut, model=released), recognise.photo(bgr, model=released)
    assert np.abs(row(right) - row(wrong)).max() > 1e-3
    assert recognise.photo(bgr[..., ::-1], model=released) == [right]


@pytest.mark.parametrize("orientation, turns", [(6, 1), (3, 2), (8, 3)])
def test_exif_rotation_is_applied_to_files_bytes_and_pillow(astronaut, released, tmp_path, orientation, turns):
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = Image.fromarray(np.rot90(astronaut, turns).copy())
    (tmp_path / "a.png").write_bytes(encoded(turned, "png", exif=exif))
    expected = recognise.photo(astronaut, model=released)
    with Image.open(tmp_path / "a.png") as opened:
        for given in (tmp_path / "a.png", (tmp_path / "a.png").read_bytes(), opened):
            assert recognise.photo(given, model=released) == expected


def test_a_pillow_image_stays_open_at_the_frame_where_it_is(astronaut, released, tmp_path):
    shown = Image.fromarray(astronaut)
    Image.new("RGB", (512, 512), "grey").save(tmp_path / "a.gif", save_all=True, append_images=[shown])
    assert recognise.photo(tmp_path / "a.gif", model=released) == []  # of a file the first
    with Image.open(tmp_path / "a.gif") as opened:
        counts = [opened.seek(number) or len(recognise.photo(opened, model=released)) for number in (0, 1, 0)]
    assert counts == [0, 1, 0]


def test_largest_first_doubtful_ones_left_out_and_none_is_an_empty_list(astronaut, released):
    picture = two_sizes(astronaut)
    large, less = recognise.photo(picture, model=released)
    assert large.box[0] > 512 > less.box[2] and large.box[2] - large.box[0] > 1.3 * (less.box[2] - less.box[0])
    close(recognise.photo(picture, model=released, all_faces=False), [large])
    between = (large.score + less.score) / 2
    surer = max(large, less, key=lambda face: face.score)
    close(recognise.photo(picture, model=released, min_score=between), [surer])
    assert large.probabilities != less.probabilities
    assert recognise.photo(np.full((90, 120), 130, np.uint8), model=released) == []


def test_a_face_is_a_value(astronaut, released):
    (face,) = recognise.photo(astronaut, model=released)
    with pytest.raises(dataclasses.FrozenInstanceError):
        face.expression = "anger"
    assert json.loads(json.dumps(dataclasses.asdict(face)))["probabilities"] == face.probabilities
    assert {face} == {dataclasses.replace(face)} and face != dataclasses.replace(face, score=9.0)


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        ("nowhere/a.png", FileNotFoundError, "nowhere/a.png: there is no such file"),
        ("broken.jpg", ValueError, "broken.jpg: cannot be read as a picture"),
        ("notes.txt", ValueError, "notes.txt: cannot be read as a picture, since its format is unknown"),
        ("within.png", ValueError, "within.png: is a folder, not a picture: give it to recognise.folder"),
        (b"", ValueError, "the 0 bytes given: cannot be read as a picture, since its format is unknown"),
        (np.zeros((2, 64, 64, 3), np.uint8), ValueError, r"not of shape \(2, 64, 64, 3\): give RGB as uint8"),
        (np.zeros((3, 64, 64), np.uint8), ValueError, r"not of shape \(3, 64, 64\): give RGB as uint8 \(H, W, 3\)"),
        (np.zeros((0, 64, 3), np.uint8), ValueError, r"not of shape \(0, 64, 3\): give RGB"),
        (np.zeros((64, 64, 3), np.int64), ValueError, "uint8, uint16, bool or float, not int64: give RGB as uint8"),
        (np.full((64, 64, 3), 255.0), ValueError, r"a float picture lies in \[0, 1\], not in \[255, 255\]: give RGB"),
        (lambda: tf.zeros((64, 64, 3), tf.int32), ValueError, "uint8, uint16, bool or float, not int32: give RGB"),
        (None, ValueError, "a path, bytes, a Pillow image, a NumPy array or a tensor with values, not None"),
        (["a.png"], ValueError, "not list; several are given one by one, or as a folder to recognise.folder"),
    ],
)  # fmt: skip
def test_what_is_no_picture_gets_one_sentence(photos, monkeypatch, released, given, error, sentence):
    monkeypatch.chdir(photos)
    with pytest.raises(error, match=sentence) as raised:
        recognise.photo(given() if callable(given) else given, model=released)
    assert "\n" not in str(raised.value)


def test_a_film_is_no_picture(tmp_path, released):
    with films.Writer(tmp_path / "a.avi") as film:
        film.add(np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(ValueError, match="a.avi: is a film, not a picture: give it to recognise.film"):
        recognise.photo(tmp_path / "a.avi", model=released)


def test_models_by_short_name_released_name_file_folder_and_predictor(astronaut, net, tmp_path, monkeypatch):
    by_hand = export.predictor(net)
    expected = recognise.photo(astronaut, model=by_hand)
    config = {key: value for key, value in net.get_config().items() if key != "name"}
    weights.save(net, tmp_path / "tiny.h5", provenance={"config": config})
    export.save(net, tmp_path / "exported")
    monkeypatch.chdir(tmp_path)
    for model in ("tiny.h5", tmp_path / "tiny.h5", "exported", tmp_path / "exported"):
        close(recognise.photo(astronaut, model=model), expected, atol=1e-5)
    for short, name in (("ed2l", "ed2l_fer2013"),):  # IA-gen's: tests/experiments/test_ia_gen.py
        (face,) = recognise.photo(astronaut, model=name)
        assert face.expression == "happiness" and recognise.photo(astronaut, model=short) == [face]
        own = recognise.predictor(name)
        aligned = faces.align(astronaut, own.template, box=faces.Face(face.box, face.score))
        assert [*face.probabilities] == [*own.classes] and own.template == faces.TEMPLATES[short]
        np.testing.assert_allclose(row(face), own(aligned)[0], atol=1e-6)


def test_a_model_is_loaded_once_until_its_file_changes(net, tmp_path, monkeypatch):
    loaded, load = [], export.from_weights
    monkeypatch.setattr(export, "from_weights", lambda path: loaded.append(path) or load(path))
    config = {key: value for key, value in net.get_config().items() if key != "name"}
    file = tmp_path / "fer_net"  # as a short name is called
    weights.save(net, file, provenance={"config": config})
    cut_out = np.random.default_rng(0).integers(0, 256, (70, 70), np.uint8)
    first = recognise.faces(cut_out, model=file)
    monkeypatch.chdir(tmp_path)
    assert recognise.faces(cut_out, model="./fer_net") == first and loaded == [file.resolve()]
    assert recognise.model_path("fer_net") == weights.released("fer_net_fer2013")  # names come before files
    before = net.head.bias.numpy()
    net.head.bias.assign(before + np.float32([0, 0, 0, 0, 0, 0, 1000]))
    weights.save(net, file, provenance={"config": config})
    net.head.bias.assign(before)
    os.utime(file, ns=(1, 1))
    second = recognise.faces(cut_out, model=file)
    assert second != first and second[0].expression == CLASSES["six_neutral"][6] and len(loaded) == 2


@pytest.mark.parametrize(
    ("model", "error", "sentence"),
    [
        ("nonsense", FileNotFoundError, "nonsense: there is no such file or folder, and no released weights"),
        ("runs/x/export", FileNotFoundError, "runs/x/export: there is no such file or folder"),
        (Path("fer_net"), FileNotFoundError, "fer_net: there is no such file or folder"),
        ("photos", ValueError, "photos is no model that fer_tf exported"),
        ("photos/a.png", ValueError, "a.png is no HDF5 file"),
        ("gcnet_encoder1_rendered", ValueError, "gcnet_encoder1_rendered.h5 does not say how its model was built"),
        ("de_gan_rendered", ValueError, "de_gan_rendered.h5 holds a DEGAN, which names no expression"),
        (3, ValueError, "a model is a name, a path or an export.Predictor, not int"),
    ],
)  # fmt: skip
def test_what_is_no_model_gets_one_sentence(photos, monkeypatch, model, error, sentence, astronaut):
    monkeypatch.chdir(photos.parent)
    model = model.replace("photos", photos.name) if isinstance(model, str) else model
    with pytest.raises(error, match=sentence.replace("photos", photos.name)) as raised:
        recognise.photo(astronaut[:64, :64], model=model)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_a_folder_goes_on_past_a_broken_file(photos, released, batch_size):
    listed = list(recognise.folder(photos, model=released, batch_size=batch_size))
    assert [photo.path.name for photo in listed] == ["a.png", "b.PNG", "broken.jpg", "c.png", "d.png", "e.png"]
    assert [len(photo.faces) for photo in listed] == [1, 1, 0, 2, 0, 1]
    assert [photo.error is not None for photo in listed] == [False, False, True, False, False, False]
    assert f"{photos / 'broken.jpg'}: cannot be read as a picture" in str(listed[2].error)
    answers = [row(face) for photo in listed for face in photo.faces]
    assert min(np.abs(a - b).max() for a, b in zip(answers, answers[1:], strict=False)) > 2e-4
    for photo in listed:
        assert photo.picture is None
        close(photo.faces, [] if photo.error else recognise.photo(photo.path, model=released), atol=1e-5)


def test_photographs_wait_for_a_batch_but_not_all_in_memory(photos, released, monkeypatch):
    read, load = [], pictures.load_image
    monkeypatch.setattr(recognise, "load_image", lambda path: read.append(path.name) or load(path))
    paths = [photos / name for name in ("a.png", "b.PNG", "e.png", "a.png", "b.PNG")]
    options = {"model": released, "pictures": True}
    first = next(recognise.photos(paths, batch_size=2, **options))
    assert read == ["a.png", "b.PNG"] and first.path == paths[0]
    np.testing.assert_array_equal(first.picture, load(paths[0]))
    monkeypatch.setattr(recognise, "MEMORY", 3 * 512 * 512 * 3)
    read.clear()
    assert len([next(answers := recognise.photos(paths, **options))]) == 1 and read == ["a.png", "b.PNG", "e.png"]
    assert [len(photo.faces) for photo in answers] == [1] * 4 and len(read) == 5
    read.clear()
    assert next(recognise.photos([photos / "d.png"] * 5, model=released, batch_size=2)).faces == [] and len(read) == 1
    (alone,) = recognise.photos(str(paths[0]), model=released)
    assert alone.path == paths[0] and len(alone.faces) == 1
    with pytest.raises(ValueError, match="batch_size=0: 1 or more is wanted"):
        recognise.photos(paths, batch_size=0, **options)


def test_what_is_no_folder_of_pictures_says_so(photos, released, tmp_path):
    with pytest.raises(
        FileNotFoundError, match="a.png: there is no such folder; a single picture goes to recognise.photo"
    ):
        recognise.folder(photos / "a.png", model=released)
    with pytest.raises(ValueError, match="the folder has no pictures"):
        recognise.folder(tmp_path, model=released)


@pytest.fixture(scope="module")
def clip(tmp_path_factory, astronaut):
    """Five frames in which a face moves to the right, and two without."""
    path = tmp_path_factory.mktemp("film") / "moves.mp4"
    face, plain = astronaut[:300, 60:401], np.full((300, 341, 3), 130, np.uint8)
    with films.Writer(path, 12) as film:
        for picture in [*(np.roll(face, 4 * i, axis=1) for i in range(5)), plain, plain]:
            film.add(picture)
    return path


def test_a_film_frame_by_frame(clip, released):
    named = list(recognise.film(clip, model=released, batch_size=3))
    assert [frame.number for frame in named] == list(range(7)) and [len(f.faces) for f in named] == [1] * 5 + [0] * 2
    np.testing.assert_allclose([frame.seconds for frame in named], np.arange(7) / 12, atol=1e-3)
    assert all(frame.inspected and frame.picture is None for frame in named)
    lefts = [frame.faces[0].box[0] for frame in named[:5]]
    assert lefts == sorted(lefts) and lefts[4] - lefts[0] > 8
    for frame, (_, _, picture) in zip(named, films.frames(clip), strict=True):
        close(frame.faces, recognise.photo(picture, model=released))


def test_faces_stay_until_the_next_frame_that_is_inspected(clip, released, monkeypatch):
    every, detected = list(recognise.film(clip, model=released)), []
    monkeypatch.setattr(recognise, "detect", lambda *a, **o: detected.append(1) or faces.detect(*a, **o))
    assert [frame.number for frame in recognise.film(clip, 3, model=released)] == [0, 3, 6] and len(detected) == 3
    with films.Film(clip) as film:
        shown = list(recognise.frames(film, 2, model=released, batch_size=1))
    assert len(detected) == 3 + 4 and [frame.number for frame in shown] == list(range(7))
    assert [frame.inspected for frame in shown] == [True, False] * 3 + [True]
    for frame in shown:
        assert [face.box for face in frame.faces] == [face.box for face in every[frame.number // 2 * 2].faces]
        np.testing.assert_array_equal(frame.picture, films.read(clip, frame.number))


def test_frames_are_read_as_they_are_needed(astronaut, released, monkeypatch):
    """A camera that never ends: `batch_size` frames are read, or what fills the memory."""
    read = []

    def camera():
        for number in range(1000):
            read.append(number)
            yield number, number / 10, astronaut

    assert next(recognise.frames(camera(), model=released, batch_size=2)).number == 0 and read == [0, 1]
    monkeypatch.setattr(recognise, "MEMORY", 3 * astronaut.nbytes)
    read.clear()
    assert next(recognise.frames(camera(), 50, model=released)).number == 0 and read == [0, 1, 2]


def test_what_is_no_film_says_so(photos, clip, released):
    for path, error, sentence in (
        (photos / "notes.txt", ValueError, "notes.txt: cannot be read as a film"),
        (photos / "nothing.mp4", FileNotFoundError, "nothing.mp4: there is no such file"),
    ):
        with pytest.raises(error, match=sentence):
            list(recognise.film(path, model=released))
    for options, sentence in (({"every": 0}, "every=0: 1 or more"), ({"batch_size": 0}, "batch_size=0: 1 or more")):
        with pytest.raises(ValueError, match=sentence):
            list(recognise.film(clip, model=released, **options))


def test_cut_out_faces_are_not_looked_for(released, monkeypatch):
    monkeypatch.setattr(recognise, "detect", None)
    rng = np.random.default_rng(0)
    given = [rng.integers(0, 256, shape, np.uint8) for shape in ((70, 70), (48, 50, 3), (70, 70, 3), (70, 70, 3))]
    expected = released(given)
    assert np.abs(np.diff(expected, axis=0)).max(axis=1).min() > 1e-3
    named = recognise.faces(given, model=released)
    assert [face.box for face in named] == [(0, 0, 70, 70), (0, 0, 50, 48), (0, 0, 70, 70), (0, 0, 70, 70)]
    assert all(face.score is None for face in named)
    stack = np.stack(given[2:])
    cases = ((named, [0, 1, 2, 3]), (recognise.faces(given[1], model=released), [1]))
    ones = (given[2], tf.constant(given[2]), Image.fromarray(given[2]), [tf.constant(given[2])])
    cases += tuple((recognise.faces(one, model=released), [2]) for one in ones)
    cases += tuple(
        (recognise.faces(many, model=released), [2, 3]) for many in (stack, tf.constant(stack), tuple(given[2:]))
    )
    for answers, rows in cases:
        np.testing.assert_allclose(list(map(row, answers)), expected[rows], atol=1e-6)
    assert recognise.faces([], model=released) == []
    with pytest.raises(ValueError, match="uint8, uint16, bool or float, not int64"):
        recognise.faces([given[0], given[1].astype(int)], model=released)


def test_tensorflow_waits_for_the_first_model():
    code = (
        "import sys; from fer_tf import recognise\n"
        "try: recognise.photo('nowhere.png')\n"
        "except FileNotFoundError: print('tensorflow' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == "False", done.stderr
