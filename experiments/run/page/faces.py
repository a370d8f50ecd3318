"""The page's pictures: which may be shown, the worst ones, and the grids that a run drew.

Whether pictures of a data set may be shown is its adapter's to say (`catalogue.may_be_shown`): a page is passed on.
Grids show held-out people, or what a network made of them, and so go by the same rule; figures without a face do not.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fer_tf import catalogue, predictions
from fer_tf.records import Record, content_hash

from .markup import Html, element, note
from .numbers import WORST
from .runs import Run, natural

DRAWN_ANEW = ("confusion_", "per_class", "history")
"""Beginnings of names of PNGs that the page draws itself."""
FACELESS = (*DRAWN_ANEW, "tsne", "sweep", "weights", "domains")
"""Beginnings of names of PNGs without a face; of any other it is not known."""
SIDE = 112
HEAVY, ALL = 400_000, 8_000_000
"""Bytes above which a grid is written anew, smaller; and of all grids together."""


def tested_places(asked: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """(data set, place) of what a run tested: that of --test_on or --target, else of --dataset; place as there."""
    for flag in ("test_on", "target"):
        if asked.get(flag):
            return [(asked[flag].partition("=")[0].partition("/")[0], asked[flag])]
    return [(asked["dataset"], None)] if asked.get("dataset") else []


def named_sets(asked: Mapping[str, Any], told: str = "") -> list[str]:
    """The names of all data sets whose pictures a run has seen, and may have drawn; "?" of a file that does not say.

    Args:
      asked: of flags.json.
      told: the data set that metrics.json names, which is that behind a prepared --dataset.
    """
    places = [(asked["dataset"], asked.get("data_dir"), told)] if asked.get("dataset") else []
    for flag in ("test_on", "target", "train_on", "auxiliary"):
        given = asked.get(flag) or []
        for text in [given] if isinstance(given, str) else given:
            place, _, root = text.partition("=")
            places.append((place.partition("/")[0], root, ""))
    return list(dict.fromkeys(_behind(*place) for place in places)) or ["?"]


def _behind(name: str, root: str | None, told: str) -> str:
    """The data set itself: of a prepared file that which it was made from."""
    if name != "prepared":
        return name
    try:
        return catalogue.source(name, root)
    except (OSError, ValueError):  # it is no longer there
        return told.partition("/")[0] or "?"


def allowed(asked: Mapping[str, Any], told: str, show_pictures: bool) -> str:
    """Why pictures of a run are not shown, in words; empty where they may be.

    Args:
      asked, told: as of `named_sets`.
      show_pictures: whether the user says that his or her own pictures may be shown.
    """
    for name in named_sets(asked, told):
        may = catalogue.may_be_shown(name) if name in catalogue.names() else catalogue.NO
        if name == "?":
            return "It is not known of which data set the pictures are, so the page shows none."
        if may == catalogue.NO:
            return f"The licence of {name} does not let its pictures be passed on, so the page shows none."
        if may == catalogue.ASKED and not show_pictures:
            return f"Pictures of {name} are shown where --show_pictures says that they may be."
    return ""


def load(asked: Mapping[str, Any]) -> list[Record]:
    """The records of what a run tested.

    Raises:
      OSError, ValueError: they are no longer there.
    """
    listed: list[Record] = []
    for name, place in tested_places(asked):
        if place is not None:
            listed += catalogue.load_place(place)
        else:
            given = catalogue.options(name, asked.get("options") or [])
            if name == "rendered" and "part" not in given:
                given["part"] = "all"
            labels = [asked["labels"]] if asked.get("labels") else []
            listed += catalogue.load(name, asked.get("data_dir"), given, *labels)
    return listed


def thumbnails(asked: Mapping[str, Any], wanted: Mapping[str, str]) -> dict[str, str]:
    """{sha256: data URI} of pictures, of those that are still there and the same.

    Args:
      asked: of flags.json.
      wanted: {sha256: `Record.key`}.
    """
    from fer_tf import store  # which reads TensorFlow

    found: dict[str, str] = {}
    keys = {*wanted.values()}
    for record in load(asked):
        if record.key() not in keys:
            continue
        digest = record.info.get("sha256") or content_hash(record)
        if digest in wanted and digest not in found:
            found[digest] = small(store.read_image(record), record.info.get("box"))
    return found


def small(picture: np.ndarray, box: Any = None) -> str:
    """A picture, (H, W[, 1|3]) uint8, or the face in its box, as the data URI of a small JPEG."""
    image = Image.fromarray(picture[..., 0] if picture.ndim == 3 and picture.shape[-1] == 1 else picture)
    if box is not None:
        left, top, right, bottom = (float(v) for v in box)
        pad = 0.2 * max(right - left, bottom - top)
        image = image.crop((int(left - pad), int(top - pad), int(right + pad), int(bottom + pad)))
    image = image.convert("RGB")
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, "jpeg", quality=82)
    return _uri(data.getvalue(), "jpeg")


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def worst(answers: predictions.Predictions, method: str) -> list[int]:
    """Rows of the pictures of whose true class a method is least sure, wrong ones alone, each picture once."""
    last = answers.methods[method]["last"]
    if last.probabilities is None:
        return []
    sure = last.probabilities[np.arange(len(answers)), answers.label]
    rows, seen = [], set()
    for i in np.lexsort((answers.sha256, sure)):
        if last.named[i] != answers.label[i] and answers.sha256[i] not in seen:
            seen.add(answers.sha256[i])
            rows.append(int(i))
    return rows[:WORST]


def worst_pictures(run: Run, show_pictures: bool) -> list[Html]:
    """Each method's worst pictures: who, what it shows, what it was named; the picture itself where it may be shown."""
    answers = run.answers
    if answers is None:
        return []
    rows = {method: worst(answers, method) for method in answers.methods}
    every = sorted({i for own in rows.values() for i in own})
    if not every:
        return []
    why, shown = allowed(run.flags, str(run.metrics.get("dataset", "")), show_pictures), dict[str, str]()
    if not why:
        try:
            shown = thumbnails(run.flags, {str(answers.sha256[i]): str(answers.picture[i]) for i in every})
        except (OSError, ValueError, KeyError) as error:
            why = f"The pictures can no longer be read: {error}"
    parts = [note(why)] if why else []
    for method, own in rows.items():
        cards = [_card(answers, method, i, shown.get(str(answers.sha256[i]))) for i in own]
        parts.append(element("div", [element("h3", method), element("div", cards, {"class": "faces"})]))
    return parts


def _card(answers: predictions.Predictions, method: str, i: int, picture: str | None) -> Html:
    last = answers.methods[method]["last"]
    assert last.probabilities is not None
    true, named = (answers.classes[int(k)] for k in (answers.label[i], last.named[i]))
    sure = [100 * float(last.probabilities[i, k]) for k in (answers.label[i], last.named[i])]
    image = element("img", None, {"src": picture, "alt": f"{true}, named {named}"}) if picture else None
    person = f"{answers.subject[i]}: " if answers.subject[i] else ""
    said = f"{person}{true} ({sure[0]:.0f}\u00a0%), named {named} ({sure[1]:.0f}\u00a0%)"
    where = [] if picture else [element("br"), element("span", str(answers.picture[i]), {"class": "soft"})]
    return element("figure", [image, element("figcaption", [said, *where])])


def grids(run: Run, show_pictures: bool) -> list[Html]:
    """The pictures that a run drew, but for those that the page draws itself; of each fold's the first fold's."""
    listed = drawings(run.folder)
    why = allowed(run.flags, str(run.metrics.get("dataset", "")), show_pictures)
    kept = [file for file in listed if not why or file.name.startswith(FACELESS)]
    parts, spent, left = [], 0, []
    for file in kept:
        try:
            source = embedded(file)
        except (OSError, ValueError) as error:
            parts.append(note(f"{file.relative_to(run.folder)} cannot be read: {error}", "warn"))
            continue
        if spent + len(source) > ALL:
            left.append(file)
            continue
        spent += len(source)
        name = file.relative_to(run.folder).as_posix()
        picture = element("img", None, {"src": source, "alt": name, "loading": "lazy"})
        parts.append(element("figure", [element("figcaption", name), picture]))
    if len(kept) < len(listed):
        parts.append(note(f"{why} {len(listed) - len(kept)} that may show faces are in the run's folder."))
    if left:
        parts.append(note(f"{_names(left, run.folder)} are in the run's folder, too: the page would be too large."))
    return [element("div", parts, {"class": "grids"})] if parts else []


def _names(some: Iterable[Path], folder: Path) -> str:
    return ", ".join(file.relative_to(folder).as_posix() for file in some)


def drawings(folder: Path) -> list[Path]:
    """The PNGs of a run that the page does not draw itself: the run's, those of the first of its folds, the last sample
    of each training there."""

    def key(file: Path) -> list[Any]:
        return natural(file.relative_to(folder).as_posix())

    found = [f for f in folder.glob("*.png") if not f.name.startswith(DRAWN_ANEW)]
    for place in sorted(folder.glob("run*"), key=key)[:1]:
        found += [f for f in place.glob("*.png") if not f.name.startswith(DRAWN_ANEW)]
        for fold in [place, *sorted(place.glob("fold*"), key=key)[:1]]:
            found += [f for f in fold.glob("*.png") if fold != place and not f.name.startswith(DRAWN_ANEW)]
            found += [sorted(s.glob("*.png"), key=key)[-1] for s in fold.glob("*/samples") if any(s.glob("*.png"))]
    return sorted({*found}, key=lambda file: (len(file.relative_to(folder).parts), key(file)))


def embedded(file: Path) -> str:
    """A PNG as a data URI; a heavy one as a JPEG of 1400 pixels a side at most."""
    data = file.read_bytes()
    if len(data) <= HEAVY:
        with Image.open(io.BytesIO(data)) as image:
            image.verify()
        return _uri(data, "png")
    with Image.open(io.BytesIO(data)) as image:
        picture = image.convert("RGB")
    picture.thumbnail((1400, 1400), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    picture.save(written, "jpeg", quality=85)
    return _uri(written.getvalue(), "jpeg")
