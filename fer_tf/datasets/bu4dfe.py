"""BU-4DFE: 101 people x six expressions as sequences of about 100 textured scans, neutral to the peak and back.

    root/F001/Angry/000.jpg ...       the texture pictures; the scans (.wrl) beside them are not read

Folders named Angry, Disgust, Fear, Happy, Sad, Surprise; a sequence's frames bear its expression, its first is neutral.
Its peak is taken for the middle frame, since nothing says where it is.

Yin, Chen, Sun, Worm, Reale: "A High-Resolution 3D Dynamic Facial Expression Database" (FG 2008). Licence: research,
by agreement with Binghamton University (Lijun Yin); pictures may not be passed on. Used by IA-gen (pre-training; seven
frames around the peak, which it counts as 4,272 although 101 x 6 x 7 are 4,242) and by DE-GAN (pre-training on all
frames, 60,600).
"""

from __future__ import annotations

import sys
from pathlib import Path

from fer_tf import frames as rules
from fer_tf import trees
from fer_tf.records import Record

FRAMES = "around7"
COUNTS = {"around7": 4242, "all": 60_600}
"""Faces with an expression by a frame rule: the product of people, expressions and seven; DE-GAN's number."""
LABELS = "folders Angry, Disgust, Fear, Happy, Sad, Surprise"
TREE = "  F001/Angry/000.jpg ..."


def records(root: str | Path | None = None, *, frames: str = FRAMES) -> list[Record]:
    """The sequences' frames by a rule, and their first frame as neutral.

    Args:
      root: the folder above, or one that has it alone.
      frames: a rule of `fer_tf.frames`.
    Returns:
      Records in the order subject, expression, frame.
    Raises:
      FileNotFoundError: no such tree.
      ValueError: an unknown folder of an expression; the message names it.
    """
    place = trees.root_of(root, TREE, *(f"{sex}{n:03d}" for sex in "FM" for n in range(1, 60)))
    listed = []
    for person in trees.folders(place):
        for folder in trees.folders(person):
            peak, sequence = trees.label(folder.name, trees.WORDS, folder), f"{person.name}/{folder.name}"
            for number, path, expression in rules.shown(trees.files(folder), peak, frames):
                listed.append(Record(str(path), expression, person.name, sequence=sequence, frame=number, domain="lab"))
    if not listed:
        raise FileNotFoundError(f"{place} has no pictures: expected\n{TREE}")
    count = sum(r.expression != "neutral" for r in listed)
    if frames in COUNTS and count != COUNTS[frames]:
        print(
            f"BU-4DFE: this copy has {count} faces with an expression; {COUNTS[frames]} were expected.", file=sys.stderr
        )
    return listed
