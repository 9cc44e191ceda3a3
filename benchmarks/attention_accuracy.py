"""Error against float64, of `blockwise`, FlashAttention and eager, at several logit scales."""

from __future__ import annotations

import math
from typing import Any

import torch
from attention_contenders import contenders
from attention_shapes import Case

LOGIT_SCALES = (1.0, 3.0, 10.0)
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def measure_accuracy(seed: int = 0) -> list[dict[str, Any]]:
    """Return one row a dtype and logit scale: largest and RMS errors, and their ratios.

    The logit scale is the standard deviation of the scores: query and key are normal, times √scale.
    """
    case = Case("Qwen2-0.5B", 14, 2, 64, 1024, "causal")
    rows = []
    for name, dtype in DTYPES.items():
        for scale in LOGIT_SCALES:
            query, key, value = case.tensors(torch.float32, seed)
            query, key = query * math.sqrt(scale), key * math.sqrt(scale)
            tensors = [t.to(dtype) for t in (query, key, value)]
            expected = _exact(case, *tensors)
            attends, _ = contenders(case, False)
            errors = {}
            for contender in ("flash", "blockwise", "eager"):
                difference = attends[contender](*tensors).double() - expected
                errors[contender] = {
                    "largest": difference.abs().max().item(),
                    "rms": difference.square().mean().sqrt().item(),
                }
            rows.append({"dtype": name, "logit_scale": scale, "errors": errors})
            rows[-1]["over_flash"] = {
                kind: errors["blockwise"][kind] / errors["flash"][kind]
                for kind in ("largest", "rms")
            }
    rows.append(_overflow(case))
    return rows


def _overflow(case: Case) -> dict[str, Any]:
    """Scores beyond 65,504 in fp16: finite where scores are kept in fp32."""
    query, key, value = case.tensors(torch.float32)
    tensors = [(query * 200).half(), (key * 200).half(), value.half()]
    attends, _ = contenders(case, False)
    names = ("flash", "blockwise", "eager")
    finite = {name: bool(attends[name](*tensors).isfinite().all()) for name in names}
    return {"dtype": "fp16", "scores_beyond_65504": True, "finite": finite}


def _exact(case: Case, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    repeats = case.heads // case.groups
    key, value = (t.double().repeat_interleave(repeats, 1) for t in (key, value))
    scores = query.double() @ key.transpose(-1, -2) / math.sqrt(case.width)
    index = torch.arange(case.tokens)
    scores = scores.masked_fill(index[None, :] > index[:, None], -math.inf)
    return torch.softmax(scores, -1) @ value
