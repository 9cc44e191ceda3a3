"""Which CUDA or ROCm kernel belongs to which backend and family: anchored patterns, one table.

A profiler gives kernels their demangled C++ names, template arguments and all, so each pattern is
matched from the name's beginning up to the end of an identifier. Substrings prove nothing: a copy
kernel may be called `flash_prefetch`, and cuDNN's FlashAttention says `sdpa` first.
"""

from __future__ import annotations

import re

from attnswitch.operators import Ran

_PATTERNS: tuple[tuple[str, Ran], ...] = (
    # FlashAttention 2 as built into PyTorch, then as the package (and in xformers) builds it
    (r"pytorch_flash::flash_fwd_splitkv_combine_kernel\b", Ran("flash", "flash", helper=True)),
    (r"pytorch_flash::flash_fwd_(splitkv_)?kernel\b", Ran("flash", "flash")),
    (r"pytorch_flash::flash_bwd_(dot_do_o|clear_dkvaccum|convert_d\w+)_kernel\b",
     Ran("flash", "flash", True, helper=True)),
    (r"pytorch_flash::flash_bwd_\w+_kernel\b", Ran("flash", "flash", True)),
    (r"(flash::)?flash_fwd_splitkv_combine_kernel\b", Ran("flash_attn", "flash", helper=True)),
    (r"(flash::)?flash_fwd_(splitkv_)?kernel\b", Ran("flash_attn", "flash")),
    (r"(flash::)?flash_bwd_(dot_do_o|clear_dkvaccum|convert_d\w+)_kernel\b",
     Ran("flash_attn", "flash", True, helper=True)),
    (r"(flash::)?flash_bwd_\w+_kernel\b", Ran("flash_attn", "flash", True)),
    # FlashAttention 3
    (r"cutlass::device_kernel<(flash::enable_sm\w+<)?flash::FlashAttnFwdCombine\b",
     Ran("flash_attn", "flash", helper=True)),
    (r"cutlass::device_kernel<(flash::enable_sm\w+<)?flash::FlashAttnFwdSm\d+\b",
     Ran("flash_attn", "flash")),
    (r"cutlass::device_kernel<(flash::enable_sm\w+<)?flash::FlashAttnBwdSm\d+\b",
     Ran("flash_attn", "flash", True)),
    (r"cutlass::device_kernel<(flash::enable_sm\w+<)?flash::FlashAttnBwd(Pre|Post)\w+",
     Ran("flash_attn", "flash", True, helper=True)),
    # FlashAttention 4, written in CuTe DSL
    (r"kernel_cutlass_kernel_flash_attncute\w*FlashAttentionForwardCombine\w*",
     Ran("flash_attn", "flash", helper=True)),
    (r"kernel_cutlass_kernel_flash_attncute\w*FlashAttentionForward\w*",
     Ran("flash_attn", "flash")),
    (r"kernel_cutlass_kernel_flash_attncute\w*FlashAttentionBackward(Pre|Post)\w*",
     Ran("flash_attn", "flash", True, helper=True)),
    (r"kernel_cutlass_kernel_flash_attncute\w*FlashAttentionBackward\w*",
     Ran("flash_attn", "flash", True)),
    # cuDNN
    (r"cudnn_generated_fort_native_sdpa_sm\d+_flash_fprop_\w+", Ran("cudnn", "flash")),
    (r"cudnn_generated_fort_native_sdpa_sm\d+_flash_bprop_\w+", Ran("cudnn", "flash", True)),
    # memory-efficient attention (cutlass): PyTorch's, then xformers'
    (r"fmha_cutlassF_\w+\(PyTorchMemEffAttention::", Ran("efficient", "fused")),
    (r"fmha_cutlassB_\w+\(PyTorchMemEffAttention::", Ran("efficient", "fused", True)),
    (r"fmha_cutlassF_\w+\b", Ran("xformers", "fused")),
    (r"fmha_cutlassB_\w+\b", Ran("xformers", "fused", True)),
    # ROCm: AOTriton behind SDPA, Composable Kernel behind flash-attn
    (r"attn_fwd$", Ran("flash", "flash")),
    (r"bwd_preprocess(_varlen)?$", Ran("flash", "flash", True, helper=True)),
    (r"bwd_kernel_(dk_dv|dq|fuse)$", Ran("flash", "flash", True)),
    (r"ck_tile::kentry<.*?ck_tile::FmhaFwdSplitKVCombineKernel<",
     Ran("flash_attn", "flash", helper=True)),
    (r"ck_tile::kentry<.*?ck_tile::FmhaFwd\w*Kernel<", Ran("flash_attn", "flash")),
    (r"ck_tile::kentry<.*?ck_tile::FmhaBwd(OGradDotO|ConvertQGrad)Kernel<",
     Ran("flash_attn", "flash", True, helper=True)),
    (r"ck_tile::kentry<.*?ck_tile::FmhaBwd\w*Kernel<", Ran("flash_attn", "flash", True)),
    # Triton: the tutorial's kernel, which hub repositories copy, and Inductor's flex attention
    (r"_attn_fwd$", Ran("triton", "flash")),
    (r"_attn_bwd_preprocess$", Ran("triton", "flash", True, helper=True)),
    (r"_attn_bwd(_dkdv|_dq)?$", Ran("triton", "flash", True)),
    (r"triton_tem_fused_flex_attention(?!_backward)\w*$", Ran("flex", "fused")),
    (r"triton_tem_fused_flex_attention_backward\w*$", Ran("flex", "fused", True)),
)  # fmt: skip
_TABLE = tuple((re.compile(pattern), ran) for pattern, ran in _PATTERNS)


def what_kernel(name: str) -> Ran | None:
    """What a device kernel's name proves, or None where it proves nothing."""
    plain = name.removeprefix("void ")
    for pattern, ran in _TABLE:
        if pattern.match(plain):
            return ran
    return None
