"""Filters, and the names of runs."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from attnswitch.errors import InputError
from attnswitch.history.selecting import Filter, find_run, select, time_of
from attnswitch.record.store import open_record
from tests.history.made_up import Machine


@pytest.fixture
def record(tmp_path):
    with open_record(tmp_path / "record.sqlite") as record:
        machine = Machine(0)
        for number in range(3):
            run, rows = machine.run()
            run.__dict__["label"] = f"label {number % 2}"
            record.add(run, rows)
        yield record


def test_filters_take_runs_and_rows(record):
    runs, rows = select(record, Filter())
    assert (len(runs), len(rows)) == (3, 9)
    runs, rows = select(record, Filter(label="label 0", request="eager"))
    assert (len(runs), [row.data["request"] for row in rows]) == (2, ["eager", "eager"])
    assert len(select(record, Filter(commit="ccc", machine="m", phase="prefill"))[0]) == 3
    assert len(select(record, Filter(since="2025-12-31"))[0]) == 3


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"subject": "dmo"}, r"no subject 'dmo' \(did you mean 'demo'\?\); it has 'demo'"),
        ({"label": "x"}, "no label 'x'; it has 'label 0', 'label 1'"),
        ({"commit": "dd"}, "no commit 'dd'; it has 'cccccccccccc'"),
        ({"since": "2027-01-01"}, "no run of the record meets all of these"),
    ],
)
def test_nothing_found_says_what_there_is(record, wanted, message):
    with pytest.raises(InputError, match=message):
        select(record, Filter(**wanted))


def test_an_empty_record(tmp_path):
    with (
        open_record(tmp_path / "empty.sqlite") as record,
        pytest.raises(InputError, match="is empty: measure something with attnswitch bench"),
    ):
        select(record, Filter())


def test_names_of_runs(record):
    runs = record.runs()
    assert find_run(runs, "last") == runs[2]
    assert find_run(runs, "last~2") == runs[0]
    assert find_run(runs, runs[1].id[:16]) == runs[1]
    for word, message in (
        ("last~3", "there is no run last~3: the record has 3"),
        ("2026", "3 runs begin with '2026'"),
        ("x", "no run begins with 'x'"),
    ):
        with pytest.raises(InputError, match=message):
            find_run(runs, word)


def test_times():
    now = datetime.now(timezone.utc)
    assert abs(time_of("2d") - (now - timedelta(days=2))) < timedelta(minutes=1)
    assert time_of("2026-05-31").isoformat() == "2026-05-31T00:00:00+00:00"
    assert time_of("2026-05-31T12:00:00Z").hour == 12
    with pytest.raises(InputError, match="--since 'yesterday' is no time"):
        time_of("yesterday")
