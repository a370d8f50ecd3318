"""`python -m experiments.choose`: the grid is written first, each candidate runs apart, the best one is chosen."""

import json
import sys
from types import SimpleNamespace

import pytest

from experiments import choose

RIGHT = {"beta=10,phi=2": 0.5, "beta=10,phi=4": 0.75, "beta=200,phi=2": 0.75, "beta=200,phi=4": 0.25}
"""Candidate -> what it names: two are best."""


def made(folder, **given):
    """Settings of a grid of four."""
    usual = {"experiment": "ia_gen", "method": "IA-gen", "grid": ("beta=10,200", "phi=2,4"), "workdir": str(folder)}
    return choose.Settings(**{**usual, "flags": ("--preset=quick", "--seed=3"), **given})


@pytest.fixture
def ran(monkeypatch):
    """The command lines of all candidates, none of which is run: metrics.json says what `RIGHT` has."""
    commands = []

    def run(words, stdout, stderr, env):
        place = choose.Path(next(w for w in words if w.startswith("--workdir=")).partition("=")[2])
        assert json.loads((place.parent / "grid.json").read_text())["grid"] == ["beta=10,200", "phi=2,4"]
        commands.append(words)
        if place.name == "beta=200,phi=2" and len(commands) == 3:
            return SimpleNamespace(returncode=1)
        place.mkdir()
        macro = {"pooled": RIGHT[place.name]}
        table = {"IA-gen": {"last": {"macro": macro, "micro": {"pooled": 0.125}}, "best": {"macro": {"pooled": 1}}}}
        found = {"methods": {"FER-Net": {}, **table}, "folds": [{"test": 30}, {"test": 45}]}
        (place / "metrics.json").write_text(json.dumps(found))
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(choose, "subprocess", SimpleNamespace(run=run))  # provenance asks git by its own
    return commands


def test_the_first_of_the_best_is_chosen_and_the_same_line_goes_on(ran, tmp_path, capsys):
    folder = tmp_path / "runs" / "new"  # which nobody has made
    with pytest.raises(RuntimeError, match="beta=200,phi=2 ended with 1: see .*beta=200,phi=2.txt"):
        choose.run(made(folder))
    assert not (folder / "chosen.json").exists()
    assert choose.run(made(folder)) == {"beta": "10", "phi": "4"}
    order = [words[-1].rpartition("/")[2] for words in ran]
    assert order == ["beta=10,phi=2", "beta=10,phi=4", "beta=200,phi=2", "beta=200,phi=2", "beta=200,phi=4"]
    given = ["--preset=quick", "--seed=3", "--beta=10", "--phi=4", "--validation=0.2"]
    assert ran[1] == [sys.executable, "-m", "experiments.ia_gen", *given, f"--workdir={folder}/beta=10,phi=4"]
    told = json.loads((folder / "chosen.json").read_text())
    assert told["chosen"] == {"beta": "10", "phi": "4"} and [r["macro"] for r in told["runs"]] == [*RIGHT.values()]
    assert told["runs"][1] == {"values": told["chosen"], "macro": 0.75, "micro": 0.125, "faces": 75, "error": 0.05}
    lines = (folder / "choose.log").read_text().splitlines()
    assert len(lines) == 2 + 4 and lines[1].endswith("beta=10,phi=4: 75.00 % of 75, standard error 5.00")
    assert "chosen: beta=10,phi=4" in capsys.readouterr().out


def test_a_grid_is_not_changed_by_what_it_has_seen(ran, tmp_path):
    choose.begin(made(tmp_path), tmp_path)
    before = (tmp_path / "grid.json").read_text()
    for other in ({"grid": ("beta=10,100",)}, {"validation": 0.5}, {"flags": ("--seed=4",)}, {"method": "FER-Net"}):
        with pytest.raises(ValueError, match=f"has a grid with another --{next(iter(other))}: give another --workdir"):
            choose.run(made(tmp_path, **other))
    assert (tmp_path / "grid.json").read_text() == before and not ran
    assert json.loads(before)["candidates"][1] == {"beta": "10", "phi": "4"}


def test_what_is_no_grid_is_refused(tmp_path):
    cases = {
        "flag=value,value is wanted": {"grid": ("beta",)},
        "--grid=beta=1,,2": {"grid": ("beta=1,,2",)},
        "once for each flag": {"grid": ("beta=1,2", "beta=3")},
        "--grid is left out": {"grid": ()},
        "Whose accuracy chooses": {"method": ""},
        "--validation=0.5 is this command's own": {"flags": ("--validation=0.5",)},
    }
    for sentence, given in cases.items():
        with pytest.raises(ValueError, match=sentence):
            choose.begin(made(tmp_path, **given), tmp_path)
    assert not (tmp_path / "grid.json").exists()
    (tmp_path / "metrics.json").write_text(json.dumps({"methods": {"FER-Net": {}}}))
    with pytest.raises(ValueError, match="--method=IA-gen: the table has FER-Net"):
        choose.measured(made(tmp_path), tmp_path)
