"""GCNet's training step in PyTorch, for timing beside `fer_tf.models.gcnet`: S1R1's nets, losses and updates.

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
from fer_tf.models.gcnet import HIDDEN
from fer_tf.nets.conv_ae import DECODER, ENCODER

from .torch_players import Losses, Players

Pooled = tuple[torch.Tensor, list[torch.Tensor]]
"""A code (N, C, h, w), and where each pooling found its maxima, the first one's first."""


def norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with Keras's constants (see `fer_tf.compat.BatchNorm`)."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.1)


class Encoder(nn.Module):
    """`conv_ae.build_encoder`: (N, 1, 64, 64) in [0, 1] -> `Pooled`."""

    def __init__(self, *, width: float = 1.0, padding: str = "same"):
        super().__init__()
        self.parts, given = nn.ModuleDict(), 1
        for i, (size, printed) in enumerate(ENCODER, 1):
            made, pad = scaled(printed, width), size // 2 if padding == "same" else 0
            self.parts[f"conv{i}"] = nn.Conv2d(given, made, size, padding=pad, bias=False)
            self.parts[f"norm{i}"], given = norm(made), made

    def forward(self, x: torch.Tensor) -> Pooled:
        """En of Table I."""
        places = []
        for i in range(1, len(ENCODER) + 1):
            x = functional.relu(self.parts[f"norm{i}"](self.parts[f"conv{i}"](x)))
            x, place = functional.max_pool2d(x, 2, return_indices=True)
            places.append(place)
        return x, places


class Decoder(nn.Module):
    """`conv_ae.build_decoder`: `Pooled` -> (N, 1, 64, 64) float32 >= 0."""

    def __init__(self, *, width: float = 1.0, padding: str = "same"):
        super().__init__()
        self.parts, given = nn.ModuleDict(), scaled(ENCODER[-1][1], width)
        for i, (size, printed) in enumerate(DECODER, 1):
            made = scaled(printed, width) if i < len(DECODER) else printed
            pad = size // 2 if padding == "same" else 0
            self.parts[f"conv{i}"] = nn.ConvTranspose2d(given, made, size, padding=pad, bias=False)
            self.parts[f"norm{i}"], given = norm(made), made

    def forward(self, pooled: Pooled) -> torch.Tensor:
        """De of Table I, which unpools where the encoder pooled."""
        x, places = pooled
        for i in range(1, len(DECODER) + 1):
            x = functional.max_unpool2d(x, places[-i], 2)
            x = functional.relu(self.parts[f"norm{i}"](self.parts[f"conv{i}"](x)))
        return x.float()


class Classifier(nn.Module):
    """`GCNet.logits`: delta of eq. (2), (N, p) float32 -> (N, K) float32."""

    def __init__(self, size: int, classes: int, *, width: float = 1.0, dropout: float = 0.5):
        super().__init__()
        hidden = scaled(HIDDEN, width)
        self.dropout = dropout
        self.parts = nn.ModuleDict({"hidden": nn.Linear(size, hidden), "logits": nn.Linear(hidden, classes)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Dropout, FC-384, the last layer."""
        x = functional.dropout(x, self.dropout, self.training)
        return self.parts["logits"](functional.relu(self.parts["hidden"](x)))


def mean_of_half_squares(
    output: torch.Tensor, target: torch.Tensor, counted: torch.Tensor | None = None
) -> torch.Tensor:
    """`gcnet.mean_of_half_squares`: (N, 1, H, W) float32 twice, (N,) bool -> scalar."""
    if counted is None:
        return 0.5 * functional.mse_loss(output, target)
    half = 0.5 * (output - target).square().mean((1, 2, 3))
    return torch.where(counted, half, 0.0).mean()


def unit(e: torch.Tensor) -> torch.Tensor:
    """e / ||e|| as `tf.math.l2_normalize` has it: (N, p) float32 -> the same."""
    return e * torch.rsqrt(e.square().sum(-1, keepdim=True).clamp(min=1e-12))


def contrastive_loss(e: torch.Tensor, e_r: torch.Tensor, alpha: torch.Tensor, margin: float) -> torch.Tensor:
    """Eq. (6), the mean over the batch: (N, p) float32 twice, (N,) float32 -> scalar."""
    s = (e - e_r).square().sum(-1).clamp(min=1e-12).sqrt()
    return 0.5 * (alpha * (margin - s).clamp(min=0.0).square() + (1.0 - alpha) * s.square()).mean()


def halves(count: int) -> tuple[slice, slice]:
    """The rows of the images, and those of their references, in one pass."""
    return slice(count), slice(count, 2 * count)


class Twin(Players):
    """`gcnet.GCNet` of the variant S1R1 with its step.

    Both players descend one loss, so one pass backwards serves both. The gradient of `decay_loss` is added to its.
    """

    def __init__(self, model: Any, dtype: str, device: str = "cpu"):
        width, size = {"width": model.width}, int(model.hidden.kernel.shape[0])
        options = {**width, "padding": model.padding}
        classifier = Classifier(size, len(model.classes), **width, dropout=model.dropout)
        nets = {
            "encoder1": (Encoder(**options), model.generator_net.encoder),
            "encoder2": (Encoder(**options), model.encoder2),
            "classifier": (classifier, model),
            "decoder": (Decoder(**options), model.generator_net.decoder),
            "decoder_i": (Decoder(**options), model.decoder_i),
            "decoder_r": (Decoder(**options), model.decoder_r),
        }
        names = list(nets)
        super().__init__(model, nets, {"classifier": names[:3], "decoder": names[3:]}, dtype, device)
        self.given, self.neutral = model.get_config(), -1
        if "neutral" in model.classes:
            self.neutral = model.classes.index("neutral")

    def losses(self, batch: Mapping[str, torch.Tensor]) -> Losses:
        """`GCNet.losses`: the terms of eq. (4) and the decay, of which the latter has no gradient here.

        Args:
          batch: image and reference (N, 1, 64, 64) float32 in [0, 1], label (N,) int, has_reference (N,) bool or none.
        """
        nets, given = self.nets, self.given
        image, neutral, label = batch["image"], batch["reference"], batch["label"].long()
        counted = batch.get("has_reference")
        with self.autocast():
            reference = nets["decoder"](nets["encoder1"](image))  # eq. (3)
            maps, places = nets["encoder2"](torch.cat([image, reference.to(image.dtype)]))
            code, code_r = ((maps[own], [p[own] for p in places]) for own in halves(len(image)))
            back, back_r = nets["decoder_i"](code), nets["decoder_r"](code_r)
        # as Keras flattens them: channels last
        e, e_r = (c[0].permute(0, 2, 3, 1).flatten(1).float() for c in (code, code_r))
        logits = nets["classifier"]((unit(e) - unit(e_r)).abs())  # eq. (2)
        alpha = (label != self.neutral).float()
        with torch.no_grad():
            squares = torch.stack(torch._foreach_norm([p for own in self.weights.values() for p in own])).square().sum()
        terms = {
            "generation_loss": given["lambda_g"] * mean_of_half_squares(reference, neutral, counted),  # eq. (5)
            "classification_loss": given["lambda_c"] * functional.cross_entropy(logits, label),
            "contrastive_loss": given["lambda_s"] * contrastive_loss(e, e_r, alpha, given["margin"]),
            "reconstruction_input_loss": given["lambda_ri"] * mean_of_half_squares(back, image),  # eq. (8)
            "reconstruction_reference_loss": given["lambda_rr"] * mean_of_half_squares(back_r, neutral, counted),
            "decay_loss": given["weight_decay"] / 2 * squares,
        }
        return {"classifier": terms, "decoder": terms}

    def train_step(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """One step of both players; the loss of both, which Keras logs as the classifier's."""
        total = sum(self.losses(batch)["classifier"].values())
        weights = [p for own in self.weights.values() for p in own]
        gradients = torch.autograd.grad(total, weights)
        gradients = torch._foreach_add(list(gradients), [p.detach() for p in weights], alpha=self.given["weight_decay"])
        count = len(self.weights["classifier"])
        self.optimizers["classifier"].step(gradients[:count])
        self.optimizers["decoder"].step(gradients[count:])
        return {"classifier_loss": total.detach()}


def twin(model: Any, dtype: str, device: str = "cpu") -> Twin:
    """The twin of a compiled `gcnet.GCNet`: see `torch_players`.

    Raises:
      ValueError: another variant or generator.
    """
    if (model.variant, model.generator) != ("S1R1", "conv_ae"):
        raise ValueError(f"The twin is that of S1R1 with conv_ae, not of {model.variant} with {model.generator}.")
    return Twin(model, dtype, device)
