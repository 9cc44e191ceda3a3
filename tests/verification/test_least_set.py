"""The search for the smallest set: exact, within its bound, and honest when it has to stop."""

from __future__ import annotations

import math
import random

import pytest

from attnswitch.verification.least_set import Search


def searched(items, needed, budget=1000):
    search = Search(lambda chosen: set(needed) <= chosen, budget)
    assert not search.evaluate(frozenset())
    assert search.evaluate(frozenset(items))
    search.run(items)
    return search


@pytest.mark.parametrize("size", [1, 2, 7, 32, 64])
def test_it_finds_exactly_what_is_needed_within_its_bound(size):
    generator = random.Random(size)
    for count in range(1, min(size, 5) + 1):
        for _ in range(20):
            needed = generator.sample(range(size), count)
            search = searched(list(range(size)), needed)
            assert sorted(search.needed) == sorted(needed)
            assert search.complete
            assert search.minimal
            bound = 2 + count * (math.ceil(math.log2(size)) + 1) + count + 1
            assert search.evaluations <= bound


def test_three_of_thirty_two_take_less_than_forty_evaluations():
    worst = 0
    generator = random.Random(0)
    for _ in range(500):
        needed = generator.sample(range(32), 3)
        worst = max(worst, searched(list(range(32)), needed).evaluations)
    assert worst <= 24


@pytest.mark.parametrize("budget", range(3, 20))
def test_it_stops_by_its_budget_and_what_it_says_is_true(budget):
    needed = {5, 17, 29}
    search = Search(lambda chosen: needed <= chosen, budget)
    search.evaluate(frozenset())
    search.evaluate(frozenset(range(32)))
    search.run(range(32))
    assert search.evaluations <= budget
    assert set(search.needed) <= needed
    assert search.complete == (set(search.needed) == needed and search.complete)
    if not search.complete:
        assert needed - set(search.needed) <= set(search.candidates)


def test_what_turns_out_not_to_be_needed_is_dropped():
    """Not monotone: 3 helps only while 9 is missing."""
    search = Search(lambda chosen: {3, 4} <= chosen or {1, 4} <= chosen, 100)
    search.run(range(8))
    assert search.minimal
    assert search.passes(frozenset(search.needed))
    for item in search.needed:
        assert not search.passes(frozenset(search.needed) - {item})
