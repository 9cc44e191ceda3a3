"""What `bench` says while it measures: on one line where that is a terminal, else a line a cell."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from attnswitch.report.quantities import seconds_text
from attnswitch.report.safe_text import one_line


class BenchProgress:
    """Which cell, what is being done in it, and how long until the end."""

    def __init__(self) -> None:
        self._head = ""
        self._tail = ""
        self._is_terminal = sys.stderr.isatty()

    def cell(self, number: int, of: int, workload: Any, left: float | None) -> None:
        """A cell begins."""
        self._head = f"[{number}/{of}] {one_line(workload, 100)}"
        self._tail = f", {_left_text(left)} to go" if left is not None else ""
        if not self._is_terminal:
            print(f"{self._head}{self._tail}", file=sys.stderr, flush=True)

    def step(self, text: str) -> None:
        """What is being done in the cell."""
        if self._is_terminal:
            line = one_line(f"{self._head}{self._tail}: {text}", _width())
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)

    def finished(self, rows: Sequence[Any], again: bool) -> None:
        """The cell's rows, in short."""
        told = ", ".join(_short(row.data) for row in rows)
        again_text = " (from the record)" if again else ""
        start = f"\r\033[K{self._head}: " if self._is_terminal else "    "
        print(f"{start}{told}{again_text}", file=sys.stderr, flush=True)


def _short(row: dict[str, Any]) -> str:
    name = one_line(row["request"], 32)
    if row["status"] == "not run":
        return f"{name} not run"
    wrong = " INVALID" if row["status"] != "valid" else ""
    return f"{name} {seconds_text(row['seconds']['median'])}{wrong}"


def _left_text(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"about {minutes} min" if minutes > 1 else "about a minute" if minutes else "seconds"


def _width() -> int:
    import shutil

    return max(shutil.get_terminal_size().columns - 1, 40)
