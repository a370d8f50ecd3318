"""MMI: films of people who go from neutral to an expression and back; some of the sequences show one of the basic six.

    root/Sessions/1841/session.xml              <track view="0" ...>: 0 frontal, 1 profile, 2 both in one frame
    root/Sessions/1841/S035-004.avi             the film; its name bears the subject, S035
    root/Sessions/1841/S035-004.xml             <Metatag Name="Emotion" Value="4"/>, where there is an expression
    root/Sessions/1841/S035-004-oao_aucs.xml    action units, not read
    root/sequences.csv                          one's own list, if any: session,expression,subject,peak

The site packs what one has chosen, so that several downloads may lie beside each other: the Sessions of every folder in
the root are taken. In place of a film a session may have its frames as pictures, three or more, directly or in a folder
of their own. Sessions with less are still pictures and left out; one without session.xml is taken for frontal.

Emotion's numbers: 1 anger, 2 disgust, 3 fear, 4 happiness, 5 sadness, 6 surprise (as public loaders have them); larger
ones are other states, which are left out. Many frontal films lie on their side, and others of the same size do not:
which way up each is, dlib's detector says of its first, middle or last frame, and the records of those that lie bear
`turn`. Where it finds no face, those of 720x576 are taken to lie, and that is told. A sequence begins neutral, and its
middle frame is taken for the peak.

In the list, `session` is the folder's name or the film's; `expression` a word such as happy or one of the numbers,
`subject`, and `peak` (the frame's number, counted from 0) may be left out or empty. The list decides which sequences
are used, whatever their view.

Pantic, Valstar, Rademaker, Maat: "Web-based database for facial expression analysis" (ICME 2005); Valstar, Pantic:
"Induced Disgust, Happiness and Surprise: an Addition to the MMI Facial Expression Database" (LREC workshop EMOTION
2010). Licence: research only, by a signed agreement (register at mmifacedb.eu); pictures may not be passed on. Used by
DE-GAN (208 frontal sequences of 31 people), ED2L (209 frontal ones of 236, 32 people) and GCNet (205 frontal ones of
312, 30 people; peaks picked by hand): three frames around the peak, ten folds by subject. Which sequences they are
none of them prints.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.parsers import expat

from PIL import Image

from fer_tf import films, lists, trees, upright
from fer_tf import frames as rules
from fer_tf.records import Record

NUMBERS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
"""Of 1 to 6."""
VIEWS = {"0": "frontal", "1": "profile", "2": "dual"}
LYING = (720, 576)
"""(width, height) of frontal films that mostly lie on their side."""
NAME = re.compile(r"S[0-9]+-[0-9]+", re.IGNORECASE)
FRAMES = "middle3"
COUNTS = {"DE-GAN": (208, 31), "ED2L": (209, 32), "GCNet": (205, 30)}
"""Sequences and people of each paper."""
LIST = "sequences.csv"
LARGEST = 2**24
"""Bytes of the largest XML file that is read."""
LABELS = "1 anger, 2 disgust, 3 fear, 4 happiness, 5 sadness, 6 surprise; others are left out"
TREE = """  Sessions/1841/session.xml
  Sessions/1841/S035-004.avi      or a folder of its frames
  Sessions/1841/S035-004.xml"""


class Session(NamedTuple):
    """A sequence: its folder, the name that begins with the subject (S035-004), its film or the frames' pictures."""

    folder: Path
    name: str
    film: Path | None
    pictures: Sequence[Path]


def records(
    root: str | Path | None = None,
    *,
    frames: str = FRAMES,
    frontal: bool = True,
    sequences: str | Path | None = None,
) -> list[Record]:
    """The sequences' frames by a rule, and their first frame as neutral.

    Args:
      root: the folder above, one that has it alone, or Sessions itself.
      frames: a rule of `fer_tf.frames`.
      frontal: leave out profiles, and films that show two views.
      sequences: one's own list, a CSV file; the root's sequences.csv when left out and there.
    Returns:
      Records in the order subject, sequence, frame; `domain` is the view.
    Raises:
      FileNotFoundError: no such tree, or a session of the list is missing; the message names its line.
      ValueError: an XML file, film or line that cannot be used, an unknown expression or view, or a sequence without a
        subject; the message names it.
    """
    places = _places(root)
    sessions = _sessions(places)
    tops = [Path(root or "."), *(place.parent for place in places)]
    file = sequences or next((top / LIST for top in tops if (top / LIST).is_file()), None)
    rows = None if file is None else _listed(Path(file), sessions)
    listed: list[Record] = []
    people: dict[str, set[str]] = {}
    count = faceless = 0
    for session in sorted(sessions, key=lambda s: trees.natural(s.name)):
        if rows is not None and session.folder not in rows:
            continue
        row, view = (rows or {}).get(session.folder, {}), _view(session.folder)
        if rows is None and frontal and view != VIEWS["0"]:
            continue
        expression = row.get("expression") or _expression(session)
        if expression is None:
            if rows is not None:
                raise ValueError(
                    f"{file}: {session.name} bears none of the six expressions: say in the list which it is."
                )
            continue
        subject = row.get("subject") or _subject(session)
        images, lying = _frames(session)
        peak = row.get("peak")
        if peak is not None and peak >= len(images):
            raise ValueError(f"{file}: {session.name} has {len(images)} frames, so none is number {peak}.")
        turn = upright.turn_of(images[place] for place in (0, len(images) // 2, -1)) if view == VIEWS["0"] else 0
        faceless += turn is None and lying
        info = {"turn": turn or 90} if turn or (turn is None and lying) else {}
        for number, image, shown in rules.shown(images, expression, frames, peak):
            listed.append(Record(image, shown, subject, session.name, number, view, info=info))
        count += 1
        people.setdefault(view, set()).add(subject)
    if faceless:
        size = "x".join(map(str, LYING))
        print(f"MMI: no face was found in {faceless} frontal sequences of {size}: taken to lie.", file=sys.stderr)
    _tell_count(count, len(set().union(*people.values())), len(people.get(VIEWS["0"], ())))
    return listed


def _tell_count(count: int, people: int, frontal: int) -> None:
    """A sentence on stderr where sequences and people are none of the papers'."""
    if (count, people) not in COUNTS.values():
        papers = ", ".join(f"{sequences} of {who} ({paper})" for paper, (sequences, who) in COUNTS.items())
        known = [who for _, who in COUNTS.values()]
        print(f"MMI: this copy has {count} sequences of {people} people; the papers have {papers}. Of its people "
              f"{frontal} are frontal, of the papers' {min(known)} to {max(known)}.", file=sys.stderr)  # fmt: skip


def _subject(session: Session) -> str:
    """The person that the name of a file of the session bears."""
    if not NAME.fullmatch(session.name):
        raise ValueError(f"{session.folder} has no file with a name like S035-004, so nobody knows who it shows.")
    return session.name.partition("-")[0]


def _places(root: str | Path | None) -> list[Path]:
    """The folders named Sessions."""
    tops = [] if root is None else [Path(root), *trees.folders(root)]
    places = [p for top in tops for p in ([top] if top.name == "Sessions" else trees.folders(top))]
    places = list(dict.fromkeys(p for p in places if p.name == "Sessions"))
    if not any(trees.folders(place) for place in places):
        raise FileNotFoundError(f"{root or '--data_dir'} is not MMI: expected a folder with\n{TREE}")
    return places


def _sessions(places: Sequence[Path]) -> list[Session]:
    """The sequences, each once."""
    sessions: dict[str, Session] = {}
    for folder in (f for place in places for f in trees.folders(place)):
        reels, inner = trees.files(folder, films.ENDINGS), trees.folders(folder)
        pictures = [] if reels else trees.files(folder) or next(filter(None, map(trees.files, inner)), [])
        if not reels and len(pictures) < 3:
            continue
        names = [p.name for p in (*reels, *trees.files(folder, (".xml",)), *inner, *pictures[:1], folder)]
        name = next((m.group().upper() for m in map(NAME.match, names) if m), folder.name)
        sessions.setdefault(name, Session(folder, name, reels[0] if reels else None, pictures))
    return list(sessions.values())


def _elements(file: Path) -> list[tuple[str, dict[str, str]]]:
    """(tag, attributes) of an XML file's elements, names in lower case. Entities, which can grow without end, are
    refused with the declarations that they need."""
    elements: list[tuple[str, dict[str, str]]] = []

    def declared(name: str, system: str | None, public: str | None, inside: int) -> None:
        if inside:
            raise ValueError("it declares a document type of its own")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = declared
    parser.StartElementHandler = lambda tag, given: elements.append(
        (tag.lower(), {k.lower(): v for k, v in given.items()})
    )
    try:
        if file.stat().st_size > LARGEST:
            raise ValueError(f"it has more than {LARGEST} bytes")
        parser.Parse(file.read_bytes(), True)
    except (expat.ExpatError, ValueError, LookupError, OSError) as error:
        raise ValueError(f"{file} is no XML file that can be used: {error}") from error
    return elements


def _view(folder: Path) -> str:
    file = folder / "session.xml"
    views = [a["view"] for tag, a in _elements(file) if tag == "track" and "view" in a] if file.is_file() else []
    view = views[0] if views else "0"
    if view not in VIEWS:
        raise ValueError(f"{file}: {view!r} is no view; there are {', '.join(VIEWS)}.")
    return VIEWS[view]


def _expression(session: Session) -> str | None:
    """What the session's metadata say; None where that is nothing, or none of the six."""
    for file in trees.files(session.folder, (".xml",)):
        if "aucs" in file.name.lower():
            continue
        for tag, given in _elements(file):
            if tag == "metatag" and given.get("name", "").lower() == "emotion":
                return _six(given.get("value", ""), file)
    return None


def _six(word: str, where: str | Path) -> str | None:
    """The expression of a number or word; None for one that is none of the six."""
    word = word.strip()
    if word.isascii() and word.isdigit():
        return NUMBERS[int(word) - 1] if 0 < int(word[:9]) <= len(NUMBERS) else None
    expression = trees.label(word, trees.WORDS, where) if word else None
    return expression if expression in NUMBERS else None


def _frames(session: Session) -> tuple[Sequence[str | tuple[str, int]], bool]:
    """(images of records in order, whether they have the size of those that mostly lie on their side)."""
    if session.film is not None:
        with films.Film(session.film) as film:
            count, (height, width) = len(film), film.size
        if not count:
            raise ValueError(f"{session.film}: has no frames")
        return [(str(session.film), number) for number in range(count)], (width, height) == LYING
    try:
        with Image.open(session.pictures[0]) as picture:
            size = picture.size
    except Exception as error:  # decoders raise nearly everything on damaged files
        raise ValueError(f"{session.pictures[0]}: cannot be read as a picture ({error})") from error
    return [str(path) for path in session.pictures], size == LYING


def _listed(file: Path, sessions: Sequence[Session]) -> dict[Path, dict[str, Any]]:
    """{session's folder: expression, subject and peak, where the list gives them}."""
    columns = ("session", "expression", "subject", "peak")
    rows = lists.rows(file, known=columns)
    if not rows or "session" not in rows[0].values:
        raise ValueError(f"{file} needs the column session, and a line for each sequence.")
    known = {name: s.folder for s in sessions for name in (s.folder.name, s.name)}
    by_folder: dict[Path, dict[str, Any]] = {}
    for where, given in rows:
        row = {name: given.get(name, "") for name in columns}
        folder = known.get(row["session"]) or known.get(row["session"].upper())
        if folder is None:
            raise FileNotFoundError(f"{where}: there is no sequence {row['session']!r}.")
        if folder in by_folder:
            raise ValueError(f"{where}: {row['session']} is listed twice.")
        expression = _six(row["expression"], where)
        if row["expression"] and expression is None:
            raise ValueError(f"{where}: {row['expression']!r} is none of the six expressions.")
        peak = row["peak"]
        if peak and not (peak.isascii() and peak.isdigit()):
            raise ValueError(f"{where}: peak {peak!r} is no number of a frame.")
        by_folder[folder] = {"expression": expression, "subject": row["subject"], "peak": int(peak) if peak else None}
    return by_folder
