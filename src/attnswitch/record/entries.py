"""What the record keeps, as data: a run, and its rows.

A run is one command on one machine. A row is one workload under one request, with its raw samples.
Rows of a run that share a `cell` were measured in turn, round by round, so that the index of a
sample means the same round in each of them.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from attnswitch.record.clean_text import clean

Json = dict[str, Any]

# What a row is good for: `valid` alone is compared and ranked.
STATUSES = ("valid", "invalid", "not run")


@dataclass(frozen=True)
class Run:
    """One command on one machine.

    `id` is its time and some chance, so that ids sort by time and never collide; `settings` is
    what was asked for, from which the same run can be made again; `project` is
    {path, commit, dirty, ...} of the project under test, or empty; `machine` is equal for runs
    that may be compared in seconds.
    """

    id: str
    started: str
    command: str
    label: str = ""
    machine: str = ""
    settings: Json = field(default_factory=dict)
    environment: Json = field(default_factory=dict)
    project: Json = field(default_factory=dict)

    @classmethod
    def begin(cls, command: str, environment: Json, **more: Any) -> Run:
        """A run that starts now."""
        now = datetime.now(timezone.utc)
        return cls(
            id=f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}",
            started=now.isoformat(timespec="seconds"),
            command=command,
            machine=machine_of(environment),
            environment=clean(environment),
            **clean(more),
        )


@dataclass(frozen=True)
class Row:
    """One workload under one request.

    `data` is a row of the record `attnswitch.benchmark/1`, plain JSON; what is asked of often is
    read from it.
    """

    run: str
    position: int
    data: Json

    @property
    def key(self) -> str:
        """Equal for rows that measure the same: workload and request."""
        return key_of(self.data["workload"], self.data["request"])

    @property
    def cell(self) -> str:
        """Equal, within a run, for rows that were measured in turn."""
        return str(self.data["cell"])

    @property
    def samples(self) -> list[float]:
        """Raw seconds, one a round."""
        return list(self.data.get("samples") or [])

    @property
    def is_valid(self) -> bool:
        """Whether it may be compared and ranked."""
        return self.data.get("status") == "valid"


def key_of(workload: Json, request: str) -> str:
    """A short name for a workload under a request; equal data gives equal names."""
    return _digest([workload, request])


def machine_of(environment: Json) -> str:
    """A short name for the hardware and the operating system's name: what seconds depend on.

    Versions of packages and drivers are left out: that they may change is what history is for.
    """
    devices = [
        {k: v for k, v in one.items() if k in ("name", "capability", "memory_bytes")}
        for one in environment.get("devices") or []
    ]
    system = str(environment.get("system") or "").split(" ")[0]
    told = [environment.get(k) for k in ("processor", "cpu_flags", "cores", "threads")]
    return _digest([system, *told, devices])


def _digest(value: Any) -> str:
    text = json.dumps(clean(value), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
