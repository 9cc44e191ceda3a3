"""Which operator name belongs to which backend and family: one table, matched exactly.

Receipts read it, and the guard bars every FlashAttention operator in it. Never by substring:
"flash" in a name proves nothing. A wrapper that only dispatches (`scaled_dot_product_attention`,
`torch_attn::_varlen_attn`) is no evidence and is not listed. Packages from the kernel hub register
their operators in a namespace that ends in their build's hash; those, and CUDA kernels
(`attnswitch.tracing.kernels`), are matched by anchored patterns.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Ran:
    """What an operator's or a kernel's name says: the backend, its family, and its direction.

    A `helper` is launched beside the kernel that computes attention (it combines splits, or
    prepares the backward), and is no attention call of its own.
    """

    backend: str
    family: str
    backward: bool = False
    helper: bool = False


def _both(backend: str, family: str, forward: str, backward: str = "") -> dict[str, Ran]:
    """Table lines for one backend: names of forward operators, then of backward ones."""
    lines = {name: Ran(backend, family) for name in forward.split()}
    lines |= {name: Ran(backend, family, backward=True) for name in backward.split()}
    return lines


OPERATORS: dict[str, Ran] = {
    # PyTorch. The name does not tell FlashAttention 2 from 3 or 4: PyTorch launches either.
    **_both(
        "flash",
        "flash",
        "aten::_scaled_dot_product_flash_attention_for_cpu "
        "aten::_scaled_dot_product_flash_attention aten::_flash_attention_forward "
        "aten::_flash_attention_forward_no_dropout_inplace",
        "aten::_scaled_dot_product_flash_attention_for_cpu_backward "
        "aten::_scaled_dot_product_flash_attention_backward aten::_flash_attention_backward",
    ),
    **_both(
        "cudnn",
        "flash",
        "aten::_scaled_dot_product_cudnn_attention aten::_cudnn_attention_forward",
        "aten::_scaled_dot_product_cudnn_attention_backward aten::_cudnn_attention_backward",
    ),
    **_both(
        "efficient",
        "fused",
        "aten::_scaled_dot_product_efficient_attention aten::_efficient_attention_forward",
        "aten::_scaled_dot_product_efficient_attention_backward "
        "aten::_efficient_attention_backward",
    ),
    **_both("math", "standard", "aten::_scaled_dot_product_attention_math"),
    # ours
    **_both("blockwise", "standard", "attnswitch::blockwise", "attnswitch::blockwise_backward"),
    # flash-attn 2 and 3 (4 registers no operator: its kernels are in the kernels' table)
    **_both(
        "flash_attn",
        "flash",
        "flash_attn::_flash_attn_forward flash_attn::_flash_attn_varlen_forward "
        "flash_attn_2::fwd flash_attn_2::varlen_fwd flash_attn_2::fwd_kvcache "
        "flash_attn_3::fwd flash_attn_3::_flash_attn_forward "
        # copies of it: vLLM's, SGLang's, and the wrapper that diffusers puts around it
        "_vllm_fa2_C::fwd_kvcache _vllm_fa2_C::varlen_fwd _vllm_fa3_C::fwd sgl_kernel::fwd "
        "_diffusers_flash_attn_3::_flash_attn_forward",
        "flash_attn::_flash_attn_backward flash_attn::_flash_attn_varlen_backward "
        "flash_attn_2::bwd flash_attn_2::varlen_bwd "
        "flash_attn_3::bwd flash_attn_3::_flash_attn_backward",
    ),
    # xformers: FlashAttention 2 and 3 beside its own cutlass kernels
    **_both(
        "xformers",
        "flash",
        "xformers_flash::flash_fwd xformers_flash3::flash_fwd",
        "xformers_flash::flash_bwd xformers_flash3::flash_bwd",
    ),
    **_both(
        "xformers",
        "fused",
        "xformers::efficient_attention_forward_cutlass xformers::efficient_attention_forward_ck",
        "xformers::efficient_attention_backward_cutlass xformers::efficient_attention_backward_ck",
    ),
}

# `_flash_attn2_588b404::fwd`: a kernel from the hub, its namespace closed by the build's hash.
_HUB = re.compile(
    r"_(?:vllm_)?flash_attn[23]?_(?:cuda_|rocm_|xpu_)?[0-9a-f]{7,40}(?:_dirty)?"
    r"::(?:varlen_)?(?P<way>fwd|bwd)(?:_kvcache)?"
)


def what_ran(name: str) -> Ran | None:
    """What an operator's name proves, or None where it proves nothing."""
    known = OPERATORS.get(name)
    if known is None and name.startswith("_"):
        match = _HUB.fullmatch(name)
        if match:
            return Ran("flash_attn", "flash", backward=match["way"] == "bwd")
    return known


def flash_forward_operators() -> tuple[str, ...]:
    """Every FlashAttention operator of the table that computes attention, registered or not."""
    return tuple(n for n, ran in OPERATORS.items() if ran.family == "flash" and not ran.backward)


def is_flash_forward(name: str) -> bool:
    """Whether an operator's name is one of FlashAttention's, the kernel hub's included."""
    ran = what_ran(name)
    return ran is not None and ran.family == "flash" and not ran.backward
