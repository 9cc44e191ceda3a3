"""False alarms of `attnswitch history --check`: a hundred checks of code that did not change.

    python benchmarks/unchanged.py                 makes runs until there are enough, and checks
    python benchmarks/unchanged.py --runs 24       to see that it works

Each run is a fresh process that times attention of 256 tokens under `flash` and `standard`. Every
ten runs in a row are checked against the ten before them, as a nightly job does: 119 runs make 100
checks. Nothing changed, so each alarm is false. Exit status 1 where more than 5 in 100 alarm.
The record is kept: stopped at any time, it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from attnswitch.history.checking import Sides, check
from attnswitch.history.selecting import Filter, select
from attnswitch.record.store import open_record

A_SIDE = 10
ALLOWED = 0.05
RUN = [
    "bench", "--geometry", "llava-onevision-0.5b", "--attention-only", "--tokens", "256",
    "--phase", "prefill", "--dtype", "float32", "--backends", "flash", "standard",
    "--rounds", "8", "--seconds", "2", "--no-memory",
]  # fmt: skip


def main() -> int:
    """Make the runs, check at every place, print and keep what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=119)
    parser.add_argument("--record", type=Path, default=Path("build/unchanged.sqlite"))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what each check found")
    arguments = parser.parse_args()
    arguments.record.parent.mkdir(parents=True, exist_ok=True)
    missing = arguments.runs - _count(arguments.record)
    if missing > 0:
        program = [str(Path(sys.executable).with_name("attnswitch")), *RUN]
        command = [*program, "--repeat", str(missing), "--record", str(arguments.record)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found = _checks(arguments.record)
    alarms = sum(bool(one["slower"]) for one in found)
    undecided = sum(f["judgement"] == "undecided" for one in found for f in one["findings"])
    rows = sum(len(one["findings"]) for one in found)
    print(f"{alarms} alarms in {len(found)} checks; {undecided} of {rows} rows undecided")
    if arguments.json:
        kept = {"schema": "attnswitch.unchanged/1", "alarms": alarms, "checks": found}
        arguments.json.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return int(alarms > ALLOWED * len(found))


def _count(record: Path) -> int:
    if not record.exists():
        return 0
    with open_record(record, create=False) as held:
        return len(held.runs())


def _checks(record: Path) -> list[dict[str, object]]:
    with open_record(record, create=False) as held:
        runs, rows = select(held, Filter())
    found = []
    for end in range(2 * A_SIDE, len(runs) + 1):
        old, new = runs[end - 2 * A_SIDE : end - A_SIDE], runs[end - A_SIDE : end]
        found.append(check(Sides(old, new), rows, tolerance=0.01, detect=0.05).to_json())
    return found


if __name__ == "__main__":
    raise SystemExit(main())
