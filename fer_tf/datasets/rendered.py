"""Rendered faces: 200 people who do not exist, eight expressions each, 128x128 RGB. Shipped as `rendered.h5`.

These are RENDERED pictures, not photographs of real people: Mitsuba 3 renderings of ICT-FaceKit's linear face model,
with painted skin, hair and expressions composed from FACS action units. They carry identities, poses, intensities and
exact landmarks, so that protocols can be run where no data set of real people may be passed on. Figures reached on
them are not figures on real people; skin, age and hair are drawn by chance and stand for no population.

    lab     100 subjects x 8 expressions x 3 frames (rising to the peak), frontal +-5 degrees, even light, plain wall
    posed    20 others   x 8 x pan {-45, -25, 0, 25, 45} x tilt {-25, 0, 25} degrees, one frame each
    wild     80 others   x 16 frames, pose to +-35 degrees, coloured, hard light, clutter, blur, noise, occluders

Each subject has its own face, skin, hair and *style*: the action units by which it shows each expression are drawn
from the alternatives that EMFACS lists for it, with its own asymmetry, strength and resting face. On `lab`, three in
ten of a person's expressions are mixed with another one (30 to 52 % of its action units) that it is commonly taken for,
as anger with disgust: people seldom show one alone.

`rendered.h5`: "image" (N,) rows of JPEG bytes; (N,) arrays expression (index into attribute "expressions"), subject,
intensity [0, 1] (0 for neutral), pan and tilt (degrees; positive is to the picture's right, and up), domain (index
into attribute "domains"), sequence, frame; landmarks (N, 68, 2) float32 pixels in dlib's order, projected from the
mesh (where a face turns away, the hidden ones too). Made with Mitsuba 3.9.1, seed 7, by

    python -m experiments.render_faces --facekit=ict_facekit.npz --out=fer_tf/datasets/rendered.h5

Measured by `python -m experiments.measure_rendered` (dlib detector, upsampled once; dlib's face embedding at the
rendered landmarks; five contiguous subject folds, six basic expressions and contempt, 64x64 grey crops):

    faces found                                   lab 100.0 % of 2,400, wild 89.4 % of 1,280
    mean embedding distance on lab                0.316 within a subject, 0.634 between subjects
    1-nearest-neighbour on pixels, unseen people  37.1 %
    FER-Net fine-tuned from FER-2013, unseen      89.38 +- 2.65 % (`experiments.fer_net --preset=quick`)
    FER-Net of FER-2013 alone, six basic, lab     57.8 % (of its seven outputs), 61.3 % (of the six)

Licence: ICT-FaceKit is MIT (USC Institute for Creative Technologies); its notice, `rendered.LICENSE`, has to travel
with the data.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from fer_tf import renderings
from fer_tf.records import Record

LABELS = renderings.LABELS
TREE = "  rendered.h5   (ships with the package)"
SHOWN = "yes"
"""They may be passed on: see `catalogue.may_be_shown`."""
PARTS = ("lab", "posed", "wild")
RENDER = "python -m experiments.render_faces --facekit=ict_facekit.npz --out="


def records(
    root: str | Path | None = None, *, part: str = "lab", classes: Collection[str] | None = None
) -> list[Record]:
    """The rendered faces of one part, in the order subject, expression, frame.

    Args:
      root: the HDF5 file, or a folder with rendered.h5; the file shipped with the package by default.
      part: lab, posed, wild, or all. Subjects "r000" ... are unique over all parts.
      classes: keep these expressions only; all eight by default.
    Returns:
      Records whose image is (file, index); info has intensity [0, 1], pan and tilt in degrees, landmarks (68, 2)
      float32 in pixels.
    Raises:
      FileNotFoundError: there is no such file; the message shows the command that renders it.
      ValueError: an unknown part or class, or a file that lacks an array; the message names it.
    """
    path = Path(root) if root is not None else Path(__file__).with_name("rendered.h5")
    path = path / "rendered.h5" if path.is_dir() else path
    if part not in (*PARTS, "all"):
        raise ValueError(f"rendered has no part {part!r}: use {', '.join(PARTS)} or all.")
    column, names, domains = renderings.read_columns(path, renderings.COLUMNS, classes, f"{RENDER}{path}")
    listed = []
    for i, (label, place) in enumerate(zip(column["expression"], column["domain"], strict=True)):
        shown, domain = names[label], domains[place]
        if (classes is not None and shown not in classes) or part not in ("all", domain):
            continue
        subject = f"r{column['subject'][i]:03d}"
        sequence = f"{subject}/{column['sequence'][i]:02d}-{shown}"
        listed.append(renderings.record_of(path, i, column, shown, subject=subject, sequence=sequence, domain=domain))
    return listed
