"""fer_tf.figures: what is drawn is what was given, and no label is cut off or covers another."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image
from scipy.ndimage import map_coordinates

from fer_tf import figures
from fer_tf.records import EXPRESSIONS


def painted(fig: Figure, path) -> np.ndarray:
    """The saved picture, (H, W, 3) uint8."""
    return np.asarray(Image.open(figures.save(fig, path)).convert("RGB"))


def boxes(fig: Figure, texts) -> list:
    fig.draw_without_rendering()
    return [text.get_window_extent() for text in texts if text.get_text()]


def all_texts(fig: Figure) -> list:
    axes = [axis for panel in fig.axes for axis in (panel.xaxis, panel.yaxis)]
    ticks = [tick for axis in axes for tick in axis.get_ticklabels()]
    return [*ticks, *(axis.label for axis in axes), *(panel.title for panel in fig.axes)]


def contains(picture: np.ndarray, patch: np.ndarray) -> bool:
    """Whether a patch occurs somewhere in the picture, pixel for pixel."""
    height, width = patch.shape[:2]
    starts = np.argwhere((picture[: -height + 1, : -width + 1] == patch[0, 0]).all(-1))
    return any((picture[y : y + height, x : x + width] == patch).all() for y, x in starts)


def test_grid_shows_every_picture_unchanged(tmp_path):
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (24, 20, 3), np.uint8)
    grey = rng.integers(0, 256, (24, 20), np.uint8)
    fig = figures.grid([[colour, None, grey], [grey[..., None] / 255.0]], ("faces", "more"), ("a", "b", "c"), cell=20)
    picture = painted(fig, tmp_path / "new" / "grid.png")
    assert contains(picture, colour)
    assert contains(picture, np.repeat(grey[..., None], 3, -1))
    array = canvas(fig)
    np.testing.assert_allclose(array[:24, 44:64], np.repeat(grey[..., None], 3, -1) / 255, atol=1e-6)
    np.testing.assert_allclose(array[26:, :20], array[:24, 44:64], atol=1e-6)
    assert (array[:, 22:42] == 1).all()  # the blank cell and the short row
    assert (array[26:, 22:] == 1).all()
    assert not list((tmp_path / "new").glob(".*"))


def canvas(fig: Figure) -> np.ndarray:
    return np.asarray(fig.axes[0].images[0].get_array())


@pytest.mark.parametrize("titles", [EXPRESSIONS, tuple(f"a long title, number {i}" for i in range(8))])
def test_grid_titles_stand_at_their_pictures_and_apart(titles):
    fig = figures.grid(np.zeros((3, 8, 48, 48)), ("one", "two", "three"), titles)
    axes = fig.axes[0]
    corners = [i * 98 for i in range(8)]  # 96 pixels and a gap of 2
    np.testing.assert_allclose(axes.get_xticks(), np.add(corners, 47.5))
    assert [t.get_text() for t in axes.get_xticklabels()] == list(titles)
    if titles == EXPRESSIONS:
        placed = boxes(fig, axes.get_xticklabels())
        assert not any(a.overlaps(b) for a, b in itertools.combinations(placed, 2))
    else:
        assert {t.get_rotation() for t in axes.get_xticklabels()} == {40.0}


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ([[None]], {}, "no picture"),
        ([[np.zeros((4, 4)), np.zeros((5, 4))]], {}, "one size"),
        ([[np.full((4, 4), -1.0)]], {}, "rescale"),
        ([[np.full((4, 4), np.nan)]], {}, "0..1"),
        ([[np.zeros((4, 4, 4))]], {}, r"\(H, W, 3\), got \(4, 4, 4\)"),
        ([[np.zeros((4, 4))]], {"row_titles": ["a", "b"]}, "2 row titles for 1 rows"),
    ],
)
def test_grid_refuses(images, options, message):
    with pytest.raises(ValueError, match=message):
        figures.grid(images, **options)


@pytest.mark.parametrize(
    "title", ["pooled", "GCNet S0R0 e - e_r, with the true neutral face, rendered2, held-out people, last epoch"]
)
def test_confusion_matrix_prints_percent_and_counts_apart(title):
    matrix = np.full((8, 8), 1234)
    matrix[1] = 0
    matrix[0] = [3, 1, 0, 0, 0, 0, 0, 0]
    fig = figures.confusion_matrix(matrix, EXPRESSIONS, title)
    axes = fig.axes[0]
    shown = {text.get_position(): text.get_text() for text in axes.texts}
    assert shown[0, 0] == "75.0\n(3)"
    assert shown[1, 0] == "25.0\n(1)"  # x is the prediction
    assert shown[2, 0] == "0"
    assert shown[5, 7] == "12.5\n(1234)"
    assert not [1 for _, row in shown if row == 1]  # nothing is said of a class without pictures
    assert axes.get_yticklabels()[1].get_text() == "contempt  (n=0)"
    texts = [*axes.texts, *all_texts(fig), *fig.texts]
    level = boxes(fig, [text for text in texts if text.get_rotation() in (0, 90)])  # of slanted names the boxes cross
    assert len(level) == 56 + 8 + 2 + 1 + 7  # cells, classes, axes, title, colour bar
    assert not any(a.overlaps(b) for a, b in itertools.combinations(level, 2))
    placed = boxes(fig, texts)
    cell = axes.get_window_extent().width / 8
    assert max(box.width for box in boxes(fig, axes.texts)) < cell
    inside = fig.bbox
    assert all(inside.x0 <= b.x0 and b.x1 <= inside.x1 and inside.y0 <= b.y0 and b.y1 <= inside.y1 for b in placed)
    with pytest.raises(ValueError, match=r"\(7, 7\), got \(8, 8\)"):
        figures.confusion_matrix(matrix, EXPRESSIONS[:7])


def test_class_bars_have_the_values_as_heights():
    rng = np.random.default_rng(1)
    methods = {
        name: {c: {"precision": rng.random(), "f1": rng.random(), "support": 1234} for c in EXPRESSIONS}
        for name in "ab"
    }
    fig = figures.class_bars(methods)
    for axes, measure in zip(fig.axes, ("precision", "f1"), strict=True):
        heights = np.reshape([bar.get_height() for bar in axes.patches], (2, 8))
        expected = [[100 * methods[name][c][measure] for c in EXPRESSIONS] for name in "ab"]
        np.testing.assert_allclose(heights, expected)
        lefts = sorted(bar.get_x() for bar in axes.patches)
        assert np.diff(lefts).min() >= axes.patches[0].get_width() - 1e-9  # side by side, not over each other
    placed = boxes(fig, fig.axes[1].get_xticklabels())
    assert not any(a.overlaps(b) for a, b in itertools.combinations(placed, 2))
    with pytest.raises(ValueError, match="b has the classes"):
        figures.class_bars({"a": methods["a"], "b": {"anger": methods["b"]["anger"]}})


def test_history_draws_the_columns(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text(
        "epoch,classifier_loss,accuracy,val_accuracy,seconds\n1,2.0,0.2,,3\n2,1.5,0.4,0.3,3\n3,0.01,0.5,,3\n"
    )
    fig = figures.history(path)
    losses, accuracies = fig.axes
    assert losses.get_yscale() == "log"  # 2.0 is more than a hundred times 0.01
    lines = {line.get_label(): line for axes in fig.axes for line in axes.lines}
    assert set(lines) == {"classifier loss", "accuracy", "val accuracy"}
    np.testing.assert_array_equal(lines["classifier loss"].get_xydata(), [[1, 2.0], [2, 1.5], [3, 0.01]])
    np.testing.assert_allclose(lines["accuracy"].get_ydata(), [20, 40, 50])
    np.testing.assert_allclose(lines["val accuracy"].get_xydata(), [[2, 30]])
    assert lines["val accuracy"].get_color() == lines["accuracy"].get_color()
    assert accuracies.get_ylabel() == "accuracy (%)"
    for text, message in (
        ("epoch,loss\n", "no epoch to draw"),
        ("epoch,seconds\n1,2\n", "neither a loss nor an accuracy column, only seconds"),
        ("epoch,loss\n1,high\n", "column 'loss' holds something"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            figures.history(path)


def test_names_over_tsne_panels_do_not_meet():
    features, labels = np.random.default_rng(0).normal(size=(12, 3)), np.repeat([0, 1], 6)
    names = [f"Baseline, pre-trained, taught by ED2L less strangers' identity {i}" for i in (1, 2)]
    fig = figures.tsne(dict.fromkeys(names, features), labels, EXPRESSIONS)
    fig.canvas.draw()
    left, right = (axes.title.get_window_extent() for axes in fig.axes[:2])
    assert left.x1 < right.x0 and all(
        name in fig.axes[i].get_title().replace("\n", " ") for i, name in enumerate(names)
    )


def test_tsne_keeps_clusters_apart_and_repeats_under_a_seed():
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 2], 12)
    features = rng.normal(0, 0.1, (24, 5)) + 10 * labels[:, None]
    fig = figures.tsne(features, labels, EXPRESSIONS, perplexity=30, seed=4)
    groups = [np.asarray(group.get_offsets()) for group in fig.axes[0].collections]
    assert [group.get_label() for group in fig.axes[0].collections] == ["anger (12)", "disgust (12)"]
    centres = [group.mean(0) for group in groups]
    spread = max(np.linalg.norm(group - group.mean(0), axis=1).max() for group in groups)
    assert np.linalg.norm(centres[0] - centres[1]) > 2 * spread
    assert "perplexity 7.66667" in fig.axes[0].get_title()
    again = figures.tsne(features, labels, EXPRESSIONS, perplexity=30, seed=4)
    np.testing.assert_array_equal(again.axes[0].collections[0].get_offsets(), groups[0])
    with pytest.raises(ValueError, match="not all finite"):
        figures.tsne(np.full((5, 2), np.nan), np.zeros(5, int), EXPRESSIONS)
    with pytest.raises(ValueError, match="at least 4"):
        figures.tsne(features[:3], labels[:3], EXPRESSIONS)


def test_tsne_of_many_pictures_draws_some_by_the_seed():
    """The drawn keep their labels, intensities and faces; the title says of how many."""
    labels = np.arange(40) % 2
    features = labels[:, None] * 10.0 + np.random.default_rng(0).normal(size=(40, 3))
    (axes,) = figures.tsne(features, labels, ("anger", "fear"), seed=4, most=12, intensity=np.linspace(0, 1, 40)).axes
    assert "12 of 40 pictures" in axes.get_title()
    drawn = np.sort(np.random.default_rng(4).choice(40, 12, replace=False))
    (alone,) = figures.tsne(features[drawn], labels[drawn], ("anger", "fear"), seed=4, intensity=drawn / 39).axes
    for one, other in zip(axes.collections, alone.collections, strict=True):
        np.testing.assert_array_equal(one.get_offsets(), other.get_offsets())
        np.testing.assert_allclose(one.get_alpha(), other.get_alpha())
    (whole,) = figures.tsne(features, labels, ("anger", "fear"), seed=4, most=40).axes
    assert "40 pictures" in whole.get_title() and " of " not in whole.get_title()


@pytest.mark.parametrize("spread", [1e-11, 0.0])
def test_tsne_of_a_net_that_has_learnt_nothing(spread):
    """Features that are all but alike: a map, or all points at one place, where scikit-learn alone ends the process."""
    features = np.random.default_rng(0).normal(size=(6, 350)).astype(np.float32) * np.float32(spread)
    (axes,) = figures.tsne(features, np.array([0, 0, 0, 1, 1, 1]), ("anger", "fear")).axes
    points = np.concatenate([c.get_offsets() for c in axes.collections])
    assert points.shape == (6, 2) and np.isfinite(points).all() and (np.ptp(points) > 0) == (spread > 0)


def test_tsne_of_two_networks_side_by_side():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 8)
    features = {"baseline": rng.normal(size=(16, 4)), "ED2L": rng.normal(size=(16, 4)) + 9 * labels[:, None]}
    fig = figures.tsne(features, labels, ("anger", "fear"))
    assert [axes.get_title().split(":")[0] for axes in fig.axes] == ["baseline", "ED2L"]
    assert all(sum(len(c.get_offsets()) for c in axes.collections) == 16 for axes in fig.axes)
    pale = figures.tsne(features["ED2L"], labels, ("anger", "fear"), intensity=np.linspace(0, 1, 16))
    alphas = np.concatenate([c.get_alpha() for c in pale.axes[0].collections])
    np.testing.assert_allclose(alphas, 0.15 + 0.85 * np.linspace(0, 1, 16))
    with pytest.raises(ValueError, match="at least 4"):
        figures.tsne({"baseline": features["ED2L"], "ED2L": features["ED2L"][:3]}, labels, ("anger", "fear"))


def test_heat_equals_a_bilinear_reference():
    maps = np.random.default_rng(3).normal(size=(2, 7, 6, 5)).astype(np.float32)
    got = figures.heat(maps, (28, 30))
    sums = maps.sum(-1)
    ys, xs = (np.arange(28) + 0.5) * 7 / 28 - 0.5, (np.arange(30) + 0.5) * 6 / 30 - 0.5
    for values, result in zip(sums, got, strict=True):
        scaled = (values - values.min()) / (values.max() - values.min())
        expected = map_coordinates(scaled, np.meshgrid(ys, xs, indexing="ij"), order=1, mode="nearest")
        np.testing.assert_allclose(result, expected, atol=1e-5)
    assert not figures.heat(np.ones((1, 3, 3, 2)), (6, 6)).any()
    with pytest.raises(ValueError, match=r"got \(3, 3, 2\)"):
        figures.heat(np.ones((3, 3, 2)), (6, 6))


def test_heatmaps_overlay():
    images = np.full((2, 32, 24, 1), 0.5)
    maps = np.zeros((2, 4, 3, 2))
    maps[:, 0] = 1  # hot on top
    fig = figures.heatmaps(images, {"branch": maps, "constant": np.ones((2, 4, 3, 1))}, ("a", "b"), opacity=0.5)
    array = canvas(fig)
    height = 32 * 4  # 96 pixels wide: enlarged four times
    np.testing.assert_allclose(array[0, 0], 0.5)
    hottest, coldest = (0.988362, 0.998364, 0.644924), (0.001462, 0.000466, 0.013866)  # the ends of inferno
    np.testing.assert_allclose(array[height + 2, 0], (np.array(hottest) + 0.5) / 2, atol=1e-5)
    np.testing.assert_allclose(array[2 * height + 1, 0], (np.array(coldest) + 0.5) / 2, atol=1e-5)
    np.testing.assert_allclose(array[-1, -1], (np.array(coldest) + 0.5) / 2, atol=1e-5)
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["picture", "branch", "constant"]
    with pytest.raises(ValueError, match="1 maps of 'heat-map' for 2 pictures"):
        figures.heatmaps(images, maps[:1])


def test_saved_pictures_cut_nothing_off(tmp_path):
    """A grid's titles and the heat-maps' colour bar lie outside the figure's own box, and still are in the file."""
    fig = figures.grid(np.zeros((1, 2, 20, 20)), ("a row title of some length",), ("a", "b"))
    picture = painted(fig, tmp_path / "a.png")
    label = boxes(fig, fig.axes[0].get_yticklabels())[0]
    assert picture.shape[1] > fig.bbox.width + label.width
    assert (picture[:, 0] == 255).all()  # a white margin all round
    assert (picture[0] == 255).all()
    assert (picture[:, -1] == 255).all()
    with pytest.raises(ValueError, match=r"'a\.jpg' does not end in \.png"):
        figures.save(fig, tmp_path / "a.jpg")


def test_colours_differ_for_colour_blind_readers():
    """Under simulated protanopia and deuteranopia (Vienot 1999, linear light) all eight stay apart."""
    rgb = np.array([to_rgb(colour) for colour in figures.COLOURS]) ** 2.2
    blind = {
        "protan": [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],
        "deutan": [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]],
    }
    for matrix in blind.values():
        seen = np.clip(rgb @ np.transpose(matrix), 0, 1) ** (1 / 2.2)
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 0.12
