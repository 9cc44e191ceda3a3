"""Models that hide their attention from tracing: the right receipt or none, never a wrong one."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional

import attnswitch
from tests.tracing.small_models import (
    FLASH,
    WIDTH,
    EagerAttention,
    SdpaAttention,
    Stack,
    found,
    hidden_states,
)  # fmt: skip


class ThreadedAttention(SdpaAttention):
    """Computes its attention on a thread of its own."""

    def attend(self, q, k, v):
        results = []
        grad = torch.is_grad_enabled()

        def work():
            with torch.set_grad_enabled(grad):
                results.append(super(ThreadedAttention, self).attend(q, k, v))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return results[0]


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v):
        ctx.save_for_backward(q, k, v)
        return functional.scaled_dot_product_attention(q, k, v)

    @staticmethod
    def backward(ctx, grad):
        with torch.enable_grad():
            inputs = [x.detach().requires_grad_() for x in ctx.saved_tensors]
            output = functional.scaled_dot_product_attention(*inputs)
        return torch.autograd.grad(output, inputs, grad)


class FunctionAttention(EagerAttention):
    """Hides attention in an autograd.Function, whose backward computes it again."""

    def attend(self, q, k, v):
        return _Function.apply(q, k, v)


_library = torch.library.Library("hidden_attention_of_tests", "DEF")
_library.define("attend(Tensor q, Tensor k, Tensor v, bool in_numpy) -> Tensor")


def _hidden(q, k, v, in_numpy):
    if not in_numpy:
        return functional.scaled_dot_product_attention(q, k, v)
    import numpy

    q, k, v = (x.numpy() for x in (q, k, v))
    scores = numpy.exp(q @ k.swapaxes(-1, -2))
    return torch.from_numpy(scores / scores.sum(-1, keepdims=True) @ v)


_library.impl("attend", _hidden, "CompositeExplicitAutograd")


class OperatorAttention(EagerAttention):
    """Hides attention in an operator of its own."""

    def __init__(self, in_numpy):
        super().__init__()
        self.in_numpy = in_numpy

    def attend(self, q, k, v):
        return torch.ops.hidden_attention_of_tests.attend(q, k, v, self.in_numpy)


class GatedAttention(ThreadedAttention):
    """Attention elsewhere, and a gate's softmax between two projections as a decoy."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(WIDTH, WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, hidden):
        return self.out(torch.softmax(self.gate(super().forward(hidden)), dim=-1))


class WeightedGateAttention(ThreadedAttention):
    """The same decoy without projection modules: products with weights, by hand."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Parameter(torch.randn(WIDTH, WIDTH))
        self.out = nn.Parameter(torch.randn(WIDTH, WIDTH))

    def forward(self, hidden):
        return torch.softmax(super().forward(hidden) @ self.gate, dim=-1) @ self.out


def watch(model, times=3):
    with torch.no_grad(), attnswitch.trace(model) as trace:
        for _ in range(times):
            model(hidden_states())
    return trace


@pytest.mark.parametrize("layer", [ThreadedAttention, GatedAttention, WeightedGateAttention])
def test_on_a_thread(layer):
    trace = watch(Stack(layer()))
    assert found(trace) == [
        (None, "prefill", "flash", "op", 3),
        ("layers.0", "prefill", None, "unobserved", 3),
    ]


def test_on_a_thread_of_a_switched_model():
    with attnswitch.use("standard"):
        trace = watch(Stack(ThreadedAttention()))
    assert [(r.family, r.evidence) for r in trace.receipts] == [(None, "guarded")]
    assert trace.receipts[0].executed is None


def test_inside_an_autograd_function():
    model = Stack(FunctionAttention())
    with attnswitch.trace(model) as trace:
        for _ in range(3):
            model(hidden_states(requires_grad=True)).sum().backward()
    by_phase = {r.phase: r for r in trace.receipts}
    assert {(r.phase, r.family) for r in trace.receipts} == {
        ("prefill", "flash"), ("backward", "flash"),
    }  # fmt: skip
    assert by_phase["prefill"].site == "layers.0"
    assert FLASH in by_phase["backward"].executed


def test_inside_its_own_operator():
    trace = watch(Stack(OperatorAttention(in_numpy=False)))
    assert found(trace) == [("layers.0", "prefill", "flash", "op", 3)]


def test_outside_torch_it_is_unobserved():
    trace = watch(Stack(OperatorAttention(in_numpy=True)))
    assert found(trace) == [("layers.0", "prefill", None, "unobserved", 3)]


def test_a_kernel_that_changes_between_looks_is_noticed():
    """Passes 3 and 5 to 7 are not profiled; the count at the operator contradicts the guess."""

    class FickleAttention(SdpaAttention):
        calls = 0

        def attend(self, q, k, v):
            self.calls += 1
            if self.calls in (3, 6):
                return EagerAttention.attend(self, q, k, v)
            return super().attend(q, k, v)

    trace = watch(Stack(FickleAttention()), times=9)
    calls = {r.backend: r.calls for r in trace.receipts}
    assert calls["flash"] == 7
    assert calls.get(None, 0) + calls.get("eager", 0) == 2


def test_sites_that_swap_their_kernels_are_not_taken_for_each_other():
    """Pass 3 is not profiled, and holds as many flash kernels as ever: at the other site."""

    class SwappingAttention(SdpaAttention):
        calls = 0

        def __init__(self, *flash_in):
            super().__init__()
            self.flash_in = flash_in

        def attend(self, q, k, v):
            self.calls += 1
            kind = SdpaAttention if self.calls in self.flash_in else EagerAttention
            return kind.attend(self, q, k, v)

    trace = watch(Stack(SwappingAttention(1, 2), SwappingAttention(3)))
    assert sorted(found(trace), key=str) == [
        ("layers.0", "prefill", "flash", "op", 2),
        ("layers.0", "prefill", None, "unobserved", 1),
        ("layers.1", "prefill", "eager", "op", 2),
        ("layers.1", "prefill", "flash", "op", 1),
    ]


def test_another_model_beside_it_is_not_ours():
    """On its own thread, while the watched one runs standard attention."""
    watched, other = Stack(EagerAttention()), Stack(SdpaAttention())

    def work():
        with torch.no_grad():
            other(hidden_states())

    def beside(*_):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    watched.layers[0].q.register_forward_hook(beside)
    trace = watch(watched)
    assert found(trace) == [("layers.0", "prefill", "eager", "op", 3)]


def test_requests_and_settings_that_change_inside_the_block():
    model = Stack(SdpaAttention())
    with torch.no_grad(), attnswitch.trace(model) as trace:
        for _ in range(5):
            model(hidden_states())
        with attnswitch.use("math"):
            for _ in range(3):
                model(hidden_states())
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            for _ in range(3):
                model(hidden_states())
    assert {r.backend: r.calls for r in trace.receipts} == {"flash": 5, "math": 6}


def test_while_somebody_profiles_flash_is_still_counted():
    model = Stack(SdpaAttention())
    with torch.profiler.profile() as profile:
        trace = watch(model)
    assert found(trace) == [("layers.0", "prefill", "flash", "op", 3)]
    assert any(event.name == FLASH for event in profile.events())


def test_two_threads_run_the_model_at_once():
    model = Stack(SdpaAttention(), EagerAttention())
    with attnswitch.trace(model) as trace:

        def work():
            with torch.no_grad():
                for _ in range(20):
                    model(hidden_states())

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    calls = {}
    for receipt in trace.receipts:
        calls.setdefault(receipt.site, []).append((receipt.backend, receipt.calls))
    assert calls["layers.0"] == [("flash", 40)]
    assert sum(n for _, n in calls["layers.1"]) == 40
    assert {backend for backend, _ in calls["layers.1"]} <= {"eager", None}
