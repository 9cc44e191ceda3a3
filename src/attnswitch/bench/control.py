"""The control: fixed work without attention, timed in every round beside what is measured.

What slows the whole machine (a neighbour, a clock, a driver) slows it too; what slows one backend
does not. So seconds over the control's tell the one from the other, also between runs of different
days.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

# Multiplications that fit the processor's caches, and a copy that does not: a few milliseconds.
SIDE = 512
PRODUCTS = 3
COPIED = 2**21

NAME = "control"


def control_work(device: str) -> Callable[[], object]:
    """The work as one call, in fp32 on `device`; the same on every machine and in every version."""
    generator = torch.Generator().manual_seed(0)
    square = torch.randn(SIDE, SIDE, generator=generator).to(device)
    source = torch.randn(COPIED, generator=generator).to(device)
    product, target = torch.empty_like(square), torch.empty_like(source)

    def call() -> None:
        for _ in range(PRODUCTS):
            torch.mm(square, square, out=product)
        target.copy_(source)

    return call
