"""IA-gen's training step in PyTorch, for timing beside `fer_tf.models.ia_gen`: the same nets, losses and updates.

Parts have the names of the Keras layers, so that `torch_weights.copy_weights` needs no table. Only
`experiments.benchmark` and its tests use this file; it needs the extra `bench`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from fer_tf.models import ia_gen

from .torch_weights import copy_weights


def norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with Keras's constants (see `fer_tf.compat.BatchNorm`)."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.1)


class Generator(nn.Module):
    """`ia_gen.build_generator`: (N, 1, 64, 64) in [-1, 1] -> the same, float32."""

    def __init__(self, *, width: float = 1.0, dropout: float = 0.5):
        super().__init__()
        down, up = ia_gen.scaled(ia_gen.ENCODERS, width), [*ia_gen.scaled(ia_gen.DECODERS[:-1], width), 1]
        self.down, self.up, self.rate, self.parts = len(down), len(up), dropout, nn.ModuleDict()
        for i, (given, made) in enumerate(zip([1, *down], down, strict=False), 1):
            self.parts[f"e{i}_conv"] = nn.Conv2d(given, made, 4, 2, 1, bias=False)
            if 1 < i < len(down):
                self.parts[f"e{i}_norm"] = norm(made)
        for i, made in enumerate(up, 1):
            given = down[-1] if i == 1 else up[i - 2] + down[-i]
            self.parts[f"d{i}_conv"] = nn.ConvTranspose2d(given, made, 4, 2, 1, bias=False)
            if i < len(up):
                self.parts[f"d{i}_norm"] = norm(made)
        self.dropped = [i for i, printed in enumerate(ia_gen.DECODERS, 1) if printed == 512]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """G(I)."""
        skips = []
        for i in range(1, self.down + 1):
            x = self.parts[f"e{i}_conv"](x)
            if 1 < i < self.down:
                x = self.parts[f"e{i}_norm"](x)
            x = functional.relu(x)
            skips.append(x)
        for i in range(1, self.up + 1):
            skip = skips.pop()
            x = self.parts[f"d{i}_conv"](skip if i == 1 else torch.cat([x, skip], 1))
            if i < self.up:
                x = self.parts[f"d{i}_norm"](x)
                if i in self.dropped:
                    x = functional.dropout(x, self.rate, self.training)
                x = functional.relu(x)
        return torch.tanh(x.float())


class Discriminator(nn.Module):
    """`ia_gen.build_discriminator`: (N, 2, 64, 64) in [-1, 1] -> logits (N, 1, 6, 6) float32."""

    def __init__(self, *, width: float = 1.0, slope: float = 0.2):
        super().__init__()
        channels = [*ia_gen.scaled(ia_gen.DISCRIMINATOR[:-1], width), 1]
        self.count, self.slope, self.parts = len(channels), slope, nn.ModuleDict()
        for i, (given, made) in enumerate(zip([2, *channels], channels, strict=False), 1):
            bias = i in (1, self.count)
            self.parts[f"c{i}_conv"] = nn.Conv2d(given, made, 4, 2 if i <= 3 else 1, 1, bias=bias)
            if not bias:
                self.parts[f"c{i}_norm"] = norm(made)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of a pair's patches."""
        for i in range(1, self.count + 1):
            x = self.parts[f"c{i}_conv"](x)
            if f"c{i}_norm" in self.parts:
                x = self.parts[f"c{i}_norm"](x)
            if i < self.count:
                x = functional.leaky_relu(x, self.slope)
        return x.float()


class Maps(nn.Module):
    """phi, FER-Net as far as `FERNet.maps`: (N, 1, H, W) in [0, 1] -> (N, width, H/2, W/2)."""

    def __init__(self, *, width: int = 64, blocks: int = 2):
        super().__init__()
        self.blocks, self.parts = blocks, nn.ModuleDict()
        self._add("stem", 1, width // 2)
        for i in range(blocks):
            given = width if i else width // 2
            if not i:
                self._add("stage1_0_skip", given, width, 1)
            self._add(f"stage1_{i}_a", given, width)
            self._add(f"stage1_{i}_b", width, width)

    def _add(self, name: str, given: int, made: int, size: int = 3) -> None:
        self.parts[f"{name}_conv"] = nn.Conv2d(given, made, size, 1, size // 2, bias=False)
        self.parts[f"{name}_norm"] = norm(made)

    def _conv_bn(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return self.parts[f"{name}_norm"](self.parts[f"{name}_conv"](x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Each face at mean 0 and standard deviation 1, then the convolutions before the second pooling."""
        variance, mean = torch.var_mean(x, (1, 2, 3), correction=0, keepdim=True)
        x = functional.max_pool2d(functional.relu(self._conv_bn((x - mean) * torch.rsqrt(variance + 1e-4), "stem")), 2)
        for i in range(self.blocks):
            y = self._conv_bn(functional.relu(self._conv_bn(x, f"stage1_{i}_a")), f"stage1_{i}_b")
            x = functional.relu(y + (x if i else self._conv_bn(x, "stage1_0_skip")))
        return x


class ExpressionGAN:
    """`ia_gen.ExpressionGAN` with its step, where the content loss is L1: frozen phi, Adam for each player.

    Args:
      width, dropout: as there.
      feature_width, feature_blocks: of FER-Net.
      rate: of Adam, whose beta_1 is 0.5.
      precision: "float32", or "bfloat16" by autocast.
    """

    def __init__(
        self,
        *,
        width: float = 1.0,
        dropout: float = 0.5,
        feature_width: int = 64,
        feature_blocks: int = 2,
        rate: float = 2e-4,
        precision: str = "float32",
    ):
        self.nets = {
            "discriminator": Discriminator(width=width),
            "generator": Generator(width=width, dropout=dropout),
            "phi": Maps(width=feature_width, blocks=feature_blocks).eval().requires_grad_(False),
        }
        for net in self.nets.values():
            net.to(memory_format=torch.channels_last)
        self.weights = {name: list(self.nets[name].parameters()) for name in ("discriminator", "generator")}
        self.adam = {
            name: torch.optim.Adam(weights, rate, betas=(0.5, 0.999), eps=1e-7, fused=True)
            for name, weights in self.weights.items()
        }
        self.half = precision == "bfloat16"

    def losses(self, image: torch.Tensor, target: torch.Tensor) -> dict[str, dict[str, torch.Tensor]]:
        """`ia_gen.ExpressionGAN.losses` with alpha 100, beta 10, lambda 1: (N, 1, 64, 64) in [0, 1] twice."""
        generator, discriminator, phi = (self.nets[name] for name in ("generator", "discriminator", "phi"))
        image, target = 2 * image - 1, 2 * target - 1
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            output = generator(image)
            real = discriminator(torch.cat([image, target], 1))
            fake = discriminator(torch.cat([image, output], 1))
            with torch.no_grad():
                wanted = phi((target + 1) / 2).float()
            given = phi((output + 1) / 2).float()
        softplus = functional.softplus
        return {
            "discriminator": {"real_loss": softplus(-real).mean(), "fake_loss": softplus(fake).mean()},
            "generator": {
                "adversarial_loss": softplus(-fake).mean(),
                "content_loss": 100 * functional.l1_loss(output, target),
                "perceptual_loss": 10 * functional.mse_loss(given, wanted),
            },
        }

    def train_step(self, image: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        """Both players' gradients at the same weights, then both move: as the Keras model's."""
        totals = {name: sum(terms.values()) for name, terms in self.losses(image, target).items()}
        for name, weights in self.weights.items():
            for weight, gradient in zip(
                weights, torch.autograd.grad(totals[name], weights, retain_graph=True), strict=True
            ):
                weight.grad = gradient
        for adam in self.adam.values():
            adam.step()
        return {f"{name}_loss": total.detach() for name, total in totals.items()}

    def parameters(self) -> int:
        """Number of those that the players train."""
        return sum(weight.numel() for weights in self.weights.values() for weight in weights)


def twin(model: Any, precision: str) -> ExpressionGAN:
    """An `ExpressionGAN` like a Keras one, with its weights.

    Raises:
      RuntimeError: a net has another number of parameters; the message names it.
    """
    made = ExpressionGAN(
        width=model.width,
        dropout=model.dropout,
        feature_width=model.feature_net.width,
        feature_blocks=model.feature_net.blocks,
        precision=precision,
    )
    theirs = {"discriminator": model.discriminator, "generator": model.generator, "phi": model.feature_net.trunk}
    for name, net in made.nets.items():
        copied, own = copy_weights(theirs[name], net), sum(p.numel() for p in net.parameters())
        whole = own if name == "phi" else sum(int(np.prod(v.shape)) for v in theirs[name].trainable_variables)
        if not copied == own == whole:
            raise RuntimeError(f"The {name} has {whole} parameters in Keras and {own} in PyTorch; {copied} are alike.")
    return made
