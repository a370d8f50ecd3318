"""Scores of a classifier over folds: accuracy, confusion, per-class figures, and the metrics.json that holds them.

Every accuracy is a fraction in [0, 1]; only `table` prints percent. The papers disagree on the mean they print, so both
are always given: *micro* is the share of correct pictures, *macro* the mean of the per-class recalls. Each is reported
as mean and deviation over the folds and once over all test pictures pooled, for the last and for the best epoch. The
best epoch is picked on test data and flatters: `table` labels it so.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import files

SCHEMA = 1
EPOCHS = ("last", "best")

Fold = Mapping[str, tuple[np.ndarray, np.ndarray]]


def confusion(y_true: np.ndarray, y_pred: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts predictions per true class.

    Args:
      y_true: (N,) integers in [0, K).
      y_pred: (N,) integers in [0, K).
      num_classes: K.
    Returns:
      (K, K) int64: row true class, column predicted class.
    Raises:
      ValueError: if the two differ in length, are not integers, or leave [0, K).
    """
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    if y_true.ndim != 1 or y_true.shape != y_pred.shape:
        raise ValueError(f"labels {y_true.shape} and predictions {y_pred.shape} must be two vectors of one length")
    for what, values in (("label", y_true), ("prediction", y_pred)):
        if not values.size:
            continue
        if not np.issubdtype(values.dtype, np.integer):
            raise ValueError(
                f"{what}s must be class indices, got {values.dtype}: take the argmax of probabilities first"
            )
        if values.min() < 0 or values.max() >= num_classes:
            wrong = values[(values < 0) | (values >= num_classes)][0]
            raise ValueError(f"{what} {wrong} is outside the {num_classes} classes 0..{num_classes - 1}")
    pairs = y_true.astype(np.int64) * num_classes + y_pred.astype(np.int64)
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def micro(matrix: np.ndarray) -> float:
    """Share of correct predictions of a (K, K) confusion matrix, in [0, 1]; 0 if it is empty."""
    matrix = np.asarray(matrix)
    return float(np.trace(matrix) / max(matrix.sum(), 1))


def macro(matrix: np.ndarray) -> float:
    """Mean recall over the classes that occur as true labels in a (K, K) confusion matrix, in [0, 1]; 0 if none does.

    A class without a test picture (contempt in the first folds of CK+) has no recall and is left out of the mean.
    """
    matrix = np.asarray(matrix)
    support = matrix.sum(axis=1)
    present = support > 0
    return float(np.mean(np.diag(matrix)[present] / support[present])) if present.any() else 0.0


def per_class(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall, F1 and support of every class of a (K, K) confusion matrix.

    Returns:
      {"precision", "recall", "f1": (K,) float64 in [0, 1], "support": (K,) int64}. Never NaN: recall is 0 for a class
      with support 0, precision is 0 for a class that was never predicted, F1 is 0 where both are.
    """
    matrix = np.asarray(matrix)
    hits, support, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    return {
        "precision": hits / np.maximum(predicted, 1),
        "recall": hits / np.maximum(support, 1),
        "f1": 2 * hits / np.maximum(predicted + support, 1),
        "support": support,
    }


def summarize(folds: Sequence[Fold], classes: Sequence[str]) -> dict[str, Any]:
    """Sums up one method over its folds: one entry of `methods` in metrics.json.

    Args:
      folds: per fold {"last": (labels, predictions), "best": (labels, predictions)}, each (N,) integers in [0, K);
        "best" may be missing, but from all folds alike.
      classes: the K class names, in label order.
    Returns:
      {last|best: {macro, micro: {fold_mean, fold_std, pooled, folds}, confusion, per_class}} of plain Python numbers.
      `fold_std` is the sample deviation (ddof 1), and 0 for a single fold; `folds` are the folds' own values; `pooled`,
      `confusion` (K rows, true by predicted) and `per_class` {name: {precision, recall, f1, support}} count all folds'
      pictures together.
    Raises:
      ValueError: if there is no fold, a fold has no pictures, or the folds differ in their keys.
    """
    if not folds:
        raise ValueError("no fold to summarize")
    keys = [key for key in EPOCHS if key in folds[0]]
    for i, fold in enumerate(folds):
        if set(fold) != set(keys) or "last" not in keys:
            raise ValueError(f"fold {i} has {sorted(fold)}; every fold needs 'last', and all or none have 'best'")
    return {key: _summary([fold[key] for fold in folds], classes) for key in keys}


def _summary(pairs: Sequence[tuple[np.ndarray, np.ndarray]], classes: Sequence[str]) -> dict[str, Any]:
    matrices = [confusion(labels, predictions, len(classes)) for labels, predictions in pairs]
    empty = [i for i, matrix in enumerate(matrices) if not matrix.sum()]
    if empty:
        raise ValueError(f"fold {empty[0]} has no test picture")
    pooled = np.sum(matrices, axis=0)
    result: dict[str, Any] = {}
    for name, accuracy in (("macro", macro), ("micro", micro)):
        values = [accuracy(matrix) for matrix in matrices]
        std = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        result[name] = {
            "fold_mean": float(np.mean(values)),
            "fold_std": std,
            "pooled": accuracy(pooled),
            "folds": values,
        }
    figures = {key: values.tolist() for key, values in per_class(pooled).items()}
    result["confusion"] = pooled.tolist()
    result["per_class"] = {name: {key: figures[key][i] for key in figures} for i, name in enumerate(classes)}
    return result


def identity_preservation(distances_same: np.ndarray, distances_between: np.ndarray) -> dict[str, float]:
    """How well generated faces keep the person, from face-embedding distances.

    Args:
      distances_same: (N,) float, distance of each generated face to a real face of its own subject.
      distances_between: (M,) float, distances between faces of different subjects.
    Returns:
      {"same", "between": mean distances, "auc": the chance in [0, 1] that a same-subject distance is the smaller of a
      random pair (ties count half): 1 is perfect, 0.5 means that identity is lost}.
    Raises:
      ValueError: if either is empty or not finite.
    """
    same, between = (np.asarray(d, np.float64).ravel() for d in (distances_same, distances_between))
    for what, values in (("same-subject", same), ("between-subject", between)):
        if not values.size or not np.isfinite(values).all():
            raise ValueError(f"the {values.size} {what} distances must be finite and at least one")
    order = np.sort(between)
    larger = between.size - np.searchsorted(order, same, side="right")
    equal = np.searchsorted(order, same, side="right") - np.searchsorted(order, same, side="left")
    auc = (larger + 0.5 * equal).sum() / (same.size * between.size)
    return {"same": float(same.mean()), "between": float(between.mean()), "auc": float(auc)}


def temperature(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The T at which softmax(scores / T) is the most honest: the smallest mean -log probability of the true class.

    Args:
      scores: (N, K) float, larger for likelier classes, such as negative distances.
      labels: (N,) integers in [0, K).
    Returns:
      {"temperature": T in [0.01, 1000], to 1 %; "log_loss": nats at that T; "confidence": mean of the largest
      probability at that T, to be held against the accuracy}.
    Raises:
      ValueError: if the two differ in length, are empty, or the scores are not finite.
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels, np.int64)
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or not labels.size or not np.isfinite(scores).all():
        raise ValueError(f"scores {scores.shape} and labels {labels.shape} must be N finite rows and N labels, N > 0")
    best = {"temperature": 1.0, "log_loss": math.inf, "confidence": 0.0}
    shifted = scores - scores.max(axis=1, keepdims=True)
    for t in np.geomspace(0.01, 1000, 1158):
        log_sum = np.log(np.exp(shifted / t).sum(axis=1))
        loss = float(np.mean(log_sum - shifted[np.arange(len(labels)), labels] / t))
        if loss < best["log_loss"]:
            best = {"temperature": float(t), "log_loss": loss, "confidence": float(np.mean(np.exp(-log_sum)))}
    return best


def write_metrics(path: str | os.PathLike[str], metrics: Mapping[str, Any]) -> None:
    """Writes metrics.json with its schema version, in one step.

    Args:
      path: the file; its folder is made.
      metrics: nested mappings, sequences, NumPy values and plain values.
    Raises:
      ValueError: if a number is NaN or infinite; the message says where, and the file is left as it was.
      TypeError: if a value has no JSON form.
    """
    path = Path(path)
    text = json.dumps(_plain({"schema": SCHEMA, **metrics}, ""), indent=2, allow_nan=False) + "\n"
    files.make_folder(path.parent)
    files.write_text(path, text)


def _plain(value: Any, where: str) -> Any:
    """The value in plain Python types; `where` is its dotted place, for the messages."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{where}.{key}".lstrip(".")) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"metrics: {where} is {value}, and only finite numbers can be reported")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"metrics: {where} is a {type(value).__name__}, which JSON cannot hold")


def table(methods: Mapping[str, Mapping[str, Any]]) -> str:
    """A plain-text table of `methods` of metrics.json: per method its last epoch and, if there, its best.

    Columns in percent: macro and micro accuracy, each as mean +- deviation over the folds and pooled over all pictures.
    """
    header = ("method", "epoch", "macro, folds", "pooled", "micro, folds", "pooled")
    labels = {"last": "last", "best": "best (picked on test)"}
    rows: list[tuple[str, ...]] = [header]
    for name, method in methods.items():
        for key in EPOCHS:
            if key in method:
                cells = [text for kind in ("macro", "micro") for text in _cells(method[key][kind])]
                rows.append((name if key == "last" else "", labels[key], *cells))
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    rule = "  ".join("-" * w for w in widths)
    return "\n".join(line.rstrip() for line in ["accuracy in percent", lines[0], rule, *lines[1:]])


def _cells(accuracy: Mapping[str, Any]) -> tuple[str, str]:
    mean = f"{100 * accuracy['fold_mean']:.2f}"
    several = len(accuracy.get("folds", (0, 0))) > 1
    return (f"{mean} +- {100 * accuracy['fold_std']:.2f}" if several else mean), f"{100 * accuracy['pooled']:.2f}"
