"""An observer that is no part of the switch: torch's profiler, read by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch

FLASH = "aten::_scaled_dot_product_flash_attention_for_cpu"
MATH = "aten::_scaled_dot_product_attention_math"
BLOCKWISE = "attnswitch::blockwise"


def attention_operators(run: Callable[[], Any]) -> Counter[str]:
    """Count the attention operators that run while `run` does."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        run()
    # An operator with an autograd rule shows twice, the second inside the first.
    return Counter(
        event.name
        for event in profile.events()
        if (event.name in (FLASH, MATH, BLOCKWISE) or "flash_attention" in event.name)
        and not _inside_itself(event)
    )


def _inside_itself(event: Any) -> bool:
    parent = event.cpu_parent
    while parent is not None:
        if parent.name == event.name:
            return True
        parent = parent.cpu_parent
    return False
