"""`RotaryEmbedding`: the module of `flash_attn.layers.rotary`, without its length extrapolation."""

from __future__ import annotations

from typing import Any

import torch

from attnswitch.errors import UnavailableError
from attnswitch.seams.package.flash_attn_api.rotary import (
    apply_rotary_emb,
    apply_rotary_emb_kv_,
    apply_rotary_emb_qkv_,
)


class RotaryEmbedding(torch.nn.Module):
    """Rotary embedding of `dim` columns with frequencies base^(-2i/dim), positions in fp32.

    Raises:
        UnavailableError: `scale_base` (xPos), which is not implemented.
    """

    inv_freq: torch.Tensor

    def __init__(
        self,
        dim: int,
        base: float = 10000.0,
        interleaved: bool = False,
        scale_base: float | None = None,
        pos_idx_in_fp32: bool = True,
        device: Any = None,
    ):
        super().__init__()
        if scale_base is not None:
            raise UnavailableError(
                "RotaryEmbedding: scale_base (xPos) is not implemented by attnswitch"
            )
        self.dim, self.base, self.interleaved, self.scale = dim, float(base), interleaved, None
        self.pos_idx_in_fp32 = pos_idx_in_fp32
        exponent = torch.arange(0, dim, 2, device=device, dtype=torch.float32) / dim
        self.register_buffer("inv_freq", 1.0 / self.base**exponent, persistent=False)

    def forward(
        self,
        qkv: torch.Tensor,
        kv: torch.Tensor | None = None,
        seqlen_offset: int | torch.Tensor = 0,
        max_seqlen: int | None = None,
        num_heads_q: int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Rotate qkv (B, T, 3, H, D) in place, or q (B, T, H, D) and kv (B, T, 2, G, D).

        `max_seqlen` is the last position there can be where offsets are tensors.
        """
        rows = int(max_seqlen or qkv.shape[1] + int(torch.as_tensor(seqlen_offset).max()))
        position = torch.arange(rows, device=qkv.device, dtype=torch.float32)
        angle = torch.outer(position, self.inv_freq.to(qkv.device, torch.float32))
        cos, sin = (t.to(qkv.dtype) for t in (angle.cos(), angle.sin()))
        if kv is None:
            return apply_rotary_emb_qkv_(
                qkv, cos, sin, interleaved=self.interleaved,
                seqlen_offsets=seqlen_offset, num_heads_q=num_heads_q,
            )  # fmt: skip
        q = apply_rotary_emb(
            qkv, cos, sin, self.interleaved, inplace=True, seqlen_offsets=seqlen_offset
        )
        return q, apply_rotary_emb_kv_(kv, cos, sin, self.interleaved, seqlen_offset)
