"""Make a model train what a scenario says: frozen parts, LoRA adapters, checkpointing."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from attnswitch.estimating.scenario import Training
from attnswitch.sites import role_of


class LowRank(nn.Module):
    """A frozen linear layer and a trained one of low rank beside it (Hu et al. 2021).

    x [..., in] → W·x + (B·A·dropout(x))·scale, with A [rank, in] and B [out, rank]: what peft's
    LoRA layer computes, and keeps for its gradient.
    """

    def __init__(self, base: nn.Linear, rank: int, dropout: float):
        super().__init__()
        self.base = base
        where: dict[str, Any] = {"device": base.weight.device, "dtype": base.weight.dtype}
        self.a = nn.Linear(base.in_features, rank, bias=False, **where)
        self.b = nn.Linear(rank, base.out_features, bias=False, **where)
        self.dropout = nn.Dropout(dropout)
        self.scale = 2.0  # alpha 256 over rank 128, in LLaVA

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The sum of both."""
        return self.base(x) + self.b(self.a(self.dropout(x))) * self.scale


def prepare(model: Any, training: Training) -> None:
    """Freeze, adapt and set checkpointing, in place; the model is then in training mode."""
    model.train()
    for path, parameter in model.named_parameters():
        parameter.requires_grad_(_is_trained(path, training))
    if training.trained == "lora":
        _add_adapters(model, training)
    if training.checkpointing:
        _checkpoint(model)


def _is_trained(path: str, training: Training) -> bool:
    if training.trained == "full":
        return True
    tower = role_of(path) == "vision_tower"
    if training.trained == "frozen-tower":
        return not tower
    return not tower and role_of(path) == "projector"


def _add_adapters(model: Any, training: Training) -> None:
    """On every linear layer of the language model but its output, as LLaVA's train.py does."""
    for path, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and role_of(path) == "language_model":
            parent, _, name = path.rpartition(".")
            layer = LowRank(module, training.lora_rank, training.lora_dropout)
            setattr(model.get_submodule(parent), name, layer)


def _checkpoint(model: Any) -> None:
    """Recompute each layer in backward; the method's name changed in transformers 5."""
    enable = getattr(model, "activation_checkpointing_enable", None)
    (enable or model.gradient_checkpointing_enable)()
