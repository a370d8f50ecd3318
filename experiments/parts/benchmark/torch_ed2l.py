"""ED2L's training step in PyTorch, for timing beside `fer_tf.models.ed2l`: the same nets, losses and updates.

Parts have the names of the Keras layers, so that `torch_weights.copy_weights` needs no table. Only
`experiments.benchmark` and its tests use this file; it needs the extra `bench`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from fer_tf.layers import scaled
from fer_tf.models import ed2l

from .torch_players import Losses, Players


class Stages(nn.Module):
    """Stages of Table 1: 3x3 convolutions, norms and PReLUs, the first of each stage with stride 2.

    Args:
      given: channels of the input.
      stages: name -> (channels, residual units).
    """

    def __init__(self, given: int, stages: Mapping[str, tuple[int, int]]):
        super().__init__()
        self.stages, self.parts = dict(stages), nn.ModuleDict()
        for name, (channels, units) in stages.items():
            self._conv(f"{name}_down", given, channels, 2)
            for i in range(1, units + 1):
                for part in "ab":
                    self._conv(f"{name}_unit{i}{part}", channels, channels)
            given = channels

    def _conv(self, name: str, given: int, made: int, stride: int = 1) -> None:
        self.parts[f"{name}_conv"] = nn.Conv2d(given, made, 3, stride, 0 if stride > 1 else 1, bias=False)
        self.parts[f"{name}_norm"] = nn.BatchNorm2d(made, eps=1e-3, momentum=0.1)
        self.parts[f"{name}_prelu"] = nn.PReLU(made)

    def conv(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """Convolution, norm, PReLU."""
        return self.parts[f"{name}_prelu"](self.parts[f"{name}_norm"](self.parts[f"{name}_conv"](x)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The maps of the last stage."""
        for name, (_, units) in self.stages.items():
            rows, columns = (1 - side % 2 for side in x.shape[2:])  # Keras's "same" pads an even side at its end
            x = self.conv(functional.pad(x, (1 - columns, 1, 1 - rows, 1)), f"{name}_down")
            for i in range(1, units + 1):
                x = x + self.conv(self.conv(x, f"{name}_unit{i}a"), f"{name}_unit{i}b")
        return x


class Branch(Stages):
    """`ed2l.build_branch`: (N, C, h, w) -> f (N, hidden) float32."""

    def __init__(self, given: int, channels: int, units: int, size: tuple[int, int], hidden: int):
        super().__init__(given, {"branch": (channels, units)})
        height, width = (-(-side // 2) for side in size)
        self.parts["fc"] = nn.Linear(height * width * channels, hidden)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """f, of maps that are flattened as Keras does: channels last."""
        return self.parts["fc"](super().forward(x).permute(0, 2, 3, 1).flatten(1)).float()


class Linear(nn.Module):
    """One fully connected layer, by its name in Keras."""

    def __init__(self, name: str, given: int, made: int, bias: bool = True):
        super().__init__()
        self.parts = nn.ModuleDict({name: nn.Linear(given, made, bias)})


class ED2L(Players):
    """`ed2l.ED2L` with its step; the decay is in the optimizer's gradient."""

    def __init__(self, model: Any, dtype: str, device: str = "cpu"):
        width, hidden, count = model.width, scaled(ed2l.HIDDEN, model.width), len(model.classes)
        stages = {f"conv{i}": (scaled(c, width), units) for i, (c, units) in enumerate(ed2l.STAGES, 1)}
        maps, (channels, units) = stages[f"conv{len(stages)}"][0], ed2l.BRANCH
        size = tuple(-(-side // 2 ** len(stages)) for side in model.size)
        nets = {"base": (Stages(1, stages), model.base)}
        for name in ("distilling", "dispelling")[: 1 + model.dispelling]:
            made = Branch(maps, scaled(channels, width), units, size, hidden)
            nets[name] = (made, getattr(model, f"{name}_branch"))
        nets["classifier"] = (Linear("classifier", hidden, count, bias=False), model)
        if model.dispelling:
            nets["dispeller"] = (Linear("dispeller", hidden, count), model)
        super().__init__(model, nets, {"classifier": list(nets)}, dtype, device, l2=model.weight_decay)
        self.margin, self.scale, self.weight_decay = model.margin, model.scale, model.weight_decay
        self.lambda_t, self.lambda_p, self.dispelling = model.lambda_t, model.lambda_p, model.dispelling
        self.confusion_updates_dispeller = model.confusion_updates_dispeller

    def losses(self, batch: Mapping[str, torch.Tensor]) -> Losses:
        """`ED2L.losses`: image (N, 1, H, W) in [0, 1] and label (N,)."""
        labels, f_p = batch["label"].long(), None
        with self.autocast():
            shared = self.nets["base"](2 * batch["image"] - 1)
            f_t = self.nets["distilling"](shared)
            if self.dispelling:
                f_p = self.nets["dispelling"](shared)
        weights = self.nets["classifier"].parts["classifier"].weight
        cosines = functional.linear(functional.normalize(f_t, dim=-1), functional.normalize(weights, dim=-1))
        margins = self.margin * functional.one_hot(labels, cosines.shape[-1])
        terms = {"distilling_loss": self.lambda_t * functional.cross_entropy(self.scale * (cosines - margins), labels)}
        if f_p is not None:
            last = self.nets["dispeller"].parts["dispeller"]
            own = (last.weight, last.bias)
            moved = own if self.confusion_updates_dispeller else tuple(v.detach() for v in own)
            accused = functional.cross_entropy(functional.linear(f_p.detach(), *own), labels)
            confused = -functional.log_softmax(functional.linear(f_p, *moved), -1).mean()
            terms |= {"dispeller_loss": self.lambda_p * accused, "confusion_loss": self.lambda_p * confused}
        terms["decay_loss"] = self.weight_decay / 2 * self.squares()
        return {"classifier": terms}


def twin(model: Any, dtype: str, device: str = "cpu") -> ED2L:
    """The twin of a compiled `ed2l.ED2L`: see `torch_players`."""
    return ED2L(model, dtype, device)
