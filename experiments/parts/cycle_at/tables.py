"""CycleAT's printed tables: each expression's share (Tables 2, 3 and 5 to 8), and what generated faces are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fer_tf import metrics

from .judges import MEASURES


def generated_faces(generation: Sequence[Mapping[str, Any]]) -> str:
    """What `judges.measure` gives, means over the runs."""
    head = "judge" if generation[0]["judge_has_seen_the_wild"] else "judge of source"
    titles = dict(zip(MEASURES, (head, "f_S", "told from target", "by own judge"), strict=True))
    lines = [f"{'source people held out':28}" + "".join(f"{title:>18}" for title in titles.values())]
    for name in generation[0]["domain"]:
        values = (np.mean([g[key][name] for g in generation]) for key in titles)
        lines.append(f"{name:28}" + "".join(f"{value:>18.3f}" for value in values))
    return "\n".join(lines)


def by_expression(methods: Mapping[str, Any], classes: Sequence[str]) -> str:
    """Tables 2 and 5 to 8: the share of each expression's faces that is named right in percent, pooled; their mean.

    An expression without a face that was tested gets "-" and has no part in the mean.
    """
    wide = max(24, *(len(name) + 2 for name in methods)) if methods else 24
    lines = [f"{'last epoch, %':{wide}}" + "".join(f"{c[:10]:>11}" for c in classes) + f"{'Ave.':>8}"]
    for name, method in methods.items():
        last = method["last"]
        shares = (last["per_class"][c] for c in classes)
        cells = "".join(f"{100 * s['recall']:>11.2f}" if s["support"] else f"{'-':>11}" for s in shares)
        lines.append(f"{name:{wide}}{cells}{100 * metrics.macro(np.array(last['confusion'])):>8.2f}")
    return "\n".join(lines)
