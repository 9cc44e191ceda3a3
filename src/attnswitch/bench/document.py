"""The record `attnswitch.benchmark/1`: rows of one or more runs, their ratios and environments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attnswitch.bench.ratios import ratios
from attnswitch.record.entries import Row, Run

SCHEMA = "attnswitch.benchmark/1"


def document(runs: Sequence[Run], rows: Sequence[Row]) -> dict[str, Any]:
    """The record of these rows; `environment` is that of the newest run, the baselines of ratios
    are those of the runs' settings."""
    ordered = sorted(runs, key=lambda run: run.id)
    plain = [{"run": row.run, "position": row.position, **row.data} for row in rows]
    return {
        "schema": SCHEMA,
        "environment": ordered[-1].environment if ordered else {},
        "project": ordered[-1].project if ordered else {},
        "runs": [
            {"id": run.id, "started": run.started, "command": run.command, "label": run.label,
             "machine": run.machine, "settings": run.settings, "environment": run.environment,
             "project": run.project}
            for run in ordered
        ],
        "rows": plain,
        "ratios": ratios(plain, {run.id: run.settings.get("baseline") for run in runs}),
    }  # fmt: skip
