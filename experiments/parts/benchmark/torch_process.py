"""PyTorch's steps, here or in a process of their own, as a GPU needs them: there its libraries and TensorFlow's clash.

The twin is made on the CPU, and sent. Over there PyTorch begins before TensorFlow is imported, which is never used. On
an H200, one process for both ended by signal 8 with PyTorch's first step.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import weakref
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Failed(RuntimeError):
    """Why a twin makes no steps, in a sentence."""


class Ended(Failed, ChildProcessError):
    """The process is no more, with all its twins."""


class Pending(NamedTuple):
    """A step that was asked for."""

    wait: Callable[[], Any]


class Steps:
    """Twins that make their steps, each under a name.

    Args:
      device: "cpu" or "cuda".
      threads: that PyTorch may use.
      tensor_floats: whether float32 is multiplied as TF32.
    Raises:
      Failed: there is no such device.
    """

    def __init__(self, device: str, threads: int, tensor_floats: bool):
        import torch

        if device == "cuda" and not torch.cuda.is_available():
            raise Failed(
                f"PyTorch {torch.__version__} sees no GPU, so it is not compared; --device=cpu compares on the CPU."
            )
        self.device, self.steps, self.twins = device, {}, {}
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tensor_floats
        torch.backends.cudnn.benchmark = True

    def warm(self, kind: str, twin: Any, batch: Mapping[str, Any], mode: str | None) -> float | None:
        """Lets a twin, which is moved to the device, make its first three steps.

        Args:
          kind: its name.
          twin: see `torch_players`.
          batch: of `torch_weights.tensors`.
          mode: in which its `losses` are compiled; None leaves it as it is.
        Returns:
          The twin's most memory in MiB, on a GPU.
        Raises:
          Failed: it cannot make them.
        """
        try:
            return self._warm(kind, twin.moved(self.device), {n: v.to(self.device) for n, v in batch.items()}, mode)
        except Exception as error:  # whatever a compiler fails at, and a GPU's memory
            words = str(error).strip().splitlines() or [""]
            raise Failed(f"{type(error).__name__}: {words[0]}") from error

    def _warm(self, kind: str, twin: Any, batch: Mapping[str, Any], mode: str | None) -> float | None:
        import torch

        step = twin.train_step
        if mode is not None:
            torch._functorch.config.donated_buffer = False  # each player takes its gradients of the same pass
            twin.losses = torch.compile(twin.losses, mode=mode)

            def step(batch: Mapping[str, Any]) -> Any:
                torch.compiler.cudagraph_mark_step_begin()
                return twin.train_step(batch)

        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        for _ in range(3):
            step(batch)
        self.wait()
        self.twins[kind], self.steps[kind] = twin, lambda: step(batch)
        return torch.cuda.max_memory_allocated() / 2**20 if self.device == "cuda" else None

    def step(self, kind: str) -> Any:
        """A step of a twin: {"<player>_loss": scalar}."""
        return self.steps[kind]()

    def wait(self) -> None:
        """Until all steps are made."""
        import torch

        if self.device == "cuda":
            torch.cuda.synchronize()

    def state(self, kind: str) -> dict[str, Any]:
        """`torch_weights.state` of a twin."""
        from . import torch_weights

        return torch_weights.state(self.twins[kind])


class Process:
    """`Steps` in a process of its own, which ends with this object.

    Raises:
      Ended: the process is no more, from every method.
    """

    def __init__(self, device: str, threads: int, tensor_floats: bool):
        places = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        words = [sys.executable, "-m", f"{__package__}.torch_process"]
        self.own = subprocess.Popen(words, env={**os.environ, **places}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.end = weakref.finalize(self, _end, self.own)
        self._ask("begin", device, threads, tensor_floats)

    def warm(self, kind: str, twin: Any, batch: Mapping[str, Any], mode: str | None) -> float | None:
        """Of `Steps`."""
        return self._ask("warm", kind, twin, dict(batch), mode)

    def step(self, kind: str) -> Pending:
        """Asks for a step of a twin, which is over when `wait` comes back."""
        self._tell("step", kind)
        return Pending(lambda: self._ask("wait"))

    def state(self, kind: str) -> dict[str, Any]:
        """Of `Steps`."""
        return self._ask("state", kind)

    def _tell(self, *words: Any) -> None:
        try:
            pickle.dump(words, self.own.stdin)
            self.own.stdin.flush()
        except OSError as error:
            raise self._ended() from error

    def _ask(self, *words: Any) -> Any:
        self._tell(*words)
        try:
            good, said = pickle.load(self.own.stdout)
        except (EOFError, pickle.UnpicklingError) as error:
            raise self._ended() from error
        if not good:
            raise Failed(said)
        return said

    def _ended(self) -> Ended:
        return Ended(f"PyTorch's process has ended with code {self.own.wait()}.")


def _end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def serve(given: Any, told: Any) -> None:
    """Answers a `Process` until it is silent."""
    steps: Any = None
    while True:
        try:
            name, *words = pickle.load(given)
        except EOFError:
            return
        if name == "step":
            steps.step(*words)
            continue
        try:
            if name == "begin":
                steps, said = Steps(*words), None
            else:
                said = getattr(steps, name)(*words)
            answer = True, said
        except Failed as error:
            answer = False, str(error)
        pickle.dump(answer, told)
        told.flush()


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is printed goes to the errors
    import torch  # noqa: F401 - before what a twin's file imports

    serve(sys.stdin.buffer, answers)
