"""Compare an estimate with a measurement on this machine."""

from __future__ import annotations

from typing import Any

from attnswitch.errors import InputError
from attnswitch.estimating.estimate import Progress
from attnswitch.estimating.measuring import measured_peaks
from attnswitch.estimating.scenario import Scenario
from attnswitch.estimating.target import Target

ALLOWED = 0.10


def add_measurements(
    record: dict[str, Any], scenario: Scenario, where: Target, progress: Progress
) -> None:
    """Run what the record foretells, and put `check` into it: rows, and whether all agree.

    What is compared is what each phase allocates itself (`dynamic_bytes`).

    Raises:
        InputError: the estimate is for another machine, or of attention alone.
    """
    if not where.here:
        raise InputError(f"--check measures on this machine, and the estimate is for {where.title}")
    if not record["model"]:
        raise InputError("--check compares the whole model, and the estimate is of attention alone")
    rows = []
    for model in record["model"]:
        progress(f"running it under {model['backend']}")
        measured = measured_peaks(scenario, model["backend"])
        rows += [_row(model["backend"], phase, measured) for phase in model["phases"]]
    record["check"] = {
        "rows": rows,
        "agrees": all(abs(row["ratio"] - 1) <= ALLOWED for row in rows),
    }


def _row(backend: str, phase: dict[str, Any], measured: dict[str, int]) -> dict[str, Any]:
    found, expected = measured[phase["phase"]], phase["dynamic_bytes"]
    return {
        "backend": backend, "phase": phase["phase"], "estimated_bytes": expected,
        "measured_bytes": found, "ratio": expected / found,
    }  # fmt: skip
