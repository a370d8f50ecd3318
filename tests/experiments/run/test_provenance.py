"""Where a result comes from: the command without this machine's folders, the commit, and whom weights have seen."""

import json
import shlex
import subprocess
from pathlib import Path

import pytest

import fer_tf
from experiments.run import command_line, provenance, settings
from experiments.run.settings import setting
from fer_tf import weights
from fer_tf.models import fer_net


@settings.command({"quick": {}, "paper": {}}, paper="ia_gen")
class Toy(settings.Init, settings.Folds):
    """A field of each kind of place."""

    lambda_: float = setting(0.5, "A weight.")
    train_on: tuple[str, ...] = setting((), "name[/part]=folder.", place="named")
    files: tuple[str, ...] = setting((), "Some.", place="path")
    scene: tuple[str, ...] = setting((), "Again and again.", repeated=True)


def test_the_command_is_what_was_given_without_folders(tmp_path):
    made = Toy(
        preset="paper", workdir=tmp_path, data_dir="/home/me/secret/CK+", init="/home/me/a.h5", lambda_=0.25,
        train_on=("mmi=/home/me/mmi", "rendered/wild"), files=("/x/a.h5", "b.h5"), strict=False, max_steps=None,
        scene=("k=1,l=2", "a b"), options=(),
    )  # fmt: skip
    line = provenance.command(made, "toy")
    assert str(tmp_path) not in line and "/home" not in line and "/x" not in line
    assert line == (
        f"python -m experiments.toy --preset=paper --workdir={tmp_path.name} --data_dir=CK+ --init=a.h5 --lambda=0.25 "
        "--train_on=mmi=mmi,rendered/wild --files=a.h5,b.h5 --strict=false --scene=k=1,l=2 '--scene=a b' --options="
    )
    assert provenance.command(Toy(), "toy") == "python -m experiments.toy"


def test_the_command_can_be_given_again():
    """A shell's words, read by the flags, are the settings, but for the folders."""
    made = Toy(preset="paper", init="none", lambda_=1e-05, strict=False, scene=("k", "a 'b'"), options=("frames=all",))
    words = shlex.split(provenance.command(made, "toy"))[2:]
    assert Toy(**command_line.given(Toy, words)) == made


def test_the_commit_is_of_this_checkout(monkeypatch):
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True)
    if head.returncode:
        pytest.skip("no checkout")
    assert provenance.commit().removesuffix("+") == head.stdout[:12]
    monkeypatch.setenv("PATH", "")
    assert provenance.commit().startswith("version ")


def committed(root, *inside):
    """A repository of somebody's at `root` that has committed copies of provenance.py in these folders; its commit."""
    for place in inside:
        (root / place).mkdir(parents=True)
        (root / place / "provenance.py").write_text("# a copy")
    mine = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "-A"], [*mine, "commit", "-qm", "x", "--allow-empty"]):
        subprocess.run(["git", *words], cwd=root, check=True)
    return subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True).stdout[:12]


PLACES = {
    "a virtual environment that is not committed": (".venv/lib/fer_tf/experiments/run", False),
    "packages that are committed": ("lib/site-packages/fer_tf/experiments/run", True),
    "packages at the repository's root": ("fer_tf/experiments/run", True),
    "a copy in a folder": ("third_party/fer_tf/experiments/run", True),
    "the commands alone, at the root": ("experiments/run", True),
}


@pytest.mark.parametrize("kind", PLACES)
def test_the_commit_of_somebody_elses_repository_says_nothing(tmp_path, monkeypatch, kind):
    place, known = PLACES[kind]
    committed(tmp_path, *[place] * known)
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(provenance, "HERE", tmp_path / place)
    assert provenance.commit() == f"version {fer_tf.__version__}"


def test_a_whole_checkout_kept_in_somebody_elses_repository_has_no_commit(tmp_path, monkeypatch):
    """With its setup.py, but without a repository of its own."""
    root = tmp_path / "third_party/fer_tf"
    (root / "fer_tf").mkdir(parents=True)
    for name in ("setup.py", "fer_tf/__init__.py"):
        (root / name).write_text("")
    committed(tmp_path, "third_party/fer_tf/experiments/run")
    monkeypatch.setattr(provenance, "HERE", root / "experiments/run")
    assert provenance.commit() == f"version {fer_tf.__version__}"


def test_a_checkout_is_known_by_its_setup_py(tmp_path, monkeypatch):
    """Also through a link, and in a hook of another repository, which sets GIT_DIR."""
    root = tmp_path / "mine"
    (root / "fer_tf").mkdir(parents=True)
    for name in ("setup.py", "fer_tf/__init__.py"):
        (root / name).write_text("")
    head = committed(root, "experiments/run")
    (tmp_path / "link").symlink_to(root)
    for here in (root, tmp_path / "link"):
        monkeypatch.setattr(provenance, "HERE", here / "experiments/run")
        assert provenance.commit() == head
    (tmp_path / "other").mkdir()
    committed(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    assert provenance.commit() == head
    (root / "setup.py").write_text("changed")
    assert provenance.commit() == f"{head}+"
    (root / "setup.py").unlink()
    assert provenance.commit().startswith("version ")


def test_weights_say_where_they_come_from(tmp_path):
    made = Toy(seed=3, data_dir=tmp_path)
    model = fer_net.FERNet(classes=("anger", "fear"), width=2)
    about = provenance.of_weights(
        made,
        "toy",
        data="all of it",
        datasets=["mmi", "ck_plus", "mmi"],
        model=model,
        metric={"a": 0.5},
        expression="x",
    )
    assert {k: about[k] for k in ("data", "datasets", "seed", "metric", "expression")} == {
        "data": "all of it", "datasets": ["ck_plus", "mmi"], "seed": 3, "metric": {"a": 0.5}, "expression": "x",
    }  # fmt: skip
    assert about["command"] == f"python -m experiments.toy --seed=3 --data_dir={tmp_path.name}"
    assert about["commit"] == provenance.commit() and about["hardware"] == provenance.hardware() != ""
    assert about["model"] == "fer_net.FERNet" and tuple(about["classes"]) == ("anger", "fear")
    assert about["config"]["width"] == 2 and "name" not in about["config"]
    assert fer_net.FERNet(**about["config"]).classes == ("anger", "fear")
    bare = provenance.of_weights(made, "toy", data="it", datasets=["mmi"])
    assert {*bare} == {"command", "commit", "data", "datasets", "hardware", "seed", "metric"} and bare["metric"] is None
    weights.save(model, tmp_path / "w.h5", provenance=about)
    assert str(tmp_path) not in json.dumps(weights.provenance(tmp_path / "w.h5"))


def saved(path, datasets):
    """Weights of ours that were trained on these."""
    weights.save(fer_net.FERNet(width=2), path, provenance={"datasets": datasets})
    return path


def test_weights_that_have_seen_the_tested_people_are_refused(tmp_path):
    file = saved(tmp_path / "w.h5", ["fer2013", "rendered"])
    for tested in ("fer2013", "rendered", "rendered/wild", "fer2013/private_test"):
        with pytest.raises(ValueError) as error:
            provenance.refuse_tested_people(file, "init", tested)
        name = f"--init={file} was trained on everybody in {tested}, so it has seen who is to be tested."
        assert str(error.value) == name
    for tested in ("ck_plus", None):
        assert provenance.refuse_tested_people(file, "init", tested) == ["fer2013", "rendered"]
    part = saved(tmp_path / "p.h5", ["rendered/wild"])  # a part has not seen another, nor those of the whole's default
    assert provenance.refuse_tested_people(part, "init", "rendered/lab") == ["rendered/wild"]
    assert provenance.refuse_tested_people(part, "init", "rendered") == ["rendered/wild"]
    with pytest.raises(ValueError, match="everybody in rendered/wild"):
        provenance.refuse_tested_people(part, "init", "rendered/wild")
    second = saved(tmp_path / "s.h5", ["rendered2"])  # nobody of the judge's is in the whole
    assert provenance.refuse_tested_people(second, "init", "rendered2/judge") == ["rendered2"]
    with pytest.raises(ValueError, match="everybody in rendered2/wild"):
        provenance.refuse_tested_people(second, "init", "rendered2/wild")
    everybody = saved(tmp_path / "all.h5", ["rendered/all"])
    for file, tested in ((everybody, "rendered"), (everybody, "rendered/posed"), (part, "rendered/all")):
        with pytest.raises(ValueError, match=f"everybody in {tested}"):
            provenance.refuse_tested_people(file, "init", tested)
    assert provenance.refuse_tested_people(everybody, "init", "rendered2/wild") == ["rendered/all"]
    assert provenance.refuse_tested_people(everybody, "init", "rendered/judge") == ["rendered/all"]
    assert provenance.refuse_tested_people(None, "init", "rendered") == []
    (tmp_path / "keras.h5").write_bytes(b"another's")
    assert provenance.refuse_tested_people(tmp_path / "keras.h5", "init", "rendered") == []


def test_files_of_weights(tmp_path, monkeypatch):
    assert provenance.weights_file("") is provenance.weights_file("none") is None
    file = saved(tmp_path / "w.h5", [])
    assert provenance.weights_file(str(file)) == file
    assert provenance.weights_file("fer_net_fer2013").name == "fer_net_fer2013.h5"
    with pytest.raises(FileNotFoundError, match="nothing_like_it"):
        provenance.weights_file("nothing_like_it")


def test_what_metrics_json_says_of_a_run():
    made = Toy(protocol="ck_plus_7_10fold", fold_order="strided", seed=5, runs=2, workdir="/somewhere")
    facts = provenance.facts(made, ("anger", "fear"), 12.345)
    assert {k: facts[k] for k in ("dataset", "preset", "classes", "seeds", "seconds")} == {
        "dataset": "ck_plus", "preset": "quick", "classes": ["anger", "fear"], "seeds": [5, 6], "seconds": 12.3,
    }  # fmt: skip
    assert facts["protocol"].startswith("ck_plus_7_10fold, strided: IA-gen IV-C (8 runs)")
    assert {*facts["versions"]} == {"fer_tf", "tensorflow"} and facts["commit"] and facts["hardware"]
    asked = "--protocol=ck_plus_7_10fold --fold_order=strided --seed=5 --runs=2"
    assert facts["command"] == f"python -m experiments.test_provenance {asked}"
    assert provenance.facts(Toy(folds=4), (), 0)["protocol"] == "4 folds by subject, contiguous"
    assert provenance.facts(Toy(manifest="/home/me/mine.json"), (), 0)["protocol"] == "mine.json"


def test_an_export_says_whom_it_has_not_seen():
    about = provenance.of_export(Toy(), {"run": 1, "fold": 3, "methods": {}}, row="ed2l")
    assert about == {
        "trained_on": "rendered", "run": 1, "held_out_fold": 3, "commit": provenance.commit(), "row": "ed2l"
    }  # fmt: skip
