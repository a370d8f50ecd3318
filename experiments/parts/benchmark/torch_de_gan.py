"""DE-GAN's training steps in PyTorch, for timing beside `fer_tf.models.de_gan`: the same nets, losses and updates.

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
from fer_tf.models import de_gan
from fer_tf.nets.dr_gan import CODE, DECODER, SIZE, STAGES

from .torch_players import Losses, Players


def norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with the paper's epsilon and `fer_tf.compat.BatchNorm`'s momentum."""
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)


class Trunk(nn.Module):
    """`dr_gan.trunk`: (N, 1, 96, 96) in [-1, 1] -> [the ends of stages 1 to 4, the mean of the last maps (N, code)].

    Args:
      width, code: as there.
      heads: units of the linear layers on the mean, by name; D's. Without any it is the encoder.
    """

    def __init__(self, *, width: float = 1.0, code: int = CODE, heads: Mapping[str, int] | None = None):
        super().__init__()
        self.heads, self.parts, self.stages, given = list(heads or {}), nn.ModuleDict(), [], 1
        for s, stage in enumerate(STAGES, 1):
            channels = [scaled(c, width) for c in stage] + [code] * (s == len(STAGES))
            self.stages.append([f"conv{s}{i}" for i in range(1, len(channels) + 1)])
            for name, made in zip(self.stages[-1], channels, strict=True):
                down = s > 1 and name.endswith("1")
                self.parts[f"{name}_conv"] = nn.Conv2d(given, made, 3, 1 + down, 0 if down else 1, bias=False)
                self.parts[f"{name}_norm"], given = norm(made), made
        for name, count in (heads or {}).items():
            self.parts[name] = nn.Linear(code, count)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """All of them, or where there are heads the logits of each, float32."""
        ends = []
        for s, names in enumerate(self.stages):
            if s:  # Keras's "same" pads an even side at its end
                x = functional.pad(x, (0, 1, 0, 1))
            for name in names:
                x = functional.elu(self.parts[f"{name}_norm"](self.parts[f"{name}_conv"](x)))
            ends.append(x)
        mean = x.float().mean((2, 3))
        if not self.heads:
            return [*ends[:-1], mean]
        with torch.autocast(x.device.type, enabled=False):
            return [self.parts[name](mean) for name in self.heads]


class Decoder(nn.Module):
    """`dr_gan.build_decoder`: f(x) (N, code), I (N, people) one-hot, z (N, noise) -> (N, 1, 96, 96) in [-1, 1]."""

    def __init__(self, people: int, *, width: float = 1.0, code: int, noise: int):
        super().__init__()
        self.side, given = SIZE // 2 ** (len(DECODER) - 1), scaled(CODE, width)
        self.channels, self.parts, self.names = given, nn.ModuleDict(), []
        for name, size in {"code": code, "identity": people, "noise": noise}.items():
            self.parts[name] = nn.Linear(size, self.side**2 * given, bias=False)
        self.parts["norm"] = norm(given)
        for s, stage in enumerate(DECODER, 1):
            for i, printed in enumerate(stage, 1):
                name, made = f"conv{s}{i}", scaled(printed, width)
                if i == 1 < s:
                    self.parts[f"{name}_conv"] = nn.ConvTranspose2d(given, made, 3, 2, bias=False)
                else:
                    self.parts[f"{name}_conv"] = nn.Conv2d(given, made, 3, padding=1, bias=False)
                self.parts[f"{name}_norm"], given = norm(made), made
                self.names.append(name)
        self.parts["end"] = nn.Conv2d(given, 1, 3, padding=1)

    def forward(self, code: torch.Tensor, identity: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """G_de, float32."""
        given = {"code": code, "identity": identity, "noise": noise}
        x = sum(self.parts[name](value) for name, value in given.items())
        x = x.view(-1, self.side, self.side, self.channels).permute(0, 3, 1, 2)  # channels last, as Keras has them
        x = functional.elu(self.parts["norm"](x))
        for name in self.names:
            conv = self.parts[f"{name}_conv"]
            x = conv(x)[..., :-1, :-1] if isinstance(conv, nn.ConvTranspose2d) else conv(x)
            x = functional.elu(self.parts[f"{name}_norm"](x))
        return torch.tanh(self.parts["end"](x).float())


class Local(nn.Module):
    """`de_gan.build_local`: maps (N, C, s, s) -> (N, 128) float32 >= 0."""

    def __init__(self, given: int, *, width: float = 1.0):
        super().__init__()
        self.parts, made = nn.ModuleDict(), scaled(64, width)
        for i in (1, 2):
            self.parts[f"conv{i}"] = nn.Conv2d(given, made, 3, padding=1, bias=False)
            self.parts[f"norm{i}"], given = norm(made), made
        self.parts["fc"] = nn.Linear(9 * made, scaled(128, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A local CNN of Fig. 3."""
        for i in (1, 2):
            x = functional.max_pool2d(functional.relu(self.parts[f"norm{i}"](self.parts[f"conv{i}"](x))), 2)
        x = functional.avg_pool2d(x, x.shape[-1] // 3).permute(0, 2, 3, 1).flatten(1)
        with torch.autocast(x.device.type, enabled=False):
            return functional.relu(self.parts["fc"](x.float()))


class Heads(nn.Module):
    """The classifiers L_i of eq. (3): what each sees (N, F_i) -> logits (N, K) float32."""

    def __init__(self, sizes: Mapping[int, int], classes: int):
        super().__init__()
        self.parts = nn.ModuleDict({f"logits{i}": nn.Linear(size, classes) for i, size in sizes.items()})

    def forward(self, seen: list[torch.Tensor]) -> list[torch.Tensor]:
        """Of each in turn."""
        return [part(x) for part, x in zip(self.parts.values(), seen, strict=True)]


class Pace:
    """`de_gan.Pace`: whether D moves, by its accuracy on real faces."""

    def __init__(self, ratio: int, near: float, momentum: float):
        self.ratio, self.near, self.momentum, self.skill, self.since = ratio, near, momentum, 0.0, 0

    def __call__(self, accuracy: torch.Tensor) -> bool:
        """Scalar -> whether it moves now; waits for the device, as a condition in a TensorFlow graph does."""
        self.skill = self.momentum * self.skill + (1.0 - self.momentum) * float(accuracy)
        self.since += 1
        moves = self.skill <= self.near or self.since >= self.ratio
        self.since = 0 if moves else self.since
        return moves


class StageOne(Players):
    """`de_gan.DEGAN` with its step."""

    def __init__(self, model: Any, dtype: str, device: str = "cpu"):
        options = {"width": model.width, "code": model.code}
        self.people, self.classes, self.noise = len(model.subjects), len(model.classes), model.noise
        self.own_share, self.lambda_own = model.own_share, model.lambda_own
        heads = {"expression": self.classes + 1, "identity": self.people}
        nets = {
            "discriminator": (Trunk(**options, heads=heads), model.discriminator),
            "encoder": (Trunk(**options), model.encoder),
            "decoder": (Decoder(self.people, **options, noise=model.noise), model.decoder),
        }
        players = {"discriminator": ["discriminator"], "generator": ["encoder", "decoder"]}
        super().__init__(model, nets, players, dtype, device)
        self.pace = Pace(model.ratio, model.near, model.pace.momentum)

    def draw(self, own: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Whom the fakes shall show, and z: (N,) int64 -> (N,) int64, (N, noise) float32."""
        other = (own + torch.randint_like(own, 1, self.people)) % self.people
        if self.own_share:
            other = torch.where(torch.rand(own.shape, device=own.device) < self.own_share, own, other)
        return other, torch.randn(len(own), self.noise, device=own.device)

    def losses(self, batch: Mapping[str, torch.Tensor]) -> Losses:
        """`DEGAN.losses`; `accuracy` is then what `Pace` asks for.

        Args:
          batch: image (N, 1, 96, 96) float32 in [0, 1], label and subject (N,) int.
        """
        image, expression, own = 2 * batch["image"] - 1, batch["label"].long(), batch["subject"].long()
        identity, z = self.draw(own)
        nets, cross_entropy = self.nets, functional.cross_entropy
        with self.autocast():
            f = nets["encoder"](image)[-1]
            fake = nets["decoder"](f, functional.one_hot(identity, self.people).float(), z)
            e, i = nets["discriminator"](image)
            e_fake, i_fake = nets["discriminator"](fake)
        with torch.no_grad():
            right = [(logits.argmax(-1) == known).float().mean() for logits, known in ((e, expression), (i, own))]
            self.accuracy = torch.minimum(*right)
        generator = {
            "expression_loss": cross_entropy(e_fake, expression),
            "identity_loss": cross_entropy(i_fake, identity),
        }
        if self.lambda_own:
            keeps = (identity == own).float()
            away = (keeps * (fake - image).abs().mean((1, 2, 3))).sum()
            generator["own_loss"] = self.lambda_own * away / keeps.sum().clamp(min=1)
        return {
            "discriminator": {
                "real_expression_loss": cross_entropy(e, expression),
                "real_identity_loss": cross_entropy(i, own),
                "fake_loss": cross_entropy(e_fake, torch.full_like(expression, self.classes)),
            },
            "generator": generator,
        }

    def train_step(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Both players' gradients at the same weights, D's only if it is its turn; then they move."""
        totals = {name: sum(terms.values()) for name, terms in self.losses(batch).items()}
        names = ["discriminator", "generator"] if self.pace(self.accuracy) else ["generator"]
        gradients = {
            name: torch.autograd.grad(totals[name], self.weights[name], retain_graph=name != "generator")
            for name in names
        }
        for name in names:
            self.optimizers[name].step(gradients[name])
        return {f"{name}_loss": total.detach() for name, total in totals.items()}


class StageTwo(Players):
    """`de_gan.DEGANClassifier` with its step; the encoder stays as it is."""

    def __init__(self, model: Any, dtype: str, device: str = "cpu"):
        self.numbers, self.lambdas, self.uses = model.numbers, model.lambdas, model.uses
        nets = {"encoder": (Trunk(width=model.width, code=model.code), model.encoder)}
        for i, net in enumerate(model.locals, 1):
            nets[f"local{i}"] = (Local(int(model.encoder.outputs[i - 1].shape[-1]), width=model.width), net)
        sizes = {i: int(head.kernel.shape[0]) for i, head in zip(model.numbers, model.heads, strict=True)}
        nets["heads"] = (Heads(sizes, len(model.classes)), model)
        super().__init__(model, nets, {"classifier": list(nets)[1:]}, dtype, device)

    def losses(self, batch: Mapping[str, torch.Tensor]) -> Losses:
        """`DEGANClassifier.losses`: image (N, 1, 96, 96) float32 in [0, 1], label (N,) int."""
        label = batch["label"].long()
        with self.autocast():
            with torch.no_grad():
                *maps, f = self.nets["encoder"](2 * batch["image"] - 1)
            local = [self.nets[f"local{i}"](x) for i, x in enumerate(maps, 1) if f"local{i}" in self.nets]
        logits = self.nets["heads"]([*local, torch.cat([f, *local] if self.uses != "residues" else local, -1)])
        return {
            "classifier": {
                f"l{i}_loss": self.lambdas[i - 1] * functional.cross_entropy(x, label)
                for i, x in zip(self.numbers, logits, strict=True)
            }
        }


def twin(model: Any, dtype: str, device: str = "cpu") -> StageOne | StageTwo:
    """The twin of a compiled `DEGAN` or `DEGANClassifier`: see `torch_players`."""
    return (StageTwo if isinstance(model, de_gan.DEGANClassifier) else StageOne)(model, dtype, device)
