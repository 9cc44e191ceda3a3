"""What an optimizer keeps, and what its step allocates: the same whatever the inputs are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from attnswitch.estimating import steps
from attnswitch.estimating.ledger import Ledger, Peak
from attnswitch.estimating.scenario import Training
from attnswitch.estimating.work import Work


@dataclass(frozen=True)
class OptimizerCost:
    """Bytes of its states and of all gradients; the peak and the work of one step, or None where
    there is no optimizer of PyTorch's that could be run."""

    state_bytes: int
    gradient_bytes: int
    peak: Peak | None
    work: Work | None


def optimizer_cost(model: Any, training: Training, device: str, block: int) -> OptimizerCost:
    """Run two steps on the meta device: the first makes the states, the second is written down.

    The model has its gradients: weights that get none (a tower's layers after the one that LLaVA
    uses) have no states either.
    """
    trained = [parameter for parameter in model.parameters() if parameter.grad is not None]
    gradient_bytes = _total(trained, block)
    optimizer = steps.make_optimizer(model, training, device)
    if optimizer is None:
        copies = 3 * 4 * sum(parameter.numel() for parameter in trained)
        return OptimizerCost(
            copies if training.optimizer == "adamw-fp32" else 0, gradient_bytes, None, None
        )
    optimizer.step()
    states = [
        value for state in optimizer.state.values() for value in state.values()
        if isinstance(value, torch.Tensor)
    ]  # fmt: skip
    gradients = [p.grad for p in trained if p.grad is not None]
    work = Work(device)
    with Ledger(block=block, known=[*trained, *gradients, *states], watch=work.note) as ledger:
        optimizer.step()
    return OptimizerCost(_total(states, block), gradient_bytes, ledger.peak(), work)


def _total(tensors: list[torch.Tensor], block: int) -> int:
    return sum(-(-t.numel() * t.element_size() // block) * block for t in tensors)
