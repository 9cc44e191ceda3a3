"""`flash_attn_with_kvcache`: append to a cache in place, and attend to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from attnswitch.errors import InputError, UnavailableError
from attnswitch.seams.package.attention.call import (
    NO_WINDOW,
    AttentionCall,
    AttentionResult,
    Packing,
    read_window,
)
from attnswitch.seams.package.attention.run import run
from attnswitch.seams.package.flash_attn_api.paged import sequence_of, write_pages
from attnswitch.seams.package.flash_attn_api.rotary import apply_rotary_emb

NAME = "flash_attn_with_kvcache"


@dataclass(frozen=True)
class Cache:
    """A key or value cache, and where each sequence of the batch lies in it.

    tensor (slots, S, G, D), or (pages, page size, G, D) with `block_table`; `slots` gives the slot
    of each sequence, `first` the number of leading tokens to leave out.
    """

    tensor: torch.Tensor
    slots: tuple[int, ...]
    first: tuple[int, ...]
    block_table: torch.Tensor | None

    def append(self, lengths: list[int], new_BTGD: torch.Tensor) -> None:
        """Write new tokens after the first `lengths` of each sequence, in place."""
        for number, start in enumerate(lengths):
            new = new_BTGD[number]
            if self.block_table is not None:
                write_pages(self.tensor, self.block_table, number, start, new)
                continue
            stop = start + new.shape[0]
            if stop > self.tensor.shape[1]:
                raise InputError(
                    f"{NAME}: the cache holds {self.tensor.shape[1]} tokens, not {stop}"
                )
            self.tensor[self.slots[number], start:stop] = new.to(self.tensor.dtype)

    def packed(self, lengths: list[int]) -> torch.Tensor:
        """Tokens `first` to `lengths` of every sequence, end to end (N, G, D), a copy."""
        return torch.cat([self._sequence(n, length) for n, length in enumerate(lengths)])

    def _sequence(self, number: int, length: int) -> torch.Tensor:
        if self.block_table is not None:
            found = sequence_of(self.tensor, self.block_table, number, length)
        else:
            found = self.tensor[self.slots[number], :length]
        return found[self.first[number] :]

    def is_one_piece(self, lengths: list[int]) -> bool:
        """Whether a slice of the tensor is the whole batch, so that nothing need be copied."""
        return (
            self.block_table is None
            and self.slots == tuple(range(self.tensor.shape[0]))
            and not any(self.first)
            and len(set(lengths)) == 1
        )


def flash_attn_with_kvcache(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    k: torch.Tensor | None = None,
    v: torch.Tensor | None = None,
    rotary_cos: torch.Tensor | None = None,
    rotary_sin: torch.Tensor | None = None,
    cache_seqlens: int | torch.Tensor | None = None,
    cache_batch_idx: torch.Tensor | None = None,
    cache_leftpad: torch.Tensor | None = None,
    block_table: torch.Tensor | None = None,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = NO_WINDOW,
    softcap: float = 0.0,
    rotary_interleaved: bool = True,
    alibi_slopes: torch.Tensor | None = None,
    num_splits: int = 0,
    return_softmax_lse: bool = False,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Attention of q (B, T, H, D) over a cache, after k and v (B, T', G, D) were appended to it.

    Args:
        k_cache, v_cache: (B', S, G, D), or (pages, page size, G, D) with `block_table` (B, pages).
            Written in place where k and v are given.
        rotary_cos, rotary_sin: (positions, width / 2); rotate k, and q as flash_attn does: row i at
            position length + i if causal or windowed, else every row at position length.
        cache_seqlens: how many tokens each sequence has already: one number, or (B,).
        cache_batch_idx: (B,) the cache's row of each sequence.
        cache_leftpad: (B,) how many leading tokens of each sequence to leave out.
        num_splits: how the work is cut on a GPU; changes no result, and is not used here.

    Returns:
        (B, T, H, D), and (B, H, T) with `return_softmax_lse`.

    Raises:
        InputError: shapes or lengths that do not go together.
        UnavailableError: a gradient is asked for, which flash_attn does not have here either.
    """
    _refuse_gradient(q, k, v, k_cache, v_cache)
    batch = q.shape[0]
    lengths = _lengths(cache_seqlens, k_cache, batch, k is not None, block_table)
    slots = tuple(range(batch)) if cache_batch_idx is None else tuple(cache_batch_idx.tolist())
    first = (0,) * batch if cache_leftpad is None else tuple(cache_leftpad.tolist())
    keys, values = (Cache(t, slots, first, block_table) for t in (k_cache, v_cache))
    if rotary_cos is not None:
        in_order = causal or tuple(window_size) != NO_WINDOW
        q = _rotate(q, rotary_cos, rotary_sin, rotary_interleaved, lengths, in_order)
        if k is not None:
            k = _rotate(k, rotary_cos, rotary_sin, rotary_interleaved, lengths, True)
    if k is not None and v is not None:
        keys.append(lengths, k)
        values.append(lengths, v)
        lengths = [length + k.shape[1] for length in lengths]
    asked = {
        "scale": softmax_scale,
        "causal": bool(causal),
        "window": read_window(NAME, window_size),
        "softcap": max(float(softcap), 0.0),
        "alibi_slopes": alibi_slopes,
        "need_lse": return_softmax_lse,
    }
    found = _attend(q, keys, values, lengths, asked)
    return (found.out, found.lse) if found.lse is not None else found.out


def _attend(
    q: torch.Tensor, keys: Cache, values: Cache, lengths: list[int], asked: dict[str, Any]
) -> AttentionResult:
    """Attend to the first `lengths` tokens: a slice where that is the batch, else packed."""
    B, T, H, _ = q.shape
    if keys.tensor.shape[0] == B and keys.is_one_piece(lengths):
        k, v = (cache.tensor[:, : lengths[0]] for cache in (keys, values))
        return run(AttentionCall(NAME, q, k, v, **asked))
    rows = tuple(n * T for n in range(B + 1))
    packing = Packing(rows, _ends(lengths, keys.first))
    flat = q.reshape(B * T, H, -1), keys.packed(lengths), values.packed(lengths)
    found = run(AttentionCall(NAME, *flat, packing=packing, **asked))
    lse = None if found.lse is None else found.lse.view(H, B, T).transpose(0, 1)
    return AttentionResult(found.out.view(B, T, H, -1), lse)


def _ends(lengths: list[int], first: tuple[int, ...]) -> tuple[int, ...]:
    ends = [0]
    for length, skipped in zip(lengths, first, strict=True):
        ends.append(ends[-1] + max(0, length - skipped))
    return tuple(ends)


def _lengths(
    given: int | torch.Tensor | None,
    cache: torch.Tensor,
    batch: int,
    appends: bool,
    block_table: torch.Tensor | None,
) -> list[int]:
    """How many tokens each sequence has in the cache before this call."""
    if given is None:
        if appends:
            raise InputError(f"{NAME}: cache_seqlens must be given where k and v are appended")
        pages = 1 if block_table is None else block_table.shape[1]
        return [cache.shape[1] * pages] * batch
    return [given] * batch if isinstance(given, int) else [int(n) for n in given.tolist()]


def _rotate(
    x: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor | None,
    interleaved: bool,
    lengths: list[int],
    in_order: bool,
) -> torch.Tensor:
    """Rotate x (B, T, H, D) at positions length + i, or all of a sequence at its length."""
    if sin is None:
        raise InputError(f"{NAME}: rotary_cos without rotary_sin")
    offsets = torch.tensor(lengths, device=x.device)
    if in_order:
        return apply_rotary_emb(x, cos, sin, interleaved, seqlen_offsets=offsets)
    B, T, H, D = x.shape
    one_row = x.reshape(B, 1, T * H, D)
    return apply_rotary_emb(one_row, cos, sin, interleaved, seqlen_offsets=offsets).view(x.shape)


def _refuse_gradient(*tensors: torch.Tensor | None) -> None:
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        raise UnavailableError(
            f"{NAME} has no backward pass, in flash_attn neither",
            remedy="Call it under torch.no_grad()",
        )
