"""Models that name FlashAttention themselves, as remote code does; and towers of their own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import attnswitch
from tests.tracing.small_models import (
    FLASH,
    EagerAttention,
    SdpaAttention,
    Stack,
    found,
    hidden_states,
)  # fmt: skip

BLOCKWISE = "attnswitch::blockwise"


class RemoteAttention(EagerAttention):
    """Calls the package when it runs, as InternVL's and MPT's own code does."""

    def attend(self, q, k, v):
        from flash_attn import flash_attn_func

        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        return flash_attn_func(q, k, v, causal=True).transpose(1, 2)


class PackedAttention(EagerAttention):
    """Packs its tokens, as vision towers of remote code do."""

    def attend(self, q, k, v):
        from flash_attn.flash_attn_interface import flash_attn_varlen_func

        rows = q.shape[2]
        ends = torch.tensor([0, rows], dtype=torch.int32)
        q, k, v = (t.transpose(1, 2).flatten(0, 1) for t in (q, k, v))
        out = flash_attn_varlen_func(q, k, v, ends, ends, rows, rows)
        return out[None].transpose(1, 2)


class Llava(nn.Module):
    """A tower and a decoder, each with attention of its own kind."""

    def __init__(self, tower, decoder):
        super().__init__()
        self.vision_tower, self.language_model = Stack(tower), Stack(decoder)

    def forward(self, hidden):
        return self.language_model(self.vision_tower(hidden))


@pytest.mark.parametrize("layer", [RemoteAttention, PackedAttention])
@pytest.mark.parametrize(
    ("word", "backend", "operator", "evidence"),
    [("standard", "blockwise", BLOCKWISE, "guarded"), ("flash", "flash", FLASH, "op")],
)
def test_a_model_that_calls_the_package(layer, word, backend, operator, evidence):
    model = Stack(layer())
    with torch.inference_mode(), attnswitch.use(word), attnswitch.trace(model) as trace:
        for _ in range(3):
            model(hidden_states())
    assert found(trace) == [("layers.0", "prefill", backend, evidence, 3)]
    (receipt,) = trace.receipts
    assert (receipt.requested, receipt.executed) == (word, [operator])


def test_its_training_too():
    model = Stack(RemoteAttention())
    with attnswitch.use("standard"), attnswitch.trace(model) as trace:
        for _ in range(3):
            model(hidden_states(requires_grad=True)).sum().backward()
    assert found(trace) == [
        ("layers.0", "prefill", "blockwise", "guarded", 3),
        ("layers.0", "backward", "blockwise", "guarded", 3),
    ]


def test_a_package_of_the_projects_own_that_hides_its_kernel_is_unobserved(monkeypatch):
    """A function that no operator tells of, as a binding of C++ would be."""
    import sys
    import types

    def flash_attn_func(q, k, v, causal=False):
        import numpy

        q, k, v = (t.detach().transpose(1, 2).numpy() for t in (q, k, v))
        scores = numpy.exp(q @ k.swapaxes(-1, -2))
        return torch.from_numpy(scores / scores.sum(-1, keepdims=True) @ v).transpose(1, 2)

    package = types.ModuleType("flash_attn")
    package.flash_attn_func = flash_attn_func
    monkeypatch.setitem(sys.modules, "flash_attn", package)
    model = Stack(RemoteAttention())
    with torch.no_grad(), attnswitch.trace(model) as trace:
        for _ in range(3):
            model(hidden_states())
    assert found(trace) == [("layers.0", "prefill", None, "unobserved", 3)]


@pytest.mark.parametrize("turned", [False, True])
def test_flash_in_the_language_model_and_standard_in_the_tower(turned):
    kinds = (EagerAttention(), SdpaAttention())
    model = Llava(*(reversed(kinds) if turned else kinds))
    with torch.inference_mode(), attnswitch.trace(model) as trace:
        for _ in range(3):
            model(hidden_states())
    tower, decoder = ("flash", "eager") if turned else ("eager", "flash")
    assert [(r.site, r.role, r.phase, r.backend, r.calls) for r in trace.receipts] == [
        ("vision_tower.layers.0", "vision_tower", "vision", tower, 3),
        ("language_model.layers.0", "language_model", "prefill", decoder, 3),
    ]
