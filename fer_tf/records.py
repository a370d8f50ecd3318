"""What an image is, who is in it, and which people may be in which fold. No TensorFlow.

`Record` describes one labelled image. `subject_folds` deals whole people to folds, in one of the two ways in which "10
folds by ID in ascending order" can be read. A manifest (`folds.json`) fixes folds so that others can use the same
ones. `leaks` finds people or pictures that stand on both sides of a fold.
"""

from __future__ import annotations

import hashlib
import json
import numbers
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import h5py
import numpy as np

from fer_tf import files, films, recordio

EXPRESSIONS = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
CLASSES = {
    "six": tuple(e for e in EXPRESSIONS if e not in ("contempt", "neutral")),
    "seven": tuple(e for e in EXPRESSIONS if e != "neutral"),
    "six_neutral": tuple(e for e in EXPRESSIONS if e != "contempt"),
    "eight": EXPRESSIONS,
}
"""Named class sets: six basic, seven with contempt, six and neutral, all eight; each in the order of EXPRESSIONS."""

ORDERS = ("contiguous", "strided")
"""How people, in ascending order, are dealt to folds; see `subject_folds`."""

Image = str | bytes | np.ndarray | tuple[str, int]


@dataclass(frozen=True, slots=True)
class Record:
    """One image and what its data set says of it.

    Attributes:
      image: a file's path, a Path too; encoded bytes (JPEG, PNG ...); a uint8 array (H, W) or (H, W, 3); (path of an
        HDF5 file, index into its data set "image", which holds either encoded bytes or uint8 arrays); (path of a
        film, which ends with one of `films.ENDINGS`, number of the frame); or (path of a .rec file, place in it).
      expression: one of EXPRESSIONS, or None where the data set has no label.
      subject: the person, unique within the data set, a whole number too; None where it does not say.
      sequence, frame: which sequence of that person the image comes from, and its number there.
      domain: where the image was taken (lab, wild, a camera ...).
      split: the data set's own part (train, public_test ...), where it has one.
      info: anything else: intensity, pan, tilt, landmarks (68, 2) in pixels, box (left, top, right, bottom) of the face
        in pixels, face (its number, where a picture has several records), framed (True: already cut like a face),
        turn (degrees clockwise, 90, 180 or 270, that set the stored picture upright).
    """

    image: Image
    expression: str | None = None
    subject: str | None = None
    sequence: str | None = None
    frame: int | None = None
    domain: str | None = None
    split: str | None = None
    info: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        image: Any = self.image
        if isinstance(image, tuple):
            object.__setattr__(self, "image", (os.path.expanduser(image[0]), int(image[1])))
        elif isinstance(image, (str, os.PathLike)):
            object.__setattr__(self, "image", os.path.expanduser(image))
        for name in ("subject", "sequence", "split", "domain"):
            if isinstance(value := getattr(self, name), numbers.Integral):
                object.__setattr__(self, name, str(int(value)))

    @property
    def name(self) -> str:
        """A short name for messages: the path, the place in the HDF5 file or film, or the kind of the data."""
        if isinstance(self.image, tuple):
            return f"{os.path.basename(self.image[0])}[{self.image[1]}]"
        if isinstance(self.image, str):
            return self.image
        return f"{'array' if isinstance(self.image, np.ndarray) else 'bytes'} of subject {self.subject}"

    def key(self) -> str:
        """A name that does not depend on the machine: the last two parts of the path, or subject/sequence/frame.

        A prepared face has that of the picture it was cut from.
        """
        if isinstance(self.image, str) or "picture" in self.info:
            return "/".join(Path(self.info.get("picture", self.image)).parts[-2:])
        if is_frame(self.image):
            return f"{'/'.join(Path(self.image[0]).parts[-2:])}[{self.image[1]}]"
        if isinstance(self.image, tuple):
            return self.name
        return f"{self.subject}/{self.sequence}/{self.frame}/{self.expression}/{content_hash(self)[:12]}"


def is_frame(image: Image) -> TypeGuard[tuple[str, int]]:
    """Whether a record's image is a frame of a film."""
    return isinstance(image, tuple) and image[0].lower().endswith(films.ENDINGS)


def is_packed(image: Image) -> TypeGuard[tuple[str, int]]:
    """Whether a record's image lies in a RecordIO file."""
    return isinstance(image, tuple) and image[0].lower().endswith(recordio.ENDING)


class Fold(NamedTuple):
    """Indices into the list of records: who trains, who is held out."""

    train: tuple[int, ...]
    test: tuple[int, ...]


def classes_of(name: str | Sequence[str]) -> tuple[str, ...]:
    """A named class set (six, seven, six_neutral, eight), or labels separated by commas, in the order of EXPRESSIONS.

    Raises:
      ValueError: an unknown label; the message names it.
    """
    if isinstance(name, str) and name in CLASSES:
        return CLASSES[name]
    wanted = [label.strip() for label in name.split(",")] if isinstance(name, str) else list(name)
    unknown = [label for label in wanted if label not in EXPRESSIONS]
    if unknown or not wanted:
        raise ValueError(
            f"Unknown classes {unknown}: use one of {', '.join(CLASSES)}, or labels out of {', '.join(EXPRESSIONS)}."
        )
    return tuple(label for label in EXPRESSIONS if label in wanted)


def of_classes(records: Iterable[Record], classes: Sequence[str]) -> list[Record]:
    """The records whose expression is one of `classes`, in their order."""
    return [record for record in records if record.expression in classes]


def subject_order(subjects: Iterable[str]) -> list[str]:
    """Distinct subjects in ascending order; runs of digits compare as numbers, so S9 comes before S10."""

    def natural(subject: str) -> tuple[list[tuple[int, int | str]], str]:
        parts = [part for part in re.split(r"([0-9]+)", subject) if part]
        return [(0, int(part)) if part[0] in "0123456789" else (1, part) for part in parts], subject

    return sorted(set(subjects), key=natural)


def subjects_of(records: Iterable[Record]) -> list[str]:
    """Distinct subjects of records in ascending order; records without one are passed by."""
    return subject_order(record.subject for record in records if record.subject is not None)


def subject_folds(records: Sequence[Record], k: int, order: str = "contiguous") -> list[Fold]:
    """Deals the subjects, in ascending order, to k folds; fold i holds out the i-th part and trains on the others.

    Args:
      records: all with a subject.
      k: number of folds, 2 to the number of subjects.
      order: `contiguous` blocks of the sorted subjects (IA-gen, ED2L), whose sizes differ by one at most; or `strided`,
        every k-th subject (GCNet's "sampling in ID ascending order with ten even intervals", DE-GAN).
    Raises:
      ValueError: a record without a subject, too few subjects, or an unknown order.
    """
    for record in records:
        if record.subject is None:
            raise ValueError(
                f"{record.name} has no subject, so folds by subject cannot be made: give every record one."
            )
    subjects = subjects_of(records)
    if len(subjects) < 2:
        who = f"all {len(records)} pictures show {subjects[0]}" if subjects else "there are no pictures"
        raise ValueError(f"Folds by subject need two people or more, and {who}: nobody else could be held out.")
    if not 2 <= k <= len(subjects):
        raise ValueError(f"{k} folds of {len(subjects)} subjects: the number of folds must be 2 to {len(subjects)}.")
    if order == "contiguous":
        parts = [list(part) for part in np.array_split(np.array(subjects, dtype=object), k)]
    elif order == "strided":
        parts = [subjects[i::k] for i in range(k)]
    else:
        raise ValueError(f"Unknown order of folds {order!r}: use {' or '.join(ORDERS)}.")
    number = {subject: fold for fold, part in enumerate(parts) for subject in part}
    held_out = [number[record.subject] for record in records if record.subject is not None]
    everybody = list(range(len(records)))  # one object a number, however many folds it is in
    return [
        Fold(
            tuple(i for i, fold in zip(everybody, held_out, strict=True) if fold != now),
            tuple(i for i, fold in zip(everybody, held_out, strict=True) if fold == now),
        )
        for now in range(k)
    ]


def expression_pairs(records: Sequence[Record], expression: str) -> tuple[dict[str, list[int]], list[str]]:
    """Every <input, target> of one person: input any record, target one that shows `expression`. IA-gen, section III-A.

    Returns:
      ({"image": [...], "target": [...]}, indices into `records`, for the pipeline's `pairs`; the subjects who do not
      show `expression`, and so have no pairs).
    Raises:
      ValueError: nobody shows the expression, or a record has no subject.
    """
    people: dict[str, list[int]] = {}
    for i, record in enumerate(records):
        if record.subject is None:
            raise ValueError(f"{record.name} has no subject, so its pairs are unknown: give every record one.")
        people.setdefault(record.subject, []).append(i)
    pairs: dict[str, list[int]] = {"image": [], "target": []}
    left_out = []
    for subject, own in people.items():
        targets = [i for i in own if records[i].expression == expression]
        if not targets:
            left_out.append(subject)
        for image in own if targets else ():
            pairs["image"] += [image] * len(targets)
            pairs["target"] += targets
    if not pairs["image"]:
        raise ValueError(f"Nobody shows {expression}: leave it out with --classes.")
    return pairs, left_out


def unlike(one: Record, other: Record) -> tuple[bool, float]:
    """How differently two pictures were taken: (in other domains, by how many steps of 15 degrees the head is turned).

    info's pan and tilt are in degrees; where they are not known the face counts as frontal.
    """
    turned = (abs(one.info.get(name, 0) - other.info.get(name, 0)) // 15 for name in ("pan", "tilt"))
    return one.domain != other.domain, sum(turned)


def neutral_pairs(records: Sequence[Record], classes: Sequence[str]) -> tuple[dict[str, list[int]], list[str]]:
    """Each record of the classes with a neutral face of the same person: GCNet's {X, X_r}, section III-B.

    The neutral face is of the record's own sequence, else any of its subject's: the least `unlike` it, and of several
    the first frame.

    Returns:
      ({"image": [...], "reference": [...]}, indices into `records`, for the pipeline's `pairs`, -1 where the person has
      no neutral face; those subjects).
    Raises:
      ValueError: a record has no subject.
    """
    faces: dict[tuple[str | None, ...], list[int]] = {}
    for i in sorted(range(len(records)), key=lambda i: (records[i].frame is None, records[i].frame or 0)):
        record = records[i]
        if record.subject is None:
            raise ValueError(f"{record.name} has no subject, so its neutral face is unknown: give every record one.")
        if record.expression == "neutral":
            for key in ((record.subject, record.sequence), (record.subject,)):
                faces.setdefault(key, []).append(i)
    image = [i for i, r in enumerate(records) if r.expression in classes]
    reference = []
    for r in (records[i] for i in image):
        own = faces.get((r.subject, r.sequence)) or faces.get((r.subject,), [])
        reference.append(min(own, key=lambda j: unlike(r, records[j]), default=-1))
    without = [records[i] for i, j in zip(image, reference, strict=True) if j < 0]
    return {"image": image, "reference": reference}, subjects_of(without)


def content_hash(record: Record) -> str:
    """sha256 of the image as it is stored: the file's bytes, the encoded bytes, the array with its shape, or the film's
    bytes and the frame's number, since decoders differ in the last bit. A prepared face has that of the picture it was
    cut from."""
    return content_hashes([record])[0]


def _digest(image: bytes | np.ndarray) -> str:
    """sha256 of encoded bytes, also where HDF5 gives them as an array (B,), or of a picture with its shape."""
    if isinstance(image, np.ndarray):
        shape = repr(image.shape).encode() if image.ndim > 1 else b""
        image = shape + np.ascontiguousarray(image).tobytes()
    return hashlib.sha256(image).hexdigest()


def content_hashes(records: Sequence[Record]) -> list[str]:
    """`content_hash` of each record, with every HDF5 file opened once and every film read once."""
    hashes: list[str] = [""] * len(records)
    by_file: dict[str, list[int]] = {}
    for i, record in enumerate(records):
        image = record.image
        if "sha256" in record.info:
            hashes[i] = record.info["sha256"]
        elif isinstance(image, tuple):
            by_file.setdefault(image[0], []).append(i)
        else:
            hashes[i] = _digest(Path(image).read_bytes() if isinstance(image, str) else image)
    for path, members in by_file.items():
        if is_frame(records[members[0]].image):
            film = hashlib.sha256()
            with open(path, "rb") as file:
                while part := file.read(2**20):
                    film.update(part)
            for i in members:
                hashes[i] = _digest(f"{film.hexdigest()}[{records[i].image[1]}]".encode())
        elif is_packed(records[members[0]].image):
            for i in members:
                hashes[i] = _digest(recordio.read(path, int(records[i].image[1])))
        else:
            with h5py.File(path, "r") as file:
                images = file["image"]
                for i in members:
                    hashes[i] = _digest(images[records[i].image[1]])
    return hashes


def leaks(
    records: Sequence[Record], fold: Fold, *, by_content: bool = True, hashes: Sequence[str] | None = None
) -> list[str]:
    """Sentences that name each subject or image which stands on both sides of the fold; empty when it is clean.

    Args:
      records, fold: the fold's indices point into the records.
      by_content: compare images too, which reads them all.
      hashes: `content_hashes(records)`, to read them once for several folds.
    """
    train, test = ({*subjects_of(records[i] for i in part)} for part in fold)
    sentences = [f"Subject {who} is in both the training and the test part." for who in subject_order(train & test)]
    if by_content:
        digests: Mapping[int, str] | Sequence[str] | None = hashes
        if digests is None:
            indices = [*fold.train, *fold.test]
            digests = dict(zip(indices, content_hashes([records[i] for i in indices]), strict=True))
        seen = {digests[i]: i for i in fold.train}
        sentences += [
            f"{records[i].name} (test) is the same image as {records[seen[digests[i]]].name} (training)."
            for i in fold.test
            if digests[i] in seen
        ]
    return sentences


def check_fold(
    records: Sequence[Record],
    fold: Fold,
    classes: Sequence[str],
    *,
    by_content: bool = True,
    hashes: Sequence[str] | None = None,
) -> list[str]:
    """Refuses a fold that leaks; returns a warning for each class that its training part lacks. See `leaks`.

    Raises:
      ValueError: a subject or an image on both sides; the message shows the first ones and counts the rest.
    """
    sentences = leaks(records, fold, by_content=by_content, hashes=hashes)
    if sentences:
        more = f" (and {len(sentences) - 3} more)" if len(sentences) > 3 else ""
        raise ValueError(f"This fold leaks: {' '.join(sentences[:3])}{more} Held-out people must not be trained on.")
    counts = Counter(records[i].expression for i in fold.train)
    return [f"The training part has no image of {name}." for name in classes if not counts[name]]


def manifest(
    records: Sequence[Record],
    folds: Sequence[Fold],
    *,
    frames: str,
    order: str,
    hashes: Sequence[str] | None = None,
    people: str = "",
) -> dict[str, Any]:
    """What folds.json says: per fold the subjects, the records and a sha256 over the records' contents.

    Args:
      records, folds: as given to and by `subject_folds`.
      frames: the frame rule in words, such as "last 3 frames".
      order: how subjects were dealt.
      hashes: `content_hashes(records)`, where they are at hand.
      people: what is to be said where folds are not made of people; nothing for those that are.
    """
    if hashes is None:
        hashes = content_hashes(records)
    shown = sorted({r.expression for r in records if r.expression is not None}, key=_rank)
    made: dict[str, Any] = {"schema": 1, "order": order, "frames": frames, "records": len(records)}
    made |= {"expressions": shown, **({"people": people} if people else {}), "folds": []}
    for fold in folds:
        digest = hashlib.sha256("".join(sorted(hashes[i] for i in fold.test)).encode()).hexdigest()
        made["folds"].append(
            {
                "subjects": subjects_of(records[i] for i in fold.test),
                "splits": sorted({split for i in fold.test if (split := records[i].split) is not None}),
                "test": len(fold.test),
                "train": len(fold.train),
                "images": [records[i].key() for i in fold.test],
                "sha256": digest,
            }
        )
    return made


def write_manifest(path: str | Path, records: Sequence[Record], folds: Sequence[Fold], **options: Any) -> None:
    """Writes `manifest(records, folds, **options)`."""
    files.write_json(path, manifest(records, folds, **options))


def read_manifest(path: str | Path, records: Sequence[Record]) -> list[Fold]:
    """The folds that a manifest fixes, as indices into these records.

    A fold holds out its subjects; where none were known, its parts of the data set. Records may show more expressions
    than those that the manifest was made of, such as neutral faces to compare with: they go with their subject.

    Raises:
      ValueError: the file is no manifest, a subject or part of it is missing, or a fold's images differ (by sha256)
        from those that the manifest was written for.
    """
    try:
        manifest = json.loads(Path(path).read_text())
        parts = [(set(fold["subjects"] or fold.get("splits", ())), fold["sha256"]) for fold in manifest["folds"]]
        by_subject = all(fold["subjects"] for fold in manifest["folds"])
        shown = manifest.get("expressions")
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a fold manifest ({error!r}): give a folds.json written by fer_tf.") from error
    if not all(names for names, _ in parts):
        raise ValueError(
            f"{path} was drawn at random, of nobody: --split=random with its --seed and --folds draws it again."
        )
    held = [record.subject if by_subject else record.split for record in records]
    known, hashes, folds = {*held}, content_hashes(records), []
    listed = set().union(*(names for names, _ in parts))
    if not listed <= known or (len(parts) > 1 and listed != known):  # a single fold trains on others
        what = "subjects" if by_subject else "parts"
        raise ValueError(
            f"{path} and the data differ in {what}: only in the manifest {sorted(listed - known)[:5]}, "
            f"only in the data {sorted(map(str, known - listed))[:5]}."
        )
    for number, (names, digest) in enumerate(parts):
        test = tuple(i for i, name in enumerate(held) if name in names)
        same = sorted(hashes[i] for i in test if shown is None or records[i].expression in shown)
        if hashlib.sha256("".join(same).encode()).hexdigest() != digest:
            raise ValueError(
                f"Fold {number} of {path} was made from other images or another frame rule: sha256 differs."
            )
        learn = {"train"} if not by_subject and "train" in known - names else known - names
        folds.append(Fold(tuple(i for i, name in enumerate(held) if name in learn), test))
    return folds


def _rank(expression: str) -> tuple[int, str]:
    """Sorting key: the order of EXPRESSIONS, then others (people's names, where nets tell people apart)."""
    return (EXPRESSIONS.index(expression) if expression in EXPRESSIONS else len(EXPRESSIONS)), expression
