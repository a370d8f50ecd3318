import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from fer_tf import faces

ASTRONAUT_EYES = ((204, 102), (247, 104))  # read off the photograph by eye

needs_model = pytest.mark.skipif(not faces.has_landmarks(), reason="the 68-point model (extra `landmarks`) is missing")


@pytest.fixture(scope="module")
def astronaut():
    data = pytest.importorskip("skimage.data", reason="scikit-image ships the photograph (public domain, NASA)")
    return data.astronaut()


@pytest.fixture
def no_model(monkeypatch):
    monkeypatch.setattr(faces, "_model_file", lambda name: None)


def resized(image, size):
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def encoded(picture, kind="PNG", **options):
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def random_picture(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth_picture(shape, sigma=3):
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=shape), sigma)
    return np.uint8(255 * (noise - noise.min()) / np.ptp(noise))


# Detection


def contains_eyes(face, scale=1.0, shift=(0, 0)):
    left, top, right, bottom = face.box
    return all(
        left < x * scale + shift[0] < right and top < y * scale + shift[1] < (top + bottom) / 2
        for x, y in ASTRONAUT_EYES
    )


@pytest.mark.parametrize(
    "size",
    [(1000, 750), (1008, 756), (1024, 768), (816, 612), (2500, 250), (270, 5000)],
    ids=lambda s: "x".join(map(str, s)),
)
def test_a_small_face_is_found_in_a_picture_of_any_size(astronaut, monkeypatch, size):
    """A quarter of what phones, panoramas and screenshots have, and of the copies in which faces are looked for."""
    monkeypatch.setattr(faces, "COARSE", 256)
    monkeypatch.setattr(faces, "SMALLEST", 64)
    face = resized(astronaut[20:220, 120:320], (200, 200))  # the face in it has about 100
    canvas = np.full((size[1], size[0], 3), 128, np.uint8)
    x, y = size[0] // 2 - 100, size[1] // 2 - 100
    canvas[y : y + 200, x : x + 200] = face
    (found,) = faces.detect(canvas)
    assert contains_eyes(found, shift=(x - 120, y - 20)) and 80 < found.box[2] - found.box[0] < 120


def test_a_huge_picture_is_looked_through_in_a_copy(astronaut, monkeypatch):
    """Of `WHOLE` pixels: the face of 104 pixels has 52 there, too few; in four times as many it has all."""
    monkeypatch.setattr(faces, "COARSE", 128)
    monkeypatch.setattr(faces, "SMALLEST", 64)
    canvas = np.full((800, 1000, 3), 128, np.uint8)
    canvas[300:500, 300:500] = astronaut[20:220, 120:320]
    monkeypatch.setattr(faces, "WHOLE", 200_000)
    assert faces.detect(canvas) == []
    monkeypatch.setattr(faces, "WHOLE", 790_000)
    (found,) = faces.detect(canvas)
    assert contains_eyes(found, shift=(180, 280))  # in pixels of the picture, not of the copy


def test_detects_one_face_whatever_the_channels(astronaut):
    (face,) = faces.detect(astronaut, all=True)
    assert face.score > 1 and contains_eyes(face)
    assert faces.detect(astronaut) == [face]
    grey = np.asarray(Image.fromarray(astronaut).convert("L"))
    (flat,) = faces.detect(grey)
    assert contains_eyes(flat) and faces.detect(grey[:, :, None]) == [flat]
    with pytest.raises(ValueError, match="uint8"):
        faces.detect(astronaut / 255)


def test_tiny_and_huge_pictures(astronaut):
    tiny = resized(astronaut[60:200, 150:290], (48, 48))
    (face,) = faces.detect(tiny)
    assert contains_eyes(face, 48 / 140, (-150 * 48 / 140, -60 * 48 / 140))
    (face,) = faces.detect(resized(astronaut, (4096, 4096)))
    assert contains_eyes(face, 8) and 8 * 70 < face.box[2] - face.box[0] < 8 * 115
    canvas = np.full((2400, 3200, 3), 128, np.uint8)  # a face of 88 pixels is 28 in the first copy
    canvas[1500:2012, 2000:2512] = astronaut
    assert contains_eyes(faces.detect(canvas)[0], 1, (2000, 1500))
    small = resized(astronaut, (256, 256))  # a face of 44
    assert faces.detect(small, upsample=0) == [] and contains_eyes(faces.detect(small, upsample=1)[0], 0.5)
    assert faces.detect(random_picture((1, 1))) == [] and faces.detect(random_picture((2, 90))) == []


def test_a_face_that_fills_the_picture(astronaut):
    tight = resized(astronaut[92:166, 186:260], (128, 128))  # from the brows to the mouth
    assert not any(faces.detect(tight, upsample=n) for n in (0, 1, 2))
    (face,) = faces.detect(tight)
    assert contains_eyes(face, 128 / 74, (-186 * 128 / 74, -92 * 128 / 74))


def test_largest_first_and_none(astronaut):
    pair = np.full((600, 900, 3), 128, np.uint8)
    pair[:300, :300] = astronaut[:300, 80:380]
    pair[50:500, 400:850] = resized(astronaut[:300, 80:380], (450, 450))
    large, small = faces.detect(pair, all=True)
    assert contains_eyes(large, 1.5, (400 - 120, 50)) and contains_eyes(small, 1, (-80, 0))
    assert faces.detect(pair) == [large]
    blank = np.full((200, 300, 3), 90, np.uint8)
    assert faces.detect(blank) == [] and faces.detect(blank, all=True) == []
    with pytest.raises(faces.FaceNotFound, match="300 x 200"):
        faces.align(blank, "ia_gen")


# Landmarks and embedding


@needs_model
def test_landmarks_find_the_eyes_at_every_size(astronaut):
    (face,) = faces.detect(astronaut)
    points = faces.landmarks(astronaut, face)
    assert points.shape == (68, 2) and points.dtype == np.float32
    np.testing.assert_allclose(faces.five_points(points)[:2], ASTRONAUT_EYES, atol=2)
    for scale in (0.35, 3):
        other = faces.landmarks(resized(astronaut, (round(512 * scale),) * 2), np.multiply(face.box, scale))
        assert np.linalg.norm(other / scale - points, axis=1).mean() < 2


@needs_model
def test_embedding_knows_the_person(astronaut):
    small = resized(astronaut, (300, 300))
    whole, mirrored = faces.embedding(astronaut), faces.embedding(np.ascontiguousarray(small[:, ::-1]))
    assert whole.shape == (128,) and whole.dtype == np.float32
    assert np.linalg.norm(whole - mirrored) < 0.35
    grey = np.asarray(Image.fromarray(astronaut).convert("L"))
    assert np.linalg.norm(whole - faces.embedding(grey, box=faces.detect(astronaut)[0])) < 0.35
    upside_down = np.ascontiguousarray(astronaut[::-1])
    wrong = faces.landmarks(upside_down, faces.detect(astronaut)[0])  # a chest, not a face
    assert np.linalg.norm(whole - faces.embedding(upside_down, wrong)) > 0.6


def test_without_the_model(astronaut, no_model):
    faces._recogniser.cache_clear()
    assert not faces.has_landmarks() and faces.landmarks(astronaut, (0, 0, 90, 90)) is None
    with pytest.raises(ModuleNotFoundError, match=r"fer-tf\[landmarks\]"):
        faces.embedding(astronaut)


# Alignment


def umeyama(source, target):
    """Umeyama 1991 by singular value decomposition, as printed."""
    mean_s, mean_t = source.mean(0), target.mean(0)
    u, d, vt = np.linalg.svd((target - mean_t).T @ (source - mean_s) / len(source))
    s = np.diag([1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    scale = np.trace(np.diag(d) @ s) / ((source - mean_s) ** 2).sum(1).mean()
    rotation = u @ s @ vt
    return np.column_stack([scale * rotation, mean_t - scale * rotation @ mean_s])


def test_similarity_is_umeyamas():
    rng = np.random.default_rng(0)
    for _ in range(20):
        source, target = rng.normal(size=(2, 5, 2)) * 30
        np.testing.assert_allclose(faces.similarity(source, target), umeyama(source, target), atol=1e-9)
    with pytest.raises(ValueError, match="one place"):
        faces.similarity(np.ones((5, 2)), target)


def test_templates_share_fer2013s_framing():
    sizes = {name: template.size for name, template in faces.TEMPLATES.items()}
    assert sizes == dict(ia_gen=(70, 70), de_gan=(110, 110), ed2l=(128, 110), gcnet=(66, 66), cycle_at=(256, 256))
    unit = np.array(faces.TEMPLATES["ia_gen"].points) / 70
    for template in faces.TEMPLATES.values():
        height, width = template.size
        points = np.array(template.points)
        np.testing.assert_allclose((points - (width / 2, height / 2)) / np.sqrt(width * height) + 0.5, unit, atol=1e-12)
        mirrored = points[[1, 0, 2, 4, 3]] * (-1, 1) + (width, 0)
        np.testing.assert_allclose(points, mirrored, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "scale", "degrees"),
    [(name, *turn) for name in faces.TEMPLATES for turn in [(0.4, 20), (1.0, -8), (3.3, 35)]] + [("gcnet", 13.0, -20)],
)
def test_points_land_on_the_template(name, scale, degrees):
    """White discs at turned, scaled and shifted template points come to lie on the template's points."""
    template = faces.TEMPLATES[name]
    angle = np.radians(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = np.array(template.points) @ turn.T
    margin = int(10 + 20 * scale)  # the discs' mirror images stay outside
    points += margin + 0.3 - points.min(axis=0)
    width, height = np.ceil(points.max(axis=0)).astype(int) + margin
    y, x = np.mgrid[:height, :width] + 0.5
    sigma = max(1.2, scale * 1.5)
    for i, (px, py) in enumerate(template.points):
        blob = np.exp(-((x - points[i, 0]) ** 2 + (y - points[i, 1]) ** 2) / (2 * sigma**2))
        aligned = faces.align(np.uint8(np.round(255 * blob)), name, landmarks=points).astype(float)
        assert aligned.shape == template.size
        v, u = np.mgrid[: template.size[0], : template.size[1]] + 0.5
        near = aligned * ((u - px) ** 2 + (v - py) ** 2 < (5 + 4 * sigma / scale) ** 2)
        centre = np.array([(u * near).sum(), (v * near).sum()]) / near.sum()
        np.testing.assert_allclose(centre, (px, py), atol=0.15)


def test_resampling_equals_scipys_and_mirrors_at_the_edges():
    image = smooth_picture((60, 80), sigma=5)
    template = faces.TEMPLATES["ia_gen"]
    matrix = np.array([[1.3, 0.4], [-0.4, 1.3]])  # picture to template
    points = (np.array(template.points) - (35, 35)) @ np.linalg.inv(matrix).T + (62, 20)  # reaches outside on two sides
    aligned = faces.align(image, "ia_gen", landmarks=points)
    v, u = np.mgrid[:70, :70] + 0.5
    xy = np.stack([u - 35, v - 35], -1) @ np.linalg.inv(matrix).T + (62, 20) - 0.5
    assert xy[..., 0].max() > 80 and xy[..., 1].min() < -5
    reference = ndimage.map_coordinates(image.astype(float), [xy[..., 1], xy[..., 0]], order=3, mode="reflect")
    error = aligned - (reference - 0.5)  # Pillow cuts fractions off; SciPy's splines are not Keys' cubic
    assert np.abs(error).max() <= 3 and np.abs(error).mean() < 0.6 and abs(error.mean()) < 0.1
    colour = np.stack([image, image[::-1], image[:, ::-1]], axis=2)
    np.testing.assert_array_equal(faces.align(colour, "ia_gen", landmarks=points)[:, :, 0], aligned)
    np.testing.assert_array_equal(faces.align(image[:, :, None], "ia_gen", landmarks=points)[:, :, 0], aligned)


@pytest.mark.parametrize("shrink", [2, 3.7, 11, 24])
def test_shrinking_averages(shrink):
    """A pattern finer than the template's pixels becomes its mean instead of moire; a coarse one keeps its values."""
    side = int(70 * shrink)
    y, x = np.mgrid[:side, :side]
    points = np.array(faces.TEMPLATES["ia_gen"].points) * side / 70
    checks = np.uint8(255 * ((x + y) % 2))
    inner = faces.align(checks, "ia_gen", landmarks=points)[3:-3, 3:-3]
    assert np.abs(inner.astype(float) - 127.5).max() < 12
    coarse = smooth_picture((70, 70))
    large = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))
    assert np.abs(faces.align(large, "ia_gen", landmarks=points).astype(float) - coarse)[3:-3, 3:-3].mean() < 3


def test_align_states_what_is_wrong(astronaut):
    with pytest.raises(ValueError, match="choose from ia_gen"):
        faces.align(astronaut, "ia-gen")
    for points in (np.zeros((7, 2)), np.full((68, 2), np.nan), np.zeros((68, 3))):
        with pytest.raises(ValueError, match="landmarks are"):
            faces.align(astronaut, "ia_gen", landmarks=points)
    with pytest.raises(ValueError, match="empty"):
        faces.align(astronaut, "ia_gen", box=(10, 10, 10, 20))
    with pytest.raises(ValueError, match="do not fit"):
        faces.align(astronaut, "ia_gen", box=(0, 0, 1e7, 1e7), use_landmarks=False)


@needs_model
def test_align_by_landmarks_on_a_photograph(astronaut):
    """The five points found again in the aligned picture lie where least squares puts them, near the template's."""
    template, face = faces.TEMPLATES["cycle_at"], faces.detect(astronaut)[0]
    points = faces.five_points(faces.landmarks(astronaut, face))
    aligned = faces.align(astronaut, template)
    np.testing.assert_array_equal(aligned, faces.align(astronaut, "cycle_at", box=face))
    matrix = umeyama(points, np.array(template.points))
    expected = points @ matrix[:, :2].T + matrix[:, 2]
    again = faces.five_points(faces.landmarks(aligned, faces.detect(aligned)[0]))
    error = np.linalg.norm(again - expected, axis=1)
    assert error[:3].max() < 2 and error[3:].max() < 10  # the model is less sure of a smile's corners
    assert np.linalg.norm(expected - template.points, axis=1).mean() < 0.06 * 256  # a broad smile is not the mean face
    turned = np.asarray(Image.fromarray(astronaut).rotate(14, Image.Resampling.BICUBIC, center=(225, 125)))
    upright = faces.align(turned, template)
    assert np.abs(upright.astype(float) - aligned)[32:-32, 32:-32].mean() < 12


@needs_model
def test_the_box_alone_frames_much_the_same(astronaut, monkeypatch):
    template, similarity, calls = faces.TEMPLATES["ia_gen"], faces.similarity, []
    monkeypatch.setattr(faces, "similarity", lambda *args: calls.append(similarity(*args)) or calls[-1])
    by_landmarks = faces.align(astronaut, template)
    by_box = faces.align(astronaut, template, use_landmarks=False)
    assert by_landmarks.shape == by_box.shape and (by_landmarks != by_box).any()
    points = faces.five_points(faces.landmarks(astronaut, faces.detect(astronaut)[0]))
    landed = [points @ matrix[:, :2].T + matrix[:, 2] for matrix in calls]
    assert np.linalg.norm(landed[0] - landed[1], axis=1).mean() < 5  # of 70; a smile lifts the mouth, no box
    monkeypatch.setattr(faces, "_model_file", lambda name: None)
    np.testing.assert_array_equal(faces.align(astronaut, template), by_box)


def test_threads_find_what_one_thread_finds(astronaut):
    """dlib's detector keeps scratch memory: shared by threads, it mixed the pictures up."""
    photo = astronaut[:300, 60:400]
    pictures = [np.ascontiguousarray(np.roll(photo, 3 * i, axis=1)) for i in range(12)]
    alone = [faces.detect(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(faces.detect, pictures * 3)) == alone * 3
