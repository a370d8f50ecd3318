"""Pictures and weights of Keras nets for their twins in PyTorch, and how far two twins are apart.

A twin is what `twin(model, dtype, device)` of a `torch_<model>.py` gives: see `torch_players.Players`. Needs the extra
`bench`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn


def tensor(values: Any, device: str = "cpu") -> torch.Tensor:
    """TensorFlow or NumPy -> PyTorch; (N, H, W, C) becomes (N, C, H, W), channels last in memory."""
    made = torch.from_numpy(np.array(values))
    return (made.permute(0, 3, 1, 2) if made.ndim == 4 else made).to(device)


def tensors(batch: Mapping[str, Any], device: str = "cpu") -> dict[str, torch.Tensor]:
    """A Keras batch as a twin takes it: the same keys."""
    return {name: tensor(values, device) for name, values in batch.items()}


def copy_weights(model: Any, twin: nn.Module) -> int:
    """Gives the twin the weights of a Keras net's layers of the same names, and returns how many it can train.

    Args:
      model: a Keras net or model; its `layers` have the names of the twin's `parts`.
      twin: a net with `parts`, an `nn.ModuleDict`.
    Returns:
      How many numbers were copied, without the moving statistics of norms.
    Raises:
      ValueError: a part that the Keras net lacks, or of another shape; the message names it.
    """
    layers, count = {layer.name: layer for layer in model.layers}, 0
    names = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    names |= {"kernel": "weight", "alpha": "weight"}
    for name, part in twin.parts.items():
        if name not in layers:
            raise ValueError(f"{model.name} has no layer {name}.")
        state = part.state_dict()
        for theirs in layers[name].weights:
            own = theirs.name.rsplit("/")[-1].split(":")[0]
            value = np.array(theirs)
            value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
            mine = state[names.get(own, own)]
            if mine.shape != value.shape:
                raise ValueError(f"{name} of {model.name}: {own} is {value.shape}, and here {tuple(mine.shape)}.")
            mine.copy_(torch.from_numpy(value))
            count += 0 if own.startswith("moving") else value.size
    return count


def state(twin: Any) -> dict[str, np.ndarray]:
    """Copies of all weights and statistics of a twin's nets: {"<net> <part>.<weight>": array}."""
    whole = {f"{net} {name}": value for net, own in twin.nets.items() for name, value in own.state_dict().items()}
    return {name: value.detach().cpu().numpy().copy() for name, value in whole.items() if value.ndim}


def gaps(
    wanted: Mapping[str, np.ndarray], given: Mapping[str, np.ndarray], before: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """How far `given` is from `wanted`, as a share of how far `wanted` moved, each tensor as a whole (its norm).

    So a fault shows however small the steps are, and the few weights do not count whose gradient is noise: Adam moves
    them as far as any other. Infinite where only one of the two moved.

    Args:
      wanted: `state` of a twin of the Keras model after its steps.
      given: of the twin that made the same steps.
      before: of both before them.
    Raises:
      ValueError: they are not of the same nets.
    """
    if not list(wanted) == list(given) == list(before):
        raise ValueError("Only twins of the same nets can be compared.")
    moves = {name: float(np.linalg.norm(value - before[name])) for name, value in wanted.items()}
    apart = {name: float(np.linalg.norm(value - given[name])) for name, value in wanted.items()}
    return {n: apart[n] / moves[n] if moves[n] else (np.inf if apart[n] else 0.0) for n in wanted}
