"""Pictures and weights of Keras nets for their twins in PyTorch; needs the extra `bench`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn


def tensor(images: Any) -> torch.Tensor:
    """(N, H, W, C) TensorFlow or NumPy -> (N, C, H, W), channels last in memory."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)


def copy_weights(model: Any, twin: nn.Module) -> int:
    """Gives the twin the weights of a Keras net's layers of the same names, and returns how many those are.

    Raises:
      ValueError: a part that the Keras net lacks, or of another shape; the message names it.
    """
    layers, count = {layer.name: layer for layer in model.layers}, 0
    names = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    for name, part in twin.parts.items():
        if name not in layers:
            raise ValueError(f"{model.name} has no layer {name}.")
        state = part.state_dict()
        for theirs in layers[name].weights:
            own = theirs.name.rsplit("/")[-1].split(":")[0]
            value = np.array(theirs)
            value = value.transpose(3, 2, 0, 1) if own == "kernel" else value
            mine = state["weight" if own == "kernel" else names[own] if "norm" in name else own]
            if mine.shape != value.shape:
                raise ValueError(f"{name} of {model.name}: {own} is {value.shape}, and here {tuple(mine.shape)}.")
            mine.copy_(torch.from_numpy(value))
            count += 0 if own.startswith("moving") else value.size
    return count
