"""What the .pth line adds to a Python start that asks for nothing: interleaved whole starts.

    python benchmarks/python_start.py [pairs]

Starts this interpreter with one of two startup folders in turn: one holds attnswitch.pth, the
other an empty .pth file. Reports the median of the pairwise differences in processor time (wall
time on a shared machine says more of its neighbours) with a bootstrap interval, in milliseconds.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

LINE = Path(__file__).parents[1] / "src" / "attnswitch.pth"
PROGRAM = "import site; site.addsitedir({!r})"


def seconds(folder: Path) -> float:
    """Processor time of one start of Python that reads the startup folder."""
    program = PROGRAM.format(str(folder))
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", program])
    _, status, used = os.wait4(child.pid, 0)
    assert status == 0
    child.returncode = 0
    return used.ru_utime + used.ru_stime


def differences(pairs: int) -> list[float]:
    """Seconds that the line adds, one number a pair; which of the two goes first alternates."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        without, with_line = Path(name, "without"), Path(name, "with")
        for folder, text in ((without, "\n"), (with_line, LINE.read_text())):
            folder.mkdir()
            (folder / "attnswitch.pth").write_text(text)
        for pair in range(pairs):
            order = [with_line, without] if pair % 2 else [without, with_line]
            took = {folder: seconds(folder) for folder in order}
            found.append(took[with_line] - took[without])
    return found


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    found = differences(pairs)
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(found, k=len(found))) for _ in range(2000))
    low, high = medians[50] * 1e3, medians[-51] * 1e3
    middle = statistics.median(found) * 1e3
    print(f"added to a Python start: {middle:+.3f} ms, 95 % interval {low:+.3f} to {high:+.3f} ms "
          f"({pairs} interleaved pairs)")  # fmt: skip


if __name__ == "__main__":
    main()
