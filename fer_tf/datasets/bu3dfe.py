"""BU-3DFE: 100 people, six expressions at four levels and neutral, as 3D scans with a frontal texture picture.

    root/F0001/F0001_AN01WH_F2D.bmp ...      the texture pictures; the scans (.wrl) beside them are not read

Names carry subject (F female, M male), expression (AN, DI, FE, HA, SA, SU; NE), level (01 to 04; 00 for neutral) and
ethnicity (WH white, AE East Asian, AM Middle-East Asian, IN Indian, BL black, LA Hispanic).

Yin, Wei, Sun, Wang, Rosato: "A 3D Facial Expression Database For Facial Behavior Research" (FG 2006). Licence:
research only, by agreement with Binghamton University (Lijun Yin); pictures may not be passed on. Used by IA-gen and
ED2L (levels 3 and 4: 1,200 faces, ten folds by subject). CycleAT renders the scans at levels 3 and 4, and neutral, in
143 poses, which takes one's own renderer; its pictures can be read by the data set `folder`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection
from pathlib import Path

from fer_tf import trees
from fer_tf.records import EXPRESSIONS, Record

LEVELS = (3, 4)
FRAMES = "the last two levels"
COUNT = 1200
"""Faces with an expression at the last two levels."""
LABELS = "AN anger, DI disgust, FE fear, HA happiness, SA sadness, SU surprise, NE neutral"
TREE = "  F0001/F0001_AN01WH_F2D.bmp ..."
_NAME = re.compile(r"([FM]\d{4})_([A-Z]{2})(\d{2})([A-Z]{2})_F2D", re.IGNORECASE)


def records(root: str | Path | None = None, *, levels: Collection[int] = LEVELS) -> list[Record]:
    """The texture pictures at the given levels, and the neutral ones.

    Args:
      root: the folder above, or one that has it alone.
      levels: of intensity, out of 1 to 4.
    Returns:
      Records in the order subject, expression, level; `frame` is the level, 0 for neutral; `info` has intensity (level
      / 4) and ethnicity.
    Raises:
      FileNotFoundError: no such tree.
      ValueError: levels that there are not, or a name with an unknown expression; the message names it.
    """
    if not levels or not set(levels) <= {1, 2, 3, 4}:
        raise ValueError(f"BU-3DFE has the levels 1, 2, 3, 4: not {sorted(levels)}.")
    place, listed = trees.root_of(root, TREE), []
    for path in trees.walk(place):
        match = _NAME.match(path.stem)
        if not match:
            continue
        subject, code, level, ethnicity = match.groups()
        expression = trees.label(code, trees.WORDS, path)
        if expression != "neutral" and int(level) not in levels:
            continue
        listed.append(
            Record(
                str(path),
                expression,
                subject=subject.upper(),
                sequence=f"{subject.upper()}/{expression}",
                frame=int(level),
                domain="lab",
                info={"intensity": int(level) / 4, "ethnicity": ethnicity.upper()},
            )
        )
    if not listed:
        raise FileNotFoundError(f"{place} has no pictures named like BU-3DFE's: expected\n{TREE}")
    listed.sort(key=lambda r: (trees.natural(r.subject or ""), EXPRESSIONS.index(r.expression), r.frame))
    count = sum(r.expression != "neutral" for r in listed)
    if set(levels) == {*LEVELS} and count != COUNT:
        print(f"BU-3DFE: this copy has {count} faces with an expression; the papers have {COUNT}.", file=sys.stderr)
    return listed
