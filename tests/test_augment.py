"""augment.py against SciPy, OpenCV, scikit-image and TensorFlow Addons, and the order of the view enumerations."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from fer_tf import augment
from fer_tf.augment import de_gan_views, ed2l_patches, ia_gen_views

ANGLES = (-15, -12, -9, -6, -3, 0, 3, 6, 9, 12, 15)
ENUMERATIONS = {"ia_gen": ia_gen_views, "de_gan": de_gan_views, "ed2l": ed2l_patches}
each_enumeration = pytest.mark.parametrize("views", ENUMERATIONS.values(), ids=ENUMERATIONS.keys())


def pictures(count: int, height: int, width: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """(N, H, W, C) uint8: blobs with fine noise on top, so that no two views look alike."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.random((count, height, width, channels)), (0, 5, 5, 0))
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return (200 * smooth + 55 * rng.random(smooth.shape)).astype(np.uint8)


def scipy_rotate(image: np.ndarray, degrees: float, mode: str = "reflect") -> np.ndarray:
    """(H, W, C) -> (H, W, C) float64."""
    return ndimage.rotate(image.astype(np.float64), degrees, axes=(1, 0), reshape=False, order=1, mode=mode)


def crop_by_hand(image: np.ndarray, which: int, height: int, width: int) -> np.ndarray:
    """Centre, top-left, top-right, bottom-left, bottom-right, written with negative slices."""
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return [
        image[top : top + height, left : left + width],
        image[:height, :width],
        image[:height, -width:],
        image[-height:, :width],
        image[-height:, -width:],
    ][which]


def view_by_hand(name: str, image: np.ndarray, index: int) -> np.ndarray:
    """One view of an (H, W, C) image from the documented index, with SciPy; float64."""
    if name == "ia_gen":
        rotation, crop, mirrored = np.unravel_index(index, (11, 5, 2))
        view = crop_by_hand(scipy_rotate(image, ANGLES[rotation]), crop, 64, 64)
    elif name == "de_gan":
        crop, rotation, mirrored = np.unravel_index(index, (5, 11, 2))
        view = scipy_rotate(crop_by_hand(image, crop, 96, 96), ANGLES[rotation])
    else:
        crop, mirrored = np.unravel_index(index, (5, 2))
        view = crop_by_hand(image, crop, 112, 96).astype(np.float64)
    return view[:, ::-1] if mirrored else view


@pytest.mark.parametrize("shape", [(70, 70), (48, 65)])
def test_rotate_equals_scipy(shape):
    images = pictures(3, *shape, channels=2) / np.float32(255)
    degrees = np.float32([17, -40, 3])
    reflected = augment.rotate(images, degrees).numpy()
    constant = augment.rotate(images, degrees, fill="constant").numpy()
    for image, angle, mirror, zero in zip(images, degrees, reflected, constant, strict=True):
        np.testing.assert_allclose(mirror, scipy_rotate(image, angle), atol=1e-4)
        np.testing.assert_allclose(zero, scipy_rotate(image, angle, "grid-constant"), atol=1e-4)
        inside = ndimage.rotate(np.ones(shape), angle, reshape=False, order=1, mode="grid-constant") > 1 - 1e-9
        assert 0.5 < inside.mean() < 1
        np.testing.assert_allclose(zero[inside], scipy_rotate(image, angle, "constant")[inside], atol=1e-4)


def test_rotate_turns_counter_clockwise_and_rounds_bytes():
    images = pictures(2, 33, 33)
    np.testing.assert_array_equal(augment.rotate(images, 90.0), np.rot90(images, axes=(1, 2)))
    exact = augment.rotate(images.astype(np.float32), 11.0).numpy()
    np.testing.assert_array_equal(augment.rotate(images, 11.0), np.round(exact).astype(np.uint8))


@pytest.mark.parametrize("fill", augment.FILLS)
def test_rotate_equals_tensorflow_addons(fill):
    tfa = pytest.importorskip("tensorflow_addons", reason="TensorFlow Addons is on the addons stack only")
    images = pictures(3, 70, 60, channels=3) / np.float32(255)
    degrees = np.float32([12, -15, 80])
    theirs = tfa.image.rotate(images, np.deg2rad(degrees), interpolation="bilinear", fill_mode=fill)
    np.testing.assert_allclose(augment.rotate(images, degrees, fill), theirs, atol=1e-5)


def test_affine_equals_scipy_and_refuses_other_fills():
    image = pictures(1, 40, 52)[0, :, :, 0] / np.float32(255)
    linear, shift = np.float32([[1.1, 0.2], [-0.3, 0.8]]), np.float32([2.5, -1.25])  # (x, y)
    ours = augment.affine(image[None, :, :, None], linear[None], shift[None]).numpy()[0, :, :, 0]
    matrix, centre = linear[::-1, ::-1].astype(np.float64), np.array([19.5, 25.5])  # (y, x)
    offset = centre + shift[::-1] - matrix @ centre
    theirs = ndimage.affine_transform(image.astype(np.float64), matrix, offset, order=1, mode="reflect")
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    with pytest.raises(ValueError, match="fill must be one of"):
        augment.affine(image[None, :, :, None], linear[None], shift[None], fill="nearest")


def test_random_affine_stays_within_its_ranges():
    """The parameters are recovered from pictures whose grey values are the coordinates themselves."""
    y, x = np.mgrid[:41, :61].astype(np.float32)
    images = np.repeat(np.stack([x - 30, y - 20], -1)[None], 200, axis=0)
    moved = augment.random_affine(images, (3, 4), degrees=10, scale=(0.8, 1.25), shift=0.1).numpy()
    shift = moved[:, 20, 30]
    linear = np.stack([moved[:, 20, 31] - shift, moved[:, 21, 30] - shift], -1)
    scale, angle = 1 / np.sqrt(np.linalg.det(linear)), np.rad2deg(np.arctan2(linear[:, 1, 0], linear[:, 0, 0]))
    for values, low, high in ((angle, -10, 10), (scale, 0.8, 1.25), (shift[:, 0], -6.1, 6.1), (shift[:, 1], -4.1, 4.1)):
        assert low - 1e-3 <= values.min() < low + 0.1 * (high - low)
        assert high + 1e-3 >= values.max() > high - 0.1 * (high - low)
        assert abs(values.mean() - (low + high) / 2) < 0.1 * (high - low)
    still = augment.random_affine(images, (3, 4), degrees=0, scale=(1, 1), shift=0)
    np.testing.assert_allclose(still, images, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_crops_and_flips(channels):
    images = pictures(2, 23, 30, channels)
    crops = augment.five_crops(images, (16, 21)).numpy()
    assert crops.shape == (2, 5, 16, 21, channels)
    for which in range(5):
        np.testing.assert_array_equal(crops[1, which], crop_by_hand(images[1], which, 16, 21))
    np.testing.assert_array_equal(augment.centre_crop(images, (16, 21)), crops[:, 0])
    mirrored = augment.flip(images).numpy()
    np.testing.assert_array_equal(mirrored, images[:, :, ::-1])
    np.testing.assert_array_equal(augment.flip(mirrored), images)
    with pytest.raises(ValueError, match="does not fit"):
        augment.five_crops(images, (24, 21))


def test_random_crop_takes_every_place():
    y, x = np.mgrid[:8, :10]
    images = np.repeat((10 * y + x).astype(np.uint8)[None, :, :, None], 400, axis=0)
    crops = augment.random_crop(images, (6, 7), (1, 2)).numpy()[..., 0]
    corners = crops[:, 0, 0].astype(int)
    np.testing.assert_array_equal(crops, corners[:, None, None] + (10 * y + x)[:6, :7])
    places, counts = np.unique(corners, return_counts=True)
    np.testing.assert_array_equal(places, [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23])
    assert counts.min() > 15 and counts.max() < 60  # 33 expected


def test_random_flip_and_intensity():
    images = pictures(400, 6, 6)
    mirrored = augment.random_flip(images, (5, 6)).numpy()
    is_mirrored = (mirrored == images[:, :, ::-1]).all((1, 2, 3))
    assert (is_mirrored | (mirrored == images).all((1, 2, 3))).all()
    assert 150 < is_mirrored.sum() < 250

    grey = np.full((400, 2, 2, 1), 0.5, np.float32)
    factors = augment.random_intensity(grey, (5, 6), 0.6, 1.4).numpy()[:, 0, 0, 0] / 0.5
    assert 0.6 <= factors.min() < 0.65 and 1.35 < factors.max() <= 1.4
    scaled = augment.scale_intensity(images[:2], [0.7, 1.9]).numpy()
    by_hand = np.round(np.minimum(images[:2] * np.float32([0.7, 1.9])[:, None, None, None], 255))
    np.testing.assert_array_equal(scaled, by_hand)


@pytest.mark.parametrize("name", ENUMERATIONS)
def test_order_of_the_views_equals_scipy(name):
    views = ENUMERATIONS[name]
    images = pictures(2, *views.source, seed=1)
    made = views(images).numpy()
    assert made.shape == (2, len(views), *views.size, 1) and made.dtype == np.uint8
    exact = views(images / np.float32(255)).numpy()
    rng = np.random.default_rng(2)
    for index in {0, 1, 2, 9, 10, 11, 21, 22, 50, 51, 109, *rng.integers(0, 110, 12)} & set(range(len(views))):
        by_hand = view_by_hand(name, images[1], int(index))
        np.testing.assert_allclose(exact[1, index], by_hand / 255, atol=1e-4)
        assert np.abs(made[1, index] - by_hand).max() < 0.5 + 255e-4


@each_enumeration
def test_views_are_distinct_and_come_in_mirrored_pairs(views):
    assert len(views) == (10 if views is ed2l_patches else 110)
    made = views(pictures(1, *views.source)).numpy()[0]
    assert len({view.tobytes() for view in made}) == len(views)
    np.testing.assert_array_equal(made[0::2], made[1::2, :, ::-1])


@each_enumeration
def test_bytes_equal_the_rounded_floats_for_every_batch_size(views):
    images = pictures(9, *views.source)
    made = views(images).numpy()
    np.testing.assert_array_equal(made, np.round(views(images.astype(np.float32)).numpy()))
    np.testing.assert_array_equal(made[4:5], views(images[4:5]))


@pytest.mark.parametrize("size", [(70, 70), (96, 96), (30, 41)])
def test_byte_mixes_are_exact_in_float32(size):
    """Whole multiples of 2**-16 that add up to one: no order of summation and no device can round them differently."""
    corner, weights = augment._rotation_tables(size, ANGLES)
    steps = weights.astype(np.float64) * 2**16
    np.testing.assert_array_equal(steps, np.round(steps))
    np.testing.assert_array_equal(steps.sum(1), 2.0**16)
    assert weights.min() >= 0 and corner.min() >= 0 and corner.max() + size[1] + 1 < size[0] * size[1]


@each_enumeration
@pytest.mark.parametrize("channels", [1, 3])
def test_sample_picks_from_all_views_and_treats_a_pair_alike(views, channels):
    images, targets = pictures(3, *views.source, channels), pictures(3, *views.source, channels, seed=7)
    indices = np.random.default_rng(3).integers(0, len(views), (3, 4))
    sampled, of_targets = views.sample((images, targets), indices)
    rows = np.arange(3)[:, None]
    np.testing.assert_array_equal(sampled, views(images).numpy()[rows, indices])
    np.testing.assert_array_equal(of_targets, views(targets).numpy()[rows, indices])
    if channels == 3:
        one = views.sample(images[..., 1:2], indices)
        np.testing.assert_array_equal(sampled[..., 1:2], one)


@each_enumeration
def test_factors_name_the_view_and_the_test_view_is_plain(views):
    images = pictures(2, *views.source)
    plain = augment.five_crops(images, views.size).numpy()[:, 0]
    np.testing.assert_array_equal(views.test_view(images), plain)
    rotation, crop, mirrored = views.factors(np.arange(len(views)))
    straight = [views.angles[turn] == 0 for turn in rotation]
    (index,) = np.flatnonzero(straight & (crop == augment.CROPS.index("centre")) & (mirrored == 0))
    np.testing.assert_array_equal(views(images).numpy()[:, index], plain)
    assert len(set(zip(rotation, crop, mirrored, strict=True))) == len(views)


@each_enumeration
def test_views_refuse_another_size(views):
    with pytest.raises(ValueError, match=rf"need images of shape \(N, {views.source[0]}, {views.source[1]}, C\)"):
        views(np.zeros((2, 64, 64, 1), np.uint8))


RANDOM = {
    "flip": augment.random_flip,
    "crop": lambda images, seed: augment.random_crop(images, (60, 60), seed),
    "intensity": augment.random_intensity,
    "affine": augment.random_affine,
    "views": lambda images, seed: ia_gen_views.sample(images, ia_gen_views.draw(seed, tf.shape(images)[0], 1)),
}


@pytest.mark.parametrize("name", RANDOM)
def test_a_seed_repeats_and_another_differs(name):
    change, images = RANDOM[name], np.repeat(pictures(1, 70, 70), 32, axis=0)
    seeds = augment.view_seed(1, 2, np.arange(32))
    for seed, other in (((1, 2), (1, 3)), (seeds, augment.view_seed(1, 3, np.arange(32)))):
        first = change(images, seed).numpy()
        np.testing.assert_array_equal(first, change(images, seed))
        assert (first != change(images, other).numpy()).any()
        assert len({picture.tobytes() for picture in first}) > 1
    few = change(images[:3], tf.gather(seeds, [20, 4, 9])).numpy()
    np.testing.assert_array_equal(few, change(images, seeds).numpy()[[20, 4, 9]])


def test_seeds_never_collide_and_purposes_are_independent():
    seeds = [augment.view_seed(s, e, np.arange(-2, 20)).numpy() for s in range(4) for e in range(5)]
    assert len(np.unique(np.concatenate(seeds), axis=0)) == 4 * 5 * 22
    assert augment.view_seed(1, 2, 3).shape == (2,)
    grey = np.full((300, 3, 4, 1), 0.5, np.float32)
    grey[:, :, 0] = 0.25
    brighter = augment.random_intensity(grey, (1, 1)).numpy()[:, 0, 1, 0] > 0.5
    mirrored = augment.random_flip(grey, (1, 1)).numpy()[:, 0, 0, 0] == 0.5
    assert 0.35 < (brighter == mirrored).mean() < 0.65


def test_drawn_views_are_uniform_and_different_within_an_image():
    drawn = ia_gen_views.draw((0, 1), 600, 11).numpy()
    assert drawn.shape == (600, 11) and all(len(set(row)) == 11 for row in drawn)
    counts = np.bincount(drawn.ravel(), minlength=110)
    assert len(counts) == 110 and counts.min() > 25 and counts.max() < 105  # 60 expected


def test_random_takes_the_turns_of_a_draw():
    images = pictures(5, 70, 70)
    seeds = augment.view_seed(3, 0, np.arange(5))
    turn = np.array([0, 1, 2, 1, 0])
    (made, again), indices = ia_gen_views.random((images, images), seeds, turn, 3)
    np.testing.assert_array_equal(indices, ia_gen_views.draw(seeds, 5, 3).numpy()[np.arange(5), turn])
    np.testing.assert_array_equal(made, ia_gen_views(images).numpy()[np.arange(5), indices])
    np.testing.assert_array_equal(made, again)


def everything(images: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
    parts = {name: change(images, seed) for name, change in RANDOM.items()}
    all_views = ia_gen_views(images)
    return parts | {"all": all_views, "clahe": augment.clahe(images), "rotate": augment.rotate(images, 5.0)}


@pytest.mark.parametrize("dtype", [np.uint8, pytest.param(np.float32, marks=pytest.mark.slow)])
def test_eager_equals_graph_and_map_with_an_unknown_batch(dtype):
    images = pictures(3, 70, 70).astype(dtype) / dtype(1 if dtype is np.uint8 else 255)
    images, seeds = images.astype(dtype), augment.view_seed(0, 0, np.arange(3))
    eager = everything(tf.constant(images), seeds)
    signature = [tf.TensorSpec((None, 70, 70, 1), dtype), tf.TensorSpec((None, 2), tf.int64)]
    graph = tf.function(everything, input_signature=signature)(images, seeds)
    data = tf.data.Dataset.from_tensor_slices((images, seeds)).batch(2).map(everything)
    mapped = list(data)
    for name, expected in eager.items():
        joined = np.concatenate([part[name].numpy() for part in mapped])
        assert expected.dtype == dtype and data.element_spec[name].shape[1:] == expected.shape[1:]
        np.testing.assert_allclose(graph[name], expected, atol=1e-6)
        np.testing.assert_allclose(joined, expected, atol=1e-6)
