"""Run a grid: cell by cell, each kept as soon as it is finished; stopped at any time."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from attnswitch.bench.cell import Settings, measure
from attnswitch.bench.fresh import resident_bytes
from attnswitch.bench.time_left import TimeLeft, kind
from attnswitch.bench.workload import Workload
from attnswitch.bench.workshop import Workshop
from attnswitch.errors import UnavailableError
from attnswitch.policy.requests import Request
from attnswitch.record.entries import Row, Run

LeftOut = Callable[[Workload, Request], str]
Known = Callable[[Workload], Sequence[Row]]


class Progress(Protocol):
    """Is told what is being done."""

    def cell(self, number: int, of: int, workload: Workload, left: float | None) -> None:
        """Cell `number` (from 1) begins; `left` seconds until the end, where that is known."""

    def step(self, text: str) -> None:
        """What is being done in the cell."""

    def finished(self, rows: Sequence[Row], again: bool) -> None:
        """The cell's rows; `again` where they were in the record already."""


@dataclass
class Outcome:
    """The rows that there are; `stopped` where a user stopped it before the end."""

    run: Run
    rows: list[Row] = field(default_factory=list)
    stopped: bool = False


@dataclass(frozen=True)
class Grid:
    """Workloads, each under all requests, and how they are measured.

    `resident`: for which rows a fresh process's resident set is taken beside the allocator's peak:
    "longest" of each kind, "all" or "none". `left_out` says why a request is not to be tried at a
    workload (empty: it is).
    """

    workloads: Sequence[Workload]
    requests: Sequence[Request]
    settings: Settings = field(default_factory=Settings)
    resident: str = "longest"
    left_out: LeftOut = lambda workload, request: ""


def run_grid(
    grid: Grid,
    run: Run,
    keep: Callable[[Run, Sequence[Row]], None],
    progress: Progress,
    *,
    workshop: Workshop | None = None,
    known: Known = lambda workload: (),
) -> Outcome:
    """Measure every workload that is not `known`, and `keep` each cell's rows when it is finished.

    Raises:
        ModelInputError, UnavailableError: a subject cannot be made ready.
    """
    shop = workshop or Workshop()
    left = TimeLeft(grid.workloads)
    outcome = Outcome(run)
    position = 0
    try:
        for number, workload in enumerate(grid.workloads):
            progress.cell(number + 1, len(grid.workloads), workload, left.after(number))
            rows = list(known(workload))
            again = bool(rows)
            if not rows:
                start = time.monotonic()
                rows = _measured(grid, shop, run, workload, position, progress)
                left.finished(workload, time.monotonic() - start)
                position += len(rows)
                with uninterrupted():
                    keep(run, rows)
                    outcome.rows += rows
            else:
                outcome.rows += rows
            progress.finished(rows, again)
    except KeyboardInterrupt:
        outcome.stopped = True
    return outcome


def _measured(
    grid: Grid, shop: Workshop, run: Run, workload: Workload, position: int, progress: Progress
) -> list[Row]:
    progress.step("making it ready")
    left_out = {r.word: why for r in grid.requests if (why := grid.left_out(workload, r))}
    found = measure(
        shop.ready(workload), grid.requests, grid.settings, f"c{position}", left_out, progress.step
    )
    for data in found:
        if data["samples"] and _wants_resident(grid, workload):
            progress.step(f"weighing {data['request']} in a fresh process")
            data |= _resident(workload, data["request"], shop.trusts_remote_code)
    return [Row(run.id, position + index, data) for index, data in enumerate(found)]


def _wants_resident(grid: Grid, workload: Workload) -> bool:
    if grid.resident != "longest":
        return grid.resident == "all"
    alike = [one for one in grid.workloads if kind(one) == kind(workload)]
    return workload == max(alike, key=lambda one: (one.tokens * one.batch, one.views))


def _resident(workload: Workload, request: str, trust_remote_code: bool) -> dict[str, Any]:
    try:
        found = resident_bytes(workload, request, trust_remote_code=trust_remote_code)
        return {"resident_bytes": found}
    except UnavailableError as error:
        return {"resident_bytes": None, "resident_reason": str(error)}


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C inside the block is heard after it: what is finished is stored."""
    heard: list[int] = []
    try:
        before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    except ValueError:  # not the main thread: no signal arrives here
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if heard:
        raise KeyboardInterrupt
