"""How many calls were looked at one by one, and that two who look at once both see."""

from __future__ import annotations

import torch

import attnswitch
from attnswitch import guard
from attnswitch.report.text import trace_text
from tests.tracing.small_models import EagerAttention, SdpaAttention, Stack, found, hidden_states


def watch(model, times=9):
    with torch.no_grad(), attnswitch.trace(model) as trace:
        for _ in range(times):
            model(hidden_states())
    return trace


def test_passes_between_looks_are_told_from_those_looked_at():
    """Passes 1, 2, 4 and 8 are profiled."""
    trace = watch(Stack(EagerAttention()))
    (receipt,) = trace.receipts
    assert (receipt.evidence, receipt.calls, receipt.seen) == ("op", 9, 4)
    text = trace_text(trace.to_json())
    assert "(seen by the profiler in 4 of 9 calls)" in text
    assert text.startswith(
        "FlashAttention is off: at 0 of 1 site, each one seen; between looks its operators were "
        "counted: none.\n"
    )


def test_flash_attention_is_counted_in_every_pass():
    trace = watch(Stack(SdpaAttention()))
    (receipt,) = trace.receipts
    assert (receipt.evidence, receipt.calls, receipt.seen) == ("op", 9, 9)
    assert "(seen by the profiler)" in trace_text(trace.to_json())


def test_where_it_cannot_be_counted_calls_between_looks_are_inferred(monkeypatch):
    """As with an older torch: then nothing says that FlashAttention did not run there."""
    monkeypatch.setattr(guard, "can_pass_through", lambda: False)
    trace = watch(Stack(EagerAttention()))
    assert found(trace) == [("layers.0", "prefill", "eager", "inferred", 9)]
    assert trace_text(trace.to_json()).startswith("FlashAttention is not known: ")
    assert [r.evidence for r in watch(Stack(EagerAttention()), times=2).receipts] == ["op"]


def test_two_traces_at_once_both_see():
    """PyTorch has room for one profiler: the inner trace takes a share in the outer one's."""
    model = Stack(SdpaAttention(), EagerAttention())
    expected = [
        ("layers.0", "prefill", "flash", "op", 3),
        ("layers.1", "prefill", "eager", "op", 3),
    ]
    with torch.no_grad(), attnswitch.trace(model) as outer, attnswitch.trace(model) as inner:
        for _ in range(3):
            model(hidden_states())
    assert found(outer) == found(inner) == expected
    assert [r.seen for r in inner.receipts] == [r.seen for r in outer.receipts]


def test_a_trace_of_a_part_sees_its_own_sites_alone():
    model = Stack(SdpaAttention(), EagerAttention())
    with torch.no_grad(), attnswitch.trace(model), attnswitch.trace(model.layers[1]) as inner:
        for _ in range(3):
            model(hidden_states())
    assert [(r.site, r.backend, r.calls) for r in inner.receipts] == [(None, "eager", 3)]


def test_a_trace_inside_a_profiled_block_reads_its_own_time():
    model = Stack(EagerAttention())
    with torch.no_grad(), attnswitch.trace() as block:
        model(hidden_states())
        with attnswitch.trace(model) as inner:
            model(hidden_states())
        assert inner.receipts == []  # until the block's profile can be read
        model(hidden_states())
    assert found(inner) == [("layers.0", "prefill", "eager", "op", 1)]
    assert sum(r.calls for r in block.receipts) == 3
