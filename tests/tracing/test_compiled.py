"""Compiled models: the true kernel is told, and what is compiled stays what it was."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.utils import counters

import attnswitch
from tests.tracing.small_models import (
    FLASH,
    EagerAttention,
    SdpaAttention,
    Stack,
    found,
    hidden_states,
)  # fmt: skip


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def compiled_graphs() -> int:
    return counters["stats"]["unique_graphs"]


def run(model, times=1):
    with torch.inference_mode():
        for _ in range(times):
            model(hidden_states())


def test_refused_flash_in_a_compiled_eager_model_is_seen():
    model = Stack(EagerAttention(), EagerAttention()).eval()
    compiled = torch.compile(model)
    with attnswitch.trace(compiled) as trace:
        run(compiled, 3)
    assert found(trace) == [(None, "prefill", "flash", "op", 6)]
    assert trace.receipts[0].executed == [FLASH]
    assert compiled_graphs() == 1


def test_tracing_changes_nothing_of_what_is_compiled():
    """Compiled inside or after: one graph and no break, also where the model itself is traced."""
    model = Stack(EagerAttention()).eval()
    compiled = torch.compile(model, fullgraph=True)
    with attnswitch.trace(model) as trace:
        run(compiled, 2)
    run(compiled)
    with attnswitch.trace(compiled):
        run(compiled)
    assert found(trace) == [("layers.0", "prefill", "flash", "op", 2)]
    assert compiled_graphs() == 1
    assert not counters["graph_break"]


def test_a_switched_model_shows_no_flash_once_compiled():
    model = Stack(EagerAttention(), SdpaAttention()).eval()
    with attnswitch.use("standard"):
        compiled = torch.compile(model)
        with attnswitch.trace(compiled) as trace:
            run(compiled, 2)
    assert "flash" not in {r.family for r in trace.receipts}
    assert "blockwise" in {r.backend for r in trace.receipts}
    assert {r.evidence for r in trace.receipts} == {"guarded"}


def test_a_compiled_part_is_told_apart_from_the_rest():
    model = Stack(SdpaAttention(), torch.compile(SdpaAttention())).eval()
    with attnswitch.trace(model) as trace:
        run(model, 2)
    assert {(site.removesuffix("._orig_mod"), *rest) for site, *rest in found(trace)} == {
        ("layers.0", "prefill", "flash", "op", 2),
        ("layers.1", "prefill", "flash", "op", 2),
    }


def test_a_module_compiled_in_place():
    model = Stack(SdpaAttention()).eval()
    model.compile()
    before = model._compiled_call_impl
    with attnswitch.trace(model) as trace:
        run(model, 2)
    assert found(trace) == [("layers.0", "prefill", "flash", "op", 2)]
    assert model._compiled_call_impl is before
    assert compiled_graphs() == 1


def test_compiled_arithmetic_that_is_not_fused_is_unobserved():
    """Inductor melts a softmax into kernels of its own: nothing names it, so nothing is named."""

    class OddAttention(EagerAttention):
        def attend(self, q, k, v):
            scores = torch.tanh(q @ k.transpose(-1, -2))
            return torch.softmax(scores, dim=-1) @ v

    compiled = torch.compile(Stack(OddAttention()).eval())
    with attnswitch.trace(compiled) as trace:
        run(compiled)
    assert found(trace) == [("layers.0", "prefill", None, "unobserved", 1)]


def test_backward_of_compiled_code_has_no_site():
    model = Stack(SdpaAttention(), SdpaAttention())
    compiled = torch.compile(model)
    with attnswitch.trace(compiled) as trace:
        compiled(hidden_states(requires_grad=True)).sum().backward()
    assert [(r.site, r.phase, r.family, r.calls) for r in trace.receipts] == [
        (None, "prefill", "flash", 2),
        (None, "backward", "flash", 2),
    ]


@pytest.mark.parametrize("compiled_before", [False, True])
def test_a_compiled_function_that_calls_the_model(compiled_before):
    """Its frames are no module's: FlashAttention is noticed, and nothing is compiled anew."""
    model = Stack(EagerAttention(), SdpaAttention()).eval()
    answer = torch.compile(lambda hidden: model(hidden))
    with torch.inference_mode():
        if compiled_before:
            answer(hidden_states())
        with attnswitch.trace(model) as trace:
            answer(hidden_states())
            answer(hidden_states())
        answer(hidden_states())
    assert found(trace) == [(None, "prefill", "flash", "op", 4)]
    assert compiled_graphs() == 1


def test_attention_compiled_inside_a_site_is_the_sites():
    """Arithmetic on stand-ins, while it is compiled in the profiled pass, is no attention."""

    class CompiledAttention(EagerAttention):
        def __init__(self, fused):
            super().__init__()
            function = EagerAttention.attend if fused else _odd
            self.attend = torch.compile(lambda *qkv: function(None, *qkv))

    for fused, told in ((True, ("flash", "op")), (False, (None, "unobserved"))):
        with torch.inference_mode(), attnswitch.trace(Stack(CompiledAttention(fused))) as trace:
            for _ in range(3):
                trace.model(hidden_states())
        assert found(trace) == [("layers.0", "prefill", *told, 3)]


def _odd(_, q, k, v):
    return torch.softmax(torch.tanh(q @ k.transpose(-1, -2)), dim=-1) @ v


def test_the_compiler_is_left_as_it_was():
    handler = torch._dynamo.callback_handler
    before = dict(vars(handler))
    with attnswitch.trace(Stack(SdpaAttention())):
        assert vars(handler) != before
        with attnswitch.use("standard"):  # forgets compiled code, and the compiler's callbacks
            pass
    assert vars(handler) == before
