"""Training: do two ways of attention part more than one of them does from itself?

N seeded steps of AdamW under each request, from the same weights, on the same prompts in the same
order, dropout off; master weights and moments in float32, as mixed-precision training keeps them.
What "itself" means has to be measured: the baseline is run again as it is (on a GPU
FlashAttention's backward is not deterministic), and with every site's output moved by a rounding,
since a run that repeats bit by bit would make any difference look like a fault.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch

from attnswitch.policy.requests import Request
from attnswitch.switch import apply
from attnswitch.verification.loss import next_token_loss
from attnswitch.verification.nudging import nudging

# Times the largest distance of the baseline from itself; and this many such distances.
FACTOR = 3.0
NUDGED = 3
CURVES = ("loss", "gradient_norm")
Curves = dict[str, list[float]]


@dataclass(frozen=True)
class Training:
    """Curves of each run, and how far each is from the baseline's.

    `distance` is the root mean square over steps of the difference of the logarithms: a relative
    distance. `allowed` is `FACTOR` times the baseline's largest from itself.
    """

    steps: int
    curves: dict[str, Curves]
    distance: dict[str, float]
    allowed: dict[str, float]

    @property
    def parts(self) -> bool:
        """Whether the candidate parts from the baseline more than the baseline from itself."""
        return any(not self.distance[name] <= self.allowed[name] for name in CURVES)

    @property
    def first_parting_step(self) -> int | None:
        """The first step (from 1) at which the losses are further apart than any two runs of the
        baseline are over all steps, times the factor."""
        one, other = (self.curves[who]["loss"] for who in ("baseline", "candidate"))
        for step, pair in enumerate(zip(one, other, strict=True), start=1):
            if not _apart(*pair) <= self.allowed["loss"]:
                return step
        return None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data; numbers that are none are null."""
        return {
            "steps": self.steps,
            "curves": {
                who: {name: [_finite(v) for v in values] for name, values in curves.items()}
                for who, curves in self.curves.items()
            },
            "distance": {name: _finite(v) for name, v in self.distance.items()},
            "allowed": {name: _finite(v) for name, v in self.allowed.items()},
            "parts": self.parts,
            "first_parting_step": self.first_parting_step if self.parts else None,
        }


def compare_training(
    model: Any,
    requests: Mapping[str, Request],
    prompts: Sequence[Mapping[str, Any]],
    steps: int,
    *,
    seed: int = 0,
    learning_rate: float = 1e-4,
    progress: Callable[[str], None] = lambda _: None,
) -> Training:
    """Train under both requests; the model's weights are put back afterwards.

    Memory beside the model's: a copy of its weights, their gradients, and three times its weights
    in float32 (masters and AdamW's two moments).
    """
    runs: list[tuple[str, str, int | None]] = [
        ("baseline", "baseline", None),
        ("candidate", "candidate", None),
        ("baseline again", "baseline", None),
    ]
    runs += [(f"baseline, rounding {n}", "baseline", n) for n in range(1, NUDGED + 1)]
    curves = {}
    for name, who, nudge in runs:
        progress(f"training: {name}")
        with ExitStack() as stack:
            stack.enter_context(apply(model, requests[who]))
            if nudge is not None:
                stack.enter_context(nudging(model, seed * 1_000_003 + nudge))
            curves[name] = _train(model, prompts, steps, seed, learning_rate)
    distance = {name: _distance(curves["candidate"], curves["baseline"], name) for name in CURVES}
    own = [run for run in curves if run not in ("baseline", "candidate")]
    allowed = {
        name: FACTOR * max(_distance(curves[run], curves["baseline"], name) for run in own)
        for name in CURVES
    }
    return Training(steps, curves, distance, allowed)


def _train(
    model: Any,
    prompts: Sequence[Mapping[str, Any]],
    steps: int,
    seed: int,
    learning_rate: float,
) -> Curves:
    """Losses and gradient norms of one run."""
    weights = [w for w in model.parameters() if w.requires_grad]
    before = [w.detach().clone() for w in weights]
    masters = [w.detach().to(torch.float32, copy=True) for w in weights]
    optimizer = torch.optim.AdamW(masters, lr=learning_rate)
    generator = torch.Generator().manual_seed(seed)
    found: Curves = {name: [] for name in CURVES}
    try:
        with torch.enable_grad():
            for _ in range(steps):
                number = int(torch.randint(len(prompts), (1,), generator=generator))
                loss = next_token_loss(model, prompts[number])
                loss.backward()
                found["loss"].append(loss.item())
                found["gradient_norm"].append(_norm(weights))
                _step(optimizer, weights, masters)
    finally:
        for weight in weights:
            weight.grad = None
        with torch.no_grad():
            for weight, value in zip(weights, before, strict=True):
                weight.copy_(value)
    return found


def _step(
    optimizer: torch.optim.Optimizer,
    weights: Sequence[torch.Tensor],
    masters: Sequence[torch.Tensor],
) -> None:
    """Move the float32 masters, and round them to the weights."""
    for weight, master in zip(weights, masters, strict=True):
        master.grad = None if weight.grad is None else weight.grad.to(torch.float32)
        weight.grad = None
    optimizer.step()
    with torch.no_grad():
        for weight, master in zip(weights, masters, strict=True):
            weight.copy_(master)


def _norm(weights: Sequence[torch.Tensor]) -> float:
    squares = [w.grad.double().square().sum() for w in weights if w.grad is not None]
    return math.sqrt(float(sum(squares)))


def _distance(one: Curves, other: Curves, name: str) -> float:
    pairs = zip(one[name], other[name], strict=True)
    squares = [_apart(a, b) ** 2 for a, b in pairs]
    return math.sqrt(sum(squares) / len(squares))


def _apart(one: float, other: float) -> float:
    """The difference of the logarithms. What is no number is infinitely far from any that is, and
    says nothing beside another."""
    if not math.isfinite(one) and not math.isfinite(other):
        return 0.0
    if not (math.isfinite(one) and math.isfinite(other)):
        return math.inf
    return abs(math.log(max(one, 1e-30)) - math.log(max(other, 1e-30)))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
