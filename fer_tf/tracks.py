"""Numbers for the people of a film: who is where somebody was a moment ago is the same person. No TensorFlow.

Faces are not compared: of two people who change places behind each other the numbers may change too, and after a cut a
new person at an old one's place has that one's number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Box = tuple[float, float, float, float]
OVERLAP = 0.3
"""Least intersection over union of two boxes that overlap."""
NEAR = 1.0
"""Most distance between the centres of two that do not, in widths of the larger."""
LIKE = 1.6
"""Most times that the larger of two that do not overlap is as wide."""
GONE = 2.0
"""Seconds after which a person who was not seen is forgotten."""


class Tracks:
    """Gives the faces of one frame after the other their numbers, from 1.

    Attributes:
      people: how many numbers were given.
    """

    def __init__(self) -> None:
        self.people = 0
        self._seen: dict[int, tuple[Box, float]] = {}

    def numbers(self, boxes: Sequence[Box], seconds: float) -> list[int]:
        """The number of each face: of the person whose box it overlaps most, else of the nearest one, else a new one.

        Args:
          boxes: (left, top, right, bottom) of the faces of a frame.
          seconds: its time, not before the last one's.
        """
        self._seen = {n: seen for n, seen in self._seen.items() if seconds - seen[1] <= GONE}
        pairs = [(*_apart(old, box), at, number) for number, (old, _) in self._seen.items()
                 for at, box in enumerate(boxes)]  # fmt: skip
        found: dict[int, int] = {}
        for group, _, at, number in sorted(pairs):
            if group < 2 and at not in found and number not in found.values():
                found[at] = number
        for at, box in enumerate(boxes):
            if at not in found:
                self.people += 1
                found[at] = self.people
            self._seen[found[at]] = box, seconds
        return [found[at] for at in range(len(boxes))]


def _apart(old: Box, new: Box) -> tuple[int, float]:
    """How little two boxes belong together: (0, -overlap), (1, distance), or (2, 0) where they do not."""
    widths = old[2] - old[0], new[2] - new[0]
    sides = [max(0.0, min(old[i + 2], new[i + 2]) - max(old[i], new[i])) for i in (0, 1)]
    both, areas = math.prod(sides), [(b[2] - b[0]) * (b[3] - b[1]) for b in (old, new)]
    if both >= OVERLAP * (sum(areas) - both) and both:
        return 0, -both / (sum(areas) - both)
    distance = math.dist(*([(b[0] + b[2]) / 2, (b[1] + b[3]) / 2] for b in (old, new)))
    if min(widths) > 0 and max(widths) <= LIKE * min(widths) and distance <= NEAR * max(widths):
        return 1, distance
    return 2, 0.0
