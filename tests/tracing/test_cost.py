"""What tracing costs by design: Python's work at a site once its form of pass is known.

Counted, not timed: `benchmarks/tracing.py` times it.
"""

from __future__ import annotations

import sys

import torch

import attnswitch
from tests.tracing.small_models import SdpaAttention, Stack, hidden_states


def calls_in(run) -> int:
    """How many functions, Python's and C's, `run` calls."""
    count = 0

    def note(_, event, __):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count


def cost_of(layers: int) -> int:
    """Function calls that tracing adds to a decoded token which is counted, not profiled."""
    model, token = Stack(*(SdpaAttention() for _ in range(layers))).eval(), hidden_states(1)
    with torch.inference_mode():
        model(token)
        plain = calls_in(lambda: model(token))
        with attnswitch.trace(model):
            for _ in range(4):
                model(token)
            return calls_in(lambda: model(token)) - plain


def test_a_site_costs_a_few_dozen_function_calls():
    """Hooks and PyTorch's way to them included. The limit leaves room, and none for a profile."""
    few, many = cost_of(4), cost_of(24)
    each = (many - few) / 20
    assert each < 70
    assert few - 4 * each < 150


def test_the_cost_of_a_site_does_not_grow_with_the_model():
    first, second, third = cost_of(2), cost_of(12), cost_of(22)
    assert abs((third - second) - (second - first)) <= 20


def test_the_count_can_see_work():
    assert calls_in(lambda: [abs(-1) for _ in range(1_000)]) >= 1_000
