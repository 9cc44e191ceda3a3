"""Attention written from the documentation of flash_attn, with nothing shared with the package.

Which keys a row sees is decided key by key in Python; the softmax is spelled out. In float64 it is
the reference, in float32 the yardstick of the rule of agreement.
"""

from __future__ import annotations

import math

import torch

NO_WINDOW = (-1, -1)


def sees(
    row: int, key: int, rows: int, keys: int, causal: bool, window: tuple[int, int], corner: str
) -> bool:
    """Whether a row sees a key; `corner` is where the diagonal ends: bottom-right or top-left."""
    diagonal = row + (keys - rows if corner == "bottom-right" else 0)
    if causal and key > diagonal:
        return False
    left, right = window
    if left >= 0 and key < diagonal - left:
        return False
    return not (right >= 0 and key > diagonal + right)


def attention(
    q_BTHD: torch.Tensor,
    k_BSGD: torch.Tensor,
    v_BSGE: torch.Tensor,
    *,
    dtype: torch.dtype,
    causal: bool = False,
    window: tuple[int, int] = NO_WINDOW,
    corner: str = "bottom-right",
    scale: float | None = None,
    softcap: float = 0.0,
    slopes: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the output (B, T, H, E) and the log-sum-exp (B, H, T), every step in `dtype`."""
    B, T, H, D = q_BTHD.shape
    S, G = k_BSGD.shape[1:3]
    q = q_BTHD.to(dtype).transpose(1, 2)
    k, v = (
        torch.stack([t.to(dtype)[:, :, h * G // H] for h in range(H)], dim=1)
        for t in (k_BSGD, v_BSGE)
    )
    scores = torch.einsum("bhtd,bhsd->bhts", q, k) * (1 / math.sqrt(D) if scale is None else scale)
    if softcap > 0:
        scores = softcap * torch.tanh(scores / softcap)
    if slopes is not None:
        corner_shift = S - T if corner == "bottom-right" else 0
        distance = [[abs(i + corner_shift - j) for j in range(S)] for i in range(T)]
        far = torch.tensor(distance, dtype=dtype).reshape(T, S)
        scores = scores - slopes.to(dtype).reshape(-1, H, 1, 1) * far
    if bias is not None:
        scores = scores + bias.to(dtype)
    seen = torch.tensor(
        [[sees(i, j, T, S, causal, window, corner) for j in range(S)] for i in range(T)],
        dtype=torch.bool,
    ).reshape(T, S)
    if S == 0:
        # Nothing to see: zeros that a backward pass still finds its way through.
        out = (q.sum(dim=-1, keepdim=True) * 0).expand(B, H, T, v.shape[-1]).transpose(1, 2)
        return out, q.new_full((B, H, T), math.inf)
    return _softmax_times(scores.masked_fill(~seen, -math.inf), v)


def _softmax_times(scores: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Output and log-sum-exp; a row that sees nothing gives zeros and +inf, as in flash_attn."""
    largest = scores.amax(dim=-1, keepdim=True).detach()
    dead = largest == -math.inf
    weights = torch.exp(scores - largest.masked_fill(dead, 0.0))
    total = weights.sum(dim=-1, keepdim=True)
    out = torch.einsum("bhts,bhse->bthe", weights / total.masked_fill(dead, 1.0), v)
    lse = (torch.log(total.masked_fill(dead, 1.0)) + largest).masked_fill(dead, math.inf)
    return out, lse.squeeze(-1)


def packed(
    q_NHD: torch.Tensor,
    k_NGD: torch.Tensor,
    v_NGE: torch.Tensor,
    lengths_q: list[int],
    lengths_k: list[int],
    *,
    slopes: torch.Tensor | None = None,
    **settings: object,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same for sequences laid end to end; returns (N, H, E) and (H, N)."""
    outs, lses, row, key = [], [], 0, 0
    for number, (rows, keys) in enumerate(zip(lengths_q, lengths_k, strict=True)):
        own = slopes[number] if slopes is not None and slopes.ndim == 2 else slopes
        parts = q_NHD[row : row + rows], k_NGD[key : key + keys], v_NGE[key : key + keys]
        out, lse = attention(*(t.unsqueeze(0) for t in parts), slopes=own, **settings)
        outs.append(out[0])
        lses.append(lse[0])
        row, key = row + rows, key + keys
    return torch.cat(outs), torch.cat(lses, dim=1)
