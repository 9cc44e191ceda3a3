"""Attention inside an operator that nothing sees into, named by its output, or not at all."""

from __future__ import annotations

import threading

import pytest
import torch
from torch.nn import functional

import attnswitch
from attnswitch import guard
from attnswitch.backends import attend_with
from attnswitch.tracing import fingerprint
from tests.tracing.small_models import EagerAttention, Stack, found, hidden_states
from tests.tracing.test_remains import state_of


def _on_a_thread(work):
    """A kernel that the profiler of the calling thread is blind to."""
    results = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    return results[0]


def _attend(q, k, v, kind):
    with torch.no_grad():
        if kind == "almost math":
            return attend_with("math")(q, k, v) + 1e-6
        return attend_with(kind)(q, k, v)


_library = torch.library.Library("unseen_attention_of_tests", "DEF")
_library.define("attend(Tensor q, Tensor k, Tensor v, str kind) -> Tensor")
_library.impl(
    "attend",
    lambda q, k, v, kind: _on_a_thread(lambda: _attend(q, k, v, kind)),
    "CompositeExplicitAutograd",
)


class UnseenAttention(EagerAttention):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def attend(self, q, k, v):
        return torch.ops.unseen_attention_of_tests.attend(q, k, v, self.kind)


def watch(kind, times=5, rows=6, **options):
    model = Stack(UnseenAttention(kind))
    with torch.inference_mode(), attnswitch.trace(model) as trace:
        for _ in range(times):
            model(hidden_states(rows))
    return trace


def test_the_output_tells_the_backend():
    """Passes 1, 2 and 4 are profiled; between them what goes in and out is looked at."""
    trace = watch("math")
    assert found(trace) == [
        ("layers.0", "prefill", None, "unobserved", 2),
        ("layers.0", "prefill", "math", "fingerprint", 3),
    ]
    assert trace.receipts[1].executed is None


def test_an_output_that_is_nearly_it_tells_nothing():
    assert found(watch("almost math")) == [("layers.0", "prefill", None, "unobserved", 5)]


def test_an_output_that_several_backends_give_tells_nothing():
    """One key: every backend returns its value."""
    assert found(watch("math", rows=1)) == [("layers.0", "decode", None, "unobserved", 5)]


def test_flash_is_counted_once_and_its_comparison_never():
    trace = watch("flash")
    assert {(r.site, r.family, r.evidence, r.calls) for r in trace.receipts} == {
        (None, "flash", "op", 5),
        ("layers.0", None, "unobserved", 5),
    }
    before = guard.passed.total()
    watch("math")
    assert guard.passed.total() == before


def test_another_kernel_is_told_when_it_is_looked_at_again():
    """Pass 8 is profiled again, and so pass 9 is looked at again."""
    model = Stack(UnseenAttention("math"))
    with torch.inference_mode(), attnswitch.trace(model) as trace:
        for number in range(1, 13):
            model.layers[0].kind = "math" if number < 8 else "almost math"
            model(hidden_states())
    assert {(r.backend, r.evidence, r.calls) for r in trace.receipts} == {
        (None, "unobserved", 2 + 4), ("math", "fingerprint", 6),
    }  # fmt: skip


def test_under_the_guard_flash_is_not_tried():
    with attnswitch.forbid("flash"):
        trace = watch("math")
    assert found(trace)[-1] == ("layers.0", "prefill", "math", "guarded", 3)
    assert not guard.tripped


def test_somebody_else_profiles():
    with torch.profiler.profile():
        assert found(watch("math"))[-1] == ("layers.0", "prefill", "math", "fingerprint", 4)


def test_nothing_stays_where_calls_are_caught():
    model = Stack(UnseenAttention("math"))
    before = state_of(model), torch._ops.OpOverload.__call__, torch._ops.OpOverloadPacket.__call__
    with torch.inference_mode(), attnswitch.trace(model):
        model(hidden_states())
        model(hidden_states())
        model.layers[0].kind = None
        with pytest.raises(RuntimeError):
            model(hidden_states())
    after = state_of(model), torch._ops.OpOverload.__call__, torch._ops.OpOverloadPacket.__call__
    assert after == before


@pytest.mark.parametrize("layout", ["heads first", "tokens first"])
@pytest.mark.parametrize("causal", [False, True])
def test_layout_and_causal_masks_are_found_out(layout, causal):
    q, k, v = (torch.randn(1, 2, 7, 8) for _ in range(3))
    out = functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
    given = [t.transpose(1, 2) if layout == "tokens first" else t for t in (q, k, v, out)]
    assert fingerprint.backend_of(tuple(given[:3]), {}, (given[3], None)) == "flash"


@pytest.mark.parametrize("wrong", ["no mask", "other scale", "too many scores"])
def test_it_can_fail(wrong, monkeypatch):
    q, k, v = (torch.randn(1, 2, 7, 8) for _ in range(3))
    mask = torch.randn(7, 7) if wrong == "no mask" else None
    scale = 0.2 if wrong == "other scale" else None
    out = functional.scaled_dot_product_attention(q, k, v, mask, scale=scale)
    known = {} if mask is None and scale is None else {"attn_mask": mask, "scale": scale}
    assert fingerprint.backend_of((q, k, v), known, out) == "flash"
    if wrong == "too many scores":
        monkeypatch.setattr(fingerprint, "MOST_SCORES", 10)
    assert fingerprint.backend_of((q, k, v), {}, out) is None
