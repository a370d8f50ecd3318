"""Pictures of a run: image grids, confusion matrices, per-class bars, training curves, t-SNE and heat-maps.

Every function returns a `matplotlib.figure.Figure` of its own (no pyplot, no global state, so threads and notebooks are
safe); `save` writes it as PNG. Colours are told apart by colour-blind readers, and markers or hatches repeat them.
"""

import csv
import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from fer_tf import files

# Okabe and Ito's eight, in an order in which neighbours differ in lightness too.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#000000")
MARKERS = "osD^vPX*"
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "--")
_DPI = 100


_NOTES: dict[Path, str] = {}


def note(folder: str | os.PathLike[str], text: str) -> None:
    """Every picture that is saved in a folder, or below it, from now on bears a text at its foot; none if it is empty.

    So that a picture which is passed on alone still says what its figures are.
    """
    _NOTES[Path(folder).resolve()] = text


def _note(path: Path) -> str:
    """The text of the nearest folder that has one."""
    return next((_NOTES[place] for place in path.resolve().parents if place in _NOTES), "")


def save(fig: Figure, path: str | os.PathLike[str], dpi: int = _DPI) -> Path:
    """Writes a figure as PNG with all its labels inside, in one step.

    Args:
      fig: any figure of this module.
      path: ends in .png; its folder is made.
      dpi: pixels per inch.
    Raises:
      ValueError: if the name does not end in .png.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"pictures are written as PNG, and {path.name!r} does not end in .png")
    files.make_folder(path.parent)
    if text := _note(path):
        fig.text(0.5, -0.02, text, ha="center", va="top", fontsize=8, wrap=False)
    with files.replacing(path) as part:
        fig.savefig(part, format="png", dpi=dpi, bbox_inches="tight", pad_inches=0.08, metadata={"Software": None})
    return path


def grid(
    images: np.ndarray | Sequence[Sequence[np.ndarray | None]],
    row_titles: Sequence[str] = (),
    col_titles: Sequence[str] = (),
    cell: int = 72,
) -> Figure:
    """Rows and columns of pictures with titles at the left and on top.

    Args:
      images: (R, C, H, W[, 1|3]) uint8 or float in [0, 1], or R lists of up to C such pictures of one size, grey and
        colour mixed; None or a short row leaves cells blank.
      row_titles: R texts or none.
      col_titles: C texts or none.
      cell: about the width of a picture in pixels; pictures are enlarged by a whole factor.
    Raises:
      ValueError: if there is no picture, sizes differ, values leave [0, 1], or a number of titles does not fit.
    """
    rows = [list(row) for row in images]
    columns = max((len(row) for row in rows), default=0)
    faces = {(r, c): _rgb(face) for r, row in enumerate(rows) for c, face in enumerate(row) if face is not None}
    if not faces:
        raise ValueError("grid: there is no picture to show")
    sizes = {face.shape[:2] for face in faces.values()}
    if len(sizes) > 1:
        raise ValueError(f"grid: pictures must have one size, got {sorted(sizes)} (H, W)")
    for what, titles, count in (("row", row_titles, len(rows)), ("column", col_titles, columns)):
        if len(titles) not in (0, count):
            raise ValueError(f"grid: {len(titles)} {what} titles for {count} {what}s")
    (height, width), gap = sizes.pop(), 2
    scale = max(1, round(cell / width))
    height, width = height * scale, width * scale
    canvas = np.ones((len(rows) * (height + gap) - gap, columns * (width + gap) - gap, 3), np.float32)
    for (r, c), face in faces.items():
        top, left = r * (height + gap), c * (width + gap)
        canvas[top : top + height, left : left + width] = face.repeat(scale, 0).repeat(scale, 1)
    fig = Figure(figsize=(canvas.shape[1] / _DPI, canvas.shape[0] / _DPI), dpi=_DPI)
    axes = fig.add_axes((0, 0, 1, 1))
    axes.imshow(canvas, interpolation="none", vmin=0, vmax=1, aspect="auto")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labeltop=True, labelbottom=False, labelsize=9)
    slanted = max((len(line) for title in col_titles for line in title.split("\n")), default=0) * 7.5 > width + gap
    turn: dict[str, Any] = {"rotation": 40, "ha": "left", "rotation_mode": "anchor"} if slanted else {}
    centres = np.arange(columns if len(col_titles) else 0) * (width + gap) + width / 2 - 0.5
    axes.set_xticks(centres, list(col_titles), **turn)
    axes.set_yticks(np.arange(len(row_titles)) * (height + gap) + height / 2 - 0.5, list(row_titles))
    return fig


def confusion_matrix(matrix: np.ndarray, classes: Sequence[str], title: str = "") -> Figure:
    """A confusion matrix: each cell in percent of its true class, with the count below.

    Args:
      matrix: (K, K) counts, row true class, column predicted class. A class without pictures has an empty row.
      classes: K names.
    """
    matrix = np.asarray(matrix)
    count = len(classes)
    if matrix.shape != (count, count):
        raise ValueError(f"a confusion matrix of {count} classes is ({count}, {count}), got {matrix.shape}")
    support = matrix.sum(axis=1)
    percent = np.ma.masked_array(100 * matrix / np.maximum(support, 1)[:, None])
    percent[support == 0] = np.ma.masked  # shown grey: no pictures is not 0 %
    side = 0.72 * count + 0.6
    fig = Figure(figsize=(side + 2.2, side + 1.3), dpi=_DPI, layout="constrained")
    axes = fig.add_subplot(facecolor="#DDDDDD")
    size = 9 if matrix.max(initial=0) < 10_000 else 7
    picture = axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    for i, j in np.ndindex(matrix.shape):
        if support[i]:
            colour = "white" if percent[i, j] > 55 else "black"
            text = f"{percent[i, j]:.1f}\n({matrix[i, j]})" if matrix[i, j] else "0"
            axes.text(j, i, text, ha="center", va="center", fontsize=size, color=colour)
    axes.set_xticks(range(count), classes, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(count), [f"{name}  (n={n})" for name, n in zip(classes, support, strict=True)])
    axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted expression")
    axes.set_ylabel("true expression", labelpad=8)
    fig.colorbar(picture, ax=axes, label="share of the true class (%)", shrink=0.85, pad=0.02)
    fig.suptitle(textwrap.fill(title, int(9 * fig.get_figwidth())))  # over the colour bar, too
    return fig


def class_bars(
    methods: Mapping[str, Mapping[str, Mapping[str, float]]], measures: Sequence[str] = ("precision", "f1")
) -> Figure:
    """Per-class bars of several methods side by side, one panel a measure (IA-gen, Fig. 9).

    Args:
      methods: {method: per_class}, where per_class is that of `metrics.summarize`: {class: {measure: value in [0, 1]}};
        every method has the same classes. The first one's `support`, if there, is shown under the names.
      measures: of "precision", "recall", "f1".
    """
    if not methods or not all(methods.values()):
        raise ValueError("class_bars: there is no method with classes to show")
    classes = list(next(iter(methods.values())))
    for name, figures in methods.items():
        if list(figures) != classes:
            raise ValueError(f"class_bars: {name} has the classes {list(figures)}, the first method {classes}")
    fig = Figure(
        figsize=(max(6.5, 0.32 * len(classes) * (len(methods) + 1)), 2.6 * len(measures)), layout="constrained"
    )
    panels = fig.subplots(len(measures), 1, sharex=True, squeeze=False)[:, 0]
    width = 0.8 / len(methods)
    for axes, measure in zip(panels, measures, strict=True):
        for m, (name, figures) in enumerate(methods.items()):
            where = np.arange(len(classes)) + (m - (len(methods) - 1) / 2) * width
            values = [100 * figures[c][measure] for c in classes]
            axes.bar(where, values, width, label=name, color=COLOURS[m % 8], hatch=HATCHES[m % 8], edgecolor="white")
        axes.set_ylim(0, 100)
        axes.set_ylabel({"f1": "F1 (%)"}.get(measure, f"{measure} (%)"))
        _plain(axes)
    first = next(iter(methods.values()))
    names = [f"{name}\n(n={first[name]['support']})" if "support" in first[name] else name for name in classes]
    panels[-1].set_xticks(range(len(classes)), names, fontsize=9)
    panels[-1].set_xlabel("expression")
    handles, labels = panels[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=min(4, len(methods)), frameon=False)
    return fig


def history(path: str | os.PathLike[str], title: str = "") -> Figure:
    """Training curves from a history.csv: losses in one panel, accuracies in another, over the epochs.

    Args:
      path: CSV with a header; a column `epoch`, columns whose name contains "loss" and "accuracy" (in [0, 1]); a name
        that starts with "val_" is drawn dashed in the colour of its training twin. Empty cells are skipped.
    Raises:
      ValueError: if there is no epoch yet, a column holds no number, or none is a loss or an accuracy.
    """
    columns = _read_history(path)
    epochs = columns.pop("epoch")
    groups = {"loss": [c for c in columns if "loss" in c], "accuracy (%)": [c for c in columns if "accuracy" in c]}
    groups = {label: names for label, names in groups.items() if names}
    if not groups:
        raise ValueError(f"{path} has neither a loss nor an accuracy column, only {', '.join(columns) or 'epochs'}")
    fig = Figure(figsize=(4.6 * len(groups) + 0.6, 3.6), layout="constrained")
    panels = fig.subplots(1, len(groups), squeeze=False)[0]
    for axes, (label, names) in zip(panels, groups.items(), strict=True):
        bases = list(dict.fromkeys(name.removeprefix("val_") for name in names))
        factor = 100 if label.startswith("accuracy") else 1
        for name in names:
            k = bases.index(name.removeprefix("val_")) % 8
            held_out = name.startswith("val_")
            style = {"linestyle": "--" if held_out else "-", "marker": MARKERS[k], "markersize": 4}
            colour = {"color": COLOURS[k], "markerfacecolor": "white" if held_out else COLOURS[k]}
            known = np.isfinite(columns[name])
            every = max(1, known.sum() // 12)
            values = factor * columns[name][known]
            axes.plot(epochs[known], values, label=name.replace("_", " "), markevery=every, **style, **colour)
        values = np.concatenate([columns[name] for name in names])
        values = values[np.isfinite(values)]
        if label == "loss" and values.size and values.min() > 0 and values.max() > 100 * values.min():
            axes.set_yscale("log")
        axes.set_ylabel(label)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.legend(frameon=False, fontsize=8)
        _plain(axes)
    fig.suptitle(title)
    return fig


def sweep(lines: Mapping[str, Sequence[tuple[float, float, float]]], x_label: str) -> Figure:
    """Accuracy over a parameter, with a bar of one standard deviation; GCNet's Fig. 11.

    Args:
      lines: name -> [(parameter, mean, standard deviation), ...] in ascending order; accuracies in [0, 1].
      x_label: name of the parameter.
    """
    fig = Figure(figsize=(5.6, 3.6), layout="constrained")
    axes = fig.subplots()
    smallest = np.inf
    for k, (name, points) in enumerate(lines.items()):
        x, mean, deviation = np.array(points, float).T
        style: dict[str, Any] = {"color": COLOURS[k % 8], "marker": MARKERS[k % 8], "capsize": 3}
        axes.errorbar(x, 100 * mean, 100 * deviation, label=name, **style)
        smallest = min(smallest, *(value for value in x if value > 0), np.inf)
    if np.isfinite(smallest):
        axes.set_xscale("symlog", linthresh=smallest)
    ticks = sorted({point[0] for points in lines.values() for point in points})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(x_label)
    axes.set_ylabel("accuracy (%)")
    axes.legend(frameon=False, fontsize=8)
    _plain(axes)
    return fig


def _read_history(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """{column: (E,) float64}; empty cells are NaN."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or "epoch" not in rows[0]:
        raise ValueError(f"{path} has no epoch to draw: it needs a header with 'epoch' and a line for each")
    columns = {}
    for name in rows[0]:
        try:
            columns[name] = np.array([float(row[name]) if row[name] else np.nan for row in rows])
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: column {name!r} holds something that is no number ({error})") from error
    return columns


def tsne(
    features: np.ndarray | Mapping[str, np.ndarray],
    labels: np.ndarray,
    classes: Sequence[str],
    perplexity: float = 30.0,
    seed: int = 0,
    intensity: np.ndarray | None = None,
    faces: np.ndarray | None = None,
    most: int = 1000,
) -> Figure:
    """t-SNE maps of features, one colour and marker per class; of several networks side by side, four in a row.

    Args:
      features: (N, F) float, finite, N >= 4; or {network: such features of the same pictures}.
      labels: (N,) integers in [0, K).
      classes: K names.
      perplexity: about the number of neighbours; at most (N - 1) / 3 is used, and the title says what was.
      seed: of scikit-learn's t-SNE, started from the two principal components.
      intensity: (N,) float in [0, 1]: the weaker an expression, the paler its point (GCNet, Fig. 6).
      faces: (N, h, w) float in [0, 1]: below, the same maps with the pictures at their points (Fig. 6 (c), (d)), 150 at
        most, evenly chosen, framed in their class's colour.
      most: of more pictures than that so many are drawn by the seed, and the title says of how many.
    """
    networks, labels = features if isinstance(features, Mapping) else {"": features}, np.asarray(labels)
    everything = len(labels)
    if everything > most and all(len(f) == everything for f in networks.values()):
        drawn = np.sort(np.random.default_rng(seed).choice(everything, most, replace=False))
        networks, labels = {name: np.asarray(f)[drawn] for name, f in networks.items()}, labels[drawn]
        intensity, faces = (None if x is None else np.asarray(x)[drawn] for x in (intensity, faces))
    maps = {name: _tsne_points(np.asarray(f, np.float32), labels, perplexity, seed) for name, f in networks.items()}
    columns, rows, kinds = min(4, len(maps)), -(-len(maps) // 4), 1 if faces is None else 2
    fig = Figure(figsize=(1.8 + 4.8 * columns, 5.0 * rows * kinds), layout="constrained")
    grid = fig.subplots(rows * kinds, columns, squeeze=False)
    places = grid[:rows].ravel()
    for half in (places, grid[rows:].ravel()):
        for axes in half[len(maps) :]:
            axes.set_axis_off()
    for axes, (name, (points, used)) in zip(places, maps.items(), strict=False):
        for k, label in enumerate(classes):
            chosen = points[labels == k]
            if len(chosen):
                style = {"color": COLOURS[k % 8], "marker": MARKERS[k % 8], "edgecolors": "#333333", "linewidths": 0.4}
                if intensity is not None:
                    style["alpha"] = 0.15 + 0.85 * np.clip(np.asarray(intensity, float)[labels == k], 0, 1)
                axes.scatter(*chosen.T, s=28, label=f"{label} ({len(chosen)})", **style)
        axes.set_xlabel("t-SNE 1 (no unit)")
        axes.set_ylabel("t-SNE 2 (no unit)")
        of_all = f" of {everything}" if everything > len(points) else ""
        title = f"{name + ': ' if name else ''}perplexity {used:g}, {len(points)}{of_all} pictures"
        axes.set_title(textwrap.fill(title, 52), fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    for axes, (points, _) in zip(grid[rows:].ravel(), maps.values(), strict=False):
        _faces_at(axes, points, labels, np.asarray(faces), intensity)
    handles, texts = places[0].get_legend_handles_labels()
    beside = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "frameon": False, "alignment": "left"}
    grid[0, -1].legend(handles, texts, title="expression", **beside)
    return fig


def _faces_at(axes: Axes, points: np.ndarray, labels: np.ndarray, faces: np.ndarray, intensity: Any) -> None:
    """Pictures at the points of a map, in their class's colour; paler frames where an expression is weaker."""
    from matplotlib.colors import Normalize, to_rgb
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    strength = np.ones(len(points)) if intensity is None else np.clip(np.asarray(intensity, float), 0, 1)
    axes.scatter(points[:, 0], points[:, 1], s=0)  # for the limits
    for i in np.unique(np.linspace(0, len(points) - 1, min(150, len(points))).astype(int)):
        colour = (*to_rgb(COLOURS[labels[i] % 8]), 0.15 + 0.85 * strength[i])
        frame = {"edgecolor": colour, "linewidth": 1.5}
        image = OffsetImage(faces[i], zoom=18 / faces.shape[1], cmap="gray", norm=Normalize(0, 1))
        axes.add_artist(AnnotationBbox(image, points[i], pad=0.1, bboxprops=frame))
    axes.set_xlabel("t-SNE 1 (no unit)")
    axes.set_ylabel("t-SNE 2 (no unit)")


def _tsne_points(features: np.ndarray, labels: np.ndarray, perplexity: float, seed: int) -> tuple[np.ndarray, float]:
    """(N, F) -> points (N, 2) and the perplexity that was used; all at one place where the features are all alike.

    Features are centred and scaled first, which changes no neighbour: scikit-learn ends the process where they differ
    by 1e-11, as those of a net do that has learnt nothing.
    """
    if features.ndim != 2 or len(features) < 4 or labels.shape != features.shape[:1]:
        raise ValueError(
            f"t-SNE needs (N, F) features of at least 4 pictures and N labels: {features.shape}, {labels.shape}"
        )
    if not np.isfinite(features).all():
        raise ValueError("t-SNE: the features are not all finite")
    from sklearn.manifold import TSNE  # slow to import
    from threadpoolctl import threadpool_limits

    used = min(float(perplexity), (len(features) - 1) / 3)
    features = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    if not (spread := features.std()) > 0:
        return np.zeros((len(features), 2)), used
    features /= spread
    init = "pca" if features.shape[1] > 1 else "random"
    with threadpool_limits(1):  # threads that wait for each other a thousand times: minutes where the cores are busy
        points = TSNE(perplexity=used, init=init, learning_rate="auto", random_state=seed).fit_transform(features)
    return points, used


def heat(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Heat-maps of feature maps: channel sum, scaled to 0..1 picture by picture, resized (ED2L, Fig. 5).

    Args:
      maps: (N, h, w, C) float, finite.
      size: (H, W) of the result; bilinear.
    Returns:
      (N, H, W) float32 in [0, 1]; a constant map gives zeros.
    """
    sums = np.asarray(maps, np.float32).sum(axis=-1)
    if sums.ndim != 3 or not np.isfinite(sums).all():
        raise ValueError(f"heat-maps come from finite (N, h, w, C) maps, got {np.shape(maps)}")
    low, high = sums.min((1, 2), keepdims=True), sums.max((1, 2), keepdims=True)
    scaled = (sums - low) / np.where(high > low, high - low, 1)
    resized = [Image.fromarray(m).resize((size[1], size[0]), Image.Resampling.BILINEAR) for m in scaled]
    return np.stack([np.asarray(m) for m in resized])


def heatmaps(
    images: np.ndarray, maps: np.ndarray | Mapping[str, np.ndarray], titles: Sequence[str] = (), opacity: float = 0.55
) -> Figure:
    """Pictures on top, and below them each branch's heat-map laid over the picture.

    Args:
      images: (N, H, W[, 1|3]) uint8 or float in [0, 1].
      maps: (N, h, w, C), or {branch name: (N, h, w, C)} for a row each.
      titles: N texts or none.
      opacity: of the heat-map over the grey picture, in [0, 1].
    Raises:
      ValueError: if there is no picture, or the numbers of maps and pictures differ.
    """
    faces = [_rgb(image) for image in images]
    branches = maps if isinstance(maps, Mapping) else {"heat-map": maps}
    for name, values in branches.items():
        if not faces or len(values) != len(faces):
            raise ValueError(f"heatmaps: {len(values)} maps of {name!r} for {len(faces)} pictures")
    colours = matplotlib.colormaps["inferno"]
    rows = [faces]
    for values in branches.values():
        heats = heat(values, faces[0].shape[:2])
        grey = [face.mean(axis=-1, keepdims=True) for face in faces]
        rows.append([(1 - opacity) * g + opacity * colours(h)[..., :3] for g, h in zip(grey, heats, strict=True)])
    fig = grid(rows, ("picture", *branches), titles, cell=96)
    scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(0, 1), colours)
    inch = 1 / fig.get_size_inches()[0]
    bar = fig.add_axes((1 + 0.12 * inch, 0, 0.12 * inch, 1))
    fig.colorbar(scale, cax=bar, label="channel sum, scaled to 0..1")
    return fig


def _rgb(image: np.ndarray) -> np.ndarray:
    """(H, W[, 1|3]) uint8 or float in [0, 1] -> (H, W, 3) float32 in [0, 1]."""
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[-1] not in (1, 3):
        raise ValueError(f"a picture is (H, W), (H, W, 1) or (H, W, 3), got {image.shape}")
    values = image.astype(np.float32) / (255 if image.dtype == np.uint8 else 1)
    if not (values.min() >= -1e-3 and values.max() <= 1 + 1e-3):  # NaN fails too
        raise ValueError(f"pictures are uint8, or float in 0..1, got {values.min():g}..{values.max():g}: rescale them")
    return np.broadcast_to(values.clip(0, 1), (*image.shape[:2], 3))


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
