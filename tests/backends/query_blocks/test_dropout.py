"""Dropout: the right distribution, seeded, and the same draw in the backward pass."""

from __future__ import annotations

import pytest
import torch

from attnswitch.backends import blockwise
from attnswitch.backends.query_blocks import block_size, registration

from .checks import inputs
from .plain import attention


def weights(p: float, seed: int, rows: int = 64, **arguments: object) -> torch.Tensor:
    """Return the dropped probabilities themselves: attention with the identity for values."""
    query, key, _ = inputs(batch=2, heads=3, rows=rows)
    value = torch.eye(rows).expand(2, 3, rows, rows)
    torch.manual_seed(seed)
    return blockwise(query, key, value, dropout_p=p, **arguments)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_distribution(p: float) -> None:
    plain, dropped = weights(0.0, 0), weights(p, 0)
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], (plain / (1 - p))[kept], rtol=1e-4, atol=1e-6)
    count = kept.numel()
    deviation = (p * (1 - p) / count) ** 0.5
    assert abs(kept.double().mean().item() - (1 - p)) < 5 * deviation
    heads = kept.double().flatten(2)
    centred = heads - heads.mean(-1, keepdim=True)
    correlation = (centred[0, 0] * centred[0, 1]).mean() / (p * (1 - p))
    assert abs(correlation.item()) < 5 / heads.shape[-1] ** 0.5


def test_seeded() -> None:
    assert torch.equal(weights(0.5, 1), weights(0.5, 1))
    assert not torch.equal(weights(0.5, 1), weights(0.5, 2))
    torch.manual_seed(1)
    first = blockwise(*inputs(), dropout_p=0.5)
    assert not torch.equal(first, blockwise(*inputs(), dropout_p=0.5))


def test_workers_draw_what_one_worker_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_size, "SHARED_FLOPS", 0)
    found = []
    for workers in (1, 3):
        monkeypatch.setattr(registration, "choose_workers", lambda *_, n=workers: n)
        found.append(weights(0.5, 1, block_rows=16))
    assert torch.equal(*found)


def test_everything_dropped() -> None:
    assert weights(1.0, 0).eq(0).all()


def test_the_backward_pass_drops_the_same() -> None:
    rows, p = 40, 0.4
    keep = (weights(p, 3, rows, block_rows=16) != 0) / (1 - p)
    query, key, value = (t.requires_grad_() for t in inputs(batch=2, heads=3, rows=rows))
    plain = [t.detach().double().requires_grad_() for t in (query, key, value)]
    torch.manual_seed(3)
    out = blockwise(query, key, value, dropout_p=p, block_rows=16)
    expected = attention(*plain, keep=keep)
    torch.testing.assert_close(out.double(), expected, rtol=1e-4, atol=1e-4)
    out.square().sum().backward()
    expected.square().sum().backward()
    for mine, theirs in zip((query, key, value), plain, strict=True):
        torch.testing.assert_close(mine.grad.double(), theirs.grad, rtol=1e-3, atol=1e-3)
