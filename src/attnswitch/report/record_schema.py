"""Is this the record that a report was asked to show?"""

from __future__ import annotations

from typing import Any

from attnswitch.errors import InputError

COMPARISON = "attnswitch.comparison/1"
TRACE = "attnswitch.trace/1"
VERIFICATION = "attnswitch.verification/1"
ESTIMATE = "attnswitch.estimate/1"
BENCHMARK = "attnswitch.benchmark/1"


def require_schema(record: Any, schema: str) -> None:
    """Raise InputError where `record` is not a record of `schema`."""
    found = record.get("schema") if isinstance(record, dict) else type(record).__name__
    if found != schema:
        raise InputError(f"expected a record of schema {schema!r}, found {found!r}")
    if schema == COMPARISON and not record.get("runs"):
        raise InputError("the comparison record holds no runs")
