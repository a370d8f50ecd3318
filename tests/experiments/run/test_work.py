"""The work folder: flags.json is the settings, and a run is taken up again with the same ones alone."""

import json
from pathlib import Path

import pytest
import tensorflow as tf

from experiments import cycle_at, de_gan, ia_gen
from experiments.run import settings, work
from experiments.run.settings import setting
from fer_tf import locks


@settings.command({"quick": {"epochs": 3}, "paper": {}})
class Toy(settings.Folds):
    """One field of its own."""

    lambda_: float = setting(0.5, "A weight.")
    temperature: float = setting(1.0, "Does not bind.", free=True)


def trained(folder):
    """As if something had been trained there."""
    (folder / "run0/fold0/net/checkpoint").mkdir(parents=True)
    (folder / "run0/fold0/net/checkpoint/checkpoint").write_text("")


def test_flags_json_is_the_settings(tmp_path):
    """From it the same run can be made again."""
    made = Toy(workdir=tmp_path / "a/b", lambda_=0.25, options=("frames=all", "x=1"), classes="six")
    assert work.folder(made, "toy") == tmp_path / "a/b"
    written = json.loads((tmp_path / "a/b/flags.json").read_text())
    assert written == settings.bound(made)
    assert written["lambda"] == 0.25 and written["options"] == ["frames=all", "x=1"] and written["epochs"] == 3
    assert not {"workdir", "temperature", "only_folds", "progress", "tensorboard"} & {*written}
    fields = {"lambda": "lambda_"}
    again = Toy(**{fields.get(k, k): tuple(v) if isinstance(v, list) else v for k, v in written.items()})
    assert settings.bound(again) == written


def test_a_folder_of_its_own_where_none_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(work.folder(Toy(), "toy")) == "runs/toy_quick" and str(work.folder(Toy(preset="paper"), "toy")) == (
        "runs/toy_paper"
    )
    assert (tmp_path / "runs/toy_paper/flags.json").is_file()


def test_a_training_binds_its_settings(tmp_path):
    work.folder(Toy(workdir=tmp_path), "toy")
    work.folder(Toy(workdir=tmp_path, epochs=5, lambda_=0.1), "toy")  # nothing was trained with the first
    trained(tmp_path)
    work.folder(Toy(workdir=tmp_path, epochs=5, lambda_=0.1), "toy")
    free = {"temperature": 7.0, "only_folds": "1", "progress": False, "tensorboard": True}
    work.folder(Toy(workdir=tmp_path, epochs=5, lambda_=0.1, **free), "toy")
    with pytest.raises(ValueError) as error:
        work.folder(Toy(workdir=tmp_path, epochs=4, lambda_=0.2), "toy")
    assert str(error.value) == (
        f"{tmp_path} holds a run with --epochs=5, and now --epochs=4 is asked for: give the same flags to go on with "
        "it, or another --workdir. Changed: epochs, lambda."
    )
    assert json.loads((tmp_path / "flags.json").read_text())["epochs"] == 5


@pytest.mark.parametrize(
    "flag, less, more", [("epochs", 3, 4), ("max_steps", 7, 8), ("max_steps", 7, None), ("runs", 1, 2)]
)
def test_more_of_what_goes_on_is_taken_less_is_refused(tmp_path, capsys, flag, less, more):
    work.folder(Toy(workdir=tmp_path, **{flag: less}), "toy")
    trained(tmp_path)
    work.folder(Toy(workdir=tmp_path, **{flag: more}), "toy")
    assert f"{tmp_path} goes on from --{flag}={less} to {more}; learning rates" in capsys.readouterr().out
    assert json.loads((tmp_path / "flags.json").read_text())[flag] == more
    with pytest.raises(ValueError, match=f"a run with --{flag}={more}, and now --{flag}={less} is asked for"):
        work.folder(Toy(workdir=tmp_path, **{flag: less}), "toy")
    with pytest.raises(ValueError, match="Changed: lambda.$"):
        work.folder(Toy(workdir=tmp_path, **{flag: more}, lambda_=0.1), "toy")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("command", [ia_gen, de_gan, cycle_at])
def test_what_later_trainings_follow_cannot_grow(tmp_path, command):
    """More epochs of FER-Net would leave the GANs on an earlier one."""
    other = {"ia_gen": "epochs", "de_gan": "gan_epochs", "cycle_at": "gan_epochs"}[command.__name__.rpartition(".")[2]]
    given = {"preset": "smoke", "workdir": tmp_path}
    work.folder(command.Settings(**given), "x")
    trained(tmp_path)
    work.folder(command.Settings(**given, runs=2), "x")
    with pytest.raises(ValueError, match=f"holds a run with --{other}=1, and now --{other}=2"):
        work.folder(command.Settings(**given, runs=2, **{other: 2}), "x")


@settings.command({"quick": {}})
class Places(Toy):
    """Flags that name places."""

    train_on: tuple[str, ...] = setting((), "More data.", place="named")


def test_a_place_is_the_same_however_it_is_written(tmp_path, monkeypatch):
    """With a slash, dots, a link, from here, from home; another folder is another one."""
    for name in ("set", "other", "run"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("set")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    work.folder(Places(workdir="run/", data_dir=tmp_path / "set", train_on=("mmi=set", "rendered/wild")), "toy")
    trained(tmp_path / "run")
    for one in ("set", "set/", "./set//", "link", "~/set", str(tmp_path / "other/../set")):
        work.folder(Places(workdir="run", data_dir=one, train_on=(f"mmi={one}", "rendered/wild")), "toy")
        for given in ({"data_dir": "other", "train_on": (f"mmi={one}", "rendered/wild")},
                      {"data_dir": one, "train_on": ("mmi=other", "rendered/wild")},
                      {"data_dir": one, "train_on": (f"lfw={one}", "rendered/wild")},
                      {"data_dir": None, "train_on": (f"mmi={one}", "rendered/wild")}):  # fmt: skip
            with pytest.raises(ValueError, match=r"Changed: (data_dir|train_on)\.$"):
                work.folder(Places(workdir="run", **given), "toy")


def test_a_command_has_its_folder_alone_until_it_ends(tmp_path):
    """A second one is refused before it writes anything; afterwards, also after an error, the folder is free."""
    calls = []

    @work.alone
    def run(settings):
        folder = work.folder(settings, "toy")
        calls.append((folder / locks.NAME).is_file())
        if len(calls) == 1:
            with pytest.raises(ValueError, match=f"{tmp_path} is in use by process .* or give another --workdir"):
                run(settings.replace(epochs=9))
            assert json.loads((folder / "flags.json").read_text())["epochs"] == 3
        if len(calls) == 2:
            raise KeyError
        return "done"

    assert run.__name__ == "run" and run(Toy(workdir=tmp_path)) == "done"
    with pytest.raises(KeyError):
        run(Toy(workdir=tmp_path))
    assert run(Toy(workdir=tmp_path)) == "done" and calls == [True] * 3
    assert [p.name for p in tmp_path.iterdir()] == ["flags.json"]


def test_every_command_with_a_work_folder_has_it_alone():
    root = Path(work.__file__).parents[1]
    commands = [p for p in root.glob("*.py") if "work.folder(" in p.read_text()]
    assert len(commands) >= 11
    for path in commands:
        assert "\n@work.alone\ndef run(settings" in path.read_text(), path.name


def test_a_run_of_another_version_is_refused_in_one_sentence(tmp_path):
    """One flag less, and one that is no more: what it began with cannot be known."""
    made = Toy(workdir=tmp_path)
    work.folder(made, "toy")
    trained(tmp_path)
    written = settings.bound(made)
    begun = {k: v for k, v in written.items() if k != "folds"}
    (tmp_path / "flags.json").write_text(json.dumps({**begun, "take": 4}))
    with pytest.raises(ValueError) as error:
        work.folder(made, "toy")
    assert str(error.value) == (
        f"{tmp_path} holds a run of another version of this command, with other settings (folds, take): give another "
        "--workdir."
    )


@pytest.mark.parametrize("text", ["", "{", "[1]", '"x"'])
def test_what_is_no_list_of_settings_is_refused_in_one_sentence(tmp_path, text):
    made = Toy(workdir=tmp_path)
    trained(tmp_path)
    (tmp_path / "flags.json").write_text(text)
    with pytest.raises(ValueError, match="flags.json is damaged: give another --workdir"):
        work.folder(made, "toy")


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    for place in ("file", "file/run"):
        with pytest.raises(ValueError, match=f"--workdir={tmp_path}/{place} cannot be made .*: give another one"):
            work.folder(Toy(workdir=tmp_path / place), "toy")


class Adds(tf.Module):
    """x -> x + its number."""

    def __init__(self, number):
        super().__init__()
        self.number = tf.Variable(number)

    @tf.function(input_signature=[tf.TensorSpec((), tf.float32)])
    def serving_default(self, x):
        return {"y": x + self.number}


def test_a_module_takes_the_place_of_an_older_one_alone(tmp_path):
    for number in (1.0, 2.0):
        work.save_module(Adds(number), tmp_path / "deep/export")
    loaded = tf.saved_model.load(str(tmp_path / "deep/export"))
    assert float(loaded.serving_default(tf.constant(3.0))["y"]) == 5
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["export"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="mine exists and is no SavedModel: remove it, or give another --workdir"):
        work.save_module(Adds(1.0), tmp_path / "mine")
    assert (tmp_path / "mine/letter.txt").read_text() == "dear"
