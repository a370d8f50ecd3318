"""Every notebook runs from top to bottom at smoke size, without its install cell."""

from pathlib import Path

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


FEW = ("fer_net", "de_gan")
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
