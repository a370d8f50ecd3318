"""KDEF, Karolinska directed emotional faces: 4,900 pictures, 562x762, of 70 people in seven expressions.

    root/KDEF/AF01/AF01ANS.JPG ...        session, woman or man, number, expression, angle; also all in one folder

Each of the 35 women and 35 men was taken twice, in the sessions A and B: AF01 and BF01 are one person, F01.
Expressions: AF afraid, AN angry, DI disgusted, HA happy, NE neutral, SA sad, SU surprised; angles: FL full left, HL
half left, S straight, HR half right, FR full right. The averaged faces of AKDEF are passed by.

Lundqvist, Flykt, Öhman: "The Karolinska Directed Emotional Faces" (CD-ROM, Karolinska Institutet 1998). Licence:
non-commercial research, from kdef.se; pictures may not be passed on. Used by none of the five papers.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from fer_tf import trees
from fer_tf.records import EXPRESSIONS, Record

CODES = {
    "AF": "fear", "AN": "anger", "DI": "disgust", "HA": "happiness", "NE": "neutral", "SA": "sadness", "SU": "surprise",
}  # fmt: skip
ANGLES = ("FL", "HL", "S", "HR", "FR")
COUNT = 980
"""Pictures of each angle."""
LABELS = "AF fear, AN anger, DI disgust, HA happiness, NE neutral, SA sadness, SU surprise"
TREE = "  KDEF/AF01/AF01ANS.JPG ..."
_NAME = re.compile(rf"([AB])([FM]\d\d)({'|'.join(CODES)})({'|'.join(ANGLES)})", re.IGNORECASE)


def records(root: str | Path | None = None, *, angles: tuple[str, ...] = ("S",)) -> list[Record]:
    """The pictures of the given angles, in the order subject, session, expression, angle.

    Args:
      root: the folder above, or one above it.
      angles: out of FL, HL, S, HR, FR; profiles have a face that a frontal detector does not find.
    Returns:
      Records whose `domain` is the angle, and `sequence` person and session.
    Raises:
      FileNotFoundError: no such tree.
      ValueError: an unknown angle.
    """
    if unknown := [angle for angle in angles if angle not in ANGLES]:
        raise ValueError(f"KDEF has no angle {unknown[0]!r}: use {', '.join(ANGLES)}.")
    place, listed, others = trees.root_of(root, TREE), [], 0
    for path in trees.walk(place):
        if not (match := _NAME.fullmatch(path.stem)):
            others += 1
            continue
        session, person, code, angle = (word.upper() for word in match.groups())
        if angle in angles:
            listed.append(Record(str(path), CODES[code], person, f"{person}/{session}", domain=angle))
    if not listed:
        raise FileNotFoundError(f"{place} has no pictures named like KDEF's: expected\n{TREE}")
    if others:
        print(f"KDEF: {others} pictures are not named like its own, and left aside.", file=sys.stderr)
    if len(listed) != COUNT * len({*angles}):
        print(f"KDEF: this copy has {len(listed)} pictures; the owner's has {COUNT * len({*angles})}.", file=sys.stderr)
    return sorted(
        listed, key=lambda r: (r.subject, r.sequence, EXPRESSIONS.index(r.expression), ANGLES.index(r.domain))
    )
