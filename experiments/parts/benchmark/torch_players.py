"""What a twin in PyTorch is: nets that players move, as `fer_tf.compat.PlayersModel` is trained. Needs `bench`.

Every `torch_<model>.py` has `twin(model, dtype, device="cpu")`: of a compiled Keras model, with its weights and its
optimizers. It gives a `Players`, or what has the same methods:

    losses(batch)      -> {player: {term: scalar}}, as the Keras model's; the benchmark may put a compiled one there
    train_step(batch)  -> {"<player>_loss": scalar}
    parameters()       -> number of those that the players train
    nets               -> {name: nn.Module}, whose `parts` have the names of the Keras layers

The batch has the keys of the Keras one: see `torch_weights.tensors`. What is random in a model (dropout, noise, an
image pool) is so here where the Keras model's arguments ask for it; both are alike where these turn it off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from fer_tf.compat import keras
from fer_tf.schedules import InverseDecay

from .torch_weights import copy_weights

Losses = dict[str, dict[str, torch.Tensor]]
"""{player: {term: scalar}}."""


def rate_at(rate: Any, step: int) -> float:
    """A Keras learning rate, as an optimizer's config has it, at a step that counts from 0.

    Raises:
      ValueError: a schedule that is not one of these.
    """
    if not isinstance(rate, Mapping):
        return float(rate)
    name, config = rate["class_name"].rsplit(">")[-1], rate["config"]
    if name == "ExponentialDecay":
        times = step / config["decay_steps"]
        return config["initial_learning_rate"] * config["decay_rate"] ** (int(times) if config["staircase"] else times)
    if name == InverseDecay.__name__:
        return config["rate"] * (1 + config["gamma"] * step) ** -config["power"]
    raise ValueError(f"The twin knows no learning rate of the kind {name}.")


class Optimizer:
    """Moves weights as a Keras optimizer moves its variables: SGD with momentum, Nesterov's or not, and Adam.

    Keras's Adam adds its epsilon to the root of the mean square before the correction for the start, PyTorch's after
    it; so PyTorch's is epsilon / sqrt(1 - beta_2^t) in step t. Keras's velocity has the learning rate within, PyTorch's
    has it outside; so gradients are given times the rate where a schedule changes it.

    Args:
      theirs: the Keras optimizer, wrapped for loss scaling or not.
      weights: what it moves.
      l2: weight decay in the gradient, where the Keras model has it as a loss term.
    Raises:
      ValueError: an optimizer of another kind, or with a setting that is not one of these.
    """

    def __init__(self, theirs: Any, weights: Sequence[nn.Parameter], l2: float = 0.0):
        theirs = getattr(theirs, "inner_optimizer", theirs)
        config, self.weights, self.steps = theirs.get_config(), list(weights), 0
        strange = [n for n in ("clipnorm", "clipvalue", "global_clipnorm", "use_ema", "amsgrad") if config.get(n)]
        self.rate, decay = config["learning_rate"], config.get("weight_decay") or 0.0
        self.l2, self.epsilon, self.scaled = l2, None, False
        if isinstance(theirs, keras.optimizers.Adam) and not strange and not (l2 and decay):
            self.epsilon, self.beta_2 = config["epsilon"], config["beta_2"]
            make, options = torch.optim.AdamW if decay else torch.optim.Adam, {"weight_decay": decay or l2}
            options["betas"] = (config["beta_1"], config["beta_2"])
        elif isinstance(theirs, keras.optimizers.SGD) and not strange and not decay:
            self.scaled = isinstance(self.rate, Mapping)
            options = {"momentum": config["momentum"], "nesterov": config["nesterov"], "weight_decay": l2}
            make = torch.optim.SGD
        else:
            raise ValueError(f"The twin has no {type(theirs).__name__} with {strange or 'this weight decay'}.")
        self.own = make(self.weights, lr=rate_at(self.rate, 0), fused=True, **options)

    def step(self, gradients: Sequence[torch.Tensor]) -> None:
        """One step down the gradients, one for each weight."""
        rate = rate_at(self.rate, self.steps)
        self.steps += 1
        if self.scaled:
            gradients, decay, rate = torch._foreach_mul(list(gradients), rate), self.l2 * rate, 1.0
        for group in self.own.param_groups:
            group["lr"] = rate
            if self.scaled:
                group["weight_decay"] = decay
            if self.epsilon is not None:
                group["eps"] = self.epsilon / (1 - self.beta_2**self.steps) ** 0.5
        for weight, gradient in zip(self.weights, gradients, strict=True):
            weight.grad = gradient
        self.own.step()


class Players:
    """Nets, who moves which of them, and by which optimizer. A subclass gives `losses`.

    Args:
      model: compiled; each net takes the weights of its layers.
      nets: name -> (a net with `parts`, the Keras net with the layers of the same names).
      players: player -> names of the nets that it moves; the other nets are frozen, and do without statistics.
      dtype: "float32", or "bfloat16" by autocast.
      device: "cpu" or "cuda".
      l2: see `Optimizer`.
    Raises:
      RuntimeError: a player has another number of parameters; the message names it.
    """

    def __init__(
        self,
        model: Any,
        nets: Mapping[str, tuple[nn.Module, Any]],
        players: Mapping[str, Sequence[str]],
        dtype: str,
        device: str = "cpu",
        l2: float = 0.0,
    ):
        self.half, self.device, self.nets = dtype == "bfloat16", torch.device(device), {}
        for name, (net, theirs) in nets.items():
            copied, own = copy_weights(theirs, net), sum(p.numel() for p in net.parameters())
            if copied != own:
                raise RuntimeError(f"The {name} has {own} parameters in PyTorch; {copied} of them are from Keras.")
            if not any(name in moved for moved in players.values()):
                net.eval().requires_grad_(False)
            self.nets[name] = net.to(self.device, memory_format=torch.channels_last)
        self.weights = {
            player: [p for n in moved for p in self.nets[n].parameters()] for player, moved in players.items()
        }
        self.optimizers = {}
        for name, player in model.players().items():
            own = sum(w.numel() for w in self.weights[name])
            whole = sum(int(np.prod(v.shape)) for v in player.variables)
            if own != whole:
                raise RuntimeError(f"The {name} has {whole} parameters in Keras and {own} in PyTorch.")
            self.optimizers[name] = Optimizer(player.optimizer, self.weights[name], l2)

    def moved(self, device: str) -> Players:
        """Itself, on another device."""
        self.device = torch.device(device)
        for net in self.nets.values():
            net.to(self.device, memory_format=torch.channels_last)
        return self

    def autocast(self) -> torch.autocast:
        """In which the nets run."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.half)

    def exact(self) -> torch.autocast:
        """In which the layers run that are float32 in Keras, too."""
        return torch.autocast(self.device.type, enabled=False)

    def squares(self) -> torch.Tensor:
        """||theta||^2 of all that the players train, without a gradient: `l2` gives it to the optimizer."""
        with torch.no_grad():
            return torch.stack(torch._foreach_norm([p for own in self.weights.values() for p in own])).square().sum()

    def losses(self, batch: Mapping[str, torch.Tensor]) -> Losses:
        """The terms of each player."""
        raise TypeError(f"{type(self).__name__} has to define losses(batch).")

    def train_step(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """All players' gradients at the same weights, then all move: as the Keras model's."""
        totals = {name: sum(terms.values()) for name, terms in self.losses(batch).items()}
        *_, last = self.weights
        gradients = {
            name: torch.autograd.grad(totals[name], weights, retain_graph=name != last)
            for name, weights in self.weights.items()
        }
        for name, optimizer in self.optimizers.items():
            optimizer.step(gradients[name])
        return {f"{name}_loss": total.detach() for name, total in totals.items()}

    def parameters(self) -> int:
        """Number of those that the players train."""
        return sum(weight.numel() for weights in self.weights.values() for weight in weights)
