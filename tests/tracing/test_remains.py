"""After the block exactly nothing remains; in it, memory stays flat."""

from __future__ import annotations

import gc
import resource
import threading
from pathlib import Path

import pytest
import torch

import attnswitch
from attnswitch import guard
from attnswitch.tracing import a_pass, taps
from tests.core import tiny_llava
from tests.tracing.small_models import SdpaAttention, Stack, hidden_states


def state_of(model) -> dict:
    """Everything that a trace touches."""
    import torch._dynamo.eval_frame as eval_frame
    from transformers import PreTrainedModel

    return {
        "hooks": [
            (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._forward_hooks_always_called),
             len(m._forward_hooks_with_kwargs), len(m._forward_pre_hooks_with_kwargs))
            for m in model.modules()
        ],
        "attributes": [sorted(vars(m)) for m in model.modules()],
        "engine": torch.autograd._engine_run_backward,
        "compile": torch.compile,
        "compiled modules": eval_frame.OptimizedModule.__call__,
        "encoder layers": "__call__" in vars(torch.nn.TransformerEncoderLayer),
        "compiled generation": PreTrainedModel.get_compiled_call,
        "listeners": (list(taps._listeners), list(taps._undo), list(guard.on_pass)),
        "guard": (guard._users, list(guard._libraries), guard.describe_site),
        "profiler": (torch.autograd._profiler_enabled(), a_pass._profiling.locked()),
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


@pytest.mark.slow
def test_ten_thousand_decoded_tokens_leave_memory_flat():
    model, sizes = tiny_llava.build(), []
    with torch.inference_mode(), attnswitch.trace(model.model.language_model) as trace:
        for tokens in (2_000, 10_000):
            for _ in range(tokens):
                model.model.language_model(input_ids=torch.tensor([[1]]), use_cache=False)
            gc.collect()
            sizes.append(resident_bytes())
    assert sizes[1] - sizes[0] < 8 * 2**20
    assert {r.calls for r in trace.receipts} == {12_000}


def test_a_trace_may_be_entered_again():
    model = Stack(SdpaAttention()).eval()
    trace = attnswitch.trace(model)
    for _ in range(3):
        with trace, torch.inference_mode():
            model(hidden_states())
        with torch.inference_mode():
            model(hidden_states())
    assert [r.calls for r in trace.receipts] == [3]
