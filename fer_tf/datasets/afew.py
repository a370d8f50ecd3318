"""AFEW, acted facial expressions in the wild: clips of films, seven expressions.

    root/Train_AFEW/Angry/000046280.avi                         the clips; likewise Val_AFEW
    root/Train_AFEW/Angry/000046280/000046280_00001.jpg ...     or a folder of frames for each, cut out or aligned faces

A clip is read itself where there is no folder of its frames. Its frames bear its expression. Nobody is named;
`sequence` is the clip, `split` train or validation.

Dhall, Goecke, Lucey, Gedeon: "Collecting Large, Richly Annotated Facial-Expression Databases from Movies" (IEEE
MultiMedia 2012). Licence: research only, by agreement (Abhinav Dhall); pictures may not be passed on. Used by none of
the five papers; SFEW is made of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fer_tf import films, trees
from fer_tf import frames as rules
from fer_tf.records import Record

FRAMES = "all"
LABELS = "folders Angry, Disgust, Fear, Happy, Neutral, Sad, Surprise"
TREE = """  Train_AFEW/Angry/000046280.avi   or
  Train_AFEW/Angry/000046280/000046280_00001.jpg ...   and Val_AFEW/..."""


def records(root: str | Path | None = None, *, frames: str = FRAMES) -> list[Record]:
    """The frames of all clips by a rule of `fer_tf.frames`, in the order part, expression, clip, frame.

    Args:
      root: the folder above, or one that has it alone.
      frames: a rule of `fer_tf.frames`.
    Raises:
      FileNotFoundError: no such tree, or one without clips.
      ValueError: an unknown folder of an expression, or a clip that is no film; the message names it.
    """
    places = [] if root is None else [Path(root), *trees.folders(root)]
    parts = [(p, s) for place in places for p in trees.folders(place) if (s := _split(p.name))]
    listed = []
    for part, split in dict.fromkeys(parts):
        for folder in trees.folders(part):
            expression = trees.label(folder.name, trees.WORDS, folder)
            for clip, images in _clips(folder):
                name = f"{split}/{clip}"
                for number in rules.chosen(range(len(images)), frames):
                    image = images[number]
                    listed.append(Record(image, expression, sequence=name, frame=number, domain="film", split=split))
    if not listed:
        raise FileNotFoundError(f"{root or '--data_dir'} is not AFEW: expected a folder with\n{TREE}")
    return listed


def _clips(folder: Path) -> list[tuple[str, Sequence[str | tuple[str, int]]]]:
    """(clip, images of its records in order): pictures, else frames of the film."""
    clips: dict[str, Sequence[str | tuple[str, int]]] = {}
    for clip in trees.folders(folder):
        clips[clip.name] = [str(path) for path in trees.files(clip)]
    for film in trees.files(folder, films.ENDINGS):
        if not clips.get(film.stem):
            clips[film.stem] = [(str(film), number) for number in range(films.count(film))]
    return sorted(clips.items(), key=lambda pair: trees.natural(pair[0]))


def _split(name: str) -> str | None:
    word = name.lower()
    return "train" if word.startswith("train") else "validation" if word.startswith("val") else None
