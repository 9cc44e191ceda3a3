"""Kernels of a GPU reach the receipts, at the site that launched them: on made-up events."""

from __future__ import annotations

import pytest
import torch

import attnswitch
from attnswitch.tracing import profiling
from attnswitch.tracing.events import RANGE_PREFIX, attention_in
from tests.tracing.made_up import Device, Raw, kernel
from tests.tracing.small_models import FLASH, SdpaAttention, Stack, hidden_states

NODE = "autograd::engine::evaluate_function: FlashAttnFuncBackward"
SITE = f"{RANGE_PREFIX}prefill:layers.0"
OTHER = f"{RANGE_PREFIX}prefill:layers.1"
FLASH_2 = "void pytorch_flash::flash_fwd_splitkv_kernel<T>(pytorch_flash::Flash_fwd_params)"
COMBINE = "void pytorch_flash::flash_fwd_splitkv_combine_kernel<T>(P)"
FLASH_4 = "kernel_cutlass_kernel_flash_attncuteflash_fwd_sm100FlashAttentionForwardSm100_object"
TRITON = "_attn_fwd"
CUDNN = "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_kernel0_0"
BWD = "void flash::flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel<T>(P)"
BWD_HELPERS = ["void flash::flash_bwd_dot_do_o_kernel<T>(P)",
               "void flash::flash_bwd_convert_dq_kernel<T>(P)"]  # fmt: skip
HEADS = [[1, 14, 9, 64]] * 3


def told(events, forward=None):
    return [(s.range_name, s.backend, s.family, s.names, s.kernels) for s in
            attention_in(events, forward)]  # fmt: skip


def test_an_operators_kernels_are_its_evidence():
    operator = Raw("aten::_scaled_dot_product_flash_attention", 10, 40, shapes=HEADS)
    inner = Raw("aten::_flash_attention_forward", 15, 35, shapes=HEADS)
    events = [Raw(SITE, 0, 50), operator, inner, *kernel(FLASH_2, 20, inner),
              *kernel(COMBINE, 25, inner),
              Raw(SITE, 10_000, 10_050, Device.CUDA)]  # fmt: skip
    name = "aten::_scaled_dot_product_flash_attention"
    assert told(events) == [(SITE, "flash", "flash", [name], [FLASH_2, COMBINE])]


@pytest.mark.parametrize(("name", "backend"), [(FLASH_4, "flash_attn"), (TRITON, "triton")])
def test_a_kernel_outside_every_operator_is_placed_by_its_launch(name, backend):
    """The package's own binding: only the launch says when and so where."""
    events = [Raw(SITE, 0, 50), Raw(OTHER, 60, 90), *kernel(name, 70, late=1)]
    assert told(events) == [(OTHER, backend, "flash", [], [name])]


def test_two_threads_in_ranges_leave_it_unplaced():
    events = [Raw(SITE, 0, 50), Raw(OTHER, 0, 50, thread=2), *kernel(FLASH_4, 20)]
    assert told(events) == [(None, "flash_attn", "flash", [], [FLASH_4])]


def test_a_kernel_launched_by_an_unknown_operator():
    operator = Raw("some_package::attend", 10, 40, shapes=HEADS)
    events = [Raw(SITE, 0, 50), operator, *kernel(FLASH_4, 20, operator)]
    (seen,) = attention_in(events)
    assert (seen.range_name, seen.kernels, seen.shapes) == (SITE, [FLASH_4], HEADS)
    assert seen.dtype == "bfloat16"


def test_the_kernel_overrules_the_operators_name():
    """cuDNN's kernels are FlashAttention, whatever the operator that launched them is called."""
    operator = Raw("aten::_scaled_dot_product_efficient_attention", 10, 40, shapes=HEADS)
    ((site, backend, family, _, kernels),) = told(
        [Raw(SITE, 0, 50), operator, *kernel(CUDNN, 20, operator)]
    )
    assert (site, backend, family, kernels) == (SITE, "cudnn", "flash", [CUDNN])


def test_each_backward_counts_once_beside_its_helpers():
    nodes = [Raw(NODE, 100 * i, 100 * i + 90, sequence=7 + i, forward_thread=1) for i in (1, 2)]
    forward = attention_in([
        event
        for i, site in ((1, SITE), (2, OTHER))
        for operator in [Raw("FlashAttnFunc", 10 * i + 1, 10 * i + 5, sequence=7 + i)]
        for event in (Raw(site, 10 * i, 10 * i + 9), operator,
                      *kernel(FLASH_4, 10 * i + 2, operator))
    ])  # fmt: skip
    known = {node: seen for seen in forward for node in seen.nodes}
    launches = [
        event
        for node, at in zip(nodes, (110, 210), strict=True)
        for name, later in ((BWD_HELPERS[0], 0), (BWD, 10), (BWD_HELPERS[1], 20))
        for event in kernel(name, at + later, node)
    ]
    seen = attention_in([*nodes, *launches], known)
    assert [(s.range_name, s.backward, len(s.kernels)) for s in seen] == [
        (SITE, True, 3), (OTHER, True, 3),
    ]  # fmt: skip


def test_copies_and_products_are_no_attention():
    operator = Raw("aten::bmm", 10, 40, shapes=HEADS)
    names = ["Memcpy DtoD (Device -> Device)", "ampere_bf16_s16816gemm_bf16_128x128_ldg8_f2f"]
    assert (
        told([Raw(SITE, 0, 50), operator, *(e for n in names for e in kernel(n, 20, operator))])
        == []
    )


def test_they_reach_the_receipt(monkeypatch):
    """A real pass, with a kernel added to each flash operator that the profiler saw."""
    plain = profiling.raw_events

    def with_kernels(profiler):
        events = list(plain(profiler))
        for operator in [e for e in events if e.name() == FLASH]:
            events += kernel(FLASH_2, operator.start_ns(), operator)
        return events

    monkeypatch.setattr(profiling, "raw_events", with_kernels)
    with torch.no_grad(), attnswitch.trace(Stack(SdpaAttention())) as trace:
        trace.model(hidden_states())
    (receipt,) = trace.receipts
    assert (receipt.site, receipt.family, receipt.evidence) == ("layers.0", "flash", "kernel")
    assert receipt.executed == [FLASH, FLASH_2]


def test_under_the_guard_a_kernel_it_cannot_bar_is_told(monkeypatch):
    """FlashAttention 4 registers no operator: standard was asked for, and it ran all the same."""
    plain = profiling.raw_events

    def with_kernel(profiler):
        events = list(plain(profiler))
        (site,) = [e for e in events if e.name() == SITE]
        return events + kernel(FLASH_4, site.start_ns() + 1)

    monkeypatch.setattr(profiling, "raw_events", with_kernel)
    model = Stack(SdpaAttention())
    with torch.no_grad(), attnswitch.use("standard"), attnswitch.trace(model) as trace:
        model(hidden_states())
    found = {(r.family, r.evidence) for r in trace.receipts}
    assert found == {("standard", "guarded"), ("flash", "kernel")}
