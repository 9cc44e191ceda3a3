"""Medians, ratios and their intervals."""

from __future__ import annotations

import random

import pytest

from attnswitch.bench.statistics import estimate, line_fit, ratio


def test_ratio_is_the_median_of_pairs_not_the_ratio_of_medians() -> None:
    baseline, candidate = [1.0, 2.0, 9.0], [2.0, 2.0, 9.0]
    assert ratio(candidate, baseline).median == 1.0
    assert ratio([2.0, 4.0, 18.0], baseline).median == 2.0


def test_noise_that_slows_both_sides_cancels() -> None:
    generator = random.Random(0)
    noise = [generator.uniform(1, 10) for _ in range(30)]
    found = ratio([1.5 * n for n in noise], noise)
    assert found.low == pytest.approx(1.5)
    assert found.high == pytest.approx(1.5)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = random.Random(1)
    hits = 0
    for trial in range(60):
        values = [generator.gauss(5.0, 1.0) for _ in range(25)]
        low, high = estimate(values, seed=trial)[1:]
        hits += low <= 5.0 <= high
    assert 51 <= hits <= 60


def test_the_same_samples_give_the_same_interval() -> None:
    values = [random.Random(2).random() for _ in range(9)]
    assert estimate(values, seed=3) == estimate(values, seed=3)


def test_what_cannot_be_estimated_is_an_error() -> None:
    with pytest.raises(ValueError, match="no samples"):
        estimate([])
    with pytest.raises(ValueError, match="same rounds"):
        ratio([1.0], [1.0, 2.0])


def test_line_fit() -> None:
    slope, intercept, fit = line_fit([1, 2, 3, 4], [12, 22, 32, 42])
    assert (slope, intercept, fit) == (pytest.approx(10), pytest.approx(2), pytest.approx(1))
    assert line_fit([1, 2, 3, 4], [1, 4, 9, 16])[2] < 0.99
