"""PyTorch's own attention modules, with their fast path and without."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import attnswitch
from tests.tracing.small_models import HEADS, WIDTH, Stack, found, hidden_states

FAST = "aten::_native_multi_head_attention"


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

    def forward(self, hidden):
        return self.attn(hidden, hidden, hidden, need_weights=False)[0]


@pytest.fixture
def fast_path():
    before = torch.backends.mha.get_fastpath_enabled()
    yield torch.backends.mha.set_fastpath_enabled
    torch.backends.mha.set_fastpath_enabled(before)


def test_the_fast_path_is_standard_arithmetic(fast_path):
    fast_path(True)
    model = Stack(Wrapped()).eval()
    with torch.inference_mode(), attnswitch.trace(model) as trace:
        model(hidden_states())
    assert found(trace) == [("layers.0.attn", "prefill", "eager", "op", 1)]
    assert trace.receipts[0].executed == [FAST]


def test_without_it_flash_runs(fast_path):
    model = Stack(Wrapped()).eval()
    with torch.inference_mode(), attnswitch.trace(model) as trace:
        for enabled in (True, False, False):
            fast_path(enabled)
            model(hidden_states())
    assert found(trace) == [
        ("layers.0.attn", "prefill", "eager", "op", 1),
        ("layers.0.attn", "prefill", "flash", "op", 2),
    ]


def test_an_encoder_layers_fast_path_passes_the_module_by(fast_path):
    """`self_attn` is never called, and a hook on it would close the path: neither happens."""
    fast_path(True)
    model = Stack(nn.TransformerEncoderLayer(WIDTH, HEADS, 64, batch_first=True)).eval()
    with torch.inference_mode(), attnswitch.trace(model) as trace:
        model(hidden_states())
        model(hidden_states())
    assert found(trace) == [("layers.0.self_attn", "prefill", "eager", "op", 2)]
    assert trace.receipts[0].executed == [FAST]
    with torch.inference_mode(), torch.profiler.profile() as profile, attnswitch.trace(model):
        model(hidden_states())
    assert "aten::_transformer_encoder_layer_fwd" in {event.name for event in profile.events()}


def test_switched_it_runs_standard_attention():
    model = Stack(Wrapped()).eval()
    with torch.inference_mode(), attnswitch.use("standard"), attnswitch.trace(model) as trace:
        model(hidden_states())
    assert found(trace) == [("layers.0.attn", "prefill", "blockwise", "guarded", 1)]
