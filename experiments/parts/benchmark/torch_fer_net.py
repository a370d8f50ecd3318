"""FER-Net's training step in PyTorch, for timing beside `fer_tf.models.fer_net`: the same net, loss and updates.

Parts have the names of the Keras layers, so that `torch_weights.copy_weights` needs no table. Only
`experiments.benchmark` and its tests use this file; it needs the extra `bench`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .torch_players import Losses, Players


def norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with Keras's constants (see `fer_tf.compat.BatchNorm`)."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.1)


class Maps(nn.Module):
    """FER-Net as far as `FERNet.maps`, phi of IA-gen: (N, 1, H, W) in [0, 1] -> (N, width, H/2, W/2)."""

    def __init__(self, *, width: int = 64, blocks: int = 2):
        super().__init__()
        self.blocks, self.parts = blocks, nn.ModuleDict()
        self._conv_bn("stem", 1, width // 2)
        self._stage(1, width // 2, width)

    def _conv_bn(self, name: str, given: int, made: int, size: int = 3) -> None:
        self.parts[f"{name}_conv"] = nn.Conv2d(given, made, size, 1, size // 2, bias=False)
        self.parts[f"{name}_norm"] = norm(made)

    def _stage(self, number: int, given: int, made: int) -> None:
        for i in range(self.blocks):
            name, given = f"stage{number}_{i}", made if i else given
            if given != made:
                self._conv_bn(f"{name}_skip", given, made, 1)
            self._conv_bn(f"{name}_a", given, made)
            self._conv_bn(f"{name}_b", made, made)

    def normed(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """A convolution and its norm."""
        return self.parts[f"{name}_norm"](self.parts[f"{name}_conv"](x))

    def stage(self, x: torch.Tensor, number: int) -> torch.Tensor:
        """Its residual blocks."""
        for i in range(self.blocks):
            name = f"stage{number}_{i}"
            y = self.normed(functional.relu(self.normed(x, f"{name}_a")), f"{name}_b")
            x = functional.relu(y + (self.normed(x, f"{name}_skip") if f"{name}_skip_conv" in self.parts else x))
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Each face at mean 0 and standard deviation 1, then the convolutions before the second pooling."""
        variance, mean = torch.var_mean(x, (1, 2, 3), correction=0, keepdim=True)
        x = functional.relu(self.normed((x - mean) * torch.rsqrt(variance + 1e-4), "stem"))
        return self.stage(functional.max_pool2d(x, 2), 1)


class Trunk(Maps):
    """`fer_net.build_trunk` as far as the features: (N, 1, H, W) in [0, 1] -> (N, hidden) float32 >= 0."""

    def __init__(self, *, width: int = 64, blocks: int = 2, hidden: int = 256):
        super().__init__(width=width, blocks=blocks)
        for number in (2, 3):
            self._stage(number, width * 2 ** (number - 2), width * 2 ** (number - 1))
        self.parts["hidden"] = nn.Linear(4 * width, hidden)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The features."""
        x = super().forward(x)
        for number in (2, 3):
            x = self.stage(functional.max_pool2d(x, 2), number)
        with torch.autocast(x.device.type, enabled=False):
            return functional.relu(self.parts["hidden"](x.float().mean((2, 3))))


class Head(nn.Module):
    """Dropout and the softmax's logits: (N, hidden) -> (N, K) float32."""

    def __init__(self, hidden: int, classes: int, dropout: float):
        super().__init__()
        self.rate, self.parts = dropout, nn.ModuleDict({"logits": nn.Linear(hidden, classes)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The logits."""
        x = functional.dropout(x, self.rate, self.training)
        with torch.autocast(x.device.type, enabled=False):
            return self.parts["logits"](x)


class Classifier(Players):
    """`fer_net.FERNet` with its step: cross-entropy, label smoothing and dropout as the model has them."""

    def __init__(self, model: Any, dtype: str, device: str = "cpu"):
        nets = {
            "trunk": (Trunk(width=model.width, blocks=model.blocks, hidden=model.hidden), model.trunk),
            "head": (Head(model.hidden, len(model.classes), model.dropout), model),
        }
        super().__init__(model, nets, {"classifier": ["trunk", "head"]}, dtype, device)
        self.label_smoothing = model.label_smoothing

    def losses(self, batch: Mapping[str, torch.Tensor]) -> Losses:
        """`FERNet.losses`: image (N, 1, H, W) in [0, 1] and label (N,)."""
        with self.autocast():
            logits = self.nets["head"](self.nets["trunk"](batch["image"]))
        loss = functional.cross_entropy(logits, batch["label"].long(), label_smoothing=self.label_smoothing)
        return {"classifier": {"classification_loss": loss}}


def twin(model: Any, dtype: str, device: str = "cpu") -> Classifier:
    """The twin of a compiled `fer_net.FERNet`: see `torch_players`."""
    return Classifier(model, dtype, device)
