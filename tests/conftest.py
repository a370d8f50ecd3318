"""Two CPU devices for the tests of replicas, and no Keras state that leaks from one test into the next.

TensorFlow is touched only where a test module imports it.
"""

import os
import sys

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
_ready = []


def two_devices() -> None:
    """Splits the CPU in two, once TensorFlow is there; it refuses after its first op."""
    if _ready or "tensorflow" not in sys.modules:
        return
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    _ready.append(True)


def pytest_collection_finish() -> None:
    """Every test module is imported, no test has run: import TensorFlow at a test module's top, run no op there."""
    two_devices()


@pytest.fixture(autouse=True)
def fresh_keras():
    """After each test: the float32 policy, and layer names that count from one again."""
    yield
    if "fer_tf.compat" not in sys.modules:
        return
    from fer_tf import compat

    two_devices()
    compat.keras.backend.clear_session(**({"free_memory": False} if compat.KERAS_3 else {}))
    compat.set_policy("float32")
