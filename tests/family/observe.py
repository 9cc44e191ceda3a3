"""An observer that is no part of the switch: PyTorch's profiler, with a range at each site."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from attnswitch.sites import find_sites

RANGE = "site of "
FLASH_ON_CPU = "aten::_scaled_dot_product_flash_attention_for_cpu"
BLOCKWISE = "attnswitch::blockwise"
SOFTMAX = "aten::_softmax"
# Operators that compute attention some other way, seen inside a site.
STANDARD = (BLOCKWISE, "aten::_scaled_dot_product_attention_math", SOFTMAX)
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
    # The raw events: PyTorch's own tree of them takes ten times as long as the run.
    events = p.profiler.kineto_results.events()
    spans = _spans(events)
    seen: Seen = {role: Counter(ran=n) for role, n in Counter(s.role for s in spans).items()}
    for event in events:
        if "::" in event.name():
            seen.setdefault(_role_of(event, spans), Counter())[event.name()] += 1
    return seen


def flash_operators(seen: Seen) -> dict[str, set[str]]:
    """Every operator with "flash" in its name, wherever it ran: more than the switch bars."""
    found = {role: {name for name in names if "flash" in name} for role, names in seen.items()}
    return {role: names for role, names in found.items() if names}


class Span(NamedTuple):
    """One run of one site: when, on which thread, and the role of the site."""

    start: int
    end: int
    thread: int
    role: str


def _spans(events: Any) -> list[Span]:
    """The runs of all sites by their start; no site lies inside another."""
    found = (e for e in events if e.name().startswith(RANGE))
    return sorted(
        Span(e.start_ns(), e.end_ns(), e.start_thread_id(), e.name().removeprefix(RANGE))
        for e in found
    )


def _role_of(event: Any, spans: list[Span]) -> str:
    last = bisect.bisect_right(spans, event.start_ns(), key=lambda span: span.start) - 1
    if last >= 0 and event.end_ns() <= spans[last].end:
        return spans[last].role if event.start_thread_id() == spans[last].thread else OUTSIDE
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
