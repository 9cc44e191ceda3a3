"""The record as a SQLite file: open, add, read.

A row is there or it is not: each addition is one transaction, written ahead (WAL) and synced, so
that a process killed at any moment loses nothing that was added and leaves nothing half. Other
processes may write at the same time; each waits for its turn.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attnswitch.errors import InputError, UnavailableError
from attnswitch.record import schema
from attnswitch.record.clean_text import clean, clean_text
from attnswitch.record.entries import Row, Run

# How long to wait for other writers; a transaction takes milliseconds.
BUSY_SECONDS = 60.0
_JSON_COLUMNS = ("settings", "environment", "project")
_RUN = "id, started, command, label, machine, settings, environment, project"


class Record:
    """An open record. Also a context manager that closes it."""

    def __init__(self, path: Path, connection: sqlite3.Connection):
        self.path, self._connection = path, connection

    def __enter__(self) -> Record:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()

    def add(self, run: Run, rows: Sequence[Row]) -> None:
        """Add finished rows, all or none, and their run where it is not there yet.

        Adding a row that is there already changes nothing.

        Raises:
            UnavailableError: the file cannot be written (disk full, another process holds it).
        """
        with told_in_one_line(self.path), self._transaction():
            self._connection.execute(
                f"INSERT OR IGNORE INTO runs ({_RUN}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (run.id, run.started, clean_text(run.command), clean_text(run.label), run.machine,
                 *(_text(getattr(run, name)) for name in _JSON_COLUMNS)),
            )  # fmt: skip
            self._connection.executemany(
                "INSERT OR IGNORE INTO rows (run, position, cell, request, status, median_seconds,"
                " peak_bytes, workload, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [_values(row) for row in rows],
            )

    def runs(self) -> list[Run]:
        """Every run, the oldest first."""
        with told_in_one_line(self.path):
            found = self._connection.execute(f"SELECT {_RUN} FROM runs ORDER BY id").fetchall()
        return [Run(*told[:5], *(json.loads(text) for text in told[5:])) for told in found]

    def rows(self, runs: Sequence[str] | None = None) -> list[Row]:
        """The rows of these runs (None: of all), in the order of the runs and their positions."""
        wanted = None if runs is None else set(runs)
        with told_in_one_line(self.path):
            found = self._connection.execute(
                "SELECT run, position, data FROM rows ORDER BY run, position"
            )
            return [
                Row(run, position, json.loads(data))
                for run, position, data in found
                if wanted is None or run in wanted
            ]

    def count_rows(self) -> dict[str, int]:
        """{run: number of its rows}."""
        with told_in_one_line(self.path):
            return dict(self._connection.execute("SELECT run, count(*) FROM rows GROUP BY run"))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def open_record(path: Path, *, create: bool = True) -> Record:
    """Open a record, of this version or an older one, which is brought up to this version.

    Raises:
        InputError: the file is no record, or one of a newer version; or, without `create`, there
            is none.
        UnavailableError: it cannot be opened or written here.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; a record is one file")
    if not path.exists() and not create:
        raise InputError(
            f"there is no record {path} yet: measure something with attnswitch bench, or name "
            "another file with --record"
        )
    if not path.parent.is_dir():
        _make_folder(path.parent)
    with told_in_one_line(path):
        connection = _connect(path)
        try:
            _bring_up_to_date(path, connection)
        except BaseException:
            connection.close()
            raise
    return Record(path, connection)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(
            f"the folder {folder} for the record cannot be made",
            reasons=[error.strerror or str(error)],
            remedy="Name a file elsewhere with --record or ATTNSWITCH_RECORD",
        ) from error


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if "locked" in str(error):
            raise
        # Written ahead, in a folder where nothing can be written: read what is there.
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True,
                                     isolation_level=None)  # fmt: skip
    return connection


def _bring_up_to_date(path: Path, connection: sqlite3.Connection) -> None:
    if _version(path, connection) < schema.VERSION:
        connection.execute("BEGIN IMMEDIATE")  # and look again: another process may have done it
        if _version(path, connection) < schema.VERSION:
            schema.migrate(connection)
        connection.execute("COMMIT")
    connection.execute("PRAGMA foreign_keys = ON")
    _write_ahead(connection)


def _version(path: Path, connection: sqlite3.Connection) -> int:
    """The version of a record, 0 for a new file.

    Raises:
        InputError: it is another program's database, or a newer record.
    """
    version, application, tables = _header(connection)
    if application == schema.APPLICATION_ID:
        if version > schema.VERSION:
            raise InputError(
                f"the record {path} is of version {version}, this attnswitch knows versions up to "
                f"{schema.VERSION}: upgrade attnswitch, or name another file with --record"
            )
        return int(version)
    if tables or version:
        raise InputError(
            f"{path} is a SQLite database of another program, not a record of attnswitch"
        )
    return 0


def _header(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """(version, application id, number of tables), all of one moment: others may be at it."""
    if connection.in_transaction:
        return _read_header(connection)
    connection.execute("BEGIN")
    try:
        return _read_header(connection)
    finally:
        connection.execute("ROLLBACK")


def _read_header(connection: sqlite3.Connection) -> tuple[int, int, int]:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    return int(version), int(application), int(tables)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Readers and a writer no longer wait for each other. Where the file system cannot do it
    (network shares), SQLite keeps its rollback journal, which is as safe.

    Entering the mode needs the file alone, and SQLite does not wait for that by itself.
    """
    last = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
            if mode != "wal":
                connection.execute("PRAGMA journal_mode = WAL").fetchone()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) and "busy" not in str(error):
                return  # read-only: nothing is written
            if time.monotonic() > last:
                raise
            time.sleep(0.01)


@contextmanager
def told_in_one_line(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into our errors."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise UnavailableError(
            f"the record {path} cannot be used", reasons=[str(error)],
            remedy="Name another file with --record or ATTNSWITCH_RECORD",
        ) from error  # fmt: skip
    except sqlite3.DatabaseError as error:
        if "not a database" in str(error):
            raise InputError(f"{path} is no record of attnswitch: {error}") from error
        raise InputError(
            f"the record {path} is damaged ({error}); move it away, and save what can be read of "
            f"it with: sqlite3 {path} .recover"
        ) from error


def _values(row: Row) -> tuple[Any, ...]:
    data = clean(row.data)
    seconds = data.get("seconds") or {}
    return (
        row.run, row.position, data["cell"], data["request"], data["status"],
        seconds.get("median"), data.get("peak_bytes"), row.key, _text(data),
    )  # fmt: skip


def _text(value: Any) -> str:
    return json.dumps(clean(value), ensure_ascii=True, allow_nan=False)
