"""The same computation, rounded otherwise: what one rounding at every site grows to.

A whole run is one draw of its rounding errors. To know how far two healthy runs part, the same
backend runs again with each site's output moved by up to one rounding, seeded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from attnswitch.sites import find_sites

# Runs, each rounded otherwise, before a whole run is said to fail.
AGAIN = 3
T = TypeVar("T")


def rounded_otherwise(model: Any, compute: Callable[[], T]) -> list[T]:
    """What `compute`, which runs `model`, gives when every site's output is rounded otherwise."""
    found = []
    for seed in range(1, AGAIN + 1):
        with nudging(model, seed):
            found.append(compute())
    return found


@contextmanager
def nudging(model: Any, seed: int) -> Iterator[None]:
    """Multiply what every site puts out by 1 + u·eps/2, u uniform in (-1, 1), in its own dtype."""
    generator = torch.Generator().manual_seed(seed)
    hook = _nudge(generator)
    handles = [module.register_forward_hook(hook) for _, module in find_sites(model).values()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _nudge(generator: torch.Generator) -> Callable[[Any, Any, Any], Any]:
    def nudge(module: Any, args: Any, output: Any) -> Any:
        out = output[0] if isinstance(output, (tuple, list)) else output
        if not isinstance(out, torch.Tensor) or not out.is_floating_point():
            return None
        wide = torch.float64 if out.dtype == torch.float64 else torch.float32
        u = torch.rand(out.shape, generator=generator, dtype=wide).to(out.device) * 2 - 1
        factor = 1 + u * torch.finfo(out.dtype).eps / 2
        # float32 and float64 have no wider type to multiply in that would matter here.
        moved = (out.to(torch.float64 if wide == out.dtype else wide) * factor).to(out.dtype)
        return moved if out is output else type(output)((moved, *output[1:]))

    return nudge
