"""A GPU that cannot be used, one that is not wanted, and memory that does not suffice."""

import pytest
import tensorflow as tf

from fer_tf import devices


@pytest.fixture
def broken(monkeypatch):
    """A machine with a GPU that TensorFlow does not see."""
    monkeypatch.setattr(devices, "nvidia_present", lambda: True)
    monkeypatch.setattr(devices, "loads", lambda library: True)
    monkeypatch.setattr(devices, "gpus", lambda: [])
    return monkeypatch


def test_without_a_gpu_nothing_is_said(monkeypatch, capsys):
    monkeypatch.setattr(devices, "nvidia_present", lambda: False)
    for device in ("auto", "cpu"):
        devices.choose(device)
    assert capsys.readouterr().out == ""
    with pytest.raises(devices.Refused, match=r"^--device=gpu: this machine has no GPU.*--device=cpu"):
        devices.choose("gpu")


@pytest.mark.parametrize(
    ("library", "build", "reason"),
    [
        (False, {}, "libcuda.so.1 cannot be loaded: install the driver"),
        (True, {"is_cuda_build": False}, "built without CUDA"),
        (True, {"is_cuda_build": True, "cuda_version": "13", "cudnn_version": "9"}, "find CUDA 13 and cuDNN 9"),
    ],
)
def test_why_a_gpu_is_not_used(broken, capsys, library, build, reason):
    """`auto` says why and goes on; `gpu` is refused with the same reason; `cpu` says nothing."""
    broken.setattr(devices, "loads", lambda name: library)
    broken.setattr(tf.sysconfig, "get_build_info", lambda: build)
    devices.choose("auto")
    said = capsys.readouterr().out
    assert reason in said and "Going on on the CPU" in said
    with pytest.raises(devices.Refused, match=reason.replace(".", r"\.")):
        devices.choose("gpu")
    devices.choose("cpu")
    assert capsys.readouterr().out == ""


def test_cpu_leaves_the_gpu_alone(monkeypatch):
    hidden = []
    monkeypatch.setattr(devices, "gpus", lambda: ["GPU"])
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda *given: hidden.append(given))
    devices.choose("auto")
    assert not hidden
    devices.choose("cpu")
    assert hidden == [([], "GPU")]
    with pytest.raises(ValueError, match="auto, cpu, gpu"):
        devices.choose("tpu")


def test_a_full_memory_is_named():
    for error in (
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[1]"),
        tf.errors.InternalError(None, None, "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 byte"),
    ):
        with pytest.raises(devices.OutOfMemory, match="a step of 64 images") as caught, devices.memory_named(64):
            raise error
        assert caught.value.batch_size == 64
    with pytest.raises(tf.errors.InternalError), devices.memory_named(64):
        raise tf.errors.InternalError(None, None, "Blas GEMM launch failed")
