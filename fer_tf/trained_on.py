"""What a training saw, beside its checkpoint: whoever goes on with it on anything else is told what changed.

    workdir/trained_on.json    of each person the pictures and labels it learns from, in which frame and with which
                               classes; who is tested; which trained networks it follows

A resume that reads its people anew would test those whom the checkpoint has learnt. No TensorFlow.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import files
from fer_tf.records import Record, content_hashes, subject_order

FILE = "trained_on.json"
SHOWN = 5
"""Names in a sentence."""

Stamp = tuple[str, int, int, int]
"""A file's path, number of the picture in it, size, time of its last change."""

_known: dict[Stamp, str] = {}
"""What files held, so that each is read once by all folds and networks of a run."""


def describe(data: Any, held_out: Any = None, follows: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a training is bound to, as plain values; empty where the data does not say what it holds.

    Args:
      data: to train on: `pipeline.Batches`, or what has `streams`, name -> `Batches`.
      held_out: the data by which each epoch is tested, likewise, or their records; None where nothing is.
      follows: name -> a trained network, or several, that this training starts from or learns by.
    """
    streams = _streams(data)
    if not streams:
        return {}
    return {
        "schema": 1,
        "learns": {name: _stream(part) for name, part in streams.items()},
        "tested": {name: _stream(part) for name, part in _streams(held_out).items()},
        "follows": {name: weights_digest(nets) for name, nets in (follows or {}).items()},
    }


def _streams(data: Any) -> Mapping[str, Any]:
    """Name -> `pipeline.Batches`, or a list of records; nothing for other data."""
    if isinstance(data, list) and all(isinstance(record, Record) for record in data):
        return {"": data} if data else {}
    alone = {"": data} if hasattr(data, "records") and hasattr(data, "template") else {}
    return getattr(data, "streams", alone)


def _stream(data: Any) -> dict[str, Any]:
    """Frame, channels and classes, if any, and of each person what the pictures and their labels come to."""
    people: dict[str, list[tuple[str, str]]] = {}
    listed = data if isinstance(data, list) else data.records
    for record, digest in zip(listed, contents(listed), strict=True):
        label = f"{record.expression or ''} {record.info.get('votes', '')}"
        people.setdefault(record.subject or "", []).append((digest, label))
    sums = {
        who: {"pictures": _digest(d for d, _ in own), "labels": _digest(" ".join(pair) for pair in own)}
        for who, own in people.items()
    }
    seen = {"people": {who: sums[who] for who in subject_order(sums)}}
    if isinstance(data, list):
        return seen
    return {"frame": asdict(data.template), "channels": data.channels, "classes": list(data.classes), **seen}


def _digest(parts: Iterable[str]) -> str:
    """Of texts in any order."""
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:16]


def in_order(records: Sequence[Record]) -> str:
    """A hash of pictures, labels and people in this order: what places in a list were counted by."""
    rows = [f"{c} {r.expression} {r.subject}" for c, r in zip(contents(records), records, strict=True)]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]


def contents(records: Sequence[Record]) -> list[str]:
    """A hash of each record's picture as it is stored, with all that says how its face is cut; in their order.

    A face that was cut beforehand (`store.with_faces`) has that of its picture. One that a network made has none of its
    own, since devices differ in its last bit.
    """
    bare = [Record(r.info.get("cut_from", r.image)) for r in records]
    stamps = [_stamp(record.image) for record in bare]
    unread = {stamp: r for stamp, r in zip(stamps, bare, strict=True) if stamp is not None and stamp not in _known}
    _known.update(zip(unread, content_hashes([*unread.values()]), strict=True))
    return [_content(*row) for row in zip(records, bare, stamps, strict=True)]


def _content(record: Record, bare: Record, stamp: Stamp | None) -> str:
    if "made" in record.info:
        return "made"
    if stamp is not None:
        digest = _known[stamp]
    elif isinstance(bare.image, (str, tuple)):
        digest = "gone"
    else:
        digest = content_hashes([bare])[0]
    cut = {name: record.info[name] for name in ("framed", "landmarks", "turn") if name in record.info}
    plain = {name: np.round(np.asarray(value, float), 3).tolist() for name, value in cut.items()}
    plain |= {"detector": record.info["detector"]} if "detector" in record.info else {}
    return hashlib.sha256(f"{digest} {json.dumps(plain)}".encode()).hexdigest()


def _stamp(image: Any) -> Stamp | None:
    """None for pictures in memory, and where there is no file."""
    path, number = image if isinstance(image, tuple) else (image, -1)
    try:
        found = os.stat(path) if isinstance(path, str) else None
    except OSError:
        found = None
    return None if found is None else (os.path.abspath(path), int(number), found.st_size, found.st_mtime_ns)


def weights_digest(nets: Any) -> str:
    """Of all numbers that networks have learnt, a model's or several ones'; not of counters and seeds."""
    digest = hashlib.sha256()
    for net in nets if isinstance(nets, Sequence) else [nets]:
        for weight in net.weights:
            value = weight.numpy()
            if value.dtype.kind == "f":
                digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()[:16]


def bind(folder: Path, described: Mapping[str, Any]) -> None:
    """Writes what the training in a folder is bound to, or refuses to go on with a checkpoint that is bound otherwise.

    Args:
      folder: of the training, with or without a checkpoint.
      described: by `describe`; where it is empty nothing is checked.
    Raises:
      ValueError: the checkpoint has learnt from something else, which the message names, or does not say from what.
    """
    if not described:
        return
    file, now = folder / FILE, json.loads(json.dumps(described))
    if not (folder / "checkpoint" / "checkpoint").is_file():
        files.make_folder(folder)
        files.write_json(file, now)
        return
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
        changed = [] if before == now else differences(before, now)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f"{folder} holds a checkpoint that does not say what it was trained on ({FILE} is missing or of another "
            "version), so nobody knows who was held out: give another --workdir, or remove that folder."
        ) from None
    if before != now:
        raise ValueError(
            f"{folder} holds a training on other data: {'; '.join(changed)}. Give it what it had to go on with it, or "
            "another --workdir."
        )


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What changed, in words."""
    said = []
    for part, prefix in (("learns", ""), ("tested", "of what is tested, ")):
        old, new = before[part], now[part]
        for name in sorted({*old} | {*new}):
            of = f"{prefix}of {name} " if name else prefix
            if name not in old or name not in new:
                said.append(f"{prefix}{name or 'they'} {'are new' if name in new else 'are no longer there'}")
            elif old[name] != new[name]:
                said += [of + words for words in _of_stream(old[name], new[name])]
    for name in sorted({*before["follows"]} | {*now["follows"]}):
        if before["follows"].get(name) != now["follows"].get(name):
            said.append(f"{name}, which it follows, is another one, or has been trained on since")
    return said or ["it is of another version"]


def _of_stream(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What changed in one stream of faces."""
    before, now = old["people"], new["people"]
    both = [who for who in before if who in now]
    other = [who for who in both if before[who]["pictures"] != now[who]["pictures"]]
    named = [w for w in both if w not in other and before[w]["labels"] != now[w]["labels"]]
    groups = (
        ("people who are no longer among them", [who for who in before if who not in now]),
        ("people who are new", [who for who in now if who not in before]),
        ("other pictures, boxes or landmarks", other),
        ("other labels", named),
    )
    said = [f"{words}: {_names(people)}" for words, people in groups if people]
    for key in ("classes", "frame", "channels"):
        if old.get(key) != new.get(key):
            said.append(f"{key} {_shown(old[key])}, now {_shown(new[key])}")
    return said


def _names(people: Sequence[str]) -> str:
    shown = [who or "whose person is not known" for who in people[:SHOWN]]
    return ", ".join(shown) + (f" and {len(people) - SHOWN} more" if len(people) > SHOWN else "")


def _shown(value: Any) -> str:
    if isinstance(value, dict):  # a frame
        return f"{value['name']} {'x'.join(map(str, value['size']))}"
    return ", ".join(value) if isinstance(value, list) else str(value)
