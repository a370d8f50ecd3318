"""fer_tf.step_views against NumPy: each view by hand, that labels follow pictures, and how often each is drawn."""

import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fer_tf import step_views, warp

STILL = dict.fromkeys(("degrees", "zoom", "shift", "light", "coarse", "noise", "erase", "mixup", "cutmix"), 0.0)
NOTHING = np.full(step_views.NUMBERS, 0.5, np.float32)
"""Numbers that leave a face as it is, in its first 15 places."""


def views(**options):
    """A built layer that does what is given and nothing else."""
    made = step_views.StepViews(**{**STILL, **options}, name="views")
    made.build(None)
    return made


def numbers(count, **places):
    """What `draw` gives, all 0.5 but the given places, such as u3=[...]."""
    made = np.tile(NOTHING, (count, 1))
    for name, values in places.items():
        made[:, int(name[1:])] = values
    return {"numbers": tf.constant(made), "seed": tf.constant([1, 2])}


def smooth(count, side=16, seed=0):
    """(N, side, side, 1) float32 in [0.1, 0.9], no two alike and none symmetric."""
    coarse = np.random.default_rng(seed).uniform(0.1, 0.9, (count, 5, 5)).astype(np.float32)
    rows = np.clip(warp.resizing(5, side) @ coarse @ warp.resizing(5, side).T, 0.1, 0.9)
    return rows[..., None].astype(np.float32)


def bilinear(face, x, y):
    """A picture (H, W) at (x, y), which is mirrored into it as np.pad's "symmetric" does."""
    height, width = face.shape
    big = np.pad(face.astype(np.float64), ((height, height), (width, width)), "symmetric")
    x, y = x + width, y + height
    left, top = math.floor(x), math.floor(y)
    a, b = x - left, y - top
    upper = (1 - a) * big[top, left] + a * big[top, left + 1]
    return (1 - b) * upper + b * ((1 - a) * big[top + 1, left] + a * big[top + 1, left + 1])


def seen(face, *, angle=0.0, across=1.0, down=1.0, move=(0.0, 0.0)):
    """A picture (H, W) turned counter-clockwise by radians: output offset o comes from turn @ (across, down) * o."""
    height, width = face.shape
    middle, out = np.array([(width - 1) / 2, (height - 1) / 2]), np.zeros((height, width))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    for row in range(height):
        for column in range(width):
            offset = turn @ (np.array([across, down]) * (np.array([column, row]) - middle))
            out[row, column] = bilinear(face, *(middle + offset + np.array(move)))
    return out


def test_as_they_are_where_nothing_is_drawn():
    """At 0.5 everything stands still; below it in place 5 the face is mirrored, and only that."""
    faces = smooth(2)
    shown = views(degrees=40.0, zoom=0.5, shift=0.3, light=1.0, coarse=0.5, erase=0.5).show(faces, numbers(2))
    np.testing.assert_allclose(shown, faces, atol=1e-5)
    mirrored = views().show(faces, numbers(2, u5=[0.49, 0.5])).numpy()
    np.testing.assert_allclose(mirrored[0], faces[0, :, ::-1], atol=1e-5)
    np.testing.assert_allclose(mirrored[1], faces[1], atol=1e-5)


@pytest.mark.parametrize("mirror", [False, True])
def test_turned_sized_moved_and_mirrored_as_bilinear_by_hand(mirror):
    """v = 2u - 1 counts as v sqrt|v|: small changes are likelier."""
    face, u = smooth(1, 14)[0, ..., 0], np.array([0.9, 0.2, 0.85, 0.1, 0.95])
    v = (2 * u - 1) * np.sqrt(np.abs(2 * u - 1))
    magnify, aspect = 1.3 ** v[1], 1.3 ** (0.4 * v[2])
    wanted = seen(
        face, angle=np.radians(30) * v[0], across=(-1 if mirror else 1) / (magnify * aspect), down=aspect / magnify,
        move=0.2 * 14 * v[3:5],
    )  # fmt: skip
    made = views(degrees=30.0, zoom=0.3, shift=0.2)
    drawn = numbers(1, u0=u[0], u1=u[1], u2=u[2], u3=u[3], u4=u[4], u5=0.2 if mirror else 0.8)
    np.testing.assert_allclose(made.show(face[None, ..., None], drawn)[0, ..., 0], wanted, atol=2e-5)
    assert np.abs(wanted - face).max() > 0.2


@pytest.mark.parametrize("side", [15, 16])
def test_turned_counter_clockwise(side):
    """By a quarter, of an even and an odd side: np.rot90, in all pixels."""
    faces = smooth(1, side)
    shown = views(degrees=90.0).show(faces, numbers(1, u0=1.0))
    np.testing.assert_allclose(shown[0], np.rot90(faces[0]), atol=1e-4)


def test_a_face_is_larger_where_it_is_magnified():
    """At 1 in place 1 seven pixels are spread over fourteen; by place 2 they are wider, and less high: by 2^0.4."""
    face = np.zeros((1, 33, 33, 1), np.float32)
    face[0, 13:20, 13:20] = 1
    drawn = [numbers(1, **{place: 1.0}) for place in ("u1", "u2")]
    larger, wider = (views(zoom=1.0).show(face, d).numpy()[0, ..., 0] > 0.499 for d in drawn)
    assert larger.sum() == 15**2 - 4 and larger[16].sum() == larger[:, 16].sum() == 15  # a half at edges, not corners
    assert (wider[16].sum(), wider[:, 16].sum()) == (9, 5)


@pytest.mark.parametrize("length", [2, 7, 48])
def test_coordinates_are_mirrored_at_the_edges(length):
    places = np.linspace(-length + 0.25, 2 * length - 1.25, 200).astype(np.float32)
    line = np.arange(length, dtype=np.float64)
    big = np.pad(line, length, "symmetric")
    wanted = np.interp(places + length, np.arange(3 * length), big)
    np.testing.assert_allclose(step_views.folded(tf.constant(places), length), wanted, atol=1e-4)


def test_sampled_is_warp_by_other_arithmetic():
    rng = np.random.default_rng(0)
    faces, linear = smooth(8, 20), rng.normal(0, 0.4, (8, 2, 2)).astype(np.float32) + np.eye(2, dtype=np.float32)
    rows = warp.warp_rows(tf.constant(linear), tf.constant(rng.normal(0, 3, (8, 2)), tf.float32), tf.constant([20, 20]))
    np.testing.assert_allclose(step_views.sampled(faces, rows), warp.warp(faces, rows), atol=2e-5)
    oblong = faces[:, :12]
    rows = warp.warp_rows(tf.constant(linear), tf.zeros((8, 2)), tf.constant([12, 20]))
    np.testing.assert_allclose(step_views.sampled(oblong, rows), warp.warp(oblong, rows), atol=2e-5)


def test_low_resolution_by_pillow():
    """Place 7 says whether, place 8 which of the six sides."""
    side, sizes = 40, step_views.SIDES
    faces = np.random.default_rng(1).uniform(0.2, 0.8, (8, side, side, 1)).astype(np.float32)
    which = [*((i + 0.5) / 6 for i in range(6)), 0.0, 0.999]
    shown = views(coarse=0.3).show(faces, numbers(8, u7=[0.29] * 8, u8=which)).numpy()
    for face, found, size in zip(faces, shown, [*sizes, sizes[0], sizes[-1]], strict=True):
        small = Image.fromarray(face[..., 0], "F").resize((size, size), Image.Resampling.BICUBIC)
        wanted = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC))
        np.testing.assert_allclose(found[..., 0], np.clip(wanted, 1e-4, 1), atol=2e-5)
    np.testing.assert_allclose(views(coarse=0.3).show(faces, numbers(8, u7=[0.31] * 8, u8=which)), faces, atol=1e-5)
    tiny = smooth(2, 12)  # smaller than all: as it is
    np.testing.assert_allclose(views(coarse=1.0).show(tiny, numbers(2, u7=0.0)), tiny, atol=1e-5)


def test_light_by_hand():
    """Contrast, brightness, a ramp, then gamma; in that order."""
    faces, u = smooth(3), np.array([[1, 0.5, 0.5, 0.5, 0.5], [0.5, 0, 0.5, 0.5, 0.5], [0.2, 0.7, 0.9, 0.1, 0.8]])
    drawn = numbers(3, **{f"u{9 + i}": u[:, i] for i in range(5)})
    shown = views(light=0.6).show(faces, drawn)
    across = np.linspace(-1, 1, 16)[None, :, None]
    for i, found in enumerate(shown):
        contrast, bright, gamma, x, y = 0.6 * (2 * u[i] - 1)
        wanted = (faces[i].astype(np.float64) - 0.5) * (1 + 0.3 * contrast) + 0.5 + 0.15 * bright
        wanted *= 1 + 0.35 * x * across + 0.35 * y * across.transpose(1, 0, 2)
        np.testing.assert_allclose(found, np.clip(wanted, 1e-4, 1) ** np.exp(0.35 * gamma), atol=1e-5)
    dark, bright = views(light=1.0).show(tf.constant([[[[0.25]] * 2] * 2] * 2), numbers(2, u11=[1.0, 0.0])).numpy()
    np.testing.assert_allclose([dark[0, 0, 0], bright[0, 0, 0]], [0.25**1.419, 0.25**0.7047], atol=1e-4)


def test_grain():
    """Of the standard deviation noise u^2, uniform, and another one for each face, pixel and seed."""
    faces = np.full((4, 48, 48, 1), 0.5, np.float32)
    made, drawn = views(noise=0.04), numbers(4, u14=[1.0, 0.5, 0.0, 1.0])
    grain = made.show(faces, drawn).numpy() - 0.5
    np.testing.assert_allclose(grain.std((1, 2, 3)), [0.04, 0.01, 0, 0.04], rtol=0.04, atol=1e-6)
    np.testing.assert_allclose(grain.mean((1, 2, 3)), 0, atol=2.5e-3)
    assert abs(grain).max() <= 0.04 * math.sqrt(3) and abs(np.corrcoef(grain[0].ravel(), grain[3].ravel())[0, 1]) < 0.08
    other = made.show(faces, {**drawn, "seed": tf.constant([1, 3])}).numpy() - 0.5
    assert abs(np.corrcoef(grain[0].ravel(), other[0].ravel())[0, 1]) < 0.08


def inside(side, x, y, across, down):
    """The pixels of a rectangle by their centres: (side, side) bool."""
    centres = (np.arange(side) + 0.5) / side
    return (abs(centres - y) < down / 2)[:, None] & (abs(centres - x) < across / 2)[None]


def test_erasing():
    """Place 6 says whether, 15 and 16 where, 17 and 18 how large, 19 how bright; over everything else."""
    faces = smooth(3, 20)
    places = {"u15": [0.4, 0.11, 0.4], "u16": [0.7, 0.6, 0.7], "u17": [0.0, 1.0, 0.0], "u18": [0.5, 0.2, 0.5]}
    drawn = numbers(3, u6=[0.1, 0.39, 0.4], u19=[0.123, 0.9, 0.5], **places)
    shown = views(erase=0.4).show(faces, drawn).numpy()
    for i, (found, face) in enumerate(zip(shown, faces, strict=True)):
        x, y, across, down = (places[f"u{p}"][i] for p in (15, 16, 17, 18))
        mask = inside(20, x, y, 0.15 + 0.3 * across, 0.15 + 0.3 * down) & (i < 2)
        wanted = np.where(mask[..., None], [0.123, 0.9, 0.5][i], face)
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert inside(20, 0.4, 0.7, 0.15, 0.3).sum() == 3 * 6


def test_mixup_and_its_targets():
    """Where place 20 is below `mixup` the face and the one from the other end share, as `mixed` says of the targets."""
    inputs, targets = smooth(5) - 0.4, np.random.default_rng(2).uniform(0, 1, (5, 3)).astype(np.float32)
    made = views(mixup=0.5, alpha=0.4)
    drawn = numbers(5, u20=[0.1, 0.6, 0.49, 0.5, 0.0], u21=[0.3, 0.1, 0.6, 0.2, 0.999])
    shown, share = made.mix(tf.constant(inputs), drawn)
    table = made._shares
    wanted = [table[int(0.3 * 4096)], 1, table[int(0.6 * 4096)], 1, table[int(0.999 * 4096)]]
    np.testing.assert_allclose(share, wanted, rtol=1e-6)
    assert 0.5 < wanted[0] < 0.99 and wanted[2] != wanted[0]
    for i in range(5):
        np.testing.assert_allclose(shown[i], wanted[i] * inputs[i] + (1 - wanted[i]) * inputs[4 - i], atol=1e-6)
        mixture = wanted[i] * targets[i] + (1 - wanted[i]) * targets[4 - i]
        np.testing.assert_allclose(step_views.mixed(targets, share)[i], mixture, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.4, 2.0])
def test_shares_of_mixup_are_the_larger_ones_of_a_beta_distribution(alpha):
    """The own face has at least a half; quantiles of max(x, 1 - x) by another, larger sample."""
    table = views(mixup=0.5, alpha=alpha)._shares
    drawn = np.random.default_rng(5).beta(alpha, alpha, 200_000)
    quantiles = np.quantile(np.maximum(drawn, 1 - drawn), [0.1, 0.3, 0.5, 0.7, 0.9])
    np.testing.assert_allclose(np.quantile(table, [0.1, 0.3, 0.5, 0.7, 0.9]), quantiles, atol=0.02)
    assert table.min() >= 0.5 and (np.diff(table) >= 0).all() and table.shape == (4096,)


def test_cutmix_and_its_targets():
    """A rectangle of the other face, and as much of its target as its pixels are; outside of the picture it is cut."""
    inputs, made = smooth(4, 20), views(mixup=0.2, cutmix=0.5)
    places = {"u21": [0.9, 0.0, 0.5, 0.0], "u22": [0.5, 0.0, 0.3, 0.1], "u23": [0.6, 0.1, 0.3, 0.2]}
    shown, share = made.mix(tf.constant(inputs), numbers(4, u20=[0.2, 0.69, 0.7, 0.3], **places))
    for i in range(4):
        size, x, y = (places[name][i] for name in ("u21", "u22", "u23"))
        mask = inside(20, x, y, *[math.sqrt(0.1 + 0.35 * size)] * 2) & (i != 2)
        np.testing.assert_array_equal(shown[i], np.where(mask[..., None], inputs[3 - i], inputs[i]))
        assert float(share[i]) == pytest.approx(1 - mask.mean(), abs=1e-6)
    assert 0.55 < float(share[0]) < 0.65 and float(share[1]) > 0.9 and float(share[2]) == 1


def test_how_often_each_is_drawn():
    made = views(coarse=0.15, erase=0.3, mixup=0.4, cutmix=0.1, seed=3)
    u = made.draw(20_000)["numbers"].numpy()
    assert u.shape == (20_000, 24) and u.min() >= 0 and u.max() < 1
    inputs = np.zeros((20_000, 4, 4, 1), np.float32)
    inputs[:10_000] = 1
    shown, share = (np.array(v) for v in made.mix(tf.constant(inputs), {"numbers": tf.constant(u), "seed": None}))
    flat = shown.reshape(len(shown), -1)
    own = np.where(np.arange(20_000) < 10_000, flat.mean(1), 1 - flat.mean(1))
    np.testing.assert_allclose(own, share, atol=1e-5)  # what is seen of the own face is what its target has
    blended = np.any((flat > 1e-6) & (flat < 1 - 1e-6), 1)
    cut = ~blended & (share < 1)
    assert blended.mean() == pytest.approx(0.4, abs=0.015) and cut.mean() == pytest.approx(0.1, abs=0.015)
    faces = tf.constant(smooth(1, 16).repeat(2_000, 0))
    coarse = np.abs(made.reduced(faces, u[:2_000, 7], u[:2_000, 8]) - faces)
    assert (coarse.max((1, 2, 3)) > 1e-3).mean() == pytest.approx(0.15, abs=0.03)


def test_the_same_seed_and_step_draw_the_same():
    """The count of steps goes on by one with each draw, and a checkpoint takes it up again."""
    one, two, other = views(seed=7), views(seed=7), views(seed=8)
    first, second = (one.draw(3)["numbers"].numpy() for _ in range(2))
    np.testing.assert_array_equal(first, two.draw(3)["numbers"])
    np.testing.assert_array_equal(second, two.draw(3)["numbers"])
    assert not np.array_equal(first, second) and not np.array_equal(first, other.draw(3)["numbers"])
    two.seed_step.assign(1)
    np.testing.assert_array_equal(second, two.draw(3)["numbers"])


def test_xla_shows_the_same():
    made = step_views.StepViews(seed=2, mixup=0.4, cutmix=0.4, name="views")
    made.build(None)
    faces, drawn = smooth(6), {**made.draw(6)}

    def both(faces):
        shown = made.show(faces, drawn)
        return (shown, *made.mix(shown, drawn))

    for a, b in zip(both(tf.constant(faces)), tf.function(both, jit_compile=True)(tf.constant(faces)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_shares_above_one_are_refused_and_a_config_makes_the_same_layer():
    with pytest.raises(ValueError, match=r"mixup 0.7 and cutmix 0.4 have to add up to at most 1"):
        views(mixup=0.7, cutmix=0.4)
    made = step_views.StepViews(degrees=1.0, zoom=0.02, shift=0.03, light=0.4, coarse=0.5, noise=0.06, erase=0.7,
                                mixup=0.08, cutmix=0.09, alpha=1.1, seed=12)  # fmt: skip
    config = made.get_config()
    assert step_views.StepViews.from_config(config).get_config() == config
    assert {k: config[k] for k in ("degrees", "alpha", "seed", "cutmix")} == {
        "degrees": 1.0, "alpha": 1.1, "seed": 12, "cutmix": 0.09,
    }  # fmt: skip
