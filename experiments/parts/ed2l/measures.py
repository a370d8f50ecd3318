"""What ED2L's two features tell a probe that its training has never met: whether the dispelling branch dispels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fer_tf import pipeline
from fer_tf.models import ed2l

from ...run import probes


def features_of(model: ed2l.ED2L, data: pipeline.Batches) -> dict[str, np.ndarray]:
    """{"t", "p" if there is such a branch: (N, 256) float32} of test views, in the order of the records."""
    parts = [{name: f.numpy() for name, (_, f) in model.branches(b["image"]).items()} for b in data.epoch(0)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def measure(
    models: Mapping[str, ed2l.ED2L], learn: pipeline.Batches, test: pipeline.Batches, untrained: ed2l.ED2L
) -> dict[str, dict[str, float | None]]:
    """Fresh linear probes on every network's features, beside its own dispeller.

    Args:
      models: name in the table -> trained network.
      learn: the one test view of each face that they learnt from, on which the probes are fitted.
      test: of held-out people.
      untrained: a network at its start, whose f_p holds what no training has dispelled.
    Returns:
      {"ED2L: f_t" ...: {"expression", "identity"}}, as `probes.read`; "ED2L: its own dispeller": {"expression": share
      that the one from its training names, "identity": None}.
    """
    seen, own = {}, {}
    for name, model in {**models, "untrained": untrained}.items():
        of_learn, of_test = features_of(model, learn), features_of(model, test)
        seen |= {f"{name}: f_{branch}": (of_learn[branch], of_test[branch]) for branch in of_test}
        if model.dispelling and name in models:
            labels: Sequence[Any] = np.concatenate([b["label"].numpy() for b in test.epoch(0)])
            right = model.dispeller_logits(of_test["p"]).numpy().argmax(-1) == labels
            own[f"{name}: its own dispeller"] = {"expression": float(np.mean(right)), "identity": None}
    table = probes.read(seen, learn.records, test.records, test.classes)
    return {**own, **table}
