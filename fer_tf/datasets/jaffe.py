"""JAFFE: 213 grey pictures, 256x256, of ten Japanese women in six expressions and neutral.

    root/KA.AN1.39.tiff ...        subject.expression and number.running number

Expressions: AN anger, DI disgust, FE fear, HA happiness, SA sadness, SU surprise, NE neutral.

Lyons, Akamatsu, Kamachi, Gyoba: "Coding Facial Expressions with Gabor Wavelets" (FG 1998). Licence: non-commercial
research, from zenodo.org/record/3451524; pictures may not be passed on. Used by none of the five papers; small enough
to try a protocol on.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from fer_tf import trees
from fer_tf.records import EXPRESSIONS, Record

COUNT = 213
LABELS = "AN anger, DI disgust, FE fear, HA happiness, SA sadness, SU surprise, NE neutral"
TREE = "  KA.AN1.39.tiff ..."
_NAME = re.compile(r"([A-Z]{2})\.([A-Z]{2})(\d+)\.(\d+)", re.IGNORECASE)


def records(root: str | Path | None = None) -> list[Record]:
    """All pictures, in the order subject, expression, number.

    Args:
      root: the folder with the pictures, or one above it.
    Raises:
      FileNotFoundError: no such tree.
      ValueError: a name with an unknown expression; the message names it.
    """
    place, listed = trees.root_of(root, TREE), []
    for path in trees.walk(place):
        if not (match := _NAME.match(path.name)):
            continue
        subject, code, number, _ = match.groups()
        expression = trees.label(code, trees.WORDS, path)
        sequence = f"{subject.upper()}/{expression}"
        listed.append(
            Record(str(path), expression, subject=subject.upper(), sequence=sequence, frame=int(number), domain="lab")
        )
    if not listed:
        raise FileNotFoundError(f"{place} has no pictures named like JAFFE's: expected\n{TREE}")
    if len(listed) != COUNT:
        print(f"JAFFE: this copy has {len(listed)} pictures; the owner's has {COUNT}.", file=sys.stderr)
    return sorted(listed, key=lambda r: (r.subject, EXPRESSIONS.index(r.expression), r.frame))
