"""Two CPU devices for the tests of replicas, and no Keras state that leaks from one test into the next.

A GPU is left alone: tests compare with what a CPU gives, bits too. FER_TF_TEST_ON_GPU=1 shows what differs on one.

TensorFlow is touched only where a test module imports it.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SEVERAL = """
import contextlib, importlib, io, json, sys
from experiments.run import command_line
module, said = importlib.import_module(sys.argv[1]), []
for words in json.loads(sys.argv[2]):
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            command_line.main(module.Settings, module.run, ["script", *words])
            said.append([0, errors.getvalue()])
        except SystemExit as end:
            said.append([end.code or 0, errors.getvalue()])
print(json.dumps(said))
"""

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if not os.environ.get("FER_TF_TEST_ON_GPU"):
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # for commands that run in a process of their own
# what XLA compiles for a CPU is only compared here: LLVM's optimisation would take most of the time
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")
_ready = []


def two_devices() -> None:
    """Splits the CPU in two, once TensorFlow is there; it refuses after its first op."""
    if not _ready and "tensorflow" in sys.modules:
        import tensorflow as tf

        if not os.environ.get("FER_TF_TEST_ON_GPU"):
            tf.config.set_visible_devices([], "GPU")
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        tf.config.experimental.enable_tensor_float_32_execution(False)  # a GPU's products in all bits
        _ready.append(True)


def pytest_collection_finish() -> None:
    """Every test module is imported, no test has run: import TensorFlow at a test module's top, run no op there."""
    two_devices()


@pytest.fixture(autouse=True)
def fresh_keras():
    """After each test: the float32 policy, and layer names that count from one again."""
    yield
    if "fer_tf.compat" in sys.modules:
        from fer_tf import compat

        two_devices()
        compat.keras.backend.clear_session(**({"free_memory": False} if compat.KERAS_3 else {}))
        compat.set_policy("float32")


def in_a_process(words: list[str], cwd: Path = ROOT) -> subprocess.CompletedProcess:
    """Runs Python on the checkout."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": paths}
    environment.pop("FER_TF_TRACEBACK", None)
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=500)


class Worker:
    """Python on the checkout in a process of its own, which goes on beside this one.

    Args:
      words: of its command line.
      config: its TF_CONFIG; empty for one that trains alone.
    """

    def __init__(self, words: list[str], config: str = ""):
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT), "TF_CONFIG": config}
        environment.pop("FER_TF_TRACEBACK", None)
        self.said = [tempfile.TemporaryFile("w+") for _ in range(2)]  # noqa: SIM115 - read at its end
        command = [sys.executable, *map(str, words)]
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=self.said[0], stderr=self.said[1])

    def end(self, seconds: float = 900) -> tuple[int, str, str]:
        """(exit code, stdout, stderr); it has to end in so many seconds."""
        try:
            code = self.process.wait(seconds)
        finally:
            self.process.kill()
            self.process.wait()
        for file in self.said:
            file.seek(0)
        out, error = (file.read() for file in self.said)
        return code, out, error


def free_addresses(count: int) -> list[str]:
    """host:port of ports of this machine that were free just now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    named = [f"127.0.0.1:{one.getsockname()[1]}" for one in held]
    for one in held:
        one.close()
    return named


@pytest.fixture(scope="session")
def start_workers() -> Iterator[Callable]:
    """`start_workers(words, words ...)` starts Python as the workers of one training on this machine, the chief first.

    One alone is no worker. None outlives the tests, whatever fails.
    """
    begun: list[Worker] = []

    def start(*commands: list[str]) -> list[Worker]:
        from fer_tf import clusters

        hosts = free_addresses(len(commands))
        configs = [clusters.tf_config(hosts, i) if len(hosts) > 1 else "" for i in range(len(hosts))]
        started = [Worker(words, config) for words, config in zip(commands, configs, strict=True)]
        begun.extend(started)
        return started

    yield start
    for worker in begun:
        worker.process.kill()


@pytest.fixture(scope="session")
def cli() -> Callable:
    """`cli("fer_net", "--flag=value", ..., cwd=...)` runs a script of experiments/ in a process of its own."""
    return lambda script, *flags, cwd=ROOT: in_a_process(["-m", f"experiments.{script}", *flags], cwd)


@pytest.fixture(scope="session")
def refused() -> Callable:
    """`refused("fer_net", {flag or flags: sentence}, *more_flags)`: each ends with code 1 and says the sentence alone.

    All in one process, since starting TensorFlow takes longer than refusing.
    """

    def run(script: str, cases: dict, *more: str) -> None:
        words = [[*more, *([flags] if isinstance(flags, str) else flags)] for flags in cases]
        done = in_a_process(["-c", SEVERAL, f"experiments.{script}", json.dumps(words)])
        assert done.returncode == 0, done.stderr[-2000:]
        for (flags, sentence), (code, said) in zip(
            cases.items(), json.loads(done.stdout.splitlines()[-1]), strict=True
        ):
            errors = [line for line in said.splitlines() if line.startswith("error: ")]
            assert code == 1 and len(errors) == 1 and sentence in errors[0] and "Traceback" not in said, (flags, said)

    return run
