"""A grid run: finished cells are kept at once, Ctrl-C keeps what is done, --resume goes on."""

from __future__ import annotations

import os
import signal

import pytest

from attnswitch.bench import running
from attnswitch.bench.cell import Settings
from attnswitch.bench.fresh import resident_bytes
from attnswitch.bench.memory import peak_bytes
from attnswitch.bench.running import Grid, run_grid, uninterrupted
from attnswitch.bench.workshop import Workshop
from attnswitch.errors import UnavailableError
from attnswitch.record.entries import Run
from tests.bench.tiny_workloads import requests, stopped_at, tiny

QUICK = Settings(least=1, rounds=1, shortest=0.0, memory=False)


class Quiet:
    def __init__(self):
        self.cells, self.again = [], []

    def cell(self, number, of, workload, left):
        self.cells.append((number, of, left))

    def step(self, text):
        pass

    def finished(self, rows, again):
        self.again.append(again)


def grid(*tokens: int) -> Grid:
    return Grid([tiny(tokens=n) for n in tokens], requests("flash", "standard"), QUICK, "none")


def run() -> Run:
    return Run.begin("bench", {})


def test_every_cell_is_kept_when_it_is_finished():
    kept, quiet = [], Quiet()
    outcome = run_grid(grid(4, 8), run(), lambda run, rows: kept.append(list(rows)), quiet)
    assert [[row.data["tokens"] for row in rows] for rows in kept] == [[4, 4], [8, 8]]
    assert [row.position for row in outcome.rows] == [0, 1, 2, 3]
    assert [row.cell for row in outcome.rows] == ["c0", "c0", "c2", "c2"]
    assert quiet.cells[0] == (1, 2, None)
    assert quiet.cells[1][2] > 0
    assert not outcome.stopped


def test_control_c_keeps_what_is_finished(monkeypatch):
    monkeypatch.setattr(running, "measure", stopped_at(8))
    kept = []
    outcome = run_grid(grid(4, 8, 12), run(), lambda run, rows: kept.extend(rows), Quiet())
    assert outcome.stopped
    assert [row.data["tokens"] for row in outcome.rows] == [4, 4]
    assert kept == outcome.rows


def test_control_c_while_a_cell_is_kept_is_heard_after_it():
    kept = []

    def keep(run, rows):
        os.kill(os.getpid(), signal.SIGINT)
        kept.extend(rows)

    outcome = run_grid(grid(4, 8), run(), keep, Quiet())
    assert outcome.stopped
    assert len(kept) == 2, "the cell that was being kept is whole"


def test_uninterrupted_restores_the_handler():
    before = signal.getsignal(signal.SIGINT)
    with uninterrupted():
        pass
    assert signal.getsignal(signal.SIGINT) is before


def test_what_is_known_is_not_measured_again():
    first = run_grid(grid(4), run(), lambda run, rows: None, Quiet())
    quiet, kept = Quiet(), []
    second = run_grid(
        grid(4, 8), run(), lambda run, rows: kept.extend(rows), quiet,
        known=lambda workload: first.rows if workload.tokens == 4 else (),
    )  # fmt: skip
    assert quiet.again == [True, False]
    assert second.rows[:2] == first.rows
    assert [row.data["tokens"] for row in kept] == [8, 8]


def test_left_out_by_a_rule():
    told = Grid([tiny()], requests("flash", "eager"), QUICK, "none",
                lambda workload, request: "too big" if request.word == "eager" else "")  # fmt: skip
    outcome = run_grid(told, run(), lambda run, rows: None, Quiet())
    assert [row.data["status"] for row in outcome.rows] == ["valid", "not run"]


def test_the_longest_of_each_kind_is_weighed_in_a_fresh_process(monkeypatch):
    asked = []

    def weigh(workload, request, *, trust_remote_code):
        asked.append((workload.phase, workload.tokens, request))
        return 7

    monkeypatch.setattr(running, "resident_bytes", weigh)
    cells = [tiny(tokens=4), tiny(tokens=8), tiny("decode", 4)]
    outcome = run_grid(Grid(cells, requests("flash"), QUICK), run(), lambda *_: None, Quiet())
    assert asked == [("prefill", 8, "flash"), ("decode", 4, "flash")]
    assert outcome.rows[1].data["resident_bytes"] == 7


def test_the_resident_set_agrees_with_the_allocators_peak():
    """Eager over 1,500 tokens: 9 million scores, several times over."""
    workload = tiny(tokens=1500)
    ready = Workshop().ready(workload)
    from attnswitch.switch import apply

    with apply(ready.model, "eager"):
        ready.call()
        allocated = peak_bytes(ready.call)
    resident = resident_bytes(workload, "eager")
    assert allocated > 60 * 2**20
    assert 0.7 * allocated < resident < 1.4 * allocated


def test_a_fresh_process_that_fails_says_why():
    with pytest.raises(UnavailableError, match=r"the fresh process failed: .*no geometry 'nobody'"):
        resident_bytes(tiny(subject="nobody"), "flash")
    with pytest.raises(UnavailableError, match="says nothing of memory on cuda"):
        resident_bytes(tiny(device="cuda"), "flash")
