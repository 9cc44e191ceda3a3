"""The permutation tests: exact where nothing changed, and able to see a change."""

from __future__ import annotations

import random

import pytest

from attnswitch.history.permutation import relabelings, sign_flips, winsorized_t


def pairs(chance: random.Random, rows: int, count: int = 10, shift: float = 0.0):
    """Pairs with heavy tails that hang together between rows, as a machine's noise does."""
    common = [chance.gauss(0, 0.02) * (5 if chance.random() < 0.1 else 1) for _ in range(count)]
    return {
        f"row {row}": [c + chance.gauss(0, 0.01) + (shift if row == 0 else 0) for c in common]
        for row in range(rows)
    }


def test_false_alarms_anywhere_are_as_rare_as_they_are_said_to_be():
    """100 checks of four rows that did not change, at 5 %: 5 expected, 14 one time in 10,000."""
    chance = random.Random(1)
    alarms = sum(min(sign_flips(pairs(chance, 4)).values()) <= 0.05 for _ in range(100))
    assert 1 <= alarms <= 14


def test_a_slower_row_is_found_and_the_others_are_not_accused():
    chance = random.Random(2)
    found = [sign_flips(pairs(chance, 4, shift=0.08)) for _ in range(20)]
    assert sum(one["row 0"] <= 0.01 for one in found) >= 17
    assert sum(one["row 1"] <= 0.01 for one in found) <= 1


def test_two_groups():
    chance = random.Random(3)

    def group(count, shift):
        return {"a": [chance.gauss(shift, 0.02) for _ in range(count)],
                "b": [chance.gauss(0, 0.02) for _ in range(count)]}  # fmt: skip

    found = [relabelings(group(10, 0), group(10, 0.06), seed=n) for n in range(5)]
    assert all(one["a"] <= 0.01 for one in found)
    assert all(one["b"] > 0.05 for one in found)
    faster = relabelings(group(10, 0.06), group(10, 0))
    assert faster["a"] > 0.9, "faster is not slower"


def test_one_disturbed_process_neither_alarms_nor_hides():
    steady = [0.05, 0.052, 0.049, 0.051, 0.05, 0.048, 0.05, 0.051, 0.049]
    assert winsorized_t([*steady, -0.6]) > 5
    assert winsorized_t([0.001, -0.001, 0.002, -0.002, 0.0, 0.001, -0.001, 0.0, 0.002, 0.9]) < 2.5


def test_with_few_pairs_nothing_can_be_shown():
    assert sign_flips({"a": [0.5, 0.5, 0.5]})["a"] == 1 / 8


def test_rows_of_other_processes_are_refused():
    with pytest.raises(ValueError, match="each needs the same processes"):
        sign_flips({"a": [1.0, 2.0], "b": [1.0]})
    with pytest.raises(ValueError, match="different rows"):
        relabelings({"a": [1.0]}, {"b": [1.0]})
