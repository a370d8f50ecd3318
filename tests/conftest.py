"""Two CPU devices for the tests of replicas, and no Keras state that leaks from one test into the next.

A GPU is left alone: tests compare with what a CPU gives, bits too. FER_TF_TEST_ON_GPU=1 shows what differs on one.

TensorFlow is touched only where a test module imports it.
"""

import contextlib
import gc
import importlib
import io
import os
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if not os.environ.get("FER_TF_TEST_ON_GPU"):
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # for commands that run in a process of their own
# what XLA compiles for a CPU is only compared here: LLVM's optimisation would take most of the time
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")
if side_by_side := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):
    # each worker has its share of the cores, and so have its commands: threads that wait for a core spin
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, str((os.cpu_count() or 1) // side_by_side or 1))
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
    """Every test module is imported, no test has run: import TensorFlow at a test module's top, run no op there.

    While graphs are made, Python looks over and over through all that was imported, and through them. With the first
    left out and the second rarer, tests of the models take 8 % less.
    """
    two_devices()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)


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


def in_this_process(script: str, words: list[str]) -> subprocess.CompletedProcess:
    """`python -m experiments.<script> <words>` on the checkout, but for its process: what it says and its exit code."""
    from experiments.run import command_line

    module, out, errors, code = importlib.import_module(f"experiments.{script}"), io.StringIO(), io.StringIO(), 0
    words = list(map(str, words))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors), pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.delenv("FER_TF_TRACEBACK", raising=False)
        try:
            command_line.main(module.Settings, module.run, [script, *words])
        except SystemExit as end:
            code = end.code or 0
        except Exception:  # noqa: BLE001 - it would end the process
            traceback.print_exc()
            code = 1
    return subprocess.CompletedProcess([script, *words], code, out.getvalue(), errors.getvalue())


@contextlib.contextmanager
def without_graphs() -> Iterator[None]:
    """See `op_by_op`."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


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
def here() -> Callable:
    """`here("fer_net", "--flag=value", ...)` as `cli`, in this process: starting another takes four seconds."""
    return lambda script, *flags: in_this_process(script, flags)


@pytest.fixture(scope="session")
def op_by_op() -> Callable:
    """`with op_by_op():` no `tf.function` is traced: a few steps are sooner made than their graph."""
    return without_graphs


@pytest.fixture(scope="session")
def refused() -> Callable:
    """`refused("fer_net", {flag or flags: sentence}, *more_flags)`: each ends with code 1 and says the sentence alone.

    In this process, since starting TensorFlow takes longer than refusing.
    """

    def run(script: str, cases: dict, *more: str) -> None:
        for flags, sentence in cases.items():
            done = in_this_process(script, [*more, *([flags] if isinstance(flags, str) else flags)])
            errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
            assert done.returncode == 1 and len(errors) == 1 and sentence in errors[0], (flags, done.stderr)
            assert "Traceback" not in done.stderr, (flags, done.stderr)

    return run
