"""What a finished recogniser names of a person whom it has other pictures of, none of them labelled.

What it says of a face is put beside what it says of that person on average: log p(k | face) minus the mean over the
person's pictures. The control takes the mean over everybody off, which removes what the network prefers, not what the
person looks like. Nothing is trained.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FLOOR = 1e-5
"""The least probability that is told apart from none."""


def beside(log_p: np.ndarray, people: np.ndarray, others: int = 0, seed: int = 0) -> np.ndarray:
    """Log probabilities beside those of the person on average.

    Args:
      log_p: (N, K) float.
      people: (N,), who is shown.
      others: of so many of the person's other pictures, drawn anew for each face; 0 for all, the face's own with them.
      seed: of the draw.
    Returns:
      (N, K) float64, to be compared within a row.
    Raises:
      ValueError: a person has no more than `others` pictures.
    """
    draw, made = np.random.default_rng(seed), np.array(log_p, np.float64)
    for person in np.unique(people):
        own = np.flatnonzero(people == person)
        if len(own) <= others:
            raise ValueError(f"{person} has {len(own)} pictures: {others} others of each are too many.")
        for row in own:
            known = draw.choice(own[own != row], others, replace=False) if others else own
            made[row] -= np.mean(log_p[known], 0)
    return made


def measured(
    probabilities: np.ndarray, labels: np.ndarray, people: np.ndarray, others: Sequence[int] = (3, 6, 12)
) -> dict[str, float]:
    """{measure: share of the faces that are named as labelled}.

    Args:
      probabilities: (N, K) float, of a recogniser.
      labels: (N,) int in [0, K).
      people: (N,), who is shown.
      others: numbers of other pictures; those that somebody does not have are left out.
    """
    log_p = np.log(np.asarray(probabilities, np.float64) + FLOOR)
    fewest = int(np.unique(people, return_counts=True)[1].min())
    seen = {
        "as_is": log_p,
        "beside_everybody": log_p - log_p.mean(0),
        "beside_the_person": beside(log_p, people),
        **{f"beside_{n}_others": beside(log_p, people, n) for n in others if n < fewest},
    }
    return {name: float(np.mean(rows.argmax(1) == labels)) for name, rows in seen.items()}
