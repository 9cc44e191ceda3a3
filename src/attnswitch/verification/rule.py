"""The rule of agreement: when is a difference rounding, and when is it an error.

Carried over from FlashAttention's own tests (Dao-AILab/flash-attention, tests/test_flash_attn.py):
a candidate may be off by at most twice what a plain implementation of the same precision is off,
both measured against a float64 reference on the same inputs. Here the plain implementation (the
yardstick) is standard attention with fp32 scores and its output in the candidate's dtype, and the
root-mean-square error is held to the same bound, which finds an error of scale that the largest
error alone lets pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

FACTOR = 2.0
# The floor of the largest error is that of adding and taking away this number, as in the tests
# named above: the rounding that any reordering of a sum may show.
SHIFT = 0.3


@dataclass(frozen=True)
class Errors:
    """Largest and root-mean-square difference from the reference."""

    max: float
    rms: float


@dataclass(frozen=True)
class Judgement:
    """One candidate judged on one tensor; `passes` is the rule, `finite` part of it."""

    error: Errors
    yardstick_error: Errors
    allowed: Errors
    finite: bool

    @property
    def passes(self) -> bool:
        """Whether both errors are within what is allowed and every number is finite."""
        return (
            self.finite
            and self.error.max <= self.allowed.max
            and self.error.rms <= self.allowed.rms
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {**asdict(self), "passes": self.passes}


def judge(candidate: torch.Tensor, yardstick: torch.Tensor, reference: torch.Tensor) -> Judgement:
    """Judge `candidate` by the rule.

    Args:
        candidate: what is judged, any shape, in the dtype it was computed in.
        yardstick: standard attention with fp32 scores, same shape and dtype.
        reference: the same in float64.

    Raises:
        ValueError: the shapes differ, or nothing is left to judge.
    """
    if not candidate.shape == yardstick.shape == reference.shape:
        raise ValueError(
            f"shapes differ: candidate {tuple(candidate.shape)}, yardstick "
            f"{tuple(yardstick.shape)}, reference {tuple(reference.shape)}"
        )
    if candidate.numel() == 0:
        raise ValueError("there is nothing to judge: the tensors are empty")
    exact = reference.to(torch.float64)
    # Where the reference itself is infinite (a masked logit), equality is all that can be asked.
    finite_rows = torch.isfinite(exact)
    finite = bool(torch.isfinite(candidate)[finite_rows].all()) and bool(
        (candidate[~finite_rows] == exact[~finite_rows].to(candidate.dtype)).all()
    )
    error = _errors(candidate, exact, finite_rows)
    measure = _errors(yardstick, exact, finite_rows)
    allowed = Errors(
        FACTOR * measure.max + _floor(exact[finite_rows], candidate.dtype), FACTOR * measure.rms
    )
    return Judgement(error, measure, allowed, finite)


def judge_beside(
    candidate: torch.Tensor, yardsticks: Sequence[torch.Tensor], reference: torch.Tensor
) -> Judgement:
    """Judge `candidate` with the largest of several yardsticks' errors.

    One yardstick is one draw of its rounding errors; where a few hundred numbers are judged, its
    largest may be small by luck. Shapes and errors as for `judge`.

    Raises:
        ValueError: there is no yardstick, the shapes differ, or nothing is left to judge.
    """
    if not yardsticks:
        raise ValueError("there is nothing to judge by: no yardstick was given")
    each = [judge(candidate, yardstick, reference) for yardstick in yardsticks]
    most, allowed = (
        Errors(max(e.max for e in errors), max(e.rms for e in errors))
        for errors in ([j.yardstick_error for j in each], [j.allowed for j in each])
    )
    return Judgement(each[0].error, most, allowed, each[0].finite)


def _errors(values: torch.Tensor, exact: torch.Tensor, where: torch.Tensor) -> Errors:
    difference = (values.to(torch.float64) - exact)[where]
    if difference.numel() == 0:
        return Errors(0.0, 0.0)
    return Errors(difference.abs().max().item(), difference.square().mean().sqrt().item())


def _floor(exact: torch.Tensor, dtype: torch.dtype) -> float:
    """2·max|r + 0.3 - 0.3 - r| with r the reference rounded to the candidate's dtype."""
    if exact.numel() == 0:
        return 0.0
    rounded = exact.to(dtype)
    return 2.0 * (rounded + SHIFT - SHIFT - rounded).abs().max().item()
