"""Killed with SIGKILL at random moments while four processes write: nothing finished is lost."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from attnswitch.record.store import open_record
from tests.record.writer import PADDING, rows_of

WRITER = Path(__file__).with_name("writer.py")
PROCESSES = 4


def kill_while_writing(folder: Path, seconds: float) -> set[tuple[str, int]]:
    """Start four writers, kill them all after a while; returns the cells they called finished.

    At least one of them must have written something, so the time runs from the first cell on.
    """
    told = [folder / f"told-{time.monotonic_ns()}-{number}" for number in range(PROCESSES)]
    command = [sys.executable, str(WRITER), str(folder / "record.sqlite")]
    running = [subprocess.Popen([*command, str(file)]) for file in told]
    deadline = time.monotonic() + 60
    while not any(f.exists() and f.stat().st_size for f in told) and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(seconds)
    for process in running:
        process.send_signal(signal.SIGKILL)
    assert [process.wait() for process in running] == [-signal.SIGKILL] * PROCESSES
    found = set()
    for file in told:
        for line in file.read_text().splitlines() if file.exists() else ():
            run, _, cell = line.partition(" ")
            found.add((run, int(cell)))
    return found


def check(path: Path, finished: set[tuple[str, int]]) -> int:
    """The file opens, is sound, holds every finished cell and none in part; how many it holds."""
    with open_record(path) as record:
        runs = {run.id: run for run in record.runs()}
        cells: dict[tuple[str, int], list] = {}
        for row in record.rows():
            cells.setdefault((row.run, int(row.cell)), []).append(row)
    assert finished <= set(cells), f"lost: {sorted(finished - set(cells))[:3]}"
    for (run, cell), rows in cells.items():
        assert rows == rows_of(runs[run], cell), f"half: {run} {cell}"
        assert rows[0].data["padding"] == PADDING
    plain = sqlite3.connect(path)
    assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    plain.close()
    return len(cells)


def kill_again_and_again(folder: Path, times: int, seed: int) -> None:
    generator = random.Random(seed)
    finished: set[tuple[str, int]] = set()
    held = 0
    for _ in range(times):
        finished |= kill_while_writing(folder, generator.uniform(0, 0.25))
        now = check(folder / "record.sqlite", finished)
        assert now > held, "the writers wrote nothing: the test would prove nothing"
        held = now


def test_killed_at_random_moments(tmp_path):
    kill_again_and_again(tmp_path, times=4, seed=int(time.time()))


@pytest.mark.slow
def test_killed_at_fifty_random_moments(tmp_path):
    kill_again_and_again(tmp_path, times=50, seed=int(time.time()))


def test_the_check_can_fail(tmp_path):
    finished = kill_while_writing(tmp_path, 0.1)
    with pytest.raises(AssertionError, match="lost"):
        check(tmp_path / "record.sqlite", finished | {("20200101T000000-00000000", 0)})
    plain = sqlite3.connect(tmp_path / "record.sqlite")
    plain.execute("DELETE FROM rows WHERE rowid = (SELECT max(rowid) FROM rows)")
    plain.commit()
    plain.close()
    with pytest.raises(AssertionError, match="half"):
        check(tmp_path / "record.sqlite", set())
