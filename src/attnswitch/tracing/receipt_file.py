"""The file that a process keeps its receipts in.

The first process to import torch writes FILE; its children and others under the same `attnswitch
run` write FILE's name with their process number (`receipt.json`, `receipt.4711.json`), once they
compute attention. A file is written at the first call, refreshed at most every two seconds, and
finalised at the end of the process, that of a forked multiprocessing worker too. It is replaced
whole, so a reader never sees half of one.
"""

from __future__ import annotations

import atexit
import json
import multiprocessing.util
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attnswitch.running import checkin

REFRESH_SECONDS = 2.0
OWNER_VARIABLE = "ATTNSWITCH_RECEIPT_OWNER"


class ReceiptFile:
    """Writes what `record()` returns, when told that it has changed."""

    def __init__(self, path: str, record: Callable[[], dict[str, Any]]):
        self._named = Path(path)
        self._record = record
        self._path: Path | None = None
        self._process = os.getpid()
        self._last: float | None = None
        self._complained = False
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def claim(self) -> None:
        """Called where torch was imported: the first process writes even if nothing ran."""
        owner = os.environ.get(OWNER_VARIABLE)
        if owner is None and checkin.claim("receipt"):
            os.environ[OWNER_VARIABLE] = str(os.getpid())
            self._path = self._named
            self._finish_at_exit()

    def changed(self) -> None:
        """Something ran: write now if this is the first time or the last time is long ago."""
        first = self._last is None
        if first and self._path is None:
            self._path = self._named.with_name(
                f"{self._named.stem}.{os.getpid()}{self._named.suffix}"
            )
            self._finish_at_exit()
        elif first:
            multiprocessing.util.Finalize(None, self.write, exitpriority=1)
        if first or time.monotonic() - (self._last or 0.0) >= REFRESH_SECONDS:
            self._last = time.monotonic()
            self.write()

    def _finish_at_exit(self) -> None:
        atexit.register(self.write)
        multiprocessing.util.Finalize(None, self.write, exitpriority=1)

    def write(self) -> None:
        """Write the file; a failure is said on standard error and to the `attnswitch run` above."""
        if os.getpid() != self._process or self._path is None:
            return  # inherited from the process that forked us
        if not self._lock.acquire(blocking=False):
            return  # another thread is writing
        try:
            record = self._record()
            _replace(self._path, record)
            checkin.note(checkin.WRITTEN, str(self._path))
            self._tell(record["process"]["disobeyed"])
        except Exception as error:
            self._complain(error)
        finally:
            self._lock.release()

    def _tell(self, disobeyed: list[str]) -> None:
        """Say where a request was not followed: to the `attnswitch run` above, or here."""
        for line in disobeyed:
            if line in self._told:
                continue
            self._told.add(line)
            if not checkin.note(checkin.DISOBEYED, line):
                sys.stderr.write(f"attnswitch: {line}\n")

    def _complain(self, error: Exception) -> None:
        message = f"{self._path}: {error}"
        checkin.note(checkin.UNWRITTEN, message)
        if not self._complained:
            self._complained = True
            sys.stderr.write(f"attnswitch: a receipt could not be written to {message}\n")


def _replace(path: Path, record: dict[str, Any]) -> None:
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
