"""What is shipped: an sdist that can be tested, and a wheel built from it."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def tracked():
    """The files of the checkout, relative; a test outside of one is skipped."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode or "setup.py" not in listed.stdout.split():
        pytest.skip("no checkout")
    return {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()}


def built(folder, *words):
    """What setup.py, run in `folder`, puts into its dist folder."""
    done = subprocess.run([sys.executable, "setup.py", "-q", *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (path,) = (folder / "dist").iterdir()
    return path


def test_the_sdist_is_the_checkout_and_its_wheel_has_all_that_runs(tmp_path):
    """Tests, notebooks and weights are in the one; modules, weights and rendered faces in the other."""
    pytest.importorskip("setuptools", "70.1", reason="setuptools that builds wheels")
    names, copy = tracked(), tmp_path / "checkout"
    for name in names:
        data = b"" if name.endswith((".h5", ".jpg", ".png")) else (ROOT / name).read_bytes()  # names are what counts
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(data)
    with tarfile.open(built(copy, "sdist")) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
        archive.extractall(tmp_path / "unpacked", filter="data")
    assert not names - inside, sorted(names - inside)[:5]
    assert {"experiments/colab/ed2l.ipynb", "tests/experiments/conftest.py", ".ci/run"} <= inside
    (source,) = (tmp_path / "unpacked").iterdir()
    with zipfile.ZipFile(built(source, "bdist_wheel")) as wheel:
        shipped = set(wheel.namelist())
    expected = {name for name in names if name.startswith("fer_tf/") and not name.endswith("__pycache__")}
    expected |= {f"fer_tf/{n}" for n in names if n.startswith("experiments/") and n.endswith(".py")}
    expected |= {f"fer_tf/{n}" for n in names if n.startswith("experiments/parts/export/page/")}
    expected |= {f"fer_tf/released/{Path(n).name}" for n in names if n.startswith("weights/")}
    assert not expected - shipped, sorted(expected - shipped)[:5]
    assert not [name for name in shipped if name.startswith(("tests", "experiments", "weights", "docs"))]
