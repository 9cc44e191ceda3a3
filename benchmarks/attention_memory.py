"""Peak memory of one call beyond its inputs, and whether it is linear in tokens."""

from __future__ import annotations

import math
from typing import Any

import torch
from attention_contenders import contenders
from attention_shapes import Case

from attnswitch.bench.memory import peak_bytes
from attnswitch.bench.statistics import line_fit

LENGTHS = (2048, 4096, 8192, 16384)


def measure_memory(quick: bool = False) -> list[dict[str, Any]]:
    """Return one row a dtype: peak bytes at each length, `blockwise` over `flash`, two fits.

    A line, and a power of the tokens: 1 is linear, below 1 is less than linear (the blocks of
    scores stop growing while the output goes on), 2 would be all scores kept.

    Key-value heads are as many as query heads, so that no copy of them is anybody's extra memory.
    """
    rows = []
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        lengths = LENGTHS[:2] if quick else LENGTHS
        peaks: dict[str, list[int]] = {"flash": [], "blockwise": []}
        for tokens in lengths:
            case = Case("Qwen2-0.5B", 14, 14, 64, tokens, "causal")
            tensors = case.tensors(dtype)
            attends, _ = contenders(case, False)
            for contender, values in peaks.items():
                attend = attends[contender]
                values.append(peak_bytes(lambda attend=attend, tensors=tensors: attend(*tensors)))
        slope, intercept, fit = line_fit(lengths, peaks["blockwise"])
        growth, _, _ = line_fit(
            *([math.log(v) for v in each] for each in (lengths, peaks["blockwise"]))
        )
        rows.append(
            {
                "dtype": name, "tokens": list(lengths), "peak_bytes": peaks, "over_flash": [b / f
                for b, f in zip(peaks["blockwise"], peaks["flash"], strict=True)], "line":
                {"bytes_per_token": slope, "intercept_bytes": intercept, "r_squared": fit},
                "grows_with_tokens_to_the": growth,
            }
        )  # fmt: skip
    return rows
