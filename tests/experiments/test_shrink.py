"""experiments/shrink.py: what it writes and says."""

import json
from pathlib import Path

import pytest

from experiments import shrink
from fer_tf import weights


def test_a_file_in_its_own_place(tmp_path, capsys):
    path = tmp_path / "de_gan_baseline.h5"
    path.write_bytes(weights.released("de_gan_baseline_rendered").read_bytes())
    before, told = weights.sha256(path), weights.provenance(path)
    line = shrink.run(shrink.Settings(weights=str(path), dtype="int8"))
    assert json.loads(capsys.readouterr().out) == line
    assert line["bytes"] == path.stat().st_size < 0.65 * line["bytes_before"] and line["sha256"] == weights.sha256(path)
    stored = {"dtype": "int8", "from_sha256": before}
    stored["command"] = "python -m experiments.shrink --weights=de_gan_baseline.h5 --dtype=int8"
    assert weights.provenance(path) == {**told, "stored": stored}


def test_into_another_file_or_none(tmp_path):
    given = weights.released("de_gan_baseline_rendered")
    line = shrink.run(shrink.Settings(weights=str(given), dtype="float32", out=str(tmp_path / "a" / "b.h5")))
    assert Path(line["out"]).stat().st_size > 1.5 * line["bytes_before"]
    with pytest.raises(ValueError, match="Give --weights"):
        shrink.run(shrink.Settings())
    with pytest.raises(FileNotFoundError, match="no weights file none"):
        shrink.run(shrink.Settings(weights="none.h5"))
