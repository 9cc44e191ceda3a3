"""One attention call, as a site makes it: the arguments of scaled_dot_product_attention."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch


@dataclass(frozen=True)
class AttentionCall:
    """query [B, H, T, D], key [B, G, S, D], value [B, G, S, E]; masks as SDPA takes them.

    `is_causal` is aligned top-left, as in PyTorch.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    attn_mask: torch.Tensor | None = None
    is_causal: bool = False
    scale: float | None = None

    @property
    def factor(self) -> float:
        """The factor on QKᵀ."""
        return self.query.shape[-1] ** -0.5 if self.scale is None else self.scale

    @property
    def scores(self) -> int:
        """How many scores the whole call has: B·H·T·S."""
        return self.query[..., 0].numel() * self.key.shape[-2]

    @property
    def is_finite(self) -> bool:
        """Whether every number that comes in is one."""
        return all(bool(torch.isfinite(t).all()) for t in (self.query, self.key, self.value))

    @cached_property
    def mask_4d(self) -> torch.Tensor | None:
        """The mask with four dimensions, each of full length or one; nothing is copied."""
        mask = self.attn_mask
        if mask is None:
            return None
        while mask.ndim < 4:
            mask = mask.unsqueeze(0)
        return mask

    def mask_of_rows(self, batch: slice, heads: slice, rows: torch.Tensor) -> torch.Tensor | None:
        """[b or 1, h or 1, n, S]: what the given query rows may see, the causal triangle included.

        bool, True where a key takes part, or additive with -inf where none does.
        """
        mask = self.mask_4d
        if mask is not None:
            mask = mask if mask.shape[0] == 1 else mask[batch]
            mask = mask if mask.shape[1] == 1 else mask[:, heads]
            mask = mask.expand(-1, -1, len(rows), -1) if mask.shape[2] == 1 else mask[:, :, rows]
        if not self.is_causal:
            return mask
        columns = torch.arange(self.key.shape[-2], device=rows.device)
        triangle = (columns <= rows[:, None])[None, None]
        if mask is None:
            return triangle
        if mask.dtype == torch.bool:
            return mask & triangle
        return mask.masked_fill(~triangle, -torch.inf)

    def carried_out_by(self, attend: object) -> torch.Tensor:
        """[B, H, T, E] from a function with SDPA's signature."""
        return attend(  # type: ignore[operator]
            self.query, self.key, self.value, self.attn_mask, 0.0, self.is_causal,
            scale=self.scale, enable_gqa=self.query.shape[-3] != self.key.shape[-3],
        )  # fmt: skip


def visible(mask: torch.Tensor) -> torch.Tensor:
    """Which keys a mask lets through; an additive one hides by the lowest number of its dtype."""
    if mask.dtype == torch.bool:
        return mask
    return mask > torch.finfo(mask.dtype).min / 2
