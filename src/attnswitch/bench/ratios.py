"""Ratios of the rows of a cell, and whether they may be ranked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attnswitch.bench.statistics import ratio
from attnswitch.report.kernel_groups import same_kernels

Row = dict[str, Any]
LEAST_ROUNDS = 3


def ratios(rows: Sequence[Row], baselines: Mapping[Any, str | None] = {}) -> list[dict[str, Any]]:
    """Each row over the baseline's row of its cell: seconds round by round, and peak memory.

    `baselines` holds a request by run. None, or one that a cell does not have, is the cell's first
    request that ran.
    `ranked` is False, with the reason in `because`, where one of the two is not valid, both ran the
    same kernels (then the numbers show the noise), or there are fewer than three rounds.
    """
    cells: dict[tuple[Any, Any], list[Row]] = {}
    for row in rows:
        cells.setdefault((row.get("run"), row["cell"]), []).append(row)
    return [one for (run, _), cell in cells.items() for one in _of_cell(cell, baselines.get(run))]


def _of_cell(rows: Sequence[Row], baseline: str | None) -> Iterator[dict[str, Any]]:
    ran = [row for row in rows if row.get("samples")]
    named = [row for row in ran if row["request"] == baseline]
    base = next(iter(named or ran), None)
    if base is None:
        return
    for row in rows:
        if row is base or not row.get("samples"):
            continue
        because = unranked_because(row, base)
        peaks = row.get("peak_bytes"), base.get("peak_bytes")
        yield {
            "run": row.get("run"),
            "cell": row["cell"],
            "workload": row["workload"],
            "tokens": row.get("tokens"),
            "candidate": row["request"],
            "baseline": base["request"],
            "seconds": ratio(row["samples"], base["samples"])._asdict(),
            "peak_bytes": peaks[0] / peaks[1] if peaks[0] and peaks[1] else None,
            "ranked": not because,
            "because": because,
        }


def unranked_because(row: Row, base: Row) -> str:
    """Why two rows must not be ranked; empty where they may be."""
    for one in (row, base):
        if one["status"] != "valid":
            return f"{one['request']} did not run what was asked for"
    if same_kernels(row.get("receipts") or [], base.get("receipts") or []):
        return "both ran the same kernels"
    if len(row.get("samples") or []) < LEAST_ROUNDS:
        return f"fewer than {LEAST_ROUNDS} rounds"
    return ""
