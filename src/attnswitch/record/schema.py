"""The tables of the record, their version, and the way from each version to the next.

A file says with SQLite's `application_id` that it is a record, and with `user_version` of which
version. A new file is made by walking all the steps from version 0, so that the steps are what
every test runs.

    version 1   runs and rows, each as JSON beside the columns that are asked for
    version 2   the machine as a column, and rows found by workload: what `history --check` asks
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable

from attnswitch.record.entries import key_of, machine_of

APPLICATION_ID = 0x41545357  # "ATSW"

_VERSION_1 = (
    """CREATE TABLE runs (
        id TEXT PRIMARY KEY,
        started TEXT NOT NULL,
        command TEXT NOT NULL,
        label TEXT NOT NULL,
        settings TEXT NOT NULL,
        environment TEXT NOT NULL,
        project TEXT NOT NULL
    )""",
    """CREATE TABLE rows (
        run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        cell TEXT NOT NULL,
        request TEXT NOT NULL,
        status TEXT NOT NULL,
        median_seconds REAL,
        peak_bytes INTEGER,
        data TEXT NOT NULL,
        PRIMARY KEY (run, position)
    )""",
)


def _to_version_1(connection: sqlite3.Connection) -> None:
    for statement in _VERSION_1:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _to_version_2(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE runs ADD COLUMN machine TEXT NOT NULL DEFAULT ''")
    for run, environment in connection.execute("SELECT id, environment FROM runs").fetchall():
        machine = machine_of(json.loads(environment))
        connection.execute("UPDATE runs SET machine = ? WHERE id = ?", (machine, run))
    connection.execute("ALTER TABLE rows ADD COLUMN workload TEXT NOT NULL DEFAULT ''")
    found = connection.execute("SELECT run, position, data FROM rows").fetchall()
    for run, position, text in found:
        data = json.loads(text)
        key = key_of(data["workload"], data["request"])
        connection.execute(
            "UPDATE rows SET workload = ? WHERE run = ? AND position = ?", (key, run, position)
        )
    connection.execute("CREATE INDEX rows_by_workload ON rows (workload, run)")
    connection.execute("CREATE INDEX runs_by_machine ON runs (machine, started)")


STEPS: tuple[Callable[[sqlite3.Connection], None], ...] = (_to_version_1, _to_version_2)
VERSION = len(STEPS)


def migrate(connection: sqlite3.Connection, to: int = VERSION) -> None:
    """Bring an open transaction's file from its version to version `to`."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for step in STEPS[version:to]:
        step(connection)
        version += 1
        connection.execute(f"PRAGMA user_version = {version}")
