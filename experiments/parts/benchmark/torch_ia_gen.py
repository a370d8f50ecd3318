"""IA-gen's training step in PyTorch, for timing beside `fer_tf.models.ia_gen`: the same nets, losses and updates.

Parts have the names of the Keras layers, so that `torch_weights.copy_weights` needs no table. Only
`experiments.benchmark` and its tests use this file; it needs the extra `bench`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from fer_tf.models import ia_gen

from .torch_fer_net import Maps, norm
from .torch_players import Losses, Players


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


class ExpressionGAN(Players):
    """`ia_gen.ExpressionGAN` with its step, phi frozen, with content loss L1 and phi before pooling 2."""

    def __init__(self, model: Any, dtype: str, device: str = "cpu"):
        phi = Maps(width=model.feature_net.width, blocks=model.feature_net.blocks)
        nets = {
            "discriminator": (Discriminator(width=model.width), model.discriminator),
            "generator": (Generator(width=model.width, dropout=model.dropout), model.generator),
            "phi": (phi, model.feature_net.trunk),
        }
        super().__init__(model, nets, {name: [name] for name in ("discriminator", "generator")}, dtype, device)
        self.lambda_, self.alpha, self.beta = model.lambda_, model.alpha, model.beta

    def losses(self, batch: Mapping[str, torch.Tensor]) -> Losses:
        """`ia_gen.ExpressionGAN.losses`: image and target (N, 1, 64, 64) in [0, 1]."""
        generator, discriminator, phi = (self.nets[name] for name in ("generator", "discriminator", "phi"))
        image, target = (2 * batch[name] - 1 for name in ("image", "target"))
        with self.autocast():
            output = generator(image)
            real = discriminator(torch.cat([image, target], 1))
            fake = discriminator(torch.cat([image, output], 1))
            with torch.no_grad():
                wanted = phi((target + 1) / 2).float()
            given = phi((output + 1) / 2).float()
        softplus, weight = functional.softplus, self.lambda_
        return {
            "discriminator": {"real_loss": softplus(-real).mean(), "fake_loss": softplus(fake).mean()},
            "generator": {
                "adversarial_loss": weight * softplus(-fake).mean(),
                "content_loss": weight * self.alpha * functional.l1_loss(output, target),
                "perceptual_loss": weight * self.beta * functional.mse_loss(given, wanted),
            },
        }


def twin(model: Any, dtype: str, device: str = "cpu") -> ExpressionGAN:
    """The twin of a compiled `ia_gen.ExpressionGAN`: see `torch_players`.

    Raises:
      ValueError: a content loss or phi that the twin does not have.
    """
    if (model.content, model.phi_pooling) != ("l1", 2):
        raise ValueError(f"The twin has content l1 and phi_pooling 2: not {model.content} and {model.phi_pooling}.")
    return ExpressionGAN(model, dtype, device)
