"""What `prepare` shows of a file of faces: one HTML page, the list of pictures without a face, fold manifests."""

from __future__ import annotations

import base64
import csv
import html
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from fer_tf import files, pipeline, protocols, records
from fer_tf.datasets import prepared

from .work import Missed

SAMPLES, PEOPLE, SHEET = 8, 400, 200  # faces a class, rows of the table of people, undetected pictures shown
STYLE = """body{font:14px sans-serif;margin:2em;max-width:75em}table{border-collapse:collapse;margin:.5em 0 1.5em}
td,th{border:1px solid #ccc;padding:2px 8px;text-align:right}th:first-child,td:first-child,.text{text-align:left}
figure{display:inline-block;margin:4px;text-align:center;vertical-align:top;font-size:11px;max-width:140px;
overflow-wrap:anywhere}img{max-width:128px;min-width:56px}"""


def write_missed(path: Path, missed: Iterable[Missed]) -> None:
    """path,status,reason of the pictures without a face; the list that --boxes grows from."""
    with files.replacing(path) as part, part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        csv.writer(file).writerows([("path", "status", "reason"), *((m.name, m.status, m.reason) for m in missed)])


def write(out: Path, missed: Sequence[Missed]) -> Path:
    """Writes the page and the manifests beside a prepared file; gives the page.

    Args:
      out: the HDF5 file.
      missed: the pictures without a face.
    """
    listed, made = prepared.records(out), prepared.about(out)
    sections = [
        f"<p>{len(listed)} faces of {made['records']} pictures, aligned as {made['template']} has them; "
        f"frames: {escaped(made['frames'])}; options: {escaped(made['options'])}.</p>",
        *counts(listed), *faces_of_classes(out, listed), *duplicates(listed), *undetected(missed),
        *folds(out, listed, made["dataset"]),
    ]  # fmt: skip
    title = f"{made['dataset']}, prepared for {made['template']}"
    page = f"<!doctype html><meta charset=utf-8><title>{title}</title><style>{STYLE}</style><h1>{title}</h1>"
    path = out.with_suffix(".html")
    with files.replacing(path) as part:
        part.write_text(page + "\n".join(sections) + "\n", encoding="utf-8", errors="xmlcharrefreplace")
    return path


def escaped(value: object) -> str:
    """Text that HTML shows as it is."""
    return html.escape(str(value).encode("utf-8", "backslashreplace").decode())


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """An HTML table."""
    lines = ["<tr>" + "".join(f"<th>{escaped(h)}</th>" for h in head) + "</tr>"]
    cell = {True: "<td class=text>{}</td>", False: "<td>{}</td>"}
    lines += ["<tr>" + "".join(cell[isinstance(v, str)].format(escaped(v)) for v in row) + "</tr>" for row in rows]
    return f"<table>{''.join(lines)}</table>"


def picture(image: np.ndarray, caption: str = "") -> str:
    """A picture inside the page."""
    stream = io.BytesIO()
    Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image).save(stream, "png")
    code = base64.b64encode(stream.getvalue()).decode()
    return f"<figure><img src='data:image/png;base64,{code}' alt=''><br>{escaped(caption)}</figure>"


def shown_classes(listed: Sequence[records.Record]) -> list[str | None]:
    """The expressions that occur, in their order; None last, for faces without one."""
    there = {r.expression for r in listed}
    return [e for e in (*records.EXPRESSIONS, None) if e in there]


def counts(listed: Sequence[records.Record]) -> list[str]:
    """Faces of each class, in each part, and of each person."""
    classes, splits = shown_classes(listed), sorted({r.split or "" for r in listed})
    heads = [c or "(no label)" for c in classes]
    by_split = Counter((r.split or "", r.expression) for r in listed)
    rows = [[s or "all", *(by_split[s, c] for c in classes), sum(by_split[s, c] for c in classes)] for s in splits]
    if len(splits) > 1:
        rows.append(["all", *(sum(r[i] for r in rows) for i in range(1, len(heads) + 2))])
    sections = ["<h2>Faces of each class</h2>", table(["part", *heads, "all"], rows)]
    people = records.subjects_of(listed)
    if people:
        by_person = Counter((r.subject, r.expression) for r in listed)
        rows = [[p, *(by_person[p, c] for c in classes), sum(by_person[p, c] for c in classes)] for p in people]
        more = f" (the first {PEOPLE})" if len(people) > PEOPLE else ""
        sections += [
            f"<h2>Faces of each of {len(people)} people{more}</h2>",
            table(["person", *heads, "all"], rows[:PEOPLE]),
        ]
    return sections


def faces_of_classes(out: Path, listed: Sequence[records.Record]) -> list[str]:
    """Some crops of each class, evenly picked, and the mean of all its crops."""
    places = defaultdict(list)
    for i, record in enumerate(listed):
        places[record.expression].append(i)
    sections = ["<h2>Mean face and samples of each class</h2>"]
    with prepared.opened(out) as file:
        images = file["image"]
        sums = {c: np.zeros(images.shape[1:], np.float64) for c in places}
        for start in range(0, len(listed), 1024):
            block = images[start : start + 1024]
            for face, record in zip(block, listed[start : start + 1024], strict=True):
                sums[record.expression] += face
        for c in shown_classes(listed):
            mine = places[c]
            mean = np.round(sums[c] / len(mine)).astype(np.uint8)
            some = [mine[i] for i in np.unique(np.linspace(0, len(mine) - 1, SAMPLES).astype(int))]
            shots = [picture(images[i], listed[i].info["picture"].rpartition("/")[2]) for i in some]
            sections += [f"<h3>{escaped(c or '(no label)')}</h3>", picture(mean, f"mean of {len(mine)}"), *shots]
    return sections


def duplicates(listed: Sequence[records.Record]) -> list[str]:
    """Pictures of the same bytes, those of several people or classes first; several faces of one are no duplicates."""
    groups = defaultdict(list)
    for record in listed:
        groups[record.info["sha256"], record.info.get("face")].append(record)
    same = [g for g in groups.values() if len(g) > 1]
    rows = []
    for group in same:
        people, labels = ({getattr(r, n) for r in group} for n in ("subject", "expression"))
        clash = "several people" * (len(people) > 1) + " several classes" * (len(labels) > 1)
        rows.append([clash or "-", len(group), "; ".join(r.info["picture"] for r in group[:6])])
    rows.sort(key=lambda row: (row[0] == "-", -row[1]))
    text = "<p>No picture occurs twice.</p>" if not rows else table(["differ in", "times", "pictures"], rows[:500])
    return [f"<h2>Duplicates: {len(rows)}</h2>", text]


def undetected(missed: Sequence[Missed]) -> list[str]:
    """The pictures without a face, to be looked at and given boxes."""
    sections = [f"<h2>Pictures without a face: {len(missed)}</h2>"]
    if not missed:
        return [*sections, "<p>Every picture gave one.</p>"]
    sections.append("<p>Give their boxes with --boxes (path,left,top,right,bottom; pixels of the upright picture).</p>")
    for name, record, _, reason in missed[:SHEET]:
        try:
            whole = pipeline.read_image(record)
            small = np.asarray(ImageOps.contain(Image.fromarray(whole), (128, 128)))
            sections.append(picture(small, f"{name}: {whole.shape[1]} x {whole.shape[0]}"))
        except (ValueError, OSError):
            sections.append(f"<figure>{escaped(name)}<br>{escaped(reason)}</figure>")
    if len(missed) > SHEET:
        sections.append(f"<p>and {len(missed) - SHEET} more, in the list.</p>")
    return sections


def folds(out: Path, listed: Sequence[records.Record], dataset: str) -> list[str]:
    """The folds of the data set's protocols, each with its manifest beside the file."""
    sections = ["<h2>Folds</h2>"]
    known = protocols.of_dataset(dataset)
    for name, protocol in known.items():
        orders = records.ORDERS if protocol.by == "subject" else ("",)
        mine = [r for r in listed if r.expression in protocol.labels]
        sections.append(f"<h3>{name}</h3><p>{escaped(protocol.source)}. {len(mine)} faces of {protocol.classes}.</p>")
        for order in orders:
            try:
                parts = protocol.fold(mine, order)
            except ValueError as error:
                sections.append(f"<p>{escaped(order)}: {escaped(error)}</p>")
                continue
            manifest = out.with_name(f"{out.stem}_{name}{'_' * bool(order)}{order}.json")
            records.write_manifest(
                manifest, mine, parts, frames=prepared.about(out)["frames"], order=order or protocol.by
            )
            rows = []
            for number, fold in enumerate(parts):
                held = [mine[i] for i in fold.test]
                people = records.subjects_of(held)
                shown = Counter(r.expression for r in held)
                rows.append(
                    [number, len(fold.train), len(held), *(shown[c] for c in protocol.labels), " ".join(people[:30])]
                )
            head = ["fold", "train", "test", *protocol.labels, "people held out"]
            sections += [f"<p>{order} ({manifest.name}):</p>", table(head, rows)]
    return sections if known else [*sections, "<p>No paper's protocol deals this data set to folds.</p>"]
