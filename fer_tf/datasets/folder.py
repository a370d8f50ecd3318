"""One's own pictures: a folder for each expression, or a list.

    root/anger/anna_1.jpg ...                   class folders; or
    root/labels.csv                             path,expression,subject  (further columns are kept)
         anna/1.jpg,anger,anna ...              paths are relative to root, or absolute

In class folders a picture's subject is what its name has before the first "_", or the folder between the class and the
picture (anger/anna/1.jpg); pictures without either have none, and then folds by subject cannot be made. Words such as
angry, happy or sad are understood. A picture may be anything that Pillow opens; faces are found by dlib.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from fer_tf import trees
from fer_tf.records import Record

LIST = "labels.csv"
COLUMNS = ("path", "expression", "subject", "sequence", "frame", "split", "domain")
LABELS = (
    "folders or words in the list: anger or angry, contempt, disgust, fear, happiness or happy, sad, surprise, neutral"
)
TREE = f"  anger/anna_1.jpg ...\nor\n  {LIST}   (path,expression,subject; one line a picture)"


def records(root: str | Path | None = None) -> list[Record]:
    """All pictures, in the list's order or by class, subject and name.

    Args:
      root: the folder; or a CSV file.
    Raises:
      FileNotFoundError: there is no picture, or one of the list is missing; the message names it.
      ValueError: an unknown expression, or a list without the columns path and expression; the message names the line.
    """
    if root is not None and Path(root).is_file():
        return _listed(Path(root))
    place = trees.root_of(root, TREE)
    if (place / LIST).is_file():
        return _listed(place / LIST)
    listed = []
    for folder in trees.folders(place):
        expression = trees.label(folder.name, trees.WORDS, folder)
        for path in trees.walk(folder):
            between = path.relative_to(folder).parts[:-1]
            before = path.stem.partition("_")
            subject = between[0] if between else before[0] if before[1] else None
            listed.append(Record(str(path), expression, subject=subject, sequence=f"{subject}/{expression}"))
    if not listed:
        raise FileNotFoundError(f"{place} has no pictures: expected\n{TREE}")
    return listed


def _listed(file: Path) -> list[Record]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            names = reader.fieldnames or []
            if not {"path", "expression"} <= set(names):
                raise ValueError(
                    f"{file} has the columns {', '.join(map(str, names)) or '(none)'}: it needs path and expression."
                )
            trees.not_ours(names, file)
            listed = [_row(file, line, row, names) for line, row in enumerate(reader, 2)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file} is no CSV file in UTF-8: {error}") from error
    if not listed:
        raise FileNotFoundError(f"{file} lists no picture.")
    return listed


def _row(file: Path, line: int, row: dict, names: Sequence[str]) -> Record:
    """One line of the list."""
    given = {name: (row.get(name) or "").strip() or None for name in names if name}
    if given["path"] is None:
        raise ValueError(f"{file}, line {line}: there is no path.")
    path = Path(given["path"])
    path = path if path.is_absolute() else file.parent / path
    if not path.is_file():
        raise FileNotFoundError(f"{file}, line {line}: there is no file {path}.")
    word, number = given["expression"], given.get("frame")
    if number is not None and not (number.isascii() and number.isdigit()):
        raise ValueError(f"{file}, line {line}: frame {number!r} is no number.")
    return Record(
        str(path),
        None if word is None else trees.label(word, trees.WORDS, f"{file}, line {line}"),
        frame=None if number is None else int(number),
        info={name: value for name, value in given.items() if name not in COLUMNS and value is not None},
        **{name: given.get(name) for name in ("subject", "sequence", "split", "domain")},
    )
