"""How good regenerated faces are, on people that no network has seen: the person, the expression, the real face."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from fer_tf import evaluation, faces, metrics
from fer_tf.records import Record


def real_faces(records: Sequence[Record], expression: str) -> np.ndarray:
    """(N,) int: for each record its own subject's record that shows `expression`, of the same frame number where there
    is one, else the last; -1 where the subject has none."""
    places = []
    for record in records:
        shown = [i for i, r in enumerate(records) if r.subject == record.subject and r.expression == expression]
        same = [i for i in shown if records[i].frame == record.frame]
        places.append((same or shown or [-1])[-1])
    return np.array(places)


def errors(images: np.ndarray, generated: np.ndarray, records: Sequence[Record], classes: Sequence[str]) -> Any:
    """L1 and SSIM of each regenerated face to the real one of that person and expression, by expression and mean.

    Inputs that show the expression themselves are left out: a copy of them would do.

    Args:
      images: (N, H, W, 1) float32 in [0, 1], of the records.
      generated: (N, K, H, W, 1) float32 in [0, 1].
      records, classes: N and K of them.
    Returns:
      {"l1", "ssim": {"generated", "input": {expression: value, "mean": value}}}; `input` are the figures of the face
      that went in, left as it was. None where no person shows two of the expressions.
    """
    table: dict[str, dict[str, dict[str, float]]] = {m: {"generated": {}, "input": {}} for m in ("l1", "ssim")}
    for k, expression in enumerate(classes):
        real = real_faces(records, expression)
        rows = np.array([i for i, j in enumerate(real) if j >= 0 and records[i].expression != expression], int)
        if not len(rows):
            continue
        for name, given in (("generated", generated[rows, k]), ("input", images[rows])):
            wanted = images[real[rows]]
            table["l1"][name][expression] = float(np.abs(given - wanted).mean())
            table["ssim"][name][expression] = ssim(given, wanted)
    if not table["l1"]["generated"]:
        return None
    for measure in table.values():
        for values in measure.values():
            values["mean"] = float(np.mean(list(values.values())))
    return table


def ssim(given: np.ndarray, wanted: np.ndarray) -> float:
    """Mean structural similarity of (N, H, W, 1) pictures in [0, 1]."""
    return float(np.mean(tf.image.ssim(given, wanted, 1.0)))


def target_rate(judge: Any, generated: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """Share of the regenerated faces that `judge` (images -> probabilities) reads as their target, by expression."""
    rates = {}
    for k, expression in enumerate(classes):
        named = np.concatenate([judge(part) for part in np.array_split(generated[:, k], max(1, len(generated) // 256))])
        rates[expression] = float(np.mean(evaluation.named(named) == k))
    return {**rates, "mean": float(np.mean(list(rates.values())))}


def unchanged(read: Any, generated: np.ndarray, labels: np.ndarray, predictions: np.ndarray) -> float | None:
    """Of the inputs that eq. (8) names wrong: the share whose nearest face still reads as the input's own expression.

    Such a generator has left the face as it was. `read` (images -> probabilities) is the network of eq. (8).

    Args:
      generated: (N, K, H, W, 1) float32.
      labels, predictions: (N,) int.
    Returns:
      Share in [0, 1]; None where nothing is named wrong.
    """
    wrong = np.flatnonzero(labels != predictions)
    if not len(wrong):
        return None
    named = np.concatenate(
        [read(part) for part in np.array_split(generated[wrong, predictions[wrong]], len(wrong) // 64 + 1)]
    )
    return float(np.mean(evaluation.named(named) == labels[wrong]))


def crop_box(template: faces.Template, size: int) -> tuple[float, float, float, float]:
    """Where a detector would see the face in the centre crop of `size` pixels of an aligned picture."""
    matrix = faces.similarity(np.array(faces.BOX_POINTS), np.array(template.points))
    corners = np.array([[0, 0, 1], [1, 1, 1]]) @ matrix.T - [(s - size) / 2 for s in template.size[::-1]]
    return tuple(float(v) for v in corners.ravel())


def identity(
    images: np.ndarray,
    generated: np.ndarray,
    records: Sequence[Record],
    classes: Sequence[str],
    template: faces.Template,
    count: int | None = None,
) -> dict[str, float] | None:
    """Is it still the person: distance of dlib's embeddings of input and regenerated face, beside those of real faces.

    Args:
      images, generated, records, classes: as in `errors`.
      template: of the faces.
      count: take so many inputs, picked by a fixed seed; an embedding takes some 30 ms.
    Returns:
      {"input_generated": mean distance of a face and what is made of it, its own expression left out (a copy would do);
      "real_same": of two real faces of one person with different expressions; "real_between": of two people; "auc": see
      `metrics.identity_preservation`, input to generated against between}. None where the extra `landmarks` is not
      installed.
    """
    if not faces.has_landmarks():
        return None
    box, rows = crop_box(template, images.shape[1]), np.random.default_rng(0).permutation(len(images))[:count]

    def embed(face: np.ndarray) -> np.ndarray:
        return faces.embedding(np.round(255 * face).astype(np.uint8), box=box)

    real = np.array([embed(images[i]) for i in rows])
    made = np.array([[embed(face) for face in generated[i]] for i in rows])
    other = np.array([[records[i].expression != c for c in classes] for i in rows])
    own = np.linalg.norm(made - real[:, None], axis=-1)[other]
    gaps = np.linalg.norm(real[:, None] - real[None], axis=-1)
    subject, shown = (np.array([getattr(records[i], n) for i in rows]) for n in ("subject", "expression"))
    same = subject[:, None] == subject[None]
    related = gaps[same & (shown[:, None] != shown[None])]
    if not related.size or not own.size or same.all():
        return None
    preserved = metrics.identity_preservation(own, gaps[~same])
    return {
        "input_generated": preserved["same"],
        "real_same": float(related.mean()),
        "real_between": preserved["between"],
        "auc": preserved["auc"],
    }
