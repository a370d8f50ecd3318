"""Charts of the page as inline SVG: differences with their intervals, training curves; confusions as tables."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fer_tf import paired

from .markup import Html, element

POINTS = 100
"""Epochs at most of which a curve is drawn."""
LINES = 24
"""Trainings at most whose curves are drawn over each other."""


def _svg(width: float, height: float, parts: Sequence[Html], label: str) -> Html:
    size = {"viewBox": f"0 0 {width:g} {height:g}", "width": f"{width:g}", "height": f"{height:g}"}
    return element("svg", parts, {**size, "role": "img", "aria-label": label})


def _text(x: float, y: float, said: Any, anchor: str = "start", kind: str | None = None) -> Html:
    return element("text", said, {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor, "class": kind})


def _line(x1: float, y1: float, x2: float, y2: float, **style: Any) -> Html:
    ends = {"x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}"}
    return element("line", None, {**ends, **{k.rstrip("_").replace("_", "-"): v for k, v in style.items()}})


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from `low` to `high`, about so many."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low] if low == high else []
    step = 10 ** math.floor(math.log10(span / count))
    step *= next(f for f in (1, 2, 5, 10) if span / (step * f) <= count)
    first = math.ceil(low / step - 1e-9)
    return [step * n for n in range(first, math.floor(high / step + 1e-9) + 1)]


def differences(compared: Mapping[str, Mapping[str, Any]], measure: str = "micro") -> Html:
    """Each method's difference to its baseline: a bar is the interval over people, a dot a pair of trainings.

    Args:
      compared: "paired" of metrics.json.
      measure: micro or macro.
    """
    rows = [(f"{method} - {entry['baseline']}", entry[measure]) for method, entry in compared.items()]
    values = [0.0] + [v for _, one in rows for v in (*one["interval"], one["difference"], *one["pairs"]["values"])]
    low, high = 100 * min(values), 100 * max(values)
    pad = max(0.5, 0.06 * (high - low))
    low, high = low - pad, high + pad
    width, left, step = 480.0, 16.0, 56.0

    def at(points: float) -> float:
        return left + (points - low) / (high - low) * (width - 2 * left)

    height = step * len(rows) + 34
    parts = [_line(at(0), 4, at(0), height - 28, class_="zero")]
    for place in ticks(low, high, 6):
        parts += [_line(at(place), height - 28, at(place), height - 23, class_="axis")]
        parts += [_text(at(place), height - 8, f"{place:+.3g}" if place else "0", "middle", "soft")]
    for i, (name, one) in enumerate(rows):
        top = i * step + 16
        colour = {paired.GAINS: "var(--good)", paired.LOSES: "var(--warn)"}.get(one["words"], "var(--soft)")
        ends = (at(100 * end) for end in one["interval"])
        parts += [
            _text(left, top, name),
            _line(next(ends), top + 18, next(ends), top + 18, stroke=colour, stroke_width=6, stroke_linecap="round",
                  opacity=0.55),
            _line(at(100 * one["difference"]), top + 9, at(100 * one["difference"]), top + 27, stroke=colour,
                  stroke_width=3),
        ]  # fmt: skip
        for value in one["pairs"]["values"]:
            dot = {"cx": f"{at(100 * value):.1f}", "cy": f"{top + 18:.1f}", "r": 3.2, "fill": "var(--ink)"}
            parts.append(element("circle", None, {**dot, "opacity": 0.6}))
    return _svg(width, height, parts, f"{measure}: differences to the baseline in percentage points")


def matrix(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> Html:
    """A confusion matrix: a row for each true class, in percent of it, with the count below."""
    top = [element("th", "true \\ named", {"class": "side"})]
    top += [element("th", name, {"class": "top", "title": name}) for name in classes]
    rows = [element("tr", top)]
    for name, row in zip(classes, counts, strict=True):
        total = sum(row)
        cells = [element("th", f"{name} ({total})", {"class": "side"})]
        for count in row:
            share = count / total if total else 0.0
            shade = f"background: rgba(var(--heat), {0.8 * share:.2f})" if count else None
            said = [f"{100 * share:.0f} %", element("br"), element("span", count, {"class": "soft"})] if count else ""
            cells.append(element("td", said, {"style": shade}))
        rows.append(element("tr", cells))
    return element("div", element("table", rows, {"class": "matrix"}), {"class": "wide"})


def read_history(file: Path) -> dict[str, list[tuple[float, float]]]:
    """{column: [(epoch, value), ...]} of a history.csv; what is no number, or cannot be read, is left out."""
    curves: dict[str, list[tuple[float, float]]] = {}
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                for name, text in row.items():
                    try:
                        point = float(row["epoch"]), float(text)
                    except (TypeError, ValueError, KeyError):
                        continue
                    if name and name != "epoch" and all(map(math.isfinite, point)):
                        curves.setdefault(name, []).append(point)
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}
    return curves


def curves(histories: Sequence[Mapping[str, Sequence[tuple[float, float]]]], title: str) -> Html:
    """The training curves of one stage, one line a training: losses in one panel, accuracies in another.

    Args:
      histories: of `read_history`, one a training.
      title: of the chart.
    """
    shown = histories[:LINES]
    names = list(dict.fromkeys(name for history in shown for name in history))
    panels = [("loss", 1.0, [n for n in names if "loss" in n]), ("%", 100.0, [n for n in names if "accuracy" in n])]
    drawn = [_panel(shown, *panel, f"{title}, {panel[0]}") for panel in panels if panel[2]]
    return element("div", drawn, {"class": "row"})


def _panel(
    histories: Sequence[Mapping[str, Sequence[tuple[float, float]]]],
    unit: str,
    factor: float,
    names: Sequence[str],
    label: str,
) -> Html:
    """One pair of axes with the curves of some columns; a validation's are dashed, in the colour of their twin."""
    width, height, left, bottom = 440.0, 240.0, 48.0, 24.0
    bases = list(dict.fromkeys(name.removeprefix("val_") for name in names))
    legend = 15.0 * len(names) + 8
    points = [(x, factor * y) for history in histories for name in names for x, y in history.get(name, ())]
    (x0, x1), (y0, y1) = ((min(axis), max(axis)) for axis in zip(*points, strict=True))
    logarithmic = unit == "loss" and y0 > 0 and y1 > 100 * y0
    scale = math.log10 if logarithmic else float
    low, high = scale(y0), scale(y1)
    low, high = (low - 0.5, high + 0.5) if high == low else (low - 0.04 * (high - low), high + 0.04 * (high - low))
    x1 = x1 if x1 > x0 else x0 + 1

    def at(x: float, y: float) -> tuple[float, float]:
        share = (x - x0) / (x1 - x0), (scale(y) - low) / (high - low)
        return left + share[0] * (width - left - 10), height - bottom - share[1] * (height - bottom - 8)

    marks = [10.0**n for n in range(math.ceil(low), math.floor(high) + 1)] if logarithmic else ticks(low, high)
    parts = [_line(left, at(x0, y)[1], width - 10, at(x0, y)[1], class_="axis") for y in marks]
    parts += [_text(left - 6, at(x0, y)[1] + 4, f"{y:.3g}", "end", "soft") for y in marks]
    whole = sorted({round(x) for x in ticks(x0, x1, 6)})
    parts += [_text(at(x, y1)[0], height - 6, x, "middle", "soft") for x in whole if x0 <= x <= x1]
    for name in names:
        twin = bases.index(name.removeprefix("val_")) % 8
        dash = "5 4" if name.startswith("val_") and name != name.removeprefix("val_") else None
        look = {"fill": "none", "stroke": f"var(--c{twin})", "stroke-width": 1.6, "stroke-dasharray": dash}
        for history in histories:
            own = list(history.get(name, ()))
            own = own[:: max(1, len(own) // POINTS)] + own[-1:]
            path = " ".join("{:.1f},{:.1f}".format(*at(x, factor * y)) for x, y in own)
            if len({*own}) == 1:
                x, y = at(own[0][0], factor * own[0][1])
                dot = {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": 3, "fill": f"var(--c{twin})", "opacity": 0.75}
                parts.append(element("circle", None, dot))
            elif path:
                parts.append(element("polyline", None, {**look, "points": path, "opacity": 0.75}))
        y = height + 14 + 15 * names.index(name)
        parts.append(_line(left, y - 4, left + 24, y - 4, **{k.replace("-", "_"): v for k, v in look.items()}))
        parts.append(_text(left + 30, y, f"{name.replace('_', ' ')}{' (logarithmic)' * logarithmic}", "start", "soft"))
    return _svg(width, height + legend, parts, label)
