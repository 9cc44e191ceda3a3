"""`xformers.ops.fmha.attn_bias`: masks that say what is hidden without being written out.

The names, fields and constructors are xformers' own, so that code which makes one finds it here.
Causal masks are aligned top-left unless their name says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from attnswitch.errors import InputError


class AttentionBias:
    """Base of all masks."""


class LowerTriangularMask(AttentionBias):
    """Row i sees keys up to i. Arguments are accepted and not used, as in xformers."""

    def __init__(self, *tensor_args: Any, **tensor_kwargs: Any) -> None:
        pass

    def add_bias(self, bias: torch.Tensor) -> LowerTriangularMaskWithTensorBias:
        """The same triangle with a tensor added to the scores."""
        return LowerTriangularMaskWithTensorBias(bias)


class LowerTriangularMaskWithTensorBias(LowerTriangularMask):
    """Row i sees keys up to i; `bias` (B, H, T, S) is added to the scores."""

    def __init__(self, bias: torch.Tensor) -> None:
        super().__init__()
        self._bias = bias


class LowerTriangularFromBottomRightMask(AttentionBias):
    """Row i sees keys up to i + S - T."""

    def make_local_attention(
        self, window_size: int
    ) -> LowerTriangularFromBottomRightLocalAttentionMask:
        """The same, of which only the last `window_size` keys."""
        return LowerTriangularFromBottomRightLocalAttentionMask(window_size)


@dataclass
class LowerTriangularFromBottomRightLocalAttentionMask(LowerTriangularFromBottomRightMask):
    """Row i sees the last `window_size` keys up to i + S - T."""

    _window_size: int

    def __post_init__(self) -> None:
        if self._window_size <= 0:
            raise InputError(f"window_size must be above 0, not {self._window_size}")


@dataclass
class LocalAttentionFromBottomRightMask(AttentionBias):
    """Row i sees keys from i + S - T - window_left to i + S - T + window_right."""

    window_left: int
    window_right: int


@dataclass
class _SeqLenInfo:
    """Sequences laid end to end: where each starts (`seqstart_py`, one more than there are)."""

    seqstart: torch.Tensor
    max_seqlen: int
    min_seqlen: int
    seqstart_py: list[int]

    @classmethod
    def from_seqlens(cls, seqlens: Iterable[int]) -> _SeqLenInfo:
        lengths, starts = list(seqlens), [0]
        for length in lengths:
            starts.append(starts[-1] + length)
        return cls(
            torch.tensor(starts, dtype=torch.int32), max(lengths, default=-1),
            min(lengths, default=-1), starts,
        )  # fmt: skip

    def intervals(self) -> Iterable[tuple[int, int]]:
        """Start and end of each sequence."""
        return pairwise(self.seqstart_py)

    def split(
        self, x: torch.Tensor, batch_sizes: Sequence[int] | None = None
    ) -> list[torch.Tensor]:
        """Cut x (1, N, ...) into its sequences, those of one batch as (batch, length, ...)."""
        if x.shape[0] != 1 or x.shape[1] != self.seqstart_py[-1]:
            raise InputError(f"a packed tensor is (1, {self.seqstart_py[-1]}, ...), not {x.shape}")
        sizes = batch_sizes if batch_sizes is not None else [1] * (len(self.seqstart_py) - 1)
        pieces, sequence = [], 0
        for size in sizes:
            start, stop = self.seqstart_py[sequence], self.seqstart_py[sequence + size]
            pieces.append(x[0, start:stop].reshape(size, -1, *x.shape[2:]))
            sequence += size
        return pieces


@dataclass
class BlockDiagonalMask(AttentionBias):
    """Sequences laid end to end in a batch of one; each sees itself alone."""

    q_seqinfo: _SeqLenInfo
    k_seqinfo: _SeqLenInfo
    _batch_sizes: Sequence[int] | None = None

    @classmethod
    def from_seqlens(
        cls, q_seqlen: Sequence[int], kv_seqlen: Sequence[int] | None = None
    ) -> BlockDiagonalMask:
        """A mask for sequences of these lengths."""
        q_info = _SeqLenInfo.from_seqlens(q_seqlen)
        k_info = q_info if kv_seqlen is None else _SeqLenInfo.from_seqlens(kv_seqlen)
        if len(q_info.seqstart_py) != len(k_info.seqstart_py):
            raise InputError(f"{len(q_seqlen)} query and {len(kv_seqlen or ())} key sequences")
        return cls(q_info, k_info)

    @classmethod
    def from_tensor_list(
        cls, tensors: Sequence[torch.Tensor]
    ) -> tuple[BlockDiagonalMask, torch.Tensor]:
        """A mask for tensors (b, t, ...), and the tensors laid end to end (1, N, ...)."""
        lengths = [t.shape[1] for t in tensors for _ in range(t.shape[0])]
        mask = cls.from_seqlens(lengths)
        mask._batch_sizes = [t.shape[0] for t in tensors]
        return mask, torch.cat([t.reshape(1, -1, *t.shape[2:]) for t in tensors], dim=1)

    @classmethod
    def from_tensor_lists_qkv(
        cls,
        tensors_q: Sequence[torch.Tensor],
        tensors_k: Sequence[torch.Tensor],
        tensors_v: Sequence[torch.Tensor] | None = None,
    ) -> tuple[BlockDiagonalMask, torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """The same for queries, keys and values of different lengths."""
        for_q, q = cls.from_tensor_list(tensors_q)
        for_k, k = cls.from_tensor_list(tensors_k)
        v = None if tensors_v is None else cls.from_tensor_list(tensors_v)[1]
        return cls(for_q.q_seqinfo, for_k.q_seqinfo, for_q._batch_sizes), q, k, v

    def split_queries(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """Cut a result (1, N, ...) into the tensors that the mask was made from."""
        return self.q_seqinfo.split(tensor, self._batch_sizes)

    def split_kv(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """Cut keys or values into the tensors that the mask was made from."""
        return self.k_seqinfo.split(tensor, self._batch_sizes)

    def split(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """Cut a tensor where queries and keys have the same lengths."""
        if self.q_seqinfo.seqstart_py != self.k_seqinfo.seqstart_py:
            raise InputError("lengths differ: use split_queries or split_kv")
        return self.split_queries(tensor)

    def make_causal(self) -> BlockDiagonalCausalMask:
        """Causal within each sequence, aligned top-left."""
        return BlockDiagonalCausalMask(self.q_seqinfo, self.k_seqinfo, self._batch_sizes)

    def make_causal_from_bottomright(self) -> BlockDiagonalCausalFromBottomRightMask:
        """Causal within each sequence, aligned bottom-right."""
        return BlockDiagonalCausalFromBottomRightMask(
            self.q_seqinfo, self.k_seqinfo, self._batch_sizes
        )

    def make_local_attention(self, window_size: int) -> BlockDiagonalCausalLocalAttentionMask:
        """Causal, aligned top-left, of which only the last `window_size` keys."""
        return BlockDiagonalCausalLocalAttentionMask(
            self.q_seqinfo, self.k_seqinfo, self._batch_sizes, window_size
        )

    def make_local_attention_from_bottomright(
        self, window_size: int
    ) -> BlockDiagonalCausalLocalAttentionFromBottomRightMask:
        """Causal, aligned bottom-right, of which only the last `window_size` keys."""
        return BlockDiagonalCausalLocalAttentionFromBottomRightMask(
            self.q_seqinfo, self.k_seqinfo, self._batch_sizes, window_size
        )


@dataclass
class BlockDiagonalCausalMask(BlockDiagonalMask):
    """Each sequence sees itself up to row i of it."""


@dataclass
class BlockDiagonalCausalFromBottomRightMask(BlockDiagonalMask):
    """Each sequence sees itself, causal from its last row and key on."""


@dataclass
class BlockDiagonalCausalLocalAttentionMask(BlockDiagonalCausalMask):
    """Causal within each sequence, of which only the last `_window_size` keys."""

    _window_size: int = 0


@dataclass
class BlockDiagonalCausalLocalAttentionFromBottomRightMask(BlockDiagonalCausalFromBottomRightMask):
    """The same, aligned bottom-right."""

    _window_size: int = 0
