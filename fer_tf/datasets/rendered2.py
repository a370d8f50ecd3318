"""Rendered faces, second edition: people in whom identity matters, eight expressions each, 128x128 RGB.

RENDERED pictures of nobody, as those of `rendered.py`, which says how they are made and what figures on them are worth.
There an expression is hard to read because three in ten are mixed with another by chance. Here none is mixed: what is
hard about it is who shows it. Each subject has a resting face (brows, lids, mouth corners, lips, nose, chin), which is
in neutral and under every expression, drawn together with shape, age and skin, and once more painted on as lines,
shadows, brows and lips; a range (0.35 to 1) and a style (action units, asymmetry) for each expression, the same in
every picture.

    lab     300 subjects x 8 expressions x 5 frames from onset to apex, the last three near it, frontal +-5 degrees
    posed    40 others   x 8 x pan {-45, -25, 0, 25, 45} x tilt {-25, 0, 25} degrees, one frame each
    wild    300 others   x 16 frames, pose to +-35 degrees, coloured, hard light, clutter, blur, noise, occluders
    judge   100 others   x (8 x 5 as lab, 16 as wild), in a file of their own: read once for a row that is reported,
                         never for a choice

`rendered2.h5` ships with the first people of a part (`SHIPPED`). The command below renders the whole, 21,600 frames, to
be passed as --data_dir, and with --domains=judge the judge's. A frame is the same bytes in the shipped file and in the
whole one.

    python -m experiments.render_faces --edition=2 --facekit=ict_facekit.npz --out=rendered2.h5

The file is as `rendered.h5`. Besides, it has number (within the part: a subject bears one name in every file, as
lab007) and setting (lab, posed or wild; the part, but for the judge's). Landmarks are rounded to 1/64 of a pixel.

`python -m experiments.measure_rendered --dataset=rendered2` measures what an oracle gains that sees the person's own
neutral face beside the other, and what more people are worth: on all of lab, a small network names 51, 64, 71 and 80 %
of unseen people's expressions after 10, 30, 100 and 250 people, the oracle 98 %. With `--only=landmarks`, on the 50
people of lab that ship, a linear discriminant of the landmarks names this share of unseen people's seven expressions
(of the first edition's 100 people in brackets):

    a face alone                                  78.5 %  (93.4 %)
    beside the person's own neutral face          97.7 %  (95.2 %)
    beside another person's                       73.5 %  (92.0 %)

Licence: as `rendered.py` (ICT-FaceKit is MIT; its notice, `rendered.LICENSE`, has to travel with the data).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from fer_tf import frames as rules
from fer_tf import renderings
from fer_tf.records import Record

LABELS = renderings.LABELS
TREE = "  rendered2.h5   (a part ships with the package)"
PARTS = ("lab", "posed", "wild")
SHOWN = "yes"
"""They may be passed on: see `catalogue.may_be_shown`."""
SHIPPED = {"lab": 50, "wild": 25}
"""How many people of a part are in the file that ships: the first ones."""
JUDGE = "judge"
FRAMES = "last3"
RENDER = "python -m experiments.render_faces --edition=2 --facekit=ict_facekit.npz --out="
COLUMNS = (*renderings.COLUMNS, "number", "setting")


def records(
    root: str | Path | None = None,
    *,
    part: str = "lab",
    frames: str = FRAMES,
    classes: Collection[str] | None = None,
) -> list[Record]:
    """The faces of one part, in the order subject, expression, frame.

    Args:
      root: the HDF5 file, or a folder with rendered2.h5 (the judge's: rendered2_judge.h5); the shipped one by default.
      part: lab, posed, wild, all of these, or judge, which does not ship.
      frames: a rule of `fer_tf.frames` for the sequences of lab, as "all".
      classes: keep these expressions only; all eight by default.
    Returns:
      Records as those of `rendered.records`; subjects "lab000" ...; the judge's bear the split "judge" and the domain
      lab or wild.
    Raises:
      FileNotFoundError: there is no such file; the message shows the command that renders it.
      ValueError: an unknown part, class or rule, a part that the file does not have, or a file that lacks an array.
    """
    if part not in (*PARTS, "all", JUDGE):
        raise ValueError(f"rendered2 has no part {part!r}: use {', '.join(PARTS)}, all, or {JUDGE}.")
    name, more = ("rendered2_judge.h5", "  --domains=judge") if part == JUDGE else ("rendered2.h5", "")
    path = Path(root) if root is not None else Path(__file__).with_name(name)
    path = path / name if path.is_dir() else path
    column, names, domains = renderings.read_columns(path, COLUMNS, classes, f"{RENDER}{path}{more}")
    parts = np.array(domains)[column["domain"]]
    wanted = (parts != JUDGE) if part == "all" else (parts == part)
    if not wanted.any():
        held = ", ".join(sorted(set(parts.tolist())))
        raise ValueError(f"{path} has nobody of {part}, but {held}: render them with\n  {RENDER}<another file>{more}")
    listed: dict[str, list[Record]] = {}
    for i in np.flatnonzero(wanted):
        shown = names[column["expression"][i]]
        if classes is not None and shown not in classes:
            continue
        subject, setting = f"{parts[i]}{column['number'][i]:03d}", domains[column["setting"][i]]
        sequence = f"{subject}/{column['sequence'][i]:02d}-{shown}"
        who = {"subject": subject, "sequence": sequence, "domain": setting, "split": JUDGE if part == JUDGE else None}
        record = renderings.record_of(path, int(i), column, shown, **who)
        listed.setdefault(sequence, []).append(record)
    out = []
    for rows in listed.values():
        out += rules.chosen(rows, frames) if rows[0].domain == "lab" else rows
    return out
