"""The record as JSON Lines: one line a run or row, to be kept, sent, and put together with `cat`.

{"schema": "attnswitch.record/2", "run": {...}}
{"schema": "attnswitch.record/2", "row": {"run": "...", "position": 0, ...}}
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from typing import Any

from attnswitch.errors import InputError
from attnswitch.record.clean_text import clean
from attnswitch.record.entries import STATUSES, Row, Run, machine_of
from attnswitch.record.schema import VERSION
from attnswitch.record.store import Record

_PREFIX = "attnswitch.record/"
_RUN_FIELDS = {field.name for field in fields(Run)}


def lines(runs: Sequence[Run], rows: Iterable[Row]) -> Iterator[str]:
    """A line for each run, then one for each row; the same record gives the same lines."""
    for run in runs:
        yield _line({"run": asdict(run)})
    for row in rows:
        yield _line({"row": {"run": row.run, "position": row.position, **row.data}})


def _line(content: dict[str, Any]) -> str:
    told = {"schema": f"{_PREFIX}{VERSION}", **clean(content)}
    return json.dumps(told, ensure_ascii=False, allow_nan=False)


def read_lines(text: Iterable[str], name: str) -> tuple[list[Run], list[Row]]:
    """Runs and rows from lines; `name` is the file's, for messages.

    Raises:
        InputError: a line is no such line, or of a newer version; nothing is half read.
    """
    runs: dict[str, Run] = {}
    rows: list[Row] = []
    for number, line in enumerate(text, start=1):
        if not line.strip():
            continue
        try:
            one = _read(line)
        except ValueError as error:
            raise InputError(f"{name}:{number}: {error}") from None
        if isinstance(one, Run):
            runs[one.id] = one
        else:
            rows.append(one)
    missing = {row.run for row in rows} - set(runs)
    if missing:
        raise InputError(f"{name}: the run {min(missing)} has rows, but no line of its own")
    return list(runs.values()), rows


def import_into(record: Record, runs: Sequence[Run], rows: Sequence[Row]) -> int:
    """Add what the record does not have yet; returns how many rows that were."""
    before = sum(record.count_rows().values())
    for run in runs:
        record.add(run, [row for row in rows if row.run == run.id])
    return sum(record.count_rows().values()) - before


def _read(line: str) -> Run | Row:
    try:
        told = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"no valid JSON ({error.msg})") from None
    if not isinstance(told, dict) or not str(told.get("schema", "")).startswith(_PREFIX):
        raise ValueError('not a line of a record: it has no "schema": "attnswitch.record/..."')
    version = str(told["schema"]).removeprefix(_PREFIX)
    if not version.isdigit() or not 1 <= int(version) <= VERSION:
        raise ValueError(
            f"of version {version!r}, this attnswitch knows versions 1 to {VERSION}: upgrade it"
        )
    if isinstance(told.get("run"), dict):
        return _run(told["run"])
    if isinstance(told.get("row"), dict):
        return _row(told["row"])
    raise ValueError("neither a run nor a row")


def _run(told: dict[str, Any]) -> Run:
    known = {name: value for name, value in told.items() if name in _RUN_FIELDS}
    missing = {"id", "started", "command"} - set(known)
    if missing:
        raise ValueError(f"a run without {min(missing)!r}")
    known.setdefault("machine", machine_of(known.get("environment") or {}))
    return Run(**clean(known))


def _row(told: dict[str, Any]) -> Row:
    told = dict(clean(told))
    missing = {"run", "position", "cell", "workload", "request", "status"} - set(told)
    if missing:
        raise ValueError(f"a row without {min(missing)!r}")
    if told["status"] not in STATUSES or not isinstance(told["position"], int):
        raise ValueError("a row whose status or position is none")
    return Row(told.pop("run"), told.pop("position"), told)
