"""Every way that code comes to SDPA is switched, or ends at the guard: never another kernel."""

from __future__ import annotations

import threading

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention as imported_early

import attnswitch
from attnswitch.errors import ForbiddenError, UnavailableError
from tests.seams.kernels import BLOCKWISE, FAST_PATH, FLASH, MATH, attend, kernels, query


def early(q):
    return imported_early(q, q, q)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("call", [attend, early], ids=["attribute", "imported early"])
def test_names_and_gradient_modes(mode, call):
    q = query()
    with mode():
        assert kernels(call, q) == {FLASH}
        with attnswitch.use("standard"):
            assert kernels(call, q) == {BLOCKWISE}
        assert kernels(call, q) == {FLASH}


def test_other_threads():
    seen = []
    with attnswitch.use("math"):
        thread = threading.Thread(target=lambda: seen.append(kernels(attend, query())))
        thread.start()
        thread.join()
    assert seen == [{MATH}]


@pytest.fixture(scope="module")
def encoder():
    layer = torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    return torch.nn.TransformerEncoder(layer, 1).eval()


@pytest.fixture(scope="module")
def multihead():
    return torch.nn.MultiheadAttention(16, 2, batch_first=True).eval()


def test_the_encoders_fast_path_is_closed_and_opened_again(encoder):
    hidden = torch.randn(2, 8, 16)
    with torch.inference_mode():
        before = encoder(hidden)
        assert kernels(encoder, hidden) == set(FAST_PATH)
        with attnswitch.use("standard"):
            assert kernels(encoder, hidden) == {BLOCKWISE}
            assert torch.allclose(encoder(hidden), before, atol=1e-5)
        assert kernels(encoder, hidden) == set(FAST_PATH)


def test_multihead_attention_with_and_without_its_fast_path(multihead):
    hidden = torch.randn(2, 8, 16)

    def call():
        return multihead(hidden, hidden, hidden, need_weights=False)

    with torch.inference_mode(), attnswitch.use("standard"):
        assert kernels(call) == {BLOCKWISE}
    with attnswitch.use("standard"):
        assert kernels(call) == {BLOCKWISE}


@pytest.mark.parametrize("request_word", ["standard", "flash"])
def test_a_switched_models_multihead_attention_leaves_the_fast_path_to_others(request_word):
    """As in open_clip's tower: with the batch first, by `apply`."""
    one, other = (torch.nn.MultiheadAttention(16, 2, batch_first=True).eval() for _ in range(2))
    hidden = torch.randn(2, 8, 16)

    def call(module):
        return module(hidden, hidden, hidden, need_weights=False)

    with torch.inference_mode():
        before = kernels(call, other)
        assert before == kernels(call, one) and not before & {BLOCKWISE, FLASH}
        plan = attnswitch.apply(one, request_word)
        assert kernels(call, one) == {BLOCKWISE if request_word == "standard" else FLASH}
        assert kernels(call, other) == before
        plan.undo()
        assert kernels(call, one) == before


def test_auto_leaves_the_fast_path_as_the_project_has_it(encoder):
    with torch.inference_mode(), attnswitch.use("auto"):
        assert kernels(encoder, torch.randn(2, 8, 16)) == set(FAST_PATH)


def test_vmap_passes_the_operator_by_and_meets_the_guard():
    batch = torch.randn(3, 2, 2, 8, 16)
    assert kernels(torch.func.vmap(attend), batch) == {FLASH}
    with attnswitch.use("standard"), pytest.raises(ForbiddenError, match="asking for 'standard'"):
        torch.func.vmap(attend)(batch)


def test_per_sample_gradients_are_refused_by_name_and_run_under_math():
    per_sample = torch.func.vmap(torch.func.grad(lambda q: attend(q).sum()))
    batch = torch.randn(3, 2, 2, 8, 16)
    expected = per_sample(batch)
    with attnswitch.use("standard"), pytest.raises(UnavailableError, match="Ask for 'math'"):
        per_sample(batch)
    with attnswitch.use("math"):
        assert torch.allclose(per_sample(batch), expected, atol=1e-5)


def test_a_direct_call_of_the_kernel_meets_the_guard():
    q = query().detach()
    with attnswitch.use("standard"), pytest.raises(ForbiddenError, match="standard"):
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, q, q)


@pytest.mark.parametrize("key", ["MPS", "AutogradMPS", "XPU", "HPU", "PrivateUse1"])
def test_on_other_devices_a_request_is_an_error(key):
    """By the dispatch key of a device that is not here, with tensors of a CPU."""

    def call():
        q = query().detach()
        operator = torch.ops.aten.scaled_dot_product_attention.default
        return operator._op_dk(getattr(torch._C.DispatchKey, key), q, q, q, is_causal=True)

    with attnswitch.use("auto"):
        assert kernels(call) == {FLASH}, "left as it is"
    with attnswitch.use("standard"), pytest.raises(UnavailableError, match="CPU and CUDA devices"):
        call()


def nested(layout):
    parts = [torch.randn(n, 2, 16) for n in (5, 3)]
    if layout is torch.jagged:
        return torch.nested.nested_tensor(parts, layout=layout).transpose(1, 2)
    return torch.nested.nested_tensor([part.transpose(0, 1) for part in parts])


@pytest.mark.parametrize("layout", [torch.jagged, torch.strided], ids=str)
def test_nested_tensors_pass_the_operator_by_and_run_standard_attention(layout):
    """PyTorch has no FlashAttention for them on a CPU; on a GPU it would meet the guard."""
    q = nested(layout)
    with attnswitch.use("standard"):
        assert kernels(imported_early, q, q, q) == {MATH}


def test_packed_attention_of_pytorch_meets_the_guard():
    varlen = pytest.importorskip("torch.nn.attention.varlen")
    q, ends = torch.randn(8, 2, 16), torch.tensor([0, 5, 8], dtype=torch.int32)
    with attnswitch.use("standard"), pytest.raises(ForbiddenError, match="asking for 'standard'"):
        varlen.varlen_attn(q, q, q, ends, ends, 5, 5)
