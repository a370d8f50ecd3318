"""Flags are made of the fields; a command line becomes settings; bad input is one sentence; `fer-tf` runs commands."""

import dataclasses
import errno
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from absl import flags

import experiments.__main__ as console
from experiments.run import command_line, settings
from experiments.run.settings import setting

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = sorted(console.commands())


@settings.command({"paper": {"rate": 0.25, "names": ("a", "b")}, "quick": {"epochs": 3}})
class Toy(settings.Training):
    """A field of each type, and another default than the class above has."""

    batch_size: int = 7
    rate: float = setting(1.0, "How fast.", low=0, high=2)
    names: tuple[str, ...] = setting(("b",), "Which.", choices=("a", "b", "c"))
    lambda_: float = setting(0.5, "A weight.")
    share: float | None = setting(None, "A share.", high=1)
    count: int | None = setting(None, "How many.", low=1)
    speed: str | None = setting(None, "A word.", choices=("slow", "fast"))
    scene: tuple[str, ...] = setting((), "Given again and again.", repeated=True)


@settings.command()
class Other(settings.Base):
    """A command whose flag has a name of Toy's, and another type."""

    rate: str = setting("slow", "A word now.")
    where: str | None = setting(None, "Where.", place="path")


@pytest.mark.parametrize("kind", [Toy, Other, *COMMANDS], ids=lambda kind: getattr(kind, "__name__", kind))
def test_each_field_is_a_flag_with_its_name_default_help_and_bounds(kind):
    kind = importlib.import_module(f"experiments.{kind}").Settings if isinstance(kind, str) else kind
    made, fields = command_line.define(kind), [f for f in dataclasses.fields(kind) if f.name != kind.REST]
    assert {*made} == {f.name.rstrip("_") for f in fields} and len({*made}) == len(fields)
    for field in fields:
        flag, known = made[field.name.rstrip("_")], settings.described(kind, field.name)
        several = isinstance(field.default, tuple)
        assert flag.default == (list(field.default) if several else field.default), field.name
        assert known["words"] in flag.help and known["words"].endswith((".", "...")), field.name
        parser = flag.parser
        if not several:
            assert getattr(parser, "lower_bound", None) == known["low"], field.name
            assert getattr(parser, "upper_bound", None) == known["high"], field.name
            allowed = settings.choices(kind, field.name)
            assert list(getattr(parser, "enum_values", ())) == list(allowed), field.name
        assert flag.boolean == isinstance(field.default, bool)


@pytest.mark.parametrize(
    "words, given",
    [
        ([], {}),
        (["--rate=0.5", "--epochs", "3"], {"rate": 0.5, "epochs": 3}),
        (["--names=a,c", "--lambda=2"], {"names": ("a", "c"), "lambda_": 2.0}),
        (["--names="], {"names": ()}),
        (["--scene=a,b", "--scene=c"], {"scene": ("a,b", "c")}),
        (["--nodeterministic", "--tensorboard"], {"deterministic": False, "tensorboard": True}),
        (["--progress=false"], {"progress": False}),
        (["--batch_size=7"], {"batch_size": 7}),  # given, though it is the default
        (["--count=4", "--speed=slow", "--share=-1.5"], {"count": 4, "speed": "slow", "share": -1.5}),
    ],
)
def test_a_command_line_becomes_settings(words, given):
    assert command_line.given(Toy, ["program", *words]) == given
    assert Toy(**given).given == given


def test_none_of_it_is_absls_own():
    """A program that has flags of its own may call a command."""
    before = {*flags.FLAGS}
    command_line.main(Toy, lambda made: None, ["program", "--rate=0.5"])
    assert {*flags.FLAGS} == before


def test_two_commands_in_one_process():
    """The second's flag of the same name is its own, and nothing of the first is left."""
    made = []
    command_line.main(Toy, made.append, ["a", "--rate=0.5", "--seed=3"])
    command_line.main(Other, made.append, ["b", "--rate=fast"])
    command_line.main(Toy, made.append, ["a"])
    assert [s.rate for s in made] == [0.5, "fast", 1.0] and [s.given for s in made][1:] == [{"rate": "fast"}, {}]
    assert made[2].seed == 0


def ended(capsys, kind, run, *words):
    """(exit code, lines on stderr) of a command that ends early."""
    with pytest.raises(SystemExit) as end:
        command_line.main(kind, run, ["program", *words])
    return end.value.code, capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--rates=1"], "Unknown command line flag 'rates'. Did you mean: rate ?"),
        (["--rate=fast"], "--rate=fast"),
        (["--rate=3"], "--rate=3"),
        (["--rate=nan"], "--rate=nan"),
        (["--speed=slower"], "slow|fast"),
        (["--names=a,d"], "--names=a,d: d is none of a, b, c."),
        (["--preset=papers"], "paper|quick"),
        (["--rate"], "rate"),
        (["rate=1"], "Unknown argument 'rate=1': flags look like --name=value"),
    ],
)
def test_bad_words_are_one_sentence(capsys, words, sentence):
    code, lines = ended(capsys, Toy, lambda made: pytest.fail("ran"), *words)
    assert code == 1 and len(lines) == 1 and lines[0].startswith("error: ") and sentence in lines[0]


def failing(error):
    """A command that raises."""

    def run(made):
        raise error

    return run


READER = "{{function_node x}} ValueError: a.png has no face.\nTraceback (most recent call last):\n  File"


@pytest.mark.parametrize(
    "error, sentence",
    [
        (ValueError("no such thing."), "no such thing."),
        (FileNotFoundError("there is no a.h5"), "there is no a.h5"),
        (FloatingPointError("loss is no longer finite"), "loss is no longer finite"),
        (ImportError("needs mitsuba"), "needs mitsuba"),
        (tf.errors.InvalidArgumentError(None, None, READER), "a.png has no face."),
    ],
)
def test_what_a_command_refuses_is_one_sentence(capsys, monkeypatch, error, sentence):
    monkeypatch.delenv("FER_TF_TRACEBACK", raising=False)
    assert ended(capsys, Other, failing(error)) == (1, [f"error: {sentence}"])
    monkeypatch.setenv("FER_TF_TRACEBACK", "1")
    with pytest.raises(type(error)):
        command_line.main(Other, failing(error), ["program"])


@pytest.mark.parametrize("kind, more", [(Other, ""), (Toy, "; the same command goes on from the last checkpoint")])
@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), tf.errors.UnknownError(None, None, "KeyboardInterrupt: \nTrace")]
)
def test_ctrl_c_is_one_line(capsys, monkeypatch, kind, more, error):
    """Also where it comes out of a running tf.data pipeline."""
    monkeypatch.delenv("FER_TF_TRACEBACK", raising=False)
    assert ended(capsys, kind, failing(error)) == (130, [f"interrupted{more}."])
    monkeypatch.setenv("FER_TF_TRACEBACK", "1")
    with pytest.raises(type(error)):
        command_line.main(kind, failing(error), ["program"])


def test_ctrl_c_while_tensorflow_is_read_is_one_line(capsys, monkeypatch):
    monkeypatch.setattr(importlib, "import_module", lambda *names: failing(KeyboardInterrupt())(names))
    with pytest.raises(SystemExit) as end:
        console.main(["ed2l"])
    assert (end.value.code, capsys.readouterr().err) == (130, "interrupted.\n")


def test_ctrl_c_while_a_module_reads_tensorflow_is_one_line(tmp_path):
    """`python -m experiments.ed2l`, with a TensorFlow whose import is interrupted."""
    (tmp_path / "tensorflow.py").write_text("raise KeyboardInterrupt")
    command, environment = [sys.executable, "-m", "experiments.ed2l"], {**os.environ, "PYTHONPATH": str(tmp_path)}
    environment.pop("FER_TF_TRACEBACK", None)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode != 0 and done.stderr == "interrupted.\n"


def test_tensorboard_is_asked_for_before_anything_starts(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    code, lines = ended(capsys, Toy, lambda made: pytest.fail("ran"), "--tensorboard")
    assert code == 1 and len(lines) == 1 and "pip install tensorboard" in lines[0] and '".[tensorboard]"' in lines[0]
    command_line.main(Toy, lambda made: None, ["program", "--notensorboard"])


def chained(error, cause):
    """As `raise error from cause` has it."""
    error.__cause__ = cause
    return error


NO_SPACE = OSError(errno.ENOSPC, "No space left on device", "/runs/a/.x.part.json")
FULL = {
    "a file": (NO_SPACE, " of /runs/a"),
    "a quota": (OSError(errno.EDQUOT, "Disk quota exceeded"), ""),
    "a checkpoint": (
        tf.errors.ResourceExhaustedError(None, None, "x.tempstate1; No space left on device [Op:SaveV2]\n\ntrace"), ""
    ),
    "HDF5": (RuntimeError("Can't write data (file write failed: errno = 28, error message = 'No space left')"), ""),
    "one in another": (chained(KeyError("export"), NO_SPACE), ""),
}  # fmt: skip


@pytest.mark.parametrize("kind", FULL)
def test_a_full_disk_is_one_sentence(capsys, monkeypatch, kind):
    """Whichever library finds it full; memory that does not suffice is something else."""
    monkeypatch.delenv("FER_TF_TRACEBACK", raising=False)
    error, where = FULL[kind]
    again = "make room and give the same command again, which goes on where it stood."
    assert ended(capsys, Other, failing(error)) == (1, [f"error: The disk{where} is full: {again}"])
    with pytest.raises(tf.errors.ResourceExhaustedError):
        command_line.main(Other, failing(tf.errors.ResourceExhaustedError(None, None, "OOM of GPU:0")), ["program"])


@pytest.mark.parametrize("error", [KeyError("a fault of ours"), tf.errors.InvalidArgumentError(None, None, "shapes")])
def test_our_own_faults_keep_their_traceback(monkeypatch, error):
    monkeypatch.delenv("FER_TF_TRACEBACK", raising=False)
    with pytest.raises(type(error)):
        command_line.main(Other, failing(error), ["program"])


def test_an_int_is_the_exit_code(capsys):
    assert ended(capsys, Other, lambda made: 3) == (3, [])
    command_line.main(Other, lambda made: 0, ["program"])  # ends well, and goes on
    command_line.main(Other, lambda made: "a path", ["program"])


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_shows_every_flag_and_what_the_presets_give(capsys, word):
    command_line.main(Toy, lambda made: pytest.fail("ran"), ["program", word])
    text = capsys.readouterr().out
    assert text.startswith("Flags are made of the fields")  # this module's docstring
    assert "  --rate: How fast. (at least 0; at most 2; default 1.0; paper 0.25)\n" in text
    assert "  --names: Which. (one of a, b, c; default b; paper a,b)\n" in text
    assert "  --epochs: Epochs. (at least 1; default 20; quick 3)\n" in text
    assert "--lambda: A weight. (default 0.5)" in text and "--scene: Given again and again. (default empty)" in text
    assert "--progress: Print the progress. (default true)" in text and max(map(len, text.splitlines())) < 121


def test_the_list_has_every_command_and_its_first_line(capsys):
    for words in ([], ["--help"], ["help"]):
        console.main(words)
        lines = capsys.readouterr().out.splitlines()
        listed = {line.split()[0]: " ".join(line.split()[1:]) for line in lines if line.startswith("  ")}
        assert list(listed) == COMMANDS and {"ed2l", "predict", "prepare"} <= {*listed}
        assert listed["ed2l"] == "ED2L on people it never saw: the net without and with its dispelling branch " \
            "(Tables 2 to 5, Figs. 3 to 5)."  # fmt: skip
        assert all(len(line) > 20 for line in listed.values())


@pytest.mark.parametrize(
    "word, sentence",
    [("ed2", "'ed2' is no command; did you mean ed2l?"), ("zzz", "'zzz' is no command. `fer-tf` lists them.")],
)
def test_an_unknown_command_is_one_sentence(word, sentence):
    with pytest.raises(SystemExit) as end:
        console.main([word])
    assert sentence in str(end.value.code)


def test_a_checkout_runs_a_command_by_name_in_any_folder(tmp_path):
    """`python -m experiments ed2l` is `fer-tf ed2l`."""
    program = [sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv.pop(1)); sys.path.remove('')\n"
               "import runpy; runpy.run_module('experiments', run_name='__main__')", str(ROOT)]  # fmt: skip
    done = subprocess.run([*program, "ed2l", "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("ED2L on people it never saw") and "  --lambda_p: " in done.stdout
    assert (
        "'ed2' is no command" in subprocess.run([*program, "ed2"], cwd=tmp_path, capture_output=True, text=True).stderr
    )
