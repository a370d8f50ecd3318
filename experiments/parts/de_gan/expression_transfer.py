"""What DE-GAN's decoder makes, and what its code holds: pictures, judges, probes, and the generator as a SavedModel."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from fer_tf import export, figures, pipeline
from fer_tf.faces import TEMPLATES
from fer_tf.models import de_gan
from fer_tf.records import Record, subject_order

from ...run import common


def test_views(records: Sequence[Record]) -> np.ndarray:
    """The centre views of the records' faces: (N, 96, 96, 1) float32 in [0, 1]."""
    cut = np.stack([pipeline.face(record, de_gan.TEMPLATE) for record in records])
    return np.asarray(de_gan.views.test_view(cut), np.float32) / 255.0


def in_parts(function: Callable[[Any], Any], *arrays: np.ndarray, size: int = 64) -> np.ndarray:
    """`function` of arrays of one length, in batches."""
    starts = range(0, len(arrays[0]), size)
    return np.concatenate([np.asarray(function(*(a[i : i + size] for a in arrays))) for i in starts])


def draw_transfer(gan: de_gan.DEGAN, sources: Sequence[Record], people: Sequence[Record], columns: int = 6) -> Any:
    """Rows of expressions, columns of people: sources, and targets from training under their real faces.

    Args:
      gan: trained on `people`.
      sources: of held-out people, or of training to see how it goes; one of each expression is taken, each of another
        person where that is possible.
      people: of training.
      columns: number of targets.
    """
    who = subject_order({r.subject for r in sources})
    rows = []
    for n, expression in enumerate(gan.classes):
        shown = [r for r in sources if r.expression == expression]
        own = [r for r in shown if r.subject == who[n % len(who)]]
        rows += (own or shown)[-1:]
    names = gan.subjects[:: max(1, len(gan.subjects) // columns)][:columns]
    real = [next(r for r in people if r.subject == name) for name in names]
    images = test_views(rows)
    made = [gan.transfer(images, np.full(len(images), gan.subjects.index(n), np.int32)).numpy() for n in names]
    grid = [[None, *test_views(real)]] + [[images[i], *(m[i] for m in made)] for i in range(len(rows))]
    titles = ["real face"] + [f"{r.expression}" for r in rows]
    return figures.grid(grid, row_titles=titles, col_titles=["source", *(str(n) for n in names)])


def draw_interpolation(gan: de_gan.DEGAN, sources: Sequence[Record], steps: int = 7) -> Any:
    """Between two f(x) on one person, from a source's expression to another's; three pairs of expressions."""
    shown = {c: [r for r in sources if r.expression == c] for c in gan.classes}
    there = [c for c in gan.classes if shown[c]]
    pairs = [(there[i % len(there)], there[(i + max(1, len(there) // 2)) % len(there)]) for i in range(3)]
    rows, titles = [], []
    for n, (a, b) in enumerate(pairs):
        ends = test_views([shown[a][0], shown[b][-1]])
        codes = gan.features(ends).numpy()
        mixed = np.stack([(1 - t) * codes[0] + t * codes[1] for t in np.linspace(0, 1, steps)])
        identity = np.full(steps, n * len(gan.subjects) // len(pairs), np.int32)
        rows.append([ends[0], *gan.decode(mixed, identity).numpy(), ends[1]])
        titles.append(f"{a} to {b}")
    return figures.grid(rows, row_titles=titles, col_titles=["source", *[""] * steps, "source"])


def reached(
    gan: de_gan.DEGAN,
    sources: Sequence[Record],
    known: Sequence[Record],
    expression_judge: Any,
    identity_judge: Any,
    seed: int,
) -> dict[str, float]:
    """How often independent classifiers read a made face as the expression and as the person that were asked for.

    Args:
      gan: trained.
      sources: of held-out people, each of which is carried to one person of training, drawn evenly.
      known: faces of training people, named after them, that the judge of identity has not seen.
      expression_judge, identity_judge: images in [0, 1] -> probabilities over `gan.classes` and over `gan.subjects`.
      seed: of the draws.
    Returns:
      {"expression", "identity"}: shares in [0, 1] of the made faces; with "_of_real": of real ones, the sources and
      `known`; "identity_by_chance".
    """
    images, labels = test_views(sources), np.array([gan.classes.index(r.expression) for r in sources])
    wanted = np.random.default_rng(seed).integers(0, len(gan.subjects), len(images)).astype(np.int32)
    made = in_parts(lambda x, i: gan.transfer(x, i).numpy(), images, wanted)

    def named(judge: Any, faces: np.ndarray) -> np.ndarray:
        return np.argmax(in_parts(lambda x: judge(x).numpy(), faces), -1)

    who = np.array([gan.subjects.index(r.expression) for r in known])
    return {
        "expression": float(np.mean(named(expression_judge, made) == labels)),
        "expression_of_real": float(np.mean(named(expression_judge, images) == labels)),
        "identity": float(np.mean(named(identity_judge, made) == wanted)),
        "identity_of_real": float(np.mean(named(identity_judge, test_views(known)) == who)),
        "identity_by_chance": 1 / len(gan.subjects),
    }


def probes(
    features: Mapping[str, Callable[[np.ndarray], np.ndarray]],
    learn: Sequence[Record],
    test: Sequence[Record],
    classes: Sequence[str],
) -> dict[str, dict[str, float | None]]:
    """What a linear probe (logistic regression on standardised features) reads from each kind of features.

    Expression: fitted on the training people, tested on the held-out. Identity: fitted on the held-out people's faces
    of every second expression, tested on their others; the features have never seen these people. Who shows only one
    half of the expressions is left out of it.

    Args:
      features: name -> images (N, 96, 96, 1) in [0, 1] -> (N, F).
      learn, test: of training and of held-out people.
      classes: expressions.
    Returns:
      {name: {"expression", "identity"}}, and under "chance" what always naming the most frequent one gives; None for
      identity where fewer than two people show both halves.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def score(fitted_x: np.ndarray, fitted_y: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
        return float(probe.fit(fitted_x, fitted_y).score(x, y))

    def most(answers: np.ndarray) -> float:
        return float(np.unique(answers, return_counts=True)[1].max() / len(answers))

    shown, other = (np.array([r.expression for r in part]) for part in (learn, test))
    people = np.array([r.subject for r in test])
    first = np.isin(other, list(classes)[::2])
    known = np.intersect1d(people[first], people[~first])
    here, there = (half & np.isin(people, known) for half in (first, ~first))
    pictures = [test_views(part) for part in (learn, test)]
    table: dict[str, dict[str, float | None]] = {}
    for name, function in features.items():
        a, b = (in_parts(function, part) for part in pictures)
        named = score(b[here], people[here], b[there], people[there]) if len(known) > 1 else None
        table[name] = {"expression": score(a, shown, b, other), "identity": named}
    table["chance"] = {"expression": most(other), "identity": most(people[there]) if len(known) > 1 else None}
    return table


class Transfer(tf.Module):
    """The generator with its preprocessing: faces (N, ?, ?, 1|3) uint8 and identity (N,) int32 -> faces, uint8.

    `identities()` gives the people's names, in the order of the numbers; `metadata()` a JSON text.
    """

    def __init__(self, gan: de_gan.DEGAN, about: Mapping[str, Any]):
        super().__init__(name="transfer")
        size, names = TEMPLATES[de_gan.TEMPLATE].size, tf.constant(gan.subjects, tf.string)
        told = {"model": "DEGAN", "identities": list(gan.subjects), "classes": list(gan.classes), **about}
        text = json.dumps(told, indent=1)

        @tf.function(
            input_signature=[
                tf.TensorSpec((None, None, None, None), tf.uint8, "faces"),
                tf.TensorSpec((None,), tf.int32, "identity"),
            ]
        )
        def serving_default(faces: tf.Tensor, identity: tf.Tensor) -> dict[str, tf.Tensor]:
            known = tf.debugging.Assert(
                tf.reduce_all((identity >= 0) & (identity < len(gan.subjects))),
                ["identity must be in 0 ..", len(gan.subjects) - 1, "but it was", identity],
            )
            with tf.control_dependencies([known]):
                identity = tf.identity(identity)
            view = tf.cast(de_gan.views.test_view(export.framed(faces, size)), tf.float32) / 255.0
            made = tf.cast(tf.round(255.0 * gan.transfer(view, identity)), tf.uint8)
            return {"faces": made, "names": tf.gather(names, identity)}

        self.serving_default = serving_default
        self.identities = tf.function(lambda: tf.identity(names), input_signature=[])
        self.metadata = tf.function(lambda: tf.constant(text), input_signature=[])
        self.used = list(serving_default.get_concrete_function().graph.variables)


def save_transfer(gan: de_gan.DEGAN, path: Path, about: Mapping[str, Any]) -> None:
    """Writes the generator as a SavedModel in float32; see `common.save_module`."""
    common.save_module(Transfer(export.in_float32(gan), about), path)
