"""FER-2013 (Goodfellow et al., "Challenges in Representation Learning", ICONIP 2013): 35,887 grey web faces of 48x48.

    root/fer2013_train.npz          28,709 pictures: image (N, 48, 48) uint8, label (N,) uint8
    root/fer2013_public_test.npz     3,589 pictures
    root/fer2013_private_test.npz    3,589 pictures

`label` counts in the order anger, contempt, disgust, fear, happiness, sadness, surprise, neutral; contempt does not
occur. The owner's fer2013.csv becomes this form with `np.savez(..., image=, label=)`, after its own order (angry,
disgust, fear, happy, sad, surprise, neutral) has been renamed. No identities. For research; pictures are not shared on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fer_tf.records import EXPRESSIONS, Record

SPLITS = ("train", "public_test", "private_test")
TREE = "\n".join(f"  fer2013_{split}.npz   (image (N, 48, 48) uint8, label (N,) uint8)" for split in SPLITS)


def records(root: str | Path | None = None, *, splits: tuple[str, ...] = SPLITS) -> list[Record]:
    """The pictures of the given splits.

    Args:
      root: folder of the three files.
      splits: out of train, public_test, private_test.
    Returns:
      Records with a 48x48 uint8 image, an expression and a split, no subject; `info["framed"]` is True.
    Raises:
      FileNotFoundError: a file is missing; the message shows the expected tree.
      ValueError: an unknown split, or a label outside 0..7; the message names the file.
    """
    found: list[Record] = []
    for split in splits:
        if split not in SPLITS:
            raise ValueError(f"FER-2013 has no split {split!r}: use {', '.join(SPLITS)}.")
        path = Path(root or ".") / f"fer2013_{split}.npz"
        if root is None or not path.is_file():
            raise FileNotFoundError(f"{path} is missing: --data_dir has to be a folder with\n{TREE}")
        with np.load(path) as pack:
            images, labels = pack["image"], pack["label"]
        if labels.max() >= len(EXPRESSIONS) or images.shape[1:] != (48, 48) or len(images) != len(labels):
            raise ValueError(
                f"{path}: image {images.shape} and labels up to {labels.max()} are not FER-2013's: expected (N, 48, 48) "
                f"and labels 0 to 7 in the order {', '.join(EXPRESSIONS)}."
            )
        found += [
            Record(image, EXPRESSIONS[label], sequence=split, frame=i, domain="web", split=split, info={"framed": True})
            for i, (image, label) in enumerate(zip(images, labels, strict=True))
        ]
    return found
