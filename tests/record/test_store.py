"""The record's file: what comes back, who may open it, and from which version."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from attnswitch.errors import InputError, UnavailableError
from attnswitch.record import schema
from attnswitch.record.entries import Row, Run, key_of, machine_of
from attnswitch.record.place import record_file
from attnswitch.record.store import open_record

ENVIRONMENT = {"system": "Linux 6.1", "processor": "one", "cores": 2, "threads": 2}


def a_run(**more) -> Run:
    return Run.begin("bench", ENVIRONMENT, settings={"rounds": 3}, **more)


def a_row(run: Run, position: int = 0, **more) -> Row:
    data = {
        "cell": "c0", "workload": {"subject": "tiny", "phase": "prefill", "tokens": 8},
        "request": "flash", "status": "valid", "samples": [0.1, 0.2], "peak_bytes": 7,
        "seconds": {"median": 0.15, "low": 0.1, "high": 0.2},
    }  # fmt: skip
    return Row(run.id, position, {**data, **more})


def test_what_was_added_comes_back(tmp_path):
    run, other = a_run(label="one"), a_run()
    path = tmp_path / "record.sqlite"
    with open_record(path) as record:
        record.add(run, [a_row(run, 0), a_row(run, 1, request="standard")])
        record.add(other, [a_row(other)])
        record.add(run, [a_row(run, 2)])
    with open_record(path, create=False) as record:
        assert record.runs() == sorted([run, other], key=lambda r: r.id)
        assert record.rows([run.id]) == [
            a_row(run, 0), a_row(run, 1, request="standard"), a_row(run, 2)
        ]  # fmt: skip
        assert record.count_rows() == {run.id: 3, other.id: 1}


def test_rows_are_added_all_or_none(tmp_path):
    run = a_run()
    with open_record(tmp_path / "record.sqlite") as record:
        with pytest.raises(KeyError):
            record.add(run, [a_row(run), Row(run.id, 1, {"cell": "c0"})])
        assert record.runs() == record.rows() == []


def test_adding_again_changes_nothing(tmp_path):
    run = a_run()
    with open_record(tmp_path / "record.sqlite") as record:
        record.add(run, [a_row(run)])
        record.add(run, [a_row(run, samples=[9.0])])
        assert [row.samples for row in record.rows()] == [[0.1, 0.2]]


def test_many_open_a_new_file_at_once(tmp_path):
    """Each of them finds a whole record, whoever made it; in processes, as in real life."""
    code = (
        "import sys; from pathlib import Path; from attnswitch.record.store import open_record;"
        "from tests.record.test_store import a_run, a_row\n"
        "with open_record(Path(sys.argv[1])) as record:\n"
        "    run = a_run(); record.add(run, [a_row(run)])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "record.sqlite")]
    running = [subprocess.Popen(command) for _ in range(6)]
    assert [process.wait() for process in running] == [0] * 6
    with open_record(tmp_path / "record.sqlite") as record:
        assert len(record.runs()) == len(record.rows()) == 6


def test_threads_with_a_connection_each(tmp_path):
    def write(_):
        run = a_run()
        with open_record(tmp_path / "record.sqlite") as record:
            for position in range(20):
                record.add(run, [a_row(run, position)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    with open_record(tmp_path / "record.sqlite") as record:
        assert sorted(record.count_rows().values()) == [20] * 4


def make_version_1(path, run: Run, row: Row) -> None:
    """A file as version 1 wrote it."""
    connection = sqlite3.connect(path)
    schema.migrate(connection, to=1)
    connection.execute(
        "INSERT INTO runs (id, started, command, label, settings, environment, project)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (run.id, run.started, run.command, run.label, "{}", json.dumps(run.environment), "{}"),
    )
    connection.execute(
        "INSERT INTO rows (run, position, cell, request, status, median_seconds, peak_bytes, data)"
        " VALUES (?, ?, 'c0', 'flash', 'valid', 0.15, 7, ?)",
        (row.run, row.position, json.dumps(row.data)),
    )
    connection.commit()
    connection.close()


def test_version_1_is_brought_up_to_date(tmp_path):
    path, run = tmp_path / "record.sqlite", a_run(label="old")
    make_version_1(path, run, a_row(run))
    with open_record(path) as record:
        (found,) = record.runs()
        assert (found.id, found.label) == (run.id, "old")
        assert found.machine == machine_of(ENVIRONMENT)
        assert record.rows() == [a_row(run)]
        record.add(a_run(), [])
    plain = sqlite3.connect(path)
    assert plain.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
    key = key_of(a_row(run).data["workload"], "flash")
    assert plain.execute("SELECT workload FROM rows").fetchall() == [(key,)]
    tables = "SELECT sql FROM sqlite_master ORDER BY name"
    fresh = sqlite3.connect(tmp_path / "fresh.sqlite")
    schema.migrate(fresh)
    assert plain.execute(tables).fetchall() == fresh.execute(tables).fetchall()


def test_a_migration_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path, run = tmp_path / "record.sqlite", a_run()
    make_version_1(path, run, a_row(run))

    def fails(connection):
        connection.execute("ALTER TABLE runs ADD COLUMN machine TEXT")
        raise RuntimeError("no power")

    monkeypatch.setattr(schema, "STEPS", (schema.STEPS[0], fails))
    with pytest.raises(RuntimeError):
        open_record(path)
    monkeypatch.undo()
    with open_record(path) as record:
        assert record.rows() == [a_row(run)]


def newer(path):
    with open_record(path):
        pass
    plain = sqlite3.connect(path)
    plain.execute(f"PRAGMA user_version = {schema.VERSION + 3}")
    plain.close()


def of_another_program(path):
    plain = sqlite3.connect(path)
    plain.execute("CREATE TABLE songs (name TEXT)")
    plain.close()


def damaged(path):
    run = a_run()
    with open_record(path) as record:
        record.add(run, [a_row(run, n, padding="x" * 5000) for n in range(20)])
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (newer, f"of version {schema.VERSION + 3}, this attnswitch knows versions up to "
                f"{schema.VERSION}: upgrade attnswitch"),
        (of_another_program, "is a SQLite database of another program"),
        (lambda path: path.write_bytes(b"not a database, " * 100), "is no record of attnswitch"),
        (damaged, "is damaged"),
        (lambda path: path.mkdir(), "is a folder; a record is one file"),
    ],
)  # fmt: skip
def test_what_is_no_record_is_one_clear_line(tmp_path, make, message):
    path = tmp_path / "record.sqlite"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(InputError, match=message), open_record(path) as record:
        record.rows()
    if before is not None and make is not damaged:
        assert path.read_bytes() == before, "a file that is not ours was written to"


def test_no_record_yet(tmp_path):
    with pytest.raises(InputError, match=r"there is no record .* yet: measure something"):
        open_record(tmp_path / "record.sqlite", create=False)
    assert not (tmp_path / "record.sqlite").exists()


def test_a_file_held_by_somebody_is_an_error_that_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("attnswitch.record.store.BUSY_SECONDS", 0.2)
    path, run = tmp_path / "record.sqlite", a_run()
    with open_record(path) as record:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match="database is locked"):
            record.add(run, [a_row(run)])
        other.execute("COMMIT")
        other.close()
        record.add(run, [a_row(run)])


@pytest.mark.parametrize(
    ("named", "variables", "platform", "expected"),
    [
        ("a.sqlite", {"ATTNSWITCH_RECORD": "/b"}, "linux", "a.sqlite"),
        (None, {"ATTNSWITCH_RECORD": "/b.sqlite"}, "linux", "/b.sqlite"),
        (None, {"HOME": "/h"}, "linux", "/h/.local/share/attnswitch/record.sqlite"),
        (None, {"HOME": "/h", "XDG_DATA_HOME": "/d"}, "linux", "/d/attnswitch/record.sqlite"),
        (None, {"HOME": "/h", "XDG_DATA_HOME": "d"}, "linux",
         "/h/.local/share/attnswitch/record.sqlite"),
        (None, {"HOME": "/h"}, "darwin",
         "/h/Library/Application Support/attnswitch/record.sqlite"),
        (None, {"LOCALAPPDATA": "/l"}, "win32", "/l/attnswitch/record.sqlite"),
    ],
)  # fmt: skip
def test_where_it_is(named, variables, platform, expected):
    assert str(record_file(named, variables, platform)) == expected
