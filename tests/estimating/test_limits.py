"""The most that fits: it does, and a little more does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from attnswitch.estimating import limits
from attnswitch.estimating.limits import (
    TOLERANCE,
    Limit,
    largest_batch,
    longest_sequence,
    peaks_by_length,
)
from attnswitch.estimating.scenario import Scenario, Training
from attnswitch.estimating.whole_model import model_memory
from attnswitch.geometries.building import with_layers
from attnswitch.geometries.samples import sample
from tests.estimating.small import narrow

MIB = 2**20


def scenario(training=None):
    small = with_layers(narrow("llava-v1.6-mistral-7b", 5), 5, 6)
    small = replace(small, language=replace(small.language, context=4096))
    return Scenario(small, sample(small, tiles=3), "float32", new_tokens=10, training=training)


def peak(asked, backend):
    return model_memory(asked, backend, with_work=False).peak.bytes


def with_tokens(asked, tokens):
    text = tokens - asked.sample.image_tokens
    return replace(asked, sample=replace(asked.sample, text_tokens=text))


@pytest.mark.parametrize("training", [None, Training(), Training(checkpointing=True)])
@pytest.mark.parametrize("backend", ["flash", "math"])
def test_peaks_of_few_layers_drawn_out_are_those_of_all(training, backend):
    asked = scenario(training)
    """Or a little less, where the peak is at another moment with more layers; never more."""
    drawn = limits._drawn_out(asked, lambda cut, _: peak(cut, backend), 0)
    assert 0.95 * peak(asked, backend) < drawn <= peak(asked, backend)


@pytest.mark.parametrize("backend", ["blockwise", "eager"])
def test_the_longest_sequence(backend):
    asked = scenario()
    found = longest_sequence(asked, backend, 60 * MIB)
    if found.fails is None:
        assert found.fits == 4096 - asked.new_tokens
    else:
        assert found.fails - found.fits <= TOLERANCE * found.fits + 1
        assert peak(with_tokens(asked, found.fails), backend) > 60 * MIB
    assert peak(with_tokens(asked, found.fits), backend) <= 60 * MIB


def test_without_all_scores_more_fits():
    asked = scenario()
    long, short = (longest_sequence(asked, name, 60 * MIB).fits for name in ("flash", "eager"))
    assert long > 1.5 * short


@pytest.mark.parametrize("training", [None, Training("lora", lora_rank=4)])
def test_the_largest_batch(training):
    asked = scenario(training)
    found = largest_batch(asked, "math", 80 * MIB)
    assert found.fails == found.fits + 1 or found.fails - found.fits <= TOLERANCE * found.fits
    assert peak(replace(asked, batch=found.fits), "math") <= 80 * MIB
    assert peak(replace(asked, batch=found.fails), "math") > 80 * MIB


def test_nothing_fits_where_the_weights_do_not():
    assert largest_batch(scenario(), "flash", MIB) == Limit(0, 1)
    assert longest_sequence(scenario(), "flash", MIB).fits == 0


def test_a_line_that_lies_too_low_is_corrected(monkeypatch):
    asked = scenario()
    monkeypatch.setattr(limits, "_drawn_out", lambda run, of, size: of(run, size) * 9 // 10)
    found = largest_batch(asked, "math", 80 * MIB)
    assert peak(replace(asked, batch=found.fits), "math") <= 80 * MIB


@pytest.mark.parametrize("low", [1, 7])
def test_the_search_itself(low):
    """On peaks whose answer is known: a parabola, a line, and a step."""
    for peak_of, answer in (
        (lambda n: 5 + 3 * n + n * n // 50, 600), (lambda n: 100 + 7 * n, 1500),
        (lambda n: 10 if n < 400 else 10**6, 399),
    ):  # fmt: skip
        memory = peak_of(answer)
        found = limits._between(peak_of, memory, low, 10**5)
        assert found.fits <= answer < found.fails
        assert found.fails - found.fits <= max(1, TOLERANCE * found.fits)
    assert limits._between(lambda n: n, 10**9, low, 300) == Limit(300, None)


def test_peaks_by_length_grow():
    points = peaks_by_length(scenario(), "math")
    lengths, peaks = zip(*points, strict=True)
    assert lengths[-1] == 4096 - 10 and list(peaks) == sorted(peaks)
    assert peaks[-1] == pytest.approx(peak(with_tokens(scenario(), lengths[-1]), "math"), rel=0.002)
