"""A mask that is learned (relative positions) keeps its gradient while the backward is judged."""

from __future__ import annotations

import pytest
import torch

import attnswitch
from attnswitch.errors import UnavailableError


class BiasedAttention(torch.nn.Module):
    """One head over eight tokens, with a learned bias on the scores."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.qkv = torch.nn.Linear(8, 24)
        self.bias = torch.nn.Parameter(torch.randn(1, 1, 8, 8))

    def forward(self, x):
        query, key, value = self.qkv(x).unsqueeze(1).chunk(3, dim=-1)
        return torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=self.bias
        )[:, 0]


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = BiasedAttention()

    def forward(self, x):
        return self.attention(x)


X = {"x": torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(1))}


def test_the_weights_gradients_are_judged_bias_included():
    found = attnswitch.verify(
        Model().eval(), X, candidate="math", baseline="standard", gradients=True
    )
    assert [str(failure) for failure in found.failures] == []
    site = found.gradients["attention"]
    assert site.calls == 1
    assert site.propagated["candidate"].count == 24 * 8 + 24 + 64


def test_flash_says_that_it_has_no_gradient_for_the_mask():
    with pytest.raises(UnavailableError, match="no gradient for the mask"):
        attnswitch.verify(Model().eval(), X, gradients=True)
