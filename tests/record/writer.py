"""A process that writes rows as fast as it can, and says which are finished, until it is killed.

python writer.py RECORD TOLD: each finished cell goes to the file TOLD, one line, synced.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from attnswitch.record.entries import Row, Run
from attnswitch.record.store import open_record

# Large enough that a row needs several pages of the file.
PADDING = "x" * 6000


def rows_of(run: Run, cell: int) -> list[Row]:
    return [
        Row(run.id, 2 * cell + index, {
            "cell": f"{cell}", "workload": {"phase": "prefill", "tokens": cell}, "request": request,
            "status": "valid", "samples": [0.001 * cell + index] * 50, "padding": PADDING,
            "seconds": {"median": 0.001 * cell + index}, "peak_bytes": cell,
        })
        for index, request in enumerate(("flash", "blockwise"))
    ]  # fmt: skip


def main() -> None:
    record = open_record(Path(sys.argv[1]))
    told = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    run = Run.begin("bench", {"processor": "none"}, label=f"process {os.getpid()}")
    for cell in range(10**9):
        record.add(run, rows_of(run, cell))
        os.write(told, f"{run.id} {cell}\n".encode())


if __name__ == "__main__":
    main()
