"""Judgements of parts made one, as if the parts were elements of one tensor.

A site is judged once in each phase: all its calls and all their pieces together. A decoded
token's output is a hundred numbers; taken alone, its root mean square says little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from attnswitch.verification.rule import FACTOR, Errors, Judgement, judge


@dataclass
class Pool:
    """The largest of the largest errors, and the squares weighted by the number of elements.

    `factor` is how many times the yardstick's error is allowed; `slack` is allowed besides, as a
    share of the reference's own largest and root-mean-square value.
    """

    factor: float = FACTOR
    slack: float = 0.0
    count: int = 0
    _max: float = 0.0
    _squares: float = 0.0
    _yardstick_max: float = 0.0
    _yardstick_squares: float = 0.0
    _floor: float = 0.0
    _size_max: float = 0.0
    _size_squares: float = 0.0
    _finite: bool = True

    def add(
        self, candidate: torch.Tensor, yardstick: torch.Tensor, reference: torch.Tensor
    ) -> None:
        """Judge a part (any shape, see `judge`) and count it in; an empty one adds nothing."""
        if not candidate.numel():
            return
        if self.slack:
            self._size_max = max(self._size_max, reference.abs().max().item())
            self._size_squares += reference.double().square().sum().item()
        part, count = judge(candidate, yardstick, reference), candidate.numel()
        self.count += count
        self._finite = self._finite and part.finite
        self._max = max(self._max, _real(part.error.max))
        self._squares += count * _real(part.error.rms) ** 2
        self._yardstick_max = max(self._yardstick_max, _real(part.yardstick_error.max))
        self._yardstick_squares += count * _real(part.yardstick_error.rms) ** 2
        self._floor = max(self._floor, part.allowed.max - FACTOR * part.yardstick_error.max)

    def merge(self, other: Pool) -> None:
        """Count in everything that another pool holds."""
        self.count += other.count
        self._finite = self._finite and other._finite
        for name in ("_max", "_yardstick_max", "_floor", "_size_max"):
            setattr(self, name, max(getattr(self, name), getattr(other, name)))
        for name in ("_squares", "_yardstick_squares", "_size_squares"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def widen(self, other: Pool) -> None:
        """Let the yardstick's error be at least the error that `other` holds as a candidate's,
        taken over the same elements."""
        self._yardstick_max = max(self._yardstick_max, other._max)
        self._yardstick_squares = max(self._yardstick_squares, other._squares)

    def judgement(self) -> Judgement:
        """The rule over everything so far.

        Raises:
            ValueError: nothing was added.
        """
        if not self.count:
            raise ValueError("there is nothing to judge: no part was added")
        yardstick = Errors(self._yardstick_max, math.sqrt(self._yardstick_squares / self.count))
        error = Errors(self._max, math.sqrt(self._squares / self.count))
        size = Errors(self._size_max, math.sqrt(self._size_squares / self.count))
        allowed = Errors(
            self.factor * yardstick.max + self._floor + self.slack * size.max,
            self.factor * yardstick.rms + self.slack * size.rms,
        )
        return Judgement(error, yardstick, allowed, self._finite)

    def judgement_beside(self, others: list[Pool]) -> Judgement:
        """The rule with the largest of several yardsticks: this pool's and those that `others`
        hold as candidates."""
        own = self.judgement()
        errors = [other.judgement().error for other in others if other.count]
        most = Errors(
            max([own.yardstick_error.max, *(e.max for e in errors)]),
            max([own.yardstick_error.rms, *(e.rms for e in errors)]),
        )
        allowed = Errors(
            own.allowed.max + self.factor * (most.max - own.yardstick_error.max),
            own.allowed.rms + self.factor * (most.rms - own.yardstick_error.rms),
        )
        return Judgement(own.error, most, allowed, own.finite)


def _real(error: float) -> float:
    """A difference that is no number is the largest of all."""
    return math.inf if math.isnan(error) else error
