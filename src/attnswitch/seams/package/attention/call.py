"""What one call of a package's attention function asks for, as plain data.

Shape suffixes: B batch, T query rows, S keys, H query heads, G key-value heads (H is a multiple of
G), D width of query and key, E width of value, N all tokens of a packed batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch

from attnswitch import intent, types
from attnswitch.errors import InputError

Alignment = Literal["bottom-right", "top-left"]
NO_WINDOW = (-1, -1)


@dataclass(frozen=True)
class Packing:
    """Sequences laid end to end: where each starts and ends, from 0 on, for queries and keys."""

    query_ends: tuple[int, ...]
    key_ends: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.query_ends) != len(self.key_ends):
            raise InputError(
                f"cumulative lengths of {len(self.query_ends) - 1} query sequences and of "
                f"{len(self.key_ends) - 1} key sequences do not go together"
            )
        for name, ends in (("query", self.query_ends), ("key", self.key_ends)):
            if not ends or ends[0] != 0 or any(a > b for a, b in pairwise(ends)):
                raise InputError(
                    f"cumulative {name} lengths must start at 0 and never fall, not {list(ends)}"
                )

    def spans(self) -> list[tuple[slice, slice]]:
        """The rows and keys of each sequence."""
        both = zip(pairwise(self.query_ends), pairwise(self.key_ends), strict=True)
        return [(slice(*rows), slice(*keys)) for rows, keys in both]

    def longest(self) -> tuple[int, int]:
        """The largest number of rows, and of keys, that one sequence has."""
        spans = self.spans()
        rows = max((r.stop - r.start for r, _ in spans), default=0)
        keys = max((k.stop - k.start for _, k in spans), default=0)
        return rows, keys


@dataclass(frozen=True)
class AttentionCall:
    """One evaluation of softmax(QKᵀ·scale + bias)V, before anyone computes it.

    Attributes:
        function: the package's function that was called, for messages.
        query: (B, T, H, D), or (N, H, D) with `packing`.
        key, value: (B, S, G, D) and (B, S, G, E), or (N, G, D) and (N, G, E).
        scale: factor on QKᵀ; 1/√D if None.
        alignment: where the diagonal lies if T and S differ. `causal` and `window` count from it.
        window: keys visible left and right of the diagonal; -1 is no limit.
        softcap: scores become cap·tanh(score/cap); 0 is none.
        alibi_slopes: (H,) or (B, H); -slope·distance to the diagonal is added to the scores.
        bias: (B, H, T, S) or broadcastable; added to the scores, or boolean (False is hidden).
        packing: where the sequences of a packed batch lie, else None.
        need_lse: also return each row's log-sum-exp.
    """

    function: str
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    dropout_p: float = 0.0
    scale: float | None = None
    causal: bool = False
    alignment: Alignment = "bottom-right"
    window: tuple[int, int] = NO_WINDOW
    softcap: float = 0.0
    alibi_slopes: torch.Tensor | None = None
    bias: torch.Tensor | None = None
    packing: Packing | None = None
    need_lse: bool = False

    def __post_init__(self) -> None:
        dimensions = 4 if self.packing is None else 3
        for name in ("query", "key", "value"):
            tensor = getattr(self, name)
            if tensor.ndim != dimensions:
                raise InputError(
                    f"{self.function}: {name} must have {dimensions} dimensions "
                    f"({'batch, ' if dimensions == 4 else ''}tokens, heads, width), "
                    f"not shape {tuple(tensor.shape)}"
                )
        heads, groups = self.query.shape[-2], self.key.shape[-2]
        if self.value.shape[:-1] != self.key.shape[:-1]:
            raise InputError(f"{self.function}: key and value differ: {self.shapes()}")
        if groups == 0 or heads % groups:
            raise InputError(
                f"{self.function}: {heads} query heads are no multiple of {groups} key-value heads"
            )
        if not self.query.dtype == self.key.dtype == self.value.dtype:
            raise InputError(
                f"{self.function}: query, key and value differ in dtype: "
                f"{self.query.dtype}, {self.key.dtype}, {self.value.dtype}"
            )
        if self.packing is None and self.query.shape[0] != self.key.shape[0]:
            raise InputError(f"{self.function}: batch sizes differ: {self.shapes()}")
        if self.packing is not None:
            ends = self.packing.query_ends[-1], self.packing.key_ends[-1]
            if ends[0] > self.query.shape[0] or ends[1] > self.key.shape[0]:
                raise InputError(
                    f"{self.function}: cumulative lengths end at {ends[0]} (query) and {ends[1]} "
                    f"(key), beyond {self.shapes()}"
                )

    def as_rules_see_it(self) -> types.AttentionCall:
        """The call with heads before tokens; of a packed batch, as long as its longest sequence."""
        query, key = self.query, self.key
        if self.packing is not None:
            rows, keys = self.packing.longest()
            sequences = len(self.packing.spans())
            query = query[:rows].expand(sequences, *query[:rows].shape)
            key = key[:keys].expand(sequences, *key[:keys].shape)
        query, key = query.transpose(1, 2), key.transpose(1, 2)
        module = intent.module_of_call()
        return types.AttentionCall(query, key, self.bias, self.causal, module)

    def shapes(self) -> str:
        """The three shapes in words, for messages."""
        named = (("query", self.query), ("key", self.key), ("value", self.value))
        return ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in named)


@dataclass(frozen=True)
class AttentionResult:
    """What a call gave.

    `out` is (B, T, H, E), or (N, H, E) packed; `lse` is fp32 without gradient, (B, H, T) or (H, N),
    infinite where a row has nothing to attend to (as flash_attn has it), None if not asked for.
    """

    out: torch.Tensor
    lse: torch.Tensor | None = None


def read_window(function: str, window: Any) -> tuple[int, int]:
    """Read flash_attn's `window_size`; raise InputError where it is no pair of whole numbers."""
    try:
        left, right = (int(side) for side in window)
    except (TypeError, ValueError):
        raise InputError(
            f"{function}: window_size is a pair (left, right), -1 for no limit, not {window!r}"
        ) from None
    return left, right
