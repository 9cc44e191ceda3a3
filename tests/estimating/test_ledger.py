"""The ledger: what lives together adds up, views cost nothing, remembered results are new."""

from __future__ import annotations

import pytest
import torch

from attnswitch.bench.memory import peak_bytes
from attnswitch.estimating.ledger import Ledger

ROW = 4096


def on_meta(call, known=()):
    with Ledger(known=known) as ledger:
        result = call("meta")
    peak = ledger.peak()
    del result
    return peak


def rows(device, count=1):
    return torch.empty(count * ROW // 4, device=device)


def one_after_the_other(device):
    for _ in range(3):
        rows(device).relu()


def together(device):
    return [rows(device) for _ in range(3)]


def views(device):
    base = rows(device, 2)
    return base.view(2, -1).t()[:, 1:], base[5:]


def kept_for_backward(device):
    x = rows(device).requires_grad_()
    y = x.sigmoid().tanh()
    y.sum().backward()
    return x.grad


@pytest.mark.parametrize("call", [one_after_the_other, together, views, kept_for_backward])
def test_the_peak_is_the_allocators(call):
    assert on_meta(call).bytes == peak_bytes(lambda: call("cpu"))


def test_the_numbers_themselves():
    assert on_meta(one_after_the_other).bytes == 2 * ROW
    assert on_meta(together).bytes == 3 * ROW
    assert on_meta(views).bytes == 2 * ROW


def test_what_was_there_before_costs_nothing():
    before = rows("meta")
    assert on_meta(lambda _: before + 1, [before]).bytes == ROW
    assert on_meta(lambda _: before.view(2, -1), [before]).bytes == 0


def test_the_peak_is_made_of_named_allocations():
    with Ledger() as ledger:
        first = rows("meta")
        ledger.name([first], "first")
        second = first.to(torch.float64)
    assert [(a.name, a.operator, a.bytes) for a in ledger.peak().alive] == [
        ("first", "aten.empty", ROW), ("", "aten._to_copy", 2 * ROW)
    ]  # fmt: skip
    del second


def test_sizes_are_rounded_up_to_the_allocators_blocks():
    with Ledger(block=512) as ledger:
        one = torch.empty(1, device="meta")
    assert ledger.peak().bytes == 512
    del one


def test_what_a_kernel_allocates_inside_is_there_beside_its_result():
    def inside(func, args, kwargs, result):
        if "relu" in str(func):
            yield "scratch", 1000

    x = rows("meta")
    with Ledger(known=[x], inside=inside) as ledger:
        y = x.relu()
        z = y + 1
    assert ledger.peak().bytes == 2 * ROW
    del y, z
    with Ledger(known=[x], inside=inside) as ledger:
        x.relu()
    assert ledger.peak().bytes == ROW + 1000


def test_a_number_is_not_made_up_where_there_is_none():
    with Ledger(), pytest.raises(RuntimeError, match="a number was read"):
        torch.zeros((), device="meta").item()


def test_remembered_results_are_tensors_of_their_own():
    """Also of operators that are views though their schema does not say so."""
    x = torch.empty(4, 6, device="meta")
    with Ledger(known=[x]) as ledger:
        made = [torch.ops.aten._unsafe_view(x, [24]) for _ in range(3)]
        made += [x.sum(0) for _ in range(3)]
        made += list(x.t().contiguous().max(1))
    assert ledger.peak().bytes == 3 * 6 * 4 + 6 * 4 * 4 + 6 * 4 + 6 * 8
    assert made[1].untyped_storage()._cdata == x.untyped_storage()._cdata
    assert made[4].shape == (6,) and made[7].dtype == torch.int64
