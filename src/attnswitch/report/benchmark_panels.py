"""The rows of a benchmark as panels: what belongs in one plot, and what in one line of it.

A panel is one phase of one subject on one machine; its series are the requests, their points the
lengths. Of several rows for one point the newest is taken, with its own ratio: rows of different
cells were not measured in turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from attnswitch.report.quantities import low_median_high

Record = dict[str, Any]
# What each phase is called, in the order in which they stand.
PHASE_NAMES = {
    "vision": "vision", "prefill": "prefill", "decode": "decode", "training_step": "training step"
}  # fmt: skip


@dataclass(frozen=True)
class Point:
    """One row: `length` is what stands on the axis, `ratio` its entry in the record's ratios."""

    length: int
    row: Record
    ratio: Record | None

    @property
    def seconds(self) -> tuple[float, float, float] | None:
        """(low, median, high), where it was timed."""
        return low_median_high(self.row.get("seconds"))

    @property
    def is_valid(self) -> bool:
        """Whether it may be ranked."""
        return self.row.get("status") == "valid"


@dataclass
class Series:
    """One request over all lengths of a panel."""

    request: str
    points: list[Point] = field(default_factory=list)

    @property
    def family(self) -> str:
        """The family of what ran, "mixed" where it changed, "unknown" where nothing ran."""
        found = {str(p.row.get("family")) for p in self.points if p.seconds}
        return found.pop() if len(found) == 1 else "mixed" if found else "unknown"

    def timed(self) -> list[Point]:
        """The points that have a time."""
        return [point for point in self.points if point.seconds]


@dataclass
class Panel:
    """One phase of one subject."""

    subject: str
    part: str
    phase: str
    dtype: str
    batch: int
    device: str
    machine: str = ""
    series: list[Series] = field(default_factory=list)

    @property
    def lengths(self) -> list[int]:
        """All lengths, ascending."""
        return sorted({point.length for one in self.series for point in one.points})

    @property
    def baseline(self) -> str | None:
        """The request that the others are compared with."""
        found = (p.ratio["baseline"] for one in self.series for p in one.points if p.ratio)
        return next(found, None)

    @property
    def axis(self) -> str:
        """What the lengths count."""
        return "patches, all views" if self.phase == "vision" else "tokens"


def panels(record: Record) -> list[Panel]:
    """Every panel of a benchmark record, subjects as they come, phases in their order."""
    machines = {run.get("id"): str(run.get("machine") or "") for run in record.get("runs") or []}
    several = len(set(machines.values())) > 1
    found: dict[tuple[Any, ...], Panel] = {}
    newest = _newest(record, machines)
    ratios = _by_row(record)
    for row in newest:
        work = row["workload"]
        machine = machines.get(row.get("run"), "") if several else ""
        key = (machine, work.get("subject"), work.get("part"), work.get("phase"),
               work.get("dtype"), work.get("batch"), work.get("device"))  # fmt: skip
        panel = found.get(key)
        if panel is None:
            panel = found[key] = Panel(
                str(work.get("subject")), str(work.get("part")), str(work.get("phase")),
                str(work.get("dtype")), int(work.get("batch") or 1), str(work.get("device")),
                machine,
            )  # fmt: skip
        point = Point(length_of(row), row, ratios.get(_row_key(row)))
        _series(panel, str(row.get("request"))).points.append(point)
    for panel in found.values():
        for one in panel.series:
            one.points.sort(key=lambda point: point.length)
    subjects = list(dict.fromkeys((p.machine, p.subject, p.part) for p in found.values()))
    return sorted(
        found.values(),
        key=lambda p: (subjects.index((p.machine, p.subject, p.part)), _phase_order(p.phase)),
    )


def length_of(row: Record) -> int:
    """What stands on the axis: tokens; in the vision phase the patches of all views of an item."""
    work = row["workload"]
    views = max(int(work.get("views") or 1), 1) if work.get("phase") == "vision" else 1
    return int(row.get("tokens") or 0) * views


def _phase_order(phase: str) -> int:
    names = list(PHASE_NAMES)
    return names.index(phase) if phase in names else len(names)


def _series(panel: Panel, request: str) -> Series:
    for one in panel.series:
        if one.request == request:
            return one
    panel.series.append(Series(request))
    return panel.series[-1]


def _newest(record: Record, machines: dict[Any, str]) -> list[Record]:
    """Of rows that measured the same on one machine the newest, in the order they came first."""
    found: dict[str, Record] = {}
    for row in sorted(record.get("rows") or [], key=lambda row: str(row.get("run"))):
        key = repr((machines.get(row.get("run")), sorted(row["workload"].items(), key=str),
                    row.get("request")))  # fmt: skip
        found[key] = row
    return list(found.values())


def _row_key(row: Record) -> tuple[Any, ...]:
    return row.get("run"), row.get("cell"), row.get("request")


def _by_row(record: Record) -> dict[tuple[Any, ...], Record]:
    return {
        (one.get("run"), one.get("cell"), one.get("candidate")): one
        for one in record.get("ratios") or []
    }


def points_at(panel: Panel, length: int) -> Iterator[tuple[Series, Point]]:
    """The points of one length, in the order of the requests."""
    for series in panel.series:
        for point in series.points:
            if point.length == length:
                yield series, point


def title(panel: Panel) -> str:
    """The panel in words, without its phase: `llava-1.5-7b, attention alone, bfloat16`."""
    parts = ["built-in LLaVA" if panel.subject == "demo" else panel.subject]
    if panel.part == "attention":
        parts.append("attention alone")
    parts.append(panel.dtype)
    if panel.batch != 1:
        parts.append(f"batch {panel.batch}")
    if panel.device not in ("cpu", "None"):
        parts.append(panel.device)
    if panel.machine:
        parts.append(f"machine {panel.machine}")
    return ", ".join(parts)


def groups(found: list[Panel]) -> Iterator[tuple[str, list[Panel]]]:
    """(title, its panels by phase), in order."""
    held: dict[str, list[Panel]] = {}
    for panel in found:
        held.setdefault(title(panel), []).append(panel)
    yield from held.items()
