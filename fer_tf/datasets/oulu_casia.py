"""Oulu-CASIA NIR&VIS: 80 people x six expressions, from neutral to the peak; three lights, two cameras.

    root/B_OriginalImg/VL/Strong/P001/Anger/000.jpeg ...              the frames as they were taken, 320x240
    root/PreProcess Img/VL_Acropped/Strong/P001/Anger/000.jpeg ...    the owner's cropped faces

Any folder named VL... or NI... that has a folder Strong, Weak or Dark is taken, up to four levels below the root, since
copies differ in what lies around them. Where there are both forms, `cropped` chooses.

VL is the visible-light camera, NI the near infrared one. A sequence's frames bear its expression; its first frame is
neutral.

Zhao, Huang, Taini, Li, Pietikäinen: "Facial expression recognition from near-infrared videos" (Image and Vision
Computing 2011). Licence: research only, by agreement with the University of Oulu (Center for Machine Vision); its
pictures may not be passed on. Used by IA-gen, DE-GAN and ED2L (visible, strong light, last three frames: 1,440 faces,
ten folds by subject) and by GCNet (visible, "normal illumination").
"""

from __future__ import annotations

import sys
from pathlib import Path

from fer_tf import frames as rules
from fer_tf import trees
from fer_tf.records import Record

CAMERAS, LIGHTS = ("VL", "NI"), ("Strong", "Weak", "Dark")
FRAMES = "last3"
COUNTS = {"last3": 1440}
"""Faces with an expression, of one camera and light, that the papers have by a frame rule."""
LABELS = "folders Anger, Disgust, Fear, Happiness, Sadness, Surprise"
TREE = """  B_OriginalImg/VL/Strong/P001/Anger/000.jpeg ...
  PreProcess Img/VL_Acropped/Strong/P001/Anger/000.jpeg ..."""


def records(
    root: str | Path | None = None,
    *,
    frames: str = FRAMES,
    camera: str = "VL",
    light: str = "Strong",
    cropped: bool = False,
) -> list[Record]:
    """The sequences' frames by a rule, and their first frame as neutral.

    Args:
      root: the folder above, or one at or above the camera's.
      frames: a rule of `fer_tf.frames`.
      camera: VL or NI.
      light: Strong, Weak or Dark.
      cropped: the owner's cropped faces, which are `framed`, where there are both forms.
    Returns:
      Records in the order subject, expression, frame; `domain` is camera and light.
    Raises:
      FileNotFoundError: no such tree.
      ValueError: another camera or light, or an unknown folder of an expression; the message names it.
    """
    if camera not in CAMERAS or light not in LIGHTS:
        raise ValueError(
            f"Oulu-CASIA has cameras {', '.join(CAMERAS)} and lights {', '.join(LIGHTS)}: not {camera}, {light}."
        )
    place, small = _camera(Path(root) if root is not None else None, camera, light, cropped)
    listed, domain = [], f"{camera} {light}"
    for person in trees.folders(place / light):
        for folder in trees.folders(person):
            peak = trees.label(folder.name, trees.WORDS, folder)
            for number, path, expression in rules.shown(trees.files(folder), peak, frames):
                listed.append(
                    Record(
                        str(path),
                        expression,
                        subject=person.name,
                        sequence=f"{person.name}/{folder.name}",
                        frame=number,
                        domain=domain,
                        info={"framed": True} if small else {},
                    )
                )
    count = sum(r.expression != "neutral" for r in listed)
    if frames in COUNTS and count != COUNTS[frames]:
        print(
            f"Oulu-CASIA: this copy has {count} faces with an expression, {domain}; papers have {COUNTS[frames]}.",
            file=sys.stderr,
        )
    return listed


def _camera(root: Path | None, camera: str, light: str, cropped: bool) -> tuple[Path, bool]:
    """(the camera's folder that has the light, whether its faces are cropped)."""
    level = [root] if root is not None else []
    places = []
    for _ in range(5):
        places += [p for p in level if p.name.upper().startswith(camera) and (p / light).is_dir()]
        level = [child for folder in level for child in trees.folders(folder) if child.name not in LIGHTS]
    if not places:
        raise FileNotFoundError(f"{root or '--data_dir'} has no {camera} camera with {light}: expected\n{TREE}")
    small = [p for p in places if "crop" in p.name.lower()]
    plain = [p for p in places if p not in small]
    return (small[0], True) if small and (cropped or not plain) else (plain[0], False)
