"""Which generated faces a target classifier gets (section 4.2), and Table 8's support vector machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import files

GRID = 4
"""The first convolution's maps are averaged over so many cells a side."""
COMPONENTS = 50
"""Principal components that t-SNE starts from."""
BLOCK, COEFFICIENTS = 8, 10
"""The support vector machine's features: so many coefficients of the cosine transform of blocks of so many pixels."""


def in_parts(function: Callable[[Any], Any], images: np.ndarray, size: int = 64) -> np.ndarray:
    """`function` of uint8 images, given as float32 in [0, 1], in batches; one of its results after the other."""
    starts = range(0, len(images), size)
    return np.concatenate([np.asarray(function(images[i : i + size].astype(np.float32) / 255.0)) for i in starts])


def redrawn(gan: Any, images: np.ndarray) -> np.ndarray:
    """G_SW: (N, size, size, 3) uint8 -> the same faces in the wild, likewise."""
    return in_parts(lambda x: np.round(255 * gan.translate(x).numpy()).astype(np.uint8), images)


def first_features(model: Any, images: np.ndarray) -> np.ndarray:
    """The first convolution of a classifier, averaged over a grid: (N, H, W, 3) uint8 -> (N, GRID * GRID * C) float32.

    Raises:
      ValueError: maps smaller than the grid.
    """

    def pooled(batch: np.ndarray) -> np.ndarray:
        maps = model.first_maps(batch).numpy()
        count, height, width, channels = maps.shape
        if min(height, width) < GRID:
            raise ValueError(f"The first maps are {height}x{width}, smaller than {GRID}x{GRID}: give a larger --size.")
        rows, columns = (np.array_split(np.arange(side), GRID) for side in (height, width))
        cells = [maps[:, r[0] : r[-1] + 1, c[0] : c[-1] + 1].mean((1, 2)) for r in rows for c in columns]
        return np.concatenate(cells, -1).reshape(count, -1)

    return in_parts(pooled, images)


def embedded(features: np.ndarray, seed: int, dimensions: int = 3, perplexity: float = 30.0) -> np.ndarray:
    """t-SNE of the features' first principal components: (N, F) -> (N, dimensions) float32."""
    from sklearn.decomposition import PCA  # slow to import
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    scaled = (features - features.mean(0)) / (features.std(0) + 1e-6)
    with threadpool_limits(1):  # threads that wait for each other a thousand times: minutes where the cores are busy
        reduced = PCA(min(COMPONENTS, *scaled.shape), random_state=seed).fit_transform(scaled)
        used = min(perplexity, (len(reduced) - 1) / 3)
        made = TSNE(
            dimensions, perplexity=used, init="pca" if reduced.shape[1] >= dimensions else "random", random_state=seed
        )
        return made.fit_transform(reduced).astype(np.float32)


def nearest(points: np.ndarray, count: int, t: int) -> np.ndarray:
    """The t nearest candidates of each target point, each named once: sorted places (M,) among the candidates.

    Args:
      points: (count + candidates, D) float, the target's first.
      count: target points.
      t: neighbours of each.
    """
    from sklearn.neighbors import NearestNeighbors

    t = min(t, len(points) - count)
    neighbours = NearestNeighbors(n_neighbors=t).fit(points[count:])
    return np.unique(neighbours.kneighbors(points[:count], return_distance=False))


def select(
    model: Any, target: np.ndarray, made: Callable[[], np.ndarray], t: int, seed: int, file: Path, among: str
) -> np.ndarray:
    """Section 4.2: which generated faces are like the target's in first-convolution features, t-SNE, kNN.

    Args:
      model: the classifier whose first convolution is used.
      target: (N, H, W, 3) uint8 training faces of the target.
      made: gives (M, H, W, 3) uint8 generated faces; not called where the answer is there.
      t: neighbours of each target face.
      seed: of t-SNE.
      file: .npy that keeps the answer; read again where it is there.
      among: a hash of all that the answer depends on; kept beside it.
    Returns:
      Sorted places among the generated faces, at most N t.
    Raises:
      ValueError: the answer that is there is to another question.
    """
    mark = file.with_suffix(".json")
    if not file.is_file():
        both = np.concatenate([first_features(model, part) for part in (target, made())])
        places = nearest(embedded(both, seed), len(target), t)
        file.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(mark, {"among": among})
        with files.replacing(file) as part:
            np.save(part, places)
    elif not mark.is_file() or json.loads(mark.read_text()) != {"among": among}:
        raise ValueError(
            f"{file} was selected by other target faces, or among other generated ones: give another --workdir, or "
            "remove it."
        )
    return np.load(file)


def cosine_features(images: np.ndarray) -> np.ndarray:
    """Local appearance: cosine transform of 8x8 blocks of the grey face at 64x64, its lowest coefficients but the mean.

    Args:
      images: (N, H, W, 3) uint8.
    Returns:
      (N, 64 * 10) float32, each block of length one.
    """
    from PIL import Image

    waves = np.cos(np.pi * (np.arange(BLOCK) + 0.5) * np.arange(BLOCK)[:, None] / BLOCK)
    waves *= np.sqrt(np.where(np.arange(BLOCK) == 0, 1, 2) / BLOCK)[:, None]
    order = sorted((u + v, u, v) for u in range(BLOCK) for v in range(BLOCK))[1 : COEFFICIENTS + 1]
    lengths_one = []
    for image in images:
        grey = np.asarray(Image.fromarray(image).convert("L").resize((64, 64), Image.Resampling.BICUBIC), np.float32)
        blocks = grey.reshape(8, BLOCK, 8, BLOCK).transpose(0, 2, 1, 3).reshape(-1, BLOCK, BLOCK)
        changed = waves @ blocks @ waves.T
        kept = np.stack([changed[:, u, v] for _, u, v in order], -1)
        lengths_one.append((kept / (np.linalg.norm(kept, axis=-1, keepdims=True) + 1e-6)).ravel())
    return np.array(lengths_one, np.float32)


def machine(images: np.ndarray, labels: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """A linear support vector machine, one class against the others: what it names the test faces, (M,) int."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    classifier = make_pipeline(StandardScaler(), LinearSVC(C=0.01, random_state=seed, max_iter=5000))
    return classifier.fit(cosine_features(images), labels).predict(cosine_features(test)).astype(int)
