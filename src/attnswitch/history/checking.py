"""Has it become slower than its own past? The newest runs against the ones before them.

What is compared is each row's seconds over the control's, round by round: a machine that is slower
as a whole (a neighbour, a clock) slows the control too, and is told apart. With `absolute` it is
the seconds themselves, for a machine that nobody else uses.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from attnswitch.errors import InputError
from attnswitch.history.findings import (
    ALPHA,
    CLOCKS,
    Check,
    Evidence,
    Finding,
    two_group_ratio,
)
from attnswitch.history.permutation import relabelings
from attnswitch.history.selecting import version_of_run
from attnswitch.record.entries import Row, Run

# With fewer on a side chance cannot be ruled out at 1 %.
LEAST_RUNS = 5
MOST_NEW, MOST_OLD = 10, 30


@dataclass(frozen=True)
class Sides:
    """Runs of one machine and one way of measuring: the newest ones, and the ones before."""

    old: list[Run]
    new: list[Run]


def sides(runs: Sequence[Run], rows: Sequence[Row], newest: int = MOST_NEW) -> Sides:
    """The newest runs of one version, at most `newest`, and up to three times as many before them.

    Runs of other machines, measured with other settings than the newest run, or without one of its
    rows, are left out.

    Raises:
        InputError: there are too few; says how to get more.
    """
    last = runs[-1]
    held: dict[str, set[str]] = {}
    for row in rows:
        if row.is_valid:
            held.setdefault(row.run, set()).add(row.key)
    alike = [
        run
        for run in runs
        if (run.machine, run.settings) == (last.machine, last.settings)
        and held.get(run.id, set()) >= held.get(last.id, set())
    ]
    count = 0
    for run in reversed(alike):
        if count == newest or version_of_run(run) != version_of_run(last):
            break
        count += 1
    if count == len(alike):
        count = len(alike) // 2  # one version throughout: has the machine changed?
    new, old = (
        alike[len(alike) - count :],
        alike[: len(alike) - count][-max(MOST_OLD, 3 * newest) :],
    )
    if min(len(new), len(old)) < LEAST_RUNS:
        raise InputError(
            f"too few runs to tell: {len(old)} before and {len(new)} now that measured the same on "
            f"the same machine, and {LEAST_RUNS} are needed on each side; measure more with "
            "attnswitch bench --repeat 10, or name an old commit with --commit, which is measured "
            "beside this one"
        )
    return Sides(old, new)


def check(
    two: Sides, rows: Sequence[Row], *, tolerance: float, detect: float, absolute: bool = False
) -> Check:
    """Judge every row that each run of both sides has.

    Args:
        tolerance: a slowdown up to this share is none (0.01 is 1 %).
        detect: the slowdown that is to be found or ruled out.
        absolute: compare seconds, not seconds over the control's.

    Raises:
        InputError: no row is in all runs.
    """
    everything = [*two.old, *two.new]
    figures = _figures(rows, everything, absolute)
    if not figures:
        raise InputError("no row is in every one of these runs: nothing can be compared")
    before = len(two.old)
    shift = math.log1p(tolerance)
    chances = relabelings(
        {place: values[:before] for place, values in figures.items()},
        {place: [v - shift for v in values[before:]] for place, values in figures.items()},
    )
    evidence: dict[str, dict[str, Evidence]] = {}
    for (key, clock), values in figures.items():
        ratio = two_group_ratio(values[:before], values[before:])
        evidence.setdefault(key, {})[clock] = Evidence(ratio, chances[key, clock])
    shown = {row.key: row.data for row in rows}
    controls = _controls(rows, everything)
    return Check(
        old=_words(two.old),
        new=_words(two.new),
        findings=[
            Finding.of(shown[key]["workload"], shown[key]["request"], told,
                       (before, len(two.new)), tolerance=tolerance, detect=detect)
            for key, told in evidence.items()
        ],
        control=two_group_ratio(controls[:before], controls[before:]) if controls else None,
        settings={"tolerance": tolerance, "detect": detect, "alpha": ALPHA,
                  "absolute": float(absolute)},
        notes=_notes(two),
    )  # fmt: skip


def figure_of(row: Row, clock: str = "clock", absolute: bool = False) -> float | None:
    """The logarithm of a row's median sample over the control's, round by round; None without."""
    names = {"clock": ("samples", "control"), "processor": ("processor", "control_processor")}
    samples, control = (row.data.get(name) or [] for name in names[clock])
    if not samples or (not absolute and len(control) != len(samples)):
        return None
    shares = samples if absolute else [s / c for s, c in zip(samples, control, strict=True) if c]
    median = statistics.median(shares) if shares else 0.0
    return math.log(median) if median > 0 else None


def _figures(
    rows: Sequence[Row], runs: Sequence[Run], absolute: bool
) -> dict[tuple[str, str], list[float]]:
    """{(row, clock): its figure in each run}, for the rows that are valid in all of them."""
    order = {run.id: number for number, run in enumerate(runs)}
    held: dict[tuple[str, str], dict[int, float]] = {}
    for row in rows:
        for clock in CLOCKS:
            figure = figure_of(row, clock, absolute) if row.is_valid and row.run in order else None
            if figure is not None:
                held.setdefault((row.key, clock), {})[order[row.run]] = figure
    return {
        place: [by_run[number] for number in range(len(runs))]
        for place, by_run in held.items()
        if len(by_run) == len(runs)
    }


def _controls(rows: Sequence[Row], runs: Sequence[Run]) -> list[float]:
    """The logarithm of the control's median seconds in each run; empty where one has none."""
    held: dict[str, list[float]] = {}
    for row in rows:
        held.setdefault(row.run, []).extend(row.data.get("control") or [])
    if not all(held.get(run.id) for run in runs):
        return []
    return [math.log(statistics.median(held[run.id])) for run in runs]


def _words(runs: Sequence[Run]) -> str:
    first, last = runs[0].started[:16], runs[-1].started[:16]
    commits = {str(run.project.get("commit") or "")[:12] for run in runs} - {""}
    at = f", {', '.join(sorted(commits))}" if 0 < len(commits) <= 3 else ""
    return f"{len(runs)} runs from {first} to {last}{at}"


def _notes(two: Sides) -> list[str]:
    """What else changed between the sides: packages and driver."""
    notes = []
    before, after = (side[-1].environment for side in (two.old, two.new))
    for name in ("packages", "system", "python"):
        one, other = before.get(name), after.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            for package in sorted(set(one) | set(other)):
                if one.get(package) != other.get(package):
                    notes.append(f"{package}: {one.get(package)} before, {other.get(package)} now")
        elif one != other:
            notes.append(f"{name}: {one} before, {other} now")
    return notes
