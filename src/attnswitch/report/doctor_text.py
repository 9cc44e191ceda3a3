"""A doctor's record (`attnswitch.doctor/1`) as plain lines, fit to be pasted into an issue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attnswitch.report.environment_rows import environment_rows
from attnswitch.report.record_schema import require_schema
from attnswitch.report.safe_text import visible

Record = dict[str, Any]
SCHEMA = "attnswitch.doctor/1"


def doctor_text(record: Record) -> str:
    """The record as text.

    Raises:
        InputError: `record` is no doctor's record.
    """
    require_schema(record, SCHEMA)
    parts = [_environment(record), _findings(record), _backends(record)]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _environment(record: Record) -> Iterator[str]:
    yield "Environment"
    for name, value in environment_rows(record["environment"]):
        yield f"  {visible(name)}: {visible(value)}"


def _findings(record: Record) -> Iterator[str]:
    if not record["findings"]:
        yield "Nothing is broken."
        return
    yield "Broken or impossible"
    for finding in record["findings"]:
        yield f"  {visible(finding['subject'])}: {visible(finding['cause'])}"
        yield f"    remedy: {visible(finding['remedy'])}"


def _backends(record: Record) -> Iterator[str]:
    yield "Backends"
    for backend in record["backends"]:
        word = "available" if backend["available"] else "not available"
        yield f"  {backend['name']} ({backend['family']}): {word}"
        for reason in backend["reasons"]:
            yield f"    because {visible(reason)}"
        if backend["remedy"] and not backend["available"]:
            yield f"    remedy: {visible(backend['remedy'])}"
        if backend["probe"]:
            yield f"    probe: {visible(_probe(backend['probe']))}"


def _probe(probe: Record) -> str:
    where = f"{probe['dtype']} on {probe['device']}"
    if not probe["ran"]:
        return f"did not run ({where}): {probe['error']}"
    kernels = ", ".join(probe["kernels"])
    verdict = "agrees with" if probe["agrees"] else "DOES NOT AGREE with"
    off = f" ({probe['error']})" if probe["error"] else ""
    ran = f"forward and backward ran ({where}), {verdict} the float64 reference{off}"
    return f"{ran}; kernels: {kernels}" if kernels else f"{ran}; no attention kernel was seen"
