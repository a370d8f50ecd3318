"""Finds and aligns every face of a data set once, into one HDF5 file that all experiments read.

    python -m experiments.prepare --list          # the data sets, their licences, the papers that use them
    python -m experiments.prepare --dataset=ck_plus --data_dir=CK+ --align=ed2l --out=ck_plus_ed2l.h5
    python -m experiments.ed2l --dataset=prepared --data_dir=ck_plus_ed2l.h5 --protocol=ck_plus_7_10fold

Beside the file it writes its name with .html: a report with counts, sample crops, mean faces, duplicates, the folds of
the data set's protocols, and the pictures in which no face was found; those are listed in ..._undetected.csv as well.
Give their boxes (--boxes=boxes.csv with path,left,top,right,bottom; pixels of the upright picture) and the same command
again: what was found before is not searched for again. ..._<protocol>_<order>.json are fold manifests (--manifest).

A killed run goes on where it stood. A picture that cannot be read is named and left out, and the exit code is 1.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from absl import flags

from fer_tf import archives, faces, records

from .parts.prepare import report as prepare_report
from .parts.prepare import work as preparing
from .run import common, data_sets

flags.DEFINE_bool("list", False, "Print the data sets as a table, and nothing else.")
flags.DEFINE_enum("dataset", None, [n for n in data_sets.names() if n != "prepared"], "Which data set.")
flags.DEFINE_string("data_dir", None, "Its folder, as its owner ships it.")
flags.DEFINE_list("options", [], data_sets.HELP)
flags.DEFINE_enum("align", None, list(faces.TEMPLATES), "The paper whose frame the faces get.")
flags.DEFINE_string("out", None, "The HDF5 file; runs/prepared/<dataset>_<align>.h5 when left out.")
flags.DEFINE_enum("channels", "auto", ["auto", "1", "3"], "1 grey, 3 RGB; auto: as the paper has it.")
flags.DEFINE_string("boxes", None, "CSV file path,left,top,right,bottom: faces that are cut by these boxes.")
flags.DEFINE_string("unpack", None, "Unpack the archives in --data_dir into this folder first, and read that.")
flags.DEFINE_integer("workers", 0, "Threads; 0: one a core.", lower_bound=0)
FLAGS = flags.FLAGS


def read() -> tuple[list[records.Record], Path, dict[str, Any]]:
    """(records of --dataset, its folder, the options), unpacked where --unpack says so."""
    if not FLAGS.dataset or not FLAGS.align:
        raise ValueError("Give --dataset=, --data_dir= and --align=; --list shows the data sets.")
    module = importlib.import_module(f"fer_tf.datasets.{FLAGS.dataset}")
    options, place = data_sets.options(module, FLAGS.options), FLAGS.data_dir
    if FLAGS.unpack:
        place = str(archives.unpack_all(Path(FLAGS.data_dir or "."), Path(FLAGS.unpack)))
    try:
        found = module.records(place, **options)
    except FileNotFoundError as error:
        packed = archives.inside(Path(place)) if place else []
        if packed and not FLAGS.unpack:
            names = ", ".join(p.name for p in packed[:3])
            raise ValueError(f"There are archives ({names}): add --unpack=<folder>. {error}") from error
        raise
    if not found:
        raise ValueError(f"--dataset={FLAGS.dataset} --data_dir={place} has no pictures.")
    return found, Path(place or "."), options


def main() -> None:
    """Reads, cuts, writes, reports."""
    if FLAGS.list:
        print(data_sets.table())
        return
    found, root, options = read()
    module = importlib.import_module(f"fer_tf.datasets.{FLAGS.dataset}")
    out = Path(FLAGS.out or f"runs/prepared/{FLAGS.dataset}_{FLAGS.align}.h5")
    out.parent.mkdir(parents=True, exist_ok=True)
    names = [preparing.named(record, root) for record in found]
    channels = (3 if FLAGS.align == "cycle_at" else 1) if FLAGS.channels == "auto" else int(FLAGS.channels)
    rule = options.get("frames") or getattr(module, "FRAMES", "all frames of the data set")
    made = {"dataset": FLAGS.dataset, "template": FLAGS.align, "options": {**options, "channels": channels},
            "frames": rule, "records": len(found)}  # fmt: skip
    work = preparing.Work(found, names, made, out, preparing.read_boxes(FLAGS.boxes, names))
    work.start()
    work.run(FLAGS.workers)
    missed = work.finish()
    undetected = out.with_name(f"{out.stem}_undetected.csv")
    prepare_report.write_missed(undetected, [(names[i], status, why) for i, status, why in missed])
    if len(missed) == len(found):
        raise ValueError(f"None of {len(missed)} pictures gave a face, see {undetected}; the first: {missed[0][2]}")
    report = prepare_report.write(out, [(names[i], found[i], status, why) for i, status, why in missed])
    print(f"{out}: {len(found) - len(missed)} faces of {len(found)} pictures; {report} shows them.")
    if missed:
        print(f"{len(missed)} pictures gave no face; they are listed in {undetected}.", file=sys.stderr)
    damaged = [why for _, status, why in missed if status == preparing.UNREADABLE]
    if damaged:
        print(f"error: {len(damaged)} pictures cannot be read, such as: {damaged[0]}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    common.run(main)
