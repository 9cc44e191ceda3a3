"""Wrong kernels, each as a function with SDPA's signature, and ways to plant them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from attnswitch.backends import exact, replace_backend
from attnswitch.whereabouts import current_path

Kernel = Callable[..., torch.Tensor]


def attends_to_the_future(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, **kw):
    """Every row sees what the last row sees; padding stays hidden."""
    if attn_mask is not None:
        attn_mask = attn_mask.any(dim=-2, keepdim=True)
    return exact.yardstick(query, key, value, attn_mask, dropout_p, False, **kw)


def ignores_padding(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, **kw):
    """Causal, and takes no notice of any mask."""
    causal = is_causal or (attn_mask is not None and query.shape[-2] == key.shape[-2])
    return exact.yardstick(query, key, value, None, dropout_p, causal, **kw)


def scaled(factor: float) -> Kernel:
    """The factor on QKᵀ is off."""

    def kernel(query, key, value, *args, scale=None, **kw):
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        return exact.yardstick(query, key, value, *args, scale=scale * factor, **kw)

    return kernel


def two_heads_zeroed(query, key, value, *args, **kw):
    out = exact.yardstick(query, key, value, *args, **kw)
    out[:, 1:3] = 0
    return out


def overflows(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, *,
              scale=None, enable_gqa=False):  # fmt: skip
    """Scores in the query's dtype: QKᵀ first, the scale after it, as eager attention does."""
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    groups = query.shape[-3] // key.shape[-3]
    key, value = (t.repeat_interleave(groups, dim=-3) for t in (key, value))
    scores = query @ key.transpose(-2, -1) * scale
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -torch.inf)
    if is_causal:
        triangle = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        scores = scores.masked_fill(~triangle, -torch.inf)
    return torch.softmax(scores.float(), dim=-1).to(value.dtype) @ value


def wrong_beyond(keys: int) -> Kernel:
    """What comes after the first `keys` keys is left out."""

    def kernel(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, **kw):
        rows, columns = query.shape[-2], key.shape[-2]
        seen = torch.ones(rows, columns, dtype=torch.bool)
        seen = seen.tril() if is_causal else seen
        seen = seen if attn_mask is None else seen & attn_mask
        few = seen & (torch.arange(columns) < keys)
        return exact.yardstick(query, key, value, few, dropout_p, False, **kw)

    return kernel


class _NoCorrection(torch.autograd.Function):
    """Softmax whose backward is P∘dP, without subtracting rowsum(P∘dP)."""

    @staticmethod
    def forward(ctx: Any, scores: torch.Tensor) -> torch.Tensor:
        chances = torch.softmax(scores, dim=-1).nan_to_num()  # rows that see nothing
        ctx.save_for_backward(chances)
        return chances

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return ctx.saved_tensors[0] * grad


def forgets_the_correction(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, *,
                           scale=None, enable_gqa=False):  # fmt: skip
    """A right forward with a backward that forgets the softmax correction."""
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    groups = query.shape[-3] // key.shape[-3]
    key, value = (t.repeat_interleave(groups, dim=-3) for t in (key, value))
    scores = query.float() @ key.float().transpose(-2, -1) * scale
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -torch.inf)
    if is_causal:
        triangle = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        scores = scores.masked_fill(~triangle, -torch.inf)
    return (_NoCorrection.apply(scores) @ value.float()).to(query.dtype)


def only_at(sites: str | tuple[str, ...], wrong: Kernel) -> Kernel:
    """`wrong` at sites whose path ends in one of `sites`, standard attention elsewhere."""
    ends = (sites,) if isinstance(sites, str) else tuple(sites)

    def kernel(*args, **kwargs):
        here = (current_path() or "").endswith(ends)
        return (wrong if here else exact.yardstick)(*args, **kwargs)

    return kernel


def only_with_scale(scale: float, wrong: Kernel) -> Kernel:
    """`wrong` where the factor on QKᵀ is `scale`: a backward runs outside of every module."""

    def kernel(*args, **kwargs):
        return (wrong if kwargs.get("scale") == scale else exact.yardstick)(*args, **kwargs)

    return kernel


@contextmanager
def planted(kernel: Kernel, backend: str = "blockwise") -> Iterator[None]:
    """`kernel` stands for a backend inside the block."""
    replace_backend(backend, kernel)
    try:
        yield
    finally:
        replace_backend(backend, None)
