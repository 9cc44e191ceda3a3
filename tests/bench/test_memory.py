"""Peak memory: allocations that overlap add up, freed ones do not."""

from __future__ import annotations

import torch

from attnswitch.backends import blockwise
from attnswitch.bench.memory import peak_bytes
from attnswitch.bench.statistics import line_fit

MIB = 2**20


def test_peak_counts_what_is_alive_at_once() -> None:
    def one_after_the_other() -> None:
        for _ in range(4):
            torch.empty(MIB, dtype=torch.uint8)

    def together() -> list[torch.Tensor]:
        return [torch.empty(MIB, dtype=torch.uint8) for _ in range(4)]

    assert MIB <= peak_bytes(one_after_the_other) < 1.5 * MIB
    assert 4 * MIB <= peak_bytes(together) < 4.5 * MIB


def test_memory_that_was_there_before_does_not_count() -> None:
    before = torch.ones(8 * MIB, dtype=torch.uint8)
    assert peak_bytes(lambda: before[:MIB].clone()) < 1.5 * MIB


def test_blockwise_is_linear_in_tokens_and_all_scores_at_once_are_not() -> None:
    def peaks(lengths: list[int], attend: object) -> list[int]:
        found = []
        for tokens in lengths:
            q, k, v = torch.randn(3, 1, 2, tokens, 16)
            found.append(peak_bytes(lambda q=q, k=k, v=v: attend(q, k, v)))
        return found

    long, short = [2048, 4096, 8192], [512, 1024, 2048, 4096]
    blocks = peaks(long, lambda q, k, v: blockwise(q, k, v, block_rows=16))
    squares = peaks(short, lambda q, k, v: torch.softmax(q @ k.transpose(-1, -2), -1) @ v)
    assert line_fit(long, blocks)[2] > 0.999
    assert blocks[-1] / blocks[0] < 1.1 * long[-1] / long[0]
    assert squares[-1] / squares[0] > 6 * short[-1] / short[0]
    assert squares[-1] > 20 * blocks[1]
