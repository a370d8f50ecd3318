"""Which frames of a sequence a paper takes, as named rules. No TensorFlow.

A rule takes the frames of one sequence, in order, and gives those that are used; the rules that need a peak take its
place, the middle one where nobody says which it is.

    last3        the last three (IA-gen, DE-GAN, ED2L on CK+ and Oulu-CASIA)
    middle3      three around the peak (DE-GAN, ED2L, GCNet on MMI, whose sequences go back to neutral)
    around7      seven around the peak (IA-gen on BU-4DFE)
    all          all of them, each with the sequence's expression (DE-GAN's pre-training: 60,600 frames of BU-4DFE)

The last two levels of intensity (IA-gen, ED2L on BU-3DFE) are that data set's `levels`, since it has no sequences. That
a sequence's first frame is its neutral face (GCNet) is `shown`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Frame = TypeVar("Frame")


def last(frames: Sequence[Frame], count: int = 3, peak: int | None = None) -> list[Frame]:
    """The last `count`, or all where there are fewer; `peak` plays no part."""
    return list(frames[-count:])


def around(frames: Sequence[Frame], count: int = 3, peak: int | None = None) -> list[Frame]:
    """`count` frames with the peak in their middle, moved inwards where the sequence begins or ends."""
    peak = len(frames) // 2 if peak is None else peak
    start = min(max(0, peak - count // 2), max(0, len(frames) - count))
    return list(frames[start : start + count])


def every(frames: Sequence[Frame], count: int = 0, peak: int | None = None) -> list[Frame]:
    """All of them."""
    return list(frames)


RULES: dict[str, tuple[Callable[..., list], int]] = {
    "last3": (last, 3),
    "middle3": (around, 3),
    "around7": (around, 7),
    "all": (every, 0),
}
"""Name -> (function, number of frames)."""


def chosen(frames: Sequence[Frame], rule: str, peak: int | None = None) -> list[Frame]:
    """The frames of one sequence that a rule of `RULES` takes.

    Args:
      frames: in their order.
      rule: its name.
      peak: place of the strongest frame, where it is known.
    Raises:
      ValueError: an unknown rule; the message lists them.
    """
    if rule not in RULES:
        raise ValueError(f"Unknown frame rule {rule!r}: use {', '.join(RULES)}.")
    function, count = RULES[rule]
    return function(frames, count, peak)


def shown(frames: Sequence[Frame], expression: str, rule: str, peak: int | None = None) -> list[tuple[int, Frame, str]]:
    """A sequence that begins neutral: (place, frame, expression) of its first frame, neutral, and of the rule's frames.

    The first frame stays neutral where the rule takes it, too; by "all" every frame bears the expression. `peak` is as
    for `chosen`.
    """
    if rule == "all":
        return [(n, frame, expression) for n, frame in enumerate(frames)]
    numbers = [0, *(n for n in chosen(range(len(frames)), rule, peak) if n)] if frames else []
    return [(n, frames[n], expression if n else "neutral") for n in numbers]
