"""How fast a device of this machine is: products and copies, timed for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

# Sides of products: the largest that takes at most so long, since some processors compute half
# precision a hundred times slower than float32.
SIDES = (256, 512, 1024, 4096)
LONGEST_SECONDS = 0.05
COPIED_BYTES = 64 * 2**20
# How long the fastest run of each is looked for.
SECONDS = 0.2


@dataclass(frozen=True)
class Speeds:
    """FLOP/s of products by dtype, and bytes a second of a copy, read and write together."""

    flops: dict[str, float]
    bandwidth: float


def measure_speeds(dtypes: tuple[str, ...], device: str = "cpu") -> Speeds:
    """Time products and a copy, the best of a few; one to two seconds."""
    import torch

    wait = torch.cuda.synchronize if device == "cuda" else None
    flops = {name: _product_speed(getattr(torch, name), device, wait) for name in dtypes}
    source = torch.zeros(COPIED_BYTES, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    return Speeds(flops, 2 * COPIED_BYTES / _best(lambda: target.copy_(source), wait))


def _product_speed(dtype: Any, device: str, wait: Callable[[], object] | None) -> float:
    import torch

    best = 0.0
    for side in SIDES:
        a, b = torch.randn(2, side, side, device=device).to(dtype)
        seconds = _best(partial(torch.matmul, a, b), wait)
        best = max(best, 2 * side**3 / seconds)
        if seconds > LONGEST_SECONDS:
            break
    return best


def _best(call: Callable[[], object], wait: Callable[[], object] | None) -> float:
    """Seconds of the fastest of the runs that fit into a moment; a first is not counted."""
    call()
    found: list[float] = []
    start = time.perf_counter()
    while not found or time.perf_counter() - start < SECONDS:
        before = time.perf_counter()
        call()
        if wait is not None:
            wait()
        found.append(time.perf_counter() - before)
    return min(found)
