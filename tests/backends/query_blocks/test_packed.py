"""Sequences laid end to end: each attends to itself alone, and nothing between them is computed."""

from __future__ import annotations

import pytest
import torch

from attnswitch.backends.query_blocks import blockwise_varlen
from attnswitch.backends.query_blocks.plan import plan_packed

from .checks import TOLERANCE
from .plain import attention

LENGTHS_Q, LENGTHS_K = [5, 0, 40, 1, 17], [9, 3, 40, 12, 2]


def packed(lengths_q: list[int], lengths_k: list[int]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(sum(lengths_q), 4, 8, generator=generator)
    key, value = (torch.randn(sum(lengths_k), 2, 8, generator=generator) for _ in range(2))
    ends = (torch.tensor([0, *lengths]).cumsum(0).int() for lengths in (lengths_q, lengths_k))
    return [query, key, value, *ends]


@pytest.mark.parametrize("alignment", ["top-left", "bottom-right"])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window", [(-1, -1), (6, 0)])
@pytest.mark.parametrize("alibi", [None, torch.tensor([0.5, 0.2, 0.1, 0.0])])
def test_each_sequence_alone(
    alignment: str, causal: bool, window: tuple[int, int], alibi: torch.Tensor | None
) -> None:
    query, key, value, ends_q, ends_k = packed(LENGTHS_Q, LENGTHS_K)
    leaves = [t.requires_grad_() for t in (query, key, value)]
    arguments = {"causal_alignment": alignment, "window": window, "alibi_slopes": alibi}
    out, lse = blockwise_varlen(
        *leaves, ends_q, ends_k, is_causal=causal, block_rows=8, return_lse=True, **arguments
    )
    assert out.shape == query.shape
    assert lse.shape == (4, query.shape[0])
    plain = [t.detach().double().requires_grad_() for t in leaves]
    parts = []
    for i in range(len(LENGTHS_Q)):
        rows, keys = slice(ends_q[i], ends_q[i + 1]), slice(ends_k[i], ends_k[i + 1])
        one = [
            t[s].transpose(0, 1).unsqueeze(0)
            for t, s in zip(plain, (rows, keys, keys), strict=True)
        ]
        parts.append(attention(*one, is_causal=causal, **arguments)[0].transpose(0, 1))
    expected = torch.cat(parts)
    assert (out.double() - expected).abs().max() <= TOLERANCE[torch.float32] * 3
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    out.backward(upstream)
    expected.backward(upstream.double())
    for mine, theirs in zip(leaves, plain, strict=True):
        assert (mine.grad.double() - theirs.grad).abs().max() <= TOLERANCE[torch.float32] * 20


def test_nothing_between_sequences_is_planned() -> None:
    blocks = plan_packed([0, 100, 200], [0, 100, 200], False, True, (-1, -1), 10)
    for block in blocks:
        sequence = block.row_start // 100
        assert (block.key_start, block.key_stop) == (100 * sequence, 100 * (sequence + 1))
