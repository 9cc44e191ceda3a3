"""The table of names: what each proves, and what proves nothing."""

from __future__ import annotations

import pytest
import torch

from attnswitch.operators import OPERATORS, what_ran
from attnswitch.tracing.kernels import what_kernel

HUB = [
    ("_flash_attn2_588b404::fwd", "flash_attn", False),
    ("_flash_attn2_588b404::varlen_bwd", "flash_attn", True),
    ("_flash_attn3_1d39a44_dirty::fwd", "flash_attn", False),
    ("_vllm_flash_attn3_cuda_e5f1c83::fwd", "flash_attn", False),
]
KERNELS = [
    # FlashAttention 2: PyTorch's build, the package's
    ("void pytorch_flash::flash_fwd_kernel<pytorch_flash::Flash_fwd_kernel_traits<128, 128, 64, 4, "
     "false, false, cutlass::bfloat16_t>, false, true>(pytorch_flash::Flash_fwd_params)",
     "flash", "flash"),
    ("void pytorch_flash::flash_fwd_splitkv_combine_kernel<pytorch_flash::Flash_fwd_kernel_traits<"
     "64>>(pytorch_flash::Flash_fwd_params)", "flash", "flash"),
    ("void pytorch_flash::flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel<x>(y)", "flash", "flash"),
    ("void flash::flash_fwd_splitkv_kernel<Flash_fwd_kernel_traits<64, 64, 256>>"
     "(flash::Flash_fwd_params)", "flash_attn", "flash"),
    ("void flash_fwd_kernel<Flash_fwd_kernel_traits<64>, false>(Flash_fwd_params)",
     "flash_attn", "flash"),
    # FlashAttention 3
    ("void cutlass::device_kernel<flash::enable_sm90_or_later<flash::FlashAttnFwdSm90<"
     "flash::CollectiveMainloopFwdSm90<2>>>>(Params)", "flash_attn", "flash"),
    ("void cutlass::device_kernel<flash::FlashAttnFwdSm90<x>>(y)", "flash_attn", "flash"),
    ("void cutlass::device_kernel<flash::enable_sm90<flash::FlashAttnBwdSm90<x>>>(y)",
     "flash_attn", "flash"),
    # FlashAttention 4
    ("kernel_cutlass_kernel_flash_attncuteflash_fwd_sm100FlashAttentionForwardSm100_object_at__"
     "tensorptrbf16gmemalign16", "flash_attn", "flash"),
    # cuDNN
    ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x128_4x1x1_"
     "cga1x1x1_kernel0_0", "cudnn", "flash"),
    ("cudnn_generated_fort_native_sdpa_sm90_flash_bprop_wgmma_f16_knob_9_kernel0_0",
     "cudnn", "flash"),
    # memory-efficient: PyTorch's, xformers'
    ("fmha_cutlassF_bf16_aligned_64x128_rf_sm80(PyTorchMemEffAttention::AttentionKernel<"
     "cutlass::bfloat16_t>::Params)", "efficient", "fused"),
    ("fmha_cutlassF_f16_aligned_64x64_rf_sm80(AttentionKernel<cutlass::half_t>::Params)",
     "xformers", "fused"),
    # ROCm, Triton, flex
    ("attn_fwd", "flash", "flash"),
    ("void ck_tile::kentry<256, 2, ck_tile::FmhaFwdKernel<x>, y>(z)", "flash_attn", "flash"),
    ("_attn_fwd", "triton", "flash"),
    ("triton_tem_fused_flex_attention_0", "flex", "fused"),
]  # fmt: skip
# Each holds a word that a careless rule would fall for.
INNOCENT = [
    "void at::native::flash_prefetch_kernel<float>(float*)",
    "void my_flash_fwd_kernel_wrapper(float*)",
    "void project::flash_attention_mask_kernel<c10::BFloat16>(int)",
    "cudnn_generated_fort_native_sdpa_helper",
    "fmha_cutlass_workspace_init",
    "attn_fwd_mask_only",
    "triton_poi_fused_flash_softmax_0",
    "void cutlass::device_kernel<sm90_gemm_flash>(x)",
    "ampere_bf16_s16816gemm_bf16_128x128_ldg8_f2f_stages_64x3_tn",
    "Memcpy DtoD (Device -> Device)",
]


@pytest.mark.parametrize(("name", "backend", "family"), KERNELS)
def test_kernels(name, backend, family):
    ran = what_kernel(name)
    assert ran is not None
    assert (ran.backend, ran.family) == (backend, family)
    assert ran.backward == ("bwd" in name or "bprop" in name or "Bwd" in name)


@pytest.mark.parametrize("name", INNOCENT)
def test_names_that_prove_nothing(name):
    assert what_kernel(name) is None
    assert what_ran(name) is None


@pytest.mark.parametrize(("name", "backend", "backward"), HUB)
def test_kernels_from_the_hub(name, backend, backward):
    ran = what_ran(name)
    assert (ran.backend, ran.family, ran.backward) == (backend, "flash", backward)


@pytest.mark.parametrize(
    "name",
    [
        "aten::scaled_dot_product_attention",
        "_flash_attn2_588b404::softmax",
        "_flash_attn_helpers::fwd",
        "my_flash_attn::fwd",
        "flash_attn::rotary",
        "aten::_softmax",
    ],
)
def test_operators_that_prove_nothing(name):
    assert what_ran(name) is None


def test_pytorchs_own_names_are_registered_operators():
    """A misspelt line would never match."""
    import attnswitch.backends.query_blocks.api  # noqa: F401  (registers ours)

    for name in OPERATORS:
        namespace, _, operator = name.partition("::")
        if namespace in ("aten", "attnswitch"):
            assert hasattr(getattr(torch.ops, namespace), operator), name


def test_every_attention_operator_of_this_pytorch_is_known():
    """When PyTorch adds one, the table must say what it is."""
    unknown = {
        name
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith("aten::_") and "attention" in name
        and what_ran(name.partition(".")[0]) is None
    }  # fmt: skip
    assert {name.partition(".")[0] for name in unknown} <= {
        "aten::_native_multi_head_attention",  # arithmetic inside, or a listed operator
        "aten::_triton_multi_head_attention",
        "aten::_triton_scaled_dot_attention",
        "aten::_scaled_dot_product_attention_math_for_mps",
        "aten::_scaled_dot_product_fused_attention_overrideable",  # a device's own, unknown kernel
        "aten::_scaled_dot_product_fused_attention_overrideable_backward",
        "aten::_fused_sdp_choice",
    }
