"""AFEW, acted facial expressions in the wild: clips of films, seven expressions.

    root/Train_AFEW/Angry/000046280.avi                         the clips; likewise Val_AFEW
    root/Train_AFEW/Angry/000046280/000046280_00001.jpg ...     or a folder of frames for each, cut out or aligned faces
    root/Train_AFEW/AlignedFaces_LBPTOP_Points/Faces/000046280/000.jpg ...
                                                                the owner's aligned faces, which are `framed`; in
                                                                Val_AFEW/ AlignedFaces_LBPTOP_Points_Val/

The owner's faces are taken where there are some for a clip, else its folder of frames, else the clip itself. They lie
in one folder for all expressions, so that the clip, or its folder, has to be there to say which it shows. A clip's
frames bear its expression. Nobody is named; `sequence` is the clip, `split` train or validation.

Dhall, Goecke, Lucey, Gedeon: "Collecting Large, Richly Annotated Facial-Expression Databases from Movies" (IEEE
MultiMedia 2012). Licence: research only, by agreement (Abhinav Dhall); pictures may not be passed on. Used by none of
the five papers; SFEW is made of it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fer_tf import films, trees
from fer_tf import frames as rules
from fer_tf.records import Record

FRAMES = "all"
LABELS = "folders Angry, Disgust, Fear, Happy, Neutral, Sad, Surprise"
TREE = """  Train_AFEW/Angry/000046280.avi   or
  Train_AFEW/Angry/000046280/000046280_00001.jpg ...   and Val_AFEW/...
  Train_AFEW/AlignedFaces_LBPTOP_Points/Faces/000046280/000.jpg ...   beside them, where they are there"""
OWN = "alignedfaces_lbptop_points"
"""How the folder of the owner's faces begins, in small letters."""


def records(root: str | Path | None = None, *, frames: str = FRAMES, aligned: bool = True) -> list[Record]:
    """The frames of all clips by a rule of `fer_tf.frames`, in the order part, expression, clip, frame.

    Args:
      root: the folder above, or one that has it.
      frames: a rule of `fer_tf.frames`.
      aligned: the owner's aligned faces, where there are some.
    Raises:
      FileNotFoundError: no such tree, or one without clips.
      ValueError: an unknown folder of an expression, a clip that is no film, or one of two expressions; the message
        names it.
    """
    listed = []
    parts = {p: s for place in trees.near(root, 1) for p in trees.folders(place) if (s := _split(p.name))}
    for part, split in parts.items():
        faces = _faces(part) if aligned else {}
        told: dict[str, str] = {}
        for folder in trees.folders(part):
            if folder.name.lower().startswith(OWN):
                continue
            expression = trees.label(folder.name, trees.WORDS, folder)
            for clip, images in _clips(folder, faces):
                if clip in faces and told.setdefault(clip, expression) != expression:
                    raise ValueError(f"{folder}: clip {clip} lies in the folder of {told[clip]}, too.")
                info = {"framed": True} if clip in faces else {}
                for number in rules.chosen(range(len(images)), frames):
                    shown: dict[str, Any] = {
                        "sequence": f"{split}/{clip}",
                        "frame": number,
                        "domain": "film",
                        "split": split,
                    }
                    listed.append(Record(images[number], expression, **shown, info=info))
        if strangers := sorted({*faces} - {*told}):
            print(f"AFEW: {len(strangers)} clips of {split} are left out, such as {strangers[0]}: there are aligned "
                  "faces, and no clip in an expression's folder.", file=sys.stderr)  # fmt: skip
    if not listed:
        raise FileNotFoundError(f"{root or '--data_dir'} is not AFEW: expected a folder with\n{TREE}")
    return listed


def _faces(part: Path) -> dict[str, list[str]]:
    """{clip: the owner's aligned faces}."""
    own = [folder for folder in trees.folders(part) if folder.name.lower().startswith(OWN)]
    places = [faces for folder in own if (faces := trees.child(folder, "Faces"))]
    found = {clip.name: [str(path) for path in trees.files(clip)] for place in places for clip in trees.folders(place)}
    return {clip: pictures for clip, pictures in found.items() if pictures}


def _clips(folder: Path, faces: Mapping[str, list[str]]) -> list[tuple[str, Sequence[str | tuple[str, int]]]]:
    """(clip, images of its records in order): aligned faces, else pictures, else frames of the film."""
    clips: dict[str, Sequence[str | tuple[str, int]]] = {}
    for clip in trees.folders(folder):
        clips[clip.name] = faces.get(clip.name) or [str(path) for path in trees.files(clip)]
    for film in trees.files(folder, films.ENDINGS):
        if not clips.get(film.stem):
            own = faces.get(film.stem)
            clips[film.stem] = own or [(str(film), number) for number in range(films.count(film))]
    return sorted(clips.items(), key=lambda pair: trees.natural(pair[0]))


def _split(name: str) -> str | None:
    word = name.lower()
    return "train" if word.startswith("train") else "validation" if word.startswith("val") else None
