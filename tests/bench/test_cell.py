"""A cell: rows that say what ran, samples that belong together, and rows that are not ranked."""

from __future__ import annotations

import pytest
import torch

from attnswitch.backends import attend_with, replace_backend
from attnswitch.bench.attention_alone import attention_alone
from attnswitch.bench.cell import Settings, measure
from attnswitch.bench.contender import Contender
from attnswitch.bench.ratios import ratios
from attnswitch.bench.workload import Piece, Ready
from attnswitch.geometries.find import geometry
from tests.bench.tiny_workloads import requests, tiny

QUICK = Settings(least=3, rounds=3, seconds=5.0, shortest=0.0)


@pytest.fixture(scope="module")
def ready() -> Ready:
    return attention_alone(geometry("demo"), tiny())


def by_request(rows):
    return {row["request"]: row for row in rows}


def test_a_row_holds_what_ran_and_every_sample(ready):
    rows = measure(ready, requests("flash", "standard", "eager"), QUICK, "c0")
    assert [row["request"] for row in rows] == ["flash", "standard", "eager"]
    for row, backend, family in zip(
        rows, ("flash", "blockwise", "eager"), ("flash", "standard", "standard"), strict=True
    ):
        assert (row["status"], row["reasons"]) == ("valid", [])
        assert (row["backend"], row["family"], row["tokens"]) == (backend, family, 12)
        assert len(row["samples"]) == len(row["control"]) == 3
        assert row["seconds"]["low"] <= row["seconds"]["median"] <= row["seconds"]["high"]
        assert row["peak_bytes"] > 0
        assert {receipt["phase"] for receipt in row["receipts"]} == {"prefill"}
    assert rows[0]["control"] != rows[1]["control"], "each has those right before and after it"


def test_a_pass_counts_every_layer(ready):
    """Four layers of language model: a pass is four times the piece that is timed."""
    assert [piece.times for piece in ready.pieces] == [4.0]
    calls = []
    slow = Ready(ready.workload, ready.model, [Piece(lambda: calls.append(ready.call()), 1000.0)])
    (row,) = measure(slow, requests("flash"), QUICK, "c0")
    assert row["layers"] == [1000.0]
    assert min(row["samples"]) > 1000 * 1e-6, "a call takes microseconds, a thousand take ms"


def test_what_ran_something_else_is_invalid_and_not_ranked(ready):
    """A lie is planted: `flash` runs the math kernel."""
    replace_backend("flash", attend_with("math"))
    rows = measure(ready, requests("standard", "flash"), QUICK, "c0")
    wrong = by_request(rows)["flash"]
    assert wrong["status"] == "invalid"
    assert wrong["backend"] == "math"
    assert "flash planned, math ran" in wrong["reasons"][0]
    (ratio,) = ratios(rows, {None: "standard"})
    assert (ratio["ranked"], ratio["because"]) == (False, "flash did not run what was asked for")


def test_a_forbidden_kernel_ends_as_a_row_that_says_so(ready):
    replace_backend("blockwise", attend_with("flash"))
    rows = by_request(measure(ready, requests("flash", "standard"), QUICK, "c0"))
    assert rows["standard"]["status"] == "not run"
    assert "a forbidden kernel was about to run" in rows["standard"]["reasons"][0]
    assert rows["flash"]["status"] == "valid"


def test_the_same_kernels_are_not_ranked(ready):
    rows = measure(ready, requests("standard", "no-flash", "flash"), QUICK, "c0")
    found = {one["candidate"]: one for one in ratios(rows)}
    assert found["no-flash"]["because"] == "both ran the same kernels"
    assert found["no-flash"]["ranked"] is False
    assert found["flash"]["ranked"] is True
    assert found["flash"]["baseline"] == "standard"


def test_two_rounds_rank_nothing(ready):
    settings = Settings(least=2, rounds=2, shortest=0.0)
    (ratio,) = ratios(measure(ready, requests("flash", "eager"), settings, "c0"))
    assert (ratio["ranked"], ratio["because"]) == (False, "fewer than 3 rounds")


def test_what_cannot_run_here_says_every_reason(ready):
    rows = by_request(measure(ready, requests("flash", "flash_attn"), QUICK, "c0"))
    (reason,) = rows["flash_attn"]["reasons"]
    assert "runs on cuda, not on cpu" in reason
    assert "flash_attn is not installed" in reason
    assert rows["flash_attn"]["samples"] == []


def test_what_does_not_fit_is_left_out_and_the_others_are_measured(ready):
    def call():
        import attnswitch.intent as intent

        choice = intent.of_module(ready.model.language_model[0].self_attn)
        if choice is not None and choice.backend == "eager":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to ...")
        ready.call()

    fragile = Ready(ready.workload, ready.model, [Piece(call)])
    rows = by_request(measure(fragile, requests("flash", "eager"), QUICK, "c0", {"math": "no"}))
    assert rows["eager"]["reasons"] == ["does not fit into memory"]
    assert rows["flash"]["status"] == "valid"


def test_another_error_is_not_swallowed(ready):
    def call():
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        measure(Ready(ready.workload, ready.model, [Piece(call)]), requests("flash"), QUICK, "c0")


def test_left_out_on_purpose(ready):
    rows = measure(ready, requests("flash", "eager"), QUICK, "c0", {"eager": "too large"})
    assert rows[1]["status"] == "not run"
    assert rows[1]["reasons"] == ["too large"]


@pytest.mark.parametrize(
    ("seconds", "calls", "warm"), [(0.001, 20, 1), (0.5, 1, 1), (2.0, 1, 0), (0.0, 1000, 1)]
)
def test_short_calls_are_timed_several_at_a_time(ready, seconds, calls, warm):
    (request,) = requests("flash")
    timed = Contender(request, [], [seconds]).timed(ready, 0.02)["flash 0"]
    assert (timed.calls, timed.warm) == (calls, warm)


def test_the_switch_is_off_again(ready):
    measure(ready, requests("eager", "flash"), QUICK, "c0")
    site = ready.model.language_model[0].self_attn
    assert site.config._attn_implementation == "sdpa"
    query = torch.randn(1, 4, 3, 32)
    assert site(query, query[:, :2], query[:, :2]).shape == (1, 3, 4, 32)
