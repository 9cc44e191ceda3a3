"""The rule with several yardsticks: the largest of their errors counts, and no more."""

from __future__ import annotations

import pytest
import torch

from attnswitch.verification.rule import judge, judge_beside

EXACT = torch.linspace(-1, 1, 200, dtype=torch.float64)


def off_by(size: float, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(200, generator=generator, dtype=torch.float64)
    return (EXACT + size * noise).float()


def test_the_largest_error_is_the_one_that_is_doubled():
    yardsticks = [off_by(size, 1) for size in (1e-5, 4e-5, 2e-5)]
    several = judge_beside(off_by(7e-5, 2), yardsticks, EXACT)
    alone = judge(off_by(7e-5, 2), yardsticks[1], EXACT)
    assert several == alone
    assert several.passes
    assert not judge(off_by(7e-5, 2), yardsticks[0], EXACT).passes


def test_what_no_yardstick_explains_fails():
    yardsticks = [off_by(1e-5, seed) for seed in range(4)]
    assert judge_beside(off_by(1e-5, 9), yardsticks, EXACT).passes
    assert not judge_beside(off_by(5e-5, 9), yardsticks, EXACT).passes
    assert not judge_beside((EXACT * 1.01).float(), yardsticks, EXACT).passes


def test_without_a_yardstick_there_is_nothing_to_judge_by():
    with pytest.raises(ValueError, match="no yardstick"):
        judge_beside(off_by(1e-5, 1), [], EXACT)
