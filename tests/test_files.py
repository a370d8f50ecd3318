"""Files and folders appear only when they are whole, and what was there before stays until then."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fer_tf import figures, files, metrics, records, weights
from fer_tf.compat import keras

ROOT = Path(__file__).resolve().parents[1]
HALF = """
import os, signal, sys
from fer_tf import files
with files.replacing(sys.argv[1]) as part:
    if sys.argv[2] == "folder":
        part.mkdir()
        part = part / "b.txt"
    with part.open("w") as file:
        file.write("half")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
"""


def tree(folder):
    """{name: text} of everything below a folder, hidden or not."""
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_killed_in_the_middle(tmp_path, kind):
    """Nothing half-written stands there, and what stood there stays; the next one writes it."""
    place = tmp_path / "a.txt"
    for before in ({}, {"a.txt" if kind == "file" else "a.txt/b.txt": "old"}):
        for name, text in before.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        done = subprocess.run([sys.executable, "-c", HALF, str(place), kind], cwd=ROOT, timeout=60)
        assert done.returncode == -signal.SIGKILL
        assert {n: t for n, t in tree(tmp_path).items() if not n.startswith(".")} == before
    assert [t for n, t in tree(tmp_path).items() if n.startswith(".")] == ["half"] * 2  # of two processes
    with files.replacing(place) as part:
        (part / "b.txt" if kind == "folder" and not part.mkdir() else part).write_text("new")
    assert {n: t for n, t in tree(tmp_path).items() if not n.startswith(".")} == dict.fromkeys(before, "new")


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_an_error_in_the_middle_leaves_nothing_and_keeps_what_was_there(tmp_path, kind):
    for before in ({}, {"a": "old"} if kind == "file" else {"a/b": "old", "a/c": "old"}):
        for name, text in before.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        with pytest.raises(KeyboardInterrupt), files.replacing(tmp_path / "a") as part:
            if kind == "folder":
                part.mkdir()
                (part / "b").write_text("half")
            else:
                part.write_text("half")
            raise KeyboardInterrupt
        assert tree(tmp_path) == before


def test_a_folder_takes_the_place_of_another(tmp_path):
    """Whole: nothing of the old one is left in it."""
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "a" / "deep" / "old").write_text("old")
    with files.replacing(tmp_path / "a") as part:
        (part / "deeper").mkdir(parents=True)
        (part / "deeper" / "new").write_text("new")
        assert tree(tmp_path / "a") == {"deep/old": "old"}
    assert tree(tmp_path) == {"a/deeper/new": "new"} and [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_folder_that_cannot_take_the_place_gives_it_back(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("old")
    rename = os.replace

    def failing(source, target):
        if ".part" in str(source):
            raise OSError("no room")
        rename(source, target)

    with pytest.raises(OSError, match="no room"), files.replacing(tmp_path / "a") as part:
        part.mkdir()
        monkeypatch.setattr(os, "replace", failing)
    assert tree(tmp_path) == {"a/b": "old"} and [p.name for p in tmp_path.iterdir()] == ["a"]


def test_one_kind_does_not_take_the_others_place(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("old")
    with pytest.raises(OSError), files.replacing(tmp_path / "folder") as part:
        part.write_text("new")
    with pytest.raises(OSError), files.replacing(tmp_path / "file") as part:
        part.mkdir()
    with pytest.raises(OSError), files.replacing(tmp_path / "nothing"):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"] and tree(tmp_path) == {"file": "old"}


def test_the_name_beside_it_keeps_the_ending(tmp_path):
    """Pillow, NumPy and FFmpeg choose their format by it."""
    with files.replacing(tmp_path / "a.b.npy") as part:
        assert part.parent == tmp_path and part.suffix == ".npy" and part.name.startswith(".a.b.")
        assert str(os.getpid()) in part.name
        part.write_bytes(b"x")
    assert (tmp_path / "a.b.npy").read_bytes() == b"x"


def test_texts_and_plain_values(tmp_path):
    files.write_text(tmp_path / "a.txt", "лицо\n")
    assert (tmp_path / "a.txt").read_bytes() == "лицо\n".encode()
    value = {"b": [1, 2.5, None], "a": {"c": True}}
    files.write_json(str(tmp_path / "a.json"), value)
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == value and text.startswith('{\n "b": [') and text.endswith("}\n")
    with pytest.raises(TypeError):
        files.write_json(tmp_path / "a.json", {"b": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == value and len([*tmp_path.iterdir()]) == 2


def saved_weights(path):
    net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="logits")], name="net")
    weights.save(net, path, provenance={})


def saved_figure(path):
    figures.save(figures.confusion_matrix(np.eye(2, dtype=int), ["fear", "anger"]), path)


def saved_manifest(path):
    listed = [records.Record(bytes([i]), "fear", subject=f"S{i}") for i in range(4)]
    records.write_manifest(path, listed, records.subject_folds(listed, 2), frames="all", order="contiguous")


@pytest.mark.parametrize(
    "name, write",
    [
        ("a.h5", saved_weights),
        ("a.png", saved_figure),
        ("folds.json", saved_manifest),
        ("metrics.json", lambda path: metrics.write_metrics(path, {"accuracy": 0.5})),
    ],
)
def test_who_writes_replaces(tmp_path, monkeypatch, name, write):
    """What stands there stays until the new file is whole: here no file is given its name any more."""

    def failing(source, target):
        raise OSError("no room")

    (tmp_path / name).write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing)
        with pytest.raises(OSError, match="no room"):
            write(tmp_path / name)
    assert (tmp_path / name).read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == [name]
    write(tmp_path / name)
    assert len((tmp_path / name).read_bytes()) > 30 and [p.name for p in tmp_path.iterdir()] == [name]


def test_a_name_as_long_as_file_systems_allow(tmp_path):
    """The name while it is written has the ending, and is another for each of two long names that begin alike."""
    names, parts = [f"{'ä' * 120}{letter}.json" for letter in ("xxxxxxxxx", "yyyyyyyyy", "")], set()
    for name in names:
        with files.replacing(tmp_path / name) as part:
            part.write_text(name)
            parts.add(part.name)
            assert part.suffix == ".json" and part.name.startswith(".") and len(part.name.encode()) <= 255
    assert len(parts) == 3 and {p.name: p.read_text() for p in tmp_path.iterdir()} == {name: name for name in names}
    with pytest.raises(OSError), files.replacing(tmp_path / ("a" * 260)) as part:
        part.write_text("too long")
    assert len(list(tmp_path.iterdir())) == 3
