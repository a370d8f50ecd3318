"""AFEW, acted facial expressions in the wild: clips of films, seven expressions, as frames.

    root/Train_AFEW/Angry/000046280/000046280_00001.jpg ...     a folder of frames for each clip; likewise Val_AFEW

The clips (.avi) beside them are not read: cut them to frames first, or take the aligned faces that come with EmotiW. A
clip's frames bear its expression. Nobody is named; `sequence` is the clip, `split` train or validation.

Dhall, Goecke, Lucey, Gedeon: "Collecting Large, Richly Annotated Facial-Expression Databases from Movies" (IEEE
MultiMedia 2012). Licence: research only, by agreement (Abhinav Dhall); pictures may not be passed on. Used by none of
the five papers; SFEW is made of it.
"""

from __future__ import annotations

from pathlib import Path

from fer_tf import frames as rules
from fer_tf import trees
from fer_tf.records import Record

FRAMES = "all"
TREE = "  Train_AFEW/Angry/000046280/000046280_00001.jpg ...   and Val_AFEW/..."


def records(root: str | Path | None = None, *, frames: str = FRAMES) -> list[Record]:
    """The frames of all clips by a rule of `fer_tf.frames`, in the order part, expression, clip, frame.

    Args:
      root: the folder above, or one that has it alone.
      frames: a rule of `fer_tf.frames`.
    Raises:
      FileNotFoundError: no such tree, or one without frames.
      ValueError: an unknown folder of an expression; the message names it.
    """
    places = [] if root is None else [Path(root), *trees.folders(root)]
    parts = [(p, s) for place in places for p in trees.folders(place) if (s := _split(p.name))]
    found = []
    for part, split in dict.fromkeys(parts):
        for folder in trees.folders(part):
            expression = trees.label(folder.name, trees.WORDS, folder)
            for clip in trees.folders(folder):
                for number, path in enumerate(rules.chosen(trees.files(clip), frames)):
                    name = f"{split}/{clip.name}"
                    found.append(Record(str(path), expression, sequence=name, frame=number, domain="film", split=split))
    if not found:
        raise FileNotFoundError(f"{root or '--data_dir'} is not AFEW, cut to frames: expected a folder with\n{TREE}")
    return found


def _split(name: str) -> str | None:
    word = name.lower()
    return "train" if word.startswith("train") else "validation" if word.startswith("val") else None
