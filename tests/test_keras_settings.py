"""Keras told to be what fer_tf cannot run on: one sentence at import, of a command one line and exit code 1."""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fer_tf import keras_settings

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def told(tmp_path, monkeypatch):
    """`told(version, environment, keras_json)`: what `refuse_others` says to that, "" for nothing."""

    def ask(version, backend=None, text=None):
        monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        monkeypatch.delenv("KERAS_BACKEND", raising=False)
        if backend is not None:
            monkeypatch.setenv("KERAS_BACKEND", backend)
        (tmp_path / "keras.json").unlink(missing_ok=True)
        if text is not None:
            (tmp_path / "keras.json").write_text(text if isinstance(text, str) else json.dumps(text))
        try:
            keras_settings.refuse_others()
        except ImportError as error:
            assert "\n" not in str(error)
            return str(error).replace(str(tmp_path), "")
        return ""

    return ask


def test_the_backend(told):
    runs = "fer_tf runs on Keras with backend tensorflow, and "
    for backend in ("torch", "jax", "numpy", "openvino"):
        assert told("3.15.0", backend) == (f"{runs}KERAS_BACKEND says {backend}: unset it, or set it to tensorflow.")
        assert told("3.15.0", None, {"backend": backend}) == (
            f"{runs}/keras.json says {backend}: change it there, or set KERAS_BACKEND=tensorflow."
        )
        assert told("3.15.0", "tensorflow", {"backend": backend}) == ""  # the environment's word counts
        assert told("3.15.0", "", {"backend": backend}) != ""  # an empty one is none
        assert told("2.15.0", backend, {"backend": backend}) == ""  # Keras 2 knows no other
    assert told("3.15.0", "torch", {"backend": "tensorflow"}).startswith(runs + "KERAS_BACKEND says torch")
    assert told("3.15.0", "tensorflow") == told("3.15.0") == told("3.15.0", None, {"backend": "tensorflow"}) == ""


@pytest.mark.parametrize("version", ["2.15.0", "3.15.0"])
def test_defaults_that_every_layer_would_take(told, version):
    first = told(version, "tensorflow", {"image_data_format": "channels_first"})
    assert first == f"{SENTENCE}/keras.json says channels_first: change it there."
    assert "floatx float32, and /keras.json says float64" in told(version, "tensorflow", {"floatx": "float64"})
    fine = {"floatx": "float32", "epsilon": 1e-7, "backend": "tensorflow", "image_data_format": "channels_last"}
    for text in (fine, "{", "[]", "3", "", {}):  # Keras passes a damaged one by
        assert told(version, None, text) == ""


def test_keras_json_at_home(monkeypatch, tmp_path):
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "3.13.2")
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras/keras.json").write_text('{"backend": "jax"}')
    with pytest.raises(ImportError, match=f"and {tmp_path}/.keras/keras.json says jax: "):
        keras_settings.refuse_others()


def run(words, home):
    """A process whose keras.json asks for channels_first, which neither Keras can have here."""
    (home / "keras.json").write_text('{"image_data_format": "channels_first"}')
    environment = {**os.environ, "KERAS_HOME": str(home), "PYTHONPATH": str(ROOT)}
    environment.pop("KERAS_BACKEND", None)
    return subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, timeout=300)


SENTENCE = "fer_tf runs on Keras with image_data_format channels_last, and "


@pytest.mark.parametrize("words", [["-m", "experiments.fer_net"], ["-m", "experiments", "fer_net"]])
def test_a_command_says_one_line_and_ends_with_1(tmp_path, words):
    done = run(words, tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {SENTENCE}")


def test_an_import_is_refused_and_what_reads_data_needs_no_keras(tmp_path):
    lines = "import fer_tf.catalogue, fer_tf.records\nprint('read')\nimport fer_tf.compat"
    done = run(["-c", lines], tmp_path)
    assert done.returncode == 1 and done.stdout == "read\n"
    assert done.stderr.splitlines()[-1].startswith(f"ImportError: {SENTENCE}")


def test_the_list_of_commands_needs_no_keras(tmp_path):
    script = "from experiments.__main__ import main; main([])"
    done = run(["-c", script], tmp_path)
    assert done.returncode == 0 and "fer_net" in done.stdout
