"""Which device computes, why a GPU cannot be used, and what to do when its memory does not suffice."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

DEVICES = ("auto", "cpu", "gpu")
DRIVER = "libcuda.so.1"


class Refused(RuntimeError):
    """What is asked for cannot be computed on this machine's devices."""


class OutOfMemory(Refused):
    """The device's memory does not hold what it should compute.

    Attributes:
      batch_size: rows of the step that did not fit; 0 where it is not known.
    """

    def __init__(self, sentence: str, batch_size: int):
        super().__init__(sentence)
        self.batch_size = batch_size


def gpus() -> list[Any]:
    """The GPUs that TensorFlow uses."""
    return tf.config.get_visible_devices("GPU")


def choose(device: str = "auto") -> None:
    """Decides where everything is computed; before TensorFlow's first operation.

    Args:
      device: "cpu" leaves GPUs alone, "gpu" insists on one, "auto" takes one where TensorFlow can use it; where the
        machine has one that it cannot use, says why and goes on on the CPU.
    Raises:
      ValueError: another word.
      Refused: "gpu", and none can be used.
      RuntimeError: "cpu" after a GPU has been used.
    """
    if device not in DEVICES:
        raise ValueError(f"Unknown device {device!r}: use {', '.join(DEVICES)}.")
    if device == "cpu":
        if gpus():
            tf.config.set_visible_devices([], "GPU")
        return
    if gpus():
        return
    reason = why_no_gpu()
    if device == "gpu":
        raise Refused(f"--device=gpu: {reason or NO_GPU} Leave --device out, or give --device=cpu.")
    if reason:
        print(f"{reason} Going on on the CPU (--device=cpu says so without this line).", flush=True)


NO_GPU = "this machine has no GPU that TensorFlow could use."


def why_no_gpu() -> str:
    """Why TensorFlow cannot use the NVIDIA GPU of this machine, in a sentence; empty where there is none."""
    if not nvidia_present():
        return ""
    if not loads(DRIVER):
        return f"There is an NVIDIA GPU, but its driver's library {DRIVER} cannot be loaded: install the driver."
    build = tf.sysconfig.get_build_info()
    if not build.get("is_cuda_build"):
        return "There is an NVIDIA GPU, but this TensorFlow was built without CUDA: pip install 'tensorflow[and-cuda]'."
    version, cudnn = str(build.get("cuda_version", "?")), str(build.get("cudnn_version", "?"))
    return (
        f"There is an NVIDIA GPU, but TensorFlow {tf.__version__} does not find CUDA {version} and cuDNN {cudnn}: "
        "pip install 'tensorflow[and-cuda]', or put both libraries on LD_LIBRARY_PATH."
    )


def nvidia_present() -> bool:
    """Whether the machine has an NVIDIA GPU, usable or not."""
    return Path("/proc/driver/nvidia/version").exists() or any(Path("/dev").glob("nvidia[0-9]*"))


def loads(library: str) -> bool:
    """Whether the dynamic linker finds a library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def whole_float32() -> Iterator[None]:
    """Within it, a GPU multiplies float32 with all 24 bits: else with 11 (TF32), and results differ by 1e-4."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


@contextlib.contextmanager
def memory_named(batch_size: int) -> Iterator[None]:
    """Within it, TensorFlow's message that memory is exhausted, a page long, becomes `OutOfMemory`."""
    try:
        yield
    except (tf.errors.ResourceExhaustedError, tf.errors.InternalError) as error:
        if isinstance(error, tf.errors.InternalError) and "RESOURCE_EXHAUSTED" not in error.message:
            raise
        rows = f"a step of {batch_size} images" if batch_size else "a step"
        raise OutOfMemory(
            f"The device's memory does not hold {rows}: lower the batch size; the last checkpoint is whole.", batch_size
        ) from error
