"""Two runs of the record, row by row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from attnswitch.history.findings import two_group_ratio
from attnswitch.record.entries import Row, Run


def compare_runs(old: Run, new: Run, rows: Sequence[Row]) -> dict[str, Any]:
    """The record `attnswitch.run-comparison/1`: each row that both have, new over old.

    The seconds were taken at different times: a ratio says what was measured then and then, with
    the interval of both runs' samples, and the control's own ratio beside it; whether the code is
    slower is a question for `history --check`.
    """
    held = {run.id: {row.key: row for row in rows if row.run == run.id} for run in (old, new)}
    found = [
        _one(held[old.id][key], held[new.id][key]) for key in held[old.id] if key in held[new.id]
    ]
    return {
        "schema": "attnswitch.run-comparison/1",
        "old": _told(old),
        "new": _told(new),
        "same_machine": old.machine == new.machine,
        "rows": found,
        "only_old": [r.data["workload"] | {"request": r.data["request"]}
                     for k, r in held[old.id].items() if k not in held[new.id]],
        "only_new": [r.data["workload"] | {"request": r.data["request"]}
                     for k, r in held[new.id].items() if k not in held[old.id]],
    }  # fmt: skip


def _told(run: Run) -> dict[str, Any]:
    return {"id": run.id, "started": run.started, "label": run.label, "project": run.project,
            "machine": run.machine}  # fmt: skip


def _one(old: Row, new: Row) -> dict[str, Any]:
    peaks = old.data.get("peak_bytes"), new.data.get("peak_bytes")
    return {
        "workload": new.data["workload"],
        "request": new.data["request"],
        "seconds": _ratio(old.samples, new.samples),
        "control": _ratio(old.data.get("control") or [], new.data.get("control") or []),
        "peak_bytes": peaks[1] / peaks[0] if peaks[0] and peaks[1] else None,
        "ran": [old.data.get("backend"), new.data.get("backend")],
        "valid": old.is_valid and new.is_valid,
    }


def _ratio(old: Sequence[float], new: Sequence[float]) -> dict[str, float] | None:
    if not old or not new:
        return None
    return two_group_ratio([*map(math.log, old)], [*map(math.log, new)])._asdict()
