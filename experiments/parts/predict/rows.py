"""A face as the lines of JSON and the tables have it, and its caption in pictures."""

from __future__ import annotations

from typing import Any

from fer_tf import recognise


def row(face: recognise.Face) -> dict[str, Any]:
    """Box in tenths of a pixel, score, label, confidence, probabilities by name."""
    probabilities = {name: round(p, 6) for name, p in face.probabilities.items()}
    return {
        "box": [round(v, 1) for v in face.box],
        "score": round(face.score, 3),
        "label": face.expression,
        "confidence": probabilities[face.expression],
        "probabilities": probabilities,
    }


def caption(face: recognise.Face, numbered: bool = False) -> str:
    """Its expression and confidence in percent; the person's number before them where there are several."""
    number = f"{face.number}: " if numbered and face.number else ""
    return f"{number}{face.expression} {face.confidence:.0%}"
