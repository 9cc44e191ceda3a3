"""Pick runs and rows of the record: by label, subject, request, phase, machine, commit, time."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from attnswitch.errors import InputError, did_you_mean
from attnswitch.record.entries import Row, Run
from attnswitch.record.store import Record

_AGO = re.compile(r"(\d+)\s*(m|h|d|w)$")
_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@dataclass(frozen=True)
class Filter:
    """What is wanted; None is everything. `since` is a time in ISO 8601, or an age: 30d, 12h."""

    label: str | None = None
    subject: str | None = None
    request: str | None = None
    phase: str | None = None
    dtype: str | None = None
    part: str | None = None
    machine: str | None = None
    commit: str | None = None
    since: str | None = None

    def takes_run(self, run: Run) -> bool:
        """Whether a run is wanted, by what stands in the run itself."""
        return (
            self.label in (None, run.label)
            and run.machine.startswith(self.machine or "")
            and str(run.project.get("commit") or "").startswith(self.commit or "")
            and (self.since is None or _time(run.started) >= time_of(self.since))
        )

    def takes_row(self, row: Row) -> bool:
        """Whether a row is wanted."""
        work = row.data["workload"]
        return (
            self.subject in (None, work.get("subject"))
            and self.request in (None, row.data["request"])
            and self.phase in (None, work.get("phase"))
            and self.dtype in (None, work.get("dtype"))
            and self.part in (None, work.get("part"))
        )


def select(record: Record, wanted: Filter) -> tuple[list[Run], list[Row]]:
    """The runs, oldest first, that have a wanted row, and those rows.

    Raises:
        InputError: `since` is no time; or nothing is left, saying what there is.
    """
    runs = [run for run in record.runs() if wanted.takes_run(run)]
    rows = [row for row in record.rows([run.id for run in runs]) if wanted.takes_row(row)]
    having = {row.run for row in rows}
    runs = [run for run in runs if run.id in having]
    if not runs:
        raise InputError(_nothing(record, wanted))
    return runs, rows


def _nothing(record: Record, wanted: Filter) -> str:
    """Why nothing was found: the first condition that no run or row of the record meets."""
    runs, rows = record.runs(), record.rows()
    if not runs:
        return f"the record {record.path} is empty: measure something with attnswitch bench"
    known: dict[str, Callable[[], set[str]]] = {
        "label": lambda: {run.label for run in runs},
        "machine": lambda: {run.machine for run in runs},
        "commit": lambda: {str(run.project.get("commit"))[:12] for run in runs},
        "request": lambda: {row.data["request"] for row in rows},
        **{name: _values(rows, name) for name in ("subject", "phase", "dtype", "part")},
    }
    for name, values in known.items():
        value = getattr(wanted, name)
        begins = name in ("machine", "commit")
        if value is not None and not any(
            v == value or (begins and v.startswith(value)) for v in values()
        ):
            listed = ", ".join(repr(v) for v in sorted(values())[:8])
            hint = did_you_mean(value, values())
            return f"the record has no {name} {value!r}{hint}; it has {listed}"
    return "no run of the record meets all of these conditions together"


def _values(rows: Sequence[Row], name: str) -> Callable[[], set[str]]:
    return lambda: {str(row.data["workload"].get(name)) for row in rows}


def find_run(runs: Sequence[Run], word: str) -> Run:
    """The run that a word names: the beginning of its id, `last`, `last~1` the one before it.

    Raises:
        InputError: none or several.
    """
    ordered = sorted(runs, key=lambda run: run.id)
    back = re.fullmatch(r"last(?:~(\d+))?", word)
    if back:
        number = int(back.group(1) or 0)
        if number >= len(ordered):
            raise InputError(f"there is no run {word}: the record has {len(ordered)}")
        return ordered[-1 - number]
    found = [run for run in ordered if run.id.startswith(word)]
    if len(found) == 1:
        return found[0]
    if not found:
        newest = ordered[-1].id if ordered else "none"
        raise InputError(
            f"no run begins with {word!r}; attnswitch history lists them (the newest is {newest})"
        )
    listed = ", ".join(run.id for run in found[:4])
    raise InputError(f"{len(found)} runs begin with {word!r}: {listed}; give more of the id")


def time_of(text: str) -> datetime:
    """The time that a text names: ISO 8601 (UTC where it has no zone) or an age such as 30d.

    Raises:
        InputError: it is neither.
    """
    age = _AGO.fullmatch(text.strip())
    if age:
        seconds = int(age.group(1)) * _SECONDS[age.group(2)]
        return datetime.fromtimestamp(
            datetime.now(timezone.utc).timestamp() - seconds, timezone.utc
        )
    try:
        return _time(text.strip())
    except ValueError:
        raise InputError(
            f"--since {text!r} is no time: write 2026-05-31, 2026-05-31T12:00, or an age such as "
            "30d, 12h"
        ) from None


def _time(text: str) -> datetime:
    told = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return told if told.tzinfo else told.replace(tzinfo=timezone.utc)


def version_of_run(run: Run) -> tuple[Any, ...]:
    """What code ran: attnswitch's, the project's, and the packages'."""
    project = run.project
    return (
        run.environment.get("code"), tuple(sorted((run.environment.get("packages") or {}).items())),
        project.get("commit"), project.get("dirty"),
    )  # fmt: skip
