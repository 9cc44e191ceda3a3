"""An observer that is no part of the switch: PyTorch's profiler, with a range at each site."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import torch

from attnswitch.sites import find_sites

RANGE = "site of "
FLASH_ON_CPU = "aten::_scaled_dot_product_flash_attention_for_cpu"
BLOCKWISE = "attnswitch::blockwise"
# Operators that compute attention some other way, seen inside a site.
STANDARD = (BLOCKWISE, "aten::_scaled_dot_product_attention_math", "aten::_softmax")
OUTSIDE = "outside every site"

Seen = dict[str, Counter]


def operators_by_role(model: Any, run: Callable[[], Any]) -> Seen:
    """{role: Counter of operator names} for one call of `run`; what belongs to no site is counted
    under `OUTSIDE`, and a site that ran counts once under "ran"."""
    with (
        _ranges(model),
        torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as p,
    ):
        run()
    seen: Seen = {}
    for event in p.events():
        if event.name.startswith(RANGE):
            seen.setdefault(event.name.removeprefix(RANGE), Counter())["ran"] += 1
        elif "::" in event.name:
            seen.setdefault(_role_of(event), Counter())[event.name] += 1
    return seen


def flash_operators(seen: Seen) -> dict[str, set[str]]:
    """Every operator with "flash" in its name, wherever it ran: more than the switch bars."""
    found = {role: {name for name in names if "flash" in name} for role, names in seen.items()}
    return {role: names for role, names in found.items() if names}


def _role_of(event: Any) -> str:
    parent = event.cpu_parent
    while parent is not None:
        if parent.name.startswith(RANGE):
            return parent.name.removeprefix(RANGE)
        parent = parent.cpu_parent
    return OUTSIDE


@contextmanager
def _ranges(model: Any):
    """Open a profiler range named after the role around every site's forward."""
    open_ranges: list[Any] = []
    handles = []
    for site, module in find_sites(model).values():

        def enter(*_: Any, role: str = site.role) -> None:
            open_ranges.append(torch.profiler.record_function(RANGE + role))
            open_ranges[-1].__enter__()

        def leave(*_: Any) -> None:
            open_ranges.pop().__exit__(None, None, None)

        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(leave, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
