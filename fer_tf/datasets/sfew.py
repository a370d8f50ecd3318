"""SFEW, static facial expressions in the wild: frames of films, seven expressions.

    root/Set1/Angry/Airheads_000519240_00000005.png ...     the release of 2011: 700 pictures of 95 people, two sets
    root/Set2/...
    root/Train/Train_Aligned_Faces/Angry/....png            SFEW 2.0 (EmotiW 2015): train, validation (and a test
    root/Val/Val_Aligned_Faces_new/Angry/....png            without labels, which is not read)

The two sets share no person. Folders between a part and its classes are passed by, of aligned faces and whole pictures
the faces are taken (they are `framed`), unless `aligned` says otherwise. Nobody is named: `split` is set1 and set2, or
train and validation.

Dhall, Goecke, Lucey, Gedeon: "Static Facial Expressions in Tough Conditions: Data, Evaluation Protocol and Benchmark"
(ICCV Workshops 2011). Licence: research only, by agreement (Abhinav Dhall); pictures may not be passed on. Used by
CycleAT (target; set 1: 346, set 2: 354 pictures, each tested once) and by GCNet (Table VI: the validation part).
"""

from __future__ import annotations

import sys
from pathlib import Path

from fer_tf import trees
from fer_tf.records import Record

PARTS = {"set1": "set1", "set2": "set2", "train": "train", "val": "validation"}
"""How a part's folder begins or ends, in lower case without _ and spaces -> its split."""
COUNTS = {"set1": 346, "set2": 354, "train": 958, "validation": 436}
LABELS = "folders Angry, Disgust, Fear, Happy, Neutral, Sad, Surprise"
TREE = """  Set1/Angry/Airheads_000519240_00000005.png ...   and Set2/...
or
  Train/Train_Aligned_Faces/Angry/....png ...   and Val/..."""


def records(root: str | Path | None = None, *, aligned: bool = True) -> list[Record]:
    """All labelled pictures, in the order part, expression, name.

    Args:
      root: the folder above, or one that has it.
      aligned: the owner's aligned faces where there are both forms.
    Raises:
      FileNotFoundError: no such tree.
    """
    parts = next(filter(None, map(_parts, trees.near(root))), None)
    if parts is None:
        raise FileNotFoundError(f"{root or '--data_dir'} is not SFEW: expected a folder with\n{TREE}")
    listed = []
    for split, folder in parts.items():
        forms = _classes(folder)
        small = [form for form in forms if "align" in str(form.relative_to(folder.parent)).lower()]
        form = (small or forms)[0] if aligned else next((f for f in forms if f not in small), forms[0])
        for child in trees.folders(form):
            expression = trees.label(child.name, trees.WORDS, child)
            info = {"framed": True} if form in small else {}
            listed += [
                Record(str(path), expression, sequence=split, domain="film", split=split, info=info)
                for path in trees.walk(child)
            ]
    counts = {split: sum(r.split == split for r in listed) for split in parts}
    if counts != {split: COUNTS[split] for split in parts}:
        print(f"SFEW: this copy has {counts}; the owner's has {COUNTS}.", file=sys.stderr)
    return listed


def _parts(place: Path) -> dict[str, Path]:
    """{split: folder} of those below a folder that have classes; empty without a complete pair."""
    folders = {}
    for folder in trees.folders(place):
        word = folder.name.lower().replace("_", "").replace(" ", "")
        split = next((s for mark, s in PARTS.items() if word.startswith(mark) or word.endswith(mark)), None)
        if split and _classes(folder):
            folders[split] = folder
    whole = {"set1", "set2"} <= set(folders) or {"train", "validation"} <= set(folders)
    return {split: folders[split] for split in COUNTS if split in folders} if whole else {}


def _classes(folder: Path) -> list[Path]:
    """The folder itself, or those up to two levels below it, whose folders are all expressions."""
    level, complete = [folder], []
    for _ in range(3):
        for place in level:
            names = [child.name.lower() for child in trees.folders(place)]
            if names and all(name in trees.WORDS for name in names):
                complete.append(place)
        level = [child for place in level if place not in complete for child in trees.folders(place)]
    return complete
