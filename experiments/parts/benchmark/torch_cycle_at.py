"""CycleAT's training step of stage I in PyTorch, for timing beside `fer_tf.models.cycle_at`: the same nets and updates.

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


def norm(x: torch.Tensor) -> torch.Tensor:
    """`layers.InstanceNorm`."""
    return functional.instance_norm(x, eps=1e-5)


def reflect(x: torch.Tensor, size: int) -> torch.Tensor:
    """`layers.ReflectionPadding`."""
    return functional.pad(x, [size] * 4, "reflect")


class Generator(nn.Module):
    """`cycle_gan.build_generator`: (N, 3, H, W) in [-1, 1] -> the same, float32."""

    def __init__(self, *, filters: int = 64, blocks: int = 9):
        super().__init__()
        self.blocks, self.parts = blocks, nn.ModuleDict()
        self.parts["first_conv"] = nn.Conv2d(3, filters, 7, bias=False)
        for i in (1, 2):
            self.parts[f"down{i}_conv"] = nn.Conv2d(filters * i, filters * 2 * i, 3, 2, bias=False)
        for i in range(1, blocks + 1):
            for part in "ab":
                self.parts[f"block{i}{part}_conv"] = nn.Conv2d(4 * filters, 4 * filters, 3, bias=False)
        for i in (1, 2):
            given = 4 * filters // i
            self.parts[f"up{i}_conv"] = nn.ConvTranspose2d(given, given // 2, 3, 2, bias=False)
        self.parts["last_conv"] = nn.Conv2d(filters, 3, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """G."""
        x = functional.relu(norm(self.parts["first_conv"](reflect(x, 3))))
        for i in (1, 2):  # Keras's "same" pads an even side at its end
            x = functional.relu(norm(self.parts[f"down{i}_conv"](functional.pad(x, (0, 1, 0, 1)))))
        for i in range(1, self.blocks + 1):
            y = functional.relu(norm(self.parts[f"block{i}a_conv"](reflect(x, 1))))
            x = x + norm(self.parts[f"block{i}b_conv"](reflect(y, 1)))
        for i in (1, 2):
            x = functional.relu(norm(self.parts[f"up{i}_conv"](x)[..., :-1, :-1]))
        return torch.tanh(self.parts["last_conv"](reflect(x, 3)).float())


class Discriminator(nn.Module):
    """`cycle_gan.build_discriminator`: (N, 3, H, W) in [-1, 1] -> logits (N, 1, h, w) float32."""

    def __init__(self, *, filters: int = 64, slope: float = 0.2):
        super().__init__()
        sizes, self.slope, self.parts = [3, filters, 2 * filters, 4 * filters, 8 * filters, 1], slope, nn.ModuleDict()
        for i, stride in enumerate((2, 2, 2, 1, 1), 1):
            self.parts[f"c{i}_conv"] = nn.Conv2d(sizes[i - 1], sizes[i], 4, stride, 1, bias=i in (1, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of patches."""
        for i in range(1, 6):
            x = self.parts[f"c{i}_conv"](x)
            if 1 < i < 5:
                x = norm(x)
            if i < 5:
                x = functional.leaky_relu(x, self.slope)
        return x.float()


class CycleGAN(Players):
    """`cycle_at.CycleAT(stage=1)` with its step: log losses, no pool."""

    def __init__(self, model: Any, dtype: str, device: str = "cpu"):
        generator, filters = {"filters": model.filters, "blocks": model.blocks}, model.discriminator_filters
        nets = {name: (Generator(**generator), getattr(model, name)) for name in ("g_sw", "g_ws")}
        nets |= {name: (Discriminator(filters=filters), getattr(model, name)) for name in ("d_w", "d_s")}
        players = {"discriminators": ("d_w", "d_s"), "generators": ("g_sw", "g_ws")}
        super().__init__(model, nets, players, dtype, device)
        self.lambda_cycle = model.lambda_cycle

    def losses(self, batch: Mapping[str, torch.Tensor]) -> Losses:
        """`CycleAT.losses` in stage I: image and auxiliary (N, 1|3, H, W) in [0, 1]."""
        x_s, x_w = (2 * batch[name].expand(-1, 3, -1, -1) - 1 for name in ("image", "auxiliary"))
        nets, softplus = self.nets, functional.softplus
        with self.autocast():
            to_w, to_s = nets["g_sw"](x_s), nets["g_ws"](x_w)
            again_s, again_w = nets["g_ws"](to_w), nets["g_sw"](to_s)
            real_w, real_s = nets["d_w"](x_w), nets["d_s"](x_s)
            fake_w, fake_s = nets["d_w"](to_w), nets["d_s"](to_s)
        return {
            "discriminators": {
                "real_w_loss": softplus(-real_w).mean(),
                "fake_w_loss": softplus(fake_w).mean(),
                "real_s_loss": softplus(-real_s).mean(),
                "fake_s_loss": softplus(fake_s).mean(),
            },
            "generators": {
                "adversarial_sw_loss": softplus(-fake_w).mean(),
                "adversarial_ws_loss": softplus(-fake_s).mean(),
                "cycle_loss": self.lambda_cycle * (functional.l1_loss(again_s, x_s) + functional.l1_loss(again_w, x_w)),
            },
        }


def twin(model: Any, dtype: str, device: str = "cpu") -> CycleGAN:
    """The twin of a compiled `cycle_at.CycleAT` of stage I: see `torch_players`.

    Raises:
      ValueError: stage II, another loss, or a pool: the twin has none of these.
    """
    if model.stage != 1 or model.gan_loss != "log" or model.pool:
        raise ValueError("The twin of CycleAT has stage 1, gan_loss log and no pool.")
    return CycleGAN(model, dtype, device)
