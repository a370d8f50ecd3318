"""What a linear probe reads from features of held-out people: logistic regression on standardised features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fer_tf.records import Record


def score(fitted_x: np.ndarray, fitted_y: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """Share of the rows of x (N, F) whose answer y (N,) a fresh probe names that is fitted to other rows.

    Where these have one answer, that is what it names.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(fitted_y)) < 2:
        return float(np.mean(y == fitted_y[0]))
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    return float(probe.fit(fitted_x, fitted_y).score(x, y))


def read(
    features: Mapping[str, tuple[np.ndarray, np.ndarray]],
    learn: Sequence[Record],
    test: Sequence[Record],
    classes: Sequence[str],
) -> dict[str, dict[str, float | None]]:
    """What a probe reads from each kind of features.

    Expression: fitted on the training people, tested on the held-out. Identity: fitted on the held-out people's faces
    of every second expression, tested on their others; the features have never seen these people. Who shows only one
    half of the expressions is left out of it.

    Args:
      features: name -> (of `learn`, of `test`), (N, F) each.
      learn, test: of training and of held-out people.
      classes: expressions.
    Returns:
      {name: {"expression", "identity"}}, and under "chance" what always naming the most frequent one gives; None for
      identity where fewer than two people show both halves.
    """

    def most(answers: np.ndarray) -> float:
        return float(np.unique(answers, return_counts=True)[1].max() / len(answers))

    shown, other = (np.array([r.expression for r in part]) for part in (learn, test))
    people = np.array([r.subject for r in test])
    first = np.isin(other, list(classes)[::2])
    known = np.intersect1d(people[first], people[~first])
    here, there = (half & np.isin(people, known) for half in (first, ~first))
    table: dict[str, dict[str, float | None]] = {}
    for name, (a, b) in features.items():
        identity = score(b[here], people[here], b[there], people[there]) if len(known) > 1 else None
        table[name] = {"expression": score(a, shown, b, other), "identity": identity}
    table["chance"] = {"expression": most(other), "identity": most(people[there]) if len(known) > 1 else None}
    return table


def text(measured: Sequence[Mapping[str, Mapping[str, float | None]]]) -> str:
    """The tables of all folds, their mean, as lines to print."""

    def mean(name: str, what: str) -> str:
        known = [table[name][what] for table in measured if table[name].get(what) is not None]
        return f"{np.mean(known):.3f}" if known else "-"

    wide = max([31, *map(len, measured[0])]) + 1
    lines = ["held-out people, mean over the folds", f"{'linear probe on':{wide}}{'expression':>12}{'identity':>12}"]
    rows = (f"{name:{wide}}{mean(name, 'expression'):>12}{mean(name, 'identity'):>12}" for name in measured[0])
    return "\n".join([*lines, *rows])
