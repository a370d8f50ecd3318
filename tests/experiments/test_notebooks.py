"""Every notebook runs from top to bottom at smoke size, without its install cell, which is looked at apart."""

import importlib.metadata
import io
import json
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "experiments" / "colab").glob("*.ipynb"))
SMOKE = {
    "fer_net": "PEOPLE, EPOCHS, STEPS, WIDTH = 5, 1, 2, 4\nINIT = None",
    "ia_gen": "PEOPLE, EPOCHS, GAN_EPOCHS, STEPS, WIDTH, GAN_WIDTH = 5, 1, 1, 2, 4, 1 / 32\n"
    "CLASSES, INIT = 'anger,happiness', None",
    "ed2l": "PEOPLE, EPOCHS, STEPS, WIDTH, CLASSES = 5, 1, 2, 1 / 16, 'anger,happiness'",
    "gcnet": "PEOPLE, EPOCHS, STEPS, WIDTH, CLASSES = 5, 1, 2, 1 / 16, 'anger,happiness'",
    "cycle_at": "PEOPLE, EPOCHS, GAN_EPOCHS, STEPS, SIZE, FILTERS, BLOCKS, WIDTH = 4, 1, 1, 2, 32, 4, 1, 1 / 16\n"
    "CLASSES = 'anger,happiness'",
    "de_gan": "PEOPLE, GAN_EPOCHS, EPOCHS, STEPS, CLASSES = 5, 1, 1, 2, 'anger,happiness'\n"
    "WIDTH = 0.25  # that of the released weights, which know seven classes",
}
BASELINE = {
    "fer_net": "FER-Net",
    "ia_gen": "FER-Net",
    "ed2l": "Baseline",
    "gcnet": "CNN",
    "de_gan": "CNN",
    "cycle_at": "S2T",
}


FEW = ("fer_net",)
"""Those of every run; the others are slow, since each starts a kernel and trains."""
SLOW = [pytest.param(p, id=p.stem, marks=[] if p.stem in FEW else pytest.mark.slow) for p in NOTEBOOKS]


@pytest.mark.parametrize("path", SLOW)
def test_notebook_runs(path, tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="notebooks need the extra dev")
    nbclient = pytest.importorskip("nbclient", reason="notebooks need the extra dev")
    notebook = nbformat.read(path, as_version=4)
    tags = [cell.metadata.get("tags", []) for cell in notebook.cells]
    assert any("install" in t for t in tags) and any("parameters" in t for t in tags)
    for cell, tag in zip(notebook.cells, tags, strict=True):
        if "install" in tag:
            cell.source = f"import sys; sys.path.insert(0, {str(ROOT)!r})"
        if "parameters" in tag:
            cell.source = SMOKE[path.stem]
    resources = {"metadata": {"path": str(tmp_path)}}
    client = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources)
    client.execute()
    text = "".join(o.get("text", "") for cell in client.nb.cells for o in cell.get("outputs", []))
    assert BASELINE[path.stem] in text and "differs from the Keras model" in text
    assert (tmp_path / f"{path.stem}_export" / "saved_model.pb").is_file()


def install_cell(path):
    """The source of a notebook's install cell, which is its first one that runs."""
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells[0]["metadata"]["tags"] == ["install"]
    return "".join(cells[0]["source"])


class Machine:
    """A machine on which the cell is run: pip is watched, and the packages are those of a Colab runtime.

    Attributes:
      asked: what pip was asked for.
    """

    def __init__(self, monkeypatch, folder):
        self.asked, self.patch, self.folder = [], monkeypatch, folder
        versions = {
            "tensorflow": "2.20.0",
            "numpy": "2.1.3",
            "Pillow": "11.3.0",
            "torch": "2.8.0+cu126",
            "apt": "1ubuntu",
        }
        self.has(versions)
        monkeypatch.chdir(folder)
        monkeypatch.setattr(subprocess, "run", lambda words, check: self.asked.append(words))
        self.session(OSError("nobody answers"))

    def has(self, versions):
        """These packages are installed."""
        listed = [SimpleNamespace(metadata={"Name": name}, version=version) for name, version in versions.items()]
        self.patch.setattr(importlib.metadata, "distributions", lambda: listed)

    def session(self, answer):
        """What Colab answers when it is asked which notebook is open."""

        def urlopen(address, timeout):
            if isinstance(answer, Exception):
                raise answer
            return io.BytesIO(json.dumps(answer).encode())

        self.patch.setattr(socket, "gethostbyname", lambda name: "172.28.0.12")
        self.patch.setattr(urllib.request, "urlopen", urlopen)

    def run(self, cell):
        """What pip was asked to install, or None; and what it has to leave as it is."""
        self.asked.clear()
        exec(cell, {})
        if not self.asked:
            return None, []
        (words,) = self.asked
        assert words[:6] == [sys.executable, "-m", "pip", "install", "-q", "-c"] and words[6] == "installed.txt"
        return words[7], (self.folder / "installed.txt").read_text().split()


@pytest.fixture
def machine(monkeypatch, tmp_path):
    folder = tmp_path / "content"
    folder.mkdir()
    return Machine(monkeypatch, folder)


GITHUB = [{"path": "fileId=https%3A%2F%2Fgithub.com%2Fsome%2Ffork%2Fblob%2Fmain%2Fexperiments%2Fcolab%2Fed2l.ipynb"}]


def test_install_cells_are_alike():
    assert len({install_cell(path) for path in NOTEBOOKS}) == 1 and len(NOTEBOOKS) == 6


def test_the_install_cell_takes_the_checkout_at_hand(machine, monkeypatch):
    """Around the notebook, or beside it; and leaves alone what is installed."""
    cell = install_cell(NOTEBOOKS[0])
    machine.session(GITHUB)
    checkout = machine.folder / "unpacked"
    (checkout / "fer_tf").mkdir(parents=True)
    (checkout / "setup.py").touch()
    kept = ["tensorflow==2.20.0", "numpy==2.1.3", "pillow==11.3.0", "torch==2.8.0+cu126"]
    assert machine.run(cell) == (str(checkout), kept)
    machine.folder = checkout / "experiments" / "colab"
    machine.folder.mkdir(parents=True)
    monkeypatch.chdir(machine.folder)
    assert machine.run(cell) == (str(checkout), kept)


def test_the_install_cell_asks_colab_where_the_notebook_came_from(machine):
    machine.session(GITHUB)
    assert machine.run(install_cell(NOTEBOOKS[0]))[0] == "git+https://github.com/some/fork@main"


@pytest.mark.parametrize("answer", [OSError("no"), [], {}, [{"path": "fileId=1AbC"}], [{"path": None}]])
def test_an_install_cell_that_knows_no_origin_says_what_to_do(machine, answer):
    machine.session(answer)
    with pytest.raises(RuntimeError, match="in no package index: put a checkout beside this notebook, or set SOURCE"):
        machine.run(install_cell(NOTEBOOKS[0]))
    assert machine.asked == []


def test_the_install_cell_does_what_it_is_told_and_nothing_twice(machine):
    cell = install_cell(NOTEBOOKS[0])
    told = cell.replace("SOURCE = None\n", 'SOURCE = "fer_tf.whl"\n', 1)
    assert machine.run(told)[0] == "fer_tf.whl"
    machine.has({"fer_tf": "0.1.0", "numpy": "2.1.3"})
    assert machine.run(cell) == (None, [])
    assert machine.run(told) == ("fer_tf.whl", ["numpy==2.1.3"])
