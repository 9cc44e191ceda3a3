"""After the block exactly nothing remains; in it, memory stays flat."""

from __future__ import annotations

import gc
import os
import resource
import sys
import threading
import weakref
from pathlib import Path

import pytest
import torch

import attnswitch
from attnswitch import barrier, guard
from attnswitch.tracing import profiling, taps
from tests.core import tiny_llava
from tests.tracing.small_models import FLASH, SdpaAttention, Stack, hidden_states


def own_hooks(module) -> dict:
    """Every table of hooks that a module has, by its own names for them."""
    return {name: list(value.items()) for name, value in vars(module).items()
            if name.endswith(("_hooks", "_with_kwargs", "_always_called"))}  # fmt: skip


def state_of(model) -> dict:
    """Everything that a trace touches, and what it has no business touching."""
    import torch._dynamo.eval_frame as eval_frame
    from transformers import PreTrainedModel

    everywhere = torch.nn.modules.module
    return {
        "hooks": [own_hooks(m) for m in model.modules()],
        "hooks on all modules": {name: list(value.items()) for name, value in
                                 vars(everywhere).items() if name.startswith("_global_")
                                 and hasattr(value, "items")},
        "attributes": [sorted(vars(m)) for m in model.modules()],
        "calls": [(type(m).__call__, m.forward) for m in model.modules()],
        "functions": [vars(torch.nn.functional)["scaled_dot_product_attention"],
                      torch._C._nn.scaled_dot_product_attention,
                      torch._ops.OpOverload.__call__, torch._ops.OpOverloadPacket.__call__],
        "engine": torch.autograd._engine_run_backward,
        "compile": torch.compile,
        "compiler": dict(vars(torch._dynamo.callback_handler)),
        "compiled modules": eval_frame.OptimizedModule.__call__,
        "encoder layers": "__call__" in vars(torch.nn.TransformerEncoderLayer),
        "compiled generation": PreTrainedModel.get_compiled_call,
        "listeners": (list(taps._listeners), list(taps._undo), list(guard.on_pass)),
        "guard": (guard._users, list(barrier._standing), list(barrier._undo),
                  torch._ops._OpNamespace.__getattr__, set(vars(torch.ops)), guard.describe_site),
        "kernels": [torch._C._dispatch_dump(name) for name in
                    ("aten::scaled_dot_product_attention", FLASH)],
        "modes": (torch._C._len_torch_dispatch_stack(), torch._C._len_torch_function_stack(),
                  torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "profiler": (torch.autograd._profiler_enabled(), profiling._lock.locked(),
                     profiling._running),
        "python's own": (sys.gettrace(), sys.getprofile(), list(sys.meta_path)),
        "variables": dict(os.environ),
        "threads": threading.active_count(),
    }  # fmt: skip


@pytest.mark.parametrize("how", ["cleanly", "by an exception", "by an exception in a site"])
def test_nothing_remains(how):
    model = tiny_llava.build()
    inputs = tiny_llava.inputs()
    model(**inputs, labels=inputs["input_ids"])  # the model keeps its loss function from here on
    before = state_of(model)

    def fail(*_):
        raise ZeroDivisionError

    try:
        with attnswitch.trace(model):
            assert state_of(model)["hooks"] != before["hooks"]
            model(**inputs, labels=inputs["input_ids"]).loss.backward()
            if how == "by an exception":
                raise ZeroDivisionError
            if how == "by an exception in a site":
                model.model.language_model.layers[0].self_attn.q_proj.forward = fail
                model(**inputs)
    except ZeroDivisionError:
        pass
    vars(model.model.language_model.layers[0].self_attn.q_proj).pop("forward", None)
    assert state_of(model) == before


def test_the_model_is_free_to_go():
    model = Stack(SdpaAttention())
    gone = weakref.ref(model.layers[0])
    with attnswitch.trace(model) as trace:
        model(hidden_states()).sum().backward()
    receipts = trace.receipts
    del model, trace
    gc.collect()
    assert gone() is None
    assert receipts


def test_it_leaves_no_variable_behind(monkeypatch):
    monkeypatch.delenv("KINETO_LOG_LEVEL", raising=False)
    before = dict(os.environ)
    with attnswitch.trace(Stack(SdpaAttention())) as trace:
        trace.model(hidden_states())
    assert dict(os.environ) == before


@pytest.mark.parametrize("what", ["a hook", "a variable", "a wrapped engine", "a kernel"])
def test_what_stays_would_be_found(what, monkeypatch):
    model = Stack(SdpaAttention())
    before = state_of(model)
    library = None
    if what == "a hook":
        model.layers[0].register_full_backward_hook(lambda *_: None)
    elif what == "a variable":
        monkeypatch.setenv("ATTNSWITCH_LEFT_BEHIND", "1")
    elif what == "a wrapped engine":
        engine = torch.autograd._engine_run_backward
        monkeypatch.setattr(torch.autograd, "_engine_run_backward", lambda *a, **k: engine(*a, **k))
    else:
        library = torch.library.Library("aten", "IMPL")
        library.impl("_scaled_dot_product_flash_attention_for_cpu", lambda *_: None, "CPU",
                     allow_override=True)  # fmt: skip
    found = state_of(model) != before
    if library is not None:
        library._destroy()
    assert found


def test_traces_may_overlap_in_any_order():
    model = Stack(SdpaAttention())
    before = state_of(model)
    first, second = attnswitch.trace(model), attnswitch.trace(model)
    first.__enter__()
    second.__enter__()
    model(hidden_states()).sum().backward()
    first.__exit__(None, None, None)
    model(hidden_states()).sum().backward()
    second.__exit__(None, None, None)
    assert state_of(model) == before
    assert {r.family for r in first.receipts} <= {"flash", None}  # one profiler for two
    assert {r.calls for r in second.receipts if r.phase == "prefill"} == {2}


def objects_after(model, trace, passes) -> int:
    with torch.inference_mode():
        for rows in range(passes):
            model(hidden_states(rows % 50 + 1))
    gc.collect()
    return len(gc.get_objects())


def test_memory_stays_flat_over_many_passes():
    """Ten times as many passes, of ever other lengths, leave no more objects behind."""
    model = Stack(SdpaAttention()).eval()
    with attnswitch.trace(model) as trace:
        few = objects_after(model, trace, 50)
        many = objects_after(model, trace, 500)
    assert many - few < 200
    assert sum(r.calls for r in trace.receipts) == 550
    assert len(trace.receipts) == 2


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def growth(decode, first, more) -> tuple[int, int]:
    """Objects and resident bytes that are held more after `more` tokens than after `first`."""
    for _ in range(first):
        decode()
    gc.collect()
    objects, resident = sys.getallocatedblocks(), resident_bytes()
    for _ in range(more):
        decode()
    gc.collect()
    return sys.getallocatedblocks() - objects, resident_bytes() - resident


def test_twelve_thousand_tokens_leave_memory_flat():
    """Not one object in ten tokens; the bound on the process leaves room for its allocator."""
    model, token = Stack(SdpaAttention()).eval(), hidden_states(1)
    with torch.inference_mode(), attnswitch.trace(model) as trace:
        objects, resident = growth(lambda: model(token), 2_000, 10_000)
    assert objects < 1_000
    assert resident < 16 * 2**20
    assert [(r.phase, r.calls) for r in trace.receipts] == [("decode", 12_000)]


def test_a_leak_would_be_found(monkeypatch):
    """A single number kept for each token."""
    from attnswitch.tracing.ledger import Ledger

    kept, add = [], Ledger.add
    leak = lambda ledger, call: (kept.append(float(len(kept))), add(ledger, call))  # noqa: E731
    monkeypatch.setattr(Ledger, "add", leak)
    model, token = Stack(SdpaAttention()).eval(), hidden_states(1)
    with torch.inference_mode(), attnswitch.trace(model):
        objects, _ = growth(lambda: model(token), 200, 2_000)
    assert objects > 1_000


@pytest.mark.slow
def test_twelve_thousand_tokens_of_a_llava_leave_memory_flat():
    """Each decoded over the same cache, as `generate` decodes, by the model's own code."""
    model = tiny_llava.build().model.language_model
    prompt = torch.arange(1, 9)[None]
    with torch.inference_mode(), attnswitch.trace(model) as trace:
        cache = model(input_ids=prompt, use_cache=True).past_key_values

        def decode() -> None:
            model(input_ids=prompt[:, :1], past_key_values=cache, use_cache=True)
            cache.crop(-1)

        objects, resident = growth(decode, 2_000, 10_000)
    assert objects < 1_000
    assert resident < 16 * 2**20
    assert {r.calls for r in trace.receipts if r.phase == "decode"} == {12_000}


def test_a_trace_may_be_entered_again():
    model = Stack(SdpaAttention()).eval()
    trace = attnswitch.trace(model)
    for _ in range(3):
        with trace, torch.inference_mode():
            model(hidden_states())
        with torch.inference_mode():
            model(hidden_states())
    assert [r.calls for r in trace.receipts] == [3]
