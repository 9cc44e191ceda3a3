"""Tokens: greedy answers under both requests, where they first part, and by how much.

Greedy tokens of healthy half-precision models do differ. A flip counts against agreement only
where the margin between the two candidates, in the logits of the exact run, exceeds the allowed
error of the logits; below that it is a near tie.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from attnswitch.switch import RequestLike, apply
from attnswitch.verification.passes import Pass, greedy
from attnswitch.verification.whole_runs import LOGITS, WholeRuns

Z = 1.959963984540054  # of the normal distribution, for 95 %


@dataclass(frozen=True)
class Flip:
    """The first differing token of one answer; None stands for an answer that has ended.

    `margin` is the exact run's logit of the baseline's token minus that of the candidate's.
    """

    position: int
    baseline_token: int | None
    candidate_token: int | None
    margin: float | None
    allowed: float | None

    @property
    def near_tie(self) -> bool:
        """Whether rounding explains it."""
        if self.margin is None or self.allowed is None:
            return False
        return abs(self.margin) <= self.allowed

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {**vars(self), "near_tie": self.near_tie}


@dataclass(frozen=True)
class Answers:
    """One prompt answered under both requests."""

    baseline: list[int]
    candidate: list[int]
    flip: Flip | None = None

    @property
    def agree(self) -> bool:
        """The same tokens."""
        return self.flip is None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "baseline": self.baseline,
            "candidate": self.candidate,
            "agree": self.agree,
            "first_difference": self.flip.to_json() if self.flip else None,
        }


@dataclass(frozen=True)
class Tokens:
    """A set of prompts: how many answers are the same, token by token."""

    answers: list[Answers]

    @property
    def same(self) -> int:
        """Answers that are the same."""
        return sum(one.agree for one in self.answers)

    @property
    def real_flips(self) -> list[int]:
        """Numbers of the prompts whose first difference is no near tie."""
        return [n for n, one in enumerate(self.answers) if one.flip and not one.flip.near_tie]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data; `rate` with a Wilson interval of 95 %."""
        low, high = wilson(self.same, len(self.answers))
        return {
            "prompts": len(self.answers),
            "same": self.same,
            "near_ties": len(self.answers) - self.same - len(self.real_flips),
            "flips": len(self.real_flips),
            "rate": {"value": self.same / max(1, len(self.answers)), "low": low, "high": high},
            "answers": [one.to_json() for one in self.answers],
        }


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """The 95 % score interval of a rate (Wilson 1927); (0, 1) without trials."""
    if not trials:
        return 0.0, 1.0
    share, square = hits / trials, Z * Z / trials
    middle = (share + square / 2) / (1 + square)
    half = Z / (1 + square) * math.sqrt(share * (1 - share) / trials + square / (4 * trials))
    return max(0.0, middle - half), min(1.0, middle + half)


def compare_tokens(
    model: Any,
    prompts: Sequence[Mapping[str, Any]],
    baseline: RequestLike,
    candidate: RequestLike,
    max_new_tokens: int,
    on_prompt: Callable[[int], None] = lambda _: None,
) -> Tokens:
    """Answer every prompt (a batch of one each) under both requests, greedily."""
    found = []
    for number, inputs in enumerate(prompts):
        on_prompt(number)
        with apply(model, baseline):
            one = greedy(model, inputs, max_new_tokens)
        with apply(model, candidate):
            other = greedy(model, inputs, max_new_tokens)
        position = _first_difference(one, other)
        flip = None
        if position is not None:
            flip = _flip(model, inputs, one, other, position, candidate)
        found.append(Answers(one, other, flip))
    return Tokens(found)


def _first_difference(one: Sequence[int], other: Sequence[int]) -> int | None:
    for position, pair in enumerate(zip(one, other, strict=False)):
        if pair[0] != pair[1]:
            return position
    return min(len(one), len(other)) if len(one) != len(other) else None


def _flip(
    model: Any,
    inputs: Mapping[str, Any],
    one: list[int],
    other: list[int],
    position: int,
    candidate: RequestLike,
) -> Flip:
    """Where the answers part, with the exact run's margin there."""
    tokens = [answer[position] if position < len(answer) else None for answer in (one, other)]
    if None in tokens:
        return Flip(position, tokens[0], tokens[1], None, None)
    runs = WholeRuns(model, {"candidate": candidate}, [Pass(inputs, tuple(one[: position + 1]))])
    runs.compare()
    row: torch.Tensor = runs.reference_logits[0][position]
    margin = (row[tokens[0]] - row[tokens[1]]).item()  # type: ignore[index]
    allowed = runs.judgement(LOGITS, "candidate").allowed.max
    return Flip(position, tokens[0], tokens[1], margin, allowed)
