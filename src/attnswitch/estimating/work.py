"""The work of a run, operator by operator: FLOPs and bytes moved between memory and processor.

FLOPs are those of PyTorch's own counter (torch.utils.flop_counter): products alone, two a
multiply-add, a causal mask not taken into account. Bytes are what each operator reads and writes if
nothing stays in a cache: its arguments and results once each, views free.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from attnswitch.backends.query_blocks import registration

assert registration  # its operators, and their formulas, are registered


# Of these a causal mask leaves about half the products to be done.
_ATTENTION = {
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention_for_cpu_backward",
    "_scaled_dot_product_flash_attention", "_scaled_dot_product_flash_attention_backward",
    "_scaled_dot_product_efficient_attention", "_scaled_dot_product_efficient_attention_backward",
    "blockwise", "blockwise_backward",
}  # fmt: skip
# float32 scores of a block: written by a product, read and written by softmax, read by a product;
# backward twice as many, and their gradients.
_SCORE_PASSES = {"blockwise": 4, "blockwise_backward": 10}


@dataclass(frozen=True)
class Step:
    """One operator.

    `flops` as PyTorch counts them, `least_flops` those that the mask leaves to be done; `bytes` are
    arguments and results, `most_bytes` with what may pass through memory inside. `dtype` is the one
    that products are computed in.
    """

    operator: str
    flops: int
    least_flops: int
    bytes: int
    most_bytes: int
    dtype: str


class Work:
    """Collects the steps of a run; give `note` to a ledger as its watch."""

    def __init__(self, device: str):
        self.device = device
        self.steps: list[Step] = []

    def note(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> None:
        """Add one operator, unless it only makes a view."""
        if _is_view(func):
            return
        packet = getattr(func, "overloadpacket", func)
        name = packet.__name__
        formula = flop_registry.get(packet) or _MORE_FORMULAS.get(name)
        flops = int(formula(*args, **kwargs, out_val=result)) if formula is not None else 0
        moved = sum(_bytes(tensor) for tensor in _tensors((args, kwargs, result)))
        least, scores = flops, 0
        if name in _ATTENTION:
            pairs, seen = _pairs(_named(func, args, kwargs))
            least = flops * seen // pairs
            scores = _SCORE_PASSES.get(name, 0) * 4 * seen
        dtype = _product_dtype(name, args) if flops else ""
        self.steps.append(Step(name, flops, least, moved, moved + scores, dtype))

    @property
    def flops(self) -> int:
        """All FLOPs, as PyTorch counts them."""
        return sum(step.flops for step in self.steps)

    @property
    def bytes(self) -> int:
        """All bytes read and written."""
        return sum(step.bytes for step in self.steps)


def _named(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """An operator's arguments by the names in its schema."""
    names = [argument.name for argument in func._schema.arguments]
    return {**dict(zip(names, args, strict=False)), **kwargs}


def _pairs(given: dict[str, Any]) -> tuple[int, int]:
    """All scores of an attention call, and those that its causal mask leaves."""
    batch, heads, rows, _ = given["query"].shape
    keys = given["key"].shape[2]
    seen = min(rows, keys)
    live = seen * (seen + 1) // 2 + (rows - seen) * keys if given.get("is_causal") else rows * keys
    return batch * heads * rows * keys, batch * heads * live


def _product_dtype(name: str, args: Sequence[Any]) -> str:
    if name.startswith("blockwise"):
        return "float32"
    first = next(_tensors(args))
    return str(first.dtype).removeprefix("torch.")


def _flash_cpu_flops(*args: Any, **kwargs: Any) -> int:
    from torch.utils.flop_counter import sdpa_flop_count

    return sdpa_flop_count(*(tensor.shape for tensor in args[:3]))


def _flash_cpu_backward_flops(*args: Any, **kwargs: Any) -> int:
    from torch.utils.flop_counter import sdpa_backward_flop_count

    return sdpa_backward_flop_count(*(tensor.shape for tensor in args[:4]))


# PyTorch's counter has formulas for CUDA's FlashAttention and none for the CPU's: the same ones.
_MORE_FORMULAS = {
    "_scaled_dot_product_flash_attention_for_cpu": _flash_cpu_flops,
    "_scaled_dot_product_flash_attention_for_cpu_backward": _flash_cpu_backward_flops,
}


# Operators that move nothing, though they are no views by their schema.
_MOVE_NOTHING = ("empty", "empty_like", "empty_strided", "new_empty", "detach", "_unsafe_view")


def _is_view(func: Any) -> bool:
    """Whether an operator moves nothing: a view, or memory that is only set aside."""
    name = getattr(func, "overloadpacket", func).__name__
    return bool(getattr(func, "is_view", False)) or name in _MOVE_NOTHING


def _tensors(tree: Any) -> Iterator[torch.Tensor]:
    for leaf in tree_leaves(tree):
        if isinstance(leaf, torch.Tensor):
            yield leaf


def _bytes(tensor: torch.Tensor) -> int:
    """Bytes that a tensor's elements take; those that a broadcast repeats count once."""
    count = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        count *= size if stride else 1
    return count * tensor.element_size()
