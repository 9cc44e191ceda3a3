"""What opaque kernels allocate inside one call, from their sources; freed before they return.

Everything else that an operator allocates is its result, which the ledger sees. Each function
yields names and bytes that are alive together, beside the operator's inputs and results. Letters: B
batch, H query heads, T query rows, S keys, D width of a head.

`blockwise` is asked for its own plan and its own workspaces, so that what stands here follows when
they change. Of CUDA's kernels nothing was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch

from attnswitch.backends.query_blocks.backward import Backward
from attnswitch.backends.query_blocks.block_size import choose_block_size, choose_workers
from attnswitch.backends.query_blocks.decode import decode, is_direct
from attnswitch.backends.query_blocks.forward import Forward
from attnswitch.backends.query_blocks.plan import pieces_of
from attnswitch.backends.query_blocks.planning import make_plan
from attnswitch.backends.query_blocks.scores import ScoreRule
from attnswitch.backends.query_blocks.settings import Settings
from attnswitch.estimating.ledger import Ledger
from attnswitch.geometries.workloads import AttentionWorkload

Named = Iterator[tuple[str, int]]
Inside = Callable[[Any, Sequence[Any], dict[str, Any], Any], Iterable[tuple[str, int]]]
_HALF = (torch.float16, torch.bfloat16)
# The keys of one step of PyTorch's FlashAttention for CPUs, and its query rows by length.
_CPU_KEYS = 512
_CPU_ROWS = ((768, 256), (192, 64), (0, 32))


def inside_kernels(device: str) -> Inside:
    """The table for one type of device, as `Ledger` takes it; `device` is "cpu" or "cuda"."""
    table = {**_EVERYWHERE, **(_ON_CPU if device == "cpu" else _ON_CUDA)}

    def inside(func: Any, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> Named:
        kernel = table.get(func.overloadpacket.__name__) if _is_operator(func) else None
        return kernel(device, args, kwargs, result) if kernel is not None else iter(())

    return inside


def _is_operator(func: Any) -> bool:
    return isinstance(func, torch._ops.OpOverload)


def _blockwise(device: str, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> Named:
    """attnswitch::blockwise: each worker's workspace (query_blocks/workspace.py)."""
    query, key, value, _, slopes, cu_rows, cu_keys = args[:7]
    settings, need_lse = Settings(*args[7:-1]), args[-1]
    if is_direct(query, key, slopes, cu_rows, settings, need_lse):
        yield from _direct(query, key, value, result[0])
        return
    whole_rows = settings.dropout_p > 0
    size = choose_block_size(query, key, settings.block_rows, whole_rows, device)
    plan = make_plan(query, key, None, cu_rows, cu_keys, settings, size)
    forward = Forward(query, key, value, ScoreRule(), settings, result[0], None, None)
    _, spaces = forward.allot(plan, size, choose_workers(query, key, device))
    for space in spaces:
        yield "workspace of blockwise", space.nbytes


def _direct(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, out: torch.Tensor
) -> Named:
    """A decoded token: what query_blocks/decode.py itself allocates."""
    inner = Ledger(known=(query, key, value, out))
    with inner:
        decode(query, key, value, None, 1.0, out)
    yield "copies and scores of blockwise", inner.peak().bytes


def kept_by_blockwise(workload: AttentionWorkload, device: str) -> int:
    """Bytes of the causal triangles that `scores.apply_band` makes at a first call and keeps."""
    if not workload.is_causal:
        return 0
    query, key, _ = workload.tensors(torch.float32, "meta")
    settings = Settings(0.0, True, False, 1.0, 0.0, -1, -1, 0, False)
    if is_direct(query, key, None, None, settings, False):
        return 0
    size = choose_block_size(query, key, 0, False, device)
    plan = make_plan(query, key, None, None, None, settings, size)
    seen = set()
    for piece in (piece for block in plan.of(0) for piece in pieces_of(block, size.piece)):
        if piece.high is not None:
            first = max(piece.row_start + piece.high + 1, piece.key_start)
            seen.add((piece.row_stop - piece.row_start, piece.key_stop - first))
    return 4 * sum(height * width for height, width in seen)


def _blockwise_backward(
    device: str, args: Sequence[Any], kwargs: dict[str, Any], result: Any
) -> Named:
    grad, _, query, key, value, _, _, cu_rows, cu_keys = args[:9]
    settings = Settings(*args[9:-1])
    size = choose_block_size(query, key, settings.block_rows, True, device)
    plan = make_plan(query, key, None, cu_rows, cu_keys, settings, size)
    mask_grad = result[3] if args[-1] else None
    with torch.no_grad():
        backward = Backward(grad, query, key, value, ScoreRule(), settings, None, mask_grad)
        _, spaces, sums = backward.allot(plan, size, choose_workers(query, key, device))
    for space in spaces:
        yield "workspace of blockwise", space.nbytes
    yield "sums of blockwise", sums.nbytes


def _cpu_blocks(query: torch.Tensor, key: torch.Tensor) -> tuple[int, int, int, int]:
    """(threads, query rows and keys of a step, bytes of an accumulator)."""
    T, S = query.shape[2], key.shape[2]
    rows = next(rows for least, rows in _CPU_ROWS if least <= T)
    wide = 8 if query.dtype == torch.float64 else 4
    return torch.get_num_threads(), min(rows, T), min(_CPU_KEYS, S), wide


def _flash_cpu(device: str, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> Named:
    """One buffer a thread: scores, row maxima and sums, and a block of the output.

    Source: cpu_flash_attention in aten/src/ATen/native/cpu/FlashAttentionKernel.cpp. Its packed
    copies of keys and values (AVX-512 with float16, AMX) are not allocated through PyTorch.
    """
    query, key = args[0], args[1]
    threads, rows, keys, wide = _cpu_blocks(query, key)
    yield "buffer of flash", threads * rows * (keys + 2 + query.shape[3]) * wide
    if query.dtype in _HALF:
        yield "half-precision scores of flash", threads * rows * keys * query.itemsize


def _flash_cpu_backward(
    device: str, args: Sequence[Any], kwargs: dict[str, Any], result: Any
) -> Named:
    """Scores and their gradients, one buffer a thread (cpu_flash_attention_backward)."""
    grad, query, key = args[:3]
    threads, rows, keys, wide = _cpu_blocks(query, key)
    if not grad.transpose(1, 2).is_contiguous():
        yield "contiguous gradient of flash", grad.numel() * grad.itemsize
    yield "buffer of flash", threads * rows * (2 * keys + 1) * wide
    if query.dtype in _HALF:
        yield "half-precision scores of flash", threads * rows * 2 * keys * query.itemsize


def _upsample_bilinear(
    device: str, args: Sequence[Any], kwargs: dict[str, Any], result: Any
) -> Named:
    """Copies of a small picture with its channels last, of the input and of the result
    (_use_vectorized_kernel_cond_2d in ATen/native/cpu/UpSampleKernel.cpp)."""
    given = args[0]
    if given.is_contiguous(memory_format=torch.channels_last):
        return
    if result.shape[-2] + result.shape[-1] <= 128:
        for tensor in (given, result):
            yield "channels last in upsample_bilinear2d", tensor.numel() * tensor.itemsize


def _safe_softmax(device: str, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> Named:
    """A bool for every score, to find rows without a live key (ATen/native/transformers/
    attention.cpp, _safe_softmax)."""
    scores = args[0]
    yield "bool a score in _safe_softmax", scores.numel()
    yield "bool a row in _safe_softmax", scores.numel() // max(1, scores.shape[-1])


def _round(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def _flash_cuda_backward(
    device: str, args: Sequence[Any], kwargs: dict[str, Any], result: Any
) -> Named:
    """fp32 sums of the query's gradient, and a row sum each (mha_bwd in
    ATen/native/transformers/cuda/flash_attn/flash_api.cpp)."""
    query = args[1]
    B, H, T, D = query.shape
    rows, wide = _round(T, 128), _round(D, 32 if D <= 128 else 64)
    yield "query gradient of flash in fp32", B * H * rows * wide * 4
    yield "row sums of flash", B * H * rows * 4


def _efficient_backward(
    device: str, args: Sequence[Any], kwargs: dict[str, Any], result: Any
) -> Named:
    """fp32 sums of gradients. An upper bound: whether keys' and values' are needed depends on the
    kernel that is chosen (ATen/native/transformers/cuda/mem_eff_attention/kernel_backward.h)."""
    query, key = args[1], args[2]
    B, H, T, D = query.shape
    S, wide = key.shape[2], _round(D, 64)
    yield "query gradient of efficient in fp32", B * H * _round(T, 64) * wide * 4
    if D > 64:
        yield "key and value gradients of efficient in fp32", 2 * B * H * _round(S, 64) * wide * 4
    yield "row sums of efficient", B * H * T * 4


Kernel = Callable[[str, Sequence[Any], dict[str, Any], Any], Named]
_EVERYWHERE: dict[str, Kernel] = {
    "blockwise": _blockwise,
    "blockwise_backward": _blockwise_backward,
    "_safe_softmax": _safe_softmax,
}
_ON_CPU: dict[str, Kernel] = {
    "_scaled_dot_product_flash_attention_for_cpu": _flash_cpu,
    "_scaled_dot_product_flash_attention_for_cpu_backward": _flash_cpu_backward,
    "upsample_bilinear2d": _upsample_bilinear,
}
_ON_CUDA: dict[str, Kernel] = {
    "_scaled_dot_product_flash_attention_backward": _flash_cuda_backward,
    "_scaled_dot_product_efficient_attention_backward": _efficient_backward,
}
