"""The control: fixed work without attention, timed in every round beside what is measured.

What slows the whole machine (a neighbour, a clock, a driver) slows it too; what slows one backend
does not. So seconds over the control's tell the one from the other, also between runs of different
days.

On a CPU it is the work of one thread. Work of milliseconds on several threads takes half as long or
twice as long depending on where the system happened to put them, for the whole life of a process.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

NAME = "control"
# PyTorch shares out work of 32,768 elements and more: pieces of half that stay on their thread.
PIECE = 2**14
# Arithmetic in the first cache, and a pass over 16 MB that no core's own cache holds.
REPEATS = 200
READ = 2**22
SIDE, PRODUCTS = 4096, 2


def control_work(device: str) -> Callable[[], object]:
    """The work as one call, in fp32 on `device`; the same on every machine and in every version."""
    generator = torch.Generator().manual_seed(0)
    return _on_cpu(generator) if device == "cpu" else _elsewhere(generator, device)


def _on_cpu(generator: torch.Generator) -> Callable[[], object]:
    values = torch.randn(PIECE, generator=generator)
    result = torch.empty_like(values)
    pieces = torch.randn(READ, generator=generator).split(PIECE)

    def call() -> None:
        for _ in range(REPEATS):
            torch.exp(values, out=result)
        for piece in pieces:
            torch.add(piece, values, out=result)

    return call


def _elsewhere(generator: torch.Generator, device: str) -> Callable[[], object]:
    square = torch.randn(SIDE, SIDE, generator=generator).to(device)
    product = torch.empty_like(square)

    def call() -> None:
        for _ in range(PRODUCTS):
            torch.mm(square, square, out=product)

    return call
